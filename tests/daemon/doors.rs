//! What operators order of doors, from the broker to the relay, and what is left of it after SIGKILL.

use latchd::{
    domain::{event::Refusal, ids::Id, time::Wall},
    wire::outcome::{Outcome, Stage},
};
use latchd_sim::{
    cloud::{Wish, client::wall_now},
    site::{CONTACT_INPUT, LOCK_COIL, REX_INPUT},
};
use serde_json::{Value, json};

use crate::world::{ADA, World};

const BARRIER_COIL: u16 = 1;
const FIRE_INPUT: u16 = 2;

fn order(world: &World, cmd: &str, args: Value) -> Id {
    world.wish(&Wish::new("op-ada", cmd, args))
}

/// Ordered, read back and durable.
fn done(world: &World, cmd: &str, args: Value) -> Outcome {
    let jti = order(world, cmd, args);
    world.stage(&jti, Stage::Actuated)
}

fn denied(world: &World, reason: &str) {
    let before = world.site.cloud.cloud().events.len();
    world.card(ADA);
    world.cloud(&format!("a denial for {reason}"), |cloud| {
        let event = cloud.events.get(before..)?.iter().find(|event| event.kind == "access.denied")?;
        assert_eq!((&event.json["reason"], &event.json["person"]), (&json!(reason), &json!("ada")));
        Some(())
    });
}

/// What the retained state of the door says.
fn state(world: &World, door: &str, what: &str, test: impl Fn(&Value) -> bool) {
    world.cloud(&format!("{door}: {what}"), |cloud| {
        let status = cloud.doors.values().find(|status| status.door.as_str() == door)?;
        test(&serde_json::to_value(status).unwrap()).then_some(())
    });
}

fn due_at(scheduled: &Outcome) -> Wall {
    serde_json::from_value(scheduled.detail.as_ref().unwrap()["due_at"].clone()).unwrap()
}

fn pass(world: &World, until: Wall) {
    world.until("time to pass", || wall_now() > until);
}

#[test]
fn do_not_disturb_denies_every_card_until_it_is_off_and_outlives_sigkill() {
    let mut world = World::running();
    done(&world, "door.dnd", json!({"door": "front", "set": "on"}));
    world.lock_state("front", "Blocked");
    world.site.field.front.take_writes();
    denied(&world, "dnd");
    world.restart();
    denied(&world, "dnd");
    assert_eq!(world.site.field.front.take_writes(), [], "nothing moved");
    let stale = order(&world, "door.dnd", json!({"door": "front", "set": "toggle", "expect_mode": "Locked"}));
    world.refused(&stale, Refusal::Conflict);
    done(&world, "door.dnd", json!({"door": "front", "set": "toggle", "expect_mode": "Blocked"}));
    world.ada_passes();
}

#[test]
fn a_force_toggle_that_comes_again_reverses_nothing() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let wish = Wish::new("op-ada", "door.force_toggle", json!({"door": "front", "expect_mode": "Locked"}));
    let (jti, message) = world.site.cloud.cloud().command(wall_now(), &wish);
    world.site.cloud.publish(message.clone()).unwrap();
    world.stage(&jti, Stage::Observed);
    assert!(front.coil(LOCK_COIL));
    for _ in 0..3 {
        world.site.cloud.publish(message.clone()).unwrap();
    }
    let other = order(&world, "door.force_toggle", json!({"door": "front", "expect_mode": "Locked"}));
    world.refused(&other, Refusal::Conflict);
    assert!(front.coil(LOCK_COIL));
    denied(&world, "forced");
    let open = order(&world, "door.open_and_close", json!({"door": "front"}));
    world.refused(&open, Refusal::Conflict);
    world.restart();
    world.lock_state("front", "LockedOpen");
    assert!(front.coil(LOCK_COIL), "held open through a kill");
    done(&world, "door.force_toggle", json!({"door": "front", "expect_mode": "LockedOpen"}));
    world.coil(&front, false);
    world.ada_passes();
}

#[test]
fn a_lockdown_outlives_sigkill_lets_people_out_and_its_end_recomputes_what_then_holds() {
    let mut world = World::running();
    let (front, glass) = (world.site.field.front.clone(), world.site.field.glass.clone());
    done(&world, "door.open", json!({"door": "front"}));
    done(&world, "door.open", json!({"door": "barrier"}));
    done(&world, "lockdown.set", json!({"node": true}));
    assert!(!front.coil(LOCK_COIL) && !front.coil(BARRIER_COIL) && glass.coil(LOCK_COIL));
    let again = order(&world, "door.open", json!({"door": "front"}));
    world.refused(&again, Refusal::Conflict);
    world.restart();
    for door in ["front", "glass", "barrier"] {
        world.lock_state(door, "LockedDown");
    }
    denied(&world, "locked_down");

    // Free egress, and locked down again after it.
    front.set_input(REX_INPUT, true);
    world.coil(&front, true);
    front.set_input(REX_INPUT, false);
    world.coil(&front, false);
    world.lock_state("front", "LockedDown");

    let close = order(&world, "door.close", json!({"door": "barrier"}));
    world.stage(&close, Stage::Actuated);
    done(&world, "lockdown.clear", json!({"doors": ["front", "barrier"]}));
    world.coil(&front, true);
    world.lock_state("front", "Unlocked");
    world.lock_state("barrier", "Locked");
    world.lock_state("glass", "LockedDown");
    assert!(!front.coil(BARRIER_COIL), "it was closed meanwhile");
    done(&world, "lockdown.clear", json!({"node": true}));
    world.lock_state("glass", "Locked");
}

#[test]
fn a_lockdown_that_one_board_cannot_confirm_says_so_of_its_doors_and_locks_them_when_it_is_back() {
    let world = World::running();
    let front = world.site.field.front.clone();
    done(&world, "door.open", json!({"door": "front"}));
    front.set_fault(latchd_sim::board::Fault::Silent);
    world.event_of("board.lost", "board", "gate");
    let jti = order(&world, "lockdown.set", json!({"node": true}));
    let outcome = world.stage(&jti, Stage::Failed);
    let doors = outcome.detail.unwrap()["doors"].clone();
    let named: Vec<&String> = doors.as_object().unwrap().keys().collect();
    assert_eq!(named, ["barrier", "front"]);
    assert!(doors["front"]["message"].as_str().unwrap().starts_with("bus_down"), "{doors}");
    front.set_fault(latchd_sim::board::Fault::None);
    world.coil(&front, false);
    world.lock_state("front", "LockedDown");
}

#[test]
fn a_delayed_open_is_listed_outlives_sigkill_and_opens_when_it_is_due() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let jti = order(&world, "door.open_with_delay", json!({"door": "front", "delay_ms": 6_000}));
    let due = due_at(&world.stage(&jti, Stage::Scheduled));
    state(&world, "front", "a pending delay", |status| {
        status["delays"][0]["jti"] == jti.as_str() && status["delays"][0]["operator"] == "op-ada"
    });
    world.kill();
    assert!(!front.coil(LOCK_COIL));
    world.start();
    world.coil(&front, true);
    assert!(wall_now() >= due, "not before it was due");
    world.stage(&jti, Stage::Observed);
    state(&world, "front", "nothing pending", |status| status.get("delays").is_none());
}

#[test]
fn delays_that_were_due_while_the_node_was_down_open_nothing_and_close_what_is_open() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    done(&world, "door.open", json!({"door": "barrier"}));
    let open = order(&world, "door.open_with_delay", json!({"door": "front", "delay_ms": 6_000}));
    let close = order(&world, "door.close_with_delay", json!({"door": "barrier", "delay_ms": 6_000}));
    let due = [&open, &close].map(|jti| due_at(&world.stage(jti, Stage::Scheduled)));
    world.kill();
    pass(&world, due[0].max(due[1]));
    assert!(front.coil(BARRIER_COIL));
    world.start();
    world.stage(&open, Stage::Expired);
    world.stage(&close, Stage::Actuated);
    assert!(!front.coil(LOCK_COIL) && !front.coil(BARRIER_COIL));
}

#[test]
fn a_delay_is_taken_back_by_its_id_and_by_a_close() {
    let world = World::running();
    let front = world.site.field.front.clone();
    let delay = || {
        let jti = order(&world, "door.open_with_delay", json!({"door": "front", "delay_ms": 60_000}));
        world.stage(&jti, Stage::Scheduled);
        jti
    };
    let (first, second) = (delay(), delay());
    let cancel = order(&world, "door.cancel_delay", json!({"door": "front", "jti": first.as_str()}));
    world.stage(&cancel, Stage::Done);
    world.stage(&first, Stage::Cancelled);
    let twice = order(&world, "door.cancel_delay", json!({"door": "front", "jti": first.as_str()}));
    world.refused(&twice, Refusal::UnknownTarget);
    state(&world, "front", "one pending", |status| status["delays"].as_array().is_some_and(|all| all.len() == 1));
    done(&world, "door.close", json!({"door": "front"}));
    world.stage(&second, Stage::Cancelled);
    state(&world, "front", "nothing pending", |status| status.get("delays").is_none());

    let third = order(&world, "door.open_with_delay", json!({"door": "front", "delay_ms": 7_200_000}));
    world.refused(&third, Refusal::LifetimeTooLong);
    done(&world, "lockdown.set", json!({"doors": ["front"]}));
    let fourth = order(&world, "door.open_with_delay", json!({"door": "front", "delay_ms": 1_000}));
    world.refused(&fourth, Refusal::Conflict);
    assert!(!front.coil(LOCK_COIL));
}

#[test]
fn a_delay_is_asked_about_anew_when_it_is_due_and_ends_with_the_office_of_whoever_gave_it() {
    let world = World::running();
    let front = world.site.field.front.clone();
    let olga = |state: &str| json!({"status": {"state": state}, "role": "admin"});
    world.set(&[("operator", "op-olga", olga("active"))]);
    let delay = |door: &str| {
        let args = json!({"door": door, "delay_ms": 2_500});
        let jti = world.by("op-olga", "door.open_with_delay", args);
        world.stage(&jti, Stage::Scheduled);
        jti
    };
    // A lockdown that came meanwhile overrules it, and its end brings nothing back.
    let (first, second) = (delay("front"), delay("barrier"));
    done(&world, "lockdown.set", json!({"doors": ["barrier"]}));
    world.set(&[("operator", "op-olga", olga("suspended"))]);
    world.refused(&first, Refusal::OperatorSuspended);
    world.refused(&second, Refusal::OperatorSuspended);
    world.set(&[("operator", "op-olga", olga("active"))]);
    let third = world.by("op-olga", "door.open_with_delay", json!({"door": "front", "delay_ms": 1_000}));
    world.stage(&third, Stage::Scheduled);
    done(&world, "lockdown.set", json!({"doors": ["front"]}));
    world.refused(&third, Refusal::Conflict);
    done(&world, "lockdown.clear", json!({"doors": ["front", "barrier"]}));
    state(&world, "front", "locked, and nothing pending", |status| {
        status["mode"] == "Locked" && status.get("delays").is_none()
    });
    assert!(!front.coil(LOCK_COIL) && !front.coil(BARRIER_COIL));
}

#[test]
fn a_door_that_stands_open_is_actuated_all_the_same() {
    let world = World::running();
    let front = world.site.field.front.clone();
    world.site.field.swings[0].set_visitors(false);
    front.set_input(CONTACT_INPUT, false);
    state(&world, "front", "open", |status| status["contact"] == "open");
    front.take_writes();
    let jti = order(&world, "door.open_and_close", json!({"door": "front"}));
    world.stage(&jti, Stage::Observed);
    assert_eq!(crate::world::unlockings(&front), 1, "the relay moved");
    let held = order(&world, "door.open", json!({"door": "front"}));
    world.stage(&held, Stage::Observed);
    assert!(front.coil(LOCK_COIL));
}

#[test]
fn an_alarm_that_somebody_has_seen_says_so_until_it_clears() {
    let world = World::running();
    let front = world.site.field.front.clone();
    let nothing = order(&world, "alarm.acknowledge", json!({"door": "front"}));
    world.refused(&nothing, Refusal::Conflict);
    front.set_input(CONTACT_INPUT, false);
    world.event_of("door.forced", "door", "front");
    let seen = order(&world, "alarm.acknowledge", json!({"door": "front"}));
    world.stage(&seen, Stage::Done);
    let event = world.event_of("door.alarm_acknowledged", "door", "front");
    assert_eq!((&event.json["alarm"], &event.json["actor"]["operator"]), (&json!("forced"), &json!("op-ada")));
    state(&world, "front", "an alarm that was seen", |status| {
        status["alarm"] == "forced" && status["alarm_acknowledged"] == true
    });
    front.set_input(CONTACT_INPUT, true);
    state(&world, "front", "no alarm", |status| {
        status["alarm"] == "none" && status.get("alarm_acknowledged").is_none()
    });
}

#[test]
fn a_release_by_fire_that_is_reset_by_hand_outlives_its_input_and_sigkill() {
    let mut world = World::new();
    let fire = "fire = { input = \"gate/in-3\", active = true }\nfire_reset = \"manual\"\n";
    world.site.configure("id = \"front\"\nlock", &format!("id = \"front\"\n{fire}lock")).unwrap();
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    world.ready();
    let front = world.site.field.front.clone();
    done(&world, "lockdown.set", json!({"doors": ["front"]}));
    front.set_input(FIRE_INPUT, true);
    world.coil(&front, true);
    world.event("fire.activated", |json| json["input"].as_str().is_some_and(|input| input.contains("in-3")));
    let too_early = order(&world, "alarm.acknowledge", json!({"door": "front"}));
    world.refused(&too_early, Refusal::Conflict);
    front.set_input(FIRE_INPUT, false);
    world.event("fire.cleared", |_| true);
    assert!(front.coil(LOCK_COIL));
    world.restart();
    world.lock_state("front", "LockedOpen");
    assert!(front.coil(LOCK_COIL));
    let reset = order(&world, "alarm.acknowledge", json!({"door": "front"}));
    world.stage(&reset, Stage::Done);
    world.coil(&front, false);
    world.lock_state("front", "LockedDown");
    world.event_of("fire.reset", "door", "front");
}

#[test]
fn what_lies_over_each_other_at_a_door_comes_off_in_its_order_and_a_kill_takes_none_of_it_away() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let args = |more: Value| crate::story::with(json!({"door": "front"}), more);
    // Promised first; what comes after it is neither lifted by it nor takes it back.
    let promised = order(&world, "door.open_with_delay", args(json!({"delay_ms": 600_000})));
    world.stage(&promised, Stage::Scheduled);
    let pending = |world: &World, what: &str, mode: &str| {
        state(world, "front", what, |status| {
            status["mode"] == mode && status["delays"][0]["jti"] == json!(promised.as_str())
        });
    };
    done(&world, "door.dnd", args(json!({"set": "on"})));
    done(&world, "door.force", args(json!({"state": "open"})));
    world.coil(&front, true);
    pending(&world, "forced open over DND", "LockedOpen");
    done(&world, "lockdown.set", json!({"doors": ["front"]}));
    world.coil(&front, false);
    for (cmd, more) in [
        ("door.open", json!({})),
        ("door.open_and_close", json!({"dwell_ms": 100})),
        ("door.force", json!({"state": "open"})),
        ("door.force_toggle", json!({"expect_mode": "LockedDown"})),
        ("door.dnd", json!({"set": "toggle", "expect_mode": "LockedOpen"})),
    ] {
        let refused = order(&world, cmd, args(more));
        world.refused(&refused, Refusal::Conflict);
    }
    front.take_writes();
    world.restart();
    pending(&world, "locked down, with all that lies beneath", "LockedDown");
    denied(&world, "locked_down");
    assert!(!front.coil(LOCK_COIL) && crate::world::unlockings(&front) == 0, "no pulse on the way");

    done(&world, "lockdown.clear", json!({"doors": ["front"]}));
    world.coil(&front, true);
    pending(&world, "forced open again", "LockedOpen");
    denied(&world, "forced");
    world.restart();
    world.lock_state("front", "LockedOpen");
    done(&world, "door.force", args(json!({"state": "released"})));
    world.coil(&front, false);
    pending(&world, "not to be disturbed", "Blocked");
    denied(&world, "dnd");
    done(&world, "door.dnd", args(json!({"set": "off"})));
    pending(&world, "locked, and still promised", "Locked");
    let close = order(&world, "door.close", args(json!({})));
    world.stage(&close, Stage::Actuated);
    world.stage(&promised, Stage::Cancelled);
    world.ada_passes();
}

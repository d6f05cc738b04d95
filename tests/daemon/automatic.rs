//! System events, free outputs, inputs of the node, alarms and readers that babble, from the wire to the cloud.

use latchd::{
    domain::{event::Refusal, ids::Id, time::ClockTrust},
    wire::outcome::{Outcome, Stage},
};
use latchd_sim::{
    board::Write,
    cloud::{Wish, client::wall_now, set::put_raw},
    site::{REX_INPUT, card},
};
use serde_json::{Map, Value, json};

use crate::world::{ADA, STRANGER, World};

/// On the board of the front door.
const SIREN_COIL: u16 = 7;
const MAINS_INPUT: u16 = 6;
const COVER_INPUT: u16 = 7;

const BESIDE: &str = r#"
[[output]]
id = "siren"
output = "gate/relay-8"
on = "energised"
identify = true

[[input]]
id = "mains"
kind = "power"
input = "gate/in-7"
active = false

[[input]]
id = "cover"
kind = "tamper"
input = "gate/in-8"
active = true
reader = "front-in"

[[reader]]
id = "front-in"
"#;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn running() -> World {
    let mut world = World::new();
    world.site.configure("\n[[reader]]\nid = \"front-in\"\n", BESIDE).unwrap();
    world.site.field.front.set_input(MAINS_INPUT, true);
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    world.ready();
    world
}

fn set(world: &World, generation: u64, records: &[(&str, &str, Value)]) {
    publish(world, records);
    world.applied(generation);
}

fn publish(world: &World, records: &[(&str, &str, Value)]) {
    let ops = records.iter().map(|(kind, id, body)| put_raw(kind, id, object(body.clone()))).collect();
    let delta = world.site.cloud.cloud().change(wall_now(), ops);
    world.site.cloud.publish(delta).unwrap();
}

fn order(world: &World, cmd: &str, args: Value) -> Id {
    world.wish(&Wish::new("op-ada", cmd, args))
}

fn done(world: &World, cmd: &str, args: Value) -> Outcome {
    let jti = order(world, cmd, args);
    world.stage(&jti, Stage::Actuated)
}

/// The board of the front door was looked at as it is now.
fn polled(world: &World) {
    let front = &world.site.field.front;
    let seen = front.look().requests();
    world.until("a poll", || front.look().requests() > seen + 3);
}

fn siren(world: &World, on: bool) {
    let front = &world.site.field.front;
    let reached = front.until(|registers| registers.coil(SIREN_COIL) == on);
    let reached = world.block_on(async { tokio::time::timeout(crate::world::PATIENCE, reached).await });
    assert!(reached.is_ok(), "the siren did not become {on}");
}

fn system_event(name: &'static str, when: Value, actions: Value) -> (&'static str, &'static str, Value) {
    ("system_event", name, json!({ "when": when, "do": actions }))
}

#[test]
fn a_contact_that_opens_pulses_an_output_and_the_log_says_why() {
    let world = running();
    let pulse = json!([{ "action": "output_pulse", "output": "siren", "pulse_ms": 300 }]);
    let when = json!({ "trigger": "contact_opened", "doors": ["front"] });
    set(&world, 2, &[system_event("hello", when, pulse)]);
    world.site.field.front.take_writes();
    world.card(ADA);
    siren(&world, true);
    siren(&world, false);
    let fired = world.event_of("system_event.fired", "system_event", "hello");
    assert_eq!(fired.json["door"], "front");
    let pulsed = world.event_of("output.pulsed", "output", "siren");
    assert_eq!(pulsed.json["actor"], json!({ "by": "system_event", "system_event": "hello" }));
    let on = Write::Coil { address: SIREN_COIL, on: true };
    assert_eq!(world.site.field.front.take_writes().iter().filter(|(_, write)| *write == on).count(), 1);
}

#[test]
fn three_swipes_of_one_card_lock_the_node_down() {
    let world = running();
    world.site.field.swings[0].set_visitors(false);
    let when = json!({ "trigger": "multi_swipe", "swipes": 3, "within_ms": 60_000, "doors": ["front"] });
    set(&world, 2, &[system_event("panic", when, json!([{ "action": "lockdown_set", "node": true }]))]);
    for times in 1..=3 {
        world.card(ADA);
        world.cloud("a grant", |cloud| {
            (cloud.events.iter().filter(|event| event.kind == "access.granted").count() == times).then_some(())
        });
    }
    for door in ["front", "glass", "barrier"] {
        world.lock_state(door, "LockedDown");
    }
    let changed = world.event("door.mode_changed", |json| json["to"] == "LockedDown" && json["door"] == "glass");
    assert_eq!(changed.json["actor"]["system_event"], "panic");
    world.card(ADA);
    world.event_of("access.denied", "reason", "locked_down");
    let clear = order(&world, "lockdown.clear", json!({ "node": true }));
    world.stage(&clear, Stage::Actuated);
    world.lock_state("front", "Locked");
}

#[test]
fn a_set_whose_system_events_go_round_in_a_loop_is_refused_with_their_names() {
    let world = running();
    let open = json!([{ "action": "door_open", "doors": ["front"] }]);
    let close = json!([{ "action": "door_close", "doors": ["front"] }]);
    publish(
        &world,
        &[
            system_event("let-it", json!({ "trigger": "propped" }), open),
            system_event("shut-it", json!({ "trigger": "alarm_cleared" }), close),
        ],
    );
    let refused = world.event("set.refused", |_| true);
    let reasons = refused.json["reasons"].to_string();
    assert!(reasons.contains("let-it") && reasons.contains("shut-it") && reasons.contains("loop"), "{reasons}");
}

#[test]
fn a_system_event_of_a_suspended_author_does_nothing_and_says_so() {
    let world = running();
    let author = |state: &str| ("operator", "op-sue", json!({ "status": { "state": state }, "role": "integrator" }));
    let event = json!({
        "when": { "trigger": "rex", "doors": ["front"] },
        "do": [{ "action": "door_open_and_close", "doors": ["barrier"], "dwell_ms": 200 }],
        "author": "op-sue",
    });
    set(&world, 2, &[author("active"), ("system_event", "sluice", event)]);
    let front = world.site.field.front.clone();
    front.take_writes();
    front.set_input(REX_INPUT, true);
    world.event_of("system_event.fired", "system_event", "sluice");
    world.event("door.mode_changed", |json| json["door"] == "barrier" && json["to"] == "Accessed");
    world.event("door.mode_changed", |json| json["door"] == "barrier" && json["to"] == "Locked");
    front.set_input(REX_INPUT, false);
    polled(&world);
    set(&world, 3, &[author("suspended")]);
    front.set_input(REX_INPUT, true);
    let refused = world.event_of("system_event.refused", "system_event", "sluice");
    assert_eq!((&refused.json["reason"], &refused.json["author"]), (&json!("operator_suspended"), &json!("op-sue")));
    let barrier = Write::Coil { address: 1, on: true };
    assert_eq!(front.take_writes().iter().filter(|(_, write)| *write == barrier).count(), 1);
}

#[test]
fn an_output_is_set_through_a_restart_pulsed_and_identified_and_those_of_doors_are_refused() {
    let mut world = running();
    done(&world, "output.set", json!({ "output": "siren", "on": true }));
    siren(&world, true);
    world.kill();
    world.site.field.front.reboot();
    world.start();
    world.ready();
    siren(&world, true);
    world.trusts_its_clock(ClockTrust::Trusted);
    done(&world, "output.set", json!({ "output": "siren", "on": false }));
    siren(&world, false);
    done(&world, "output.pulse", json!({ "output": "siren", "pulse_ms": 200 }));
    world.event_of("output.pulsed", "output", "siren");
    siren(&world, false);
    let identify = order(&world, "node.identify", json!({}));
    world.stage(&identify, Stage::Done);
    for _ in 0..2 {
        siren(&world, true);
        siren(&world, false);
    }
    for (output, reason) in
        [("front", Refusal::Conflict), ("gate.relay-1", Refusal::Conflict), ("nothing", Refusal::UnknownTarget)]
    {
        let jti = order(&world, "output.pulse", json!({ "output": output, "pulse_ms": 200 }));
        world.refused(&jti, reason);
    }
}

#[test]
fn failed_mains_and_an_open_cover_are_told_and_raise_an_alarm_that_stands_until_it_is_acknowledged() {
    let mut world = running();
    let alarm = json!([{ "action": "alarm", "text": "look after the riser" }]);
    set(&world, 2, &[system_event("riser", json!({ "trigger": "power_lost" }), alarm)]);
    let front = world.site.field.front.clone();
    front.set_input(COVER_INPUT, true);
    let tamper = world.event_of("tamper.activated", "input", "cover");
    assert_eq!(tamper.json["reader"], "front-in");
    front.set_input(MAINS_INPUT, false);
    world.event_of("power.lost", "input", "mains");
    let raised = world.event("alarm.raised", |_| true);
    assert_eq!((&raised.json["text"], &raised.json["times"]), (&json!("look after the riser"), &json!(1)));
    world.online("an alarm that stands", |online| online.alarms == 1);
    world.drained();
    world.kill();
    world.start();
    world.ready();
    world.trusts_its_clock(ClockTrust::Trusted);
    front.set_input(MAINS_INPUT, true);
    world.event_of("power.restored", "input", "mains");
    assert_eq!((world.count("power.lost"), world.count("alarm.raised")), (1, 1), "told once, over the restart as well");
    world.online("an alarm of an earlier run", |online| online.alarms == 1);
    let alarm = raised.json["alarm"].as_str().unwrap().to_owned();
    let acknowledge = order(&world, "alarm.acknowledge", json!({ "alarm": alarm }));
    world.stage(&acknowledge, Stage::Done);
    world.event_of("alarm.acknowledged", "alarm", &alarm);
    world.online("no alarm", |online| online.alarms == 0);
    world.kill();
    world.start();
    world.ready();
    world.trusts_its_clock(ClockTrust::Trusted);
    let again = order(&world, "alarm.acknowledge", json!({ "alarm": alarm }));
    world.refused(&again, Refusal::UnknownTarget);
}

#[test]
fn a_link_in_the_clear_is_an_alarm_that_stands_until_the_site_file_has_it_no_more() {
    let mut world = World::running();
    world.drained();
    assert_eq!(world.stop(), Some(0));
    let secure = "\n[cloud.tls]\nca = \"ca.pem\"\ncertificate = \"node.pem\"\nkey = \"node.key\"\n";
    let in_the_clear = "tls = \"off-insecure\"\n";
    world.site.configure(secure, in_the_clear).unwrap();
    for _ in 0..2 {
        // The broker takes nobody who does not speak TLS: only the log tells.
        world.start();
        world.ada_passes();
        world.logged(1, &["security.weakened", "the cloud link is not encrypted"]);
        world.logged(1, &["alarm.raised", "the cloud link is not encrypted"]);
        world.kill();
    }
    world.site.configure(in_the_clear, secure).unwrap();
    world.start();
    world.ready();
    let raised = world.event("alarm.raised", |json| json["source"] == json!({ "of": "weakened" }));
    let ended = world.event_of("alarm.ended", "alarm", raised.json["alarm"].as_str().unwrap());
    assert_eq!(ended.json["acknowledged"], false);
    world.drained();
    assert_eq!((world.count("alarm.raised"), world.count("security.weakened")), (1, 1), "told once");
    world.online("no alarm", |online| online.alarms == 0);
}

#[test]
fn a_reader_that_babbles_fills_no_log_and_keeps_nobody_out() {
    let world = running();
    world.site.field.swings[0].set_visitors(false);
    let front = world.site.field.front.clone();
    for _ in 0..120 {
        front.present_card(26, card(STRANGER));
        // A board shows one read at a time.
        polled(&world);
    }
    world.card(ADA);
    world.coil(&front, true);
    let babbling = world.event("reader.babbling", |_| true);
    assert_eq!(babbling.json["reader"], "front-in");
    world.drained();
    let denied = world.count("access.denied");
    assert!((60..=75).contains(&denied), "{denied}");
}

//! What the node tells beside the work of its doors: of a link that broke, of its own end, of holds that do not show, of
//! wires that flap, of consequences that were too many, and of alarms that nobody ever saw.

use latchd::wire::outcome::Stage;
use serde_json::{Value, json};

use crate::{
    consequences::{BUTTON_INPUT, house},
    house::House,
    world::World,
};

fn on_the_button(actions: Vec<Value>) -> Value {
    json!({ "when": { "trigger": "input_activated" }, "do": actions })
}

/// So many system events of this many actions each, all set off by the one button.
fn many(events: usize, actions: usize, action: impl Fn(String) -> Value) -> Vec<(String, Value)> {
    let event = |number: usize| {
        let actions = (0..actions).map(|of_it| action(format!("{number}.{of_it}"))).collect();
        (format!("bell-{number}"), on_the_button(actions))
    };
    (0..events).map(event).collect()
}

fn listens(house: &House, events: &[(String, Value)]) {
    house.set(&events.iter().map(|(id, body)| ("system_event", id.as_str(), body.clone())).collect::<Vec<_>>());
}

#[test]
fn a_link_that_broke_and_a_node_that_was_stopped_are_in_the_log_when_the_cloud_hears_again() {
    let mut world = World::running();
    world.site.broker.stop();
    world.logged(1, &["cloud.lost"]);
    world.site.broker.start_again().unwrap();
    let lost = world.event("cloud.lost", |_| true);
    assert!(lost.replayed && lost.json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{lost:?}");
    let restored = world.event("cloud.restored", |_| true);
    assert!(restored.seq > lost.seq);
    assert_eq!(world.stop(), Some(0));
    world.start();
    let stopping = world.event("node.stopping", |_| true);
    let started = world.event("node.started", |json| json["clean"] == true && json["seq"] != 1);
    assert_eq!(started.seq, stopping.seq + 1, "nothing happens after the one and before the other");
}

#[test]
fn a_hold_beneath_another_begins_and_ends_without_a_change_of_the_mode_and_is_told_all_the_same() {
    let house = House::running(&[]);
    let at_lab = || json!({ "doors": ["lab"] });
    house.done("door.force", json!({ "door": "lab", "state": "closed" }));
    house.state_says("door/lab", json!({ "mode": "LockedDown" }));
    house.drained();
    let modes = house.count("door.mode_changed");
    for (cmd, held) in [("lockdown.set", true), ("lockdown.clear", false)] {
        let wanted = json!({ "door": "lab", "hold": "lockdown", "held": held, "actor": { "operator": "op-ada" } });
        house.told("door.hold_changed", wanted, || drop(house.done(cmd, at_lab())));
    }
    house.state_says("door/lab", json!({ "mode": "LockedDown" }));
    house.drained();
    assert_eq!(house.count("door.mode_changed"), modes);
    house.done("door.force", json!({ "door": "lab", "state": "released" }));
    house.state_says("door/lab", json!({ "mode": "Locked" }));
}

#[test]
fn a_button_that_flaps_is_heeded_each_time_and_told_sixty_times_and_then_counted() {
    let house = house("", &[]);
    house.told("input.activated", json!({ "input": "button" }), || house.inside.set_input(BUTTON_INPUT, true));
    let mut on = true;
    house.until("enough", || {
        on = !on;
        house.inside.set_input(BUTTON_INPUT, on);
        house.polled(&house.inside);
        house.count("input.flapping") > 0
    });
    let flapping = house.event_of("input.flapping", "input", "button");
    assert_eq!(flapping.json["what"], "input");
    assert!(flapping.json["count"].as_u64().is_some_and(|count| count >= 1), "{:?}", flapping.json);
    house.drained();
    assert!(house.count("input.activated") + house.count("input.cleared") >= 60);
}

#[test]
fn what_a_system_event_has_put_off_is_told_when_it_is_taken_back() {
    let opens_later = json!({ "action": "door_open_with_delay", "doors": ["store"], "delay_ms": 60_000 });
    let house = house("", &[("system_event", "late", on_the_button(vec![opens_later]))]);
    let press = || house.inside.set_input(BUTTON_INPUT, true);
    house.told("system_event.fired", json!({ "system_event": "late" }), press);
    let failed = json!({ "system_event": "late", "action": "door.open_with_delay", "outcome": "cancelled" });
    let told =
        house.told("system_event.failed", failed, || drop(house.order("door.close", json!({ "door": "store" }))));
    assert!(told["detail"].as_str().unwrap().contains("door.close"), "{told}");
}

#[test]
fn of_more_alarms_than_a_node_keeps_the_oldest_make_room_and_are_told() {
    let house = house("", &[]);
    listens(&house, &many(9, 32, |text| json!({ "action": "alarm", "text": text })));
    house.inside.set_input(BUTTON_INPUT, true);
    house.event_of("alarm.raised", "text", "8.31");
    house.drained();
    let raised = |text: &str| house.event_of("alarm.raised", "text", text).json["alarm"].clone();
    let standing_max = 256;
    assert_eq!((house.count("alarm.raised"), house.count("alarm.forgotten")), (288, 288 - standing_max));
    let oldest = raised("0.0");
    house.event("alarm.forgotten", |json| json["alarm"] == oldest);
    // What was forgotten nobody can acknowledge; what stands somebody can.
    let unknown = latchd::domain::event::Refusal::UnknownTarget;
    house.refuses("op-ada", "alarm.acknowledge", json!({ "alarm": oldest }), unknown);
    house.answered("alarm.acknowledge", json!({ "alarm": raised("8.31") }));
}

#[test]
fn consequences_of_one_input_that_are_too_many_are_cut_off_and_the_doors_go_on() {
    let house = house("", &[]);
    listens(&house, &many(140, 32, |_| json!({ "action": "notify" })));
    house.inside.set_input(BUTTON_INPUT, true);
    let broken = house.event("system.chain_broken", |_| true);
    assert!(broken.json["detail"].as_str().unwrap().contains("4096"), "{:?}", broken.json);
    let open = house.order("door.open_and_close", json!({ "door": "store" }));
    house.stage(&open, Stage::Actuated);
    house.drained();
    assert!(house.count("notification.sent") < 4096);
}

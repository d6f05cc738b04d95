//! The timing words of a door and what outranks what, seen at the relay: how long it is released for whom, when it
//! falls again, what warns before what, and that the way out is free in every mode.

use std::time::{Duration, Instant};

use latchd::{domain::event::Refusal, wire::outcome::Stage};
use latchd_sim::{
    board::Write,
    site::{CONTACT_INPUT, LOCK_COIL, REX_INPUT},
};
use serde_json::{Value, json};

use crate::{
    house::{CLEO, DAN, House},
    story::in_ms,
};

impl House {
    /// How long the lab's strike had power the last time.
    fn released_for(&self) -> Duration {
        self.lab_becomes(true);
        self.lab_becomes(false);
        let writes = self.lab.take_writes();
        let last = |wanted: bool| -> Instant {
            let of_lock = |(at, write): &(Instant, Write)| match *write {
                Write::Coil { address: LOCK_COIL, on } if on == wanted => Some(*at),
                _ => None,
            };
            writes.iter().filter_map(of_lock).next_back().unwrap()
        };
        // The first write that released it: a refresh repeats the level.
        let first = writes.iter().find(|(_, write)| *write == Write::Coil { address: LOCK_COIL, on: true }).unwrap().0;
        last(false) - first
    }
}

#[test]
fn whoever_needs_more_time_has_it_and_an_operator_says_how_long() {
    let extended = json!({ "groups": ["crew"], "extended_access": true });
    let lab = "dwell_ms = 500\ndwell_extended_ms = 1500\nrelock = \"after_dwell\"";
    let house = House::with(lab, &[], &[("person", "cleo", extended)]);
    let between = |least: u64, most: u64, took: Duration| {
        let bounds = Duration::from_millis(least)..Duration::from_millis(most);
        assert!(bounds.contains(&took), "{took:?} is not within {bounds:?}");
    };
    house.granted(json!({ "person": "dan" }), || house.at_lab(DAN));
    between(400, 1_400, house.released_for());
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
    between(1_400, 2_900, house.released_for());
    house.done("door.open_and_close", json!({ "door": "lab", "dwell_ms": 1000 }));
    between(900, 1_400, house.released_for());
}

#[test]
fn a_door_locks_again_as_it_opens_or_only_when_it_has_closed() {
    let on_open = House::with("dwell_ms = 60000\nrelock = \"on_open\"", &[], &[]);
    on_open.granted(json!({}), || on_open.at_lab(CLEO));
    on_open.lab_becomes(true);
    on_open.opens_door("lab");
    on_open.lab_becomes(false);
    on_open.state_says("door/lab", json!({ "mode": "Locked", "contact": "open", "alarm": "none" }));
    on_open.closes_door("lab");
    drop(on_open);

    let on_close = House::with("dwell_ms = 60000\nrelock = \"on_close\"", &[], &[]);
    on_close.granted(json!({}), || on_close.at_lab(CLEO));
    on_close.lab_becomes(true);
    on_close.opens_door("lab");
    on_close.polled(&on_close.lab);
    assert!(on_close.lab_unlocked(), "a magnet that pulls an open door catches nothing");
    on_close.closes_door("lab");
    on_close.lab_becomes(false);
    on_close.state_says("door/lab", json!({ "mode": "Locked", "contact": "closed" }));
}

#[test]
fn a_door_that_stands_open_warns_is_propped_and_is_cleared_when_it_closes_or_may_stay_open() {
    let house = House::with("open_time_ms = 1500\npre_alarm_ms = 700", &[], &[]);
    house.granted(json!({}), || house.at_lab(CLEO));
    house.lab_becomes(true);
    house.told("door.prop_warned", json!({ "door": "lab" }), || house.lab.set_input(CONTACT_INPUT, false));
    house.state_says("door/lab", json!({ "alarm": "prop_warning" }));
    house.event("door.propped", |json| json["door"] == "lab");
    house.state_says("door/lab", json!({ "alarm": "propped" }));
    house.told("door.alarm_cleared", json!({ "door": "lab" }), || house.lab.set_input(CONTACT_INPUT, true));
    house.state_says("door/lab", json!({ "alarm": "none" }));

    // Whoever pushes just as the lock falls was not too late; after that it is by force. And by right again once an operator says that it is open.
    house.passes(in_ms(1_000));
    house.told("door.forced", json!({ "door": "lab" }), || house.lab.set_input(CONTACT_INPUT, false));
    house.state_says("door/lab", json!({ "alarm": "forced" }));
    house.told("door.alarm_cleared", json!({ "door": "lab" }), || {
        drop(house.done("door.open", json!({ "door": "lab" })))
    });
    house.told("door.prop_warned", json!({ "door": "lab" }), || {
        drop(house.order("door.close", json!({ "door": "lab" })))
    });
    let before = house.count("door.forced");
    house.closes_door("lab");
    assert_eq!((before, house.count("door.forced")), (1, 1));
}

#[test]
fn the_way_out_is_free_in_every_mode_and_no_alarm() {
    let house = House::running(&[]);
    for (cmd, args, mode) in [
        ("door.close", json!({ "door": "lab" }), "Locked"),
        ("door.dnd", json!({ "door": "lab", "set": "on" }), "Blocked"),
        ("door.force", json!({ "door": "lab", "state": "closed" }), "LockedDown"),
        ("lockdown.set", json!({ "doors": ["lab"] }), "LockedDown"),
    ] {
        let jti = house.order(cmd, args);
        // door.close is seen closed at once.
        house.cloud(cmd, |cloud| {
            let mut stages = cloud.outcomes_of(&jti).map(|outcome| outcome.stage);
            stages.any(|stage| matches!(stage, Stage::Actuated | Stage::Observed)).then_some(())
        });
        house.state_says("door/lab", json!({ "mode": mode, "lock": "locked" }));
        house.told("rex.activated", json!({ "door": "lab" }), || house.lab.set_input(REX_INPUT, true));
        house.lab_becomes(true);
        house.state_says("door/lab", json!({ "mode": "Accessed" }));
        house.opens_door("lab");
        house.lab.set_input(REX_INPUT, false);
        house.closes_door("lab");
        house.lab_becomes(false);
        house.state_says("door/lab", json!({ "mode": mode }));
    }
    assert_eq!(house.count("door.forced"), 0);
}

#[test]
fn where_the_exit_is_mechanical_its_contact_moves_no_lock_and_excuses_the_opening() {
    let rex = "rex = { input = \"lab/in-2\", active = true, releases = false }";
    let house = House::with(rex, &[], &[]);
    house.lab.take_writes();
    house.told("rex.activated", json!({ "door": "lab" }), || house.lab.set_input(REX_INPUT, true));
    house.opens_door("lab");
    house.lab.set_input(REX_INPUT, false);
    house.closes_door("lab");
    house.polled(&house.lab);
    let unlocks = |(_, write): &(Instant, Write)| *write == Write::Coil { address: LOCK_COIL, on: true };
    assert!(!house.lab.take_writes().iter().any(unlocks));
    assert_eq!(house.count("door.forced"), 0);
}

#[test]
fn a_force_says_the_same_however_often_it_comes_and_is_released_by_name() {
    let house = House::running(&[]);
    let force = |state: &str| json!({ "door": "lab", "state": state });
    for _ in 0..2 {
        house.done("door.force", force("open"));
        house.state_says("door/lab", json!({ "mode": "LockedOpen", "lock": "unlocked" }));
    }
    house.denied_for("forced", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    // Standing open is what was asked for: no alarm.
    house.opens_door("lab");
    house.closes_door("lab");
    assert_eq!(house.count("door.forced"), 0);
    house.refuses("op-ada", "door.close", json!({ "door": "lab" }), Refusal::Conflict);
    house.done("door.force", force("closed"));
    house.lab_becomes(false);
    house.state_says("door/lab", json!({ "mode": "LockedDown" }));
    house.refuses("op-ada", "door.open", json!({ "door": "lab" }), Refusal::Conflict);
    for _ in 0..2 {
        house.done("door.force", force("released"));
        house.state_says("door/lab", json!({ "mode": "Locked" }));
    }
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
}

#[test]
fn a_lockdown_of_a_partition_locks_its_doors_and_no_other_and_is_cleared_by_its_name() {
    let wing = json!({ "doors": ["lab", "store"] });
    let house = House::running(&[("partition", "wing", wing)]);
    house.done("door.open", json!({ "door": "store" }));
    house.done("lockdown.set", json!({ "partition": "wing" }));
    house.state_says("door/lab", json!({ "mode": "LockedDown" }));
    house.state_says("door/store", json!({ "mode": "LockedDown", "lock": "locked" }));
    house.denied_for("locked_down", json!({ "door": "lab" }), || house.at_lab(CLEO));
    house.granted(json!({ "person": "ada", "door": "front" }), || house.card(crate::world::ADA));
    // The partition is smaller by now: what it had locked down stays so until it is named.
    house.set(&[("partition", "wing", json!({ "doors": ["store"] }))]);
    house.done("lockdown.clear", json!({ "partition": "wing" }));
    house.state_says("door/store", json!({ "mode": "Unlocked" }));
    house.state_says("door/lab", json!({ "mode": "LockedDown" }));
    house.done("lockdown.clear", json!({ "doors": ["lab"] }));
    house.granted(json!({ "door": "lab" }), || house.at_lab(CLEO));
    house.refuses("op-ada", "lockdown.set", json!({ "partition": "attic" }), Refusal::UnknownTarget);
}

#[test]
fn a_door_closes_when_its_delay_is_over_and_tells_how_it_is_when_asked() {
    let house = House::running(&[]);
    let asked =
        |house: &House| -> Value { house.answered("door.state.get", json!({ "door": "lab" }))["state"].clone() };
    assert_eq!((&asked(&house)["mode"], &asked(&house)["contact"]), (&json!("Locked"), &json!("closed")));
    house.done("door.open", json!({ "door": "lab" }));
    let due = in_ms(1_200);
    let jti = house.order("door.close_with_delay", json!({ "door": "lab", "delay_ms": 1200 }));
    house.stage(&jti, Stage::Scheduled);
    let open = asked(&house);
    assert_eq!((&open["mode"], &open["delays"][0]["jti"]), (&json!("Unlocked"), &json!(jti)));
    house.lab_becomes(false);
    assert!(latchd_sim::cloud::client::wall_now() >= due);
    house.stage(&jti, Stage::Actuated);
    house.state_says("door/lab", json!({ "mode": "Locked" }));
}

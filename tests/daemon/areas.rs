//! Who is where, from the readers on both sides of a door to the count that the cloud sees: anti-passback, how full
//! an area may be, and doors of which only one may be open.

use latchd::{
    domain::{event::Refusal, time::ClockTrust},
    wire::outcome::Stage,
};
use latchd_sim::site::{CONTACT_INPUT, LOCK_COIL};
use serde_json::{Value, json};

use crate::{
    house::{CLEO, DAN, ELI, House},
    story::{in_ms, with},
};

fn area(more: Value) -> (&'static str, &'static str, Value) {
    let body = json!({ "entry_readers": ["lab-in"], "exit_readers": ["lab-out"] });
    ("area", "lab", with(body, more))
}

impl House {
    fn enters(&self, person: &str, number: u16) {
        self.granted(json!({ "person": person, "reader": "lab-in" }), || self.at_lab(number));
        self.walks_through("lab");
    }

    fn leaves(&self, person: &str, number: u16) {
        self.granted(json!({ "person": person, "reader": "lab-out" }), || self.out_of_lab(number));
        self.walks_through("lab");
    }

    fn inside(&self, count: u32) {
        self.state_says("area/lab", json!({ "count": count }));
    }
}

#[test]
fn a_card_that_is_handed_back_opens_no_second_time_until_its_holder_has_left_or_an_operator_forgives() {
    let exempt = json!({ "groups": ["crew"], "apb_exempt": true });
    let mut house = House::running(&[area(json!({ "anti_passback": "hard" })), ("person", "eli", exempt)]);
    house.inside(0);
    house.enters("cleo", CLEO);
    house.inside(1);
    let violated = json!({ "person": "cleo", "area": "lab", "way": "entry", "denied": true });
    house.told("apb.violated", violated, || house.at_lab(CLEO));
    house.denied_for("apb_violation", json!({ "person": "cleo", "area": "lab" }), || house.at_lab(CLEO));
    assert!(!house.lab_unlocked());

    // The node knows it after a power cut, and without its cloud.
    house.drained();
    house.world.kill();
    house.world.site.broker.stop();
    house.world.start();
    house.world.ready();
    house.at_lab(CLEO);
    house.logged(1, &["access.denied", "reason=apb_violation"]);
    house.world.site.broker.start_again().unwrap();
    house.trusts_its_clock(ClockTrust::Trusted);
    house.inside(1);

    house.leaves("cleo", CLEO);
    house.inside(0);
    house.enters("cleo", CLEO);
    // Out of the window: an operator says that it is forgotten.
    let forgiven = json!({ "person": "cleo", "actor": { "operator": "op-ada" } });
    house.told("apb.cleared", forgiven, || drop(house.answered("apb.clear", json!({ "person": "cleo" }))));
    house.inside(0);
    house.enters("cleo", CLEO);
    // Whoever was never seen inside may leave, and whoever is exempt may come twice.
    house.leaves("dan", DAN);
    house.enters("eli", ELI);
    house.enters("eli", ELI);
    house.refuses("op-ada", "apb.clear", json!({ "area": "attic" }), Refusal::UnknownTarget);
}

#[test]
fn nobody_has_entered_who_did_not_open_the_door() {
    let house = House::running(&[area(json!({ "anti_passback": "hard" }))]);
    house.told("door.not_opened", json!({ "door": "lab", "actor": { "person": "cleo" } }), || house.at_lab(CLEO));
    house.lab_becomes(false);
    house.inside(0);
    house.enters("cleo", CLEO);
    house.inside(1);
}

#[test]
fn a_soft_violation_is_granted_and_told_and_a_hard_one_is_forgiven_after_its_time() {
    let house = House::running(&[area(json!({ "anti_passback": "soft" }))]);
    house.enters("dan", DAN);
    house.told("apb.violated", json!({ "person": "dan", "denied": false }), || house.at_lab(DAN));
    house.walks_through("lab");

    house.set(&[area(json!({ "anti_passback": "hard", "forgive_after_s": 3 }))]);
    house.enters("cleo", CLEO);
    let forgiven = in_ms(3_000);
    house.denied_for("apb_violation", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.passes(forgiven);
    house.enters("cleo", CLEO);
}

#[test]
fn an_area_takes_as_many_as_it_holds_and_the_next_when_somebody_leaves() {
    let house = House::running(&[area(json!({ "occupancy_max": 2 }))]);
    house.state_says("area/lab", json!({ "area": "lab", "count": 0, "limit": 2 }));
    house.enters("cleo", CLEO);
    house.enters("dan", DAN);
    house.inside(2);
    house.denied_for("area_full", json!({ "person": "eli", "area": "lab" }), || house.at_lab(ELI));
    // Nor from afar.
    let read = house.order("door.virtual_read", json!({ "door": "lab", "person": "eli" }));
    let answer = house.stage(&read, Stage::Done).detail.unwrap();
    assert_eq!((&answer["decision"]["granted"], &answer["decision"]["reason"]), (&json!(false), &json!("area_full")));
    house.leaves("cleo", CLEO);
    house.inside(1);
    house.enters("eli", ELI);
    house.inside(2);
    // An area that the set no longer has is nobody's state.
    house.set(&[("area", "lab", Value::Null)]);
    house.cloud("no state of the area", |cloud| (!cloud.states.contains_key("area/lab")).then_some(()));
    house.enters("cleo", CLEO);
}

#[test]
fn of_the_doors_of_a_mantrap_one_is_open_at_a_time_and_the_way_out_stays_free() {
    let house = House::running(&[("interlock", "trap", json!({ "doors": ["lab", "store"] }))]);
    house.granted(json!({ "door": "lab" }), || house.at_lab(CLEO));
    house.lab_becomes(true);
    house.opens_door("lab");
    house.state_says("door/store", json!({ "mode": "Blocked" }));
    house.denied_for("interlock", json!({ "door": "store", "person": "dan" }), || house.at_store(DAN));
    house.refuses("op-ada", "door.open_and_close", json!({ "door": "store" }), Refusal::Conflict);
    assert!(!house.store.coil(LOCK_COIL));
    house.closes_door("lab");
    house.lab_becomes(false);
    house.state_says("door/store", json!({ "mode": "Locked" }));
    house.granted(json!({ "door": "store" }), || house.at_store(DAN));
    house.relay(&house.store, LOCK_COIL, true);
    house.opens_door("store");
    house.state_says("door/lab", json!({ "mode": "Blocked" }));
    // Whoever is in the laboratory gets out.
    house.presses_exit();
    house.lab_becomes(true);
    house.lab_becomes(false);
    house.closes_door("store");
    house.state_says("door/lab", json!({ "mode": "Locked" }));
    // Without the interlock both may be open.
    house.set(&[("interlock", "trap", Value::Null)]);
    house.done("door.open", json!({ "door": "store" }));
    house.done("door.open", json!({ "door": "lab" }));
    assert!(house.lab_unlocked() && house.store.coil(LOCK_COIL));
    house.lab.set_input(CONTACT_INPUT, true);
}

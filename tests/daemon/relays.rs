//! Relays whose contacts are welded: the board takes every write and echoes it, and what it reads back is as before.
//! Nothing that an echo says is believed.

use latchd::wire::outcome::Stage;
use latchd_sim::site::LOCK_COIL;
use serde_json::json;

use crate::{
    cellar::Cellar,
    consequences::{SIREN_COIL, house},
    world::{STRANGER, World},
};

#[test]
fn a_lock_that_stays_open_although_it_was_ordered_shut_is_told_and_so_is_that_it_obeys_again() {
    let world = World::running();
    let front = world.site.field.front.clone();
    let open = world.command("door.open", "front");
    world.stage(&open, Stage::Actuated);
    front.jam(LOCK_COIL);
    let close = world.command("door.close", "front");
    let failed = world.stage(&close, Stage::Failed);
    assert!(
        failed.detail.unwrap().to_string().contains("reads back otherwise"),
        "the write was echoed, and did nothing"
    );
    world.event_of("door.lock_mismatched", "door", "front");
    world.lock_state("front", "unlocked");
    // Nobody else's door is any worse for it.
    world.card(STRANGER);
    world.event_of("access.denied", "door", "front");
    assert!(front.coil(LOCK_COIL));

    front.free(LOCK_COIL);
    world.coil(&front, false);
    world.event_of("door.lock_restored", "door", "front");
    world.lock_state("front", "locked");
    world.ada_passes();
    world.drained();
    assert_eq!((world.count("door.lock_mismatched"), world.count("door.lock_restored")), (1, 1));
}

#[test]
fn an_opening_that_a_welded_lock_does_not_follow_fails_and_is_not_tried_again_later() {
    let world = World::running();
    let front = world.site.field.front.clone();
    front.jam(LOCK_COIL);
    let open = world.command("door.open", "front");
    world.stage(&open, Stage::Failed);
    world.event_of("door.lock_mismatched", "door", "front");
    front.free(LOCK_COIL);
    world.coil(&front, false);
    world.lock_state("front", "Locked");
    world.ada_passes();
}

#[test]
fn a_floor_whose_relay_does_not_let_go_is_told_by_name_until_it_does() {
    let cellar = Cellar::running(&[]);
    let floor = || json!({ "floor_group": "lift", "floors": ["floor-1"] });
    let open = cellar.wish("floor.open", floor());
    cellar.world.stage(&open, Stage::Actuated);
    cellar.lift.jam(1);
    let close = cellar.wish("floor.close", floor());
    cellar.world.stage(&close, Stage::Failed);
    let mismatched = cellar.world.event_of("floor.relay_mismatched", "floor", "floor-1");
    assert_eq!(mismatched.json["floor_group"], "lift");
    cellar.state("floor_group/lift", |told| told["floor_group"]["floors"][1]["relay"] == "enabled");

    cellar.lift.free(1);
    cellar.world.event_of("floor.relay_restored", "floor", "floor-1");
    cellar.coil(&cellar.lift, 1, false);
    cellar.state("floor_group/lift", |told| told["floor_group"]["floors"][1]["relay"] == "disabled");
}

#[test]
fn a_siren_that_cannot_be_switched_off_is_told() {
    let house = house("", &[]);
    let siren = |on: bool| json!({ "output": "siren", "on": on });
    house.done("output.set", siren(true));
    house.inside.jam(SIREN_COIL);
    let off = house.order("output.set", siren(false));
    house.stage(&off, Stage::Failed);
    house.event_of("output.mismatched", "output", "siren");

    house.inside.free(SIREN_COIL);
    house.done("output.set", siren(false));
    house.relay(&house.inside, SIREN_COIL, false);
}

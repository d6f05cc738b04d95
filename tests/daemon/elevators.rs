//! An elevator over the wire, beyond the common ride: floors that several rules give and one takes, people who need
//! more time, floors that stay free when their board is lost, and who may order what there.

use std::time::Duration;

use latchd::{domain::event::Refusal, wire::outcome::Stage};
use latchd_sim::{board::Write, cloud::Wish, site::card};
use serde_json::{Value, json};

use crate::{
    cellar::Cellar,
    story::{card_of, in_ms},
    world::ADA,
};

const BEA: u16 = 3001;

fn floors(floors: Value) -> Value {
    json!([{ "floor_group": "lift", "floors": floors }])
}

fn allow(groups: Value, which: Value) -> Value {
    json!({ "effect": "allow", "groups": groups, "floors": floors(which) })
}

impl Cellar {
    fn rides(&self, number: u16) {
        self.lift.present_card(26, card(number));
    }
}

#[test]
fn one_read_enables_what_all_rules_give_but_for_what_a_deny_takes() {
    let cellar = Cellar::running(&[
        ("group", "guests", json!({})),
        ("person", "bea", json!({ "groups": ["guests", "staff"] })),
        ("credential", "bea-card", card_of("bea", BEA)),
        ("access_rule", "guests-in-the-lift", allow(json!(["guests"]), json!(["floor-1"]))),
        (
            "access_rule",
            "no-floor-0",
            json!({ "effect": "deny", "persons": ["bea"], "floors": floors(json!(["floor-0"])) }),
        ),
    ]);
    let granted = cellar.world.granted(json!({ "person": "bea", "floor_group": "lift" }), || cellar.rides(BEA));
    assert_eq!(granted["floors"], json!(["floor-1", "floor-2"]));
    cellar.coil(&cellar.lift, 1, true);
    cellar.coil(&cellar.lift, 2, true);
    assert!(!cellar.lift.coil(0));
    cellar.coil(&cellar.lift, 1, false);
    cellar.coil(&cellar.lift, 2, false);
    // All floors denied is a denial.
    let deny = json!({ "effect": "deny", "persons": ["bea"], "floors": [{ "floor_group": "lift" }] });
    cellar.world.set(&[("access_rule", "no-floor-0", deny)]);
    cellar.world.denied_for("explicit_deny", json!({ "person": "bea", "floor_group": "lift" }), || cellar.rides(BEA));
    assert!((0..3).all(|floor| !cellar.lift.coil(floor)));
}

#[test]
fn whoever_needs_more_time_rides_longer_and_nobody_keeps_a_floor_that_was_closed() {
    let cellar = Cellar::with(
        "enable_s = 2",
        "enable_s = 1\nenable_extended_s = 3",
        &[("person", "ada", json!({ "groups": ["staff"], "extended_access": true }))],
    );
    cellar.lift.take_writes();
    cellar.world.granted(json!({ "person": "ada" }), || cellar.rides(ADA));
    cellar.coil(&cellar.lift, 0, true);
    cellar.coil(&cellar.lift, 0, false);
    let writes = cellar.lift.take_writes();
    let at = |on: bool| {
        let write = Write::Coil { address: 0, on };
        writes.iter().find(|(_, written)| *written == write).unwrap().0
    };
    let enabled_for = at(false) - at(true);
    assert!((2_800..4_500).contains(&enabled_for.as_millis()), "{enabled_for:?}");
    // An operator who closes a floor ends the ride that had enabled it.
    cellar.world.granted(json!({ "person": "ada" }), || cellar.rides(ADA));
    cellar.coil(&cellar.lift, 2, true);
    let close = cellar.wish("floor.close", json!({ "floor_group": "lift", "floors": ["floor-2"] }));
    cellar.world.stage(&close, Stage::Actuated);
    assert!(!cellar.lift.coil(2));
}

#[test]
fn an_elevator_that_is_to_be_free_is_so_when_its_board_was_lost_and_is_secured_when_the_node_has_it_again() {
    let mut cellar = Cellar::with("enable_s = 2", "enable_s = 2\nfail = \"free\"", &[]);
    cellar.world.block_on(cellar.server.take().unwrap().stop());
    let lost = cellar.world.event_of("floor.lost", "floor_group", "lift");
    assert_eq!(lost.json["fail"], "free");
    cellar.state("floor_group/lift", |told| told["floor_group"]["floors"][0]["enabled"] != false);
    cellar.plug_again();
    cellar.world.event_of("floor.restored", "floor_group", "lift");
    (0..3).for_each(|floor| cellar.coil(&cellar.lift, floor, false));
    // The same at the end of the node.
    let sealed = cellar.world.stop();
    assert_eq!(sealed, Some(0));
    (0..3).for_each(|floor| cellar.coil(&cellar.lift, floor, true));
}

/// The board is gone from the line, and on it again when the daemon has noticed.
fn loses_its_board(cellar: &mut Cellar) {
    cellar.world.block_on(cellar.server.take().unwrap().stop());
    let lost = cellar.world.event_of("floor.lost", "floor_group", "lift");
    assert_eq!((&lost.json["fail"], &lost.json["floors"]), (&json!("keep"), &json!(["floor-0", "floor-1", "floor-2"])));
    cellar.plug_again();
    cellar.world.event_of("floor.restored", "floor_group", "lift");
}

fn disabled(cellar: &Cellar) -> Vec<u16> {
    let off = |(_, write)| match write {
        Write::Coil { address, on: false } => Some(address),
        _ => None,
    };
    cellar.lift.take_writes().into_iter().filter_map(off).collect()
}

#[test]
fn an_elevator_that_is_to_keep_its_floors_keeps_them_without_its_board_and_without_the_node() {
    let mut cellar = Cellar::with("enable_s = 2", "enable_s = 9\nfail = \"keep\"", &[]);
    let open = cellar.wish("floor.open", json!({ "floor_group": "lift", "floors": ["floor-1"] }));
    cellar.world.stage(&open, Stage::Actuated);
    cellar.world.granted(json!({ "person": "ada" }), || cellar.rides(ADA));
    cellar.coil(&cellar.lift, 0, true);
    cellar.coil(&cellar.lift, 2, true);
    cellar.lift.take_writes();
    loses_its_board(&mut cellar);
    cellar.seen(&cellar.lift);
    assert!(disabled(&cellar).is_empty(), "the ride goes on where it was");
    // Its time goes on as well.
    cellar.coil(&cellar.lift, 0, false);
    cellar.coil(&cellar.lift, 2, false);
    assert!(cellar.lift.coil(1), "what an operator opened holds");

    // At a stop what lasts stays, and what was enabled for a while is over: nobody would end it.
    cellar.world.granted(json!({ "person": "ada" }), || cellar.rides(ADA));
    cellar.coil(&cellar.lift, 0, true);
    cellar.coil(&cellar.lift, 2, true);
    cellar.lift.take_writes();
    assert_eq!(cellar.world.stop(), Some(0));
    assert_eq!((0..3).map(|floor| cellar.lift.coil(floor)).collect::<Vec<_>>(), [false, true, false]);
    // And when it dies everything does, until the next run ends what it does not remember.
    cellar.world.start();
    cellar.world.ready();
    cellar.world.granted(json!({ "person": "ada" }), || cellar.rides(ADA));
    cellar.coil(&cellar.lift, 0, true);
    cellar.coil(&cellar.lift, 2, true);
    cellar.world.kill();
    assert!((0..3).all(|floor| cellar.lift.coil(floor)));
    cellar.world.start();
    cellar.world.ready();
    cellar.coil(&cellar.lift, 0, false);
    cellar.coil(&cellar.lift, 2, false);
    assert!(cellar.lift.coil(1));
    assert!(!disabled(&cellar).contains(&1));
    cellar.state("floor_group/lift", |told| {
        let floors = &told["floor_group"]["floors"];
        floors[1]["cause"] == "open" && floors[0]["enabled"] == false
    });
}

#[test]
fn floors_are_ordered_by_whoever_has_the_elevator_and_public_ones_are_a_matter_of_the_set() {
    let operator = |role: &str, partitions: Value| json!({ "status": { "state": "active" }, "role": role, "partitions": partitions });
    let cellar = Cellar::running(&[
        ("partition", "shaft", json!({ "floor_groups": ["lift"] })),
        ("partition", "yard", json!({ "doors": ["front"] })),
        ("operator", "op-lia", operator("admin", json!(["shaft"]))),
        ("operator", "op-max", operator("manager", json!(["yard"]))),
    ]);
    let world = &cellar.world;
    let floor = || json!({ "floor_group": "lift", "floors": ["floor-1"] });
    world.refuses("op-max", "floor.open", floor(), Refusal::OutOfScope);
    world.refuses("op-rita", "floor.open", floor(), Refusal::Forbidden);
    let public = json!({ "id": "lift", "body": { "public": [{ "floors": ["floor-0"] }] } });
    world.refuses("op-max", "floor_group.put", public.clone(), Refusal::Forbidden);
    let open = world.by("op-lia", "floor.open", floor());
    world.stage(&open, Stage::Actuated);
    assert!(cellar.lift.coil(1));
    // Who has it is told of it as well, and nobody else who is limited.
    world.event("floor.enabled", |json| json["actor"]["operator"] == "op-lia");
    for (operator, sees) in [("op-lia", true), ("op-max", false)] {
        let jti = world.by(operator, "reports.query", json!({ "filter": { "types": ["floor.enabled"] } }));
        let told = world.stage(&jti, Stage::Done).detail.unwrap()["report"]["events"].clone();
        let told = told.as_array().unwrap();
        assert_eq!(told.iter().any(|event| event["actor"]["operator"] == "op-lia"), sees, "{operator}: {told:?}");
        assert!(sees || told.is_empty(), "{told:?}");
    }
    let put = world.by("op-lia", "floor_group.put", public);
    world.stage(&put, Stage::Done);
    cellar.coil(&cellar.lift, 0, true);
    cellar.state("floor_group/lift", |told| {
        let floors = &told["floor_group"]["floors"];
        floors[0]["cause"] == "public" && floors[1]["enabled"] == true
    });
}

#[test]
fn an_elevator_is_locked_down_with_its_partition_or_the_node_and_freed_by_nothing_less_or_older() {
    let limited = json!({ "status": { "state": "active" }, "role": "manager", "doors": ["front", "key-02"] });
    let cellar_of = json!({ "lockers": ["key-02"], "floor_groups": ["lift"] });
    let panic = json!({
        "when": { "trigger": "denied", "reasons": ["unknown_credential"] },
        "do": [{ "action": "lockdown_set", "partition": "cellar" }],
    });
    let mut cellar = Cellar::running(&[
        ("partition", "shaft", json!({ "floor_groups": ["lift"] })),
        ("partition", "cellar", cellar_of),
        ("operator", "op-max", limited),
    ]);
    let locked = |cellar: &Cellar, on: bool| {
        cellar.state("floor_group/lift", |told| told["floor_group"]["lockdown"] == on);
    };
    let done = |cellar: &Cellar, cmd: &str, args: Value| {
        let jti = cellar.wish(cmd, args);
        cellar.world.stage(&jti, Stage::Actuated);
    };
    done(&cellar, "floor.open", json!({ "floor_group": "lift", "floors": ["floor-1"] }));
    let earlier = in_ms(-500);

    // By the partition that has nothing else: read back before it is called done.
    done(&cellar, "lockdown.set", json!({ "partition": "shaft" }));
    assert!((0..3).all(|floor| !cellar.lift.coil(floor)));
    locked(&cellar, true);
    cellar.world.denied_for("locked_down", json!({ "person": "ada", "floor_group": "lift" }), || cellar.rides(ADA));
    cellar.world.drained();
    cellar.world.restart();
    cellar.world.denied_for("locked_down", json!({ "person": "ada", "floor_group": "lift" }), || cellar.rides(ADA));

    // Whoever has doors frees doors; and what the broker kept back since before it frees nothing.
    let clears = cellar.world.by("op-max", "lockdown.clear", json!({ "doors": ["front", "key-02"] }));
    cellar.world.stage(&clears, Stage::Actuated);
    cellar.world.refuses("op-max", "lockdown.clear", json!({ "partition": "cellar" }), Refusal::OutOfScope);
    let (late, message) = {
        let mut cloud = cellar.world.site.cloud.cloud();
        let wish = Wish {
            lifetime: Duration::from_secs(60),
            ..Wish::new("op-ada", "lockdown.clear", json!({ "partition": "shaft" }))
        };
        cloud.command(earlier, &wish)
    };
    cellar.world.site.cloud.publish(message).unwrap();
    cellar.world.refused(&late, Refusal::Conflict);
    locked(&cellar, true);
    assert!(!cellar.lift.coil(1));

    // What then holds is recomputed.
    done(&cellar, "lockdown.clear", json!({ "partition": "shaft" }));
    cellar.coil(&cellar.lift, 1, true);
    done(&cellar, "lockdown.set", json!({ "node": true }));
    locked(&cellar, true);
    done(&cellar, "lockdown.clear", json!({ "node": true }));
    locked(&cellar, false);

    // A system event reaches as far as the command: lockers and elevators of the partition.
    cellar.world.set(&[("system_event", "panic", panic)]);
    cellar.rides(4711);
    locked(&cellar, true);
    cellar.world.lock_state("key-02", "LockedDown");
    done(&cellar, "lockdown.clear", json!({ "partition": "cellar" }));
    locked(&cellar, false);

    // A board that is lost confirms nothing: it is said of the elevator, which is locked down all the same.
    cellar.world.block_on(cellar.server.take().unwrap().stop());
    cellar.world.event_of("floor.lost", "floor_group", "lift");
    let jti = cellar.wish("lockdown.set", json!({ "partition": "shaft" }));
    let outcome = cellar.world.stage(&jti, Stage::Failed);
    assert_eq!(outcome.detail.unwrap()["doors"]["lift"]["stage"], "failed");
    locked(&cellar, true);
}

#[test]
fn the_end_of_a_lockdown_opens_no_floor_whose_board_is_gone_not_even_once_it_is_back() {
    let mut cellar = Cellar::running(&[("partition", "shaft", json!({ "floor_groups": ["lift"] }))]);
    let shaft = || json!({ "partition": "shaft" });
    let done = |cellar: &Cellar, cmd: &str, args: Value| {
        let jti = cellar.wish(cmd, args);
        cellar.world.stage(&jti, Stage::Actuated);
    };
    done(&cellar, "floor.open", json!({ "floor_group": "lift", "floors": ["floor-1"] }));
    done(&cellar, "lockdown.set", shaft());

    // Gone before anybody has noticed: what could not be written by its deadline is dropped.
    cellar.world.block_on(cellar.server.take().unwrap().stop());
    let lifetime = Duration::from_secs(1);
    let late = cellar.world.wish(&Wish { lifetime, ..Wish::new("op-ada", "lockdown.clear", shaft()) });
    let outcome = cellar.world.stage(&late, Stage::Expired);
    assert_eq!(outcome.detail.unwrap()["doors"]["lift"]["stage"], "expired");
    // Gone for everybody.
    cellar.world.event_of("floor.lost", "floor_group", "lift");
    let jti = cellar.wish("lockdown.clear", shaft());
    let outcome = cellar.world.stage(&jti, Stage::Refused);
    let told = &outcome.detail.unwrap()["doors"]["lift"];
    assert_eq!((&told["stage"], &told["reason"]), (&json!("refused"), &json!("bus_down")), "{told}");
    cellar.plug_again();
    cellar.world.event_of("floor.restored", "floor_group", "lift");
    cellar.world.denied_for("locked_down", json!({ "person": "ada", "floor_group": "lift" }), || cellar.rides(ADA));
    assert!((0..3).all(|floor| !cellar.lift.coil(floor)));

    // Nothing is in the way any more.
    done(&cellar, "lockdown.clear", shaft());
    assert!(cellar.lift.coil(1));
    cellar.world.granted(json!({ "person": "ada", "floor_group": "lift" }), || cellar.rides(ADA));
}

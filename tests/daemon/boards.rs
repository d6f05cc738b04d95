//! Boards that answer wrongly, late or not at all, and lines that are pulled out.

use std::time::Duration;

use latchd::{domain::event::Refusal, wire::outcome::Stage};
use latchd_sim::{
    board::Fault,
    site::{LOCK_COIL, card},
};

use crate::world::{ADA, World, unlockings};

/// A second is long in a test: boards are lost sooner here.
fn impatient() -> World {
    let mut world = World::new();
    for (bus, timeout) in [("lan", 60), ("riser", 60)] {
        let head = format!("id = \"{bus}\"\n");
        world.site.configure(&head, &format!("{head}timeout_ms = {timeout}\n")).unwrap();
    }
    world.site.configure("profile = \"generic-8ch\"", "profile = \"generic-8ch\"\nlost_after_ms = 250").unwrap();
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    world.ready();
    world.listens_at_glass();
    world
}

fn lost(world: &World, board: &str, times: usize) {
    told(world, "board.lost", board, times);
}

fn restored(world: &World, board: &str, times: usize) {
    told(world, "board.restored", board, times);
}

fn told(world: &World, kind: &str, board: &str, times: usize) {
    world.cloud(&format!("{kind} of {board}, {times} times"), |cloud| {
        let of_it = cloud.events.iter().filter(|event| event.kind == kind && event.json["board"] == board);
        (of_it.count() >= times).then_some(())
    });
}

fn ada_passes_glass(world: &World) {
    world.card_at_glass(ADA);
    world.coil(&world.site.field.glass, false);
    world.coil(&world.site.field.glass, true);
}

const FAULTS: [Fault; 4] =
    [Fault::Silent, Fault::Exception(200), Fault::Garbage, Fault::Late(Duration::from_millis(500))];

#[test]
fn a_tcp_board_that_misbehaves_is_lost_and_restored_while_the_other_bus_goes_on() {
    let world = impatient();
    let front = world.site.field.front.clone();
    for (times, fault) in (1..).zip(FAULTS) {
        front.set_fault(fault);
        lost(&world, "gate", times);
        let jti = world.command("door.open_and_close", "front");
        world.refused(&jti, Refusal::BusDown);
        ada_passes_glass(&world);
        front.take_writes();
        front.set_fault(Fault::None);
        restored(&world, "gate", times);
        assert_eq!(unlockings(&front), 0, "{fault:?}: what was refused moved the relay");
        world.card(ADA);
        world.coil(&front, true);
        world.coil(&front, false);
    }
    assert_eq!(world.count("reader.lost"), world.count("reader.restored"));
}

#[test]
fn an_rtu_board_that_misbehaves_is_lost_and_restored_while_the_other_bus_goes_on() {
    let world = impatient();
    let glass = world.site.field.glass.clone();
    for (times, fault) in (1..).zip(FAULTS) {
        glass.set_fault(fault);
        lost(&world, "relays", times);
        let jti = world.command("door.open_and_close", "glass");
        world.refused(&jti, Refusal::BusDown);
        world.ada_passes();
        glass.set_fault(Fault::None);
        restored(&world, "relays", times);
        ada_passes_glass(&world);
    }
}

#[test]
fn connections_that_are_refused_and_a_port_that_is_pulled_out_are_told_and_come_back_by_themselves() {
    let mut world = impatient();
    for times in 1..=2 {
        world.with_field(async |field| field.unplug_gate().await);
        lost(&world, "gate", times);
        ada_passes_glass(&world);
        world.with_field(async |field| field.plug_gate().await).unwrap();
        restored(&world, "gate", times);
        world.with_field(async |field| field.unplug_riser().await);
        lost(&world, "relays", times);
        world.ada_passes();
        world.with_field(async |field| field.plug_riser()).unwrap();
        restored(&world, "relays", times);
        ada_passes_glass(&world);
    }
    let told = world.event_of("board.lost", "board", "gate");
    assert!(told.json["detail"].as_str().is_some_and(|detail| detail.contains("refused")), "{:?}", told.json);
}

#[test]
fn a_board_that_restarts_gets_back_the_state_that_its_door_should_have() {
    let world = impatient();
    let (front, glass) = (world.site.field.front.clone(), world.site.field.glass.clone());
    let jti = world.command("door.open", "front");
    world.stage(&jti, Stage::Actuated);
    front.reboot();
    assert!(!front.coil(LOCK_COIL));
    world.coil(&front, true);
    // A magnet without power lets go: it gets its power back.
    glass.reboot();
    assert!(!glass.coil(LOCK_COIL));
    world.coil(&glass, true);
    let jti = world.command("door.close", "front");
    world.stage(&jti, Stage::Actuated);
    front.reboot();
    world.ready();
    world.ada_passes();
}

#[test]
fn an_answer_that_got_lost_is_read_back_and_the_relay_is_written_no_second_time() {
    let world = impatient();
    let front = world.site.field.front.clone();
    front.take_writes();
    front.set_fault(Fault::Mute);
    let jti = world.command("door.open", "front");
    world.coil(&front, true);
    front.set_fault(Fault::None);
    let ends = world.cloud("an end", |cloud| {
        cloud.outcomes_of(&jti).find(|outcome| outcome.stage == Stage::Actuated || outcome.stage.always_ends()).cloned()
    });
    assert!(matches!(ends.stage, Stage::Actuated | Stage::Unknown | Stage::Refused), "{ends:?}");
    if ends.stage == Stage::Actuated {
        assert_eq!(unlockings(&front), 1);
    }
}

#[test]
fn an_order_whose_board_falls_silent_is_never_called_actuated_and_never_carried_out_late() {
    let world = impatient();
    let front = world.site.field.front.clone();
    front.take_writes();
    front.set_fault(Fault::Silent);
    let jti = world.command("door.open_and_close", "front");
    let end = world.cloud("an end", |cloud| {
        cloud.outcomes_of(&jti).find(|outcome| outcome.stage == Stage::Actuated || outcome.stage.always_ends()).cloned()
    });
    assert!(matches!(end.stage, Stage::Unknown | Stage::Expired | Stage::Refused | Stage::Failed), "{end:?}");
    lost(&world, "gate", 1);
    front.set_fault(Fault::None);
    restored(&world, "gate", 1);
    world.ada_passes();
    assert_eq!(unlockings(&front), 1, "only Ada's card moved the relay");
}

#[test]
fn nonsense_from_readers_is_counted_or_denied_and_harms_nothing() {
    let world = impatient();
    let front = world.site.field.front.clone();
    let long = "F".repeat(5000);
    let lines: [&[u8]; 10] = [
        b"\r\n\r\n\n",
        b"hello\r\n",
        b"26:\r\n",
        b":123\r\n",
        b"999:FF\r\n",
        b"26:FFFFFFFFFFFFFFFF\r\n",
        b"0:0\r\n",
        b"-1:-1\r\n",
        b"\x00\xFF\xFE\x80\r\n",
        long.as_bytes(),
    ];
    for line in lines {
        world.block_on(world.site.field.glass_reader.send(line)).unwrap();
    }
    world.block_on(world.site.field.glass_reader.send(b"\r\n")).unwrap();
    ada_passes_glass(&world);
    let denied = || {
        world.log().matches(" reason=bad_format ").count() + world.log().matches(" reason=unknown_credential ").count()
    };
    let before = denied();
    for (times, (bits, value)) in (1..).zip([(0, 1), (1, 3), (26, u64::MAX), (48, 7), (49, 1), (200, 1), (65_535, 0)]) {
        front.present_card(bits, value);
        world.until("a denial", || denied() >= before + times);
    }
    front.present_card(26, card(ADA));
    world.coil(&front, true);
}

#[test]
fn a_board_that_comes_and_goes_is_told_so_often_and_then_counted_and_its_door_goes_on_working() {
    let world = impatient();
    let front = world.site.field.front.clone();
    let told = |kind: &str, times: usize| {
        world.cloud(&format!("{kind} or board.flapping, {times}"), |cloud| {
            let of = |kind: &str| cloud.events.iter().filter(|event| event.kind == kind).count();
            (of(kind) >= times || of("board.flapping") > 0).then_some(())
        });
    };
    for times in 1.. {
        front.set_fault(Fault::Silent);
        told("board.lost", times);
        if world.count("board.flapping") > 0 {
            assert!((8..=14).contains(&times), "after {times} times");
            break;
        }
        front.set_fault(Fault::None);
        told("board.restored", times);
    }
    assert_eq!(world.event("board.flapping", |_| true).json["board"], "gate");
    // Its readers went with it.
    assert_eq!(world.event("reader.flapping", |_| true).json["reader"], "front-in");
    // The door says how it is, each time.
    world.lock_state("front", "unknown");
    front.set_fault(Fault::None);
    world.lock_state("front", "locked");
    world.card(ADA);
    world.coil(&front, true);
}

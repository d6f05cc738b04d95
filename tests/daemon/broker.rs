//! The broker: down, forgetful, cut off in mid-sentence, repeating itself, silent, hostile.

use std::{collections::BTreeMap, time::Duration};

use latchd::wire::outcome::Stage;
use latchd_sim::{
    board::Write,
    cloud::{Wish, client::wall_now},
    site::LOCK_COIL,
};
use serde_json::json;

use crate::world::{ADA, STRANGER, World, unlockings};

/// Every log without gaps from 1, as the cloud stored it. (That each event names the hash of the one before
/// is checked by the cloud itself.)
fn assert_gapless(world: &World) {
    let cloud = world.site.cloud.cloud();
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for event in &cloud.events {
        let next = next.entry(event.log_id.to_string()).or_insert(1);
        assert_eq!(event.seq, *next, "{}", event.kind);
        *next += 1;
    }
}

#[test]
fn with_the_broker_down_at_the_start_doors_work_and_events_arrive_later_in_order() {
    let mut world = World::running();
    world.kill();
    world.site.broker.stop();
    world.start();
    world.ada_passes();
    world.card(STRANGER);
    world.logged(1, &["reason=unknown_credential"]);
    world.site.broker.start_again().unwrap();
    world.drained();
    let granted = world.event_of("access.granted", "person", "ada");
    assert!(granted.replayed && world.event_of("access.denied", "reason", "unknown_credential").replayed);
    world.card(STRANGER);
    world.event("access.denied", |json| json["replayed"] == false);
    assert_gapless(&world);
}

/// A short unlocking of the barrier: no contact, no visitor, one pulse of relay 2 of the front's board.
fn pulse() -> Wish {
    Wish::new("op-ada", "door.open_and_close", json!({ "door": "barrier", "dwell_ms": 100 }))
}

fn pulses(writes: &[(std::time::Instant, Write)]) -> usize {
    writes.iter().filter(|(_, write)| *write == Write::Coil { address: 1, on: true }).count()
}

#[test]
fn through_cut_connections_and_forgotten_sessions_each_command_moves_the_relay_once() {
    let world = World::running();
    let front = world.site.field.front.clone();
    world.broker().set_faults(|faults| {
        faults.duplicate_every = 2;
        faults.delay = Duration::from_millis(3);
    });
    for round in 0..12 {
        front.take_writes();
        let (jti, message) = world.site.cloud.cloud().command(wall_now(), &pulse());
        world.site.cloud.publish(message.clone()).unwrap();
        world.card(STRANGER);
        match round % 4 {
            0 => world.broker().drop_connections(),
            1 => world.broker().forget_sessions(),
            2 => {
                std::thread::sleep(Duration::from_millis(round));
                world.broker().drop_connections();
            }
            _ => {}
        }
        let stage = world.insist(&message, &jti).stage;
        world.until("the barrier's fall", || !front.coil(1));
        // And once more, long after it has ended.
        world.site.cloud.publish(message).unwrap();
        let moved = pulses(&front.take_writes());
        assert_eq!(moved, usize::from(stage == Stage::Actuated), "round {round}: {stage:?}");
    }
    world.broker().set_faults(|faults| *faults = Default::default());
    world.drained();
    assert_eq!(pulses(&front.take_writes()), 0);
    assert_gapless(&world);
    let redelivered = world.broker().counters().redelivered;
    assert!(redelivered > 0, "nothing was delivered twice");
}

#[test]
fn a_broker_that_stops_reading_or_acknowledging_holds_up_no_door_and_loses_no_event() {
    let world = World::running();
    for fault in 0..3 {
        world.broker().set_faults(|faults| match fault {
            0 => faults.stalled = true,
            1 => faults.acks_swallowed = true,
            _ => faults.acks_reversed = true,
        });
        for _ in 0..3 {
            world.ada_passes();
        }
        world.broker().set_faults(|faults| *faults = Default::default());
        // The connection is not waited for until its keep-alive ends.
        world.broker().drop_connections();
        world.drained();
    }
    assert_eq!(world.count("access.granted"), 9);
    assert_gapless(&world);
}

#[test]
fn a_broker_that_refuses_the_node_is_named_in_the_log_and_asked_again() {
    let world = World::running();
    world.broker().set_faults(|faults| faults.refuse_connections = true);
    world.broker().drop_connections();
    world.logged(2, &["no link to the cloud", "uthor"]);
    world.ada_passes();
    world.broker().set_faults(|faults| faults.refuse_connections = false);
    world.drained();
    world.event_of("access.granted", "person", "ada");
    let jti = world.command("door.state.get", "front");
    world.stage(&jti, Stage::Done);
}

#[test]
fn what_expired_while_the_broker_was_down_moves_nothing_when_it_comes_at_last() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let wish = Wish { lifetime: Duration::from_millis(500), ..Wish::door("op-ada", "door.open", "front") };
    let (jti, message) = world.site.cloud.cloud().command(wall_now(), &wish);
    world.site.broker.stop();
    front.take_writes();
    world.card(STRANGER);
    world.logged(1, &["reason=unknown_credential"]);
    std::thread::sleep(Duration::from_millis(600));
    world.site.broker.start_again().unwrap();
    // The cloud's own link is back as well.
    world.event_of("access.denied", "reason", "unknown_credential");
    world.site.cloud.publish(message).unwrap();
    world.stage(&jti, Stage::Expired);
    assert_eq!(unlockings(&front), 0);
    assert!(!front.coil(LOCK_COIL));
}

#[test]
fn events_that_the_broker_loses_after_its_own_acknowledgement_are_sent_again() {
    let world = World::running();
    world.broker().set_faults(|faults| faults.lose_every = 2);
    for _ in 0..2 {
        world.ada_passes();
        world.card(STRANGER);
    }
    world.broker().set_faults(|faults| faults.lose_every = 0);
    world.card(ADA);
    world.drained();
    assert_eq!(world.count("access.granted"), 3);
    assert_gapless(&world);
}

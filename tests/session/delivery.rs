//! What is sent: order, windows, resending, goodbye.

use std::time::Duration;

use latchd::{
    domain::{
        door::{Alarm, ContactState, DoorStatus, LockState, Mode},
        event::EventBody,
    },
    gateway::session::{
        Input,
        link::{LinkEvent, LinkOrder},
    },
    wire::{
        outcome::{Outcome, Stage},
        upward::NodeStatus,
    },
};

use crate::world::{World, id};

fn outcome(world: &World, jti: &str, seq: u32) -> Outcome {
    Outcome { jti: id(jti), seq, stage: Stage::Received, at: world.now.wall, reason: None, detail: None }
}

fn door(world: &World, door: &str, mode: Mode) -> DoorStatus {
    DoorStatus {
        door: id(door),
        mode,
        contact: ContactState::Closed,
        lock: LockState::Locked,
        alarm: Alarm::None,
        alarm_acknowledged: false,
        denies: None,
        since: world.now.wall,
        delays: Vec::new(),
    }
}

#[test]
fn a_connection_begins_with_the_will_and_then_says_who_is_there() {
    let mut world = World::new();
    world.input(Input::State(latchd::domain::status::Status::Door(door(&world, "front", Mode::Locked))));
    world.connect();
    let Some(LinkOrder::Connect { will, .. }) = world.last_connect.clone() else { panic!() };
    world.cloud.handle(world.now.wall, &will.topic, &will.payload);
    assert!(matches!(world.cloud.status.as_ref().unwrap().status, NodeStatus::Offline {}));
    assert_eq!(world.topics_on_wire(), ["status", "set/req", "state/door/front"]);
    world.settle();
    let online = world.cloud.online().unwrap();
    assert_eq!((online.version.as_str(), online.generation), ("0.1.0", 0));
    assert_eq!(world.cloud.problems, [""; 0]);
}

#[test]
fn outcomes_are_sent_again_on_the_next_connection_until_the_broker_has_them() {
    let mut world = World::up();
    world.input(Input::Outcome(outcome(&world, "c-1", 0)));
    world.input(Input::Outcome(outcome(&world, "c-1", 1)));
    world.take_one();
    world.disconnect();
    world.input(Input::Outcome(outcome(&world, "c-1", 2)));
    world.connect();
    assert_eq!(world.topics_on_wire()[..2], ["rsp", "rsp"], "the first one is with the broker, these go first");
    world.settle();
    let seqs: Vec<u32> = world.cloud.outcomes.iter().map(|o| o.seq).collect();
    assert_eq!(seqs, [0, 1, 2]);
}

#[test]
fn too_many_outcomes_push_out_the_oldest_and_nothing_grows() {
    let mut world = World::up();
    world.disconnect();
    for n in 0..5_000 {
        world.input(Input::Outcome(outcome(&world, "c-1", n)));
    }
    world.connect();
    world.settle();
    let seqs: Vec<u32> = world.cloud.outcomes.iter().map(|o| o.seq).collect();
    assert!(seqs.iter().copied().eq(5_000 - 1024..5_000));
}

#[test]
fn of_a_door_only_the_latest_state_is_sent_and_every_state_again_on_a_new_connection() {
    let mut world = World::up();
    world.disconnect();
    for mode in [Mode::Locked, Mode::Accessed, Mode::Unlocked] {
        world.input(Input::State(latchd::domain::status::Status::Door(door(&world, "front", mode))));
        world.input(Input::State(latchd::domain::status::Status::Door(door(&world, "back", Mode::Locked))));
    }
    for _ in 0..2 {
        world.connect();
        assert_eq!(world.topics_on_wire().iter().filter(|t| t.starts_with("state/")).count(), 2);
        world.settle();
        assert_eq!(world.cloud.doors[&id("front")].mode, Mode::Unlocked);
        world.disconnect();
    }
}

#[test]
fn what_happened_before_the_connection_is_marked_replayed_and_what_happens_on_it_is_not() {
    let mut world = World::up();
    world.disconnect();
    world.happen(3);
    world.connect();
    world.settle();
    world.happen(2);
    world.settle();
    let marks: Vec<bool> = world.cloud.events.iter().map(|e| e.replayed).collect();
    assert_eq!(marks, [true, true, true, false, false]);
    assert_eq!(world.session.backlog(), 0);
}

#[test]
fn without_an_acknowledgement_events_are_sent_again_and_after_it_never() {
    let mut world = World::up();
    world.cloud.acks = false;
    world.happen(5);
    world.settle();
    assert_eq!((world.cloud.events.len(), world.cloud.duplicates), (5, 0));
    world.run(Duration::from_secs(11));
    assert_eq!(world.cloud.duplicates, 5, "once after ten seconds");
    for ack in world.cloud.catch_up_acks() {
        world.deliver(ack);
    }
    world.run(Duration::from_secs(2_000));
    assert_eq!(world.cloud.duplicates, 5);
    assert_eq!(world.cloud.problems, [""; 0]);
}

/// The broker takes what is on the wire, and it goes no further.
fn acknowledge_without_delivery(world: &mut World, unheard: bool) {
    while let Some(LinkOrder::Publish { handle, .. }) = world.wire.pop_front() {
        let connection = world.connection;
        world.input(Input::Link(LinkEvent::PubAcked { connection, handle, refused: None, unheard }));
    }
}

#[test]
fn events_that_the_broker_took_while_the_cloud_was_away_are_sent_again_when_it_may_be_back() {
    let mut world = World::up();
    world.happen(5);
    world.settle();
    world.happen(5);
    // The broker says that nobody is subscribed.
    acknowledge_without_delivery(&mut world, true);
    assert_eq!(world.cloud.events.len(), 5);
    world.run(Duration::from_millis(1_500));
    assert_eq!(world.cloud.events.len(), 10);
    assert_eq!(world.cloud.duplicates, 0);
}

#[test]
fn a_cloud_that_repeats_its_acknowledgement_gets_the_rest_soon() {
    let mut world = World::up();
    world.happen(5);
    world.settle();
    world.happen(5);
    // The broker takes this batch and loses it.
    acknowledge_without_delivery(&mut world, false);
    world.run(Duration::from_millis(500));
    assert_eq!(world.cloud.events.len(), 5);
    for ack in world.cloud.catch_up_acks() {
        world.deliver(ack);
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.cloud.events.len(), 10);
}

#[test]
fn a_short_cut_is_nobodys_business_and_a_long_one_is_two_events() {
    let mut world = World::up();
    let about_cloud = |world: &World| {
        let about = |e: &&EventBody| matches!(e, EventBody::CloudLost { .. } | EventBody::CloudRestored {});
        world.events.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    world.disconnect();
    world.connect();
    world.settle();
    assert!(about_cloud(&world).is_empty());
    world.disconnect();
    for _ in 0..5 {
        world.run(Duration::from_secs(3));
        world.disconnect();
    }
    let lost = about_cloud(&world);
    assert!(matches!(&lost[..], [EventBody::CloudLost { detail }] if detail == "cut"), "{lost:?}");
    world.run(Duration::from_secs(60));
    let (connection, window) = (world.connection, world.window);
    world.input(Input::Link(latchd::gateway::session::link::LinkEvent::Connected {
        connection,
        session_present: true,
        window,
    }));
    assert_eq!(about_cloud(&world).last(), Some(&EventBody::CloudRestored {}));
}

#[test]
fn an_orderly_stop_says_offline_and_goodbye_and_does_not_wait_for_ever() {
    let mut world = World::up();
    world.input(Input::Outcome(outcome(&world, "c-1", 0)));
    world.input(Input::Stop);
    assert_eq!(world.goodbyes, 0);
    world.settle();
    assert_eq!((world.goodbyes, world.stopped), (1, false), "goodbye is on its way");
    world.disconnect();
    assert!(world.stopped);
    assert!(world.cloud.online().is_none());
    assert_eq!(world.cloud.outcomes.len(), 1);

    let mut stuck = World::up();
    stuck.input(Input::Stop);
    stuck.pass(Duration::from_secs(2));
    assert!(stuck.stopped);

    let mut alone = World::new();
    alone.input(Input::Stop);
    assert!(alone.stopped);
}

#[test]
fn attempts_are_spaced_out_and_each_has_its_own_number() {
    let mut world = World::new();
    let mut gaps = Vec::new();
    let mut last = world.now.mono;
    for n in 1..=12 {
        while world.connection < n {
            let due = world.session.next_deadline().unwrap();
            world.pass(due.since(world.now.mono));
        }
        gaps.push(world.now.mono.since(last));
        last = world.now.mono;
        world.disconnect();
    }
    assert!(gaps[1] >= Duration::from_millis(250) && gaps[1] <= Duration::from_millis(500));
    assert!(gaps[11] >= Duration::from_secs(30) && gaps[11] <= Duration::from_secs(60));
}

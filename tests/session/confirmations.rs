//! Beats, acknowledgements, the set.

use std::time::Duration;

use latchd::{
    domain::{permission::SetVersion, time::ClockTrust},
    gateway::{
        session::{Input, LastBeat},
        step::LedgerWrite,
    },
    wire::{
        ack::EventAck,
        jws::Typ,
        set::{Digest, Want},
    },
};
use latchd_sim::cloud::{Outgoing, set};

use crate::world::{World, id};

/// The set that the cloud holds after one change, applied by the node.
fn with_set(world: &mut World) -> SetVersion {
    let now = world.now.wall;
    world.cloud.change(now, vec![set::put_raw("group", "staff", Default::default())]);
    let version = SetVersion { epoch: 1, generation: 1, digest: world.cloud.set.digest().0 };
    world.input(Input::SetApplied(version));
    version
}

fn staleness(world: &World) -> Option<Duration> {
    world.session.staleness(world.now)
}

#[test]
fn a_beat_for_the_set_that_is_held_resets_staleness_and_nothing_else_does() {
    let mut world = World::up();
    assert_eq!(staleness(&world), None, "unknown means stale");
    with_set(&mut world);
    assert_eq!(staleness(&world), None, "applied is not confirmed");
    world.settle();
    assert_eq!(staleness(&world), Some(Duration::ZERO));
    assert!(world.writes.iter().any(|w| matches!(w, LedgerWrite::Beat { epoch: 1, generation: 1, .. })));
    world.cloud.answers = false;
    world.run(Duration::from_secs(600));
    assert_eq!(staleness(&world), Some(Duration::from_secs(600)), "a healthy link confirms nothing");
    world.cloud.answers = true;
    world.run(Duration::from_secs(61));
    assert!(staleness(&world).unwrap() < Duration::from_secs(61));
}

#[test]
fn a_beat_that_the_broker_held_back_confirms_only_the_moment_it_was_asked_for() {
    let mut world = World::up();
    with_set(&mut world);
    let (_, answers) = std::iter::from_fn(|| world.take_one()).find(|(topic, _)| topic.ends_with("set/req")).unwrap();
    world.pass(Duration::from_secs(50));
    answers.iter().cloned().for_each(|answer| world.deliver(answer));
    assert_eq!(staleness(&world), Some(Duration::from_secs(50)));
    world.pass(Duration::from_secs(5));
    answers.into_iter().for_each(|answer| world.deliver(answer));
    assert_eq!(staleness(&world), Some(Duration::from_secs(55)), "the same beat again confirms nothing");
}

#[test]
fn a_beat_for_another_set_or_another_request_confirms_nothing() {
    let mut world = World::up();
    with_set(&mut world);
    world.cloud.change_silently(&[set::put_raw("group", "guests", Default::default())]);
    world.settle();
    assert_eq!(staleness(&world), None);
    assert!(world.documents > 0, "it brought what is missing");
    let beat = world.cloud.beat(world.now.wall, "0123456789abcdef");
    let beats = world.beats;
    world.deliver(beat);
    assert_eq!(world.beats, beats);
}

#[test]
fn staleness_survives_a_restart_and_is_unknown_under_an_untrusted_clock() {
    let version = SetVersion { epoch: 1, generation: 3, digest: [7; 32] };
    let mut world = World::restored(|restored| {
        restored.set = version;
        let at = latchd::domain::time::Wall::from_millis(1_790_000_000_000 - 3_600_000);
        restored.last_beat = Some(LastBeat { at, epoch: 1, generation: 3 });
    });
    assert_eq!(staleness(&world), Some(Duration::from_secs(3600)));
    world.now.trust = ClockTrust::Untrusted;
    assert_eq!(staleness(&world), None);
    let other = World::restored(|restored| {
        restored.set = version;
        restored.last_beat = Some(LastBeat { at: world.now.wall, epoch: 1, generation: 2 });
    });
    assert_eq!(staleness(&other), None, "another set was confirmed");
}

fn ack(world: &World, log_id: &str, through: u64, head_hash: [u8; 32]) -> Outgoing {
    let ack = EventAck { aud: "acme/hq-1".into(), log_id: id(log_id), through, head_hash };
    world.cloud.signed(Typ::Ack, world.cloud.topics.evt_ack(), &set::json(&ack), false)
}

fn acked(world: &World) -> Option<u64> {
    let through = |w: &LedgerWrite| if let LedgerWrite::Acked { through } = w { Some(*through) } else { None };
    world.writes.iter().filter_map(through).next_back()
}

#[test]
fn an_acknowledgement_counts_only_for_what_was_sent_with_its_own_hash_in_this_log() {
    let mut world = World::up();
    world.cloud.acks = false;
    world.happen(10);
    world.settle();
    let hash = |world: &World, seq: u64| world.log.hash(seq).unwrap();
    for bad in [
        ack(&world, "log-1", 5, [0; 32]),
        ack(&world, "log-1", 5, hash(&world, 6)),
        ack(&world, "log-2", 5, hash(&world, 5)),
        ack(&world, "log-1", 999, [1; 32]),
    ] {
        world.deliver(bad);
        assert_eq!(acked(&world), None);
    }
    let good = ack(&world, "log-1", 5, hash(&world, 5));
    world.deliver(good.clone());
    assert_eq!(acked(&world), Some(5));
    world.deliver(good);
    assert_eq!(world.writes.iter().filter(|w| matches!(w, LedgerWrite::Acked { .. })).count(), 1);
}

#[test]
fn an_acknowledgement_of_what_an_earlier_run_sent_is_checked_against_the_store() {
    let mut world = World::restored(|restored| {
        restored.head = 50;
        restored.acked_through = 10;
    });
    world.cloud.acks = false;
    world.connect();
    world.deliver_keys();
    let wrong = ack(&world, "log-1", 50, [1; 32]);
    world.deliver(wrong);
    assert_eq!(acked(&world), None);
    let hash = world.log.hash(50).unwrap();
    let right = ack(&world, "log-1", 50, hash);
    world.deliver(right);
    assert_eq!(acked(&world), Some(50));
    world.cloud.events.clear();
    world.settle();
    assert!(world.session.backlog() < 5, "only what happened since");
}

impl World {
    fn deliver_keys(&mut self) {
        let keys = self.cloud.key_set(self.now.wall);
        self.deliver(keys);
    }
}

#[test]
fn a_chunk_passes_if_it_was_asked_for_and_is_what_its_name_says() {
    let mut world = World::up();
    let now = world.now.wall;
    world.cloud.change(now, vec![set::put_raw("group", "staff", Default::default())]);
    let (_, name) = world.cloud.set.summary().iter().next().unwrap();
    let chunk = world.cloud.chunk(name).unwrap();
    world.deliver(chunk.clone());
    assert!(world.chunks.is_empty(), "nobody asked");
    world.input(Input::SetWanted { want: Want::Chunks, chunks: vec![name, Digest([9; 32])] });
    world.deliver_as(&world.cloud.topics.set_chunk(&[9; 32]), chunk.payload.clone(), false);
    assert!(world.chunks.is_empty(), "not its name");
    world.settle();
    assert_eq!(world.chunks, [name]);
}

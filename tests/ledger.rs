//! The ledger on a disk that forgets: whatever was reported durable is there after any crash, under its
//! number, in an intact chain; and what is damaged is told of, never renumbered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use latchd::{
    adapters::store::ledger_thread::{LedgerThread, QUEUE_MAX, StoreHealth},
    domain::{
        door::{DurableDoor, HeldBy},
        event::{Actor, Event, EventBody},
        ids::Id,
        time::{ClockTrust, Wall},
    },
    gateway::{
        kv::KvError,
        ledger::{EventReader, LastBeat, Ledger, LedgerError, LedgerLimits, Recovered, keys},
        step::{CommandKey, CommandRecord, Commit, Effect, LedgerWrite, MessageToken},
    },
    wire::event_log::{self, Head},
};
use latchd_sim::disk::{Fault, SimDisk, SimKv};
use proptest::prelude::*;

const MANY: LedgerLimits = LedgerLimits { events_max: 1_000_000 };

fn id(text: &str) -> Id {
    Id::new(text).expect("a test's id")
}

fn event(number: u64) -> Event {
    Event {
        occurred_at: Wall::from_millis(1_790_000_000_000 + number as i64),
        clock: ClockTrust::Trusted,
        epoch: 1,
        generation: number,
        body: EventBody::DoorOpened { door: id("front") },
    }
}

fn key(number: u8) -> CommandKey {
    CommandKey { issuer: "https://cloud.example".to_owned(), jti: id(&format!("jti-{number}")) }
}

fn command(number: u8, version: u64) -> CommandRecord {
    CommandRecord {
        key: key(number),
        operator: id("op-1"),
        digest: [number; 32],
        exp: Wall::from_millis(version as i64),
        boot: id("boot"),
        outcomes: Vec::new(),
        delay: None,
    }
}

fn door_state(version: u64) -> DurableDoor {
    DurableDoor {
        manual_open: Some(HeldBy { by: Actor::Operator { operator: id("op-1"), jti: id("j") }, since: Wall::EPOCH }),
        level_issued_at_ms: version as i64,
        ..DurableDoor::default()
    }
}

fn open(disk: &SimDisk, limits: LedgerLimits) -> (Ledger<SimKv>, Recovered) {
    Ledger::open(disk.open(), id("log-1"), limits).expect("the simulated disk opens")
}

fn append_events(ledger: &mut Ledger<SimKv>, numbers: impl IntoIterator<Item = u64>) {
    ledger.append(numbers.into_iter().map(|n| LedgerWrite::Event(event(n))).collect()).expect("append");
}

fn verify_all(reader: &EventReader<SimKv>, head: &Head) {
    let events = reader.read(1, usize::MAX).expect("read");
    let begun = Head::begin(head.log_id.clone());
    let end = event_log::verify_chain(begun, events.iter().map(|e| e.json.as_slice())).expect("an intact chain");
    assert_eq!(&end, head);
}

// ---- the property ----

#[derive(Clone, Debug)]
enum Op {
    Append {
        events: u8,
        command: Option<u8>,
        forget: Option<u8>,
        door: Option<u8>,
        ack: bool,
    },
    Sync,
    /// Restart after a power cut that keeps this many of the batches since the last sync.
    Crash(usize),
    /// A power cut, and another while the ledger is being opened after it.
    CrashInOpen(usize),
    CloseAndRestart,
    /// The next append or sync fails; the store is reopened and the ledger goes on.
    Fault(Fault),
}

fn op() -> impl Strategy<Value = Op> {
    let fault =
        prop_oneof![Just(Fault::Full), Just(Fault::Failed), Just(Fault::FailedYetWritten), Just(Fault::Damaged)];
    let few = || proptest::option::of(0u8..4);
    prop_oneof![
        6 => (0u8..4, few(), few(), few(), any::<bool>())
            .prop_map(|(events, command, forget, door, ack)| Op::Append { events, command, forget, door, ack }),
        4 => Just(Op::Sync),
        2 => (0usize..4).prop_map(Op::Crash),
        1 => (0usize..3).prop_map(Op::CrashInOpen),
        1 => Just(Op::CloseAndRestart),
        2 => fault.prop_map(Op::Fault),
    ]
}

/// What the ledger should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    hashes: Vec<[u8; 32]>,
    commands: BTreeMap<CommandKey, CommandRecord>,
    doors: BTreeMap<Id, DurableDoor>,
    acked: u64,
}

impl Model {
    fn check(&self, ledger: &Ledger<SimKv>, recovered: &Recovered) {
        let reader = ledger.reader();
        assert_eq!(recovered.notes, []);
        assert_eq!(recovered.head.seq, self.hashes.len() as u64);
        for (index, hash) in self.hashes.iter().enumerate() {
            assert_eq!(reader.hash_of(index as u64 + 1).expect("read"), Some(*hash), "event {}", index + 1);
        }
        verify_all(&reader, &recovered.head);
        let commands: BTreeMap<_, _> = recovered.commands.iter().map(|c| (c.key.clone(), c.clone())).collect();
        assert_eq!(commands, self.commands);
        assert_eq!(recovered.doors, self.doors);
        assert_eq!(recovered.acked_through, self.acked);
    }
}

/// Ledger and model side by side. `steps` are the models after each batch that a crash may still take away;
/// the first is durable.
struct Pair {
    disk: SimDisk,
    ledger: Ledger<SimKv>,
    steps: Vec<Model>,
    count: u64,
}

impl Pair {
    fn begin() -> Pair {
        let disk = SimDisk::new();
        let (ledger, recovered) = open(&disk, MANY);
        assert!(recovered.clean, "a new ledger misses nothing");
        Pair { disk, ledger, steps: vec![Model::default()], count: 0 }
    }

    fn now(&self) -> Model {
        self.steps.last().cloned().unwrap_or_default()
    }

    fn synced(&mut self) {
        self.steps = vec![self.now()];
    }

    fn append(&mut self, op: &Op) {
        let Op::Append { events, command: put, forget, door, ack } = op else { return };
        let mut model = self.now();
        let mut writes = Vec::new();
        let mut head = self.ledger.head().clone();
        for _ in 0..*events {
            self.count += 1;
            let event = event(self.count);
            let (sealed, next) = event_log::seal(&head, &event).expect("seal");
            model.hashes.push(sealed.hash);
            head = next;
            writes.push(LedgerWrite::Event(event));
        }
        if let Some(number) = put {
            let record = command(*number, self.count);
            model.commands.insert(record.key.clone(), record.clone());
            writes.push(LedgerWrite::Command(record));
        }
        if let Some(number) = forget {
            model.commands.remove(&key(*number));
            writes.push(LedgerWrite::Forget { commands: vec![key(*number)], floor: Wall::EPOCH });
        }
        if let Some(number) = door {
            let (door, state) = (id(&format!("door-{number}")), door_state(self.count));
            model.doors.insert(door.clone(), state.clone());
            writes.push(LedgerWrite::Door { door, state });
        }
        if *ack {
            model.acked = model.hashes.len() as u64;
            writes.push(LedgerWrite::Acked { through: model.acked });
        }
        let empty = writes.is_empty();
        let result = self.ledger.append(writes);
        if !empty {
            self.steps.push(model);
        }
        self.settle(result);
    }

    fn sync(&mut self) {
        let result = self.ledger.sync().map(|_| ());
        if result.is_ok() {
            self.synced();
        }
        self.settle(result);
    }

    fn settle(&mut self, result: Result<(), LedgerError>) {
        match result {
            Ok(()) => {}
            Err(LedgerError::Store(_)) => {
                assert!(self.ledger.append(Vec::new()).is_err(), "a failed ledger takes nothing on");
                // Faults that are still to come hit the repair too.
                while self.ledger.reopen().is_err() {}
                self.synced();
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn restart(&mut self, kept: usize, clean: bool) {
        let (ledger, recovered) = open(&self.disk, MANY);
        let model = self.steps.get(kept).cloned().unwrap_or_else(|| self.now());
        model.check(&ledger, &recovered);
        assert_eq!(recovered.clean, clean || model == Model::default());
        self.ledger = ledger;
        self.steps = vec![model];
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Append { .. } => self.append(op),
            Op::Sync => self.sync(),
            Op::Crash(keep) => {
                self.disk.crash(|_| *keep);
                self.restart(*keep, false);
            }
            Op::CrashInOpen(keep) => {
                self.disk.crash(|_| *keep);
                self.disk.inject([Some(Fault::Failed)]);
                assert!(Ledger::open(self.disk.open(), id("log-2"), MANY).is_err());
                self.disk.crash(|_| 0);
                self.restart(*keep, false);
            }
            Op::CloseAndRestart => {
                match self.ledger.close_clean() {
                    Ok(()) => {
                        self.synced();
                        self.disk.crash(|_| 0);
                        self.restart(0, true);
                    }
                    // An injected fault. The mark is there after the repair; the next append takes it away.
                    Err(error) => {
                        self.settle(Err(error));
                        let result = self.ledger.append(Vec::new());
                        self.settle(result);
                        self.sync();
                    }
                }
            }
            Op::Fault(fault) => self.disk.inject([Some(*fault)]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_is_there_after_any_crash(ops in proptest::collection::vec(op(), 1..60)) {
        let mut pair = Pair::begin();
        for op in &ops {
            pair.step(op);
        }
        pair.disk.crash(|_| 0);
        pair.restart(0, false);
    }
}

#[test]
fn the_mark_of_an_orderly_stop_is_gone_before_anything_else_is_written() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, MANY);
    append_events(&mut ledger, 0..3);
    ledger.close_clean().unwrap();
    disk.crash(|_| 0);
    // The next start fails before it has taken the mark away durably, then with it taken away.
    for (kept, clean) in [(0, true), (1, false)] {
        disk.inject([None, Some(Fault::Failed)]);
        assert!(Ledger::open(disk.open(), id("log-2"), MANY).is_err());
        disk.crash(|_| kept);
        let probe = disk.durable_keys().contains(&keys::CLEAN.to_vec());
        assert_eq!(probe, clean);
    }
    let (mut ledger, recovered) = open(&disk, MANY);
    assert!(!recovered.clean);
    // A ledger that goes on after it was closed is not closed.
    ledger.close_clean().unwrap();
    ledger.append(vec![LedgerWrite::ClockFloor(Wall::EPOCH)]).unwrap();
    let _ = ledger.sync().unwrap();
    disk.crash(|_| 0);
    assert!(!open(&disk, MANY).1.clean);
}

#[test]
fn single_values_survive() {
    let disk = SimDisk::new();
    let (mut ledger, recovered) = open(&disk, MANY);
    assert_eq!((recovered.clean, recovered.acked_through, recovered.last_beat), (true, 0, None));
    let at = Wall::from_millis(1_790_000_000_000);
    append_events(&mut ledger, 0..5);
    ledger
        .append(vec![
            LedgerWrite::Beat { at, epoch: 2, generation: 9 },
            LedgerWrite::ClockFloor(at),
            LedgerWrite::Forget { commands: Vec::new(), floor: at },
            LedgerWrite::Acked { through: 4 },
            LedgerWrite::Acked { through: 3 },
        ])
        .unwrap();
    let _ = ledger.sync().unwrap();
    disk.crash(|_| 0);
    let (_, recovered) = open(&disk, MANY);
    assert_eq!(recovered.acked_through, 4, "an acknowledgement never goes back");
    assert_eq!(recovered.last_beat, Some(LastBeat { at, epoch: 2, generation: 9 }));
    assert_eq!((recovered.clock_floor, recovered.forget_floor), (at, at));
}

// ---- retention ----

#[test]
fn acknowledged_events_go_first_and_silently() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, LedgerLimits { events_max: 10 });
    append_events(&mut ledger, 0..10);
    ledger.append(vec![LedgerWrite::Acked { through: 5 }]).unwrap();
    append_events(&mut ledger, 10..14);
    let _ = ledger.sync().unwrap();
    assert_eq!((ledger.first(), ledger.head().seq), (5, 14));
    let kept: Vec<u64> = ledger.reader().read(1, usize::MAX).unwrap().iter().map(|e| e.seq).collect();
    assert_eq!(kept, (5..=14).collect::<Vec<_>>());
}

#[test]
fn unacknowledged_events_go_only_with_an_event_that_counts_them() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, LedgerLimits { events_max: 100 });
    let mut lost = 0;
    for number in 0..1000u64 {
        append_events(&mut ledger, [number]);
        let _ = ledger.sync().unwrap();
        let newest = ledger.reader().read(ledger.head().seq, usize::MAX).unwrap();
        let text = String::from_utf8(newest.last().unwrap().json.clone()).unwrap();
        if text.contains("log.gap") {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            lost += json["lost"].as_u64().unwrap();
        }
        assert_eq!(ledger.first(), lost + 1, "every number that is gone has been counted");
        assert!(ledger.head().seq + 1 - ledger.first() <= 100);
    }
    assert!(ledger.head().seq < 1200, "telling of the loss must not itself push out events");
    disk.crash(|_| 0);
    let (ledger, recovered) = open(&disk, LedgerLimits { events_max: 100 });
    assert_eq!(recovered.notes, []);
    assert_eq!(recovered.first, lost + 1);
    assert_eq!(ledger.reader().read(1, usize::MAX).unwrap().len() as u64, recovered.head.seq - lost);
}

#[test]
fn a_lowered_bound_is_reached_in_small_steps() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, MANY);
    append_events(&mut ledger, 0..1000);
    ledger.append(vec![LedgerWrite::Acked { through: 1000 }]).unwrap();
    let _ = ledger.sync().unwrap();
    disk.crash(|_| 0);
    let (mut ledger, _) = open(&disk, LedgerLimits { events_max: 10 });
    for number in 0..20 {
        let before = ledger.first();
        append_events(&mut ledger, [number]);
        assert!(ledger.first() - before <= 65);
    }
    assert_eq!(ledger.head().seq + 1 - ledger.first(), 10);
}

// ---- reading ----

#[test]
fn an_event_is_read_only_once_it_is_durable() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, MANY);
    let reader = ledger.reader();
    append_events(&mut ledger, 0..3);
    assert_eq!(reader.read(1, usize::MAX).unwrap().len(), 0);
    assert_eq!(reader.hash_of(1).unwrap(), None);
    let _ = ledger.sync().unwrap();
    assert_eq!(reader.read(1, usize::MAX).unwrap().len(), 3);
    assert_eq!(reader.hash_of(3).unwrap(), Some(ledger.head().hash));
    assert_eq!(reader.hash_of(4).unwrap(), None);
}

#[test]
fn a_read_is_bounded_by_bytes_and_gives_at_least_one() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, MANY);
    append_events(&mut ledger, 0..10);
    let _ = ledger.sync().unwrap();
    let reader = ledger.reader();
    let one = reader.read(4, 1).unwrap();
    assert_eq!(one.iter().map(|e| e.seq).collect::<Vec<_>>(), [4]);
    let length = one[0].json.len();
    assert_eq!(reader.read(4, length * 3).unwrap().len(), 3);
    assert_eq!(reader.read(11, usize::MAX).unwrap().len(), 0);
}

// ---- damage ----

fn ledger_of(events: u64) -> SimDisk {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, MANY);
    append_events(&mut ledger, 1..=events);
    let _ = ledger.sync().unwrap();
    disk.crash(|_| 0);
    disk
}

#[test]
fn damaged_events_are_counted_and_their_numbers_are_not_given_again() {
    let disk = ledger_of(20);
    assert!(disk.damage(&keys::event(20), 77));
    assert!(disk.damage(&keys::event(7), 300));
    assert!(disk.lose(&keys::event(12)));
    let (mut ledger, recovered) = open(&disk, MANY);
    assert_eq!(recovered.notes.iter().filter_map(|n| n.lost).sum::<u64>(), 3, "{:?}", recovered.notes);
    assert_eq!(recovered.head.seq, 20);
    append_events(&mut ledger, [21]);
    let _ = ledger.sync().unwrap();
    let events = ledger.reader().read(1, usize::MAX).unwrap();
    assert_eq!(events.len(), 18);
    // The chain goes on from the head that the events before had reached.
    let last = events.last().unwrap();
    assert_eq!(event_log::verify_next(&recovered.head, &last.json).unwrap().seq, 21);
    disk.crash(|_| 0);
    let (_, again) = open(&disk, MANY);
    assert_eq!(again.notes, [], "a loss is told of once");
}

#[test]
fn without_its_head_the_log_goes_on_under_a_new_id_above_all_numbers_seen() {
    for destroy in [|d: &SimDisk| d.damage(keys::HEAD, 90), |d: &SimDisk| d.lose(keys::HEAD)] {
        let disk = ledger_of(20);
        assert!(destroy(&disk));
        let (mut ledger, recovered) = Ledger::open(disk.open(), id("log-2"), MANY).map_err(|e| e.to_string()).unwrap();
        assert!(!recovered.notes.is_empty());
        assert_eq!((recovered.head.log_id.as_str(), recovered.head.seq), ("log-2", 20));
        append_events(&mut ledger, [21]);
        assert_eq!(ledger.head().seq, 21);
    }
}

#[test]
fn events_above_the_head_are_never_overwritten_under_the_same_log() {
    let disk = ledger_of(20);
    // An older head returns, as after a disk that lies about what it has written.
    let kv = disk.open();
    use latchd::gateway::kv::{Kv, KvWrite};
    let older = ledger_of(15).open().get(keys::HEAD).unwrap().unwrap();
    kv.apply(vec![KvWrite::Put(keys::HEAD.to_vec(), older)]).unwrap();
    let (_, recovered) = Ledger::open(kv, id("log-2"), MANY).map_err(|e| e.to_string()).unwrap();
    assert_eq!((recovered.head.log_id.as_str(), recovered.head.seq), ("log-2", 20));
    assert!(!recovered.notes.is_empty());
}

#[test]
fn a_damaged_command_or_door_is_cut_out_and_told_of_once() {
    let disk = SimDisk::new();
    let (mut ledger, _) = open(&disk, MANY);
    ledger
        .append(vec![
            LedgerWrite::Command(command(1, 1)),
            LedgerWrite::Command(command(2, 1)),
            LedgerWrite::Door { door: id("front"), state: door_state(1) },
        ])
        .unwrap();
    let _ = ledger.sync().unwrap();
    disk.crash(|_| 0);
    assert!(disk.damage(&keys::command(&key(1)), 60));
    assert!(disk.damage(&keys::door(&id("front")), 60));
    let (_, recovered) = open(&disk, MANY);
    assert_eq!(recovered.notes.len(), 2);
    assert_eq!(recovered.commands, [command(2, 1)]);
    assert!(recovered.doors.is_empty());
    disk.crash(|_| 0);
    let (_, recovered) = open(&disk, MANY);
    assert_eq!(recovered.notes, []);
}

// ---- the thread ----

type Seen = Arc<Mutex<Vec<u16>>>;

fn spawn(disk: &SimDisk) -> (LedgerThread, Seen) {
    let (ledger, _) = open(disk, MANY);
    let seen: Seen = Arc::default();
    let sink = seen.clone();
    let thread = LedgerThread::spawn(ledger, move |effects| {
        let tokens = effects.into_iter().filter_map(|effect| match effect {
            Effect::AckMessage(MessageToken { packet_id, .. }) => Some(packet_id),
            _ => None,
        });
        sink.lock().unwrap().extend(tokens);
    });
    (thread.unwrap(), seen)
}

fn commit(number: u16) -> Commit {
    let mut commit = Commit::default();
    commit.event(event(u64::from(number)));
    commit.held.push(Effect::AckMessage(MessageToken { connection: 1, packet_id: number }));
    commit
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn effects_come_out_in_order_and_many_commits_share_a_sync() {
    let disk = SimDisk::new();
    let (thread, seen) = spawn(&disk);
    let handle = thread.handle();
    for number in 0..2000 {
        let mut next = Some(commit(number));
        while let Some(commit) = next.take() {
            next = handle.try_commit(commit).err();
        }
    }
    let head = thread.head();
    let stopped = thread.stop();
    assert!(stopped.clean);
    assert_eq!(*seen.lock().unwrap(), (0..2000).collect::<Vec<u16>>());
    assert_eq!(head.borrow().seq, 2000);
    assert!(disk.syncs() < 2000);
    disk.crash(|_| 0);
    let (_, recovered) = open(&disk, MANY);
    assert!(recovered.clean);
    assert_eq!(recovered.head.seq, 2000);
    assert!(handle.try_commit(commit(1)).is_err(), "a stopped ledger takes nothing");
}

#[test]
fn a_failing_disk_holds_effects_back_and_loses_nothing() {
    let disk = SimDisk::new();
    let (thread, seen) = spawn(&disk);
    let handle = thread.handle();
    let health = thread.health();
    disk.inject([Some(Fault::FailedYetWritten)]);
    disk.fail_reopen(3);
    handle.try_commit(commit(1)).map_err(|_| "full").unwrap();
    wait_until("the failure shows", || !health.borrow().is_healthy());
    assert!(seen.lock().unwrap().is_empty(), "nothing comes out before it is durable");
    handle.try_commit(commit(2)).map_err(|_| "full").unwrap();
    wait_until("the store is back", || health.borrow().is_healthy());
    wait_until("both are durable", || seen.lock().unwrap().len() == 2);
    assert!(thread.stop().clean);
    disk.crash(|_| 0);
    let (ledger, recovered) = open(&disk, MANY);
    assert_eq!(recovered.head.seq, 2);
    verify_all(&ledger.reader(), &recovered.head);
}

#[test]
fn with_the_disk_gone_the_queue_gives_commits_back_and_stopping_is_bounded() {
    let disk = SimDisk::new();
    let (thread, seen) = spawn(&disk);
    let handle = thread.handle();
    let (health, progress) = (thread.health(), thread.progress());
    disk.inject([Some(Fault::Failed)]);
    disk.fail_reopen(u32::MAX);
    handle.try_commit(commit(0)).map_err(|_| "full").unwrap();
    wait_until("the failure shows", || {
        matches!(&*health.borrow(), StoreHealth::Failing { error: KvError::Failed(_), .. })
    });
    let accepted = (1..=u16::MAX).take_while(|n| handle.try_commit(commit(*n)).is_ok()).count();
    assert!(accepted <= QUEUE_MAX, "{accepted}");
    let before = progress.load(std::sync::atomic::Ordering::SeqCst);
    wait_until("the waiting thread shows that it lives", || {
        progress.load(std::sync::atomic::Ordering::SeqCst) > before
    });
    let stopped = thread.stop();
    assert!(!stopped.clean);
    assert_eq!(stopped.commits_lost, accepted + 1);
    assert!(seen.lock().unwrap().is_empty());
}

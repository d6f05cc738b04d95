//! Delays: stored before they are promised, authorised anew when they are due, ended in every other way.

use super::*;
use crate::{
    domain::door::{Closed, DelayAction, PendingDelay},
    gateway::step::Durable,
    wire::command::{DoorCancelDelayArgs, DoorDelayArgs},
};

const MINUTE: i64 = 60_000;

fn roomy() -> DeskConfig {
    DeskConfig { commands_per_operator_max: 1000, ..config() }
}

/// A desk, and the ledger behind it that keeps the newest record of each command.
struct Bench {
    desk: Desk,
    stored: BTreeMap<Id, CommandRecord>,
    told: Vec<(Id, Stage)>,
    messages: Vec<String>,
    orders: Vec<Order>,
}

impl Bench {
    fn new() -> Bench {
        let (desk, _) = Desk::new(roomy(), operators(), vec![], Wall::EPOCH, at(0));
        Bench { desk, stored: BTreeMap::new(), told: Vec::new(), messages: Vec::new(), orders: Vec::new() }
    }

    /// The disk takes everything and says so; the doors would carry everything out.
    fn keep(&mut self, now: Now, step: DeskStep) {
        let waiting = self.keep_unstored(now, step);
        self.store(now, waiting);
    }

    fn store(&mut self, now: Now, commit: Commit) {
        for effect in commit.held.release(&Durable::synced()) {
            match effect {
                Effect::Report(report) => {
                    let step = self.desk.handle_report(now, report);
                    self.keep(now, step);
                }
                Effect::Publish(outcome) => self.tell(outcome),
                _ => {}
            }
        }
    }

    fn tell(&mut self, outcome: Outcome) {
        self.messages.extend(outcome.detail.as_ref().and_then(|detail| detail["message"].as_str()).map(str::to_owned));
        self.told.push((outcome.jti, outcome.stage));
    }

    /// The same, with a disk that has not answered yet.
    fn keep_unstored(&mut self, now: Now, step: DeskStep) -> Commit {
        step.outcomes.into_iter().for_each(|outcome| self.tell(outcome));
        for write in &step.commit.writes {
            if let LedgerWrite::Command(record) = write {
                self.stored.insert(record.key.jti.clone(), record.clone());
            }
        }
        if let Some(order) = step.order {
            if matches!(order.what, Task::Door(_, DoorAction::Admit(_))) {
                let admitted = self.desk.handle_report(now, report(&order, Progress::Done));
                return self.keep_unstored(now, admitted);
            }
            self.orders.push(order);
        }
        step.commit
    }

    fn command(&mut self, now: Now, command: Command) {
        let step = self.desk.handle_command(now, command, None);
        self.keep(now, step);
    }

    fn pass(&mut self, now: Now) {
        while self.desk.next_deadline().is_some_and(|due| due <= now.mono) {
            let step = self.desk.handle_timeout(now);
            self.keep(now, step);
        }
    }

    /// A crash, and the next run.
    fn restart(&mut self, now: Now) {
        let config = DeskConfig { boot: id("run-3"), ..roomy() };
        let records = self.stored.values().cloned().collect();
        let (desk, step) = Desk::new(config, operators(), records, Wall::EPOCH, now);
        self.desk = desk;
        self.keep(now, step);
    }

    fn stages_of(&self, jti: &str) -> Vec<Stage> {
        self.told.iter().filter(|(of, _)| of.as_str() == jti).map(|(_, stage)| *stage).collect()
    }

    fn pending(&self) -> Vec<PendingDelay> {
        self.desk.delays_at(&id("front"))
    }

    fn begun(&self) -> Vec<(&Id, DoorAction)> {
        let door = |order: &Order| match order.what {
            Task::Door(_, action) => action,
            ref other => panic!("{other:?}"),
        };
        self.orders.iter().map(|order| (order.by.cause().unwrap(), door(order))).collect()
    }
}

fn delayed(jti: &str, action: DelayAction, delay_ms: i64) -> Command {
    let args = DoorDelayArgs { door: id("front"), delay_ms: delay_ms as u32 };
    let body = match action {
        DelayAction::Open => CommandBody::DoorOpenWithDelay(args),
        DelayAction::Close => CommandBody::DoorCloseWithDelay(args),
    };
    Command { body, ..open(jti) }
}

fn opening(jti: &str, delay_ms: i64) -> Command {
    delayed(jti, DelayAction::Open, delay_ms)
}

fn closing(jti: &str, delay_ms: i64) -> Command {
    delayed(jti, DelayAction::Close, delay_ms)
}

fn cancel(jti: &str, which: Option<&str>) -> Command {
    let args = DoorCancelDelayArgs { door: id("front"), jti: which.map(id), system_event: None };
    Command { body: CommandBody::DoorCancelDelay(args), boot: None, ..open(jti) }
}

fn closed(issued_at: Wall) -> Closed {
    Closed { command: "door.close", issued_at, by: Actor::Operator { operator: id("ada"), jti: id("close") } }
}

const SCHEDULED: [Stage; 3] = [Stage::Received, Stage::Authorised, Stage::Scheduled];

#[test]
fn a_delay_is_scheduled_when_it_is_stored_listed_while_pending_and_carried_out_when_due() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", 10 * MINUTE));
    assert_eq!(bench.stages_of("later"), SCHEDULED);
    let listed = PendingDelay {
        jti: Some(id("later")),
        system_event: None,
        action: DelayAction::Open,
        due_at: at(10 * MINUTE).wall,
        operator: Some(id("ada")),
    };
    assert_eq!(bench.pending(), [listed]);
    assert_eq!(bench.desk.next_deadline(), Some(at(10 * MINUTE).mono));
    bench.pass(at(10 * MINUTE - 1));
    assert!(bench.orders.is_empty());
    bench.pass(at(10 * MINUTE));
    assert_eq!(bench.begun(), [(&id("later"), DoorAction::Delayed(DelayAction::Open))]);
    assert_eq!(bench.orders[0].deadline, at(10 * MINUTE + 5_000).mono, "as long as from iat to exp");
    assert!(bench.pending().is_empty());
    let order = bench.orders.remove(0);
    let step =
        bench.desk.handle_report(at(10 * MINUTE), report(&order, Progress::Actuated { observation_follows: false }));
    bench.keep(at(10 * MINUTE), step);
    let [.., Stage::Actuated] = bench.stages_of("later")[..] else { panic!("{:?}", bench.told) };
    assert_eq!(bench.stored[&id("later")].outcomes.last().unwrap().seq, 3);
}

#[test]
fn the_outcome_says_when_it_is_due() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let record = &bench.stored[&id("later")];
    let detail = record.outcomes.last().and_then(|outcome| outcome.detail.clone()).unwrap();
    assert_eq!(detail["due_at"], json!(at(MINUTE).wall));
}

#[test]
fn a_delay_that_is_due_before_the_disk_has_it_waits_for_the_disk() {
    let mut bench = Bench::new();
    let step = bench.desk.handle_command(at(0), opening("soon", 1), None);
    let waiting = bench.keep_unstored(at(0), step);
    assert_eq!(bench.stages_of("soon"), [Stage::Received, Stage::Authorised]);
    assert!(bench.pending().is_empty(), "promised to nobody yet");
    bench.pass(at(1_000));
    assert!(bench.orders.is_empty());
    bench.store(at(1_000), waiting);
    assert_eq!(bench.stages_of("soon"), SCHEDULED);
    bench.pass(at(1_000));
    assert_eq!(bench.orders.len(), 1);
}

#[test]
fn a_delay_that_the_disk_takes_only_after_exp_has_expired() {
    let mut bench = Bench::new();
    let step = bench.desk.handle_command(at(0), opening("late", MINUTE), None);
    let waiting = bench.keep_unstored(at(0), step);
    bench.store(at(5_000), waiting);
    assert_eq!(bench.stages_of("late").last(), Some(&Stage::Expired));
    bench.pass(at(2 * MINUTE));
    assert!(bench.orders.is_empty());
    bench.restart(at(3 * MINUTE));
    assert!(bench.pending().is_empty());
}

#[test]
fn a_delay_that_the_ledger_gives_up_is_not_carried_out() {
    let mut bench = Bench::new();
    let step = bench.desk.handle_command(at(0), opening("lost", MINUTE), None);
    let waiting = bench.keep_unstored(at(0), step);
    for report in waiting.held.give_up("the disk is full") {
        let step = bench.desk.handle_report(at(10), report);
        bench.keep(at(10), step);
    }
    assert_eq!(bench.stages_of("lost").last(), Some(&Stage::Unknown));
    bench.pass(at(2 * MINUTE));
    assert!(bench.orders.is_empty());
}

#[test]
fn an_opening_is_begun_only_once_the_disk_has_it_so_that_no_crash_repeats_or_denies_it() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let step = bench.desk.handle_timeout(at(MINUTE));
    let waiting = bench.keep_unstored(at(MINUTE), step);
    assert!(bench.orders.is_empty());
    bench.store(at(MINUTE), waiting);
    assert_eq!(bench.orders.len(), 1);
    bench.restart(at(MINUTE + 10));
    assert_eq!(bench.stages_of("later").last(), Some(&Stage::Unknown), "it may have been carried out");
    bench.pass(at(10 * MINUTE));
    assert_eq!(bench.orders.len(), 1);
}

#[test]
fn a_closing_waits_for_no_disk_when_it_is_due() {
    let mut bench = Bench::new();
    bench.command(at(0), closing("later", MINUTE));
    let step = bench.desk.handle_timeout(at(MINUTE));
    let _never_stored = bench.keep_unstored(at(MINUTE), step);
    assert_eq!(bench.begun(), [(&id("later"), DoorAction::Delayed(DelayAction::Close))]);
}

#[test]
fn a_delay_outlives_a_restart_and_is_due_when_it_was_to_be() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", 10 * MINUTE));
    bench.restart(at(4 * MINUTE));
    assert_eq!(bench.stages_of("later"), SCHEDULED, "nothing new is said of it");
    assert_eq!(bench.pending().len(), 1);
    bench.pass(at(10 * MINUTE - 1));
    assert!(bench.orders.is_empty());
    bench.pass(at(10 * MINUTE));
    assert_eq!(bench.orders.len(), 1);
    let again = bench.desk.handle_command(at(10 * MINUTE), opening("later", 10 * MINUTE), None);
    assert!(again.order.is_none(), "the same bytes again move nothing");
}

#[test]
fn found_overdue_after_a_restart_an_opening_has_expired_and_a_closing_is_carried_out() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("open", MINUTE));
    bench.command(at(0), closing("close", MINUTE));
    bench.restart(at(MINUTE));
    bench.pass(at(MINUTE));
    assert_eq!(bench.stages_of("open").last(), Some(&Stage::Expired));
    assert_eq!(bench.begun(), [(&id("close"), DoorAction::Delayed(DelayAction::Close))]);
}

#[test]
fn without_a_trusted_clock_after_a_restart_a_closing_is_carried_out_and_an_opening_waits_for_the_clock() {
    let blind = |ms| Now { trust: ClockTrust::Untrusted, wall: Wall::EPOCH, ..at(ms) };
    for (trusted_at, expected) in [(30_000, 1), (2 * MINUTE, 0)] {
        let mut bench = Bench::new();
        bench.command(at(0), opening("open", MINUTE));
        bench.command(at(0), closing("close", MINUTE));
        bench.restart(blind(10_000));
        bench.pass(blind(10_000));
        assert_eq!(bench.begun(), [(&id("close"), DoorAction::Delayed(DelayAction::Close))]);
        bench.orders.clear();
        bench.pass(blind(5 * MINUTE));
        assert!(bench.orders.is_empty());
        let step = bench.desk.handle_clock(at(trusted_at));
        bench.keep(at(trusted_at), step);
        bench.pass(at(3 * MINUTE));
        assert_eq!(bench.orders.len(), expected);
        let end = if expected == 1 { Stage::Scheduled } else { Stage::Expired };
        assert_eq!(bench.stages_of("open").last(), Some(&end));
    }
}

#[test]
fn a_delay_needs_a_trusted_clock_and_the_present_run() {
    let blind = Now { trust: ClockTrust::Untrusted, ..at(0) };
    let mut desk = desk();
    assert_eq!(refusal(&desk.handle_command(blind, closing("a", MINUTE), None)), Some(Refusal::ClockUntrusted));
    let stale = Command { boot: Some(id("run-1")), ..opening("b", MINUTE) };
    assert_eq!(stages(&desk.handle_command(at(0), stale, None)).last(), Some(&Stage::Unknown));
}

#[test]
fn at_its_due_time_a_delay_is_authorised_anew() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let version = SetVersion { epoch: 1, generation: 8, digest: [0; 32] };
    let suspended = Operator { status: OperatorStatus::Suspended {}, ..Operator::active(id("integrator")) };
    let records = [(id("ada"), Record::Operator(suspended))];
    let set = Permissions::compile(records, &topology(), &jiff::tz::TimeZone::UTC, version).unwrap();
    bench.desk.handle_permissions(Arc::new(set));
    let step = bench.desk.handle_timeout(at(MINUTE));
    let event = step.commit.writes.iter().any(|write| matches!(write, LedgerWrite::Event(Event { body: EventBody::OperatorRefused { command, .. }, .. }) if command == "door.open_with_delay"));
    assert!(event, "{:?}", step.commit.writes);
    bench.keep(at(MINUTE), step);
    let end = bench.stored[&id("later")].outcomes.last().unwrap();
    assert_eq!((end.stage, end.reason), (Stage::Refused, Some(Refusal::OperatorSuspended)));
    assert_eq!(bench.stages_of("later").last(), Some(&Stage::Refused));
    assert!(bench.orders.is_empty());
    assert!(bench.pending().is_empty() && bench.desk.next_deadline().is_none());
}

#[test]
fn what_the_door_would_not_do_now_is_not_remembered_for_later() {
    let mut bench = Bench::new();
    let step = bench.desk.handle_command(at(0), opening("later", MINUTE), None);
    let order = step.order.unwrap();
    assert_eq!(order.what, Task::Door(DoorIx(0), DoorAction::Admit(DelayAction::Open)));
    let refused = Progress::Refused(Refusal::Conflict, "overruled by lockdown".to_owned());
    let step = bench.desk.handle_report(at(10), report(&order, refused));
    assert_eq!(refusal(&step), Some(Refusal::Conflict));
    assert!(bench.pending().is_empty() && bench.desk.next_deadline().is_none());
}

#[test]
fn a_delay_longer_than_the_node_takes_is_refused() {
    let step = desk().handle_command(at(0), opening("a", 3_600_001), None);
    assert_eq!(refusal(&step), Some(Refusal::LifetimeTooLong));
}

#[test]
fn only_so_many_delays_are_pending_at_a_door() {
    let mut bench = Bench::new();
    for n in 0..DELAYS_PER_DOOR_MAX {
        bench.command(at(0), opening(&format!("j-{n}"), MINUTE));
    }
    assert_eq!(bench.pending().len(), DELAYS_PER_DOOR_MAX);
    let step = bench.desk.handle_command(at(0), opening("one-more", MINUTE), None);
    assert_eq!(refusal(&step), Some(Refusal::Overloaded));
}

#[test]
fn cancelling_takes_one_by_its_id_or_all_at_the_door() {
    let mut bench = Bench::new();
    for jti in ["a", "b", "c"] {
        bench.command(at(0), opening(jti, MINUTE));
    }
    bench.command(at(10), cancel("x", Some("b")));
    assert_eq!(
        (bench.stages_of("b").last(), bench.stages_of("x").last()),
        (Some(&Stage::Cancelled), Some(&Stage::Done))
    );
    assert_eq!(
        bench.pending().iter().filter_map(|delay| delay.jti.as_ref()).map(Id::as_str).collect::<Vec<_>>(),
        ["a", "c"]
    );
    bench.command(at(20), cancel("y", Some("b")));
    assert_eq!(bench.stages_of("y").last(), Some(&Stage::Refused), "it is pending no longer");
    bench.command(at(30), cancel("z", None));
    assert!(bench.pending().is_empty());
    let order = bench.orders.pop().expect("what system events have put off is with the doors");
    assert_eq!(order.what, Task::CancelDelays { door: DoorIx(0), system_event: None });
    assert_ne!(bench.stages_of("z").last(), Some(&Stage::Done));
    let step = bench.desk.handle_report(at(31), report(&order, Progress::Done));
    bench.keep(at(31), step);
    assert_eq!(bench.stages_of("z").last(), Some(&Stage::Done));
    bench.restart(at(40));
    bench.pass(at(2 * MINUTE));
    assert!(bench.orders.is_empty(), "cancelled is cancelled in the next run as well");
}

#[test]
fn a_close_at_the_door_cancels_what_was_delayed_before_it_whatever_it_was_to_do() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("open", MINUTE));
    bench.command(at(0), closing("close", MINUTE));
    let newer = Command { iat: at(500).wall, exp: at(5_500).wall, ..opening("newer", MINUTE) };
    bench.command(at(500), newer);
    let step = bench.desk.handle_closed(at(600).wall, DoorIx(1), &closed(at(600).wall));
    bench.keep(at(600), step);
    assert_eq!(bench.pending().len(), 3, "another door");
    let step = bench.desk.handle_closed(at(600).wall, DoorIx(0), &closed(at(400).wall));
    assert_eq!(step.delays_changed.iter().collect::<Vec<_>>(), [&id("front")]);
    bench.keep(at(600), step);
    assert_eq!(bench.messages, ["cancelled by close of ada: door.close"; 2]);
    assert_eq!(bench.stages_of("open").last(), Some(&Stage::Cancelled));
    assert_eq!(bench.stages_of("close").last(), Some(&Stage::Cancelled));
    assert_eq!(
        bench.pending().iter().filter_map(|delay| delay.jti.as_ref()).map(Id::as_str).collect::<Vec<_>>(),
        ["newer"]
    );
}

#[test]
fn what_a_delay_came_to_is_told_once_it_is_on_the_disk_so_that_no_crash_makes_it_untrue() {
    // Cancelled, by its id or by a close: a crash that loses it brings the delay back, and nobody was told otherwise.
    for by_close in [false, true] {
        let mut bench = Bench::new();
        bench.command(at(0), opening("later", MINUTE));
        let before = bench.stored.clone();
        let step = if by_close {
            bench.desk.handle_closed(at(10).wall, DoorIx(0), &closed(at(10).wall))
        } else {
            bench.desk.handle_command(at(10), cancel("x", Some("later")), None)
        };
        let waiting = bench.keep_unstored(at(10), step);
        assert_eq!((bench.stages_of("later"), bench.pending().len()), (SCHEDULED.to_vec(), 0), "not told yet");
        assert!(!bench.stages_of("x").contains(&Stage::Done));
        let told = bench.told.len();
        bench.stored = before;
        bench.restart(at(20));
        bench.pass(at(MINUTE));
        assert_eq!((bench.told.len(), bench.begun().len()), (told, 1), "it goes on as it was told");
        drop(waiting);
    }
    // What the disk has is told, and stays true.
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let step = bench.desk.handle_command(at(10), cancel("x", Some("later")), None);
    let waiting = bench.keep_unstored(at(10), step);
    bench.store(at(10), waiting);
    assert_eq!(
        (bench.stages_of("later").pop(), bench.stages_of("x").pop()),
        (Some(Stage::Cancelled), Some(Stage::Done))
    );
    bench.restart(at(20));
    bench.pass(at(MINUTE));
    assert!(bench.orders.is_empty());
}

#[test]
fn a_delayed_closing_tells_how_it_ended_once_however_often_a_crash_has_it_carried_out() {
    for progress in [Progress::Actuated { observation_follows: false }, Progress::Cancelled] {
        let mut bench = Bench::new();
        bench.command(at(0), closing("later", MINUTE));
        let before = bench.stored.clone();
        let step = bench.desk.handle_timeout(at(MINUTE));
        let first = bench.keep_unstored(at(MINUTE), step);
        let order = bench.orders.remove(0);
        let step = bench.desk.handle_report(at(MINUTE + 10), report(&order, progress.clone()));
        let end = bench.keep_unstored(at(MINUTE + 10), step);
        assert_eq!(bench.stages_of("later"), SCHEDULED, "{progress:?} is not on the disk");
        bench.stored = before;
        bench.restart(at(MINUTE + 20));
        bench.pass(at(MINUTE + 20));
        let order = bench.orders.remove(0);
        assert_eq!(order.what, Task::Door(DoorIx(0), DoorAction::Delayed(DelayAction::Close)));
        let step = bench
            .desk
            .handle_report(at(MINUTE + 30), report(&order, Progress::Actuated { observation_follows: false }));
        bench.keep(at(MINUTE + 30), step);
        assert_eq!(bench.stages_of("later"), [&SCHEDULED[..], &[Stage::Actuated]].concat());
        drop((first, end));
    }
}

#[test]
fn a_close_between_due_and_begun_still_cancels() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let step = bench.desk.handle_timeout(at(MINUTE));
    let waiting = bench.keep_unstored(at(MINUTE), step);
    let step = bench.desk.handle_closed(at(MINUTE).wall, DoorIx(0), &closed(at(MINUTE).wall));
    bench.keep(at(MINUTE), step);
    bench.store(at(MINUTE), waiting);
    assert!(bench.orders.is_empty());
    assert_eq!(bench.stages_of("later").last(), Some(&Stage::Cancelled));
}

#[test]
fn revoking_a_key_cancels_the_delays_that_it_signed() {
    let mut bench = Bench::new();
    bench.command(at(0), Command { kid: id("cmd-0"), ..opening("a", MINUTE) });
    bench.command(at(0), Command { kid: id("cmd-1"), ..opening("b", MINUTE) });
    let step = bench.desk.handle_keys(at(100).wall, &crate::wire::testkit::keys());
    bench.keep(at(100), step);
    assert_eq!(bench.stages_of("a").last(), Some(&Stage::Cancelled));
    assert_eq!(
        bench.pending().iter().filter_map(|delay| delay.jti.as_ref()).map(Id::as_str).collect::<Vec<_>>(),
        ["b"]
    );
}

#[test]
fn a_stop_leaves_delays_to_the_next_run_and_ends_what_waits_for_its_nbf() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    bench.command(at(0), Command { nbf: Some(at(1000).wall), ..open("nbf") });
    let step = bench.desk.handle_stop(at(10).wall);
    bench.keep(at(10), step);
    assert_eq!(bench.stages_of("nbf").last(), Some(&Stage::Cancelled));
    assert_eq!((bench.stages_of("later"), bench.desk.next_deadline()), (SCHEDULED.to_vec(), None));
    bench.restart(at(20));
    bench.pass(at(MINUTE));
    assert_eq!(bench.orders.len(), 1);
}

#[test]
fn when_the_door_loop_restarts_delays_wait_on() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let asked = bench.desk.handle_command(at(10), opening("asked", MINUTE), None);
    assert!(asked.order.is_some());
    let step = bench.desk.handle_doors_restarted(at(20).wall);
    assert_eq!(stages(&step), [Stage::Unknown]);
    bench.keep(at(20), step);
    bench.pass(at(MINUTE + 10));
    assert_eq!(bench.begun(), [(&id("later"), DoorAction::Delayed(DelayAction::Open))]);
}

#[test]
fn the_state_that_a_door_is_asked_for_lists_what_is_delayed_there() {
    let mut bench = Bench::new();
    bench.command(at(0), opening("later", MINUTE));
    let ask = Command { body: CommandBody::DoorStateGet(DoorArgs { door: id("front") }), ..open("ask") };
    let order = bench.desk.handle_command(at(10), ask, None).order.unwrap();
    let status = crate::domain::door::DoorStatus {
        door: id("front"),
        mode: crate::domain::door::Mode::Locked,
        contact: crate::domain::door::ContactState::Closed,
        lock: crate::domain::door::LockState::Locked,
        alarm: crate::domain::door::Alarm::None,
        alarm_acknowledged: false,
        denies: None,
        since: at(0).wall,
        delays: Vec::new(),
    };
    let step = bench.desk.handle_report(at(20), report(&order, Progress::Reported(Box::new(status))));
    let detail = step.outcomes[0].detail.clone().unwrap();
    assert_eq!(detail["state"]["delays"][0]["jti"], "later");
}

//! Orders through the controller, and the stop.

use super::*;
use crate::domain::door::Mode;

fn held(step: Step) -> Vec<Effect> {
    step.commit.held.release(&crate::gateway::step::Durable::synced())
}

#[test]
fn an_open_is_reported_only_with_the_write_that_makes_it_outlive_a_power_cut() {
    let mut bench = Bench::new();
    let (ticket, step) = bench.order(FRONT, DoorAction::Open);
    assert_eq!(types(&step), ["door.mode_changed"]);
    assert!(step.reports.is_empty() && bench.unlocked(FRONT));
    let step = bench.confirm(FRONT);
    assert!(step.reports.is_empty());
    assert!(step.commit.writes.iter().any(|write| matches!(write,
        LedgerWrite::Door { door, state } if **door == *"front" && state.manual_open.is_some())));
    match held(step).as_slice() {
        [Effect::Report(report)] => {
            assert_eq!(report.ticket, Ticket(ticket));
            assert_eq!(report.progress, Progress::Actuated { observation_follows: true });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_momentary_order_waits_for_no_disk() {
    let mut bench = Bench::new();
    let (ticket, _) = bench.order(BACK, DoorAction::OpenAndClose { dwell: None });
    let step = bench.confirm(BACK);
    assert_eq!(step.reports.iter().map(|report| report.ticket).collect::<Vec<_>>(), [Ticket(ticket)]);
    assert!(held(step).is_empty());
}

#[test]
fn an_order_for_a_door_that_does_not_exist_is_refused() {
    let mut bench = Bench::new();
    let (_, step) = bench.order(DoorIx(7), DoorAction::Report);
    match step.reports.as_slice() {
        [report] => assert!(matches!(report.progress, Progress::Refused(Refusal::UnknownTarget, _))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn how_the_bus_ended_an_order_reaches_its_door() {
    let output = OutputRef { board: RELAYS, output: 0 };
    type End = fn(OutputRef, Ticket) -> BusReport;
    let ends: [(End, Progress); 3] = [
        (|output, ticket| BusReport::OrderExpired { output, ticket }, Progress::Expired),
        (
            |output, ticket| BusReport::OrderFailed { output, ticket, detail: "exception".to_owned() },
            Progress::Failed("exception".to_owned()),
        ),
        (
            |output, ticket| BusReport::OrderUnknown { output, ticket, detail: "silence".to_owned() },
            Progress::Unknown("silence".to_owned()),
        ),
    ];
    for (end, expected) in ends {
        let mut bench = Bench::new();
        let (ticket, _) = bench.order(FRONT, DoorAction::Open);
        let step = bench.bus(end(output, Ticket(ticket)));
        assert_eq!(step.reports.iter().map(|report| &report.progress).collect::<Vec<_>>(), [&expected]);
        assert!(!bench.unlocked(FRONT));
    }
}

#[test]
fn the_node_has_stopped_when_every_safe_state_was_read_back() {
    let mut bench = Bench::new();
    let _ = bench.order(FRONT, DoorAction::Open);
    let _ = bench.confirm(FRONT);
    let _ = bench.tell(Input::Stop);
    assert_eq!(bench.controller.not_stopped().map(Id::as_str).collect::<Vec<_>>(), ["front"]);
    assert!(!bench.controller.stopped());
    let _ = bench.confirm(FRONT);
    assert!(bench.controller.stopped());
}

#[test]
fn a_node_that_begins_anew_leaves_alone_what_it_will_drive_again_and_secures_what_it_will_not() {
    let mut bench = Bench::new();
    for door in [FRONT, BACK] {
        let _ = bench.order(door, DoorAction::Open);
        let _ = bench.confirm(door);
        assert!(bench.unlocked(door));
    }
    let _ = bench.tell(Input::Pause(Pause { moved: [BACK].into(), others_stay: true }));
    assert!(bench.unlocked(FRONT) && !bench.unlocked(BACK));
    assert_eq!(bench.controller.not_stopped().map(Id::as_str).collect::<Vec<_>>(), ["back"]);
    let _ = bench.confirm(BACK);
    assert!(bench.controller.stopped());
    let (_, step) = bench.order(FRONT, DoorAction::Close);
    assert!(matches!(step.reports[0].progress, Progress::Refused(Refusal::Overloaded, _)), "{step:?}");
}

fn lock_down(bench: &mut Bench, on: bool) -> (Ticket, Step) {
    bench.tickets += 1;
    let ticket = Ticket(bench.tickets);
    let order = Order {
        ticket,
        what: Task::Lockdown { doors: vec![FRONT, BACK], floor_groups: vec![], on },
        deadline: bench.now.mono + Duration::from_secs(5),
        issued_at: bench.now.wall,
        by: Actor::Operator { operator: id("op-1"), jti: id("j") },
    };
    (ticket, bench.tell(Input::Order(order)))
}

#[test]
fn a_lockdown_of_two_doors_is_in_force_at_once_and_reported_once_when_both_are_durable_and_read_back() {
    let mut bench = Bench::new();
    let (ticket, step) = lock_down(&mut bench, true);
    let doors = step
        .commit
        .writes
        .iter()
        .filter(|write| matches!(write, LedgerWrite::Door { state, .. } if state.lockdown.is_some()));
    assert_eq!(doors.count(), 2);
    assert!(step.reports.is_empty() && held(step).is_empty());
    let first = bench.confirm(FRONT);
    assert!(first.reports.is_empty() && held(first).is_empty());
    match held(bench.confirm(BACK)).as_slice() {
        [Effect::Report(report)] => {
            let done = Progress::Actuated { observation_follows: false };
            assert_eq!((report.ticket, &report.progress), (ticket, &done));
        }
        other => panic!("{other:?}"),
    }
    let modes: Vec<_> = bench.controller.door_statuses().iter().map(|status| status.mode).collect();
    assert_eq!(modes, [Mode::LockedDown, Mode::LockedDown]);
    let (ticket, step) = lock_down(&mut bench, false);
    match held(step).as_slice() {
        [Effect::Report(report)] => assert_eq!(report.ticket, ticket, "both are locked as they then should be"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_lockdown_that_one_board_cannot_confirm_the_report_names_that_door_alone() {
    let mut bench = Bench::new();
    let _ = bench.bus(BusReport::BoardLost { board: RELAYS, detail: "silent".to_owned() });
    let (ticket, _) = lock_down(&mut bench, true);
    match held(bench.confirm(BACK)).as_slice() {
        [Effect::Report(OrderReport { ticket: of, progress: Progress::Partly { done: 1, others }, .. })] => {
            assert_eq!((*of, others.len(), &others[0].0), (ticket, 1, &id("front")));
            assert!(matches!(&others[0].1, Progress::Failed(why) if why.starts_with("bus_down")), "{others:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.controller.door_statuses()[0].mode, Mode::LockedDown, "it is ordered to lock all the same");
}

#[test]
fn a_close_is_told_to_the_desk_and_to_the_machines() {
    let mut bench = Bench::new();
    let (_, step) = bench.order(FRONT, DoorAction::Close);
    assert_eq!(step.closed.iter().map(|(door, _)| *door).collect::<Vec<_>>(), [FRONT]);
}

//! Orders: acceptance, confirmation, observation, and every way to end.

use super::*;
use crate::domain::event::Refusal;

const FOLLOWS: Progress = Progress::Actuated { observation_follows: true };
const ENDS: Progress = Progress::Actuated { observation_follows: false };

#[test]
fn an_open_is_actuated_when_the_board_confirmed_it_and_the_report_waits_for_the_disk() {
    let mut bench = Bench::new();
    let ticket = bench.open();
    let deadline = bench.now.mono + Duration::from_secs(5);
    assert_eq!(bench.desired().order, Some((Ticket(ticket), deadline)));
    assert_eq!((bench.mode(), bench.unlocked(), bench.desired().until), (Mode::Unlocked, true, None));
    assert_eq!(bench.durable, None);
    bench.wait(40).confirm();
    assert_eq!(bench.desired().order, None);
    assert_eq!((bench.reports_of(ticket), bench.held_of(ticket)), (vec![], vec![&FOLLOWS]));
    let durable = bench.durable.clone().and_then(|door| door.manual_open).expect("durable with the confirmation");
    assert_eq!(durable.by, operator("j-1"));
    bench.opens();
    assert_eq!((bench.reports_of(ticket), bench.held_of(ticket)), (vec![], vec![&FOLLOWS, &Progress::Observed]));
}

#[test]
fn open_and_close_counts_its_dwell_from_the_confirmation_and_goes_back_to_what_it_was() {
    let mut bench = Bench::new();
    let ticket = bench.open_and_close(2_000);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Accessed, true));
    bench.wait(1_500).confirm();
    assert_eq!(bench.reports_of(ticket), [&FOLLOWS]);
    assert_eq!(bench.desired().until, Some(bench.now.mono + Duration::from_secs(2)));
    bench.wait(2_000);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    bench.wait(1_000);
    assert_eq!(bench.reports_of(ticket), [&FOLLOWS, &Progress::NotObserved]);
    assert!(bench.told().contains(&"door.not_opened".to_owned()));
}

#[test]
fn open_and_close_at_an_open_door_moves_the_relay_again_and_leaves_it_unlocked() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().opens();
    let ticket = bench.open_and_close(1_000);
    assert_eq!(bench.desired().order.map(|(ticket, _)| ticket), Some(Ticket(ticket)));
    bench.confirm();
    assert_eq!(bench.reports_of(ticket), [&FOLLOWS, &Progress::Observed]);
    bench.wait(10_000);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
}

#[test]
fn a_close_ends_an_open_and_a_momentary_and_a_grant_at_once() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().tell(grant());
    bench.open_and_close(60_000);
    bench.confirm();
    let ticket = bench.close();
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    assert_eq!(bench.durable.clone().map(|door| door.manual_open), Some(None));
    assert_eq!(bench.held_of(ticket), Vec::<&Progress>::new());
    bench.confirm();
    assert_eq!(bench.held_of(ticket), [&ENDS]);
    bench.wait(100_000);
    assert!(!bench.unlocked());
}

#[test]
fn an_order_that_misses_its_deadline_is_withdrawn_in_the_same_step() {
    let mut bench = Bench::new();
    let (open, momentary) = (bench.open(), bench.open_and_close(1_000));
    for ticket in [open, momentary] {
        bench.tell(DoorInput::OrderEnded { ticket: Ticket(ticket), end: OrderEnd::Expired });
        assert_eq!(bench.reports_of(ticket), [&Progress::Expired]);
    }
    assert_eq!((bench.mode(), bench.unlocked(), bench.durable.clone()), (Mode::Locked, false, None));
}

#[test]
fn an_expired_second_open_leaves_the_first_one_in_force() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm();
    let second = bench.open();
    bench.tell(DoorInput::OrderEnded { ticket: Ticket(second), end: OrderEnd::Expired });
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
}

#[test]
fn an_order_past_its_deadline_is_expired_before_anything_else_is_looked_at() {
    let mut bench = Bench::new();
    let order = Order {
        ticket: Ticket(77),
        what: DoorAction::Open,
        deadline: bench.now.mono,
        issued_at: bench.now.wall,
        by: operator("late"),
    };
    bench.wait(1).tell(DoorInput::Order(order));
    assert_eq!((bench.reports_of(77), bench.unlocked()), (vec![&Progress::Expired], false));
}

/// The cloud's clock may be ahead of the node's by the skew that is allowed.
#[test]
fn what_a_system_event_does_is_never_older_than_a_command() {
    let mut bench = Bench::new();
    let ahead = bench.now.wall + Duration::from_secs(4);
    bench.order_issued(DoorAction::Open, ahead, 5_000);
    bench.confirm();
    let author = Some(id("op-1"));
    let by = Actor::SystemEvent { system_event: id("night"), author };
    let (deadline, issued_at) = (bench.now.mono + Duration::from_secs(5), bench.now.wall);
    bench.tell(DoorInput::Order(Order { ticket: Ticket::own(1), what: DoorAction::Close, deadline, issued_at, by }));
    assert!(!bench.unlocked());
    let ticket = bench.order_issued(DoorAction::Open, issued_at, 5_000);
    assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict), "the newest command still counts");
}

#[test]
fn what_an_older_command_says_never_undoes_a_newer_one() {
    let mut bench = Bench::new();
    let earlier = bench.now.wall;
    bench.wait(100);
    bench.close();
    bench.confirm();
    for action in [DoorAction::Open, DoorAction::OpenAndClose { dwell: None }, DoorAction::Close] {
        let ticket = bench.order_issued(action, earlier, 5_000);
        assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict), "{action:?}");
    }
    assert!(!bench.unlocked());
}

#[test]
fn an_opening_under_a_higher_cause_is_a_conflict_and_remembered_nowhere() {
    let holds = [
        (DoorAction::Lockdown(true), DoorAction::Lockdown(false)),
        (DoorAction::Force(ForceState::Open), DoorAction::Force(ForceState::Released)),
        (DoorAction::Force(ForceState::Closed), DoorAction::Force(ForceState::Released)),
        (DoorAction::Dnd(Switch::On), DoorAction::Dnd(Switch::Off)),
    ];
    let refuses = |bench: &mut Bench, what: &str| {
        let orders = [
            bench.open(),
            bench.open_and_close(60_000),
            bench.order(DoorAction::Admit(DelayAction::Open)),
            bench.order(DoorAction::Delayed(DelayAction::Open)),
        ];
        for ticket in orders {
            assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict), "{what}");
        }
    };
    for (on, off) in holds {
        let mut bench = Bench::new();
        bench.hold(on);
        refuses(&mut bench, &format!("{on:?}"));
        bench.hold(off);
        assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false), "{on:?}");
    }
    let mut bench = Bench::new();
    bench.set(Override::Interlock(true));
    refuses(&mut bench, "interlock");
    bench.set(Override::Interlock(false));
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
}

#[test]
fn a_close_is_a_conflict_only_where_the_door_is_held_open() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::Fire(true));
    let under_fire = bench.close();
    assert_eq!(bench.refusal_of(under_fire), Some(Refusal::Conflict));
    bench.tell(DoorInput::Fire(false)).hold(DoorAction::Force(ForceState::Open));
    let under_force = bench.close();
    assert_eq!(bench.refusal_of(under_force), Some(Refusal::Conflict));

    let mut bench = Bench::new();
    bench.open();
    bench.confirm().hold(DoorAction::Lockdown(true));
    let ticket = bench.close();
    bench.confirm();
    assert_eq!(bench.held_of(ticket), [&ENDS]);
    bench.hold(DoorAction::Lockdown(false));
    assert_eq!(bench.mode(), Mode::Locked);
}

#[test]
fn a_lockdown_cancels_the_orders_that_it_overrules() {
    let mut bench = Bench::new();
    let ticket = bench.open();
    bench.hold(DoorAction::Lockdown(true));
    assert_eq!((bench.reports_of(ticket), bench.unlocked()), (vec![&Progress::Cancelled], false));
    bench.hold(DoorAction::Lockdown(false));
    assert!(!bench.unlocked());
}

#[test]
fn a_later_order_of_the_other_direction_cancels_the_one_that_waits() {
    let mut bench = Bench::new();
    let (open, close) = (bench.open(), bench.close());
    assert_eq!(bench.reports_of(open), [&Progress::Cancelled]);
    assert_eq!(bench.desired().order.map(|(ticket, _)| ticket.0), Some(close));
    let again = bench.open();
    assert_eq!(bench.reports_of(close), [&Progress::Cancelled]);
    bench.confirm();
    assert_eq!(bench.held_of(again), [&FOLLOWS]);
}

#[test]
fn orders_of_one_direction_are_confirmed_one_after_another() {
    let mut bench = Bench::new();
    let tickets = [bench.open(), bench.open_and_close(1_000), bench.open()];
    for ticket in tickets {
        assert_eq!(bench.desired().order.map(|(ticket, _)| ticket.0), Some(ticket));
        bench.confirm();
    }
    assert_eq!(bench.desired().order, None);
    let actuated = bench.reports.iter().chain(&bench.held).filter(|(_, progress)| *progress == FOLLOWS).count();
    assert_eq!(actuated, 3);
}

#[test]
fn an_opening_at_a_lost_board_is_refused_and_a_closing_taken_into_the_state() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().tell(DoorInput::LockBoard(false));
    let open = bench.open_and_close(1_000);
    assert_eq!(bench.refusal_of(open), Some(Refusal::BusDown));
    let close = bench.close();
    assert!(matches!(bench.reports_of(close).as_slice(), [Progress::Failed(detail)] if detail.starts_with("bus_down")));
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    assert_eq!(bench.durable.clone().map(|door| door.manual_open), Some(None));
}

#[test]
fn a_board_that_never_answered_is_a_lost_board() {
    let mut bench = Bench::cold(config(), DurableDoor::default());
    let ticket = bench.open();
    assert_eq!(bench.refusal_of(ticket), Some(Refusal::BusDown));
}

#[test]
fn a_close_waits_for_a_request_to_exit_and_is_then_confirmed() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().tell(DoorInput::Rex(true)).tell(DoorInput::Rex(false));
    let ticket = bench.order_issued(DoorAction::Close, bench.now.wall, 10_000);
    assert_eq!((bench.unlocked(), bench.desired().order), (true, None));
    bench.wait(DWELL);
    assert_eq!(bench.desired().order.map(|(ticket, _)| ticket.0), Some(ticket));
    bench.confirm();
    assert_eq!(bench.held_of(ticket), [&ENDS]);
}

#[test]
fn a_close_that_could_not_be_confirmed_in_time_has_failed_and_still_holds() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().tell(DoorInput::Rex(true));
    let ticket = bench.close();
    bench.wait(6_000);
    assert!(matches!(bench.reports_of(ticket).as_slice(), [Progress::Failed(_)]));
    bench.tell(DoorInput::Rex(false)).wait(DWELL);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
}

#[test]
fn an_order_that_the_bus_forgets_ends_as_unknown() {
    let mut bench = Bench::new();
    let ticket = bench.open();
    bench.wait(5_000 + 10_000 + 1);
    assert!(matches!(bench.reports_of(ticket).as_slice(), [Progress::Unknown(_)]));
    assert!(!bench.unlocked());
}

#[test]
fn a_failed_or_unknown_write_withdraws_the_opening() {
    for end in [OrderEnd::Failed("exception 4".to_owned()), OrderEnd::Unknown("no answer".to_owned())] {
        let mut bench = Bench::new();
        let ticket = bench.open();
        bench.tell(DoorInput::OrderEnded { ticket: Ticket(ticket), end });
        assert_eq!((bench.reports_of(ticket).len(), bench.mode(), bench.unlocked()), (1, Mode::Locked, false));
    }
}

#[test]
fn a_confirmation_of_the_other_level_or_of_an_ended_order_confirms_nothing() {
    let mut bench = Bench::new();
    let ticket = bench.open();
    bench.tell(DoorInput::Lock { level: Level::Released, order: Some(Ticket(ticket)) });
    assert_eq!((bench.reports.len(), bench.held.len()), (0, 0));
    let close = bench.close();
    bench.tell(DoorInput::Lock { level: Level::Energised, order: Some(Ticket(ticket)) });
    assert_eq!((bench.reports_of(ticket), bench.held_of(close).len()), (vec![&Progress::Cancelled], 0));
}

#[test]
fn a_door_without_a_contact_promises_no_observation() {
    let mut bench = Bench::cold(DoorConfig { contact: None, ..config() }, DurableDoor::default());
    bench.tell(DoorInput::LockBoard(true));
    let ticket = bench.open_and_close(1_000);
    bench.confirm().wait(10_000);
    assert_eq!(bench.reports_of(ticket), [&ENDS]);
}

#[test]
fn somebody_who_passes_before_the_confirmation_was_observed_and_relocks_the_door() {
    let mut bench = Bench::with(DoorConfig { relock: Relock::OnOpen, ..config() });
    let ticket = bench.open_and_close(60_000);
    bench.opens().closes().confirm();
    assert_eq!(bench.reports_of(ticket), [&FOLLOWS, &Progress::Observed]);
    assert!(!bench.unlocked());
}

#[test]
fn the_sixty_fifth_order_is_refused_as_overloaded_and_a_close_never_is() {
    let mut bench = Bench::new();
    let tickets: Vec<u64> = (0..ORDERS_MAX).map(|_| bench.open()).collect();
    assert_eq!(bench.reports.len(), 0);
    let one_more = bench.open();
    assert_eq!(bench.refusal_of(one_more), Some(Refusal::Overloaded));
    let close = bench.close();
    assert!(tickets.iter().all(|ticket| bench.reports_of(*ticket) == [&Progress::Cancelled]));
    bench.confirm();
    assert_eq!(bench.held_of(close), [&ENDS]);
}

#[test]
fn the_state_is_reported_without_touching_the_door() {
    let mut bench = Bench::new();
    bench.told();
    bench.hold(DoorAction::Lockdown(true)).tell(DoorInput::LockBoard(false));
    let ticket = bench.order(DoorAction::Report);
    match bench.reports_of(ticket).as_slice() {
        [Progress::Reported(status)] => assert_eq!(**status, bench.door.status()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_momentary_order_that_the_bus_forgets_under_a_request_to_exit_neither_wakes_for_ever_nor_holds() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::Rex(true));
    let ticket = bench.open_and_close(1_000);
    bench.wait(5_000 + 10_000);
    assert!(matches!(bench.reports_of(ticket).as_slice(), [Progress::Unknown(_)]));
    assert_eq!(bench.door.next_deadline(), None);
}

#[test]
fn a_late_confirmation_never_holds_longer_than_the_bus_was_told() {
    let mut bench = Bench::new();
    bench.open_and_close(2_000);
    let until = bench.desired().until;
    bench.wait(6_000).confirm();
    assert_eq!(bench.desired().until, until);
}

#[test]
fn a_close_that_the_bus_could_not_carry_out_says_that_it_stays_in_force() {
    for end in [OrderEnd::Expired, OrderEnd::Failed("exception 4".to_owned())] {
        let mut bench = Bench::new();
        bench.open();
        bench.confirm();
        let ticket = bench.close();
        bench.tell(DoorInput::OrderEnded { ticket: Ticket(ticket), end });
        match bench.reports_of(ticket).as_slice() {
            [Progress::Failed(detail)] => assert!(detail.ends_with("as soon as it can"), "{detail}"),
            other => panic!("{other:?}"),
        }
        assert!(!bench.unlocked());
    }
}

#[test]
fn an_open_that_was_never_carried_out_makes_no_older_command_a_conflict() {
    let mut bench = Bench::new();
    let earlier = bench.now.wall;
    bench.wait(100);
    let open = bench.open();
    let while_it_waits = bench.order_issued(DoorAction::Close, earlier, 5_000);
    assert_eq!(bench.refusal_of(while_it_waits), Some(Refusal::Conflict));
    bench.tell(DoorInput::OrderEnded { ticket: Ticket(open), end: OrderEnd::Expired });
    let afterwards = bench.order_issued(DoorAction::Close, earlier, 5_000);
    bench.confirm();
    assert_eq!(bench.held_of(afterwards), [&ENDS]);
}

#[test]
fn a_close_covered_before_the_bus_saw_it_has_failed_at_its_deadline() {
    let mut bench = Bench::new();
    let ticket = bench.close();
    bench.tell(extended_grant());
    assert_eq!(bench.desired().order, None);
    bench.wait(5_001);
    assert!(matches!(bench.reports_of(ticket).as_slice(), [Progress::Failed(_)]));
}

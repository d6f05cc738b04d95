//! Operators' orders: staged outcomes, one for all floors of an order.

use super::*;

#[test]
fn an_order_is_actuated_when_the_board_has_confirmed_each_of_its_floors() {
    let mut rig = Rig::new();
    let (ticket, effects) = rig.order(FloorAction::Open, &[FIRST, ROOF]);
    assert_eq!(types(&effects), ["floor.enabled"]);
    assert!(effects.reports.is_empty() && effects.durable.is_none());
    for (floor, left) in [(FIRST, true), (ROOF, false)] {
        let level = Level::Energised;
        let effects = rig.tell(ElevatorInput::Relay { floor, level, order: Some(ticket) });
        assert!(effects.durable.is_some(), "an open that the board took outlives a power cut");
        let done = [(ticket, Progress::Actuated { observation_follows: false })];
        assert_eq!(effects.held, if left { [].to_vec() } else { done.to_vec() });
    }
    let again = Rig::cold(FailPolicy::Secure, rig.durable.clone().unwrap());
    assert_eq!(again.enabled(), set(&[FIRST, ROOF]));
}

#[test]
fn an_open_that_no_board_took_in_time_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.order(FloorAction::Open, &[FIRST, SECOND]);
    rig.pass(5_001);
    for floor in [FIRST, SECOND] {
        let _ = rig.tell(ElevatorInput::OrderEnded { floor, ticket, end: OrderEnd::Expired });
    }
    let effects = rig.tell(ElevatorInput::Timeout);
    assert_eq!((rig.enabled(), effects.reports.len()), (FloorSet::NONE, 0));
    assert_eq!(rig.durable, None);
}

#[test]
fn an_order_that_one_floor_did_not_take_has_failed_and_names_it() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.order(FloorAction::Open, &[FIRST, SECOND]);
    let _ = rig.tell(ElevatorInput::Relay { floor: FIRST, level: Level::Energised, order: Some(ticket) });
    let end = OrderEnd::Failed("exception 4".to_owned());
    let effects = rig.tell(ElevatorInput::OrderEnded { floor: SECOND, ticket, end });
    assert_eq!(effects.held, [(ticket, Progress::Failed("floor second: exception 4".to_owned()))]);
    assert_eq!(rig.enabled(), set(&[FIRST]));
}

#[test]
fn an_order_of_which_nothing_happened_in_time_is_expired() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.order(FloorAction::OpenAndClose { dwell: None }, &[GROUND, ROOF]);
    let _ = rig.tell(ElevatorInput::OrderEnded { floor: GROUND, ticket, end: OrderEnd::Expired });
    let effects = rig.tell(ElevatorInput::OrderEnded { floor: ROOF, ticket, end: OrderEnd::Expired });
    assert_eq!(effects.reports, [(ticket, Progress::Expired)]);
}

#[test]
fn an_order_that_the_bus_never_answers_for_ends_as_unknown() {
    let mut rig = Rig::new();
    let (ticket, _) = rig.order(FloorAction::Open, &[FIRST]);
    rig.pass(5_000 + 10_000);
    let effects = rig.tell(ElevatorInput::Timeout);
    assert!(matches!(effects.held.as_slice(), [(of, Progress::Unknown(_))] if *of == ticket), "{effects:?}");
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn a_momentary_order_is_observed_where_a_floor_tells_that_it_was_chosen() {
    let mut rig = Rig::new();
    let _ = rig.tell(ElevatorInput::Selected { floor: FIRST, active: false });
    let dwell = Some(Duration::from_secs(3));
    let (first, _) = rig.order(FloorAction::OpenAndClose { dwell }, &[FIRST]);
    let effects = rig.confirm();
    assert_eq!(effects.reports, [(first, Progress::Actuated { observation_follows: true })]);
    assert_eq!(rig.desired()[FIRST].until, Some(rig.now.mono + Duration::from_secs(3)));
    let effects = rig.tell(ElevatorInput::Selected { floor: FIRST, active: true });
    assert_eq!(effects.reports, [(first, Progress::Observed)]);
    let _ = rig.tell(ElevatorInput::Selected { floor: FIRST, active: false });
    let (second, _) = rig.order(FloorAction::OpenAndClose { dwell }, &[FIRST]);
    let _ = rig.confirm();
    rig.pass(4_000);
    assert_eq!(rig.tell(ElevatorInput::Timeout).reports, [(second, Progress::NotObserved)]);
    let (third, _) = rig.order(FloorAction::OpenAndClose { dwell }, &[ROOF]);
    assert_eq!(rig.confirm().reports, [(third, Progress::Actuated { observation_follows: false })]);
}

#[test]
fn a_close_ends_what_enables_the_floor_and_cancels_an_opening_that_waits() {
    let mut rig = Rig::new();
    let _ = rig.ride("ada", &[FIRST]);
    let (open, _) = rig.order(FloorAction::Open, &[FIRST]);
    let (close, effects) = rig.order(FloorAction::Close, &[FIRST]);
    assert_eq!(effects.held, [(open, Progress::Cancelled)]);
    assert!(effects.durable.is_some());
    assert_eq!(rig.enabled(), FloorSet::NONE);
    assert_eq!(rig.confirm().held, [(close, Progress::Actuated { observation_follows: false })]);
}

#[test]
fn a_close_that_overlaps_in_part_supersedes_only_those_floors() {
    let mut rig = Rig::new();
    let (open, _) = rig.order(FloorAction::Open, &[FIRST, SECOND]);
    let (close, _) = rig.order(FloorAction::Close, &[FIRST]);
    let effects = rig.confirm();
    let said = Progress::Failed("floor first: overruled by a later command".to_owned());
    assert_eq!(effects.held, [(close, Progress::Actuated { observation_follows: false }), (open, said)]);
    assert_eq!(rig.enabled(), set(&[SECOND]));
}

#[test]
fn a_command_issued_before_the_last_one_applied_is_a_conflict() {
    let mut rig = Rig::new();
    let _ = rig.order(FloorAction::Close, &[FIRST]);
    rig.now.wall = Wall::from_millis(rig.now.wall.as_millis() - 1);
    let (_, effects) = rig.order(FloorAction::Open, &[FIRST, SECOND]);
    let conflict = |effects: &Effects| {
        matches!(effects.reports.as_slice(), [(_, Progress::Refused(crate::domain::event::Refusal::Conflict, _))])
    };
    assert!(conflict(&effects), "{effects:?}");
    let (_, effects) = rig.order(FloorAction::Open, &[SECOND]);
    assert!(effects.reports.is_empty(), "{effects:?}");
}

#[test]
fn two_orders_for_one_floor_are_confirmed_one_after_the_other() {
    let mut rig = Rig::new();
    let (first, _) = rig.order(FloorAction::Open, &[FIRST]);
    let (second, _) = rig.order(FloorAction::Open, &[FIRST]);
    assert_eq!(rig.desired()[FIRST].order.map(|(ticket, _)| ticket), Some(first));
    assert_eq!(rig.confirm().held.len(), 1);
    assert_eq!(rig.desired()[FIRST].order.map(|(ticket, _)| ticket), Some(second));
    assert_eq!(rig.confirm().held, [(second, Progress::Actuated { observation_follows: false })]);
}

#[test]
fn an_order_too_many_is_refused() {
    let mut rig = Rig::new();
    let refused = (0..100).map(|_| rig.order(FloorAction::Open, &[FIRST]).1.reports.len()).sum::<usize>();
    assert_eq!(refused, 100 - super::super::orders::ORDERS_MAX);
}

#[test]
fn a_lockdown_is_in_force_at_once_and_actuated_when_every_floor_was_read_back_disabled() {
    let mut rig = Rig::new();
    let _ = rig.order(FloorAction::Open, &[FIRST]);
    let _ = rig.confirm();
    let (ticket, effects) = rig.lock_down(true);
    assert_eq!(rig.enabled(), FloorSet::NONE);
    assert!(effects.durable.is_some() && effects.reports.is_empty() && effects.held.is_empty(), "{effects:?}");
    let done = (ticket, Progress::Actuated { observation_follows: false });
    assert_eq!(rig.confirm().held, [done]);
    let (ticket, effects) = rig.lock_down(false);
    assert!(effects.durable.is_none() && effects.held.is_empty(), "nothing is confirmed yet: {effects:?}");
    assert_eq!(rig.enabled(), set(&[FIRST]));
    assert_eq!(rig.confirm().held, [(ticket, Progress::Actuated { observation_follows: false })]);
    assert!(!rig.durable.clone().unwrap().lockdown);
}

/// Locked down, with these floors open beneath it.
fn locked_down_over(floors: &[usize]) -> Rig {
    let mut rig = Rig::new();
    let _ = rig.order(FloorAction::Open, floors);
    let _ = rig.confirm();
    let _ = rig.lock_down(true);
    let _ = rig.confirm();
    rig.pass(1_000);
    rig
}

#[test]
fn the_end_of_a_lockdown_that_enables_nothing_needs_no_board() {
    let mut rig = locked_down_over(&[]);
    let _ = rig.board(SHAFT, false);
    let (ticket, effects) = rig.lock_down(false);
    assert_eq!(effects.held, [(ticket, Progress::Actuated { observation_follows: false })]);
    assert!(!effects.durable.unwrap().lockdown && rig.elevator.denies().is_none());
}

#[test]
fn the_end_of_a_lockdown_that_a_board_does_not_follow_leaves_the_elevator_locked_down() {
    let ends = [
        (OrderEnd::Expired, Progress::Failed("floor roof: not confirmed before the deadline".to_owned())),
        (OrderEnd::Failed("bus_down".to_owned()), Progress::Failed("floor roof: bus_down".to_owned())),
        (OrderEnd::Unknown("no answer".to_owned()), Progress::Unknown("floor roof: no answer".to_owned())),
    ];
    for (end, said) in ends {
        let mut rig = locked_down_over(&[FIRST, ROOF]);
        let (ticket, _) = rig.lock_down(false);
        assert_eq!(rig.enabled(), set(&[FIRST, ROOF]));
        assert!(rig.elevator.denies().is_none() && !rig.elevator.status(rig.now.mono).lockdown);
        let _ = rig.tell(ElevatorInput::Relay { floor: FIRST, level: Level::Energised, order: Some(ticket) });
        let (opens, _) = rig.order(FloorAction::Open, &[SECOND]);
        let effects = rig.tell(ElevatorInput::OrderEnded { floor: ROOF, ticket, end });
        assert_eq!(rig.enabled(), FloorSet::NONE, "neither what was confirmed nor what was ordered since");
        let with = |detail: String| format!("{detail}; the elevator stays locked down");
        let said = match said {
            Progress::Unknown(detail) => Progress::Unknown(with(detail)),
            Progress::Failed(detail) => Progress::Failed(with(detail)),
            other => other,
        };
        assert_eq!(effects.held, [(ticket, said), (opens, Progress::Cancelled)]);
        assert!(rig.elevator.denies().is_some() && rig.durable.unwrap().lockdown);
    }
}

#[test]
fn the_end_of_a_lockdown_that_reached_no_board_in_time_has_expired() {
    let mut rig = locked_down_over(&[ROOF]);
    let (ticket, _) = rig.lock_down(false);
    let effects = rig.tell(ElevatorInput::OrderEnded { floor: ROOF, ticket, end: OrderEnd::Expired });
    assert_eq!(effects.held, [(ticket, Progress::Expired)]);
    assert_eq!((rig.enabled(), rig.elevator.denies().is_some()), (FloorSet::NONE, true));
}

#[test]
fn a_lockdown_over_a_floor_whose_board_is_gone_ends_once_that_floor_is_closed() {
    let mut rig = locked_down_over(&[FIRST, ROOF]);
    let _ = rig.board(SHAFT, false);
    let (ticket, effects) = rig.lock_down(false);
    let [(of, Progress::Refused(crate::domain::event::Refusal::BusDown, detail))] = effects.reports.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(*of == ticket && detail.contains("roof") && detail.contains("floor.close"), "{detail}");
    assert_eq!((rig.enabled(), rig.elevator.denies().is_some()), (FloorSet::NONE, true));
    let _ = rig.order(FloorAction::Close, &[ROOF]);
    let (ticket, _) = rig.lock_down(false);
    assert_eq!(rig.enabled(), set(&[FIRST]));
    assert_eq!(rig.confirm().held, [(ticket, Progress::Actuated { observation_follows: false })]);
}

#[test]
fn a_floor_that_is_closed_while_a_lockdown_ends_is_not_waited_for() {
    let mut rig = locked_down_over(&[FIRST, ROOF]);
    let (clears, _) = rig.lock_down(false);
    let _ = rig.tell(ElevatorInput::Relay { floor: FIRST, level: Level::Energised, order: Some(clears) });
    let (closes, effects) = rig.order(FloorAction::Close, &[ROOF]);
    assert_eq!(effects.held, [(clears, Progress::Actuated { observation_follows: false })]);
    assert!(!rig.durable.clone().unwrap().lockdown);
    assert_eq!(rig.confirm().held, [(closes, Progress::Actuated { observation_follows: false })]);
    assert_eq!(rig.enabled(), set(&[FIRST]));
}

#[test]
fn a_lockdown_that_is_set_while_the_one_before_ends_takes_that_end_back() {
    let mut rig = locked_down_over(&[FIRST]);
    let earlier = rig.now.wall;
    rig.pass(1_000);
    let (clears, _) = rig.lock_down(false);
    let (_, effects) = rig.lock_down_issued(true, earlier);
    assert!(matches!(effects.reports.as_slice(), [(_, Progress::Refused(..))]), "issued before the end: {effects:?}");
    let (sets, effects) = rig.lock_down(true);
    assert_eq!(effects.held, [(clears, Progress::Cancelled)]);
    assert_eq!(rig.enabled(), FloorSet::NONE);
    assert_eq!(rig.confirm().held, [(sets, Progress::Actuated { observation_follows: false })]);
}

#[test]
fn two_ends_of_one_lockdown_are_carried_out_together() {
    let mut rig = locked_down_over(&[FIRST]);
    let (first, _) = rig.lock_down(false);
    let (second, _) = rig.lock_down(false);
    let done = Progress::Actuated { observation_follows: false };
    assert_eq!(rig.confirm().held, [(first, done.clone()), (second, done)]);
}

#[test]
fn a_lockdown_that_a_lost_board_cannot_confirm_has_failed_there_and_holds_all_the_same() {
    let mut rig = Rig::new();
    let _ = rig.board(SHAFT, false);
    let (ticket, _) = rig.lock_down(true);
    let held = rig.confirm().held;
    let [(of, Progress::Failed(detail))] = held.as_slice() else { panic!("{held:?}") };
    assert_eq!(*of, ticket);
    assert!(detail.starts_with("floor roof: bus_down") && detail.contains("stays locked down"), "{detail}");
    assert!(rig.elevator.denies().is_some());
    // One that nothing confirms ends by itself, and ends nothing.
    let mut rig = Rig::new();
    let (ticket, _) = rig.lock_down(true);
    rig.pass(60_000);
    let held = rig.tell(ElevatorInput::Timeout).held;
    assert!(matches!(held.as_slice(), [(of, Progress::Unknown(_))] if *of == ticket), "{held:?}");
    assert!(rig.elevator.denies().is_some());
}

#[test]
fn a_lockdown_that_was_issued_before_the_last_one_or_comes_too_late_changes_nothing() {
    let mut rig = Rig::new();
    let earlier = rig.now.wall;
    rig.pass(1_000);
    let _ = rig.lock_down(true);
    let conflict = |effects: &Effects| {
        matches!(effects.reports.as_slice(), [(_, Progress::Refused(crate::domain::event::Refusal::Conflict, _))])
    };
    let (_, effects) = rig.lock_down_issued(false, earlier);
    assert!(conflict(&effects) && rig.elevator.denies().is_some(), "{effects:?}");
    // Also in the next run.
    let mut rig = Rig { now: rig.now, ..Rig::cold(FailPolicy::Secure, rig.durable.clone().unwrap()) };
    let (_, effects) = rig.lock_down_issued(false, earlier);
    assert!(conflict(&effects) && rig.elevator.denies().is_some(), "{effects:?}");

    let (ticket, by) = (Ticket(99), Actor::Node);
    let deadline = rig.now.mono;
    rig.pass(1);
    let late = Order { ticket, what: false, deadline, issued_at: rig.now.wall, by };
    let effects = rig.tell(ElevatorInput::Lockdown(late));
    assert_eq!(effects.reports, [(ticket, Progress::Expired)]);
    assert!(rig.elevator.denies().is_some() && effects.durable.is_none());
}

#[test]
fn a_floor_that_was_ordered_open_before_a_lockdown_does_not_open_after_its_end() {
    let mut rig = Rig::new();
    let earlier = rig.now.wall;
    rig.pass(1_000);
    let _ = rig.lock_down(true);
    let _ = rig.confirm();
    rig.pass(1_000);
    let _ = rig.lock_down(false);
    let (now, deadline) = (rig.now, rig.now.mono + Duration::from_secs(5));
    let order = Order { ticket: Ticket(99), what: FloorAction::Open, deadline, issued_at: earlier, by: Actor::Node };
    let effects = rig.elevator.handle(now, ElevatorInput::Order { order, floors: set(&[FIRST]) });
    assert!(matches!(effects.reports.as_slice(), [(_, Progress::Refused(..))]), "{effects:?}");
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

//! DND, force, lockdown, what auto open and a manual command are to each other, and the ends of delays.

use super::*;
use crate::domain::event::Refusal;

const ENDS: Progress = Progress::Actuated { observation_follows: false };

const ON: DoorAction = DoorAction::Dnd(Switch::On);
const OFF: DoorAction = DoorAction::Dnd(Switch::Off);
const LOCKDOWN: DoorAction = DoorAction::Lockdown(true);
const CLEAR: DoorAction = DoorAction::Lockdown(false);
const FORCE_OPEN: DoorAction = DoorAction::Force(ForceState::Open);
const FORCE_CLOSED: DoorAction = DoorAction::Force(ForceState::Closed);
const RELEASE: DoorAction = DoorAction::Force(ForceState::Released);

#[test]
fn what_secures_takes_effect_at_once_and_is_actuated_when_read_back_and_durable() {
    for (action, mode) in [(ON, Mode::Blocked), (FORCE_CLOSED, Mode::LockedDown), (LOCKDOWN, Mode::LockedDown)] {
        let mut bench = Bench::new();
        bench.hold(DoorAction::Open);
        let ticket = bench.order(action);
        assert_eq!((bench.mode(), bench.unlocked()), (mode, false), "{action:?}");
        assert!(bench.durable.is_some());
        assert_eq!((bench.reports_of(ticket), bench.held_of(ticket)), (vec![], vec![]), "{action:?}");
        bench.confirm();
        assert_eq!((bench.reports_of(ticket), bench.held_of(ticket)), (vec![], vec![&ENDS]), "{action:?}");
    }
}

#[test]
fn a_force_open_is_an_opening_that_is_durable_only_once_it_is_confirmed() {
    let mut bench = Bench::new();
    let ticket = bench.order(FORCE_OPEN);
    assert_eq!((bench.mode(), bench.unlocked(), bench.durable.clone()), (Mode::LockedOpen, true, None));
    bench.tell(DoorInput::OrderEnded { ticket: Ticket(ticket), end: OrderEnd::Expired });
    assert_eq!((bench.reports_of(ticket), bench.unlocked()), (vec![&Progress::Expired], false));
    bench.hold(FORCE_OPEN);
    assert!(bench.durable.as_ref().is_some_and(|durable| durable.force.is_some()));
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedOpen, true));
}

#[test]
fn a_release_that_opens_the_door_is_withdrawn_when_its_deadline_passes() {
    for (hold, release, mode) in
        [(ON, OFF, Mode::Blocked), (FORCE_CLOSED, RELEASE, Mode::LockedDown), (LOCKDOWN, CLEAR, Mode::LockedDown)]
    {
        let mut bench = Bench::new();
        bench.hold(DoorAction::Open).hold(hold);
        let ticket = bench.order(release);
        assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true), "{release:?}");
        bench.tell(DoorInput::OrderEnded { ticket: Ticket(ticket), end: OrderEnd::Expired });
        assert_eq!((bench.mode(), bench.unlocked()), (mode, false), "{release:?}");
        assert_eq!(bench.restart(config()).mode(), mode, "{release:?}");
        bench.hold(release);
        assert_eq!(bench.restart(config()).mode(), Mode::Unlocked, "{release:?}");
    }
}

#[test]
fn a_release_that_opens_nothing_is_carried_out_at_once_also_with_the_board_lost() {
    let mut bench = Bench::new();
    bench.hold(LOCKDOWN);
    let ticket = bench.order(CLEAR);
    assert_eq!((bench.held_of(ticket), bench.mode()), (vec![&ENDS], Mode::Locked));

    bench.hold(LOCKDOWN).tell(DoorInput::LockBoard(false));
    let ticket = bench.order(CLEAR);
    match bench.reports_of(ticket).as_slice() {
        [Progress::Failed(why)] => {
            assert_eq!(why, "bus_down: the board of the lock does not answer; the lockdown has ended all the same")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.mode(), Mode::Locked);
    let again = bench.order(CLEAR);
    assert_eq!(bench.held_of(again), [&Progress::Done], "there is nothing to end any more");
}

#[test]
fn a_release_that_opens_is_refused_while_the_board_is_lost() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Open).hold(LOCKDOWN).tell(DoorInput::LockBoard(false));
    let ticket = bench.order(CLEAR);
    assert_eq!((bench.refusal_of(ticket), bench.mode()), (Some(Refusal::BusDown), Mode::LockedDown));
}

#[test]
fn a_close_while_a_release_waits_makes_it_open_nothing() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Open).hold(ON);
    let (off, close) = (bench.order(OFF), bench.close());
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    bench.confirm();
    assert_eq!((bench.held_of(off), bench.held_of(close)), (vec![&ENDS], vec![&ENDS]));
    assert_eq!(bench.restart(config()).mode(), Mode::Locked);
}

#[test]
fn a_lockdown_under_fire_or_exit_takes_effect_when_that_is_over() {
    for (begin, finish) in
        [(DoorInput::Fire(true), DoorInput::Fire(false)), (DoorInput::Rex(true), DoorInput::Rex(false))]
    {
        let mut bench = Bench::new();
        bench.tell(begin);
        let ticket = bench.order(LOCKDOWN);
        assert!(bench.unlocked());
        bench.wait(6_000);
        match bench.reports_of(ticket).as_slice() {
            [Progress::Failed(why)] => assert!(why.ends_with("does so as soon as it can"), "{why}"),
            other => panic!("{other:?}"),
        }
        bench.tell(finish).wait(DWELL);
        assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedDown, false));
    }
}

#[test]
fn dnd_denies_until_it_is_off_and_force_and_lockdown_lie_above_it() {
    let mut bench = Bench::new();
    bench.hold(ON).hold(FORCE_CLOSED).hold(LOCKDOWN);
    let (dnd, force) = (bench.order(ON), bench.order(FORCE_OPEN));
    assert_eq!((bench.refusal_of(dnd), bench.refusal_of(force)), (Some(Refusal::Conflict), Some(Refusal::Conflict)));
    bench.hold(CLEAR);
    assert_eq!(bench.mode(), Mode::LockedDown);
    bench.hold(RELEASE);
    assert_eq!(bench.mode(), Mode::Blocked);
    bench.hold(OFF);
    assert_eq!(bench.mode(), Mode::Locked);
}

#[test]
fn dnd_may_end_beneath_a_lockdown_and_an_event_tells_of_it_although_the_mode_stays() {
    let mut bench = Bench::new();
    bench.hold(ON).hold(LOCKDOWN);
    bench.told();
    bench.hold(OFF);
    assert_eq!((bench.mode(), bench.told()), (Mode::LockedDown, vec!["door.hold_changed".to_owned()]));
    bench.hold(OFF).hold(LOCKDOWN);
    assert_eq!(bench.told(), Vec::<String>::new(), "nothing changed");
    bench.hold(CLEAR);
    assert_eq!(bench.mode(), Mode::Locked);
}

#[test]
fn a_force_replaces_the_other_and_its_release_recomputes() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Open).hold(FORCE_CLOSED);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedDown, false));
    bench.hold(FORCE_OPEN);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedOpen, true));
    bench.hold(FORCE_CLOSED).hold(RELEASE);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
    bench.hold(RELEASE);
    assert_eq!(bench.mode(), Mode::Unlocked);
}

#[test]
fn a_force_toggle_inverts_the_lock_and_the_next_one_lets_go() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::ForceToggle { expect: Mode::Locked });
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedOpen, true));
    assert_eq!(bench.door.denies(bench.now.mono), Some(crate::domain::event::DenialReason::Forced));
    bench.hold(DoorAction::ForceToggle { expect: Mode::LockedOpen });
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));

    bench.hold(DoorAction::Open).hold(DoorAction::ForceToggle { expect: Mode::Unlocked });
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedDown, false));
    bench.hold(DoorAction::ForceToggle { expect: Mode::LockedDown });
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
}

#[test]
fn a_toggle_that_expects_another_mode_is_a_conflict_and_moves_nothing() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::ForceToggle { expect: Mode::Locked });
    let redelivered = bench.order(DoorAction::ForceToggle { expect: Mode::Locked });
    let dnd = bench.order(DoorAction::Dnd(Switch::Toggle { expect: Mode::Locked }));
    assert_eq!(bench.refusal_of(redelivered), Some(Refusal::Conflict));
    assert_eq!(bench.refusal_of(dnd), Some(Refusal::Conflict));
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::LockedOpen, true));
}

#[test]
fn a_dnd_toggle_turns_it_on_and_off_again() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Dnd(Switch::Toggle { expect: Mode::Locked }));
    assert_eq!(bench.mode(), Mode::Blocked);
    bench.hold(DoorAction::Dnd(Switch::Toggle { expect: Mode::Blocked }));
    assert_eq!(bench.mode(), Mode::Locked);
}

#[test]
fn a_toggle_cannot_invert_what_something_above_it_holds() {
    let mut bench = Bench::new();
    bench.hold(LOCKDOWN);
    let ticket = bench.order(DoorAction::ForceToggle { expect: Mode::LockedDown });
    assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict));
    let mut bench = Bench::new();
    bench.tell(DoorInput::Fire(true));
    let ticket = bench.order(DoorAction::ForceToggle { expect: Mode::LockedOpen });
    assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict));
}

#[test]
fn a_level_command_that_was_issued_before_the_last_one_is_a_conflict_whatever_it_asks() {
    let mut bench = Bench::new();
    let earlier = bench.now.wall;
    bench.wait(100).hold(LOCKDOWN);
    for action in [CLEAR, ON, OFF, FORCE_OPEN, FORCE_CLOSED, RELEASE, DoorAction::Open, DoorAction::Close] {
        let ticket = bench.order_issued(action, earlier, 5_000);
        assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict), "{action:?}");
    }
    assert_eq!(bench.mode(), Mode::LockedDown);
}

#[test]
fn a_lockdown_that_was_set_twice_is_cleared_once_and_names_who_set_it_last() {
    let mut bench = Bench::new();
    bench.hold(LOCKDOWN).wait(10).hold(LOCKDOWN);
    let by = bench.durable.clone().and_then(|durable| durable.lockdown).map(|held| held.by);
    assert_eq!(by, Some(operator("j-2")));
    bench.hold(CLEAR);
    assert_eq!(bench.mode(), Mode::Locked);
}

#[test]
fn a_grant_that_runs_is_covered_at_once_by_dnd() {
    let mut bench = Bench::new();
    bench.tell(grant());
    bench.order(ON);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Blocked, false));
}

#[test]
fn a_door_that_opens_only_momentarily_refuses_what_would_last() {
    let mut bench = Bench::with(DoorConfig { momentary_only: true, ..config() });
    for action in [DoorAction::Open, FORCE_OPEN, DoorAction::Admit(DelayAction::Open)] {
        let ticket = bench.order(action);
        assert_eq!(bench.refusal_of(ticket), Some(Refusal::Conflict), "{action:?}");
    }
    bench.set(Override::AutoOpen(true));
    assert!(!bench.unlocked());
    bench.open_and_close(1_000);
    bench.confirm();
    assert!(bench.unlocked());
    bench.wait(1_000);
    assert!(!bench.unlocked());
}

// ---- auto open ----

fn boundary(bench: &mut Bench) {
    let at = bench.now.wall;
    bench.tell(DoorInput::Boundary { at, actor: Actor::Node });
}

#[test]
fn a_manual_close_suppresses_the_running_interval_and_no_other() {
    let mut bench = Bench::new();
    bench.set(Override::AutoOpen(true)).confirm().hold(DoorAction::Close);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    // Told again, within the interval.
    bench.set(Override::AutoOpen(true));
    assert!(!bench.unlocked());
    bench.wait(3_600_000);
    boundary(&mut bench);
    bench.set(Override::AutoOpen(false));
    assert!(!bench.unlocked());
    bench.wait(3_600_000);
    boundary(&mut bench);
    bench.set(Override::AutoOpen(true));
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
}

#[test]
fn a_manual_open_at_a_door_with_auto_open_ends_at_the_next_boundary() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Open).wait(3_600_000);
    boundary(&mut bench);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    assert_eq!(bench.restart(config()).mode(), Mode::Locked);
}

#[test]
fn a_boundary_that_is_told_again_ends_nothing_that_came_after_it() {
    let mut bench = Bench::new();
    let last = bench.now.wall;
    bench.wait(1_000).set(Override::AutoOpen(true)).confirm().hold(DoorAction::Close);
    let mut next = bench.restart(config());
    next.tell(DoorInput::LockBoard(true)).confirm();
    next.tell(DoorInput::Boundary { at: last, actor: Actor::Node }).set(Override::AutoOpen(true));
    assert!(!next.unlocked(), "a restart within the interval leaves it suppressed");
    next.wait(1_000);
    boundary(&mut next);
    assert!(next.unlocked());
}

#[test]
fn an_open_counters_a_close_before_the_boundary_does() {
    let mut bench = Bench::new();
    bench.set(Override::AutoOpen(true)).confirm().hold(DoorAction::Close).hold(DoorAction::Open);
    assert_eq!(bench.mode(), Mode::Unlocked);
    bench.wait(10);
    boundary(&mut bench);
    assert_eq!(bench.mode(), Mode::Unlocked, "auto open unlocks again");
}

// ---- delays ----

#[test]
fn a_delayed_open_is_carried_out_although_other_commands_came_after_it() {
    let mut bench = Bench::new();
    let issued_at = bench.now.wall;
    bench.wait(100).hold(ON).hold(OFF);
    let ticket = bench.order_issued(DoorAction::Delayed(DelayAction::Open), issued_at, 5_000);
    bench.confirm();
    assert_eq!((bench.held_of(ticket).len(), bench.unlocked()), (1, true));
    // What was issued before it was due, and after it was issued, still counts.
    let close = bench.order_issued(DoorAction::Close, bench.now.wall, 5_000);
    bench.confirm();
    assert_eq!((bench.held_of(close), bench.unlocked()), (vec![&ENDS], false));
}

#[test]
fn a_close_takes_back_what_was_delayed_before_it_also_in_the_next_run() {
    let mut bench = Bench::new();
    let before = bench.now.wall;
    bench.wait(100).hold(DoorAction::Close);
    assert_eq!(bench.closed, Some(Closed { command: "door.close", issued_at: bench.now.wall, by: operator("j-1") }));
    for action in [DelayAction::Open, DelayAction::Close] {
        let ticket = bench.order_issued(DoorAction::Delayed(action), before, 5_000);
        assert_eq!(bench.reports_of(ticket), [&Progress::Cancelled]);
    }
    let mut next = bench.restart(config());
    next.tell(DoorInput::LockBoard(true)).confirm();
    let ticket = next.order_issued(DoorAction::Delayed(DelayAction::Open), before, 5_000);
    assert_eq!(next.reports_of(ticket), [&Progress::Cancelled]);
    let after =
        bench.order_issued(DoorAction::Delayed(DelayAction::Open), bench.now.wall + Duration::from_millis(1), 5_000);
    bench.confirm();
    assert!(!bench.held_of(after).is_empty() && bench.unlocked());
}

#[test]
fn a_delayed_close_cancels_no_delay() {
    let mut bench = Bench::new();
    let issued_at = bench.now.wall;
    bench.hold(DoorAction::Open);
    bench.order_issued(DoorAction::Delayed(DelayAction::Close), issued_at, 5_000);
    bench.confirm();
    assert_eq!((bench.unlocked(), bench.closed.clone()), (false, None));
    let open = bench.order_issued(DoorAction::Delayed(DelayAction::Open), issued_at, 5_000);
    bench.confirm();
    assert!(!bench.held_of(open).is_empty() && bench.unlocked());
}

#[test]
fn a_close_that_is_refused_cancels_no_delay() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::Fire(true));
    let ticket = bench.close();
    assert_eq!((bench.refusal_of(ticket), bench.closed.clone()), (Some(Refusal::Conflict), None));
}

#[test]
fn whether_a_delay_would_be_taken_is_answered_without_touching_the_door() {
    let mut bench = Bench::new();
    bench.told();
    let ticket = bench.order(DoorAction::Admit(DelayAction::Open));
    assert_eq!(bench.reports_of(ticket), [&Progress::Done]);
    assert_eq!((bench.unlocked(), bench.durable.clone(), bench.told()), (false, None, vec![]));
}

#[test]
fn what_secures_a_door_whose_board_was_not_heard_of_yet_waits_for_it() {
    let mut bench = Bench::cold(config(), DurableDoor::default());
    let ticket = bench.order(DoorAction::Delayed(DelayAction::Close));
    assert_eq!((bench.reports_of(ticket), bench.held_of(ticket)), (vec![], vec![]));
    bench.tell(DoorInput::LockBoard(true)).confirm();
    assert_eq!(bench.held_of(ticket), [&ENDS]);
}

//! Start and stop.

use super::*;

fn opened_before() -> DurableDoor {
    let since = Wall::from_millis(1_789_999_999_100);
    DurableDoor {
        manual_open: Some(HeldBy { by: operator("j-0"), since }),
        level_issued_at_ms: 1_789_999_999_000,
        ..DurableDoor::default()
    }
}

#[test]
fn before_anything_is_known_every_polarity_is_locked_without_a_pulse() {
    for unlocked_level in [Level::Energised, Level::Released] {
        let mut bench = Bench::cold(DoorConfig { unlocked_level, ..config() }, DurableDoor::default());
        let desired = bench.desired();
        assert_eq!((desired.level, desired.until), (unlocked_level.inverted(), None));
        bench.tell(DoorInput::LockBoard(true)).tell(DoorInput::Rex(false)).tell(DoorInput::Fire(false)).closes();
        assert!(!bench.unlocked());
        assert_eq!(bench.told(), Vec::<String>::new());
    }
}

#[test]
fn a_door_that_was_left_open_is_open_again_from_the_first_instant() {
    let bench = Bench::cold(config(), opened_before());
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
    assert_eq!(bench.durable, None);
}

#[test]
fn a_door_that_is_to_start_locked_forgets_durably_that_it_was_open() {
    let mut bench = Bench::cold(DoorConfig { at_start: StartPolicy::Lock, ..config() }, opened_before());
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Locked, false));
    assert_eq!(bench.told(), ["Unlocked->Locked"]);
    assert_eq!(bench.durable.as_ref().map(|door| door.manual_open.clone()), Some(None));
}

#[test]
fn a_command_older_than_the_last_run_s_last_level_is_still_a_conflict() {
    let mut bench = Bench::cold(config(), opened_before());
    bench.tell(DoorInput::LockBoard(true));
    let ticket = bench.order_issued(DoorAction::Close, Wall::from_millis(1_789_999_998_000), 5_000);
    assert_eq!(bench.refusal_of(ticket), Some(crate::domain::event::Refusal::Conflict));
}

#[test]
fn a_stopping_door_goes_to_its_safe_state_and_is_stopped_once_that_is_read_back() {
    for (at_stop, unlocked) in [(StopPolicy::Lock, false), (StopPolicy::Unlock, true), (StopPolicy::Keep, true)] {
        let mut bench = Bench::with(DoorConfig { at_stop, ..config() });
        bench.open();
        bench.confirm();
        assert!(!bench.door.stopped());
        bench.tell(DoorInput::Stop);
        assert_eq!(bench.unlocked(), unlocked, "{at_stop:?}");
        assert_eq!(bench.door.stopped(), unlocked, "{at_stop:?}");
        bench.confirm();
        assert!(bench.door.stopped(), "{at_stop:?}");
    }
}

#[test]
fn stopping_ends_a_momentary_unlock_even_where_the_relay_is_to_stay() {
    let mut bench = Bench::with(DoorConfig { at_stop: StopPolicy::Keep, ..config() });
    bench.tell(grant()).confirm().tell(DoorInput::Stop);
    assert!(!bench.unlocked());
    bench.tell(grant());
    assert!(!bench.unlocked());
}

#[test]
fn an_auto_open_that_begins_while_the_node_stops_unlocks_nothing_and_one_that_holds_goes_on() {
    for stop in [DoorInput::Stop, DoorInput::Pause] {
        let mut bench = Bench::with(DoorConfig { at_stop: StopPolicy::Keep, ..config() });
        bench.confirm().tell(stop.clone()).set(Override::AutoOpen(true));
        assert!(!bench.unlocked(), "{stop:?}");
        let mut bench = Bench::with(DoorConfig { at_stop: StopPolicy::Keep, ..config() });
        bench.set(Override::AutoOpen(true)).confirm().tell(stop.clone()).set(Override::AutoOpen(true));
        assert!(bench.unlocked(), "{stop:?}");
        bench.set(Override::AutoOpen(false));
        assert!(!bench.unlocked(), "{stop:?}");
    }
}

#[test]
fn a_door_that_only_pauses_keeps_its_relay_whatever_it_does_at_a_stop() {
    for at_stop in [StopPolicy::Lock, StopPolicy::Unlock, StopPolicy::Keep] {
        let mut closed = Bench::with(DoorConfig { at_stop, ..config() });
        closed.confirm();
        closed.tell(DoorInput::Pause);
        assert!(!closed.unlocked() && closed.door.stopped(), "{at_stop:?}");
        let mut open = Bench::with(DoorConfig { at_stop, ..config() });
        open.open();
        open.confirm();
        open.tell(DoorInput::Pause);
        assert!(open.unlocked() && open.door.stopped(), "{at_stop:?}");
    }
}

#[test]
fn fire_and_exit_release_a_stopping_door() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::Stop).tell(DoorInput::Rex(true));
    assert!(bench.unlocked());
    bench.tell(DoorInput::Rex(false)).wait(DWELL).tell(DoorInput::Fire(true));
    assert!(bench.unlocked());
}

#[test]
fn a_stopping_door_with_a_lost_board_is_not_called_stopped() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::LockBoard(false)).tell(DoorInput::Stop);
    assert!(!bench.door.stopped());
    bench.tell(DoorInput::LockBoard(true)).confirm();
    assert!(bench.door.stopped());
}

#[test]
fn stopping_ends_every_order() {
    let mut bench = Bench::new();
    let watched = bench.open_and_close(1_000);
    bench.confirm();
    let waiting = bench.open();
    bench.tell(DoorInput::Stop);
    let late = bench.open();
    assert_eq!(bench.reports_of(watched).last(), Some(&&Progress::NotObserved));
    assert_eq!(bench.reports_of(waiting), [&Progress::Cancelled]);
    assert_eq!(bench.refusal_of(late), Some(crate::domain::event::Refusal::Overloaded));
}

#[test]
fn a_request_to_exit_releases_a_stopping_door_that_was_unlocked_before() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().tell(DoorInput::Rex(true)).tell(DoorInput::Stop);
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Accessed, true));
    bench.tell(DoorInput::Rex(false)).wait(DWELL);
    assert!(!bench.unlocked());
}

#[test]
fn what_secures_a_door_outlives_every_start_policy_and_what_opens_it_only_a_restoring_one() {
    let holds = [
        (DoorAction::Lockdown(true), Mode::LockedDown, Mode::LockedDown),
        (DoorAction::Force(ForceState::Closed), Mode::LockedDown, Mode::LockedDown),
        (DoorAction::Dnd(Switch::On), Mode::Blocked, Mode::Blocked),
        (DoorAction::Force(ForceState::Open), Mode::LockedOpen, Mode::Locked),
    ];
    for (action, restored, locked) in holds {
        let mut bench = Bench::new();
        bench.hold(action);
        let mut next = bench.restart(config());
        assert_eq!((next.mode(), next.told()), (restored, Vec::new()), "{action:?}");
        let next = bench.restart(DoorConfig { at_start: StartPolicy::Lock, ..config() });
        assert_eq!(next.mode(), locked, "{action:?}");
        assert_eq!(next.unlocked(), locked == Mode::LockedOpen, "{action:?}");
    }
}

#[test]
fn an_open_beneath_a_lockdown_is_what_holds_when_the_next_run_clears_it() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Open).hold(DoorAction::Dnd(Switch::On)).hold(DoorAction::Lockdown(true));
    let mut next = bench.restart(config());
    next.tell(DoorInput::LockBoard(true)).confirm();
    assert_eq!(next.mode(), Mode::LockedDown);
    next.hold(DoorAction::Lockdown(false));
    assert_eq!(next.mode(), Mode::Blocked);
    next.hold(DoorAction::Dnd(Switch::Off));
    assert_eq!((next.mode(), next.unlocked()), (Mode::Unlocked, true));
}

#[test]
fn a_stop_unlocks_no_door_that_is_locked_down_forced_closed_or_not_to_be_disturbed() {
    for action in [DoorAction::Lockdown(true), DoorAction::Force(ForceState::Closed), DoorAction::Dnd(Switch::On)] {
        let mut bench = Bench::with(DoorConfig { at_stop: StopPolicy::Unlock, ..config() });
        bench.hold(action).tell(DoorInput::Stop);
        assert!(!bench.unlocked(), "{action:?}");
        bench.tell(DoorInput::Rex(true));
        assert!(bench.unlocked(), "{action:?}");
    }
}

#[test]
fn a_stop_that_locks_leaves_what_secures_a_door_in_its_mode() {
    for action in [DoorAction::Lockdown(true), DoorAction::Force(ForceState::Closed), DoorAction::Dnd(Switch::On)] {
        let mut bench = Bench::with(DoorConfig { at_stop: StopPolicy::Lock, ..config() });
        bench.hold(action);
        let mode = bench.mode();
        bench.events.clear();
        bench.tell(DoorInput::Stop);
        assert_eq!((bench.mode(), bench.told()), (mode, Vec::new()), "nobody ended it: {action:?}");
        assert!(!bench.unlocked() && bench.door.stopped());
    }
}

#[test]
fn what_a_stop_changes_and_the_next_start_undoes_has_its_event_each() {
    let modes = |bench: &Bench| -> Vec<(Mode, Mode)> {
        let changed = |event: &EventBody| match event {
            EventBody::DoorModeChanged { from, to, .. } => Some((*from, *to)),
            _ => None,
        };
        bench.events.iter().filter_map(changed).collect()
    };
    for (at_stop, opened, rest, stopped) in [
        (StopPolicy::Lock, true, Mode::Unlocked, Mode::Locked),
        (StopPolicy::Unlock, false, Mode::Locked, Mode::Unlocked),
    ] {
        let mut bench = Bench::with(DoorConfig { at_stop, ..config() });
        if opened {
            bench.open();
            bench.confirm();
        }
        bench.events.clear();
        bench.tell(DoorInput::Stop);
        assert_eq!(modes(&bench), [(rest, stopped)]);
        let next = bench.restart(DoorConfig { at_stop, ..config() });
        assert_eq!((modes(&next), next.mode()), (vec![(stopped, rest)], rest));
        // Told once: a crash after it changes nothing more.
        let after = next.restart(DoorConfig { at_stop, ..config() });
        assert_eq!((modes(&after), after.mode()), (Vec::new(), rest));
    }
}

#[test]
fn an_order_that_is_in_the_state_at_a_stop_is_not_called_cancelled() {
    let mut bench = Bench::new();
    let ticket = bench.order(DoorAction::Lockdown(true));
    bench.tell(DoorInput::Stop);
    assert!(matches!(bench.reports_of(ticket).as_slice(), [Progress::Failed(_)]));
    assert!(bench.durable.as_ref().is_some_and(|durable| durable.lockdown.is_some()));
}

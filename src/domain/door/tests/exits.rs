//! Free egress and fire.

use super::*;
use crate::domain::event::Refusal;

#[test]
fn the_exit_button_releases_while_held_and_one_dwell_longer() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(DoorInput::Rex(true)).wait(60_000);
    assert_eq!((bench.unlocked(), bench.desired().until), (true, None));
    bench.tell(DoorInput::Rex(false));
    assert_eq!(bench.desired().until, Some(bench.now.mono + Duration::from_millis(DWELL)));
    bench.wait(DWELL);
    assert!(!bench.unlocked());
    assert_eq!(bench.told(), ["rex.activated", "Locked->Accessed", "Accessed->Locked"]);
}

#[test]
fn the_exit_button_releases_in_every_mode_in_the_same_step() {
    let machines = [Override::Interlock(true), Override::AutoOpen(true)];
    let holds = [
        DoorAction::Lockdown(true),
        DoorAction::Force(ForceState::Open),
        DoorAction::Force(ForceState::Closed),
        DoorAction::Dnd(Switch::On),
    ];
    for change in machines {
        let mut bench = Bench::new();
        bench.set(change).tell(DoorInput::Rex(true));
        assert!(bench.unlocked(), "{change:?}");
    }
    for action in holds {
        let mut bench = Bench::new();
        bench.hold(action).tell(DoorInput::Rex(true));
        assert!(bench.unlocked(), "{action:?}");
        bench.tell(DoorInput::Rex(false)).wait(DWELL);
        assert_eq!(bench.unlocked(), action == DoorAction::Force(ForceState::Open), "{action:?}");
    }
}

#[test]
fn a_held_button_is_one_activation() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(DoorInput::Rex(true)).tell(DoorInput::Rex(true));
    assert_eq!(bench.told(), ["rex.activated", "Locked->Accessed"]);
}

#[test]
fn relock_on_open_ends_the_after_run_but_never_a_held_button() {
    let mut bench = Bench::with(DoorConfig { relock: Relock::OnOpen, ..config() });
    bench.tell(DoorInput::Rex(true)).opens();
    assert!(bench.unlocked());
    bench.tell(DoorInput::Rex(false));
    assert!(!bench.unlocked());
    bench.closes().tell(DoorInput::Rex(true)).tell(DoorInput::Rex(false));
    assert!(bench.unlocked());
    bench.opens();
    assert!(!bench.unlocked());
}

#[test]
fn a_mechanical_exit_moves_no_relay_but_is_no_forced_door() {
    let rex = config().rex.map(|rex| Rex { releases: false, ..rex });
    let mut bench = Bench::with(DoorConfig { rex, ..config() });
    bench.told();
    bench.tell(DoorInput::Rex(true));
    assert!(!bench.unlocked());
    bench.opens();
    assert_eq!(bench.alarm(), Alarm::None);
    assert_eq!(bench.told(), ["rex.activated", "door.opened"]);
    bench.tell(DoorInput::Rex(false)).closes().wait(DWELL - 1).opens();
    assert_eq!(bench.alarm(), Alarm::None);
    bench.closes().wait(1).opens();
    assert_eq!(bench.alarm(), Alarm::Forced);
}

#[test]
fn a_button_whose_board_is_lost_counts_as_let_go() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::Rex(true)).tell(DoorInput::Rex(false)).wait(DWELL);
    assert!(!bench.unlocked());
}

#[test]
fn fire_holds_the_door_released_over_everything_and_resets_by_itself() {
    let mut bench = Bench::new();
    bench.hold(DoorAction::Lockdown(true)).tell(DoorInput::Fire(true));
    assert_eq!((bench.unlocked(), bench.mode(), bench.desired().until), (true, Mode::LockedOpen, None));
    bench.wait(3_600_000);
    assert!(bench.unlocked());
    bench.tell(DoorInput::Fire(false));
    assert_eq!((bench.unlocked(), bench.mode()), (false, Mode::LockedDown));
}

#[test]
fn fire_stays_released_while_the_board_of_its_input_is_silent() {
    let mut bench = Bench::new();
    bench.tell(DoorInput::Fire(true));
    bench.tell(DoorInput::LockBoard(false)).tell(DoorInput::Contact(ContactState::Unknown)).wait(60_000);
    assert!(bench.unlocked());
}

#[test]
fn a_request_to_exit_at_a_door_unlocked_for_the_day_does_not_flicker_its_mode() {
    let mut bench = Bench::new();
    bench.set(Override::AutoOpen(true));
    bench.told();
    bench.tell(DoorInput::Rex(true)).tell(DoorInput::Rex(false)).wait(DWELL);
    assert_eq!(bench.told(), ["rex.activated"]);
}

fn reset_by_hand() -> DoorConfig {
    let fire = config().fire.map(|fire| Fire { reset: FireReset::Manual, ..fire });
    DoorConfig { fire, ..config() }
}

#[test]
fn a_release_by_fire_that_is_reset_by_hand_outlasts_its_input_and_a_restart() {
    let mut bench = Bench::with(reset_by_hand());
    bench.hold(DoorAction::Lockdown(true)).tell(DoorInput::Fire(true));
    let too_early = bench.order(DoorAction::AcknowledgeAlarm);
    assert_eq!(bench.refusal_of(too_early), Some(Refusal::Conflict));
    bench.tell(DoorInput::Fire(false)).wait(3_600_000);
    assert_eq!((bench.unlocked(), bench.mode()), (true, Mode::LockedOpen));

    let mut next = bench.restart(reset_by_hand());
    assert_eq!((next.unlocked(), next.mode()), (true, Mode::LockedOpen));
    next.tell(DoorInput::Fire(false));
    assert!(next.unlocked());
    next.told();
    let reset = next.order(DoorAction::AcknowledgeAlarm);
    assert_eq!(next.held_of(reset), [&Progress::Done]);
    assert_eq!((next.unlocked(), next.mode()), (false, Mode::LockedDown));
    assert_eq!(next.told(), ["fire.reset", "LockedOpen->LockedDown"]);
    assert_eq!(next.restart(reset_by_hand()).mode(), Mode::LockedDown);
}

#[test]
fn a_door_that_resets_by_itself_from_now_on_waits_for_nobody() {
    let mut bench = Bench::with(reset_by_hand());
    bench.tell(DoorInput::Fire(true));
    let next = bench.restart(config());
    assert_eq!((next.unlocked(), next.mode()), (false, Mode::Locked));
}

//! Free egress and fire.

use super::*;

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
    let changes = [
        Override::Interlock(true),
        Override::Lockdown(true),
        Override::Force(Some(Force::Open)),
        Override::Force(Some(Force::Closed)),
        Override::Dnd(true),
        Override::AutoOpen(true),
    ];
    for change in changes {
        let mut bench = Bench::new();
        bench.set(change).tell(DoorInput::Rex(true));
        assert!(bench.unlocked(), "{change:?}");
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
    bench.set(Override::Lockdown(true)).tell(DoorInput::Fire(true));
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

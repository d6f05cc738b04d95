//! Momentary unlockings and what ends them.

use super::*;

fn relocking(relock: Relock) -> Bench {
    Bench::with(DoorConfig { relock, ..config() })
}

#[test]
fn a_grant_unlocks_for_the_dwell_and_carries_its_end_to_the_bus() {
    let mut bench = Bench::new();
    bench.tell(grant());
    let desired = bench.desired();
    assert_eq!(desired.until, Some(bench.now.mono + Duration::from_millis(DWELL)));
    assert_eq!((desired.level, desired.rest), (Level::Energised, Level::Released));
    bench.wait(DWELL - 1);
    assert_eq!((bench.unlocked(), bench.mode()), (true, Mode::Accessed));
    bench.wait(1);
    assert_eq!((bench.unlocked(), bench.mode()), (false, Mode::Locked));
}

#[test]
fn asking_again_never_extends_the_end() {
    let mut bench = Bench::new();
    bench.tell(grant());
    let until = bench.desired().until;
    bench.wait(1_000).confirm();
    assert_eq!(bench.desired().until, until);
}

#[test]
fn extended_access_holds_longer_and_a_shorter_grant_after_it_takes_nothing_away() {
    let mut bench = Bench::new();
    bench.tell(extended_grant()).tell(grant()).wait(DWELL_EXTENDED - 1);
    assert!(bench.unlocked());
    bench.wait(1);
    assert!(!bench.unlocked());
}

#[test]
fn relock_on_open_locks_as_the_door_opens() {
    let mut bench = relocking(Relock::OnOpen);
    bench.tell(grant()).wait(500).opens();
    assert_eq!((bench.unlocked(), bench.mode(), bench.alarm()), (false, Mode::Locked, Alarm::None));
}

#[test]
fn relock_on_close_locks_as_the_door_has_closed_again() {
    let mut bench = relocking(Relock::OnClose);
    bench.tell(grant()).wait(500).opens().wait(500);
    assert!(bench.unlocked());
    bench.closes();
    assert!(!bench.unlocked());
}

#[test]
fn relock_after_dwell_ignores_the_contact() {
    let mut bench = relocking(Relock::AfterDwell);
    bench.tell(grant()).opens().closes();
    assert!(bench.unlocked());
    bench.wait(DWELL);
    assert!(!bench.unlocked());
}

#[test]
fn no_relock_policy_holds_beyond_the_dwell() {
    for relock in [Relock::OnOpen, Relock::OnClose, Relock::AfterDwell] {
        let mut bench = relocking(relock);
        bench.tell(grant()).wait(DWELL);
        assert!(!bench.unlocked(), "{relock:?}");
    }
}

#[test]
fn a_door_that_stands_open_is_unlocked_all_the_same() {
    for relock in [Relock::OnOpen, Relock::OnClose, Relock::AfterDwell] {
        let mut bench = relocking(relock);
        bench.tell(grant()).opens().wait(DWELL).tell(grant());
        assert!(bench.unlocked(), "{relock:?}");
    }
}

#[test]
fn a_grant_under_a_lockdown_moves_nothing_and_is_over_when_its_dwell_is() {
    let mut bench = Bench::new();
    bench.tell(grant()).hold(DoorAction::Lockdown(true));
    assert!(!bench.unlocked());
    bench.wait(DWELL).hold(DoorAction::Lockdown(false));
    assert!(!bench.unlocked());
}

#[test]
fn a_grant_that_nobody_uses_is_remarked_once_and_one_that_is_used_is_not() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(grant()).wait(2 * DWELL);
    assert_eq!(bench.told(), ["Locked->Accessed", "Accessed->Locked", "door.not_opened"]);
    bench.tell(grant()).opens().closes().wait(2 * DWELL);
    assert!(!bench.told().contains(&"door.not_opened".to_owned()));
}

//! Modes, their precedence over the whole machine, and polarity.

use super::*;
use crate::domain::{door::precedence::PRECEDENCE, event::DenialReason};

/// Makes a cause of the table hold at the bench's door.
fn raise(bench: &mut Bench, name: &str) {
    match name {
        "fire" => bench.tell(DoorInput::Fire(true)),
        "REX" => bench.tell(DoorInput::Rex(true)),
        "interlock" => bench.set(Override::Interlock(true)),
        "lockdown" => bench.set(Override::Lockdown(true)),
        "force open" => bench.set(Override::Force(Some(Force::Open))),
        "force closed" => bench.set(Override::Force(Some(Force::Closed))),
        "DND" => bench.set(Override::Dnd(true)),
        "manual open" => {
            bench.open();
            bench.confirm()
        }
        "auto open" => bench.set(Override::AutoOpen(true)),
        "grant" => bench.tell(grant()),
        other => panic!("no cause is called {other}"),
    };
}

#[test]
fn of_every_pair_of_causes_the_higher_one_moves_the_door_whichever_came_first() {
    for (at, high) in PRECEDENCE.iter().enumerate() {
        for low in PRECEDENCE.iter().skip(at + 1) {
            if high.name == "force open" && low.name == "force closed" {
                continue; // two states of one force
            }
            // The lower one first: a manual open would be refused under most of the higher ones.
            let mut bench = Bench::new();
            raise(&mut bench, low.name);
            assert_eq!(bench.mode(), low.mode, "{}", low.name);
            raise(&mut bench, high.name);
            assert_eq!(bench.unlocked(), high.unlocks, "{} over {}", high.name, low.name);
            let flickers = high.name == "REX" && low.unlocks;
            assert_eq!(bench.mode(), if flickers { low.mode } else { high.mode }, "{} over {}", high.name, low.name);
            if low.name != "manual open" {
                let mut bench = Bench::new();
                raise(&mut bench, high.name);
                raise(&mut bench, low.name);
                assert_eq!(bench.unlocked(), high.unlocks, "{} before {}", high.name, low.name);
            }
        }
    }
}

#[test]
fn when_a_higher_cause_ends_the_mode_is_what_then_holds() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm();
    bench.set(Override::Dnd(true)).set(Override::Lockdown(true));
    bench.set(Override::Lockdown(false));
    assert_eq!(bench.mode(), Mode::Blocked);
    bench.set(Override::Dnd(false));
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Unlocked, true));
}

#[test]
fn a_mode_change_has_one_event_and_no_change_has_none() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(grant());
    assert_eq!(bench.told(), ["Locked->Accessed"]);
    bench.tell(grant());
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.wait(DWELL);
    assert_eq!(bench.told(), ["Accessed->Locked"]);
}

#[test]
fn credentials_are_denied_with_the_reason_of_the_highest_cause_that_denies() {
    let mut bench = Bench::new();
    assert_eq!(bench.door.denies(bench.now.mono), None);
    bench.set(Override::Dnd(true));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::Dnd));
    bench.set(Override::Force(Some(Force::Closed)));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::Forced));
    bench.set(Override::Lockdown(true));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::LockedDown));
    bench.set(Override::Interlock(true));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::Interlock));
    bench.tell(DoorInput::Rex(true));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::Interlock));
}

#[test]
fn a_magnet_is_energised_while_locked_and_let_go_to_unlock() {
    let mut bench = Bench::with(DoorConfig { unlocked_level: Level::Released, ..config() });
    let locked = bench.desired();
    assert_eq!((locked.level, locked.until), (Level::Energised, None));
    bench.tell(grant());
    let desired = bench.desired();
    assert_eq!((desired.level, desired.rest), (Level::Released, Level::Energised));
    assert_eq!(desired.until, Some(bench.now.mono + Duration::from_millis(DWELL)));
}

#[test]
fn a_lock_that_does_not_follow_is_told_once_and_once_when_it_follows_again() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(DoorInput::LockMismatch(Level::Energised)).tell(DoorInput::LockMismatch(Level::Energised));
    assert_eq!(
        (bench.told(), bench.door.status().lock),
        (vec!["door.lock_mismatched".to_owned()], LockState::Unlocked)
    );
    bench.confirm().confirm();
    assert_eq!(bench.told(), ["door.lock_restored"]);
}

#[test]
fn a_stuck_lock_is_no_mismatch_while_it_is_where_it_should_be() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(DoorInput::LockMismatch(Level::Energised)).tell(grant());
    assert_eq!(bench.told(), ["door.lock_mismatched", "door.lock_restored", "Locked->Accessed"]);
    bench.tell(DoorInput::LockMismatch(Level::Energised));
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn the_status_says_what_was_read_back_and_nothing_while_the_board_is_lost() {
    let mut bench = Bench::new();
    assert_eq!(bench.door.status().lock, LockState::Locked);
    bench.tell(grant());
    assert_eq!(bench.door.status().lock, LockState::Locked);
    bench.confirm();
    assert_eq!(bench.door.status().lock, LockState::Unlocked);
    bench.tell(DoorInput::LockBoard(false)).tell(DoorInput::Contact(ContactState::Unknown));
    let status = bench.door.status();
    assert_eq!((status.lock, status.contact), (LockState::Unknown, ContactState::Unknown));
}

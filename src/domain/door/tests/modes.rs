//! Modes, their precedence over the whole machine, and polarity.

use super::*;
use crate::domain::{
    door::precedence::{Cause, Ordered, PRECEDENCE},
    event::DenialReason,
};

/// Makes a cause of the table hold at the bench's door, by the way that it comes about in life. False: it was
/// refused.
fn raise(bench: &mut Bench, cause: Cause) -> bool {
    let mut order = |action| {
        let ticket = bench.order(action);
        let taken = bench.refusal_of(ticket).is_none();
        if taken && bench.desired().order.is_some() {
            bench.confirm();
        }
        taken
    };
    match cause {
        Cause::Lockdown => return order(DoorAction::Lockdown(true)),
        Cause::ForceOpen => return order(DoorAction::Force(ForceState::Open)),
        Cause::ForceClosed => return order(DoorAction::Force(ForceState::Closed)),
        Cause::Dnd => return order(DoorAction::Dnd(Switch::On)),
        Cause::Manual => return order(DoorAction::Open),
        Cause::Fire => bench.tell(DoorInput::Fire(true)),
        Cause::Rex => bench.tell(DoorInput::Rex(true)),
        Cause::Interlock => bench.set(Override::Interlock(true)),
        Cause::AutoOpen => bench.set(Override::AutoOpen(true)),
        Cause::Grant => bench.tell(grant()),
    };
    true
}

/// Ends it again.
fn end(bench: &mut Bench, cause: Cause) {
    match cause {
        Cause::Lockdown => bench.hold(DoorAction::Lockdown(false)),
        Cause::ForceOpen | Cause::ForceClosed => bench.hold(DoorAction::Force(ForceState::Released)),
        Cause::Dnd => bench.hold(DoorAction::Dnd(Switch::Off)),
        Cause::Fire => bench.tell(DoorInput::Fire(false)),
        // Without its after-run, which is as long as the grant beneath it.
        Cause::Rex => bench.opens().tell(DoorInput::Rex(false)).closes(),
        Cause::Interlock => bench.set(Override::Interlock(false)),
        Cause::Manual => bench.hold(DoorAction::Close),
        Cause::AutoOpen => bench.set(Override::AutoOpen(false)),
        Cause::Grant => bench.wait(DWELL),
    };
}

/// What may be ordered beneath a cause, from the table of orders.
fn may_come_under(low: Cause, high: Cause) -> bool {
    let ordered = match low {
        Cause::Manual => Ordered::Open,
        Cause::ForceOpen => Ordered::ForceOpen,
        Cause::ForceClosed => Ordered::ForceClosed,
        Cause::Dnd => Ordered::DndOn,
        _ => return true,
    };
    !ordered.refused_under().contains(&high)
}

/// Two states of one force, of which the later replaces the earlier.
fn exclude_each_other(high: Cause, low: Cause) -> bool {
    (high, low) == (Cause::ForceOpen, Cause::ForceClosed)
}

#[test]
fn of_every_pair_of_causes_the_higher_one_moves_the_door_and_its_end_recomputes_what_then_holds() {
    for (at, high) in PRECEDENCE.iter().enumerate() {
        for low in PRECEDENCE.iter().skip(at + 1).filter(|low| !exclude_each_other(high.cause, low.cause)) {
            let what = format!("{} over {}", high.name, low.name);
            let mut bench = Bench::with(DoorConfig { relock: Relock::OnOpen, ..config() });
            assert!(raise(&mut bench, low.cause), "{what}");
            assert_eq!(bench.mode(), low.mode, "{what}");
            assert!(raise(&mut bench, high.cause), "{what}");
            assert_eq!(bench.unlocked(), high.unlocks, "{what}");
            let flickers = high.cause == Cause::Rex && low.unlocks;
            assert_eq!(bench.mode(), if flickers { low.mode } else { high.mode }, "{what}");
            // A grant and the exit's after-run end as the door opens.
            if high.cause == Cause::Manual || (high.cause, low.cause) == (Cause::Rex, Cause::Grant) {
                continue;
            }
            end(&mut bench, high.cause);
            assert_eq!((bench.mode(), bench.unlocked()), (low.mode, low.unlocks), "the end of {what}");
        }
    }
}

#[test]
fn of_every_pair_of_causes_the_lower_one_is_covered_or_refused_when_it_comes_later() {
    for (at, high) in PRECEDENCE.iter().enumerate() {
        for low in PRECEDENCE.iter().skip(at + 1).filter(|low| !exclude_each_other(high.cause, low.cause)) {
            let what = format!("{} before {}", high.name, low.name);
            let mut bench = Bench::with(DoorConfig { relock: Relock::OnOpen, ..config() });
            raise(&mut bench, high.cause);
            let taken = raise(&mut bench, low.cause);
            assert_eq!(taken, may_come_under(low.cause, high.cause), "{what}");
            assert_eq!(bench.unlocked(), high.unlocks, "{what}");
            if high.cause == Cause::Manual || (high.cause, low.cause) == (Cause::Rex, Cause::Grant) {
                continue;
            }
            end(&mut bench, high.cause);
            let expected = if taken { (low.mode, low.unlocks) } else { (Mode::Locked, false) };
            assert_eq!((bench.mode(), bench.unlocked()), expected, "the end of {what}");
        }
    }
}

#[test]
fn a_close_ends_a_manual_open_and_leaves_what_else_unlocks_to_itself() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm().hold(DoorAction::Close).tell(grant());
    assert_eq!((bench.mode(), bench.unlocked()), (Mode::Accessed, true), "a close refuses no card");
}

#[test]
fn when_a_higher_cause_ends_the_mode_is_what_then_holds() {
    let mut bench = Bench::new();
    bench.open();
    bench.confirm();
    bench.hold(DoorAction::Dnd(Switch::On)).hold(DoorAction::Lockdown(true));
    bench.hold(DoorAction::Lockdown(false));
    assert_eq!(bench.mode(), Mode::Blocked);
    bench.hold(DoorAction::Dnd(Switch::Off));
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
    bench.hold(DoorAction::Dnd(Switch::On));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::Dnd));
    bench.hold(DoorAction::Force(ForceState::Closed));
    assert_eq!(bench.door.denies(bench.now.mono), Some(DenialReason::Forced));
    bench.hold(DoorAction::Lockdown(true));
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

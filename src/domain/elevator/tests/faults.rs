//! Boards that are lost, relays that do not follow, stops.

use super::*;

#[test]
fn a_lost_board_ends_what_was_enabled_for_a_while_and_says_how_the_floors_fail() {
    let mut rig = Rig::new();
    let _ = rig.ride("ada", &[FIRST, ROOF]);
    let effects = rig.board(CAB, false);
    let floors = [id("ground"), id("first"), id("second")].to_vec();
    let lost = EventBody::FloorsLost { floor_group: id("lift"), floors, fail: FailPolicy::Secure };
    assert_eq!(effects.events.first(), Some(&lost));
    assert_eq!(rig.enabled(), set(&[ROOF]));
    assert_eq!(rig.elevator.status(rig.now.mono).link, Link::Lost);
    assert!(rig.board(CAB, false).events.is_empty());
    assert_eq!(types(&rig.board(CAB, true)), ["floor.restored"]);
    assert_eq!(rig.enabled(), set(&[ROOF]));
}

#[test]
fn floors_that_fail_free_are_enabled_until_their_board_is_back() {
    let mut rig = Rig::with(FailPolicy::Free);
    let effects = rig.board(CAB, false);
    assert_eq!(types(&effects), ["floor.lost", "floor.enabled"]);
    assert_eq!(rig.enabled(), set(&[GROUND, FIRST, SECOND]));
    let effects = rig.board(CAB, true);
    assert_eq!(types(&effects), ["floor.restored", "floor.disabled"]);
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn floors_that_keep_go_on_where_they_were_when_their_board_is_back_in_time() {
    let mut rig = Rig::with(FailPolicy::Keep);
    let _ = rig.ride("ada", &[FIRST]);
    let _ = rig.board(CAB, false);
    rig.pass(5_000);
    let _ = rig.board(CAB, true);
    assert_eq!(rig.enabled(), set(&[FIRST]));
    rig.pass(5_000);
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn a_floor_without_its_board_can_be_closed_but_not_opened() {
    let mut rig = Rig::new();
    let _ = rig.order(FloorAction::Open, &[FIRST]);
    let _ = rig.confirm();
    let _ = rig.board(CAB, false);
    let (_, effects) = rig.order(FloorAction::Open, &[FIRST, ROOF]);
    assert!(
        matches!(effects.reports.as_slice(), [(_, Progress::Refused(crate::domain::event::Refusal::BusDown, _))]),
        "{effects:?}"
    );
    let (_, effects) = rig.order(FloorAction::Close, &[FIRST]);
    assert!(matches!(effects.held.as_slice(), [(_, Progress::Failed(detail))] if detail.contains("bus_down")));
    let _ = rig.board(CAB, true);
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn a_relay_that_does_not_follow_is_told_once_and_told_when_it_does() {
    let mut rig = Rig::new();
    let _ = rig.ride("ada", &[FIRST]);
    let mismatch = ElevatorInput::Mismatch { floor: FIRST, level: Level::Released };
    assert_eq!(types(&rig.tell(mismatch.clone())), ["floor.relay_mismatched"]);
    assert!(rig.tell(mismatch).events.is_empty());
    assert_eq!(types(&rig.confirm()), ["floor.relay_restored"]);
}

#[test]
fn a_stop_leaves_the_floors_as_the_policy_says() {
    for (fail, left) in
        [(FailPolicy::Secure, set(&[])), (FailPolicy::Free, FloorSet::all(4)), (FailPolicy::Keep, set(&[SECOND]))]
    {
        let mut rig = Rig::with(fail);
        let _ = rig.order(FloorAction::Open, &[SECOND]);
        let _ = rig.confirm();
        let _ = rig.ride("ada", &[FIRST]);
        let _ = rig.confirm();
        let (waiting, _) = rig.order(FloorAction::Open, &[ROOF]);
        let effects = rig.tell(ElevatorInput::Stop);
        assert_eq!(effects.held, [(waiting, Progress::Cancelled)]);
        assert_eq!(rig.enabled(), left, "{fail:?}");
        assert!(!rig.elevator.stopped(), "{fail:?}: nothing was read back yet");
        let _ = rig.confirm();
        assert!(rig.elevator.stopped(), "{fail:?}");
        let _ = rig.ride("ben", &[FIRST]);
        assert_eq!(rig.enabled(), left, "{fail:?}");
    }
}

//! Forced, propped, the warning before, and what masks them.

use super::*;

#[test]
fn a_door_that_opens_without_right_is_forced_until_it_closes() {
    let mut bench = Bench::new();
    bench.told();
    bench.opens();
    assert_eq!(bench.alarm(), Alarm::Forced);
    bench.wait(10 * OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::Forced);
    bench.closes();
    assert_eq!(bench.alarm(), Alarm::None);
    assert_eq!(bench.told(), ["door.opened", "door.forced", "door.closed", "door.alarm_cleared"]);
}

#[test]
fn a_door_held_open_is_warned_of_and_then_propped() {
    let mut bench = Bench::new();
    bench.tell(grant()).opens();
    bench.told();
    bench.wait(OPEN_TIME - PRE_ALARM - 1);
    assert_eq!(bench.alarm(), Alarm::None);
    bench.wait(1);
    assert_eq!(bench.alarm(), Alarm::PropWarning);
    bench.wait(PRE_ALARM);
    assert_eq!(bench.alarm(), Alarm::Propped);
    bench.closes();
    assert_eq!(
        bench.told(),
        ["Accessed->Locked", "door.prop_warned", "door.propped", "door.closed", "door.alarm_cleared"]
    );
}

#[test]
fn without_a_warning_time_there_is_no_warning() {
    let mut bench = Bench::with(DoorConfig { pre_alarm: Duration::ZERO, ..config() });
    bench.tell(grant()).opens();
    bench.told();
    bench.wait(OPEN_TIME);
    assert_eq!(bench.told(), ["Accessed->Locked", "door.propped"]);
}

#[test]
fn extended_access_may_hold_the_door_longer() {
    let mut bench = Bench::new();
    bench.tell(extended_grant()).opens().wait(OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::None);
    bench.wait(OPEN_TIME_EXTENDED - OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::Propped);
}

#[test]
fn a_door_pulled_just_as_the_lock_falls_is_not_forced() {
    let mut bench = Bench::new();
    bench.tell(grant()).wait(DWELL + 900).opens();
    assert_eq!(bench.alarm(), Alarm::None);
    bench.closes().wait(200).opens();
    assert_eq!(bench.alarm(), Alarm::Forced);
}

#[test]
fn an_unlocked_door_may_stand_open_and_has_its_time_again_once_it_is_locked() {
    let mut bench = Bench::new();
    bench.set(Override::AutoOpen(true)).opens().wait(10 * OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::None);
    bench.set(Override::AutoOpen(false)).wait(OPEN_TIME - 1);
    assert_ne!(bench.alarm(), Alarm::Propped);
    bench.wait(1);
    assert_eq!(bench.alarm(), Alarm::Propped);
}

#[test]
fn unlocking_the_door_clears_its_alarm() {
    let mut bench = Bench::new();
    bench.opens();
    bench.told();
    bench.tell(DoorInput::Fire(true));
    assert_eq!(bench.alarm(), Alarm::None);
    assert_eq!(bench.told(), ["Locked->LockedOpen", "door.alarm_cleared"]);
}

#[test]
fn a_lockdown_does_not_make_a_later_opening_rightful() {
    let mut bench = Bench::new();
    bench.tell(grant()).hold(DoorAction::Lockdown(true)).wait(2_000).opens();
    assert_eq!(bench.alarm(), Alarm::Forced);
}

#[test]
fn a_door_found_open_at_the_first_report_was_not_forced_but_may_be_propped() {
    let mut bench = Bench::cold(config(), DurableDoor::default());
    bench.opens();
    assert_eq!((bench.alarm(), bench.told()), (Alarm::None, Vec::new()));
    bench.wait(OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::Propped);
}

#[test]
fn an_alarm_outlives_the_loss_of_the_board_and_nothing_new_is_claimed_meanwhile() {
    let mut bench = Bench::new();
    bench.opens().tell(DoorInput::Contact(ContactState::Unknown));
    assert_eq!(bench.alarm(), Alarm::Forced);
    bench.opens();
    assert_eq!(bench.alarm(), Alarm::Forced);
    bench.tell(DoorInput::Contact(ContactState::Unknown)).closes();
    assert_eq!(bench.alarm(), Alarm::None);

    bench.tell(grant()).opens().tell(DoorInput::Contact(ContactState::Unknown)).wait(10 * OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::None);
    bench.opens().wait(OPEN_TIME);
    assert_eq!(bench.alarm(), Alarm::Propped);
}

#[test]
fn an_opening_while_the_board_was_lost_is_recorded_but_nobody_is_accused() {
    let mut bench = Bench::new();
    bench.told();
    bench.tell(DoorInput::Contact(ContactState::Unknown)).opens();
    assert_eq!((bench.alarm(), bench.told()), (Alarm::None, vec!["door.opened".to_owned()]));
}

#[test]
fn an_alarm_that_was_acknowledged_stands_until_it_clears_by_itself_and_the_next_one_is_unseen() {
    let mut bench = Bench::new();
    bench.opens();
    bench.told();
    let ticket = bench.order(DoorAction::AcknowledgeAlarm);
    assert_eq!(bench.reports_of(ticket), [&Progress::Done]);
    let status = bench.door.status();
    assert_eq!((status.alarm, status.alarm_acknowledged), (Alarm::Forced, true));
    let again = bench.order(DoorAction::AcknowledgeAlarm);
    assert_eq!(bench.reports_of(again), [&Progress::Done]);
    assert_eq!(bench.told(), ["door.alarm_acknowledged"], "seen once");
    bench.closes();
    let status = bench.door.status();
    assert_eq!((status.alarm, status.alarm_acknowledged), (Alarm::None, false));
    bench.opens();
    assert!(!bench.door.status().alarm_acknowledged);
}

#[test]
fn a_warning_that_was_acknowledged_says_nothing_of_the_propped_alarm_after_it() {
    let mut bench = Bench::new();
    bench.tell(grant()).opens().wait(OPEN_TIME - PRE_ALARM);
    bench.order(DoorAction::AcknowledgeAlarm);
    assert!(bench.door.status().alarm_acknowledged);
    bench.wait(PRE_ALARM);
    assert_eq!((bench.alarm(), bench.door.status().alarm_acknowledged), (Alarm::Propped, false));
}

#[test]
fn where_no_alarm_stands_there_is_nothing_to_acknowledge() {
    let mut bench = Bench::new();
    let ticket = bench.order(DoorAction::AcknowledgeAlarm);
    assert_eq!(bench.refusal_of(ticket), Some(crate::domain::event::Refusal::Conflict));
}

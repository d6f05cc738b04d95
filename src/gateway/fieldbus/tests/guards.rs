//! Boards that look after their outputs by themselves: timers that end a momentary level, watchdogs; and lines
//! that tell more than on and off.

use std::time::Duration;

use crate::{
    domain::{
        fieldbus::{
            Bands, BusReport, GuardAddress, GuardValue, GuardWrite, InputAddress, InputPoint, LineTrouble,
            OutputAddress, OutputPoint, OutputTimer, Profile, TimerWrite, Watchdog,
        },
        ids::BoardIx,
        outputs::{
            Desired,
            Level::{Energised, Released},
        },
        time::Mono,
    },
    gateway::fieldbus::{Request, Table},
};

use super::rig::*;

fn timer(max: u16) -> OutputTimer {
    OutputTimer {
        write: TimerWrite::Coil,
        energised_for: Some(FLASH_ON),
        released_for: Some(FLASH_OFF),
        unit: Duration::from_millis(100),
        max,
    }
}

/// One relay with a timer of at most so many counts.
fn with_timer(max: u16) -> Rig {
    let point = OutputPoint { timer: Some(timer(max)), ..OutputPoint::plain(id("relay"), OutputAddress::Coil(0)) };
    let mut rig = Rig::new(1, &Profile { outputs: vec![point], card_blocks: vec![], ..profile() });
    rig.run(300);
    rig.reports.clear();
    rig.wire.clear();
    rig
}

fn momentary(rig: &Rig, millis: u64, order: Option<u64>) -> Desired {
    let until = Some(rig.now + Duration::from_millis(millis));
    let rest = Released;
    let desired = Desired { output: output(0, 0), level: Energised, until, rest, order: None };
    match order {
        Some(ticket) => {
            Desired { order: super::rig::order(output(0, 0), Energised, ticket, Mono::MAX).order, ..desired }
        }
        None => desired,
    }
}

/// The writes so far, taken.
fn written(rig: &mut Rig) -> Vec<Request> {
    let writes = rig.writes().into_iter().map(|(_, request)| request).collect();
    rig.wire.clear();
    writes
}

const ON: Request = Request::WriteCoil { address: 0, on: true };
const OFF: Request = Request::WriteCoil { address: 0, on: false };

fn flash(count: u16) -> Request {
    Request::WriteTimer { address: FLASH_ON, count }
}

#[test]
fn a_level_that_ends_is_put_to_the_boards_timer_read_back_and_ended_in_time_by_a_write_all_the_same() {
    let mut rig = with_timer(0x7fff);
    rig.desire(momentary(&rig, 4000, Some(7)));
    rig.run(100);
    assert_eq!(written(&mut rig), [flash(41)]);
    assert_eq!(rig.reported(), [confirmed(output(0, 0), Energised, Some(7))], "read back, not believed");
    rig.run(3850);
    assert_eq!(written(&mut rig), []);
    rig.run(200);
    assert_eq!(written(&mut rig), [OFF]);
    assert_eq!(rig.reported(), [confirmed(output(0, 0), Released, None)]);
}

#[test]
fn the_timer_of_a_relay_that_does_not_follow_confirms_nothing() {
    let mut rig = with_timer(0x7fff);
    rig.board().mood = Mood::Mute;
    rig.desire(momentary(&rig, 4000, Some(7)));
    rig.run(300);
    rig.board().mood = Mood::Well;
    rig.board().bits.insert((Table::Coil, 0), false);
    rig.run(100);
    assert!(!rig.reported().contains(&confirmed(output(0, 0), Energised, Some(8))));
    rig.run(200);
    assert!(rig.reports.is_empty() || rig.coil(0, 0), "what is told is what was read");
}

#[test]
fn a_magnet_is_let_go_by_the_timer_that_takes_hold_again() {
    let mut rig = with_timer(0x7fff);
    rig.desire(level(output(0, 0), Energised));
    rig.run(200);
    written(&mut rig);
    let until = Some(rig.now + Duration::from_secs(3));
    rig.desire(Desired { output: output(0, 0), level: Released, until, rest: Energised, order: None });
    rig.run(100);
    assert_eq!(written(&mut rig), [Request::WriteTimer { address: FLASH_OFF, count: 31 }]);
    assert_eq!(rig.board().timers[&0], (31, true));
}

#[test]
fn a_relock_before_the_end_is_written_at_once_and_a_new_unlocking_sets_the_timer_anew() {
    let mut rig = with_timer(0x7fff);
    rig.desire(momentary(&rig, 5000, None));
    rig.run(1000);
    rig.desire(level(output(0, 0), Released));
    rig.run(100);
    assert_eq!(written(&mut rig), [flash(51), OFF]);
    rig.desire(momentary(&rig, 3000, None));
    rig.run(100);
    assert_eq!(written(&mut rig), [flash(31)]);
    // Prolonged by another card, then for good, then not any more.
    rig.desire(momentary(&rig, 6000, None));
    rig.run(100);
    assert_eq!(written(&mut rig), [flash(61)]);
    rig.desire(level(output(0, 0), Energised));
    rig.run(100);
    assert_eq!(written(&mut rig), [ON], "the timer must not end what has no end");
    rig.run(1000);
    assert_eq!(written(&mut rig), []);
}

#[test]
fn a_timer_that_goes_off_although_it_was_overtaken_is_seen_and_made_good() {
    let mut rig = with_timer(0x7fff);
    rig.desire(momentary(&rig, 2000, None));
    rig.run(100);
    rig.desire(level(output(0, 0), Energised));
    rig.run(100);
    written(&mut rig);
    rig.board().bits.insert((Table::Coil, 0), false);
    rig.run(700);
    assert_eq!(written(&mut rig), [ON]);
}

#[test]
fn a_level_longer_than_the_timer_can_is_kept_up_by_setting_it_again_and_again() {
    // 2 s at most, for 7 s.
    let mut rig = with_timer(20);
    rig.desire(momentary(&rig, 7000, None));
    rig.run(6900);
    let writes = written(&mut rig);
    assert!(writes.iter().all(|write| matches!(write, Request::WriteTimer { address: FLASH_ON, .. })), "{writes:?}");
    assert!((6..=8).contains(&writes.len()), "about once a second: {writes:?}");
    assert_eq!(writes.first(), Some(&flash(20)));
    rig.run(300);
    assert_eq!(written(&mut rig), [OFF]);
    assert!(!rig.coil(0, 0));
}

#[test]
fn the_same_state_again_and_again_sets_no_timer_again() {
    let mut rig = with_timer(0x7fff);
    let desired = momentary(&rig, 5000, None);
    for _ in 0..20 {
        rig.desire(desired);
        rig.run(100);
    }
    assert_eq!(written(&mut rig), [flash(51)]);
}

#[test]
fn a_board_without_the_timer_of_its_profile_is_told_of_and_the_order_is_carried_out_by_a_plain_write() {
    let mut rig = with_timer(0x7fff);
    rig.board().missing.insert((Table::Coil, FLASH_ON));
    rig.desire(momentary(&rig, 4000, Some(7)));
    rig.run(100);
    assert_eq!(written(&mut rig), [flash(41), ON]);
    let reports = rig.reported();
    assert!(matches!(&reports[0], BusReport::BoardDegraded { board: BoardIx(0), detail } if detail.contains("relay")));
    assert_eq!(reports[1..], [confirmed(output(0, 0), Energised, Some(7))]);
    rig.desire(level(output(0, 0), Released));
    rig.run(100);
    rig.desire(momentary(&rig, 4000, Some(8)));
    rig.run(100);
    assert_eq!(written(&mut rig), [OFF, ON], "not asked again while the board stays");
}

#[test]
fn an_answer_to_the_timer_that_got_lost_is_settled_by_reading_and_the_timer_set_for_the_same_end() {
    let mut rig = with_timer(0x7fff);
    rig.board().moods = vec![Mood::Mute];
    rig.desire(momentary(&rig, 5000, Some(7)));
    rig.run(300);
    assert_eq!(rig.reported(), [confirmed(output(0, 0), Energised, Some(7))]);
    let writes = written(&mut rig);
    assert_eq!(writes.first(), Some(&flash(51)));
    assert!(matches!(writes[1..], [Request::WriteTimer { count: 48..=51, .. }]), "{writes:?}");
}

// ---- watchdogs ----

const TIMEOUT_AT: u16 = 0x1000;
const TRIGGER: u16 = 0x1003;

fn watched(feed: bool) -> Rig {
    let register = GuardAddress::HoldingRegister;
    let watchdog = Watchdog {
        arm: vec![
            GuardWrite { address: GuardAddress::Coil(0x10d), value: GuardValue::Fixed(1) },
            GuardWrite { address: register(TIMEOUT_AT), value: GuardValue::Timeout },
        ],
        feed: feed.then_some(GuardWrite { address: register(TRIGGER), value: GuardValue::Alternating }),
        unit: Duration::from_millis(100),
        timeout_min: Duration::from_secs(1),
        timeout_max: Duration::from_secs(60),
    };
    let relay = |n: u16| OutputPoint {
        safe_coil: Some(0x80 + n),
        ..OutputPoint::plain(id(&format!("relay-{n}")), OutputAddress::Coil(n))
    };
    let profile = Profile { outputs: vec![relay(0), relay(1)], watchdog: Some(watchdog), ..profile() };
    let mut rig = Rig::guarded(&profile, Some((Duration::from_secs(10), vec![Released, Energised])));
    rig.desire(level(output(0, 1), Energised));
    rig
}

const ARMED: [Request; 4] = [
    Request::WriteCoil { address: 0x80, on: false },
    Request::WriteCoil { address: 0x81, on: true },
    Request::WriteCoil { address: 0x10d, on: true },
    Request::WriteRegister { address: TIMEOUT_AT, value: 100 },
];
const OUTPUT: Request = Request::WriteCoil { address: 1, on: true };

#[test]
fn a_watchdog_is_armed_with_the_safe_states_first_and_before_any_output_is_written() {
    let mut rig = watched(false);
    rig.run(1000);
    assert_eq!(written(&mut rig), [&ARMED[..], &[OUTPUT]].concat());
    rig.run(30_000);
    assert_eq!(written(&mut rig), [], "any request feeds it");
    // Lost and back: armed anew.
    rig.board().mood = Mood::Silent;
    rig.run(5000);
    rig.board().mood = Mood::Well;
    rig.board().reboot();
    rig.wire.clear();
    rig.run(10_000);
    assert_eq!(written(&mut rig), [&ARMED[..], &[OUTPUT]].concat());
}

#[test]
fn a_watchdog_that_wants_its_trigger_gets_another_value_four_times_in_its_time() {
    let mut rig = watched(true);
    rig.run(500);
    written(&mut rig);
    rig.run(10_000);
    let fed = written(&mut rig);
    let value = |value| Request::WriteRegister { address: TRIGGER, value };
    assert!(
        fed == [value(1), value(2), value(1), value(2)] || fed == [value(2), value(1), value(2), value(1)],
        "{fed:?}"
    );
}

#[test]
fn a_board_that_refuses_its_watchdog_is_told_of_once_and_used_without() {
    let mut rig = watched(true);
    rig.board().missing.insert((Table::Coil, 0x10d));
    rig.run(20_000);
    let degraded =
        rig.reported().into_iter().filter(|report| matches!(report, BusReport::BoardDegraded { .. })).count();
    assert_eq!(degraded, 1);
    assert!(rig.coil(0, 1));
}

#[test]
fn an_arming_that_got_no_answer_is_repeated_until_it_has_one() {
    let mut rig = watched(false);
    rig.run(60);
    rig.board().moods = vec![Mood::Mute; 2];
    rig.run(2000);
    let writes = written(&mut rig);
    let armed: Vec<Request> = writes.iter().copied().filter(|write| *write != OUTPUT).collect();
    let mut once = armed.clone();
    once.dedup();
    assert_eq!(once, ARMED);
    assert_eq!(writes.last(), Some(&OUTPUT));
}

/// Cheap boards say nothing to what they do not know.
#[test]
fn a_board_that_says_nothing_to_its_watchdog_is_told_of_once_and_used_without() {
    let mut rig = watched(true);
    rig.board().silent_about.insert(TIMEOUT_AT);
    rig.run(20_000);
    let told: Vec<BusReport> =
        rig.reported().into_iter().filter(|report| !matches!(report, BusReport::Input { .. })).collect();
    let count = |wanted: fn(&BusReport) -> bool| told.iter().filter(|report| wanted(report)).count();
    assert_eq!(count(|report| matches!(report, BusReport::BoardDegraded { .. })), 1, "{told:?}");
    assert_eq!(count(|report| matches!(report, BusReport::BoardLost { .. })), 0, "{told:?}");
    assert!(rig.coil(0, 1));
}

#[test]
fn a_board_that_says_nothing_to_the_trigger_of_its_watchdog_any_more_is_told_of_and_stays() {
    let mut rig = watched(true);
    rig.run(1_000);
    rig.board().silent_about.insert(TRIGGER);
    rig.reports.clear();
    rig.run(60_000);
    let told = rig.reported();
    assert!(matches!(told[..], [BusReport::BoardDegraded { .. }]), "{told:?}");
}

#[test]
fn a_board_that_is_too_busy_to_be_armed_is_armed_a_little_later() {
    let mut rig = watched(false);
    rig.run(60);
    rig.board().moods = vec![Mood::Exception(6); 2];
    rig.run(2000);
    let mut writes = written(&mut rig);
    writes.dedup();
    assert_eq!(writes, [&ARMED[..], &[OUTPUT]].concat());
    assert!(!rig.reported().iter().any(|report| matches!(report, BusReport::BoardDegraded { .. })));
}

// ---- supervised lines ----

fn line() -> Rig {
    let bands =
        Bands { energised: (1000, 1999), released: (2000, 2999), short: Some((0, 99)), open: Some((3900, 4095)) };
    let point = InputPoint { name: id("line"), address: InputAddress::InputRegister { address: 5, bands } };
    let mut rig = Rig::new(1, &Profile { inputs: vec![point], outputs: vec![], card_blocks: vec![], ..profile() });
    rig.board().words.insert((Table::InputRegister, 5), 1500);
    rig.run(300);
    rig
}

fn says(rig: &mut Rig, value: u16) -> Vec<BusReport> {
    rig.board().words.insert((Table::InputRegister, 5), value);
    rig.run(400);
    rig.reported()
}

fn on(energised: bool) -> BusReport {
    BusReport::Input { input: input(0, 0), energised }
}

fn trouble(trouble: LineTrouble) -> BusReport {
    BusReport::InputTrouble { input: input(0, 0), trouble }
}

#[test]
fn a_supervised_line_says_on_off_short_open_or_fault_and_each_change_is_told_once() {
    let mut rig = line();
    assert_eq!(rig.reported(), [BusReport::BoardUp { board: BoardIx(0) }, on(true)]);
    assert_eq!(says(&mut rig, 1600), []);
    assert_eq!(says(&mut rig, 2500), [on(false)]);
    assert_eq!(says(&mut rig, 20), [trouble(LineTrouble::Short)]);
    assert_eq!(says(&mut rig, 4000), [trouble(LineTrouble::Open)]);
    assert_eq!(says(&mut rig, 500), [trouble(LineTrouble::Fault)]);
    // The same state as before the trouble is told again: nobody could know.
    assert_eq!(says(&mut rig, 2500), [on(false)]);
}

#[test]
fn one_read_in_the_midst_of_a_change_is_no_trouble() {
    let mut rig = line();
    rig.reports.clear();
    rig.board().words.insert((Table::InputRegister, 5), 3500);
    rig.run(100);
    assert_eq!(says(&mut rig, 2500), [on(false)]);
}

#[test]
fn a_line_that_is_in_trouble_when_its_board_comes_is_told_of_with_it() {
    let mut rig = line();
    rig.board().mood = Mood::Silent;
    rig.run(3000);
    rig.board().words.insert((Table::InputRegister, 5), 4000);
    rig.board().mood = Mood::Well;
    rig.reports.clear();
    rig.run(10_000);
    assert_eq!(rig.reported(), [BusReport::BoardUp { board: BoardIx(0) }, trouble(LineTrouble::Open)]);
}

use std::time::Duration;

use super::rig::{ANSWER, Mood, Rig, TURNAROUND, confirmed, level, order, output, profile};
use crate::{
    domain::{
        fieldbus::BusReport,
        outputs::{
            Desired,
            Level::{Energised, Released},
            Ticket,
        },
        time::Mono,
    },
    gateway::fieldbus::Request,
};

const LOCK: crate::domain::ids::OutputRef =
    crate::domain::ids::OutputRef { board: crate::domain::ids::BoardIx(0), output: 0 };

fn soon(rig: &Rig) -> Mono {
    rig.now + Duration::from_secs(5)
}

#[test]
fn an_order_is_written_at_once_read_back_and_confirmed_once() {
    let mut rig = Rig::up(1);
    let (start, deadline) = (rig.now, soon(&rig));
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(2_000);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
    assert_eq!(rig.writes(), [(start, Request::WriteCoil { address: 0, on: true })]);
}

#[test]
fn nothing_comes_between_the_write_and_its_read_back() {
    let mut rig = Rig::up(3);
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    let start = rig.now;
    rig.run(500);
    let (at, _) = rig.reports[0];
    assert_eq!(at, start + ANSWER + TURNAROUND + ANSWER);
}

#[test]
fn an_order_for_what_already_stands_is_written_and_read_back_all_the_same() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.run(300);
    assert_eq!(rig.writes(), []);
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Released, 1, deadline));
    rig.run(300);
    assert_eq!(rig.writes().len(), 1);
    assert_eq!(rig.reported(), [confirmed(LOCK, Released, Some(1))]);
}

#[test]
fn repeating_the_desired_state_moves_nothing_and_reports_nothing() {
    let mut rig = Rig::up(1);
    let deadline = soon(&rig);
    for _ in 0..50 {
        rig.desire(order(LOCK, Energised, 1, deadline));
        rig.run(37);
    }
    assert_eq!(rig.writes().len(), 1);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
}

#[test]
fn an_order_whose_deadline_has_passed_is_not_written_and_the_level_before_stays() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    let deadline = Mono::from_nanos(rig.now.as_nanos() - 1);
    for _ in 0..5 {
        rig.desire(order(LOCK, Energised, 1, deadline));
        rig.run(300);
    }
    assert_eq!(rig.writes(), []);
    assert_eq!(rig.reported(), [BusReport::OrderExpired { output: LOCK, ticket: Ticket(1) }]);
    // The controller has answered: the same level, for another reason.
    rig.desire(level(LOCK, Energised));
    rig.run(300);
    assert!(rig.coil(0, 0));
}

#[test]
fn the_deadline_itself_is_still_in_time() {
    let mut rig = Rig::up(1);
    let deadline = rig.now;
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(100);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
}

#[test]
fn an_order_for_a_board_that_is_away_expires_on_time_and_is_not_written_when_it_returns() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.board().mood = Mood::Silent;
    rig.run(3_000);
    rig.reports.clear();
    rig.wire.clear();
    let deadline = rig.now + Duration::from_millis(500);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(1_000);
    let (at, report) = rig.reports[0].clone();
    assert_eq!(report, BusReport::OrderExpired { output: LOCK, ticket: Ticket(1) });
    assert!(at > deadline && at < deadline + Duration::from_millis(150), "{at:?}");
    rig.board().mood = Mood::Well;
    rig.run(10_000);
    assert_eq!(rig.writes(), []);
}

#[test]
fn a_write_whose_answer_is_lost_is_confirmed_by_read_back_without_writing_again() {
    let mut rig = Rig::up(1);
    rig.board().moods = vec![Mood::Mute];
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(1_000);
    assert_eq!(rig.writes().len(), 1);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
}

#[test]
fn a_write_that_was_lost_is_written_again_within_the_deadline() {
    let mut rig = Rig::up(1);
    rig.board().moods = vec![Mood::Silent];
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(1_000);
    assert_eq!(rig.writes().len(), 2);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
}

#[test]
fn a_write_that_was_lost_is_not_written_again_past_the_deadline() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.board().moods = vec![Mood::Silent];
    let deadline = rig.now + Duration::from_millis(50);
    for _ in 0..10 {
        rig.desire(order(LOCK, Energised, 1, deadline));
        rig.run(100);
    }
    assert_eq!(rig.writes().len(), 1);
    assert!(!rig.coil(0, 0));
    assert!(matches!(&rig.reported()[..], [BusReport::OrderFailed { ticket: Ticket(1), .. }]));
}

#[test]
fn an_order_that_never_left_is_tried_again_and_expires_like_one_that_waited() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.board().mood = Mood::Unreachable;
    let deadline = rig.now + Duration::from_millis(300);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(600);
    assert_eq!(rig.reported(), [BusReport::OrderExpired { output: LOCK, ticket: Ticket(1) }]);
    assert!(rig.writes().iter().all(|(at, _)| *at <= deadline));
    rig.board().mood = Mood::Well;
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 2, deadline));
    rig.run(600);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(2))]);
}

#[test]
fn an_exception_fails_the_order_and_nothing_more_is_written_for_it() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.board().moods = vec![Mood::Exception(4)];
    let deadline = soon(&rig);
    for _ in 0..5 {
        rig.desire(order(LOCK, Energised, 1, deadline));
        rig.run(300);
    }
    assert_eq!(rig.writes().len(), 1);
    assert!(!rig.coil(0, 0));
    match &rig.reported()[..] {
        [BusReport::OrderFailed { ticket: Ticket(1), detail, .. }] => {
            assert!(detail.contains("exception 4"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
}

/// Modbus Application Protocol V1.1b3, section 7: 5 has accepted it and goes on to do it, 6 is busy with something else.
#[test]
fn an_order_that_a_board_is_slow_or_busy_about_is_read_back_instead_of_called_failed() {
    for mood in [Mood::Acknowledges, Mood::Exception(6)] {
        let mut rig = Rig::up(1);
        rig.desire(level(LOCK, Released));
        rig.run(100);
        rig.reports.clear();
        rig.board().moods = vec![mood];
        rig.desire(order(LOCK, Energised, 1, soon(&rig)));
        rig.run(600);
        assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))], "{mood:?}");
        assert!(rig.coil(0, 0));
    }
    // One that is busy for ever has not done it, and says so in time.
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.run(100);
    rig.reports.clear();
    rig.board().busy_to_write = true;
    rig.desire(order(LOCK, Energised, 1, soon(&rig)));
    rig.run(2_000);
    let told = rig.reported();
    let stays = BusReport::OutputMismatch { output: LOCK, level: Released };
    assert!(
        matches!(&told[..], [first, BusReport::OrderFailed { ticket: Ticket(1), .. }] if *first == stays),
        "{told:?}"
    );
}

#[test]
fn an_order_under_way_when_the_board_is_lost_ends_as_unknown() {
    let mut rig = Rig::up(1);
    rig.board().mood = Mood::Silent;
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(3_000);
    match &rig.reported()[..] {
        [BusReport::BoardLost { .. }, BusReport::OrderUnknown { ticket: Ticket(1), detail, .. }] => {
            assert!(detail.contains("no answer"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_output_that_reads_back_otherwise_is_written_three_times_then_called_a_mismatch_and_kept_at() {
    let mut rig = Rig::up(1);
    rig.board().stuck.insert(0);
    rig.desire(level(LOCK, Energised));
    rig.run(200);
    assert_eq!(rig.writes().len(), 3);
    assert_eq!(rig.reported(), [BusReport::OutputMismatch { output: LOCK, level: Released }]);
    rig.run(20_000);
    let more = rig.writes().len() - 3;
    assert!((4..=8).contains(&more), "backed off, but going on: {more}");
    assert_eq!(rig.reported(), [], "said once");
    rig.board().stuck.clear();
    rig.run(6_000);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, None)]);
}

#[test]
fn an_order_on_a_stuck_output_fails_and_the_state_before_stays() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.board().stuck.insert(0);
    let deadline = soon(&rig);
    for _ in 0..10 {
        rig.desire(order(LOCK, Energised, 1, deadline));
        rig.run(100);
    }
    assert!(matches!(
        &rig.reported()[..],
        [BusReport::OutputMismatch { .. }, BusReport::OrderFailed { ticket: Ticket(1), .. }]
    ));
    assert_eq!(rig.writes().len(), 3);
}

#[test]
fn a_momentary_level_goes_to_rest_although_nobody_says_so() {
    let mut rig = Rig::up(1);
    let until = rig.now + Duration::from_millis(700);
    let momentary = Desired { until: Some(until), rest: Released, ..level(LOCK, Energised) };
    rig.desire(momentary);
    rig.run(600);
    assert!(rig.coil(0, 0));
    rig.desire(momentary);
    rig.run(200);
    assert!(!rig.coil(0, 0));
    let (written_at, _) = *rig.writes().last().expect("a write");
    assert!(written_at >= until && written_at <= until + ANSWER + TURNAROUND, "{written_at:?}");
}

#[test]
fn a_momentary_level_whose_time_is_over_before_it_could_be_written_expires() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    rig.board().mood = Mood::Silent;
    rig.run(2_000);
    rig.reports.clear();
    let (until, deadline) = (rig.now + Duration::from_millis(200), soon(&rig));
    rig.desire(Desired { until: Some(until), rest: Released, ..order(LOCK, Energised, 1, deadline) });
    rig.board().mood = Mood::Well;
    rig.run(10_000);
    let reports = rig.reported();
    assert!(reports.contains(&BusReport::OrderExpired { output: LOCK, ticket: Ticket(1) }), "{reports:?}");
    assert!(
        !rig.coil(0, 0) && rig.writes().iter().all(|(_, write)| *write != Request::WriteCoil { address: 0, on: true })
    );
}

#[test]
fn a_momentary_level_that_never_took_effect_ends_as_failed_when_its_time_is_over() {
    let mut rig = Rig::up(1);
    rig.board().stuck.insert(0);
    let (until, deadline) = (rig.now + Duration::from_millis(13), soon(&rig));
    rig.desire(Desired { until: Some(until), rest: Released, ..order(LOCK, Energised, 1, deadline) });
    rig.run(1_000);
    assert!(matches!(&rig.reported()[..], [BusReport::OrderFailed { ticket: Ticket(1), .. }]));
    assert_eq!(rig.writes().len(), 1);
}

#[test]
fn a_later_order_overtakes_one_that_still_waits() {
    let mut rig = Rig::up(1);
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.desire(order(LOCK, Released, 2, deadline));
    rig.run(300);
    assert!(matches!(
        &rig.reported()[..],
        [BusReport::OrderFailed { ticket: Ticket(1), .. }, BusReport::Output { order: Some(Ticket(2)), .. }]
    ));
    assert_eq!(rig.writes().len(), 1);
}

#[test]
fn an_order_comes_along_when_its_level_is_wanted_for_another_reason_too() {
    let mut rig = Rig::up(1);
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.desire(level(LOCK, Energised));
    rig.run(300);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
}

#[test]
fn a_state_that_contradicts_a_waiting_order_ends_it() {
    let mut rig = Rig::up(1);
    rig.desire(level(LOCK, Released));
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.desire(level(LOCK, Released));
    rig.run(300);
    assert!(matches!(&rig.reported()[..], [BusReport::OrderFailed { ticket: Ticket(1), .. }]));
    assert_eq!(rig.writes(), []);
}

#[test]
fn the_order_with_the_earliest_deadline_goes_first() {
    let mut rig = Rig::up(2);
    let (late, early) = (rig.now + Duration::from_secs(9), rig.now + Duration::from_millis(200));
    rig.desire(order(LOCK, Energised, 1, late));
    rig.desire(order(output(1, 1), Energised, 2, early));
    rig.run(300);
    let tickets = rig.reports.iter().filter_map(|(_, report)| match report {
        BusReport::Output { order, .. } => *order,
        _ => None,
    });
    assert_eq!(tickets.collect::<Vec<_>>(), [Ticket(2), Ticket(1)]);
}

#[test]
fn an_output_without_read_back_is_confirmed_by_its_echo_and_written_anew_now_and_then() {
    let mut profile = profile();
    profile.outputs.iter_mut().for_each(|point| point.reads_back = false);
    let mut rig = Rig::new(1, &profile);
    rig.run(300);
    rig.reports.clear();
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(300);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
    rig.board().reboot();
    rig.run(1_500);
    assert!(rig.coil(0, 0));
    assert_eq!(rig.reported(), []);
}

#[test]
fn without_read_back_a_lost_answer_is_settled_by_the_echo_of_a_second_write() {
    let mut profile = profile();
    profile.outputs.iter_mut().for_each(|point| point.reads_back = false);
    let mut rig = Rig::new(1, &profile);
    rig.run(300);
    rig.reports.clear();
    rig.board().moods = vec![Mood::Mute];
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 1, deadline));
    rig.run(600);
    assert_eq!(rig.reported(), [confirmed(LOCK, Energised, Some(1))]);
    assert_eq!(rig.writes().len(), 2);
}

/// A system event acted in between; what an operator orders afterwards is as new as ever.
#[test]
fn orders_of_the_node_and_of_operators_do_not_make_each_other_old() {
    let mut rig = Rig::up(1);
    let deadline = soon(&rig);
    rig.desire(order(LOCK, Energised, 7, deadline));
    rig.run(300);
    let own = Ticket::own(1);
    rig.desire(Desired { order: Some((own, deadline)), ..level(LOCK, Released) });
    rig.run(300);
    rig.desire(order(LOCK, Energised, 8, deadline));
    rig.run(300);
    rig.desire(order(LOCK, Energised, 7, deadline));
    rig.desire(Desired { order: Some((own, deadline)), ..level(LOCK, Energised) });
    rig.run(300);
    let confirmed_own = BusReport::Output { output: LOCK, level: Released, order: Some(own) };
    assert_eq!(
        rig.reported(),
        [confirmed(LOCK, Energised, Some(7)), confirmed_own, confirmed(LOCK, Energised, Some(8))]
    );
    assert_eq!(rig.writes().len(), 3);
}

//! Inputs and outputs of readers as points: known only when read, driven in time or not at all, let go of by the
//! reader itself when nobody speaks to it any more.

use super::{
    line::{Relay, keyed, plan},
    *,
};
use crate::{
    domain::{
        fieldbus::{BusReport, LineTrouble, ReaderPoints},
        ids::{BoardIx, InputRef, OutputRef},
        outputs::{Desired, Level, Ticket},
        time::Mono,
    },
    gateway::osdp::ReaderPlan,
};

const BOARD: BoardIx = BoardIx(7);
const LOCK: OutputRef = OutputRef { board: BOARD, output: 0 };
const OUT: u8 = 0x68;

fn with_points(address: u8, protection: Protection, inputs: u16, outputs: u16) -> ReaderPlan {
    let board = BoardIx(BOARD.0 + u16::from(address));
    ReaderPlan { points: Some(ReaderPoints::new(board, inputs, outputs)), ..plan(address, protection) }
}

/// One secured reader with two inputs and one output.
fn one() -> Line {
    let mut line = Line::with(vec![with_points(0, keyed(), 2, 1)], vec![Reader::secure(0)]);
    line.panel.set_desired(line.now, &[locked()]);
    line.run(Duration::from_secs(1));
    line
}

fn locked() -> Desired {
    Desired { output: LOCK, level: Level::Released, until: None, rest: Level::Released, order: None }
}

fn opened(line: &Line, dwell: u64, order: Option<(u64, u64)>) -> Desired {
    let order = order.map(|(ticket, within)| (Ticket(ticket), line.now + Duration::from_millis(within)));
    let until = Some(line.now + Duration::from_millis(dwell));
    Desired { output: LOCK, level: Level::Energised, until, rest: Level::Released, order }
}

fn input(at: u16, energised: bool) -> BusReport {
    BusReport::Input { input: InputRef { board: BOARD, input: at }, energised }
}

fn count(line: &Line, wanted: &BusReport) -> usize {
    line.reports.iter().filter(|(_, report)| report == wanted).count()
}

fn is_on(line: &mut Line) -> bool {
    let now = line.now;
    line.readers[0].outputs[0].is_on(now)
}

fn outs(line: &Line) -> Vec<Mono> {
    line.readers[0].asked.iter().filter(|(code, ..)| *code == OUT).map(|_| line.now).collect()
}

#[test]
fn a_readers_points_are_up_once_all_of_them_were_read_and_never_before() {
    let line = one();
    let said: Vec<&BusReport> = line.reports.iter().map(|(_, report)| report).collect();
    assert_eq!(said[0], &BusReport::BoardUp { board: BOARD }, "{said:?}");
    assert_eq!(said[1..5], [&input(0, false), &input(1, true), &input(2, false), &input(3, false)]);
    assert_eq!(said[5], &BusReport::Output { output: LOCK, level: Level::Released, order: None });
}

#[test]
fn an_input_that_changes_is_told_at_once_and_once() {
    let mut line = one();
    line.readers[0].sense(0, 1);
    let changed = line.now;
    line.run(Duration::from_millis(300));
    assert_eq!(count(&line, &input(0, true)), 1);
    let at = line.reports.iter().find(|(_, report)| *report == input(0, true)).unwrap().0;
    assert!(at.since(changed) < Duration::from_millis(20), "{:?}", at.since(changed));
}

#[test]
fn an_input_of_a_reader_that_tells_nothing_by_itself_is_found_and_then_looked_at_with_every_other_turn() {
    let mut line = one();
    for _ in 0..3 {
        line.readers[0].inputs[0] ^= 1;
        line.run(Duration::from_secs(1));
    }
    line.reports.clear();
    line.readers[0].inputs[0] ^= 1;
    let changed = line.now;
    line.run(Duration::from_millis(300));
    let at = line.reports.iter().find(|(_, report)| matches!(report, BusReport::Input { .. })).unwrap().0;
    assert!(at.since(changed) < Duration::from_millis(40), "{:?}", at.since(changed));
}

#[test]
fn a_state_that_the_standard_does_not_know_is_neither_on_nor_off() {
    let mut line = one();
    line.readers[0].sense(1, 2);
    line.run(Duration::from_millis(300));
    let trouble = BusReport::InputTrouble { input: InputRef { board: BOARD, input: 1 }, trouble: LineTrouble::Fault };
    assert_eq!(count(&line, &trouble), 1);
    line.readers[0].sense(1, 1);
    line.run(Duration::from_millis(300));
    assert_eq!(count(&line, &input(1, true)), 2);
}

#[test]
fn the_cover_and_the_supply_are_inputs() {
    let mut line = one();
    line.readers[0].queue.push_back((0x48, vec![1, 0]));
    line.run(Duration::from_millis(300));
    line.readers[0].queue.push_back((0x48, vec![0, 1]));
    line.run(Duration::from_millis(300));
    assert_eq!((count(&line, &input(2, true)), count(&line, &input(3, true))), (1, 1));
    assert_eq!(line.said(0, |news| *news == News::Tamper(true)), 1, "whether it is told beside that, the site says");
}

#[test]
fn an_opening_is_read_back_before_it_is_told_and_ends_to_the_millisecond() {
    let mut line = one();
    let desired = opened(&line, 3_000, Some((1, 500)));
    let began = line.now;
    line.panel.set_desired(line.now, &[desired]);
    line.run(Duration::from_secs(5));
    let confirmed = BusReport::Output { output: LOCK, level: Level::Energised, order: Some(Ticket(1)) };
    let at = line.reports.iter().find(|(_, report)| *report == confirmed).expect("read back").0;
    assert!(at.since(began) < Duration::from_millis(40), "{:?}", at.since(began));
    let moves = line.readers[0].outputs[0].moves.clone();
    let [(on, true), (off, false)] = moves[..] else { panic!("{moves:?}") };
    assert!(on.since(began) < Duration::from_millis(15), "{:?}", on.since(began));
    let open = off.since(began);
    assert!((Duration::from_millis(2_999)..Duration::from_millis(3_030)).contains(&open), "{open:?}");
}

#[test]
fn a_reader_whose_panel_is_gone_locks_again_by_itself() {
    for unlocked in [Level::Energised, Level::Released] {
        let mut line = Line::with(vec![with_points(0, keyed(), 2, 1)], vec![Reader::secure(0)]);
        let rest = unlocked.inverted();
        line.panel.set_desired(line.now, &[Desired { level: rest, rest, ..locked() }]);
        line.run(Duration::from_secs(1));
        line.panel.set_desired(line.now, &[Desired { level: unlocked, rest, ..opened(&line, 2_000, None) }]);
        line.run(Duration::from_millis(500));
        assert_eq!(is_on(&mut line), unlocked.is_energised());
        // The daemon is dead from here on: nobody says anything any more.
        let later = line.now + Duration::from_millis(2_000);
        assert_eq!(line.readers[0].outputs[0].is_on(later), rest.is_energised());
    }
}

#[test]
fn what_does_not_end_by_itself_stays_until_told_otherwise() {
    let mut line = one();
    let open = Desired { level: Level::Energised, rest: Level::Energised, ..locked() };
    line.panel.set_desired(line.now, &[open]);
    line.run(Duration::from_secs(30));
    assert!(is_on(&mut line));
    let asked = outs(&line).len();
    line.run(Duration::from_secs(30));
    assert_eq!(outs(&line).len(), asked, "it is not said again and again");
    line.panel.set_desired(line.now, &[locked()]);
    line.run(Duration::from_millis(100));
    assert!(!is_on(&mut line));
}

/// A reader whose output 0 is to be like this without the daemon, and is so now.
fn falling_back_to(level: Level, readers: Vec<Reader>) -> Line {
    let mut reader = with_points(0, keyed(), 2, 1);
    if let Some(points) = &mut reader.points {
        points.at_death[0] = Some(level);
    }
    let mut line = Line::with(vec![reader], readers);
    line.panel.set_desired(line.now, &[Desired { level, rest: level, ..locked() }]);
    line.run(Duration::from_secs(1));
    line
}

fn held(level: Level, order: Option<(Ticket, Mono)>) -> Desired {
    Desired { level, rest: level, order, ..locked() }
}

const HELD: Duration = Duration::from_millis(10_100);

#[test]
fn a_door_that_is_held_open_at_a_readers_relay_locks_by_itself_once_nobody_speaks_to_the_reader() {
    // A strike, and a magnet.
    for open in [Level::Energised, Level::Released] {
        let mut line = falling_back_to(open.inverted(), vec![Reader::secure(0)]);
        let deadline = line.now + Duration::from_millis(500);
        line.reports.clear();
        line.panel.set_desired(line.now, &[held(open, Some((Ticket(1), deadline)))]);
        // For as long as the daemon lives nothing moves, and it is told once.
        for _ in 0..25 {
            line.run(Duration::from_millis(997));
            assert_eq!(is_on(&mut line), open.is_energised());
            let relay = &line.readers[0].outputs[0];
            let until = relay.passing.expect("held by the reader's timer").1;
            assert!(until > line.now + Duration::from_secs(6), "{:?}", until.since(line.now));
            assert!(until <= line.now + HELD && relay.lasting != open.is_energised());
        }
        let confirmed = BusReport::Output { output: LOCK, level: open, order: Some(Ticket(1)) };
        assert_eq!(count(&line, &confirmed), 1);
        let moved = |report: &&(Mono, BusReport)| matches!(report.1, BusReport::Output { level, .. } if level == open);
        assert_eq!(line.reports.iter().filter(moved).count(), 1, "{:?}", line.reports);
        // The daemon is dead from here on.
        assert_eq!(line.readers[0].outputs[0].is_on(line.now + HELD), !open.is_energised());
    }
}

#[test]
fn a_close_ends_a_hold_at_once_and_for_good() {
    let mut line = falling_back_to(Level::Released, vec![Reader::secure(0)]);
    line.panel.set_desired(line.now, &[held(Level::Energised, None)]);
    line.run(Duration::from_secs(5));
    let closed = line.now;
    line.panel.set_desired(line.now, &[locked()]);
    line.run(Duration::from_secs(30));
    let relay = &line.readers[0].outputs[0];
    assert_eq!((relay.lasting, relay.passing), (false, None));
    let [(_, true), (off, false)] = relay.moves[..] else { panic!("{:?}", relay.moves) };
    assert!(off.since(closed) < Duration::from_millis(15), "{:?}", off.since(closed));
    let asked = outs(&line).len();
    line.run(Duration::from_secs(30));
    assert_eq!(outs(&line).len(), asked, "what a dead daemon leaves behind anyway needs no word");
}

#[test]
fn a_hold_falls_with_the_line_and_stands_again_when_the_reader_is_back() {
    let mut line = falling_back_to(Level::Released, vec![Reader::secure(0)]);
    line.panel.set_desired(line.now, &[held(Level::Energised, None)]);
    line.run(Duration::from_secs(5));
    line.readers[0].manner = Manner::Dead;
    line.run(Duration::from_secs(15));
    assert!(!is_on(&mut line), "its timer has run out");
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(3));
    assert!(is_on(&mut line));
    assert!(line.readers[0].outputs[0].passing.is_some() && !line.readers[0].outputs[0].lasting);
    // A break that is shorter than the timer is not seen at the door.
    let moves = line.readers[0].outputs[0].moves.len();
    line.readers[0].manner = Manner::Dead;
    line.run(Duration::from_secs(5));
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(60));
    assert_eq!((is_on(&mut line), line.readers[0].outputs[0].moves.len()), (true, moves));
}

#[test]
fn a_dwell_over_a_hold_and_a_hold_over_a_dwell_do_not_let_go_in_between() {
    let mut line = falling_back_to(Level::Released, vec![Reader::secure(0)]);
    line.panel.set_desired(line.now, &[opened(&line, 2_000, None)]);
    line.run(Duration::from_millis(1_500));
    line.panel.set_desired(line.now, &[held(Level::Energised, None)]);
    line.run(Duration::from_secs(20));
    assert_eq!(line.readers[0].outputs[0].moves.len(), 1, "{:?}", line.readers[0].outputs);
    let began = line.now;
    line.panel.set_desired(line.now, &[opened(&line, 2_000, None)]);
    line.run(Duration::from_millis(1_990));
    assert_eq!(line.readers[0].outputs[0].moves.len(), 1, "{:?}", line.readers[0].outputs);
    assert!(!line.readers[0].outputs[0].is_on(began + Duration::from_millis(2_700)), "and then it ends");
}

#[test]
fn what_stays_locked_until_a_time_does_not_unlock_when_the_daemon_dies_before() {
    let mut line = falling_back_to(Level::Released, vec![Reader::secure(0)]);
    let until = Some(line.now + Duration::from_secs(20));
    line.panel.set_desired(line.now, &[Desired { until, rest: Level::Energised, ..locked() }]);
    line.run(Duration::from_secs(10));
    let relay = &line.readers[0].outputs[0];
    assert_eq!((relay.lasting, relay.passing, relay.moves.len()), (false, None, 0));
    // While it lives, it unlocks then, and holds.
    line.run(Duration::from_secs(30));
    assert!(is_on(&mut line) && line.readers[0].outputs[0].passing.is_some());
}

#[test]
fn going_on_with_holds_never_delays_an_order() {
    let outputs = 8;
    let mut reader = with_points(0, keyed(), 2, outputs);
    reader.points.as_mut().unwrap().at_death = [Some(Level::Released); 16];
    let mut readers = vec![Reader::secure(0)];
    readers[0].outputs = vec![Relay::default(); usize::from(outputs)];
    let mut line = Line::with(vec![reader], readers);
    let at = |output| OutputRef { board: BOARD, output };
    let holds: Vec<Desired> =
        (1..outputs).map(|output| Desired { output: at(output), ..held(Level::Energised, None) }).collect();
    line.panel.set_desired(line.now, &holds);
    line.run(Duration::from_secs(4));
    for ticket in 1..200 {
        let level = Level::from_energised(ticket % 2 == 1);
        let began = line.now;
        line.panel.set_desired(line.now, &[held(level, Some((Ticket(ticket), began + Duration::from_millis(300))))]);
        line.run(Duration::from_millis(131));
        let confirmed = BusReport::Output { output: LOCK, level, order: Some(Ticket(ticket)) };
        let told = line.reports.iter().find(|(_, report)| *report == confirmed).expect("confirmed").0;
        // The transaction under way, the grounding of another's, its own, its read-back.
        assert!(told.since(began) < Duration::from_millis(50), "{:?}", told.since(began));
    }
}

#[test]
fn a_reader_that_knows_no_timed_output_is_held_by_the_daemon_alone_and_says_so() {
    let mut reader = Reader::secure(0);
    reader.ignorant = vec![0xF5, 0xF6];
    let mut line = falling_back_to(Level::Released, vec![reader]);
    line.panel.set_desired(line.now, &[held(Level::Energised, None)]);
    line.run(Duration::from_secs(30));
    assert!(is_on(&mut line) && line.readers[0].outputs[0].lasting);
    let degraded =
        |report: &BusReport| matches!(report, BusReport::BoardDegraded { detail, .. } if detail.contains("held"));
    assert_eq!(line.reports.iter().filter(|(_, report)| degraded(report)).count(), 1);
}

#[test]
fn an_output_that_is_held_and_then_is_to_end_does_not_let_go_in_between() {
    let mut line = one();
    line.panel.set_desired(line.now, &[Desired { level: Level::Energised, ..locked() }]);
    line.run(Duration::from_secs(2));
    let began = line.now;
    line.panel.set_desired(line.now, &[opened(&line, 2_000, None)]);
    line.run(Duration::from_millis(500));
    assert_eq!(line.readers[0].outputs[0].moves.len(), 1, "{:?}", line.readers[0].outputs);
    // And the reader ends it, should nobody else.
    let later = began + Duration::from_millis(2_700);
    assert!(!line.readers[0].outputs[0].is_on(later));
}

#[test]
fn a_command_goes_before_the_polls_of_all_others() {
    let mut readers: Vec<Reader> = (0..8).map(Reader::secure).collect();
    readers.iter_mut().for_each(|reader| reader.outputs = vec![Relay::default(); 2]);
    let mut line = Line::with((0..8).map(|at| with_points(at, keyed(), 2, 2)).collect(), readers);
    line.run(Duration::from_secs(3));
    for at in 0..8 {
        let output = OutputRef { board: BoardIx(BOARD.0 + at), output: 1 };
        let before = line.sent.len();
        line.panel.set_desired(line.now, &[Desired { output, ..opened(&line, 60_000, Some((1, 500))) }]);
        line.run(Duration::from_millis(60));
        // The one that is on the line is waited for.
        let to_it = line.sent[before..].iter().position(|(_, bytes)| bytes[1] == at as u8).unwrap();
        assert!(to_it <= 1, "{to_it} others before reader {at}");
    }
}

#[test]
fn an_order_whose_deadline_has_passed_is_not_said_and_told_expired() {
    let mut line = one();
    line.readers[0].manner = Manner::Dead;
    line.run(Duration::from_millis(100));
    let desired = opened(&line, 5_000, Some((1, 300)));
    line.panel.set_desired(line.now, &[desired]);
    line.run(Duration::from_millis(500));
    let before = outs(&line).len();
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(2));
    assert_eq!(count(&line, &BusReport::OrderExpired { output: LOCK, ticket: Ticket(1) }), 1);
    assert_eq!(outs(&line).len(), before);
    assert_eq!(line.readers[0].outputs[0].moves, []);
}

#[test]
fn a_command_that_may_not_have_arrived_is_not_said_again_after_its_deadline() {
    let mut line = one();
    let desired = opened(&line, 5_000, Some((1, 250)));
    line.panel.set_desired(line.now, &[desired]);
    // The reader falls silent the moment that it would hear it, and is back when the time is over.
    line.readers[0].manner = Manner::Dead;
    line.run(Duration::from_millis(600));
    let sent = line.sent.len();
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(3));
    assert_eq!(line.readers[0].outputs[0].moves, []);
    let told = |wanted: fn(&BusReport) -> bool| line.reports.iter().filter(|(_, report)| wanted(report)).count();
    assert_eq!(told(|report| matches!(report, BusReport::OrderFailed { .. })), 1, "{:?}", line.reports);
    assert!(line.sent.len() > sent && line.panel.is_online(0));
    assert_eq!(line.lost(0), 0, "a new session was enough");
}

#[test]
fn a_command_whose_answer_was_lost_is_read_back_instead_of_guessed() {
    let mut line = one();
    line.readers[0].manner = Manner::Mute(2);
    let desired = opened(&line, 5_000, Some((1, 2_000)));
    line.panel.set_desired(line.now, &[desired]);
    line.run(Duration::from_secs(2));
    let confirmed = BusReport::Output { output: LOCK, level: Level::Energised, order: Some(Ticket(1)) };
    assert_eq!(count(&line, &confirmed), 1);
    assert_eq!(line.readers[0].outputs[0].moves.len(), 1, "{:?}", line.readers[0].outputs);
}

#[test]
fn a_reader_that_is_lost_leaves_its_points_unknown_and_an_order_under_way_as_well() {
    let mut line = one();
    let desired = opened(&line, 9_000, Some((1, 5_000)));
    line.panel.set_desired(line.now, &[desired]);
    line.readers[0].manner = Manner::Mute(1_000);
    line.run(Duration::from_secs(3));
    let lost = |report: &BusReport| matches!(report, BusReport::BoardLost { board: BOARD, .. });
    assert_eq!(line.reports.iter().filter(|(_, report)| lost(report)).count(), 1);
    let unknown = |report: &BusReport| matches!(report, BusReport::OrderUnknown { ticket: Ticket(1), .. });
    assert_eq!(line.reports.iter().filter(|(_, report)| unknown(report)).count(), 1);
    line.reports.clear();
    line.readers[0].manner = Manner::Normal;
    line.readers[0].restart();
    line.run(Duration::from_secs(3));
    assert_eq!(line.reports[0].1, BusReport::BoardUp { board: BOARD });
    assert_eq!(count(&line, &input(1, true)), 1, "every value anew");
}

#[test]
fn an_output_that_fell_off_with_its_reader_is_driven_again_and_ends_when_it_was_to_end() {
    let mut line = one();
    let began = line.now;
    line.panel.set_desired(line.now, &[opened(&line, 6_000, None)]);
    line.run(Duration::from_millis(500));
    line.readers[0].restart();
    line.run(Duration::from_millis(500));
    assert!(is_on(&mut line), "{:?}", line.readers[0].outputs);
    let (_, until) = line.readers[0].outputs[0].passing.expect("by its timer");
    assert!(until.since(began) < Duration::from_millis(6_400), "{:?}", until.since(began));
    line.run(Duration::from_millis(5_100));
    assert!(!is_on(&mut line));
}

#[test]
fn points_that_the_reader_does_not_have_are_told_and_do_not_count() {
    let mut line = Line::with(vec![with_points(0, keyed(), 5, 1)], vec![Reader::secure(0)]);
    line.run(Duration::from_secs(20));
    let told = |wanted: fn(&BusReport) -> bool| line.reports.iter().filter(|(_, report)| wanted(report)).count();
    assert_eq!(told(|report| matches!(report, BusReport::BoardUp { .. })), 0);
    assert_eq!(told(|report| matches!(report, BusReport::BoardLost { .. })), 1);
    assert_eq!(
        told(|report| matches!(report, BusReport::BoardDegraded { detail, .. } if detail.contains("2 inputs"))),
        1
    );
    assert_eq!((line.lost(0), line.online(0)), (0, 1), "its cards are read all the same");
}

#[test]
fn a_reader_that_knows_no_timed_output_is_driven_without_and_says_so() {
    let mut line = Line::with(vec![with_points(0, keyed(), 2, 1)], vec![Reader::secure(0)]);
    line.readers[0].ignorant = vec![0xF5, 0xF6];
    line.panel.set_desired(line.now, &[locked()]);
    line.run(Duration::from_secs(1));
    let desired = opened(&line, 2_000, Some((1, 500)));
    line.panel.set_desired(line.now, &[desired]);
    line.run(Duration::from_millis(100));
    assert!(is_on(&mut line));
    let degraded = |report: &BusReport| matches!(report, BusReport::BoardDegraded { .. });
    assert_eq!(line.reports.iter().filter(|(_, report)| degraded(report)).count(), 1);
    line.run(Duration::from_secs(2));
    assert!(!is_on(&mut line), "the panel ends it");
}

#[test]
fn a_reader_that_does_not_tell_its_outputs_is_taken_by_its_word() {
    let mut line = Line::with(vec![with_points(0, keyed(), 2, 1)], vec![Reader::secure(0)]);
    line.readers[0].ignorant = vec![0x66];
    line.panel.set_desired(line.now, &[locked()]);
    line.run(Duration::from_secs(1));
    let desired = opened(&line, 2_000, Some((1, 500)));
    line.panel.set_desired(line.now, &[desired]);
    line.run(Duration::from_millis(100));
    let confirmed = BusReport::Output { output: LOCK, level: Level::Energised, order: Some(Ticket(1)) };
    assert_eq!((count(&line, &confirmed), is_on(&mut line)), (1, true));
    assert!(line.reports.iter().any(|(_, report)| matches!(report, BusReport::BoardDegraded { .. })));
}

#[test]
fn a_busy_reader_is_driven_as_soon_as_it_is_not_and_within_the_deadline_alone() {
    let mut line = one();
    line.readers[0].manner = Manner::Busy(5);
    line.panel.set_desired(line.now, &[opened(&line, 5_000, Some((1, 500)))]);
    line.run(Duration::from_millis(400));
    assert!(is_on(&mut line));
    line.panel.set_desired(line.now, &[locked()]);
    line.run(Duration::from_millis(400));
    line.readers[0].manner = Manner::Busy(100);
    line.panel.set_desired(line.now, &[opened(&line, 5_000, Some((2, 300)))]);
    line.run(Duration::from_secs(3));
    assert!(!is_on(&mut line), "{:?}", line.reports);
}

//! What the tests of Modbus boards share.

use std::time::Duration;

use latchd::domain::{
    fieldbus::BusReport,
    ids::{BoardIx, Id, InputRef, OutputRef},
    outputs::{Desired, Level, Ticket},
    time::Mono,
};
pub use latchd_sim::line::{TIMEOUT, eight_of_each as profile, plan_of as plan};
use latchd_sim::{
    board::SimBoard,
    line::{BoardDevice, BusOnLine, Line, LineTimes, Sender, Sent},
};

pub const TURNAROUND: Duration = Duration::from_millis(2);
pub const READ_COILS: u8 = 1;
pub const READ_INPUTS: u8 = 2;
pub const WRITE_COIL: u8 = 5;

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

pub fn times(baud: u32) -> LineTimes {
    LineTimes::new(baud, 10, TURNAROUND)
}

/// A bus with so many boards, polled as fast as it goes, whose boards are up.
pub fn bus(count: u8, baud: u32) -> (BusOnLine, Vec<SimBoard>) {
    let (mut bus, boards) = fresh(count, baud, Duration::from_millis(1));
    assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == usize::from(count)));
    bus.run(Duration::from_secs(1));
    bus.reports.clear();
    bus.results.clear();
    bus.line.take_record();
    (bus, boards)
}

pub fn fresh(count: u8, baud: u32, poll: Duration) -> (BusOnLine, Vec<SimBoard>) {
    let times = times(baud);
    let mut line = Line::new(times, 3);
    let boards: Vec<SimBoard> = (1..=count).map(SimBoard::new).collect();
    for board in &boards {
        line.plug(BoardDevice::new(board.clone()));
    }
    (BusOnLine::new(plan(count, &times, poll), line), boards)
}

pub fn ups(bus: &BusOnLine) -> usize {
    bus.reports.iter().filter(|(_, report)| matches!(report, BusReport::BoardUp { .. })).count()
}

pub fn is_up(report: &BusReport, board: u16) -> bool {
    *report == BusReport::BoardUp { board: BoardIx(board) }
}

pub fn is_lost(report: &BusReport, of: u16) -> bool {
    matches!(report, BusReport::BoardLost { board, .. } if *board == BoardIx(of))
}

pub fn when(bus: &BusOnLine, wanted: impl Fn(&BusReport) -> bool) -> Option<Mono> {
    bus.reports.iter().find(|(_, report)| wanted(report)).map(|(at, _)| *at)
}

pub fn output(board: u16, output: u16) -> OutputRef {
    OutputRef { board: BoardIx(board), output }
}

pub fn input(board: u16, input: u16) -> InputRef {
    InputRef { board: BoardIx(board), input }
}

pub fn order(output: OutputRef, level: Level, ticket: u64, deadline: Mono) -> Desired {
    Desired { output, level, until: None, rest: level, order: Some((Ticket(ticket), deadline)) }
}

pub fn confirmed(of: &BusReport, ticket: u64) -> bool {
    matches!(of, BusReport::Output { order: Some(Ticket(n)), .. } if *n == ticket)
}

/// What the master has sent, in order: when, to which unit, with which function.
pub fn requests(record: &[Sent]) -> Vec<(Mono, u8, u8)> {
    let from_master = record.iter().filter(|sent| sent.from == Sender::Master);
    from_master.map(|sent| (sent.start, sent.bytes[0], sent.bytes[1])).collect()
}

pub fn distances(requests: &[(Mono, u8, u8)], unit: u8, function: u8) -> Vec<Duration> {
    let fits = requests.iter().filter(|(_, to, code)| (*to, *code) == (unit, function));
    let starts: Vec<Mono> = fits.map(|(at, ..)| *at).collect();
    starts.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

pub fn mean(durations: &[Duration]) -> Duration {
    durations.iter().sum::<Duration>() / u32::try_from(durations.len()).unwrap()
}

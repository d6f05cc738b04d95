//! What a door's write waits for, and what is known of it.

use std::time::Duration;

use latchd::domain::{
    fieldbus::BusReport,
    outputs::{
        Level::{Energised, Released},
        Ticket,
    },
};
use latchd_sim::board::Fault;

use crate::rig::*;

#[test]
fn a_write_is_on_the_wire_when_the_transaction_under_way_is_over_with_32_boards_polled() {
    for baud in [9_600, 19_200, 115_200] {
        let (mut bus, _) = bus(32, baud);
        for n in 0..200_u64 {
            bus.run(Duration::from_micros(130_000 + n * 7_919 % 29_989));
            let (wanted, deadline) = (bus.now, bus.now + Duration::from_secs(5));
            let level = latchd::domain::outputs::Level::from_energised(n / 32 % 2 == 0);
            bus.desire(&[order(output((n * 7 % 32) as u16, 0), level, n + 1, deadline)]);
            bus.run(Duration::from_millis(100));
            let requests = requests(&bus.line.take_record());
            let written =
                requests.iter().position(|(at, _, code)| *at >= wanted && *code == WRITE_COIL).expect("a write");
            // Nothing has begun in between, and the line was not idle either.
            let (under_way, begun) = (requests[written - 1], requests[written].0);
            assert!(under_way.0 < wanted, "{n} at {baud}");
            let whole = bus.line.times().modbus_transaction(8, 6);
            assert!(begun.since(under_way.0) <= whole + Duration::from_micros(1), "{n} at {baud}");
        }
    }
}

#[test]
fn of_two_writes_the_one_with_the_earlier_deadline_goes_first_and_polls_wait_for_both() {
    let (mut bus, _) = bus(8, 9_600);
    bus.run(Duration::from_millis(13));
    let (late, early) = (bus.now + Duration::from_secs(9), bus.now + Duration::from_millis(200));
    bus.desire(&[order(output(1, 0), Energised, 1, late), order(output(6, 3), Energised, 2, early)]);
    let wanted = bus.now;
    bus.run(Duration::from_millis(200));
    let requests = requests(&bus.line.take_record());
    let then: Vec<(u8, u8)> =
        requests.iter().filter(|(at, ..)| *at >= wanted).map(|(_, unit, code)| (*unit, *code)).take(4).collect();
    assert_eq!(then, [(7, WRITE_COIL), (7, READ_COILS), (2, WRITE_COIL), (2, READ_COILS)]);
}

#[test]
fn a_write_whose_time_passes_behind_the_transaction_under_way_is_never_sent() {
    let (mut bus, boards) = bus(1, 9_600);
    bus.desire(&[latchd::domain::outputs::Desired { order: None, ..order(output(0, 0), Released, 1, bus.now) }]);
    bus.run(Duration::from_secs(1));
    bus.reports.clear();
    bus.run_until(Duration::from_secs(1), |bus| bus.line.is_busy());
    let deadline = bus.now + Duration::from_millis(2);
    bus.desire(&[order(output(0, 0), Energised, 1, deadline)]);
    bus.run(Duration::from_millis(500));
    assert_eq!(bus.reported(), [BusReport::OrderExpired { output: output(0, 0), ticket: Ticket(1) }]);
    assert!(!boards[0].coil(0));
}

#[test]
fn a_write_that_got_no_answer_is_neither_done_nor_failed_until_it_is_read_back() {
    for fault in [Fault::Mute, Fault::Silent] {
        let (mut bus, boards) = bus(2, 115_200);
        bus.line.take_record();
        boards[0].set_fault(fault);
        // Between two polls of it, so that the write is the first that gets no answer.
        let deadline = bus.now + Duration::from_secs(2);
        bus.desire(&[order(output(0, 0), Energised, 1, deadline)]);
        let unanswered = |bus: &latchd_sim::line::BusOnLine| {
            bus.results.iter().any(|done| done.transaction.start_by.is_some() && done.result.is_err())
        };
        assert!(bus.run_until(Duration::from_secs(1), unanswered));
        assert!(!bus.reports.iter().any(|(_, report)| confirmed(report, 1)), "{:?}", bus.reports);
        assert_eq!(bus.bus.confirmed(output(0, 0)), None);
        boards[0].set_fault(Fault::None);
        assert!(bus.run_until(Duration::from_secs(2), |bus| when(bus, |report| confirmed(report, 1)).is_some()));
        assert!(boards[0].coil(0));
        // One that was lost is written again, one that had arrived is not.
        let writes = boards[0].take_writes().len();
        assert_eq!(writes, 1, "{fault:?}");
        let asked = requests(&bus.line.take_record());
        let sent = asked.iter().filter(|(_, unit, code)| (*unit, *code) == (1, WRITE_COIL)).count();
        assert_eq!(sent, if fault == Fault::Mute { 1 } else { 2 });
    }
}

#[test]
fn an_order_whose_board_is_unplugged_in_the_middle_of_its_write_ends_as_unknown() {
    let (mut bus, _) = bus(4, 9_600);
    let deadline = bus.now + Duration::from_secs(2);
    bus.desire(&[order(output(2, 0), Energised, 1, deadline)]);
    let is_written = |bus: &latchd_sim::line::BusOnLine| bus.line.is_busy();
    // The write is the next thing on the wire.
    assert!(bus.run_until(Duration::from_secs(1), |bus| !is_written(bus)));
    bus.run(Duration::from_millis(10));
    bus.line.set_plugged(2, false);
    bus.run(Duration::from_secs(6));
    let ends: Vec<_> = bus
        .reported()
        .into_iter()
        .filter(|report| {
            matches!(
                report,
                BusReport::OrderUnknown { .. }
                    | BusReport::OrderFailed { .. }
                    | BusReport::OrderExpired { .. }
                    | BusReport::Output { order: Some(_), .. }
            )
        })
        .collect();
    assert!(matches!(ends[..], [BusReport::OrderUnknown { ticket: Ticket(1), .. }]), "{ends:?}");
}

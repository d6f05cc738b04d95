//! Boards that die, come back, answer together or in noise, and what that costs the others.

use std::time::Duration;

use latchd::domain::{fieldbus::BusReport, outputs::Level::Energised};
use latchd_sim::{
    board::Fault,
    line::{Done, Line},
};

use crate::rig::*;

/// Everything that was asked and answered, beside what the wire itself needs for it.
fn utilisation(bus: &mut latchd_sim::line::BusOnLine) -> f64 {
    let (times, record) = (bus.line.times(), bus.line.take_record());
    let starts = requests(&record);
    let (first, last) = (starts.first().unwrap().0, starts.last().unwrap().0);
    let bytes: usize = record.iter().filter(|sent| sent.start < last).map(|sent| sent.bytes.len()).sum();
    let needed = times.characters(bytes) + (times.modbus_gap() * 2 + TURNAROUND) * (starts.len() as u32 - 1);
    needed.as_secs_f64() / last.since(first).as_secs_f64()
}

#[test]
fn at_full_polling_the_line_is_never_idle() {
    for baud in [9_600, 19_200, 115_200] {
        let (mut bus, _) = bus(8, baud);
        bus.run(Duration::from_secs(20));
        let share = utilisation(&mut bus);
        assert!((0.99..1.001).contains(&share), "{share} at {baud} baud");
    }
}

#[test]
fn a_dead_board_costs_the_others_less_than_a_tenth_and_never_more_than_one_wait() {
    for (baud, poll) in [(9_600, 1), (115_200, 1), (115_200, 100)] {
        let (mut bus, _) = fresh(8, baud, Duration::from_millis(poll));
        bus.run(Duration::from_secs(10));
        bus.line.take_record();
        bus.run(Duration::from_secs(60));
        let before = distances(&requests(&bus.line.take_record()), 1, READ_INPUTS);
        bus.line.set_plugged(4, false);
        bus.run(Duration::from_secs(10));
        bus.line.take_record();
        bus.run(Duration::from_secs(120));
        let record = bus.line.take_record();
        let after = distances(&requests(&record), 1, READ_INPUTS);
        let growth = mean(&after).as_secs_f64() / mean(&before).as_secs_f64();
        assert!(growth < 1.1, "{growth} at {baud} baud, {poll} ms");
        let most = *after.iter().max().unwrap();
        assert!(most < *before.iter().max().unwrap() + TIMEOUT * 5 / 4 + Duration::from_millis(50), "{most:?}");
        // It is asked all the same.
        let asked = distances(&requests(&record), 5, READ_COILS);
        assert!(asked.iter().max().unwrap() < &Duration::from_secs(7), "{asked:?}");
        assert!(bus.reports.iter().any(|(_, report)| is_lost(report, 4)));
        assert!(!bus.reports.iter().any(|(_, report)| (0..8).any(|n| n != 4 && is_lost(report, n))));
    }
}

#[test]
fn a_board_that_is_unplugged_is_told_lost_in_its_time_and_back_when_it_is_plugged_in() {
    let (mut bus, boards) = bus(8, 19_200);
    boards[3].set_input(2, true);
    bus.run(Duration::from_secs(1));
    bus.reports.clear();
    for away in [3, 10, 60] {
        let unplugged = bus.now;
        bus.line.set_plugged(3, false);
        bus.run(Duration::from_secs(away));
        let lost = when(&bus, |report| is_lost(report, 3)).expect("lost").since(unplugged);
        assert!((Duration::from_millis(1_900)..Duration::from_millis(2_600)).contains(&lost), "{lost:?}");
        bus.reports.clear();
        let plugged = bus.now;
        bus.line.set_plugged(3, true);
        bus.run(Duration::from_secs(8));
        let back = when(&bus, |report| is_up(report, 3)).expect("back").since(plugged);
        assert!(back < Duration::from_secs(7), "{back:?}");
        // With the value of everything behind it.
        let contact = BusReport::Input { input: input(3, 2), energised: true };
        assert!(bus.reports.iter().any(|(_, report)| *report == contact));
        assert!(!bus.reports.iter().any(|(_, report)| matches!(report, BusReport::BoardLost { .. })));
        bus.reports.clear();
    }
}

#[test]
fn a_port_that_goes_takes_all_boards_along_and_brings_them_back_without_a_needless_write() {
    let (mut bus, boards) = bus(3, 115_200);
    let deadline = bus.now + Duration::from_secs(5);
    bus.desire(&[order(output(1, 0), Energised, 1, deadline)]);
    assert!(bus.run_until(Duration::from_secs(1), |bus| when(bus, |report| confirmed(report, 1)).is_some()));
    bus.reports.clear();
    bus.set_port(false);
    bus.run(Duration::from_secs(30));
    assert!((0..3).all(|n| bus.reports.iter().filter(|(_, report)| is_lost(report, n)).count() == 1));
    bus.reports.clear();
    bus.line.take_record();
    bus.set_port(true);
    bus.run(Duration::from_secs(6));
    assert_eq!(ups(&bus), 3);
    assert!(!requests(&bus.line.take_record()).iter().any(|(_, _, code)| *code == WRITE_COIL));
    assert!(boards[1].coil(0));
}

#[test]
fn noise_never_makes_an_input_or_a_relay_be_told_otherwise_than_it_is() {
    for bit_errors in [100, 2_000, 10_000] {
        let (mut bus, boards) = bus(4, 115_200);
        for (n, board) in boards.iter().enumerate() {
            (0..8).for_each(|at| board.set_input(at, (at + n as u16).is_multiple_of(3)));
        }
        bus.run(Duration::from_secs(1));
        bus.reports.clear();
        bus.line.set_noise(bit_errors);
        let mut ended = 0;
        for ticket in 1..=40 {
            let (on, deadline) = (ticket / 4 % 2 == 0, bus.now + Duration::from_secs(3));
            let at = output((ticket % 4) as u16, 0);
            bus.desire(&[order(at, latchd::domain::outputs::Level::from_energised(on), ticket, deadline)]);
            let slices = (0..4_000).flat_map(|_| {
                // Nothing is written and read back within a millisecond: what is told now holds now.
                bus.run(Duration::from_millis(1));
                bus.reported()
            });
            for report in slices {
                match report {
                    BusReport::Input { input, energised } => {
                        let board = usize::from(input.board.0);
                        assert_eq!(energised, boards[board].look().input(input.input), "{input:?}");
                    }
                    BusReport::Output { output, level, order } => {
                        let coil = boards[usize::from(output.board.0)].coil(output.output);
                        assert_eq!(level.is_energised(), coil, "{output:?} {order:?}");
                        ended += usize::from(order.is_some());
                    }
                    BusReport::OrderUnknown { .. } | BusReport::OrderFailed { .. } | BusReport::OrderExpired { .. } => {
                        ended += 1;
                    }
                    _ => {}
                }
            }
        }
        assert!((39..=40).contains(&ended), "{ended} ended with {bit_errors} of a million bits turned");
        bus.line.set_noise(0);
        bus.run(Duration::from_secs(10));
        assert!(bus.bus.is_settled(bus.now));
    }
}

#[test]
fn a_damaged_answer_is_asked_for_again_long_before_the_timeout() {
    let (mut bus, boards) = bus(1, 115_200);
    boards[0].set_fault(Fault::Garbage);
    let from = bus.now;
    let is_damaged = |done: &Done| done.began >= from && done.result.is_err();
    assert!(bus.run_until(Duration::from_secs(1), |bus| bus.results.iter().any(is_damaged)));
    let taken = bus.now.since(from);
    assert!(taken < Duration::from_millis(50), "{taken:?}");
}

#[test]
fn two_boards_with_one_address_are_never_believed_and_one_alone_is() {
    let mut twice = Line::new(times(19_200), 9);
    let boards = [latchd_sim::board::SimBoard::new(1), latchd_sim::board::SimBoard::new(1)];
    boards.iter().for_each(|board| _ = twice.plug(latchd_sim::line::BoardDevice::new(board.clone())));
    let mut bus = latchd_sim::line::BusOnLine::new(plan(1, &times(19_200), Duration::from_millis(50)), twice);
    bus.run(Duration::from_secs(120));
    assert!(matches!(bus.reported()[..], [BusReport::BoardLost { .. }]));
    bus.line.set_plugged(1, false);
    bus.run(Duration::from_secs(8));
    assert_eq!(ups(&bus), 1);
}

#[test]
fn where_the_line_has_no_room_for_all_the_door_in_motion_is_read_first_and_nobody_is_forgotten() {
    let (mut bus, boards) = fresh(16, 9_600, Duration::from_millis(50));
    bus.run(Duration::from_secs(20));
    bus.line.take_record();
    bus.run(Duration::from_secs(10));
    let idle = mean(&distances(&requests(&bus.line.take_record()), 4, READ_INPUTS));
    let deadline = bus.now + Duration::from_secs(1);
    bus.desire(&[order(output(3, 0), Energised, 1, deadline)]);
    bus.run(Duration::from_millis(300));
    bus.line.take_record();
    bus.run(Duration::from_secs(4));
    let requests_then = requests(&bus.line.take_record());
    let moving = mean(&distances(&requests_then, 4, READ_INPUTS));
    assert!(moving * 4 < idle, "{moving:?} in motion, {idle:?} before");
    for unit in (1..=16).filter(|unit| *unit != 4) {
        let most = distances(&requests_then, unit, READ_INPUTS).into_iter().max();
        assert!(most.is_some_and(|most| most < idle * 4), "{unit}: {most:?}");
    }
    // The contact that follows is told at once, and when all is quiet again everybody is alike.
    boards[3].set_input(0, true);
    let opened = bus.now;
    let told = BusReport::Input { input: input(3, 0), energised: true };
    assert!(bus.run_until(Duration::from_secs(1), |bus| when(bus, |report| *report == told).is_some()));
    assert!(bus.now.since(opened) < moving * 3);
    bus.run(Duration::from_secs(10));
    bus.line.take_record();
    bus.run(Duration::from_secs(10));
    let again = mean(&distances(&requests(&bus.line.take_record()), 4, READ_INPUTS));
    assert!(again > idle / 2, "{again:?}");
}

//! Adapters that hear what they send themselves: nothing that a door or a reader says may come of that.

use std::{slice::from_ref, time::Duration};

use latchd::{
    domain::{
        fieldbus::BusReport,
        outputs::Level::{Energised, Released},
    },
    gateway::fieldbus::{BusFault, Echo, Reply},
};
use latchd_sim::{
    board::Fault,
    line::{Done, Line, LineTimes, OsdpReader, PanelOnLine},
};

use crate::rig::*;

fn echoing(count: u8, baud: u32) -> (latchd_sim::line::BusOnLine, Vec<latchd_sim::board::SimBoard>) {
    let (mut bus, boards) = fresh(count, baud, Duration::from_millis(20));
    bus.line.set_echo(true);
    (bus, boards)
}

fn is_write(done: &Done) -> bool {
    done.transaction.request.to_string().starts_with("writing")
}

#[test]
fn a_line_that_echoes_is_used_as_any_other() {
    for baud in [9_600, 19_200, 115_200] {
        let (mut bus, boards) = echoing(4, baud);
        assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == 4), "at {baud} baud");
        assert_eq!(bus.echo.echo(), Echo::Present);
        bus.reports.clear();
        boards[2].set_input(1, true);
        for ticket in 1..=20 {
            let (level, deadline) =
                (if ticket % 2 == 1 { Energised } else { Released }, bus.now + Duration::from_secs(1));
            bus.desire(from_ref(&order(output(1, 0), level, ticket, deadline)));
            assert!(
                bus.run_until(Duration::from_secs(1), |bus| when(bus, |report| confirmed(report, ticket)).is_some())
            );
            assert_eq!(boards[1].coil(0), level == Energised);
        }
        bus.run(Duration::from_secs(5));
        let contact = BusReport::Input { input: input(2, 1), energised: true };
        assert!(when(&bus, |report| *report == contact).is_some());
        let faults: Vec<&Done> = bus.results.iter().filter(|done| done.result.is_err()).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

#[test]
fn the_echo_of_a_write_that_no_board_heard_confirms_nothing() {
    let (mut bus, boards) = echoing(2, 19_200);
    assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == 2));
    bus.reports.clear();
    let began = bus.now;
    boards[0].set_fault(Fault::Silent);
    let deadline = bus.now + Duration::from_secs(1);
    bus.desire(from_ref(&order(output(0, 0), Energised, 1, deadline)));
    bus.run(Duration::from_secs(10));
    let writes: Vec<&Done> = bus.results.iter().filter(|done| done.began >= began && is_write(done)).collect();
    assert!(!writes.is_empty() && writes.iter().all(|done| done.result == Err(BusFault::Timeout)), "{writes:?}");
    assert!(!bus.reports.iter().any(|(_, report)| confirmed(report, 1)));
    assert!(bus.reports.iter().any(|(_, report)| is_lost(report, 0)), "{:?}", bus.reports);
    assert!(!bus.reports.iter().any(|(_, report)| is_lost(report, 1)));
}

#[test]
fn a_board_that_is_slower_than_its_echo_is_waited_for() {
    let (mut bus, _) = {
        let times = LineTimes::new(115_200, 10, Duration::from_millis(60));
        let mut line = Line::new(times, 3);
        let board = latchd_sim::board::SimBoard::new(1);
        line.plug(latchd_sim::line::BoardDevice::new(board.clone()));
        line.set_echo(true);
        (latchd_sim::line::BusOnLine::new(plan(1, &times, Duration::from_millis(20)), line), board)
    };
    assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == 1));
    bus.run(Duration::from_secs(5));
    assert!(bus.results.iter().all(|done| done.result.is_ok()), "{:?}", bus.results.iter().find(|d| d.result.is_err()));
}

#[test]
fn a_first_write_on_a_port_of_which_nothing_is_known_is_believed_only_when_read_back() {
    // Its adapter came back as another one; the board is still up, and an order waits.
    for echoes in [false, true] {
        let (mut bus, boards) = fresh(1, 115_200, Duration::from_secs(2));
        bus.line.set_echo(echoes);
        assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == 1));
        bus.run(Duration::from_millis(100));
        bus.echo = Default::default();
        let before = bus.results.len();
        let deadline = bus.now + Duration::from_secs(1);
        bus.desire(from_ref(&order(output(0, 0), Energised, 1, deadline)));
        assert!(bus.run_until(Duration::from_secs(2), |bus| when(bus, |report| confirmed(report, 1)).is_some()));
        let write = bus.results[before..].iter().find(|done| is_write(done)).unwrap();
        // With an echo the answer comes behind it, without one it might be the echo.
        match echoes {
            true => assert_eq!(write.result, Ok(Reply::Written)),
            false => assert!(matches!(write.result, Err(BusFault::Garbage(_))), "{:?}", write.result),
        }
        assert!(boards[0].coil(0));
    }
}

#[test]
fn in_noise_on_a_line_that_echoes_no_relay_is_told_otherwise_than_it_is() {
    let (mut bus, boards) = echoing(2, 115_200);
    assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == 2));
    bus.reports.clear();
    bus.line.set_noise(3_000);
    for ticket in 1..=60 {
        let (on, deadline) = (ticket / 2 % 2 == 0, bus.now + Duration::from_secs(3));
        let at = output((ticket % 2) as u16, 0);
        bus.desire(&[order(at, latchd::domain::outputs::Level::from_energised(on), ticket, deadline)]);
        for _ in 0..2_000 {
            bus.run(Duration::from_millis(1));
            for report in bus.reported() {
                if let BusReport::Output { output, level, .. } = report {
                    assert_eq!(level.is_energised(), boards[usize::from(output.board.0)].coil(output.output));
                }
            }
        }
    }
    bus.line.set_noise(0);
    bus.run(Duration::from_secs(10));
    assert!(bus.bus.is_settled(bus.now) && bus.echo.echo() == Echo::Present);
}

#[test]
fn an_adapter_that_is_replaced_by_one_without_an_echo_and_back_is_found_out() {
    let (mut bus, boards) = echoing(1, 115_200);
    assert!(bus.run_until(Duration::from_secs(10), |bus| ups(bus) == 1));
    for ticket in 1..=6 {
        let echoes = ticket % 2 == 0;
        bus.line.set_echo(echoes);
        bus.run(Duration::from_secs(1));
        assert_eq!(bus.echo.echo(), if echoes { Echo::Present } else { Echo::Absent });
        let (level, deadline) = (if ticket % 2 == 1 { Energised } else { Released }, bus.now + Duration::from_secs(1));
        bus.desire(from_ref(&order(output(0, 0), level, ticket, deadline)));
        assert!(bus.run_until(Duration::from_secs(1), |bus| when(bus, |report| confirmed(report, ticket)).is_some()));
        assert_eq!(boards[0].coil(0), level == Energised);
    }
}

#[test]
fn readers_on_a_line_that_echoes_are_heard_as_on_any_other() {
    let mut line = Line::new(LineTimes::new(115_200, 10, Duration::from_millis(3)), 1);
    let readers: Vec<OsdpReader> = (0..4).map(OsdpReader::secure).collect();
    readers.iter().for_each(|reader| _ = line.plug(reader.clone()));
    line.set_echo(true);
    let mut panel = PanelOnLine::new(line, 0..4);
    assert!(panel.run_until(Duration::from_secs(5), |panel| (0..4).all(|at| panel.panel.is_online(at))));
    for n in 0..20 {
        readers[n % 4].present(26, n as u64);
        assert!(panel.run_until(Duration::from_millis(200), |panel| panel.cards(n % 4) == n / 4 + 1), "{n}");
    }
    panel.run(Duration::from_secs(10));
    assert_eq!(
        panel.news.iter().filter(|(.., news)| matches!(news, latchd::gateway::osdp::News::Lost { .. })).count(),
        0
    );
}

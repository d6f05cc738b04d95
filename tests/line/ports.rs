//! The daemon's own loops on the line behind a pseudo-terminal, by the clock. Every wait is for an event, under one
//! limit.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    rc::Rc,
    slice::from_ref,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use latchd::{
    adapters::{
        clock::mono,
        field::{modbus::Wire, osdp_port::OsdpPort, serial_port::open_port},
    },
    config::site::{Bus, Line as SiteLine, Parity, SerialPort},
    domain::{
        fieldbus::BusReport,
        ids::{BusIx, ReaderIx},
        outputs::Level,
    },
    runtime::{
        bus_loop::{self, BusPorts, DesiredOutputs},
        reader_loop::ReaderReport,
    },
};
use latchd_sim::{
    board::{Fault, SimBoard},
    line::{BoardDevice, Line, LineTimes, OsdpReader, PtyLine, Sender},
};
use tokio::{
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    reader_loop::ReaderLoop,
    rig::{confirmed, id, order, output, plan, times},
};

const LIMIT: Duration = Duration::from_secs(30);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(LIMIT, test).await.expect("within the limit");
    });
}

/// A running bus loop.
struct Field {
    desired: watch::Sender<DesiredOutputs>,
    reports: mpsc::Receiver<(BusIx, BusReport)>,
    _stop: watch::Sender<bool>,
}

impl Field {
    fn start(path: &Path, boards: u8, timeout: Duration) -> Field {
        let mut plan = plan(boards, &times(115_200), Duration::from_millis(20));
        plan.timeout = timeout;
        plan.boards.iter_mut().for_each(|board| board.lost_after = timeout * 2);
        let port = SerialPort { turnaround: plan.turnaround, ..port(path) };
        let wire = Wire::new(&Bus { id: id("bus"), bus: BusIx(0), line: SiteLine::Rtu(port), timeout }).unwrap();
        let (desired, desired_in) = watch::channel(Rc::from([]));
        let (reports_out, reports) = mpsc::channel(64);
        let (stop, stop_in) = watch::channel(false);
        let ports = BusPorts {
            desired: desired_in,
            reports: reports_out,
            progress: Arc::new(AtomicU64::new(0)),
            vitals: Arc::default(),
            stop: stop_in,
        };
        tokio::task::spawn_local(bus_loop::run(plan, wire, ports, mono));
        Field { desired, reports, _stop: stop }
    }

    async fn until(&mut self, wanted: impl Fn(&BusReport) -> bool) {
        while !wanted(&self.reports.recv().await.expect("the loop runs").1) {}
    }
}

fn port(path: &Path) -> SerialPort {
    SerialPort { path: path.to_owned(), baud: 115_200, parity: Parity::None, stop_bits: 1, turnaround: Duration::ZERO }
}

fn boards(path: &Path, boards: &[SimBoard]) -> PtyLine {
    let mut line = Line::new(times(115_200), 1);
    boards.iter().for_each(|board| _ = line.plug(BoardDevice::new(board.clone())));
    PtyLine::start(line, Some(path)).unwrap()
}

#[test]
fn a_bus_whose_board_does_not_answer_holds_up_no_other_bus() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        let (stuck, well) = (SimBoard::new(1), SimBoard::new(1));
        let _lines = (boards(&one, from_ref(&stuck)), boards(&other, from_ref(&well)));
        let slow = Duration::from_secs(2);
        let (mut first, mut second) = (Field::start(&one, 1, slow), Field::start(&other, 1, slow));
        for field in [&mut first, &mut second] {
            field.until(|report| matches!(report, BusReport::BoardUp { .. })).await;
        }
        stuck.set_fault(Fault::Silent);
        let seen = stuck.look().requests();
        stuck.until(|registers| registers.requests() > seen).await;
        // From now on the first bus waits for two seconds.
        let began = mono();
        for ticket in 1..=10 {
            let level = Level::from_energised(ticket % 2 == 1);
            second.desired.send_replace(Rc::from([order(output(0, 0), level, ticket, began + LIMIT)]));
            second.until(|report| confirmed(report, ticket)).await;
        }
        assert_eq!(stuck.look().requests(), seen + 1, "it was still waiting");
        assert!(mono().since(began) < slow, "{:?}", mono().since(began));
    });
}

#[test]
fn a_port_that_vanishes_and_returns_under_its_name_is_opened_again() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttyUSB0");
        let all = [SimBoard::new(1), SimBoard::new(2)];
        let mut line = boards(&path, &all);
        let mut field = Field::start(&path, 2, Duration::from_millis(200));
        for _ in 0..2 {
            for _ in 0..2 {
                field.until(|report| matches!(report, BusReport::BoardUp { .. })).await;
            }
            line.stop();
            for _ in 0..2 {
                field.until(|report| matches!(report, BusReport::BoardLost { .. })).await;
            }
            line = boards(&path, &all);
        }
    });
}

#[test]
fn the_port_of_a_line_of_readers_too_is_opened_again() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttyUSB1");
        let reader = OsdpReader::secure(0);
        let plugged = || {
            let mut line = Line::new(LineTimes::new(115_200, 10, Duration::from_millis(3)), 1);
            line.plug(reader.clone());
            PtyLine::start(line, Some(&path)).unwrap()
        };
        let mut port = plugged();
        let mut daemon = ReaderLoop::start(directory.path(), &path, 115_200, 1).unwrap();
        let reports = &mut daemon.reports;
        for n in 0..2 {
            while reports.recv().await != Some(ReaderReport::Restored(ReaderIx(0))) {}
            reader.present(26, n);
            while !matches!(reports.recv().await, Some(ReaderReport::Card(_))) {}
            port.stop();
            while !matches!(reports.recv().await, Some(ReaderReport::Lost(..))) {}
            port = plugged();
        }
    });
}

#[test]
fn a_port_has_one_owner_under_whichever_of_its_names() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttyUSB0");
        let by_id = directory.path().join("usb-FTDI_FT232R_A5069RR4-if00-port0");
        let board = SimBoard::new(1);
        let line = boards(&path, from_ref(&board));
        symlink(&path, &by_id).unwrap();
        let mut field = Field::start(&path, 1, Duration::from_millis(500));
        field.until(|report| matches!(report, BusReport::BoardUp { .. })).await;
        for name in [&path, &by_id] {
            let mut readers = OsdpPort::new(port(name));
            for error in [open_port(&port(name)).expect_err("it is held"), readers.open().expect_err("it is held")] {
                assert!(error.contains(&*name.to_string_lossy()), "{error}");
                assert!(error.contains("holds it") && error.contains("another name"), "{error}");
            }
        }
        // A bus on the other name says so too, and the first one is not disturbed.
        let mut second = Field::start(&by_id, 1, Duration::from_millis(500));
        second
            .until(|report| matches!(report, BusReport::BoardLost { detail, .. } if detail.contains("another bus holds it")))
            .await;
        let deadline = mono() + LIMIT;
        field.desired.send_replace(Rc::from([order(output(0, 0), Level::Energised, 1, deadline)]));
        field.until(|report| confirmed(report, 1)).await;
        line.stop();
    });
}

#[test]
fn a_scan_beside_the_daemon_says_who_holds_the_port_and_puts_nothing_on_the_line() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttyUSB0");
        let board = SimBoard::new(1);
        let line = boards(&path, from_ref(&board));
        let mut field = Field::start(&path, 1, Duration::from_millis(500));
        field.until(|report| matches!(report, BusReport::BoardUp { .. })).await;
        line.with(|line| line.take_record());
        for osdp in [false, true] {
            let mut scan = Command::new(env!("CARGO_BIN_EXE_latchd"));
            scan.args(["scan", "--units", "2-3", "--baud", "115200"]).arg(&path).args(osdp.then_some("--osdp"));
            let result = tokio::task::spawn_blocking(move || scan.output().unwrap()).await.unwrap();
            let error = String::from_utf8_lossy(&result.stderr);
            assert!(!result.status.success() && error.contains("systemctl stop latchd"), "{error}");
            assert!(error.contains("holds it"), "{error}");
        }
        let record = line.with(|line| line.take_record());
        let foreign = record.iter().find(|sent| sent.from == Sender::Master && sent.bytes[0] != 1);
        assert_eq!(foreign, None);
        let deadline = mono() + LIMIT;
        field.desired.send_replace(Rc::from([order(output(0, 0), Level::Energised, 1, deadline)]));
        field.until(|report| confirmed(report, 1)).await;
    });
}

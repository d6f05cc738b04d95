//! Modbus boards: how full the line is, how soon a door's write is on it, and what a dead board costs the others.

use std::{
    path::Path,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::Context as _;
use latchd::{
    adapters::{clock::mono, field::modbus::Wire, timer::Timer},
    config::site::{Bus, Line as SiteLine, Parity, SerialPort},
    domain::{
        fieldbus::BusReport,
        ids::{BoardIx, BusIx, Id, OutputRef},
        outputs::{Desired, Level, Ticket},
        time::Mono,
    },
    gateway::fieldbus::BusPlan,
    runtime::bus_loop::{self, BusPorts, DesiredOutputs},
};
use latchd_sim::{
    board::SimBoard,
    line::{BoardDevice, BusOnLine, Line, LineTimes, PtyLine, plan_of},
};
use tokio::{
    sync::{mpsc, watch},
    task::LocalSet,
};

use super::{
    Effort,
    record::{Exchange, Protocol, distances, exchanges, first, mean, row, row_of},
};

const BAUDS: [u32; 3] = [9_600, 19_200, 115_200];
const TURNAROUND: Duration = Duration::from_millis(2);
const WRITE_COIL: u8 = 5;
const READ_INPUTS: u8 = 2;
const DEADLINE: Duration = Duration::from_secs(30);

fn times(baud: u32) -> LineTimes {
    LineTimes::new(baud, 10, TURNAROUND)
}

fn line(boards: u8, times: LineTimes) -> Line {
    let mut line = Line::new(times, 7);
    for n in 0..boards {
        line.plug(BoardDevice::new(SimBoard::new(n + 1)));
    }
    line
}

fn order(sample: u32, boards: u8, now: Mono) -> Desired {
    let output = OutputRef { board: BoardIx((sample * 7 % u32::from(boards)) as u16), output: (sample % 8) as u16 };
    let level = Level::from_energised((sample / 8).is_multiple_of(2));
    let order = Some((Ticket(u64::from(sample) + 1), now + DEADLINE));
    Desired { output, level, until: None, rest: level, order }
}

/// When each order was given, and to which unit.
type Orders = Vec<(Mono, u8)>;

fn waited(orders: &Orders, exchanges: &[Exchange], times: &LineTimes) -> Vec<Duration> {
    let write = |(wanted, unit): &(Mono, u8)| {
        let sent = first(exchanges, *unit, WRITE_COIL, *wanted)?;
        Some(Protocol::Modbus.waited(exchanges, *wanted, sent, times))
    };
    orders.iter().filter_map(write).collect()
}

fn told_full(baud: u32, how: &str, all: &[Exchange], times: &LineTimes) {
    let share = Protocol::Modbus.utilisation(all, times) * 100.0;
    let one = all.first().map(|one| Protocol::Modbus.wire_time(one, times)).unwrap_or_default();
    row_of(
        &format!("full polling, 8 boards, {baud} baud, {how}"),
        &format!("{share:>9.1} % of what the wire allows ({:.2} ms a transaction)", one.as_secs_f64() * 1000.0),
    );
}

fn told_dead(how: &str, before: &[Exchange], after: &[Exchange]) {
    let reads = |all: &[Exchange]| {
        let of = |unit| distances(all, |bytes| bytes.first() == Some(&unit) && bytes.get(1) == Some(&READ_INPUTS));
        [1, 2, 3, 4, 6, 7, 8].into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let (before, after) = (reads(before), reads(after));
    let growth = (mean(&after).as_secs_f64() / mean(&before).as_secs_f64() - 1.0) * 100.0;
    row(&format!("poll interval of 8 boards, {how}"), None, before);
    row(&format!("  of the other 7 with one dead: {growth:+.1} % in the mean"), None, after);
}

pub fn in_virtual_time() {
    for baud in BAUDS {
        let times = times(baud);
        let mut bus = BusOnLine::new(plan_of(8, &times, Duration::from_millis(1)), line(8, times));
        bus.run(Duration::from_secs(1));
        bus.line.take_record();
        bus.run(Duration::from_secs(60));
        told_full(baud, "virtual", &exchanges(&bus.line.take_record()), &times);
    }
    for baud in BAUDS {
        let times = times(baud);
        let mut bus = BusOnLine::new(plan_of(32, &times, Duration::from_millis(1)), line(32, times));
        bus.run(Duration::from_secs(10));
        let mut orders = Orders::new();
        for sample in 0..1_000_u32 {
            bus.run(Duration::from_micros(u64::from(sample * 7_919 % 97_003) + 120_000));
            let desired = order(sample, 32, bus.now);
            orders.push((bus.now, desired.output.board.0 as u8 + 1));
            bus.desire(&[desired]);
        }
        bus.run(Duration::from_secs(1));
        let all = exchanges(&bus.line.take_record());
        row(
            &format!("door write beyond the one on the wire, 32 boards, {baud} baud, virtual"),
            None,
            waited(&orders, &all, &times),
        );
    }
    for (baud, poll) in [(19_200, 1), (115_200, 1), (115_200, 100)] {
        let times = times(baud);
        let mut bus = BusOnLine::new(plan_of(8, &times, Duration::from_millis(poll)), line(8, times));
        bus.run(Duration::from_secs(5));
        bus.line.take_record();
        bus.run(Duration::from_secs(60));
        let before = exchanges(&bus.line.take_record());
        bus.line.set_plugged(4, false);
        bus.run(Duration::from_secs(10));
        bus.line.take_record();
        bus.run(Duration::from_secs(300));
        told_dead(
            &format!("{baud} baud, polled every {poll} ms, virtual"),
            &before,
            &exchanges(&bus.line.take_record()),
        );
    }
}

pub fn by_the_clock(effort: Effort) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("line");
    for baud in BAUDS {
        let times = times(baud);
        let live = PtyLine::start(line(8, times), Some(&path))?;
        let seconds = u64::from(20 / effort.less).max(3);
        let all = on_loop(&live, plan_of(8, &times, Duration::from_millis(1)), &path, async |_, _| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            live.with(Line::take_record);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            live.with(Line::take_record)
        })?;
        told_full(baud, "by the clock", &exchanges(&all), &times);
    }
    for baud in BAUDS {
        let times = times(baud);
        let live = PtyLine::start(line(32, times), Some(&path))?;
        let (orders, all) =
            on_loop(&live, plan_of(32, &times, Duration::from_millis(1)), &path, async |desired, reports| {
                until_up(reports, 32).await;
                live.with(Line::take_record);
                let orders = give_orders(500 / effort.less, 32, desired, reports).await;
                (orders, live.with(Line::take_record))
            })?;
        let measured = waited(&orders, &exchanges(&all), &times);
        row(&format!("door write beyond the one on the wire, 32 boards, {baud} baud, by the clock"), None, measured);
    }
    for (baud, poll) in [(115_200, 1), (115_200, 100)] {
        let times = times(baud);
        let live = PtyLine::start(line(8, times), Some(&path))?;
        let seconds = u64::from(40 / effort.less).max(8);
        let (before, after) =
            on_loop(&live, plan_of(8, &times, Duration::from_millis(poll)), &path, async |_, reports| {
                until_up(reports, 8).await;
                live.with(Line::take_record);
                tokio::time::sleep(Duration::from_secs(seconds / 2)).await;
                let before = live.with(Line::take_record);
                live.with(|line| line.set_plugged(4, false));
                tokio::time::sleep(Duration::from_secs(10)).await;
                live.with(Line::take_record);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                (before, live.with(Line::take_record))
            })?;
        told_dead(
            &format!("{baud} baud, polled every {poll} ms, by the clock"),
            &exchanges(&before),
            &exchanges(&after),
        );
    }
    Ok(())
}

type Reports = mpsc::Receiver<(BusIx, BusReport)>;

/// Runs the daemon's loop for a bus, as its doors' thread does, with `doors` in their place.
fn on_loop<T>(
    live: &PtyLine,
    plan: BusPlan,
    path: &Path,
    doors: impl AsyncFnOnce(&watch::Sender<DesiredOutputs>, &mut Reports) -> T,
) -> anyhow::Result<T> {
    let port = SerialPort {
        path: path.to_owned(),
        baud: live.with(|line| line.times().baud),
        parity: Parity::None,
        stop_bits: 1,
        turnaround: plan.turnaround,
    };
    let bus =
        Bus { id: Id::new("bus").context("an id")?, bus: BusIx(0), line: SiteLine::Rtu(port), timeout: plan.timeout };
    let wire = Wire::new(&bus).context("a wire")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, async {
        let (desired, desired_in) = watch::channel(Rc::from([]));
        let (reports_out, mut reports) = mpsc::channel(1024);
        let (stop, stop_in) = watch::channel(false);
        let progress = Arc::new(AtomicU64::new(0));
        let ports =
            BusPorts { desired: desired_in, reports: reports_out, progress, vitals: Arc::default(), stop: stop_in };
        let task = tokio::task::spawn_local(bus_loop::run(plan, wire, ports, mono));
        let result = doors(&desired, &mut reports).await;
        stop.send_replace(true);
        // Its last transaction ends within its timeout.
        let _ = task.await;
        result
    }))
}

async fn until_up(reports: &mut Reports, boards: usize) {
    let mut up = 0;
    while up < boards {
        match reports.recv().await {
            Some((_, BusReport::BoardUp { .. })) => up += 1,
            Some(_) => {}
            None => return,
        }
    }
}

async fn give_orders(count: u32, boards: u8, desired: &watch::Sender<DesiredOutputs>, reports: &mut Reports) -> Orders {
    let timer = Timer::new();
    let mut orders = Orders::new();
    for sample in 0..count {
        let now = mono();
        timer.at(now, now + Duration::from_micros(u64::from(sample * 7_919 % 47_003))).await;
        let (now, ticket) = (mono(), u64::from(sample) + 1);
        let order = order(sample, boards, now);
        orders.push((now, order.output.board.0 as u8 + 1));
        desired.send_replace(Rc::from([order]));
        loop {
            match reports.recv().await {
                Some((_, BusReport::Output { order: Some(Ticket(of)), .. })) if of == ticket => break,
                Some(_) => {}
                None => return orders,
            }
        }
    }
    orders
}

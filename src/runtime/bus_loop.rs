//! One loop per bus: carries the desired outputs to the machine, its transactions to the wire, and what
//! comes back to the door loop. Owns the wire and the machine; must never drop a report and never be
//! waited for by the doors. Invariant: while nothing is on the wire, a new desired output is written
//! without any other wait.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    adapters::{field::modbus::Wire, timer::Timer},
    config::site,
    domain::{
        fieldbus::{BoardConfig, BusReport},
        ids::{BoardIx, BusIx},
        outputs::Desired,
        time::Mono,
    },
    gateway::{
        fieldbus::{Bus, BusFault, BusPlan, Next, Reply},
        vitals::Vitals,
    },
};

/// The newest desired state of every output; a bus takes what is its own. A value that was overwritten
/// before the bus looked is gone, which is what a level means.
pub type DesiredOutputs = Rc<[Desired]>;

/// An idle bus wakes at least this often, so that its heartbeat goes on.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// What a bus needs from outside. `desired` may hold any bus's outputs.
#[derive(Debug)]
pub struct BusPorts {
    pub desired: watch::Receiver<DesiredOutputs>,
    /// Bounded; awaited when full. The door loop always drains it and never waits for a bus.
    pub reports: mpsc::Sender<(BusIx, BusReport)>,
    /// Counts turns of the loop: the watchdog looks whether it moves.
    pub progress: Arc<AtomicU64>,
    pub vitals: Arc<Vitals>,
    /// True ends the loop after the transaction on the wire; so does the sender's going away.
    pub stop: watch::Receiver<bool>,
}

/// The plan of one bus from the site's configuration.
pub fn plan(site: &site::Site, bus: &site::Bus) -> BusPlan {
    let boards: Vec<BoardConfig> =
        site.boards.iter().filter(|board| board.bus == bus.bus).map(|board| board.config.clone()).collect();
    let (serial, turnaround) = match &bus.line {
        site::Line::Rtu(port) => (true, port.turnaround),
        site::Line::Tcp { .. } | site::Line::Osdp(_) => (false, Duration::ZERO),
    };
    BusPlan { bus: bus.bus, boards, serial, turnaround, timeout: bus.timeout }
}

enum Event {
    Answered(Result<Reply, BusFault>),
    Desired,
    Due,
    Stop,
}

/// Runs until told to stop, or until nobody takes its reports any more.
pub async fn run(plan: BusPlan, mut wire: Wire, mut ports: BusPorts, clock: impl Fn() -> Mono) {
    let id = plan.bus;
    let boards: BTreeMap<u8, BoardIx> = plan.boards.iter().map(|board| (board.unit, board.board)).collect();
    let mut bus = Bus::new(plan);
    let mut out: Vec<BusReport> = Vec::new();
    let timer = Timer::new();
    // What was set before we came counts as well.
    ports.desired.mark_changed();
    loop {
        ports.progress.fetch_add(1, Ordering::Relaxed);
        if ports.desired.has_changed().unwrap_or(false) {
            let desired = ports.desired.borrow_and_update().clone();
            bus.set_desired(clock(), &desired, &mut out);
        }
        let next = bus.next(clock(), &mut out);
        // Nothing is reported while a transaction waits to be sent: its deadline was judged just now.
        let event = match next {
            Next::Transact(transaction) => {
                let (board, began) = (boards.get(&transaction.unit).copied(), clock());
                let event = Event::Answered(wire.transact(transaction, &clock).await);
                if let Event::Answered(result) = &event {
                    count(&ports.vitals, id, board, result, clock().since(began));
                }
                if let Some(news) = wire.echo_news() {
                    tracing::info!("{news}");
                }
                event
            }
            Next::Idle { until } => {
                if !deliver(id, &mut out, &ports.reports).await {
                    return;
                }
                let now = clock();
                let heartbeat = now + HEARTBEAT;
                next_event(timer.at(now, until.map_or(heartbeat, |until| until.min(heartbeat))), &mut ports).await
            }
        };
        match event {
            Event::Answered(result) => bus.handle(clock(), result, &mut out),
            Event::Desired | Event::Due => {}
            Event::Stop => {
                deliver(id, &mut out, &ports.reports).await;
                return;
            }
        }
        if !deliver(id, &mut out, &ports.reports).await {
            return;
        }
        if *ports.stop.borrow() || ports.stop.has_changed().is_err() {
            return;
        }
    }
}

/// The only place that waits while nothing is on the wire. A transaction is never interrupted: half a frame on the
/// wire is worse than its end.
async fn next_event(due: impl Future<Output = ()>, ports: &mut BusPorts) -> Event {
    tokio::select! {
        biased;
        stopped = ports.stop.wait_for(|stop| *stop) => { let _ = stopped; Event::Stop }
        Ok(()) = ports.desired.changed() => { ports.desired.mark_changed(); Event::Desired }
        () = due => Event::Due,
    }
}

fn count(vitals: &Vitals, bus: BusIx, board: Option<BoardIx>, result: &Result<Reply, BusFault>, taken: Duration) {
    match result {
        Ok(_) | Err(BusFault::Exception(_)) => vitals.transaction(bus, board, true, taken),
        Err(BusFault::Timeout | BusFault::Garbage(_) | BusFault::Disconnected(_) | BusFault::Unreachable(_)) => {
            vitals.transaction(bus, board, false, taken);
        }
        // Nobody was asked.
        Err(BusFault::TooLate) => {}
    }
}

async fn deliver(id: BusIx, out: &mut Vec<BusReport>, reports: &mpsc::Sender<(BusIx, BusReport)>) -> bool {
    for report in out.drain(..) {
        if reports.send((id, report)).await.is_err() {
            return false;
        }
    }
    true
}

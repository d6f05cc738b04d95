//! The door thread: one OS thread, one single-threaded tokio, on it the door loop, a loop for each bus
//! and one for each reader with a port of its own. Owns their restart; must never do heavy work or
//! touch a disk. Invariant: a panic in here costs a restart from the durable state of the doors, relays
//! first; more than [`RESTARTS_MAX`] within [`RESTARTS_WITHIN`] costs the process.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
};

use crate::{
    adapters::{
        self,
        field::{modbus::Wire, serial_reader::SerialReader},
        store::ledger_thread::LedgerHandle,
    },
    config::site::{Line, Reader, ReaderSource, Site},
    domain::{
        cloud::CloudState, field::Weakness, fieldbus::BoardConfig, ids::Id, order::Order, permission::Permissions,
        record::EmergencyCard,
    },
    gateway::{
        controller::{Controller, Lasting, Pause, ReaderBinding, Setup, machines},
        desk::ORDERS_MAX,
        step::Fence,
        uplink::DoorNews,
        vitals::Vitals,
    },
    runtime::{
        bus_loop::{self, BusPorts},
        clock::Clock,
        control::Asked,
        door_loop::{DoorLoop, Ended, Going, Inputs, Outlets, STOP_WITHIN},
        heartbeat::{Heartbeat, Heartbeats},
        ledger_queue::LedgerQueue,
        osdp_loop::{self, OsdpKeys, OsdpLine, OsdpPorts},
        reader_loop,
    },
    wire::token::CredentialKey,
};

const RESTARTS_MAX: usize = 5;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long the buses get to end the transaction that is on the wire.
const LOOPS_END_WITHIN: Duration = Duration::from_secs(1);
/// After this the thread is not waited for any longer: it is stuck, which must not keep the process.
pub const THREAD_ENDS_WITHIN: Duration =
    STOP_WITHIN.saturating_add(LOOPS_END_WITHIN).saturating_add(Duration::from_secs(1));
/// Reports of buses and readers under way to the doors; full: the bus waits.
const FIELD_QUEUE_MAX: usize = 1024;
/// Reports and states under way to the cloud loop; full: they wait at the doors.
const CLOUD_QUEUE_MAX: usize = 1024;

/// What the door thread needs besides the site.
pub struct DoorsSetup {
    pub site: Arc<Site>,
    pub vitals: Arc<Vitals>,
    pub clock: Clock,
    pub ledger: LedgerHandle,
    pub credential_key: CredentialKey,
    /// From the copy outside of the mirror.
    pub spare_cards: Arc<BTreeMap<Id, EmergencyCard>>,
    pub permissions: Arc<Permissions>,
    pub restored: Lasting,
    pub cloud: CloudState,
    /// How far the doors' commits are durable.
    pub durable: watch::Receiver<Fence>,
    pub osdp_keys: OsdpKeys,
    /// What is less than it should be beside what the site gives up.
    pub weaknesses: Vec<Weakness>,
    /// From `latchd io`.
    pub installer: mpsc::Receiver<Asked>,
}

/// The cloud loop's end.
pub struct Doors {
    pub orders: mpsc::Sender<Order>,
    pub permissions: watch::Sender<Arc<Permissions>>,
    pub cloud: watch::Sender<CloudState>,
    pub news: mpsc::Receiver<DoorNews>,
    /// True once every board has been heard of: the doors are enforced.
    pub enforced: watch::Receiver<bool>,
    going: watch::Sender<Going>,
    thread: JoinHandle<Result<(), String>>,
}

impl Doors {
    pub fn start(setup: DoorsSetup, heartbeats: &mut Heartbeats) -> std::io::Result<Doors> {
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (permissions, permissions_in) = watch::channel(setup.permissions.clone());
        let (cloud, cloud_in) = watch::channel(setup.cloud);
        let (news_out, news) = mpsc::channel(CLOUD_QUEUE_MAX);
        let (enforced_out, enforced) = watch::channel(false);
        let (going, going_in) = watch::channel(Going::On);
        let beats = Beats::register(&setup.site, heartbeats);
        let mut thread = DoorsThread {
            ledger: LedgerQueue::new(setup.ledger.clone()),
            setup,
            orders: orders_in,
            permissions: permissions_in,
            cloud: cloud_in,
            going: going_in,
            news: news_out,
            enforced: enforced_out,
            beats,
            restarted: false,
        };
        let thread = std::thread::Builder::new().name("doors".to_owned()).spawn(move || thread.supervise())?;
        Ok(Doors { orders, permissions, cloud, news, enforced, going, thread })
    }

    /// Doors go to their safe state, then the thread ends.
    pub fn begin_stop(&self) {
        self.going.send_replace(Going::Stop);
    }

    /// The thread ends, and what the next run drives as well stays as it is.
    pub fn begin_pause(&self, pause: Pause) {
        self.going.send_replace(Going::Pause(pause));
    }

    /// True once the thread has ended, after a stop or because its restarts were used up.
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn join(self) -> Result<(), String> {
        if !self.ended() {
            return Err("the doors' thread is stuck and was left behind".to_owned());
        }
        self.thread.join().unwrap_or_else(|panic| Err(panic_text(&*panic)))
    }
}

struct Beats {
    doors: Heartbeat,
    buses: Vec<Heartbeat>,
}

impl Beats {
    fn register(site: &Site, heartbeats: &mut Heartbeats) -> Beats {
        let doors = Heartbeat::default();
        heartbeats.register("doors", doors.clone());
        let bus = |id: &Id| {
            let heartbeat = Heartbeat::default();
            heartbeats.register(format!("bus {id}"), heartbeat.clone());
            heartbeat
        };
        Beats { buses: site.buses.iter().map(|b| &b.id).map(bus).collect(), doors }
    }
}

struct DoorsThread {
    setup: DoorsSetup,
    orders: mpsc::Receiver<Order>,
    permissions: watch::Receiver<Arc<Permissions>>,
    cloud: watch::Receiver<CloudState>,
    going: watch::Receiver<Going>,
    news: mpsc::Sender<DoorNews>,
    enforced: watch::Sender<bool>,
    beats: Beats,
    ledger: LedgerQueue,
    /// The loop failed at least once.
    restarted: bool,
}

impl DoorsThread {
    fn supervise(&mut self) -> Result<(), String> {
        let mut failures: Vec<Instant> = Vec::new();
        loop {
            let failure = match catch_unwind(AssertUnwindSafe(|| self.run_once())) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_text(&*panic),
            };
            tracing::error!(detail = %failure, "the door loop failed and starts again from the durable state");
            failures.retain(|at| at.elapsed() < RESTARTS_WITHIN);
            failures.push(Instant::now());
            if failures.len() > RESTARTS_MAX {
                return Err(format!(
                    "the door loop failed {} times within a minute, at last: {failure}",
                    failures.len()
                ));
            }
            self.restarted = true;
            // The desk is about to hear that nobody knows what became of these: nothing may come of them later.
            while self.orders.try_recv().is_ok() {}
        }
    }

    fn run_once(&mut self) -> std::io::Result<()> {
        let runtime = Impatient(Some(Builder::new_current_thread().enable_io().enable_time().build()?));
        match &runtime.0 {
            Some(runtime) => LocalSet::new().block_on(runtime, self.run_loops()),
            None => Ok(()),
        }
    }

    async fn run_loops(&mut self) -> std::io::Result<()> {
        let site = self.setup.site.clone();
        let clock = self.setup.clock.clone();
        let permissions = self.permissions.borrow_and_update().clone();
        let boards: Vec<BoardConfig> = site.boards.iter().map(|board| board.config.clone()).collect();
        let bindings = site.readers.iter().map(binding).collect();
        let weaknesses = [site.weaknesses(), self.setup.weaknesses.clone()].concat();
        let setup = Setup {
            doors: site.doors.clone(),
            readers: bindings,
            boards: &boards,
            topology: Arc::new(site.topology()),
            credential_key: self.setup.credential_key.clone(),
            spare_cards: self.setup.spare_cards.clone(),
            permissions,
            cloud: *self.cloud.borrow_and_update(),
            lasting: self.setup.restored.clone(),
            machines: machines(&site.field, &weaknesses),
        };
        let (controller, first) = Controller::new(setup, clock.now());

        let (reports, buses) = mpsc::channel(FIELD_QUEUE_MAX);
        let (cards, readers) = mpsc::channel(FIELD_QUEUE_MAX);
        let (indications, indications_in) = watch::channel(Rc::from(controller.indications().0));
        let (desired, desired_in) = watch::channel(Rc::from(controller.desired()));
        let (end_loops, ended) = watch::channel(false);
        let mut loops = JoinSet::new();
        for (bus, heartbeat) in site.buses.iter().zip(&self.beats.buses) {
            let ports = BusPorts {
                desired: desired_in.clone(),
                reports: reports.clone(),
                progress: heartbeat.counter(),
                vitals: self.setup.vitals.clone(),
                stop: ended.clone(),
            };
            let plan = bus_loop::plan(&site, bus);
            if let Some(wire) = Wire::new(bus) {
                loops.spawn_local(bus_loop::run(plan, wire, ports, adapters::clock::mono));
            } else if let Some((line, port)) = OsdpLine::of(&site, bus.bus) {
                let BusPorts { progress, stop, desired, reports: points, .. } = ports;
                let ports = OsdpPorts {
                    reports: cards.clone(),
                    points,
                    desired,
                    keys: self.setup.osdp_keys.clone(),
                    indications: indications_in.clone(),
                    progress,
                    stop,
                };
                loops.spawn_local(osdp_loop::run(line, port, ports, adapters::clock::mono));
            }
        }
        // A site without boards has nothing that could end; else the last bus takes the channel along.
        let no_boards = site.buses.iter().all(|bus| matches!(bus.line, Line::Osdp(_)));
        let _open = no_boards.then_some(reports);
        for reader in &site.readers {
            if let ReaderSource::Serial { port, format } = &reader.source {
                let port = SerialReader::new(port.clone(), *format);
                loops.spawn_local(reader_loop::run(reader.reader, port, cards.clone(), ended.clone()));
            }
        }
        drop(cards);

        let outlets = Outlets {
            desired,
            indications,
            ledger: &mut self.ledger,
            cloud: self.news.clone(),
            heartbeat: self.beats.doors.clone(),
            vitals: self.setup.vitals.clone(),
            enforced: self.enforced.clone(),
        };
        let heard_of = boards.iter().map(|board| board.board).chain(site.readers_in_use());
        let mut door_loop = DoorLoop::new(clock, outlets, heard_of, &mut self.setup.restored, self.restarted);
        let mut inputs = Inputs {
            buses,
            readers,
            orders: &mut self.orders,
            installer: &mut self.setup.installer,
            permissions: &mut self.permissions,
            cloud: &mut self.cloud,
            durable: &mut self.setup.durable,
            going: &mut self.going,
        };
        // A loop ends by itself only by a panic: the whole thread starts again.
        let (ended, mut panic) = tokio::select! {
            biased;
            Some(Err(failed)) = loops.join_next() => (Ended::BusesGone, failed.try_into_panic().ok()),
            ended = door_loop.run(controller, first, &mut inputs) => (ended, None),
        };
        end_loops.send_replace(true);
        let rest = async {
            while let Some(result) = loops.join_next().await {
                panic = panic.take().or_else(|| result.err()?.try_into_panic().ok());
            }
        };
        let _ = tokio::time::timeout(LOOPS_END_WITHIN, rest).await;
        match (ended, panic) {
            (Ended::Stopped, _) => Ok(()),
            (Ended::BusesGone, Some(panic)) => std::panic::resume_unwind(panic),
            (Ended::BusesGone, None) => Err(std::io::Error::other("the loops of the buses ended")),
        }
    }
}

/// A runtime that is left, also by a panic, without waiting for the look-up of a board's name: a resolver
/// that hangs must hold up neither a restart of the doors nor a stop.
struct Impatient(Option<Runtime>);

impl Drop for Impatient {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn binding(reader: &Reader) -> ReaderBinding {
    let card_block = match &reader.source {
        ReaderSource::CardBlock { board, block } => Some((*board, *block)),
        ReaderSource::Serial { .. } | ReaderSource::Osdp(_) => None,
    };
    let points = match &reader.source {
        ReaderSource::Osdp(osdp) => Some(osdp.points),
        _ => None,
    };
    ReaderBinding { id: reader.id.clone(), reader: reader.reader, at: reader.at, card_block, points }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

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
    runtime::Builder,
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    adapters::store::LedgerHandle,
    config::site::{ReaderSource, Site},
    domain::{
        door::DurableDoor,
        fieldbus::BusReport,
        ids::{BusIx, Id},
        order::Order,
        permission::Permissions,
    },
    gateway::{
        controller::{Controller, ReaderBinding},
        desk::ORDERS_MAX,
    },
    runtime::{
        bus_loop,
        clock::Clock,
        door_loop::{DoorLoop, FromDoors, Inputs, Outlets},
        heartbeat::{Heartbeat, Heartbeats},
        reader_loop,
    },
    wire::token::CredentialKey,
};

const RESTARTS_MAX: usize = 5;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long a stop may take: every door in its safe state and read back, or given up.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Reports of buses and readers under way to the doors; full: the bus waits.
const FIELD_QUEUE_MAX: usize = 1024;
/// Reports and states under way to the cloud loop; full: they wait at the doors.
const CLOUD_QUEUE_MAX: usize = 1024;

/// What the door thread needs besides the site.
pub struct DoorsSetup {
    pub site: Arc<Site>,
    pub clock: Clock,
    pub ledger: LedgerHandle,
    pub credential_key: CredentialKey,
    pub permissions: Arc<Permissions>,
    pub restored: BTreeMap<Id, DurableDoor>,
}

/// The cloud loop's end.
pub struct Doors {
    pub orders: mpsc::Sender<Order>,
    pub permissions: watch::Sender<Arc<Permissions>>,
    pub reports: mpsc::Receiver<FromDoors>,
    /// True once every board has been heard of: the doors are enforced.
    pub enforced: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Doors {
    pub fn start(setup: DoorsSetup, heartbeats: &mut Heartbeats) -> std::io::Result<Doors> {
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (permissions, permissions_in) = watch::channel(setup.permissions.clone());
        let (reports_out, reports) = mpsc::channel(CLOUD_QUEUE_MAX);
        let (enforced_out, enforced) = watch::channel(false);
        let (stop, stop_in) = watch::channel(false);
        let beats = Beats::register(&setup.site, heartbeats);
        let mut thread = DoorsThread {
            setup,
            orders: Some(orders_in),
            permissions: permissions_in,
            stop: stop_in,
            reports: reports_out,
            enforced: enforced_out,
            beats,
        };
        let thread = std::thread::Builder::new().name("doors".to_owned()).spawn(move || thread.supervise())?;
        Ok(Doors { orders, permissions, reports, enforced, stop, thread })
    }

    /// Doors go to their safe state, then the thread ends.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// True once the thread has ended, after a stop or because its restarts were used up.
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn join(self) -> Result<(), String> {
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
    orders: Option<mpsc::Receiver<Order>>,
    permissions: watch::Receiver<Arc<Permissions>>,
    stop: watch::Receiver<bool>,
    reports: mpsc::Sender<FromDoors>,
    enforced: watch::Sender<bool>,
    beats: Beats,
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
                return Err(format!("the door loop failed {} times within a minute, at last: {failure}", failures.len()));
            }
            let _ = self.reports.try_send(FromDoors::Restarted);
        }
    }

    fn run_once(&mut self) -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        LocalSet::new().block_on(&runtime, self.run_loops());
        Ok(())
    }

    async fn run_loops(&mut self) {
        todo!()
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

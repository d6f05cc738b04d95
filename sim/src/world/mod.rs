//! A seeded world in virtual time around the real machines of one node. Owns time, chance and the order of
//! everything; must never wait, read a clock or a random device, or run a second thread. Invariant: the same
//! seed and options give the same trace to the byte.
//!
//! ```text
//!   life (people, operators)   faults          oracle: watches boards, wire, cloud, and keeps its own model
//!      │                         │
//!   field: boards, doors ──wire── node: buses ─ doors ─ uplink ─ ledger, mirror ──link── net: broker ── cloud
//! ```
//!
//! Every hand-over between two threads of the daemon is an event of its own with a small delay, in order
//! within its channel; so a crash "at any event" is a crash at every barrier, and between any two threads.
//! What is held after every event, and the mistake that each invariant catches, stands in `sim/README.md`. The
//! wiring in `node*` repeats that of `latchd::runtime` without its threads. Mistakes are planted on
//! these hand-overs, never in the machines.

mod board;
mod clerk;
mod configuration;
mod faults;
mod field;
mod heal;
mod life;
mod lists;
mod mistake;
mod net;
mod node;
mod node_bus;
mod node_doors;
mod node_stores;
mod node_uplink;
mod oracle;
pub(crate) mod rng;
mod set;
mod site;
mod start;
mod trace;
mod visits;
mod wishes;

use std::{collections::BTreeMap, fmt, time::Duration};

use latchd::domain::time::{Mono, Wall};

use self::{
    configuration::Configuration,
    faults::{Faults, Heal},
    field::{Field, FieldEvent, WireRequest},
    life::Life,
    mistake::Shim,
    net::{Net, NetEvent},
    node::{Node, NodeEvent},
    oracle::Oracle,
    rng::Rng,
    set::Sets,
    site::Site,
    start::Disks,
    trace::Trace,
};
pub use self::{
    mistake::{Mistake, catch},
    oracle::{Invariant, Violation},
};
use crate::cloud::Cloud;

/// Events of the restless part of a run, before all faults heal.
pub const EVENTS_DEFAULT: u64 = 12_000;
/// After the faults have healed, everything must be in order within this time.
pub const CONVERGES_WITHIN: Duration = Duration::from_secs(120);
/// More events than this at one instant, and nothing ever waits again.
const EVENTS_AT_ONCE_MAX: u64 = 20_000;
/// 2026-09-21T14:13:20Z.
const BEGIN_MS: i64 = 1_790_000_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub events: u64,
    pub mistake: Option<Mistake>,
    pub print: bool,
}

impl Options {
    pub fn seed(seed: u64) -> Options {
        Options { seed, events: EVENTS_DEFAULT, mistake: None, print: false }
    }
}

/// A run in which every invariant held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub hash: u64,
    pub lines: u64,
    pub events: u64,
    pub virtual_ms: u64,
    /// What happened how often: a run that never crashed has proved nothing about crashes.
    pub counts: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub violation: Violation,
    pub events: u64,
    pub tail: Vec<String>,
}

/// Everything that happens at an instant.
enum What {
    /// In the run of the daemon with this number; of an earlier run it is void.
    Node(u64, NodeEvent),
    /// A request reaches its board.
    Wire(WireRequest),
    Field(FieldEvent),
    Net(NetEvent),
    /// Somebody does something.
    Act,
    Fault,
    Heal(Heal),
    StartNode,
    /// Somebody confirms what was put last.
    Confirm,
}

/// A channel: what is sent on it arrives in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    BusToDoors(usize),
    OrdersToDoors,
    SetsToDoors,
    DoorsToUplink,
    LedgerToDoors,
    LedgerToUplink,
    MirrorToUplink,
    DoorsToLedger,
    UplinkToLedger,
    ToMirror,
    NodeToBroker,
    BrokerToNode,
    CloudToBroker,
    BrokerToCloud,
}

pub struct World {
    now: Mono,
    queue: BTreeMap<(Mono, u64), What>,
    next_event: u64,
    lanes: BTreeMap<Lane, Mono>,
    events: u64,
    rng: Rng,
    trace: Trace,
    site: Site,
    field: Field,
    net: Net,
    cloud: Cloud,
    sets: Sets,
    life: Life,
    faults: Faults,
    disks: Disks,
    configuration: Configuration,
    node: Option<Node>,
    /// Counts the runs of the daemon.
    run: u64,
    /// How far the node's wall clock is from the truth.
    clock_offset_ms: i64,
    ntp: bool,
    oracle: Oracle,
    shim: Shim,
    healing: bool,
    counts: BTreeMap<&'static str, u64>,
}

/// Runs one seed to its end.
///
/// # Errors
/// The first invariant that did not hold.
pub fn run(options: Options) -> Result<Report, Failure> {
    let mut world = World::new(options);
    let result = world.play(options.events);
    match result {
        Ok(()) => Ok(Report {
            hash: world.trace.hash(),
            lines: world.trace.lines(),
            events: world.events,
            virtual_ms: world.now.as_nanos() / 1_000_000,
            counts: world.counts,
        }),
        Err(violation) => {
            Err(Failure { seed: options.seed, violation, events: world.events, tail: world.trace.tail() })
        }
    }
}

impl World {
    /// The restless part, then the healing.
    fn play(&mut self, events: u64) -> Result<(), Violation> {
        while self.events < events {
            self.step()?;
        }
        self.heal_all();
        let until = self.now + CONVERGES_WITHIN;
        loop {
            self.step()?;
            if self.events.is_multiple_of(16) && self.unsettled().is_none() {
                return Ok(());
            }
            if self.now >= until {
                return Err(match self.untold_edit() {
                    Some(what) => Violation::new(Invariant::EditsSettle, what),
                    None => Violation::new(Invariant::Converges, self.unsettled().unwrap_or_default()),
                });
            }
        }
    }

    /// The next event and what the oracle says to it.
    fn step(&mut self) -> Result<(), Violation> {
        let Some(((at, _), what)) = self.queue.pop_first() else {
            return Err(Violation::new(Invariant::NeverStuck, "nothing will ever happen again".to_owned()));
        };
        self.events += 1;
        self.oracle.count_event(self.now != at, EVENTS_AT_ONCE_MAX);
        self.now = at;
        let of_node = matches!(what, What::Node(..));
        self.dispatch(what);
        if of_node && let Some(left) = &mut self.faults.crash_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.faults.crash_in = None;
                self.crash("between two events");
            }
        }
        self.look();
        self.look_at_mantrap();
        self.look_at_outputs();
        self.look_at_floors();
        if self.node.as_ref().is_some_and(|node| node.phase == node::Phase::Running) {
            self.oracle.look_at_trial(self.now);
        }
        self.oracle.take_violation()
    }

    fn dispatch(&mut self, what: What) {
        match what {
            What::Node(run, event) if run == self.run && self.node.is_some() => self.node_event(event),
            What::Node(..) => {}
            What::Wire(request) => self.serve(request),
            What::Field(event) => self.field_event(event),
            What::Net(event) => self.net_event(event),
            What::Act => self.act(),
            What::Fault => self.fault(),
            What::Heal(heal) => self.heal(heal),
            What::StartNode => self.start_node(),
            What::Confirm => self.wish_confirm(),
        }
    }

    /// The true time, which the cloud has.
    fn wall(&self) -> Wall {
        Wall::from_millis(BEGIN_MS + (self.now.as_nanos() / 1_000_000) as i64)
    }

    /// What the node's wall clock shows.
    fn node_wall(&self) -> Wall {
        Wall::from_millis(self.wall().as_millis() + self.clock_offset_ms)
    }

    fn post(&mut self, delay: Duration, what: What) {
        self.post_at(self.now + delay, what);
    }

    fn post_at(&mut self, at: Mono, what: What) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), what);
    }

    /// Arrives after `delay`, and not before what was sent on this lane earlier.
    fn send(&mut self, lane: Lane, delay: Duration, what: What) {
        let last = self.lanes.entry(lane).or_default();
        let at = (self.now + delay).max(*last);
        *last = at;
        self.post_at(at, what);
    }

    /// Between two threads of the node.
    fn send_node(&mut self, lane: Lane, event: NodeEvent) {
        let delay = self.rng.micros(2, 300);
        let run = self.run;
        self.send(lane, delay, What::Node(run, event));
    }

    fn post_node(&mut self, delay: Duration, event: NodeEvent) {
        let run = self.run;
        self.post(delay, What::Node(run, event));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn line(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }
}

//! Figures of the node's running, from what the loops count to what is said. Owns the looks at the counts; must
//! never hold up who counts. Invariant: latencies in telemetry are of the time since the message before.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    adapters::process,
    domain::{ids::Id, order::Progress, outputs::Ticket, time::Mono},
    gateway::{
        step::Effect,
        uplink::{DoorNews, Input},
        vitals::{Latency, Look, Vitals},
    },
    wire::telemetry::{BusFigures, Counters, Gauges, Latencies, Telemetry},
};

/// Orders whose confirmation is waited for; those of the desk are fewer.
const ORDERS_MAX: usize = 1024;

/// What is asked of the counts, and by what names.
#[derive(Clone)]
pub struct Sources {
    pub vitals: Arc<Vitals>,
    pub buses: Vec<Id>,
    pub lines_dropped: Arc<std::sync::atomic::AtomicU64>,
    pub started: Instant,
}

impl Sources {
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn counters(&self, outcomes_dropped: u64) -> Counters {
        Counters {
            events: self.vitals.events.load(Relaxed),
            granted: self.vitals.granted.load(Relaxed),
            denied: self.vitals.denied.load(Relaxed),
            outcomes_dropped,
            lines_dropped: self.lines_dropped.load(Relaxed),
        }
    }

    pub fn gauges(&self, gauges: Gauges) -> Gauges {
        let commits_waiting = self.vitals.commits_waiting.load(Relaxed);
        let alarms = self.vitals.alarms.load(Relaxed);
        Gauges { commits_waiting, alarms, memory_bytes: process::memory_bytes(), ..gauges }
    }

    pub fn look(&self) -> Looks {
        let vitals = &self.vitals;
        let bus = |bus: &crate::gateway::vitals::BusVitals| BusLook {
            answered: bus.answered.load(Relaxed),
            failed: bus.failed.load(Relaxed),
            transaction: bus.transaction.look(),
        };
        Looks {
            decision: vitals.decision.look(),
            command: vitals.command.look(),
            append: vitals.append.look(),
            buses: vitals.buses.iter().map(bus).collect(),
        }
    }

    pub fn buses(&self, looks: &Looks) -> Vec<BusFigures> {
        let figures = |(id, look): (&Id, &BusLook)| BusFigures {
            bus: id.clone(),
            answered: look.answered,
            failed: look.failed,
            transaction: look.transaction.quantiles(),
        };
        self.buses.iter().zip(&looks.buses).map(figures).collect()
    }
}

/// All counts at one instant.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    decision: Look,
    command: Look,
    append: Look,
    buses: Vec<BusLook>,
}

#[derive(Clone, Debug, Default)]
struct BusLook {
    answered: u64,
    failed: u64,
    transaction: Look,
}

impl Looks {
    fn since(&self, before: &Looks) -> Looks {
        let nothing = BusLook::default();
        let bus = |(at, now): (usize, &BusLook)| {
            let before = before.buses.get(at).unwrap_or(&nothing);
            BusLook {
                answered: now.answered.saturating_sub(before.answered),
                failed: now.failed.saturating_sub(before.failed),
                transaction: now.transaction.since(&before.transaction),
            }
        };
        Looks {
            decision: self.decision.since(&before.decision),
            command: self.command.since(&before.command),
            append: self.append.since(&before.append),
            buses: self.buses.iter().enumerate().map(bus).collect(),
        }
    }

    pub fn latencies(&self) -> Latencies {
        Latencies {
            decision: self.decision.quantiles(),
            command: self.command.quantiles(),
            event_append: self.append.quantiles(),
        }
    }
}

/// When figures are sent, and what they are compared with.
pub struct Reporter {
    sources: Sources,
    every: Option<Duration>,
    last: Instant,
    before: Looks,
}

impl Reporter {
    pub fn new(sources: Sources, every: Option<Duration>) -> Reporter {
        let before = sources.look();
        Reporter { sources, every, last: Instant::now(), before }
    }

    /// `gauges` and what was dropped, asked only when it is time.
    pub fn due(&mut self, gauges: impl FnOnce() -> (Gauges, u64)) -> Option<Telemetry> {
        let interval = self.last.elapsed();
        if self.every.is_none_or(|every| interval < every) {
            return None;
        }
        self.last = Instant::now();
        let look = self.sources.look();
        let since = look.since(&std::mem::replace(&mut self.before, look.clone()));
        let (gauges, outcomes_dropped) = gauges();
        Some(Telemetry {
            uptime_s: self.sources.uptime().as_secs(),
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            counters: self.sources.counters(outcomes_dropped),
            gauges: self.sources.gauges(gauges),
            latencies: since.latencies(),
            buses: self.sources.buses(&since),
        })
    }
}

/// From an order to its confirmation.
#[derive(Debug, Default)]
pub struct OrderTimes(BTreeMap<Ticket, Mono>);

impl OrderTimes {
    pub fn ordered(&mut self, ticket: Ticket, now: Mono) {
        // Nobody confirms what the doors forgot when they were restarted.
        if self.0.len() >= ORDERS_MAX {
            self.0.pop_first();
        }
        self.0.insert(ticket, now);
    }

    pub fn heard(&mut self, input: &Input, now: Mono, command: &Latency) {
        match input {
            Input::Doors(DoorNews::Report(report)) => self.reported(report.ticket, &report.progress, now, command),
            Input::Released(effects) => {
                for effect in effects {
                    if let Effect::Report(report) = effect {
                        self.reported(report.ticket, &report.progress, now, command);
                    }
                }
            }
            _ => {}
        }
    }

    fn reported(&mut self, ticket: Ticket, progress: &Progress, now: Mono, command: &Latency) {
        if let Some(ordered) = self.0.remove(&ticket)
            && matches!(progress, Progress::Actuated { .. })
        {
            command.record(now.since(ordered));
        }
    }
}

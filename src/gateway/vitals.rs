//! How long things take, counted where they happen and read elsewhere. Owns the counts; must never make who
//! counts wait, nor grow. Invariant: a count never falls while the daemon runs, so that two looks tell what
//! lay between them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    domain::{
        event::{Event, EventBody},
        ids::{BoardIx, BusIx},
        kept::Kept,
    },
    wire::telemetry::Quantiles,
};

/// Four for each doubling of the time, up to 18 minutes: a quantile is at most a quarter too long.
const STEPS_BITS: u32 = 2;
const OCTAVES: usize = 40;
const STEPS: usize = 1 << STEPS_BITS;
const BUCKETS: usize = OCTAVES * STEPS;

/// How often each span of time was needed.
#[derive(Debug)]
pub struct Latency {
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// The bucket of so many nanoseconds.
fn bucket(nanos: u64) -> usize {
    let steps = STEPS as u64;
    if nanos < steps {
        return usize::try_from(nanos).unwrap_or(0);
    }
    let octave = 63 - nanos.leading_zeros();
    let step = (nanos >> (octave - STEPS_BITS)) & (steps - 1);
    let at = u64::from(octave - STEPS_BITS + 1) * steps + step;
    usize::try_from(at).map_or(BUCKETS - 1, |at| at.min(BUCKETS - 1))
}

/// The first that no longer belongs to it.
fn end_of(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    let steps = STEPS as u64;
    if next < steps {
        return next;
    }
    let (octave, step) = (next / steps - 1, next % steps);
    (steps + step) << octave
}

impl Latency {
    pub fn record(&self, taken: Duration) {
        let nanos = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.buckets.get(bucket(nanos)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub fn look(&self) -> Look {
        Look(self.buckets.iter().map(|count| count.load(Relaxed)).collect())
    }
}

/// The counts at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(Vec<u64>);

impl Look {
    /// What came after `earlier`.
    pub fn since(&self, earlier: &Look) -> Look {
        let before = earlier.0.iter().copied().chain(std::iter::repeat(0));
        Look(self.0.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect())
    }

    pub fn quantiles(&self) -> Quantiles {
        let count: u64 = self.0.iter().sum();
        let at = |thousandths: u64| {
            let rank = (count * thousandths).div_ceil(1000).max(1);
            let mut seen = 0;
            let found = self.0.iter().position(|in_bucket| {
                seen += in_bucket;
                seen >= rank
            });
            found.filter(|_| count > 0).map_or(0, |bucket| end_of(bucket).div_ceil(1000))
        };
        Quantiles { count, p50_us: at(500), p90_us: at(900), p99_us: at(990), max_us: at(1000) }
    }
}

/// Of one bus.
#[derive(Debug, Default)]
pub struct BusVitals {
    /// From putting a request on the wire to its answer, or to giving up.
    pub transaction: Latency,
    pub answered: AtomicU64,
    pub failed: AtomicU64,
}

/// Of one board.
#[derive(Debug, Default)]
pub struct BoardVitals {
    pub answered: AtomicU64,
    pub failed: AtomicU64,
    /// Of the last answer, in microseconds.
    pub last_us: AtomicU64,
}

#[derive(Debug, Default)]
pub struct Vitals {
    /// From a card at the controller to what follows from it.
    pub decision: Latency,
    /// From an order that leaves the desk to the board's confirmation, durable where it must be.
    pub command: Latency,
    /// From a group of writes that is handed to the store to its being durable.
    pub append: Arc<Latency>,
    /// In the order of their indices.
    pub buses: Vec<BusVitals>,
    pub boards: Vec<BoardVitals>,
    /// Commits that the ledger had no room for, now.
    pub commits_waiting: AtomicU64,
    /// Alarms that stand and nobody has acknowledged, now.
    pub alarms: AtomicU64,
    pub events: AtomicU64,
    pub granted: AtomicU64,
    pub denied: AtomicU64,
}

impl Vitals {
    pub fn of(buses: usize, boards: usize) -> Vitals {
        Vitals {
            buses: std::iter::repeat_with(BusVitals::default).take(buses).collect(),
            boards: std::iter::repeat_with(BoardVitals::default).take(boards).collect(),
            ..Vitals::default()
        }
    }

    /// A transaction with a board ended after so long: with an answer, even a refusal, or without one.
    pub fn transaction(&self, bus: BusIx, board: Option<BoardIx>, answered: bool, taken: Duration) {
        let count = |yes: &AtomicU64, no: &AtomicU64| if answered { yes } else { no }.fetch_add(1, Relaxed);
        if let Some(bus) = self.buses.get(bus.index()) {
            bus.transaction.record(taken);
            count(&bus.answered, &bus.failed);
        }
        if let Some(board) = board.and_then(|board| self.boards.get(board.index())) {
            count(&board.answered, &board.failed);
            if answered {
                board.last_us.store(u64::try_from(taken.as_micros()).unwrap_or(u64::MAX), Relaxed);
            }
        }
    }

    /// Since earlier runs.
    pub fn alarms_stand<'a>(&self, kept: impl Iterator<Item = &'a Kept>) {
        let unseen = kept.filter(|kept| matches!(kept, Kept::Alarm { acknowledged: false, .. })).count();
        self.alarms.store(unseen as u64, Relaxed);
    }

    /// An event is about to be written.
    pub fn event(&self, event: &Event) {
        self.events.fetch_add(1, Relaxed);
        match &event.body {
            EventBody::AccessGranted(_) => drop(self.granted.fetch_add(1, Relaxed)),
            EventBody::AccessDenied(_) => drop(self.denied.fetch_add(1, Relaxed)),
            EventBody::AlarmRaised { times: 1, .. } => drop(self.alarms.fetch_add(1, Relaxed)),
            EventBody::AlarmAcknowledged { .. }
            | EventBody::AlarmForgotten { .. }
            | EventBody::AlarmEnded { acknowledged: false, .. } => {
                // Of this thread alone, so nothing is lost between the two.
                self.alarms.store(self.alarms.load(Relaxed).saturating_sub(1), Relaxed);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_of_time_is_in_a_bucket_that_is_at_most_a_quarter_too_long() {
        let mut nanos = 1u64;
        while nanos < 1 << 39 {
            for nanos in [nanos - 1, nanos, nanos + 1, nanos + nanos / 3] {
                let at = bucket(nanos);
                assert!(end_of(at) > nanos, "{nanos}");
                assert!(at == 0 || end_of(at - 1) <= nanos, "{nanos}");
                assert!(end_of(at) <= nanos + nanos / 4 + 1, "{nanos}");
            }
            nanos *= 2;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_came_since_the_last_look() {
        let latency = Latency::default();
        latency.record(Duration::from_secs(100));
        let before = latency.look();
        for micros in 1..=1000 {
            latency.record(Duration::from_micros(micros));
        }
        let quantiles = latency.look().since(&before).quantiles();
        assert_eq!(quantiles.count, 1000);
        for (found, true_value) in
            [(quantiles.p50_us, 500), (quantiles.p90_us, 900), (quantiles.p99_us, 990), (quantiles.max_us, 1000)]
        {
            assert!((true_value..=true_value + true_value / 4 + 1).contains(&found), "{found} for {true_value}");
        }
        let since = |look: &Look| latency.look().since(look).quantiles();
        assert_eq!(since(&latency.look()), Quantiles::default());
        assert_eq!(since(&Look::default()).count, 1001);
    }
}

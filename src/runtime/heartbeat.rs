//! Progress of the loops, for systemd's watchdog. Owns a counter for each loop; must never be fed by
//! a timer alone. Invariant: the watchdog is fed only when every loop has gone round since last time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// One loop's counter: the loop beats each time it goes round.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counter(&self) -> Arc<AtomicU64> {
        self.0.clone()
    }
}

impl From<Arc<AtomicU64>> for Heartbeat {
    fn from(counter: Arc<AtomicU64>) -> Heartbeat {
        Heartbeat(counter)
    }
}

/// All loops that must make progress.
#[derive(Debug, Default)]
pub struct Heartbeats {
    loops: Vec<(String, Heartbeat, u64)>,
}

impl Heartbeats {
    pub fn register(&mut self, name: impl Into<String>, heartbeat: Heartbeat) {
        self.loops.push((name.into(), heartbeat, 0));
    }

    /// The loops that have not gone round since the last call.
    pub fn stalled(&mut self) -> Vec<&str> {
        let mut stalled = Vec::new();
        for (name, heartbeat, seen) in &mut self.loops {
            let count = heartbeat.0.load(Ordering::Relaxed);
            if count == *seen {
                stalled.push(name.as_str());
            }
            *seen = count;
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named_until_it_moves_again() {
        let (doors, cloud) = (Heartbeat::default(), Heartbeat::default());
        let mut all = Heartbeats::default();
        all.register("doors", doors.clone());
        all.register("cloud", cloud.clone());
        doors.beat();
        assert_eq!(all.stalled(), ["cloud"]);
        doors.beat();
        cloud.beat();
        assert!(all.stalled().is_empty());
        assert_eq!(all.stalled(), ["doors", "cloud"]);
    }
}

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
    loops: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    heartbeat: Heartbeat,
    seen: u64,
    /// Looks in a row without progress, and how many of them are still no stall.
    still: u32,
    still_max: u32,
}

impl Heartbeats {
    pub fn register(&mut self, name: impl Into<String>, heartbeat: Heartbeat) {
        self.register_slow(name, heartbeat, 0);
    }

    /// For a loop whose single steps may take long: so many looks without progress are no stall.
    pub fn register_slow(&mut self, name: impl Into<String>, heartbeat: Heartbeat, still_max: u32) {
        self.loops.push(Watched { name: name.into(), heartbeat, seen: 0, still: 0, still_max });
    }

    /// The loops that have not gone round since the last call, or for longer than they may.
    pub fn stalled(&mut self) -> Vec<&str> {
        let mut stalled = Vec::new();
        for watched in &mut self.loops {
            let count = watched.heartbeat.0.load(Ordering::Relaxed);
            watched.still = if count == watched.seen { watched.still.saturating_add(1) } else { 0 };
            watched.seen = count;
            if watched.still > watched.still_max {
                stalled.push(watched.name.as_str());
            }
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

    #[test]
    fn a_loop_with_long_steps_is_named_only_when_even_they_should_be_over() {
        let mirror = Heartbeat::default();
        let mut all = Heartbeats::default();
        all.register_slow("mirror", mirror.clone(), 2);
        assert!(all.stalled().is_empty());
        assert!(all.stalled().is_empty());
        assert_eq!(all.stalled(), ["mirror"]);
        mirror.beat();
        assert!(all.stalled().is_empty());
    }
}

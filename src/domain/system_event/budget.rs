//! How often a system event may fire. Owns the count of what was cut off; must never hold a firing back to do it
//! later. Invariant: whatever is wired to what, no system event fires more often than this, and what was cut off
//! is told of.

use std::time::Duration;

use crate::domain::{bucket::Bucket, time::Mono};

/// Firings at once, and how soon another one is earned.
const BURST: u32 = 10;
const EARNED_EVERY: Duration = Duration::from_secs(1);
/// What was cut off is told at once, and then collected for so long.
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Budget {
    bucket: Bucket,
    cut: u64,
    told_until: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    Fire,
    /// Not fired; so many since this was last told.
    Cut {
        told: u64,
    },
    /// Not fired, and told with the next one.
    Silently,
}

impl Budget {
    pub fn new(now: Mono) -> Budget {
        Budget { bucket: Bucket::new(BURST, EARNED_EVERY, now), cut: 0, told_until: Mono::ZERO }
    }

    pub fn spend(&mut self, now: Mono) -> Spent {
        if self.bucket.take(now) {
            return Spent::Fire;
        }
        self.cut += 1;
        match self.told(now) {
            Some(told) => Spent::Cut { told },
            None => Spent::Silently,
        }
    }

    /// What was cut off and is due to be told.
    pub fn told(&mut self, now: Mono) -> Option<u64> {
        if self.cut == 0 || now < self.told_until {
            return None;
        }
        self.told_until = now + TOLD_EVERY;
        Some(std::mem::take(&mut self.cut))
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        (self.cut > 0).then_some(self.told_until)
    }
}

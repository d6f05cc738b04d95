//! What a board does by itself when nobody speaks to it: timers that take an output back, a watchdog that lets
//! go of all of them. Owns how these are written to; must never be relied upon for what the bus can do in time.
//! Invariant: a timer ends no sooner than what it was set for, so that the bus, which ends it to the
//! millisecond, is never forestalled.

use std::time::Duration;

use crate::domain::outputs::Level;

/// A timer of the board for one output: a momentary unlocking then ends even if the daemon is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputTimer {
    pub write: TimerWrite,
    /// Where the time is written to that the output is then energised for, and released after.
    pub energised_for: Option<u16>,
    /// Where the time is written to that the output is then released for, and energised after.
    pub released_for: Option<u16>,
    /// Of one count.
    pub unit: Duration,
    pub max: u16,
}

/// How the time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerWrite {
    /// FC 5, with the time in place of the coil's value.
    Coil,
    /// FC 6.
    Register,
}

impl OutputTimer {
    pub fn address(&self, level: Level) -> Option<u16> {
        match level {
            Level::Energised => self.energised_for,
            Level::Released => self.released_for,
        }
    }

    /// What to write so that the level lasts for this long, or as long as the timer can. One count more than
    /// that takes, for the board has its own idea of a second.
    pub fn count(&self, time: Duration) -> u16 {
        let counts = time.as_nanos().div_ceil(self.unit.as_nanos().max(1)) + 1;
        u16::try_from(counts).unwrap_or(u16::MAX).min(self.max)
    }

    pub fn lasts(&self, count: u16) -> Duration {
        self.unit * u32::from(count)
    }

    pub fn longest(&self) -> Duration {
        self.lasts(self.max)
    }
}

/// A communication watchdog: without a request for `timeout` the board puts its outputs into their safe state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// Written in this order whenever the board comes, before any output.
    pub arm: Vec<GuardWrite>,
    /// Written again and again; without it any request feeds.
    pub feed: Option<GuardWrite>,
    /// Of one count of the timeout.
    pub unit: Duration,
    pub timeout_min: Duration,
    pub timeout_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardWrite {
    pub address: GuardAddress,
    pub value: GuardValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAddress {
    /// FC 5; any value but zero is on.
    Coil(u16),
    /// FC 6.
    HoldingRegister(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardValue {
    Fixed(u16),
    /// The timeout, in counts.
    Timeout,
    /// Another one each time.
    Alternating,
}

impl Watchdog {
    pub fn count(&self, timeout: Duration) -> u16 {
        let counts = timeout.as_nanos() / self.unit.as_nanos().max(1);
        u16::try_from(counts).unwrap_or(u16::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_lasts_at_least_as_long_as_it_was_set_for() {
        let timer = OutputTimer {
            write: TimerWrite::Coil,
            energised_for: Some(0x200),
            released_for: None,
            unit: Duration::from_millis(100),
            max: 0x7fff,
        };
        for (millis, count) in [(0, 1), (1, 2), (100, 2), (101, 3), (4000, 41), (540_000, 5401), (u64::MAX, 0x7fff)] {
            assert_eq!(timer.count(Duration::from_millis(millis)), count, "{millis}");
        }
        assert!(timer.lasts(timer.count(Duration::from_millis(4321))) > Duration::from_millis(4321));
        assert_eq!((timer.address(Level::Energised), timer.address(Level::Released)), (Some(0x200), None));
    }
}

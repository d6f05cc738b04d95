//! How long to wait before the next attempt to connect: doubling, with jitter, so that a thousand
//! nodes do not come back in one instant when their broker does.

use std::time::Duration;

use crate::domain::time::Mono;

/// A connection that held so long starts the doubling anew.
const STABLE_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    connected_at: Option<Mono>,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max: max.max(min), failures: 0, connected_at: None }
    }

    pub fn connected(&mut self, now: Mono) {
        self.connected_at = Some(now);
    }

    /// The attempt failed or the connection ended. Waits between half and all of the doubled time;
    /// `random` is any number.
    pub fn next_delay(&mut self, now: Mono, random: u64) -> Duration {
        if self.connected_at.take().is_some_and(|at| now.since(at) >= STABLE_AFTER) {
            self.failures = 0;
        }
        let full = self.min.saturating_mul(1u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        let share = (random >> 32) as u32;
        half + Duration::from_nanos(
            u64::try_from((full - half).as_nanos() * u128::from(share) / u128::from(u32::MAX)).unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_jitter_stays_within_the_upper_half() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(60));
        for random in [0, u64::MAX / 2, u64::MAX] {
            let mut backoff = Backoff::new(min, max);
            for n in 0..40 {
                let full = min.saturating_mul(1 << n.min(20)).min(max);
                let delay = backoff.next_delay(Mono::ZERO, random);
                assert!(delay >= full / 2 && delay <= full, "{n}: {delay:?} of {full:?}");
            }
        }
    }

    #[test]
    fn a_connection_that_held_starts_the_delays_anew_and_one_that_did_not_does_not() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        for _ in 0..5 {
            backoff.next_delay(Mono::ZERO, u64::MAX);
        }
        backoff.connected(Mono::ZERO);
        assert!(backoff.next_delay(Mono::from_millis(100), u64::MAX) > Duration::from_secs(10));
        backoff.connected(Mono::ZERO);
        assert_eq!(backoff.next_delay(Mono::from_millis(10_000), u64::MAX), Duration::from_millis(500));
    }
}

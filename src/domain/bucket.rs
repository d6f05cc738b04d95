//! A token bucket. Owns one budget; must never go below zero nor above its capacity.

use std::time::Duration;

use super::time::Mono;

#[derive(Clone, Debug)]
pub struct Bucket {
    capacity: u32,
    /// One token comes back in this time.
    refill_every: Duration,
    tokens: u32,
    /// Up to when refills have been counted.
    counted: Mono,
}

impl Bucket {
    /// Full. `refill_every` must not be zero.
    pub fn new(capacity: u32, refill_every: Duration, now: Mono) -> Bucket {
        Bucket { capacity, refill_every: refill_every.max(Duration::from_nanos(1)), tokens: capacity, counted: now }
    }

    #[must_use]
    pub fn take(&mut self, now: Mono) -> bool {
        self.take_for(now, 1)
    }

    /// For what costs as much as `cost`: it goes as long as there is one left, which may be less.
    #[must_use]
    pub fn take_for(&mut self, now: Mono, cost: u32) -> bool {
        self.refill(now);
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(cost);
        taken
    }

    /// Gives back what was not deserved to be taken.
    pub fn refund(&mut self, cost: u32) {
        self.tokens = self.capacity.min(self.tokens.saturating_add(cost));
    }

    fn refill(&mut self, now: Mono) {
        let every = self.refill_every.as_nanos();
        let elapsed = now.since(self.counted).as_nanos();
        let due = elapsed / every;
        if due == 0 {
            return;
        }
        self.tokens = u32::try_from(due).unwrap_or(u32::MAX).saturating_add(self.tokens).min(self.capacity);
        let rest = u64::try_from(elapsed % every).unwrap_or(0);
        self.counted = Mono::from_nanos(now.as_nanos().saturating_sub(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_capacity_at_once_and_then_what_time_brings_back() {
        let mut bucket = Bucket::new(3, Duration::from_millis(10), Mono::ZERO);
        let taken = |bucket: &mut Bucket, at_ms| (0..10).filter(|_| bucket.take(Mono::from_millis(at_ms))).count();
        assert_eq!(taken(&mut bucket, 0), 3);
        assert_eq!(taken(&mut bucket, 25), 2);
        assert_eq!(taken(&mut bucket, 30), 1, "the half token of before counts");
        assert_eq!(taken(&mut bucket, 1_000_000), 3, "no more than the capacity");
    }

    #[test]
    fn what_costs_more_leaves_less() {
        let mut bucket = Bucket::new(20, Duration::from_millis(10), Mono::ZERO);
        assert!(bucket.take_for(Mono::ZERO, 16));
        assert!(bucket.take_for(Mono::ZERO, 16), "four are left, and that is enough to go");
        assert!(!bucket.take(Mono::ZERO));
        assert!(bucket.take(Mono::from_millis(10)));
    }

    #[test]
    fn a_refund_never_lifts_a_bucket_above_its_capacity() {
        let mut bucket = Bucket::new(1, Duration::from_secs(1), Mono::ZERO);
        bucket.refund(5);
        assert!(bucket.take(Mono::ZERO));
        assert!(!bucket.take(Mono::ZERO));
        bucket.refund(1);
        assert!(bucket.take(Mono::ZERO));
    }
}

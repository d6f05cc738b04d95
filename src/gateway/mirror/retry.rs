//! When a request is made again. Owns the back-off; must never read a clock or draw a number.
//! Invariant: the delay doubles up to its bound and is spread by the node's seed, so that the nodes of
//! a cloud that returns do not all ask at once.

use std::time::Duration;

use crate::domain::time::Mono;

#[derive(Debug)]
pub struct Retry {
    due: Option<Mono>,
    attempt: u32,
    first: Duration,
    most: Duration,
    seed: u64,
}

impl Retry {
    pub fn new(first: Duration, most: Duration, seed: u64) -> Retry {
        Retry { due: None, attempt: 0, first, most, seed }
    }

    pub fn due(&self) -> Option<Mono> {
        self.due
    }

    pub fn is_due(&self, now: Mono) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// How often it was armed since the last success.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// After an attempt: the next one is due once the delay is over.
    pub fn arm(&mut self, now: Mono) {
        let delay = self.first.saturating_mul(1 << self.attempt.min(16)).min(self.most);
        self.attempt = self.attempt.saturating_add(1);
        // Three to five quarters.
        let spread = mixed(self.seed ^ u64::from(self.attempt)) % 512;
        self.due = Some(now + delay.saturating_mul(768 + spread as u32) / 1024);
    }

    /// There was progress: the next delay is the first again.
    pub fn reset(&mut self) {
        self.attempt = 0;
        self.due = None;
    }
}

/// SplitMix64's finaliser.
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_starts_anew_after_success() {
        let mut retry = Retry::new(Duration::from_secs(2), Duration::from_secs(120), 7);
        let mut delays = Vec::new();
        for _ in 0..40 {
            retry.arm(Mono::ZERO);
            delays.push(retry.due().unwrap().since(Mono::ZERO).as_millis());
        }
        let within = |delay: u128, base: u128| (base * 3 / 4..=base * 5 / 4).contains(&delay);
        for (attempt, delay) in delays.iter().enumerate() {
            assert!(within(*delay, (2_000u128 << attempt.min(10)).min(120_000)), "{attempt}: {delay}");
        }
        retry.reset();
        assert_eq!(retry.due(), None);
        retry.arm(Mono::ZERO);
        assert!(within(retry.due().unwrap().since(Mono::ZERO).as_millis(), 2_000));
    }
}

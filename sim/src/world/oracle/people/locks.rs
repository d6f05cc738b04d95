//! Wrong PINs in a row. Owns the count of each owner; must never see a PIN. Invariant: a lock-out that has begun lasts
//! its whole time, through restarts; where the clock cannot tell what is left of it, it begins anew.

use std::{collections::BTreeMap, time::Duration};

use latchd::domain::{
    kept::{Kept, PinOwner},
    record::DoorPolicy,
    time::{ClockTrust, Mono, Now},
};

#[derive(Default)]
pub struct PinLocks(BTreeMap<PinOwner, (u32, Option<Mono>)>);

impl PinLocks {
    pub fn restored<'a>(now: Now, kept: impl Iterator<Item = &'a Kept>) -> PinLocks {
        let owners = kept.filter_map(|kept| {
            let Kept::WrongPins { of, wrong, locked } = kept else { return None };
            let until = locked.as_ref().map(|lock| {
                let whole = Duration::from_secs(u64::from(lock.seconds));
                let known = lock.clock == ClockTrust::Trusted && now.trust == ClockTrust::Trusted;
                now.mono + if known { lock.until.since(now.wall).min(whole) } else { whole }
            });
            Some((of.clone(), (*wrong, until)))
        });
        PinLocks(owners.collect())
    }

    pub fn is_locked(&self, of: &PinOwner, now: Mono) -> bool {
        matches!(self.0.get(of), Some((_, Some(until))) if now < *until)
    }

    pub fn right(&mut self, of: &PinOwner) {
        self.0.remove(of);
    }

    /// Whether no more are taken from here on.
    pub fn wrong(&mut self, of: PinOwner, now: Mono, policy: &DoorPolicy) -> bool {
        let before = match self.0.get(&of) {
            Some((_, Some(until))) if *until <= now => 0,
            Some((count, _)) => *count,
            None => 0,
        };
        let locks = before + 1 >= policy.pin_tries;
        let until = locks.then(|| now + Duration::from_secs(u64::from(policy.pin_lockout_s)));
        self.0.insert(of, (before + 1, until));
        locks
    }
}

//! Wrong PINs: how many in a row, and for how long none is taken after too many. Owns the count and the
//! lock-out; must never see a PIN. Invariant: a lock-out lasts its whole time whatever the clock does and
//! through a restart, but never longer than it was to last.
//!
//! ```text
//!   0 --wrong--> 1 --wrong--> … --wrong, the last that is allowed--> locked out --its time is over--> 0
//!   ^ <---------- right --------+
//! ```
//!
//! Within a run it counts by the time that never steps. What is left after a restart is told by the wall, if
//! that was and is trusted; else it begins anew.

use std::{collections::BTreeMap, time::Duration};

use super::{
    kept::{Kept, KeptKey, PinLock, PinOwner},
    time::{ClockTrust, Mono, Now},
};

/// People, readers and cards that are remembered; the first that is not locked out makes room.
pub const OWNERS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct PinLocks {
    owners: BTreeMap<PinOwner, Tries>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tries {
    wrong: u32,
    locked_until: Option<Mono>,
}

/// What one wrong PIN led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    pub count: u32,
    /// None is taken from here on.
    pub locked: bool,
    pub kept: Kept,
    /// Whoever had to make room.
    pub unkept: Option<KeptKey>,
}

impl PinLocks {
    pub fn restore(&mut self, kept: &[Kept], now: Now) {
        for kept in kept {
            let Kept::WrongPins { of, wrong, locked } = kept else { continue };
            let locked_until = locked.as_ref().map(|lock| {
                let whole = Duration::from_secs(lock.seconds.into());
                let trusted = lock.clock == ClockTrust::Trusted && now.trust == ClockTrust::Trusted;
                now.mono + if trusted { lock.until.since(now.wall).min(whole) } else { whole }
            });
            self.owners.insert(of.clone(), Tries { wrong: *wrong, locked_until });
        }
    }

    pub fn is_locked(&self, of: &PinOwner, now: Mono) -> bool {
        self.owners.get(of).and_then(|tries| tries.locked_until).is_some_and(|until| now < until)
    }

    /// A wrong PIN, of `allowed` in a row; after the last of them none is taken for so long.
    pub fn wrong(&mut self, of: PinOwner, now: Now, allowed: u32, lockout_s: u32) -> Wrong {
        let over = |tries: &Tries| tries.locked_until.is_some_and(|until| until <= now.mono);
        let before = self.owners.remove(&of).filter(|tries| !over(tries));
        let unkept = if before.is_none() { self.make_room() } else { None };
        let count = before.map_or(0, |tries| tries.wrong).saturating_add(1);
        let lasts = Duration::from_secs(lockout_s.into());
        let locked = count >= allowed;
        let tries = Tries { wrong: count, locked_until: locked.then_some(now.mono + lasts) };
        self.owners.insert(of.clone(), tries);
        let lock = PinLock { until: now.wall + lasts, clock: now.trust, seconds: lockout_s };
        Wrong { count, locked, kept: Kept::WrongPins { of, wrong: count, locked: locked.then_some(lock) }, unkept }
    }

    fn make_room(&mut self) -> Option<KeptKey> {
        if self.owners.len() < OWNERS_MAX {
            return None;
        }
        let free = self.owners.iter().find(|(_, tries)| tries.locked_until.is_none());
        let leaves = free.or(self.owners.first_key_value()).map(|(of, _)| of.clone())?;
        self.owners.remove(&leaves);
        Some(KeptKey::wrong_pins(&leaves))
    }

    /// The right PIN: what was wrong before is forgotten.
    pub fn right(&mut self, of: &PinOwner) -> Option<KeptKey> {
        self.owners.remove(of).map(|_| KeptKey::wrong_pins(of))
    }

    /// Forgets the lock-outs that are over.
    pub fn advance(&mut self, now: Mono) -> Vec<KeptKey> {
        let mut over = Vec::new();
        self.owners.retain(|of, tries| {
            let ended = tries.locked_until.is_some_and(|until| until <= now);
            over.extend(ended.then(|| KeptKey::wrong_pins(of)));
            !ended
        });
        over
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.owners.values().filter_map(|tries| tries.locked_until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ids::Id, time::Wall};

    const TRIES: u32 = 3;
    const LOCKOUT_S: u32 = 300;

    fn ada() -> PinOwner {
        PinOwner::Person(Id::new("ada").unwrap())
    }

    fn at(seconds: u64, trust: ClockTrust) -> Now {
        let wall = Wall::from_millis(1_790_000_000_000 + i64::try_from(seconds).unwrap() * 1000);
        Now { mono: Mono::from_millis(seconds * 1000), wall, trust }
    }

    fn wrong(locks: &mut PinLocks, seconds: u64) -> Wrong {
        locks.wrong(ada(), at(seconds, ClockTrust::Trusted), TRIES, LOCKOUT_S)
    }

    fn locked() -> (PinLocks, Kept) {
        let mut locks = PinLocks::default();
        let last = (0..3).map(|second| wrong(&mut locks, second)).last().unwrap();
        assert_eq!((last.count, last.locked), (3, true));
        (locks, last.kept)
    }

    #[test]
    fn after_the_last_wrong_pin_in_a_row_none_is_taken_for_its_time() {
        let (mut locks, _) = locked();
        assert!(locks.is_locked(&ada(), Mono::from_millis(301_999)));
        assert!(!locks.is_locked(&ada(), Mono::from_millis(302_000)));
        assert!(!locks.is_locked(&PinOwner::Reader(Id::new("ada").unwrap()), Mono::ZERO));
        assert_eq!(locks.next_deadline(), Some(Mono::from_millis(302_000)));
        assert_eq!(wrong(&mut locks, 302).count, 1, "the count begins anew");
    }

    #[test]
    fn the_right_pin_forgets_the_wrong_ones() {
        let mut locks = PinLocks::default();
        wrong(&mut locks, 0);
        wrong(&mut locks, 1);
        assert_eq!(locks.right(&ada()), Some(KeptKey::wrong_pins(&ada())));
        assert_eq!(locks.right(&ada()), None);
        assert!(!wrong(&mut locks, 2).locked);
    }

    #[test]
    fn the_count_goes_on_after_a_restart() {
        let mut locks = PinLocks::default();
        wrong(&mut locks, 0);
        let kept = wrong(&mut locks, 1).kept;
        let mut locks = PinLocks::default();
        locks.restore(&[kept], at(50, ClockTrust::Untrusted));
        assert!(!locks.is_locked(&ada(), Mono::from_millis(50_000)));
        assert!(wrong(&mut locks, 51).locked);
    }

    #[test]
    fn what_is_left_of_a_lock_out_is_told_by_the_wall_or_begins_anew_and_is_never_longer() {
        let (_, kept) = locked();
        let left = |now: Now| {
            let mut locks = PinLocks::default();
            locks.restore(std::slice::from_ref(&kept), now);
            locks.next_deadline().unwrap().since(now.mono).as_secs()
        };
        assert_eq!(left(at(102, ClockTrust::Trusted)), 200);
        assert_eq!(left(at(500, ClockTrust::Trusted)), 0);
        assert_eq!(left(at(500, ClockTrust::Untrusted)), 300);
        let put_back = Now { wall: Wall::EPOCH, ..at(102, ClockTrust::Trusted) };
        assert_eq!(left(put_back), 300);
    }

    #[test]
    fn what_is_over_is_forgotten_also_on_the_disk() {
        let (mut locks, _) = locked();
        assert_eq!(locks.advance(Mono::from_millis(301_999)), []);
        assert_eq!(locks.advance(Mono::from_millis(302_000)), [KeptKey::wrong_pins(&ada())]);
        assert_eq!((locks.next_deadline(), locks.owners.len()), (None, 0));
    }

    #[test]
    fn guessing_with_many_cards_fills_no_memory_and_frees_nobody_who_is_locked_out() {
        let (mut locks, _) = locked();
        let mut unkept = 0;
        for n in 0..OWNERS_MAX + 10 {
            let of = PinOwner::Person(Id::new(&format!("p-{n}")).unwrap());
            unkept += usize::from(locks.wrong(of, at(10, ClockTrust::Trusted), TRIES, LOCKOUT_S).unkept.is_some());
        }
        assert_eq!((locks.owners.len(), unkept), (OWNERS_MAX, 11));
        assert!(locks.is_locked(&ada(), Mono::from_millis(10_000)));
    }
}

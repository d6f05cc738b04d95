//! The same credential again and again at one reader. Owns the last grants of each reader; must never hold more
//! than the longest run that a trigger can ask for. Invariant: a run ends with another credential, or with a gap
//! that is too long; a run of three was a run of two on its way.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::{ids::Id, time::Mono};

/// One more than the longest run that is asked for, so that a longer one is not taken for it.
const KEPT: usize = 5;

/// By reader: as many as the site has.
#[derive(Debug, Default)]
pub struct Swipes(BTreeMap<Id, (Id, VecDeque<Mono>)>);

/// A grant, and those of the same credential before it at the same reader, the newest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Swipe(Vec<Mono>);

impl Swipes {
    pub fn granted(&mut self, now: Mono, reader: &Id, credential: &Id) -> Swipe {
        let (last, times) = self.0.entry(reader.clone()).or_insert_with(|| (credential.clone(), VecDeque::new()));
        if last != credential {
            *last = credential.clone();
            times.clear();
        }
        times.push_front(now);
        times.truncate(KEPT);
        Swipe(times.iter().copied().collect())
    }
}

impl Swipe {
    /// How many in a row, each at most so long after the one before.
    pub fn times(&self, within_ms: u32) -> usize {
        let close = |pair: &&[Mono]| match pair {
            [later, earlier] => later.since(*earlier).as_millis() <= u128::from(within_ms),
            _ => false,
        };
        1 + self.0.windows(2).take_while(close).count()
    }
}

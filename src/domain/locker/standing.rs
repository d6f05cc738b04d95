//! Whether a contract counts at an instant, and which contracts exclude each other. Owns the reading of `from`,
//! `until` and `sharing`; must never look at who asks. Invariant: without a trusted clock a contract with a date
//! does not count.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{
    event::DenialReason,
    ids::Id,
    record::{LockerContract, Sharing},
    time::{ClockTrust, Now, Wall},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    InForce,
    NotYet,
    /// Its key may still be brought back.
    Over,
    /// It has dates, and the clock is not trusted.
    Doubtful,
}

impl Standing {
    pub fn denial(self) -> Option<DenialReason> {
        match self {
            Standing::InForce => None,
            Standing::NotYet => Some(DenialReason::NotYetActive),
            Standing::Over => Some(DenialReason::Expired),
            Standing::Doubtful => Some(DenialReason::ClockUntrusted),
        }
    }
}

pub fn standing(contract: &LockerContract, now: Now) -> Standing {
    match now.trust {
        ClockTrust::Untrusted if contract.from.is_some() || contract.until.is_some() => Standing::Doubtful,
        ClockTrust::Untrusted => Standing::InForce,
        ClockTrust::Trusted if contract.from.is_some_and(|from| now.wall < from) => Standing::NotYet,
        ClockTrust::Trusted if contract.until.is_some_and(|until| until <= now.wall) => Standing::Over,
        ClockTrust::Trusted => Standing::InForce,
    }
}

/// Contracts that cannot be kept beside one that began earlier in the same compartment, because one of the two is
/// exclusive: each with the one in its way. What is refused is in nobody's way.
pub fn excluded(contracts: &BTreeMap<Id, LockerContract>) -> BTreeMap<&Id, &Id> {
    let mut by_locker: BTreeMap<&Id, Vec<(&Id, &LockerContract)>> = BTreeMap::new();
    for (id, contract) in contracts {
        by_locker.entry(&contract.locker).or_default().push((id, contract));
    }
    let mut excluded = BTreeMap::new();
    let end = |contract: &LockerContract| contract.until.unwrap_or(Wall::MAX);
    for mut of_it in by_locker.into_values() {
        of_it.sort_by_key(|(id, contract)| (contract.from, *id));
        // Of those before that are kept: the one that ends last, of all and of the exclusive ones.
        let (mut last, mut last_exclusive) = (None::<(&Id, Wall)>, None::<(&Id, Wall)>);
        for (id, contract) in of_it {
            let from = contract.from.unwrap_or(Wall::EPOCH);
            let exclusive = contract.sharing == Sharing::Exclusive;
            let before = if exclusive { last } else { last_exclusive };
            if let Some((other, _)) = before.filter(|(_, until)| from < *until) {
                excluded.insert(id, other);
                continue;
            }
            let longer = |known: Option<(&Id, Wall)>| known.is_none_or(|(_, until)| until < end(contract));
            if longer(last) {
                last = Some((id, end(contract)));
            }
            if exclusive && longer(last_exclusive) {
                last_exclusive = Some((id, end(contract)));
            }
        }
    }
    excluded
}

//! The fallbacks of the doors: told when they are entered and left. Owns what was told, and the count of the
//! time without a beat; must never decide about a card. Invariant: a fallback that was entered is told once,
//! also across restarts, and left once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::policies::{Policies, Policy};
use crate::{
    domain::{
        cloud::CloudState,
        event::{EventBody, Fallback},
        fallback::{Beatless, Regime},
        ids::Id,
        kept::{Kept, KeptKey},
        time::{Mono, Now},
    },
    gateway::controller::machine::{Deed, Deeds},
};

#[derive(Debug)]
pub struct Aloneness {
    beatless: Beatless,
    /// By policy, `None` for the defaults: what was entered, and the doors that it was told of.
    told: BTreeMap<Option<Id>, (BTreeSet<Fallback>, Vec<Id>)>,
    due: Option<Mono>,
}

impl Aloneness {
    pub fn new(kept: &[Kept], now: Mono) -> Aloneness {
        let told = kept.iter().filter_map(|kept| match kept {
            Kept::Fallbacks { policy, entered } => {
                Some((policy.clone(), (entered.iter().copied().collect(), Vec::new())))
            }
            _ => None,
        });
        Aloneness { beatless: Beatless::new(kept, now), told: told.collect(), due: None }
    }

    /// What is in force at the doors of a policy.
    pub fn regime(&self, now: Now, cloud: &CloudState, policy: &Policy) -> Regime {
        Regime::of(&policy.body, &self.beatless.alone(now, cloud))
    }

    /// Something may have changed: the time, its trust, the cloud, the policies.
    pub fn review(&mut self, now: Now, cloud: &CloudState, policies: &Policies, deeds: &mut Deeds) {
        let mut gone: BTreeSet<Option<Id>> = self.told.keys().cloned().collect();
        for policy in policies.all() {
            gone.remove(&policy.id);
            let entered = self.regime(now, cloud, policy).fallbacks().into_iter().collect();
            self.tell(policy.id.clone(), entered, policy.doors.clone(), deeds);
        }
        for policy in gone {
            let doors = self.told.get(&policy).map(|(_, doors)| doors.clone()).unwrap_or_default();
            self.tell(policy, BTreeSet::new(), doors, deeds);
        }
        let limits = policies.all().iter().filter_map(|policy| policy.body.emergency_after_s);
        match self.beatless.keep(now.mono, cloud, limits.map(|s| Duration::from_secs(s.into()))) {
            Some(Ok(kept)) => deeds.push(Deed::Keep(kept)),
            Some(Err(key)) => deeds.push(Deed::Unkeep(key)),
            None => {}
        }
        let alone = self.beatless.alone(now, cloud);
        let changes = policies.all().iter().filter_map(|policy| Regime::next_change(&policy.body, &alone, now.mono));
        self.due = changes.chain([self.beatless.next_keep(now.mono, cloud)]).min();
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.due
    }

    fn tell(&mut self, policy: Option<Id>, entered: BTreeSet<Fallback>, doors: Vec<Id>, deeds: &mut Deeds) {
        let (before, _) = self.told.remove(&policy).unwrap_or_default();
        for fallback in before.difference(&entered).copied() {
            let (policy, doors) = (policy.clone(), doors.clone());
            deeds.event(EventBody::FallbackLeft { policy, doors, fallback });
        }
        for fallback in entered.difference(&before).copied() {
            let (policy, doors) = (policy.clone(), doors.clone());
            deeds.event(EventBody::FallbackEntered { policy, doors, fallback });
        }
        if before != entered && entered.is_empty() {
            deeds.push(Deed::Unkeep(KeptKey::fallbacks(policy.as_ref())));
        } else if before != entered {
            let list = entered.iter().copied().collect();
            deeds.push(Deed::Keep(Kept::Fallbacks { policy: policy.clone(), entered: list }));
        }
        if !entered.is_empty() {
            self.told.insert(policy, (entered, doors));
        }
    }
}

//! Mistakes with the permission set and with the emergency cards beside it. Owns how a set is bent on its way from the
//! mirror; must never alter the mirror's own. Invariant: a bent set keeps its version.

use std::sync::Arc;

use latchd::{
    domain::{
        permission::Permissions,
        record::{
            AccessRule, Area, Authentication, Credential, DoorPolicy, Effect, EmergencyCard, Record, SystemAction,
            SystemEvent,
        },
    },
    gateway::mirror::{Applied, MirrorOutput},
};

use super::{Mistake, Shim};
use crate::world::{oracle::Cards, set::Sets, site::Site};

/// A record as the doors are made to read it.
fn bent(mistake: Mistake, record: Record) -> Record {
    let rule = |body: &AccessRule, authentication| AccessRule { authentication: Some(authentication), ..body.clone() };
    match (mistake, record) {
        (Mistake::LimitIgnored, Record::Area(body)) => Record::Area(Area { occupancy_max: None, ..body }),
        // Elsewhere another rule may do without.
        (Mistake::PinIgnored, Record::AccessRule(body))
            if body.authentication == Some(Authentication::CardAndPin)
                && body.doors.iter().any(|door| door.as_str() == "back") =>
        {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinIgnoredInCab, Record::AccessRule(body))
            if body.authentication == Some(Authentication::CardAndPin) && !body.floors.is_empty() =>
        {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinIgnoredAtCabinet, Record::AccessRule(body))
            if body.authentication == Some(Authentication::CardAndPin)
                && body.doors.iter().any(|door| door.as_str().starts_with("key-")) =>
        {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinLockIgnoredIndoors, Record::DoorPolicy(body))
            if body.doors.iter().any(|door| door.as_str() == "lift") =>
        {
            Record::DoorPolicy(DoorPolicy { pin_tries: u32::MAX, ..body })
        }
        (Mistake::PairIgnored, Record::AccessRule(body)) if body.authentication == Some(Authentication::TwoPerson) => {
            Record::AccessRule(rule(&body, Authentication::Card))
        }
        (Mistake::PinLockIgnored, Record::DoorPolicy(body)) => {
            Record::DoorPolicy(DoorPolicy { pin_tries: u32::MAX, ..body })
        }
        (Mistake::DuressSilenced, Record::Credential(body)) => Record::Credential(Credential { duress: false, ..body }),
        (Mistake::AuthorIgnored, Record::SystemEvent(body)) => {
            Record::SystemEvent(SystemEvent { author: None, ..body })
        }
        (Mistake::ActsForgotten, Record::SystemEvent(body)) => {
            let actions = vec![SystemAction::Notify { text: None }];
            Record::SystemEvent(SystemEvent { actions, ..body })
        }
        (Mistake::EveryFloor, Record::AccessRule(mut body)) => {
            body.floors.iter_mut().for_each(|grant| grant.floors = None);
            Record::AccessRule(body)
        }
        (Mistake::EmergencyPinIgnored, Record::EmergencyCard(body)) => {
            Record::EmergencyCard(EmergencyCard { pin: None, ..body })
        }
        (Mistake::StalenessIgnored, Record::DoorPolicy(body)) => {
            Record::DoorPolicy(DoorPolicy { stale_after_s: None, ..body })
        }
        (_, record) => record,
    }
}

impl Shim {
    /// From the mirror to the doors: the new version, with the rights of the one before, or without some records.
    pub fn permissions(
        &self,
        permissions: Arc<Permissions>,
        revision: u64,
        site: &Site,
        sets: &Sets,
    ) -> Arc<Permissions> {
        let version = *permissions.version();
        let all = |_: &Record| false;
        let handed = match self.mistake {
            Some(Mistake::RevocationNotApplied) if sets.is_revocation(version.generation) => {
                let before = sets.in_force(version.generation.saturating_sub(1), revision);
                before.map(|generation| generation.without(all))
            }
            Some(Mistake::EditsNeverAbsorbed) => sets.never_absorbed(version.generation),
            Some(Mistake::EditsIgnored) => sets.at(version.generation).map(|generation| generation.without(all)),
            Some(mistake) => {
                let ignored = |record: &Record| match record {
                    Record::AutoOpen(body) => mistake == Mistake::AutoOpenUndenied && body.effect == Effect::Deny,
                    Record::SystemEvent(_) => mistake == Mistake::SystemEventIgnored,
                    Record::Interlock(_) => mistake == Mistake::InterlockIgnored,
                    _ => false,
                };
                sets.in_force(version.generation, revision)
                    .map(|generation| generation.without(ignored).map(|record| bent(mistake, record)))
            }
            None => None,
        };
        handed.and_then(|generation| generation.compile(site, version)).map_or(permissions, Arc::new)
    }

    /// From the mirror to the cloud's loop.
    pub fn mirror_output(&self, output: MirrorOutput) -> MirrorOutput {
        match output {
            MirrorOutput::Applied(applied) if self.is(Mistake::ConflictsUntold) => {
                MirrorOutput::Applied(Applied { conflicts: Vec::new(), ..applied })
            }
            output => output,
        }
    }

    /// From the copy outside the mirror to the doors.
    pub fn spare_cards(&self, found: &Cards) -> Cards {
        match self.mistake {
            Some(Mistake::SpareCardsForgotten) => Cards::new(),
            // As an older set had them, which let those without PIN be used once.
            Some(Mistake::SpareCardsOutdated) => {
                let once = |card: &EmergencyCard| match card.pin {
                    None => EmergencyCard { uses_max: Some(1), ..card.clone() },
                    Some(_) => card.clone(),
                };
                found.iter().map(|(id, card)| (id.clone(), once(card))).collect()
            }
            _ => found.clone(),
        }
    }
}

//! The emergency cards of the node: one list and one count for doors, cabs and cabinets. Owns which there are, from
//! the set or, where that is lost, from the copy outside of it, and what is certain of the time; must never say that
//! their time has come (that is each place's policy). Invariant: a use is counted, told and raises its alarm in the
//! step that opens.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Controller, Step,
    machine::{EmergencyUse, Happening},
};
use crate::{
    domain::{
        card_format::CardTokens,
        cloud::{CloudState, Confirmation},
        emergency::{CertainTime, EmergencyCards},
        event::{AlarmSource, DenialReason, EventBody},
        ids::Id,
        kept::{Kept, KeptKey},
        permission::{Permissions, SiteRecords},
        record::{EmergencyCard, Token},
        time::{Mono, Now},
    },
    gateway::step::LedgerWrite,
};

#[derive(Debug)]
pub struct Emergencies {
    cards: EmergencyCards,
    certain: CertainTime,
    /// What the list was made of, and whether there was a permission set at all.
    planned: Option<(Arc<SiteRecords>, bool)>,
}

impl Emergencies {
    pub fn new(now: Now, cloud: &CloudState, kept: &[Kept]) -> Emergencies {
        let past = match cloud.last_beat {
            Some(Confirmation::Before(wall)) => Some(wall),
            Some(Confirmation::ThisRun(_)) | None => None,
        };
        let mut cards = EmergencyCards::default();
        cards.restore(kept);
        let mut new = Emergencies { cards, certain: CertainTime::new(now.mono, past), planned: None };
        new.observe(now);
        new
    }

    pub fn observe(&mut self, now: Now) {
        self.certain.observe(now);
    }

    /// The permission set is new, or gone; what need not be kept any more.
    pub fn plan(&mut self, permissions: &Permissions, spare: &BTreeMap<Id, EmergencyCard>) -> Vec<KeptKey> {
        let (site, present) = (permissions.site(), permissions.is_present());
        if self.planned.as_ref().is_some_and(|(known, was)| Arc::ptr_eq(known, site) && *was == present) {
            return Vec::new();
        }
        self.planned = Some((site.clone(), present));
        if present {
            return self.cards.replace(&site.emergency_cards);
        }
        self.cards.stand_in(spare);
        Vec::new()
    }

    /// How often each was used on this node.
    pub fn uses(&self) -> &BTreeMap<Id, u32> {
        self.cards.counted()
    }

    /// The emergency card that was presented.
    pub fn find(&self, presented: &CardTokens) -> Option<&Id> {
        self.cards.find(presented)
    }

    /// Whether it opens this door or compartment, or enables floors of this group, its PIN apart; `time_has_come`:
    /// emergency cards are accepted here and now.
    pub fn judge(&self, id: &Id, place: &Id, time_has_come: bool, now: Now) -> Result<&EmergencyCard, DenialReason> {
        self.cards.judge(id, place, time_has_come, now, &self.certain)
    }
}

/// A card without a PIN has none that is right.
pub fn pin_is(record: &EmergencyCard, typed: Option<&Token>) -> bool {
    record.pin.as_ref().zip(typed).is_some_and(|(pin, typed)| pin.matches(typed))
}

impl Controller {
    /// How often each emergency card was used, for whoever explains what would become of one.
    pub fn emergency_uses(&self) -> &BTreeMap<Id, u32> {
        self.emergencies.uses()
    }

    pub(super) fn plan_emergencies(&mut self, step: &mut Step) {
        let gone = self.emergencies.plan(&self.permissions, &self.spare_cards);
        step.emergency_uses |= !gone.is_empty();
        step.commit.writes.extend(gone.into_iter().map(LedgerWrite::Unkept));
    }

    pub(super) fn emergency_used(&mut self, now: Now, used: EmergencyUse, step: &mut Step) {
        let EmergencyUse { emergency_card, door, floor_group, reader } = used;
        let uses_max = self.emergencies.cards.get(&emergency_card).and_then(|record| record.uses_max);
        let (uses, kept) = self.emergencies.cards.used(&emergency_card);
        step.commit.writes.push(LedgerWrite::Kept(kept));
        step.emergency_uses = true;
        let source = AlarmSource::EmergencyCard {
            emergency_card: emergency_card.clone(),
            door: door.clone(),
            floor_group: floor_group.clone(),
        };
        let told = EventBody::EmergencyUsed { emergency_card, door, floor_group, reader, uses, uses_max };
        self.record(now, told, step);
        self.tell_machines(now, Happening::Alarm(&source, None), step);
    }
}

impl Default for Emergencies {
    fn default() -> Emergencies {
        Emergencies { cards: EmergencyCards::default(), certain: CertainTime::new(Mono::ZERO, None), planned: None }
    }
}

//! Emergency cards at a reader. Owns what such a card lacks and is told; must never ask the permission set, which
//! may be gone. Invariant: what it opens it opens in the step in which its use is counted and told.

use super::{
    Entry,
    here::{At, Here, Refused},
    waiting::{Waiting, Who},
};
use crate::{
    domain::{
        card_format::CardTokens,
        event::{Actor, CardEvidence, DenialReason, Denied, EventBody, Granted},
        ids::Id,
        kept::PinOwner,
        keypad::{Digits, Keypad},
        permission::Floors,
        record::EmergencyCard,
    },
    gateway::controller::{
        emergencies::pin_is,
        machine::{Deed, Deeds, EmergencyUse},
    },
    wire::token::token,
};

impl Entry {
    pub(super) fn emergency_card(
        &mut self,
        here: &Here<'_>,
        id: &Id,
        tokens: CardTokens,
        card: CardEvidence,
        deeds: &mut Deeds,
    ) {
        let needs_pin = match Self::judge_emergency_card(here, id) {
            Ok(record) => record.pin.is_some(),
            Err(reason) => return deeds.event(here.deny_emergency_card(id, reason, card)),
        };
        if !needs_pin {
            return Self::open_by_emergency_card(here, id, card, deeds);
        }
        let lacks = DenialReason::PinRequired;
        if here.view.locks.is_locked(&PinOwner::EmergencyCard(id.clone()), here.now.mono) {
            deeds.event(here.deny_emergency_card(id, DenialReason::PinLockedOut, card));
        } else if self.keypad(here) == Keypad::None {
            deeds.event(here.deny_emergency_card(id, lacks, card));
        } else {
            self.wait(here, Waiting { who: Who::EmergencyCard(id.clone()), tokens, card, lacks }, deeds);
        }
    }

    pub(super) fn emergency_pin(
        &mut self,
        here: &Here<'_>,
        id: &Id,
        digits: &Digits,
        card: CardEvidence,
        deeds: &mut Deeds,
    ) {
        let owner = PinOwner::EmergencyCard(id.clone());
        let typed = digits.text().map(|digits| token(here.view.credential_key, &format!("pin:{id}:{digits}")));
        let answer = match Self::judge_emergency_card(here, id) {
            _ if here.view.locks.is_locked(&owner, here.now.mono) => Err(DenialReason::PinLockedOut),
            Ok(record) if pin_is(record, typed.as_ref()) => Ok(()),
            Ok(_) => Err(DenialReason::WrongPin),
            Err(reason) => Err(reason),
        };
        match answer {
            Ok(()) => {
                deeds.push(Deed::RightPin(owner));
                Self::open_by_emergency_card(here, id, card, deeds);
            }
            Err(reason) => {
                deeds.event(here.deny_emergency_card(id, reason, card));
                if reason == DenialReason::WrongPin {
                    Self::wrong_pin(here, owner, deeds);
                }
            }
        }
    }

    fn judge_emergency_card<'a>(here: &'a Here<'_>, id: &Id) -> Result<&'a EmergencyCard, DenialReason> {
        match here.door_denies() {
            Some(mode) => Err(mode),
            None => here.view.emergencies.judge(id, &here.id, here.regime.emergency_cards, here.now),
        }
    }

    fn open_by_emergency_card(here: &Here<'_>, id: &Id, card: CardEvidence, deeds: &mut Deeds) {
        let emergency_card = id.clone();
        let floors = match here.at {
            At::Door(_) => Floors::NONE,
            At::Cab(cab) => here.all_floors(cab),
        };
        let granted = Granted {
            emergency_card: Some(emergency_card.clone()),
            floors: here.floor_names(floors),
            ..here.granted(Some(card))
        };
        deeds.event(EventBody::AccessGranted(granted));
        let (door, floor_group) = (here.door_id(), here.floor_group());
        if let Some(reader) = here.reader_id() {
            let emergency_card = emergency_card.clone();
            deeds.push(Deed::EmergencyUsed(EmergencyUse { emergency_card, door, floor_group, reader }));
        }
        here.let_in(Actor::EmergencyCard { emergency_card }, false, floors, deeds);
    }
}

impl Here<'_> {
    pub(super) fn deny_emergency_card(&self, id: &Id, reason: DenialReason, card: CardEvidence) -> EventBody {
        let denied = self.denied(Refused::nobody(reason), Some(card));
        EventBody::AccessDenied(Denied { emergency_card: Some(id.clone()), ..denied })
    }
}

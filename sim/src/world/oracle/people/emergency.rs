//! Emergency cards. Owns what one must be told and how often it was used; must never say when their time comes (that
//! is `alone`). Invariant: a use is counted when it opens.

use std::collections::VecDeque;

use latchd::{
    domain::{
        event::DenialReason,
        ids::Id,
        kept::PinOwner,
        permission::Wants,
        record::{EmergencyCard, Record, Token},
    },
    wire::token::token,
};

use super::{
    PeopleWatch, Scene, Violation, Waiting,
    spot::Spot,
    told::{self, Said, Told},
};
use crate::world::set::names::credential_key;

impl PeopleWatch {
    pub fn emergency_card_of(&self, scene: &Scene<'_>, tokens: &[Token]) -> Option<(Id, EmergencyCard)> {
        let Some(generation) = scene.generation else {
            let mut spares = self.spare_cards.iter();
            return spares.find(|(_, card)| tokens.contains(&card.token)).map(|(id, card)| (id.clone(), card.clone()));
        };
        generation.records.iter().find_map(|(id, record)| match record {
            Record::EmergencyCard(body) if tokens.contains(&body.token) => Some((id.clone(), body.clone())),
            _ => None,
        })
    }

    /// What such a card is told, its PIN apart.
    pub(super) fn emergency_answers(
        &self,
        scene: &Scene<'_>,
        at: Spot,
        (id, record): (&Id, &EmergencyCard),
    ) -> Vec<Said> {
        let used_up = record.uses_max.is_some_and(|max| self.uses.get(id).copied().unwrap_or(0) >= max);
        let elsewhere = record.doors.as_ref().is_some_and(|doors| !doors.contains(at.id(scene.site)));
        let reason = if used_up {
            Some(DenialReason::Expired)
        } else if elsewhere {
            Some(DenialReason::NoRule)
        } else if !self.regime(scene, at).emergency_cards {
            Some(DenialReason::NotYetActive)
        } else {
            None
        };
        let floors = if at == Spot::Cab && reason.is_none() { scene.site.lift_place().floors } else { Vec::new() };
        let said = Said { reason, emergency_card: Some(id.clone()), floors, ..Said::default() };
        let with = |mode: Option<DenialReason>| mode.map_or(said.clone(), |reason| said.clone().with(reason));
        self.modes(scene, at).into_iter().map(with).collect()
    }

    pub(super) fn emergency(
        &mut self,
        scene: &Scene<'_>,
        at: (usize, Spot),
        (id, record): (&Id, &EmergencyCard),
        tokens: Vec<Token>,
        told: &mut VecDeque<Told>,
    ) -> Result<(), Violation> {
        let owner = PinOwner::EmergencyCard(id.clone());
        let locked = self.locks.is_locked(&owner, scene.now.mono);
        let mut answers = self.emergency_answers(scene, at.1, (id, record));
        if record.pin.is_some() {
            let asks = answers.iter().any(|said| said.reason.is_none());
            let lacks = if locked { DenialReason::PinLockedOut } else { DenialReason::PinRequired };
            let spoken =
                told.front().is_some_and(|front| answers.iter().any(|said| said.reason.is_some() && front.is(said)));
            if asks && !locked && scene.site.has_keypad(at.0) && !spoken {
                let said = Said { emergency_card: Some(id.clone()), ..Said::default() };
                self.wait(scene, at, Waiting { said: said.clone(), tokens, lacks: Wants::Pin });
                return told::nothing_of(told, scene, &said);
            }
            for said in answers.iter_mut().filter(|said| said.reason.is_none()) {
                *said = said.clone().with(lacks);
            }
        }
        let said = told::take(told, scene, &answers)?;
        self.used(id, &said);
        Ok(())
    }

    pub(super) fn emergency_pin(
        &mut self,
        scene: &Scene<'_>,
        (_, at): (usize, Spot),
        (id, waiting): (&Id, &Waiting),
        typed: &str,
        told: &mut VecDeque<Told>,
    ) -> Result<(), Violation> {
        let owner = PinOwner::EmergencyCard(id.clone());
        if self.locks.is_locked(&owner, scene.now.mono) {
            let locked = [waiting.said.clone().with(DenialReason::PinLockedOut)];
            return told::take(told, scene, &locked).map(|_| ());
        }
        let known = self.emergency_card_of(scene, &waiting.tokens);
        let Some((_, record)) = known.filter(|(known, _)| known == id) else {
            let gone = [waiting.said.clone().with(DenialReason::UnknownCredential)];
            return told::take(told, scene, &gone).map(|_| ());
        };
        let right = record.pin == Some(token(&credential_key(), &format!("pin:{id}:{typed}")));
        let mut answers = self.emergency_answers(scene, at, (id, &record));
        for said in answers.iter_mut().filter(|said| said.reason.is_none() && !right) {
            *said = said.clone().with(DenialReason::WrongPin);
        }
        let said = told::take(told, scene, &answers)?;
        self.used(id, &said);
        self.count(scene, at, owner, &said);
        Ok(())
    }

    pub(super) fn used(&mut self, id: &Id, said: &Said) {
        if said.reason.is_none() {
            *self.uses.entry(id.clone()).or_default() += 1;
        }
    }
}

//! PINs: the one for which a card waited, and those that are credentials by themselves. Owns what each must lead to; must
//! never keep a digit. Invariant: while it is locked out no PIN is taken.

use std::collections::{BTreeSet, VecDeque};

use latchd::{
    domain::{event::DenialReason, ids::Id, kept::PinOwner},
    wire::token::token,
};

use super::{
    Ask, PeopleWatch, Scene, Violation, Waiting,
    answers::policy,
    spot::Spot,
    told::{self, Said, Told},
};
use crate::world::set::names::credential_key;

impl PeopleWatch {
    /// The PIN for which a card waited.
    pub(super) fn pin(
        &mut self,
        scene: &Scene<'_>,
        (reader, at): (usize, Spot),
        waiting: &Waiting,
        typed: &str,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        if let Some(card) = waiting.said.emergency_card.clone() {
            return self.emergency_pin(scene, (reader, at), (&card, waiting), typed, told);
        }
        let Some(person) = waiting.said.person.clone() else { return Ok(()) };
        let owner = PinOwner::Person(person.clone());
        if self.locks.is_locked(&owner, scene.now.mono) {
            let locked = [waiting.said.clone().with(DenialReason::PinLockedOut)];
            return told::take(told, scene, &locked).map(|_| ());
        }
        let answers = if typed.len() <= latchd::domain::keypad::DIGITS_MAX {
            let pin = Some(token(&credential_key(), &format!("pin:{person}:{typed}")));
            self.answers(scene, at, &waiting.tokens, Ask::Card { pin, companion: None })
        } else {
            // No PIN is that long; what lies over the door is told all the same.
            let wrong = |mode: Option<DenialReason>| waiting.said.clone().with(mode.unwrap_or(DenialReason::WrongPin));
            self.modes(scene, at).into_iter().map(wrong).collect()
        };
        let said = told::take(told, scene, &answers)?;
        self.note_duress(&said, duress);
        self.count(scene, at, owner, &said);
        Ok(())
    }

    pub(super) fn count(&mut self, scene: &Scene<'_>, at: Spot, owner: PinOwner, said: &Said) {
        match said.reason {
            None => self.locks.right(&owner),
            Some(DenialReason::WrongPin) => {
                let policy = policy(scene, at);
                self.expected_lockouts += u32::from(self.locks.wrong(owner, scene.now.mono, &policy));
            }
            Some(_) => {}
        }
    }

    /// A PIN that is a credential by itself.
    pub(super) fn pin_alone(
        &mut self,
        scene: &Scene<'_>,
        (reader, at): (usize, Spot),
        typed: &str,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        let owner = PinOwner::Reader(scene.site.readers[reader].id.clone());
        if self.locks.is_locked(&owner, scene.now.mono) {
            return told::take(told, scene, &[Said::nobody(DenialReason::PinLockedOut)]).map(|_| ());
        }
        let tokens = [token(&credential_key(), &format!("pin:{typed}"))];
        let answers = self.answers(scene, at, &tokens, Ask::Card { pin: None, companion: None });
        let locked = |person: &Option<Id>| {
            let of = person.clone().map(PinOwner::Person);
            of.is_some_and(|of| self.locks.is_locked(&of, scene.now.mono))
        };
        let answers: Vec<Said> = answers
            .into_iter()
            .map(|said| match said.reason {
                None if locked(&said.person) => said.with(DenialReason::PinLockedOut),
                Some(DenialReason::UnknownCredential) => said.with(DenialReason::WrongPin),
                _ => said,
            })
            .collect();
        let said = told::take(told, scene, &answers)?;
        self.note_duress(&said, duress);
        self.count(scene, at, owner, &said);
        Ok(())
    }
}

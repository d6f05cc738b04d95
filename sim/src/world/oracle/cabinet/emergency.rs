//! Emergency cards with a PIN, at the cabinet. Owns which one waits, and puts its wrong PINs on the one count that doors,
//! cab and cabinet share; must never say which compartment it is for: whether it may open that one is judged elsewhere.
//! Invariant: such a card opens by its PIN alone, and by none while they are locked out.

use latchd::domain::{
    event::{DenialReason, EventBody},
    ids::Id,
    kept::PinOwner,
    record::{EmergencyCard, Token},
};

use super::{CabinetWatch, DIGITS_MAX, Told};
use crate::world::{
    oracle::{
        Invariant, Violation,
        people::{PeopleWatch, Scene, answers::policy, spot::Spot},
    },
    set::names::hashed,
};

/// What is told of an emergency card at the cabinet: of which, at which compartment, and how it ended.
fn told_of(body: &EventBody) -> Option<(&Id, Option<&Id>, Told)> {
    match body {
        EventBody::AccessGranted(granted) if granted.contract.is_none() => {
            Some((granted.emergency_card.as_ref()?, granted.door.as_ref(), None))
        }
        EventBody::AccessDenied(denied) if denied.cabinet.is_some() => {
            Some((denied.emergency_card.as_ref()?, denied.door.as_ref(), Some(denied.reason)))
        }
        _ => None,
    }
}

impl CabinetWatch {
    /// A card was presented: whether it is one that will be asked for a PIN.
    pub(super) fn emergency_shown<'e>(
        &mut self,
        scene: &Scene<'_>,
        tokens: Vec<Token>,
        events: impl Iterator<Item = &'e EventBody>,
        people: &PeopleWatch,
    ) -> Result<(), Violation> {
        let Some((card, record)) = people.emergency_card_of(scene, &tokens).filter(|(_, record)| record.pin.is_some())
        else {
            self.emergency = None;
            return Ok(());
        };
        let locked = people.locks.is_locked(&PinOwner::EmergencyCard(card.clone()), scene.now.mono);
        let told = events.filter_map(told_of).find(|(of, ..)| **of == card);
        let hurt = |invariant, why: &str| {
            let what = format!("{card} ({record:?}) is shown at the cabinet on {}: {why}", scene.what);
            Err(Violation::new(invariant, what))
        };
        match told {
            Some((.., None)) => return hurt(Invariant::PinAsked, "it is let in without its PIN"),
            Some((.., Some(DenialReason::PinLockedOut))) if !locked => {
                return hurt(Invariant::PinLocksOut, "its PINs are not locked out");
            }
            _ => {}
        }
        self.emergency = told.is_none().then_some((card, tokens));
        self.choosing &= self.emergency.is_none();
        Ok(())
    }

    /// What was typed for it, if a key ended an entry: a choice, of which nothing is told yet, or its PIN.
    pub(super) fn emergency_entry<'e>(
        &mut self,
        scene: &Scene<'_>,
        entry: Option<&str>,
        events: impl Iterator<Item = &'e EventBody>,
        people: &mut PeopleWatch,
        lockouts: &mut usize,
    ) -> Result<(), Violation> {
        let Some((card, tokens)) = self.emergency.take() else { return Ok(()) };
        let Some((_, door, told)) = events.filter_map(told_of).find(|(of, ..)| **of == card) else {
            self.emergency = Some((card, tokens));
            return Ok(());
        };
        let known = people.emergency_card_of(scene, &tokens).filter(|(known, _)| *known == card);
        let record: Option<EmergencyCard> = known.map(|(_, record)| record);
        let typed = entry.filter(|entry| entry.len() <= DIGITS_MAX && !entry.contains('*'));
        let right = typed.is_some_and(|digits| {
            record.as_ref().is_some_and(|record| record.pin == Some(hashed(&format!("pin:{card}:{digits}"))))
        });
        let owner = PinOwner::EmergencyCard(card.clone());
        let locked = people.locks.is_locked(&owner, scene.now.mono);
        let hurt = |invariant, why: &str| {
            let what = format!("{card} at {door:?} of the cabinet on {}, told {told:?}: {why}", scene.what);
            Err(Violation::new(invariant, what))
        };
        match told {
            None | Some(DenialReason::WrongPin) if locked => hurt(Invariant::PinLocksOut, "none is taken"),
            Some(DenialReason::PinLockedOut) if !locked => hurt(Invariant::PinLocksOut, "it is not locked out"),
            None if !right => hurt(Invariant::PinAsked, "its PIN was not typed"),
            Some(DenialReason::WrongPin) if right => hurt(Invariant::PinAsked, "it is its PIN"),
            None => {
                people.locks.right(&owner);
                Ok(())
            }
            Some(DenialReason::WrongPin) => {
                let at = scene.site.doors.iter().position(|config| Some(&config.id) == door).unwrap_or_default();
                *lockouts += usize::from(people.locks.wrong(owner, scene.now.mono, &policy(scene, Spot::Door(at))));
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }
}

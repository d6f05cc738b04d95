//! Emergency cards at a cabinet. Owns which compartment is meant and what is waited for; must never open one whose
//! policy does not admit these cards now. Invariant: a card that waits ends in exactly one decision, and what it
//! opens it opens in the step in which its use is counted and told.
//!
//! ```text
//!   card ─▶ what it opens here and now ── nothing ──▶ denied
//!                │ several    │ one compartment
//!                ▼ NUMBER#    ▼
//!              which? ─────▶ its PIN, if it has one: PIN# ─▶ opened, or denied
//! ```

use super::{Asked, Place};
use crate::{
    domain::{
        card_format::CardTokens,
        door::{DoorInput, Grant},
        event::{Actor, DenialReason, EventBody, Granted},
        ids::{DoorIx, Id},
        kept::PinOwner,
        locker::{Opening, Typed},
        record::EmergencyCard,
        time::{Mono, Now},
    },
    gateway::controller::{
        emergencies::pin_is,
        lockers::Lockers,
        machine::{Deed, Deeds, EmergencyUse, View, WrongPin},
    },
    wire::token::token,
};

/// An emergency card that waits at a cabinet.
#[derive(Debug)]
pub(super) struct EmergencyAsked {
    pub until: Mono,
    card: Id,
    asked: Asked,
    lacks: Lacks,
}

#[derive(Debug)]
enum Lacks {
    /// Which of these?
    Choice(Vec<Meant>),
    Pin(Meant),
}

/// A compartment.
#[derive(Clone, Debug)]
struct Meant {
    place: Place,
    door: DoorIx,
    id: Id,
    number: u16,
}

impl EmergencyAsked {
    /// Nothing more came, or something else.
    pub fn denied(&self, view: &View<'_>) -> EventBody {
        let door = match &self.lacks {
            Lacks::Choice(_) => None,
            Lacks::Pin(meant) => view.door_id(meant.door),
        };
        self.asked.denied_emergency_card(&self.card, door, DenialReason::PinRequired)
    }

    pub fn is_of(&self, view: &View<'_>, tokens: &CardTokens) -> bool {
        view.emergencies.find(tokens) == Some(&self.card)
    }
}

impl Lockers {
    pub(super) fn emergency_card(
        &mut self,
        now: Now,
        view: &View<'_>,
        at: usize,
        card: &Id,
        asked: Asked,
        deeds: &mut Deeds,
    ) {
        let choices = match self.opened_by(now, view, at, card) {
            Ok(choices) => choices,
            Err(reason) => return deeds.event(asked.denied_emergency_card(card, None, reason)),
        };
        if let [meant] = choices.as_slice() {
            return self.emergency_at(now, view, meant.clone(), card, asked, deeds);
        }
        let Some(cabinet) = self.cabinets.get_mut(at) else { return };
        let (until, lacks) = (now.mono + cabinet.config.keypad_timeout, Lacks::Choice(choices));
        cabinet.desk.emergency = Some(EmergencyAsked { until, card: card.clone(), asked, lacks });
    }

    /// The compartments that it opens here and now, its PIN apart; there is one at the least.
    fn opened_by(&self, now: Now, view: &View<'_>, at: usize, card: &Id) -> Result<Vec<Meant>, DenialReason> {
        let Some(cabinet) = self.cabinets.get(at) else { return Err(DenialReason::NoRule) };
        let (mut choices, mut refused) = (Vec::new(), None);
        for (slot, compartment) in cabinet.config.compartments.iter().enumerate() {
            match self.judge_emergency_card(now, view, compartment.door, card) {
                Ok(_) => choices.push(Meant {
                    place: Place { cabinet: at, slot },
                    door: compartment.door,
                    id: compartment.id.clone(),
                    number: compartment.number,
                }),
                // That it is for other compartments says less than why it does not open its own.
                Err(DenialReason::NoRule) => {}
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        if choices.is_empty() { Err(refused.unwrap_or(DenialReason::NoRule)) } else { Ok(choices) }
    }

    fn judge_emergency_card<'a>(
        &self,
        now: Now,
        view: &'a View<'_>,
        door: DoorIx,
        card: &Id,
    ) -> Result<&'a EmergencyCard, DenialReason> {
        let id = view.door_id(door).ok_or(DenialReason::NoRule)?;
        let accepted = self.aloneness.regime(now, view.cloud, &self.policies.at(door)).emergency_cards;
        view.emergencies.judge(card, id, accepted, now)
    }

    /// It is known which compartment is meant.
    fn emergency_at(&mut self, now: Now, view: &View<'_>, meant: Meant, card: &Id, asked: Asked, deeds: &mut Deeds) {
        let judged = match view.denies(meant.door, now.mono) {
            Some(mode) => Err(mode),
            None => self.judge_emergency_card(now, view, meant.door, card).map(|record| record.pin.is_some()),
        };
        let locked = || view.locks.is_locked(&PinOwner::EmergencyCard(card.clone()), now.mono);
        match judged {
            Ok(false) => self.open_by_emergency_card(&meant, card, &asked, deeds),
            Ok(true) if locked() => {
                deeds.event(asked.denied_emergency_card(card, Some(&meant.id), DenialReason::PinLockedOut));
            }
            Ok(true) => {
                let patience = self.policies.at(meant.door).body.pin_timeout_ms;
                let until = now.mono + std::time::Duration::from_millis(patience.into());
                if let Some(cabinet) = self.cabinets.get_mut(meant.place.cabinet) {
                    let lacks = Lacks::Pin(meant);
                    cabinet.desk.emergency = Some(EmergencyAsked { until, card: card.clone(), asked, lacks });
                }
            }
            Err(reason) => deeds.event(asked.denied_emergency_card(card, Some(&meant.id), reason)),
        }
    }

    /// The number or the PIN that a card was waiting for.
    pub(super) fn emergency_typed(
        &mut self,
        now: Now,
        view: &View<'_>,
        waiting: EmergencyAsked,
        typed: &Typed,
        deeds: &mut Deeds,
    ) {
        let EmergencyAsked { card, asked, lacks, .. } = waiting;
        match lacks {
            Lacks::Choice(choices) => {
                let number: Option<u16> = typed.digits.parse().ok().filter(|_| typed.number.is_none());
                match choices.into_iter().find(|choice| Some(choice.number) == number) {
                    Some(meant) => self.emergency_at(now, view, meant, &card, asked, deeds),
                    None => deeds.event(asked.denied_emergency_card(&card, None, DenialReason::NoRule)),
                }
            }
            Lacks::Pin(meant) => self.emergency_pin(now, view, &meant, &card, &asked, typed, deeds),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are what one entry at a keypad is judged by")]
    fn emergency_pin(
        &mut self,
        now: Now,
        view: &View<'_>,
        meant: &Meant,
        card: &Id,
        asked: &Asked,
        typed: &Typed,
        deeds: &mut Deeds,
    ) {
        let owner = PinOwner::EmergencyCard(card.clone());
        // Too many digits, or a number before them, are no PIN.
        let pin = Some(token(view.credential_key, &format!("pin:{card}:{}", typed.digits)))
            .filter(|_| typed.number.is_none() && !typed.digits.is_empty());
        let answer = match self.judge_emergency_card(now, view, meant.door, card) {
            _ if view.locks.is_locked(&owner, now.mono) => Err(DenialReason::PinLockedOut),
            judged => match (view.denies(meant.door, now.mono), judged) {
                (Some(mode), _) => Err(mode),
                (None, Ok(record)) if pin_is(record, pin.as_ref()) => Ok(()),
                (None, Ok(_)) => Err(DenialReason::WrongPin),
                (None, Err(reason)) => Err(reason),
            },
        };
        let Err(reason) = answer else {
            deeds.push(Deed::RightPin(owner));
            return self.open_by_emergency_card(meant, card, asked, deeds);
        };
        deeds.event(asked.denied_emergency_card(card, Some(&meant.id), reason));
        if reason == DenialReason::WrongPin {
            let policy = self.policies.at(meant.door);
            deeds.push(Deed::WrongPin(Box::new(WrongPin {
                of: owner,
                door: Some(meant.id.clone()),
                floor_group: None,
                cabinet: Some(asked.cabinet.clone()),
                reader: Some(asked.reader.clone()),
                tries: policy.body.pin_tries,
                lockout_s: policy.body.pin_lockout_s,
            })));
        }
    }

    fn open_by_emergency_card(&mut self, meant: &Meant, card: &Id, asked: &Asked, deeds: &mut Deeds) {
        let door = Some(meant.id.clone());
        deeds.event(EventBody::AccessGranted(Granted {
            door: door.clone(),
            reader: Some(asked.reader.clone()),
            emergency_card: Some(card.clone()),
            card: asked.card.clone(),
            ..Granted::default()
        }));
        let (emergency_card, reader) = (card.clone(), asked.reader.clone());
        deeds.push(Deed::EmergencyUsed(EmergencyUse { emergency_card, door, floor_group: None, reader }));
        let actor = Actor::EmergencyCard { emergency_card: card.clone() };
        deeds.door(meant.door, DoorInput::Grant(Grant { actor: actor.clone(), extended: false }));
        let opening = Opening { actor, contract: None, person: None, due: None };
        if let Some((_, slot)) = self.at(meant.place) {
            slot.opening = Some((opening, None));
        }
    }
}

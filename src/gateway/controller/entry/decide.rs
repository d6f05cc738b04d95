//! Cards and PINs: from what was presented to a grant, a denial or a question. Must never say yes by itself:
//! the rules decide, then the fallback that is in force, then the door's mode. Invariant: each attempt ends in
//! one event, and what a PIN was compared with is told nowhere.

use std::time::Duration;

use super::{
    Entry,
    ask::{Ask, Holder, lacks},
    here::{Here, Refused},
    waiting::{AtReader, Waiting, Who},
};
use crate::{
    domain::{
        card_format::CardTokens,
        event::{CardEvidence, DenialReason},
        ids::Id,
        kept::PinOwner,
        keypad::{Digits, Key, Keypad},
        permission::Wants,
        time::Mono,
    },
    gateway::controller::machine::{Deed, Deeds, WrongPin},
    wire::token::token,
};

impl Entry {
    pub(super) fn card(&mut self, here: &Here<'_>, (tokens, card): (CardTokens, CardEvidence), deeds: &mut Deeds) {
        let answer = here.judge(Ask::Card(&tokens));
        let person = match &answer {
            Ok(holder) => Some(holder.person.clone()),
            Err(refused) => refused.person.clone(),
        };
        if let Some(waiting) = self.reader(here).and_then(AtReader::take) {
            let same = match &waiting.who {
                Who::Person { person: of, .. } => person.as_ref() == Some(of),
                Who::EmergencyCard(of) => here.view.emergencies.find(&tokens) == Some(of),
            };
            let wants = answer.as_ref().err().and_then(|refused| refused.wants);
            if same && (person.is_none() || wants.map(lacks) == Some(waiting.lacks)) {
                return self.wait(here, waiting, deeds);
            }
            if let Some((first, second)) = pair(here, &waiting, &tokens).filter(|_| !same) {
                let both = [(first, Some(waiting.card)), (second, Some(card))];
                return self.pass(here, &both, deeds);
            }
            if !same {
                here.gave_up(waiting, deeds);
            }
        }
        match answer {
            Ok(holder) => self.pass(here, &[(holder, Some(card))], deeds),
            Err(refused) => match here.view.emergencies.find(&tokens).cloned() {
                Some(emergency_card) => self.emergency_card(here, &emergency_card, tokens, card, deeds),
                None => self.refuse_or_ask(here, refused, tokens, card, deeds),
            },
        }
    }

    fn refuse_or_ask(
        &mut self,
        here: &Here<'_>,
        refused: Refused,
        tokens: CardTokens,
        card: CardEvidence,
        deeds: &mut Deeds,
    ) {
        let (Some(wants), Some(person)) = (refused.wants, refused.person.clone()) else {
            return here.deny(refused, Some(card), deeds);
        };
        let owner = PinOwner::Person(person.clone());
        if wants == Wants::Pin && here.view.locks.is_locked(&owner, here.now.mono) {
            return here.deny(refused.with(DenialReason::PinLockedOut), Some(card), deeds);
        }
        if wants == Wants::Pin && self.keypad(here) == Keypad::None {
            return here.deny(refused, Some(card), deeds);
        }
        let Refused { credential, rule, .. } = refused;
        let who = Who::Person { person, credential, rule };
        self.wait(here, Waiting { who, tokens, card, lacks: lacks(wants) }, deeds);
    }

    pub(super) fn wait(&mut self, here: &Here<'_>, waiting: Waiting, deeds: &mut Deeds) {
        let until = until(here, waiting.lacks);
        deeds.0.extend(here.reader_ix().map(|reader| Deed::Asked(reader, waiting.lacks)));
        if let Some(reader) = self.reader(here) {
            reader.wait(waiting, until);
        }
    }

    // ---- the keypad ----

    pub(super) fn key(&mut self, here: &Here<'_>, key: Key, deeds: &mut Deeds) {
        let until = until(here, DenialReason::PinRequired);
        let Some(reader) = self.reader(here) else { return };
        match key {
            Key::Digit(digit) => {
                reader.digits.push(digit);
                // Who waits for a second person does not wait longer for somebody's typing.
                let waits_for_person =
                    reader.waiting.as_ref().is_some_and(|waiting| waiting.lacks == DenialReason::SecondPersonRequired);
                if !waits_for_person {
                    reader.deadline = Some(until);
                }
            }
            Key::Star => reader.digits.clear(),
            Key::Hash if reader.digits.is_empty() => {}
            Key::Hash => {
                let digits = std::mem::take(&mut reader.digits);
                let asked = reader.waiting.as_ref().is_some_and(|waiting| waiting.lacks == DenialReason::PinRequired);
                match asked.then(|| reader.take()).flatten() {
                    Some(waiting) => self.pin(here, waiting, &digits, deeds),
                    None => {
                        if reader.waiting.is_none() {
                            reader.deadline = None;
                        }
                        self.pin_alone(here, &digits, deeds);
                    }
                }
            }
        }
    }

    /// The PIN that a card was waiting for.
    fn pin(&mut self, here: &Here<'_>, waiting: Waiting, digits: &Digits, deeds: &mut Deeds) {
        let (person, credential, rule) = match waiting.who {
            Who::Person { person, credential, rule } => (person, credential, rule),
            Who::EmergencyCard(id) => return self.emergency_pin(here, &id, digits, waiting.card, deeds),
        };
        let pin = digits.text().map(|digits| token(here.view.credential_key, &format!("pin:{person}:{digits}")));
        let owner = PinOwner::Person(person.clone());
        let person = Some(person);
        let answer = match pin {
            _ if here.view.locks.is_locked(&owner, here.now.mono) => {
                let nobody = Refused::nobody(DenialReason::PinLockedOut);
                Err(Refused { person, credential, rule, ..nobody })
            }
            Some(pin) => here.judge(Ask::CardAndPin(&waiting.tokens, pin)),
            // No PIN is that long.
            None => {
                let nobody = Refused::nobody(here.door_denies().unwrap_or(DenialReason::WrongPin));
                Err(Refused { person, credential, rule, ..nobody })
            }
        };
        match answer {
            Ok(holder) => {
                deeds.push(Deed::RightPin(owner));
                self.pass(here, &[(holder, Some(waiting.card))], deeds);
            }
            Err(refused) => {
                let wrong = refused.reason == DenialReason::WrongPin;
                here.deny(refused, Some(waiting.card), deeds);
                if wrong {
                    Self::wrong_pin(here, owner, deeds);
                }
            }
        }
    }

    /// A PIN that is a credential by itself.
    fn pin_alone(&mut self, here: &Here<'_>, digits: &Digits, deeds: &mut Deeds) {
        let Some(reader) = here.reader_id() else { return };
        let owner = PinOwner::Reader(reader);
        if here.view.locks.is_locked(&owner, here.now.mono) {
            return here.deny(Refused::nobody(DenialReason::PinLockedOut), None, deeds);
        }
        let answer = match digits.text() {
            Some(digits) => {
                let pin = token(here.view.credential_key, &format!("pin:{digits}"));
                here.judge(Ask::Card(&CardTokens::single(pin)))
            }
            // No PIN is that long: nothing need be looked up, where there is anything.
            None => {
                let known = here.view.permissions.is_present();
                let reason = if known { DenialReason::UnknownCredential } else { DenialReason::StalePermissions };
                Err(Refused::nobody(here.door_denies().unwrap_or(reason)))
            }
        };
        let locked = |person: &Id| here.view.locks.is_locked(&PinOwner::Person(person.clone()), here.now.mono);
        match answer {
            Ok(holder) if locked(&holder.person) => {
                here.deny(holder.refused(DenialReason::PinLockedOut), None, deeds);
            }
            Ok(holder) => {
                deeds.push(Deed::RightPin(owner));
                self.pass(here, &[(holder, None)], deeds);
            }
            Err(refused) if refused.reason == DenialReason::UnknownCredential => {
                here.deny(refused.with(DenialReason::WrongPin), None, deeds);
                Self::wrong_pin(here, owner, deeds);
            }
            Err(refused) => here.deny(refused, None, deeds),
        }
    }

    pub(super) fn wrong_pin(here: &Here<'_>, of: PinOwner, deeds: &mut Deeds) {
        deeds.push(Deed::WrongPin(Box::new(WrongPin {
            of,
            door: here.door_id(),
            floor_group: here.floor_group(),
            cabinet: None,
            reader: here.reader_id(),
            tries: here.policy.body.pin_tries,
            lockout_s: here.policy.body.pin_lockout_s,
        })));
    }
}

/// Until when the reader waits for what is lacking.
fn until(here: &Here<'_>, lacks: DenialReason) -> Mono {
    let policy = &here.policy.body;
    let millis = match lacks {
        DenialReason::SecondPersonRequired => policy.second_person_ms,
        _ => policy.pin_timeout_ms,
    };
    here.now.mono + Duration::from_millis(millis.into())
}

/// Both, if together they may pass.
fn pair(here: &Here<'_>, waiting: &Waiting, tokens: &CardTokens) -> Option<(Holder, Holder)> {
    let second = here.judge(Ask::Pair(tokens, &waiting.tokens)).ok().filter(|holder| holder.companion.is_some())?;
    let first = here.judge(Ask::Pair(&waiting.tokens, tokens)).ok().filter(|holder| holder.companion.is_some())?;
    Some((first, second))
}

impl Here<'_> {
    /// Nothing more came, or something else.
    pub(super) fn gave_up(&self, waiting: Waiting, deeds: &mut Deeds) {
        match waiting.who {
            Who::Person { person, credential, rule } => {
                let refused = Refused { person: Some(person), credential, rule, ..Refused::nobody(waiting.lacks) };
                self.deny(refused, Some(waiting.card), deeds);
            }
            Who::EmergencyCard(id) => deeds.event(self.deny_emergency_card(&id, waiting.lacks, waiting.card)),
        }
    }
}

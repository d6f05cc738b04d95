//! Cards and PINs: from what was presented to a grant, a denial or a question. Must never say yes by itself:
//! the rules decide, then the fallback that is in force, then the door's mode. Invariant: each attempt ends in
//! one event, and what a PIN was compared with is told nowhere.

use std::time::Duration;

use super::{
    Entry,
    ask::{Ask, Holder},
    here::{Here, Refused},
    waiting::{Waiting, Who},
};
use crate::{
    domain::{
        credential::{CardTokens, Presented},
        event::{CardEvidence, DenialReason, EventBody},
        ids::Id,
        kept::PinOwner,
        keypad::{Digits, Key, Keypad},
        time::Mono,
    },
    gateway::controller::machine::{Deed, Deeds},
    wire::token::token,
};

impl Entry {
    pub(super) fn card(&mut self, here: &Here<'_>, presented: Presented, deeds: &mut Deeds) {
        let tokens = presented.tokens(|text| token(here.view.credential_key, text));
        let card = presented.evidence;
        let answer = here.judge(Ask::Card(&tokens));
        let person =
            answer.as_ref().map_or_else(|refused| refused.person.clone(), |holder| Some(holder.person.clone()));
        if let Some(waiting) = self.reader(here).and_then(|reader| reader.take()) {
            let lacks = answer.as_ref().err().map(|refused| refused.reason);
            let again = matches!(&waiting.who, Who::EmergencyCard(card) if self.cards.find(&tokens) == Some(card));
            if again || (waiting.is_of(person.as_ref()) && lacks == Some(waiting.lacks)) {
                return self.wait(here, waiting);
            }
            if let Some((first, second)) = self.pair(here, &waiting, &tokens, person.as_ref()) {
                let both = [(first, Some(waiting.card)), (second, Some(card))];
                return self.pass(here, &both, deeds);
            }
            if !waiting.is_of(person.as_ref()) {
                deeds.event(self.gave_up(here, waiting));
            }
        }
        match answer {
            Ok(holder) => self.pass(here, &[(holder, Some(card))], deeds),
            Err(refused) => match self.cards.find(&tokens).cloned() {
                Some(emergency_card) => self.emergency_card(here, &emergency_card, tokens, card, deeds),
                None => self.refuse_or_ask(here, refused, tokens, card, deeds),
            },
        }
    }

    /// Somebody else's card, and together they may pass.
    fn pair(
        &self,
        here: &Here<'_>,
        waiting: &Waiting,
        tokens: &CardTokens,
        person: Option<&Id>,
    ) -> Option<(Holder, Holder)> {
        person.filter(|_| !waiting.is_of(person))?;
        let mut first = here.judge(Ask::Pair(&waiting.tokens, tokens)).ok()?;
        let mut second = here.judge(Ask::Pair(tokens, &waiting.tokens)).ok()?;
        first.companion = Some(second.person.clone());
        second.companion = Some(first.person.clone());
        Some((first, second))
    }

    fn refuse_or_ask(
        &mut self,
        here: &Here<'_>,
        refused: Refused,
        tokens: CardTokens,
        card: CardEvidence,
        deeds: &mut Deeds,
    ) {
        let lacks = refused.reason;
        let asks = match (lacks, &refused.person) {
            (DenialReason::PinRequired, Some(person)) => {
                let owner = PinOwner::Person(person.clone());
                if self.locks.is_locked(&owner, here.now.mono) {
                    return deeds.event(here.deny(refused.with(DenialReason::PinLockedOut), Some(card)));
                }
                self.keypad(here) != Keypad::None
            }
            (DenialReason::SecondPersonRequired, Some(_)) => here.reader.is_some(),
            _ => false,
        };
        match refused {
            Refused { person: Some(person), credential, rule, .. } if asks => {
                let who = Who::Person { person, credential, rule };
                self.wait(here, Waiting { who, tokens, card, lacks });
            }
            refused => deeds.event(here.deny(refused, Some(card))),
        }
    }

    pub(super) fn wait(&mut self, here: &Here<'_>, waiting: Waiting) {
        let until = self.until(here, waiting.lacks);
        if let Some(reader) = self.reader(here) {
            reader.wait(waiting, until);
        }
    }

    fn until(&self, here: &Here<'_>, lacks: DenialReason) -> Mono {
        let policy = &here.policy.body;
        let millis = match lacks {
            DenialReason::SecondPersonRequired => policy.second_person_ms,
            _ => policy.pin_timeout_ms,
        };
        here.now.mono + Duration::from_millis(millis.into())
    }

    /// Nothing more came, or something else.
    pub(super) fn gave_up(&self, here: &Here<'_>, waiting: Waiting) -> EventBody {
        match waiting.who {
            Who::Person { person, credential, rule } => {
                let refused = Refused { reason: waiting.lacks, person: Some(person), credential, rule };
                here.deny(refused, Some(waiting.card))
            }
            Who::EmergencyCard(id) => here.deny_emergency_card(&id, waiting.lacks, waiting.card),
        }
    }

    // ---- the keypad ----

    pub(super) fn key(&mut self, here: &Here<'_>, key: Key, deeds: &mut Deeds) {
        let until = self.until(here, DenialReason::PinRequired);
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
        let owner = PinOwner::Person(person.clone());
        let refused = |reason| Refused {
            reason,
            person: Some(person.clone()),
            credential: credential.clone(),
            rule: rule.clone(),
        };
        let answer = if self.locks.is_locked(&owner, here.now.mono) {
            Err(refused(DenialReason::PinLockedOut))
        } else {
            match digits.text() {
                Some(digits) => {
                    let pin = token(here.view.credential_key, &format!("pin:{person}:{digits}"));
                    here.judge(Ask::CardAndPin(&waiting.tokens, &pin))
                }
                None => Err(refused(here.door_denies().unwrap_or(DenialReason::WrongPin))),
            }
        };
        match answer {
            Ok(holder) => {
                deeds.0.extend(self.locks.right(&owner).map(Deed::Unkeep));
                self.pass(here, &[(holder, Some(waiting.card))], deeds);
            }
            Err(refused) => {
                let wrong = refused.reason == DenialReason::WrongPin;
                deeds.event(here.deny(refused, Some(waiting.card)));
                if wrong {
                    self.wrong_pin(here, owner, deeds);
                }
            }
        }
    }

    /// A PIN that is a credential by itself.
    fn pin_alone(&mut self, here: &Here<'_>, digits: &Digits, deeds: &mut Deeds) {
        let Some(reader) = here.reader_id() else { return };
        let owner = PinOwner::Reader(reader);
        if self.locks.is_locked(&owner, here.now.mono) {
            return deeds.event(here.deny(Refused::nobody(DenialReason::PinLockedOut), None));
        }
        let text = digits.text().map(|digits| format!("pin:{digits}"));
        let answer = match text {
            Some(text) => here.judge(Ask::Pin(&CardTokens::single(token(here.view.credential_key, &text)))),
            None => Err(Refused::nobody(here.door_denies().unwrap_or(DenialReason::UnknownCredential))),
        };
        let locked = |person: &Id| self.locks.is_locked(&PinOwner::Person(person.clone()), here.now.mono);
        match answer {
            Ok(holder) if locked(&holder.person) => {
                let Holder { person, credential, rule, .. } = holder;
                let refused = Refused {
                    reason: DenialReason::PinLockedOut,
                    person: Some(person),
                    credential: Some(credential),
                    rule,
                };
                deeds.event(here.deny(refused, None));
            }
            Ok(holder) => {
                deeds.0.extend(self.locks.right(&owner).map(Deed::Unkeep));
                self.pass(here, &[(holder, None)], deeds);
            }
            Err(refused) if refused.reason == DenialReason::UnknownCredential => {
                deeds.event(here.deny(refused.with(DenialReason::WrongPin), None));
                self.wrong_pin(here, owner, deeds);
            }
            Err(refused) => deeds.event(here.deny(refused, None)),
        }
    }

    pub(super) fn wrong_pin(&mut self, here: &Here<'_>, owner: PinOwner, deeds: &mut Deeds) {
        let policy = &here.policy.body;
        let wrong = self.locks.wrong(owner.clone(), here.now, policy.pin_tries, policy.pin_lockout_s);
        deeds.push(Deed::Keep(wrong.kept));
        deeds.0.extend(wrong.unkept.map(Deed::Unkeep));
        let Some(reader) = here.reader_id().filter(|_| wrong.locked) else { return };
        let (person, emergency_card) = match owner {
            PinOwner::Person(person) => (Some(person), None),
            PinOwner::EmergencyCard(card) => (None, Some(card)),
            PinOwner::Reader(_) => (None, None),
        };
        deeds.event(EventBody::AccessPinLockedOut {
            door: here.door_id.clone(),
            reader,
            person,
            emergency_card,
            wrong: wrong.count,
            lockout_s: policy.pin_lockout_s,
        });
    }
}

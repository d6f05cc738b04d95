//! A card that a contract admits, where a rule of the compartment asks for more: a PIN, a second person. Owns the
//! wait and its end; must never open what the contract does not. Invariant: the rules are asked with the very
//! request of a door, and a card that waits ends in exactly one decision.

use super::{Asked, Choice, Lacking};
use crate::{
    domain::{
        card_format::CardTokens,
        event::{DenialReason, EventBody, Granted},
        kept::PinOwner,
        locker::{Means, Typed},
        permission::{Decision, Request, Target, Wants},
        time::Now,
    },
    gateway::controller::{
        lockers::Lockers,
        machine::{Deed, Deeds, View, WrongPin},
    },
    wire::token::token,
};

/// What the rules ask at a compartment beside the card, as they do at a door.
impl Lockers {
    pub(super) fn wants(&self, now: Now, view: &View<'_>, choice: &Choice, asked: &Asked) -> Option<Wants> {
        let tokens = asked.tokens.as_ref().filter(|_| choice.means == Means::Card)?;
        match view.permissions.judge(&self.request(now, view, choice, tokens)) {
            Decision::Denied { wants, .. } => wants,
            Decision::Granted { .. } => None,
        }
    }

    fn request<'a>(&self, now: Now, view: &View<'_>, choice: &Choice, tokens: &'a CardTokens) -> Request<'a> {
        let restriction = self.restriction(now, view, choice.door);
        Request { restriction, ..Request::card(tokens, Target::Door(choice.door), now) }
    }

    pub(super) fn wait(&mut self, now: Now, choice: Choice, asked: Asked, wants: Wants) {
        let policy = self.policies.at(choice.door);
        let millis = match wants {
            Wants::Pin => policy.body.pin_timeout_ms,
            Wants::SecondPerson => policy.body.second_person_ms,
        };
        let until = now.mono + std::time::Duration::from_millis(millis.into());
        if let Some(cabinet) = self.cabinets.get_mut(choice.place.cabinet) {
            cabinet.desk.lacking = Some(Lacking { until, choice, asked, wants });
        }
    }

    /// The PIN that a card was waiting for.
    pub(super) fn pin(&mut self, now: Now, view: &View<'_>, lacking: Lacking, typed: &Typed, deeds: &mut Deeds) {
        let Lacking { choice, asked, .. } = lacking;
        let (Some((person, credential)), Some(tokens)) = (asked.holder.clone(), asked.tokens) else {
            return;
        };
        let door = view.door_id(choice.door);
        let denied = |reason, rule| asked.denied(door, Some(&choice.contract), reason, rule);
        let owner = PinOwner::Person(person.clone());
        if view.locks.is_locked(&owner, now.mono) {
            return deeds.event(denied(DenialReason::PinLockedOut, None));
        }
        let pin = token(view.credential_key, &format!("pin:{person}:{}", typed.digits));
        let pin = Some(pin).filter(|_| typed.number.is_none() && !typed.digits.is_empty());
        let request = Request { pin, ..self.request(now, view, &choice, &tokens) };
        let duress = |granted| EventBody::AccessDuress {
            door: door.cloned(),
            floor_group: None,
            reader: Some(asked.reader.clone()),
            person: person.clone(),
            credential: Some(credential.clone()),
            granted,
        };
        match view.permissions.judge(&request).cloned() {
            Decision::Granted { duress: forced, .. } => {
                deeds.push(Deed::RightPin(owner));
                match self.may_open(now, view, &choice, &asked) {
                    Ok(()) => self.opened(view, &choice, &asked, deeds),
                    Err((reason, rule)) => deeds.event(denied(reason, rule)),
                }
                deeds.0.extend(forced.then(|| Deed::Event(duress(true))));
            }
            // Too many digits, or a number before them, are no PIN.
            Decision::Denied { reason: DenialReason::WrongPin | DenialReason::PinRequired, rule, .. } => {
                deeds.event(denied(DenialReason::WrongPin, rule));
                let policy = self.policies.at(choice.door);
                deeds.push(Deed::WrongPin(Box::new(WrongPin {
                    of: owner,
                    door: door.cloned(),
                    floor_group: None,
                    cabinet: Some(asked.cabinet.clone()),
                    reader: Some(asked.reader.clone()),
                    tries: policy.body.pin_tries,
                    lockout_s: policy.body.pin_lockout_s,
                })));
            }
            Decision::Denied { reason, rule, duress: forced, .. } => {
                deeds.event(denied(reason, rule));
                deeds.0.extend(forced.then(|| Deed::Event(duress(false))));
            }
        }
    }

    /// Another card while one waits for more. True: that was all there is to say of it.
    pub(super) fn second_card(
        &mut self,
        now: Now,
        view: &View<'_>,
        at: usize,
        lacking: Lacking,
        asked: &Asked,
        deeds: &mut Deeds,
    ) -> bool {
        let (Some(first), Some(second)) = (&lacking.asked.tokens, &asked.tokens) else { return false };
        let holder = view.permissions.holder_of(second);
        if holder.is_some() && holder == lacking.asked.holder.as_ref().map(|(person, _)| person) {
            // The same person: it waits on.
            if let Some(cabinet) = self.cabinets.get_mut(at) {
                cabinet.desk.lacking = Some(lacking);
            }
            return true;
        }
        let judge = |card, companion| {
            let request = Request { companion: Some(companion), ..self.request(now, view, &lacking.choice, card) };
            match view.permissions.judge(&request).cloned() {
                Decision::Granted { person, credential, rule, companion: Some(companion), .. } => {
                    Some((person, credential, rule, companion))
                }
                _ => None,
            }
        };
        let pair = judge(first, second).zip(judge(second, first)).filter(|_| lacking.wants == Wants::SecondPerson);
        let Some((_, (person, credential, rule, companion))) = pair else {
            deeds.event(lacking.denied());
            return false;
        };
        let Lacking { choice, asked: of_first, .. } = lacking;
        if let Err((reason, rule)) = self.may_open(now, view, &choice, &of_first) {
            deeds.event(of_first.denied(view.door_id(choice.door), Some(&choice.contract), reason, rule));
            return true;
        }
        deeds.event(EventBody::AccessGranted(Granted {
            door: view.door_id(choice.door).cloned(),
            reader: Some(asked.reader.clone()),
            person: Some(person),
            credential,
            rule: Some(rule),
            companion: Some(companion),
            card: asked.card.clone(),
            ..Granted::default()
        }));
        self.opened(view, &choice, &of_first, deeds);
        true
    }
}

impl Lacking {
    /// Nothing more came, or something else.
    pub(super) fn denied(&self) -> EventBody {
        let reason = match self.wants {
            Wants::Pin => DenialReason::PinRequired,
            Wants::SecondPerson => DenialReason::SecondPersonRequired,
        };
        self.asked.denied(None, Some(&self.choice.contract), reason, None)
    }
}

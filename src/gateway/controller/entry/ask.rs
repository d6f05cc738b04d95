//! The question to the rules. Owns the way from what was presented to the permission set and back; must never
//! answer by itself. Invariant: the fallback in force and the door's mode have had their say in every answer.

use super::here::{Here, Refused};
use crate::domain::{
    card_format::CardTokens,
    event::DenialReason,
    ids::Id,
    permission::{Decision, Floors, Request, Wants},
    record::Token,
};

/// What is presented.
pub enum Ask<'a> {
    /// Or a PIN that is a credential by itself.
    Card(&'a CardTokens),
    /// With the token of the PIN that its holder typed.
    CardAndPin(&'a CardTokens, Token),
    /// A card, and that of somebody who is to be let in together with its holder.
    Pair(&'a CardTokens, &'a CardTokens),
    /// Of this person a credential that is in order, or this one: a virtual read.
    Holder(&'a Id, Option<&'a Id>),
}

/// Somebody whom the rules admit here and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub person: Id,
    /// `None`: a virtual read of whatever credential.
    pub credential: Option<Id>,
    pub rule: Id,
    pub companion: Option<Id>,
    pub extended: bool,
    pub apb_exempt: bool,
    pub duress: bool,
    /// In a cab.
    pub floors: Floors,
}

impl Here<'_> {
    pub fn judge(&self, ask: Ask<'_>) -> Result<Holder, Refused> {
        let (target, permissions) = (self.target(), self.view.permissions);
        let restriction = self.regime.restriction();
        let request = |card, pin, companion| Request { card, target, now: self.now, pin, companion, restriction };
        let decision = match ask {
            Ask::Card(card) => permissions.judge(&request(card, None, None)),
            Ask::CardAndPin(card, pin) => permissions.judge(&request(card, Some(pin), None)),
            Ask::Pair(card, other) => permissions.judge(&request(card, None, Some(other))),
            Ask::Holder(person, credential) => {
                permissions.judge_person(person, credential, target, self.now, restriction)
            }
        };
        let answer = match decision.cloned() {
            Decision::Granted { person, credential, rule, companion, extended, apb_exempt, duress, floors, .. } => {
                Ok(Holder { person, credential, rule, companion, extended, apb_exempt, duress, floors })
            }
            Decision::Denied { reason, person, credential, rule, wants, duress } => {
                Err(Refused { reason, person, credential, rule, wants, duress })
            }
        };
        match (self.door_denies(), answer) {
            (None, answer) => answer,
            (Some(mode), Ok(holder)) => Err(holder.refused(mode)),
            (Some(mode), Err(refused)) => Err(refused.with(mode)),
        }
    }
}

impl Holder {
    pub fn refused(self, reason: DenialReason) -> Refused {
        let Holder { person, credential, rule, duress, .. } = self;
        Refused { reason, person: Some(person), credential, rule: Some(rule), wants: None, duress }
    }
}

/// What a reader can wait for.
pub fn lacks(wants: Wants) -> DenialReason {
    match wants {
        Wants::Pin => DenialReason::PinRequired,
        Wants::SecondPerson => DenialReason::SecondPersonRequired,
    }
}

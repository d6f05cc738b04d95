//! The question to the rules. Owns the way from what was presented to the permission set and back; must never
//! answer by itself. Invariant: the fallback in force and the door's mode have had their say in every answer.

use super::here::{Here, Refused};
use crate::domain::{credential::CardTokens, event::DenialReason, ids::Id, permission::Decision, record::Token};

/// What is presented.
pub enum Ask<'a> {
    Card(&'a CardTokens),
    /// With the token of the PIN that its holder typed.
    CardAndPin(&'a CardTokens, &'a Token),
    /// A PIN that is a credential by itself.
    Pin(&'a CardTokens),
    /// A card, and that of somebody else beside it.
    Pair(&'a CardTokens, &'a CardTokens),
    /// Any good credential of this person, or this one: a virtual read.
    Holder(&'a Id, Option<&'a Id>),
}

/// Somebody whom the rules admit here and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub person: Id,
    pub credential: Id,
    pub rule: Option<Id>,
    pub extended: bool,
    pub duress: bool,
    pub apb_exempt: bool,
    pub companion: Option<Id>,
}

impl Here<'_> {
    pub fn judge(&self, ask: Ask<'_>) -> Result<Holder, Refused> {
        let permissions = self.view.permissions;
        let decision = match ask {
            Ask::Card(tokens) | Ask::CardAndPin(tokens, _) | Ask::Pin(tokens) | Ask::Pair(tokens, _) => {
                permissions.decide(tokens, self.door, self.now)
            }
            Ask::Holder(..) => {
                Decision::Denied { reason: DenialReason::NoRule, person: None, credential: None, rule: None }
            }
        };
        let answer = match decision {
            Decision::Granted { person, credential, rule, extended } => Ok(Holder {
                person,
                credential,
                rule: Some(rule),
                extended,
                duress: false,
                apb_exempt: false,
                companion: None,
            }),
            Decision::Denied { reason, person, credential, rule } => Err(Refused { reason, person, credential, rule }),
        };
        let answer = self.regime_has_its_say(answer);
        match (self.door_denies(), answer) {
            (None, answer) => answer,
            (Some(mode), Ok(holder)) => Err(holder.refused(mode)),
            (Some(mode), Err(refused)) => Err(refused.with(mode)),
        }
    }

    /// Nobody is asked for a PIN who would not pass with it.
    fn regime_has_its_say(&self, answer: Result<Holder, Refused>) -> Result<Holder, Refused> {
        let lacks = |reason| matches!(reason, DenialReason::PinRequired | DenialReason::SecondPersonRequired);
        let critical = |_person: &Id| false;
        match answer {
            Ok(holder) => match self.regime.admits(critical(&holder.person)) {
                Ok(()) => Ok(holder),
                Err(reason) => Err(holder.refused(reason)),
            },
            Err(refused) if lacks(refused.reason) => {
                let admitted = self.regime.admits(refused.person.as_ref().is_some_and(critical));
                Err(admitted.map_or_else(|reason| refused.clone().with(reason), |()| refused.clone()))
            }
            Err(refused) => Err(refused),
        }
    }
}

impl Holder {
    fn refused(self, reason: DenialReason) -> Refused {
        Refused { reason, person: Some(self.person), credential: Some(self.credential), rule: self.rule }
    }
}

//! Where and when somebody asks to pass. Owns nothing; must never outlive one input. Invariant: all that is
//! told of an attempt names this place.

use std::sync::Arc;

use super::policies::Policy;
use crate::{
    domain::{
        event::{CardEvidence, DenialReason, Denied, EventBody, Granted},
        fallback::Regime,
        ids::{DoorIx, Id, ReaderIx},
        permission::Wants,
        time::Now,
    },
    gateway::controller::machine::{Deed, Deeds, View},
};

pub struct Here<'a> {
    pub now: Now,
    pub view: &'a View<'a>,
    pub door: DoorIx,
    pub door_id: Id,
    /// None: a virtual read at a door without a reader.
    pub reader: Option<(ReaderIx, Id)>,
    pub policy: Arc<Policy>,
    pub regime: Regime,
}

/// Why somebody is not let in, as far as it is known who they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub reason: DenialReason,
    pub person: Option<Id>,
    pub credential: Option<Id>,
    pub rule: Option<Id>,
    /// What would help and can still come.
    pub wants: Option<Wants>,
    /// A silent alarm is due all the same.
    pub duress: bool,
}

impl Refused {
    pub fn nobody(reason: DenialReason) -> Refused {
        Refused { reason, person: None, credential: None, rule: None, wants: None, duress: false }
    }

    /// For another reason, against which nothing helps.
    pub fn with(self, reason: DenialReason) -> Refused {
        Refused { reason, wants: None, ..self }
    }
}

impl Here<'_> {
    pub fn reader_ix(&self) -> Option<ReaderIx> {
        self.reader.as_ref().map(|(ix, _)| *ix)
    }

    pub fn reader_id(&self) -> Option<Id> {
        self.reader.as_ref().map(|(_, id)| id.clone())
    }

    /// Why the door itself refuses everybody.
    pub fn door_denies(&self) -> Option<DenialReason> {
        self.view.denies(self.door, self.now.mono)
    }

    pub fn granted(&self, card: Option<CardEvidence>) -> Granted {
        Granted { door: Some(self.door_id.clone()), reader: self.reader_id(), card, ..Granted::default() }
    }

    pub fn denied(&self, refused: Refused, card: Option<CardEvidence>) -> Denied {
        let Refused { reason, person, credential, rule, .. } = refused;
        let (door, reader) = (Some(self.door_id.clone()), self.reader_id());
        Denied { door, reader, person, credential, rule, card, ..Denied::new(reason) }
    }

    pub fn deny(&self, refused: Refused, card: Option<CardEvidence>, deeds: &mut Deeds) {
        self.deny_at(None, refused, card, deeds);
    }

    /// By this area, if it was one.
    pub fn deny_at(&self, area: Option<Id>, refused: Refused, card: Option<CardEvidence>, deeds: &mut Deeds) {
        let duress = refused.duress.then(|| self.duress(false, refused.person.clone(), refused.credential.clone()));
        deeds.event(EventBody::AccessDenied(Denied { area, ..self.denied(refused, card) }));
        deeds.0.extend(duress.flatten().map(Deed::Event));
    }

    pub fn duress(&self, granted: bool, person: Option<Id>, credential: Option<Id>) -> Option<EventBody> {
        let (door, reader) = (self.door_id.clone(), self.reader_id());
        Some(EventBody::AccessDuress { door, reader, person: person?, credential, granted })
    }
}

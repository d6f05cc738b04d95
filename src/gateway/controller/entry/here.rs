//! Where and when somebody asks to pass. Owns nothing; must never outlive one input. Invariant: all that is
//! told of an attempt names this place.

use std::sync::Arc;

use super::policies::Policy;
use crate::{
    domain::{
        door::{DoorInput, Grant},
        elevator::Ride,
        event::{Actor, CardEvidence, DenialReason, Denied, EventBody, Granted},
        fallback::Regime,
        ids::{DoorIx, Id, ReaderIx},
        permission::{Floors, Target, Wants},
        time::Now,
    },
    gateway::controller::machine::{Deed, Deeds, View},
};

/// What is to be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Door(DoorIx),
    /// In the cab of this elevator.
    Cab(u16),
}

pub struct Here<'a> {
    pub now: Now,
    pub view: &'a View<'a>,
    pub at: At,
    /// Of the door or the floor group.
    pub id: Id,
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

    pub fn target(&self) -> Target {
        match self.at {
            At::Door(door) => Target::Door(door),
            At::Cab(cab) => Target::Cab(cab),
        }
    }

    pub fn door_id(&self) -> Option<Id> {
        matches!(self.at, At::Door(_)).then(|| self.id.clone())
    }

    pub fn floor_group(&self) -> Option<Id> {
        matches!(self.at, At::Cab(_)).then(|| self.id.clone())
    }

    /// Why the door or elevator itself refuses everybody.
    pub fn door_denies(&self) -> Option<DenialReason> {
        match self.at {
            At::Door(door) => self.view.denies(door, self.now.mono),
            At::Cab(cab) => self.view.cabs_deny.get(usize::from(cab)).copied().flatten(),
        }
    }

    /// Every floor of the group.
    pub fn all_floors(&self, cab: u16) -> Floors {
        let group = self.view.topology.floor_groups.get(usize::from(cab));
        Floors::first(group.map_or(0, |group| group.floors.len()))
    }

    /// Of the cab's floor group; none at a door.
    pub fn floor_names(&self, floors: Floors) -> Vec<Id> {
        let At::Cab(cab) = self.at else { return Vec::new() };
        let group = self.view.topology.floor_groups.get(usize::from(cab));
        floors.iter().filter_map(|floor| group?.floors.get(floor).cloned()).collect()
    }

    /// What a grant does, here.
    pub fn let_in(&self, actor: Actor, extended: bool, floors: Floors, deeds: &mut Deeds) {
        match self.at {
            At::Door(door) => deeds.door(door, DoorInput::Grant(Grant { actor, extended })),
            At::Cab(cab) => {
                let record = self.view.permissions.site().floor_groups.get(&self.id);
                let enable_s = record.and_then(|record| record.enable_s);
                let floors = floors.iter().collect();
                deeds.push(Deed::Ride(cab, Ride { floors, actor, extended, enable_s }));
            }
        }
    }

    pub fn granted(&self, card: Option<CardEvidence>) -> Granted {
        let (door, floor_group) = (self.door_id(), self.floor_group());
        Granted { door, floor_group, reader: self.reader_id(), card, ..Granted::default() }
    }

    pub fn denied(&self, refused: Refused, card: Option<CardEvidence>) -> Denied {
        let Refused { reason, person, credential, rule, .. } = refused;
        let (door, floor_group, reader) = (self.door_id(), self.floor_group(), self.reader_id());
        Denied { door, floor_group, reader, person, credential, rule, card, ..Denied::new(reason) }
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
        let (door, floor_group, reader) = (self.door_id(), self.floor_group(), self.reader_id());
        Some(EventBody::AccessDuress { door, floor_group, reader, person: person?, credential, granted })
    }
}

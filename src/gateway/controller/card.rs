//! A card at a reader: from the raw bits to the door or to a denial. Must never say yes by itself: the
//! rules decide, and the door's mode may still refuse. Invariant: each read has exactly one event, under
//! the generation that decided it.

use super::{Controller, Step, machine::Happening};
use crate::{
    domain::{
        credential,
        door::{DoorInput, Grant},
        event::{Denied, EventBody, Granted},
        fieldbus::CardRead,
        permission::Decision,
        time::Now,
        topology::ReaderAt,
    },
    wire::token::token,
};

impl Controller {
    /// While the node stops no card is decided: nobody is let in by a door that is being secured.
    pub(super) fn read_card(&mut self, now: Now, read: CardRead, step: &mut Step) {
        let Some(reader) = self.readers.get(read.reader.index()) else { return };
        if self.stopping {
            return;
        }
        let ReaderAt::Door(ix) = reader.binding.at else {
            return self.tell_machines(now, Happening::Read(&read), step);
        };
        let Some(slot) = self.doors.get(ix.index()) else { return };
        let presented = credential::decode(read.card);
        let tokens = presented.tokens(|text| token(&self.credential_key, text));
        let decision = self.permissions.decide(&tokens, ix, now);
        let card = presented.evidence;
        let (reader, door) = (reader.binding.id.clone(), slot.door.config().id.clone());
        let denied = |reason, person, credential, rule, card| {
            let (door, reader, card) = (Some(door.clone()), Some(reader.clone()), Some(card));
            EventBody::AccessDenied(Denied { door, reader, person, credential, rule, card, ..Denied::new(reason) })
        };
        match (slot.door.denies(now.mono), decision) {
            (Some(mode), Decision::Granted { person, credential, rule, .. }) => {
                self.record(now, denied(mode, Some(person), Some(credential), Some(rule), card), step);
            }
            (Some(mode), Decision::Denied { person, credential, rule, .. }) => {
                self.record(now, denied(mode, person, credential, rule, card), step);
            }
            (None, Decision::Denied { reason, person, credential, rule }) => {
                self.record(now, denied(reason, person, credential, rule, card), step);
            }
            (None, Decision::Granted { person, credential, rule, extended }) => {
                let grant = Grant { person: person.clone(), credential: credential.clone(), extended };
                let granted = EventBody::AccessGranted(Granted {
                    door: Some(door),
                    reader: Some(reader),
                    person: Some(person),
                    credential: Some(credential),
                    rule: Some(rule),
                    card: Some(card),
                    ..Granted::default()
                });
                self.record(now, granted, step);
                self.tell(now, ix, DoorInput::Grant(grant), step);
            }
        }
    }
}

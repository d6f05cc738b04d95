//! What operators ask for: a virtual read, that it be forgotten where people are, what of somebody is known at the
//! doors alone. Must never satisfy a PIN or a second person. Invariant: each order is answered once, and its effect
//! has an event that names the operator.

use std::time::Duration;

use super::{
    Entry,
    ask::{Ask, Holder},
    here::{Here, Refused},
};
use crate::{
    domain::{
        door::{DoorInput, OPEN_GRACE},
        event::{Denied, EventBody, Granted, Refusal},
        ids::{DoorIx, Id, ReaderIx},
        kept::PinOwner,
        order::{Decided, DoorAction, Examined, Order, Progress, Task},
        permission::Target,
        time::Now,
        topology::ReaderAt,
    },
    gateway::controller::machine::{Deed, Deeds, View},
};

impl Entry {
    pub(super) fn order(&mut self, now: Now, view: &View<'_>, order: &Order<Task>, deeds: &mut Deeds) {
        match &order.what {
            Task::VirtualRead { door, person, credential } => {
                self.virtual_read(now, view, order, *door, (person, credential.as_ref()), deeds);
            }
            Task::ClearApb { person, area } => {
                self.clear_apb(view, order, person.as_ref(), area.as_ref(), deeds);
            }
            Task::Examine { place, person } => {
                let examined = self.examine(now, view, *place, person);
                deeds.push(Deed::Report(order.ticket, Progress::Examined(Box::new(examined))));
            }
            _ => {}
        }
    }

    /// By the very words with which whoever stands at one of the readers is let in or not.
    fn examine(&self, now: Now, view: &View<'_>, place: Target, person: &Id) -> Examined {
        let at = match place {
            Target::Door(door) => ReaderAt::Door(door),
            Target::Cab(cab) => ReaderAt::Cab(cab),
        };
        let exempt = view.permissions.apb_exempt(person);
        let readers = view.topology.readers.iter().zip((0..).map(ReaderIx)).filter(|((_, of), _)| *of == at);
        let verdict = |ix| self.areas.judge(now, person, exempt, ix, &[]);
        let pin_locked_out = view.locks.is_locked(&PinOwner::Person(person.clone()), now.mono);
        Examined { readers: readers.map(|((id, _), ix)| (id.clone(), verdict(ix))).collect(), pin_locked_out }
    }

    /// As if this cardholder had presented a credential at the first of the door's readers.
    fn virtual_read(
        &mut self,
        now: Now,
        view: &View<'_>,
        order: &Order<Task>,
        door: DoorIx,
        (person, credential): (&Id, Option<&Id>),
        deeds: &mut Deeds,
    ) {
        if now.mono > order.deadline {
            return deeds.push(Deed::Report(order.ticket, Progress::Expired));
        }
        let readers = view.topology.readers.iter().zip((0..).map(ReaderIx));
        let mut at_door = readers.filter(|((_, at), _)| *at == ReaderAt::Door(door));
        let reader = at_door.next().map(|((id, _), ix)| (ix, id.clone()));
        let Some(here) = self.here(now, view, door, reader) else {
            let unknown = Progress::Refused(Refusal::UnknownTarget, "the node has no such door".to_owned());
            return deeds.push(Deed::Report(order.ticket, unknown));
        };
        if !view.permissions.person_exists(person) {
            let unknown = format!("the permission set has no person {person}");
            return deeds.push(Deed::Report(order.ticket, Progress::Refused(Refusal::UnknownTarget, unknown)));
        }
        let holder = match here.judge(Ask::Holder(person, credential)) {
            Ok(holder) => holder,
            Err(refused) => {
                let refused = Refused { person: Some(person.clone()), ..refused };
                return self.virtually_denied(&here, order, refused, None, deeds);
            }
        };
        let verdict = self.areas_say(&here, &holder, &[]);
        self.tell_violations(&here, person, &verdict, deeds);
        if let Some((reason, area)) = verdict.denied {
            return self.virtually_denied(&here, order, holder.refused(reason), Some(area), deeds);
        }
        let Holder { person, credential, rule, extended, .. } = holder;
        deeds.event(EventBody::AccessGranted(Granted {
            person: Some(person.clone()),
            credential: credential.clone(),
            rule: Some(rule.clone()),
            actor: Some(order.by.clone()),
            ..here.granted(None)
        }));
        let decided = Decided { reason: None, person: person.clone(), credential, rule: Some(rule) };
        deeds.push(Deed::Report(order.ticket, Progress::Decided(Box::new(decided))));
        let dwell = view.door_config(door).map(|door| if extended { door.dwell_extended } else { door.dwell });
        let until = order.deadline + dwell.unwrap_or_default() + OPEN_GRACE + Duration::from_secs(1);
        self.expect(&here, &person, order.by.clone(), until, deeds);
        deeds.door(door, DoorInput::Order(order.with(DoorAction::OpenAndClose { dwell })));
    }

    fn virtually_denied(
        &self,
        here: &Here<'_>,
        order: &Order<Task>,
        refused: Refused,
        area: Option<Id>,
        deeds: &mut Deeds,
    ) {
        if let Refused { reason, person: Some(person), credential, rule, .. } = refused.clone() {
            let decided = Decided { reason: Some(reason), person, credential, rule };
            deeds.push(Deed::Report(order.ticket, Progress::Decided(Box::new(decided))));
        }
        let actor = Some(order.by.clone());
        deeds.event(EventBody::AccessDenied(Denied { actor, area, ..here.denied(refused, None) }));
        deeds.push(Deed::Held(order.ticket, Progress::Done));
    }

    fn clear_apb(
        &mut self,
        view: &View<'_>,
        order: &Order<Task>,
        person: Option<&Id>,
        area: Option<&Id>,
        deeds: &mut Deeds,
    ) {
        match self.areas.clear(person, area, |person| view.permissions.person_exists(person)) {
            Some(changes) => {
                Self::areas_changed(changes, deeds);
                let (person, area, actor) = (person.cloned(), area.cloned(), order.by.clone());
                deeds.event(EventBody::ApbCleared { person, area, actor });
                deeds.push(Deed::Held(order.ticket, Progress::Done));
            }
            None => {
                let unknown = "the permission set has no such person or area at this node".to_owned();
                deeds.push(Deed::Report(order.ticket, Progress::Refused(Refusal::UnknownTarget, unknown)));
            }
        }
    }
}

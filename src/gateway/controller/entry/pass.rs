//! The last step: areas, then the door. Owns the events of a grant; must never grant one of two who may pass
//! only together. Invariant: who is granted is counted where they go, and duress shows in nothing but its event.

use std::time::Duration;

use super::{
    Entry,
    ask::Holder,
    here::{Here, Refused},
};
use crate::{
    domain::{
        area::{Changes, Verdict},
        door::{ContactState, DoorInput, Grant, OPEN_GRACE},
        event::{Actor, CardEvidence, DenialReason, Denied, EventBody, Granted},
        ids::{DoorIx, Id},
        status::Thing,
        time::Mono,
    },
    gateway::controller::machine::{Deed, Deeds},
};

/// After a door's own word that nobody passed should have come.
const SETTLE: Duration = Duration::from_secs(1);

impl Entry {
    /// All of them whom the rules admit, or none.
    pub(super) fn pass(&mut self, here: &Here<'_>, holders: &[(Holder, Option<CardEvidence>)], deeds: &mut Deeds) {
        let verdicts: Vec<Verdict> = holders.iter().map(|(holder, _)| self.areas_say(here, holder)).collect();
        let refused = verdicts.iter().any(|verdict| verdict.denied.is_some());
        for ((holder, card), verdict) in holders.iter().zip(verdicts) {
            self.tell_violations(here, &holder.person, &verdict, deeds);
            if refused {
                deeds.event(here.deny_holder(holder, card.clone(), verdict));
            } else {
                let granted = Granted { companion: holder.companion.clone(), ..here.granted(card.clone()) };
                self.grant(here, holder, granted, deeds);
            }
        }
    }

    pub(super) fn areas_say(&self, here: &Here<'_>, holder: &Holder) -> Verdict {
        match here.reader_ix() {
            Some(reader) => self.areas.judge(here.now, &holder.person, holder.apb_exempt, reader),
            None => Verdict::default(),
        }
    }

    pub(super) fn tell_violations(&self, here: &Here<'_>, person: &Id, verdict: &Verdict, deeds: &mut Deeds) {
        let denied = matches!(verdict.denied, Some((DenialReason::ApbViolation, _)));
        for violation in &verdict.violations {
            deeds.event(EventBody::ApbViolated {
                door: here.door_id.clone(),
                reader: here.reader_id(),
                person: person.clone(),
                area: violation.area.clone(),
                way: violation.way,
                denied,
            });
        }
    }

    fn grant(&mut self, here: &Here<'_>, holder: &Holder, granted: Granted, deeds: &mut Deeds) {
        let Holder { person, credential, rule, extended, duress, .. } = holder.clone();
        let actor = Actor::Person { person: person.clone(), credential: credential.clone() };
        deeds.event(EventBody::AccessGranted(Granted {
            person: Some(person.clone()),
            credential: Some(credential.clone()),
            rule,
            ..granted
        }));
        if let Some(reader) = here.reader_id().filter(|_| duress) {
            let door = here.door_id.clone();
            deeds.event(EventBody::AccessDuress { door, reader, person: person.clone(), credential });
        }
        let dwell =
            here.view.door_config(here.door).map(|door| if extended { door.dwell_extended } else { door.dwell });
        let until = here.now.mono + dwell.unwrap_or_default() + OPEN_GRACE + SETTLE;
        self.expect(here, &person, actor.clone(), until, deeds);
        deeds.door(here.door, DoorInput::Grant(Grant { actor, extended }));
    }

    /// Counts the passage, at once or when the door is seen to open.
    pub(super) fn expect(&mut self, here: &Here<'_>, person: &Id, actor: Actor, until: Mono, deeds: &mut Deeds) {
        let Some(reader) = here.reader_ix() else { return };
        let closed = here.view.door(here.door).is_some_and(|door| door.contact == ContactState::Closed);
        let expected = closed.then_some((here.door, actor, until));
        let changes = self.areas.granted(here.now, person, reader, expected);
        Self::areas_changed(changes, deeds);
    }

    pub(super) fn passed(&mut self, now: crate::domain::time::Now, door: DoorIx, deeds: &mut Deeds) {
        let changes = self.areas.passed(now, door);
        Self::areas_changed(changes, deeds);
    }

    pub(super) fn areas_changed(changes: Changes, deeds: &mut Deeds) {
        if !changes.kept.is_empty() {
            deeds.push(Deed::KeepAll(changes.kept));
        }
        if !changes.unkept.is_empty() {
            deeds.push(Deed::UnkeepAll(changes.unkept));
        }
        deeds.0.extend(changes.areas.into_iter().map(|area| Deed::Changed(Thing::Area(area))));
    }
}

impl Here<'_> {
    /// Refused by an area, or because the other one was.
    pub(super) fn deny_holder(&self, holder: &Holder, card: Option<CardEvidence>, verdict: Verdict) -> EventBody {
        let (reason, area) = match verdict.denied {
            Some((reason, area)) => (reason, Some(area)),
            None => (DenialReason::SecondPersonRequired, None),
        };
        let Holder { person, credential, rule, .. } = holder.clone();
        let refused = Refused { reason, person: Some(person), credential: Some(credential), rule };
        EventBody::AccessDenied(Denied { area, ..self.denied(refused, card) })
    }
}

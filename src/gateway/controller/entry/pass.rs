//! The last step: areas, then the door. Owns the events of a grant; must never grant one of two who may pass
//! only together. Invariant: who is granted is counted where they go, and duress shows in nothing but its event.

use std::time::Duration;

use super::{
    Entry,
    ask::Holder,
    here::{At, Here},
};
use crate::{
    domain::{
        area::{Changes, Verdict},
        door::{ContactState, OPEN_GRACE},
        event::{Actor, CardEvidence, DenialReason, EventBody, Granted},
        ids::{DoorIx, Id},
        status::Thing,
        time::{Mono, Now},
    },
    gateway::controller::machine::{Deed, Deeds},
};

/// After a door's own word that nobody passed should have come.
const SETTLE: Duration = Duration::from_secs(1);

impl Entry {
    /// All of them whom the rules admit, or none.
    pub(super) fn pass(&mut self, here: &Here<'_>, holders: &[(Holder, Option<CardEvidence>)], deeds: &mut Deeds) {
        let together: Vec<&Id> = holders.iter().map(|(holder, _)| &holder.person).collect();
        let verdicts: Vec<Verdict> =
            holders.iter().map(|(holder, _)| self.areas_say(here, holder, &together)).collect();
        let refused = verdicts.iter().any(|verdict| verdict.denied.is_some());
        for ((holder, card), verdict) in holders.iter().zip(verdicts) {
            self.tell_violations(here, &holder.person, &verdict, deeds);
            if refused {
                // If not by an area, then because the other one was.
                let (reason, area) = match verdict.denied {
                    Some((reason, area)) => (reason, Some(area)),
                    None => (DenialReason::SecondPersonRequired, None),
                };
                here.deny_at(area, holder.clone().refused(reason), card.clone(), deeds);
            } else {
                self.grant(here, holder, card.clone(), deeds);
            }
        }
    }

    pub(super) fn areas_say(&self, here: &Here<'_>, holder: &Holder, together: &[&Id]) -> Verdict {
        match here.reader_ix() {
            Some(reader) => self.areas.judge(here.now, &holder.person, holder.apb_exempt, reader, together),
            None => Verdict::default(),
        }
    }

    pub(super) fn tell_violations(&self, here: &Here<'_>, person: &Id, verdict: &Verdict, deeds: &mut Deeds) {
        let denied = matches!(verdict.denied, Some((DenialReason::ApbViolation, _)));
        for violation in &verdict.violations {
            deeds.event(EventBody::ApbViolated {
                door: here.door_id(),
                floor_group: here.floor_group(),
                reader: here.reader_id(),
                person: person.clone(),
                area: violation.area.clone(),
                way: violation.way,
                denied,
            });
        }
    }

    fn grant(&mut self, here: &Here<'_>, holder: &Holder, card: Option<CardEvidence>, deeds: &mut Deeds) {
        let Holder { person, credential, rule, companion, extended, .. } = holder.clone();
        let actor = match credential.clone() {
            Some(credential) => Actor::Person { person: person.clone(), credential },
            // Whoever stands at a reader has presented one.
            None => Actor::Node,
        };
        let person = Some(person);
        let floors = here.floor_names(holder.floors);
        let granted = Granted { person, credential, rule: Some(rule), companion, floors, ..here.granted(card) };
        deeds.event(EventBody::AccessGranted(granted));
        if holder.duress {
            let duress = here.duress(true, Some(holder.person.clone()), holder.credential.clone());
            deeds.0.extend(duress.map(Deed::Event));
        }
        let door = match here.at {
            At::Door(door) => here.view.door_config(door),
            At::Cab(_) => None,
        };
        let dwell = door.map(|door| if extended { door.dwell_extended } else { door.dwell });
        let until = here.now.mono + dwell.unwrap_or_default() + OPEN_GRACE + SETTLE;
        self.expect(here, &holder.person, actor.clone(), until, deeds);
        here.let_in(actor, extended, holder.floors, deeds);
    }

    /// Counts the passage, at once or when the door is seen to open.
    pub(super) fn expect(&mut self, here: &Here<'_>, person: &Id, actor: Actor, until: Mono, deeds: &mut Deeds) {
        let Some(reader) = here.reader_ix() else { return };
        // Nobody sees whether somebody leaves a cab.
        let expected = match here.at {
            At::Door(door) => Some(door),
            At::Cab(_) => None,
        };
        let closed = |door: &DoorIx| here.view.door(*door).is_some_and(|door| door.contact == ContactState::Closed);
        let expected = expected.filter(closed).map(|door| (door, actor, until));
        let changes = self.areas.granted(here.now, person, reader, expected);
        Self::areas_changed(changes, deeds);
    }

    pub(super) fn passed(&mut self, now: Now, door: DoorIx, deeds: &mut Deeds) {
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

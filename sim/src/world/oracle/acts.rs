//! What system events order. Owns a naive reading of their actions at doors and of whether their author may order them;
//! must never ask the machine. Invariant: what fires does at its doors what its record says, in the same step, if its
//! author may order that then; and nothing else is done in a system event's name.

use std::collections::BTreeSet;

use latchd::domain::{
    door::{DoorStatus, Mode},
    event::{EventBody, Refusal},
    ids::Id,
    record::{Record, SystemAction, SystemEvent},
    time::Mono,
};

use super::{Invariant, Oracle, scope};
use crate::world::{set::Generation, site::Site};

/// How long an order of a system event may wait for its wire, and what is on its way then.
const ORDER_WITHIN: std::time::Duration = std::time::Duration::from_millis(6_500);

fn record<'a>(generation: &'a Generation, id: &Id) -> Option<&'a SystemEvent> {
    generation.records.iter().find_map(|(other, record)| match record {
        Record::SystemEvent(body) if other == id => Some(body),
        _ => None,
    })
}

/// Without an author it is the cloud's own; else they must be in office, and it must be theirs to do, there.
fn author_may(generation: &Generation, event: &SystemEvent, action: &SystemAction, door: Option<&Id>) -> bool {
    event.author.as_ref().is_none_or(|author| {
        scope::in_office(&generation.records, author).is_some_and(|(operator, own)| {
            let there = door.map_or(own.everything, |door| own.has_door(door));
            scope::may(&operator.role, action.name()) && there
        })
    })
}

/// What is told to have been refused, of an author who lacked nothing.
fn refused_wrongly(generation: &Generation, body: &EventBody) -> bool {
    let EventBody::SystemEventRefused { author: Some(author), action, target: Some(door), reason, .. } = body else {
        return false;
    };
    let (known, own) = (scope::operator(&generation.records, author), scope::in_office(&generation.records, author));
    match reason {
        Refusal::UnknownOperator => known.is_some(),
        Refusal::OperatorSuspended => own.is_some(),
        Refusal::Forbidden => own.is_some_and(|(operator, _)| scope::may(&operator.role, action)),
        Refusal::OutOfScope => own.is_some_and(|(_, own)| own.has_door(door)),
        _ => false,
    }
}

impl Oracle {
    /// What fired in this step, before what it led to is looked at.
    pub(super) fn note_acts(&mut self, site: &Site, generation: Option<&Generation>, now: Mono, events: &[&EventBody]) {
        self.own_lockdowns.clear();
        let Some(generation) = generation else { return };
        for body in events {
            let EventBody::SystemEventFired { system_event, .. } = body else { continue };
            let Some(event) = record(generation, system_event) else { continue };
            for action in &event.actions {
                if let SystemAction::OutputPulse { output, pulse_ms } = action
                    && author_may(generation, event, action, None)
                {
                    let length = std::time::Duration::from_millis(u64::from(*pulse_ms));
                    self.output_ordered_by_itself(output, now + ORDER_WITHIN + length);
                }
                let here = site.doors.iter().enumerate().filter(|(_, door)| action.doors().contains(&door.id));
                for (at, door) in here.filter(|(_, door)| author_may(generation, event, action, Some(&door.id))) {
                    match action {
                        SystemAction::LockdownSet { .. } => drop(self.own_lockdowns.insert(at)),
                        SystemAction::DoorOpenAndClose { dwell_ms, .. } => {
                            let asked = dwell_ms.map(|ms| std::time::Duration::from_millis(u64::from(ms)));
                            self.doors[at].opened_by_itself(now + ORDER_WITHIN + asked.unwrap_or(door.dwell));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    pub(super) fn check_acts(
        &mut self,
        site: &Site,
        generation: Option<&Generation>,
        events: &[&EventBody],
        statuses: &[DoorStatus],
    ) {
        let Some(generation) = generation.filter(|_| !self.rights.stopping) else { return };
        if let Some(body) = events.iter().find(|body| refused_wrongly(generation, body)) {
            return self.fail(Invariant::RefusedRightly, format!("{body:?}, whose author may"));
        }
        let refused: BTreeSet<&Id> = events
            .iter()
            .filter_map(|body| match body {
                EventBody::SystemEventRefused { system_event, .. }
                | EventBody::SystemEventFailed { system_event, .. } => Some(system_event),
                _ => None,
            })
            .collect();
        for body in events {
            let EventBody::SystemEventFired { system_event, .. } = body else { continue };
            let Some(event) = record(generation, system_event) else { continue };
            for action in &event.actions {
                let here = site.doors.iter().enumerate().filter(|(_, door)| action.doors().contains(&door.id));
                for (at, door) in here {
                    let done = match action {
                        SystemAction::LockdownSet { .. } => self.doors[at].holds.lockdown,
                        SystemAction::DoorOpenAndClose { .. } => {
                            statuses.get(at).is_some_and(|status| status.mode != Mode::Locked)
                        }
                        _ => continue,
                    };
                    let told = refused.contains(system_event);
                    let may = author_may(generation, event, action, Some(&door.id));
                    // Whoever may not is told so; whoever may is obeyed, or told why not.
                    let obeyed = may && done;
                    if !told && !obeyed {
                        let what = format!(
                            "{system_event} fired, its author may: {may}; at {} it was done: {done}, refused: {told}",
                            door.id
                        );
                        return self.fail(Invariant::ActsForItsAuthor, what);
                    }
                }
            }
        }
    }
}

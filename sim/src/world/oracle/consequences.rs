//! System events. Owns a naive reading of what triggers which of them; must never ask the machine. Invariant: what
//! was triggered fired in the same step, with what follows from it, and nothing else fired.

use latchd::domain::{
    event::EventBody,
    ids::Id,
    kept::{Kept, Standing},
    record::{Record, SystemEvent, Trigger},
};

use super::{Invariant, Oracle};
use crate::world::set::Generation;

fn triggers(trigger: &Trigger, body: &EventBody) -> bool {
    let named = |doors: &[Id], door: &Id| doors.is_empty() || doors.contains(door);
    match (trigger, body) {
        (Trigger::FireActivated {}, EventBody::FireActivated { .. }) => true,
        (Trigger::Tamper { inputs }, EventBody::TamperActivated { input, .. }) => named(inputs, input),
        (Trigger::Rex { doors }, EventBody::RexActivated { door }) => named(doors, door),
        // Without a door it was in the cab.
        (Trigger::Duress { doors }, EventBody::AccessDuress { door, .. }) => {
            doors.is_empty() || door.as_ref().is_some_and(|door| doors.contains(door))
        }
        (Trigger::Forced { doors }, EventBody::DoorForced { door }) => named(doors, door),
        (Trigger::Granted { doors, .. }, EventBody::AccessGranted(granted)) => {
            granted.door.as_ref().is_some_and(|door| named(doors, door))
        }
        _ => false,
    }
}

/// What lasts from one event to another, and whether it begins.
fn stands(body: &EventBody) -> Option<(Standing, bool)> {
    match body {
        EventBody::FireActivated { input } => Some((Standing::Fire { input: input.clone() }, true)),
        EventBody::FireCleared { input } => Some((Standing::Fire { input: input.clone() }, false)),
        EventBody::TamperActivated { input, .. } => Some((Standing::InputActive { input: input.clone() }, true)),
        EventBody::TamperCleared { input, .. } => Some((Standing::InputActive { input: input.clone() }, false)),
        EventBody::DoorForced { door } => Some((Standing::Forced { door: door.clone() }, true)),
        EventBody::DoorAlarmCleared { door, .. } => Some((Standing::Forced { door: door.clone() }, false)),
        _ => None,
    }
}

fn records(generation: &Generation) -> impl Iterator<Item = (&Id, &SystemEvent)> {
    generation.records.iter().filter_map(|(id, record)| match record {
        Record::SystemEvent(body) => Some((id, body)),
        _ => None,
    })
}

impl Oracle {
    /// What was known to stand when the run before ended fires nothing again.
    pub(super) fn stands_from_before<'a>(&mut self, kept: impl Iterator<Item = &'a Kept>) {
        let standing = kept.filter_map(|kept| match kept {
            Kept::Standing { what } => Some(what.clone()),
            _ => None,
        });
        self.standing = standing.collect();
    }

    pub(super) fn check_consequences(&mut self, generation: Option<&Generation>, what: &str, events: &[&EventBody]) {
        let Some(generation) = generation.filter(|_| !self.rights.stopping) else { return };
        let mut again = Vec::new();
        for (at, body) in events.iter().enumerate() {
            match stands(body) {
                Some((what, begins)) if self.standing.remove(&what) && begins => again.push(at),
                _ => {}
            }
        }
        for (id, record) in records(generation) {
            let due = events.iter().filter(|body| triggers(&record.when, body)).count();
            let new =
                events.iter().enumerate().filter(|(at, body)| !again.contains(at) && triggers(&record.when, body));
            let new = new.count();
            let fired = |body: &&&EventBody| match body {
                EventBody::SystemEventFired { system_event, .. } => system_event == id,
                _ => false,
            };
            let suppressed = events.iter().any(|body| match body {
                EventBody::SystemEventSuppressed { system_event, .. } => system_event == id,
                _ => false,
            });
            let fired = events.iter().filter(fired).count();
            if fired > due || (fired < new && !suppressed) {
                let what = format!("{id} was triggered {due} times on {what}, and fired {fired} times");
                return self.fail(Invariant::ConsequencesFollow, what);
            }
        }
    }
}

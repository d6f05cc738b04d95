//! What a trigger listens to. Owns the passage from an event of the log to the triggers that it fires; must never
//! look at anything but the event and who is in which group. Invariant: one event fires one trigger once.

use super::Swipe;
use crate::domain::{
    event::{DenialReason, EventBody},
    ids::Id,
    record::Trigger,
};

/// Where it happened, and by whom, for the event that tells of the firing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    pub door: Option<Id>,
    pub person: Option<Id>,
}

fn among(listed: &[Id], id: Option<&Id>) -> bool {
    listed.is_empty() || id.is_some_and(|id| listed.contains(id))
}

/// `swipe`: what this grant is to those before it at the same reader.
pub fn fires(
    trigger: &Trigger,
    body: &EventBody,
    swipe: Option<&Swipe>,
    is_member: &dyn Fn(&Id, &Id) -> bool,
) -> Option<Cause> {
    let at =
        |listed: &[Id], door: &Id| among(listed, Some(door)).then(|| Cause { door: Some(door.clone()), person: None });
    let of = |listed: &[Id], thing: &Id| among(listed, Some(thing)).then(Cause::default);
    let by = |door: &Option<Id>, person: &Option<Id>| Cause { door: door.clone(), person: person.clone() };
    let in_groups = |groups: &[Id], person: &Option<Id>| {
        groups.is_empty() || person.as_ref().is_some_and(|p| groups.iter().any(|group| is_member(p, group)))
    };
    match (trigger, body) {
        (Trigger::ContactOpened { doors }, EventBody::DoorOpened { door })
        | (Trigger::ContactClosed { doors }, EventBody::DoorClosed { door })
        | (Trigger::Forced { doors }, EventBody::DoorForced { door })
        | (Trigger::Propped { doors }, EventBody::DoorPropped { door })
        | (Trigger::AlarmCleared { doors }, EventBody::DoorAlarmCleared { door })
        | (Trigger::Rex { doors }, EventBody::RexActivated { door })
        | (Trigger::AutoOpenOn { doors }, EventBody::AutoOpenStarted { door, .. })
        | (Trigger::AutoOpenOff { doors }, EventBody::AutoOpenEnded { door, .. }) => at(doors, door),
        (Trigger::FirstIn { doors }, EventBody::AutoOpenFirstPersonCame { door, person, .. }) => {
            at(doors, door).map(|cause| Cause { person: Some(person.clone()), ..cause })
        }
        (Trigger::Duress { doors }, EventBody::AccessDuress { door, person, .. })
        | (Trigger::ApbViolation { doors }, EventBody::ApbViolated { door, person, .. }) => {
            among(doors, door.as_ref()).then(|| by(door, &Some(person.clone())))
        }
        (Trigger::Granted { doors, groups, persons }, EventBody::AccessGranted(granted)) => {
            let named = persons.is_empty() || granted.person.as_ref().is_some_and(|person| persons.contains(person));
            let fits = among(doors, granted.door.as_ref()) && named && in_groups(groups, &granted.person);
            fits.then(|| by(&granted.door, &granted.person))
        }
        (Trigger::MultiSwipe { doors, swipes, within_ms, groups }, EventBody::AccessGranted(granted)) => {
            let fits = among(doors, granted.door.as_ref()) && in_groups(groups, &granted.person);
            let times = swipe.filter(|_| fits).map(|swipe| swipe.times(*within_ms));
            (times == Some(usize::from(*swipes))).then(|| by(&granted.door, &granted.person))
        }
        (Trigger::Denied { doors, reasons }, EventBody::AccessDenied(denied)) => {
            let fits = among(doors, denied.door.as_ref()) && (reasons.is_empty() || reasons.contains(&denied.reason));
            fits.then(|| by(&denied.door, &denied.person))
        }
        (Trigger::UnknownCredential { doors }, EventBody::AccessDenied(denied)) => {
            let fits = denied.reason == DenialReason::UnknownCredential && among(doors, denied.door.as_ref());
            fits.then(|| by(&denied.door, &denied.person))
        }
        (Trigger::ReaderLost { readers }, EventBody::ReaderLost { reader, .. })
        | (Trigger::ReaderRestored { readers }, EventBody::ReaderRestored { reader }) => of(readers, reader),
        (Trigger::BoardLost { boards }, EventBody::BoardLost { board, .. })
        | (Trigger::BoardRestored { boards }, EventBody::BoardRestored { board }) => of(boards, board),
        (Trigger::Tamper { inputs }, EventBody::TamperActivated { input, door, .. })
        | (Trigger::TamperCleared { inputs }, EventBody::TamperCleared { input, door, .. }) => {
            of(inputs, input).map(|cause| Cause { door: door.clone(), ..cause })
        }
        // Somebody cut or shorted a wire: as an input of its own it has no name.
        (Trigger::Tamper { inputs }, EventBody::TamperLineFaulted { doors, .. }) if inputs.is_empty() => {
            Some(Cause { door: doors.first().cloned(), person: None })
        }
        (Trigger::TamperCleared { inputs }, EventBody::TamperLineRestored { .. }) if inputs.is_empty() => {
            Some(Cause::default())
        }
        (Trigger::InputActivated { inputs }, EventBody::InputActivated { input })
        | (Trigger::InputCleared { inputs }, EventBody::InputCleared { input }) => of(inputs, input),
        (Trigger::FireActivated {}, EventBody::FireActivated { .. })
        | (Trigger::FireCleared {}, EventBody::FireCleared { .. })
        | (Trigger::PowerLost {}, EventBody::PowerLost { .. })
        | (Trigger::PowerRestored {}, EventBody::PowerRestored { .. })
        | (Trigger::CloudLost {}, EventBody::CloudLost { .. })
        | (Trigger::CloudRestored {}, EventBody::CloudRestored {}) => Some(Cause::default()),
        _ => None,
    }
}

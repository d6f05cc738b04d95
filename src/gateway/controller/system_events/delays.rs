//! What a system event has put off. Owns it across restarts; must never carry it out twice. Invariant: for one
//! system event, door and direction at most one is put off, and a later firing takes the place of the earlier.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        event::EventBody,
        ids::Id,
        kept::{Kept, KeptKey},
        record::{SystemAction, SystemEvent},
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::controller::machine::{Deed, Deeds},
};

/// Of all system events together.
pub const DELAYS_MAX: usize = 1024;
/// At one door, so that its state stays a message of reasonable size.
pub const DELAYS_PER_DOOR_MAX: usize = 64;

/// One of them, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay {
    pub system_event: Id,
    pub door: Id,
    pub opens: bool,
    pub due: Mono,
    /// The same as it is told.
    pub due_at: Wall,
    /// When it fired: a close that came later cancels it.
    pub since: Wall,
    /// It was due while the node was down.
    pub overdue: bool,
}

type Key = (Id, Id, bool);

#[derive(Debug, Default)]
pub struct Delays {
    all: BTreeMap<Key, Delay>,
    /// Doors at which something else is put off than was last told.
    changed: BTreeSet<Id>,
}

impl Delay {
    fn key(&self) -> Key {
        (self.system_event.clone(), self.door.clone(), self.opens)
    }

    pub fn kept_key(&self) -> KeptKey {
        KeptKey::delay(&self.system_event, &self.door, self.opens)
    }
}

impl Delays {
    /// An opening whose time came while the node was down has expired, a closing is carried out. So it is with a
    /// clock that nobody trusts: then nobody knows when it was due.
    pub fn restored(now: Now, kept: &[Kept]) -> Delays {
        let delay = |kept: &Kept| match kept.clone() {
            Kept::Delay { system_event, door, opens, due, since } => {
                let overdue = due <= now.wall || now.trust == ClockTrust::Untrusted;
                let (due_at, due) = (due, if overdue { now.mono } else { now.mono_at(due) });
                Some(Delay { system_event, door, opens, due, due_at, since, overdue })
            }
            _ => None,
        };
        // The first state of every door is told anyway.
        let all = kept.iter().filter_map(delay).map(|delay| (delay.key(), delay)).collect();
        Delays { all, changed: BTreeSet::new() }
    }

    /// False: there are too many.
    pub fn put_off(&mut self, delay: Delay, deeds: &mut Deeds) -> bool {
        let at_door = self.all.values().filter(|other| other.door == delay.door).count();
        let is_full = self.all.len() >= DELAYS_MAX || at_door >= DELAYS_PER_DOOR_MAX;
        if is_full && !self.all.contains_key(&delay.key()) {
            return false;
        }
        let Delay { system_event, door, opens, due_at: due, since, .. } = delay.clone();
        deeds.push(Deed::Keep(Kept::Delay { system_event, door, opens, due, since }));
        self.changed.insert(delay.door.clone());
        self.all.insert(delay.key(), delay);
        true
    }

    pub fn take_due(&mut self, now: Mono) -> Vec<Delay> {
        let due: Vec<Delay> = self.all.values().filter(|delay| delay.due <= now).cloned().collect();
        self.all.retain(|_, delay| delay.due > now);
        self.changed.extend(due.iter().map(|delay| delay.door.clone()));
        due
    }

    /// Only what its system event still asks for.
    pub fn retain(&mut self, events: &BTreeMap<Id, SystemEvent>, deeds: &mut Deeds) {
        let asked = |delay: &Delay| {
            let event = events.get(&delay.system_event);
            event.is_some_and(|event| event.actions.iter().any(|action| matches(action, delay)))
        };
        self.cancel(|delay| !asked(delay), "the set no longer asks for it", deeds);
    }

    /// A close was taken at this door, or a `door.cancel_delay`: what was put off there before it is cancelled.
    pub fn closed(&mut self, door: &Id, command: &str, deeds: &mut Deeds) {
        self.cancel(|delay| delay.door == *door, &format!("a {command} came meanwhile"), deeds);
    }

    /// An operator does not want what was put off at this door, or what this system event put off there. False:
    /// it put nothing off.
    pub fn cancelled(&mut self, door: &Id, system_event: Option<&Id>, why: &str, deeds: &mut Deeds) -> bool {
        let named = |delay: &Delay| system_event.is_none_or(|id| *id == delay.system_event);
        let which = |delay: &Delay| delay.door == *door && named(delay);
        let found = self.all.values().any(which);
        self.cancel(which, why, deeds);
        found || system_event.is_none()
    }

    pub fn at<'a>(&'a self, door: &'a Id) -> impl Iterator<Item = &'a Delay> {
        self.all.values().filter(move |delay| delay.door == *door)
    }

    pub fn take_changed(&mut self) -> BTreeSet<Id> {
        std::mem::take(&mut self.changed)
    }

    fn cancel(&mut self, which: impl Fn(&Delay) -> bool, why: &str, deeds: &mut Deeds) {
        let gone: Vec<Delay> = self.all.values().filter(|delay| which(delay)).cloned().collect();
        self.all.retain(|_, delay| !which(delay));
        for gone in gone {
            deeds.push(Deed::Unkeep(gone.kept_key()));
            self.changed.insert(gone.door.clone());
            deeds.event(EventBody::SystemEventFailed {
                system_event: gone.system_event,
                action: name(gone.opens).to_owned(),
                outcome: "cancelled".to_owned(),
                detail: Some(why.to_owned()),
            });
        }
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.all.values().map(|delay| delay.due).min()
    }
}

fn matches(action: &SystemAction, delay: &Delay) -> bool {
    match (action, delay.opens) {
        (SystemAction::DoorOpenWithDelay { doors, .. }, true)
        | (SystemAction::DoorCloseWithDelay { doors, .. }, false) => doors.contains(&delay.door),
        _ => false,
    }
}

pub fn name(opens: bool) -> &'static str {
    if opens { "door.open_with_delay" } else { "door.close_with_delay" }
}

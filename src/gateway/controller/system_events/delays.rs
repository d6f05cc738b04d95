//! What a system event has put off. Owns it across restarts; must never carry it out twice. Invariant: for one
//! system event, door and direction at most one is put off, and a later firing takes the place of the earlier.

use std::collections::BTreeMap;

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

/// One of them, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay {
    pub system_event: Id,
    pub door: Id,
    pub opens: bool,
    pub due: Mono,
    /// When it fired: a close that came later cancels it.
    pub since: Wall,
    /// It was due while the node was down.
    pub overdue: bool,
}

type Key = (Id, Id, bool);

#[derive(Debug, Default)]
pub struct Delays(BTreeMap<Key, Delay>);

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
                let due = if overdue { now.mono } else { now.mono_at(due) };
                Some(Delay { system_event, door, opens, due, since, overdue })
            }
            _ => None,
        };
        Delays(kept.iter().filter_map(delay).map(|delay| (delay.key(), delay)).collect())
    }

    /// False: there are too many.
    pub fn put_off(&mut self, delay: Delay, due: Wall, deeds: &mut Deeds) -> bool {
        if self.0.len() >= DELAYS_MAX && !self.0.contains_key(&delay.key()) {
            return false;
        }
        let Delay { system_event, door, opens, since, .. } = delay.clone();
        deeds.push(Deed::Keep(Kept::Delay { system_event, door, opens, due, since }));
        self.0.insert(delay.key(), delay);
        true
    }

    pub fn take_due(&mut self, now: Mono) -> Vec<Delay> {
        let due: Vec<Delay> = self.0.values().filter(|delay| delay.due <= now).cloned().collect();
        self.0.retain(|_, delay| delay.due > now);
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

    /// A close was taken at this door: what was put off there before it is cancelled.
    pub fn closed(&mut self, door: &Id, deeds: &mut Deeds) {
        self.cancel(|delay| delay.door == *door, "the door was ordered to close meanwhile", deeds);
    }

    fn cancel(&mut self, which: impl Fn(&Delay) -> bool, why: &str, deeds: &mut Deeds) {
        let gone: Vec<Delay> = self.0.values().filter(|delay| which(delay)).cloned().collect();
        self.0.retain(|_, delay| !which(delay));
        for gone in gone {
            deeds.push(Deed::Unkeep(gone.kept_key()));
            deeds.event(EventBody::SystemEventFailed {
                system_event: gone.system_event,
                action: name(gone.opens).to_owned(),
                outcome: "cancelled".to_owned(),
                detail: Some(why.to_owned()),
            });
        }
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.0.values().map(|delay| delay.due).min()
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

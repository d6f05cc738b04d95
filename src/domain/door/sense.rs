//! What the door senses: its contact, its exit button, fire. Owns the edges; must never trust a value that
//! was not read. Invariant: what nobody saw happen has no alarm, and each edge that was seen has its event.

use super::{Contact, ContactState, FireReset, alarm::Allowance, input::Effects, orders::Passage, state::Door};
use crate::domain::{
    event::{Actor, EventBody},
    time::Mono,
};

/// The exit button.
///
/// ```text
///   idle --pressed: rex.activated--> active --released--> after-run of one dwell --over, relock--> idle
///                                      ^                      |
///                                      +------ pressed -------+
/// ```
#[derive(Debug, Default)]
pub(super) struct Exit {
    pub active: bool,
    pub until: Option<Mono>,
    passage: Passage,
}

impl Exit {
    pub fn holds(&self, at: Mono) -> bool {
        self.active || self.until.is_some_and(|until| at < until)
    }
}

impl Door {
    pub(super) fn see_contact(&mut self, now: Mono, contact: ContactState, out: &mut Effects) -> Actor {
        let before = std::mem::replace(&mut self.contact, contact);
        if before == contact {
            return Actor::Door;
        }
        let door = out.door();
        let extended = self.momentary.as_ref().is_some_and(|momentary| momentary.extended);
        let allowed = Allowance::from(now, &self.config, extended);
        match (before, contact) {
            (_, ContactState::Unknown) => {
                self.alarms.contact_lost(&mut self.timers);
                return Actor::Door;
            }
            (ContactState::Closed, ContactState::Open) => {
                out.event(EventBody::DoorOpened { door });
                let by_right = self.unlocked || self.exit.holds(now) || now < self.grace_until;
                self.alarms.opened(by_right, allowed, &mut self.timers, out);
                self.pass(true, out);
            }
            // Nobody saw it open: no forced alarm, but it must not stand open for ever either.
            (ContactState::Unknown | ContactState::Open, ContactState::Open) => {
                if self.contact_seen == ContactState::Closed {
                    out.event(EventBody::DoorOpened { door });
                    self.pass(true, out);
                }
                self.alarms.found_open(allowed, &mut self.timers);
            }
            (ContactState::Open | ContactState::Unknown | ContactState::Closed, ContactState::Closed) => {
                if self.contact_seen == ContactState::Open {
                    out.event(EventBody::DoorClosed { door });
                    self.pass(false, out);
                }
                self.alarms.closed(&mut self.timers, out);
            }
        }
        self.contact_seen = contact;
        Actor::Door
    }

    /// The door opened or closed: momentary unlockings that relock on it have done their work.
    fn pass(&mut self, open: bool, out: &mut Effects) {
        let relock = self.config.relock;
        if open {
            self.orders.observed(out);
        }
        self.orders.note_passage(open);
        if let Some(momentary) = &mut self.momentary {
            momentary.passage.note(open);
        }
        self.momentary.take_if(|momentary| momentary.passage.ends(relock));
        self.exit.passage.note(open);
        if self.exit.passage.ends(relock) {
            self.exit.until = None;
        }
    }

    pub(super) fn press_exit(&mut self, now: Mono, active: bool, out: &mut Effects) -> Actor {
        match (self.exit.active, active) {
            (false, true) => {
                self.exit = Exit { active: true, until: None, passage: Passage::default() };
                out.event(EventBody::RexActivated { door: out.door() });
            }
            (true, false) => {
                self.exit.active = false;
                let done = self.exit.passage.ends(self.config.relock);
                self.exit.until = (!done).then_some(now + self.config.dwell);
            }
            (true, true) | (false, false) => {}
        }
        Actor::Rex
    }

    /// What is to be reset by hand stays released when the input lets go, and in the next run.
    pub(super) fn sense_fire(&mut self, active: bool, out: &mut Effects) -> Actor {
        self.fire = active;
        let latches = active && self.config.fire.is_some_and(|fire| fire.reset == FireReset::Manual);
        if latches && !std::mem::replace(&mut self.durable.fire_latched, true) {
            out.durable = Some(self.durable.clone());
        }
        Actor::Fire
    }
}

impl Contact {
    pub fn state(&self, energised: bool) -> ContactState {
        if energised == self.closed_value { ContactState::Closed } else { ContactState::Open }
    }
}

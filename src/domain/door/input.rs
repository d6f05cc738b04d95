//! What a door is told and what it answers with. Owns the two vocabularies; must never act. Invariant:
//! all that an input brings about, besides the door's own state, is in its [`Effects`].

use serde::{Deserialize, Serialize};

use super::{ContactState, DurableDoor, Hold, orders::OrderEnd};
use crate::domain::{
    event::{Actor, EventBody},
    ids::Id,
    order::{DoorAction, Order, Progress},
    outputs::{Level, Ticket},
    time::Wall,
};

/// What the world tells a door.
#[derive(Clone, Debug, PartialEq)]
pub enum DoorInput {
    /// `Unknown`: the board of the contact is lost.
    Contact(ContactState),
    /// A lost board counts as a released button.
    Rex(bool),
    /// Not told when the board is lost: the last known value holds.
    Fire(bool),
    /// The board of the lock answers, or no longer.
    LockBoard(bool),
    /// The lock was read back, on the first confirmation of an order with its ticket.
    Lock {
        level: Level,
        order: Option<Ticket>,
    },
    /// The lock does not follow what was written, again and again: it was read back at this level.
    LockMismatch(Level),
    Order(Order<DoorAction>),
    OrderEnded {
        ticket: Ticket,
        end: OrderEnd,
    },
    Grant(Grant),
    Override(Override, Actor),
    /// What the auto opens say of this door changed at `at`, which is not later than now: manual opens and
    /// closes from before it end. Those that came after it stay, so it may be told again: at start, or when a
    /// set changed. Whoever drives [`Override::AutoOpen`] tells it with each change of the schedules, at start
    /// with the last one, and when a door gets its first auto open.
    Boundary {
        at: Wall,
        actor: Actor,
    },
    Timeout,
    Stop,
    /// As [`DoorInput::Stop`], for the daemon begins anew in a moment: the relay stays, whatever the policy.
    Pause,
}

/// A credential that is allowed here and now, or a code of a key locker.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Whose it is.
    pub actor: Actor,
    /// Extended release and open times.
    pub extended: bool,
}

/// The causes that machines beside the door work out; none of them outlives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    Interlock(bool),
    /// An auto open unlocks this door now: the schedule holds, no deny does, and whoever must come first came.
    /// A manual close covers it until the next [`DoorInput::Boundary`].
    AutoOpen(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    Open,
    Closed,
}

/// A `door.close` was taken, or a `door.cancel_delay` of a system event: what had been delayed at this door before it
/// is cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// Which of the two.
    pub command: &'static str,
    /// Delays of commands that were issued later stay. Of the node itself: none does.
    pub issued_at: Wall,
    pub by: Actor,
}

/// What one input brought about, besides the door's state.
#[derive(Debug)]
#[must_use]
pub struct Effects {
    door: Id,
    pub events: Vec<EventBody>,
    pub reports: Vec<(Ticket, Progress)>,
    /// Reports that wait until `durable`, and all that was durable before, is on the disk.
    pub held: Vec<(Ticket, Progress)>,
    pub durable: Option<DurableDoor>,
    pub closed: Option<Closed>,
    /// A hold that began or ended in this step.
    pub(super) hold: Option<(Hold, bool)>,
}

impl Effects {
    pub(super) fn none(door: Id) -> Effects {
        Effects {
            door,
            events: Vec::new(),
            reports: Vec::new(),
            held: Vec::new(),
            durable: None,
            closed: None,
            hold: None,
        }
    }

    pub(super) fn door(&self) -> Id {
        self.door.clone()
    }

    pub(super) fn event(&mut self, event: EventBody) {
        self.events.push(event);
    }

    pub(super) fn report(&mut self, ticket: Ticket, progress: Progress) {
        self.reports.push((ticket, progress));
    }

    pub(super) fn report_in_order(&mut self, ticket: Ticket, held: bool, progress: Progress) {
        if held { self.held.push((ticket, progress)) } else { self.report(ticket, progress) }
    }
}

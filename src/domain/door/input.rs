//! What a door is told and what it answers with. Owns the two vocabularies; must never act. Invariant:
//! all that an input brings about, besides the door's own state, is in its [`Effects`].

use super::{ContactState, DurableDoor, orders::OrderEnd};
use crate::domain::{
    event::{Actor, EventBody},
    ids::Id,
    order::{DoorAction, Order, Progress},
    outputs::{Level, Ticket},
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
    Timeout,
    Stop,
}

/// A credential that is allowed here and now.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Whose it is.
    pub actor: Actor,
    /// Extended release and open times.
    pub extended: bool,
}

/// The causes that others set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    Interlock(bool),
    Lockdown(bool),
    Force(Option<Force>),
    Dnd(bool),
    AutoOpen(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    Open,
    Closed,
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
}

impl Effects {
    pub(super) fn none(door: Id) -> Effects {
        Effects { door, events: Vec::new(), reports: Vec::new(), held: Vec::new(), durable: None }
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

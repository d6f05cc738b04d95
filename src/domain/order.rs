//! An order: one command that has been found authentic, new and authorised, on its way to a door, and
//! the reports that come back. Must never carry anything unchecked. Invariant: each order ends in
//! exactly one final [`Progress`].

use std::time::Duration;

use super::{
    door::DoorStatus,
    event::Refusal,
    ids::{DoorIx, Id},
    outputs::Ticket,
    time::{Mono, Wall},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub ticket: Ticket,
    pub door: DoorIx,
    pub action: DoorAction,
    /// The deadline at the relay: past it nothing is put on the wire for this order.
    pub deadline: Mono,
    /// When the cloud issued it: an older level command never undoes a newer one.
    pub issued_at: Wall,
    pub operator: Id,
    pub jti: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorAction {
    /// `door.open`: unlocked until closed.
    Open,
    /// `door.close`: ends an unlocking.
    Close,
    /// `door.open_and_close`: momentary; `None` takes the door's own dwell.
    OpenAndClose { dwell: Option<Duration> },
    /// `door.state.get`.
    Report,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OrderReport {
    pub ticket: Ticket,
    pub at: Wall,
    pub progress: Progress,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The board confirmed by read-back; for a level that must outlive a power cut: and it is durable.
    /// Not final: `Observed` or `NotObserved` follows where the door can tell.
    Actuated {
        observation_follows: bool,
    },
    Observed,
    NotObserved,
    /// Ends `door.state.get`.
    Reported(Box<DoorStatus>),
    Refused(Refusal, String),
    Expired,
    Cancelled,
    Failed(String),
    /// A write timed out and could not be read back: nobody knows.
    Unknown(String),
}

impl Progress {
    pub fn is_final(&self) -> bool {
        !matches!(self, Progress::Actuated { observation_follows: true })
    }
}

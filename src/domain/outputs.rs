//! What the node wants of a relay. Owns the one type that travels from door state to bus; must never
//! hold a transition. Invariant: a level that ends carries its `until` and what follows, so whoever
//! holds it (the bus, even with the door loop gone) lets go in time, and repeating it extends nothing.

use super::{ids::OutputRef, time::Mono};

/// Electrical level of an output; what it means for the lock is polarity, which the door knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Energised,
    Released,
}

impl Level {
    pub fn from_energised(energised: bool) -> Level {
        if energised { Level::Energised } else { Level::Released }
    }

    pub fn is_energised(self) -> bool {
        self == Level::Energised
    }

    pub fn inverted(self) -> Level {
        Level::from_energised(!self.is_energised())
    }
}

/// Names one order of one run, from acceptance to its last outcome. Orders of operators and the node's own
/// number separately, each upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    const OWN: u64 = 1 << 63;

    /// Of what nobody waits for a word about.
    pub const NONE: Ticket = Ticket(0);

    /// The `n`th of the node's own orders.
    pub fn own(n: u64) -> Ticket {
        Ticket(n | Ticket::OWN)
    }

    /// Of an order that no command is behind, but the node itself: a system event's action.
    pub fn is_own(self) -> bool {
        self.0 & Ticket::OWN != 0
    }
}

/// The desired state of one output, complete in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired {
    pub output: OutputRef,
    pub level: Level,
    /// From this instant on, `rest` is desired instead.
    pub until: Option<Mono>,
    pub rest: Level,
    /// The order that brought this level about, and the last instant at which the first write of it
    /// may start on the wire. Past it the bus reports `Expired` and writes nothing for the order.
    pub order: Option<(Ticket, Mono)>,
}

impl Desired {
    pub fn level_at(&self, now: Mono) -> Level {
        match self.until {
            Some(until) if now >= until => self.rest,
            _ => self.level,
        }
    }
}

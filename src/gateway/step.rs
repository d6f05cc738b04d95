//! Persist, then act, by type. Owns the passage from "decided" to "visible"; must never let an effect
//! that waits for the disk out before the disk has it. Invariant: [`Held`] opens only with a
//! [`Durable`], and only a store that has flushed and synced makes one.

use crate::domain::{
    door::{DelayAction, DurableDoor},
    event::Event,
    ids::Id,
    kept::{Kept, KeptKey},
    order::{OrderReport, Progress},
    time::Wall,
};

/// Proof that all writes of a commit are on the disk, through a power cut.
/// Made by `adapters::store` after flush and fsync, and by the simulated disk; by nobody else.
#[derive(Debug)]
pub struct Durable(());

impl Durable {
    pub fn synced() -> Durable {
        Durable(())
    }

    /// What may be said now that it is so.
    pub fn vouches_for<T>(&self, said: T) -> T {
        said
    }
}

/// One thing that the ledger keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum LedgerWrite {
    Event(Event),
    /// Insert or replace the record of a command.
    Command(CommandRecord),
    /// Commands that the desk has pruned; `floor` keeps ids whose `exp` is at or below it dead.
    Forget {
        commands: Vec<CommandKey>,
        floor: Wall,
    },
    Door {
        door: Id,
        state: DurableDoor,
    },
    /// Insert or replace.
    Kept(Kept),
    Unkept(KeptKey),
    /// The cloud has stored all events up to this number.
    Acked {
        through: u64,
    },
    /// Last beat: what staleness is counted from, and a floor for the clock.
    Beat {
        at: Wall,
        epoch: u64,
        generation: u64,
    },
    /// The largest wall time that was trusted: a clock below it is wrong.
    ClockFloor(Wall),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct CommandKey {
    pub issuer: String,
    pub jti: Id,
}

/// What the ledger remembers of a command.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CommandRecord {
    pub key: CommandKey,
    pub operator: Id,
    /// SHA-256 of the JWS as received: the same id with other bytes is a conflict.
    pub digest: [u8; 32],
    pub exp: Wall,
    /// The run that received it.
    pub boot: Id,
    /// The stages published so far, as they were published.
    pub outcomes: Vec<crate::wire::outcome::Outcome>,
    /// What it is still to do, from its `scheduled` on until it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
}

/// All that any later run needs to carry a delayed command out.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Delay {
    pub door: Id,
    pub action: DelayAction,
    pub due_at: Wall,
    /// The command's `iat`.
    pub issued_at: Wall,
    /// The key that signed it: when that is revoked, this is cancelled.
    pub kid: Id,
}

/// A mark among the commits of the doors. They rise, also across restarts of the door loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// What waits for the disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To the doors: all that they had committed up to here is durable.
    Fence(Fence),
    /// To the desk: this order has got so far.
    Report(OrderReport),
    /// To the cloud link: the broker may forget this message.
    AckMessage(MessageToken),
    /// To the session: publish this outcome.
    Publish(crate::wire::outcome::Outcome),
}

/// A received MQTT message that has not been acknowledged yet. `connection` tells a token of an
/// earlier connection, whose packet ids mean nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageToken {
    pub connection: u64,
    pub packet_id: u16,
}

/// Effects that no one can see before the writes they depend on are durable.
#[derive(Debug, Default)]
pub struct Held(Vec<Effect>);

impl LedgerWrite {
    /// What it keeps the newest value of, if that must not be lost: a later write of the same replaces it.
    pub fn lasting(&self) -> Option<LastingKey> {
        match self {
            LedgerWrite::Door { door, .. } => Some(LastingKey::Door(door.clone())),
            LedgerWrite::Kept(kept) => Some(LastingKey::Kept(kept.key())),
            LedgerWrite::Unkept(key) => Some(LastingKey::Kept(key.clone())),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastingKey {
    Door(Id),
    Kept(KeptKey),
}

impl Held {
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Somebody is being kept waiting: an operator for the word that a door's mode will last, a person for a
    /// compartment to open.
    pub fn is_urgent(&self) -> bool {
        self.0.iter().any(|effect| matches!(effect, Effect::Report(_) | Effect::Fence(_)))
    }

    pub fn release(self, _: &Durable) -> Vec<Effect> {
        self.0
    }

    /// The writes will never be durable. Whoever waits for an order's report hears that nobody knows.
    pub fn give_up(self, why: &str) -> Vec<OrderReport> {
        let given_up = |effect| match effect {
            Effect::Report(report) => Some(OrderReport { progress: Progress::Unknown(why.to_owned()), ..report }),
            // Given up alone: the write behind a fence moves to the next commit, and a later fence vouches for it.
            Effect::Fence(_) | Effect::AckMessage(_) | Effect::Publish(_) => None,
        };
        self.0.into_iter().filter_map(given_up).collect()
    }
}

/// Writes, and what waits for them. Order between commits of one machine is kept by the ledger.
#[derive(Debug, Default)]
#[must_use]
pub struct Commit {
    pub writes: Vec<LedgerWrite>,
    pub held: Held,
}

impl Commit {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.held.is_empty()
    }

    pub fn event(&mut self, event: Event) {
        self.writes.push(LedgerWrite::Event(event));
    }
}

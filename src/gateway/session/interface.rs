//! What goes into the session and what comes out of it. Owns no behaviour.

use std::time::Duration;

use super::link::{LinkEvent, LinkOrder};
use crate::{
    domain::{
        door::DoorStatus,
        ids::Id,
        permission::SetVersion,
        time::{Mono, Wall},
    },
    gateway::step::{Commit, MessageToken},
    wire::{
        beat::Beat,
        command::Command,
        event_log::Sealed,
        jws::Verified,
        keys::KeySet,
        outcome::Outcome,
        set::{Digest, Want},
    },
};

#[derive(Clone, Debug)]
pub struct SessionConfig {
    pub org: Id,
    pub node: Id,
    /// Random, of this run.
    pub boot: Id,
    /// Of the daemon.
    pub version: String,
    /// Whom commands must come from.
    pub issuer: String,
    pub beat_every: Duration,
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
}

/// What the stores held at start.
#[derive(Clone, Debug)]
pub struct Restored {
    /// In force: `KeySet::from_signed` of the stored document under the root, else empty.
    pub keys: KeySet,
    pub log_id: Id,
    /// The newest durable event.
    pub head: u64,
    pub acked_through: u64,
    /// When the last beat was signed that confirmed the set, and which set.
    pub last_beat: Option<LastBeat>,
    pub clock_floor: Wall,
    pub set: SetVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBeat {
    pub at: Wall,
    pub epoch: u64,
    pub generation: u64,
}

/// Fills a slice with random bytes. Nonces must be unpredictable to the broker.
pub type Entropy<'a> = &'a mut dyn FnMut(&mut [u8]);

#[derive(Debug)]
pub enum Input {
    Link(LinkEvent),
    /// All events up to this one are durable.
    DurableHead(u64),
    /// The answer to `ReadEvents`.
    Events {
        from: u64,
        events: Vec<Sealed>,
    },
    /// The answer to `ReadEventHash`.
    EventHash {
        seq: u64,
        hash: Option<[u8; 32]>,
    },
    Outcome(Outcome),
    Door(DoorStatus),
    /// A message that was handed to the desk may be forgotten by the broker.
    AckMessage(MessageToken),
    /// The mirror applied a set; it is durable.
    SetApplied(SetVersion),
    /// The mirror asks for something.
    SetWanted {
        want: Want,
        chunks: Vec<Digest>,
    },
    /// A deadline has passed.
    Timeout,
    /// Stop in order; `Stopped` follows.
    Stop,
}

#[derive(Debug)]
pub enum Action {
    Link(LinkOrder),
    /// To the desk. The broker is not told before `AckMessage` comes back with the token. `retained`: as the
    /// broker says; then it is refused, but under its id, so that the same bytes without the flag stay dead.
    Command {
        command: Box<Command>,
        token: MessageToken,
        retained: bool,
    },
    /// To the mirror.
    Set(SetMessage),
    /// To the ledger.
    Commit(Commit),
    ReadEvents {
        from: u64,
        bytes_max: usize,
    },
    ReadEventHash {
        seq: u64,
    },
    /// Keep these bytes (a signed key set) through restarts; they are verified again at start.
    StoreKeys(Vec<u8>),
    /// A new key set is in force.
    Keys(KeySet),
    /// The cloud's clock, signed: it read `iat` at some instant between `asked_at` and now.
    CloudTime {
        iat: Wall,
        asked_at: Mono,
    },
    /// For the journal.
    Notice(String),
    Stopped,
}

/// For the mirror; all of it authentic, none of it looked into.
#[derive(Debug)]
pub enum SetMessage {
    /// A delta or manifest. `compact` is the JWS as it came.
    Document { verified: Verified, compact: Vec<u8> },
    /// Its bytes hash to the name.
    Chunk { name: Digest, bytes: Vec<u8> },
    /// Answers a request of ours: what the cloud holds at this moment.
    Beat(Beat),
}

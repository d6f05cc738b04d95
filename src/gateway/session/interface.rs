//! What goes into the session and what comes out of it. Owns no behaviour.

use std::time::Duration;

use super::link::{LinkEvent, LinkOrder};
use crate::{
    domain::{
        ids::Id,
        permission::SetVersion,
        status::Status,
        time::{Mono, Wall},
    },
    gateway::{
        ledger::{LastBeat, Recovered},
        mirror::{MirrorOpened, OverlayVersion},
        step::{Commit, MessageToken},
    },
    wire::{
        beat::Beat,
        command::Command,
        event_log::Sealed,
        jws::Verified,
        keys::{KeySet, KeysError, RootKey},
        outcome::Outcome,
        set::{Digest, Want},
        telemetry::Telemetry,
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
    /// In force: the stored document if it verifies under the root, else none.
    pub keys: KeySet,
    pub log_id: Id,
    /// The newest durable event.
    pub head: u64,
    pub acked_through: u64,
    /// When the last beat was signed that confirmed the set, and which set.
    pub last_beat: Option<LastBeat>,
    pub clock_floor: Wall,
    pub set: SetVersion,
    pub overlay: OverlayVersion,
}

impl Restored {
    /// From what ledger and mirror found. `Err` beside it: why the stored key set is not in force.
    pub fn from_stores(
        recovered: &Recovered,
        opened: &MirrorOpened,
        root: &RootKey,
        audience: &str,
    ) -> (Restored, Result<(), KeysError>) {
        // An older key set than was seen may hold keys that have been revoked: better none until the cloud sends it.
        let stored = opened.keys.as_ref().filter(|stored| stored.version >= opened.keys_version_min);
        let verified =
            stored.map(|stored| KeySet::from_signed(stored.compact.as_bytes(), root, audience, &KeySet::empty()));
        let (keys, verdict) = match verified.transpose() {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let restored = Restored {
            keys: keys.unwrap_or_else(|| KeySet::none_below(opened.keys_version_min)),
            log_id: recovered.head.log_id.clone(),
            head: recovered.head.seq,
            acked_through: recovered.acked_through,
            last_beat: recovered.last_beat,
            clock_floor: recovered.clock_floor,
            set: opened.version.filter(|_| opened.refused.is_empty()).unwrap_or_default(),
            overlay: opened.overlay,
        };
        (restored, verdict)
    }
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
    /// The answer to `ReadLive`.
    LiveEvents {
        from: u64,
        events: Vec<Sealed>,
    },
    /// The answer to `ReadEventHash`.
    EventHash {
        seq: u64,
        hash: Option<[u8; 32]>,
    },
    Outcome(Outcome),
    State(Status),
    /// To be mentioned, if there is a link.
    Telemetry(Box<Telemetry>),
    /// A message that was handed to the desk may be forgotten by the broker.
    AckMessage(MessageToken),
    /// The mirror applied a set; it is durable.
    SetApplied(SetVersion),
    /// What of the edits by command stands.
    Overlay(OverlayVersion),
    /// So many alarms stand.
    Alarms(u64),
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
    /// For those who watch: answered by [`Input::LiveEvents`].
    ReadLive {
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

//! What the node says, signed. Owns the envelope of everything that goes up; must never look at what is
//! in it. Invariant: no two messages of one run have the same number, and each names its one kind by the
//! member it has, so that a broker can neither invent, change, nor pass off one message as another.
//!
//! Each message is a JWS of typ `latchd-up+jwt`, signed with the node's key; `kid` is the key's thumbprint
//! (RFC 7638), as `latchd keygen` printed it. Its payload is an object with `boot` (the daemon's run), `n`
//! (counts the messages of a run from 0), `at` (when it was signed), and, by topic:
//!
//! | topic | members |
//! |---|---|
//! | `rsp` | `outcome` |
//! | `evt` | `log_id`, `events` |
//! | `state/door/{id}` | `door`; so with `reader`, `board`, `area` |
//! | `status` | `status` |
//! | `set/req` | `keys_version`, `request` |
//! | `live/{jti}` | `live` |
//! | `telemetry` | `telemetry` |
//!
//! A message may come again, so a cloud drops an `n` that it has seen from that `boot`. The will is signed
//! when the link comes up and published by the broker when it goes down: its `n` is of then, and it says
//! nothing but `offline`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    canonical::{StrictError, hex32, parse_strict},
    jws::{self, JwsError, PublicKey, Signer, Typ},
    keys::Jwk,
    live::{Ended, LiveUpdate},
    outcome::Outcome,
    telemetry::Telemetry,
};
use crate::domain::{
    door::DoorStatus,
    elevator::FloorGroupStatus,
    event::Event,
    ids::Id,
    locker::LockerStatus,
    status::{AreaStatus, BoardStatus, ReaderStatus, Status},
    time::{ClockTrust, Wall},
};

/// JSON of the events of one batch, commas included: with the envelope, in base64url, and with header and
/// signature it stays below the largest message.
pub const EVENTS_BYTES_MAX: usize = 190 * 1024;

/// Signs what goes up, in order. One for each run of the daemon.
#[derive(Debug)]
pub struct Sealer {
    signer: Signer,
    boot: Id,
    next: u64,
}

impl Sealer {
    pub fn new(signer: Signer, boot: Id) -> Sealer {
        Sealer { signer, boot, next: 0 }
    }

    pub fn boot(&self) -> &Id {
        &self.boot
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    pub fn seal_outcome(&mut self, at: Wall, outcome: &Outcome) -> Result<String, serde_json::Error> {
        self.seal(at, |payload| member(payload, "outcome", outcome))
    }

    /// `events` are published events ([`super::event_log::with_replayed`]), in order, at most
    /// [`EVENTS_BYTES_MAX`] together.
    pub fn seal_events(&mut self, at: Wall, log_id: &Id, events: &[Vec<u8>]) -> Result<String, serde_json::Error> {
        self.seal(at, |payload| {
            member(payload, "log_id", log_id)?;
            event_list(payload, events);
            Ok(())
        })
    }

    /// As a [`LiveUpdate`](super::live::LiveUpdate); `events` as in [`Sealer::seal_events`].
    pub fn seal_live(
        &mut self,
        at: Wall,
        subscription: &Id,
        missed: u64,
        events: &[Vec<u8>],
        ended: Option<Ended>,
    ) -> Result<String, serde_json::Error> {
        self.seal(at, |payload| {
            payload.extend_from_slice(format!(",\"live\":{{\"subscription\":\"{subscription}\"").as_bytes());
            if missed > 0 {
                member(payload, "missed", &missed)?;
            }
            event_list(payload, events);
            if let Some(ended) = ended {
                member(payload, "ended", &ended)?;
            }
            payload.push(b'}');
            Ok(())
        })
    }

    pub fn seal_state(&mut self, at: Wall, status: &Status) -> Result<String, serde_json::Error> {
        let kind = status.kind();
        self.seal(at, |payload| match status {
            Status::Door(door) => member(payload, kind, door),
            Status::Reader(reader) => member(payload, kind, reader),
            Status::Board(board) => member(payload, kind, board),
            Status::Area(area) => member(payload, kind, area),
            Status::FloorGroup(floor_group) => member(payload, kind, floor_group),
            Status::Locker(locker) => member(payload, kind, locker),
            Status::Gone(..) => Ok(()),
        })
    }

    pub fn seal_status(&mut self, at: Wall, status: &NodeStatus) -> Result<String, serde_json::Error> {
        self.seal(at, |payload| member(payload, "status", status))
    }

    pub fn seal_telemetry(&mut self, at: Wall, telemetry: &Telemetry) -> Result<String, serde_json::Error> {
        self.seal(at, |payload| member(payload, "telemetry", telemetry))
    }

    /// `request` is a `SetRequest`; `keys_version` is that of the key set in force, 0 for none.
    pub fn seal_request(
        &mut self,
        at: Wall,
        keys_version: u64,
        request: &impl Serialize,
    ) -> Result<String, serde_json::Error> {
        self.seal(at, |payload| {
            member(payload, "keys_version", &keys_version)?;
            member(payload, "request", request)
        })
    }

    fn seal(
        &mut self,
        at: Wall,
        content: impl FnOnce(&mut Vec<u8>) -> Result<(), serde_json::Error>,
    ) -> Result<String, serde_json::Error> {
        // Neither an id nor a time needs escaping.
        let mut payload = format!(r#"{{"boot":"{}","n":{},"at":"{at}""#, self.boot, self.next).into_bytes();
        content(&mut payload)?;
        payload.push(b'}');
        self.next += 1;
        Ok(jws::sign(&self.signer, Typ::Up, self.signer.kid(), &payload))
    }
}

fn event_list(payload: &mut Vec<u8>, events: &[Vec<u8>]) {
    payload.extend_from_slice(b",\"events\":[");
    payload.extend_from_slice(&events.join(&b','));
    payload.push(b']');
}

fn member(payload: &mut Vec<u8>, name: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
    payload.extend_from_slice(b",\"");
    payload.extend_from_slice(name.as_bytes());
    payload.extend_from_slice(b"\":");
    serde_json::to_writer(payload, value)
}

// ---- the payloads, as a cloud reads them ----

/// On `rsp`: one stage of one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub outcome: Outcome,
}

/// On `evt`: events in the order of their `seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    /// Names the log; another one means that the node had to begin a new log, with a chain of its own: at
    /// `seq` 1, or where the numbers of the old one are still known, above them.
    pub log_id: Id,
    #[schemars(with = "Vec<PublishedEvent>")]
    pub events: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// An event as it is published. Its hash, and so the `prev` of the next, is the SHA-256 of its canonical
/// JSON (RFC 8785) without the member `replayed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedEvent {
    /// Without gaps and never used twice within a log, from 1.
    #[schemars(range(min = 1))]
    pub seq: u64,
    /// Hash of the event before; of the log's id for the first.
    #[serde(with = "hex32")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub prev: [u8; 32],
    /// It happened while the cloud could not be told: no automation should act on it.
    pub replayed: bool,
    #[serde(flatten)]
    pub event: Event,
}

/// On `state/door/{id}`, retained: the door's present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub door: DoorStatus,
}

/// On `state/reader/{id}`, retained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReaderMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub reader: ReaderStatus,
}

/// On `state/board/{id}`, retained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoardMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub board: BoardStatus,
}

/// On `live/{jti}`: what one subscription sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiveMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub live: LiveUpdate,
}

/// On `state/area/{id}`, retained; an empty message once the permission set has no such area any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AreaMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub area: AreaStatus,
}

/// On `state/floor_group/{id}`, retained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorGroupMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub floor_group: FloorGroupStatus,
}

/// On `state/locker/{id}`, retained, of each compartment; its lock and contact are on `state/door/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockerMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub locker: LockerStatus,
}

/// On `telemetry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelemetryMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub telemetry: Telemetry,
}

/// On `status`, retained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusMessage {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    pub status: NodeStatus,
}

/// On `set/req`: what the node holds and wants. A cloud whose key set is newer than `keys_version` sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RequestMessage")]
pub struct RequestMessage<R> {
    pub boot: Id,
    pub n: u64,
    pub at: Wall,
    /// Of the key set in force; 0: the node has none yet and believes only the root key.
    pub keys_version: u64,
    pub request: R,
}

/// Whether the node is there, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeStatus {
    Online(Online),
    /// As the will: the link to the broker broke. Otherwise: the daemon stopped in order.
    Offline {},
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Online {
    /// Of the daemon.
    pub version: String,
    /// The permission set in force; epoch and generation 0: none yet.
    pub epoch: u64,
    pub generation: u64,
    #[serde(with = "hex32")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub digest: [u8; 32],
    /// Of the edits by command over the set, and how many of them no set has absorbed yet.
    pub revision: u64,
    pub edits: u64,
    /// Of the key set in force, 0 for none.
    pub keys_version: u64,
    /// Time since the cloud last confirmed the set with a beat; absent: unknown, which counts as stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub staleness_ms: Option<u64>,
    pub clock: ClockTrust,
    /// Events that the cloud has not acknowledged yet.
    pub backlog: u64,
    /// Alarms that stand and nobody has acknowledged.
    pub alarms: u64,
    /// The event log in use; `none` while `ledger_failed`.
    pub log_id: Id,
    /// Why the ledger could not be opened when this run began. Cards, exit buttons and fire are served, as are commands
    /// that move a door at once; whatever else would have to be kept is refused, and events are told once it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub ledger_failed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error(transparent)]
    Json(#[from] StrictError),
}

/// What a cloud does with a message from a node whose public key it knows.
pub fn open<T: DeserializeOwned>(compact: &[u8], node: &PublicKey) -> Result<T, OpenError> {
    let verified = jws::verify_with(compact, Typ::Up, &Jwk::of(node).thumbprint(), node)?;
    Ok(parse_strict(verified.payload())?)
}

#[cfg(test)]
mod tests;

//! The tamper-evident log. Owns how an event becomes bytes, what its hash is and how a chain of them is
//! checked; must never look at what an event says. Invariant: an event's bytes hold the hash of the event
//! before it, so that changing, removing or reordering any of them shows in every later hash.
//!
//! An event on the wire is `{"seq", "prev", "replayed", "occurred_at", "clock", "epoch", "generation",
//! "type", …}`. Its hash is the SHA-256 of its canonical JSON (RFC 8785) without `replayed`, which says
//! how it was sent and not what happened. `prev` is the hash of the event before, in lower-case hex; the
//! first event has `seq` 1, and its `prev` is the hash of the log's id: SHA-256 over the length-prefixed
//! (eight bytes, big-endian) strings `latchd-event-log-v1` and `log_id`.

use serde::Serialize;

use super::canonical::{self, StrictError, canonical, hex, sha256, tagged_sha256, unhex32};
use crate::domain::{event::Event, ids::Id};

/// The newest event of a log, or its beginning: what the next event is chained to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub log_id: Id,
    /// Of the newest event; 0 before the first.
    pub seq: u64,
    /// Of the newest event; of the log's id before the first.
    pub hash: [u8; 32],
}

impl Head {
    /// A log without events. `log_id` is random for each log that is begun.
    pub fn begin(log_id: Id) -> Head {
        let hash = tagged_sha256("latchd-event-log-v1", &[log_id.as_bytes()]);
        Head { log_id, seq: 0, hash }
    }
}

/// An event as it is stored: canonical JSON without `replayed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub seq: u64,
    pub hash: [u8; 32],
    pub json: Vec<u8>,
}

#[derive(Serialize)]
struct Chained<'a> {
    seq: u64,
    prev: String,
    #[serde(flatten)]
    event: &'a Event,
}

/// Gives `event` the next number of the log and chains it to the one before.
pub fn seal(head: &Head, event: &Event) -> Result<(Sealed, Head), serde_json::Error> {
    let seq = head.seq + 1;
    let json = canonical(&Chained { seq, prev: hex(&head.hash), event })?;
    let hash = sha256(&json);
    Ok((Sealed { seq, hash, json }, Head { log_id: head.log_id.clone(), seq, hash }))
}

/// The event as it is published. `json` is what [`seal`] made.
pub fn with_replayed(json: &[u8], replayed: bool) -> Vec<u8> {
    let member: &[u8] = if replayed { b",\"replayed\":true}" } else { b",\"replayed\":false}" };
    let body = json.strip_suffix(b"}").unwrap_or(json);
    [body, member].concat()
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("the event after {after} is not well-formed: {problem}")]
    Malformed { after: u64, problem: StrictError },
    #[error("the event after {after} has no {member}")]
    Missing { after: u64, member: &'static str },
    #[error("expected event {expected} and found {found}: events are missing or out of order")]
    Sequence { expected: u64, found: u64 },
    #[error("event {seq} does not follow from the one before: one of them was changed, or the log is another")]
    Broken { seq: u64 },
}

/// Checks that `json` (stored or published) follows `head`, and gives the new head.
pub fn verify_next(head: &Head, json: &[u8]) -> Result<Head, ChainError> {
    let after = head.seq;
    let mut event: serde_json::Map<String, serde_json::Value> =
        canonical::parse_strict(json).map_err(|problem| ChainError::Malformed { after, problem })?;
    event.remove("replayed");
    let missing = |member| ChainError::Missing { after, member };
    let seq = event.get("seq").and_then(|seq| seq.as_u64()).ok_or(missing("seq"))?;
    let prev = event.get("prev").and_then(|prev| unhex32(prev.as_str()?)).ok_or(missing("prev"))?;
    if seq != after + 1 {
        return Err(ChainError::Sequence { expected: after + 1, found: seq });
    }
    if prev != head.hash {
        return Err(ChainError::Broken { seq });
    }
    let bytes = canonical(&event)
        .map_err(|e| ChainError::Malformed { after, problem: StrictError::Malformed(e.to_string()) })?;
    Ok(Head { log_id: head.log_id.clone(), seq, hash: sha256(&bytes) })
}

/// Checks a stretch of a log that begins right after `head`. That the last event was not changed shows
/// only by comparing the hash of the result with one that is known from elsewhere (a later event's `prev`,
/// or the head that the cloud acknowledged).
pub fn verify_chain<'a>(head: Head, events: impl IntoIterator<Item = &'a [u8]>) -> Result<Head, ChainError> {
    events.into_iter().try_fold(head, |head, json| verify_next(&head, json))
}

#[cfg(test)]
mod tests;

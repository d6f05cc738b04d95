//! The permission set on the wire: the documents that the cloud signs, the request that the node makes,
//! and (in [`digest`] and [`chunk`]) the arrangement by which both sides find their differences. Owns
//! the shapes and what can be judged from one document alone; must never judge a document against what
//! the node holds (that is `gateway::mirror`). Invariant: a [`SetDocument`] that parsed is addressed to
//! this node, names each record once, and, if it is a manifest, agrees with its own digest.
//!
//! # For whoever writes the cloud
//!
//! A set is records `{"kind", "id", "body"}`; a `body` is a JSON object, at most 64 KiB.
//!
//! - **Bucket** of a record: the first ten bits of `H("latchd-set-bucket-v1", kind, id)`: 0 to 1023.
//! - **Chunk**: the RFC 8785 form of the JSON array of one bucket's records, sorted by (kind, id), at most
//!   256 KiB. Its name is the lower-case hex SHA-256 of these bytes. An empty bucket has no chunk.
//! - **Digest** of a set: `H("latchd-set-v1", summary)`, where `summary` is, for each bucket that is not
//!   empty, in ascending order, its number as two bytes, big-endian, and the 32 bytes of its chunk's
//!   SHA-256. In JSON it is lower-case hex.
//! - `H(tag, part, …)` is SHA-256 over the tag and each part, every one of them preceded by its length in
//!   bytes as eight bytes, big-endian.
//!
//! A JWS of typ `latchd-set+jwt` holds one of two documents, told apart by the member `type`:
//!
//! - `delta`: `{"type": "delta", "aud", "iat", "epoch", "from": G, "to": G+1, "digest", "ops": [{"put": {"kind",
//!   "id", "body"}} | {"delete": {"kind", "id"}}]}`. `digest` is that of the whole set afterwards. Each record
//!   is named once. A revocation goes out as a delta of its own, so that nothing can hold it up.
//! - `manifest`: `{"type": "manifest", "aud", "iat", "epoch", "generation", "digest", "chunks": {"17": "9f…"}}`:
//!   the whole set by bucket number (decimal, without leading zeros). The node asks for the chunks that it
//!   lacks, 64 at a time, and gets them on `set/chunk/{sha256}`. A cloud that no longer has a chunk answers
//!   with a fresh manifest.
//! - both may carry `critical` (kinds: a node that does not understand one of them refuses the set) and
//!   `absorbs` (the `jti`s of edits made by command that this set takes over or discards).
//!
//! An edit by command lies over the set until a document lists it in `absorbs`, and is then forgotten: from
//! there on the records of the set are the whole truth about it. Absorbing an edit absorbs the earlier ones of
//! the same record. A node may get a manifest in place of the delta that listed an edit, so list an edit in
//! every document until the status of the node (`revision`, `edits`) shows that it has gone. Digests never
//! include edits. Where a set and an edit that it does not absorb say different things, member by member: what
//! only one side changed is as that side has it; of two states, dates or effects the stricter holds; of two
//! lists what either took away is gone; anything else stays as edited. A record that the set deletes stays
//! deleted. What cannot be kept is told in `overlay.conflicted`; no edit ever holds a set up.
//!
//! Documents may arrive late, twice, out of order or never: the node applies a delta only on the generation
//! that it starts from, keeps a few that are ahead of their turn, ignores what it already has, and asks
//! again with back-off for what is missing. Retain at most one document; one that is older than what the
//! node holds is ignored.
//!
//! The node asks on `set/req` with [`SetRequest`]. Every request is answered with a beat for its `nonce`, and
//! - `want: "update"`: if the cloud holds more than the node, with deltas from there on, or a manifest;
//! - `want: "manifest"`: with a manifest, whatever the node claims to hold;
//! - `want: "chunks"`: with the chunks listed.

pub mod chunk;
pub mod digest;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use digest::{Bucket, Digest, Summary};

use super::{
    canonical::{StrictError, canonical, parse_exact},
    numeric_date::NumericDate,
};
use crate::domain::{ids::Id, time::Wall};

/// Canonical JSON of one record's body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Largest integer that all JSON readers agree upon: 2^53 - 1.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// How many problems of one document are told; the rest is counted.
pub const REASONS_MAX: usize = 50;

/// What a JWS of typ `latchd-set+jwt` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SetDocument {
    Delta(Delta),
    Manifest(Manifest),
}

/// From one generation to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// The node that this is for, as `org/node`.
    pub aud: String,
    /// When the cloud signed it.
    pub iat: NumericDate,
    pub epoch: u64,
    /// The generation that this starts from.
    pub from: u64,
    /// `from + 1`.
    pub to: u64,
    /// Digest of the whole set once this is applied.
    pub digest: Digest,
    /// Record kinds that a node must understand to use this set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<Id>,
    /// Edits by command (their `jti`) that this set takes over or discards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absorbs: Vec<Id>,
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Insert or replace.
    Put(RecordPut),
    /// Deleting what is not there changes nothing.
    Delete(RecordName),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordPut {
    pub kind: Id,
    pub id: Id,
    pub body: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordName {
    pub kind: Id,
    pub id: Id,
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// A whole set, by the names of its chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The node that this is for, as `org/node`.
    pub aud: String,
    /// When the cloud signed it.
    pub iat: NumericDate,
    pub epoch: u64,
    pub generation: u64,
    pub digest: Digest,
    /// Record kinds that a node must understand to use this set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<Id>,
    /// Edits by command (their `jti`) that this set takes over or discards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absorbs: Vec<Id>,
    /// Bucket number in decimal to the name of its chunk.
    pub chunks: BTreeMap<Bucket, Digest>,
}

/// What the node asks for on `set/req`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Random; the beat that answers repeats it.
    pub nonce: String,
    /// What the node holds; all zero, with the digest of the empty set, if it holds nothing.
    pub epoch: u64,
    pub generation: u64,
    pub digest: Digest,
    pub want: Want,
    /// Names of the chunks wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// A beat, and deltas or a manifest if the cloud holds more.
    Update,
    /// A beat and a manifest in any case.
    Manifest,
    /// A beat and the chunks listed.
    Chunks,
}

/// Why a document is not to be used, whatever the node holds. Every reason that was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Json(#[from] StrictError),
    #[error("addressed to {0:?}, which is not this node")]
    WrongAudience(String),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

impl SetError {
    pub fn reasons(&self) -> Vec<String> {
        match self {
            SetError::Invalid(reasons) => reasons.clone(),
            other => vec![other.to_string()],
        }
    }
}

impl SetDocument {
    /// `audience` is `org/node`. The signature has been verified before.
    pub fn parse(payload: &[u8], audience: &str) -> Result<SetDocument, SetError> {
        let document: SetDocument = parse_exact(payload)?;
        let aud = match &document {
            SetDocument::Delta(delta) => &delta.aud,
            SetDocument::Manifest(manifest) => &manifest.aud,
        };
        if aud != audience {
            return Err(SetError::WrongAudience(aud.chars().take(130).collect()));
        }
        let mut reasons = Reasons::default();
        match &document {
            SetDocument::Delta(delta) => delta.check(&mut reasons),
            SetDocument::Manifest(manifest) => manifest.check(&mut reasons),
        }
        if reasons.is_empty() { Ok(document) } else { Err(SetError::Invalid(reasons.into_vec())) }
    }

    pub fn epoch(&self) -> u64 {
        match self {
            SetDocument::Delta(delta) => delta.epoch,
            SetDocument::Manifest(manifest) => manifest.epoch,
        }
    }

    /// The generation that the node holds once this is applied.
    pub fn generation(&self) -> u64 {
        match self {
            SetDocument::Delta(delta) => delta.to,
            SetDocument::Manifest(manifest) => manifest.generation,
        }
    }

    pub fn digest(&self) -> Digest {
        match self {
            SetDocument::Delta(delta) => delta.digest,
            SetDocument::Manifest(manifest) => manifest.digest,
        }
    }

    pub fn iat(&self) -> Wall {
        match self {
            SetDocument::Delta(delta) => delta.iat.0,
            SetDocument::Manifest(manifest) => manifest.iat.0,
        }
    }
}

impl Delta {
    fn check(&self, reasons: &mut Reasons) {
        check_integers(&[self.epoch, self.from, self.to], reasons);
        if self.to != self.from.saturating_add(1) {
            reasons.push(|| format!("to: {} does not follow from: {}", self.to, self.from));
        }
        let mut named = BTreeSet::new();
        for op in &self.ops {
            let (kind, id) = op.name();
            if !named.insert((kind, id)) {
                reasons.push(|| format!("{kind}/{id} is named more than once"));
            }
            if let Op::Put(put) = op {
                match put.canonical_body() {
                    Ok(body) if body.len() <= BODY_BYTES_MAX => {}
                    Ok(body) => reasons
                        .push(|| format!("{kind}/{id}: a body of {} bytes is more than {BODY_BYTES_MAX}", body.len())),
                    Err(error) => reasons.push(|| format!("{kind}/{id}: {error}")),
                }
            }
        }
    }
}

impl Op {
    pub fn name(&self) -> (&Id, &Id) {
        match self {
            Op::Put(put) => (&put.kind, &put.id),
            Op::Delete(name) => (&name.kind, &name.id),
        }
    }
}

impl RecordPut {
    /// RFC 8785, as it is stored and hashed.
    pub fn canonical_body(&self) -> Result<Vec<u8>, serde_json::Error> {
        canonical(&self.body)
    }
}

impl Manifest {
    fn check(&self, reasons: &mut Reasons) {
        check_integers(&[self.epoch, self.generation], reasons);
        let digest = Summary::from_chunks(&self.chunks).digest();
        if digest != self.digest {
            reasons.push(|| format!("digest: {} is not that of the chunks, which is {digest}", self.digest));
        }
    }
}

fn check_integers(integers: &[u64], reasons: &mut Reasons) {
    for integer in integers.iter().filter(|i| **i > INTEGER_MAX) {
        reasons.push(|| format!("{integer} is beyond the integers that all JSON readers agree upon"));
    }
}

/// All reasons at once, within bounds.
#[derive(Debug, Default)]
pub struct Reasons {
    told: Vec<String>,
    untold: usize,
}

impl Reasons {
    pub fn push(&mut self, reason: impl FnOnce() -> String) {
        if self.told.len() < REASONS_MAX {
            self.told.push(reason());
        } else {
            self.untold += 1;
        }
    }

    pub fn extend(&mut self, reasons: Vec<String>) {
        reasons.into_iter().for_each(|reason| self.push(|| reason));
    }

    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub fn into_vec(mut self) -> Vec<String> {
        if self.untold > 0 {
            self.told.push(format!("and {} more", self.untold));
        }
        self.told
    }
}

#[cfg(test)]
mod tests;

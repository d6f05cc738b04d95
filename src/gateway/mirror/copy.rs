//! The second copy of the set and the high-water mark, outside the store. Owns what they hold and the
//! floor that an adapter stands on; must never be read while the store is good, except to check it.
//! Invariant: the copy proves itself: from the installer's root key over the signed key set and the
//! signed document to the digest over the records.
//!
//! - *base*: frames: the key set that the document was verified under, the document (delta or manifest)
//!   that attests the digest, then for each bucket its number (u16, big-endian) and its chunk, then the edits
//!   by command, each as `o` and JSON.
//! - *log*: what was signed and taken in since, in order: `d` and a delta, or `k` and a key set; and as `o`
//!   and JSON what became of the edits. These no key of the cloud's attests: the operator's authority was
//!   judged when they were made.
//! - *anchor*: the highest epoch and generation seen, with its digest, the highest key set version and the
//!   highest revision of the edits. Damage to the store cannot take the node below it.

use serde::{Deserialize, Serialize};

use super::emergency_copy::EmergencyMark;
use crate::{
    domain::{permission::SetVersion, time::Wall},
    wire::set::{Digest, SetDocument},
};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Failed(String),
}

/// What must never be gone below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    pub epoch: u64,
    pub generation: u64,
    pub digest: Digest,
    pub issued_at_ms: i64,
    /// False while only key sets have been seen.
    pub set_seen: bool,
    pub keys_version: u64,
    #[serde(default)]
    pub overlay_revision: u64,
    /// The newest copy of the emergency cards that was to be written.
    #[serde(default)]
    pub emergency: EmergencyMark,
}

impl Anchor {
    pub fn nothing_seen() -> Anchor {
        Anchor {
            epoch: 0,
            generation: 0,
            digest: Digest::of_nothing(),
            issued_at_ms: 0,
            set_seen: false,
            keys_version: 0,
            overlay_revision: 0,
            emergency: EmergencyMark::default(),
        }
    }

    pub fn version(&self) -> SetVersion {
        SetVersion { epoch: self.epoch, generation: self.generation, digest: self.digest.0 }
    }

    /// Epoch and generation, to be compared.
    pub fn mark(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }

    pub fn issued_at(&self) -> Wall {
        Wall::from_millis(self.issued_at_ms)
    }
}

/// Takes the frames of a base one by one.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), CopyError> + 'a;

/// Every write is durable when it returns, and whole or not there after a power cut.
pub trait SecondCopy {
    fn read_anchor(&mut self) -> Result<Option<Anchor>, CopyError>;
    fn write_anchor(&mut self, anchor: &Anchor) -> Result<(), CopyError>;
    /// False if there is none.
    fn read_base(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError>;
    /// Replaces base and log at once. If `fill` fails, both stay as they were.
    fn write_base(&mut self, fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>) -> Result<(), CopyError>;
    /// Whole entries in order; a torn one at the end is left out.
    fn read_log(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<(), CopyError>;
    fn append_log(&mut self, entry: &[u8]) -> Result<(), CopyError>;
    /// The copy of the emergency cards; false if there is none.
    fn read_emergency(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError>;
    /// Replaces it whole. If `fill` fails, it stays as it was.
    fn write_emergency(
        &mut self,
        fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError>;
    /// Bytes of base and log.
    fn sizes(&self) -> (u64, u64);
}

pub const LOG_DELTA: u8 = b'd';
pub const LOG_KEYS: u8 = b'k';
/// Also in the base, where no chunk begins so: the high byte of a bucket's number is below four.
pub const LOG_OVERLAY: u8 = b'o';

/// A signed key set, as it was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedKeys {
    pub version: u64,
    pub epoch: u64,
}

/// Verifies what the copy holds, with the root key and nothing else. Expiry is not judged: the key was
/// good when the document was taken in.
pub trait Attest: Send + Sync {
    fn keys(&self, compact: &str) -> Result<AttestedKeys, String>;
    fn document(&self, keys: &str, compact: &str) -> Result<SetDocument, String>;
}

//! The floor that the stores stand on: an ordered map of bytes with atomic batches. sled behind the
//! daemon, a simulated disk that forgets what was not synced behind the simulator.

use std::ops::ControlFlow;

#[derive(Debug, Clone, thiserror::Error)]
pub enum KvError {
    #[error("the disk is full")]
    Full,
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvWrite {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

/// Sees one record, says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Reads may happen from any thread while one thread writes.
pub trait Kv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;
    /// In key order from `from` (inclusive) to `to` (exclusive), until `visit` breaks. `visit` must not
    /// call back into the store.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError>;
    /// All or nothing, visible at once, not yet durable. Of several writes of one key the last counts.
    /// No key begins with `0xFF` or is longer than 512 bytes; no value is larger than 16 MiB.
    fn apply(&self, batch: Vec<KvWrite>) -> Result<(), KvError>;
    /// After this returns, everything applied before survives a power cut.
    fn sync(&self) -> Result<crate::gateway::step::Durable, KvError>;
}

/// A store that can be closed and opened again in place, after it has failed (a full disk, a failed write).
/// What was applied since the last successful [`Kv::sync`] may or may not be there afterwards, whole batches
/// only and in order.
pub trait Reopen {
    fn reopen(&self) -> Result<(), KvError>;
}

//! What the node must not forget: its events, the commands it has seen, its doors' durable state and how far
//! the cloud has followed. Owns sequence numbers and the hash chain; must never wait for a disk on its own
//! account (its thread does, see `adapters::store::ledger_thread`) and never use a number twice. Invariant:
//! each [`Ledger::append`] is one atomic batch that holds the events and the new head together, so whatever
//! instant the power is cut at, the chain in the store ends in its head.
//!
//! [`keys`] says how records are named, [`recover`] what is made of them at start, [`reader`] how events are
//! read back by the session's thread.

mod append;
pub mod keys;
mod reader;
mod recover;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

pub use reader::EventReader;
pub use recover::{LastBeat, Note, Recovered};

use super::{
    kv::{Kv, KvError, KvWrite, Reopen},
    step::{Durable, LedgerWrite},
};
use crate::wire::event_log::Head;

#[derive(Clone, Copy, Debug)]
pub struct LedgerLimits {
    /// Events kept, acknowledged by the cloud or not.
    pub events_max: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Store(#[from] KvError),
    /// Nothing was written and nothing has changed.
    #[error("a record cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// The store failed earlier; [`Ledger::resume`] comes first.
    #[error("the store has failed and was not resumed")]
    Failed,
}

pub struct Ledger<K> {
    kv: K,
    limits: LedgerLimits,
    /// The end of what was appended, durable or not.
    head: Head,
    /// Oldest event kept; `head.seq + 1` where there is none.
    first: u64,
    acked_through: u64,
    /// Batches since the last sync, for doing them again after the store has failed. Doing one twice
    /// changes nothing: they put fixed values and delete.
    unsynced: Vec<Vec<KvWrite>>,
    failed: bool,
    /// The mark of an orderly stop is in the store: the next append takes it away again.
    marked_clean: bool,
    /// Events up to here may be read; shared with the readers.
    durable_seq: Arc<AtomicU64>,
}

impl<K: Kv> Ledger<K> {
    /// The end of the log; not durable before the next [`Ledger::sync`].
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Oldest event kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Gives events their numbers and hashes and hands all writes to the store as one batch: visible, not
    /// yet durable. On [`LedgerError::Store`] the writes are kept, under the same numbers, for
    /// [`Ledger::resume`].
    pub fn append(&mut self, writes: Vec<LedgerWrite>) -> Result<(), LedgerError> {
        if self.failed {
            return Err(LedgerError::Failed);
        }
        let mut planned = append::plan(self, &writes)?;
        if std::mem::take(&mut self.marked_clean) {
            planned.batch.push(KvWrite::Delete(keys::CLEAN.to_vec()));
        }
        self.head = planned.head;
        self.first = planned.first;
        self.acked_through = planned.acked_through;
        self.apply(planned.batch)
    }

    fn apply(&mut self, batch: Vec<KvWrite>) -> Result<(), LedgerError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.unsynced.push(batch.clone());
        self.kv.apply(batch).map_err(|error| {
            self.failed = true;
            error.into()
        })
    }

    /// After this returns, all that was appended survives a power cut.
    pub fn sync(&mut self) -> Result<Durable, LedgerError> {
        if self.failed {
            return Err(LedgerError::Failed);
        }
        match self.kv.sync() {
            Ok(durable) => {
                self.unsynced.clear();
                self.durable_seq.store(self.head.seq, SeqCst);
                Ok(durable)
            }
            Err(error) => {
                self.failed = true;
                Err(error.into())
            }
        }
    }

    /// After the store failed and was reopened: does again what may have been lost with it, and syncs.
    pub fn resume(&mut self) -> Result<Durable, LedgerError> {
        self.failed = true;
        for batch in &self.unsynced {
            self.kv.apply(batch.clone())?;
        }
        self.failed = false;
        self.sync()
    }

    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// The last thing of an orderly stop: the next start knows that nothing is missing.
    pub fn close_clean(&mut self) -> Result<(), LedgerError> {
        if self.failed {
            return Err(LedgerError::Failed);
        }
        let mark = keys::record(keys::CLEAN.to_vec(), &keys::CleanRecord { seq: self.head.seq })?;
        self.marked_clean = true;
        self.apply(vec![mark])?;
        self.sync().map(|_| ())
    }
}

impl<K: Kv + Reopen> Ledger<K> {
    /// [`Ledger::resume`] after reopening the store.
    pub fn reopen(&mut self) -> Result<Durable, LedgerError> {
        self.kv.reopen()?;
        self.resume()
    }
}

impl<K: Kv + Clone> Ledger<K> {
    /// Reads durable events, from any thread.
    pub fn reader(&self) -> EventReader<K> {
        EventReader::new(self.kv.clone(), self.durable_seq.clone())
    }
}

//! Durable events, read from another thread than the one that appends. Must never show an event that a power
//! cut could still take back: its number would be given to another. Invariant: nothing above `durable_seq`
//! leaves.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use super::keys;
use crate::{
    gateway::kv::{Kv, KvError},
    wire::{canonical::sha256, event_log::Sealed, stored},
};

#[derive(Clone, Debug)]
pub struct EventReader<K> {
    kv: K,
    durable_seq: Arc<AtomicU64>,
}

fn open(seq: u64, key: &[u8], framed: &[u8]) -> Option<Sealed> {
    let json = stored::unframe(key, framed).ok().filter(|json| *json != keys::KNOWN_LOST)?.to_vec();
    Some(Sealed { seq, hash: sha256(&json), json })
}

impl<K: Kv> EventReader<K> {
    pub(super) fn new(kv: K, durable_seq: Arc<AtomicU64>) -> EventReader<K> {
        EventReader { kv, durable_seq }
    }

    /// Of a log that cannot be read: there is nothing in it.
    pub fn of_nothing(kv: K) -> EventReader<K> {
        EventReader::new(kv, Arc::default())
    }

    /// Newest event that may be read.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq.load(SeqCst)
    }

    /// From `from_seq`, or the oldest kept after it, until `bytes_max` of JSON are reached: at least one if
    /// there is any. What is damaged is left out; the hole shows in the numbers and in the chain.
    pub fn read(&self, from_seq: u64, bytes_max: usize) -> Result<Vec<Sealed>, KvError> {
        let through = self.durable_seq();
        let mut events: Vec<Sealed> = Vec::new();
        if from_seq > through {
            return Ok(events);
        }
        let mut bytes = 0usize;
        self.kv.scan(&keys::event(from_seq), &keys::event(through.saturating_add(1)), &mut |key, framed| {
            let Some(event) = keys::event_seq(key).and_then(|seq| open(seq, key, framed)) else {
                return ControlFlow::Continue(());
            };
            bytes = bytes.saturating_add(event.json.len());
            if bytes > bytes_max && !events.is_empty() {
                return ControlFlow::Break(());
            }
            events.push(event);
            ControlFlow::Continue(())
        })?;
        Ok(events)
    }

    /// The oldest event that is kept; the number after the newest where there is none.
    pub fn oldest_seq(&self) -> Result<u64, KvError> {
        let through = self.durable_seq();
        let mut oldest = None;
        self.kv.scan(&keys::event(0), &keys::event(through.saturating_add(1)), &mut |key, _| {
            oldest = keys::event_seq(key);
            ControlFlow::Break(())
        })?;
        Ok(oldest.unwrap_or(through.saturating_add(1)))
    }

    /// Those of these numbers, both included, that are kept, durable and intact.
    pub fn read_range(&self, from: u64, through: u64) -> Result<Vec<Sealed>, KvError> {
        let through = through.min(self.durable_seq());
        let mut events = Vec::new();
        self.kv.scan(&keys::event(from), &keys::event(through.saturating_add(1)), &mut |key, framed| {
            events.extend(keys::event_seq(key).and_then(|seq| open(seq, key, framed)));
            ControlFlow::Continue(())
        })?;
        Ok(events)
    }

    /// Of a durable event that is still kept and intact: what an acknowledgement's `head_hash` is held against.
    pub fn hash_of(&self, seq: u64) -> Result<Option<[u8; 32]>, KvError> {
        if seq == 0 || seq > self.durable_seq() {
            return Ok(None);
        }
        let key = keys::event(seq);
        Ok(self.kv.get(&key)?.and_then(|framed| open(seq, &key, &framed)).map(|event| event.hash))
    }
}

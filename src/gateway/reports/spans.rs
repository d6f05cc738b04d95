//! What is known of when the events of a stretch of the log occurred. Owns a table that only ever saves
//! work; must never be wrong. Invariant: a stretch is known only once all of it has been read, and events
//! never change. Numbers rise with time only as long as nobody sets a clock back, so the log is not searched
//! by halves: each stretch says for itself.

use std::collections::BTreeMap;

use super::{BLOCK, Filter, filter::occurred_at};
use crate::{domain::time::Wall, wire::event_log::Sealed};

/// Stretches that are remembered, two numbers each: sixteen million events.
const SPANS_MAX: usize = 65_536;

#[derive(Clone, Debug, Default)]
pub struct Spans(BTreeMap<u64, (Wall, Wall)>);

impl Spans {
    /// Whether nothing in this stretch can fit.
    pub fn misses(&self, block: u64, filter: &Filter) -> bool {
        self.0.get(&block).is_some_and(|(first, last)| filter.is_outside(*first, *last))
    }

    /// `read` is all that is kept and intact of these numbers.
    pub fn learn(&mut self, from: u64, through: u64, read: &[Sealed]) {
        let block = from / BLOCK;
        let is_whole = from.is_multiple_of(BLOCK) && through % BLOCK == BLOCK - 1;
        if !is_whole || read.len() as u64 != BLOCK || self.0.contains_key(&block) {
            return;
        }
        let times = read.iter().map(|sealed| occurred_at(&serde_json::from_slice(&sealed.json).ok()?));
        let Some(times) = times.collect::<Option<Vec<Wall>>>() else { return };
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return };
        if self.0.len() >= SPANS_MAX {
            // The oldest are the first to be pruned.
            self.0.pop_first();
        }
        self.0.insert(block, (*first, *last));
    }
}

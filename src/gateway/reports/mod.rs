//! Reports over the local event log. Owns which events an operator is shown and how much work one page may
//! be; must never show an event that is not durable, nor one beyond the operator's scope. Invariant: pages
//! that are asked for one after the other hold every event that fits, that was there when its place was
//! looked at, exactly once and in order, whatever is appended or pruned meanwhile.
//!
//! `filter` says which events fit, `cursor` where the next page begins, `rows` what a page looks like,
//! `spans` which stretches of the log need not be looked at for a span of time.

mod cursor;
mod filter;
mod rows;
mod spans;
#[cfg(test)]
mod tests;

use self::{
    cursor::Cursor,
    rows::{Rows, Taken},
};
pub use self::{
    filter::{Filter, Places, Scope, Seen},
    spans::Spans,
};
use super::kv::{Kv, KvError};
use crate::{
    domain::ids::Id,
    gateway::ledger::EventReader,
    wire::{
        event_log::Sealed,
        report::{Order, ReportArgs, ReportPage},
    },
};

/// Bytes of rows in one page, as they stand in the JSON of the answer: with the envelope, in base64url, it
/// stays below the largest message.
pub const PAGE_BYTES_MAX: usize = 150 * 1024;
/// Events that are looked at for one page.
pub const SCAN_MAX: u64 = 50_000;
/// Events that are read at a time: the store is not held longer than for these.
pub const BLOCK: u64 = 256;

/// Durable events, to be read from any thread.
pub trait Events {
    /// The newest event that may be shown.
    fn newest(&self) -> u64;
    /// The oldest event that is kept; above [`Events::newest`] where there is none.
    fn oldest(&self) -> Result<u64, KvError>;
    /// Those of these numbers that are kept and intact, in order.
    fn range(&self, from: u64, through: u64) -> Result<Vec<Sealed>, KvError>;
}

impl<K: Kv> Events for EventReader<K> {
    fn newest(&self) -> u64 {
        self.durable_seq()
    }

    fn oldest(&self) -> Result<u64, KvError> {
        self.oldest_seq()
    }

    fn range(&self, from: u64, through: u64) -> Result<Vec<Sealed>, KvError> {
        self.read_range(from, through)
    }
}

/// Why there is no page.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReportError {
    #[error("cursor: {0}")]
    Cursor(&'static str),
    #[error("the log was begun anew since the page before: begin anew without a cursor")]
    OtherLog,
    #[error("the event log cannot be read: {0}")]
    Store(#[from] KvError),
}

/// One page. `log_id` names the log that `events` reads; `spans` is kept from one page to the next.
pub fn page(
    events: &impl Events,
    log_id: &Id,
    places: &Places,
    scope: &Scope,
    args: &ReportArgs,
    spans: &mut Spans,
) -> Result<ReportPage, ReportError> {
    let (newest, oldest) = (events.newest(), events.oldest()?);
    let own = Cursor::of(log_id, args);
    let begin = match args.order {
        Order::NewestFirst => newest,
        Order::OldestFirst => oldest,
    };
    let asked = match &args.cursor {
        Some(text) => own.read(text)?,
        None => begin,
    };
    // What was pruned since the page before lies below `oldest`, for either order.
    let pruned = match (args.order, &args.cursor) {
        (Order::OldestFirst, Some(_)) => oldest.saturating_sub(asked),
        _ => 0,
    };
    let at = match args.order {
        Order::NewestFirst => asked.min(newest),
        Order::OldestFirst => asked.max(oldest),
    };
    let filter = Filter::new(&args.filter, (args.from, args.until), scope.clone());
    let mut scan = Scan {
        places,
        filter: &filter,
        rows: Rows::new(args.format, args.cursor.is_none(), PAGE_BYTES_MAX),
        limit: args.limit,
        scanned: 0,
        unreadable: 0,
    };
    let next = scan.run(events, spans, args.order, at, oldest, newest)?;
    let (more, next) = match args.order {
        Order::NewestFirst => (next >= oldest && next > 0, (next >= oldest && next > 0).then_some(next)),
        Order::OldestFirst => (next <= newest, Some(next)),
    };
    let Scan { rows, scanned, unreadable, .. } = scan;
    let count = rows.count();
    let (events, csv) = rows.into_parts();
    let told = |count: u64| (count > 0).then_some(count);
    Ok(ReportPage {
        log_id: log_id.clone(),
        events,
        csv,
        count,
        more,
        next: next.map(|next| own.write(next)),
        scanned,
        oldest,
        newest,
        pruned: told(pruned),
        unreadable: told(unreadable),
    })
}

struct Scan<'a> {
    places: &'a Places,
    filter: &'a Filter,
    rows: Rows,
    limit: u32,
    scanned: u64,
    unreadable: u64,
}

impl Scan<'_> {
    /// Looks at events from `at` on, up or down, until the page is full or everything has been looked at.
    /// Gives the number to go on from: outside of what is kept where there is nothing more.
    fn run(
        &mut self,
        events: &impl Events,
        spans: &mut Spans,
        order: Order,
        mut at: u64,
        oldest: u64,
        newest: u64,
    ) -> Result<u64, KvError> {
        while (oldest.max(1)..=newest).contains(&at) {
            if self.is_full() {
                return Ok(at);
            }
            let (from, through) = (at / BLOCK * BLOCK, at / BLOCK * BLOCK + (BLOCK - 1));
            let (from, through) = match order {
                Order::NewestFirst => (from.max(oldest).max(1), at),
                Order::OldestFirst => (at, through.min(newest)),
            };
            let beyond = match order {
                Order::NewestFirst => from.saturating_sub(1),
                Order::OldestFirst => through.saturating_add(1),
            };
            if spans.misses(at / BLOCK, self.filter) {
                at = beyond;
                continue;
            }
            let read = events.range(from, through)?;
            spans.learn(from, through, &read);
            if let Some(stopped) = self.block(order, &read) {
                return Ok(stopped);
            }
            if through + 1 - from > read.len() as u64 {
                // Some were damaged, or pruned just now.
                let kept_from = events.oldest()?.max(from);
                let kept = read.iter().filter(|sealed| sealed.seq >= kept_from).count() as u64;
                self.unreadable += (through + 1).saturating_sub(kept_from).saturating_sub(kept);
            }
            at = beyond;
        }
        Ok(at)
    }

    fn is_full(&self) -> bool {
        self.scanned >= SCAN_MAX || self.rows.count() >= self.limit
    }

    /// The number at which the page was full, if it was.
    fn block(&mut self, order: Order, read: &[Sealed]) -> Option<u64> {
        let mut looked = 0;
        let mut stopped = None;
        let mut look = |sealed: &Sealed| {
            if self.rows.count() >= self.limit {
                stopped = Some(sealed.seq);
                return false;
            }
            let Some(seen) = Seen::new(&sealed.json, self.places) else {
                self.unreadable += 1;
                return true;
            };
            if self.filter.fits(&seen) && self.rows.push(sealed.seq, seen) == Taken::Full {
                stopped = Some(sealed.seq);
                return false;
            }
            looked += 1;
            true
        };
        match order {
            Order::NewestFirst => read.iter().rev().all(&mut look),
            Order::OldestFirst => read.iter().all(&mut look),
        };
        self.scanned += looked;
        stopped
    }
}

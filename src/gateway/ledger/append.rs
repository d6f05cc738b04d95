//! From writes to one batch. Owns numbering, chaining and retention; must never touch the store. Invariant:
//! the batch that holds an event holds the head that follows from it, and the oldest event that is left.

use super::{
    Ledger, LedgerError,
    keys::{self, AckedRecord, BeatRecord, HeadRecord, TimeRecord},
};
use crate::{
    domain::event::{Event, EventBody},
    gateway::{kv::KvWrite, step::LedgerWrite},
    wire::{
        event_log::{self, Head},
        stored,
    },
};

/// Beyond as many as were added, so that a lowered bound is reached without one long pause.
const PRUNE_EXTRA: u64 = 64;

/// Events that the cloud has not seen are given up in blocks of at most this many, with one `log.gap` for
/// each block: an event for each of them would push out as many again.
const LOST_BLOCK_MAX: u64 = 1024;

pub(super) struct Planned {
    pub batch: Vec<KvWrite>,
    pub head: Head,
    pub first: u64,
    pub acked_through: u64,
}

pub(super) fn plan<K>(ledger: &Ledger<K>, writes: &[LedgerWrite]) -> Result<Planned, LedgerError> {
    let mut planned = Planned {
        batch: Vec::with_capacity(writes.len() + 2),
        head: ledger.head.clone(),
        first: ledger.first,
        acked_through: ledger.acked_through,
    };
    let mut last_event = None;
    for write in writes {
        planned.write(write)?;
        if let LedgerWrite::Event(event) = write {
            last_event = Some(event);
        }
    }
    if let Some(event) = last_event {
        planned.prune(ledger, event)?;
        let head = keys::record(keys::HEAD.to_vec(), &HeadRecord::new(&planned.head, planned.first))?;
        planned.batch.push(head);
    }
    Ok(planned)
}

impl Planned {
    fn write(&mut self, write: &LedgerWrite) -> Result<(), LedgerError> {
        match write {
            LedgerWrite::Event(event) => self.event(event)?,
            LedgerWrite::Command(command) => self.batch.push(keys::record(keys::command(&command.key), command)?),
            LedgerWrite::Forget { commands, floor } => {
                self.batch.extend(commands.iter().map(|key| KvWrite::Delete(keys::command(key))));
                self.batch.push(keys::record(keys::FORGET_FLOOR.to_vec(), &TimeRecord { at: *floor })?);
            }
            LedgerWrite::Kept(kept) => self.batch.push(keys::record(keys::kept(&kept.key()), kept)?),
            LedgerWrite::Unkept(key) => self.batch.push(KvWrite::Delete(keys::kept(key))),
            LedgerWrite::Door { door, state } => self.batch.push(keys::record(keys::door(door), state)?),
            LedgerWrite::Acked { through } => {
                // Never back, and never beyond what there is.
                self.acked_through = self.acked_through.max(*through).min(self.head.seq);
                self.batch.push(keys::record(keys::ACKED.to_vec(), &AckedRecord { through: self.acked_through })?);
            }
            LedgerWrite::Beat { at, epoch, generation } => {
                let beat = BeatRecord { at: *at, epoch: *epoch, generation: *generation };
                self.batch.push(keys::record(keys::BEAT.to_vec(), &beat)?);
            }
            LedgerWrite::ClockFloor(at) => {
                self.batch.push(keys::record(keys::CLOCK_FLOOR.to_vec(), &TimeRecord { at: *at })?);
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), LedgerError> {
        let (sealed, head) = event_log::seal(&self.head, event)?;
        let key = keys::event(sealed.seq);
        let framed = stored::frame(&key, &sealed.json);
        self.batch.push(KvWrite::Put(key, framed));
        self.head = head;
        Ok(())
    }

    /// Keeps the log within its bound: what the cloud has goes first, and what it has not only with a
    /// `log.gap` that says how many. Only events of earlier batches go.
    fn prune<K>(&mut self, ledger: &Ledger<K>, like: &Event) -> Result<(), LedgerError> {
        let kept = |planned: &Planned| (planned.head.seq + 1).saturating_sub(planned.first);
        let excess = kept(self).saturating_sub(ledger.limits.events_max.max(1));
        if excess == 0 {
            return Ok(());
        }
        let added = self.head.seq - ledger.head.seq;
        let old = |planned: &Planned| (ledger.head.seq + 1).saturating_sub(planned.first);
        let acked = (self.acked_through + 1).saturating_sub(self.first).min(old(self));
        self.drop_oldest(excess.min(acked).min(added + PRUNE_EXTRA));

        let excess = kept(self).saturating_sub(ledger.limits.events_max.max(1));
        let nothing_acked = self.first > self.acked_through;
        if excess == 0 || !nothing_acked {
            return Ok(());
        }
        let block = (ledger.limits.events_max / 10).clamp(1, LOST_BLOCK_MAX);
        // One more, for the event that tells of it.
        let lost = block.max((excess + 1).min(added + 1 + PRUNE_EXTRA)).min(old(self));
        if lost == 0 {
            return Ok(());
        }
        let through = self.first + lost - 1;
        let detail = format!("the log is full and the cloud has not acknowledged events {} to {through}", self.first);
        self.drop_oldest(lost);
        self.event(&Event { body: EventBody::LogGap { lost: Some(lost), detail }, ..like.clone() })
    }

    fn drop_oldest(&mut self, count: u64) {
        let end = self.first + count;
        self.batch.extend((self.first..end).map(|seq| KvWrite::Delete(keys::event(seq))));
        self.first = end;
    }
}

//! The ledger at start. Owns what is made of the records that the last run left; must never give a number
//! out again, whatever is damaged. Invariant: the returned head is at or above every event in the store, and
//! the mark of an orderly stop is gone from the disk before anything else is written.
//!
//! Damage is cut out, not repaired over: a record that does not open is deleted (an event: replaced by a
//! mark, so that its loss is told of once) and told of in [`Recovered::notes`], which the caller turns into
//! `log.gap` events. Where the head itself cannot be
//! trusted, the numbers go on above all that were seen and the chain begins anew under a new log id.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, atomic::AtomicU64},
};

use super::{
    Ledger, LedgerError, LedgerLimits,
    keys::{self, AckedRecord, BeatRecord, CleanRecord, HeadRecord, TimeRecord},
};
use crate::{
    domain::{
        door::DurableDoor,
        ids::Id,
        kept::{Kept, KeptKey},
        time::Wall,
    },
    gateway::{
        kv::{Kv, KvWrite},
        step::CommandRecord,
    },
    wire::{
        event_log::{self, Head},
        stored,
    },
};

/// How many of the newest events are checked at every start.
const VERIFY_EVENTS: u64 = 1000;

/// Something that the last run left damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Events that are missing because of it, if any are.
    pub lost: Option<u64>,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBeat {
    pub at: Wall,
    pub epoch: u64,
    pub generation: u64,
}

/// What the last run left.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub head: Head,
    /// Oldest event kept.
    pub first: u64,
    pub acked_through: u64,
    pub doors: BTreeMap<Id, DurableDoor>,
    pub kept: BTreeMap<KeptKey, Kept>,
    pub commands: Vec<CommandRecord>,
    /// The last run stopped in order, or there was none.
    pub clean: bool,
    pub last_beat: Option<LastBeat>,
    pub clock_floor: Wall,
    pub forget_floor: Wall,
    pub notes: Vec<Note>,
}

impl Recovered {
    /// What is known where the store cannot be opened: nothing.
    pub fn unknown(log_id: Id) -> Recovered {
        Recovered {
            head: Head::begin(log_id),
            first: 1,
            acked_through: 0,
            doors: BTreeMap::new(),
            kept: BTreeMap::new(),
            commands: Vec::new(),
            clean: false,
            last_beat: None,
            clock_floor: Wall::EPOCH,
            forget_floor: Wall::EPOCH,
            notes: Vec::new(),
        }
    }
}

struct Opening<'a, K> {
    kv: &'a K,
    repairs: Vec<KvWrite>,
    notes: Vec<Note>,
}

type KeyAndRecord = (Vec<u8>, Vec<u8>);

/// The stretch of events that is checked.
struct Tail {
    events: Vec<(u64, Option<Vec<u8>>)>,
}

impl<K: Kv> Ledger<K> {
    /// `fresh_log_id` is random; it is used only if a log is begun. When this returns, the store holds the
    /// head durably and no longer the mark of an orderly stop.
    pub fn open(kv: K, fresh_log_id: Id, limits: LedgerLimits) -> Result<(Ledger<K>, Recovered), LedgerError> {
        let mut opening = Opening { kv: &kv, repairs: Vec::new(), notes: Vec::new() };
        let (head, first) = opening.events(fresh_log_id)?;
        let clean_mark: Option<CleanRecord> = opening.single(keys::CLEAN)?;
        let acked: Option<AckedRecord> = opening.single(keys::ACKED)?;
        let floor: Option<TimeRecord> = opening.single(keys::FORGET_FLOOR)?;
        let clock: Option<TimeRecord> = opening.single(keys::CLOCK_FLOOR)?;
        let beat: Option<BeatRecord> = opening.single(keys::BEAT)?;
        let (doors, kept, commands) = (opening.doors()?, opening.kept()?, opening.commands()?);

        let nothing_kept = doors.is_empty() && kept.is_empty();
        let untouched = head.seq == 0 && commands.is_empty() && nothing_kept && opening.notes.is_empty();
        let recovered = Recovered {
            clean: untouched || clean_mark.is_some_and(|mark| mark.seq == head.seq),
            acked_through: acked.map_or(0, |acked| acked.through).min(head.seq),
            head: head.clone(),
            first,
            doors,
            kept,
            commands,
            last_beat: beat.map(|b| LastBeat { at: b.at, epoch: b.epoch, generation: b.generation }),
            clock_floor: clock.map_or(Wall::EPOCH, |clock| clock.at),
            forget_floor: floor.map_or(Wall::EPOCH, |floor| floor.at),
            notes: opening.notes,
        };
        // Nothing is written that need not be: after an unclean stop on a full disk the log can still be read.
        let mut writes = opening.repairs;
        let head_record = keys::record(keys::HEAD.to_vec(), &HeadRecord::new(&head, first))?;
        let head_stands = matches!((&head_record, kv.get(keys::HEAD)?),
            (KvWrite::Put(_, wanted), Some(found)) if *wanted == found);
        if !head_stands {
            writes.push(head_record);
        }
        if kv.get(keys::CLEAN)?.is_some() {
            writes.push(KvWrite::Delete(keys::CLEAN.to_vec()));
        }
        if !writes.is_empty() {
            kv.apply(writes)?;
        }
        // Also what the last run had written and not synced: from here on it counts as durable.
        let _ = kv.sync()?;
        let ledger = Ledger {
            kv,
            limits,
            durable_seq: Arc::new(AtomicU64::new(head.seq)),
            head,
            first,
            acked_through: recovered.acked_through,
            unsynced: Vec::new(),
            failed: false,
            marked_clean: false,
        };
        Ok((ledger, recovered))
    }
}

impl<K: Kv> Opening<'_, K> {
    fn note(&mut self, lost: Option<u64>, detail: String) {
        self.notes.push(Note { lost, detail });
    }

    /// A record that there is one of; a damaged one counts as absent and is noted.
    fn single<T: serde::de::DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, LedgerError> {
        match keys::load(self.kv, key)? {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(damage)) => {
                self.repairs.push(KvWrite::Delete(key.to_vec()));
                self.note(None, format!("{}: {damage}", String::from_utf8_lossy(key)));
                Ok(None)
            }
        }
    }

    fn doors(&mut self) -> Result<BTreeMap<Id, DurableDoor>, LedgerError> {
        let mut doors = BTreeMap::new();
        for (key, framed) in self.all(keys::DOORS)? {
            let id = key.get(keys::DOORS.len()..).and_then(|id| std::str::from_utf8(id).ok()).map(Id::new);
            match (id, keys::decode(&key, &framed)) {
                (Some(Ok(id)), Ok(state)) => {
                    doors.insert(id, state);
                }
                (_, Err(damage)) => self.cut_out(key, damage),
                (_, Ok(_)) => self.cut_out(key, "not the id of a door".to_owned()),
            }
        }
        Ok(doors)
    }

    fn kept(&mut self) -> Result<BTreeMap<KeptKey, Kept>, LedgerError> {
        let mut all = BTreeMap::new();
        for (key, framed) in self.all(keys::KEPT)? {
            match keys::decode::<Kept>(&key, &framed) {
                Ok(kept) if keys::kept(&kept.key()) == key => drop(all.insert(kept.key(), kept)),
                Ok(_) => self.cut_out(key, "stands under the name of another".to_owned()),
                Err(damage) => self.cut_out(key, damage),
            }
        }
        Ok(all)
    }

    fn commands(&mut self) -> Result<Vec<CommandRecord>, LedgerError> {
        let mut commands = Vec::new();
        for (key, framed) in self.all(keys::COMMANDS)? {
            match keys::decode::<CommandRecord>(&key, &framed) {
                Ok(command) => commands.push(command),
                Err(damage) => self.cut_out(key, damage),
            }
        }
        Ok(commands)
    }

    fn all(&self, prefix: &[u8]) -> Result<Vec<KeyAndRecord>, LedgerError> {
        let mut records = Vec::new();
        self.kv.scan(prefix, &keys::end_of(prefix), &mut |key, framed| {
            records.push((key.to_vec(), framed.to_vec()));
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }

    fn cut_out(&mut self, key: Vec<u8>, damage: String) {
        self.note(None, format!("{}: {damage}", key.escape_ascii()));
        self.repairs.push(KvWrite::Delete(key));
    }

    /// The head to go on from, and the oldest event.
    fn events(&mut self, fresh_log_id: Id) -> Result<(Head, u64), LedgerError> {
        let stated = match keys::load::<HeadRecord>(self.kv, keys::HEAD)? {
            None => None,
            Some(Ok(record)) => record.head().map(|head| (head, record.first)),
            Some(Err(damage)) => {
                self.note(None, format!("meta/head: {damage}"));
                None
            }
        };
        match stated {
            Some((head, first)) => self.check_tail(head, first, fresh_log_id),
            None => self.without_head(fresh_log_id),
        }
    }

    fn scan_events(&self, from: u64) -> Result<Tail, LedgerError> {
        let mut events = Vec::new();
        self.kv.scan(&keys::event(from), &keys::events_end(), &mut |key, framed| {
            if let Some(seq) = keys::event_seq(key) {
                events.push((seq, stored::unframe(key, framed).ok().map(<[u8]>::to_vec)));
            }
            ControlFlow::Continue(())
        })?;
        Ok(Tail { events })
    }

    /// The usual case: the head record opens. Whatever is wrong with single events behind it, the chain goes
    /// on from it.
    fn check_tail(&mut self, head: Head, first: u64, fresh_log_id: Id) -> Result<(Head, u64), LedgerError> {
        let from = first.max((head.seq + 1).saturating_sub(VERIFY_EVENTS));
        let tail = self.scan_events(from)?;
        let mut lost: Vec<u64> = Vec::new();
        let mut previous: Option<Head> = None;
        let mut expected = from;
        let mut newest = head.seq;
        for (seq, json) in tail.events {
            newest = newest.max(seq);
            if seq > head.seq {
                // Batches are atomic, so this takes a damaged disk.
                self.repairs.push(KvWrite::Delete(keys::event(seq)));
                continue;
            }
            lost.extend(expected..seq);
            expected = seq + 1;
            let told_of = json.as_deref() == Some(keys::KNOWN_LOST);
            let follows = json.as_deref().and_then(|json| follow(previous.as_ref(), &head.log_id, seq, json));
            if follows.is_none() && !told_of {
                lost.push(seq);
            }
            previous = follows;
        }
        lost.extend(expected..=head.seq);
        if !lost.is_empty() {
            let count = lost.len();
            self.repairs.extend(lost.into_iter().map(keys::known_lost));
            self.note(Some(count as u64), format!("of the events {from} to {}, {count} cannot be read", head.seq));
        }
        if newest > head.seq {
            let beyond = newest - head.seq;
            self.note(Some(beyond), format!("events above the log's head {}: a new log begins", head.seq));
            return Ok((Head { seq: newest, ..Head::begin(fresh_log_id) }, first));
        }
        if previous.is_some_and(|last| last.seq == head.seq && last.hash != head.hash) {
            self.note(None, format!("event {} is not the one that the log's head names", head.seq));
        }
        Ok((head, first))
    }

    /// No head: an empty store, or a damaged one.
    fn without_head(&mut self, fresh_log_id: Id) -> Result<(Head, u64), LedgerError> {
        let mut ends: Option<(u64, u64)> = None;
        self.kv.scan(&keys::event(0), &keys::events_end(), &mut |key, _| {
            if let Some(seq) = keys::event_seq(key) {
                ends = Some((ends.map_or(seq, |(first, _)| first), seq));
            }
            ControlFlow::Continue(())
        })?;
        let begun = Head::begin(fresh_log_id);
        match ends {
            None => Ok((begun, 1)),
            Some((first, last)) => {
                self.note(None, format!("the log's head is gone: a new log begins after event {last}"));
                Ok((Head { seq: last, ..begun }, first))
            }
        }
    }
}

/// The head after `json` if it follows `previous`; without a `previous` (after a hole, or where the checked
/// stretch begins) its number is all that can be checked.
fn follow(previous: Option<&Head>, log_id: &Id, seq: u64, json: &[u8]) -> Option<Head> {
    if json == keys::KNOWN_LOST {
        return None;
    }
    match previous.filter(|previous| previous.seq + 1 == seq) {
        Some(previous) => event_log::verify_next(previous, json).ok(),
        None => {
            let hash = crate::wire::canonical::sha256(json);
            Some(Head { log_id: log_id.clone(), seq, hash })
        }
    }
}

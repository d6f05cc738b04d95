//! The memory of commands: what was asked under which id and how it went. Owns the bounds; must never
//! drop an entry that could still be redelivered in time. Invariant: an id whose entry was dropped is
//! dead for ever, because the floor is at or above its `exp`.

use std::collections::{BTreeMap, HashMap};

use super::is_last;
use crate::{
    domain::{ids::Id, outputs::Ticket, time::Wall},
    gateway::step::{CommandKey, CommandRecord},
};

/// Operators beyond this many do not widen the book: a bound on all of them together.
const OPERATORS_MAX: usize = 64;

#[derive(Debug)]
pub struct Entry {
    pub record: CommandRecord,
    /// While the doors have not reported its end.
    pub ticket: Option<Ticket>,
    pub finished: bool,
    /// A next run would go on with it, or with what it ended: a stage is told once it is on the disk, so that no
    /// crash makes it untrue.
    pub durable_first: bool,
}

#[derive(Debug)]
pub struct Book {
    entries: HashMap<CommandKey, Entry>,
    per_operator: HashMap<Id, usize>,
    per_operator_max: usize,
    floor: Wall,
    /// Commands for which there was no room, with their `exp`: their refusal stands when the broker brings
    /// them again and there is room.
    refused: BTreeMap<CommandKey, Wall>,
}

/// Refused ids that are kept by name; past it the floor rises instead.
const REFUSED_MAX: usize = 1024;

/// What had to be dropped to make room: to be dropped from the store as well.
#[derive(Debug, PartialEq)]
pub struct Dropped {
    pub keys: Vec<CommandKey>,
    pub floor: Wall,
}

#[derive(Debug, PartialEq)]
pub struct Full;

impl Book {
    pub fn new(records: Vec<CommandRecord>, floor: Wall, per_operator_max: usize) -> Book {
        let mut book = Book {
            entries: HashMap::new(),
            per_operator: HashMap::new(),
            per_operator_max: per_operator_max.max(1),
            floor,
            refused: BTreeMap::new(),
        };
        for record in records {
            let finished = record.outcomes.last().is_some_and(is_last);
            book.insert(Entry { record, ticket: None, finished, durable_first: false });
        }
        book
    }

    pub fn floor(&self) -> Wall {
        self.floor
    }

    pub fn was_refused(&self, key: &CommandKey) -> bool {
        self.refused.contains_key(key)
    }

    /// There was no room for this one. Returns the new floor if it had to rise, to be stored.
    pub fn refuse(&mut self, key: CommandKey, exp: Wall, now: Wall) -> Option<Wall> {
        if self.refused.len() >= REFUSED_MAX {
            self.refused.retain(|_, exp| *exp >= now);
        }
        if self.refused.len() < REFUSED_MAX {
            self.refused.insert(key, exp);
            return None;
        }
        self.floor = self.floor.max(exp);
        Some(self.floor)
    }

    pub fn get(&self, key: &CommandKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn get_mut(&mut self, key: &CommandKey) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    pub fn insert(&mut self, entry: Entry) {
        let operator = entry.record.operator.clone();
        if self.entries.insert(entry.record.key.clone(), entry).is_none() {
            *self.per_operator.entry(operator).or_default() += 1;
        }
    }

    /// Makes room for one more command of `operator`, dropping its finished and expired ones, the
    /// longest expired first. `Full` where every entry is still live. A quarter of the room is for what
    /// `moves_hardware`: it lives for a minute, the rest for up to a day, and must not shut it out for as long.
    pub fn make_room(&mut self, operator: &Id, now: Wall, moves_hardware: bool) -> Result<Option<Dropped>, Full> {
        let of_operator = self.per_operator.get(operator).copied().unwrap_or(0);
        let reserved = if moves_hardware { 0 } else { self.per_operator_max / 4 };
        let own_full = of_operator >= self.per_operator_max - reserved;
        if !own_full && self.entries.len() < self.per_operator_max.saturating_mul(OPERATORS_MAX) {
            return Ok(None);
        }
        let mut dead: Vec<(Wall, CommandKey)> = self
            .entries
            .values()
            .filter(|entry| entry.finished && entry.record.exp < now)
            .filter(|entry| !own_full || entry.record.operator == *operator)
            .map(|entry| (entry.record.exp, entry.record.key.clone()))
            .collect();
        if dead.is_empty() {
            return Err(Full);
        }
        // A quarter at a time, so that the search above is paid rarely.
        dead.sort();
        dead.truncate((self.per_operator_max / 4).max(1));
        let mut keys = Vec::with_capacity(dead.len());
        for (exp, key) in dead {
            self.floor = self.floor.max(exp);
            self.remove(&key);
            keys.push(key);
        }
        Ok(Some(Dropped { keys, floor: self.floor }))
    }

    fn remove(&mut self, key: &CommandKey) {
        if let Some(entry) = self.entries.remove(key)
            && let Some(count) = self.per_operator.get_mut(&entry.record.operator)
        {
            *count -= 1;
            if *count == 0 {
                self.per_operator.remove(&entry.record.operator);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

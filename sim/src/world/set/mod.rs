//! The permission set of the world, generation by generation: as records for the cloud, and as records for the
//! oracle's naive reading of them. Owns what each generation says; must never ask the daemon's rules. Invariant: a
//! generation never changes once it was made.
//!
//! `names` cards and ids, `first`, `places` and `cellar` what the node starts with, `edits` what people change at random,
//! `cellar_edits` of it what is in `cellar`, `by_command` what operators edit at the node itself, `overlay` what of that
//! stands.

mod by_command;
pub mod cellar;
mod cellar_edits;
mod edits;
mod first;
pub mod names;
mod overlay;
mod places;

pub use by_command::GUESTS;
pub use places::PARTITIONS;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use latchd::domain::{
    ids::Id,
    permission::{Permissions, SetVersion},
    record::{Person, Record},
};

use super::{World, site::Site};
use crate::cloud::set::{delete, put};

/// Records by kind and id.
#[derive(Clone, Debug, Default)]
pub struct Records(BTreeMap<(&'static str, Id), Record>);

impl Records {
    pub fn put(&mut self, id: &Id, record: impl Into<Record>) {
        let record = record.into();
        self.0.insert((record.kind(), id.clone()), record);
    }

    /// Whether it was there.
    pub fn delete(&mut self, kind: &'static str, id: &Id) -> bool {
        self.0.remove(&(kind, id.clone())).is_some()
    }

    pub fn get(&self, kind: &'static str, id: &Id) -> Option<&Record> {
        self.0.get(&(kind, id.clone()))
    }

    pub fn list(&self) -> Vec<(Id, Record)> {
        self.0.iter().map(|((_, id), record)| (id.clone(), record.clone())).collect()
    }

    /// What leads from here to there.
    fn ops_to(&self, other: &Records) -> Vec<latchd::wire::set::Op> {
        let gone = self.0.keys().filter(|key| !other.0.contains_key(*key)).map(|(kind, id)| delete(kind, id));
        let changed = other.0.iter().filter(|(key, record)| self.0.get(*key) != Some(*record));
        gone.chain(changed.map(|((_, id), record)| put(id, record))).collect()
    }
}

pub struct Generation {
    pub records: Vec<(Id, Record)>,
    /// Takes something away from somebody.
    revokes: bool,
    /// Edits by command that it has taken over, or one before it.
    absorbs: BTreeSet<Id>,
}

impl Generation {
    fn saying(&self, records: Vec<(Id, Record)>) -> Generation {
        Generation { records, revokes: self.revokes, absorbs: self.absorbs.clone() }
    }

    pub fn without(&self, ignored: impl Fn(&Record) -> bool) -> Generation {
        let records = self.records.iter().filter(|(_, record)| !ignored(record)).cloned().collect();
        self.saying(records)
    }

    pub fn has(&self, kind: &str, id: &Id) -> bool {
        self.records.iter().any(|(other, record)| other == id && record.kind() == kind)
    }

    pub fn person(&self, person: &Id) -> Option<&Person> {
        self.records.iter().find_map(|(id, record)| match record {
            Record::Person(body) if id == person => Some(body),
            _ => None,
        })
    }

    pub fn map(&self, change: impl Fn(Record) -> Record) -> Generation {
        self.map_with_id(|_, record| change(record))
    }

    pub fn map_with_id(&self, change: impl Fn(&Id, Record) -> Record) -> Generation {
        let records = self.records.iter().map(|(id, record)| (id.clone(), change(id, record.clone()))).collect();
        self.saying(records)
    }

    /// As the set would be compiled that says this and nothing else.
    pub fn compile(&self, site: &Site, version: SetVersion) -> Option<Permissions> {
        Permissions::compile(self.records.iter().cloned(), &site.topology(), &names::zone(), version).ok()
    }
}

#[derive(Default)]
pub struct Sets {
    current: Records,
    generations: BTreeMap<u64, Arc<Generation>>,
    /// Taken over by now.
    absorbs: BTreeSet<Id>,
    pub edits: by_command::Edits,
}

impl Sets {
    pub fn at(&self, generation: u64) -> Option<&Arc<Generation>> {
        self.generations.get(&generation)
    }

    /// This one and all that came after it.
    pub fn since(&self, generation: u64) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.range(generation..).map(|(_, generation)| generation)
    }

    pub fn is_revocation(&self, generation: u64) -> bool {
        self.at(generation).is_some_and(|generation| generation.revokes)
    }
}

impl World {
    /// The cloud's next generation. `silently`: the node learns of it by asking, and needs a manifest.
    fn change_set(&mut self, next: Records, revokes: bool, silently: bool) {
        let ops = self.sets.current.ops_to(&next);
        if ops.is_empty() {
            return;
        }
        self.cloud.absorbs = self.sets.absorbs.iter().cloned().collect();
        let wall = self.wall();
        if silently {
            self.cloud.change_silently(&ops);
        } else {
            let delta = self.cloud.change(wall, ops);
            self.cloud_sends(delta);
        }
        let generation = self.cloud.set.generation;
        self.line(format_args!("cloud: set {generation}, revokes {revokes}, silently {silently}"));
        self.count("sets changed");
        self.sets.generations.insert(
            generation,
            Arc::new(Generation { records: next.list(), revokes, absorbs: self.sets.absorbs.clone() }),
        );
        self.sets.current = next;
    }
}

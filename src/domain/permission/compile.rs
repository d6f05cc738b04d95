//! From records to a set in force, whole or by a delta. Owns the way in for records; must never give out a
//! set that has a fault. Invariant: a set that was brought about by deltas is the one that its records,
//! compiled at once, would be.

use jiff::tz::TimeZone;

use super::{Permissions, SetVersion, draft::Draft, places::Places};
use crate::domain::{ids::Id, record::Record, topology::Topology};

/// Takes the records of a whole set one by one, in any order.
pub struct Compiler(Draft);

impl Compiler {
    pub fn new(topology: &Topology, zone: &TimeZone) -> Compiler {
        Compiler(Draft::whole(Permissions::empty(Places::new(topology), zone.clone())))
    }

    pub fn add(&mut self, id: &Id, record: Record) {
        let kind = record.kind();
        if !self.0.put(id, record) {
            self.0.twice.push(format!("{kind} {id}: given twice"));
        }
    }

    pub fn finish(self, version: SetVersion) -> Result<Permissions, Vec<String>> {
        self.0.finish(version)
    }
}

/// One record of a delta.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Insert or replace.
    Put(Id, Box<Record>),
    /// By kind and id. Deleting what is not there changes nothing.
    Delete(Id, Id),
}

impl Permissions {
    /// The set with these changes made: what [`Compiler`] makes of all records that there then are, and the
    /// same reasons if it is refused. What it costs depends on the changes; everything else is shared.
    pub fn apply(
        &self,
        changes: impl IntoIterator<Item = Change>,
        version: SetVersion,
    ) -> Result<Permissions, Vec<String>> {
        let mut draft = Draft::of(self.clone());
        for change in changes {
            match change {
                Change::Put(id, record) => drop(draft.put(&id, *record)),
                Change::Delete(kind, id) => draft.delete(&kind, &id),
            }
        }
        draft.finish(version)
    }
}

//! From stored bodies to compiled permissions. Owns the step from JSON to [`Record`] and what is done with
//! kinds that this version does not know; must never pass over a field that it does not know.
//! Invariant: either everything in a known kind was understood, or the set is refused with every reason.
//!
//! A whole set is gathered record by record; a set that follows one that was understood is made of it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use super::table::Row;
use crate::{
    domain::{
        ids::Id,
        permission::{Change, Compiler, Permissions, SetVersion},
        record::{KNOWN_KINDS, Record},
        topology::Topology,
    },
    wire::set::Reasons,
};

/// Records of one set on their way into a compiler.
pub struct Gather {
    compiler: Compiler,
    reasons: Reasons,
    unknown: BTreeMap<Id, u64>,
    records: u64,
}

/// A set that was understood.
pub struct Understood {
    pub permissions: Arc<Permissions>,
    pub records: u64,
    /// How many there are of each kind that this version does not know.
    unknown: BTreeMap<Id, u64>,
}

/// What becomes of one record.
pub struct Changed<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub was_there: bool,
    /// `None`: it goes.
    pub body: Option<&'a [u8]>,
}

impl Gather {
    pub fn new(topology: &Topology, zone: &TimeZone) -> Gather {
        Gather {
            compiler: Compiler::new(topology, zone),
            reasons: Reasons::default(),
            unknown: BTreeMap::new(),
            records: 0,
        }
    }

    pub fn add(&mut self, row: Row<'_>) {
        self.records += 1;
        let Row { kind, id: name, body, .. } = row;
        let Ok(id) = Id::new(name) else {
            return self.reasons.push(|| format!("{kind:?}/{name:?}: not an id"));
        };
        match understand(kind, body) {
            Some(Ok(record)) => self.compiler.add(&id, record),
            Some(Err(error)) => self.reasons.push(|| format!("{kind}/{id}: {error}")),
            None => match Id::new(kind) {
                Ok(kind) => *self.unknown.entry(kind).or_insert(0) += 1,
                Err(_) => self.reasons.push(|| format!("{kind:?}/{name:?}: not an id")),
            },
        }
    }

    pub fn finish(self, critical: &[Id], version: SetVersion) -> Result<Understood, Vec<String>> {
        let Gather { compiler, mut reasons, unknown, records } = self;
        refuse_critical(critical, &unknown, &mut reasons);
        conclude(compiler.finish(version), reasons, records, unknown)
    }
}

impl Understood {
    pub fn unknown_kinds(&self) -> Vec<Id> {
        self.unknown.keys().cloned().collect()
    }

    /// The set after these changes, and the same reasons as if it had been gathered whole.
    pub fn apply<'a>(
        &self,
        changed: impl IntoIterator<Item = Changed<'a>>,
        critical: &[Id],
        version: SetVersion,
    ) -> Result<Understood, Vec<String>> {
        let mut reasons = Reasons::default();
        let (mut records, mut unknown) = (self.records, self.unknown.clone());
        let mut changes = Vec::new();
        for Changed { kind, id, was_there, body } in changed {
            records = records.saturating_sub(u64::from(was_there)) + u64::from(body.is_some());
            let (Ok(kind), Ok(id)) = (Id::new(kind), Id::new(id)) else {
                reasons.push(|| format!("{kind:?}/{id:?}: not an id"));
                continue;
            };
            if !KNOWN_KINDS.contains(&kind.as_str()) {
                count(&mut unknown, kind, was_there, body.is_some());
                continue;
            }
            match body.and_then(|body| understand(&kind, body)) {
                Some(Ok(record)) => changes.push(Change::Put(id, Box::new(record))),
                None => changes.push(Change::Delete(kind, id)),
                Some(Err(error)) => {
                    reasons.push(|| format!("{kind}/{id}: {error}"));
                    // Whoever refers to it is told as well.
                    changes.push(Change::Delete(kind, id));
                }
            }
        }
        refuse_critical(critical, &unknown, &mut reasons);
        conclude(self.permissions.apply(changes, version), reasons, records, unknown)
    }
}

fn count(unknown: &mut BTreeMap<Id, u64>, kind: Id, was_there: bool, is_there: bool) {
    let counted = unknown.entry(kind.clone()).or_insert(0);
    *counted = counted.saturating_sub(u64::from(was_there)) + u64::from(is_there);
    if *counted == 0 {
        unknown.remove(&kind);
    }
}

fn refuse_critical(critical: &[Id], unknown: &BTreeMap<Id, u64>, reasons: &mut Reasons) {
    for kind in critical {
        if let Some(count) = unknown.get(kind) {
            reasons.push(|| format!("{count} records of the kind {kind}, which is marked critical and not known here"));
        }
    }
}

fn conclude(
    compiled: Result<Permissions, Vec<String>>,
    mut reasons: Reasons,
    records: u64,
    unknown: BTreeMap<Id, u64>,
) -> Result<Understood, Vec<String>> {
    match compiled {
        Ok(permissions) if reasons.is_empty() => {
            Ok(Understood { permissions: Arc::new(permissions), records, unknown })
        }
        Ok(_) => Err(reasons.into_vec()),
        Err(more) => {
            reasons.extend(more);
            Err(reasons.into_vec())
        }
    }
}

/// `None` for a kind that this version does not know.
pub(super) fn understand(kind: &str, body: &[u8]) -> Option<Result<Record, serde_json::Error>> {
    fn read<T: DeserializeOwned>(body: &[u8], wrap: fn(T) -> Record) -> Option<Result<Record, serde_json::Error>> {
        Some(serde_json::from_slice(body).map(wrap))
    }
    match kind {
        "person" => read(body, Record::Person),
        "credential" => read(body, Record::Credential),
        "group" => read(body, Record::Group),
        "access_rule" => read(body, Record::AccessRule),
        "schedule" => read(body, Record::Schedule),
        "holiday" => read(body, Record::Holiday),
        "auto_open" => read(body, Record::AutoOpen),
        "system_event" => read(body, Record::SystemEvent),
        "partition" => read(body, Record::Partition),
        "area" => read(body, Record::Area),
        "floor_group" => read(body, Record::FloorGroup),
        "interlock" => read(body, Record::Interlock),
        "emergency_card" => read(body, Record::EmergencyCard),
        "card_format" => read(body, Record::CardFormat),
        "operator" => read(body, Record::Operator),
        "role" => read(body, Record::Role),
        "organisation_unit" => read(body, Record::OrganisationUnit),
        "door_policy" => read(body, Record::DoorPolicy),
        "locker_contract" => read(body, Record::LockerContract),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_kinds_are_those_that_are_understood() {
        for kind in KNOWN_KINDS {
            assert!(understand(kind, b"{}").is_some(), "{kind}");
        }
        assert!(understand("elevator_bank", b"{}").is_none());
    }
}

//! From stored bodies to compiled permissions. Owns the step from JSON to [`Record`] and what is done with
//! kinds that this version does not know; must never pass over a field that it does not know.
//! Invariant: either everything in a known kind was understood, or the set is refused with every reason.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use super::table::Row;
use crate::{
    domain::{
        ids::Id,
        permission::{Compiler, Permissions, SetVersion},
        record::Record,
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

pub struct Gathered {
    pub permissions: Permissions,
    pub records: u64,
    pub unknown_kinds: Vec<Id>,
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
        let Row { kind, id, body, .. } = row;
        let (Ok(kind), Ok(id)) = (Id::new(kind), Id::new(id)) else {
            return self.reasons.push(|| format!("{kind:?}/{id:?}: not an id"));
        };
        match understand(&kind, body) {
            Some(Ok(record)) => self.compiler.add(&id, record),
            Some(Err(error)) => self.reasons.push(|| format!("{kind}/{id}: {error}")),
            None => *self.unknown.entry(kind).or_insert(0) += 1,
        }
    }

    pub fn finish(self, critical: &[Id], version: SetVersion) -> Result<Gathered, Vec<String>> {
        let Gather { compiler, mut reasons, unknown, records } = self;
        for kind in critical {
            if let Some(count) = unknown.get(kind) {
                reasons.push(|| {
                    format!("{count} records of the kind {kind}, which is marked critical and not known here")
                });
            }
        }
        let compiled = compiler.finish(version);
        match compiled {
            Ok(permissions) if reasons.is_empty() => {
                Ok(Gathered { permissions, records, unknown_kinds: unknown.into_keys().collect() })
            }
            Ok(_) => Err(reasons.into_vec()),
            Err(more) => {
                reasons.extend(more);
                Err(reasons.into_vec())
            }
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
    use crate::domain::record::KNOWN_KINDS;

    #[test]
    fn the_known_kinds_are_those_that_are_understood() {
        for kind in KNOWN_KINDS {
            assert!(understand(kind, b"{}").is_some(), "{kind}");
        }
        assert!(understand("card_format", b"{}").is_none());
    }
}

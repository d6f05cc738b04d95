//! Mistakes with how far operators reach. Owns how a set is bent on its way from the mirror to the desk; must never touch
//! what the doors are handed otherwise. Invariant: a bent set keeps its version.

use std::sync::Arc;

use latchd::domain::{
    ids::Id,
    permission::Permissions,
    record::{Operator, OrganisationUnit, Partition, Record},
};

use super::{Mistake, Shim};
use crate::world::{
    set::{Generation, Sets},
    site::Site,
};

/// Both lists together; where one of them is everything, that.
fn either(one: Option<Vec<Id>>, other: Option<&Vec<Id>>) -> Option<Vec<Id>> {
    one.zip(other).map(|(one, other)| one.iter().chain(other).cloned().collect())
}

fn first_of<'a>(first: &'a Generation, kind: &str, id: &Id) -> Option<&'a Record> {
    let mut of = first.records.iter().filter(|(other, record)| other == id && record.kind() == kind);
    of.next().map(|(_, record)| record)
}

/// With what the first set gave as well.
fn kept(first: &Generation, id: &Id, record: Record) -> Record {
    match (record, first_of(first, "operator", id), first_of(first, "partition", id)) {
        (Record::Operator(body), Some(Record::Operator(then)), _) => Record::Operator(Operator {
            doors: either(body.doors, then.doors.as_ref()),
            partitions: either(body.partitions, then.partitions.as_ref()),
            organisation_units: either(body.organisation_units, then.organisation_units.as_ref()),
            ..body
        }),
        (Record::Partition(body), _, Some(Record::Partition(then))) => {
            let doors = body.doors.iter().chain(&then.doors).cloned().collect();
            Record::Partition(Partition { doors, ..body })
        }
        (record, _, _) => record,
    }
}

fn bent(mistake: Mistake, first: &Generation, id: &Id, record: Record) -> Record {
    match (mistake, record) {
        (Mistake::PartitionIgnored, Record::Operator(body)) => Record::Operator(Operator { partitions: None, ..body }),
        (Mistake::UnitIgnored, Record::Operator(body)) => {
            Record::Operator(Operator { organisation_units: None, ..body })
        }
        (Mistake::UnitsBelowForgotten, Record::OrganisationUnit(body)) => {
            Record::OrganisationUnit(OrganisationUnit { parent: None, ..body })
        }
        (Mistake::ScopeKept, record) => kept(first, id, record),
        (Mistake::OperatorsKept, record) if id.as_str() == "op-2" && record.kind() == "operator" => {
            first_of(first, "operator", id).cloned().unwrap_or(record)
        }
        (_, record) => record,
    }
}

impl Shim {
    /// From the mirror to the cloud's loop: a set, by its generation and the revision of what stands over it.
    pub fn applied(
        &self,
        permissions: Arc<Permissions>,
        (generation, revision): (u64, u64),
        site: &Site,
        sets: &Sets,
    ) -> Arc<Permissions> {
        let of_scopes = [
            Mistake::PartitionIgnored,
            Mistake::UnitIgnored,
            Mistake::UnitsBelowForgotten,
            Mistake::ScopeKept,
            Mistake::OperatorsKept,
        ];
        let Some(mistake) = self.mistake.filter(|mistake| of_scopes.contains(mistake)) else { return permissions };
        let both = sets.in_force(generation, revision).zip(sets.at(1));
        let version = *permissions.version();
        let bent = both.and_then(|(now, first)| {
            now.map_with_id(|id, record| bent(mistake, first, id, record)).compile(site, version)
        });
        bent.map_or(permissions, Arc::new)
    }
}

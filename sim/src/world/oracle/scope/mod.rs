//! How far operators reach, read naively: one loop over all records for each question, nothing remembered. Owns the
//! meaning of partitions, organisation units and assigned doors as PRODUCT has it; must never ask the daemon's own
//! reading of them. Invariant: it says what the records of one moment say, edits by command included.
//!
//! `roles` has the columns of both catalogues in words, `reach` what a record is about, `named` what an event is about,
//! `sight` what a list shows and which edits are allowed, `refusals` whether what was refused had to be.

mod named;
mod reach;
mod refusals;
mod roles;
mod sight;

use std::collections::BTreeSet;

use latchd::domain::{
    ids::Id,
    record::{Operator, OperatorStatus, Record},
    topology::ReaderAt,
};

pub use self::{
    named::shows,
    reach::{of_person, of_record},
    refusals::Refusals,
    roles::may,
    sight::{Against, Change, may_edit, sees},
};
use crate::world::{set::Generation, site::Site};

pub type Records = [(Id, Record)];

/// Places, and the names by which people and places belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    pub everything: bool,
    pub doors: Vec<Id>,
    pub cabs: Vec<Id>,
    pub partitions: Vec<Id>,
    pub units: Vec<Id>,
}

fn has_all(own: &[Id], others: &[Id]) -> bool {
    others.iter().all(|other| own.contains(other))
}

impl Own {
    pub fn everything() -> Own {
        Own { everything: true, ..Own::default() }
    }

    pub fn doors(doors: &[Id]) -> Own {
        Own { doors: doors.to_vec(), ..Own::default() }
    }

    pub fn cab(cab: &Id) -> Own {
        Own { cabs: vec![cab.clone()], ..Own::default() }
    }

    pub fn add(&mut self, other: Own) {
        self.everything |= other.everything;
        self.doors.extend(other.doors);
        self.cabs.extend(other.cabs);
        self.partitions.extend(other.partitions);
        self.units.extend(other.units);
    }

    pub fn has_door(&self, door: &Id) -> bool {
        self.everything || self.doors.contains(door)
    }

    pub fn has_cab(&self, cab: &Id) -> bool {
        self.everything || self.cabs.contains(cab)
    }

    /// Whether all of the other is in this.
    pub fn covers(&self, other: &Own) -> bool {
        self.everything
            || (!other.everything
                && has_all(&self.doors, &other.doors)
                && has_all(&self.cabs, &other.cabs)
                && has_all(&self.partitions, &other.partitions)
                && has_all(&self.units, &other.units))
    }

    pub fn is_nowhere(&self) -> bool {
        !self.everything && self.doors.is_empty() && self.cabs.is_empty()
    }

    /// Whether a door or cab of the other is in this.
    pub fn touches(&self, other: &Own) -> bool {
        if other.everything {
            return !self.is_nowhere();
        }
        other.doors.iter().any(|door| self.has_door(door)) || other.cabs.iter().any(|cab| self.has_cab(cab))
    }

    /// Of somebody in these partitions: whether they are others' people.
    pub fn are_others(&self, partitions: &[Id]) -> bool {
        !self.everything && !partitions.is_empty() && !partitions.iter().any(|one| self.partitions.contains(one))
    }

    /// Whether these are its doors (none: all there are) and cabs.
    pub fn same_as(&self, doors: Option<&BTreeSet<Id>>, cabs: &BTreeSet<Id>) -> bool {
        let Some(doors) = doors else { return self.everything };
        let same = |list: &[Id], set: &BTreeSet<Id>| {
            list.iter().all(|one| set.contains(one)) && set.iter().all(|one| list.contains(one))
        };
        !self.everything && same(&self.doors, doors) && same(&self.cabs, cabs)
    }
}

pub fn operator<'a>(records: &'a Records, name: &str) -> Option<&'a Operator> {
    records.iter().find_map(|(id, record)| match record {
        Record::Operator(body) if id.as_str() == name => Some(body),
        _ => None,
    })
}

pub fn is_active(operator: &Operator) -> bool {
    operator.status == OperatorStatus::Active {}
}

/// The places of one partition, if there is one.
pub fn of_partition(records: &Records, name: &str) -> Option<Own> {
    records.iter().find_map(|(id, record)| match record {
        Record::Partition(body) if id.as_str() == name => {
            let mut own = Own::doors(&body.doors);
            own.doors.extend(body.lockers.iter().cloned());
            own.cabs.extend(body.floor_groups.iter().cloned());
            Some(own)
        }
        _ => None,
    })
}

/// These, and whatever hangs below them.
pub fn with_those_below(records: &Records, units: &[Id]) -> Vec<Id> {
    let mut all = units.to_vec();
    let mut at = 0;
    while let Some(above) = all.get(at).cloned() {
        for (id, record) in records {
            let Record::OrganisationUnit(unit) = record else { continue };
            if unit.parent.as_ref() == Some(&above) && !all.contains(id) {
                all.push(id.clone());
            }
        }
        at += 1;
    }
    all
}

/// What an operator has of their own.
pub fn of_operator(records: &Records, operator: &Operator) -> Own {
    let Operator { doors, partitions, organisation_units, role, .. } = operator;
    if doors.is_none() && partitions.is_none() && organisation_units.is_none() && !roles::has_only_assigned(role) {
        return Own::everything();
    }
    let mut own = Own::doors(doors.as_deref().unwrap_or_default());
    own.units = with_those_below(records, organisation_units.as_deref().unwrap_or_default());
    own.partitions = partitions.clone().unwrap_or_default();
    for (id, record) in records {
        let Record::Partition(body) = record else { continue };
        let of_unit = body.organisation_unit.as_ref().is_some_and(|unit| own.units.contains(unit));
        if of_unit && !own.partitions.contains(id) {
            own.partitions.push(id.clone());
        }
    }
    for partition in own.partitions.clone() {
        own.add(of_partition(records, &partition).unwrap_or_default());
    }
    own
}

/// Somebody in office, and what is theirs; nobody else has anything.
pub fn in_office<'a>(records: &'a Records, name: &str) -> Option<(&'a Operator, Own)> {
    let operator = operator(records, name).filter(|operator| is_active(operator))?;
    Some((operator, of_operator(records, operator)))
}

/// The records of a generation, if there is one.
pub fn records(generation: Option<&Generation>) -> &Records {
    generation.map(|generation| generation.records.as_slice()).unwrap_or_default()
}

/// Where a reader is: the doors of doors' readers, the cab of a cab's; a cabinet is more than one place.
fn of_readers<'r>(site: &Site, readers: impl Iterator<Item = &'r Id>) -> Own {
    let mut own = Own::default();
    for reader in readers {
        let at = site.readers.iter().find(|one| one.id == *reader).map(|one| one.at);
        match at {
            Some(ReaderAt::Door(door)) => {
                own.doors.extend(site.doors.get(door.index()).map(|door| door.id.clone()));
            }
            Some(ReaderAt::Cab(_)) => own.cabs.push(site.lift().id.clone()),
            Some(ReaderAt::Cabinet(_)) | None => own.everything = true,
        }
    }
    own
}

/// The doors of an area, if there is one.
pub fn of_area(site: &Site, records: &Records, name: &str) -> Option<Own> {
    records.iter().find_map(|(id, record)| match record {
        Record::Area(body) if id.as_str() == name => {
            Some(of_readers(site, body.entry_readers.iter().chain(&body.exit_readers)))
        }
        _ => None,
    })
}

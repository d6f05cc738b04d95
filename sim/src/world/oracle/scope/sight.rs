//! What a list shows to whom, and who may edit what. Owns both as people would say them; must never look at one side of an
//! edit only. Invariant: what nobody limited has to do with is shown to nobody limited.

use latchd::domain::{
    ids::Id,
    record::{Operator, Record},
};

use super::{
    Own, Records, of_operator, of_record,
    roles::{may, may_give},
};
use crate::world::site::Site;

/// Of a record of people: whose they are.
fn partitions(records: &Records, record: &Record) -> Option<Vec<Id>> {
    match record {
        Record::Person(body) => Some(body.partitions.clone()),
        Record::Group(body) => Some(body.partitions.clone()),
        Record::Credential(body) => records.iter().find_map(|(id, record)| match record {
            Record::Person(person) if *id == body.person => Some(person.partitions.clone()),
            _ => None,
        }),
        _ => None,
    }
}

/// Whether a list shows this record to an operator who may list its kind.
pub fn sees(site: &Site, records: &Records, (name, own): (&str, &Own), id: &Id, record: &Record) -> bool {
    if own.everything {
        return true;
    }
    match record {
        Record::Schedule(_) | Record::Holiday(_) | Record::Role(_) | Record::CardFormat(_) => true,
        Record::Operator(_) => id.as_str() == name || own.covers(&of_record(site, records, id, record)),
        Record::Partition(_) => own.partitions.contains(id),
        Record::OrganisationUnit(_) => own.units.contains(id),
        Record::AccessRule(rule) => {
            rule.doors.iter().any(|door| own.has_door(door))
                || rule.floors.iter().any(|grant| own.has_cab(&grant.floor_group))
        }
        Record::Person(_) | Record::Group(_) | Record::Credential(_) => {
            let of = partitions(records, record).unwrap_or_default();
            let reach = of_record(site, records, id, record);
            let nobodys = of.is_empty() && reach.is_nowhere();
            of.iter().any(|one| own.partitions.contains(one)) || own.touches(&reach) || nobodys
        }
        _ => own.touches(&of_record(site, records, id, record)),
    }
}

/// One record as it is and as it is to be.
pub struct Change<'a> {
    pub kind: &'a str,
    pub id: &'a Id,
    pub old: Option<&'a Record>,
    pub new: Option<&'a Record>,
}

/// Why an edit may not be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Against {
    /// It takes, or gives, what the editor's role does not have.
    pub role: bool,
    pub scope: bool,
}

fn unit_above(record: Option<&Record>) -> Option<Option<&Id>> {
    match record {
        Some(Record::Partition(body)) => Some(body.organisation_unit.as_ref()),
        Some(Record::OrganisationUnit(body)) => Some(body.parent.as_ref()),
        _ => None,
    }
}

/// What speaks against an edit by somebody in office.
pub fn may_edit(site: &Site, records: &Records, editor: &Operator, change: &Change<'_>) -> Against {
    let Change { kind, id, old, new } = *change;
    let own = of_operator(records, editor);
    let mut after = records.to_vec();
    after.retain(|(other, record)| (record.kind(), other) != (kind, id));
    after.extend(new.map(|new| (id.clone(), new.clone())));
    let sides = [(old, records), (new, after.as_slice())];
    let mut against = Against { role: !may(&editor.role, &format!("{kind}.put")), scope: false };
    for (record, _) in sides {
        if let Some(Record::Operator(operator)) = record {
            against.role |= !may_give(&editor.role, &operator.role);
        }
    }
    if own.everything {
        return against;
    }
    let whose = |(record, records): (Option<&Record>, &Records)| {
        record.and_then(|record| partitions(records, record)).unwrap_or_default()
    };
    // Whose a card's holder is does not change with the card.
    let (before, then) = (whose((old, records)), whose((new, records)));
    let moved = |one: &Id| !(before.contains(one) && then.contains(one));
    against.scope |= own.are_others(&before) || own.are_others(&then);
    if new.is_some() {
        against.scope |= before.iter().chain(&then).any(|one| moved(one) && !own.partitions.contains(one));
    }
    let (was, is) = (unit_above(old), unit_above(new));
    if was != is || (old.is_none() && new.is_some()) {
        for unit in [was, is].into_iter().flatten() {
            against.scope |= !unit.is_some_and(|unit| own.units.contains(unit));
        }
    }
    for (record, records) in sides {
        let Some(record) = record else { continue };
        let mut reach = of_record(site, records, id, record);
        if old.is_none() {
            reach.partitions.retain(|one| one != id || kind != "partition");
            reach.units.retain(|one| one != id || kind != "organisation_unit");
        }
        against.scope |= !own.covers(&reach);
    }
    against
}

//! What a record is about: where anybody is let in, kept out, or anything moves because of it. Owns one plain reading for
//! each kind that a simulated set holds; must never know who asks. Invariant: what it cannot place is everywhere.

use latchd::domain::{
    ids::Id,
    record::{AccessRule, Record, SystemAction, SystemEvent, Trigger},
};

use super::{Own, Records, of_area, of_operator, of_partition, with_those_below};
use crate::world::site::Site;

fn of_rule(rule: &AccessRule) -> Own {
    let mut own = Own::doors(&rule.doors);
    own.cabs.extend(rule.floors.iter().map(|grant| grant.floor_group.clone()));
    own
}

/// Of names that may be doors and cabs.
fn of_places(site: &Site, places: &[Id]) -> Own {
    let mut own = Own::default();
    for place in places {
        let is_cab = site.lift().id == *place;
        if is_cab { own.cabs.push(place.clone()) } else { own.doors.push(place.clone()) }
    }
    own
}

fn of_action(records: &Records, action: &SystemAction) -> Own {
    match action {
        SystemAction::Notify { .. } | SystemAction::Alarm { .. } => Own::default(),
        SystemAction::LockdownSet { doors, partition, node: false }
        | SystemAction::LockdownClear { doors, partition, node: false } => {
            let mut own = Own::doors(doors);
            if let Some(partition) = partition {
                own.add(of_partition(records, partition).unwrap_or_else(Own::everything));
            }
            own
        }
        other if !other.doors().is_empty() => Own::doors(other.doors()),
        _ => Own::everything(),
    }
}

fn of_event(records: &Records, event: &SystemEvent) -> Own {
    let mut own = match &event.when {
        Trigger::Forced { doors }
        | Trigger::Granted { doors, .. }
        | Trigger::Rex { doors }
        | Trigger::Duress { doors }
            if !doors.is_empty() =>
        {
            Own::doors(doors)
        }
        _ => Own::everything(),
    };
    event.actions.iter().for_each(|action| own.add(of_action(records, action)));
    own
}

/// Whom a system event waits for by name: groups and people; and whether it waits at one of these doors.
fn waits_for(event: &SystemEvent) -> (&[Id], &[Id]) {
    match &event.when {
        Trigger::Granted { groups, persons, .. } => (groups, persons),
        Trigger::MultiSwipe { groups, .. } => (groups, &[]),
        _ => (&[], &[]),
    }
}

fn waits_at(event: &SystemEvent, here: &[Id]) -> bool {
    match &event.when {
        Trigger::Granted { doors, .. } | Trigger::MultiSwipe { doors, .. } => {
            doors.is_empty() || doors.iter().any(|door| here.contains(door))
        }
        _ => false,
    }
}

/// Where people of these groups come, and this one of them by name.
fn of_people(records: &Records, groups: &[Id], person: Option<&Id>) -> Own {
    let mut own = Own::default();
    let named = |some: &[Id]| some.iter().any(|group| groups.contains(group));
    let is_one = |some: &[Id]| person.is_some_and(|person| some.contains(person));
    for (_, record) in records {
        match record {
            Record::AccessRule(rule) if named(&rule.groups) || is_one(&rule.persons) => own.add(of_rule(rule)),
            Record::AutoOpen(body) if named(&body.first_person_groups) => own.add(Own::doors(&body.doors)),
            Record::LockerContract(body) if person.is_some() && body.person.as_ref() == person => {
                own.doors.push(body.locker.clone());
            }
            Record::SystemEvent(event) => {
                let (groups, persons) = waits_for(event);
                if named(groups) || is_one(persons) {
                    event.actions.iter().for_each(|action| own.add(of_action(records, action)));
                }
            }
            _ => {}
        }
    }
    own
}

/// Of somebody with these groups.
pub fn of_person(records: &Records, person: &Id, groups: &[Id]) -> Own {
    of_people(records, groups, Some(person))
}

/// What people do by being let in where this rule lets them.
fn of_rule_with_events(records: &Records, rule: &AccessRule) -> Own {
    let mut own = of_rule(rule);
    let of_rule =
        |id: &Id, groups: &[Id]| rule.persons.contains(id) || groups.iter().any(|group| rule.groups.contains(group));
    for (_, record) in records {
        let Record::SystemEvent(event) = record else { continue };
        if !waits_at(event, &rule.doors) {
            continue;
        }
        let (groups, persons) = waits_for(event);
        let somebody = records.iter().any(|(id, record)| match record {
            Record::Person(body) => {
                of_rule(id, &body.groups)
                    && (persons.contains(id) || body.groups.iter().any(|group| groups.contains(group)))
            }
            _ => false,
        });
        if somebody || groups.iter().any(|group| rule.groups.contains(group)) {
            event.actions.iter().for_each(|action| own.add(of_action(records, action)));
        }
    }
    own
}

pub fn of_record(site: &Site, records: &Records, id: &Id, record: &Record) -> Own {
    match record {
        Record::Person(body) => of_person(records, id, &body.groups),
        Record::Group(_) => of_people(records, std::slice::from_ref(id), None),
        Record::Credential(body) => {
            let holder = records.iter().find_map(|(id, record)| match record {
                Record::Person(person) if *id == body.person => Some(person),
                _ => None,
            });
            holder.map_or_else(Own::default, |holder| of_person(records, &body.person, &holder.groups))
        }
        Record::AccessRule(rule) => of_rule_with_events(records, rule),
        Record::AutoOpen(body) => Own::doors(&body.doors),
        Record::Interlock(body) => Own::doors(&body.doors),
        Record::DoorPolicy(body) => of_places(site, &body.doors),
        Record::EmergencyCard(body) => body.doors.as_ref().map_or_else(Own::everything, |doors| of_places(site, doors)),
        Record::LockerContract(body) => Own::doors(std::slice::from_ref(&body.locker)),
        Record::FloorGroup(_) => Own::cab(id),
        Record::Area(_) => of_area(site, records, id).unwrap_or_else(Own::everything),
        Record::SystemEvent(event) => of_event(records, event),
        Record::Operator(operator) => of_operator(records, operator),
        Record::Partition(body) => {
            let mut own = Own::doors(&body.doors);
            own.doors.extend(body.lockers.iter().cloned());
            own.cabs.extend(body.floor_groups.iter().cloned());
            own.partitions.push(id.clone());
            own.units.extend(body.organisation_unit.clone());
            own
        }
        Record::OrganisationUnit(body) => {
            let mut own = Own { units: with_those_below(records, std::slice::from_ref(id)), ..Own::default() };
            for (partition, record) in records {
                let Record::Partition(body) = record else { continue };
                if body.organisation_unit.as_ref().is_some_and(|unit| own.units.contains(unit)) {
                    own.partitions.push(partition.clone());
                    own.add(of_partition(records, partition).unwrap_or_default());
                }
            }
            own.units.extend(body.parent.clone());
            own
        }
        _ => Own::everything(),
    }
}

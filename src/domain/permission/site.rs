//! The records that are about places, automatic behaviour and lockers, as they stand in the set. Owns the
//! checks of their references; must never interpret them (each feature's machine does, from here).
//! Invariant: every person, group, schedule, holiday, unit and partition that a record names exists.

use std::collections::BTreeMap;

use crate::domain::{
    card_format,
    ids::Id,
    locker::BACKUP_CODES_MAX,
    record::{
        Area, AutoOpen, CardFormat, DoorPolicy, EmergencyCard, FloorGroup, Interlock, LockerContract, OrganisationUnit,
        Partition, Record, SystemEvent, Token, Trigger,
    },
    system_event,
};

/// Small tables compared to those of people; replaced only when one of their own records changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteRecords {
    pub auto_opens: BTreeMap<Id, AutoOpen>,
    pub system_events: BTreeMap<Id, SystemEvent>,
    pub partitions: BTreeMap<Id, Partition>,
    pub organisation_units: BTreeMap<Id, OrganisationUnit>,
    pub areas: BTreeMap<Id, Area>,
    pub floor_groups: BTreeMap<Id, FloorGroup>,
    pub interlocks: BTreeMap<Id, Interlock>,
    pub emergency_cards: BTreeMap<Id, EmergencyCard>,
    pub card_formats: BTreeMap<Id, CardFormat>,
    pub door_policies: BTreeMap<Id, DoorPolicy>,
    pub locker_contracts: BTreeMap<Id, LockerContract>,
}

/// Whether something that a record names exists.
pub struct Known<'a> {
    pub person: &'a dyn Fn(&Id) -> bool,
    pub group: &'a dyn Fn(&Id) -> bool,
    pub schedule: &'a dyn Fn(&Id) -> bool,
    pub holiday: &'a dyn Fn(&Id) -> bool,
    pub operator: &'a dyn Fn(&Id) -> bool,
}

impl SiteRecords {
    /// False if it replaces a record, or is not one of these kinds.
    pub fn insert(&mut self, id: &Id, record: Record) -> bool {
        let id = id.clone();
        match record {
            Record::AutoOpen(body) => self.auto_opens.insert(id, body).is_none(),
            Record::SystemEvent(body) => self.system_events.insert(id, body).is_none(),
            Record::Partition(body) => self.partitions.insert(id, body).is_none(),
            Record::OrganisationUnit(body) => self.organisation_units.insert(id, body).is_none(),
            Record::Area(body) => self.areas.insert(id, body).is_none(),
            Record::FloorGroup(body) => self.floor_groups.insert(id, body).is_none(),
            Record::Interlock(body) => self.interlocks.insert(id, body).is_none(),
            Record::EmergencyCard(body) => self.emergency_cards.insert(id, body).is_none(),
            Record::CardFormat(body) => self.card_formats.insert(id, body).is_none(),
            Record::DoorPolicy(body) => self.door_policies.insert(id, body).is_none(),
            Record::LockerContract(body) => self.locker_contracts.insert(id, body).is_none(),
            _ => false,
        }
    }

    pub fn has(&self, kind: &str, id: &Id) -> bool {
        match kind {
            "auto_open" => self.auto_opens.contains_key(id),
            "system_event" => self.system_events.contains_key(id),
            "partition" => self.partitions.contains_key(id),
            "organisation_unit" => self.organisation_units.contains_key(id),
            "area" => self.areas.contains_key(id),
            "floor_group" => self.floor_groups.contains_key(id),
            "interlock" => self.interlocks.contains_key(id),
            "emergency_card" => self.emergency_cards.contains_key(id),
            "card_format" => self.card_formats.contains_key(id),
            "door_policy" => self.door_policies.contains_key(id),
            "locker_contract" => self.locker_contracts.contains_key(id),
            _ => false,
        }
    }

    /// What is not there may be removed as well.
    pub fn remove(&mut self, kind: &str, id: &Id) {
        match kind {
            "auto_open" => drop(self.auto_opens.remove(id)),
            "system_event" => drop(self.system_events.remove(id)),
            "partition" => drop(self.partitions.remove(id)),
            "organisation_unit" => drop(self.organisation_units.remove(id)),
            "area" => drop(self.areas.remove(id)),
            "floor_group" => drop(self.floor_groups.remove(id)),
            "interlock" => drop(self.interlocks.remove(id)),
            "emergency_card" => drop(self.emergency_cards.remove(id)),
            "card_format" => drop(self.card_formats.remove(id)),
            "door_policy" => drop(self.door_policies.remove(id)),
            "locker_contract" => drop(self.locker_contracts.remove(id)),
            _ => {}
        }
    }

    /// Which policy speaks at this place; none: the defaults do.
    pub fn policy_at(&self, place: &Id) -> Option<(&Id, &DoorPolicy)> {
        self.door_policies.iter().find(|(_, policy)| policy.doors.contains(place))
    }

    pub fn check(&self, known: &Known<'_>, fault: &mut dyn FnMut(String)) {
        let mut missing = |of: &str, id: &Id, kind: &str, named: &Id, exists: bool| {
            if !exists {
                fault(format!("{of} {id}: {kind} {named} does not exist"));
            }
        };
        for (id, body) in &self.auto_opens {
            missing("auto_open", id, "schedule", &body.schedule, (known.schedule)(&body.schedule));
            body.holidays.iter().for_each(|h| missing("auto_open", id, "holiday", h, (known.holiday)(h)));
            body.first_person_groups.iter().for_each(|g| missing("auto_open", id, "group", g, (known.group)(g)));
        }
        for (id, body) in &self.floor_groups {
            for schedule in body.public.iter().filter_map(|public| public.schedule.as_ref()) {
                missing("floor_group", id, "schedule", schedule, (known.schedule)(schedule));
            }
        }
        self.check_contracts(fault);
        let mut missing = |of: &str, id: &Id, kind: &str, named: &Id, exists: bool| {
            if !exists {
                fault(format!("{of} {id}: {kind} {named} does not exist"));
            }
        };
        for (id, body) in &self.locker_contracts {
            body.person.iter().for_each(|p| missing("locker_contract", id, "person", p, (known.person)(p)));
        }
        for (id, body) in &self.system_events {
            body.schedule.iter().for_each(|s| missing("system_event", id, "schedule", s, (known.schedule)(s)));
            body.author.iter().for_each(|o| missing("system_event", id, "operator", o, (known.operator)(o)));
            if let Trigger::Granted { groups, .. } | Trigger::MultiSwipe { groups, .. } = &body.when {
                groups.iter().for_each(|g| missing("system_event", id, "group", g, (known.group)(g)));
            }
            if let Trigger::Granted { persons, .. } = &body.when {
                persons.iter().for_each(|p| missing("system_event", id, "person", p, (known.person)(p)));
            }
        }
        for (id, body) in &self.partitions {
            if let Some(unit) = &body.organisation_unit {
                missing("partition", id, "organisation_unit", unit, self.organisation_units.contains_key(unit));
            }
        }
        for (id, body) in &self.organisation_units {
            if let Some(parent) = &body.parent {
                let exists = self.organisation_units.contains_key(parent);
                missing("organisation_unit", id, "organisation_unit", parent, exists);
            }
        }
        system_event::check(&self.system_events, &self.partitions, fault);
        card_format::check(&self.card_formats, fault);
        self.check_policies(fault);
        self.check_units(fault);
        self.check_emergency_cards(fault);
    }

    /// One card is one record: of two nobody could say whose doors, PIN and uses count.
    fn check_emergency_cards(&self, fault: &mut dyn FnMut(String)) {
        let mut known: BTreeMap<&Token, &Id> = BTreeMap::new();
        for (id, card) in &self.emergency_cards {
            match known.get(&card.token) {
                Some(other) => fault(format!("emergency_card {id}: has the same token as emergency_card {other}")),
                None => drop(known.insert(&card.token, id)),
            }
        }
    }

    fn check_contracts(&self, fault: &mut dyn FnMut(String)) {
        for (id, body) in &self.locker_contracts {
            if body.person.is_none() && body.pin.is_none() {
                fault(format!("locker_contract {id}: names neither person nor pin"));
            }
            if body.from.zip(body.until).is_some_and(|(from, until)| until <= from) {
                fault(format!("locker_contract {id}: until is not after from"));
            }
            if body.backup_codes.len() > BACKUP_CODES_MAX {
                fault(format!("locker_contract {id}: more than {BACKUP_CODES_MAX} backup codes"));
            }
        }
    }

    fn check_policies(&self, fault: &mut dyn FnMut(String)) {
        let mut spoken_for: BTreeMap<&Id, &Id> = BTreeMap::new();
        for (id, body) in &self.door_policies {
            if let Some(what) = body.fault() {
                fault(format!("door_policy {id}: {what}"));
            }
            for door in &body.doors {
                if let Some(other) = spoken_for.insert(door, id).filter(|other| *other != id) {
                    fault(format!("door_policy {id}: door {door} already has door_policy {other}"));
                }
            }
        }
    }

    /// Units form trees.
    fn check_units(&self, fault: &mut dyn FnMut(String)) {
        for id in self.organisation_units.keys() {
            let mut above = Some(id);
            let mut steps = 0;
            while let Some(unit) = above {
                above = self.organisation_units.get(unit).and_then(|unit| unit.parent.as_ref());
                steps += 1;
                if above == Some(id) {
                    fault(format!("organisation_unit {id}: is below itself"));
                    break;
                }
                if steps > self.organisation_units.len() {
                    break;
                }
            }
        }
    }
}

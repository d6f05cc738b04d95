//! A set on its way to the next generation. Owns taking records in and out of the tables; must never leave a
//! trace in the set that it began from. Invariant: what a draft comes to depends on the records that it then
//! holds, not on the order in which they came, nor on which of them were there before.
//!
//! A whole set is a draft that begins with nothing; a delta is one that begins with the set in force. What
//! is wrong is only noticed here, cheaply; [`faults`](super::faults) then says it in full.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Known, Permissions, SetVersion, calendar,
    cells::{GroupCell, Life, PersonCell},
    rules::{Gate, RULES_MAX, RuleBody, Rules},
};
use crate::domain::{
    card_format::CardFormats,
    ids::{DoorIx, Id},
    record::{self, Effect, Record, Token},
};

/// A set that records are put into, and taken out of.
pub(super) struct Draft {
    pub(super) set: Permissions,
    /// Names that were given twice, where a record is not to replace another.
    pub(super) twice: Vec<String>,
    calendar: calendar::Touched,
    rules: bool,
    operators: bool,
    site: bool,
    card_formats: bool,
    /// Something went that records of the site may name.
    gone: bool,
    /// Groups and persons that something may miss now.
    pub(super) groups: Vec<u32>,
    pub(super) persons: Vec<u32>,
    /// Tokens that more than one credential had for a while.
    pub(super) shared_tokens: Vec<Token>,
    /// What lies beside credentials is copied there in the end, all at once.
    whole: bool,
}

/// Seen while a draft is finished.
#[derive(Default)]
pub(super) struct Missing {
    pub(super) groups: BTreeSet<u32>,
    pub(super) persons: BTreeSet<u32>,
}

impl Draft {
    pub(super) fn of(set: Permissions) -> Draft {
        Draft {
            set,
            twice: Vec::new(),
            calendar: calendar::Touched::default(),
            rules: false,
            operators: false,
            site: false,
            card_formats: false,
            gone: false,
            groups: Vec::new(),
            persons: Vec::new(),
            shared_tokens: Vec::new(),
            whole: false,
        }
    }

    /// Of a set that all records are still to come for.
    pub(super) fn whole(set: Permissions) -> Draft {
        Draft { whole: true, ..Draft::of(set) }
    }

    /// False if it replaces a record.
    pub(super) fn put(&mut self, id: &Id, record: Record) -> bool {
        match record {
            Record::Person(body) => self.put_person(id, &body),
            Record::Credential(body) => self.put_credential(id, &body),
            Record::Group(body) => self.set.people.groups.define(id, GroupCell { critical: body.critical }).1.is_none(),
            Record::AccessRule(body) => self.put_rule(id, &body),
            Record::Schedule(body) => Arc::make_mut(&mut self.set.calendar).put_schedule(id, body, &mut self.calendar),
            Record::Holiday(body) => Arc::make_mut(&mut self.set.calendar).put_holiday(id, &body, &mut self.calendar),
            Record::Operator(body) => {
                self.operators = true;
                Arc::make_mut(&mut self.set.operators).records.insert(id.clone(), body).is_none()
            }
            Record::Role(body) => {
                self.operators = true;
                Arc::make_mut(&mut self.set.operators).roles.insert(id.clone(), body).is_none()
            }
            other => {
                self.site = true;
                self.card_formats |= matches!(other, Record::CardFormat(_));
                Arc::make_mut(&mut self.set.site).insert(id, other)
            }
        }
    }

    /// What is not there, or of a kind that nobody knows, may be taken out as well.
    pub(super) fn delete(&mut self, kind: &str, id: &Id) {
        match kind {
            "person" => {
                if let Some((at, cell)) = self.set.people.persons.undefine(id) {
                    self.let_go_of_groups(&cell.groups);
                    self.set.people.set_partitions(at, &[]);
                    self.persons.push(at);
                    self.gone = true;
                }
            }
            "credential" => self.delete_credential(id),
            "group" => {
                if let Some((at, _)) = self.set.people.groups.undefine(id) {
                    self.groups.push(at);
                    self.gone = true;
                }
            }
            "access_rule" => {
                if let Some(body) = Arc::make_mut(&mut self.set.rule_bodies).remove(id) {
                    self.let_go_of_rule(&body);
                }
            }
            "schedule" => {
                self.gone = true;
                Arc::make_mut(&mut self.set.calendar).delete_schedule(id, &mut self.calendar);
            }
            "holiday" => {
                self.gone = true;
                Arc::make_mut(&mut self.set.calendar).delete_holiday(id, &mut self.calendar);
            }
            "operator" => {
                (self.operators, self.gone) = (true, true);
                Arc::make_mut(&mut self.set.operators).records.remove(id);
            }
            "role" => {
                self.operators = true;
                Arc::make_mut(&mut self.set.operators).roles.remove(id);
            }
            _ => {
                if self.set.site.has(kind, id) {
                    self.site = true;
                    self.card_formats |= kind == "card_format";
                    Arc::make_mut(&mut self.set.site).remove(kind, id);
                }
            }
        }
    }

    fn put_person(&mut self, id: &Id, body: &record::Person) -> bool {
        let groups = self.refer_groups(&body.groups);
        let life = Life::new(body.active_from, body.expires_at);
        let cell = PersonCell {
            groups: groups.into(),
            dated: life.is_limited(),
            extended: body.extended_access,
            apb_exempt: body.apb_exempt,
            has_pin: body.pin.is_some(),
            has_duress_pin: body.duress_pin.is_some(),
        };
        let (at, before) = self.set.people.put_person(id, cell, life);
        if !self.whole {
            self.set.people.copy_holder_of_all(at);
        }
        self.set.people.set_pins(at, body.pin, body.duress_pin);
        self.set.people.set_partitions(at, &body.partitions);
        if let Some(before) = &before {
            self.let_go_of_groups(&before.groups);
        }
        before.is_none()
    }

    fn put_credential(&mut self, id: &Id, body: &record::Credential) -> bool {
        let people = &mut self.set.people;
        let person = people.persons.refer(&body.person);
        if people.persons.is_missing(person) {
            self.persons.push(person);
        }
        if people.holders(&body.token).next().is_some() {
            self.shared_tokens.push(body.token);
        }
        let (at, before) = people.put_credential(id, person, body);
        if !self.whole {
            people.copy_holder(at);
        }
        if let Some(before) = before {
            self.let_go_of_person(before);
        }
        before.is_none()
    }

    fn delete_credential(&mut self, id: &Id) {
        if let Some(person) = self.set.people.delete_credential(id) {
            self.let_go_of_person(person);
        }
    }

    fn put_rule(&mut self, id: &Id, body: &record::AccessRule) -> bool {
        let groups = self.refer_groups(&body.groups);
        let persons: BTreeSet<&Id> = body.persons.iter().collect();
        let mut places = Vec::with_capacity(persons.len());
        for person in persons {
            let at = self.set.people.persons.refer(person);
            if self.set.people.persons.is_missing(at) {
                self.persons.push(at);
            }
            places.push(at);
        }
        let mut faults = Vec::new();
        if body.groups.is_empty() && body.persons.is_empty() {
            faults.push("names neither groups nor persons");
        }
        if body.doors.is_empty() && body.floors.is_empty() {
            faults.push("names neither doors nor floors");
        }
        if body.effect == Effect::Deny && body.authentication.is_some() {
            faults.push("a deny rule asks for no authentication");
        }
        // Doors of other nodes are passed over: sets are shared.
        let here: BTreeSet<DoorIx> = body.doors.iter().filter_map(|door| self.set.places.door(door)).collect();
        let body = RuleBody {
            gate: match body.effect {
                Effect::Deny => Gate::Deny,
                Effect::Allow => Gate::Allow(body.authentication.unwrap_or_default()),
            },
            schedule: body.schedule.clone(),
            groups: groups.into(),
            persons: places.into(),
            doors: here.into_iter().collect(),
            floors: self.set.places.floors(&body.floors).into(),
            faults,
        };
        self.rules = true;
        let before = Arc::make_mut(&mut self.set.rule_bodies).insert(id.clone(), Arc::new(body));
        if let Some(before) = &before {
            self.let_go_of_rule(before);
        }
        before.is_none()
    }

    /// Their places, each once, ascending.
    fn refer_groups(&mut self, names: &[Id]) -> Vec<u32> {
        let table = &mut self.set.people.groups;
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let at = table.refer(name);
            if places.contains(&at) {
                table.unrefer(at);
                continue;
            }
            if table.is_missing(at) {
                self.groups.push(at);
            }
            places.push(at);
        }
        places.sort_unstable();
        places
    }

    fn let_go_of_groups(&mut self, groups: &[u32]) {
        for group in groups {
            self.set.people.groups.unrefer(*group);
            if self.set.people.groups.is_missing(*group) {
                self.groups.push(*group);
            }
        }
    }

    fn let_go_of_person(&mut self, person: u32) {
        self.set.people.persons.unrefer(person);
        if self.set.people.persons.is_missing(person) {
            self.persons.push(person);
        }
    }

    fn let_go_of_rule(&mut self, body: &RuleBody) {
        self.rules = true;
        self.let_go_of_groups(&body.groups);
        body.persons.iter().for_each(|person| self.let_go_of_person(*person));
    }

    /// The next generation, or all that is wrong with it.
    pub(super) fn finish(mut self, version: SetVersion) -> Result<Permissions, Vec<String>> {
        if self.whole {
            self.set.people.copy_all_holders();
        }
        let missing = self.settle();
        let tokens = &self.shared_tokens;
        let mut sound = self.twice.is_empty() && missing.groups.is_empty() && missing.persons.is_empty();
        sound &= tokens.iter().all(|token| self.set.people.holders(token).nth(1).is_none());
        // Partitions and units say what an operator reaches.
        if self.operators || self.site {
            sound &= Arc::make_mut(&mut self.set.operators).refresh(&self.set.site);
        }
        if self.calendar.any() {
            sound &= Arc::make_mut(&mut self.set.calendar).refresh(&self.calendar);
        }
        if self.rules || self.calendar.any() {
            sound &= self.rules_are_sound();
        }
        if self.site || self.gone {
            self.check_site(&mut |_| sound = false);
        }
        if !sound {
            return Err(self.faults(&missing));
        }
        if self.rules || self.calendar.any() {
            let Permissions { rule_bodies, calendar, places, .. } = &self.set;
            self.set.rules = Arc::new(Rules::new(rule_bodies, calendar, places));
        }
        if self.card_formats {
            self.set.card_formats = Arc::new(CardFormats::new(&self.set.site.card_formats));
        }
        Ok(Permissions { version, present: true, ..self.set })
    }

    /// Frees the places of names that nobody defines or refers to; what is missed remains.
    fn settle(&mut self) -> Missing {
        let people = &mut self.set.people;
        let mut missing = Missing::default();
        missing.groups.extend(self.groups.iter().filter(|at| !people.groups.let_go(**at)));
        missing.persons.extend(self.persons.iter().filter(|at| !people.persons.let_go(**at)));
        missing
    }

    pub(super) fn check_site(&self, fault: &mut dyn FnMut(String)) {
        let Permissions { people, calendar, operators, site, .. } = &self.set;
        let known = Known {
            person: &|id| people.persons.find(id).is_some(),
            group: &|id| people.groups.find(id).is_some(),
            schedule: &|id| calendar.schedule(id).is_some(),
            holiday: &|id| calendar.holiday(id).is_some(),
            operator: &|id| operators.records.contains_key(id),
        };
        site.check(&known, fault);
    }

    fn rules_are_sound(&self) -> bool {
        let bodies = &self.set.rule_bodies;
        let schedule_is_there = |id: &Id| self.set.calendar.schedule(id).is_some();
        bodies.len() <= RULES_MAX
            && bodies
                .values()
                .all(|body| body.faults.is_empty() && body.schedule.as_ref().is_none_or(schedule_is_there))
    }
}

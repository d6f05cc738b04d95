//! From records to a compiled set. Owns every check between records; must never stop at the first
//! fault, and never give out a set that has one. Invariant: the result depends on the records, not on
//! the order in which they came.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    Permissions, SetVersion,
    people::{CredentialCell, Life, People, PersonCell, Range, TokenIndex},
    rules::{DoorRules, NumberSet, RuleCell, RuleRef, Rules, ScheduleIx},
    site::{Known, SiteRecords},
};
use crate::domain::{
    ids::{DoorIx, Id},
    operator::{Authority, BUILT_IN_ROLES, OperatorIndex, Places},
    record::{self, Record},
    schedule::{Holiday, Schedule},
    topology::Topology,
};

/// More reasons than this for one refusal tell nobody more; the last one then says how many there were.
pub const FAULTS_MAX: usize = 200;

/// Pairs of a door and a group that all rules together may spread over: bounds the memory of a set that
/// is small on the wire (a rule costs doors times groups).
pub const RULE_SPREAD_MAX: usize = 4_000_000;

/// Takes records one by one, in any order.
#[derive(Default)]
pub struct Compiler {
    faults: Faults,
    persons: BTreeMap<Id, record::Person>,
    credentials: BTreeMap<Id, record::Credential>,
    groups: BTreeSet<Id>,
    access_rules: BTreeMap<Id, record::AccessRule>,
    schedules: BTreeMap<Id, record::Schedule>,
    holidays: BTreeMap<Id, record::Holiday>,
    operators: BTreeMap<Id, record::Operator>,
    roles: BTreeMap<Id, record::Role>,
    site: SiteRecords,
}

#[derive(Default)]
struct Faults {
    listed: Vec<String>,
    unlisted: usize,
}

impl Faults {
    fn push(&mut self, fault: String) {
        if self.listed.len() < FAULTS_MAX {
            self.listed.push(fault);
        } else {
            self.unlisted += 1;
        }
    }
}

/// Where each id of a kind stands in its table.
type Numbers = HashMap<Id, u32>;

fn numbers<'a>(ids: impl Iterator<Item = &'a Id>) -> Numbers {
    ids.zip(0u32..).map(|(id, number)| (id.clone(), number)).collect()
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler::default()
    }

    pub fn add(&mut self, id: Id, record: Record) {
        let twice = match record {
            Record::Person(body) => self.persons.insert(id.clone(), body).map(|_| "person"),
            Record::Credential(body) => self.credentials.insert(id.clone(), body).map(|_| "credential"),
            Record::Group(_) => (!self.groups.insert(id.clone())).then_some("group"),
            Record::AccessRule(body) => self.access_rules.insert(id.clone(), body).map(|_| "access_rule"),
            Record::Schedule(body) => self.schedules.insert(id.clone(), body).map(|_| "schedule"),
            Record::Holiday(body) => self.holidays.insert(id.clone(), body).map(|_| "holiday"),
            Record::Operator(body) => self.operators.insert(id.clone(), body).map(|_| "operator"),
            Record::Role(body) => self.roles.insert(id.clone(), body).map(|_| "role"),
            other => {
                let kind = other.kind();
                (!self.site.insert(&id, other)).then_some(kind)
            }
        };
        if let Some(kind) = twice {
            self.faults.push(format!("{kind} {id}: given twice"));
        }
    }

    pub fn finish(
        mut self,
        topology: &Topology,
        zone: &TimeZone,
        version: SetVersion,
    ) -> Result<Permissions, Vec<String>> {
        let operators = self.operators();
        self.check_site();
        let (schedules, schedule_numbers) = self.schedules();
        let group_numbers = numbers(self.groups.iter());
        let person_numbers = numbers(self.persons.keys());
        let (rules, direct) =
            self.rules(&topology.doors, schedules, &schedule_numbers, &group_numbers, &person_numbers);
        let people = self.people(&group_numbers, &person_numbers, direct);
        let Faults { mut listed, unlisted } = self.faults;
        if unlisted > 0 {
            listed.push(format!("and {unlisted} more"));
        }
        if !listed.is_empty() {
            return Err(listed);
        }
        let site = Arc::new(self.site);
        Ok(Permissions { version, present: true, zone: zone.clone(), people, rules, operators, site })
    }

    fn check_site(&mut self) {
        let known = Known {
            person: &|id| self.persons.contains_key(id),
            group: &|id| self.groups.contains(id),
            schedule: &|id| self.schedules.contains_key(id),
            holiday: &|id| self.holidays.contains_key(id),
            operator: &|id| self.operators.contains_key(id),
        };
        let faults = &mut self.faults;
        self.site.check(&known, &mut |fault| faults.push(fault));
    }

    fn operators(&mut self) -> OperatorIndex {
        for role in BUILT_IN_ROLES {
            if self.roles.contains_key(role) {
                self.faults.push(format!("role {role}: is built in and cannot be redefined"));
            }
        }
        let SiteRecords { partitions, organisation_units, .. } = &self.site;
        let places = Places { partitions, organisation_units };
        let mut compiled = Vec::with_capacity(self.operators.len());
        for (id, operator) in &self.operators {
            match Authority::compile(operator, |role| self.roles.get(role).cloned(), &places) {
                Ok(authority) => compiled.push((id.clone(), authority)),
                Err(fault) => self.faults.push(format!("operator {id}: {fault}")),
            }
        }
        compiled.into_iter().collect()
    }

    fn schedules(&mut self) -> (Box<[Schedule]>, HashMap<Id, ScheduleIx>) {
        let holidays: BTreeMap<&str, Arc<Holiday>> =
            self.holidays.iter().map(|(id, holiday)| (id.as_str(), Arc::new(Holiday::compile(holiday)))).collect();
        let mut compiled = Vec::with_capacity(self.schedules.len());
        let mut numbers = HashMap::with_capacity(self.schedules.len());
        for (id, schedule) in &self.schedules {
            let mut fault = |fault| self.faults.push(format!("schedule {id}: {fault}"));
            compiled.push(Schedule::compile(schedule, |holiday| holidays.get(holiday).cloned(), &mut fault));
            match u16::try_from(compiled.len()).ok().and_then(ScheduleIx::new) {
                Some(number) => drop(numbers.insert(id.clone(), number)),
                None => fault(format!("a node holds at most {} schedules", u16::MAX)),
            }
        }
        (compiled.into(), numbers)
    }

    /// The rules by door and group, and those that name persons, by person.
    fn rules(
        &mut self,
        doors: &[Id],
        schedules: Box<[Schedule]>,
        schedule_numbers: &HashMap<Id, ScheduleIx>,
        groups: &Numbers,
        persons: &Numbers,
    ) -> (Rules, BTreeMap<u32, Vec<RuleRef>>) {
        let door_numbers: HashMap<&Id, DoorIx> = doors.iter().zip((0..=u16::MAX).map(DoorIx)).collect();
        let mut by_door: Vec<Vec<(u32, RuleRef)>> = doors.iter().map(|_| Vec::new()).collect();
        let mut by_person: BTreeMap<u32, Vec<RuleRef>> = BTreeMap::new();
        let mut cells = Vec::with_capacity(self.access_rules.len());
        let mut spread = 0usize;
        for ((id, rule), number) in self.access_rules.iter().zip(0u32..) {
            let mut fault = |fault: String| self.faults.push(format!("access_rule {id}: {fault}"));
            if rule.groups.is_empty() && rule.persons.is_empty() {
                fault("names neither groups nor persons".to_owned());
            }
            if rule.doors.is_empty() && rule.floors.is_empty() {
                fault("names neither doors nor floors".to_owned());
            }
            let schedule = rule.schedule.as_ref().and_then(|schedule| {
                let number = schedule_numbers.get(schedule).copied();
                if number.is_none() {
                    fault(format!("schedule {schedule} does not exist"));
                }
                number
            });
            let reference = RuleRef { rule: number, schedule, effect: rule.effect };
            // Doors of other nodes are passed over: sets are shared.
            let here: BTreeSet<DoorIx> = rule.doors.iter().filter_map(|door| door_numbers.get(door).copied()).collect();
            let mut resolve = |kind: &str, ids: &[Id], numbers: &Numbers| -> BTreeSet<u32> {
                ids.iter()
                    .filter_map(|id| {
                        let number = numbers.get(id).copied();
                        if number.is_none() {
                            fault(format!("{kind} {id} does not exist"));
                        }
                        number
                    })
                    .collect()
            };
            let for_groups = resolve("group", &rule.groups, groups);
            let for_persons = resolve("person", &rule.persons, persons);
            spread = spread.saturating_add(here.len().saturating_mul(for_groups.len()));
            if spread <= RULE_SPREAD_MAX {
                for door in &here {
                    if let Some(pairs) = by_door.get_mut(door.index()) {
                        pairs.extend(for_groups.iter().map(|group| (*group, reference)));
                    }
                }
            }
            for person in &for_persons {
                by_person.entry(*person).or_default().push(reference);
            }
            let doors = if for_persons.is_empty() { BTreeSet::new() } else { here };
            let doors = NumberSet::new(doors.into_iter().map(|door| u32::from(door.0)));
            cells.push(RuleCell { id: id.clone(), doors });
        }
        if spread > RULE_SPREAD_MAX {
            self.faults.push(format!(
                "access rules: {spread} pairs of a door and a group in all; a node holds at most {RULE_SPREAD_MAX}"
            ));
        }
        let doors = by_door.into_iter().map(DoorRules::new).collect();
        (Rules { cells: cells.into(), doors, schedules }, by_person)
    }

    fn people(&mut self, groups: &Numbers, persons: &Numbers, direct: BTreeMap<u32, Vec<RuleRef>>) -> People {
        let mut people = PeopleBuilder { direct, ..PeopleBuilder::default() };
        for ((id, person), number) in self.persons.iter().zip(0u32..) {
            let mut member_of = BTreeSet::new();
            for group in &person.groups {
                match groups.get(group) {
                    Some(number) => drop(member_of.insert(*number)),
                    None => self.faults.push(format!("person {id}: group {group} does not exist")),
                }
            }
            people.person(number, id, person, &member_of);
        }
        let mut holders: HashMap<record::Token, &Id> = HashMap::with_capacity(self.credentials.len());
        for (id, credential) in &self.credentials {
            if let Some(other) = holders.insert(credential.token, id) {
                self.faults.push(format!("credential {id}: has the same token as credential {other}"));
            }
            match persons.get(&credential.person) {
                Some(person) => people.credential(id, credential, *person),
                None => self.faults.push(format!("credential {id}: person {} does not exist", credential.person)),
            }
        }
        people.finish()
    }
}

/// Lays the tables of [`People`] out, one person after the other.
#[derive(Default)]
struct PeopleBuilder {
    direct: BTreeMap<u32, Vec<RuleRef>>,
    credentials: Vec<CredentialCell>,
    persons: Vec<PersonCell>,
    memberships: Vec<u32>,
    direct_table: Vec<RuleRef>,
}

impl PeopleBuilder {
    fn person(&mut self, number: u32, id: &Id, person: &record::Person, groups: &BTreeSet<u32>) {
        let direct = self.direct.remove(&number).unwrap_or_default();
        self.persons.push(PersonCell {
            id: id.clone(),
            life: Life::new(person.active_from, person.expires_at),
            groups: append(&mut self.memberships, groups.iter().copied()),
            direct: append(&mut self.direct_table, direct),
            extended: person.extended_access,
        });
    }

    fn credential(&mut self, id: &Id, credential: &record::Credential, person: u32) {
        self.credentials.push(CredentialCell {
            token: credential.token,
            id: id.clone(),
            life: Life::new(credential.active_from, credential.expires_at),
            person,
            state: credential.state,
        });
    }

    fn finish(self) -> People {
        People {
            tokens: TokenIndex::new(self.credentials.iter().map(|credential| &credential.token)),
            credentials: self.credentials.into(),
            persons: self.persons.into(),
            memberships: self.memberships.into(),
            direct: self.direct_table.into(),
        }
    }
}

fn append<T>(table: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Range {
    let from = table.len() as u32;
    table.extend(items);
    Range { from, to: table.len() as u32 }
}

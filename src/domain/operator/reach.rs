//! What a record does, as places: every door and floor group at which somebody is let in, kept out, or
//! anything moves differently because of it. Owns the way from each kind to places; must never know who asks.
//! Invariant: whatever a change of a record can bring about in the field lies within its reach before or its
//! reach after.
//!
//! | kind | reaches |
//! |---|---|
//! | `group` | the places of every rule that names it, the doors of auto opens that wait for it, the lockers and system events that its members set off |
//! | `person` | the same of each of their groups and of themselves; their locker contracts |
//! | `credential` | its person's |
//! | `access_rule` | its doors and floor groups; what those whom it names set off by being granted there |
//! | `schedule` | every rule, auto open, system event and public floor that it governs |
//! | `holiday` | every schedule and auto open that names it |
//! | `auto_open` `interlock` `door_policy` | its doors |
//! | `system_event` | the doors of its trigger (none named: all) and of its actions; outputs: the whole node |
//! | `partition` | its places, its unit, itself |
//! | `organisation_unit` | itself, those below, with their partitions |
//! | `area` | the doors of its readers |
//! | `floor_group` | itself |
//! | `emergency_card` | its doors; none named: all |
//! | `card_format` | the whole node: it says who every card is |
//! | `locker_contract` | its compartment |
//! | `operator` | their scope |
//! | `role` | the scope of every operator who has it |

use std::collections::BTreeSet;

use super::{
    authority::Authority,
    directory::{Directory, People},
    scope::{Limits, Scope, of_partition},
};
use crate::domain::{
    ids::Id,
    permission::SiteRecords,
    record::{AccessRule, Area, Person, Record, SystemAction, SystemEvent, Trigger},
    topology::{ReaderAt, Topology},
};

/// The records of a set at one moment, and the hardware that they name.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub directory: &'a Directory,
    pub people: &'a dyn People,
    pub topology: &'a Topology,
}

/// The records that are not about people, and the hardware that they name.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    pub site: &'a SiteRecords,
    pub topology: &'a Topology,
}

impl World<'_> {
    fn field(&self) -> Field<'_> {
        Field { site: &self.directory.site, topology: self.topology }
    }

    pub fn of(&self, id: &Id, record: &Record) -> Scope {
        match record {
            Record::Person(person) => self.of_person(id, person),
            Record::Credential(credential) => {
                let person = self.people.person(&credential.person);
                person.map_or(Scope::nothing(), |person| self.of_person(&credential.person, &person))
            }
            Record::Group(_) => self.of_groups(&BTreeSet::from([id])),
            Record::AccessRule(rule) => {
                let mut scope = of_rule(rule);
                let events = self.directory.site.system_events.values();
                events.filter(|event| self.is_set_off_by(event, rule)).for_each(|e| scope.add(self.field().set_off(e)));
                scope
            }
            Record::Schedule(_) => self.of_schedule(id),
            Record::Holiday(_) => self.of_holiday(id),
            Record::AutoOpen(body) => Scope::of_doors(&body.doors),
            Record::SystemEvent(event) => self.of_event(event),
            Record::Partition(partition) => {
                let mut scope = of_partition(partition);
                let organisation_units = partition.organisation_unit.iter().cloned().collect();
                scope.add(Scope::Limited(Limits {
                    partitions: BTreeSet::from([id.clone()]),
                    organisation_units,
                    ..Limits::default()
                }));
                scope
            }
            Record::Area(area) => self.field().of_area(area),
            Record::FloorGroup(_) => {
                let mut scope = Scope::nothing();
                scope.add_floor_group(id);
                scope
            }
            Record::Interlock(body) => Scope::of_doors(&body.doors),
            Record::EmergencyCard(card) => card.doors.as_ref().map_or(Scope::Everything, |doors| self.of_places(doors)),
            Record::CardFormat(_) => Scope::Everything,
            Record::Operator(operator) => self.of_operator(operator).unwrap_or(Scope::Everything),
            Record::Role(_) => self.of_role(id),
            Record::OrganisationUnit(unit) => {
                let mut scope = self.directory.places().scope(Vec::new(), Vec::new(), vec![id.clone()]);
                scope.add(Scope::Limited(Limits {
                    organisation_units: unit.parent.iter().cloned().collect(),
                    ..Limits::default()
                }));
                scope
            }
            Record::DoorPolicy(body) => self.of_places(&body.doors),
            Record::LockerContract(contract) => Scope::of_doors([&contract.locker]),
        }
    }

    /// Of doors and floor groups that are named in one list.
    fn of_places(&self, places: &[Id]) -> Scope {
        let mut scope = Scope::nothing();
        for place in places {
            let is_floor_group = self.topology.floor_group(place).is_some();
            if is_floor_group {
                scope.add_floor_group(place);
            }
            // What this node does not have is a door of another.
            if !is_floor_group || self.topology.door(place).is_some() {
                scope.add_doors(Some(place));
            }
        }
        scope
    }

    pub fn of_person(&self, id: &Id, person: &Person) -> Scope {
        let mut scope = self.of_groups(&person.groups.iter().collect());
        let site = &self.directory.site;
        let rules = self.directory.access_rules.values().filter(|rule| rule.persons.contains(id));
        rules.for_each(|rule| scope.add(of_rule(rule)));
        let contracts = site.locker_contracts.values().filter(|contract| contract.person.as_ref() == Some(id));
        contracts.for_each(|contract| scope.add_doors([&contract.locker]));
        scope.add(self.field().set_off_as(|named| named == id, |_| false));
        scope
    }

    /// Whether somebody whom a rule names, or one of their groups, sets off a system event by being granted where the
    /// rule admits.
    fn is_set_off_by(&self, event: &SystemEvent, rule: &AccessRule) -> bool {
        let (doors, groups, persons) = match &event.when {
            Trigger::Granted { doors, groups, persons } => (doors, groups.as_slice(), persons.as_slice()),
            Trigger::MultiSwipe { doors, groups, .. } => (doors, groups.as_slice(), &[][..]),
            _ => return false,
        };
        let there = doors.is_empty() || doors.iter().any(|door| rule.doors.contains(door));
        let any = |some: &[Id], of: &[Id]| some.iter().any(|one| of.contains(one));
        let belong = |person: &Id, of: &[Id]| self.people.person(person).is_some_and(|body| any(&body.groups, of));
        there
            && (any(groups, &rule.groups)
                || any(persons, &rule.persons)
                || rule.persons.iter().any(|person| belong(person, groups))
                || persons.iter().any(|person| belong(person, &rule.groups))
                || (!groups.is_empty() && !rule.groups.is_empty() && self.people.share_a_member(groups, &rule.groups)))
    }

    /// Somebody whom a record names; one who does not exist may reach anything tomorrow.
    fn of_named_person(&self, person: &Id) -> Scope {
        self.people.person(person).map_or(Scope::Everything, |body| self.of_person(person, &body))
    }

    fn of_groups(&self, groups: &BTreeSet<&Id>) -> Scope {
        let mut scope = Scope::nothing();
        let any = |names: &[Id]| names.iter().any(|name| groups.contains(name));
        let rules = self.directory.access_rules.values().filter(|rule| any(&rule.groups));
        rules.for_each(|rule| scope.add(of_rule(rule)));
        scope.add(self.field().set_off_as(|_| false, |group| groups.contains(group)));
        scope
    }

    fn of_schedule(&self, id: &Id) -> Scope {
        let mut scope = Scope::nothing();
        let Directory { access_rules, site, .. } = self.directory;
        let governed = |schedule: &Option<Id>| schedule.as_ref() == Some(id);
        access_rules.values().filter(|rule| governed(&rule.schedule)).for_each(|rule| scope.add(of_rule(rule)));
        site.auto_opens.values().filter(|body| body.schedule == *id).for_each(|body| scope.add_doors(&body.doors));
        for event in site.system_events.values().filter(|event| governed(&event.schedule)) {
            scope.add(self.of_event(event));
        }
        for (group, body) in &site.floor_groups {
            if body.public.iter().any(|public| governed(&public.schedule)) {
                scope.add_floor_group(group);
            }
        }
        scope
    }

    fn of_holiday(&self, id: &Id) -> Scope {
        let mut scope = Scope::nothing();
        for (schedule, body) in &self.directory.schedules {
            if body.holidays.iter().any(|named| named.holiday == *id) {
                scope.add(self.of_schedule(schedule));
            }
        }
        for auto_open in self.directory.site.auto_opens.values().filter(|body| body.holidays.contains(id)) {
            scope.add_doors(&auto_open.doors);
        }
        scope
    }

    fn of_event(&self, event: &SystemEvent) -> Scope {
        let mut scope = self.of_trigger(&event.when);
        scope.add(self.of_actions(event));
        scope
    }

    fn of_trigger(&self, trigger: &Trigger) -> Scope {
        match trigger {
            Trigger::ContactOpened { doors }
            | Trigger::ContactClosed { doors }
            | Trigger::Forced { doors }
            | Trigger::Propped { doors }
            | Trigger::AlarmCleared { doors }
            | Trigger::Rex { doors }
            | Trigger::Granted { doors, .. }
            | Trigger::Denied { doors, .. }
            | Trigger::UnknownCredential { doors }
            | Trigger::Duress { doors }
            | Trigger::MultiSwipe { doors, .. }
            | Trigger::ApbViolation { doors }
            | Trigger::FirstIn { doors }
            | Trigger::AutoOpenOn { doors }
            | Trigger::AutoOpenOff { doors } => all_or(doors),
            Trigger::ReaderLost { readers } | Trigger::ReaderRestored { readers } => {
                if readers.is_empty() {
                    Scope::Everything
                } else {
                    self.field().of_readers(readers)
                }
            }
            // Of the node as a whole, or of hardware that serves many doors.
            Trigger::FireActivated {}
            | Trigger::FireCleared {}
            | Trigger::BoardLost { .. }
            | Trigger::BoardRestored { .. }
            | Trigger::PowerLost {}
            | Trigger::PowerRestored {}
            | Trigger::Tamper { .. }
            | Trigger::TamperCleared { .. }
            | Trigger::InputActivated { .. }
            | Trigger::InputCleared { .. }
            | Trigger::CloudLost {}
            | Trigger::CloudRestored {} => Scope::Everything,
        }
    }

    fn of_actions(&self, event: &SystemEvent) -> Scope {
        let mut scope = Scope::nothing();
        event.actions.iter().for_each(|action| scope.add(self.of_action(action)));
        scope
    }

    /// Where one action moves something.
    pub fn of_action(&self, action: &SystemAction) -> Scope {
        self.field().of_action(action, &|person| self.of_named_person(person))
    }

    pub fn of_operator(&self, operator: &crate::domain::record::Operator) -> Result<Scope, String> {
        self.authority(operator).map(|authority| authority.scope)
    }

    pub fn authority(&self, operator: &crate::domain::record::Operator) -> Result<Authority, String> {
        let role = |name: &str| self.directory.roles.get(name).cloned();
        Authority::compile(operator, role, &self.directory.places())
    }

    fn of_role(&self, role: &Id) -> Scope {
        let mut scope = Scope::nothing();
        for operator in self.directory.operators.values().filter(|operator| operator.role == *role) {
            scope.add(self.of_operator(operator).unwrap_or(Scope::Everything));
        }
        scope
    }
}

impl Field<'_> {
    /// Where one action moves something, if people reach as they are said to.
    fn of_action(&self, action: &SystemAction, of_person: &dyn Fn(&Id) -> Scope) -> Scope {
        match action {
            SystemAction::DoorVirtualRead { door, person, .. } => {
                let mut scope = Scope::of_doors([door]);
                scope.add(of_person(person));
                scope
            }
            SystemAction::ApbClear { person: None, area: None } => Scope::Everything,
            SystemAction::ApbClear { person, area } => {
                let mut scope = person.as_ref().map_or(Scope::nothing(), of_person);
                if let Some(area) = area {
                    scope.add(self.site.areas.get(area).map_or(Scope::Everything, |body| self.of_area(body)));
                }
                scope
            }
            SystemAction::FloorOpen { floor_group, .. }
            | SystemAction::FloorClose { floor_group, .. }
            | SystemAction::FloorOpenAndClose { floor_group, .. } => {
                let mut scope = Scope::nothing();
                scope.add_floor_group(floor_group);
                scope
            }
            SystemAction::LockdownSet { node: true, .. } | SystemAction::LockdownClear { node: true, .. } => {
                Scope::Everything
            }
            SystemAction::LockdownSet { doors, partition, .. }
            | SystemAction::LockdownClear { doors, partition, .. } => {
                let mut scope = Scope::of_doors(doors);
                if let Some(partition) = partition {
                    scope.add(self.site.partitions.get(partition).map_or(Scope::Everything, of_partition));
                }
                scope
            }
            SystemAction::OutputPulse { .. } | SystemAction::OutputSet { .. } => Scope::Everything,
            SystemAction::DoorOpen { doors }
            | SystemAction::DoorClose { doors }
            | SystemAction::DoorOpenAndClose { doors, .. }
            | SystemAction::DoorOpenWithDelay { doors, .. }
            | SystemAction::DoorCloseWithDelay { doors, .. }
            | SystemAction::DoorCancelDelay { doors }
            | SystemAction::DoorDnd { doors, .. }
            | SystemAction::DoorDndToggle { doors }
            | SystemAction::DoorForce { doors, .. }
            | SystemAction::DoorForceToggle { doors }
            | SystemAction::AlarmAcknowledge { doors } => Scope::of_doors(doors),
            SystemAction::Alarm { .. } | SystemAction::Notify { .. } => Scope::nothing(),
        }
    }

    /// What somebody sets off by being granted somewhere, and the doors that wait for them; `is` tells them by name,
    /// `belongs` by their groups.
    pub fn set_off_as(&self, is: impl Fn(&Id) -> bool, belongs: impl Fn(&Id) -> bool) -> Scope {
        let mut scope = Scope::nothing();
        for auto_open in self.site.auto_opens.values().filter(|body| body.first_person_groups.iter().any(&belongs)) {
            scope.add_doors(&auto_open.doors);
        }
        for event in self.site.system_events.values() {
            let sets_off = match &event.when {
                Trigger::Granted { groups, persons, .. } => persons.iter().any(&is) || groups.iter().any(&belongs),
                Trigger::MultiSwipe { groups, .. } => groups.iter().any(&belongs),
                _ => false,
            };
            if sets_off {
                scope.add(self.set_off(event));
            }
        }
        scope
    }

    /// What people set off by being granted somewhere. Whoever an action names in turn is that action's
    /// author's affair, who had to reach them; and the way would not end if two named each other.
    fn set_off(&self, event: &SystemEvent) -> Scope {
        let mut scope = Scope::nothing();
        for action in &event.actions {
            match action {
                SystemAction::DoorVirtualRead { door, .. } => scope.add_doors([door]),
                SystemAction::ApbClear { person: Some(_), .. } => {}
                _ => scope.add(self.of_action(action, &|_| Scope::nothing())),
            }
        }
        scope
    }

    fn of_area(&self, area: &Area) -> Scope {
        self.of_readers(area.entry_readers.iter().chain(&area.exit_readers))
    }

    /// What a reader serves. One that the node does not have may be anywhere tomorrow.
    fn of_readers<'r>(&self, readers: impl IntoIterator<Item = &'r Id>) -> Scope {
        let mut scope = Scope::nothing();
        for reader in readers {
            let at = self.topology.readers.iter().find(|(id, _)| id == reader).map(|(_, at)| at);
            match at {
                Some(ReaderAt::Door(door)) => scope.add_doors(self.topology.door_id(*door)),
                Some(ReaderAt::Cab(cab)) => {
                    let group = self.topology.floor_groups.get(usize::from(*cab));
                    group.into_iter().for_each(|group| scope.add_floor_group(&group.id));
                }
                Some(ReaderAt::Cabinet(_)) | None => scope.add(Scope::Everything),
            }
        }
        scope
    }
}

/// Where it admits or keeps out.
pub(super) fn of_rule(rule: &AccessRule) -> Scope {
    let mut scope = Scope::of_doors(&rule.doors);
    rule.floors.iter().for_each(|grant| scope.add_floor_group(&grant.floor_group));
    scope
}

/// A list that is empty means every door.
fn all_or(doors: &[Id]) -> Scope {
    if doors.is_empty() { Scope::Everything } else { Scope::of_doors(doors) }
}

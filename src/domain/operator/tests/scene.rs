//! A site with two of everything: what the manager Mia has (the front door, the partition `west` of the unit
//! `shop`) and what she has not (the vault, the partition `east`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::*;
use crate::domain::{
    event::Refusal,
    ids::{DoorIx, Id},
    record::{Person, Record},
    time::{ClockTrust, Mono, Now, Wall},
    topology::{FloorGroupPlace, ReaderAt, Topology},
};

pub const NOON: i64 = 1_790_000_000_000;

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

pub fn now() -> Now {
    Now { mono: Mono::ZERO, wall: Wall::from_millis(NOON), trust: ClockTrust::Trusted }
}

pub fn record(kind: &str, body: Value) -> Record {
    serde_json::from_value(json!({"kind": kind, "body": body})).unwrap_or_else(|error| panic!("{kind} {body}: {error}"))
}

pub fn token(n: u8) -> String {
    crate::domain::record::Token([n; 32]).to_string()
}

#[derive(Default)]
pub struct Persons(BTreeMap<Id, Person>);

impl People for Persons {
    fn person(&self, id: &Id) -> Option<Person> {
        self.0.get(id).cloned()
    }

    fn share_a_member(&self, these: &[Id], those: &[Id]) -> bool {
        let any = |person: &Person, of: &[Id]| person.groups.iter().any(|group| of.contains(group));
        self.0.values().any(|person| any(person, these) && any(person, those))
    }
}

pub struct Scene {
    pub directory: Directory,
    pub persons: Persons,
    credentials: BTreeMap<Id, Record>,
    pub topology: Topology,
}

impl Scene {
    pub fn new() -> Scene {
        let doors = ["front", "glass", "vault", "box-1", "box-2"].map(id).to_vec();
        let at = |door: u16| ReaderAt::Door(DoorIx(door));
        let floor_groups = ["lift", "freight"].map(|name| FloorGroupPlace { id: id(name), floors: vec![id("f1")] });
        let topology = Topology {
            readers: vec![(id("front-in"), at(0)), (id("vault-in"), at(2)), (id("cab"), ReaderAt::Cab(1))],
            floor_groups: floor_groups.to_vec(),
            lockers: vec![DoorIx(3), DoorIx(4)],
            ..Topology::of_doors(&doors)
        };
        let mut scene = Scene {
            directory: Directory::default(),
            persons: Persons::default(),
            credentials: BTreeMap::new(),
            topology,
        };
        let all_but_configuration = json!({"capabilities": [
            "people", "groups", "system_events", "auto_open", "elevators", "partitions", "door_control", "operators",
            "lockdown", "lockers", "locker_contracts", "anti_passback", "emergency_cards", "configuration", "outputs", "alarms", "floor_control"
        ]});
        for (kind, name, body) in [
            ("organisation_unit", "company", json!({})),
            ("organisation_unit", "shop", json!({"parent": "company"})),
            ("organisation_unit", "shop-floor", json!({"parent": "shop"})),
            ("organisation_unit", "bank", json!({"parent": "company"})),
            (
                "partition",
                "west",
                json!({
                    "doors": ["front"], "floor_groups": ["lift"], "lockers": ["box-1"], "organisation_unit": "shop"
                }),
            ),
            (
                "partition",
                "east",
                json!({
                    "doors": ["vault"], "floor_groups": ["freight"], "lockers": ["box-2"], "organisation_unit": "bank"
                }),
            ),
            ("group", "staff", json!({})),
            ("group", "bankers", json!({})),
            ("group", "both", json!({})),
            ("group", "idle", json!({})),
            ("group", "west-only", json!({"partitions": ["west"]})),
            ("group", "east-only", json!({"partitions": ["east"]})),
            ("schedule", "office", json!({})),
            ("schedule", "bank-hours", json!({"holidays": [{"holiday": "bank-holiday"}]})),
            ("schedule", "unused", json!({})),
            ("holiday", "bank-holiday", json!({})),
            ("holiday", "new-year", json!({})),
            (
                "access_rule",
                "staff-front",
                json!({
                    "effect": "allow", "groups": ["staff", "both"], "doors": ["front"], "schedule": "office"
                }),
            ),
            (
                "access_rule",
                "bankers-vault",
                json!({
                    "effect": "allow", "groups": ["bankers", "both"], "doors": ["vault"], "schedule": "bank-hours"
                }),
            ),
            (
                "access_rule",
                "not-vault",
                json!({"effect": "deny", "groups": ["bankers"], "persons": ["sam"], "doors": ["vault"]}),
            ),
            (
                "access_rule",
                "lift-rule",
                json!({
                    "effect": "allow", "persons": ["pat"], "floors": [{"floor_group": "lift"}]
                }),
            ),
            (
                "access_rule",
                "freight-rule",
                json!({
                    "effect": "allow", "persons": ["sam"], "floors": [{"floor_group": "freight"}]
                }),
            ),
            ("auto_open", "front-days", json!({"doors": ["front"], "schedule": "office"})),
            (
                "auto_open",
                "vault-days",
                json!({"doors": ["vault"], "schedule": "bank-hours", "holidays": ["new-year"]}),
            ),
            ("area", "hall", json!({"entry_readers": ["front-in"]})),
            ("area", "safe", json!({"entry_readers": ["vault-in"]})),
            ("interlock", "trap", json!({"doors": ["front", "vault"]})),
            ("door_policy", "strict", json!({"doors": ["vault"]})),
            ("emergency_card", "e-front", json!({"token": token(1), "doors": ["front"]})),
            ("emergency_card", "e-all", json!({"token": token(2)})),
            ("card_format", "works", json!({"bits": 24, "number": {"first": 0, "bits": 24}})),
            ("locker_contract", "c-1", json!({"locker": "box-1", "person": "pat"})),
            ("locker_contract", "c-2", json!({"locker": "box-2", "person": "eli"})),
            ("role", "deputy", all_but_configuration),
            ("role", "greeter", json!({"capabilities": ["people"]})),
            ("role", "key-holder", json!({"capabilities": ["lockers"]})),
            ("operator", "root", json!({"status": {"state": "active"}, "role": "integrator"})),
            ("operator", "boss", json!({"status": {"state": "active"}, "role": "admin"})),
            (
                "operator",
                "mia",
                json!({
                    "status": {"state": "active"}, "role": "manager", "doors": ["front"], "organisation_units": ["shop"]
                }),
            ),
            ("operator", "dora", json!({"status": {"state": "active"}, "role": "manager", "doors": ["front"]})),
            // As wide in what they may do as can be, as narrow in where as Mia.
            (
                "operator",
                "dan",
                json!({
                    "status": {"state": "active"}, "role": "deputy", "doors": ["front"], "organisation_units": ["shop"]
                }),
            ),
            ("operator", "vic", json!({"status": {"state": "active"}, "role": "manager", "doors": ["vault"]})),
            ("operator", "gus", json!({"status": {"state": "active"}, "role": "greeter"})),
            ("operator", "ivy", json!({"status": {"state": "active"}, "role": "key-holder", "doors": ["box-1"]})),
            (
                "system_event",
                "bell",
                json!({
                    "when": {"trigger": "rex", "doors": ["front"]}, "do": [{"action": "door_open", "doors": ["front"]}], "author": "dan"
                }),
            ),
            (
                "system_event",
                "vault-bell",
                json!({
                    "when": {"trigger": "granted", "doors": ["vault"], "groups": ["idle"]},
                    "do": [{"action": "door_open", "doors": ["vault"]}], "author": "root"
                }),
            ),
            ("floor_group", "lift", json!({"public": [{"floors": ["f1"], "schedule": "office"}]})),
            ("floor_group", "freight", json!({})),
            ("person", "pat", json!({"groups": ["staff"]})),
            ("person", "sam", json!({"groups": ["bankers"]})),
            ("person", "bea", json!({"groups": ["both"]})),
            ("person", "nia", json!({})),
            ("person", "wes", json!({"partitions": ["west"]})),
            ("person", "eli", json!({"partitions": ["east"]})),
            ("credential", "pat-card", json!({"person": "pat", "token": token(3)})),
            ("credential", "sam-card", json!({"person": "sam", "token": token(4)})),
        ] {
            scene.put(kind, name, body);
        }
        scene
    }

    pub fn put(&mut self, kind: &str, name: &str, body: Value) {
        let (id, record) = (id(name), record(kind, body));
        match &record {
            Record::Person(person) => drop(self.persons.0.insert(id, person.clone())),
            Record::Credential(_) => drop(self.credentials.insert(id, record)),
            _ => self.directory.put(&id, record),
        }
    }

    pub fn remove(&mut self, kind: &str, name: &str) {
        match kind {
            "person" => drop(self.persons.0.remove(name)),
            "credential" => drop(self.credentials.remove(name)),
            _ => self.directory.remove(kind, &id(name)),
        }
    }

    /// All that a set would hold.
    pub fn records(&self) -> Vec<(Id, Record)> {
        let Directory { groups, access_rules, schedules, holidays, operators, roles, site } = &self.directory;
        let mut records: Vec<(Id, Record)> =
            self.credentials.iter().map(|(id, record)| (id.clone(), record.clone())).collect();
        macro_rules! of {
            ($($kind:ident: $table:expr),* $(,)?) => {
                $(records.extend($table.iter().map(|(id, body)| (id.clone(), Record::$kind(body.clone()))));)*
            };
        }
        of!(
            Person: self.persons.0, Group: groups, AccessRule: access_rules, Schedule: schedules, Holiday: holidays,
            Operator: operators, Role: roles, AutoOpen: site.auto_opens, SystemEvent: site.system_events,
            Partition: site.partitions, OrganisationUnit: site.organisation_units, Area: site.areas,
            FloorGroup: site.floor_groups, Interlock: site.interlocks, EmergencyCard: site.emergency_cards,
            CardFormat: site.card_formats, DoorPolicy: site.door_policies, LockerContract: site.locker_contracts,
        );
        records
    }

    pub fn world(&self) -> World<'_> {
        World { directory: &self.directory, people: &self.persons, topology: &self.topology }
    }

    pub fn authority(&self, operator: &str) -> Authority {
        self.world().authority(&self.directory.operators[operator]).unwrap()
    }

    pub fn stored(&self, kind: &str, name: &str) -> Option<Record> {
        let Directory { groups, access_rules, schedules, holidays, operators, roles, site } = &self.directory;
        match kind {
            "person" => self.persons.0.get(name).cloned().map(Record::Person),
            "credential" => self.credentials.get(name).cloned(),
            "group" => groups.get(name).cloned().map(Record::Group),
            "access_rule" => access_rules.get(name).cloned().map(Record::AccessRule),
            "schedule" => schedules.get(name).cloned().map(Record::Schedule),
            "holiday" => holidays.get(name).cloned().map(Record::Holiday),
            "operator" => operators.get(name).cloned().map(Record::Operator),
            "role" => roles.get(name).cloned().map(Record::Role),
            "auto_open" => site.auto_opens.get(name).cloned().map(Record::AutoOpen),
            "system_event" => site.system_events.get(name).cloned().map(Record::SystemEvent),
            "partition" => site.partitions.get(name).cloned().map(Record::Partition),
            "organisation_unit" => site.organisation_units.get(name).cloned().map(Record::OrganisationUnit),
            "area" => site.areas.get(name).cloned().map(Record::Area),
            "floor_group" => site.floor_groups.get(name).cloned().map(Record::FloorGroup),
            "interlock" => site.interlocks.get(name).cloned().map(Record::Interlock),
            "emergency_card" => site.emergency_cards.get(name).cloned().map(Record::EmergencyCard),
            "card_format" => site.card_formats.get(name).cloned().map(Record::CardFormat),
            "door_policy" => site.door_policies.get(name).cloned().map(Record::DoorPolicy),
            "locker_contract" => site.locker_contracts.get(name).cloned().map(Record::LockerContract),
            other => panic!("{other}"),
        }
    }

    /// What the node says to this edit; a body of `null` deletes.
    pub fn edit_at(&self, editor: &str, kind: &str, name: &str, body: &Value, now: Now) -> Result<(), Refused> {
        let (old, id) = (self.stored(kind, name), id(name));
        let new = (!body.is_null()).then(|| record(kind, body.clone()));
        let mut after = self.directory.clone();
        match &new {
            Some(new) => after.put(&id, new.clone()),
            None => after.remove(kind, &id),
        }
        let before = self.world();
        let worlds = Worlds { before, after: World { directory: &after, ..before } };
        let edit = RecordEdit { kind, id: &id, old: old.as_ref(), new: new.as_ref() };
        edit.authorise(&super::scene::id(editor), &self.authority(editor), &worlds, now)
    }

    pub fn edit(&self, editor: &str, kind: &str, name: &str, body: &Value) -> Result<(), Refused> {
        self.edit_at(editor, kind, name, body, now())
    }
}

#[track_caller]
pub fn refused(outcome: Result<(), Refused>, refusal: Refusal, part: &str) {
    match outcome {
        Err((found, why)) if found == refusal && why.contains(part) => {}
        other => panic!("expected {refusal:?} ({part}), found {other:?}"),
    }
}

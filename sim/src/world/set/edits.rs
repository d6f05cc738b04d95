//! What the cloud's people change in the set, at random. Owns which changes take something away.

use latchd::domain::record::{
    AccessRule, AutoOpen, Credential, CredentialState, Date, Effect, Holiday, Operator, OperatorStatus, Person, Record,
};

use super::{
    Records,
    first::{auto_open, card, ids, manager},
    names::{PERSONS, card_id, person_id, zone},
};
use crate::world::{World, site::id};

pub(super) fn person_of(set: &Records, number: u64) -> Person {
    match set.get("person", &person_id(number)) {
        Some(Record::Person(person)) => person.clone(),
        _ => Person::default(),
    }
}

impl World {
    /// One edit by the cloud's people.
    pub(in crate::world) fn edit_set(&mut self) {
        let number = self.rng.below(PERSONS);
        let mut set = self.sets.current.clone();
        let revokes = match self.rng.below(19) {
            0 | 1 => self.edit_operators(&mut set),
            2 => self.edit_automatic(&mut set),
            3..7 => {
                self.edit_cellar(&mut set);
                false
            }
            7 | 8 => {
                self.edit_guests(&mut set);
                false
            }
            9..12 => {
                self.edit_places(&mut set);
                false
            }
            _ => self.edit(&mut set, number),
        };
        if self.rng.permille(250) {
            self.absorb(&mut set);
        }
        let silently = self.rng.permille(150);
        self.change_set(set, revokes, silently);
    }

    /// Doors open by themselves at other times, or not at all.
    fn edit_automatic(&mut self, set: &mut Records) -> bool {
        let today = zone().to_datetime(self.wall().timestamp()).date();
        match self.rng.below(5) {
            0 => drop(set.delete("auto_open", &id("store-open"))),
            1 => set.put(&id("store-open"), Record::AutoOpen(auto_open(&["store"], "rush"))),
            2 => {
                let holidays = ids(&["feast"]);
                let record = AutoOpen { holidays, ..auto_open(&["store", "back"], "rush") };
                set.put(&id("store-open"), Record::AutoOpen(record));
            }
            3 => set.put(&id("feast"), Record::Holiday(Holiday { dates: vec![Date(today)], ..Holiday::default() })),
            _ => set.put(&id("feast"), Record::Holiday(Holiday::default())),
        }
        false
    }

    /// Somebody loses or gets a role, doors, or the right to do anything at all.
    fn edit_operators(&mut self, set: &mut Records) -> bool {
        let (name, operator) = match self.rng.below(6) {
            4 => ("op-2", Operator::active(id("reporter"))),
            0 | 5 => ("op-2", Operator { status: OperatorStatus::Suspended {}, ..Operator::active(id("admin")) }),
            1 => ("op-2", Operator::active(id("admin"))),
            2 => ("op-5", manager(&["back"])),
            _ => ("op-5", manager(&["front", "glass", "outer"])),
        };
        set.put(&id(name), Record::Operator(operator));
        true
    }

    /// Whether it takes something away.
    fn edit(&mut self, set: &mut Records, number: u64) -> bool {
        let put_card = |set: &mut Records, card: Credential| set.put(&card_id(number), Record::Credential(card));
        let denial = id(&format!("deny-{number}"));
        match self.rng.below(7) {
            0 => set.delete("credential", &card_id(number)),
            1 => {
                let states = [CredentialState::Suspended, CredentialState::Lost, CredentialState::Stolen];
                let state = states[self.rng.index(states.len())];
                put_card(set, Credential { state, ..card(number) });
                true
            }
            2 => {
                let doors = ["front", "glass", "back", "store", "outer", "inner"];
                let at = doors[self.rng.index(doors.len())];
                let schedule = self.rng.permille(300).then(|| id("shift"));
                let (persons, doors) = (vec![person_id(number)], ids(&[at]));
                let rule = AccessRule { persons, doors, schedule, ..AccessRule::new(Effect::Deny) };
                set.put(&denial, Record::AccessRule(rule));
                true
            }
            3 => {
                set.delete("access_rule", &denial);
                false
            }
            4 => {
                let person = person_of(set, number);
                let groups = ids(if person.groups == ids(&["staff"]) { &["night"] } else { &["staff"] });
                set.put(&person_id(number), Record::Person(Person { groups, ..person }));
                true
            }
            // Dates to the millisecond, soon.
            5 => {
                let limit = Some(self.wall() + self.rng.millis(0, 20_000));
                let (begins, of_person) = (self.rng.permille(300), self.rng.permille(500));
                let (active_from, expires_at) = if begins { (limit, None) } else { (None, limit) };
                if of_person {
                    let person = Person { active_from, expires_at, ..person_of(set, number) };
                    set.put(&person_id(number), Record::Person(person));
                } else {
                    put_card(set, Credential { active_from, expires_at, ..card(number) });
                }
                true
            }
            _ => {
                let person = Person { active_from: None, expires_at: None, ..person_of(set, number) };
                set.put(&person_id(number), Record::Person(person));
                put_card(set, card(number));
                false
            }
        }
    }
}

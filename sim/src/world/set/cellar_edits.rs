//! What the cloud's people change at random of PINs, policies, emergency cards, floors and contracts. Owns how often;
//! what takes a right away from somebody as a whole is in `edits`.

use latchd::domain::record::{
    AccessRule, Authentication, Effect, FloorGrant, FloorGroup, LockerContract, Person, PublicFloors, Record, WhenStale,
};

use super::{
    Records,
    cellar::{contract, contract_id, emergency_card, emergency_card_id, left_alone, pins, strict},
    edits::person_of,
    first::ids,
    names::{PERSONS, person_id},
};
use crate::world::{World, site::id};

impl World {
    pub(super) fn edit_cellar(&mut self, set: &mut Records) {
        match self.rng.below(10) {
            0 | 1 => {
                let choices = [WhenStale::Keep, WhenStale::CriticalGroups, WhenStale::EmergencyCards, WhenStale::Deny];
                let when_stale = choices[self.rng.index(choices.len())];
                let (name, body) = if self.rng.permille(500) {
                    ("strict", strict(when_stale))
                } else {
                    ("left-alone", left_alone(when_stale))
                };
                set.put(&id(name), Record::DoorPolicy(body));
            }
            2 => {
                let uses_max = if self.rng.permille(500) { 2 } else { 4 };
                set.put(&emergency_card_id(0), Record::EmergencyCard(emergency_card(0, Some(uses_max))));
            }
            3 | 4 => {
                let number = self.rng.below(PERSONS);
                let person = person_of(set, number);
                let person = if self.rng.permille(300) {
                    Person { pin: None, duress_pin: None, ..person }
                } else {
                    pins(number, person)
                };
                set.put(&person_id(number), Record::Person(person));
            }
            5 => {
                let either = [Authentication::CardAndPin, Authentication::CardOrPin, Authentication::TwoPerson];
                let authentication = Some(either[self.rng.index(either.len())]);
                let name = id("night-with-pin-at-the-safe");
                if let Some(Record::AccessRule(rule)) = set.get("access_rule", &name).cloned() {
                    set.put(&name, Record::AccessRule(AccessRule { authentication, ..rule }));
                }
            }
            6 => {
                let floors = ids(if self.rng.permille(500) { &["floor-0"] } else { &["floor-1", "floor-2"] });
                let schedule = self.rng.permille(700).then(|| id("rush"));
                let public = vec![PublicFloors { floors, schedule }];
                set.put(&id("lift"), Record::FloorGroup(FloorGroup { public, ..FloorGroup::default() }));
            }
            7 => {
                let name = id("nobody-to-the-attic");
                if self.rng.permille(500) {
                    set.delete("access_rule", &name);
                    return;
                }
                let floors = vec![FloorGrant { floor_group: id("lift"), floors: Some(ids(&["floor-1"])) }];
                let persons = vec![person_id(self.rng.below(PERSONS))];
                let rule = AccessRule { persons, floors, ..AccessRule::new(Effect::Deny) };
                set.put(&name, Record::AccessRule(rule));
            }
            _ => {
                let number = self.rng.below(3);
                let body = contract(number);
                let soon = Some(self.wall() + self.rng.millis(0, 12_000));
                match self.rng.below(5) {
                    0 => drop(set.delete("locker_contract", &contract_id(number))),
                    1 => set.put(&contract_id(number), Record::LockerContract(LockerContract { until: soon, ..body })),
                    2 => set.put(&contract_id(number), Record::LockerContract(LockerContract { from: soon, ..body })),
                    _ => set.put(&contract_id(number), Record::LockerContract(body)),
                }
            }
        }
    }
}

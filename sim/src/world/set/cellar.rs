//! The records of what asks for more than a card: PINs, pairs, emergency cards, what doors do when the node is left
//! alone, the elevator and the key lockers. Owns codes in clear, for the people of the world type them; must never put
//! one into a record.

use latchd::domain::{
    ids::Id,
    record::{
        AccessRule, Authentication, ClockFallback, Credential, DoorPolicy, Effect, EmergencyCard, FloorGrant,
        FloorGroup, Group, LockerContract, Medium, Person, PublicFloors, Record, Sharing, WhenStale,
    },
};

use super::{
    Records,
    first::ids,
    names::{EMERGENCY_PIN, duress_pin_of, emergency_card_of, hashed, person_id, pin_alone_of, pin_of, tokens_of},
};
use crate::world::site::id;

/// Who has a PIN that is a credential by itself.
const WITH_PIN_ALONE: [u64; 2] = [1, 2];
pub const BACKUP_CODES: [&str; 3] = ["6001", "6002", "6003"];
pub const RETURN_CODE: &str = "7700";
pub const LOCKER_PIN: &str = "4321";

/// With both PINs.
pub fn pins(number: u64, person: Person) -> Person {
    let of = |digits: String| Some(hashed(&format!("pin:{}:{digits}", person_id(number))));
    Person { pin: of(pin_of(number)), duress_pin: of(duress_pin_of(number)), ..person }
}

fn pin_credentials(set: &mut Records) {
    for number in WITH_PIN_ALONE {
        for duress in [false, true] {
            let token = hashed(&format!("pin:{}", pin_alone_of(number, duress)));
            let body = Credential { medium: Medium::Pin, duress, ..Credential::card(person_id(number), token) };
            set.put(&id(&format!("pin-{number}-{duress}")), Record::Credential(body));
        }
    }
}

fn rules(set: &mut Records) {
    let rule = |group: &str, door: &str, authentication| AccessRule {
        groups: ids(&[group]),
        doors: ids(&[door]),
        authentication: Some(authentication),
        ..AccessRule::new(Effect::Allow)
    };
    for (name, rule) in [
        ("staff-with-pin-at-the-back", rule("staff", "back", Authentication::CardAndPin)),
        ("pairs-at-the-safe", rule("staff", "safe", Authentication::TwoPerson)),
        ("night-with-pin-at-the-safe", rule("night", "safe", Authentication::CardAndPin)),
    ] {
        set.put(&id(name), Record::AccessRule(rule));
    }
    let by_pin = |person: u64, door: &str, authentication| AccessRule {
        groups: Vec::new(),
        persons: vec![person_id(person)],
        ..rule("staff", door, authentication)
    };
    set.put(&id("one-by-pin-at-the-back"), Record::AccessRule(by_pin(1, "back", Authentication::Pin)));
    set.put(&id("one-either-way-at-the-safe"), Record::AccessRule(by_pin(2, "safe", Authentication::CardOrPin)));
    set.put(&id("three-with-pin-at-key-2"), Record::AccessRule(by_pin(3, "key-2", Authentication::CardAndPin)));
    for (name, group, floors, authentication) in [
        ("staff-up", "staff", &["floor-0", "floor-1"][..], None),
        ("night-up", "night", &["floor-2"], Some(Authentication::CardAndPin)),
    ] {
        let floors = vec![FloorGrant { floor_group: id("lift"), floors: Some(ids(floors)) }];
        let rule = AccessRule { groups: ids(&[group]), floors, authentication, ..AccessRule::new(Effect::Allow) };
        set.put(&id(name), Record::AccessRule(rule));
    }
}

/// Asks for PINs and pairs in a hurry, and trusts nobody for long.
pub fn strict(when_stale: WhenStale) -> DoorPolicy {
    DoorPolicy {
        doors: ids(&["safe", "back"]),
        stale_after_s: Some(8),
        when_stale,
        clock_untrusted: ClockFallback::IgnoreSchedules,
        emergency_after_s: Some(2),
        pin_tries: 3,
        pin_lockout_s: 6,
        pin_timeout_ms: 2_000,
        second_person_ms: 2_500,
        ..DoorPolicy::default()
    }
}

pub fn left_alone(when_stale: WhenStale) -> DoorPolicy {
    DoorPolicy {
        doors: ids(&["store", "glass", "key-1"]),
        stale_after_s: Some(7),
        when_stale,
        clock_untrusted: ClockFallback::EmergencyCards,
        ..DoorPolicy::default()
    }
}

/// In the cab and at the key locker that asks for one, PINs are as those of doors.
fn indoors() -> DoorPolicy {
    DoorPolicy {
        doors: ids(&["lift", "key-2"]),
        emergency_after_s: Some(2),
        pin_tries: 3,
        pin_lockout_s: 6,
        pin_timeout_ms: 2_000,
        ..DoorPolicy::default()
    }
}

pub fn emergency_card(number: u64, uses_max: Option<u32>) -> EmergencyCard {
    let (tokens, _) = tokens_of(emergency_card_of(number));
    let name = emergency_card_id(number);
    EmergencyCard {
        name: None,
        token: tokens[0],
        pin: (number == 1).then(|| hashed(&format!("pin:{name}:{EMERGENCY_PIN}"))),
        expires_at: None,
        doors: match number {
            0 => Some(ids(&["store", "safe", "back"])),
            2 => Some(ids(&["key-1", "key-2"])),
            _ => None,
        },
        uses_max,
    }
}

pub fn emergency_card_id(number: u64) -> Id {
    id(&format!("ecard-{number}"))
}

pub fn contract(number: u64) -> LockerContract {
    let locker = id(if number == 0 { "key-1" } else { "key-2" });
    let code = |kind: &str, digits: &str| hashed(&format!("{kind}:{locker}:{digits}"));
    LockerContract {
        person: (number != 2).then(|| person_id(if number == 0 { 0 } else { 3 })),
        pin: (number == 2).then(|| code("pin", LOCKER_PIN)),
        key: Some(id(if number == 0 { "van" } else { "cart" })),
        from: None,
        until: None,
        sharing: if number == 0 { Sharing::Exclusive } else { Sharing::Shared },
        return_code: (number != 1).then(|| code("return", RETURN_CODE)),
        backup_codes: if number == 0 { BACKUP_CODES.map(|digits| code("backup", digits)).to_vec() } else { Vec::new() },
        locker,
    }
}

pub fn contract_id(number: u64) -> Id {
    id(&format!("contract-{number}"))
}

pub fn cellar(set: &mut Records) {
    set.put(&id("night"), Record::Group(Group { critical: true, ..Group::default() }));
    pin_credentials(set);
    rules(set);
    set.put(&id("strict"), Record::DoorPolicy(strict(WhenStale::CriticalGroups)));
    set.put(&id("indoors"), Record::DoorPolicy(indoors()));
    set.put(&id("left-alone"), Record::DoorPolicy(left_alone(WhenStale::EmergencyCards)));
    for (number, uses_max) in [(0, Some(2)), (1, None), (2, Some(5))] {
        set.put(&emergency_card_id(number), Record::EmergencyCard(emergency_card(number, uses_max)));
    }
    let public = vec![PublicFloors { floors: ids(&["floor-0"]), schedule: Some(id("rush")) }];
    set.put(&id("lift"), Record::FloorGroup(FloorGroup { public, ..FloorGroup::default() }));
    for number in 0..3 {
        set.put(&contract_id(number), Record::LockerContract(contract(number)));
    }
}

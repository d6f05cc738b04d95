//! At the cabinet, through the controller.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    hall::{Hall, access, ada, hashed, named, names, set, topology},
    *,
};
use crate::gateway::explain::{self, Place, Question, Read, Who};

fn contract(name: &str, body: Value) -> Value {
    json!({"kind": "locker_contract", "id": name, "body": body})
}

/// Ada's contract for the first compartment.
fn of_ada(more: &Value) -> Vec<Value> {
    let mut body = json!({"locker": "key-1", "person": "ada", "key": "van"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    [ada(), vec![contract("c-1", body)]].concat()
}

fn locked_again(hall: &mut Hall) {
    hall.pass(5_000);
    let _ = hall.tell(Input::Timeout);
    let _ = hall.confirm();
    assert!(!hall.unlocked(0) && !hall.unlocked(1));
}

#[test]
fn a_card_with_one_contract_opens_its_compartment_and_the_key_is_followed() {
    let mut hall = Hall::new(of_ada(&json!({})));
    let added = hall.occupy(0, true);
    assert_eq!((names(&added), &added[0]["key"]), (vec!["key.added"], &json!("van")));
    let event = access(&hall.at_cabinet(GOOD));
    assert_eq!(
        (&event["type"], &event["door"], &event["contract"]),
        (&json!("access.granted"), &json!("key-1"), &json!("c-1"))
    );
    assert!(hall.unlocked(0) && !hall.unlocked(1));
    let fetched = hall.occupy(0, false);
    assert_eq!((names(&fetched), &fetched[0]["person"]), (vec!["key.fetched"], &json!("ada")));
    locked_again(&mut hall);
    let _ = hall.at_cabinet(GOOD);
    let returned = hall.occupy(0, true);
    assert_eq!((names(&returned), &returned[0]["person"]), (vec!["key.returned"], &json!("ada")));
    let status = hall.status(&Thing::Locker(DoorIx(0)));
    assert_eq!((&status["occupied"], &status["key"]["state"]), (&json!(true), &json!("returned")));
    assert_eq!(status["contract_sync"], json!([{"contract": "c-1", "state": "applied", "generation": 41}]));
}

#[test]
fn a_key_that_is_out_when_its_contract_ends_is_told_once_and_may_still_come_back() {
    let until = "2026-09-21T15:00:00.000Z";
    let mut hall = Hall::new(of_ada(&json!({ "until": until })));
    let _ = hall.occupy(0, true);
    let _ = hall.at_cabinet(GOOD);
    let _ = hall.occupy(0, false);
    locked_again(&mut hall);
    assert!(hall.controller.next_deadline().is_some());
    hall.pass(3_000_000);
    let told = hall.tell(Input::Timeout);
    let overdue: Vec<&Value> = told.iter().filter(|event| named(event) == "key.not_returned").collect();
    assert!(matches!(overdue.as_slice(), [event] if event["contract"] == "c-1"), "{told:?}");
    let _ = hall.sync();
    hall.crash();
    assert!(hall.tell(Input::Timeout).is_empty(), "it is told once");
    let event = access(&hall.at_cabinet(GOOD));
    assert_eq!(event["type"], "access.granted");
    assert_eq!(names(&hall.occupy(0, true)), ["key.returned"]);
    locked_again(&mut hall);
    // It is back: the contract is over.
    let event = access(&hall.at_cabinet(GOOD));
    assert_eq!((&event["type"], &event["reason"]), (&json!("access.denied"), &json!("expired")));
}

#[test]
fn with_several_contracts_the_keypad_says_which() {
    let second = contract("c-2", json!({"locker": "key-2", "person": "ada"}));
    let mut hall = Hall::new([of_ada(&json!({})), vec![second]].concat());
    assert!(hall.at_cabinet(GOOD).is_empty());
    let event = access(&hall.types("2#"));
    assert_eq!(
        (&event["type"], &event["door"], &event["person"]),
        (&json!("access.granted"), &json!("key-2"), &json!("ada"))
    );
    assert!(!hall.unlocked(0) && hall.unlocked(1));
    locked_again(&mut hall);
    let _ = hall.at_cabinet(GOOD);
    assert_eq!(access(&hall.types("3#"))["reason"], "no_rule");
    let _ = hall.at_cabinet(GOOD);
    hall.pass(10_000);
    assert_eq!(access(&hall.tell(Input::Timeout))["reason"], "pin_required");
    assert!(!hall.unlocked(0) && !hall.unlocked(1));
}

#[test]
fn a_pin_opens_the_compartment_of_its_contract_and_wrong_codes_lock_the_keypad() {
    let records = vec![contract("c-1", json!({"locker": "key-2", "pin": hashed("pin:key-2:1234")}))];
    let mut hall = Hall::new(records);
    let event = access(&hall.types("1234#"));
    assert_eq!((&event["door"], &event["contract"], event.get("person")), (&json!("key-2"), &json!("c-1"), None));
    assert!(hall.unlocked(1));
    locked_again(&mut hall);
    // The same for this compartment, and not for another.
    assert_eq!(access(&hall.types("2*1234#"))["type"], "access.granted");
    locked_again(&mut hall);
    for _ in 0..3 {
        assert_eq!(hall.types("1*1234#")[0]["reason"], "wrong_pin");
    }
    assert_eq!(access(&hall.types("1234#"))["reason"], "pin_locked_out");
    hall.pass(60_000);
    assert_eq!(access(&hall.types("1234#"))["type"], "access.granted");
}

#[test]
fn a_return_code_opens_only_an_empty_compartment() {
    let mut hall = Hall::new(of_ada(&json!({ "return_code": hashed("return:key-1:77") })));
    let _ = hall.occupy(0, true);
    let event = access(&hall.types("77#"));
    assert_eq!((&event["reason"], &event["door"]), (&json!("area_full"), &json!("key-1")));
    assert!(!hall.unlocked(0));
    let _ = hall.occupy(0, false);
    assert_eq!(access(&hall.types("77#"))["type"], "access.granted");
    assert!(hall.unlocked(0));
    assert_eq!(names(&hall.occupy(0, true)), ["key.returned"]);
    locked_again(&mut hall);
    // Nobody knows what is in a compartment whose board is lost.
    let _ = hall.occupy(0, false);
    let _ = hall.bus(BusReport::BoardLost { board: GATE, detail: String::new() });
    assert_eq!(access(&hall.types("77#"))["reason"], "area_full");
}

#[test]
fn a_backup_code_opens_once_its_use_is_durable_and_never_again() {
    let mut hall =
        Hall::new(of_ada(&json!({ "backup_codes": [hashed("backup:key-1:9001"), hashed("backup:key-1:9002")] })));
    assert!(hall.types("9001#").is_empty());
    assert!(!hall.unlocked(0), "its use is not on the disk yet");
    assert_eq!(access(&hall.sync())["contract"], "c-1");
    assert!(hall.unlocked(0));
    locked_again(&mut hall);
    assert_eq!(access(&hall.types("9001#"))["reason"], "wrong_pin");
    hall.crash();
    assert_eq!(access(&hall.types("9001#"))["reason"], "wrong_pin", "nor after a restart");
    assert!(hall.types("9002#").is_empty());
    hall.pass(10_000);
    assert_eq!(access(&hall.tell(Input::Timeout))["reason"], "no_rule", "a disk that takes nothing opens nothing");
    let _ = hall.sync();
    assert!(!hall.unlocked(0));
}

#[test]
fn a_door_that_is_locked_down_and_a_rule_that_denies_stop_a_contract() {
    let deny =
        json!({"kind": "access_rule", "id": "r-1", "body": {"effect": "deny", "persons": ["ada"], "doors": ["key-1"]}});
    let mut hall = Hall::new([of_ada(&json!({})), vec![deny]].concat());
    let event = access(&hall.at_cabinet(GOOD));
    assert_eq!((&event["reason"], &event["rule"]), (&json!("explicit_deny"), &json!("r-1")));
    let expired = json!({"kind": "person", "id": "ada", "body": {"expires_at": "2026-01-01T00:00:00.000Z"}});
    let records = of_ada(&json!({ "pin": hashed("pin:key-1:55") }));
    let mut hall = Hall::new(
        records.into_iter().map(|record| if record["kind"] == "person" { expired.clone() } else { record }).collect(),
    );
    assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], "expired");
    assert_eq!(access(&hall.types("55#"))["reason"], "expired");
}

#[test]
fn a_contract_that_cannot_be_kept_beside_another_is_refused_with_its_reason_and_opens_nothing() {
    let of = |name: &str, who: &str, more: Value| {
        let mut body = json!({"locker": "key-1", "person": who});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        contract(name, body)
    };
    let night = "2026-09-21T23:00:00.000Z";
    let ben = json!({"kind": "person", "id": "ben", "body": {}});
    for (first, second, refused) in [
        (json!({}), json!({"from": night}), true),
        (json!({"sharing": "shared"}), json!({"from": night}), true),
        (json!({"until": night}), json!({"from": night}), false),
        (json!({"sharing": "shared"}), json!({"sharing": "shared"}), false),
    ] {
        let records = [ada(), vec![ben.clone(), of("a", "ben", first.clone()), of("b", "ada", second)]].concat();
        let mut hall = Hall::new(records);
        let sync = |hall: &Hall| hall.status(&Thing::Locker(DoorIx(0)))["contract_sync"][1].clone();
        assert_eq!(sync(&hall)["state"] == "refused", refused, "{first}");
        if refused {
            let why = "it overlaps with contract a of the same locker, and one of the two is exclusive";
            assert_eq!(sync(&hall)["reason"], why);
            hall.pass(86_400_000);
            let _ = hall.tell(Input::Timeout);
            assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], "no_rule", "also when its time has come");
            assert!(!hall.unlocked(0));
        }
    }
    let nobody = set(vec![contract("a", json!({"locker": "key-1"}))]).map(drop).unwrap_err();
    assert_eq!(nobody, ["locker_contract a: names neither person nor pin"]);
}

#[test]
fn a_refused_contract_is_told_once_and_counts_when_the_one_in_its_way_is_gone() {
    let of_ben = contract("a", json!({"locker": "key-1", "person": "ben"}));
    let ben = json!({"kind": "person", "id": "ben", "body": {}});
    let mine = contract("b", json!({"locker": "key-1", "person": "ada"}));
    let elsewhere = contract("c", json!({"locker": "a-locker-of-another-node", "person": "ada"}));
    let both = || [ada(), vec![ben.clone(), of_ben.clone(), mine.clone(), elsewhere.clone()]].concat();
    let mut hall = Hall::new([ada(), vec![mine.clone()]].concat());
    let told = hall.tell(Input::Permissions(set(both()).unwrap()));
    assert_eq!(
        (names(&told), &told[0]["contract"], &told[0]["locker"]),
        (vec!["contract.refused"], &json!("b"), &json!("key-1"))
    );
    assert!(hall.tell(Input::Permissions(set(both()).unwrap())).is_empty(), "told once");
    assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], "no_rule");
    let told = hall.tell(Input::Permissions(set([ada(), vec![mine]].concat()).unwrap()));
    assert!(told.is_empty());
    assert_eq!(access(&hall.at_cabinet(GOOD))["type"], "access.granted");
}

#[test]
fn a_contract_that_has_not_begun_or_cannot_be_judged_is_pending() {
    let mut hall = Hall::new(of_ada(&json!({ "from": "2026-09-22T00:00:00.000Z" })));
    let sync = |hall: &Hall| hall.status(&Thing::Locker(DoorIx(0)))["contract_sync"][0]["state"].clone();
    assert_eq!(sync(&hall), "pending");
    let denied = access(&hall.at_cabinet(GOOD));
    assert_eq!((&denied["reason"], &denied["door"]), (&json!("not_yet_active"), &json!("key-1")));
    assert!(denied["contract"].is_string(), "which contract has not begun: {denied}");
    hall.pass(86_400_000);
    let _ = hall.tell(Input::Timeout);
    assert_eq!(sync(&hall), "applied");
    hall.now.trust = ClockTrust::Untrusted;
    let _ = hall.tell(Input::Timeout);
    assert_eq!(sync(&hall), "pending");
    assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], "clock_untrusted");
}

#[derive(Clone, Debug)]
enum Act {
    Card,
    Type(&'static str),
    Occupy(bool),
    Pass(u64),
    Sync,
    Crash,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever happens and whenever the power goes.
    #[test]
    fn no_backup_code_opens_twice_and_no_return_code_opens_what_is_occupied(
        acts in proptest::collection::vec(prop_oneof![
            Just(Act::Card),
            prop_oneof![Just("9001#"), Just("9002#"), Just("1*9001#"), Just("77#"), Just("1*77#"), Just("12#"), Just("*"), Just("9")]
                .prop_map(Act::Type),
            any::<bool>().prop_map(Act::Occupy),
            (1u64..30_000).prop_map(Act::Pass),
            Just(Act::Sync),
            Just(Act::Crash),
        ], 1..60),
    ) {
        // Codes alone open: Ada has no card here.
        let codes = json!({
            "pin": hashed("pin:key-2:4711"), "return_code": hashed("return:key-1:77"),
            "backup_codes": [hashed("backup:key-1:9001"), hashed("backup:key-1:9002")]
        });
        let mut hall = Hall::new(of_ada(&codes).into_iter().filter(|record| record["kind"] != "credential").collect());
        let (mut granted, mut occupied) = (0, false);
        for act in acts {
            let typed = if let Act::Type(keys) = &act { Some(*keys) } else { None };
            let told = match act {
                Act::Card => hall.at_cabinet(GOOD),
                Act::Type(keys) => hall.types(keys),
                Act::Occupy(on) => {
                    occupied = on;
                    hall.occupy(0, on)
                }
                Act::Pass(millis) => {
                    hall.pass(millis);
                    hall.tell(Input::Timeout)
                }
                Act::Sync => hall.sync(),
                Act::Crash => {
                    hall.crash();
                    // What the input shows after the start.
                    occupied = false;
                    Vec::new()
                }
            };
            let opened = told.iter().filter(|event| named(event) == "access.granted").count();
            if typed.is_some_and(|keys| keys.ends_with("77#")) && opened > 0 {
                prop_assert!(!occupied, "a return code opened an occupied compartment");
            } else {
                granted += opened;
            }
        }
        prop_assert!(granted <= 2, "{granted} openings by two backup codes");
    }
}

const BENS: RawCard = RawCard::new(26, 0x15);

/// Ada's contract, and a rule of its compartment that asks for more than her card; Ben may come along.
fn with_rule(authentication: &str) -> Vec<Value> {
    let text = CardFormats::built_in().read(BENS).texts().first().cloned().expect("a text");
    let body =
        json!({"effect": "allow", "persons": ["ada", "ben"], "doors": ["key-1"], "authentication": authentication});
    let mut records = of_ada(&json!({}));
    records[0]["body"] = json!({ "pin": hashed("pin:ada:1234"), "duress_pin": hashed("pin:ada:4321") });
    records.extend([
        json!({"kind": "person", "id": "ben", "body": {}}),
        json!({"kind": "credential", "id": "ben-card", "body": {"person": "ben", "token": hashed(&text)}}),
        json!({"kind": "access_rule", "id": "r-1", "body": body}),
    ]);
    records
}

#[test]
fn a_compartment_asks_for_a_pin_where_its_rule_does_and_locks_out_as_a_door_does() {
    let strict =
        json!({"kind": "door_policy", "id": "p", "body": {"doors": ["key-1"], "pin_tries": 2, "pin_lockout_s": 60}});
    let mut hall = Hall::new([with_rule("card_and_pin"), vec![strict]].concat());
    assert!(hall.at_cabinet(GOOD).is_empty(), "the PIN is waited for");
    assert!(!hall.unlocked(0));
    let event = access(&hall.types("1234#"));
    assert_eq!(
        (&event["type"], &event["door"], &event["contract"]),
        (&json!("access.granted"), &json!("key-1"), &json!("c-1"))
    );
    assert!(hall.unlocked(0));
    locked_again(&mut hall);

    let _ = hall.at_cabinet(GOOD);
    let told = hall.types("4321#");
    let of = |name: &str| told.iter().find(|event| event["type"] == name).cloned().expect(name);
    assert_eq!((&of("access.granted")["person"], &of("access.duress")["granted"]), (&json!("ada"), &json!(true)));
    locked_again(&mut hall);

    let _ = hall.at_cabinet(GOOD);
    assert_eq!(access(&hall.types("1#"))["reason"], "wrong_pin");
    let _ = hall.at_cabinet(GOOD);
    assert_eq!(names(&hall.types("1#")), ["access.denied", "access.pin_locked_out"]);
    let _ = hall.sync();
    hall.crash();
    let _ = hall.at_cabinet(GOOD);
    assert_eq!(access(&hall.types("1234#"))["reason"], "pin_locked_out");
    assert!(!hall.unlocked(0));
    let _ = hall.at_cabinet(GOOD);
    hall.pass(60_000);
    assert_eq!(access(&hall.tell(Input::Timeout))["reason"], "pin_required");
}

#[test]
fn a_contract_that_ends_while_its_pin_is_waited_for_opens_nothing() {
    let mut records = with_rule("card_and_pin");
    let contract = records.iter_mut().find(|record| record["kind"] == "locker_contract").expect("a contract");
    contract["body"]["until"] = json!("2026-09-21T14:13:25.000Z");
    let mut hall = Hall::new(records);
    assert!(hall.at_cabinet(GOOD).is_empty(), "the PIN is waited for");
    hall.pass(4_000);
    let _ = hall.types("123");
    hall.pass(2_000);
    assert_eq!(access(&hall.types("4#"))["reason"], "expired");
    assert!(!hall.unlocked(0));
}

#[test]
fn a_compartment_asks_for_a_second_person_where_its_rule_does() {
    let mut hall = Hall::new(with_rule("two_person"));
    assert!(hall.at_cabinet(GOOD).is_empty());
    assert!(hall.at_cabinet(GOOD).is_empty(), "the same person is no second one");
    let told = hall.at_cabinet(BENS);
    let granted: Vec<&Value> = told.iter().filter(|event| event["type"] == "access.granted").collect();
    assert_eq!(granted.iter().map(|event| &event["person"]).collect::<Vec<_>>(), [&json!("ben"), &json!("ada")]);
    assert!(hall.unlocked(0));
    locked_again(&mut hall);
    let _ = hall.at_cabinet(GOOD);
    hall.pass(15_000);
    assert_eq!(access(&hall.tell(Input::Timeout))["reason"], "second_person_required");
}

#[test]
fn the_fallbacks_of_a_policy_hold_at_a_cabinet_for_cards_and_codes() {
    for (when_stale, reason) in [("deny", "stale_permissions"), ("emergency_cards", "emergency_only")] {
        let body = json!({"doors": ["key-1"], "stale_after_s": 60, "when_stale": when_stale});
        let policy = json!({"kind": "door_policy", "id": "p", "body": body});
        let of_code = contract("c-2", json!({"locker": "key-2", "pin": hashed("pin:key-2:77")}));
        let blocked = contract("c-3", json!({"locker": "key-1", "pin": hashed("pin:key-1:88"), "sharing": "shared"}));
        let mine = of_ada(&json!({ "sharing": "shared" }));
        let mut hall = Hall::new([mine, vec![policy, of_code, blocked]].concat());
        assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], reason);
        assert_eq!(access(&hall.types("88#"))["reason"], reason);
        assert_eq!(access(&hall.types("77#"))["type"], "access.granted", "no policy speaks at the other compartment");
    }
}

#[test]
fn of_critical_groups_the_codes_of_a_contract_are_its_cardholders_and_without_one_nobodys() {
    let body = json!({"doors": ["key-1", "key-2"], "stale_after_s": 60, "when_stale": "critical_groups"});
    let policy = json!({"kind": "door_policy", "id": "p", "body": body});
    let guards = json!({"kind": "group", "id": "guards", "body": {"critical": true}});
    let nobodys = contract("c-2", json!({"locker": "key-2", "pin": hashed("pin:key-2:77")}));
    let mut records = of_ada(&json!({ "pin": hashed("pin:key-1:55") }));
    records.extend([policy, guards, nobodys]);
    let mut hall = Hall::new(records.clone());
    for typed in ["55#", "77#"] {
        assert_eq!(access(&hall.types(typed))["reason"], "stale_permissions");
    }
    assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], "stale_permissions");
    records[0]["body"] = json!({ "groups": ["guards"] });
    let _ = hall.replace(records);
    assert_eq!(access(&hall.types("55#"))["contract"], "c-1");
    locked_again(&mut hall);
    assert_eq!(access(&hall.at_cabinet(GOOD))["type"], "access.granted");
    assert_eq!(access(&hall.types("77#"))["reason"], "stale_permissions");
}

#[test]
fn a_cabinet_that_is_locked_out_says_so_and_stays_so_through_a_restart() {
    let mut hall = Hall::new(of_ada(&json!({})));
    for _ in 0..2 {
        assert_eq!(access(&hall.types("5#"))["reason"], "wrong_pin");
    }
    let told = hall.types("5#");
    assert_eq!((names(&told), &told[1]["cabinet"]), (vec!["access.denied", "access.pin_locked_out"], &json!("keys")));
    let _ = hall.sync();
    hall.crash();
    assert_eq!(access(&hall.types("5#"))["reason"], "pin_locked_out");
    hall.pass(60_000);
    let _ = hall.tell(Input::Timeout);
    assert_eq!(access(&hall.types("5#"))["reason"], "wrong_pin");
}

/// The card that opens when nothing else may.
const RED: RawCard = RawCard::new(26, 0x8ED);

fn red(more: &Value) -> Value {
    let text = CardFormats::built_in().read(RED).texts().first().cloned().expect("a text");
    let mut body = json!({ "token": hashed(&text) });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"kind": "emergency_card", "id": "red", "body": body})
}

/// Nobody has confirmed the set: at both compartments the time of emergency cards has come.
fn left_alone(more: &Value) -> Value {
    let mut body = json!({"doors": ["key-1", "key-2"], "stale_after_s": 60, "when_stale": "emergency_cards"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"kind": "door_policy", "id": "alone", "body": body})
}

#[test]
fn an_emergency_card_opens_the_compartment_that_it_is_for_and_the_key_is_told_to_be_its() {
    let mut hall =
        Hall::new([of_ada(&json!({})), vec![red(&json!({"doors": ["key-1"]})), left_alone(&json!({}))]].concat());
    let _ = hall.occupy(0, true);
    let told = hall.at_cabinet(RED);
    assert_eq!(names(&told), ["access.granted", "emergency.used", "door.mode_changed", "alarm.raised"]);
    assert_eq!((&told[0]["door"], &told[0]["reader"]), (&json!("key-1"), &json!("keys-in")));
    assert_eq!(
        (&told[1]["emergency_card"], &told[1]["door"], &told[1]["uses"]),
        (&json!("red"), &json!("key-1"), &json!(1))
    );
    assert_eq!(told[3]["source"], json!({"of": "emergency_card", "emergency_card": "red", "door": "key-1"}));
    assert!(hall.unlocked(0) && !hall.unlocked(1));
    let fetched = hall.occupy(0, false);
    let actor = json!({"by": "emergency_card", "emergency_card": "red"});
    assert_eq!((names(&fetched), &fetched[0]["actor"]), (vec!["key.fetched"], &actor));
    assert_eq!((fetched[0].get("person"), fetched[0].get("contract")), (None, None));
}

#[test]
fn of_several_compartments_an_emergency_card_is_asked_which_and_then_for_its_pin() {
    let lifted = red(&json!({ "pin": hashed("pin:red:7777") }));
    let mut hall = Hall::new(vec![lifted, left_alone(&json!({ "pin_tries": 2, "pin_lockout_s": 60 }))]);
    assert!(hall.at_cabinet(RED).is_empty(), "which one?");
    assert!(hall.at_cabinet(RED).is_empty(), "the same card waits on");
    assert!(hall.types("2#").is_empty(), "its PIN is waited for");
    assert_eq!(access(&hall.types("7777#"))["door"], "key-2");
    assert!(!hall.unlocked(0) && hall.unlocked(1));
    locked_again(&mut hall);

    let refused = |hall: &mut Hall, number: &str, pin: &str| {
        let _ = hall.at_cabinet(RED);
        let mut told = hall.types(number);
        told.extend(hall.types(pin));
        assert!(!hall.unlocked(0) && !hall.unlocked(1));
        told
    };
    // There is no such compartment.
    let _ = hall.at_cabinet(RED);
    let denied = access(&hall.types("9#"));
    assert_eq!((&denied["reason"], &denied["emergency_card"]), (&json!("no_rule"), &json!("red")));
    let denied = access(&refused(&mut hall, "1#", "1*7777#"));
    assert_eq!((&denied["reason"], &denied["door"]), (&json!("wrong_pin"), &json!("key-1")));
    let told = refused(&mut hall, "1#", "1#");
    assert_eq!(
        (names(&told), &told[1]["emergency_card"]),
        (vec!["access.denied", "access.pin_locked_out"], &json!("red"))
    );
    let _ = hall.at_cabinet(RED);
    assert_eq!(access(&hall.types("2#"))["reason"], "pin_locked_out", "wherever it is shown");
    hall.pass(60_000);
    let _ = hall.at_cabinet(RED);
    let _ = hall.types("2#");
    hall.pass(10_000);
    let denied = access(&hall.tell(Input::Timeout));
    assert_eq!((&denied["reason"], &denied["door"]), (&json!("pin_required"), &json!("key-2")));
    let _ = hall.at_cabinet(RED);
    let pause = Pause { moved: Default::default(), others_stay: true };
    assert_eq!(access(&hall.tell(Input::Pause(pause)))["reason"], "pin_required", "nor does a pause swallow it");
}

#[test]
fn at_a_cabinet_an_emergency_card_waits_for_its_time_keeps_to_its_scope_and_its_uses_everywhere() {
    let limits = json!({ "doors": ["key-2", "lift"], "uses_max": 2 });
    // While the set counts it is a piece of plastic.
    let mut hall = Hall::new(vec![red(&limits)]);
    let denied = access(&hall.at_cabinet(RED));
    assert_eq!(
        (&denied["reason"], &denied["emergency_card"], &denied["cabinet"]),
        (&json!("not_yet_active"), &json!("red"), &json!("keys"))
    );
    let everywhere = left_alone(&json!({ "doors": ["key-1", "key-2", "lift"] }));
    let _ = hall.replace(vec![red(&limits), everywhere.clone()]);
    // One compartment is within its scope: nothing is asked.
    assert_eq!(access(&hall.at_cabinet(RED))["door"], "key-2");
    locked_again(&mut hall);
    // The elevator counts with the cabinet, through a restart.
    let _ = hall.sync();
    hall.crash();
    let told = hall.in_cab(RED);
    assert_eq!(told.iter().find(|event| named(event) == "emergency.used").unwrap()["uses"], 2);
    assert_eq!(access(&hall.at_cabinet(RED))["reason"], "expired");
    let _ = hall.replace(vec![red(&json!({ "doors": ["lift"] })), everywhere.clone()]);
    assert_eq!(access(&hall.at_cabinet(RED))["reason"], "no_rule");
    let _ = hall.replace(vec![red(&json!({ "expires_at": "2026-09-21T14:00:00.000Z" })), everywhere]);
    assert_eq!(access(&hall.at_cabinet(RED))["reason"], "expired");
    assert!(!hall.unlocked(0) && !hall.unlocked(1));
}

#[test]
fn another_card_ends_the_wait_of_an_emergency_card_and_its_holders_contract_goes_first() {
    let lifted = red(&json!({ "pin": hashed("pin:red:7777") }));
    let free = json!({"kind": "door_policy", "id": "alone", "body": {"doors": ["key-2"], "emergency_after_s": 0}});
    let mut hall = Hall::new([of_ada(&json!({})), vec![lifted, free]].concat());
    assert!(hall.at_cabinet(RED).is_empty());
    let told = hall.at_cabinet(GOOD);
    let decided: Vec<_> = told.iter().filter(|event| named(event).starts_with("access.")).collect();
    assert_eq!((&decided[0]["reason"], &decided[0]["emergency_card"]), (&json!("pin_required"), &json!("red")));
    assert_eq!((&decided[1]["type"], &decided[1]["door"]), (&json!("access.granted"), &json!("key-1")));
    locked_again(&mut hall);
    // Ada's own card is an emergency card besides: her contract opens, and what is not hers the emergency does.
    let text = CardFormats::built_in().read(GOOD).texts().first().cloned().expect("a text");
    let both = json!({"kind": "emergency_card", "id": "hers", "body": {"token": hashed(&text)}});
    let free = json!({"kind": "door_policy", "id": "alone", "body": {"doors": ["key-2"], "emergency_after_s": 0}});
    let _ = hall.replace([of_ada(&json!({})), vec![both.clone(), free.clone()]].concat());
    assert_eq!(access(&hall.at_cabinet(GOOD))["contract"], "c-1");
    locked_again(&mut hall);
    let _ = hall.replace([ada(), vec![both, free]].concat());
    let event = access(&hall.at_cabinet(GOOD));
    assert_eq!((&event["emergency_card"], &event["door"]), (&json!("hers"), &json!("key-2")));
}

#[test]
fn an_emergency_card_bows_to_a_lockdown_of_its_compartment() {
    let mut hall = Hall::new(vec![red(&json!({"doors": ["key-1"]})), left_alone(&json!({}))]);
    let order = Order {
        ticket: Ticket(1),
        what: Task::Door(DoorIx(0), DoorAction::Lockdown(true)),
        by: Actor::Node,
        deadline: hall.now.mono,
        issued_at: hall.now.wall,
    };
    let _ = hall.tell(Input::Order(order));
    assert_eq!(access(&hall.at_cabinet(RED))["reason"], "locked_down");
}

#[test]
fn whoever_needs_more_time_has_it_at_a_compartment_by_card_and_by_code() {
    let mut records = of_ada(&json!({ "pin": hashed("pin:key-1:55") }));
    records[0]["body"] = json!({ "extended_access": true });
    let mut hall = Hall::new(records);
    for shown in ["card", "55#"] {
        let told = if shown == "card" { hall.at_cabinet(GOOD) } else { hall.types(shown) };
        assert_eq!(access(&told)["type"], "access.granted");
        hall.pass(6_000);
        let _ = hall.tell(Input::Timeout);
        assert!(hall.unlocked(0), "{shown}");
        hall.pass(10_000);
        let _ = hall.tell(Input::Timeout);
        let _ = hall.confirm();
        assert!(!hall.unlocked(0), "{shown}");
    }
}

/// Of Ada's card at the first compartment, without asking the cabinet.
fn explained(hall: &Hall) -> Value {
    let (key, place) = (key(), id("key-1"));
    let question = Question {
        place: Place::Door(&place),
        who: Who::Read(Read::bits(GOOD, &key)),
        pin: None,
        companion: None,
        now: hall.now,
        staleness: None,
        emergency_uses: Some(hall.controller.emergency_uses()),
    };
    let told = explain::explain(&question, &hall.permissions, &topology()).expect("there is such a door");
    serde_json::to_value(told).expect("an explanation")
}

#[test]
fn what_is_explained_of_a_card_at_a_compartment_is_what_the_cabinet_decides() {
    let mine = |more: Value| contract("c-1", merged(json!({"locker": "key-1", "person": "ada"}), &more));
    let bens = || contract("a-1", json!({"locker": "key-1", "person": "ben"}));
    let ben = || json!({"kind": "person", "id": "ben", "body": {}});
    let rule = |more: Value| {
        let body = merged(json!({"effect": "allow", "persons": ["ada"], "doors": ["key-1"]}), &more);
        json!({"kind": "access_rule", "id": "r-1", "body": body})
    };
    let never = || {
        let dates = json!([{"date": "2000-01-01", "from": "00:00", "to": "24:00"}]);
        json!({"kind": "schedule", "id": "never", "body": {"dates": dates}})
    };
    let strict = || {
        let body = json!({"doors": ["key-1"], "stale_after_s": 60, "when_stale": "deny"});
        json!({"kind": "door_policy", "id": "p", "body": body})
    };
    let (past, future) = ("2026-09-20T00:00:00.000Z", "2026-09-22T00:00:00.000Z");
    let of_ada = |kind: &str, more: Value| {
        let change = |mut record: Value| {
            if record["kind"] == kind {
                record["body"] = merged(record["body"].clone(), &more);
            }
            record
        };
        ada().into_iter().map(change).collect::<Vec<_>>()
    };
    for (people, records, reason) in [
        (ada(), vec![mine(json!({}))], None),
        (ada(), vec![mine(json!({})), rule(json!({"schedule": "never"})), never()], None),
        (ada(), vec![], Some("no_rule")),
        (ada(), vec![rule(json!({}))], Some("no_rule")),
        (ada(), vec![mine(json!({"from": future}))], Some("not_yet_active")),
        (ada(), vec![mine(json!({"until": past}))], Some("expired")),
        (ada(), vec![mine(json!({"from": past})), bens(), ben()], Some("no_rule")),
        (ada(), vec![mine(json!({})), rule(json!({"effect": "deny"}))], Some("explicit_deny")),
        (ada(), vec![mine(json!({})), rule(json!({"authentication": "card_and_pin"}))], Some("pin_required")),
        (ada(), vec![mine(json!({})), rule(json!({"authentication": "two_person"}))], Some("second_person_required")),
        (ada(), vec![mine(json!({})), strict()], Some("stale_permissions")),
        (of_ada("person", json!({"expires_at": past})), vec![mine(json!({}))], Some("expired")),
        (of_ada("credential", json!({"state": "suspended"})), vec![mine(json!({}))], Some("suspended")),
    ] {
        let named = format!("{people:?} {records:?}");
        let mut hall = Hall::new([people, records].concat());
        let told = explained(&hall);
        let mut events = hall.at_cabinet(GOOD);
        if events.is_empty() {
            hall.pass(60_000);
            events = hall.tell(Input::Timeout);
        }
        let event = access(&events);
        assert_eq!(event.get("reason").and_then(Value::as_str), reason, "{named}");
        assert_eq!(told["answer"].get("reason").and_then(Value::as_str), reason, "{named}: {told}");
        assert_eq!(told["answer"]["granted"], reason.is_none(), "{named}");
        assert_eq!(told["would_grant"].as_array().is_some_and(Vec::is_empty), reason.is_none(), "{named}: {told}");
        if reason.is_none() {
            assert_eq!((&told["answer"]["contract"], &event["contract"]), (&json!("c-1"), &json!("c-1")));
        }
    }
    let mut hall = Hall::new([ada(), vec![mine(json!({"until": future}))]].concat());
    hall.now.trust = ClockTrust::Untrusted;
    assert_eq!(explained(&hall)["answer"]["reason"], "clock_untrusted");
    assert_eq!(access(&hall.at_cabinet(GOOD))["reason"], "clock_untrusted");
    let told = explained(&Hall::new([ada(), vec![mine(json!({"from": past})), bens(), ben()]].concat()));
    let contracts = json!([
        {"contract": "a-1", "person": "ben", "standing": "in_force"},
        {"contract": "c-1", "person": "ada", "standing": "in_force", "excluded_by": "a-1"},
    ]);
    assert_eq!(told["contracts"], contracts);
}

fn merged(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

//! At the cabinet, through the controller.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    hall::{Hall, access, ada, hashed, named, names, set},
    *,
};

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

const BENS: RawCard = RawCard { bits: 26, value: 0x15 };

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

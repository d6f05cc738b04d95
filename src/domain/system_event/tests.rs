use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::domain::{
    event::{AutoOpenEnd, DenialReason, Denied, EventBody, Granted, PassageWay},
    ids::Id,
    record::{Partition, SystemEvent, Trigger},
    time::Mono,
};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn trigger(value: Value) -> Trigger {
    serde_json::from_value(value).unwrap()
}

fn denied(reason: DenialReason) -> EventBody {
    EventBody::AccessDenied(Denied { door: Some(id("front")), reader: Some(id("front-in")), ..Denied::new(reason) })
}

fn granted() -> EventBody {
    let (door, reader) = (Some(id("front")), Some(id("front-in")));
    let (person, credential) = (Some(id("ada")), Some(id("c-1")));
    EventBody::AccessGranted(Granted { door, reader, person, credential, ..Granted::default() })
}

fn fires_at(trigger: &Trigger, body: &EventBody) -> bool {
    let swipe = Swipes::default().granted(Mono::ZERO, &id("front-in"), &id("c-1"));
    let is_member = |person: &Id, group: &Id| person.as_str() == "ada" && group.as_str() == "staff";
    fires(trigger, body, Some(&swipe), &is_member).is_some()
}

/// Each trigger beside an event that fires it.
fn pairs() -> Vec<(&'static str, EventBody)> {
    let (door, board, reader, input) = (id("front"), id("relays"), id("front-in"), id("x"));
    vec![
        ("contact_opened", EventBody::DoorOpened { door: door.clone() }),
        ("contact_closed", EventBody::DoorClosed { door: door.clone() }),
        ("fire_activated", EventBody::FireActivated { input: "relays/in-8".into() }),
        ("fire_cleared", EventBody::FireCleared { input: "relays/in-8".into() }),
        ("forced", EventBody::DoorForced { door: door.clone() }),
        ("propped", EventBody::DoorPropped { door: door.clone() }),
        ("alarm_cleared", EventBody::DoorAlarmCleared { door: door.clone() }),
        ("rex", EventBody::RexActivated { door: door.clone() }),
        ("granted", granted()),
        ("denied", denied(DenialReason::NoRule)),
        ("unknown_credential", denied(DenialReason::UnknownCredential)),
        (
            "apb_violation",
            EventBody::ApbViolated {
                door: Some(door.clone()),
                floor_group: None,
                reader: None,
                person: id("ada"),
                area: id("lab"),
                way: PassageWay::Entry,
                denied: true,
            },
        ),
        (
            "duress",
            EventBody::AccessDuress {
                door: Some(door.clone()),
                floor_group: None,
                reader: None,
                person: id("ada"),
                credential: None,
                granted: true,
            },
        ),
        ("reader_lost", EventBody::ReaderLost { reader: reader.clone(), detail: String::new() }),
        ("reader_restored", EventBody::ReaderRestored { reader }),
        ("board_lost", EventBody::BoardLost { board: board.clone(), detail: String::new() }),
        ("board_restored", EventBody::BoardRestored { board }),
        ("power_lost", EventBody::PowerLost { input: input.clone() }),
        ("power_restored", EventBody::PowerRestored { input: input.clone() }),
        ("tamper", EventBody::TamperActivated { input: input.clone(), door: None, reader: None }),
        ("tamper_cleared", EventBody::TamperCleared { input: input.clone(), door: None, reader: None }),
        // A supervised line is one as well.
        (
            "tamper",
            EventBody::TamperLineFaulted {
                board: id("relays"),
                input: id("in-1"),
                trouble: crate::domain::fieldbus::LineTrouble::Open,
                doors: vec![door.clone()],
            },
        ),
        ("tamper_cleared", EventBody::TamperLineRestored { board: id("relays"), input: id("in-1") }),
        ("input_activated", EventBody::InputActivated { input: input.clone() }),
        ("input_cleared", EventBody::InputCleared { input }),
        (
            "first_in",
            EventBody::AutoOpenFirstPersonCame { door: door.clone(), auto_open: id("day"), person: id("ada") },
        ),
        ("auto_open_on", EventBody::AutoOpenStarted { door: door.clone(), auto_open: id("day") }),
        ("auto_open_off", EventBody::AutoOpenEnded { door, auto_open: id("day"), reason: AutoOpenEnd::Schedule }),
        ("cloud_lost", EventBody::CloudLost { detail: String::new() }),
        ("cloud_restored", EventBody::CloudRestored {}),
    ]
}

#[test]
fn each_trigger_listens_to_its_own_event_and_to_no_other() {
    let pairs = pairs();
    for (name, _) in &pairs {
        let trigger = trigger(json!({ "trigger": name }));
        for (other, body) in &pairs {
            // Every denial is one, whatever its reason.
            let expected = name == other || (*name == "denied" && matches!(body, EventBody::AccessDenied(_)));
            assert_eq!(fires_at(&trigger, body), expected, "{name} at {body:?}");
        }
    }
}

#[test]
fn what_a_trigger_lists_narrows_it() {
    for (list, at_front) in [(json!(["front"]), true), (json!(["back"]), false), (json!([]), true)] {
        for name in ["contact_opened", "granted", "denied", "unknown_credential", "rex", "forced"] {
            let body = pairs().into_iter().find(|(other, _)| *other == name).unwrap().1;
            let trigger = trigger(json!({ "trigger": name, "doors": list }));
            assert_eq!(fires_at(&trigger, &body), at_front, "{name} {list}");
        }
    }
    let explicit = trigger(json!({ "trigger": "denied", "reasons": ["explicit_deny", "no_rule"] }));
    assert!(fires_at(&explicit, &denied(DenialReason::NoRule)));
    assert!(!fires_at(&explicit, &denied(DenialReason::Expired)));
    for (narrowed, fits) in [
        (json!({ "trigger": "granted", "groups": ["staff", "guards"] }), true),
        (json!({ "trigger": "granted", "groups": ["guards"] }), false),
        (json!({ "trigger": "granted", "persons": ["ada"] }), true),
        (json!({ "trigger": "granted", "persons": ["ben"] }), false),
        (json!({ "trigger": "granted", "persons": ["ada"], "groups": ["guards"] }), false),
    ] {
        assert_eq!(fires_at(&trigger(narrowed.clone()), &granted()), fits, "{narrowed}");
    }
}

/// Feeds reads at (ms, credential) of one reader; returns at which of them a run of so many is complete.
fn runs(swipes: u8, reads: &[(u64, &str)]) -> Vec<u64> {
    let mut table = Swipes::default();
    let trigger = trigger(json!({ "trigger": "multi_swipe", "swipes": swipes, "within_ms": 3000 }));
    let mut found = Vec::new();
    for (at, credential) in reads {
        let swipe = table.granted(Mono::from_millis(*at), &id("front-in"), &id(credential));
        let _ = table.granted(Mono::from_millis(*at), &id("back-in"), &id("c-other"));
        if fires(&trigger, &granted(), Some(&swipe), &|_, _| false).is_some() {
            found.push(*at);
        }
    }
    found
}

#[test]
fn a_run_is_the_same_credential_at_one_reader_each_soon_after_the_last() {
    let three = [(0, "a"), (1_000, "a"), (4_000, "a")];
    assert_eq!(runs(2, &three), [1_000]);
    assert_eq!(runs(3, &three), [4_000]);
    assert_eq!(runs(4, &three), Vec::<u64>::new());
    assert_eq!(runs(3, &[(0, "a"), (1_000, "a"), (4_001, "a")]), Vec::<u64>::new(), "a gap that is too long");
    assert_eq!(
        runs(3, &[(0, "a"), (1_000, "b"), (2_000, "a"), (3_000, "a")]),
        Vec::<u64>::new(),
        "another's in between"
    );
    let seven: Vec<(u64, &str)> = (0..7).map(|n| (n * 500, "a")).collect();
    assert_eq!(runs(4, &seven), [1_500], "a run that goes on is not another one");
    let twice = [(0, "a"), (500, "a"), (10_000, "a"), (10_500, "a")];
    assert_eq!(runs(2, &twice), [500, 10_500]);
}

#[test]
fn what_fires_too_often_is_cut_off_told_at_once_and_then_collected() {
    let mut budget = Budget::new(Mono::ZERO);
    let mut told = 0;
    let mut fired = 0;
    for ms in (0..30_000).step_by(10) {
        match budget.spend(Mono::from_millis(ms)) {
            Spent::Fire => fired += 1,
            Spent::Cut { told: count } => told += count,
            Spent::Silently => {}
        }
    }
    assert_eq!((fired, told), (10 + 29, 1));
    let due = budget.next_deadline().unwrap();
    assert_eq!(budget.told(Mono::from_millis(30_000)), None);
    assert_eq!(budget.told(due), Some(3_000 - 39 - 1));
    assert_eq!(budget.next_deadline(), None);
}

fn faults(records: &[(&str, Value)]) -> Vec<String> {
    let parse = |value: &Value| serde_json::from_value::<SystemEvent>(value.clone()).unwrap();
    let events: BTreeMap<Id, SystemEvent> = records.iter().map(|(name, value)| (id(name), parse(value))).collect();
    let west = Partition { doors: vec![id("front"), id("back")], ..Partition::default() };
    let mut found = Vec::new();
    check(&events, &BTreeMap::from([(id("west"), west)]), &mut |fault| found.push(fault));
    found
}

fn when(trigger: &str, doors: &[&str], action: Value) -> Value {
    json!({ "when": { "trigger": trigger, "doors": doors }, "do": [action] })
}

fn at(action: &str, doors: &[&str]) -> Value {
    json!({ "action": action, "doors": doors })
}

#[test]
fn a_loop_is_refused_with_the_way_round_named() {
    let faults = faults(&[
        ("open-it", when("propped", &["front"], at("door_open", &["front"]))),
        ("shut-it", when("alarm_cleared", &["front"], at("door_close", &["front", "back"]))),
        ("harmless", when("forced", &[], at("lockdown_set", &["front"]))),
    ]);
    assert_eq!(
        faults,
        ["system_event open-it: goes round in a loop: open-it --door.open, alarm_cleared at front--> shut-it \
          --door.close, propped at front--> open-it"]
    );
}

#[test]
fn loops_are_found_through_partitions_the_whole_node_and_virtual_reads() {
    let read = |door: &str, person: &str| json!({ "action": "door_virtual_read", "door": door, "person": person });
    let both = |clear: Value| json!({ "when": { "trigger": "propped", "doors": ["back"] }, "do": [at("door_open", &["back"]), clear] });
    let lockdown = json!({ "action": "lockdown_set", "node": true });
    let west = json!({ "action": "lockdown_set", "partition": "west" });
    let elsewhere = json!({ "action": "lockdown_set", "doors": ["elsewhere"] });
    let granted = |door: &str, persons: &[&str], action: Value| json!({ "when": { "trigger": "granted", "doors": [door], "persons": persons }, "do": [action] });
    for (records, loops) in [
        (vec![("a", both(lockdown))], 1),
        (vec![("a", both(west))], 1),
        (vec![("a", both(elsewhere))], 0),
        (vec![("a", when("propped", &[], at("door_force_toggle", &["front"])))], 1),
        (vec![("a", granted("front", &[], read("back", "ada"))), ("b", granted("back", &[], read("front", "ada")))], 1),
        // Of one person the other knows nothing.
        (
            vec![
                ("a", granted("front", &["ben"], read("back", "ada"))),
                ("b", granted("back", &["ben"], read("front", "ada"))),
            ],
            0,
        ),
        (vec![("a", granted("front", &[], read("back", "ada")))], 0),
    ] {
        assert_eq!(faults(&records).len(), loops, "{records:?}");
    }
}

#[test]
fn what_takes_a_person_or_a_wire_in_between_is_no_loop() {
    let pulse = json!({ "action": "output_pulse", "output": "siren", "pulse_ms": 500 });
    let open = |doors: &[&str]| json!({ "action": "door_open_and_close", "doors": doors });
    assert_eq!(
        faults(&[
            ("hold", when("contact_opened", &["front"], at("door_open", &["front"]))),
            ("let-go", when("contact_closed", &["front"], at("door_close", &["front"]))),
            ("next", when("contact_closed", &["front"], open(&["back"]))),
            ("back-again", when("contact_closed", &["back"], open(&["front"]))),
            ("greet", when("granted", &[], open(&["back"]))),
            ("lock-all", when("propped", &[], json!({ "action": "lockdown_set", "node": true }))),
            ("relieve", when("alarm_cleared", &[], json!({ "action": "lockdown_clear", "node": true }))),
            ("siren", json!({ "when": { "trigger": "input_activated" }, "do": [pulse] })),
        ]),
        Vec::<String>::new()
    );
}

#[test]
fn a_thousand_system_events_in_one_ring_are_told_apart_from_a_chain_at_once() {
    let names: Vec<String> = (0..1_000).map(|n| format!("s-{n:03}")).collect();
    let doors: Vec<String> = (0..=1_000).map(|n| format!("d-{n}")).collect();
    let mut records: Vec<(&str, Value)> = Vec::new();
    for (at_door, name) in names.iter().enumerate() {
        let both = json!([{ "action": "lockdown_clear", "doors": [doors[at_door + 1]] }]);
        let trigger = if at_door % 2 == 0 { "propped" } else { "alarm_cleared" };
        records.push((name, json!({ "when": { "trigger": trigger, "doors": [doors[at_door]] }, "do": both })));
    }
    assert_eq!(faults(&records), Vec::<String>::new());
    records[999].1["do"][0]["doors"] = json!([doors[0]]);
    let found = faults(&records);
    assert!(found.len() == 1 && found[0].contains("s-000") && found[0].contains("s-999"));
}

#[test]
fn what_is_out_of_range_is_named_with_what_was_expected() {
    let with = |trigger: Value, action: Value| faults(&[("s", json!({ "when": trigger, "do": [action] }))]);
    let propped = || json!({ "trigger": "propped" });
    let notify = || json!({ "action": "notify" });
    for (found, expected) in [
        (faults(&[("s", json!({ "when": propped(), "do": [] }))]), "does 0 things; expected 1 to 32 in `do`"),
        (with(json!({ "trigger": "multi_swipe", "swipes": 5 }), notify()), "swipes: 5; expected 2, 3 or 4"),
        (
            with(json!({ "trigger": "multi_swipe", "swipes": 2, "within_ms": 99 }), notify()),
            "within_ms: 99; expected 100 to 60000",
        ),
        (
            with(propped(), json!({ "action": "door_open_and_close", "doors": ["d"], "dwell_ms": 99 })),
            "dwell_ms: 99; expected 100 to 540000",
        ),
        (
            with(propped(), json!({ "action": "output_pulse", "output": "o", "pulse_ms": 540_001 })),
            "pulse_ms: 540001; expected 100 to 540000",
        ),
        (
            with(propped(), json!({ "action": "door_open_with_delay", "doors": ["d"], "delay_ms": 0 })),
            "delay_ms: 0; expected 1 to 86400000",
        ),
        (with(propped(), json!({ "action": "door_dnd", "doors": [], "on": true })), "door.dnd: names no doors"),
        (
            with(json!({ "trigger": "rex" }), json!({ "action": "lockdown_set" })),
            "lockdown.set: expected one of `doors`, `partition` and `node`",
        ),
        (
            with(json!({ "trigger": "rex" }), json!({ "action": "lockdown_set", "doors": ["x"], "node": true })),
            "lockdown.set: expected one of `doors`, `partition` and `node`",
        ),
        (
            with(propped(), json!({ "action": "lockdown_set", "partition": "east" })),
            "lockdown.set: partition east does not exist",
        ),
        (
            with(propped(), json!({ "action": "alarm", "text": "x".repeat(201) })),
            "alarm: the text is longer than 200 characters or not one line",
        ),
    ] {
        assert_eq!(found, [format!("system_event s: {expected}")]);
    }
}

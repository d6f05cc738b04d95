//! In the cab and at the floors' relays, through the controller.

use serde_json::{Value, json};

use super::{
    hall::{Hall, access, ada, hashed, names},
    *,
};
use crate::domain::order::FloorAction;

fn rule(name: &str, body: Value) -> Value {
    json!({"kind": "access_rule", "id": name, "body": body})
}

fn riders() -> Vec<Value> {
    let floors = json!([{"floor_group": "lift", "floors": ["floor-0", "floor-2"]}]);
    [ada(), vec![rule("r-1", json!({"effect": "allow", "persons": ["ada"], "floors": floors}))]].concat()
}

fn order(hall: &mut Hall, number: u64, floors: &[&str], action: FloorAction) -> Vec<(Ticket, Progress)> {
    let order = Order {
        ticket: Ticket(number),
        what: Task::Floor { floor_group: id("lift"), floors: floors.iter().map(|floor| id(floor)).collect(), action },
        deadline: hall.now.mono + Duration::from_secs(5),
        issued_at: hall.now.wall,
        by: crate::domain::event::Actor::Operator { operator: id("op-1"), jti: id("j") },
    };
    let step = hall.controller.handle(hall.now, Input::Order(order));
    step.reports.into_iter().map(|report| (report.ticket, report.progress)).collect()
}

#[test]
fn one_read_in_the_cab_enables_every_floor_of_its_holder_and_has_one_event() {
    let mut hall = Hall::new(riders());
    let told = hall.in_cab(GOOD);
    let event = access(&told);
    assert_eq!(event["type"], "access.granted");
    assert_eq!((&event["floor_group"], &event["floors"]), (&json!("lift"), &json!(["floor-0", "floor-2"])));
    assert_eq!((&event["person"], &event["rule"], &event["reader"]), (&json!("ada"), &json!("r-1"), &json!("cab-in")));
    assert_eq!(event.get("door"), None);
    assert_eq!(hall.floors(), [true, false, true]);
    let chosen = hall.input(RELAYS, 2, true);
    assert_eq!((names(&chosen), &chosen[0]["person"]), (vec!["floor.selected"], &json!("ada")));
    assert_eq!(names(&hall.input(RELAYS, 1, true)), ["floor.selected_without_right"]);
    hall.pass(10_000);
    assert_eq!(hall.floors(), [false; 3]);
}

#[test]
fn who_may_go_nowhere_is_told_why_and_moves_nothing() {
    let nowhere = json!([{"floor_group": "lift", "floors": ["floor-9"]}, {"floor_group": "other"}]);
    let all = json!([{"floor_group": "lift"}]);
    let allow = |more: Value| {
        let mut body = json!({"effect": "allow", "persons": ["ada"], "floors": all});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vec![rule("r-1", body)]
    };
    let never = json!({"kind": "schedule", "id": "never", "body": {"dates": []}});
    let deny = rule("r-0", json!({"effect": "deny", "persons": ["ada"], "floors": all}));
    for (records, reason) in [
        (vec![], "no_rule"),
        (vec![rule("r-1", json!({"effect": "allow", "persons": ["ada"], "floors": nowhere}))], "no_rule"),
        ([allow(json!({})), vec![deny]].concat(), "explicit_deny"),
        ([allow(json!({"schedule": "never"})), vec![never]].concat(), "outside_schedule"),
        (allow(json!({"authentication": "card_and_pin"})), "pin_required"),
        (allow(json!({"authentication": "two_person"})), "second_person_required"),
    ] {
        let mut hall = Hall::new([ada(), records].concat());
        let mut told = hall.in_cab(GOOD);
        if told.is_empty() {
            // It waits for what is lacking.
            hall.pass(15_000);
            told = hall.tell(Input::Timeout);
        }
        let event = access(&told);
        assert_eq!((&event["type"], &event["reason"]), (&json!("access.denied"), &json!(reason)), "{event}");
        assert_eq!((&event["floor_group"], &event["person"]), (&json!("lift"), &json!("ada")));
        assert_eq!(hall.floors(), [false; 3], "{reason}");
    }
    let mut hall = Hall::new(riders());
    assert_eq!(access(&hall.in_cab(UNKNOWN))["reason"], "unknown_credential");
}

#[test]
fn a_deny_for_one_floor_leaves_the_others() {
    let floors = |floors: &[&str]| json!([{"floor_group": "lift", "floors": floors}]);
    let rules = vec![
        rule("r-1", json!({"effect": "allow", "persons": ["ada"], "floors": [{"floor_group": "lift"}]})),
        rule("r-2", json!({"effect": "deny", "persons": ["ada"], "floors": floors(&["floor-1"])})),
    ];
    let mut hall = Hall::new([ada(), rules].concat());
    let _ = hall.in_cab(GOOD);
    assert_eq!(hall.floors(), [true, false, true]);
}

#[test]
fn public_floors_follow_their_schedule_and_are_not_public_by_a_clock_that_nobody_believes() {
    // From 14:00 to 15:00; it is 14:13:20.
    let days = json!(["monday", "tuesday", "wednesday", "thursday", "friday"]);
    let schedule = json!({"weekly": [{"days": days, "from": "14:00", "to": "15:00"}]});
    let public = json!({"public": [{"floors": ["floor-0"]}, {"floors": ["floor-1"], "schedule": "open"}]});
    let records = vec![
        json!({"kind": "schedule", "id": "open", "body": schedule}),
        json!({"kind": "floor_group", "id": "lift", "body": public}),
    ];
    let mut hall = Hall::new([riders(), records].concat());
    assert_eq!(hall.floors(), [true, true, false]);
    let until_three = Duration::from_secs(46 * 60 + 40);
    assert!(hall.controller.next_deadline().is_some_and(|due| due <= hall.now.mono + until_three));
    hall.now.trust = ClockTrust::Untrusted;
    let _ = hall.tell(Input::Timeout);
    assert_eq!(hall.floors(), [true, false, false]);
    hall.now.trust = ClockTrust::Trusted;
    let _ = hall.tell(Input::Timeout);
    assert_eq!(hall.floors(), [true, true, false]);
    hall.pass(until_three.as_millis() as u64);
    assert_eq!(names(&hall.tell(Input::Timeout)), ["floor.disabled"]);
    assert_eq!(hall.floors(), [true, false, false]);
    let status = hall.status(&Thing::FloorGroup(0));
    assert_eq!((&status["floors"][0]["cause"], &status["link"]), (&json!("public"), &json!("up")));
    let _ = hall.replace(riders());
    assert_eq!(hall.floors(), [false; 3]);
}

#[test]
fn a_floor_command_is_reported_actuated_only_with_the_write_that_makes_it_last() {
    let mut hall = Hall::new(riders());
    assert_eq!(order(&mut hall, 1, &["floor-1"], FloorAction::Open), []);
    assert_eq!(hall.floors(), [false, true, false]);
    let _ = hall.confirm();
    let _ = hall.sync();
    hall.crash();
    assert_eq!(hall.floors(), [false, true, false], "an open outlives a power cut");
    assert_eq!(order(&mut hall, 2, &[], FloorAction::Close), []);
    assert_eq!(hall.floors(), [false; 3]);
    let unknown = order(&mut hall, 3, &["floor-7"], FloorAction::Close);
    assert!(matches!(unknown.as_slice(), [(Ticket(3), Progress::Refused(Refusal::UnknownTarget, _))]));
}

#[test]
fn a_lockdown_of_the_elevator_is_its_own_outlives_a_restart_and_ends_with_it_alone() {
    let mut hall = Hall::new(riders());
    let mut number = 0;
    let mut lockdown = |hall: &mut Hall, doors: &[u16], floor_groups: &[u16], on: bool| {
        number += 1;
        let doors = doors.iter().copied().map(DoorIx).collect();
        let order = Order {
            ticket: Ticket(number),
            what: Task::Lockdown { doors, floor_groups: floor_groups.to_vec(), on },
            deadline: hall.now.mono + Duration::from_secs(5),
            issued_at: hall.now.wall,
            by: crate::domain::event::Actor::Operator { operator: id("op-1"), jti: id("j") },
        };
        let _ = hall.tell(Input::Order(order));
        hall.status(&Thing::FloorGroup(0))["lockdown"] == true
    };
    assert!(!lockdown(&mut hall, &[0, 1], &[], true), "that of doors is none of the elevator");
    assert!(lockdown(&mut hall, &[0], &[0], true));
    assert_eq!(access(&hall.in_cab(GOOD))["reason"], "locked_down");
    assert_eq!(hall.floors(), [false; 3]);
    assert!(lockdown(&mut hall, &[0, 1], &[], false), "whoever frees doors frees no elevator");
    let _ = hall.sync();
    hall.crash();
    assert_eq!(access(&hall.in_cab(GOOD))["reason"], "locked_down", "it outlives a restart");
    assert!(!lockdown(&mut hall, &[], &[0], false));
    assert_eq!(access(&hall.in_cab(GOOD))["type"], "access.granted");
}

#[test]
fn of_a_lockdown_that_the_elevator_cannot_confirm_the_report_names_it() {
    let mut hall = Hall::new(riders());
    let _ = hall.bus(BusReport::BoardLost { board: RELAYS, detail: "no answer".to_owned() });
    let order = Order {
        ticket: Ticket(7),
        what: Task::Lockdown { doors: vec![], floor_groups: vec![0, 9], on: true },
        deadline: hall.now.mono + Duration::from_secs(5),
        issued_at: hall.now.wall,
        by: crate::domain::event::Actor::Node,
    };
    let step = hall.controller.handle(hall.now, Input::Order(order));
    let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
    let told = held.into_iter().find_map(|effect| match effect {
        Effect::Report(OrderReport { ticket: Ticket(7), progress: Progress::Partly { done, others }, .. }) => {
            Some((done, others))
        }
        _ => None,
    });
    let (done, others) = told.expect("one report, behind what it wrote");
    let [(place, Progress::Failed(detail))] = others.as_slice() else { panic!("{others:?}") };
    assert_eq!((done, place.as_str()), (0, "lift"));
    assert!(detail.contains("bus_down"), "{detail}");
    assert_eq!(hall.status(&Thing::FloorGroup(0))["lockdown"], true);
}

#[test]
fn a_system_event_locks_down_all_of_a_partition_as_far_as_its_author_reaches() {
    let partition =
        json!({"kind": "partition", "id": "cellar", "body": {"lockers": ["key-1"], "floor_groups": ["lift"]}});
    let author = |body: Value| {
        let mut operator = json!({"status": {"state": "active"}, "role": "admin"});
        operator.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        json!({"kind": "operator", "id": "op-2", "body": operator})
    };
    let panic = json!({"kind": "system_event", "id": "panic", "body": {
        "when": {"trigger": "granted"}, "do": [{"action": "lockdown_set", "partition": "cellar"}], "author": "op-2",
    }});
    for (reach, lift) in
        [(json!({}), true), (json!({"partitions": ["cellar"]}), true), (json!({"doors": ["key-1"]}), false)]
    {
        let mut hall = Hall::new([riders(), vec![partition.clone(), author(reach.clone()), panic.clone()]].concat());
        let told = hall.in_cab(GOOD);
        assert_eq!(hall.status(&Thing::FloorGroup(0))["lockdown"], lift, "{reach}");
        let modes: Vec<_> = hall.controller.door_statuses().iter().map(|status| status.mode).collect();
        assert_eq!(modes, [crate::domain::door::Mode::LockedDown, crate::domain::door::Mode::Locked], "{reach}");
        let refused = told.iter().find(|event| event["type"] == "system_event.refused");
        assert_eq!(refused.map(|event| event["target"].clone()), (!lift).then(|| json!("lift")), "{reach}");
    }
}

#[test]
fn floors_fail_as_configured_when_their_board_is_lost_and_are_told_when_it_is_back() {
    let mut hall = Hall::new(riders());
    let _ = hall.in_cab(GOOD);
    let told = hall.bus(BusReport::BoardLost { board: RELAYS, detail: "no answer".to_owned() });
    assert!(names(&told).contains(&"floor.lost") && names(&told).contains(&"board.lost"), "{told:?}");
    assert_eq!(hall.status(&Thing::FloorGroup(0))["link"], "lost");
    let refused = order(&mut hall, 1, &["floor-1"], FloorAction::Open);
    assert!(matches!(refused.as_slice(), [(_, Progress::Refused(Refusal::BusDown, _))]), "{refused:?}");
    let told = hall.bus(BusReport::BoardUp { board: RELAYS });
    assert!(names(&told).contains(&"floor.restored"), "{told:?}");
    assert_eq!(hall.floors(), [false; 3]);
}

/// Ada, her PIN, and a rule by which she rides everywhere.
fn rider(authentication: &str) -> Vec<Value> {
    let floors = json!([{"floor_group": "lift", "floors": ["floor-0", "floor-1", "floor-2"]}]);
    let mut records = ada();
    records[0]["body"] = json!({ "pin": hashed("pin:ada:1234") });
    let body =
        json!({"effect": "allow", "persons": ["ada", "ben"], "floors": floors, "authentication": authentication});
    [records, ben(), vec![rule("r-1", body)]].concat()
}

const BENS: RawCard = RawCard::new(26, 0x15);

fn ben() -> Vec<Value> {
    let text = CardFormats::built_in().read(BENS).texts().first().cloned().expect("a text");
    vec![
        json!({"kind": "person", "id": "ben", "body": {}}),
        json!({"kind": "credential", "id": "ben-card", "body": {"person": "ben", "token": hashed(&text)}}),
    ]
}

fn policy(body: Value) -> Value {
    let mut body = body;
    body["doors"] = json!(["lift", "key-1"]);
    json!({"kind": "door_policy", "id": "p", "body": body})
}

#[test]
fn a_pin_is_typed_in_the_cab_and_wrong_ones_lock_its_owner_out_through_a_restart() {
    let strict = policy(json!({ "pin_tries": 2, "pin_lockout_s": 60 }));
    let mut hall = Hall::new([rider("card_and_pin"), vec![strict]].concat());
    assert!(hall.in_cab(GOOD).is_empty(), "the PIN is waited for");
    let event = access(&hall.types_in_cab("1234#"));
    assert_eq!((&event["type"], &event["floor_group"]), (&json!("access.granted"), &json!("lift")));
    assert_eq!(event["floors"], json!(["floor-0", "floor-1", "floor-2"]));
    assert_eq!(hall.floors(), [true; 3]);
    hall.pass(30_000);
    let _ = hall.tell(Input::Timeout);
    assert_eq!(hall.floors(), [false; 3]);

    let _ = hall.in_cab(GOOD);
    assert_eq!(access(&hall.types_in_cab("9#"))["reason"], "wrong_pin");
    let _ = hall.in_cab(GOOD);
    let told = hall.types_in_cab("9#");
    assert_eq!(names(&told), ["access.denied", "access.pin_locked_out"]);
    assert_eq!(
        (&told[1]["floor_group"], &told[1]["person"], told[1].get("door")),
        (&json!("lift"), &json!("ada"), None)
    );
    let _ = hall.sync();
    hall.crash();
    assert_eq!(access(&hall.in_cab(GOOD))["reason"], "pin_locked_out");
    assert_eq!(hall.floors(), [false; 3]);
}

#[test]
fn who_types_no_pin_in_the_cab_is_denied_when_the_time_is_over() {
    let mut hall = Hall::new(rider("card_and_pin"));
    let _ = hall.in_cab(GOOD);
    hall.pass(10_000);
    let event = access(&hall.tell(Input::Timeout));
    assert_eq!((&event["reason"], &event["floor_group"]), (&json!("pin_required"), &json!("lift")));
}

#[test]
fn two_people_ride_together_where_a_rule_asks_for_both() {
    let mut hall = Hall::new(rider("two_person"));
    assert!(hall.in_cab(GOOD).is_empty());
    let told = hall.in_cab(BENS);
    let granted: Vec<&Value> = told.iter().filter(|event| event["type"] == "access.granted").collect();
    assert_eq!(granted.iter().map(|event| &event["person"]).collect::<Vec<_>>(), [&json!("ada"), &json!("ben")]);
    assert_eq!(hall.floors(), [true; 3]);
}

#[test]
fn the_fallbacks_of_a_policy_hold_in_the_cab_and_an_emergency_card_rides_with_an_alarm() {
    let red = RawCard::new(26, 0x3);
    let text = CardFormats::built_in().read(red).texts().first().cloned().expect("a text");
    let card = json!({"kind": "emergency_card", "id": "red", "body": {"token": hashed(&text), "doors": ["lift"], "uses_max": 1}});
    for (when_stale, reason, rides) in
        [("deny", "stale_permissions", false), ("emergency_cards", "emergency_only", true), ("keep", "", false)]
    {
        let stale = policy(json!({ "stale_after_s": 60, "when_stale": when_stale }));
        let mut hall = Hall::new([riders(), vec![stale, card.clone()]].concat());
        let event = access(&hall.in_cab(GOOD));
        assert_eq!(event.get("reason").and_then(Value::as_str).unwrap_or_default(), reason, "{when_stale}");
        if reason.is_empty() {
            continue;
        }
        assert_eq!(hall.floors(), [false; 3], "{when_stale}");
        let told = hall.in_cab(red);
        assert_eq!(hall.floors(), [rides; 3], "{when_stale}: {told:?}");
        if rides {
            let named = |name: &str| told.iter().find(|event| event["type"] == name).expect(name);
            assert_eq!(named("access.granted")["floors"], json!(["floor-0", "floor-1", "floor-2"]));
            assert_eq!(named("emergency.used")["floor_group"], "lift");
            assert_eq!(named("alarm.raised")["source"]["emergency_card"], "red");
            assert_eq!(access(&hall.in_cab(red))["reason"], "expired", "used up");
        } else {
            assert_eq!(access(&told)["reason"], "not_yet_active");
        }
    }
}

#[test]
fn a_change_of_the_configuration_that_leaves_the_rest_alone_leaves_floors_and_compartments_as_they_are() {
    for others_stay in [true, false] {
        let mut hall = Hall::new(riders());
        let _ = hall.in_cab(GOOD);
        let _ = hall.confirm();
        assert_eq!(hall.floors(), [true, false, true]);
        let _ = hall.tell(Input::Pause(Pause { moved: Default::default(), others_stay }));
        assert_eq!(hall.floors(), if others_stay { [true, false, true] } else { [false; 3] });
        assert!(!hall.unlocked(0) && !hall.unlocked(1));
        assert!(hall.in_cab(GOOD).is_empty() && hall.at_cabinet(GOOD).is_empty(), "nobody is asked any more");
        let before = hall.controller.stopped();
        let _ = hall.confirm();
        assert!(hall.controller.stopped(), "others_stay: {others_stay}");
        assert_eq!(before, others_stay, "what is to be moved is waited for");
    }
}

//! What a set means, case by case. The comparison with a naive reading of the same rules, over random
//! sets and instants, is in `tests/decision`.

use serde_json::json;

use super::*;
use crate::domain::{
    card_format::{CardFormats, CardTokens},
    event::DenialReason,
    fieldbus::RawCard,
    ids::DoorIx,
    record::{Authentication, Token},
    time::{ClockTrust, Mono, Wall},
};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn token(byte: u8) -> Token {
    Token([byte; 32])
}

/// Noon of Monday 23 November 2026, Berlin.
const NOON: i64 = 1_795_431_600_000;

fn now(millis: i64) -> Now {
    Now { mono: Mono::ZERO, wall: Wall::from_millis(millis), trust: ClockTrust::Trusted }
}

fn untrusted(millis: i64) -> Now {
    Now { trust: ClockTrust::Untrusted, ..now(millis) }
}

fn compile(records: serde_json::Value) -> Result<Permissions, Vec<String>> {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let records = records.as_array().unwrap().iter().map(|record| {
        let id = id(record["id"].as_str().unwrap());
        let record = json!({ "kind": record["kind"], "body": record["body"] });
        (id, serde_json::from_value::<Record>(record).unwrap())
    });
    Permissions::compile(records, &Topology::of_doors(&[id("front"), id("back")]), &zone, SetVersion::default())
}

/// Ada holds card 1 and is in `staff`; `extra` comes on top.
fn set(extra: serde_json::Value) -> Permissions {
    let mut records = json!([
        { "kind": "group", "id": "staff", "body": {} },
        { "kind": "group", "id": "guests", "body": {} },
        { "kind": "person", "id": "ada", "body": { "groups": ["staff"] } },
        { "kind": "credential", "id": "c1", "body": { "person": "ada", "token": token(1) } },
        { "kind": "schedule", "id": "mornings", "body": { "weekly": [
            { "days": ["monday"], "from": "08:00", "to": "11:00" } ] } },
        { "kind": "schedule", "id": "mondays", "body": { "weekly": [
            { "days": ["monday"], "from": "00:00", "to": "24:00" } ] } }
    ]);
    records.as_array_mut().unwrap().extend(extra.as_array().unwrap().iter().cloned());
    compile(records).unwrap()
}

fn rule(id: &str, effect: &str, schedule: Option<&str>) -> serde_json::Value {
    let mut body = json!({ "effect": effect, "groups": ["staff"], "doors": ["front"] });
    if let Some(schedule) = schedule {
        body["schedule"] = json!(schedule);
    }
    json!({ "kind": "access_rule", "id": id, "body": body })
}

const FRONT: DoorIx = DoorIx(0);
const BACK: DoorIx = DoorIx(1);

fn ask(permissions: &Permissions, door: DoorIx, now: Now) -> Decision {
    permissions.decide(&CardTokens::single(token(1)), door, now)
}

fn granted(rule: &str) -> Decision {
    Decision::Granted {
        person: id("ada"),
        credential: Some(id("c1")),
        rule: id(rule),
        authentication: Authentication::Card,
        companion: None,
        floors: Floors::NONE,
        extended: false,
        apb_exempt: false,
        duress: false,
    }
}

fn denied(reason: DenialReason, rule: Option<&str>) -> Decision {
    Decision::Denied {
        reason,
        person: Some(id("ada")),
        credential: Some(id("c1")),
        rule: rule.map(id),
        wants: None,
        duress: false,
    }
}

#[test]
fn before_the_first_set_every_card_is_denied_as_stale() {
    let none = Permissions::none();
    assert!(!none.is_present());
    assert_eq!(ask(&none, FRONT, now(NOON)), Decision::unattributed(DenialReason::StalePermissions));
    let asked = none.authorise(&id("op"), "door.open", &Targets::default(), now(NOON));
    assert_eq!(asked.unwrap_err().0, Refusal::UnknownOperator);
}

#[test]
fn an_empty_set_knows_no_card() {
    let empty = compile(json!([])).unwrap();
    assert!(empty.is_present());
    assert_eq!(ask(&empty, FRONT, now(NOON)), Decision::unattributed(DenialReason::UnknownCredential));
}

#[test]
fn an_allow_rule_grants_at_its_doors_only_and_is_named() {
    let set = set(json!([rule("r1", "allow", None)]));
    assert_eq!(ask(&set, FRONT, now(NOON)), granted("r1"));
    assert_eq!(ask(&set, BACK, now(NOON)), denied(DenialReason::NoRule, None));
    assert_eq!(ask(&set, DoorIx(9), now(NOON)), denied(DenialReason::NoRule, None));
}

#[test]
fn of_several_rules_that_decide_the_first_by_id_is_named() {
    let set = set(json!([
        rule("r9", "allow", None),
        rule("r2", "allow", Some("mondays")),
        rule("r1", "allow", Some("mornings"))
    ]));
    assert_eq!(ask(&set, FRONT, now(NOON)), granted("r2"));
}

#[test]
fn a_deny_that_holds_overrides_every_allow() {
    let rules = |schedule| json!([rule("allow", "allow", None), rule("deny", "deny", Some(schedule))]);
    assert_eq!(ask(&set(rules("mondays")), FRONT, now(NOON)), denied(DenialReason::ExplicitDeny, Some("deny")));
    assert_eq!(ask(&set(rules("mornings")), FRONT, now(NOON)), granted("allow"));
}

#[test]
fn outside_schedule_is_said_when_only_the_time_failed() {
    let set = set(json!([rule("r1", "allow", Some("mornings"))]));
    assert_eq!(ask(&set, FRONT, now(NOON)), denied(DenialReason::OutsideSchedule, Some("r1")));
    assert_eq!(ask(&set, FRONT, now(NOON - 3_600_000 - 1)), granted("r1"));
    assert_eq!(ask(&set, FRONT, now(NOON - 3_600_000)), denied(DenialReason::OutsideSchedule, Some("r1")));
    assert_eq!(ask(&set, BACK, now(NOON)), denied(DenialReason::NoRule, None));
}

#[test]
fn a_rule_may_name_a_person_instead_of_a_group() {
    let set = set(json!([
        { "kind": "access_rule", "id": "r1", "body": { "effect": "allow", "persons": ["ada"], "doors": ["back"] } }
    ]));
    assert_eq!(ask(&set, BACK, now(NOON)), granted("r1"));
    assert_eq!(ask(&set, FRONT, now(NOON)), denied(DenialReason::NoRule, None));
}

#[test]
fn the_reasons_come_in_their_order() {
    let base = |credential: serde_json::Value, person: serde_json::Value| {
        let mut credential_body = json!({ "person": "bob", "token": token(2) });
        credential_body.as_object_mut().unwrap().extend(credential.as_object().unwrap().clone());
        let permissions = set(json!([
            { "kind": "person", "id": "bob", "body": person },
            { "kind": "credential", "id": "c2", "body": credential_body },
            { "kind": "access_rule", "id": "no", "body": { "effect": "deny", "persons": ["bob"], "doors": ["front"] } }
        ]));
        match permissions.decide(&CardTokens::single(token(2)), FRONT, now(NOON)) {
            Decision::Denied { reason, person, credential, rule, .. } => {
                assert_eq!((person, credential), (Some(id("bob")), Some(id("c2"))));
                assert_eq!(rule.is_some(), reason == DenialReason::ExplicitDeny);
                reason
            }
            Decision::Granted { .. } => panic!("granted"),
        }
    };
    let (past, future) = (Wall::from_millis(NOON - 1), Wall::from_millis(NOON + 1));
    let expired = json!({ "expires_at": past });
    let early = json!({ "active_from": future });
    assert_eq!(base(json!({ "state": "stolen", "expires_at": past }), early.clone()), DenialReason::Stolen);
    assert_eq!(base(json!({ "state": "lost", "expires_at": past }), early.clone()), DenialReason::Lost);
    assert_eq!(base(json!({ "state": "suspended", "active_from": future }), json!({})), DenialReason::Suspended);
    assert_eq!(base(expired.clone(), early.clone()), DenialReason::Expired);
    assert_eq!(base(early.clone(), expired.clone()), DenialReason::NotYetActive);
    assert_eq!(base(json!({}), early), DenialReason::NotYetActive);
    assert_eq!(base(json!({}), expired), DenialReason::Expired);
    assert_eq!(base(json!({}), json!({})), DenialReason::ExplicitDeny);
}

#[test]
fn validity_is_exact_to_the_millisecond() {
    let set = set(json!([
        { "kind": "person", "id": "bob", "body": { "groups": ["staff"] } },
        { "kind": "credential", "id": "c2", "body": { "person": "bob", "token": token(2),
            "active_from": Wall::from_millis(NOON), "expires_at": Wall::from_millis(NOON + 10) } },
        rule("r1", "allow", None)
    ]));
    let reason = |millis| match set.decide(&CardTokens::single(token(2)), FRONT, now(millis)) {
        Decision::Granted { .. } => None,
        Decision::Denied { reason, .. } => Some(reason),
    };
    assert_eq!(reason(NOON - 1), Some(DenialReason::NotYetActive));
    assert_eq!(reason(NOON), None);
    assert_eq!(reason(NOON + 9), None);
    assert_eq!(reason(NOON + 10), Some(DenialReason::Expired));
}

#[test]
fn with_an_untrusted_clock_every_doubt_about_time_denies() {
    let scheduled = set(json!([rule("r1", "allow", Some("mondays"))]));
    assert_eq!(ask(&scheduled, FRONT, untrusted(NOON)), denied(DenialReason::ClockUntrusted, Some("r1")));
    let always = set(json!([rule("r1", "allow", Some("mondays")), rule("r2", "allow", None)]));
    assert_eq!(ask(&always, FRONT, untrusted(NOON)), granted("r2"));
    let denying = set(json!([rule("r1", "allow", None), rule("r2", "deny", Some("mornings"))]));
    assert_eq!(ask(&denying, FRONT, now(NOON)), granted("r1"));
    assert_eq!(ask(&denying, FRONT, untrusted(NOON)), denied(DenialReason::ExplicitDeny, Some("r2")));
}

#[test]
fn with_an_untrusted_clock_a_date_limit_cannot_be_judged() {
    for limit in [json!({ "active_from": Wall::EPOCH }), json!({ "expires_at": Wall::MAX })] {
        let mut credential = json!({ "person": "bob", "token": token(2) });
        credential.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        let set = set(json!([
            { "kind": "person", "id": "bob", "body": { "groups": ["staff"] } },
            { "kind": "credential", "id": "c2", "body": credential },
            { "kind": "person", "id": "cyd", "body": limit },
            { "kind": "credential", "id": "c3", "body": { "person": "cyd", "token": token(3) } },
            rule("r1", "allow", None)
        ]));
        for card in [2, 3] {
            let decision = set.decide(&CardTokens::single(token(card)), FRONT, untrusted(NOON));
            assert!(matches!(decision, Decision::Denied { reason: DenialReason::ClockUntrusted, .. }), "{decision:?}");
        }
    }
}

/// Tokens that tell the texts apart by their first letter.
fn by_letter(raw: RawCard) -> CardTokens {
    CardFormats::built_in().read(raw).tokens(|text| if text.starts_with("h10301") { token(1) } else { token(2) })
}

const WELL_FORMED: RawCard = RawCard::new(26, 0x2f6_23ae);
const BAD_PARITY: RawCard = RawCard::new(26, 0x2f6_23af);

#[test]
fn a_read_with_bad_parity_matches_by_its_bits_and_never_by_its_number() {
    let by_number = set(json!([rule("r1", "allow", None)]));
    assert!(by_number.decide(&by_letter(WELL_FORMED), FRONT, now(NOON)).is_granted());
    let bad = by_number.decide(&by_letter(BAD_PARITY), FRONT, now(NOON));
    assert_eq!(bad, Decision::unattributed(DenialReason::BadFormat));
    let by_bits = set(json!([
        rule("r1", "allow", None),
        { "kind": "credential", "id": "bits", "body": { "person": "ada", "token": token(2) } }
    ]));
    assert!(by_bits.decide(&by_letter(BAD_PARITY), FRONT, now(NOON)).is_granted());
    let impossible = by_bits.decide(&by_letter(RawCard::new(0, 0)), FRONT, now(NOON));
    assert_eq!(impossible, Decision::unattributed(DenialReason::BadFormat));
}

/// Under `first` and `second` in the set, an ambiguous card of 37 bits is who?
fn meant(first: serde_json::Value, second: serde_json::Value) -> (Decision, Explanation) {
    let mut records = json!([
        rule("r1", "allow", None),
        { "kind": "person", "id": "bob", "body": { "groups": ["staff"] } },
        { "kind": "credential", "id": "first", "body": { "person": "ada", "token": token(5) } },
        { "kind": "credential", "id": "second", "body": { "person": "bob", "token": token(6) } }
    ]);
    let list = records.as_array_mut().unwrap();
    for (id, change) in [("first", first), ("second", second)] {
        let at = list.iter().position(|record| record["id"] == id).unwrap();
        match change {
            serde_json::Value::Null => drop(list.remove(at)),
            change => list[at]["body"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone()),
        }
    }
    let set = set(records);
    let reading = set.card_formats().read(RawCard::new(37, 0x10_0004_0000));
    let tokens = reading.tokens(|text| match text.split(':').next() {
        Some("h10302") => token(5),
        Some("h10304") => token(6),
        _ => token(7),
    });
    let request = Request::card(&tokens, Target::Door(FRONT), now(NOON));
    (set.judge(&request).cloned(), set.explain(&request, &reading.tried()))
}

#[test]
fn of_several_formats_the_first_in_their_order_under_which_a_credential_is_known_is_meant() {
    let credential = |decision: &Decision| match decision {
        Decision::Granted { credential, .. } | Decision::Denied { credential, .. } => credential.clone(),
    };
    let (decision, told) = meant(json!({}), json!({ "state": "stolen" }));
    assert!(decision.is_granted() && credential(&decision) == Some(id("first")), "{decision:?}");
    let seen: Vec<_> =
        told.formats.iter().map(|f| (f.format.as_str(), f.credential.is_some(), f.passed_over)).collect();
    assert_eq!(seen, [("h10302", true, false), ("h10304", true, true), ("raw", false, false)]);
    assert_eq!(told.candidates.len(), 1);
    let (decision, _) = meant(json!({ "state": "stolen" }), json!({}));
    assert!(!decision.is_granted() && credential(&decision) == Some(id("first")), "{decision:?}");
    let (decision, told) = meant(json!(null), json!({}));
    assert!(decision.is_granted() && credential(&decision) == Some(id("second")), "{decision:?}");
    assert!(!told.formats[1].passed_over);
    // The set's own order turns it round.
    let first = json!([{ "kind": "card_format", "id": "h10304", "body": {
        "bits": 37, "order": 1, "facility": { "first": 1, "bits": 16 }, "number": { "first": 17, "bits": 19 }
    }}]);
    let set = set(first);
    let reading = set.card_formats().read(RawCard::new(37, 0x10_0004_0000));
    assert_eq!(reading.evidence().formats[0], id("h10304"));
}

#[test]
fn a_set_with_a_format_that_cannot_be_is_refused_and_a_delta_brings_and_takes_formats() {
    let format = |bits: u16| {
        let record = json!({ "bits": bits, "number": { "first": 0, "bits": 24 } });
        Record::CardFormat(serde_json::from_value(record).unwrap())
    };
    let set = set(json!([]));
    let put = |bits| Change::Put(id("works"), Box::new(format(bits)));
    let faults = set.apply([put(20)], SetVersion::default()).unwrap_err();
    assert_eq!(faults, ["card_format works: number: expected bits from 0 to 19, and at least one"]);
    let with = set.apply([put(24)], SetVersion::default()).unwrap();
    let read = |set: &Permissions| set.card_formats().read(RawCard::new(24, 77)).texts();
    assert_eq!(read(&with), ["works:77", "raw:24:00004d"]);
    let without = with.apply([Change::Delete(id("card_format"), id("works"))], SetVersion::default()).unwrap();
    assert_eq!(read(&without), ["raw:24:00004d"]);
}

#[test]
fn a_card_enrolled_twice_is_refused_if_either_enrolment_is() {
    for (number_state, bits_state, expected) in [
        ("active", "active", None),
        ("active", "lost", Some((DenialReason::Lost, "bits"))),
        ("lost", "active", Some((DenialReason::Lost, "number"))),
        ("stolen", "lost", Some((DenialReason::Stolen, "number"))),
    ] {
        let set = set(json!([
            rule("r1", "allow", None),
            { "kind": "person", "id": "bob", "body": { "groups": ["staff"], "extended_access": true } },
            { "kind": "credential", "id": "bits", "body": { "person": "ada", "token": token(2), "state": bits_state } },
            { "kind": "credential", "id": "number", "body": { "person": "bob", "token": token(3), "state": number_state } }
        ]));
        let card = CardFormats::built_in()
            .read(WELL_FORMED)
            .tokens(|text| if text.starts_with("h10301") { token(3) } else { token(2) });
        match (set.decide(&card, FRONT, now(NOON)), expected) {
            (Decision::Granted { credential, extended, .. }, None) => {
                assert_eq!((credential, extended), (Some(id("number")), true));
            }
            (Decision::Denied { reason, credential, .. }, Some((expected, by))) => {
                assert_eq!((reason, credential), (expected, Some(id(by))));
            }
            (decision, _) => panic!("{decision:?}"),
        }
    }
}

#[test]
fn tokens_are_told_apart_by_all_of_their_bytes() {
    let set = set(json!([rule("r1", "allow", None)]));
    for byte in 0..32 {
        let mut other = [1; 32];
        other[byte] = 2;
        let decision = set.decide(&CardTokens::single(Token(other)), FRONT, now(NOON));
        assert_eq!(decision, Decision::unattributed(DenialReason::UnknownCredential), "byte {byte}");
    }
}

#[test]
fn tokens_with_one_hash_are_all_found() {
    // Alike at both ends, which is all that the hash looks at.
    let alike = |n: u8| Token(std::array::from_fn(|at| if at == 15 { n } else { 9 }));
    let cards = (0..100).map(
        |n| json!({ "kind": "credential", "id": format!("alike-{n}"), "body": { "person": "ada", "token": alike(n) } }),
    );
    let set = set(cards.collect());
    for n in 0..100 {
        match set.judge(&Request::card(&CardTokens::single(alike(n)), Target::Door(FRONT), now(NOON))) {
            Decision::Denied { credential: Some(credential), .. } => assert_eq!(**credential, *format!("alike-{n}")),
            other => panic!("{n}: {other:?}"),
        }
    }
    let stranger = set.decide(&CardTokens::single(alike(100)), FRONT, now(NOON));
    assert_eq!(stranger, Decision::unattributed(DenialReason::UnknownCredential));
}

#[test]
fn every_reason_against_a_set_comes_at_once() {
    let faults = compile(json!([
        { "kind": "person", "id": "ada", "body": { "groups": ["gone"] } },
        { "kind": "credential", "id": "c1", "body": { "person": "ada", "token": token(1) } },
        { "kind": "credential", "id": "c2", "body": { "person": "eve", "token": token(1) } },
        { "kind": "access_rule", "id": "r1", "body": { "effect": "allow", "doors": [] } },
        { "kind": "access_rule", "id": "r2", "body": { "effect": "allow", "groups": ["gone"], "persons": ["eve"],
            "doors": ["elsewhere"], "schedule": "never" } },
        { "kind": "schedule", "id": "s1", "body": { "holidays": [{ "holiday": "gone" }] } },
        { "kind": "operator", "id": "op", "body": { "status": { "state": "active" }, "role": "boss" } },
        { "kind": "role", "id": "admin", "body": { "capabilities": [] } },
        { "kind": "group", "id": "g", "body": {} },
        { "kind": "group", "id": "g", "body": {} }
    ]))
    .unwrap_err();
    assert_eq!(
        faults,
        [
            "group g: given twice",
            "role admin: is built in and cannot be redefined",
            "operator op: role boss does not exist",
            "schedule s1: holiday gone does not exist",
            "access_rule r1: names neither groups nor persons",
            "access_rule r1: names neither doors nor floors",
            "access_rule r2: schedule never does not exist",
            "access_rule r2: group gone does not exist",
            "access_rule r2: person eve does not exist",
            "person ada: group gone does not exist",
            "credential c2: has the same token as credential c1",
            "credential c2: person eve does not exist",
        ]
    );
}

#[test]
fn a_door_of_another_node_is_no_fault() {
    assert!(
        compile(json!([
            { "kind": "group", "id": "g", "body": {} },
            { "kind": "access_rule", "id": "r", "body": { "effect": "allow", "groups": ["g"], "doors": ["elsewhere"] } }
        ]))
        .is_ok()
    );
}

#[test]
fn a_thousand_faults_are_counted_and_not_all_listed() {
    let records: Vec<_> = (0..1000)
        .map(|n| json!({ "kind": "person", "id": format!("p{n:04}"), "body": { "groups": ["gone"] } }))
        .collect();
    let faults = compile(records.into()).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    assert_eq!(faults.last().map(String::as_str), Some("and 800 more"));
}

#[test]
fn schedules_holidays_and_members_are_looked_up_by_name() {
    let set = set(json!([
        { "kind": "holiday", "id": "easter", "body": { "dates": ["2026-04-05"] } },
        { "kind": "person", "id": "bob", "body": { "groups": ["guests"] } }
    ]));
    let at = Wall::from_millis;
    assert_eq!(set.schedule_holds(&id("mornings"), at(NOON)), Some(false));
    assert_eq!(set.schedule_holds(&id("mondays"), at(NOON)), Some(true));
    assert_eq!(set.schedule_holds(&id("never"), at(NOON)), None);
    let hour = 3_600_000;
    // In Berlin: NOON is 12:00 on a Monday.
    assert_eq!(set.schedule_next_change(&id("mornings"), at(NOON)), Some(at(NOON + (7 * 24 - 4) * hour)));
    assert_eq!(set.schedule_next_change(&id("mondays"), at(NOON)), Some(at(NOON + 12 * hour)));
    assert_eq!(set.schedule_next_change(&id("never"), at(NOON)), None);
    assert_eq!(set.holiday_on(&id("easter"), at(NOON)), Some(false));
    assert_eq!(set.holiday_on(&id("whitsun"), at(NOON)), None);
    assert!(set.person_exists(&id("ada")) && !set.person_exists(&id("eve")));
    assert!(set.group_exists(&id("staff")) && !set.group_exists(&id("crew")));
    assert!(set.is_member(&id("ada"), &id("staff")) && !set.is_member(&id("ada"), &id("guests")));
    assert!(!set.is_member(&id("eve"), &id("staff")) && !set.is_member(&id("bob"), &id("crew")));
    assert_eq!(set.people(), (2, 1));
    let groups = |names: &[&str]| names.iter().map(|name| id(name)).collect::<Vec<_>>();
    let share = |these: &[&str], those: &[&str]| set.share_a_member(&groups(these), &groups(those));
    assert!(share(&["staff"], &["guests", "staff"]));
    assert!(!share(&["staff"], &["guests"]) && !share(&["staff"], &["crew"]) && !share(&[], &["staff"]));
}

#[test]
fn one_card_is_one_emergency_card_so_that_nobody_takes_it_from_the_other_doors() {
    let card = |name: &str, byte: u8, doors: serde_json::Value| {
        let mut body = json!({ "token": token(byte) });
        if !doors.is_null() {
            body["doors"] = doors;
        }
        json!({ "kind": "emergency_card", "id": name, "body": body })
    };
    let two = |byte: u8| compile(json!([card("all", 9, json!(null)), card("own", byte, json!(["front"]))]));
    assert!(two(8).is_ok());
    assert_eq!(two(9).unwrap_err(), ["emergency_card own: has the same token as emergency_card all"]);
    let change: Record = serde_json::from_value(card("own", 9, json!(["front"]))).unwrap();
    let refused = two(8).unwrap().apply([Change::Put(id("own"), Box::new(change))], SetVersion::default()).unwrap_err();
    assert_eq!(refused, ["emergency_card own: has the same token as emergency_card all"]);
}

#[test]
fn what_records_of_the_site_name_cannot_be_deleted() {
    let set = set(json!([
        { "kind": "auto_open", "id": "a1", "body": { "doors": ["front"], "schedule": "mornings" } },
        { "kind": "locker_contract", "id": "k1", "body": { "locker": "L1", "person": "ada" } }
    ]));
    let delete = |kind, name| Change::Delete(id(kind), id(name));
    let refused = |changes: Vec<Change>| set.apply(changes, SetVersion::default()).unwrap_err();
    assert_eq!(
        refused(vec![delete("schedule", "mornings"), delete("person", "ada")]),
        [
            "auto_open a1: schedule mornings does not exist",
            "locker_contract k1: person ada does not exist",
            "credential c1: person ada does not exist",
        ]
    );
    let gone = vec![delete("schedule", "mornings"), delete("auto_open", "a1"), delete("group", "guests")];
    let after = set.apply(gone, SetVersion::default()).unwrap();
    assert!(after.site().auto_opens.is_empty() && !set.site().auto_opens.is_empty());
    let untouched = set.apply([delete("group", "guests")], SetVersion::default()).unwrap();
    assert!(std::sync::Arc::ptr_eq(set.site(), untouched.site()));
}

//! What is told of a question, and how much of it.

use super::*;
use crate::domain::{
    permission::{Answer, Candidate},
    record::Effect,
    time::{ClockTrust, Wall},
};

fn rule(number: usize, outcome: RuleOutcome) -> RuleExplained {
    RuleExplained {
        rule: Id::new(&format!("rule-{number}")).unwrap(),
        effect: Effect::Allow,
        authentication: None,
        schedule: None,
        through: Vec::new(),
        outcome,
        changes_at: None,
    }
}

fn explanation(rules: Vec<RuleExplained>) -> Explanation {
    let id = |text: &str| Id::new(text).unwrap();
    Explanation {
        at: Wall::EPOCH,
        clock: ClockTrust::Trusted,
        epoch: 1,
        generation: 1,
        place: Some(id("front")),
        answer: Answer {
            granted: false,
            reason: None,
            person: None,
            credential: None,
            rule: None,
            contract: None,
            floors: Vec::new(),
            duress: false,
        },
        areas: Vec::new(),
        formats: Vec::new(),
        candidates: vec![Candidate {
            person: id("ada"),
            credential: None,
            medium: None,
            groups: Vec::new(),
            checks: Vec::new(),
            rules,
            rules_left_out: 0,
            granted: false,
            reason: None,
        }],
        precedence: Vec::new(),
        emergency_card: None,
        refuses_all: None,
        contracts: Vec::new(),
        would_grant: vec!["something".to_owned(); 100],
    }
}

fn asked(records: serde_json::Value, place: &Place<'_>, pin: Option<&str>, staleness: Duration) -> Explanation {
    asked_after(None, records, place, pin, staleness)
}

/// A door `front`, an elevator `lift` with two floors, and these records; emergency card `red` was used so often.
fn asked_after(
    uses: Option<u32>,
    records: serde_json::Value,
    place: &Place<'_>,
    pin: Option<&str>,
    staleness: Duration,
) -> Explanation {
    let uses = uses.map(|uses| BTreeMap::from([(Id::new("red").unwrap(), uses)]));
    let id = |text: &str| Id::new(text).unwrap();
    let floors = vec![id("floor-0"), id("floor-1")];
    let topology = Topology {
        doors: vec![id("front")],
        floor_groups: vec![crate::domain::topology::FloorGroupPlace { id: id("lift"), floors }],
        ..Topology::default()
    };
    let read = |mut record: serde_json::Value| {
        let id = id(record["id"].as_str().unwrap());
        record.as_object_mut().unwrap().remove("id");
        (id, serde_json::from_value(record).unwrap())
    };
    let version = crate::domain::permission::SetVersion { epoch: 1, generation: 1, digest: [0; 32] };
    let records = records.as_array().unwrap().iter().cloned().map(read);
    let set = Permissions::compile(records, &topology, &jiff::tz::TimeZone::UTC, version).unwrap();
    let key = CredentialKey::new(&[7; 32]);
    let typed =
        pin.map(|digits| move |whose: &Id| token(&CredentialKey::new(&[7; 32]), &format!("pin:{whose}:{digits}")));
    let question = Question {
        place: match place {
            Place::Door(door) => Place::Door(door),
            Place::FloorGroup(group) => Place::FloorGroup(group),
        },
        who: Who::Read(Read::text("h10301:1:2", &key)),
        pin: typed.as_ref().map(|pin| pin as &dyn Fn(&Id) -> Token),
        companion: None,
        now: Now { mono: crate::domain::time::Mono::ZERO, wall: Wall::EPOCH, trust: ClockTrust::Trusted },
        staleness: Some(staleness),
        emergency_uses: uses.as_ref(),
    };
    explain(&question, &set, &topology).unwrap()
}

fn red(more: serde_json::Value) -> serde_json::Value {
    let key = CredentialKey::new(&[7; 32]);
    let mut body = serde_json::json!({ "token": token(&key, "h10301:1:2").to_string() });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let policy = serde_json::json!({ "doors": ["front", "lift"], "emergency_after_s": 60 });
    serde_json::json!([
        { "kind": "emergency_card", "id": "red", "body": body },
        { "kind": "door_policy", "id": "alone", "body": policy },
    ])
}

#[test]
fn an_emergency_card_is_explained_by_what_it_lacks_and_opens_when_it_lacks_nothing() {
    use crate::domain::event::DenialReason::*;
    let (front, lift) = (Id::new("front").unwrap(), Id::new("lift").unwrap());
    let (fresh, alone) = (Duration::ZERO, Duration::from_secs(60));
    let key = CredentialKey::new(&[7; 32]);
    let with_pin = serde_json::json!({ "pin": token(&key, "pin:red:77").to_string(), "uses_max": 3 });
    for (body, pin, staleness, reason) in [
        (serde_json::json!({}), None, fresh, Some(NotYetActive)),
        (serde_json::json!({}), None, alone, None),
        (serde_json::json!({ "doors": ["lift"] }), None, alone, Some(NoRule)),
        (serde_json::json!({ "expires_at": "1969-01-01T00:00:00.000Z" }), None, alone, Some(Expired)),
        (with_pin.clone(), None, alone, Some(PinRequired)),
        (with_pin.clone(), Some("78"), alone, Some(WrongPin)),
        (with_pin, Some("77"), alone, None),
    ] {
        let told = asked(red(body.clone()), &Place::Door(&front), pin, staleness);
        let card = told.emergency_card.as_ref().unwrap();
        assert_eq!(
            (card.reason, told.answer.reason, told.answer.granted),
            (reason, reason, reason.is_none()),
            "{body}"
        );
        assert_eq!(card.accepted, staleness == alone);
        assert_eq!(told.would_grant.len(), usize::from(reason.is_some()), "{:?}", told.would_grant);
    }
    let told = asked(red(serde_json::json!({})), &Place::FloorGroup(&lift), None, alone);
    assert_eq!((told.answer.granted, told.answer.floors.len()), (true, 2), "the policy of the cab, and every floor");
}

#[test]
fn an_emergency_card_that_is_used_up_is_explained_as_such_by_whoever_knows_the_count() {
    let front = Id::new("front").unwrap();
    let told = |uses| {
        let records = red(serde_json::json!({ "uses_max": 3 }));
        let told = asked_after(uses, records, &Place::Door(&front), None, Duration::from_secs(60));
        let card = told.emergency_card.clone().unwrap();
        assert_eq!((card.uses, card.uses_max, card.reason), (uses, Some(3), told.answer.reason));
        (told.answer.granted, told.would_grant)
    };
    for uses in [None, Some(0), Some(2)] {
        assert_eq!(told(uses), (true, Vec::new()), "{uses:?}");
    }
    for uses in [3, 4] {
        assert_eq!(told(Some(uses)), (false, vec!["more uses for emergency card red (uses_max)".to_owned()]));
    }
}

#[test]
fn rules_of_other_people_elsewhere_are_counted_and_those_that_matter_told() {
    let rules = vec![rule(1, RuleOutcome::OtherPlaceAndPeople), rule(2, RuleOutcome::OutsideSchedule)];
    let told = bounded(explanation(rules));
    assert_eq!((told.candidates[0].rules.len(), told.candidates[0].rules_left_out), (1, 1));
    assert_eq!(told.would_grant.last().map(String::as_str), Some("and 36 more"));
}

#[test]
fn however_many_rules_there_are_it_fits_into_a_message() {
    let with = |outcome| (0..5000).map(|number| rule(number, outcome)).collect::<Vec<_>>();
    for outcome in [RuleOutcome::OtherPlace, RuleOutcome::OtherPeople, RuleOutcome::OutsideSchedule] {
        let mut rules = with(outcome);
        rules.push(rule(9999, RuleOutcome::Denies));
        let told = bounded(explanation(rules));
        let candidate = &told.candidates[0];
        assert!(serde_json::to_vec(&told).unwrap().len() < 64 * 1024);
        assert_eq!(candidate.rules.len() + candidate.rules_left_out, 5001);
        let decisive = candidate.rules.iter().any(|rule| rule.outcome == RuleOutcome::Denies);
        assert_eq!(decisive, outcome != RuleOutcome::OutsideSchedule, "{outcome:?}");
    }
}

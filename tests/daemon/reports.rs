//! Reports over the log of a daemon that goes on writing it.

use std::collections::BTreeSet;

use latchd::{
    domain::{event::Refusal, ids::Id},
    wire::{
        event_log::{Head, verify_chain},
        outcome::Stage,
        report::ReportPage,
    },
};
use latchd_sim::cloud::{Wish, client::wall_now, set::put_raw};
use serde_json::{Value, json};

use crate::world::{STRANGER, World};

/// Asks until there is no more; the arguments but for the cursor.
fn report(world: &World, operator: &str, args: &Value) -> Vec<ReportPage> {
    let mut args = args.clone();
    let mut pages: Vec<ReportPage> = Vec::new();
    loop {
        let jti = world.wish(&Wish::new(operator, "reports.query", args.clone()));
        let detail = world.stage(&jti, Stage::Done).detail.unwrap();
        let page: ReportPage = serde_json::from_value(detail["report"].clone()).unwrap();
        args["cursor"] = json!(page.next);
        pages.push(page);
        if !pages.last().unwrap().more {
            return pages;
        }
    }
}

fn events(pages: Vec<ReportPage>) -> Vec<Value> {
    pages.into_iter().flat_map(|page| page.events.unwrap()).collect()
}

fn kinds(events: &[Value]) -> BTreeSet<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// One more operator, a manager of the glass door.
pub fn with_max(world: &World) {
    let max = json!({"status": {"state": "active"}, "role": "manager", "doors": ["glass"]});
    let delta = world.site.cloud.cloud().change(wall_now(), vec![put_raw("operator", "op-max", object(max))]);
    world.site.cloud.publish(delta).unwrap();
    world.applied(2);
}

pub fn object(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn the_pages_of_a_report_are_the_log_as_it_was_sent_without_gap() {
    let world = World::running();
    world.ada_passes();
    for _ in 0..3 {
        world.card(STRANGER);
        world.ada_passes();
    }
    world.drained();
    let pages = report(&world, "op-rita", &json!({"order": "oldest_first", "limit": 7}));
    assert!(pages.len() > 2 && pages.iter().all(|page| page.count <= 7), "{pages:?}");
    let log_id = pages[0].log_id.clone();
    let events = events(pages);
    let bytes: Vec<Vec<u8>> = events.iter().map(|event| serde_json::to_vec(event).unwrap()).collect();
    verify_chain(Head::begin(log_id), bytes.iter().map(Vec::as_slice)).unwrap();
    for event in &world.site.cloud.cloud().events {
        let mut sent = event.json.clone();
        sent.remove("replayed");
        assert_eq!(events[usize::try_from(event.seq).unwrap() - 1], Value::Object(sent));
    }
}

#[test]
fn a_security_manager_asks_who_and_why_and_when_and_gets_json_or_csv() {
    let world = World::running();
    let before = wall_now();
    world.ada_passes();
    world.card(STRANGER);
    world.event("access.denied", |_| true);
    let jti = world.command("door.open", "barrier");
    world.stage(&jti, Stage::Actuated);
    let asked =
        |filter: Value| events(report(&world, "op-rita", &json!({"from": before.to_string(), "filter": filter})));
    let denied = asked(json!({"types": ["access.denied"]}));
    assert_eq!((denied.len(), &denied[0]["reason"]), (1, &json!("unknown_credential")));
    assert_eq!(kinds(&asked(json!({"types": ["access.*"]}))), ["access.denied", "access.granted"].into());
    assert!(asked(json!({"persons": ["ada"]})).iter().all(|event| event.to_string().contains("\"ada\"")));
    let by_ada = asked(json!({"operators": ["op-ada"], "doors": ["barrier"]}));
    assert_eq!(kinds(&by_ada), ["door.mode_changed"].into());
    assert_eq!(asked(json!({"readers": ["front-in"], "reasons": ["unknown_credential"]})).len(), 1);
    assert_eq!(asked(json!({"doors": ["attic"]})).len(), 0);
    let nothing = report(&world, "op-rita", &json!({"until": before.to_string(), "filter": {"types": ["access.*"]}}));
    assert_eq!(nothing.iter().map(|page| page.count).sum::<u32>(), 0);

    let args = json!({"format": "csv", "limit": 1, "order": "oldest_first", "filter": {"types": ["access.*"]}});
    let csv: String = report(&world, "op-rita", &args).into_iter().map(|page| page.csv.unwrap()).collect();
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("seq,occurred_at,type,door,reader,person,"), "{csv}");
    assert!(lines[1].contains(",access.granted,front,front-in,ada,ada-card,"), "{csv}");
    assert!(lines[2].contains(",access.denied,front,front-in,,,,unknown_credential,"), "{csv}");
    assert_eq!(lines.len(), 4, "{csv}");
}

#[test]
fn a_manager_of_one_door_is_told_of_that_door_and_of_nothing_else() {
    let world = World::running();
    with_max(&world);
    world.ada_passes();
    world.listens_at_glass();
    let jti = world.wish(&Wish::door("op-nobody", "door.open", "front"));
    world.refused(&jti, Refusal::UnknownOperator);
    world.event("operator.refused", |_| true);
    let seen = events(report(&world, "op-max", &json!({})));
    assert!(!seen.is_empty());
    for event in &seen {
        assert!(event["door"] == "glass" || event["reader"] == "glass-in", "{event}");
    }
    assert_eq!(events(report(&world, "op-max", &json!({"filter": {"doors": ["front"]}}))).len(), 0);
    let all = events(report(&world, "op-ada", &json!({})));
    for kind in ["operator.refused", "node.started", "set.applied"] {
        assert!(kinds(&all).contains(kind) && !kinds(&seen).contains(kind), "{kind}");
    }
}

#[test]
fn a_report_goes_on_with_its_cursor_after_a_restart_and_while_the_log_grows() {
    let mut world = World::running();
    world.ada_passes();
    world.drained();
    let ask = |world: &World, args: Value| {
        let jti = world.wish(&Wish::new("op-rita", "reports.query", args));
        let detail = world.stage(&jti, Stage::Done).detail.unwrap();
        serde_json::from_value::<ReportPage>(detail["report"].clone()).unwrap()
    };
    let first = ask(&world, json!({"limit": 3}));
    assert!(first.more);
    assert_eq!(world.stop(), Some(0));
    world.start();
    world.boot();
    world.ada_passes();
    let second = ask(&world, json!({"limit": 3, "cursor": first.next}));
    let seq = |page: &ReportPage| {
        page.events.as_ref().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let (first_seqs, second_seqs) = (seq(&first), seq(&second));
    assert_eq!(second_seqs[0], first_seqs[2] - 1, "{first_seqs:?} {second_seqs:?}");
}

#[test]
fn a_report_that_cannot_be_made_says_why_and_one_that_was_told_is_not_told_twice() {
    let world = World::running();
    let ask = |args: Value| world.wish(&Wish::new("op-rita", "reports.query", args));
    world.refused(&ask(json!({"cursor": "made-up"})), Refusal::Malformed);
    world.refused(&ask(json!({"filter": {"door": "front"}})), Refusal::Malformed);
    for _ in 0..4 {
        world.ada_passes();
    }
    let wish =
        Wish { jti: Some(Id::new("once").unwrap()), ..Wish::new("op-rita", "reports.query", json!({"limit": 20})) };
    let (jti, message) = world.site.cloud.cloud().command(wall_now(), &wish);
    world.site.cloud.publish(message.clone()).unwrap();
    let told = world.stage(&jti, Stage::Done);
    assert_eq!(told.detail.as_ref().unwrap()["report"]["count"], 20);
    world.site.cloud.publish(message).unwrap();
    let again = world.cloud("the answer again", |cloud| {
        cloud.outcomes_of(&jti).find(|outcome| outcome.stage == Stage::Done && **outcome != told).cloned()
    });
    assert!(again.detail.unwrap()["message"].as_str().unwrap().contains("ask again under another jti"));
}

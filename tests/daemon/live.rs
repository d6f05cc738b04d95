//! Live events: who watches gets what happens, and nothing that is not theirs.

use latchd::{
    domain::{event::Refusal, ids::Id},
    wire::{
        live::{Ended, LiveUpdate},
        outcome::Stage,
    },
};
use latchd_sim::cloud::{Wish, client::wall_now, set::put_raw};
use serde_json::{Value, json};

use crate::{
    reports::{object, with_max},
    world::{ADA, STRANGER, World},
};

fn subscribe(world: &World, operator: &str, args: Value) -> Id {
    let jti = world.wish(&Wish::new(operator, "live_events.subscribe", args));
    let detail = world.stage(&jti, Stage::Done).detail.unwrap();
    assert!(detail["live"]["ends_at"].as_str().is_some(), "{detail}");
    jti
}

fn seen(updates: &[LiveUpdate]) -> Vec<Value> {
    updates.iter().flat_map(|update| update.events.iter().cloned().map(Value::Object)).collect()
}

/// What the subscription got, once some of it is as wanted.
fn watched(world: &World, jti: &Id, what: &str, test: impl Fn(&Value) -> bool) -> Vec<Value> {
    world.cloud(what, |cloud| {
        let events = seen(cloud.live.get(jti)?);
        events.iter().any(&test).then_some(events)
    })
}

fn ended(world: &World, jti: &Id) -> Ended {
    world.cloud("the end of a subscription", |cloud| cloud.live.get(jti)?.last()?.ended)
}

#[test]
fn who_watches_gets_what_fits_as_it_happens_and_as_it_is_in_the_log() {
    let world = World::running();
    let all = subscribe(&world, "op-ada", json!({}));
    let denials = subscribe(&world, "op-rita", json!({"filter": {"types": ["access.denied"]}}));
    world.card(STRANGER);
    world.logged(1, &["access.denied"]);
    world.ada_passes();
    world.card(STRANGER);
    let closed = |event: &Value| event["type"] == "door.mode_changed" && event["to"] == "Locked";
    watched(&world, &all, "the door's locking", closed);
    let denied = world.cloud("two denials", |cloud| {
        let events = seen(cloud.live.get(&denials)?);
        (events.len() == 2).then_some(events)
    });
    assert!(denied.iter().all(|event| event["type"] == "access.denied" && event["replayed"] == false));
    world.drained();
    let sent = |event: &Value| {
        let cloud = world.site.cloud.cloud();
        let seq = event["seq"].as_u64();
        cloud.events.iter().any(|sent| Some(sent.seq) == seq && Value::Object(sent.json.clone()) == *event)
    };
    assert!(denied.iter().all(sent));
    let stop = world.wish(&Wish::new("op-rita", "live_events.unsubscribe", json!({ "jti": denials })));
    world.stage(&stop, Stage::Done);
    assert_eq!(ended(&world, &denials), Ended::Unsubscribed);
    let not_hers = world.wish(&Wish::new("op-rita", "live_events.unsubscribe", json!({ "jti": all })));
    world.refused(&not_hers, Refusal::UnknownTarget);
}

#[test]
fn a_manager_of_one_door_watches_that_door_until_another_is_assigned_or_they_are_suspended() {
    let world = World::running();
    with_max(&world);
    let glass = subscribe(&world, "op-max", json!({}));
    world.ada_passes();
    world.listens_at_glass();
    let at_glass = |event: &Value| event["reader"] == "glass-in" || event["door"] == "glass";
    let events = watched(&world, &glass, "something at the glass door", at_glass);
    assert!(events.iter().all(at_glass), "{events:?}");

    let max_is = |generation: u64, status: Value, doors: Value| {
        let record = json!({"status": status, "role": "manager", "doors": doors});
        let delta = world.site.cloud.cloud().change(wall_now(), vec![put_raw("operator", "op-max", object(record))]);
        world.site.cloud.publish(delta).unwrap();
        world.applied(generation);
    };
    max_is(3, json!({"state": "active"}), json!(["front"]));
    assert_eq!(ended(&world, &glass), Ended::ScopeChanged);
    let front = subscribe(&world, "op-max", json!({"filter": {"types": ["access.*"]}}));
    max_is(4, json!({"state": "suspended"}), json!(["front"]));
    assert_eq!(ended(&world, &front), Ended::OperatorSuspended);
    world.ada_passes();
    world.drained();
    let after = world.site.cloud.cloud().live[&front].clone();
    assert_eq!(seen(&after).len(), 0, "{after:?}");
}

#[test]
fn a_subscription_outlives_a_broken_link_and_counts_what_it_missed_but_not_a_restart() {
    let mut world = World::running();
    let jti = subscribe(&world, "op-ada", json!({"filter": {"types": ["access.*"]}}));
    world.card(STRANGER);
    watched(&world, &jti, "a denial", |event| event["type"] == "access.denied");
    world.broker().set_faults(|faults| faults.refuse_connections = true);
    world.broker().drop_connections();
    world.card(ADA);
    world.logged(1, &["access.granted"]);
    world.broker().set_faults(|faults| faults.refuse_connections = false);
    let events = watched(&world, &jti, "what happened meanwhile", |event| event["type"] == "access.granted");
    let granted: Vec<&Value> = events.iter().filter(|event| event["type"] == "access.granted").collect();
    assert_eq!((granted.len(), &granted[0]["replayed"]), (1, &json!(true)));
    let missed: u64 = world.site.cloud.cloud().live[&jti].iter().map(|update| update.missed).sum();
    assert_eq!(missed, 0);

    assert_eq!(world.stop(), Some(0));
    world.start();
    world.boot();
    world.card(STRANGER);
    world.logged(2, &["access.denied"]);
    world.drained();
    let stop = world.wish(&Wish::new("op-ada", "live_events.unsubscribe", json!({ "jti": jti })));
    world.refused(&stop, Refusal::UnknownTarget);
    let denied = seen(&world.site.cloud.cloud().live[&jti]).iter().filter(|e| e["type"] == "access.denied").count();
    assert_eq!(denied, 1);
}

#[test]
fn an_operator_who_may_not_watch_or_watches_too_much_is_refused() {
    let world = World::running();
    let nobody = world.wish(&Wish::new("op-nobody", "live_events.subscribe", json!({})));
    world.refused(&nobody, Refusal::UnknownOperator);
    for _ in 0..4 {
        subscribe(&world, "op-rita", json!({"ttl_s": 60}));
    }
    let fifth = world.wish(&Wish::new("op-rita", "live_events.subscribe", json!({})));
    world.refused(&fifth, Refusal::Overloaded);
    let short = subscribe(&world, "op-ada", json!({"ttl_s": 1}));
    assert_eq!(ended(&world, &short), Ended::Expired);
}

//! Permission sets that must not be applied, and a large one that must not be lost.

use std::time::Instant;

use latchd::domain::record::Record;
use latchd::wire::jws::Typ;
use latchd_sim::{
    cloud::{
        client::wall_now,
        set::{delete, put, put_raw},
    },
    site::card,
};
use serde_json::{Value, json};

use crate::world::{ADA, World};

fn body(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn a_set_that_does_not_validate_is_refused_with_every_reason_and_the_old_one_stays() {
    let world = World::running();
    let bad = vec![
        put_raw(
            "access_rule",
            "to-nowhere",
            body(json!({"effect": "allow", "groups": ["no-group"], "doors": ["no-door"]})),
        ),
        put_raw("credential", "of-nobody", body(json!({"person": "nobody", "token": "zz", "state": "active"}))),
        put_raw("person", "odd", body(json!({"groups": ["staff"], "superuser": true}))),
        delete("group", "staff"),
    ];
    let delta = world.site.cloud.cloud().change(wall_now(), bad);
    world.site.cloud.publish(delta).unwrap();
    let refused = world.event("set.refused", |_| true);
    let reasons = refused.json["reasons"].to_string();
    for word in ["to-nowhere", "of-nobody", "odd"] {
        assert!(reasons.contains(word), "{word} is not named: {reasons}");
    }
    world.applied(1);
    world.ada_passes();
    // The cloud mends it: the node converges, though it never had the generation in between.
    let staff = put("staff", &Record::Group(Default::default()));
    let mended =
        vec![staff, delete("access_rule", "to-nowhere"), delete("credential", "of-nobody"), delete("person", "odd")];
    let delta = world.site.cloud.cloud().change(wall_now(), mended);
    world.site.cloud.publish(delta).unwrap();
    world.applied(3);
    world.ada_passes();
}

#[test]
fn an_older_set_is_not_taken_and_another_under_the_same_generation_raises_an_alarm() {
    let world = World::running();
    let old_manifest = world.site.cloud.cloud().manifest(wall_now());
    let revoked = world.site.cloud.cloud().change(wall_now(), vec![delete("credential", "ada-card")]);
    world.site.cloud.publish(revoked.clone()).unwrap();
    world.applied(2);
    for _ in 0..3 {
        world.inject("set", &old_manifest.payload, true);
        world.inject("set", &revoked.payload, true);
    }
    // The same generation once more, signed by the right key, with other contents.
    let forked = {
        let cloud = world.site.cloud.cloud();
        let mut document: Value = payload_of(&revoked.payload);
        document["digest"] = json!("00".repeat(32));
        cloud.signed(Typ::Set, cloud.topics.set(), document.to_string().as_bytes(), false)
    };
    world.site.cloud.publish(forked).unwrap();
    world.event("security.rollback_refused", |_| true);
    world.event("alarm.raised", |json| json["source"] == json!({ "of": "rollback" }));
    world.online("an alarm that stands", |online| online.alarms > 0);
    world.card(ADA);
    world.event_of("access.denied", "reason", "unknown_credential");
    world.applied(2);
}

fn payload_of(compact: &[u8]) -> Value {
    use base64::Engine as _;
    let claims = compact.split(|byte| *byte == b'.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn signed_documents_that_are_no_set_are_refused_and_harm_nothing() {
    let world = World::running();
    let revoked =
        world.site.cloud.cloud().change(wall_now(), vec![delete("person", "ben"), delete("credential", "ben-card")]);
    let good = payload_of(&revoked.payload);
    type Change = fn(&mut Value);
    let changes: Vec<Change> = vec![
        |d| d["aud"] = json!("acme/hq-2"),
        |d| d["to"] = json!(9),
        |d| d["from"] = json!(-1),
        |d| d["epoch"] = json!(99),
        |d| d["epoch"] = json!(u64::MAX),
        |d| d["digest"] = json!("short"),
        |d| d["ops"] = json!([]),
        |d| d["ops"] = json!([{"put": {"kind": "person", "id": "x", "body": []}}]),
        |d| d["ops"] = json!([{"explode": {}}]),
        |d| d["type"] = json!("mystery"),
        |d| d["critical"] = json!(["elevator_ai"]),
        |d| d["surplus"] = json!(1),
        |d| *d = json!(null),
    ];
    for change in changes {
        let mut document = good.clone();
        change(&mut document);
        let message = {
            let cloud = world.site.cloud.cloud();
            cloud.signed(Typ::Set, cloud.topics.set(), document.to_string().as_bytes(), false)
        };
        world.site.cloud.publish(message).unwrap();
    }
    world.ada_passes();
    // The right one still comes through.
    world.site.cloud.publish(revoked).unwrap();
    world.applied(2);
    world.event("set.refused", |_| true);
    world.ada_passes();
}

#[test]
fn an_unknown_kind_is_kept_and_reported_unless_the_set_calls_it_critical() {
    let world = World::running();
    let delta =
        world.site.cloud.cloud().change(wall_now(), vec![put_raw("hologram", "h-1", body(json!({"colour": "blue"})))]);
    world.site.cloud.publish(delta).unwrap();
    world.applied(2);
    world.event("set.applied", |json| json["unknown_kinds"] == json!(["hologram"]));
    world.ada_passes();
}

#[test]
fn ten_thousand_people_are_applied_whole_and_enforced_after_a_kill_without_any_network() {
    let mut world = World::running();
    let key = latchd::wire::token::CredentialKey::new(&[0x42; 32]);
    let token = |number: u16| latchd::wire::token::token(&key, &format!("h10301:10:{number}"));
    let people: Vec<_> = (0..10_000_u16)
        .flat_map(|n| {
            let person = put_raw("person", &format!("p-{n}"), body(json!({"groups": ["staff"]})));
            let token = serde_json::to_value(token(20_000 + n)).unwrap();
            let credential = body(json!({"person": format!("p-{n}"), "token": token, "state": "active"}));
            [person, put_raw("credential", &format!("c-{n}"), credential)]
        })
        .collect();
    world.site.cloud.cloud().change_silently(&people);
    let began = Instant::now();
    let manifest = world.site.cloud.cloud().manifest(wall_now());
    world.site.cloud.publish(manifest).unwrap();
    world.cloud("generation 2", |cloud| cloud.online().filter(|online| online.generation == 2).map(drop));
    println!("20 000 records fetched, applied and reported after {:?} (debug build)", began.elapsed());
    world.kill();
    world.site.broker.stop();
    let began = Instant::now();
    world.start();
    world.ready();
    println!("ready {:?} after the start (debug build)", began.elapsed());
    world.card(29_999);
    world.coil(&world.site.field.front, true);
    world.logged(1, &["access.granted", "person=p-9999", "generation=2"]);
    world.coil(&world.site.field.front, false);
    world.site.field.front.present_card(26, card(30_000));
    world.logged(1, &["reason=unknown_credential"]);
}

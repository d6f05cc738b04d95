//! Edits by command, from the signed command to the relay: in force at once, through kills and lost stores,
//! until a set takes them over; and operators who want more than they have.

use std::{fs, time::Duration};

use latchd::{
    domain::{event::Refusal, ids::Id, record::Token},
    wire::{
        outcome::Stage,
        token::{CredentialKey, token},
    },
};
use latchd_sim::{
    cloud::{
        Wish,
        client::wall_now,
        set::{delete, put_raw},
    },
    site::card,
};
use serde_json::{Value, json};

use crate::world::{ADA, World};

const BOB: u16 = 2002;

fn token_of(number: u16) -> Token {
    token(&CredentialKey::new(&[0x42; 32]), &format!("h10301:10:{number}"))
}

fn body(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn bob() -> Value {
    json!({"name": "Bob", "groups": ["staff"]})
}

fn card_of(person: &str, number: u16, more: Value) -> Value {
    let mut card = json!({"person": person, "token": token_of(number).to_string()});
    card.as_object_mut().unwrap().extend(body(more));
    card
}

impl World {
    fn edit(&self, operator: &str, cmd: &str, id: &str, value: Value) -> Id {
        let args = if value.is_null() { json!({ "id": id }) } else { json!({ "id": id, "body": value }) };
        self.wish(&Wish::new(operator, cmd, args))
    }

    /// An edit that is made: its id, for `absorbs`.
    fn edited(&self, operator: &str, cmd: &str, id: &str, value: Value) -> Id {
        let jti = self.edit(operator, cmd, id, value);
        self.stage(&jti, Stage::Done);
        jti
    }

    /// The bodies of a listing, by id.
    fn listed(&self, operator: &str, kind: &str) -> Vec<(String, Value)> {
        let jti = self.wish(&Wish::new(operator, &format!("{kind}.list"), json!({})));
        let list = self.stage(&jti, Stage::Done).detail.unwrap()["list"].clone();
        assert_eq!(list["kind"], kind);
        let of = |record: &Value| (record["id"].as_str().unwrap().to_owned(), record["body"].clone());
        let mut records: Vec<(String, Value)> = list["records"].as_array().unwrap().iter().map(of).collect();
        records.sort_by(|one, other| one.0.cmp(&other.0));
        records
    }

    fn change(&self, ops: Vec<latchd::wire::set::Op>, generation: u64) {
        let delta = self.site.cloud.cloud().change(wall_now(), ops);
        self.site.cloud.publish(delta).unwrap();
        self.applied(generation);
    }

    fn opens(&self, number: u16) {
        let front = self.site.field.front.clone();
        front.present_card(26, card(number));
        self.coil(&front, true);
        self.coil(&front, false);
    }

    /// The card is refused; how often before, by this reason.
    fn denied(&self, reason: &str, times: usize) {
        self.cloud(&format!("{times} x {reason}"), |cloud| {
            let of =
                cloud.events.iter().filter(|event| event.kind == "access.denied" && event.json["reason"] == reason);
            (of.count() >= times).then_some(())
        });
    }

    fn overlay(&self, edits: u64) {
        self.online(&format!("{edits} edits"), |online| online.edits == edits);
    }
}

#[test]
fn a_card_that_is_added_by_command_opens_at_once_and_ever_after() {
    let mut world = World::running();
    world.ready();
    world.card(BOB);
    world.denied("unknown_credential", 1);
    let person = world.edited("op-ada", "person.put", "bob", bob());
    let card = world.edited("op-ada", "credential.put", "bob-card", card_of("bob", BOB, json!({})));
    world.opens(BOB);
    let told = world.event_of("overlay.edited", "jti", card.as_str());
    assert_eq!(
        (&told.json["operator"], &told.json["kind"], &told.json["id"]),
        (&json!("op-ada"), &json!("credential"), &json!("bob-card"))
    );
    assert_eq!((&told.json["change"], &told.json["revision"]), (&json!("put"), &json!(2)));
    world.overlay(2);
    // A kill keeps it, and so does the loss of the mirror: its second copy has the edits too.
    world.kill();
    world.start();
    world.ready();
    world.opens(BOB);
    world.kill();
    fs::remove_dir_all(world.state().join("mirror.sled")).unwrap();
    world.start();
    world.ready();
    world.opens(BOB);
    // The cloud takes it over.
    world.site.cloud.cloud().absorbs = vec![person, card];
    let ops = vec![
        put_raw("person", "bob", body(bob())),
        put_raw("credential", "bob-card", body(card_of("bob", BOB, json!({})))),
    ];
    world.change(ops, 2);
    world.overlay(0);
    world.event("set.applied", |json| json.get("absorbed") == Some(&json!(2)));
    world.opens(BOB);
    assert_eq!(world.count("overlay.edited"), 2, "told once each");
    world.change(vec![delete("credential", "bob-card"), delete("person", "bob")], 3);
    world.card(BOB);
    world.denied("unknown_credential", 2);
}

#[test]
fn edits_that_neither_the_store_nor_its_copy_has_any_more_are_told_once_and_their_numbers_are_not_given_again() {
    let mut world = World::running();
    world.ready();
    let copy = world.state().join("set-copy");
    let files = || fs::read_dir(&copy).unwrap().map(|file| file.unwrap().path());
    let before: Vec<_> = files().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    world.edited("op-ada", "person.put", "bob", bob());
    world.edited("op-ada", "credential.put", "bob-card", card_of("bob", BOB, json!({})));
    world.opens(BOB);
    world.drained();
    world.kill();
    // The store is gone, and of its copy a disk has brought back what was there before; only the mark of how far
    // the edits went is of today.
    let is_mark = |file: &std::path::Path| file.file_name().is_some_and(|name| name == "anchor");
    files().filter(|file| !is_mark(file)).for_each(|file| fs::remove_file(file).unwrap());
    before.iter().filter(|(file, _)| !is_mark(file)).for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
    fs::remove_dir_all(world.state().join("mirror.sled")).unwrap();
    world.start();
    world.ready();
    let lost = world.event("overlay.lost", |_| true);
    assert_eq!(lost.json["through"], 2);
    world.overlay(0);
    world.card(BOB);
    world.denied("unknown_credential", 1);
    world.opens(ADA);
    let again = world.edited("op-ada", "person.put", "bob", bob());
    let told = world.event_of("overlay.edited", "jti", again.as_str());
    assert_eq!(told.json["revision"], 3);
    world.kill();
    world.start();
    world.ready();
    world.overlay(1);
    world.drained();
    assert_eq!(world.count("overlay.lost"), 1, "told once");
}

#[test]
fn a_revocation_by_command_wins_over_the_clouds_older_grant_until_the_cloud_has_heard_of_it() {
    let mut world = World::running();
    world.ready();
    world.opens(ADA);
    let lost = world.edited("op-ada", "credential.put", "ada-card", card_of("ada", ADA, json!({"state": "lost"})));
    world.card(ADA);
    world.denied("lost", 1);
    // A cloud that knows nothing of it extends the card, and adds another.
    let longer = card_of("ada", ADA, json!({"expires_at": "2099-01-01T00:00:00.000Z"}));
    let other = card_of("ada", 1011, json!({}));
    world.change(
        vec![put_raw("credential", "ada-card", body(longer)), put_raw("credential", "ada-other", body(other))],
        2,
    );
    world.card(ADA);
    world.denied("lost", 2);
    world.opens(1011);
    world.kill();
    world.start();
    world.ready();
    world.card(ADA);
    world.denied("lost", 3);
    // The card had been found: the cloud discards the edit.
    world.site.cloud.cloud().absorbs = vec![lost];
    world.change(vec![], 3);
    world.overlay(0);
    world.opens(ADA);
    assert_eq!(world.count("overlay.conflicted"), 0);
}

#[test]
fn an_edit_that_the_broker_kept_back_does_not_bring_back_what_a_later_one_took_away() {
    let mut world = World::running();
    world.ready();
    // Issued before the card was lost, and delivered whenever the broker likes.
    let before = wall_now();
    world.opens(ADA);
    let kept_back = |world: &World, cmd: &str| {
        let good = card_of("ada", ADA, json!({ "expires_at": "2098-01-01T00:00:00.000Z" }));
        let args =
            if cmd.ends_with(".put") { json!({ "id": "ada-card", "body": good }) } else { json!({ "id": "ada-card" }) };
        let wish = Wish { lifetime: Duration::from_secs(3600), ..Wish::new("op-ada", cmd, args) };
        world.site.cloud.cloud().command(before, &wish)
    };
    let (first, message) = kept_back(&world, "credential.put");
    let lost = world.edited("op-ada", "credential.put", "ada-card", card_of("ada", ADA, json!({"state": "lost"})));
    world.site.cloud.publish(message).unwrap();
    world.refused(&first, Refusal::Conflict);
    world.card(ADA);
    world.denied("lost", 1);
    // Nor once the cloud has taken the later one over, nor in the next run, nor as a deletion.
    world.site.cloud.cloud().absorbs = vec![lost];
    let as_edited = card_of("ada", ADA, json!({"state": "lost"}));
    world.change(vec![put_raw("credential", "ada-card", body(as_edited))], 2);
    world.overlay(0);
    // Of a set that the log does not know, the next run could not say which records it changed: it would count for all.
    world.event("set.applied", |json| json["generation"] == 2);
    world.kill();
    world.start();
    world.ready();
    world.boot();
    for cmd in ["credential.put", "credential.delete"] {
        let (again, message) = kept_back(&world, cmd);
        world.site.cloud.publish(message).unwrap();
        world.refused(&again, Refusal::Conflict);
    }
    world.card(ADA);
    world.denied("lost", 2);
    // Neither does one from before the cloud itself took it away, whichever of the two the broker brings first.
    world.change(vec![put_raw("credential", "ada-card", body(card_of("ada", ADA, json!({"state": "stolen"}))))], 3);
    let (stale, message) = kept_back(&world, "credential.put");
    world.site.cloud.publish(message).unwrap();
    world.refused(&stale, Refusal::Conflict);
    world.card(ADA);
    world.denied("stolen", 1);
    // Of what the set does not speak of it is as good as ever.
    let wish = Wish {
        lifetime: Duration::from_secs(3600),
        ..Wish::new("op-ada", "group.put", json!({ "id": "finders", "body": {} }))
    };
    let (other, message) = world.site.cloud.cloud().command(before, &wish);
    world.site.cloud.publish(message).unwrap();
    world.stage(&other, Stage::Done);
    // Whoever found the card says so now.
    world.edited("op-ada", "credential.put", "ada-card", card_of("ada", ADA, json!({})));
    world.opens(ADA);
}

#[test]
fn an_edit_that_no_longer_fits_a_set_is_told_and_holds_nothing_up() {
    let world = World::running();
    world.ready();
    let group = world.edited("op-ada", "group.put", "crew", json!({}));
    world.site.cloud.cloud().absorbs = vec![group];
    world.change(vec![put_raw("group", "crew", body(json!({})))], 2);
    let person = world.edited("op-ada", "person.put", "bob", json!({"groups": ["staff", "crew"]}));
    let card = world.edited("op-ada", "credential.put", "bob-card", card_of("bob", BOB, json!({})));
    world.opens(BOB);
    world.change(vec![delete("group", "crew")], 3);
    let told = world.event("overlay.conflicted", |_| true);
    let jtis: Vec<&str> =
        told.json["edits"].as_array().unwrap().iter().map(|edit| edit["jti"].as_str().unwrap()).collect();
    assert_eq!(jtis, [person.as_str(), card.as_str()]);
    assert!(told.json["edits"][0]["reason"].as_str().unwrap().contains("group crew does not exist"), "{:?}", told.json);
    world.card(BOB);
    world.denied("unknown_credential", 1);
    world.opens(ADA);
}

#[test]
fn an_edit_is_refused_with_every_reason_and_changes_nothing() {
    let world = World::running();
    world.ready();
    let jti = world.edit("op-ada", "group.delete", "staff", Value::Null);
    let outcome = world.stage(&jti, Stage::Refused);
    assert_eq!(outcome.reason, Some(Refusal::Conflict));
    let reasons = outcome.detail.unwrap()["reasons"].to_string();
    assert!(
        reasons.contains("person ada: group staff") && reasons.contains("access_rule staff-everywhere"),
        "{reasons}"
    );
    let cases = [
        ("person.put", "bob", json!({"groups": [], "superuser": true}), Refusal::Malformed),
        ("credential.put", "copy", card_of("ada", ADA, json!({})), Refusal::Conflict),
        ("credential.delete", "no-such-card", Value::Null, Refusal::UnknownTarget),
    ];
    for (cmd, id, value, refusal) in cases {
        let jti = world.edit("op-ada", cmd, id, value);
        world.refused(&jti, refusal);
    }
    world.overlay(0);
    world.opens(ADA);
}

#[test]
fn a_manager_who_wants_more_is_refused_each_time_and_it_is_told() {
    let world = World::running();
    let active = |role: &str, doors: Value| json!({"status": {"state": "active"}, "role": role, "doors": doors});
    let rule = |doors: Value| json!({"effect": "allow", "groups": ["visitors"], "doors": doors});
    world.change(
        vec![
            put_raw("operator", "op-mia", body(active("manager", json!(["front"])))),
            put_raw("group", "visitors", body(json!({}))),
            put_raw("person", "eve", body(json!({"groups": ["visitors"]}))),
            put_raw("credential", "eve-card", body(card_of("eve", BOB, json!({})))),
        ],
        2,
    );
    world.ready();
    let attempts = [
        ("access_rule.put", "to-the-glass", rule(json!(["glass"]))),
        ("access_rule.put", "to-both", rule(json!(["front", "glass"]))),
        ("access_rule.delete", "staff-everywhere", Value::Null),
        ("person.put", "eve", json!({"groups": ["visitors", "staff"]})),
        ("group.put", "staff", json!({"name": "mine"})),
        ("credential.put", "second", card_of("ada", 4002, json!({}))),
        ("auto_open.put", "open-house", json!({"doors": ["glass"], "schedule": "first-minute"})),
        ("operator.put", "op-mia", active("manager", json!(["front", "glass"]))),
        ("operator.delete", "op-ada", Value::Null),
    ];
    for (cmd, id, value) in attempts {
        let jti = world.edit("op-mia", cmd, id, value);
        world.refused(&jti, Refusal::OutOfScope);
        let event = world.event_of("operator.refused", "jti", jti.as_str());
        assert_eq!((&event.json["operator"], &event.json["command"]), (&json!("op-mia"), &json!(cmd)));
    }
    for (cmd, id, value) in [
        ("operator.put", "op-mia", active("integrator", json!(["front"]))),
        ("role.put", "king", json!({"capabilities": ["configuration"]})),
    ] {
        let jti = world.edit("op-mia", cmd, id, value);
        world.refused(&jti, Refusal::Forbidden);
    }
    let jti =
        world.edit("op-mia", "system_event.put", "bell", json!({"when": {"trigger": "fire_activated"}, "do": []}));
    world.refused(&jti, Refusal::Forbidden);
    world.card(BOB);
    world.denied("no_rule", 1);
    // What is hers she may.
    world.edited("op-mia", "access_rule.put", "visitors-front", rule(json!(["front"])));
    world.opens(BOB);
    world.edited("op-mia", "credential.put", "eve-card", card_of("eve", BOB, json!({"state": "stolen"})));
    world.card(BOB);
    world.denied("stolen", 1);
    // And she sees no more than that.
    let people: Vec<String> = world.listed("op-mia", "person").into_iter().map(|(id, _)| id).collect();
    assert_eq!(people, ["ada", "ben", "eve"]);
    let rules: Vec<String> = world.listed("op-mia", "access_rule").into_iter().map(|(id, _)| id).collect();
    assert_eq!(rules, ["night-at-the-front", "staff-everywhere", "visitors-front"]);
    let jti = world.wish(&Wish::new("op-mia", "partition.list", json!({})));
    world.refused(&jti, Refusal::Forbidden);
}

#[test]
fn an_operator_is_invited_accepts_and_commands() {
    let world = World::running();
    world.ready();
    let manager = |status: Value| {
        json!({
            "name": "Olga", "first_name": "Olga", "last_name": "Orlova", "email": "olga@example.com", "company": "Acme",
            "title": "Porter", "phone": "+49 30 1", "language": "de", "notifications": true,
            "status": status, "role": "manager", "doors": ["front"],
        })
    };
    let jti = world.edit("op-ada", "operator.put", "op-olga", manager(json!({"state": "active"})));
    world.refused(&jti, Refusal::Conflict);
    world.edited("op-ada", "operator.put", "op-olga", manager(json!({"state": "invited"})));
    let shown =
        |world: &World| world.listed("op-ada", "operator").into_iter().find(|(id, _)| id == "op-olga").unwrap().1;
    let pending = shown(&world);
    assert_eq!((&pending["name"], &pending["email"]), (&json!("(Invitation Pending)"), &json!("olga@example.com")));
    assert_eq!((pending.get("first_name"), pending.get("last_name")), (None, None), "{pending}");
    assert!(pending["status"]["invited_at"].is_string());
    // What is put back as it was listed changes no name.
    let mut relisted = pending;
    relisted["phone"] = json!("+49 30 2");
    world.edited("op-ada", "operator.put", "op-olga", relisted);
    let open = || Wish::door("op-olga", "door.open_and_close", "front");
    let jti = world.wish(&open());
    world.refused(&jti, Refusal::OperatorPending);
    world.edited("op-ada", "operator.put", "op-olga", manager(json!({"state": "active"})));
    let accepted = shown(&world);
    for (name, value) in body(manager(json!({"state": "active"}))) {
        assert_eq!(accepted[&name], value, "{name}");
    }
    let jti = world.wish(&open());
    world.stage(&jti, Stage::Actuated);
    world.coil(&world.site.field.front.clone(), false);
    let dead = json!({"state": "invited", "expires_at": wall_now().to_string()});
    let jti = world.edit("op-ada", "operator.put", "op-late", manager(dead));
    world.refused(&jti, Refusal::Conflict);
    world.edited("op-ada", "operator.put", "op-olga", manager(json!({"state": "suspended"})));
    let jti = world.wish(&open());
    world.refused(&jti, Refusal::OperatorSuspended);
}

#[test]
fn a_card_format_by_command_is_how_the_next_card_is_read() {
    let world = World::running();
    world.ready();
    let key = CredentialKey::new(&[0x42; 32]);
    let works = json!({
        "bits": 30, "number": { "first": 1, "bits": 28 },
        "parity": [
            { "bit": 0, "parity": "even", "mask": "011111111111111000000000000000" },
            { "bit": 29, "parity": "odd", "mask": "000000000000000111111111111110" }
        ]
    });
    let card = || world.site.field.front.present_card(30, 77 << 15 | 2);
    card();
    world.denied("unknown_credential", 1);
    world.edited("op-ada", "person.put", "bob", bob());
    let token = token(&key, &format!("works:{}", 77 << 14 | 1)).to_string();
    world.edited("op-ada", "credential.put", "bob-works", json!({"person": "bob", "token": token}));
    let jti = world.edit("op-ada", "card_format.put", "pin", works.clone());
    world.refused(&jti, Refusal::Conflict);
    world.edited("op-ada", "card_format.put", "works", works.clone());
    assert_eq!(world.listed("op-ada", "card_format"), [("works".to_owned(), works)]);
    card();
    world.coil(&world.site.field.front, true);
    world.event("access.granted", |json| json["person"] == "bob" && json["card"]["formats"] == json!(["works", "raw"]));
    world.edited("op-ada", "card_format.delete", "works", Value::Null);
    card();
    world.denied("unknown_credential", 2);
}

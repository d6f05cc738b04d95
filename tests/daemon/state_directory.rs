//! The state directory: missing, in the way, read-only, in use, damaged.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use latchd_sim::site::{Daemon, Program};

use latchd::wire::outcome::Stage;
use latchd_sim::{
    cloud::{
        StoredEvent,
        client::wall_now,
        set::{delete, put_raw},
    },
    site::card,
};
use serde_json::{Value, json};

use crate::world::{ADA, PATIENCE, STRANGER, World, damage, program};

#[test]
fn a_missing_state_directory_is_made_and_the_doors_are_enforced_without_any_network() {
    let mut world = World::new();
    world.site.broker.stop();
    world.start();
    world.ready();
    assert!(world.state().join("ledger.sled").is_dir() && world.state().join("mirror.sled").is_dir());
    world.card(ADA);
    world.logged(1, &["access.denied", "reason=stale_permissions"]);
    assert_eq!(world.stop(), Some(0));
}

#[test]
fn a_state_directory_that_cannot_be_made_ends_with_73_and_says_which() {
    let mut world = World::new();
    let file = world.site.directory.join("in-the-way");
    fs::write(&file, "").unwrap();
    for state in [file.clone(), file.join("state")] {
        let before = world.state().display().to_string();
        world.site.configure(&format!("{before:?}"), &format!("{:?}", state.display().to_string())).unwrap();
        world.start();
        assert_eq!(world.end(), Some(73));
        world.logged(1, &[&state.display().to_string(), "cannot be created"]);
        world.site.configure(&format!("{:?}", state.display().to_string()), &format!("{before:?}")).unwrap();
    }
    // Nothing was harmed: with its directory free again it starts.
    world.start();
    world.ready();
}

/// The daemon over a read-only mount of this directory; only root may mount.
fn over_a_read_only_mount(directory: &Path) -> Program {
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    let daemon = program().path.display().to_string();
    let words = ["-m", "sh", "-c", script, &directory.display().to_string(), &daemon].map(str::to_owned);
    Program { path: "unshare".into(), arguments: words.into() }
}

/// Runs `work` with the program to start while nothing in the state directory can be written.
fn while_read_only(world: &mut World, work: impl FnOnce(&mut World, &Program)) {
    let root = rustix::process::geteuid().is_root();
    let state = world.state();
    let permissions = |mode| {
        for directory in [state.clone(), state.join("ledger.sled"), state.join("mirror.sled")] {
            // One of them may not be there at all.
            let _ = fs::set_permissions(directory, fs::Permissions::from_mode(mode));
        }
        for store in ["ledger.sled", "mirror.sled"] {
            let _ = fs::set_permissions(state.join(store).join("db"), fs::Permissions::from_mode(mode & 0o666));
        }
    };
    let started = if root { over_a_read_only_mount(&state) } else { program() };
    if !root {
        permissions(0o500);
    }
    work(world, &started);
    if !root {
        permissions(0o700);
    }
}

#[test]
fn where_a_read_only_state_directory_never_held_a_ledger_it_ends_with_73_and_says_so() {
    let mut world = World::running();
    world.kill();
    fs::remove_dir_all(world.state().join("ledger.sled")).unwrap();
    while_read_only(&mut world, |world, started| {
        let ended = Daemon::start(started, &world.site.config()).unwrap().wait(PATIENCE).unwrap();
        assert_eq!(ended.code(), Some(73), "{}", world.log());
        world.logged(1, &["not writable", "ledger.sled"]);
    });
    world.start();
    world.ada_passes();
}

#[test]
fn on_a_disk_that_became_read_only_the_doors_go_on_and_all_is_as_before_when_it_is_writable_again() {
    let mut world = World::running();
    world.drained();
    world.kill();
    world.site.broker.stop();
    while_read_only(&mut world, |world, started| {
        world.daemon = Some(Daemon::start(started, &world.site.config()).unwrap());
        world.logged(2, &[" ready: the doors are enforced"]);
        world.card(ADA);
        world.coil(&world.site.field.front, true);
        world.coil(&world.site.field.front, false);
        world.logged(1, &["the ledger cannot be opened", "not writable"]);
        world.kill();
    });
    world.start();
    world.ada_passes();
    assert_eq!(world.kept("ledger.sled.damaged").len() + world.kept("mirror.sled.damaged").len(), 0);
    world.site.broker.start_again().unwrap();
    world.drained();
}

#[test]
fn a_ledger_that_the_disk_withholds_leaves_the_doors_with_cards_and_fenced_commands_until_it_is_there_again() {
    let mut world = World::running();
    world.ada_passes();
    world.drained();
    let log_id = world.site.cloud.cloud().online().unwrap().log_id.clone();
    world.kill();
    let store = world.state().join("ledger.sled");
    withhold(&store);
    let before = world.site.cloud.cloud().events.len();
    world.start();
    world.ready();
    let front = world.site.field.front.clone();
    world.ada_passes();
    world.card(STRANGER);
    world.logged(1, &["access.denied", "reason=unknown_credential"]);
    world.logged(1, &["the ledger cannot be opened: doors are enforced without it"]);
    assert_eq!(world.kept("ledger.sled.damaged").len(), 0, "nothing is wrong with it");
    let boot = world.online("that it has no ledger, and an alarm", |online| {
        online.ledger_failed.as_ref().is_some_and(|why| why.contains("ledger.sled")) && online.alarms == 1
    });

    // What names this run moves its door once; what only the ledger could keep from coming twice is refused.
    let opened = world.command("door.open_and_close", "front");
    world.stage(&opened, Stage::Actuated);
    world.coil(&front, true);
    world.coil(&front, false);
    let told = world.by("op-ada", "group.put", json!({ "id": "late", "body": {} }));
    let refused = world.stage(&told, Stage::Refused);
    assert_eq!(refused.reason, Some(latchd::domain::event::Refusal::Overloaded), "{refused:?}");
    assert!(refused.detail.unwrap()["message"].as_str().unwrap().contains("ledger.sled"));
    let diagnosed = world.by("op-ada", "node.diagnostics", json!({}));
    let stores = world.stage(&diagnosed, Stage::Done).detail.unwrap()["diagnostics"]["stores"].clone();
    assert!(stores[0]["failing"].as_str().is_some_and(|why| why.contains("ledger.sled")), "{stores}");
    // A revocation is in force all the same.
    world.set(&[("credential", "ada-card", Value::Null)]);
    world.card(ADA);
    world.logged(2, &["access.denied", "reason=unknown_credential"]);
    assert_eq!(world.site.cloud.cloud().events.len(), before, "nothing is told that is not durable");

    front.take_writes();
    give_back(&store);
    let restored = world.event_of("storage.restored", "store", "ledger");
    assert_ne!(world.boot(), boot, "it is another run");
    assert_eq!(world.site.cloud.cloud().online().unwrap().log_id, log_id);
    assert!(front.take_writes().is_empty(), "no relay moved over it");
    assert!(world.is_running());
    // All that happened is told, in its place: the start without the ledger, the cards, the set, the end of it.
    let told: Vec<StoredEvent> = world.site.cloud.cloud().events[before..].to_vec();
    let at = |kind: &str, member: &str, value: &str| {
        let found = told.iter().position(|event| event.kind == kind && event.json[member] == value);
        found.unwrap_or_else(|| panic!("no {kind} of {value} in {told:?}"))
    };
    let in_order = [
        at("storage.failed", "store", "ledger"),
        at("access.granted", "person", "ada"),
        told.iter().position(|event| event.kind == "set.applied").unwrap(),
        at("storage.restored", "store", "ledger"),
    ];
    assert!(in_order.is_sorted(), "{in_order:?}");
    assert!(told[in_order[1]].replayed && restored.json["seq"].as_u64() > told[in_order[1]].json["seq"].as_u64());
    assert!(!told.iter().any(|event| event.kind == "log.gap"), "{told:?}");
    let raised = told.iter().find(|event| event.kind == "alarm.raised").unwrap();
    assert_eq!(raised.json["source"], json!({ "of": "storage", "store": "ledger" }));
    world.event("alarm.ended", |json| json["alarm"] == raised.json["alarm"]);
    world.online("no alarm", |online| online.alarms == 0 && online.ledger_failed.is_none());
    let made = world.by("op-ada", "group.put", json!({ "id": "late", "body": {} }));
    world.stage(&made, Stage::Done);
    assert_eq!(world.stop(), Some(0));
}

#[test]
fn a_second_daemon_on_the_same_state_ends_with_75_and_the_first_goes_on() {
    let mut world = World::running();
    let second = Daemon::start(&program(), &world.site.config()).unwrap();
    assert_eq!(second.wait(PATIENCE).unwrap().code(), Some(75));
    world.logged(1, &["locked by another process", "is another latchd running?"]);
    assert!(world.is_running());
    world.card(ADA);
    world.coil(&world.site.field.front, true);
}

/// Ways in which a disk spoils a store.
fn spoil(store: &Path, how: &str) {
    let data = store.join("db");
    match how {
        "flipped" => damage(&data),
        "truncated" => {
            let mut bytes = fs::read(&data).unwrap();
            // What follows is reserved and empty.
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2);
            fs::write(&data, bytes).unwrap();
        }
        "emptied" => fs::write(&data, "").unwrap(),
        "a file" => {
            fs::remove_dir_all(store).unwrap();
            fs::write(store, "no directory").unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_mirror_is_set_aside_and_rebuilt_from_the_second_copy_before_any_network() {
    let mut world = World::running();
    for (times, how) in (1..).zip(["flipped", "truncated", "emptied", "a file"]) {
        world.kill();
        world.site.broker.stop();
        spoil(&world.state().join("mirror.sled"), how);
        world.start();
        world.ready();
        world.ada_passes();
        assert!(world.is_running(), "{how}");
        assert_eq!(world.kept("mirror.sled.damaged").len(), times, "{how}");
        world.site.broker.start_again().unwrap();
        world.cloud("the event", |cloud| {
            let set_aside = cloud.events.iter().filter(|event| event.kind == "storage.set_aside");
            (set_aside.filter(|event| event.json["store"] == "mirror").count() == times).then_some(())
        });
        world.applied(1);
    }
}

#[test]
fn a_damaged_ledger_is_set_aside_and_a_new_log_begins_that_says_so() {
    let mut world = World::running();
    for (times, how) in (1..).zip(["flipped", "emptied"]) {
        world.ada_passes();
        world.drained();
        world.kill();
        world.site.broker.stop();
        spoil(&world.state().join("ledger.sled"), how);
        world.start();
        world.ready();
        world.ada_passes();
        assert_eq!(world.kept("ledger.sled.damaged").len(), times, "{how}");
        world.site.broker.start_again().unwrap();
        let told = world.cloud("the event", |cloud| {
            let set_aside = cloud.events.iter().filter(|event| event.kind == "storage.set_aside");
            set_aside.filter(|event| event.json["store"] == "ledger").nth(times - 1).cloned()
        });
        assert!(told.json["moved_to"].as_str().is_some_and(|path| Path::new(path).join("db").exists()), "{how}");
        assert!(told.replayed, "it happened without the cloud");
        world.event("node.started", |json| json["clean"] == false && json["seq"] == 1);
        world.drained();
    }
}

#[test]
fn with_mirror_and_copy_damaged_every_card_is_denied_until_the_cloud_sends_the_set_anew() {
    let mut world = World::running();
    world.kill();
    world.site.broker.stop();
    damage(&world.state().join("mirror.sled/db"));
    damage(&world.state().join("set-copy/base"));
    let front = world.site.field.front.clone();
    front.take_writes();
    world.start();
    world.ready();
    world.card(ADA);
    world.logged(1, &["access.denied", "reason=stale_permissions"]);
    world.card(STRANGER);
    world.logged(2, &["access.denied", "reason=stale_permissions"]);
    assert!(front.take_writes().is_empty(), "a denied card moved a relay");
    world.site.broker.start_again().unwrap();
    world.applied(1);
    world.ada_passes();
    world.event_of("storage.failed", "store", "mirror");
}

/// In the place of a directory, something that no open gets through: not damage, but a disk that gives an error.
fn withhold(directory: &Path) {
    fs::rename(directory, directory.with_extension("away")).unwrap();
    std::os::unix::fs::symlink(directory, directory).unwrap();
}

fn give_back(directory: &Path) {
    fs::remove_file(directory).unwrap();
    fs::rename(directory.with_extension("away"), directory).unwrap();
}

#[test]
fn a_mirror_that_the_disk_withholds_leaves_the_doors_with_the_second_copy_until_it_is_there_again() {
    let mut world = World::running();
    world.drained();
    world.kill();
    world.site.broker.stop();
    let store = world.state().join("mirror.sled");
    withhold(&store);
    world.start();
    world.ready();
    world.ada_passes();
    world.card(STRANGER);
    world.logged(1, &["access.denied", "reason=unknown_credential"]);
    world.logged(1, &["the permission mirror cannot be opened again"]);
    assert_eq!(world.kept("mirror.sled.damaged").len(), 0, "nothing is wrong with it");
    world.site.broker.start_again().unwrap();
    let failed = world.event_of("storage.failed", "store", "mirror");
    assert!(failed.json["detail"].as_str().unwrap().contains("the second copy's"), "{failed:?}");
    // Nothing can be taken in or edited meanwhile, and whoever tries hears so.
    let edit = world.by("op-ada", "group.put", json!({ "id": "late", "body": {} }));
    let outcome =
        world.cloud("an answer", |cloud| cloud.outcomes_of(&edit).find(|outcome| outcome.stage.always_ends()).cloned());
    assert_ne!(outcome.stage, latchd::wire::outcome::Stage::Done, "{outcome:?}");
    give_back(&store);
    world.event_of("storage.restored", "store", "mirror");
    // It takes in sets again, revocations above all.
    world.set(&[("credential", "ada-card", Value::Null)]);
    world.card(ADA);
    world.event("access.denied", |json| json["generation"] == 2 && json["reason"] == "unknown_credential");
    world.kill();
    world.start();
    world.ready();
    world.card(ADA);
    world.logged(3, &["access.denied", "reason=unknown_credential"]);
}

const RED: u16 = 60_000;

fn body(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Two emergency cards: one with a limit, one that the cloud takes away again.
fn with_emergency_cards() -> World {
    let world = World::running();
    let key = latchd::wire::token::CredentialKey::new(&[0x42; 32]);
    let token = |number: u16| latchd::wire::token::token(&key, &format!("h10301:10:{number}")).to_string();
    let red = body(json!({"token": token(RED), "doors": ["front"], "uses_max": 2}));
    let blue = body(json!({"token": token(RED + 1)}));
    let cards = vec![put_raw("emergency_card", "red", red), put_raw("emergency_card", "blue", blue)];
    let given = world.site.cloud.cloud().change(wall_now(), cards);
    world.site.cloud.publish(given).unwrap();
    world.applied(2);
    let taken = world.site.cloud.cloud().change(wall_now(), vec![delete("emergency_card", "blue")]);
    world.site.cloud.publish(taken).unwrap();
    world.applied(3);
    world.drained();
    world
}

fn lose_the_mirror(world: &mut World) {
    world.kill();
    world.site.broker.stop();
    damage(&world.state().join("mirror.sled/db"));
    damage(&world.state().join("set-copy/base"));
}

#[test]
fn with_the_mirror_lost_an_emergency_card_opens_by_its_signed_copy_and_nobody_else_does() {
    let mut world = with_emergency_cards();
    let front = world.site.field.front.clone();
    front.present_card(26, card(RED));
    world.event("access.denied", |json| json["reason"] == "not_yet_active" && json["emergency_card"] == "red");
    lose_the_mirror(&mut world);
    front.take_writes();
    world.start();
    world.ready();
    world.card(ADA);
    world.logged(1, &["access.denied", "reason=stale_permissions"]);
    front.present_card(26, card(RED + 1));
    world.logged(2, &["access.denied", "reason=stale_permissions"]);
    assert!(front.take_writes().is_empty(), "a denied card moved a relay");
    for _ in 0..2 {
        front.present_card(26, card(RED));
        world.coil(&front, true);
        world.coil(&front, false);
    }
    front.present_card(26, card(RED));
    world.logged(1, &["access.denied", "reason=expired"]);

    world.site.broker.start_again().unwrap();
    world.applied(3);
    world.event("emergency.used", |json| json["emergency_card"] == "red" && json["uses"] == 2);
    world.event("alarm.raised", |json| json["source"]["emergency_card"] == "red");
    world.event("storage.failed", |json| json["store"] == "mirror");
    world.ada_passes();
    front.present_card(26, card(RED));
    world.event("access.denied", |json| json["emergency_card"] == "red" && json["replayed"] == false);
}

#[test]
fn with_mirror_and_copy_withheld_emergency_cards_open_and_nobody_else_does_until_they_are_there_again() {
    let mut world = with_emergency_cards();
    let front = world.site.field.front.clone();
    world.kill();
    world.site.broker.stop();
    let directories = ["mirror.sled", "set-copy"].map(|name| world.state().join(name));
    directories.iter().for_each(|directory| withhold(directory));
    front.take_writes();
    world.start();
    world.ready();
    world.card(ADA);
    world.logged(1, &["access.denied", "reason=stale_permissions"]);
    assert!(front.take_writes().is_empty(), "a denied card moved a relay");
    front.present_card(26, card(RED));
    world.coil(&front, true);
    world.coil(&front, false);
    directories.iter().for_each(|directory| give_back(directory));
    world.logged(2, &["a permission set is in force", "generation=3"]);
    world.ada_passes();
    world.site.broker.start_again().unwrap();
    world.applied(3);
    world.event("emergency.used", |json| json["emergency_card"] == "red" && json["uses"] == 1);
}

#[test]
fn a_damaged_copy_of_the_emergency_cards_is_told_and_written_anew_or_opens_nothing() {
    let mut world = with_emergency_cards();
    let copy = world.state().join("emergency-cards/copy");
    let front = world.site.field.front.clone();
    world.kill();
    damage(&copy);
    world.start();
    world.event_of("storage.failed", "store", "emergency cards");
    world.event_of("storage.restored", "store", "emergency cards");
    world.ready();
    world.ada_passes();

    lose_the_mirror(&mut world);
    damage(&copy);
    front.take_writes();
    world.start();
    world.ready();
    front.present_card(26, card(RED));
    world.logged(1, &["access.denied", "reason=stale_permissions"]);
    assert!(front.take_writes().is_empty(), "a card that nothing proves moved a relay");
    world.site.broker.start_again().unwrap();
    world.applied(3);
    world.ada_passes();
    let told = |world: &World, kind: &str| {
        let cloud = world.site.cloud.cloud();
        cloud.events.iter().filter(|event| event.kind == kind && event.json["store"] == "emergency cards").count()
    };
    world.until("both to be told twice", || {
        told(&world, "storage.failed") == 2 && told(&world, "storage.restored") == 2
    });
}

//! Another configuration by command: on trial, and back by itself.

use std::{ffi::OsStr, time::Duration};

use latchd::{
    domain::{event::Refusal, ids::Id, time::Wall},
    wire::{
        canonical::{hex, sha256},
        outcome::Stage,
    },
};
use latchd_sim::{
    board::Write,
    cloud::{Wish, client::wall_now},
    site::LOCK_COIL,
};
use serde_json::{Value, json};

use crate::{
    life::Systemd,
    world::{World, program},
};

/// The relay that lifts the barrier, and a free one.
const BARRIER_COIL: u16 = 1;
const FREE_COIL: u16 = 2;

fn installed(world: &World) -> String {
    std::fs::read_to_string(world.site.config()).unwrap()
}

/// The installer's file with something in it changed.
fn changed(world: &World, from: &str, to: &str) -> String {
    let text = installed(world);
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

fn put(world: &World, toml: &str, confirm_within_s: u32) -> Id {
    world.wish(&Wish::new("op-ada", "configuration.put", json!({"toml": toml, "confirm_within_s": confirm_within_s})))
}

fn confirm(world: &World, toml: &str) -> Id {
    let args = json!({"sha256": hex(&sha256(toml.as_bytes()))});
    world.wish(&Wish::new("op-ada", "configuration.confirm", args))
}

/// What is in force, as `configuration.get` tells it.
fn present(world: &World) -> Value {
    let jti = world.wish(&Wish::new("op-ada", "configuration.get", json!({})));
    let answer = world.stage(&jti, Stage::Done).detail.unwrap()["configuration"].clone();
    assert_eq!(answer["sha256"], json!(hex(&sha256(answer["toml"].as_str().unwrap().as_bytes()))));
    answer
}

/// The run after this one is online and enforces the doors.
fn begun_anew(world: &World, before: &Id) -> Id {
    let boot = world.cloud("the next run", |cloud| {
        let boot = cloud.status.as_ref()?.boot.clone();
        (cloud.online().is_some() && boot != *before).then_some(boot)
    });
    let runs = || world.log().matches(" ready: the doors are enforced").count();
    world.until("ready", || runs() >= world.log().matches(" starting version=").count());
    boot
}

#[test]
fn the_site_file_in_force_is_told_with_its_hash() {
    let world = World::running();
    let answer = present(&world);
    assert_eq!(answer["toml"], json!(installed(&world)));
    assert_eq!(answer["origin"], json!({"of": "installer"}));
    let jti = world.wish(&Wish::new("op-rita", "configuration.get", json!({})));
    world.refused(&jti, Refusal::Forbidden);
}

#[test]
fn a_trial_that_is_confirmed_stays_through_restarts_until_the_installer_edits_the_file() {
    let mut world = World::running();
    let (front, pid) = (world.site.field.front.clone(), world.daemon.as_ref().unwrap().pid());
    let before = world.boot();
    let jti = world.command("door.open", "front");
    world.stage(&jti, Stage::Actuated);
    front.take_writes();
    let toml = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let trial = put(&world, &toml, 600);
    let scheduled = world.stage(&trial, Stage::Scheduled).detail.unwrap();
    assert_eq!(scheduled["configuration"]["sha256"], json!(hex(&sha256(toml.as_bytes()))));
    begun_anew(&world, &before);
    assert_eq!(world.daemon.as_ref().unwrap().pid(), pid, "the same process");
    assert!(world.is_running());
    world.event("configuration.trial_started", |json| json["operator"] == "op-ada" && json["jti"] == *trial);
    // The door that was open is open, and nobody touched its relay; what is new is in force.
    world.lock_state("front", "unlocked");
    assert_eq!(front.take_writes(), vec![], "a relay was written");
    let answer = present(&world);
    assert_eq!((&answer["toml"], answer["confirm_by"].is_string()), (&json!(toml), true));
    assert_eq!(answer["origin"], json!({"of": "command", "operator": "op-ada", "jti": trial}));
    let second = put(&world, &installed(&world), 60);
    world.refused(&second, Refusal::Conflict);
    let other = confirm(&world, "other bytes");
    world.refused(&other, Refusal::Conflict);
    let yes = confirm(&world, &toml);
    world.stage(&yes, Stage::Done);
    world.stage(&trial, Stage::Done);
    world.event("configuration.confirmed", |json| json["jti"] == *yes);

    world.kill();
    world.start();
    world.ready();
    world.boot();
    let answer = present(&world);
    assert_eq!((&answer["toml"], &answer["confirm_by"]), (&json!(toml), &Value::Null));

    assert_eq!(world.stop(), Some(0));
    world.site.configure("dwell_ms = 1000", "dwell_ms = 1200").unwrap();
    world.start();
    world.event_of("configuration.rolled_back", "cause", "installer_edited");
    world.boot();
    assert_eq!(present(&world)["toml"], json!(installed(&world)));
    world.logged(1, &["a configuration that came by command is not in force any more"]);
    assert_eq!(world.count("configuration.rolled_back"), 1);
}

#[test]
fn latchd_check_tells_an_installer_what_is_in_force() {
    let world = World::running();
    let check = |effective: bool| {
        let mut command = std::process::Command::new(program().path);
        command.arg("check").arg("--config").arg(world.site.config());
        if effective {
            command.arg("--effective");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(check(false), check(true));
    let before = world.boot();
    let trial = put(&world, &changed(&world, "id = \"barrier\"", "id = \"ramp\""), 600);
    world.stage(&trial, Stage::Scheduled);
    begun_anew(&world, &before);
    let (installed, effective) = (check(false), check(true));
    assert!(installed.contains("door barrier") && installed.contains("is in force instead"), "{installed}");
    assert!(effective.contains("door ramp") && effective.contains("of operator op-ada"), "{effective}");
    assert!(effective.contains("on trial"), "{effective}");
}

#[test]
fn a_trial_that_nobody_confirms_is_rolled_back_by_itself() {
    let mut world = World::running();
    let before = world.boot();
    let toml = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let trial = put(&world, &toml, 5);
    world.stage(&trial, Stage::Scheduled);
    let on_trial = begun_anew(&world, &before);
    assert_eq!(present(&world)["toml"], json!(toml));
    let after = begun_anew(&world, &on_trial);
    assert_ne!(after, before);
    world.stage(&trial, Stage::Cancelled);
    world.event_of("configuration.rolled_back", "cause", "not_confirmed");
    assert_eq!(present(&world)["toml"], json!(installed(&world)));
    let late = confirm(&world, &toml);
    world.refused(&late, Refusal::Conflict);
    world.ada_passes();
    // It stays so, and is told once.
    world.drained();
    assert_eq!(world.stop(), Some(0));
    world.start();
    world.boot();
    assert_eq!(present(&world)["origin"], json!({"of": "installer"}));
    world.drained();
    assert_eq!(world.count("configuration.rolled_back"), 1);
}

#[test]
fn a_trial_that_dies_is_rolled_back_by_the_next_start() {
    let mut world = World::running();
    let before = world.boot();
    let toml = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let trial = put(&world, &toml, 600);
    world.stage(&trial, Stage::Scheduled);
    begun_anew(&world, &before);
    world.kill();
    world.start();
    world.event_of("configuration.rolled_back", "cause", "crashed");
    world.stage(&trial, Stage::Cancelled);
    world.boot();
    assert_eq!(present(&world)["toml"], json!(installed(&world)));
    world.ada_passes();
}

#[test]
fn an_orderly_stop_during_a_trial_leaves_the_rest_of_it_to_the_next_start() {
    let mut world = World::running();
    let before = world.boot();
    let toml = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let trial = put(&world, &toml, 600);
    world.stage(&trial, Stage::Scheduled);
    begun_anew(&world, &before);
    assert_eq!(world.stop(), Some(0));
    world.start();
    world.boot();
    assert_eq!(present(&world)["toml"], json!(toml));
    let yes = confirm(&world, &toml);
    world.stage(&yes, Stage::Done);
    world.stage(&trial, Stage::Done);
    assert_eq!((world.count("configuration.rolled_back"), world.count("configuration.trial_started")), (0, 2));
}

#[test]
fn a_stop_that_comes_while_the_daemon_begins_anew_is_not_lost() {
    let mut world = World::running();
    let toml = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let jti = world.command("door.open", "barrier");
    world.stage(&jti, Stage::Actuated);
    let trial = put(&world, &toml, 600);
    world.stage(&trial, Stage::Scheduled);
    assert_eq!(world.stop(), Some(0));
    assert!(!world.site.field.front.coil(BARRIER_COIL), "the doors are in their safe state");
}

#[test]
fn systemd_sees_one_service_that_goes_on_while_the_daemon_begins_anew() {
    let mut world = World::new();
    let systemd = Systemd::new(&world.site.directory);
    let watchdog = OsStr::new("3000000");
    world.start_with(&[("NOTIFY_SOCKET", systemd.path.as_os_str()), ("WATCHDOG_USEC", watchdog)]);
    world.site.publish_set().unwrap();
    world.applied(1);
    systemd.next_with("READY=1");
    let trial = put(&world, &changed(&world, "dwell_ms = 1000", "dwell_ms = 3000"), 600);
    world.stage(&trial, Stage::Scheduled);
    let mut heard = Vec::new();
    while !heard.iter().any(|line| line == "READY=1") {
        heard.extend(systemd.next().lines().map(str::to_owned));
    }
    let told = |line: &str| heard.iter().position(|heard| heard == line).unwrap_or_else(|| panic!("{line}: {heard:?}"));
    assert!(told("WATCHDOG_USEC=60000000") < told("WATCHDOG_USEC=3000000"), "longer meanwhile, then as before");
    assert!(!heard.iter().any(|line| line.starts_with("STOPPING")), "{heard:?}");
    systemd.next_with("WATCHDOG=1");
}

#[test]
fn a_door_that_moves_to_another_relay_leaves_its_old_one_in_its_safe_state_and_the_others_alone() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let before = world.boot();
    for door in ["front", "barrier"] {
        let jti = world.command("door.open", door);
        world.stage(&jti, Stage::Actuated);
    }
    front.take_writes();
    let toml = changed(&world, "gate/relay-2", "gate/relay-3");
    let trial = put(&world, &toml, 600);
    world.stage(&trial, Stage::Scheduled);
    begun_anew(&world, &before);
    world.lock_state("barrier", "unlocked");
    assert!(front.coil(LOCK_COIL) && !front.coil(BARRIER_COIL) && front.coil(FREE_COIL));
    let touched = front.take_writes().iter().any(|(_, write)| matches!(write, Write::Coil { address: LOCK_COIL, .. }));
    assert!(!touched, "the front door's relay was written");
    world.kill();
    world.start();
    world.ready();
    world.lock_state("barrier", "unlocked");
    assert!(front.coil(BARRIER_COIL));
}

#[test]
fn what_lies_over_doors_and_what_is_put_off_outlives_a_trial_and_its_end() {
    let world = World::running();
    let front = world.site.field.front.clone();
    let before = world.boot();
    let order = |cmd: &str, args: Value| world.wish(&Wish::new("op-ada", cmd, args));
    world.stage(&order("lockdown.set", json!({"doors": ["barrier"]})), Stage::Actuated);
    world.stage(&order("door.dnd", json!({"door": "glass", "set": "on"})), Stage::Actuated);
    let delayed = order("door.open_with_delay", json!({"door": "front", "delay_ms": 12_000}));
    world.stage(&delayed, Stage::Scheduled);
    let due = wall_now();
    front.take_writes();

    // Another door at the barrier's relay: it is none that was locked down.
    let trial = put(&world, &changed(&world, "id = \"barrier\"", "id = \"ramp\""), 5);
    world.stage(&trial, Stage::Scheduled);
    let on_trial = begun_anew(&world, &before);
    world.lock_state("ramp", "Locked");
    world.lock_state("glass", "Blocked");
    world.state_says("door/front", json!({"mode": "Locked", "delays": [{"jti": delayed, "action": "open", "due_at": due_of(&world), "operator": "op-ada"}]}));

    let gone = |name: &str| {
        world.cloud(&format!("no state of {name}"), |cloud| {
            (!cloud.doors.values().any(|status| status.door.as_str() == name)).then_some(())
        });
    };
    // What is no more is nobody's state on the broker.
    gone("barrier");

    // Nobody confirms it: everything is as it was, and what was put off comes in its time and once.
    begun_anew(&world, &on_trial);
    world.stage(&trial, Stage::Cancelled);
    world.lock_state("barrier", "LockedDown");
    world.lock_state("glass", "Blocked");
    gone("ramp");
    world.stage(&delayed, Stage::Observed);
    assert!(wall_now() >= Wall::from_millis(due.as_millis() + 11_000), "not before it is due");
    let opened = |(_, write): &(_, Write)| matches!(write, Write::Coil { address: LOCK_COIL, on: true });
    assert_eq!(front.take_writes().iter().filter(|write| opened(write)).count(), 1);
    world.lock_state("front", "Unlocked");
}

/// When what is put off at the front door is due, as its state says.
fn due_of(world: &World) -> Value {
    world.cloud("a delay", |cloud| {
        let status = cloud.doors.values().find(|status| status.door.as_str() == "front")?;
        Some(json!(status.delays.first()?.due_at))
    })
}

#[test]
fn what_is_not_valid_or_belongs_to_the_installer_is_refused_with_every_reason_and_changes_nothing() {
    let mut world = World::running();
    let boot = world.boot();
    let broken =
        changed(&world, "relock = \"on_close\"", "relock = \"sometime\"").replace("baud = 9600", "baud = 9601");
    let jti = put(&world, &broken, 60);
    world.refused(&jti, Refusal::Malformed);
    let errors = world.stage(&jti, Stage::Refused).detail.unwrap()["errors"].clone();
    let errors: Vec<&str> = errors.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(errors.iter().filter(|line| line.contains("`relock`")).count(), 2, "{errors:#?}");
    assert!(errors.iter().any(|line| line.starts_with("toml:") && line.contains("`baud`")), "{errors:#?}");

    let anchors: [(&str, &str, &str); 7] = [
        ("node.id", "id = \"hq-1\"", "id = \"hq-2\""),
        ("node.state_dir", "/state\"", "/elsewhere\""),
        ("node.signing_key", "signing_key = \"signing-key\"", "signing_key = \"node.key\""),
        ("cloud.host", "host = \"localhost\"", "host = \"evil.example\""),
        ("cloud.root_key", "root.jwk.json", "/etc/passwd"),
        ("cloud.issuer", "https://cloud.example", "https://evil.example"),
        ("cloud.tls", "certificate = \"node.pem\"", "certificate = \"ca.pem\""),
    ];
    for (key, from, to) in anchors {
        let jti = put(&world, &changed(&world, from, to), 60);
        world.refused(&jti, Refusal::Forbidden);
        let detail = world.stage(&jti, Stage::Refused).detail.unwrap();
        assert!(detail["message"].as_str().unwrap().contains(key), "{detail}");
    }
    let good = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let args = json!({"toml": good, "confirm_within_s": 60, "expect_sha256": hex(&[0; 32])});
    let stale = world.wish(&Wish::new("op-ada", "configuration.put", args));
    world.refused(&stale, Refusal::Conflict);
    for bad in [json!({"toml": good, "confirm_within_s": 4}), json!({"toml": good}), json!({"confirm_within_s": 60})] {
        let jti = world.wish(&Wish::new("op-ada", "configuration.put", bad));
        world.refused(&jti, Refusal::Malformed);
    }
    let reporter = Wish::new("op-rita", "configuration.put", json!({"toml": good, "confirm_within_s": 60}));
    let jti = world.wish(&reporter);
    world.refused(&jti, Refusal::Forbidden);
    let same = put(&world, &installed(&world), 60);
    assert!(world.stage(&same, Stage::Done).detail.unwrap()["message"].as_str().unwrap().contains("already"));
    assert!(world.is_running());
    assert_eq!(world.boot(), boot, "the run goes on");
    assert_eq!(present(&world)["toml"], json!(installed(&world)));
}

#[test]
fn a_site_file_as_large_as_a_message_can_carry_is_put_and_told_in_parts() {
    let world = World::running();
    let before = world.boot();
    let toml = installed(&world) + &"# A remark of an installer.\n".repeat(5_800);
    assert!(toml.len() > 160 * 1024);
    let args = json!({"toml": toml, "confirm_within_s": 600});
    let trial =
        world.wish(&Wish { lifetime: Duration::from_secs(60), ..Wish::new("op-ada", "configuration.put", args) });
    world.stage(&trial, Stage::Scheduled);
    begun_anew(&world, &before);
    let (mut told, mut offset) = (String::new(), json!(0));
    while !offset.is_null() {
        let jti = world.wish(&Wish::new("op-ada", "configuration.get", json!({ "offset": offset })));
        let part = world.stage(&jti, Stage::Done).detail.unwrap()["configuration"].clone();
        told.push_str(part["toml"].as_str().unwrap());
        offset = part["next"].clone();
    }
    assert_eq!(told, toml);
}

#[test]
fn revoking_the_key_that_signed_it_ends_a_trial_at_once() {
    let world = World::running();
    let before = world.boot();
    let toml = changed(&world, "dwell_ms = 1000", "dwell_ms = 3000");
    let jti = put(&world, &toml, 600);
    world.stage(&jti, Stage::Scheduled);
    let on_trial = begun_anew(&world, &before);
    let keys = world.site.cloud.cloud().revoke_command_key(wall_now());
    world.site.cloud.publish(keys).unwrap();
    begun_anew(&world, &on_trial);
    let outcome = world.stage(&jti, Stage::Cancelled);
    let message = outcome.detail.unwrap()["message"].to_string();
    assert!(message.contains("the key that signed the command was revoked"), "{message}");
    world.event("configuration.rolled_back", |json| json["cause"] == "key_revoked");
    assert_eq!(present(&world)["origin"], json!({"of": "installer"}));
}

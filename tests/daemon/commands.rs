//! Commands that must not be carried out, and those that must although others are in their way.

use std::time::{Duration, Instant};

use latchd::{
    domain::{event::Refusal, ids::Id, time::Wall},
    wire::{
        jws::{self, Typ},
        numeric_date::NumericDate,
        outcome::Stage,
    },
};
use latchd_sim::{
    board::Fault,
    cloud::{ISSUER, Outgoing, Wish, client::wall_now, keys::CloudKeys},
};
use serde_json::{Value, json};

use crate::world::{ADA, World, unlockings};

/// The claims of a good command to open the front door.
fn claims(world: &World, jti: &str) -> Value {
    let now = wall_now();
    json!({
        "iss": ISSUER, "aud": "acme/hq-1", "sub": "op-ada", "jti": jti,
        "iat": NumericDate(now), "exp": NumericDate(now + Duration::from_secs(5)),
        "boot": world.boot(), "cmd": "door.open", "args": {"door": "front"},
    })
}

fn sign(world: &World, payload: &[u8]) -> Outgoing {
    let cloud = world.site.cloud.cloud();
    cloud.signed(Typ::Cmd, cloud.topics.cmd(), payload, false)
}

/// Publishes a command with something changed in its claims.
fn changed(world: &World, jti: &str, change: impl FnOnce(&mut Value)) -> Id {
    let mut claims = claims(world, jti);
    change(&mut claims);
    let message = sign(world, claims.to_string().as_bytes());
    world.site.cloud.publish(message).unwrap();
    Id::new(jti).unwrap()
}

/// A good command still works, at once.
fn still_works(world: &World) {
    let jti = world.command("door.state.get", "front");
    world.stage(&jti, Stage::Done);
    world.ada_passes();
}

#[test]
fn each_defect_of_a_signed_command_is_refused_by_its_own_reason_and_moves_nothing() {
    let world = World::running();
    let front = world.site.field.front.clone();
    front.take_writes();
    type Change = fn(&mut Value);
    let defects: Vec<(&str, Refusal, Change)> = vec![
        ("aud", Refusal::WrongAudience, |c| c["aud"] = json!("acme/hq-2")),
        ("aud-list", Refusal::Malformed, |c| c["aud"] = json!(["acme/hq-1"])),
        ("iss", Refusal::WrongIssuer, |c| c["iss"] = json!("https://other.example")),
        ("door", Refusal::UnknownTarget, |c| c["args"]["door"] = json!("no-such-door")),
        ("no-door", Refusal::Malformed, |c| c["args"] = json!({})),
        ("odd-door", Refusal::Malformed, |c| c["args"]["door"] = json!("../front\u{0}")),
        ("door-type", Refusal::Malformed, |c| c["args"]["door"] = json!(7)),
        ("long", Refusal::LifetimeTooLong, |c| c["exp"] = json!(c["iat"].as_f64().unwrap() + 61.0)),
        ("backwards", Refusal::Malformed, |c| c["exp"] = json!(c["iat"].as_f64().unwrap() - 1.0)),
        ("future", Refusal::NotYetValid, |c| {
            c["iat"] = json!(c["iat"].as_f64().unwrap() + 600.0);
            c["exp"] = json!(c["iat"].as_f64().unwrap() + 5.0);
        }),
        ("huge", Refusal::Malformed, |c| c["exp"] = json!(9e15)),
        ("negative", Refusal::Malformed, |c| c["exp"] = json!(-9e15)),
        ("nbf", Refusal::Malformed, |c| c["nbf"] = json!(c["exp"].as_f64().unwrap() + 1.0)),
        ("no-exp", Refusal::Malformed, |c| drop(c.as_object_mut().unwrap().remove("exp"))),
        ("no-boot", Refusal::Malformed, |c| drop(c.as_object_mut().unwrap().remove("boot"))),
        ("unknown-field", Refusal::Malformed, |c| c["force"] = json!(true)),
        ("unknown-arg", Refusal::Malformed, |c| c["args"]["dwell_ms"] = json!(4000)),
        ("unknown-cmd", Refusal::Malformed, |c| c["cmd"] = json!("door.explode")),
        ("automat", Refusal::Forbidden, |c| {
            c["cmd"] = json!("camera.locker_photo");
            c["args"] = json!({ "locker": "box" });
        }),
        ("operator", Refusal::UnknownOperator, |c| c["sub"] = json!("op-nobody")),
        ("reporter", Refusal::Forbidden, |c| c["sub"] = json!("op-rita")),
        ("short", Refusal::Malformed, |c| {
            c["cmd"] = json!("door.open_and_close");
            c["args"]["dwell_ms"] = json!(99);
        }),
        ("endless", Refusal::Malformed, |c| {
            c["cmd"] = json!("door.open_and_close");
            c["args"]["dwell_ms"] = json!(540_001);
        }),
        ("fraction", Refusal::Malformed, |c| {
            c["cmd"] = json!("door.open_and_close");
            c["args"]["dwell_ms"] = json!(400.5);
        }),
    ];
    for (jti, reason, change) in defects {
        let jti = changed(&world, jti, change);
        world.refused(&jti, reason);
    }
    let late = changed(&world, "late", |c| {
        c["iat"] = json!(c["iat"].as_f64().unwrap() - 10.0);
        c["exp"] = json!(c["exp"].as_f64().unwrap() - 10.0);
    });
    world.stage(&late, Stage::Expired);
    let run = changed(&world, "run", |c| c["boot"] = json!("an-earlier-run"));
    let outcome = world.stage(&run, Stage::Unknown);
    assert_eq!(outcome.detail.unwrap()["boot"], json!(world.boot()));
    let retained = sign(&world, claims(&world, "retained").to_string().as_bytes());
    world.inject("cmd", &retained.payload, true);
    // The broker hands it over as retained only to whoever subscribes anew.
    world.stage(&Id::new("retained").unwrap(), Stage::Actuated);
    assert_eq!(unlockings(&front), 1);
    let jti = world.command("door.close", "front");
    world.stage(&jti, Stage::Actuated);
    still_works(&world);
}

#[test]
fn a_retained_command_that_waits_for_the_node_is_refused_and_moves_nothing() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let boot = world.boot();
    world.broker().set_faults(|faults| faults.refuse_connections = true);
    world.broker().forget_sessions();
    front.take_writes();
    let now = wall_now();
    let claims = json!({
        "iss": ISSUER, "aud": "acme/hq-1", "sub": "op-ada", "jti": "retained", "iat": NumericDate(now),
        "exp": NumericDate(now + Duration::from_secs(50)), "boot": boot, "cmd": "door.open", "args": {"door": "front"},
    });
    let message = sign(&world, claims.to_string().as_bytes());
    world.inject("cmd", &message.payload, true);
    world.broker().set_faults(|faults| faults.refuse_connections = false);
    // Without the flag it is the same command, and as refused. (The first answer may be lost with the sessions.)
    let end = world.insist(&message, &Id::new("retained").unwrap());
    assert_eq!(end.reason, Some(Refusal::Retained), "{end:?}");
    // Nor does it open the door for the next run, which finds it as well.
    world.kill();
    world.start();
    world.ready();
    world.boot();
    still_works(&world);
    assert_eq!(unlockings(&front), 1, "only Ada's card moved the relay");
}

fn forged(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    let payload = claims(world, "forged").to_string().into_bytes();
    let cloud = world.site.cloud.cloud();
    let good = cloud.keys.sign(Typ::Cmd, &payload);
    let stranger = CloudKeys::from_seed(4711);
    let stolen_name = jws::sign(stranger.signer(Typ::Cmd), Typ::Cmd, cloud.keys.signer(Typ::Cmd).kid(), &payload);
    let of_set = cloud.keys.signer(Typ::Set);
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let mut flipped = good.clone().into_bytes();
    *flipped.last_mut().unwrap() ^= 1;
    vec![
        ("unknown key", stranger.sign(Typ::Cmd, &payload).into_bytes()),
        ("known kid, other key", stolen_name.into_bytes()),
        ("key of another use", jws::sign(of_set, Typ::Cmd, of_set.kid(), &payload).into_bytes()),
        ("another typ", cloud.keys.sign(Typ::Set, &payload).into_bytes()),
        ("no signature", format!("{header}.{claims}.").into_bytes()),
        ("padded", format!("{header}.{claims}.{signature}==").into_bytes()),
        ("four parts", format!("{good}.{signature}").into_bytes()),
        ("alg none", format!("eyJhbGciOiJub25lIn0.{claims}.").into_bytes()),
        ("newline", format!("{good}\n").into_bytes()),
        ("flipped", flipped),
        ("empty", vec![]),
        ("zeros", vec![0; 5000]),
        ("not UTF-8", vec![0xFF; 300]),
        ("dots", vec![b'.'; 16_000]),
        ("JSON", payload.clone()),
        ("deep", [vec![b'['; 100_000], vec![b']'; 100_000]].concat()),
        ("256 KiB", vec![b'A'; 256 * 1024]),
        ("257 KiB", vec![b'A'; 257 * 1024]),
        // More than the node takes: a broker should not have sent it, and might send it for ever.
        ("900 KiB", vec![b'A'; 900 * 1024]),
    ]
}

#[test]
fn what_cannot_be_attributed_is_counted_once_in_a_while_and_never_answered() {
    let world = World::running();
    let front = world.site.field.front.clone();
    front.take_writes();
    let outcomes = world.site.cloud.cloud().outcomes.len();
    let forged = forged(&world);
    for topic in ["cmd", "set", "evt/ack", "set/chunk/00", "nonsense"] {
        for (_, bytes) in &forged {
            world.inject(topic, bytes, false);
        }
    }
    world.event_of("security.rejected", "topic", "cmd");
    assert_eq!(unlockings(&front), 0);
    assert_eq!(world.site.cloud.cloud().outcomes.len(), outcomes, "an answer would be an oracle");
    // What is larger than the node takes costs it its session, and what the broker held for it in there.
    let (jti, message) = world.site.cloud.cloud().command(wall_now(), &Wish::door("op-ada", "door.state.get", "front"));
    assert_eq!(world.insist(&message, &jti).stage, Stage::Done);
    still_works(&world);
    world.applied(1);
}

#[test]
fn signed_payloads_that_are_no_command_are_refused_or_counted() {
    let world = World::running();
    let good = claims(&world, "x").to_string();
    let deep = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    let payloads: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"{}".to_vec(),
        deep.into_bytes(),
        good.replace("\"jti\":\"x\"", "\"jti\":\"x\",\"jti\":\"y\"").into_bytes(),
        good.replace("\"jti\":\"x\"", "\"jti\":\"\"").into_bytes(),
        good.replace("\"jti\":\"x\"", &format!("\"jti\":\"{}\"", "x".repeat(65))).into_bytes(),
        good.replace("\"jti\":\"x\"", "\"jti\":null").into_bytes(),
        format!("{good} {{}}").into_bytes(),
        good.replace("door.open", "door.open\\ud800").into_bytes(),
        vec![0xEF, 0xBB, 0xBF, b'{', b'}'],
        good.replace("op-ada", &"o".repeat(10_000)).into_bytes(),
    ];
    for payload in payloads {
        let message = sign(&world, &payload);
        world.site.cloud.publish(message).unwrap();
    }
    world.event_of("security.rejected", "topic", "cmd");
    still_works(&world);
    assert!(world.site.cloud.cloud().outcomes.iter().all(|outcome| outcome.stage != Stage::Actuated));
}

#[test]
fn a_command_that_was_carried_out_before_a_kill_is_answered_afterwards_and_not_repeated() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    let (jti, message) =
        world.site.cloud.cloud().command(wall_now(), &Wish::door("op-ada", "door.open_and_close", "front"));
    world.site.cloud.publish(message.clone()).unwrap();
    world.stage(&jti, Stage::Observed);
    world.coil(&front, false);
    world.kill();
    front.take_writes();
    world.start();
    world.boot();
    let before = world.site.cloud.cloud().outcomes.len();
    world.site.cloud.publish(message).unwrap();
    still_works(&world);
    assert_eq!(unlockings(&front), 1, "only Ada's card moved the relay");
    let cloud = world.site.cloud.cloud();
    assert!(cloud.outcomes[before..].iter().all(|outcome| outcome.jti != jti || outcome.stage == Stage::Observed));
}

#[test]
fn a_command_caught_by_a_kill_before_its_relay_ends_as_unknown_and_moves_nothing_later() {
    let mut world = World::running();
    let front = world.site.field.front.clone();
    front.take_writes();
    front.set_fault(Fault::Silent);
    let (jti, message) = world.site.cloud.cloud().command(wall_now(), &Wish::door("op-ada", "door.open", "front"));
    world.site.cloud.publish(message.clone()).unwrap();
    world.stage(&jti, Stage::Authorised);
    world.kill();
    front.set_fault(Fault::None);
    world.start();
    world.ready();
    world.site.cloud.publish(message).unwrap();
    world.stage(&jti, Stage::Unknown);
    still_works(&world);
    assert_eq!(unlockings(&front), 1, "only Ada's card moved the relay");
}

#[test]
fn the_same_id_with_other_bytes_and_an_older_command_are_conflicts() {
    let world = World::running();
    let front = world.site.field.front.clone();
    let older = sign(&world, claims(&world, "older").to_string().as_bytes());
    std::thread::sleep(Duration::from_millis(5));
    let jti = changed(&world, "close", |c| c["cmd"] = json!("door.close"));
    world.stage(&jti, Stage::Actuated);
    front.take_writes();
    world.site.cloud.publish(older).unwrap();
    world.refused(&Id::new("older").unwrap(), Refusal::Conflict);
    changed(&world, "close", |_| ());
    world.cloud("a conflict", |cloud| {
        cloud.outcomes.iter().find(|o| o.jti == jti && o.reason == Some(Refusal::Conflict)).map(drop)
    });
    assert_eq!(unlockings(&front), 0);
}

#[test]
fn a_flood_of_garbage_and_forgeries_starves_neither_cards_nor_good_commands() {
    let world = World::running();
    let forged = forged(&world);
    let bytes = |name: &str| &forged.iter().find(|(n, _)| *n == name).unwrap().1;
    for _ in 0..3000 {
        world.inject("cmd", bytes("known kid, other key"), false);
        world.inject("cmd", bytes("dots"), false);
        world.inject("set", bytes("known kid, other key"), false);
        world.inject("evt/ack", bytes("not UTF-8"), false);
    }
    // A good one that is repeated as often.
    let good = sign(&world, claims(&world, "again").to_string().as_bytes());
    for _ in 0..2000 {
        world.inject("cmd", &good.payload, false);
    }
    let asked = Instant::now();
    world.card(ADA);
    world.coil(&world.site.field.front, true);
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    let jti = world.command("door.close", "front");
    world.stage(&jti, Stage::Actuated);
    println!("a good command behind a flood of 14 000 messages: {:?}", asked.elapsed());
    world.drained();
    assert!(world.count("security.rejected") < 20);
    let answers = world.site.cloud.cloud().outcomes.len();
    assert!(answers < 200, "{answers} outcomes");
}

#[test]
fn many_commands_at_once_end_each_in_an_outcome() {
    let world = World::running();
    let now = wall_now();
    let jtis: Vec<Id> = (0..300)
        .map(|n: u64| {
            let cmd = if n.is_multiple_of(2) { "door.open" } else { "door.close" };
            let at = Wall::from_millis(now.as_millis() + i64::try_from(n).unwrap());
            let (jti, message) = world.site.cloud.cloud().command(at, &Wish::door("op-ada", cmd, "front"));
            world.site.cloud.publish(message).unwrap();
            jti
        })
        .collect();
    world.cloud("all outcomes", |cloud| {
        let ended = |jti: &Id| cloud.outcomes_of(jti).any(|o| o.stage.always_ends() || o.stage == Stage::Actuated);
        jtis.iter().all(ended).then_some(())
    });
    still_works_or_stays_open(&world);
}

fn still_works_or_stays_open(world: &World) {
    std::thread::sleep(Duration::from_millis(310));
    let jti = world.command("door.close", "front");
    world.stage(&jti, Stage::Actuated);
    still_works(world);
}

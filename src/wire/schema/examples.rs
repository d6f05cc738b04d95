//! One story in examples: a node `acme/hq-1`, a person `ada` whose card is lost, and what is said about it.
//! Owns the examples; must never hold a hash, digest or signature that was not computed by the code that the
//! daemon runs. Invariant: every example validates, parses and, where signed, verifies.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::edit_examples;
use crate::{
    domain::{event::Event, ids::Id},
    wire::{
        canonical::{canonical, hex, sha256},
        event_log::{self, Head},
        jws::{self, Signer, Typ},
        keys::Jwk,
        set::{Bucket, Digest, Summary, chunk},
        token::{CredentialKey, token},
    },
};

pub type Examples = Vec<(&'static str, Value)>;

const NODE: &str = "acme/hq-1";
const BOOT: &str = "b7f3a1c09e5d4426";
const NONCE: &str = "5f1c0a7be2994d10a3c8f60b7d2e4419";
const LOG: &str = "log-51d0";
/// The command that subscribed.
const WATCHED: &str = "01JD3Y5T7V9ZS1";
const AT: &str = "2026-09-21T14:13:20.120Z";
const IAT: f64 = 1_790_000_000.12;
const KEYS_EXPIRE: u64 = 1_830_000_000;

// ---- keys ----

struct TestKey {
    kid: &'static str,
    /// The private key is this byte, 32 times.
    seed: u8,
    purpose: &'static str,
    typ: Typ,
}

const TEST_KEYS: [TestKey; 6] = [
    TestKey { kid: "root", seed: 1, purpose: "root", typ: Typ::Keys },
    TestKey { kid: "cmd-2026", seed: 2, purpose: "cmd", typ: Typ::Cmd },
    TestKey { kid: "set-2026", seed: 3, purpose: "set", typ: Typ::Set },
    TestKey { kid: "beat-2026", seed: 4, purpose: "beat", typ: Typ::Beat },
    TestKey { kid: "ack-2026", seed: 5, purpose: "ack", typ: Typ::Ack },
    TestKey { kid: "node", seed: 6, purpose: "node", typ: Typ::Up },
];

impl TestKey {
    fn signer(&self) -> Option<Signer> {
        Signer::from_seed(&[self.seed; 32]).ok()
    }

    /// The node's key goes by its thumbprint.
    fn kid(&self, signer: &Signer) -> Option<Id> {
        if self.typ == Typ::Up { Some(signer.kid().clone()) } else { Id::new(self.kid).ok() }
    }
}

/// The private keys of the examples. Known to everyone: never to be installed anywhere.
pub fn test_keys() -> Vec<Value> {
    let key = |key: &TestKey| {
        let signer = key.signer()?;
        let (x, d) = (Jwk::of(&signer.public_key()).x, URL_SAFE_NO_PAD.encode([key.seed; 32]));
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": key.kid(&signer)?, "x": x, "d": d });
        Some(json!({ "signs": key.purpose, "jwk": jwk }))
    };
    TEST_KEYS.iter().filter_map(key).collect()
}

/// `payload` as the JWS that travels.
pub fn signed(typ: Typ, payload: &Value) -> Option<String> {
    let key = TEST_KEYS.iter().find(|key| key.typ == typ)?;
    let signer = key.signer()?;
    Some(jws::sign(&signer, typ, &key.kid(&signer)?, payload.to_string().as_bytes()))
}

pub fn keys() -> Examples {
    let entry = |key: &TestKey| {
        let x = Jwk::of(&key.signer()?.public_key()).x;
        Some(json!({
            "kty": "OKP", "crv": "Ed25519", "kid": key.kid, "x": x, "latchd_use": key.purpose, "exp": KEYS_EXPIRE
        }))
    };
    let believed = TEST_KEYS.iter().filter(|key| key.typ.key_use().is_some());
    let entries: Vec<Value> = believed.filter_map(entry).collect();
    vec![(
        "keys",
        json!({
            "aud": "acme/*", "version": 3, "iat": IAT, "epoch": 1, "keys": entries, "revoked": ["cmd-2025"]
        }),
    )]
}

// ---- commands ----

pub fn commands() -> Examples {
    let command = |jti: &str, cmd: &str, args: Value| {
        json!({
            "iss": "https://cloud.example", "aud": NODE, "sub": "op-17", "jti": jti, "iat": IAT, "exp": IAT + 5.0,
            "boot": BOOT, "cmd": cmd, "args": args
        })
    };
    let mut commands = vec![
        ("momentary", command("01JD3Y5T7V9ZQ4", "door.open_and_close", json!({"door": "front", "dwell_ms": 4000}))),
        ("open", command("01JD3Y5T7V9ZQ5", "door.open", json!({"door": "front"}))),
        ("close", command("01JD3Y5T7V9ZQ6", "door.close", json!({"door": "front"}))),
        (
            "open_later",
            command("01JD3Y5T7V9ZQ8", "door.open_with_delay", json!({"door": "front", "delay_ms": 600_000})),
        ),
        (
            "close_later",
            command("01JD3Y5T7V9ZQ9", "door.close_with_delay", json!({"door": "front", "delay_ms": 900_000})),
        ),
        (
            "cancel_delay",
            command("01JD3Y5T7V9ZQA", "door.cancel_delay", json!({"door": "front", "jti": "01JD3Y5T7V9ZQ8"})),
        ),
        ("do_not_disturb", command("01JD3Y5T7V9ZQB", "door.dnd", json!({"door": "front", "set": "on"}))),
        (
            "force_toggle",
            command("01JD3Y5T7V9ZQC", "door.force_toggle", json!({"door": "front", "expect_mode": "Locked"})),
        ),
        ("force", command("01JD3Y5T7V9ZQD", "door.force", json!({"door": "front", "state": "released"}))),
        ("virtual_read", command("01JD3Y5T7V9ZRA", "door.virtual_read", json!({"door": "front", "person": "ada"}))),
        ("state", command("01JD3Y5T7V9ZQ7", "door.state.get", json!({"door": "front"}))),
        ("lockdown", command("01JD3Y5T7V9ZQE", "lockdown.set", json!({"node": true}))),
        ("end_of_lockdown", command("01JD3Y5T7V9ZQF", "lockdown.clear", json!({"doors": ["front"]}))),
        ("acknowledge", command("01JD3Y5T7V9ZR1", "alarm.acknowledge", json!({"alarm": "alarm-1790000000120-1"}))),
        ("forget_where", command("01JD3Y5T7V9ZRB", "apb.clear", json!({"person": "ada"}))),
        ("pulse", command("01JD3Y5T7V9ZR2", "output.pulse", json!({"output": "siren", "pulse_ms": 2000}))),
        ("set", command("01JD3Y5T7V9ZR3", "output.set", json!({"output": "siren", "on": false}))),
        ("identify", command("01JD3Y5T7V9ZR4", "node.identify", json!({}))),
        ("floors", command("01JD3Y5T7V9ZQK", "floor.open", json!({"floor_group": "lift", "floors": ["3"]}))),
        ("floors_closed", command("01JD3Y5T7V9ZQG", "floor.close", json!({"floor_group": "lift"}))),
        (
            "floors_momentary",
            command("01JD3Y5T7V9ZQH", "floor.open_and_close", json!({"floor_group": "lift", "dwell_ms": 5000})),
        ),
        ("locker", command("01JD3Y5T7V9ZQJ", "locker.open", json!({"locker": "key-07"}))),
        (
            "report",
            command(
                "01JD3Y5T7V9ZS2",
                "reports.query",
                json!({"from": "2026-09-21T00:00:00.000Z", "filter": {"types": ["access.*"], "doors": ["front"]}}),
            ),
        ),
        (
            "watch",
            command(
                WATCHED,
                "live_events.subscribe",
                json!({"filter": {"types": ["access.*", "door.forced"]}, "ttl_s": 900}),
            ),
        ),
        ("configuration", command("01JD3Y5T7V9ZS4", "configuration.get", json!({}))),
        (
            "try",
            command(
                "01JD3Y5T7V9ZS5",
                "configuration.put",
                json!({"toml": "[node]\n", "expect_sha256": hex(&[0xab; 32]), "confirm_within_s": 120}),
            ),
        ),
        ("confirm", command("01JD3Y5T7V9ZS6", "configuration.confirm", json!({"sha256": hex(&sha256(b"[node]\n"))}))),
        ("unwatch", command("01JD3Y5T7V9ZS3", "live_events.unsubscribe", json!({"jti": WATCHED}))),
        ("reboot", command("01JD3Y5T7V9ZS7", "node.reboot", json!({}))),
        ("diagnostics", command("01JD3Y5T7V9ZS8", "node.diagnostics", json!({}))),
    ];
    let edit = |(n, (name, cmd, args)): (usize, (&'static str, &str, Value))| {
        (name, command(&format!("01JD3Y5T7V9ZE{n}"), cmd, args))
    };
    commands.extend(edit_examples::edits().into_iter().enumerate().map(edit));
    commands
}

fn envelope(n: u64, mut members: Value) -> Value {
    members["boot"] = json!(BOOT);
    members["n"] = json!(n);
    members["at"] = json!(AT);
    members
}

pub fn outcomes() -> Examples {
    let outcome = |n: u64, mut outcome: Value| {
        outcome["jti"] = json!("01JD3Y5T7V9ZQ4");
        outcome["at"] = json!(AT);
        envelope(n, json!({ "outcome": outcome }))
    };
    vec![
        ("received", outcome(4, json!({"seq": 0, "stage": "received"}))),
        ("actuated", outcome(6, json!({"seq": 2, "stage": "actuated"}))),
        ("actuated_finally", outcome(6, json!({"seq": 2, "stage": "actuated", "detail": {"final": true}}))),
        ("scheduled", outcome(6, json!({"seq": 2, "stage": "scheduled", "detail": {"due_at": AT}}))),
        (
            "partly",
            outcome(
                8,
                json!({
                    "seq": 2, "stage": "failed", "detail": {
                        "message": "29 doors did it, 1 did not",
                        "doors": {"store": {"stage": "failed", "message": "bus_down: the board of the lock does not answer"}}
                    }
                }),
            ),
        ),
        (
            "report",
            outcome(
                8,
                json!({"seq": 2, "stage": "done", "detail": {"report": {
                    "log_id": LOG, "events": [], "count": 0, "more": false, "scanned": 3, "oldest": 1, "newest": 3
                }}}),
            ),
        ),
        ("edited", outcome(7, json!({"seq": 2, "stage": "done", "detail": {"edit": {"revision": 12}}}))),
        (
            "listed",
            outcome(
                7,
                json!({"seq": 2, "stage": "done", "detail": {"list": {
                    "kind": "operator", "epoch": 1, "generation": 8, "revision": 12, "next": "operator/op-18",
                    "records": [{"id": "op-18", "body": {
                        "name": "(Invitation Pending)", "email": "mia@example.com", "role": "manager",
                        "status": {"state": "invited", "invited_at": AT}, "partitions": ["west"]
                    }}]
                }}}),
            ),
        ),
        (
            "not_edited",
            outcome(
                7,
                json!({"seq": 2, "stage": "refused", "reason": "conflict", "detail": {
                    "message": "person bob: group cleaners does not exist",
                    "reasons": ["person bob: group cleaners does not exist", "person eve: group cleaners does not exist"]
                }}),
            ),
        ),
        (
            "on_trial",
            outcome(
                8,
                json!({"seq": 2, "stage": "scheduled", "detail": {"configuration": {
                    "sha256": hex(&sha256(b"[node]\n")), "confirm_by": "2026-09-21T14:15:20.120Z"
                }}}),
            ),
        ),
        (
            "refused",
            outcome(
                9,
                json!({"seq": 1, "stage": "refused", "reason": "forbidden", "detail": {"message": "needs door_control"}}),
            ),
        ),
    ]
}

// ---- the set ----

fn record(kind: &str, id: &str, body: Value) -> Value {
    json!({ "kind": kind, "id": id, "body": body })
}

fn card(state: &str) -> Value {
    // The credential key of the example is the byte 7, 32 times.
    let token = token(&CredentialKey::new(&[7; 32]), "h10301:12:345");
    record("credential", "ada-card", json!({"person": "ada", "token": token, "state": state}))
}

fn set(card_state: &str) -> Vec<Value> {
    let office =
        json!([{"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "from": "08:00", "to": "18:00"}]);
    vec![
        record("person", "ada", json!({"name": "Ada", "groups": ["staff"], "active_from": "2026-01-01T00:00:00.000Z"})),
        card(card_state),
        record("group", "staff", json!({"name": "Staff"})),
        record(
            "access_rule",
            "staff-front",
            json!({"effect": "allow", "groups": ["staff"], "doors": ["front"], "schedule": "office"}),
        ),
        record("schedule", "office", json!({"weekly": office, "holidays": [{"holiday": "new-year"}]})),
        record("holiday", "new-year", json!({"yearly": ["01-01"]})),
        record("role", "night-desk", json!({"capabilities": ["door_control", "door_states"]})),
        record("operator", "op-17", json!({"status": {"state": "active"}, "role": "night-desk", "doors": ["front"]})),
    ]
}

/// Each bucket's chunk, as bytes.
fn chunked(records: &[Value]) -> BTreeMap<Bucket, Vec<u8>> {
    let mut buckets: BTreeMap<Bucket, BTreeMap<(&str, &str), Vec<u8>>> = BTreeMap::new();
    for record in records {
        let (kind, id) = (record["kind"].as_str().unwrap_or(""), record["id"].as_str().unwrap_or(""));
        let body = canonical(&record["body"]).unwrap_or_default();
        buckets.entry(Bucket::of(kind, id)).or_default().insert((kind, id), body);
    }
    let encode = |(bucket, records): (Bucket, BTreeMap<(&str, &str), Vec<u8>>)| {
        let bytes = chunk::encode(records.iter().map(|((kind, id), body)| (*kind, *id, body.as_slice())))?;
        Some((bucket, bytes))
    };
    buckets.into_iter().filter_map(encode).collect()
}

fn names(records: &[Value]) -> BTreeMap<Bucket, Digest> {
    chunked(records).into_iter().map(|(bucket, bytes)| (bucket, Digest::of(&bytes))).collect()
}

fn digest(records: &[Value]) -> Digest {
    Summary::from_chunks(&names(records)).digest()
}

pub fn sets() -> Examples {
    let after = set("lost");
    let delta = json!({
        "type": "delta", "aud": NODE, "iat": IAT, "epoch": 1, "from": 7, "to": 8, "digest": digest(&after),
        "ops": [{"put": card("lost")}]
    });
    let manifest = json!({
        "type": "manifest", "aud": NODE, "iat": IAT, "epoch": 1, "generation": 8, "digest": digest(&after),
        "chunks": names(&after)
    });
    vec![("revocation", delta), ("manifest", manifest)]
}

pub fn chunks() -> Examples {
    let chunk = |(_, bytes): (Bucket, Vec<u8>)| Some(("chunk", serde_json::from_slice(&bytes).ok()?));
    chunked(&set("lost")).into_iter().filter_map(chunk).collect()
}

pub fn beats() -> Examples {
    let beat = json!({
        "aud": NODE, "iat": IAT, "nonce": NONCE, "epoch": 1, "generation": 8, "digest": digest(&set("lost")),
        "keys_version": 3
    });
    vec![("beat", beat)]
}

pub fn requests() -> Examples {
    let request = |request: Value| envelope(2, json!({ "keys_version": 3, "request": request }));
    let held = digest(&set("active"));
    let wanted: Vec<Digest> = chunks_that_differ();
    vec![
        ("update", request(json!({"nonce": NONCE, "epoch": 1, "generation": 7, "digest": held, "want": "update"}))),
        (
            "chunks",
            request(json!({
                "nonce": NONCE, "epoch": 1, "generation": 7, "digest": held, "want": "chunks", "chunks": wanted
            })),
        ),
    ]
}

fn chunks_that_differ() -> Vec<Digest> {
    let held = names(&set("active"));
    names(&set("lost"))
        .into_iter()
        .filter(|(bucket, name)| held.get(bucket) != Some(name))
        .map(|(_, name)| name)
        .collect()
}

// ---- what happened ----

fn log() -> Option<(Head, Vec<Value>)> {
    let log_id = Id::new(LOG).ok()?;
    let at = |event: Value| {
        let mut event = event;
        event["occurred_at"] = json!(AT);
        event["clock"] = json!("trusted");
        event["epoch"] = json!(1);
        event["generation"] = json!(8);
        event
    };
    let card = json!({"bits": 26, "raw": "2180159", "formats": ["h10301", "raw"], "parity_ok": true});
    let events = [
        at(json!({"type": "node.started", "boot": BOOT, "version": "0.1.0", "clean": true})),
        at(json!({
            "type": "access.denied", "door": "front", "reader": "front-in", "reason": "lost", "person": "ada",
            "credential": "ada-card", "card": card
        })),
        at(json!({
            "type": "door.mode_changed", "door": "front", "from": "Locked", "to": "Accessed",
            "actor": {"by": "operator", "operator": "op-17", "jti": "01JD3Y5T7V9ZQ4"}
        })),
    ];
    let mut published = Vec::new();
    let mut head = Head::begin(log_id);
    for event in events {
        let sealed = serde_json::from_value::<Event>(event).and_then(|event| event_log::seal(&head, &event));
        if let Ok((sealed, next)) = sealed {
            published.extend(serde_json::from_slice::<Value>(&event_log::with_replayed(&sealed.json, false)));
            head = next;
        }
    }
    Some((head, published))
}

pub fn events() -> Examples {
    let batch = |(head, events): (Head, Vec<Value>)| envelope(12, json!({ "log_id": head.log_id, "events": events }));
    log().map(|log| ("events", batch(log))).into_iter().collect()
}

/// Arguments that fit a command.
pub fn args_of(command: &str) -> Value {
    let door = |more: Value| {
        let mut args = json!({ "door": "front" });
        if let (Some(args), Value::Object(more)) = (args.as_object_mut(), more) {
            args.extend(more);
        }
        args
    };
    match command {
        "door.open" | "door.close" | "door.state.get" | "door.cancel_delay" | "alarm.acknowledge" => door(json!({})),
        "door.open_and_close" => door(json!({ "dwell_ms": 4000 })),
        "door.open_with_delay" | "door.close_with_delay" => door(json!({ "delay_ms": 60_000 })),
        "door.dnd" => door(json!({ "set": "toggle", "expect_mode": "Locked" })),
        "door.force_toggle" => door(json!({ "expect_mode": "Locked" })),
        "door.force" => door(json!({ "state": "closed" })),
        "door.virtual_read" => door(json!({ "person": "ada" })),
        "lockdown.set" => json!({ "node": true }),
        "lockdown.clear" => json!({ "doors": ["front"] }),
        "apb.clear" => json!({ "person": "ada" }),
        "floor.open" | "floor.close" => json!({ "floor_group": "lift", "floors": ["3"] }),
        "floor.open_and_close" => json!({ "floor_group": "lift", "floors": ["3"], "dwell_ms": 5000 }),
        "locker.open" => json!({ "locker": "key-07" }),
        "output.pulse" => json!({ "output": "bell", "pulse_ms": 500 }),
        "output.set" => json!({ "output": "bell", "on": true }),
        "reports.query" => json!({ "filter": { "types": ["access.*"], "doors": ["front"] }, "format": "csv" }),
        "live_events.subscribe" => json!({ "filter": { "types": ["access.*", "door.forced"] }, "ttl_s": 900 }),
        "live_events.unsubscribe" => json!({ "jti": WATCHED }),
        "configuration.put" => json!({ "toml": "[node]\n", "confirm_within_s": 120 }),
        "configuration.confirm" => json!({ "sha256": hex(&[0xab; 32]) }),
        "node.diagnostics" => json!({ "explain": { "door": "front", "person": "ada" } }),
        _ => match command.split_once('.') {
            Some((_, "put")) => json!({ "id": "x-1", "body": {} }),
            Some((_, "delete")) => json!({ "id": "x-1" }),
            _ => json!({}),
        },
    }
}

pub fn live() -> Examples {
    let update = |n: u64, update: Value| envelope(n, json!({ "live": update }));
    let denials = |(_, events): (Head, Vec<Value>)| {
        let seen: Vec<Value> = events.into_iter().filter(|event| event["type"] == "access.denied").collect();
        update(13, json!({ "subscription": WATCHED, "missed": 2, "events": seen }))
    };
    let ended = update(14, json!({ "subscription": WATCHED, "events": [], "ended": "operator_suspended" }));
    log().map(|log| ("events", denials(log))).into_iter().chain([("ended", ended)]).collect()
}

pub fn telemetry() -> Examples {
    let quantiles = |count: u64, p50_us: u64| json!({"count": count, "p50_us": p50_us, "p90_us": 2 * p50_us, "p99_us": 3 * p50_us, "max_us": 4 * p50_us});
    let telemetry = json!({
        "uptime_s": 86_400, "interval_ms": 60_000,
        "counters": {"events": 5120, "granted": 790, "denied": 12, "outcomes_dropped": 0, "lines_dropped": 0},
        "gauges": {
            "backlog": 3, "outcomes_waiting": 0, "commits_waiting": 0, "commands_open": 1, "commands_remembered": 40,
            "live_subscriptions": 1, "alarms": 2, "memory_bytes": 21_000_000
        },
        "latencies": {
            "decision": quantiles(7, 12), "command": quantiles(2, 4_100), "event_append": quantiles(20, 900)
        },
        "buses": [{"bus": "riser", "answered": 1180, "failed": 0, "transaction": quantiles(1180, 7_000)}]
    });
    vec![("figures", envelope(20, json!({ "telemetry": telemetry })))]
}

pub fn acks() -> Examples {
    let ack =
        |head: Head| json!({ "aud": NODE, "log_id": head.log_id, "through": head.seq, "head_hash": hex(&head.hash) });
    log().map(|(head, _)| ("ack", ack(head))).into_iter().collect()
}

pub fn doors() -> Examples {
    let door = json!({
        "door": "front", "mode": "Accessed", "contact": "closed", "lock": "unlocked", "alarm": "none", "since": AT
    });
    let propped = json!({
        "door": "front", "mode": "Locked", "contact": "open", "lock": "locked", "alarm": "propped",
        "alarm_acknowledged": true, "since": AT,
        "delays": [{"jti": "01JD3Y5T7V9ZQ8", "action": "open", "due_at": AT, "operator": "op-17"}]
    });
    vec![("accessed", envelope(7, json!({ "door": door }))), ("propped", envelope(7, json!({ "door": propped })))]
}

pub fn reader_states() -> Examples {
    vec![("lost", envelope(8, json!({ "reader": { "reader": "front-in", "link": "lost" } })))]
}

pub fn board_states() -> Examples {
    vec![("up", envelope(9, json!({ "board": { "board": "relays", "link": "up" } })))]
}

pub fn floor_group_states() -> Examples {
    let floor = |floor: &str, cause: Option<&str>| {
        let relay = if cause.is_some() { "enabled" } else { "disabled" };
        let mut floor = json!({ "floor": floor, "enabled": cause.is_some(), "relay": relay });
        if let Some(cause) = cause {
            floor["cause"] = json!(cause);
        }
        floor
    };
    let floors = [floor("0", Some("public")), floor("1", None), floor("3", Some("read"))];
    let state = json!({ "floor_group": "lift", "link": "up", "lockdown": false, "floors": floors, "since": AT });
    vec![("riding", envelope(11, json!({ "floor_group": state })))]
}

pub fn locker_states() -> Examples {
    let key = json!({
        "state": "fetched", "key": "van-2", "contract": "ada-van", "person": "ada", "since": AT,
        "due": "2026-09-21T18:00:00.000Z"
    });
    let contract = json!({ "contract": "ada-van", "state": "applied", "generation": 8 });
    let state = json!({
        "locker": "key-07", "cabinet": "keys", "number": 7, "occupied": false, "key": key,
        "contract_sync": [contract]
    });
    vec![("fetched", envelope(12, json!({ "locker": state })))]
}

pub fn area_states() -> Examples {
    vec![("occupied", envelope(10, json!({ "area": { "area": "lab", "count": 3, "limit": 12 } })))]
}

pub fn statuses() -> Examples {
    let online = json!({
        "state": "online", "version": "0.1.0", "epoch": 1, "generation": 8, "digest": digest(&set("lost")),
        "revision": 12, "edits": 2, "keys_version": 3, "staleness_ms": 1200, "clock": "trusted", "backlog": 3, "alarms": 1,
        "log_id": LOG
    });
    vec![
        ("online", envelope(0, json!({ "status": online }))),
        ("offline", envelope(1, json!({ "status": {"state": "offline"} }))),
    ]
}

//! The published contract against the code: the schema accepts what the code accepts and sends, and refuses
//! what the code refuses.

use jsonschema::Validator;
use latchd::{
    domain::{
        door::{Alarm, ContactState, DoorStatus, LockState, Mode},
        event::{
            Actor, AlarmSource, CardEvidence, DenialReason, Denied, Event, EventBody, FlappingInput, Granted, Refusal,
        },
        fieldbus::LineTrouble,
        ids::Id,
        time::{ClockTrust, Wall},
    },
    wire::{
        command,
        event_log::{Head, seal, with_replayed},
        jws::{self, Signer, Typ, sign},
        keys::{Jwk, KeySet, RootKey},
        outcome::{Detail, Outcome, ReadDecision, Stage},
        schema::{args_of, asyncapi},
        upward::{self, NodeStatus, Online, Sealer},
    },
};
use serde_json::{Value, json};

const AUDIENCE: &str = "acme/hq-1";
const NOW: Wall = Wall::from_millis(1_790_000_000_120);

fn validator(message: &str) -> Validator {
    let document = asyncapi();
    let mut schema = document["components"]["messages"][message]["payload"].clone();
    schema["components"] = document["components"].clone();
    jsonschema::draft7::new(&schema).unwrap()
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn signer(number: u8) -> Signer {
    Signer::from_seed(&[number; 32]).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, payload: &Value) {
    let errors: Vec<String> = validator.iter_errors(payload).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{payload:#}\n{errors:#?}");
}

#[test]
fn every_example_validates() {
    let document = asyncapi();
    let mut count = 0;
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        let validator = validator(name);
        for example in message["examples"].as_array().unwrap() {
            assert_valid(&validator, &example["payload"]);
            count += 1;
        }
    }
    assert!(count > 20);
}

// ---- what the cloud sends ----

fn keys() -> KeySet {
    let root = RootKey::from_jwk(&serde_json::to_vec(&Jwk::of(&signer(1).public_key())).unwrap()).unwrap();
    let x = Jwk::of(&signer(2).public_key()).x;
    let document = json!({
        "aud": AUDIENCE, "version": 1, "iat": 1, "epoch": 1,
        "keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "cmd", "x": x, "latchd_use": "cmd", "exp": 1_800_000_000}]
    });
    let compact = sign(&signer(1), Typ::Keys, signer(1).kid(), document.to_string().as_bytes());
    KeySet::from_signed(compact.as_bytes(), &root, AUDIENCE, &KeySet::empty()).unwrap()
}

fn accepted(keys: &KeySet, claims: &Value) -> bool {
    let compact = sign(&signer(2), Typ::Cmd, &id("cmd"), claims.to_string().as_bytes());
    let verified = jws::verify(compact.as_bytes(), Typ::Cmd, keys, NOW).unwrap();
    command::parse(&verified, compact.as_bytes(), AUDIENCE).is_ok()
}

fn claims(cmd: &str, args: Value) -> Value {
    json!({
        "iss": "https://cloud.example", "aud": AUDIENCE, "sub": "op", "jti": "j", "iat": 1_790_000_000.12,
        "exp": 1_790_000_005, "boot": "b", "cmd": cmd, "args": args
    })
}

#[test]
fn the_schema_and_the_parser_agree_on_every_command() {
    let (validator, keys) = (validator("Command"), keys());
    for name in command::known_commands() {
        let claims = claims(&name, args_of(&name));
        assert_valid(&validator, &claims);
        assert!(accepted(&keys, &claims), "{name}");
    }
}

#[test]
fn the_schema_and_the_parser_refuse_the_same_commands() {
    let (validator, keys) = (validator("Command"), keys());
    let good = claims("door.open_and_close", json!({"door": "front", "dwell_ms": 4000}));
    let mut bad: Vec<Value> = Vec::new();
    for claim in good.as_object().unwrap().keys() {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(claim);
        bad.push(without);
        for wrong in [json!(null), json!([]), json!({"x": 1}), json!(true), json!(["front"]), json!("")] {
            let mut changed = good.clone();
            changed[claim] = wrong;
            bad.push(changed);
        }
    }
    let mut extra = good.clone();
    extra["prio"] = json!(1);
    bad.push(extra);
    for args in [
        json!({}),
        json!({"door": "front", "dwell_ms": 99}),
        json!({"door": "front", "dwell_ms": 540_001}),
        json!({"door": "front", "dwell_ms": 1.5}),
        json!({"door": "front", "dwell_ms": null}),
        json!({"door": "front", "dwell_ms": "4000"}),
        json!({"door": "fr/nt"}),
        json!({"door": "front", "x": 1}),
    ] {
        bad.push(claims("door.open_and_close", args));
    }
    for name in ["door.open", "door.close", "door.state.get"] {
        bad.push(claims(name, json!({"door": "front", "dwell_ms": 4000})));
        bad.push(claims(name, json!({})));
    }
    bad.push(claims("door.explode", json!({"door": "front"})));
    for claims in bad {
        assert!(!validator.is_valid(&claims), "the schema accepts {claims:#}");
        assert!(!accepted(&keys, &claims), "the parser accepts {claims:#}");
    }
}

// ---- what the node sends ----

#[track_caller]
fn assert_sent(message: &str, compact: &str) {
    let payload: Value = upward::open(compact.as_bytes(), &signer(6).public_key()).unwrap();
    assert_valid(&validator(message), &payload);
}

fn sealer() -> Sealer {
    Sealer::new(signer(6), id("b7f3"))
}

#[test]
fn every_stage_and_every_reason_validates_as_it_is_sent() {
    let stages = [
        Stage::Received,
        Stage::Authorised,
        Stage::Scheduled,
        Stage::Actuated,
        Stage::Observed,
        Stage::NotObserved,
        Stage::Done,
        Stage::Refused,
        Stage::Expired,
        Stage::Cancelled,
        Stage::Failed,
        Stage::Unknown,
    ];
    for stage in stages {
        for reason in [None, Some(Refusal::ClockUntrusted)] {
            let message = || Some("text".to_owned());
            for detail in [
                None,
                Some(Detail { message: message(), ..Detail::default() }),
                Some(Detail { message: message(), boot: Some(id("b7f3")), ..Detail::default() }),
                Some(Detail { last: Some(true), ..Detail::default() }),
                Some(Detail { state: Some(closed_door()), ..Detail::default() }),
                Some(Detail { decision: Some(read_decision()), last: Some(true), ..Detail::default() }),
            ] {
                let detail = detail.map(|detail| serde_json::to_value(detail).unwrap());
                let outcome = Outcome { jti: id("j"), seq: 1, stage, at: NOW, reason, detail };
                assert_sent("Outcome", &sealer().seal_outcome(NOW, &outcome).unwrap());
            }
        }
    }
}

fn read_decision() -> ReadDecision {
    let reason = Some(DenialReason::OutsideSchedule);
    ReadDecision { granted: false, reason, person: id("ada"), credential: None, rule: Some(id("staff")) }
}

fn closed_door() -> DoorStatus {
    DoorStatus {
        door: id("front"),
        mode: Mode::Locked,
        contact: ContactState::Closed,
        lock: LockState::Locked,
        alarm: Alarm::None,
        alarm_acknowledged: false,
        denies: None,
        since: NOW,
        delays: Vec::new(),
    }
}

fn card() -> CardEvidence {
    CardEvidence { bits: 26, raw: "2180159".into(), formats: vec![id("h10301")], parity_ok: true, ambiguous: false }
}

fn bodies() -> Vec<EventBody> {
    let (door, reader, operator, jti) = (id("front"), id("front-in"), id("op-17"), id("j"));
    let text = || "text".to_owned();
    let actors = [
        Actor::Operator { operator: operator.clone(), jti: jti.clone() },
        Actor::SystemEvent { system_event: id("night"), author: Some(operator.clone()) },
        Actor::Person { person: id("ada"), credential: id("card") },
        Actor::Rex,
        Actor::Fire,
        Actor::Door,
        Actor::Node,
    ];
    let mut bodies: Vec<EventBody> = actors
        .into_iter()
        .map(|actor| EventBody::DoorModeChanged { door: door.clone(), from: Mode::Locked, to: Mode::Accessed, actor })
        .collect();
    bodies.extend([
        EventBody::AccessGranted(Granted {
            door: Some(door.clone()),
            reader: Some(reader.clone()),
            person: Some(id("ada")),
            credential: Some(id("card")),
            rule: Some(id("rule")),
            card: Some(card()),
            ..Granted::default()
        }),
        EventBody::AccessGranted(Granted {
            floor_group: Some(id("lift")),
            floors: vec![id("third")],
            companion: Some(id("ben")),
            emergency_card: Some(id("red")),
            actor: Some(Actor::Node),
            ..Granted::default()
        }),
        EventBody::AccessDenied(Denied {
            door: Some(door.clone()),
            reader: Some(reader.clone()),
            card: Some(card()),
            ..Denied::new(DenialReason::UnknownCredential)
        }),
        EventBody::DoorNotOpened { door: door.clone(), actor: Actor::Door },
        EventBody::DoorOpened { door: door.clone() },
        EventBody::DoorForced { door },
        EventBody::FireActivated { input: text() },
        EventBody::ReaderLost { reader: reader.clone(), detail: text() },
        EventBody::BoardDegraded { board: id("relays"), detail: text() },
        EventBody::ReaderBabbling { reader: reader.clone(), count: 9 },
        EventBody::ReaderFlapping { reader: reader.clone(), count: 9 },
        EventBody::BoardFlapping { board: id("relays"), count: 9 },
        EventBody::InputFlapping {
            what: FlappingInput::Contact,
            door: Some(id("front")),
            floor_group: None,
            input: None,
            count: 9,
        },
        EventBody::OutputSwitched { output: id("siren"), on: true, actor: Actor::Node },
        EventBody::OutputPulsed { output: id("siren"), pulse_ms: 500, actor: Actor::Node },
        EventBody::PowerLost { input: id("mains") },
        EventBody::TamperActivated { input: id("cover"), door: None, reader: Some(id("front-in")) },
        EventBody::TamperLineFaulted {
            board: id("relays"),
            input: id("in-1"),
            trouble: LineTrouble::Open,
            doors: vec![id("front")],
        },
        EventBody::TamperLineRestored { board: id("relays"), input: id("in-1") },
        EventBody::InputActivated { input: id("button") },
        EventBody::AlarmRaised {
            alarm: id("alarm-1"),
            source: AlarmSource::SystemEvent { system_event: id("night"), door: None },
            text: Some(text()),
            times: 1,
        },
        EventBody::AlarmRaised {
            alarm: id("alarm-2"),
            source: AlarmSource::Weakened { reader: Some(id("front-in")) },
            text: Some(text()),
            times: 1,
        },
        EventBody::AlarmRaised {
            alarm: id("alarm-3"),
            source: AlarmSource::Duress { person: id("ada"), door: Some(id("front")), floor_group: None },
            text: None,
            times: 1,
        },
        EventBody::AlarmRaised { alarm: id("alarm-4"), source: AlarmSource::Rollback {}, text: Some(text()), times: 1 },
        EventBody::AlarmRaised {
            alarm: id("alarm-5"),
            source: AlarmSource::Storage { store: "ledger".to_owned() },
            text: Some(text()),
            times: 1,
        },
        EventBody::AlarmAcknowledged { alarm: id("alarm-1"), actor: Actor::Node },
        EventBody::AlarmEnded { alarm: id("alarm-2"), acknowledged: true },
        EventBody::SystemEventFired {
            system_event: id("night"),
            author: None,
            trigger: text(),
            door: Some(id("front")),
            person: None,
        },
        EventBody::SystemEventRefused {
            system_event: id("night"),
            author: Some(id("op-17")),
            action: text(),
            target: None,
            reason: Refusal::OutOfScope,
            detail: text(),
        },
        EventBody::SystemEventFailed { system_event: id("night"), action: text(), outcome: text(), detail: None },
        EventBody::SystemEventSuppressed { system_event: id("night"), count: 3, detail: None },
        EventBody::NotificationSent { system_event: id("night"), text: None, door: None, person: None },
        EventBody::CloudRestored {},
        EventBody::SetApplied { digest: "ab".repeat(32), records: 10, unknown_kinds: vec![text()], absorbed: 1 },
        EventBody::SetRefused { from_epoch: 1, from_generation: 2, reasons: vec![text()] },
        EventBody::OperatorRefused { operator, jti, command: text(), reason: Refusal::Forbidden, detail: None },
        EventBody::SecurityRejected { topic: text(), cause: text(), count: 3 },
        EventBody::ClockStepped { by_ms: -5000 },
        EventBody::NodeStarted { boot: id("b7f3"), version: text(), clean: false },
        EventBody::NodeStopping {},
        EventBody::StorageSetAside { store: text(), moved_to: text(), detail: text() },
        EventBody::LogGap { lost: None, detail: text() },
        EventBody::LogGap { lost: Some(4), detail: text() },
    ]);
    bodies
}

#[test]
fn events_validate_as_they_are_sent() {
    let mut head = Head::begin(id("log-1"));
    let mut events = Vec::new();
    for body in bodies() {
        let event = Event { occurred_at: NOW, clock: ClockTrust::Untrusted, epoch: 1, generation: 7, body };
        let (sealed, next) = seal(&head, &event).unwrap();
        events.push(with_replayed(&sealed.json, events.len() % 2 == 0));
        head = next;
    }
    assert_sent("Events", &sealer().seal_events(NOW, &head.log_id, &events).unwrap());
    assert_sent("Events", &sealer().seal_events(NOW, &head.log_id, &[]).unwrap());
}

#[test]
fn states_and_status_validate_as_they_are_sent() {
    for (mode, contact, lock, alarm) in [
        (Mode::Locked, ContactState::Closed, LockState::Locked, Alarm::None),
        (Mode::LockedOpen, ContactState::Unknown, LockState::Unknown, Alarm::PropWarning),
    ] {
        let door = DoorStatus { mode, contact, lock, alarm, ..closed_door() };
        assert_sent(
            "DoorState",
            &sealer().seal_state(NOW, &latchd::domain::status::Status::Door(door.clone())).unwrap(),
        );
    }
    for staleness_ms in [None, Some(1200)] {
        let online = Online {
            version: "0.1.0".into(),
            epoch: 0,
            generation: 0,
            digest: [0; 32],
            revision: 12,
            edits: 2,
            keys_version: 0,
            staleness_ms,
            clock: ClockTrust::Untrusted,
            backlog: 0,
            alarms: 0,
            log_id: id("log-1"),
            ledger_failed: staleness_ms.map(|_| "the disk is read-only".to_owned()),
        };
        assert_sent("Status", &sealer().seal_status(NOW, &NodeStatus::Online(online)).unwrap());
    }
    assert_sent("Status", &sealer().seal_status(NOW, &NodeStatus::Offline {}).unwrap());
}

#[test]
fn the_schema_knows_its_events_and_refuses_others() {
    let validator = validator("Events");
    let mut example = asyncapi()["components"]["messages"]["Events"]["examples"][0]["payload"].clone();
    assert_valid(&validator, &example);
    let of_unknown_type = {
        let mut payload = example.clone();
        payload["events"][0]["type"] = json!("door.exploded");
        payload
    };
    assert!(!validator.is_valid(&of_unknown_type));
    example["events"][0].as_object_mut().unwrap().remove("prev");
    assert!(!validator.is_valid(&example));
}

#[test]
fn a_record_of_a_known_kind_with_an_unknown_field_is_refused_and_one_of_an_unknown_kind_is_not() {
    let validator = validator("Set");
    let delta = |kind: &str, body: Value| {
        json!({
            "type": "delta", "aud": AUDIENCE, "iat": 1, "epoch": 1, "from": 1, "to": 2, "digest": "ab".repeat(32),
            "ops": [{"put": {"kind": kind, "id": "x", "body": body}}]
        })
    };
    assert_valid(&validator, &delta("person", json!({"name": "Ada"})));
    assert_valid(&validator, &delta("spaceship", json!({"warp": 9})));
    assert!(!validator.is_valid(&delta("person", json!({"name": "Ada", "clearance": 9}))));
    assert!(!validator.is_valid(&delta("access_rule", json!({"doors": ["front"]}))));
}

use proptest::prelude::*;
use serde_json::json;

use super::{
    super::{
        jws::{self, Typ, sign},
        schema::args_of,
        testkit::*,
    },
    *,
};

fn claims() -> Value {
    json!({
        "iss": "https://cloud.example", "aud": AUDIENCE, "sub": "op-17", "jti": "01JD3Y5T7V9ZQ4",
        "iat": 1_790_000_000.120, "exp": 1_790_000_005.120, "boot": "b7f3",
        "cmd": "door.open_and_close", "args": {"door": "front", "dwell_ms": 4000}
    })
}

fn parse_bytes(payload: &[u8]) -> Result<Command, Rejected> {
    let compact = sign(&signer(CMD), Typ::Cmd, &id("cmd-1"), payload);
    let verified = jws::verify(compact.as_bytes(), Typ::Cmd, &keys(), NOW).unwrap();
    parse(&verified, compact.as_bytes(), AUDIENCE)
}

fn parse_claims(claims: &Value) -> Result<Command, Rejected> {
    parse_bytes(claims.to_string().as_bytes())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn rejected(change: impl FnOnce(&mut Value)) -> Rejected {
    parse_claims(&changed(change)).unwrap_err()
}

fn of(cmd: &str, args: Value) -> Result<Command, Rejected> {
    parse_claims(&changed(|c| {
        c["cmd"] = json!(cmd);
        c["args"] = args;
    }))
}

#[track_caller]
fn assert_malformed(rejected: &Rejected, detail: &str) {
    assert_eq!(rejected.refusal, Refusal::Malformed);
    assert!(rejected.detail.starts_with(detail), "{:?} does not start with {detail:?}", rejected.detail);
    assert_eq!(rejected.operator, Some(id("op-17")), "it is known whom to answer");
}

#[test]
fn the_example_of_the_contract_is_read_to_the_millisecond() {
    let compact = sign(&signer(CMD), Typ::Cmd, &id("cmd-1"), claims().to_string().as_bytes());
    let verified = jws::verify(compact.as_bytes(), Typ::Cmd, &keys(), NOW).unwrap();
    let expected = Command {
        issuer: "https://cloud.example".into(),
        operator: id("op-17"),
        jti: id("01JD3Y5T7V9ZQ4"),
        iat: Wall::from_millis(1_790_000_000_120),
        exp: Wall::from_millis(1_790_000_005_120),
        nbf: None,
        boot: Some(id("b7f3")),
        kid: id("cmd-1"),
        digest: sha256(compact.as_bytes()),
        body: CommandBody::DoorOpenAndClose(DoorOpenAndCloseArgs { door: id("front"), dwell_ms: Some(4000) }),
    };
    assert_eq!(parse(&verified, compact.as_bytes(), AUDIENCE), Ok(expected));
}

/// PyJWT 2.15, `jwt.encode(claims, key, "EdDSA", headers={"typ": "latchd-cmd+jwt", "kid": "cmd-1"})`, under
/// the key of the test kit.
#[test]
fn a_command_signed_by_another_library_is_read() {
    let compact = concat!(
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImNtZC0xIiwidHlwIjoibGF0Y2hkLWNtZCtqd3QifQ.",
        "eyJpc3MiOiJodHRwczovL2Nsb3VkLmV4YW1wbGUiLCJhdWQiOiJhY21lL2hxLTEiLCJzdWIiOiJvcC0xNyIsImp0aSI6InB5LTEi",
        "LCJpYXQiOjE3OTAwMDAwMDAuMTIsImV4cCI6MTc5MDAwMDAwNS4xMiwiYm9vdCI6ImI3ZjMiLCJjbWQiOiJkb29yLm9wZW4iLCJh",
        "cmdzIjp7ImRvb3IiOiJmcm9udCJ9fQ.",
        "glC-ByRLChG0lpBYOVDQyALuXEjwgON7zQQBSiIJSWL1hRTZrEa848Xx3h03pOUOCpAQ-9o_c2njILxyDjLHAQ",
    );
    let verified = jws::verify(compact.as_bytes(), Typ::Cmd, &keys(), NOW).unwrap();
    let command = parse(&verified, compact.as_bytes(), AUDIENCE).unwrap();
    assert_eq!(command.iat, Wall::from_millis(1_790_000_000_120));
    assert_eq!((command.jti, command.body), (id("py-1"), CommandBody::DoorOpen(DoorArgs { door: id("front") })));
}

#[test]
fn each_supported_command_is_read() {
    let door = id("front");
    let args = || json!({"door": "front"});
    assert_eq!(of("door.open", args()).unwrap().body, CommandBody::DoorOpen(DoorArgs { door: door.clone() }));
    assert_eq!(of("door.close", args()).unwrap().body, CommandBody::DoorClose(DoorArgs { door: door.clone() }));
    assert_eq!(of("door.state.get", args()).unwrap().body, CommandBody::DoorStateGet(DoorArgs { door: door.clone() }));
    let momentary = CommandBody::DoorOpenAndClose(DoorOpenAndCloseArgs { door, dwell_ms: None });
    assert_eq!(of("door.open_and_close", args()).unwrap().body, momentary);
}

#[test]
fn nbf_is_read() {
    let command = parse_claims(&changed(|c| c["nbf"] = json!(1_790_000_001.5))).unwrap();
    assert_eq!(command.nbf, Some(Wall::from_millis(1_790_000_001_500)));
}

#[test]
fn an_audience_that_is_another_node_is_refused() {
    let refused = rejected(|c| c["aud"] = json!("acme/hq-2"));
    assert_eq!(refused.refusal, Refusal::WrongAudience);
    assert_eq!(refused.detail, r#"aud: "acme/hq-2" is not this node, which is "acme/hq-1""#);
}

#[test]
fn an_audience_that_is_an_array_is_refused_even_with_this_node_in_it() {
    assert_malformed(&rejected(|c| c["aud"] = json!([AUDIENCE])), "aud: expected a single string, org/node");
}

#[test]
fn every_claim_but_nbf_is_required() {
    for claim in ["iss", "aud", "jti", "iat", "exp", "cmd", "args"] {
        let refused = rejected(|c| {
            c.as_object_mut().unwrap().remove(claim);
        });
        assert_malformed(&refused, &format!("{claim}: missing"));
    }
    let nobody = rejected(|c| {
        c.as_object_mut().unwrap().remove("sub");
    });
    assert_eq!((nobody.operator, nobody.jti), (None, Some(id("01JD3Y5T7V9ZQ4"))));
}

#[test]
fn a_missing_deadline_is_refused_with_what_it_means() {
    let refused = rejected(|c| {
        c.as_object_mut().unwrap().remove("exp");
    });
    assert_malformed(&refused, "exp: missing; expected a NumericDate, the deadline at the relay");
}

#[test]
fn whatever_moves_hardware_must_name_the_run() {
    let without_boot = |cmd: &str| {
        parse_claims(&changed(|c| {
            c["cmd"] = json!(cmd);
            c["args"] = args_of(cmd);
            c.as_object_mut().unwrap().remove("boot");
        }))
    };
    for cmd in
        ["door.open", "door.close", "door.open_and_close", "lockdown.set", "output.pulse", "floor.open", "locker.open"]
    {
        assert_malformed(&without_boot(cmd).unwrap_err(), "boot: missing");
    }
    for cmd in ["door.state.get", "person.put", "door.cancel_delay", "alarm.acknowledge"] {
        assert_eq!(without_boot(cmd).unwrap().boot, None, "{cmd}");
    }
}

#[test]
fn an_unknown_claim_is_refused() {
    assert_malformed(&rejected(|c| c["prio"] = json!(1)), "prio: unknown field");
}

#[test]
fn an_unknown_field_in_args_is_refused() {
    for cmd in ["door.open", "door.close", "door.state.get", "door.open_and_close"] {
        let refused = of(cmd, json!({"door": "front", "only_if": "closed"})).unwrap_err();
        assert_malformed(&refused, "args.only_if: unknown field; expected door");
    }
    assert_malformed(
        &of("door.open", json!({"door": "front", "dwell_ms": 4000})).unwrap_err(),
        "args.dwell_ms: unknown",
    );
}

#[test]
fn args_that_are_no_object_are_refused() {
    for args in [json!(["front"]), json!("front"), json!(null), json!(1)] {
        assert_malformed(&of("door.open", args).unwrap_err(), "args: expected an object");
    }
    assert_malformed(&of("person.put", json!([])).unwrap_err(), "args: expected an object");
}

#[test]
fn a_dwell_outside_of_its_range_is_refused() {
    for ms in [100, 540_000] {
        assert!(of("door.open_and_close", json!({"door": "front", "dwell_ms": ms})).is_ok(), "{ms}");
    }
    for ms in [json!(99), json!(540_001)] {
        let refused = of("door.open_and_close", json!({"door": "front", "dwell_ms": ms})).unwrap_err();
        assert_malformed(&refused, "args.dwell_ms: expected a whole number from 100 to 540000");
    }
    for ms in [json!(-1), json!(4000.5), json!("4000"), json!(null), json!(1e12)] {
        let refused = of("door.open_and_close", json!({"door": "front", "dwell_ms": ms})).unwrap_err();
        assert_malformed(&refused, "args.dwell_ms: ");
    }
}

#[test]
fn a_door_that_is_no_id_is_refused() {
    for door in [json!(""), json!("a/b"), json!("#"), json!("x".repeat(65))] {
        assert_malformed(
            &of("door.open", json!({"door": door})).unwrap_err(),
            "args.door: an id is 1 to 64 characters",
        );
    }
    assert_malformed(&of("door.open", json!({})).unwrap_err(), "args.door: missing");
}

#[test]
fn a_name_that_is_no_command_is_malformed() {
    for name in ["door.explode", "open", "", "door", "door.", "Door.open", "person.get", "people.put", "person.put.now"]
    {
        assert_malformed(&of(name, json!({"door": "front"})).unwrap_err(), "cmd: ");
    }
}

#[test]
fn every_command_of_the_contract_is_read_under_its_own_name() {
    let door = json!({ "door": "front" });
    let with = |more: Value| {
        let mut args = door.as_object().cloned().unwrap_or_default();
        args.extend(more.as_object().cloned().unwrap_or_default());
        Value::Object(args)
    };
    let cases = [
        ("door.open_with_delay", with(json!({ "delay_ms": 1000 }))),
        ("door.close_with_delay", with(json!({ "delay_ms": 86_400_000 }))),
        ("door.cancel_delay", with(json!({ "jti": "j-1" }))),
        ("door.dnd", with(json!({ "set": "toggle", "expect_mode": "Locked" }))),
        ("door.force_toggle", with(json!({ "expect_mode": "Locked" }))),
        ("door.force", with(json!({ "state": "closed" }))),
        ("door.virtual_read", with(json!({ "person": "ada" }))),
        ("lockdown.set", json!({ "node": true })),
        ("lockdown.clear", json!({ "doors": ["front"] })),
        ("alarm.acknowledge", door.clone()),
        ("apb.clear", json!({ "person": "ada" })),
        ("floor.open", json!({ "floor_group": "lift" })),
        ("floor.close", json!({ "floor_group": "lift", "floors": ["3"] })),
        ("floor.open_and_close", json!({ "floor_group": "lift", "dwell_ms": 5000 })),
        ("locker.open", json!({ "locker": "key-07" })),
        ("output.pulse", json!({ "output": "bell", "pulse_ms": 500 })),
        ("output.set", json!({ "output": "bell", "on": true })),
        ("reports.query", json!({ "filter": { "types": ["access.*"] }, "format": "csv" })),
        ("live_events.subscribe", json!({ "filter": { "doors": ["front"] } })),
        ("live_events.unsubscribe", json!({ "jti": "j-1" })),
        ("configuration.get", json!({})),
        ("configuration.put", json!({ "toml": "", "confirm_within_s": 60 })),
        ("configuration.confirm", json!({ "sha256": "00".repeat(32) })),
        ("node.reboot", json!({})),
        ("node.identify", json!({})),
        ("node.diagnostics", json!({})),
        ("person.put", json!({ "id": "ada", "body": {} })),
        ("credential.delete", json!({ "id": "c-1" })),
        ("door_policy.list", json!({ "limit": 10 })),
    ];
    for (name, args) in cases {
        let command = of(name, args).unwrap_or_else(|rejected| panic!("{name}: {rejected}"));
        assert_eq!(command.body.name(), name);
    }
    let later = operator::WITHOUT_COMMAND;
    assert_eq!(known_commands().count(), 30 + 19 * 3 + later.len());
    for (name, _) in later {
        let command = of(name, json!({ "anything": 1 })).unwrap();
        assert_eq!(command.body, CommandBody::Unsupported { name: (*name).to_owned() });
        assert!(!command.body.moves_hardware());
    }
    assert!(known_commands().all(|name| is_known(&name)));
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    for (name, args, detail) in [
        ("door.dnd", json!({ "door": "front", "set": "toggle" }), "args.expect_mode: "),
        ("door.dnd", json!({ "door": "front", "set": "on", "expect_mode": "Locked" }), "args.expect_mode: "),
        ("lockdown.set", json!({}), "args: expected exactly one"),
        ("lockdown.set", json!({ "node": false }), "args: expected exactly one"),
        ("lockdown.set", json!({ "node": true, "doors": ["front"] }), "args: expected exactly one"),
        ("lockdown.set", json!({ "doors": [] }), "args.doors: "),
        ("alarm.acknowledge", json!({}), "args: expected either door or alarm"),
        ("apb.clear", json!({ "person": "ada", "area": "hall" }), "args: expected person or area"),
        ("door.open_with_delay", json!({ "door": "front", "delay_ms": 0 }), "args.delay_ms: "),
        ("person.put", json!({ "id": "ada", "body": [] }), "args.body: expected an object"),
        ("person.list", json!({ "after": "p-1" }), "args.after: expected `next`"),
        ("person.list", json!({ "limit": 501 }), "args.limit: "),
    ] {
        assert_malformed(&of(name, args).unwrap_err(), detail);
    }
}

#[test]
fn a_deadline_before_the_issue_is_refused() {
    for exp in [1_790_000_000.120, 1_789_999_999.0] {
        assert_malformed(&rejected(|c| c["exp"] = json!(exp)), "exp: must be after iat");
    }
}

#[test]
fn times_that_are_no_numeric_dates_are_refused() {
    for time in [json!("2026-01-01T00:00:00Z"), json!(-1), json!(1e15), json!(null), json!(true)] {
        for claim in ["iat", "exp", "nbf"] {
            assert_malformed(&rejected(|c| c[claim] = time.clone()), &format!("{claim}: expected a NumericDate"));
        }
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_at_any_depth() {
    for payload in [
        claims().to_string().replacen("{", r#"{"aud":"acme/hq-2","#, 1),
        claims().to_string().replace(r#""door":"front""#, r#""door":"front","door":"back""#),
    ] {
        let refused = parse_bytes(payload.as_bytes()).unwrap_err();
        assert_eq!(refused.refusal, Refusal::Malformed);
        assert!(refused.detail.contains("twice"), "{}", refused.detail);
        assert_eq!(refused.jti, None, "nothing of it is certain");
    }
}

#[test]
fn a_rejected_command_says_whom_to_answer_as_far_as_it_does() {
    let refused = rejected(|c| c["jti"] = json!("not an id"));
    assert_eq!((refused.jti, refused.issuer), (None, Some("https://cloud.example".into())));
    assert_eq!(rejected(|c| c["iss"] = json!(7)).issuer, None);
    assert_malformed(&rejected(|c| c["iss"] = json!("")), "iss: expected 1 to 256 bytes");
    assert_malformed(&rejected(|c| c["iss"] = json!("x".repeat(257))), "iss: expected 1 to 256 bytes");
}

#[test]
fn other_bytes_under_the_same_id_have_another_digest() {
    let again = changed(|c| c["args"]["dwell_ms"] = json!(5000));
    assert_ne!(parse_claims(&claims()).unwrap().digest, parse_claims(&again).unwrap().digest);
    assert_eq!(parse_claims(&claims()).unwrap().digest, parse_claims(&claims()).unwrap().digest);
}

#[test]
fn only_commands_that_secure_pass_the_fence() {
    let securing: Vec<String> =
        known_commands().filter(|name| of(name, args_of(name)).unwrap().body.is_securing()).collect();
    assert_eq!(securing, ["door.close", "door.force", "lockdown.set"], "the example forces a door closed");
    let secures = |cmd: &str, args: Value| of(cmd, args).unwrap().body.is_securing();
    assert!(secures("door.dnd", json!({ "door": "front", "set": "on" })));
    assert!(!secures("door.dnd", json!({ "door": "front", "set": "off" })));
    assert!(!secures("door.force", json!({ "door": "front", "state": "open" })));
    assert!(!secures("door.force", json!({ "door": "front", "state": "released" })));
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse_bytes(&bytes).is_err());
    }

    #[test]
    fn a_changed_payload_never_panics(at in 0usize..300, byte in any::<u8>()) {
        let mut payload = claims().to_string().into_bytes();
        let at = at % payload.len();
        payload[at] = byte;
        let _ = parse_bytes(&payload);
    }
}

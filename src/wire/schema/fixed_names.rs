//! The names that the contract fixes, letter by letter: whatever is renamed in the code, a cloud in another language goes
//! on reading these. Owns a copy of each list of the contract; must never make one of them from the code.

use std::collections::BTreeSet;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::{
    domain::{
        event::{DenialReason, EventBody, Refusal},
        ids::Id,
        record::KNOWN_KINDS,
    },
    wire::{command, jws::Typ, outcome::Stage, topics::Topics},
};

/// Every word that a schema admits where it admits only certain ones.
fn words<T: JsonSchema>() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(schema_for!(T).as_value(), &mut found);
    found
}

fn collect(schema: &Value, found: &mut BTreeSet<String>) {
    let Value::Object(members) = schema else {
        return schema.as_array().into_iter().flatten().for_each(|schema| collect(schema, found));
    };
    let one = members.get("const").into_iter();
    let many = members.get("enum").and_then(Value::as_array).into_iter().flatten();
    found.extend(one.chain(many).filter_map(Value::as_str).map(str::to_owned));
    members.values().for_each(|schema| collect(schema, found));
}

fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn stages_and_reasons_are_those_of_the_contract_and_no_others() {
    let stages = "received authorised scheduled actuated observed not_observed done refused expired cancelled failed
        unknown";
    assert_eq!(words::<Stage>(), set(stages));
    let refusals = "malformed wrong_audience wrong_issuer not_yet_valid lifetime_too_long clock_untrusted retained
        unknown_operator operator_pending operator_expired operator_suspended forbidden out_of_scope unknown_target
        conflict overloaded unsupported bus_down";
    assert_eq!(words::<Refusal>(), set(refusals));
    let denials =
        "unknown_credential no_rule explicit_deny outside_schedule not_yet_active expired suspended lost stolen
        wrong_pin pin_required pin_locked_out second_person_required apb_violation area_full interlock dnd locked_down
        forced stale_permissions clock_untrusted emergency_only bad_format";
    assert_eq!(words::<DenialReason>(), set(denials));
}

#[test]
fn commands_and_kinds_are_those_of_the_contract_and_no_others() {
    let kinds = "person credential group access_rule schedule holiday auto_open system_event partition area floor_group
        interlock emergency_card card_format operator role organisation_unit door_policy locker_contract";
    assert_eq!(KNOWN_KINDS.iter().map(|kind| (*kind).to_owned()).collect::<BTreeSet<_>>(), set(kinds));
    let commands =
        "door.open door.close door.open_and_close door.open_with_delay door.close_with_delay door.cancel_delay
        door.dnd door.force_toggle door.force door.virtual_read door.state.get lockdown.set lockdown.clear
        alarm.acknowledge apb.clear floor.open floor.close floor.open_and_close locker.open output.pulse output.set
        reports.query live_events.subscribe live_events.unsubscribe configuration.get configuration.put
        configuration.confirm node.reboot node.identify node.diagnostics";
    let edits = set(kinds).into_iter().flat_map(|kind| ["put", "delete", "list"].map(|edit| format!("{kind}.{edit}")));
    for name in set(commands).into_iter().chain(edits) {
        assert!(command::is_known(&name), "{name}");
    }
    for name in ["door.unlock", "persons.put", "person.get", "person", "door", "", "node.shell"] {
        assert!(!command::is_known(name), "{name}");
    }
}

#[test]
fn the_types_of_events_that_the_contract_names_are_there() {
    let all = words::<EventBody>();
    let named = "access.granted access.denied access.duress door.forced door.propped door.opened door.closed
        door.not_opened door.mode_changed rex.activated fire.activated fire.cleared reader.lost board.lost apb.violated
        operator.refused set.applied set.refused node.started log.gap";
    for name in set(named) {
        assert!(all.contains(&name), "{name}");
    }
    for family in ["tamper.", "security.", "clock.", "power.", "storage."] {
        assert!(all.iter().any(|name| name.starts_with(family)), "{family}");
    }
}

#[test]
fn topics_and_types_of_documents_are_those_of_the_contract() {
    let id = |text: &str| Id::new(text).unwrap();
    let topics = Topics::new(&id("acme"), &id("hq-1"));
    let root = "latchd/v1/acme/hq-1";
    assert_eq!((topics.root(), topics.audience()), (root, "acme/hq-1"));
    let hash = "ab".repeat(32);
    for (topic, path) in [
        (topics.cmd(), "cmd".to_owned()),
        (topics.rsp(), "rsp".to_owned()),
        (topics.evt(), "evt".to_owned()),
        (topics.evt_ack(), "evt/ack".to_owned()),
        (topics.set(), "set".to_owned()),
        (topics.set_chunk(&[0xab; 32]), format!("set/chunk/{hash}")),
        (topics.set_req(), "set/req".to_owned()),
        (topics.live(&id("j-1")), "live/j-1".to_owned()),
        (topics.state("door", &id("front")), "state/door/front".to_owned()),
        (topics.status(), "status".to_owned()),
        (topics.telemetry(), "telemetry".to_owned()),
    ] {
        assert_eq!(topic, format!("{root}/{path}"));
    }
    let mut subscribed: Vec<String> = topics.subscriptions().to_vec();
    subscribed.sort();
    assert_eq!(subscribed, ["cmd", "evt/ack", "set", "set/chunk/+"].map(|path| format!("{root}/{path}")));
    let types = set("latchd-cmd+jwt latchd-set+jwt latchd-beat+jwt latchd-ack+jwt latchd-keys+jwt latchd-up+jwt");
    assert_eq!(Typ::ALL.iter().map(|typ| typ.as_str().to_owned()).collect::<BTreeSet<_>>(), types);
}

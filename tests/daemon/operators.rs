//! Operators over the wire: who they are, when they are nobody yet or no longer, how far each reaches, and those who
//! want to reach further by every record that they may touch.

use latchd::{domain::event::Refusal, wire::outcome::Stage};
use latchd_sim::site::{LOCK_COIL, REX_INPUT};
use serde_json::{Value, json};

use crate::{
    house::{CLEO, House, crew_rule},
    story::{Told, card_of, hashed, in_ms, with},
};

const EVE: u16 = 2011;
const GUS: u16 = 2012;
const SIX_HOURS_MS: i64 = 6 * 3_600_000;

fn active(role: &str, more: Value) -> Value {
    with(json!({ "status": { "state": "active" }, "role": role }), more)
}

#[test]
fn an_invitation_is_good_for_six_hours_and_then_has_to_be_made_anew() {
    let end = in_ms(4_000);
    let invited_at = in_ms(4_000 - SIX_HOURS_MS);
    let olga = |status: Value| json!({ "name": "Olga", "status": status, "role": "admin" });
    let invited = olga(json!({ "state": "invited", "invited_at": invited_at }));
    let house = House::running(&[("operator", "op-olga", invited)]);
    let lab = || json!({ "door": "lab" });
    house.refuses("op-olga", "door.open_and_close", lab(), Refusal::OperatorPending);
    let listed = || house.answered("operator.list", json!({ "id": "op-olga" }))["list"]["records"][0]["body"].clone();
    assert_eq!(listed()["name"], "(Invitation Pending)");
    house.passes(end);
    house.refuses("op-olga", "door.open_and_close", lab(), Refusal::OperatorExpired);
    let accepts = json!({ "id": "op-olga", "body": olga(json!({ "state": "active" })) });
    house.refuses("op-ada", "operator.put", accepts.clone(), Refusal::OperatorExpired);

    house.answered("operator.put", json!({ "id": "op-olga", "body": olga(json!({ "state": "invited" })) }));
    house.refuses("op-olga", "door.open_and_close", lab(), Refusal::OperatorPending);
    house.answered("operator.put", accepts);
    assert_eq!(listed()["name"], "Olga");
    let jti = house.by("op-olga", "door.open_and_close", lab());
    house.stage(&jti, Stage::Actuated);
    // Somebody whom nobody has ever heard of is told no more than that.
    house.refuses("op-nobody", "door.open_and_close", lab(), Refusal::UnknownOperator);
}

#[test]
fn an_operator_reaches_the_doors_of_their_units_partitions_and_list_and_no_others() {
    let house = House::running(&[
        ("organisation_unit", "hq", json!({})),
        ("organisation_unit", "research", json!({ "parent": "hq" })),
        ("organisation_unit", "depot", json!({})),
        ("partition", "wing", json!({ "organisation_unit": "research", "doors": ["lab"] })),
        ("partition", "tower", json!({ "organisation_unit": "depot", "doors": ["store"] })),
        ("operator", "op-unit", active("integrator", json!({ "organisation_units": ["hq"] }))),
        ("operator", "op-part", active("integrator", json!({ "partitions": ["tower"] }))),
        ("operator", "op-door", active("manager", json!({ "doors": ["front"], "partitions": ["wing"] }))),
        ("operator", "op-none", active("manager", json!({}))),
    ]);
    let doors = ["lab", "store", "front", "glass"];
    for (operator, reached) in
        [("op-unit", &["lab"][..]), ("op-part", &["store"]), ("op-door", &["lab", "front"]), ("op-none", &[])]
    {
        for door in doors {
            let args = json!({ "door": door });
            if reached.contains(&door) {
                let jti = house.by(operator, "door.open_and_close", args);
                house.stage(&jti, Stage::Actuated);
            } else {
                house.refuses(operator, "door.open_and_close", args, Refusal::OutOfScope);
            }
        }
        house.refuses(operator, "lockdown.set", json!({ "node": true }), Refusal::OutOfScope);
    }
    house.refuses("op-part", "lockdown.set", json!({ "partition": "wing" }), Refusal::OutOfScope);
    house.refuses("op-unit", "lockdown.set", json!({ "doors": ["lab", "store"] }), Refusal::OutOfScope);
    let jti = house.by("op-unit", "lockdown.set", json!({ "partition": "wing" }));
    house.stage(&jti, Stage::Actuated);
    house.state_says("door/lab", json!({ "mode": "LockedDown" }));
    // A unit that moves under another takes its operators' reach along.
    house.set(&[("organisation_unit", "depot", json!({ "parent": "hq" }))]);
    let jti = house.by("op-unit", "door.open_and_close", json!({ "door": "store" }));
    house.stage(&jti, Stage::Actuated);
}

#[test]
fn each_role_may_what_its_catalogue_says_and_the_refusal_names_what_is_missing() {
    let roles = [
        "integrator",
        "admin",
        "manager",
        "reporter",
        "automat.admin",
        "automat.user_edit",
        "automat.user_view",
        "automat.customer_service_edit",
        "automat.customer_service_view",
    ];
    let everywhere = json!({ "doors": ["lab", "store", "front", "glass", "barrier"] });
    let operators: Vec<Told<'_>> = roles.map(|role| ("operator", role, active(role, everywhere.clone()))).to_vec();
    let house = House::running(&operators);
    // In the order of the roles.
    let table: [(&str, Value, &str, [bool; 9]); 7] = [
        (
            "door.state.get",
            json!({ "door": "lab" }),
            "door_states",
            [true, true, true, false, true, true, true, true, true],
        ),
        (
            "door.open_and_close",
            json!({ "door": "lab" }),
            "door_control",
            [true, true, true, false, true, false, false, false, false],
        ),
        ("reports.query", json!({ "limit": 1 }), "reports", [true, true, true, true, true, true, false, true, true]),
        ("person.list", json!({ "limit": 1 }), "people", [true, true, true, false, true, true, false, true, false]),
        ("system_event.list", json!({}), "system_events", [true, true, false, false, true, false, false, false, false]),
        (
            "emergency_card.list",
            json!({}),
            "emergency_cards",
            [true, false, false, false, true, false, false, false, false],
        ),
        (
            "operator.list",
            json!({ "limit": 1 }),
            "operators",
            [true, true, true, false, true, false, false, false, false],
        ),
    ];
    for (cmd, args, capability, may) in table {
        for (role, may) in roles.into_iter().zip(may) {
            if may {
                let jti = house.by(role, cmd, args.clone());
                let outcome = house.cloud(&format!("{cmd} by {role}"), |cloud| {
                    let mut outcomes = cloud.outcomes_of(&jti);
                    outcomes.find(|o| o.stage.always_ends() || o.stage == Stage::Actuated).cloned()
                });
                assert!(matches!(outcome.stage, Stage::Done | Stage::Actuated), "{cmd} by {role}: {outcome:?}");
            } else {
                let refused = house.refuses(role, cmd, args.clone(), Refusal::Forbidden);
                let message = refused.detail.unwrap()["message"].as_str().unwrap().to_owned();
                assert!(message.contains(capability), "{cmd} by {role}: {message}");
            }
        }
    }
}

/// One who has the laboratory and a partition, among people and records that reach further.
fn with_mia(more: &[Told<'_>]) -> House {
    let wing = json!({ "partitions": ["wing"] });
    let records = [
        ("organisation_unit", "hq", json!({})),
        ("partition", "wing", json!({ "organisation_unit": "hq", "doors": ["lab"] })),
        ("partition", "tower", json!({ "doors": ["store"] })),
        ("operator", "op-mia", active("manager", wing.clone())),
        ("operator", "op-boss", active("admin", json!({}))),
        ("operator", "op-low", active("manager", json!({ "doors": ["lab"] }))),
        ("group", "visitors", wing.clone()),
        // In her partition, and yet with a rule that is not hers.
        ("group", "guards", wing.clone()),
        ("access_rule", "guards-store", json!({ "effect": "allow", "groups": ["guards"], "doors": ["store"] })),
        ("person", "eve", with(json!({ "groups": ["visitors"] }), wing)),
        ("credential", "eve-card", card_of("eve", EVE)),
        ("access_rule", "no-eve", json!({ "effect": "deny", "persons": ["eve"], "doors": ["store"] })),
        ("holiday", "feast", json!({ "yearly": ["12-25"] })),
        ("schedule", "nights", json!({ "holidays": [{ "holiday": "feast" }] })),
        ("access_rule", "crew-nights", crew_rule(json!({ "doors": ["store"], "schedule": "nights" }))),
        ("auto_open", "store-open", json!({ "doors": ["store"], "schedule": "nights" })),
        ("area", "vault", json!({ "entry_readers": ["store-in"] })),
        // Whoever of them is let in anywhere has the store opened.
        ("group", "porters", json!({})),
        ("group", "helpers", json!({})),
        ("person", "pia", json!({ "groups": ["porters", "helpers"] })),
        (
            "system_event",
            "delivery",
            json!({ "when": { "trigger": "granted", "groups": ["porters"] }, "do": [{ "action": "door_open", "doors": ["store"] }] }),
        ),
    ];
    House::running(&[&records, more].concat())
}

fn rule(doors: Value) -> Value {
    json!({ "effect": "allow", "groups": ["visitors"], "doors": doors })
}

#[test]
fn a_manager_who_edits_a_group_a_rule_a_credential_or_an_operator_to_reach_further_is_refused_each_time() {
    use Refusal::{Forbidden, OutOfScope};
    let house = with_mia(&[]);
    let eve = |groups: Value| json!({ "groups": groups, "partitions": ["wing"] });
    let wing = json!({ "partitions": ["wing"] });
    let attacks: Vec<(&str, &str, Value, Refusal)> = vec![
        // Groups: of her partition by name, of others by what they reach.
        ("group.put", "guards", with(wing.clone(), json!({ "critical": true })), OutOfScope),
        ("group.delete", "guards", Value::Null, OutOfScope),
        ("group.put", "crew", wing.clone(), OutOfScope),
        ("group.put", "visitors", json!({ "partitions": ["wing", "tower"] }), OutOfScope),
        ("group.put", "mob", json!({ "partitions": ["tower"] }), OutOfScope),
        // People: into a group, out of a partition, somebody else's.
        ("person.put", "eve", eve(json!(["visitors", "crew"])), OutOfScope),
        ("person.put", "eve", eve(json!(["guards"])), OutOfScope),
        ("person.put", "eve", json!({ "groups": ["visitors"], "partitions": ["tower"] }), OutOfScope),
        ("person.put", "gus", eve(json!(["crew"])), OutOfScope),
        ("person.put", "cleo", json!({ "groups": ["crew"], "pin": hashed("pin:cleo:1") }), OutOfScope),
        ("person.delete", "cleo", Value::Null, OutOfScope),
        // Rules: elsewhere, here and elsewhere, by what they were, a deny that is in the way.
        ("access_rule.put", "visitors-store", rule(json!(["store"])), OutOfScope),
        ("access_rule.put", "visitors-both", rule(json!(["lab", "store"])), OutOfScope),
        ("access_rule.put", "crew-lab", crew_rule(json!({ "doors": ["lab"] })), OutOfScope),
        (
            "access_rule.put",
            "porters-lab",
            json!({ "effect": "allow", "groups": ["porters"], "doors": ["lab"] }),
            OutOfScope,
        ),
        (
            "access_rule.put",
            "helpers-lab",
            json!({ "effect": "allow", "groups": ["helpers"], "doors": ["lab"] }),
            OutOfScope,
        ),
        ("access_rule.put", "guards-store", rule(json!(["lab"])), OutOfScope),
        ("access_rule.delete", "no-eve", Value::Null, OutOfScope),
        (
            "access_rule.put",
            "ride",
            json!({ "effect": "allow", "groups": ["visitors"], "floors": [{ "floor_group": "lift" }] }),
            OutOfScope,
        ),
        // The hours of a rule, and what closes them.
        ("schedule.put", "nights", json!({}), OutOfScope),
        ("holiday.put", "feast", json!({}), OutOfScope),
        ("holiday.delete", "feast", Value::Null, OutOfScope),
        // Credentials: one more, one handed over, one taken away, one lent.
        ("credential.put", "second", card_of("cleo", 4002), OutOfScope),
        ("credential.put", "eve-card", card_of("cleo", EVE), OutOfScope),
        ("credential.put", "cleo-card", card_of("eve", CLEO), OutOfScope),
        ("credential.delete", "cleo-card", Value::Null, OutOfScope),
        // Operators: herself, a deputy, a superior, and one who has no bounds because none are named.
        ("operator.put", "op-mia", active("manager", json!({ "partitions": ["wing", "tower"] })), OutOfScope),
        (
            "operator.put",
            "op-mia",
            active("manager", json!({ "partitions": ["wing"], "doors": ["store"] })),
            OutOfScope,
        ),
        ("operator.put", "op-mia", active("manager", json!({ "organisation_units": ["hq"] })), OutOfScope),
        ("operator.put", "op-mia", active("admin", json!({ "partitions": ["wing"] })), Forbidden),
        ("operator.put", "op-low", active("manager", json!({ "doors": ["lab", "store"] })), OutOfScope),
        (
            "operator.put",
            "op-new",
            json!({ "status": { "state": "invited" }, "role": "integrator", "doors": ["lab"] }),
            Forbidden,
        ),
        ("operator.put", "op-new", json!({ "status": { "state": "invited" }, "role": "reporter" }), OutOfScope),
        ("operator.put", "op-boss", json!({ "status": { "state": "suspended" }, "role": "admin" }), OutOfScope),
        ("operator.delete", "op-boss", Value::Null, OutOfScope),
        ("role.put", "king", json!({ "capabilities": ["people", "configuration"] }), Forbidden),
        // Everything else that moves a door.
        ("auto_open.put", "store-open", json!({ "doors": ["lab"], "schedule": "nights" }), OutOfScope),
        ("auto_open.put", "house", json!({ "doors": ["store"], "schedule": "nights" }), OutOfScope),
        ("area.delete", "vault", Value::Null, OutOfScope),
        ("locker_contract.put", "mine", json!({ "locker": "store", "person": "eve" }), OutOfScope),
        ("partition.put", "wing", json!({ "organisation_unit": "hq", "doors": ["lab", "store"] }), Forbidden),
        ("organisation_unit.put", "hq", json!({ "name": "mine" }), Forbidden),
        (
            "system_event.put",
            "bell",
            json!({ "when": { "trigger": "rex" }, "do": [{ "action": "door_open", "doors": ["store"] }] }),
            Forbidden,
        ),
        ("emergency_card.put", "red", json!({ "token": hashed("h10301:10:911") }), Forbidden),
        ("door_policy.put", "lax", json!({ "doors": ["lab"] }), Forbidden),
        ("interlock.put", "trap", json!({ "doors": ["lab", "store"] }), Forbidden),
        ("floor_group.put", "lift", json!({}), Forbidden),
    ];
    for (cmd, id, body, refusal) in attacks {
        let args = if body.is_null() { json!({ "id": id }) } else { json!({ "id": id, "body": body }) };
        let before = house.events_so_far();
        let outcome = house.refuses("op-mia", cmd, args, refusal);
        let told = json!({ "operator": "op-mia", "jti": outcome.jti, "command": cmd, "reason": refusal });
        house.told_after(before, "operator.refused", told);
    }
    // All that is left of it is the log.
    house.online("no edit", |online| online.edits == 0);
    house.denied_for("explicit_deny", json!({ "person": "eve", "door": "store" }), || house.at_store(EVE));
    house.denied_for("no_rule", json!({ "person": "eve", "door": "lab" }), || house.at_lab(EVE));

    // And what is hers she does.
    let edits = |cmd: &str, id: &str, body: Value| {
        let jti = house.by("op-mia", cmd, json!({ "id": id, "body": body }));
        house.stage(&jti, Stage::Done);
    };
    edits("person.put", "gus", eve(json!(["visitors"])));
    edits("credential.put", "gus-card", card_of("gus", GUS));
    edits("access_rule.put", "visitors-lab", rule(json!(["lab"])));
    house.granted(json!({ "person": "gus", "rule": "visitors-lab" }), || house.at_lab(GUS));
    house.walks_through("lab");
    house.granted(json!({ "person": "eve" }), || house.at_lab(EVE));
    // From now on a visitor is hers only as long as the rule is.
    house.set(&[("access_rule", "visitors-store", rule(json!(["store"])))]);
    let back = json!({ "id": "gus-card", "body": card_of("gus", 2013) });
    house.refuses("op-mia", "credential.put", back, OutOfScope);
}

#[test]
fn a_system_event_gives_its_author_nothing_that_they_could_not_order_when_written_or_when_it_fires() {
    use Refusal::{Forbidden, OutOfScope};
    let caretaker = json!({ "capabilities": ["system_events", "door_control", "lockdown", "people"] });
    let sid = |doors: Value| active("caretaker", json!({ "doors": doors }));
    let at_lab = json!({ "trigger": "rex", "doors": ["lab"] });
    let opens = |door: &str| json!([{ "action": "door_open_and_close", "doors": [door], "dwell_ms": 500 }]);
    let of_the_cloud = json!({ "when": at_lab.clone(), "do": opens("store") });
    let house = with_mia(&[
        ("role", "caretaker", caretaker),
        ("operator", "op-sid", sid(json!(["lab", "front"]))),
        ("system_event", "sluice", of_the_cloud.clone()),
    ]);
    house.set(&[("system_event", "sluice", Value::Null)]);
    house.set(&[("system_event", "airlock", of_the_cloud)]);
    let event = |when: &Value, actions: Value| json!({ "when": when, "do": actions, "author": "op-sid" });
    let attacks: Vec<(&str, &str, Value, Refusal)> = vec![
        ("system_event.put", "a", event(&at_lab, opens("store")), OutOfScope),
        ("system_event.put", "b", event(&json!({ "trigger": "rex" }), opens("lab")), OutOfScope),
        ("system_event.put", "c", event(&json!({ "trigger": "rex", "doors": ["store"] }), opens("lab")), OutOfScope),
        ("system_event.put", "d", event(&at_lab, json!([{ "action": "lockdown_clear", "node": true }])), OutOfScope),
        (
            "system_event.put",
            "e",
            event(&at_lab, json!([{ "action": "lockdown_set", "partition": "tower" }])),
            OutOfScope,
        ),
        // A system event that reads a card for somebody who may go further.
        (
            "system_event.put",
            "f",
            event(&at_lab, json!([{ "action": "door_virtual_read", "door": "lab", "person": "cleo" }])),
            OutOfScope,
        ),
        (
            "system_event.put",
            "g",
            event(&at_lab, json!([{ "action": "output_pulse", "output": "siren", "pulse_ms": 500 }])),
            Forbidden,
        ),
        ("system_event.put", "h", event(&at_lab, json!([{ "action": "apb_clear" }])), Forbidden),
        // In somebody else's name, or in nobody's.
        ("system_event.put", "i", with(event(&at_lab, opens("lab")), json!({ "author": "op-boss" })), Forbidden),
        // What is already there and reaches further, made harmless or deleted.
        ("system_event.put", "airlock", event(&at_lab, opens("lab")), OutOfScope),
        ("system_event.delete", "airlock", Value::Null, OutOfScope),
    ];
    for (cmd, id, body, refusal) in attacks {
        let args = if body.is_null() { json!({ "id": id }) } else { json!({ "id": id, "body": body }) };
        let outcome = house.refuses("op-sid", cmd, args, refusal);
        house.event_of("operator.refused", "jti", outcome.jti.as_str());
    }
    house.set(&[("system_event", "airlock", Value::Null)]);

    // Within his own doors it is made, and acts in his name.
    let jti = house.by("op-sid", "system_event.put", json!({ "id": "bell", "body": event(&at_lab, opens("front")) }));
    house.stage(&jti, Stage::Done);
    let front = &house.site.field.front;
    let by_sid = json!({ "door": "front", "to": "Accessed", "actor": { "system_event": "bell", "author": "op-sid" } });
    house.told("door.mode_changed", by_sid, || house.lab.set_input(REX_INPUT, true));
    house.lab.set_input(REX_INPUT, false);
    house.relay(front, LOCK_COIL, false);
    house.polled(&house.lab);
    // When his doors are fewer it is refused as it fires, not as it was written.
    house.set(&[("operator", "op-sid", sid(json!(["lab"])))]);
    let refused = json!({ "system_event": "bell", "reason": "out_of_scope", "target": "front", "author": "op-sid" });
    house.told("system_event.refused", refused, || house.lab.set_input(REX_INPUT, true));
    assert!(!front.coil(LOCK_COIL));
}

#[test]
fn everything_that_a_set_holds_is_made_changed_listed_and_deleted_by_command() {
    let house = House::running(&[]);
    let hours = json!({ "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] });
    let always = json!({ "weekly": [with(hours, json!({ "from": "00:00", "to": "24:00" }))] });
    let rings = json!({ "when": { "trigger": "rex", "doors": ["lab"] }, "do": [{ "action": "notify" }] });
    let invited = json!({ "status": { "state": "invited" }, "role": "caretaker", "partitions": ["wing"] });
    let made: Vec<Told<'_>> = vec![
        ("organisation_unit", "hq", json!({})),
        ("partition", "wing", json!({ "organisation_unit": "hq", "doors": ["lab"] })),
        ("role", "caretaker", json!({ "capabilities": ["door_control"] })),
        ("operator", "op-carl", invited),
        ("holiday", "feast", json!({ "yearly": ["02-29"] })),
        ("schedule", "always", with(always, json!({ "holidays": [{ "holiday": "feast" }] }))),
        ("group", "guests", json!({ "partitions": ["wing"] })),
        ("person", "gus", json!({ "groups": ["guests"] })),
        ("credential", "gus-card", card_of("gus", GUS)),
        (
            "access_rule",
            "guests",
            json!({ "effect": "allow", "groups": ["guests"], "doors": ["lab"], "schedule": "always" }),
        ),
        ("area", "lab", json!({ "entry_readers": ["lab-in"], "occupancy_max": 1 })),
        ("interlock", "trap", json!({ "doors": ["lab", "store"] })),
        ("door_policy", "lab", json!({ "doors": ["lab"], "pin_tries": 2 })),
        ("card_format", "works", json!({ "bits": 30, "number": { "first": 1, "bits": 28 } })),
        ("emergency_card", "red", json!({ "token": hashed("h10301:10:911") })),
        ("floor_group", "lift", json!({ "enable_s": 5 })),
        ("locker_contract", "van", json!({ "locker": "key-01", "person": "gus" })),
        ("system_event", "bell", with(rings, json!({ "author": "op-ada" }))),
        ("auto_open", "day", json!({ "doors": ["front"], "schedule": "always" })),
    ];
    let kinds: Vec<&str> = made.iter().map(|(kind, ..)| *kind).collect();
    for kind in latchd::domain::record::KNOWN_KINDS {
        assert!(kinds.contains(&kind), "{kind} is made nowhere in this test");
    }
    for (kind, id, body) in &made {
        house.answered(&format!("{kind}.put"), json!({ "id": id, "body": body }));
        let listed = house.answered(&format!("{kind}.list"), json!({ "id": id }))["list"]["records"].clone();
        let told = &listed[0]["body"];
        let wanted = if *kind == "operator" { &json!({ "role": "caretaker" }) } else { body };
        assert!(crate::story::says(told, wanted), "{kind}: {told}");
    }
    // It is in force, each in its place.
    house.relay(&house.site.field.front, LOCK_COIL, true);
    house.state_says("area/lab", json!({ "count": 0, "limit": 1 }));
    house.granted(json!({ "person": "gus", "rule": "guests" }), || house.at_lab(GUS));
    house.lab_becomes(true);
    house.opens_door("lab");
    house.state_says("door/store", json!({ "mode": "Blocked" }));
    house.closes_door("lab");
    house.denied_for("area_full", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.told("notification.sent", json!({ "system_event": "bell" }), || house.lab.set_input(REX_INPUT, true));
    house.lab.set_input(REX_INPUT, false);

    // Nothing goes while something needs it, and all of it in the other order.
    for (cmd, id) in [("group.delete", "guests"), ("schedule.delete", "always"), ("role.delete", "caretaker")] {
        house.refuses("op-ada", cmd, json!({ "id": id }), Refusal::Conflict);
    }
    for (kind, id, _) in made.iter().rev() {
        house.answered(&format!("{kind}.delete"), json!({ "id": id }));
        let listed = house.answered(&format!("{kind}.list"), json!({ "id": id }))["list"]["records"].clone();
        assert_eq!(listed, json!([]), "{kind}");
        house.refuses("op-ada", &format!("{kind}.delete"), json!({ "id": id }), Refusal::UnknownTarget);
    }
    house.relay(&house.site.field.front, LOCK_COIL, false);
    house.denied_for("unknown_credential", json!({ "door": "lab" }), || house.at_lab(GUS));
}

#[test]
fn what_a_role_may_allow_and_no_command_does_yet_is_judged_first_and_then_answered_unsupported() {
    let keeper = json!({ "status": { "state": "active" }, "role": "automat.admin" });
    let house = House::running(&[("operator", "op-kay", keeper)]);
    for name in [
        "alarms.device",
        "alarms.main",
        "camera.front_photo",
        "camera.locker_photo",
        "camera.timeline",
        "device.install",
        "device.logs",
        "device.preferences",
        "device.privacy",
        "device.settings",
        "device.tools",
        "key.manage",
        "usage_report.device",
        "usage_report.main",
    ] {
        house.refuses("op-kay", name, json!({}), Refusal::Unsupported);
        house.refuses("op-rita", name, json!({}), Refusal::Forbidden);
    }
}

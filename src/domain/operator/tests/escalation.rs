//! Whoever wants more than they have, by every kind of record; and beside each, what they may do.

use serde_json::{Value, json};

use super::scene::{NOON, Scene, now, refused, token};
use crate::domain::{
    event::Refusal::{self, ClockUntrusted, Conflict, Forbidden, OperatorExpired, OutOfScope},
    time::{ClockTrust, Now, Wall},
};

#[track_caller]
fn refuse(editor: &str, kind: &str, name: &str, body: Value, refusal: Refusal, part: &str) {
    refused(Scene::new().edit(editor, kind, name, &body), refusal, part);
}

#[track_caller]
fn allow(editor: &str, kind: &str, name: &str, body: Value) {
    assert_eq!(Scene::new().edit(editor, kind, name, &body), Ok(()), "{editor}: {kind}.{name} {body}");
}

/// Her doors, her partition, her unit; not the vault.
#[track_caller]
fn beyond_mia(kind: &str, name: &str, body: Value, part: &str) {
    refuse("mia", kind, name, body, OutOfScope, part);
}

#[track_caller]
fn beyond_dan(kind: &str, name: &str, body: Value, part: &str) {
    refuse("dan", kind, name, body, OutOfScope, part);
}

#[test]
fn a_manager_reaches_no_further_by_a_group() {
    beyond_mia("group", "both", json!({"name": "mine now"}), "door vault");
    beyond_mia("group", "bankers", json!({"critical": true}), "door vault");
    beyond_mia("group", "bankers", Value::Null, "door vault");
    beyond_mia("group", "east-only", json!({}), "partition east");
    beyond_mia("group", "staff", json!({"partitions": ["east"]}), "partition east");
    beyond_mia("group", "west-only", json!({"partitions": ["west", "east"]}), "partition east");
    beyond_mia("group", "new", json!({"partitions": ["east"]}), "partition east");
    // Its members set off a system event at the vault.
    beyond_mia("group", "idle", json!({"name": "mine now"}), "door vault");
    allow("mia", "group", "staff", json!({"name": "Staff", "critical": true}));
    allow("mia", "group", "staff", Value::Null);
    allow("mia", "group", "west-only", json!({"name": "West", "partitions": ["west"]}));
    allow("mia", "group", "new", json!({"partitions": ["west"]}));
    allow("dora", "group", "new", json!({}));
}

#[test]
fn a_manager_reaches_no_further_by_a_rule() {
    let rule = |doors: &[&str]| json!({"effect": "allow", "groups": ["staff"], "doors": doors});
    beyond_mia("access_rule", "new", rule(&["vault"]), "door vault");
    beyond_mia("access_rule", "new", rule(&["front", "vault"]), "door vault");
    beyond_mia("access_rule", "staff-front", rule(&["front", "vault"]), "door vault");
    beyond_mia("access_rule", "bankers-vault", rule(&["front"]), "door vault");
    beyond_mia("access_rule", "bankers-vault", Value::Null, "door vault");
    let deny = json!({"effect": "deny", "groups": ["bankers"], "doors": ["vault"]});
    beyond_mia("access_rule", "new", deny, "door vault");
    beyond_mia("access_rule", "not-vault", Value::Null, "door vault");
    let freight =
        json!({"effect": "allow", "persons": ["pat"], "doors": ["front"], "floors": [{"floor_group": "freight"}]});
    beyond_mia("access_rule", "new", freight.clone(), "floor group freight");
    beyond_mia("access_rule", "lift-rule", freight, "floor group freight");
    // A door that this node does not have yet.
    beyond_mia("access_rule", "new", rule(&["attic"]), "door attic");
    allow("mia", "access_rule", "new", rule(&["front", "box-1"]));
    allow("mia", "access_rule", "staff-front", json!({"effect": "deny", "groups": ["staff"], "doors": ["front"]}));
    allow("mia", "access_rule", "staff-front", Value::Null);
    // Others may come in at her own door.
    allow("mia", "access_rule", "new", json!({"effect": "allow", "groups": ["bankers"], "doors": ["front"]}));
    allow(
        "mia",
        "access_rule",
        "lift-rule",
        json!({"effect": "allow", "persons": ["nia"], "floors": [{"floor_group": "lift"}]}),
    );
}

#[test]
fn a_manager_lets_nobody_in_at_their_own_door_who_sets_something_off_at_another() {
    let mut scene = Scene::new();
    scene.put("person", "ned", json!({"groups": ["idle"]}));
    let vip = |body: Value| {
        let mut rule = json!({"effect": "allow", "doors": ["front"]});
        rule.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        rule
    };
    let opens = json!([{"action": "door_open", "doors": ["vault"]}]);
    for when in [
        json!({"trigger": "granted", "groups": ["idle"]}),
        json!({"trigger": "granted", "doors": ["front"], "persons": ["ned"]}),
        json!({"trigger": "multi_swipe", "swipes": 2, "groups": ["idle"]}),
    ] {
        scene.put("system_event", "run", json!({"when": when, "do": opens, "author": "root"}));
        for rule in [vip(json!({"groups": ["idle"]})), vip(json!({"persons": ["ned"]}))] {
            refused(scene.edit("mia", "access_rule", "new", &rule), OutOfScope, "door vault");
            assert_eq!(scene.edit("boss", "access_rule", "new", &rule), Ok(()), "{when}");
            // Nor is the rule taken from them that lets them set it off.
            let mut there = Scene::new();
            there.put("person", "ned", json!({"groups": ["idle"]}));
            there.put("system_event", "run", json!({"when": when, "do": opens, "author": "root"}));
            there.put("access_rule", "new", rule);
            refused(there.edit("mia", "access_rule", "new", &Value::Null), OutOfScope, "door vault");
        }
        assert_eq!(scene.edit("mia", "access_rule", "new", &vip(json!({"groups": ["staff"]}))), Ok(()), "{when}");
    }
    // By another group that somebody of them is in as well.
    let when = json!({"trigger": "granted", "groups": ["idle"]});
    scene.put("system_event", "run", json!({"when": when, "do": opens, "author": "root"}));
    scene.put("person", "ola", json!({"groups": ["idle", "west-only"]}));
    let rule = vip(json!({"groups": ["west-only"]}));
    refused(scene.edit("mia", "access_rule", "new", &rule), OutOfScope, "door vault");
    scene.put("person", "ola", json!({"groups": ["west-only"]}));
    assert_eq!(scene.edit("mia", "access_rule", "new", &rule), Ok(()));
    // What happens at other doors only is set off by nobody who is let in at this one.
    let when = json!({"trigger": "granted", "doors": ["glass"], "groups": ["idle"]});
    scene.put("system_event", "run", json!({"when": when, "do": opens, "author": "root"}));
    assert_eq!(scene.edit("mia", "access_rule", "new", &vip(json!({"groups": ["idle"]}))), Ok(()));
}

#[test]
fn a_manager_reaches_no_further_by_a_credential() {
    let card = |person: &str| json!({"person": person, "token": token(9)});
    beyond_mia("credential", "new", card("sam"), "door vault");
    beyond_mia("credential", "new", card("bea"), "door vault");
    beyond_mia("credential", "pat-card", card("sam"), "door vault");
    beyond_mia("credential", "sam-card", card("pat"), "door vault");
    beyond_mia("credential", "sam-card", json!({"person": "sam", "token": token(4), "state": "lost"}), "door vault");
    beyond_mia("credential", "sam-card", Value::Null, "door vault");
    beyond_mia("credential", "new", card("eli"), "partition east");
    allow("mia", "credential", "new", card("pat"));
    allow("mia", "credential", "new", card("wes"));
    allow("mia", "credential", "pat-card", json!({"person": "pat", "token": token(3), "state": "stolen"}));
    allow("mia", "credential", "pat-card", card("nia"));
    allow("mia", "credential", "pat-card", Value::Null);
}

#[test]
fn a_manager_reaches_no_further_by_a_person() {
    beyond_mia("person", "pat", json!({"groups": ["staff", "bankers"]}), "door vault");
    beyond_mia("person", "pat", json!({"groups": ["staff", "both"]}), "door vault");
    beyond_mia("person", "pat", json!({"groups": ["staff", "idle"]}), "door vault");
    beyond_mia("person", "new", json!({"groups": ["bankers"]}), "door vault");
    beyond_mia("person", "sam", json!({"groups": []}), "door vault");
    beyond_mia("person", "sam", json!({"groups": ["bankers"], "duress_pin": token(8)}), "door vault");
    beyond_mia("person", "sam", Value::Null, "door vault");
    beyond_mia("person", "bea", json!({"groups": ["staff"]}), "door vault");
    beyond_mia("person", "eli", json!({"name": "mine now", "partitions": ["east"]}), "partition east");
    beyond_mia("person", "eli", json!({"partitions": ["west"]}), "partition east");
    beyond_mia("person", "eli", Value::Null, "partition east");
    beyond_mia("person", "wes", json!({"partitions": ["west", "east"]}), "partition east");
    beyond_mia("person", "new", json!({"partitions": ["east"]}), "partition east");
    refuse("dora", "person", "wes", json!({}), OutOfScope, "partition west");
    allow("mia", "person", "pat", json!({"groups": ["staff"], "name": "Pat", "extended_access": true}));
    allow("mia", "person", "nia", json!({"groups": ["staff"], "pin": token(7)}));
    allow("mia", "person", "wes", json!({"partitions": ["west"], "groups": ["staff"]}));
    allow("mia", "person", "new", json!({"partitions": ["west"]}));
    allow("mia", "person", "pat", Value::Null);
    allow("dora", "person", "new", json!({"groups": []}));
}

#[test]
fn a_manager_reaches_no_further_by_time() {
    let always = json!({"weekly": [{"days": ["monday"], "from": "00:00", "to": "24:00"}]});
    beyond_mia("schedule", "bank-hours", always.clone(), "door vault");
    beyond_mia("schedule", "bank-hours", Value::Null, "door vault");
    // A holiday on which the vault is closed, by its schedule, and one by its auto open.
    beyond_mia("holiday", "bank-holiday", json!({"dates": []}), "door vault");
    beyond_mia("holiday", "new-year", json!({"dates": ["2026-01-01"]}), "door vault");
    beyond_mia("holiday", "new-year", Value::Null, "door vault");
    // It also says when the lift is public: not Dora's.
    refuse("dora", "schedule", "office", always.clone(), OutOfScope, "floor group lift");
    allow("mia", "schedule", "office", always.clone());
    allow("mia", "schedule", "unused", Value::Null);
    allow("mia", "schedule", "new", always);
    allow("mia", "holiday", "new", json!({"dates": ["2026-05-01"]}));
}

#[test]
fn a_manager_reaches_no_further_by_an_auto_open() {
    let auto_open = |doors: &[&str]| json!({"doors": doors, "schedule": "office"});
    beyond_mia("auto_open", "new", auto_open(&["vault"]), "door vault");
    beyond_mia("auto_open", "front-days", auto_open(&["front", "vault"]), "door vault");
    beyond_mia("auto_open", "vault-days", auto_open(&["front"]), "door vault");
    beyond_mia("auto_open", "vault-days", Value::Null, "door vault");
    beyond_mia("auto_open", "new", json!({"doors": ["vault"], "schedule": "office", "effect": "deny"}), "door vault");
    allow("mia", "auto_open", "front-days", auto_open(&["front"]));
    allow("mia", "auto_open", "front-days", Value::Null);
}

#[test]
fn nobody_reaches_further_by_a_system_event() {
    let event = |when: Value, action: Value| json!({"when": when, "do": [action], "author": "dan"});
    let rex = || json!({"trigger": "rex", "doors": ["front"]});
    let open = |doors: &[&str]| json!({"action": "door_open", "doors": doors});
    refuse("mia", "system_event", "new", event(rex(), open(&["front"])), Forbidden, "system_events");
    for action in [
        open(&["vault"]),
        open(&["front", "vault"]),
        json!({"action": "door_force", "doors": ["vault"], "state": "open"}),
        json!({"action": "door_open_with_delay", "doors": ["vault"], "delay_ms": 1000}),
        json!({"action": "door_dnd", "doors": ["vault"], "on": true}),
        json!({"action": "door_dnd_toggle", "doors": ["vault"]}),
        json!({"action": "door_force_toggle", "doors": ["vault"]}),
        json!({"action": "alarm_acknowledge", "doors": ["vault"]}),
        json!({"action": "door_virtual_read", "door": "vault", "person": "pat"}),
        json!({"action": "door_virtual_read", "door": "front", "person": "sam"}),
        json!({"action": "apb_clear", "person": "sam"}),
        json!({"action": "apb_clear", "area": "safe"}),
        json!({"action": "lockdown_clear", "doors": ["vault"], "partition": "west"}),
    ] {
        beyond_dan("system_event", "new", event(rex(), action.clone()), "door vault");
        beyond_dan("system_event", "bell", event(rex(), action), "door vault");
    }
    beyond_dan("system_event", "new", event(rex(), json!({"action": "lockdown_clear", "partition": "east"})), "door");
    for action in [
        json!({"action": "lockdown_set", "node": true}),
        json!({"action": "lockdown_clear", "node": true}),
        json!({"action": "lockdown_set", "partition": "nowhere"}),
        json!({"action": "output_set", "output": "siren", "on": true}),
        json!({"action": "apb_clear"}),
        json!({"action": "door_virtual_read", "door": "front", "person": "yet-to-come"}),
    ] {
        beyond_dan("system_event", "new", event(rex(), action), "the whole node");
    }
    for trigger in
        ["rex", "forced", "granted", "denied", "contact_opened", "first_in", "fire_activated", "cloud_lost", "tamper"]
    {
        beyond_dan("system_event", "new", event(json!({"trigger": trigger}), open(&["front"])), "the whole node");
    }
    beyond_dan(
        "system_event",
        "new",
        event(json!({"trigger": "rex", "doors": ["vault"]}), open(&["front"])),
        "door vault",
    );
    beyond_dan(
        "system_event",
        "new",
        event(json!({"trigger": "reader_lost", "readers": ["vault-in"]}), open(&["front"])),
        "door vault",
    );
    beyond_dan("system_event", "vault-bell", Value::Null, "door vault");
    beyond_dan("system_event", "vault-bell", event(rex(), open(&["front"])), "door vault");
    // In nobody else's name.
    for author in [json!("root"), Value::Null] {
        let mut forged = event(rex(), open(&["front"]));
        forged["author"] = author.clone();
        if author.is_null() {
            forged.as_object_mut().unwrap().remove("author");
        }
        refuse("dan", "system_event", "new", forged, Forbidden, "author");
    }
    allow("dan", "system_event", "new", event(rex(), open(&["front"])));
    allow("dan", "system_event", "new", event(rex(), json!({"action": "lockdown_set", "partition": "west"})));
    allow(
        "dan",
        "system_event",
        "new",
        event(json!({"trigger": "granted", "doors": ["front"], "groups": ["bankers"]}), open(&["front"])),
    );
    allow("dan", "system_event", "bell", event(rex(), json!({"action": "notify", "text": "rex"})));
    allow("dan", "system_event", "bell", Value::Null);
    allow(
        "dan",
        "system_event",
        "new",
        event(rex(), json!({"action": "door_virtual_read", "door": "front", "person": "pat"})),
    );
    // Two who set each other off are looked at once.
    let mut scene = Scene::new();
    for (name, granted, read) in [("one", "pat", "nia"), ("two", "nia", "pat")] {
        let when = json!({"trigger": "granted", "doors": ["front"], "persons": [granted]});
        scene.put(
            "system_event",
            name,
            event(when, json!({"action": "door_virtual_read", "door": "front", "person": read})),
        );
    }
    assert_eq!(scene.edit("mia", "person", "pat", &json!({"groups": ["staff"]})), Ok(()));
}

#[test]
fn a_system_event_does_nothing_that_its_author_may_not_command() {
    let mut scene = Scene::new();
    scene.put("role", "ringer", json!({"capabilities": ["system_events", "door_control"]}));
    scene.put("operator", "rob", json!({"status": {"state": "active"}, "role": "ringer"}));
    let event = |action: Value| json!({"when": {"trigger": "fire_activated"}, "do": [action], "author": "rob"});
    for (action, missing) in [
        (json!({"action": "lockdown_clear", "node": true}), "lockdown"),
        (json!({"action": "output_pulse", "output": "siren", "pulse_ms": 500}), "outputs"),
    ] {
        refused(scene.edit("rob", "system_event", "new", &event(action)), Forbidden, missing);
    }
    assert_eq!(
        scene.edit("rob", "system_event", "new", &event(json!({"action": "door_open", "doors": ["vault"]}))),
        Ok(())
    );
    // Nor does he take away what others may have done.
    scene.put("system_event", "lock", json!({"when": {"trigger": "fire_activated"}, "do": [{"action": "lockdown_set", "node": true}], "author": "root"}));
    refused(scene.edit("rob", "system_event", "lock", &Value::Null), Forbidden, "lockdown");
}

#[test]
fn nobody_reaches_further_by_a_partition_or_unit() {
    let partition = |doors: &[&str], unit: Value| json!({"doors": doors, "organisation_unit": unit});
    refuse("mia", "partition", "west", partition(&["front", "vault"], json!("shop")), Forbidden, "partitions");
    beyond_dan("partition", "west", partition(&["front", "vault"], json!("shop")), "door vault");
    beyond_dan("partition", "west", json!({"lockers": ["box-2"], "organisation_unit": "shop"}), "door box-2");
    beyond_dan("partition", "west", json!({"floor_groups": ["freight"], "organisation_unit": "shop"}), "freight");
    beyond_dan("partition", "east", json!({"doors": [], "organisation_unit": "shop"}), "organisation unit bank");
    beyond_dan("partition", "east", Value::Null, "organisation unit bank");
    beyond_dan("partition", "new", partition(&["vault"], json!("shop")), "door vault");
    beyond_dan("partition", "new", json!({"doors": ["front"]}), "a unit of the operator's own");
    for unit in ["bank", "company"] {
        beyond_dan("partition", "new", partition(&["front"], json!(unit)), unit);
        beyond_dan("partition", "west", partition(&["front"], json!(unit)), unit);
    }
    beyond_dan("partition", "west", json!({"doors": ["front"]}), "a unit of the operator's own");
    beyond_dan("organisation_unit", "bank", json!({"parent": "shop"}), "company");
    beyond_dan("organisation_unit", "bank", Value::Null, "organisation unit");
    beyond_dan("organisation_unit", "company", json!({"name": "mine now"}), "door");
    beyond_dan("organisation_unit", "shop", json!({}), "organisation unit");
    beyond_dan("organisation_unit", "shop", json!({"parent": "bank"}), "organisation unit");
    beyond_dan("organisation_unit", "new", json!({}), "a unit of the operator's own");
    beyond_dan("organisation_unit", "new", json!({"parent": "company"}), "organisation unit company");
    allow("dan", "partition", "west", partition(&[], json!("shop-floor")));
    allow("dan", "partition", "new", partition(&["front", "box-1"], json!("shop")));
    allow("dan", "organisation_unit", "new", json!({"parent": "shop"}));
    allow("dan", "organisation_unit", "shop-floor", json!({"parent": "shop", "name": "Floor"}));
    allow("boss", "partition", "new", partition(&["vault"], json!("bank")));
    allow("boss", "organisation_unit", "new", json!({}));
}

#[test]
fn nobody_reaches_further_by_what_belongs_to_doors() {
    beyond_mia("area", "hall", json!({"entry_readers": ["front-in", "vault-in"]}), "door vault");
    beyond_mia("area", "safe", json!({"entry_readers": ["front-in"]}), "door vault");
    beyond_mia("area", "safe", Value::Null, "door vault");
    beyond_mia("area", "new", json!({"entry_readers": ["nobody-knows"]}), "the whole node");
    beyond_mia("area", "new", json!({"entry_readers": ["cab"]}), "floor group freight");
    allow("mia", "area", "hall", json!({"entry_readers": ["front-in"], "anti_passback": "hard"}));
    beyond_dan("interlock", "trap", json!({"doors": ["front"]}), "door vault");
    beyond_dan("interlock", "trap", Value::Null, "door vault");
    beyond_dan("interlock", "new", json!({"doors": ["front", "vault"]}), "door vault");
    allow("dan", "interlock", "new", json!({"doors": ["front", "box-1"]}));
    beyond_dan("door_policy", "strict", json!({"doors": ["front"]}), "door vault");
    beyond_dan("door_policy", "new", json!({"doors": ["vault"], "when_stale": "keep"}), "door vault");
    allow("dan", "door_policy", "new", json!({"doors": ["front"]}));
    beyond_dan("floor_group", "freight", json!({"public": [{"floors": ["f1"]}]}), "floor group freight");
    allow("dan", "floor_group", "lift", json!({"public": []}));
    beyond_dan("emergency_card", "e-all", json!({"token": token(2), "doors": ["front"]}), "the whole node");
    beyond_dan("emergency_card", "e-front", json!({"token": token(1)}), "the whole node");
    beyond_dan("emergency_card", "new", json!({"token": token(5), "doors": ["vault"]}), "door vault");
    allow("dan", "emergency_card", "e-front", json!({"token": token(1), "doors": ["front"], "uses_max": 1}));
    beyond_dan("card_format", "works", json!({"bits": 24, "number": {"first": 4, "bits": 20}}), "the whole node");
    beyond_dan("card_format", "new", json!({"bits": 24, "number": {"first": 0, "bits": 24}}), "the whole node");
    beyond_mia("locker_contract", "c-1", json!({"locker": "box-2", "person": "pat"}), "door box-2");
    beyond_mia("locker_contract", "c-2", json!({"locker": "box-1", "person": "sam"}), "door box-2");
    beyond_mia("locker_contract", "c-2", Value::Null, "door box-2");
    allow("mia", "locker_contract", "c-1", json!({"locker": "box-1", "person": "sam"}));
    for kind in ["interlock", "door_policy", "emergency_card", "floor_group"] {
        refuse(
            "mia",
            kind,
            "new",
            if kind == "emergency_card" {
                json!({"token": token(5)})
            } else if kind == "floor_group" {
                json!({})
            } else {
                json!({"doors": ["front"]})
            },
            Forbidden,
            "missing capability",
        );
    }
}

fn operator(status: &str, role: &str, scope: Value) -> Value {
    let mut body = scope;
    body["role"] = json!(role);
    body["status"] = json!({ "state": status });
    if status == "invited" {
        body["status"]["invited_at"] = json!(Wall::from_millis(NOON).to_string());
    }
    body
}

#[test]
fn a_manager_reaches_no_further_by_an_operator() {
    let own = || json!({"doors": ["front"], "organisation_units": ["shop"]});
    let with = |name: &str, value: Value| {
        let mut scope = own();
        scope[name] = value;
        scope
    };
    // Herself, first of all.
    beyond_mia(
        "operator",
        "mia",
        operator("active", "manager", with("doors", json!(["front", "vault"]))),
        "door vault",
    );
    beyond_mia("operator", "mia", operator("active", "manager", with("partitions", json!(["east"]))), "door");
    beyond_mia(
        "operator",
        "mia",
        operator("active", "manager", with("organisation_units", json!(["company"]))),
        "door",
    );
    refuse("mia", "operator", "mia", operator("active", "admin", json!({})), Forbidden, "nobody gives");
    refuse("mia", "operator", "mia", operator("active", "integrator", own()), Forbidden, "nobody gives");
    refuse("mia", "operator", "mia", operator("active", "deputy", own()), Forbidden, "nobody gives");
    refuse("mia", "operator", "mia", operator("active", "automat.admin", own()), Forbidden, "nobody gives");
    beyond_mia("operator", "mia", operator("active", "key-holder", json!({})), "the whole node");
    // A friend.
    refuse("mia", "operator", "new", operator("invited", "admin", own()), Forbidden, "nobody gives");
    refuse(
        "mia",
        "operator",
        "new",
        operator("invited", "integrator", json!({"doors": []})),
        Forbidden,
        "nobody gives",
    );
    beyond_mia("operator", "new", operator("invited", "manager", json!({"doors": ["vault"]})), "door vault");
    beyond_mia("operator", "new", operator("invited", "manager", json!({"partitions": ["east"]})), "door");
    beyond_mia("operator", "new", operator("invited", "key-holder", json!({})), "the whole node");
    beyond_mia(
        "operator",
        "new",
        operator("invited", "manager", json!({"partitions": ["yet-to-come"]})),
        "partition yet-to-come",
    );
    refuse(
        "mia",
        "operator",
        "new",
        operator("active", "manager", json!({"doors": ["front"]})),
        Conflict,
        "begins with an invitation",
    );
    // Those who have more: neither changed nor removed nor put out of office.
    let demoted = || operator("suspended", "manager", json!({"doors": []}));
    for body in [Value::Null, operator("suspended", "deputy", json!({})), demoted()] {
        refuse("mia", "operator", "dan", body, Forbidden, "nobody gives");
    }
    // Of those who reach further she does not even learn what they have.
    for (name, role) in [("root", "integrator"), ("boss", "admin"), ("vic", "manager"), ("gus", "greeter")] {
        for body in [Value::Null, operator("suspended", role, json!({})), operator("active", role, own()), demoted()] {
            let why = Scene::new().edit("mia", "operator", name, &body).unwrap_err();
            let told = format!("operator {name} is not within what is assigned to mia");
            assert_eq!(why, (OutOfScope, told), "{body}");
        }
    }
    allow("mia", "operator", "new", operator("invited", "manager", json!({"doors": ["front"]})));
    allow("mia", "operator", "new", operator("invited", "manager", json!({})));
    allow("mia", "operator", "new", operator("invited", "reporter", json!({"partitions": ["west"]})));
    allow("mia", "operator", "ivy", operator("suspended", "key-holder", json!({"doors": ["box-1"]})));
    allow("mia", "operator", "dora", Value::Null);
    allow("mia", "operator", "mia", operator("active", "manager", json!({"doors": []})));
}

#[test]
fn nobody_gives_a_capability_that_they_do_not_have() {
    // An admin is limited to no door, and still no integrator.
    refuse("boss", "operator", "new", operator("invited", "integrator", json!({})), Forbidden, "configuration");
    refuse("boss", "operator", "root", Value::Null, Forbidden, "configuration");
    refuse("boss", "operator", "boss", operator("active", "integrator", json!({})), Forbidden, "configuration");
    refuse("boss", "operator", "new", operator("invited", "automat.admin", json!({})), Forbidden, "configuration");
    refuse("boss", "role", "new", json!({"capabilities": ["people", "emergency_cards"]}), Forbidden, "emergency_cards");
    refuse("boss", "role", "deputy", Value::Null, Forbidden, "nobody gives");
    allow("boss", "operator", "mia", operator("suspended", "manager", json!({})));
    allow("boss", "operator", "new", operator("invited", "admin", json!({})));
    allow("root", "operator", "new", operator("invited", "integrator", json!({})));
    allow("root", "role", "deputy", json!({"capabilities": ["configuration"]}));
    let role = |capabilities: &[&str]| json!({ "capabilities": capabilities });
    refuse("mia", "role", "new", role(&["partitions"]), Forbidden, "partitions");
    refuse("mia", "role", "greeter", role(&["people", "configuration"]), Forbidden, "configuration");
    refuse("mia", "role", "deputy", role(&["people"]), Forbidden, "nobody gives");
    // What she has herself, but for somebody who has it everywhere.
    beyond_mia("role", "greeter", role(&["people", "door_control"]), "the whole node");
    beyond_mia("role", "greeter", role(&[]), "the whole node");
    allow("mia", "role", "key-holder", role(&["lockers", "people"]));
    allow("mia", "role", "new", role(&["people", "door_control"]));
    for editor in ["ivy", "gus"] {
        refuse(
            editor,
            "operator",
            editor,
            operator("active", "manager", json!({"doors": []})),
            Forbidden,
            "missing capability: operators",
        );
    }
}

#[test]
fn an_operator_comes_into_office_only_by_an_invitation_that_is_still_good() {
    let at = |hours: i64| Now { wall: Wall::from_millis(NOON + hours * 3_600_000), ..now() };
    let scope = || json!({"doors": ["front"]});
    let mut scene = Scene::new();
    scene.put("operator", "new", operator("invited", "manager", scope()));
    let put = |scene: &Scene, status: &str, now: Now| {
        scene.edit_at("mia", "operator", "new", &operator(status, "manager", scope()), now)
    };
    assert_eq!(put(&scene, "active", at(5)), Ok(()));
    refused(put(&scene, "active", at(6)), OperatorExpired, "made anew");
    refused(put(&scene, "active", Now { trust: ClockTrust::Untrusted, ..at(5) }), ClockUntrusted, "invitation");
    // Not around it either.
    refused(put(&scene, "suspended", at(6)), Conflict, "withdrawn");
    assert_eq!(scene.edit("mia", "operator", "new", &Value::Null), Ok(()));
    // A dead one may be given another name meanwhile, and is made anew.
    let mut renamed = operator("invited", "manager", scope());
    renamed["name"] = json!("Neo");
    assert_eq!(scene.edit_at("mia", "operator", "new", &renamed, at(7)), Ok(()));
    let mut anew = renamed.clone();
    anew["status"]["invited_at"] = json!(at(7).wall.to_string());
    assert_eq!(scene.edit_at("mia", "operator", "new", &anew, at(7)), Ok(()));
    let mut past = renamed;
    past["status"] = json!({"state": "invited", "expires_at": at(1).wall.to_string()});
    refused(scene.edit_at("mia", "operator", "new", &past, at(7)), Conflict, "in the future");
    scene.put("operator", "new", operator("suspended", "manager", scope()));
    assert_eq!(put(&scene, "active", at(900)), Ok(()));
    scene.put("operator", "new", operator("active", "manager", scope()));
    assert_eq!(put(&scene, "suspended", at(900)), Ok(()));
}

#[test]
fn who_is_not_in_office_edits_nothing() {
    for (status, refusal) in [("suspended", Refusal::OperatorSuspended), ("invited", Refusal::OperatorPending)] {
        let mut scene = Scene::new();
        scene.put("operator", "mia", operator(status, "manager", json!({"doors": ["front"]})));
        refused(scene.edit("mia", "group", "new", &json!({})), refusal, "");
    }
}

#[test]
fn an_integrator_may_edit_every_kind_and_a_reporter_none() {
    let scene = Scene::new();
    for (kind, name) in [
        ("person", "sam"),
        ("credential", "sam-card"),
        ("group", "both"),
        ("access_rule", "bankers-vault"),
        ("schedule", "bank-hours"),
        ("holiday", "bank-holiday"),
        ("auto_open", "vault-days"),
        ("system_event", "vault-bell"),
        ("partition", "east"),
        ("area", "safe"),
        ("floor_group", "freight"),
        ("interlock", "trap"),
        ("emergency_card", "e-all"),
        ("card_format", "works"),
        ("operator", "boss"),
        ("role", "deputy"),
        ("organisation_unit", "bank"),
        ("door_policy", "strict"),
        ("locker_contract", "c-2"),
    ] {
        assert!(scene.stored(kind, name).is_some(), "{kind} {name}");
        allow("root", kind, name, Value::Null);
        let mut scene = Scene::new();
        scene.put("operator", "rita", operator("active", "reporter", json!({})));
        refused(scene.edit("rita", kind, name, &Value::Null), Forbidden, "missing capability");
    }
}

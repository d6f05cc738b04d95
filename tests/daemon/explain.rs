//! `latchd explain` beside the running daemon, and without it.

use std::process::Command;

use latchd::{domain::event::Refusal, wire::outcome::Stage};
use latchd_sim::cloud::Wish;
use serde_json::{Value, json};

use crate::{
    house::{CLEO, DAN, House, cleo_with_pins, crew_rule},
    story::with,
    world::{ADA, World},
};

/// What it prints, and whether it ended well.
pub fn explain(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_latchd"))
        .arg("explain")
        .args(arguments)
        .arg("--config")
        .arg(world.site.config())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_reasoning_is_told_beside_the_daemon_and_without_it() {
    let mut world = World::running();
    let noon = ["--at", "2026-11-23T12:00:00Z"];
    let ask = |world: &World, who: &[&str]| explain(world, &[&["--door", "front"], who, &noon[..]].concat());
    for _ in 0..2 {
        let (ok, text) = ask(&world, &["--credential", "ada-card"]);
        assert!(ok && text.starts_with("granted at front, by rule "), "{text}");
        assert!(text.contains("person ada, credential ada-card (card), groups: staff"), "{text}");
        assert!(!text.contains("for a grant:"), "{text}");

        let (ok, by_text) = ask(&world, &["--card-text", "h10301:10:1001"]);
        assert!(ok && by_text.contains("read as h10301: credential ada-card"), "{by_text}");

        let (ok, text) = ask(&world, &["--credential", "ben-card"]);
        assert!(ok && text.starts_with("denied at front: outside_schedule"), "{text}");
        assert!(text.contains("another time: rule"), "{text}");

        let (ok, json) = ask(&world, &["--person", "ben", "--json"]);
        let told: Value = serde_json::from_str(&json).unwrap();
        assert!(ok && told["answer"]["reason"] == "outside_schedule" && told["generation"] == 1, "{json}");
        assert!(told["candidates"][0]["rules"].as_array().is_some_and(|rules| rules.len() > 1), "{json}");

        let (ok, text) = ask(&world, &["--card", "26:0000001"]);
        assert!(ok && text.contains("read as raw: no credential"), "{text}");

        let (ok, text) = ask(&world, &["--person", "nobody"]);
        assert!(!ok && text.contains("there is no person nobody in the set"), "{text}");
        let (ok, text) = explain(&world, &["--door", "moon", "--person", "ada"]);
        assert!(!ok && text.contains("there is no door moon"), "{text}");
        if world.is_running() {
            assert_eq!(world.stop(), Some(0));
        }
    }
}

#[test]
fn without_a_set_there_is_nothing_to_explain() {
    let world = World::new();
    let (ok, text) = explain(&world, &["--door", "front", "--person", "ada"]);
    assert!(!ok && text.contains("no permission set was ever received here"), "{text}");
}

#[test]
fn the_node_explains_by_command_as_the_program_does_and_as_its_doors_decide() {
    let world = World::running();
    let at = "2026-11-23T12:00:00.000Z";
    let ask = |explain: Value| world.wish(&Wish::new("op-ada", "node.diagnostics", json!({ "explain": explain })));
    let explained = |explain: Value| {
        let detail = world.stage(&ask(explain), Stage::Done).detail.unwrap();
        assert!(detail["diagnostics"]["version"].is_string(), "{detail}");
        detail["explanation"].clone()
    };
    for (who, id) in [("credential", "ada-card"), ("credential", "ben-card"), ("person", "ben")] {
        let told = explained(json!({ "door": "front", who: id, "at": at }));
        let (ok, json) = explain(&world, &["--door", "front", &format!("--{who}"), id, "--at", at, "--json"]);
        assert!(ok, "{json}");
        let mut by_program: Value = serde_json::from_str(&json).unwrap();
        let rules = by_program["candidates"][0]["rules"].as_array_mut().unwrap();
        let all = rules.len();
        rules.retain(|rule| rule["outcome"] != "other_place_and_people");
        if all > rules.len() {
            by_program["candidates"][0]["rules_left_out"] = json!(all - rules.len());
        }
        assert_eq!(told, by_program, "{who} {id}");
    }
    world.card(ADA);
    let granted = world.event_of("access.granted", "person", "ada");
    let told = explained(json!({ "door": "front", "credential": "ada-card" }));
    assert_eq!((&told["answer"]["granted"], &told["answer"]["rule"]), (&json!(true), &granted.json["rule"]));
    assert_eq!(told["generation"], granted.json["generation"]);

    // What lies over the door now is told with it, and of another instant nobody knows it.
    let lockdown = |cmd: &str| {
        let jti = world.wish(&Wish::new("op-ada", cmd, json!({ "doors": ["front"] })));
        world.stage(&jti, Stage::Actuated);
    };
    lockdown("lockdown.set");
    world.state_says("door/front", json!({ "mode": "LockedDown", "denies": "locked_down" }));
    let told = explained(json!({ "door": "front", "credential": "ada-card" }));
    assert_eq!((&told["answer"]["reason"], &told["refuses_all"]), (&json!("locked_down"), &json!("locked_down")));
    assert_eq!(told["would_grant"], json!(["front: its lockdown would have to be cleared"]));
    world.denied_for("locked_down", json!({ "person": "ada" }), || world.card(ADA));
    let told = explained(json!({ "door": "front", "credential": "ada-card", "at": at }));
    assert_eq!(told["answer"]["granted"], true);
    lockdown("lockdown.clear");
    world.state_says("door/front", json!({ "mode": "Locked" }));
    let told = explained(json!({ "door": "front", "credential": "ada-card" }));
    assert_eq!((&told["answer"]["granted"], told.get("refuses_all")), (&json!(true), None));

    for unknown in [
        json!({ "door": "moon", "person": "ada" }),
        json!({ "door": "front", "person": "nobody" }),
        json!({ "door": "front", "credential": "nothing" }),
    ] {
        world.refused(&ask(unknown), Refusal::UnknownTarget);
    }
}

#[test]
fn what_only_the_running_node_knows_of_somebody_is_explained_as_its_doors_decide() {
    let area = |more: Value| {
        with(json!({ "entry_readers": ["lab-in"], "exit_readers": ["lab-out"], "anti_passback": "hard" }), more)
    };
    let house = House::running(&[
        ("area", "lab", area(json!({}))),
        ("person", "cleo", cleo_with_pins()),
        ("door_policy", "lab", json!({ "doors": ["lab"], "pin_tries": 1, "pin_lockout_s": 60 })),
    ]);
    let explained = |more: Value| {
        let asked = with(json!({ "door": "lab" }), more);
        house.answered("node.diagnostics", json!({ "explain": asked }))["explanation"].clone()
    };
    let says = |told: &Value, granted: bool, reason: &str| {
        let reason = if reason.is_empty() { Value::Null } else { json!(reason) };
        assert_eq!((&told["answer"]["granted"], &told["answer"]["reason"]), (&json!(granted), &reason), "{told}");
    };
    let card = || json!({ "credential": "cleo-card" });
    says(&explained(with(card(), json!({ "reader": "lab-in" }))), true, "");
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.walks_through("lab");
    house.state_says("area/lab", json!({ "count": 1 }));

    // She is inside: the way in is closed to her, the way out is not.
    let told = explained(with(card(), json!({ "reader": "lab-in" })));
    says(&told, false, "apb_violation");
    let at_reader = json!([{ "reader": "lab-in", "area": "lab", "way": "entry", "reason": "apb_violation" }]);
    assert_eq!(told["areas"], at_reader);
    assert!(told["would_grant"][0].as_str().unwrap().contains("leave area lab"), "{told}");
    house.denied_for("apb_violation", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    says(&explained(with(card(), json!({ "reader": "lab-out" }))), true, "");
    let any = explained(card());
    says(&any, true, "");
    assert_eq!(any["areas"], at_reader);
    // A virtual read is one at the first reader; at another instant nobody knows where she is.
    says(&explained(json!({ "person": "cleo" })), false, "apb_violation");
    says(&explained(with(card(), json!({ "reader": "lab-in", "at": "2026-11-23T12:00:00.000Z" }))), true, "");

    // Two are as many as there may be.
    house.set(&[("area", "lab", area(json!({ "occupancy_max": 1 })))]);
    let told = explained(json!({ "credential": "dan-card", "reader": "lab-in" }));
    says(&told, false, "area_full");
    house.denied_for("area_full", json!({ "person": "dan" }), || house.at_lab(DAN));

    // A PIN that nobody takes at present.
    house.set(&[
        ("area", "lab", Value::Null),
        ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "card_and_pin" }))),
    ]);
    says(&explained(card()), false, "pin_required");
    house.told("access.pin_locked_out", json!({ "person": "cleo" }), || {
        house.at_lab(CLEO);
        house.polled(&house.lab);
        house.keys("9999#");
    });
    says(&explained(card()), false, "pin_locked_out");
    house.denied_for("pin_locked_out", json!({ "person": "cleo" }), || house.at_lab(CLEO));

    let attic = json!({ "explain": { "door": "lab", "person": "cleo", "reader": "store-in" } });
    house.refuses("op-ada", "node.diagnostics", attic, Refusal::UnknownTarget);
}

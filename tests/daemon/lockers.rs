//! A cabinet of keys over the wire, beyond the common way of a key: contracts and their times, codes that are wrong,
//! choices, keys that stay away, and who may make a contract.

use std::collections::BTreeSet;

use latchd::{domain::event::Refusal, wire::outcome::Stage};
use serde_json::{Value, json};

use crate::{
    cellar::{Cellar, OCCUPIED},
    story::{hashed, in_ms, with},
    world::ADA,
};

fn contract(more: Value) -> Value {
    with(json!({ "locker": "key-02", "key": "cellar", "sharing": "shared" }), more)
}

fn pin(digits: &str) -> Value {
    hashed(&format!("pin:key-02:{digits}"))
}

#[test]
fn a_contract_counts_from_its_beginning_to_its_end_and_a_key_that_stays_away_is_told() {
    let (from, until) = (in_ms(3_000), in_ms(6_000));
    let cellar = Cellar::running(&[
        ("locker_contract", "kim", contract(json!({ "pin": pin("4711"), "from": from, "until": until }))),
        ("locker_contract", "attic", json!({ "locker": "key-99", "pin": pin("1") })),
    ]);
    let world = &cellar.world;
    cellar.keys.set_input(OCCUPIED + 1, true);
    world.event_of("key.added", "door", "key-02");
    let sync = |state: &str| {
        cellar.state("locker/key-02", |told| {
            told["locker"]["contract_sync"][0]["contract"] == "kim"
                && told["locker"]["contract_sync"][0]["state"] == state
        });
    };
    sync("pending");
    world.denied_for("not_yet_active", json!({ "contract": "kim" }), || cellar.types("4711#"));
    world.passes(from);
    sync("applied");
    world.granted(json!({ "contract": "kim", "door": "key-02" }), || cellar.types("4711#"));
    cellar.coil(&cellar.keys, 1, true);
    let fetched = json!({ "door": "key-02", "contract": "kim" });
    world.told("key.fetched", fetched, || cellar.keys.set_input(OCCUPIED + 1, false));
    cellar.coil(&cellar.keys, 1, false);
    let away = world.event("key.not_returned", |json| json["door"] == "key-02");
    assert_eq!(away.json["contract"], "kim");
    assert!(latchd_sim::cloud::client::wall_now() >= until);
    cellar.state("locker/key-02", |told| told["locker"]["key"]["state"] == "not_returned");
    world.denied_for("expired", json!({ "contract": "kim" }), || cellar.types("4711#"));
}

#[test]
fn wrong_codes_shut_the_keypad_of_a_cabinet_and_a_holder_of_two_contracts_is_asked_which() {
    let mut cellar = Cellar::with(
        "id = \"keys\"\ncompartments",
        "id = \"keys\"\ncode_tries = 3\nlockout_s = 2\nkeypad_timeout_ms = 1500\ncompartments",
        &[("locker_contract", "ada-cellar", contract(json!({ "person": "ada", "pin": pin("2222") })))],
    );
    // Two compartments are hers: nothing opens before she has said which.
    cellar.world.denied_for("pin_required", json!({ "person": "ada", "cabinet": "keys" }), || cellar.at_cabinet(ADA));
    let both = |cellar: &Cellar| cellar.keys.coil(0) || cellar.keys.coil(1);
    assert!(!both(&cellar));
    cellar.world.granted(json!({ "contract": "ada-cellar", "door": "key-02" }), || {
        cellar.at_cabinet(ADA);
        cellar.seen(&cellar.keys);
        cellar.types("2#");
    });
    cellar.coil(&cellar.keys, 1, true);
    cellar.coil(&cellar.keys, 1, false);
    for _ in 0..2 {
        cellar.world.denied_for("wrong_pin", json!({ "cabinet": "keys" }), || cellar.types("9#"));
    }
    cellar.world.told("access.denied", json!({ "cabinet": "keys" }), || cellar.types("9#"));
    let until = in_ms(2_000);
    cellar.world.denied_for("pin_locked_out", json!({ "cabinet": "keys" }), || cellar.types("2222#"));
    assert!(!both(&cellar));
    cellar.world.passes(until);
    cellar.world.granted(json!({ "contract": "ada-cellar" }), || cellar.types("2222#"));
    cellar.coil(&cellar.keys, 1, true);
    // A lost board opens nothing, and says so of what is contracted there.
    let server = cellar.server.take().unwrap();
    cellar.world.block_on(server.stop());
    cellar.state("locker/key-02", |told| told["locker"]["contract_sync"][0]["state"] == "pending");
    let open = cellar.wish("locker.open", json!({ "locker": "key-02" }));
    cellar.world.refused(&open, Refusal::BusDown);
}

#[test]
fn contracts_are_made_by_whoever_has_the_locker_and_never_two_exclusive_ones_at_a_time() {
    let manager = |doors: Value| json!({ "status": { "state": "active" }, "role": "manager", "doors": doors });
    let viewer = json!({ "status": { "state": "active" }, "role": "automat.user_view" });
    let cellar = Cellar::running(&[
        ("operator", "op-kai", manager(json!(["key-02", "key-03"]))),
        ("operator", "op-vera", viewer),
    ]);
    let world = &cellar.world;
    let put = |id: &str, body: Value| json!({ "id": id, "body": body });
    let exclusive = |from: i64, until: i64| {
        let times = json!({ "from": in_ms(from), "until": in_ms(until), "pin": pin("31415"), "sharing": "exclusive" });
        contract(times)
    };
    let done = |operator: &str, cmd: &str, args: Value| {
        let jti = world.by(operator, cmd, args);
        world.stage(&jti, Stage::Done)
    };
    done("op-kai", "locker_contract.put", put("first", exclusive(-1_000, 60_000)));
    // The later of two that exclude each other is in the set and does not count, and says beside which it would have.
    done("op-kai", "locker_contract.put", put("second", exclusive(30_000, 90_000)));
    let second = |told: &Value, state: &str| {
        let contracts = told["locker"]["contract_sync"].as_array().cloned().unwrap_or_default();
        contracts.into_iter().find(|contract| contract["contract"] == "second" && contract["state"] == state)
    };
    cellar.state("locker/key-02", |told| {
        second(told, "refused").is_some_and(|contract| contract["reason"].as_str().unwrap().contains("first"))
    });
    done("op-kai", "locker_contract.put", put("second", exclusive(60_000, 90_000)));
    cellar.state("locker/key-02", |told| second(told, "pending").is_some());
    world.granted(json!({ "contract": "first", "door": "key-02" }), || cellar.types("31415#"));
    cellar.coil(&cellar.keys, 1, true);
    cellar.coil(&cellar.keys, 1, false);

    // Ada's van is not his, nor does he open it or take her code away.
    let steal = json!({ "locker": "key-01", "pin": hashed("pin:key-01:1") });
    world.refuses("op-kai", "locker_contract.put", put("steal", steal.clone()), Refusal::OutOfScope);
    world.refuses(
        "op-kai",
        "locker_contract.put",
        put("ada-van", contract(json!({ "pin": pin("1") }))),
        Refusal::OutOfScope,
    );
    world.refuses("op-kai", "locker_contract.delete", json!({ "id": "ada-van" }), Refusal::OutOfScope);
    world.refuses("op-kai", "locker.open", json!({ "locker": "key-01" }), Refusal::OutOfScope);
    let open = world.by("op-kai", "locker.open", json!({ "locker": "key-03" }));
    world.stage(&open, Stage::Actuated);
    cellar.coil(&cellar.keys, 2, false);
    let listed = done("op-kai", "locker_contract.list", json!({})).detail.unwrap()["list"]["records"].clone();
    let ids: BTreeSet<&str> = listed.as_array().unwrap().iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["first", "second"]));

    // Who only looks opens nothing and makes nothing.
    for (cmd, args) in [("locker.open", json!({ "locker": "key-03" })), ("locker_contract.put", put("steal", steal))] {
        world.refuses("op-vera", cmd, args, Refusal::Forbidden);
    }
    done("op-vera", "locker_contract.list", json!({}));
    done("op-kai", "locker_contract.delete", json!({ "id": "first" }));
    world.told("access.denied", json!({ "cabinet": "keys" }), || cellar.types("31415#"));
    assert!(!cellar.keys.coil(1));
}

#[test]
fn a_contract_that_cannot_be_enforced_here_is_refused_by_name_and_told_once() {
    let exclusive = |digits: &str| contract(json!({ "pin": pin(digits), "sharing": "exclusive" }));
    let cellar = Cellar::running(&[
        ("locker_contract", "first", exclusive("4711")),
        ("locker_contract", "second", exclusive("4712")),
        ("locker_contract", "no-locker", json!({ "locker": "front", "pin": hashed("pin:front:1") })),
    ]);
    let world = &cellar.world;
    let refused = |contract: &str| world.event_of("contract.refused", "contract", contract).json;
    let no_locker = refused("no-locker");
    assert_eq!((&no_locker["locker"], &no_locker["reason"]), (&json!("front"), &json!("the door front is no locker")));
    // Of two that exclude each other one stands; the other says which is in its way.
    let excluded = world.event("contract.refused", |json| json["locker"] == "key-02").json;
    let (stands, falls) = if excluded["contract"] == "first" { ("second", "first") } else { ("first", "second") };
    assert!(excluded["reason"].as_str().unwrap().contains(&format!("contract {stands}")), "{excluded:?}");
    let code = |contract: &str| if contract == "first" { "4711#" } else { "4712#" };
    cellar.state("locker/key-02", |told| {
        let sync = told["locker"]["contract_sync"].as_array().unwrap();
        let state = |contract: &str| sync.iter().find(|sync| sync["contract"] == contract).map(|sync| &sync["state"]);
        (state(stands), state(falls)) == (Some(&json!("applied")), Some(&json!("refused")))
    });
    world.denied_for("wrong_pin", json!({ "cabinet": "keys" }), || cellar.types(code(falls)));
    world.granted(json!({ "contract": stands }), || cellar.types(code(stands)));
    cellar.coil(&cellar.keys, 1, true);
    cellar.coil(&cellar.keys, 1, false);
    // Without the other one it is enforced.
    world.set(&[("locker_contract", stands, Value::Null)]);
    world.granted(json!({ "contract": falls }), || cellar.types(code(falls)));
    world.drained();
    assert_eq!(world.count("contract.refused"), 2, "each was told once");
}

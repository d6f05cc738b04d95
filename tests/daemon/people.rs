//! People at the readers, from the card and the keypad to the relay and the log: what is asked of them, when, and
//! what becomes of those who are forced, forgetful or not what they were.

use latchd::domain::event::Refusal;
use latchd_sim::{cloud::client::wall_now, site::LOCK_COIL};
use serde_json::{Value, json};

use crate::{
    house::{CLEO, DAN, ELI, House, cleo_with_pins, crew_rule},
    story::{card_of, hashed, in_ms, with},
    world::World,
};

fn policy(more: Value) -> Value {
    with(json!({ "doors": ["lab"] }), more)
}

#[test]
fn a_pin_alone_opens_and_too_many_wrong_ones_shut_the_keypad_for_a_while() {
    let house = House::running(&[
        ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "pin" }))),
        ("credential", "dan-pin", json!({ "person": "dan", "medium": "pin", "token": hashed("pin:55667313") })),
        ("door_policy", "lab", policy(json!({ "pin_tries": 2, "pin_lockout_s": 2 }))),
    ]);
    house.denied_for("pin_required", json!({ "person": "dan" }), || house.at_lab(DAN));
    let granted = house.granted(json!({ "person": "dan", "credential": "dan-pin" }), || house.keys("55667313#"));
    assert!(granted.get("card").is_none(), "{granted}");
    house.walks_through("lab");
    // A slip of the finger is taken back by the star.
    house.granted(json!({ "person": "dan" }), || house.keys("559*55667313#"));
    house.walks_through("lab");

    house.denied_for("wrong_pin", json!({ "door": "lab" }), || house.keys("11117313#"));
    let lock_out = json!({ "door": "lab", "reader": "lab-in", "wrong": 2, "lockout_s": 2 });
    house.told("access.pin_locked_out", lock_out, || house.keys("2222#"));
    let until = in_ms(2_000);
    house.denied_for("pin_locked_out", json!({ "door": "lab" }), || house.keys("55667313#"));
    assert!(!house.lab_unlocked());
    house.passes(until);
    house.granted(json!({ "person": "dan" }), || house.keys("55667313#"));
    // What was typed stands in no log (and is too long for an identifier to hold by chance).
    assert!(!house.log().contains("55667313") && !house.log().contains("11117313"));
}

#[test]
fn a_card_that_wants_its_pin_opens_with_both_only_and_the_lock_out_of_its_holder_outlives_sigkill() {
    let mut house = House::running(&[
        ("person", "cleo", cleo_with_pins()),
        ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "card_and_pin" }))),
        ("door_policy", "lab", policy(json!({ "pin_tries": 3, "pin_lockout_s": 60, "pin_timeout_ms": 1000 }))),
    ]);
    house.denied_for("pin_required", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    assert!(!house.lab_unlocked(), "a card alone opens nothing, also when time is over");

    let shows_and_types = |house: &House, keys: &str| {
        house.at_lab(CLEO);
        house.polled(&house.lab);
        house.keys(keys);
    };
    let granted = house.granted(json!({ "person": "cleo", "credential": "cleo-card" }), || {
        shows_and_types(&house, "1234#");
    });
    assert_eq!(granted["rule"], "crew-lab");
    house.walks_through("lab");

    // Where there is no keypad, nobody can be asked.
    house.denied_for("pin_required", json!({ "door": "store" }), || house.at_store(CLEO));

    for _ in 0..2 {
        house.denied_for("wrong_pin", json!({ "person": "cleo" }), || shows_and_types(&house, "9999#"));
    }
    // The right one forgives the wrong ones before it.
    house.granted(json!({ "person": "cleo" }), || shows_and_types(&house, "1234#"));
    house.walks_through("lab");
    for _ in 0..2 {
        house.denied_for("wrong_pin", json!({ "person": "cleo" }), || shows_and_types(&house, "9999#"));
    }
    house.told("access.pin_locked_out", json!({ "person": "cleo", "wrong": 3 }), || shows_and_types(&house, "9999#"));
    house.denied_for("pin_locked_out", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.drained();
    house.world.restart();
    house.denied_for("pin_locked_out", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    assert!(!house.lab_unlocked());
}

#[test]
fn a_duress_pin_opens_like_any_other_and_raises_an_alarm_that_nobody_at_the_door_sees() {
    let alarm = json!({
        "when": { "trigger": "duress", "doors": ["lab"] }, "do": [{ "action": "alarm", "text": "call the police" }]
    });
    let house = House::running(&[
        ("person", "cleo", cleo_with_pins()),
        ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "card_and_pin" }))),
        ("system_event", "silent", alarm),
    ]);
    let comes = |keys: &str| {
        house.lab.take_writes();
        house.granted(json!({ "person": "cleo" }), || {
            house.at_lab(CLEO);
            house.polled(&house.lab);
            house.keys(keys);
        });
        house.walks_through("lab");
        house.lab.take_writes().into_iter().map(|(_, write)| write).collect::<Vec<_>>()
    };
    let free = comes("1234#");
    let before = house.count("access.duress");
    let forced = comes("4321#");
    assert_eq!(forced, free, "the door does the same");
    let duress = house.event("access.duress", |json| json["person"] == "cleo");
    assert_eq!((before, &duress.json["granted"], &duress.json["door"]), (0, &json!(true), &json!("lab")));
    let raised = house.event("alarm.raised", |json| json.get("text").is_some_and(|text| text == "call the police"));
    assert_eq!(raised.json["source"]["system_event"], "silent");
    // It stands by itself, whatever the set says of it, until somebody has seen it.
    let source = json!({ "of": "duress", "person": "cleo", "door": "lab" });
    let stands = house.event("alarm.raised", |json| json["source"] == source);
    house.online("two alarms", |online| online.alarms == 2);
    house.answered("alarm.acknowledge", json!({ "alarm": stands.json["alarm"] }));
    house.online("one alarm", |online| online.alarms == 1);
    house.state_says("door/lab", json!({ "mode": "Locked", "alarm": "none" }));
}

#[test]
fn where_either_will_do_a_card_or_a_pin_opens_and_a_pin_of_its_own_may_say_duress() {
    let pin = |digits: &str, more| {
        with(json!({ "person": "eli", "medium": "pin", "token": hashed(&format!("pin:{digits}")) }), more)
    };
    let house = House::running(&[
        ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "card_or_pin" }))),
        ("credential", "eli-pin", pin("70707", json!({}))),
        ("credential", "eli-duress", pin("70708", json!({ "duress": true }))),
    ]);
    house.granted(json!({ "person": "eli", "credential": "eli-card" }), || house.at_lab(ELI));
    house.walks_through("lab");
    house.granted(json!({ "person": "eli", "credential": "eli-pin" }), || house.keys("70707#"));
    house.walks_through("lab");
    assert_eq!(house.count("access.duress"), 0);
    let duress = json!({ "person": "eli", "credential": "eli-duress", "granted": true });
    house.told("access.duress", duress, || house.keys("70708#"));
    house.walks_through("lab");
}

#[test]
fn two_people_open_together_what_neither_opens_alone() {
    let house = House::running(&[
        ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "two_person" }))),
        ("access_rule", "eli-stays-out", json!({ "effect": "deny", "persons": ["eli"], "doors": ["lab"] })),
        ("door_policy", "lab", policy(json!({ "second_person_ms": 1500 }))),
    ]);
    // Nobody else comes; the same card again is nobody else.
    house.denied_for("second_person_required", json!({ "person": "cleo" }), || {
        house.at_lab(CLEO);
        house.polled(&house.lab);
        house.at_lab(CLEO);
    });
    assert!(!house.lab_unlocked());
    // Somebody comes who may not enter at all.
    house.denied_for("explicit_deny", json!({ "person": "eli", "rule": "eli-stays-out" }), || {
        house.at_lab(CLEO);
        house.polled(&house.lab);
        house.at_lab(ELI);
    });
    assert!(!house.lab_unlocked());
    house.granted(json!({ "person": "dan", "companion": "cleo" }), || {
        house.at_lab(CLEO);
        house.polled(&house.lab);
        house.at_lab(DAN);
    });
    house.event("access.granted", |json| json["person"] == "cleo" && json["companion"] == "dan");
    house.walks_through("lab");
    // An operator is no second person.
    let read = house.order("door.virtual_read", json!({ "door": "lab", "person": "cleo" }));
    house.told("access.denied", json!({ "person": "cleo", "reason": "second_person_required" }), || ());
    house.stage(&read, latchd::wire::outcome::Stage::Done);
    assert!(!house.lab_unlocked());
}

#[test]
fn cards_and_people_that_are_not_good_now_are_each_refused_by_their_own_reason() {
    let card = |more| with(card_of("cleo", CLEO), more);
    let cleo = |more| with(json!({ "groups": ["crew"] }), more);
    let (past, future) = (json!("2020-01-01T00:00:00.000Z"), json!("2099-01-01T00:00:00.000Z"));
    let house = House::running(&[]);
    for (reason, card_says, cleo_says) in [
        ("suspended", json!({ "state": "suspended" }), json!({})),
        ("lost", json!({ "state": "lost" }), json!({})),
        ("stolen", json!({ "state": "stolen" }), json!({})),
        ("not_yet_active", json!({ "active_from": future }), json!({})),
        ("expired", json!({ "expires_at": past }), json!({})),
        ("not_yet_active", json!({}), json!({ "active_from": future })),
        ("expired", json!({}), json!({ "expires_at": past })),
        ("no_rule", json!({}), json!({ "groups": [] })),
    ] {
        house.set(&[("credential", "cleo-card", card(card_says)), ("person", "cleo", cleo(cleo_says))]);
        let denied = house.denied_for(reason, json!({ "person": "cleo" }), || house.at_lab(CLEO));
        assert_eq!((&denied["credential"], &denied["card"]["bits"]), (&json!("cleo-card"), &json!(26)));
    }
    // Good until an instant, and not after it.
    let end = in_ms(2_500);
    house.set(&[("credential", "cleo-card", card(json!({ "expires_at": end }))), ("person", "cleo", cleo(json!({})))]);
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
    assert!(wall_now() < end, "this machine was too slow for the test");
    house.passes(end);
    house.denied_for("expired", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    // And from an instant on.
    let begin = in_ms(1_500);
    house.set(&[("credential", "cleo-card", card(json!({ "active_from": begin })))]);
    if wall_now() < begin {
        house.told("access.denied", json!({ "person": "cleo" }), || house.at_lab(CLEO));
    }
    house.passes(begin);
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
}

#[test]
fn a_deny_stands_above_every_allow_until_it_is_gone() {
    let deny = json!({ "effect": "deny", "groups": ["crew"], "doors": ["lab"] });
    let more = json!({ "effect": "allow", "persons": ["cleo"], "doors": ["lab"] });
    let house = House::running(&[("access_rule", "zz-deny", deny), ("access_rule", "aa-cleo", more)]);
    house.denied_for("explicit_deny", json!({ "person": "cleo", "rule": "zz-deny" }), || house.at_lab(CLEO));
    house.granted(json!({ "person": "cleo", "door": "store" }), || house.at_store(CLEO));
    house.set(&[("access_rule", "zz-deny", Value::Null)]);
    house.granted(json!({ "person": "cleo", "rule": "aa-cleo" }), || house.at_lab(CLEO));
}

#[test]
fn a_virtual_read_is_judged_like_a_card_names_its_operator_and_reaches_no_further_than_theirs() {
    let dina = json!({ "status": { "state": "active" }, "role": "manager", "doors": ["lab"] });
    let house = House::running(&[
        ("operator", "op-dina", dina),
        ("person", "fay", json!({ "groups": [] })),
        ("credential", "fay-card", card_of("fay", 2009)),
        ("access_rule", "fay-lab", json!({ "effect": "allow", "persons": ["fay", "kim"], "doors": ["lab"] })),
        // Somebody else's, though she may pass no other door.
        ("partition", "tower", json!({ "doors": ["store"] })),
        ("person", "kim", json!({ "partitions": ["tower"] })),
    ]);
    let read = |person: &str| json!({ "door": "lab", "person": person });
    let jti = house.order("door.virtual_read", read("cleo"));
    let granted = house.granted(json!({ "person": "cleo", "rule": "crew-lab" }), || ());
    assert_eq!(granted["actor"], json!({ "by": "operator", "operator": "op-ada", "jti": jti }));
    house.walks_through("lab");
    house.stage(&jti, latchd::wire::outcome::Stage::Observed);

    // A manager of this door over somebody whose rules reach further than it.
    house.refuses("op-dina", "door.virtual_read", read("cleo"), Refusal::OutOfScope);
    house.refuses("op-dina", "door.virtual_read", read("kim"), Refusal::OutOfScope);
    let jti = house.by("op-dina", "door.virtual_read", read("fay"));
    house.stage(&jti, latchd::wire::outcome::Stage::Actuated);
    house.walks_through("lab");
    house.refuses("op-dina", "door.virtual_read", json!({ "door": "store", "person": "fay" }), Refusal::OutOfScope);
    house.refuses("op-ada", "door.virtual_read", read("nobody"), Refusal::UnknownTarget);

    // A card in a drawer that is reported lost opens nothing from afar either.
    house.set(&[("credential", "fay-card", with(card_of("fay", 2009), json!({ "state": "lost" })))]);
    house.denied_for("lost", json!({ "person": "fay", "actor": { "operator": "op-ada" } }), || {
        house.order("door.virtual_read", with(read("fay"), json!({ "credential": "fay-card" })));
    });
    assert!(!house.lab.coil(LOCK_COIL));
}

#[test]
fn a_plate_a_code_or_a_phone_opens_as_a_card_does() {
    for (kind, shown, text) in [
        ("plate", "k-ab 1234\r\n", "plate:K-AB1234"),
        ("qr", "https://pass.example/Ada?t=77\n", "qr:https://pass.example/Ada?t=77"),
        ("mobile", "04aB77c1\r", "mobile:04aB77c1"),
    ] {
        let mut world = World::new();
        world.site.configure("format = \"bits_hex\"", &format!("format = \"{kind}\"")).unwrap();
        world.start();
        world.site.publish_set().unwrap();
        world.applied(1);
        world.ready();
        world.listens_at_glass();
        let credential = |more: Value| with(json!({ "person": "ada", "medium": kind, "token": hashed(text) }), more);
        world.set(&[("credential", "ada-other", credential(json!({})))]);
        let shows = || world.block_on(world.site.field.glass_reader.send(shown.as_bytes())).unwrap();
        let wanted =
            json!({ "person": "ada", "credential": "ada-other", "door": "glass", "card": { "formats": [kind] } });
        world.granted(wanted, shows);
        world.lock_state("glass", "unlocked");
        world.set(&[("credential", "ada-other", credential(json!({ "state": "lost" })))]);
        world.denied_for("lost", json!({ "credential": "ada-other" }), shows);
        let (ok, told) = crate::explain::explain(&world, &["--door", "glass", "--card-text", text]);
        assert!(ok && told.contains("lost"), "{told}");
        // What is shown opens doors: it stands in no log.
        assert!(!world.log().contains("pass.example") && !world.log().contains("AB1234"), "{kind}");
    }
}

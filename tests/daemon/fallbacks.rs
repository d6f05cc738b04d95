//! The node left alone: what each door does with a permission set that nobody confirms, with a clock that nobody
//! believes, and with emergency cards, and that it tells when that begins and ends.

use std::time::Duration;

use latchd::domain::{event::Refusal, time::ClockTrust};
use latchd_sim::{
    cloud::StoredEvent,
    site::{LOCK_COIL, card},
};
use serde_json::{Value, json};

use crate::{
    cellar::{Cellar, OCCUPIED},
    explain::explain,
    house::{CLEO, DAN, ELI, House, crew_rule},
    story::{Told, card_of, hashed, in_ms, with},
    world::ADA,
};

/// The fireman's card.
const RED: u16 = 911;
const BLUE: u16 = 912;

fn policy(id: &'static str, doors: Value, more: Value) -> Told<'static> {
    ("door_policy", id, with(json!({ "doors": doors }), more))
}

fn emergency_card(number: u16, more: Value) -> Value {
    with(json!({ "token": hashed(&format!("h10301:10:{number}")) }), more)
}

impl House {
    /// The cloud is there, and says nothing of the set any more.
    fn cloud_falls_silent(&self) {
        self.site.cloud.cloud().answers = false;
    }

    /// The cloud has confirmed a set: what a policy counts from.
    fn is_fresh(&self) {
        self.online("a beat", |online| online.staleness_ms.is_some());
    }

    fn cloud_speaks_again(&self) {
        self.site.cloud.cloud().answers = true;
    }

    fn enters_fallback(&self, policy: &str, fallback: Value, act: impl FnOnce()) {
        self.told("fallback.entered", json!({ "policy": policy, "fallback": fallback }), act);
    }

    fn leaves_fallback(&self, policy: &str, fallback: Value, act: impl FnOnce()) {
        self.told("fallback.left", json!({ "policy": policy, "fallback": fallback }), act);
    }
}

#[test]
fn a_set_that_nobody_confirms_grows_stale_door_by_door_and_a_beat_makes_it_fresh() {
    let stale = |then: &str| json!({ "cause": "stale", "then": then });
    let house = House::running(&[]);
    house.is_fresh();
    house.set(&[
        policy("vault", json!(["lab"]), json!({ "stale_after_s": 3, "when_stale": "critical_groups" })),
        policy("shed", json!(["store"]), json!({ "stale_after_s": 3, "when_stale": "deny" })),
        ("group", "guards", json!({ "critical": true })),
        ("person", "eli", json!({ "groups": ["crew", "guards"] })),
    ]);
    house.granted(json!({ "person": "cleo", "door": "lab" }), || house.at_lab(CLEO));
    let before = house.events_so_far();
    house.enters_fallback("shed", stale("deny"), || house.cloud_falls_silent());
    let vault = json!({ "policy": "vault", "doors": ["lab"], "fallback": stale("critical_groups") });
    house.told_after(before, "fallback.entered", vault);
    house.denied_for("stale_permissions", json!({ "person": "dan", "door": "lab" }), || house.at_lab(DAN));
    house.granted(json!({ "person": "eli", "door": "lab" }), || house.at_lab(ELI));
    house.denied_for("stale_permissions", json!({ "person": "eli", "door": "store" }), || house.at_store(ELI));
    // A door whose policy says nothing goes on as before, and so does the way out.
    house.granted(json!({ "person": "ada", "door": "front" }), || house.card(ADA));
    house.presses_exit();
    house.lab_becomes(true);
    house.leaves_fallback("shed", stale("deny"), || house.cloud_speaks_again());
    house.granted(json!({ "person": "dan", "door": "store" }), || house.at_store(DAN));
    // A revocation needs no beat to count.
    house.set(&[("credential", "dan-card", with(card_of("dan", DAN), json!({ "state": "stolen" })))]);
    house.denied_for("stolen", json!({ "person": "dan" }), || house.at_store(DAN));
}

#[test]
fn left_alone_an_elevator_and_a_cabinet_of_keys_admit_emergency_cards_alone() {
    let red = json!({ "pin": hashed("pin:red:0815"), "doors": ["lift", "key-01", "key-02"], "uses_max": 3 });
    let blue = json!({ "doors": ["key-02", "lift"] });
    let alone = json!({ "stale_after_s": 4, "when_stale": "emergency_cards", "pin_timeout_ms": 1500 });
    let cellar = Cellar::running(&[
        ("emergency_card", "red", emergency_card(RED, red)),
        ("emergency_card", "blue", emergency_card(BLUE, blue)),
        policy("alone", json!(["lift", "key-01", "key-02"]), alone),
        ("locker_contract", "code", json!({ "locker": "key-02", "pin": hashed("pin:key-02:4711") })),
    ]);
    let world = &cellar.world;
    let in_cab = |number: u16| cellar.lift.present_card(26, card(number));
    cellar.keys.set_input(OCCUPIED, true);
    world.event_of("key.added", "door", "key-01");
    world.online("a beat", |online| online.staleness_ms.is_some());
    world.denied_for("not_yet_active", json!({ "emergency_card": "blue", "floor_group": "lift" }), || in_cab(BLUE));
    let at_cabinet = json!({ "emergency_card": "blue", "cabinet": "keys" });
    world.denied_for("not_yet_active", at_cabinet, || cellar.at_cabinet(BLUE));
    let asked = json!({ "explain": { "floor_group": "lift", "emergency_card": "blue" } });
    let told = world.answered("node.diagnostics", asked)["explanation"].clone();
    assert_eq!(
        (&told["emergency_card"]["accepted"], &told["answer"]["reason"]),
        (&json!(false), &json!("not_yet_active"))
    );

    let entered =
        |fallback: Value| json!({ "policy": "alone", "doors": ["key-01", "key-02", "lift"], "fallback": fallback });
    let stale = json!({ "cause": "stale", "then": "emergency_cards" });
    let before = world.events_so_far();
    world.told("fallback.entered", entered(stale.clone()), || world.site.cloud.cloud().answers = false);
    world.told_after(before, "fallback.entered", entered(json!({ "cause": "emergency_cards" })));

    // Nobody else, neither by rule nor by contract nor by code.
    world.denied_for("emergency_only", json!({ "person": "ada", "floor_group": "lift" }), || in_cab(ADA));
    world.denied_for("emergency_only", json!({ "person": "ada", "contract": "ada-van" }), || cellar.at_cabinet(ADA));
    world.denied_for("emergency_only", json!({ "contract": "code" }), || cellar.types("4711#"));
    assert!((0..3).all(|floor| !cellar.lift.coil(floor)) && !cellar.keys.coil(0) && !cellar.keys.coil(1));

    // In the cab it enables every floor, once its PIN is typed where there is a keypad: here there is none.
    world.denied_for("pin_required", json!({ "emergency_card": "red", "floor_group": "lift" }), || in_cab(RED));
    let before = world.events_so_far();
    let granted = world.granted(json!({ "emergency_card": "blue", "floor_group": "lift" }), || in_cab(BLUE));
    assert_eq!(granted["floors"], json!(["floor-0", "floor-1", "floor-2"]));
    (0..3).for_each(|floor| cellar.coil(&cellar.lift, floor, true));
    let used = json!({ "emergency_card": "blue", "floor_group": "lift", "reader": "lift-cab", "uses": 1 });
    world.told_after(before, "emergency.used", used);
    let source = json!({ "of": "emergency_card", "emergency_card": "blue", "floor_group": "lift" });
    world.told_after(before, "alarm.raised", json!({ "source": source }));
    (0..3).for_each(|floor| cellar.coil(&cellar.lift, floor, false));

    // At the cabinet: of one compartment nothing is asked, of several which one, and then for the PIN.
    world.told("emergency.used", json!({ "emergency_card": "blue", "door": "key-02", "uses": 2 }), || {
        cellar.at_cabinet(BLUE);
    });
    cellar.coil(&cellar.keys, 1, true);
    cellar.coil(&cellar.keys, 1, false);
    let chooses_and_types = |choice: &str, pin: &str| {
        cellar.at_cabinet(RED);
        cellar.seen(&cellar.keys);
        cellar.types(choice);
        cellar.types(pin);
    };
    let at_first = json!({ "emergency_card": "red", "door": "key-01" });
    world.denied_for("wrong_pin", at_first.clone(), || chooses_and_types("1#", "1111#"));
    assert!(!cellar.keys.coil(0));
    world.granted(at_first, || chooses_and_types("1#", "0815#"));
    cellar.coil(&cellar.keys, 0, true);
    let actor = json!({ "by": "emergency_card", "emergency_card": "red" });
    world.told("key.fetched", json!({ "door": "key-01", "actor": actor }), || cellar.keys.set_input(OCCUPIED, false));
    let source = json!({ "of": "emergency_card", "emergency_card": "red", "door": "key-01" });
    world.event("alarm.raised", |json| json.get("source") == Some(&source));
    let (ok, text) = explain(world, &["--door", "key-02", "--emergency-card", "red", "--pin", "0815", "--stale"]);
    assert!(
        ok && text.starts_with("granted at key-02") && text.contains("emergency card red opens, used 1 of 3 times"),
        "{text}"
    );

    // A beat, and everything is as before.
    world.told("fallback.left", entered(stale), || world.site.cloud.cloud().answers = true);
    world.granted(json!({ "person": "ada", "floor_group": "lift" }), || in_cab(ADA));
    world.denied_for("not_yet_active", json!({ "emergency_card": "red" }), || cellar.at_cabinet(RED));
}

#[test]
fn staleness_goes_on_through_a_restart_without_the_cloud() {
    let strict = policy("shed", json!(["store"]), json!({ "stale_after_s": 4, "when_stale": "deny" }));
    let mut house = House::running(&[]);
    house.is_fresh();
    house.set(&[strict]);
    house.granted(json!({ "door": "store" }), || house.at_store(CLEO));
    house.drained();
    house.cloud_falls_silent();
    house.world.kill();
    let stale = in_ms(4_000);
    house.passes(stale);
    house.world.start();
    house.world.ready();
    house.at_store(CLEO);
    house.logged(1, &["access.denied", "door=store", "reason=stale_permissions"]);
    house.cloud_speaks_again();
    house.leaves_fallback("shed", json!({ "cause": "stale", "then": "deny" }), || ());
    house.granted(json!({ "door": "store" }), || house.at_store(CLEO));
}

#[test]
fn without_a_clock_each_door_reads_its_rules_as_its_policy_says_and_only_what_secures_is_obeyed() {
    let every_day = json!(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]);
    let always = json!({ "weekly": [{ "days": every_day, "from": "00:00", "to": "24:00" }] });
    let house = House::running(&[
        ("schedule", "always", always),
        ("access_rule", "crew-lab", crew_rule(json!({ "schedule": "always" }))),
        ("person", "eli", json!({ "groups": ["crew"], "expires_at": "2099-01-01T00:00:00.000Z" })),
        ("emergency_card", "red", emergency_card(RED, json!({}))),
        policy("shed", json!(["store"]), json!({ "clock_untrusted": "ignore_schedules" })),
        policy("hall", json!(["front"]), json!({ "clock_untrusted": "emergency_cards" })),
    ]);
    house.granted(json!({ "person": "cleo", "door": "lab" }), || house.at_lab(CLEO));
    let hall = json!({ "cause": "clock_untrusted", "then": "emergency_cards" });
    house.enters_fallback("hall", hall.clone(), || {
        house.site.cloud.cloud().clock_ahead = Duration::from_secs(3600);
    });
    house.trusts_its_clock(ClockTrust::Untrusted);
    let trusts = house.events_so_far();
    house.event("clock.untrusted", |json| json["clock"] == "untrusted" && json["detail"].is_string());

    // By default what has no schedule holds.
    house.denied_for("clock_untrusted", json!({ "person": "cleo", "door": "lab" }), || house.at_lab(CLEO));
    house.granted(json!({ "person": "cleo", "door": "store" }), || house.at_store(CLEO));
    // Whose right has an end, nobody knows whether it has come.
    house.denied_for("clock_untrusted", json!({ "person": "eli", "door": "store" }), || house.at_store(ELI));
    house.denied_for("emergency_only", json!({ "person": "ada", "door": "front" }), || house.card(ADA));
    house.granted(json!({ "emergency_card": "red", "door": "front" }), || house.card(RED));

    house.refuses("op-ada", "door.open", json!({ "door": "store" }), Refusal::ClockUntrusted);
    house.refuses("op-ada", "lockdown.clear", json!({ "node": true }), Refusal::ClockUntrusted);
    house.done("door.close", json!({ "door": "store" }));
    house.done("lockdown.set", json!({ "doors": ["store"] }));
    house.denied_for("locked_down", json!({ "door": "store" }), || house.at_store(CLEO));

    // A beat that agrees restores trust, without any time service.
    house.leaves_fallback("hall", hall, || house.site.cloud.cloud().clock_ahead = Duration::ZERO);
    house.trusts_its_clock(ClockTrust::Trusted);
    house.told_after(trusts, "clock.trusted", json!({ "clock": "trusted" }));
    house.done("lockdown.clear", json!({ "doors": ["store"] }));
    house.granted(json!({ "person": "eli", "door": "store" }), || house.at_store(ELI));
    house.granted(json!({ "person": "cleo", "door": "lab" }), || house.at_lab(CLEO));
}

#[test]
fn an_emergency_card_waits_for_its_time_wants_its_pin_is_used_up_and_raises_an_alarm_each_time() {
    let red = json!({ "pin": hashed("pin:red:0815"), "doors": ["lab", "front"], "uses_max": 2 });
    let mut house = House::running(&[
        ("emergency_card", "red", emergency_card(RED, red)),
        ("emergency_card", "blue", emergency_card(BLUE, json!({ "expires_at": "2020-01-01T00:00:00.000Z" }))),
        policy("alone", json!(["lab", "store", "front"]), json!({ "emergency_after_s": 3, "pin_tries": 4 })),
    ]);
    let cards = json!({ "cause": "emergency_cards" });
    // While the cloud is there it is a piece of plastic.
    house.denied_for("not_yet_active", json!({ "emergency_card": "red" }), || house.at_lab(RED));
    house.enters_fallback("alone", cards.clone(), || house.cloud_falls_silent());

    let shows_and_types = |house: &House, keys: &str| {
        house.at_lab(RED);
        house.polled(&house.lab);
        house.keys(keys);
    };
    house.denied_for("wrong_pin", json!({ "emergency_card": "red" }), || shows_and_types(&house, "1111#"));
    // Where there is no keypad it is of no use, nor where it is not meant for.
    house.denied_for("pin_required", json!({ "emergency_card": "red", "door": "front" }), || house.card(RED));
    house.denied_for("no_rule", json!({ "emergency_card": "red", "door": "store" }), || house.at_store(RED));
    house.denied_for("expired", json!({ "emergency_card": "blue", "door": "store" }), || house.at_store(BLUE));

    let used = json!({ "emergency_card": "red", "door": "lab", "reader": "lab-in", "uses": 1, "uses_max": 2 });
    house.told("emergency.used", used, || shows_and_types(&house, "0815#"));
    let source = json!({ "of": "emergency_card", "emergency_card": "red", "door": "lab" });
    house.event("alarm.raised", |json| json.get("source") == Some(&source));
    house.walks_through("lab");
    // Everybody else goes on as before.
    house.granted(json!({ "person": "cleo", "door": "lab" }), || house.at_lab(CLEO));
    house.walks_through("lab");

    // Its time has come for the next run as well, and its uses are counted through a power cut.
    house.drained();
    house.world.kill();
    let before = house.events_so_far();
    house.world.start();
    house.boot();
    house.world.ready();
    house.told("emergency.used", json!({ "uses": 2 }), || shows_and_types(&house, "0815#"));
    house.walks_through("lab");
    house.denied_for("expired", json!({ "emergency_card": "red", "door": "lab" }), || house.at_lab(RED));
    assert!(!house.lab.coil(LOCK_COIL));
    // Whoever asks why hears of the uses of both runs.
    let asked = json!({ "explain": { "door": "lab", "emergency_card": "red" } });
    let told = house.answered("node.diagnostics", asked)["explanation"].clone();
    assert_eq!(told["answer"]["reason"], "expired", "{told}");
    assert_eq!((&told["emergency_card"]["uses"], &told["emergency_card"]["uses_max"]), (&json!(2), &json!(2)));
    let (ok, text) = explain(&house, &["--door", "lab", "--emergency-card", "red", "--pin", "0815", "--stale"]);
    assert!(ok && text.contains("emergency card red does not open: expired, used 2 of 2 times"), "{text}");

    let events = house.site.cloud.cloud().events[before..].to_vec();
    let about_it = |event: &&StoredEvent| event.kind.starts_with("fallback.") && event.json["fallback"] == cards;
    assert_eq!(events.iter().filter(about_it).count(), 0, "neither left nor entered anew");
    house.leaves_fallback("alone", cards, || house.cloud_speaks_again());
}

//! System events over the wire: everything that can set one off, and everything that one can do. The lists are held
//! against the contract, so that what is new there is missing here by name.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use latchd::wire::outcome::Stage;
use latchd_sim::{
    board::Fault,
    site::{CONTACT_INPUT, LOCK_COIL, REX_INPUT},
};
use serde_json::{Value, json};

use crate::{
    contract::variants,
    house::{CLEO, DAN, ELI, House, crew_rule},
    story::{Told, hashed},
    world::STRANGER,
};

/// On the board inside of the laboratory.
pub const SIREN_COIL: u16 = 7;
pub const BUTTON_INPUT: u16 = 5;
const MAINS_INPUT: u16 = 6;
const COVER_INPUT: u16 = 7;
/// On that of the laboratory's door.
const FIRE_INPUT: u16 = 2;

const BESIDE: &str = r#"
[[output]]
id = "siren"
output = "inside/relay-8"
on = "energised"

[[input]]
id = "button"
kind = "general"
input = "inside/in-6"
active = true

[[input]]
id = "mains"
kind = "power"
input = "inside/in-7"
active = false

[[input]]
id = "cover"
kind = "tamper"
input = "inside/in-8"
active = true
door = "lab"

[[floor_group]]
id = "lift"
floors = [
  { count = 2, first = 0, id = "floor-{n}", output = "inside/relay-{i}", enabled = "energised" },
]

[[reader]]
id = "front-in"
"#;

pub fn house(lab_door: &str, records: &[Told<'_>]) -> House {
    let house = House::with(lab_door, &[("\n[[reader]]\nid = \"front-in\"\n", BESIDE)], records);
    house.told("power.restored", json!({ "input": "mains" }), || house.inside.set_input(MAINS_INPUT, true));
    house
}

fn always() -> Told<'static> {
    let every_day = json!(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]);
    ("schedule", "always", json!({ "weekly": [{ "days": every_day, "from": "00:00", "to": "24:00" }] }))
}

#[test]
fn everything_that_can_set_off_a_system_event_does() {
    let lab = "fire = { input = \"lab/in-3\", active = true }\nopen_time_ms = 1200\npre_alarm_ms = 0";
    let duress = json!({ "person": "eli", "medium": "pin", "token": hashed("pin:70708"), "duress": true });
    let waits = json!({ "doors": ["store"], "schedule": "always", "first_person_in": true });
    let mut house = house(
        lab,
        &[
            always(),
            ("access_rule", "crew-lab", crew_rule(json!({ "authentication": "card_or_pin" }))),
            ("credential", "eli-duress", duress),
            ("area", "lab", json!({ "entry_readers": ["lab-in"], "anti_passback": "soft" })),
            ("auto_open", "day", waits),
        ],
    );
    let names = variants("Trigger", "trigger");
    let told: Vec<(String, Value)> = names
        .iter()
        .map(|name| {
            let when = match name.as_str() {
                "multi_swipe" => json!({ "trigger": name, "swipes": 2, "within_ms": 60_000, "doors": ["store"] }),
                _ => json!({ "trigger": name }),
            };
            (name.clone(), json!({ "when": when, "do": [{ "action": "notify", "text": name }] }))
        })
        .collect();
    house.set(&told.iter().map(|(name, body)| ("system_event", name.as_str(), body.clone())).collect::<Vec<_>>());

    let seen: RefCell<BTreeSet<String>> = RefCell::default();
    let sets_off = |house: &House, trigger: &str, act: &dyn Fn()| {
        house.told("notification.sent", json!({ "system_event": trigger, "text": trigger }), act);
        seen.borrow_mut().insert(trigger.to_owned());
    };
    let (lab, inside, store) = (house.lab.clone(), house.inside.clone(), house.store.clone());
    sets_off(&house, "granted", &|| house.at_lab(CLEO));
    house.lab_becomes(true);
    sets_off(&house, "contact_opened", &|| lab.set_input(CONTACT_INPUT, false));
    sets_off(&house, "propped", &|| ());
    sets_off(&house, "alarm_cleared", &|| lab.set_input(CONTACT_INPUT, true));
    sets_off(&house, "apb_violation", &|| house.at_lab(CLEO));
    house.walks_through("lab");
    sets_off(&house, "duress", &|| house.keys("70708#"));
    house.lab_becomes(false);
    sets_off(&house, "unknown_credential", &|| house.at_lab(STRANGER));
    sets_off(&house, "denied", &|| house.at_lab(STRANGER));
    sets_off(&house, "rex", &|| lab.set_input(REX_INPUT, true));
    lab.set_input(REX_INPUT, false);
    house.lab_becomes(false);
    house.passes(crate::story::in_ms(1_000));
    sets_off(&house, "forced", &|| lab.set_input(CONTACT_INPUT, false));
    sets_off(&house, "contact_closed", &|| lab.set_input(CONTACT_INPUT, true));
    sets_off(&house, "fire_activated", &|| lab.set_input(FIRE_INPUT, true));
    sets_off(&house, "fire_cleared", &|| lab.set_input(FIRE_INPUT, false));

    let before = house.events_so_far();
    sets_off(&house, "first_in", &|| house.at_store(DAN));
    house.told_after(before, "notification.sent", json!({ "text": "auto_open_on", "door": "store" }));
    seen.borrow_mut().insert("auto_open_on".to_owned());
    sets_off(&house, "multi_swipe", &|| house.at_store(DAN));
    sets_off(&house, "auto_open_off", &|| house.set(&[("auto_open", "day", Value::Null)]));

    sets_off(&house, "input_activated", &|| inside.set_input(BUTTON_INPUT, true));
    sets_off(&house, "input_cleared", &|| inside.set_input(BUTTON_INPUT, false));
    sets_off(&house, "tamper", &|| inside.set_input(COVER_INPUT, true));
    sets_off(&house, "tamper_cleared", &|| inside.set_input(COVER_INPUT, false));
    sets_off(&house, "power_lost", &|| inside.set_input(MAINS_INPUT, false));
    sets_off(&house, "power_restored", &|| inside.set_input(MAINS_INPUT, true));

    let before = house.events_so_far();
    sets_off(&house, "board_lost", &|| store.set_fault(Fault::Silent));
    house.told_after(before, "notification.sent", json!({ "text": "reader_lost" }));
    seen.borrow_mut().insert("reader_lost".to_owned());
    let before = house.events_so_far();
    sets_off(&house, "board_restored", &|| store.set_fault(Fault::None));
    house.told_after(before, "notification.sent", json!({ "text": "reader_restored" }));
    seen.borrow_mut().insert("reader_restored".to_owned());

    // Nobody hears of it at once, and everybody later.
    house.world.site.broker.stop();
    house.logged(1, &["notification.sent", "text=\"cloud_lost\""]);
    let before = house.events_so_far();
    house.world.site.broker.start_again().unwrap();
    for trigger in ["cloud_lost", "cloud_restored"] {
        house.told_after(before, "notification.sent", json!({ "text": trigger }));
        seen.borrow_mut().insert(trigger.to_owned());
    }
    assert!(house.event("notification.sent", |json| json["text"] == "cloud_lost").replayed);
    assert_eq!(seen.into_inner(), names);
}

#[test]
fn everything_that_a_system_event_can_do_is_done_in_its_name() {
    let house = house("", &[]);
    let tried: RefCell<BTreeSet<String>> = RefCell::default();
    let number = Cell::new(0);
    let does = |action: Value, kind: &str, wanted: Value| {
        tried.borrow_mut().insert(action["action"].as_str().unwrap().to_owned());
        let when = json!({ "trigger": "input_activated", "inputs": ["button"] });
        // Another one each time: how often one may fire is bounded.
        number.set(number.get() + 1);
        let (id, before) = (format!("act-{}", number.get()), format!("act-{}", number.get() - 1));
        house.set(&[
            ("system_event", &before, Value::Null),
            ("system_event", &id, json!({ "when": when, "do": [action] })),
        ]);
        let told = house.told(kind, wanted, || house.inside.set_input(BUTTON_INPUT, true));
        house.told("input.cleared", json!({ "input": "button" }), || house.inside.set_input(BUTTON_INPUT, false));
        told
    };
    let by_it = json!({ "by": "system_event" });
    let store = json!(["store"]);
    let becomes = |mode: &str| json!({ "door": "store", "to": mode, "actor": by_it });
    let at_store = |action: &str| json!({ "action": action, "doors": store });
    let with = |action: Value, more: Value| crate::story::with(action, more);

    does(at_store("door_open"), "door.mode_changed", becomes("Unlocked"));
    house.relay(&house.store, LOCK_COIL, true);
    does(at_store("door_close"), "door.mode_changed", becomes("Locked"));
    house.relay(&house.store, LOCK_COIL, false);
    does(with(at_store("door_open_and_close"), json!({ "dwell_ms": 300 })), "door.mode_changed", becomes("Accessed"));
    house.relay(&house.store, LOCK_COIL, false);
    let soon = json!({ "delay_ms": 300 });
    does(with(at_store("door_open_with_delay"), soon.clone()), "door.mode_changed", becomes("Unlocked"));
    does(with(at_store("door_close_with_delay"), soon), "door.mode_changed", becomes("Locked"));
    let later = house.order("door.open_with_delay", json!({ "door": "store", "delay_ms": 60_000 }));
    house.stage(&later, Stage::Scheduled);
    does(at_store("door_cancel_delay"), "system_event.fired", json!({ "trigger": "input_activated" }));
    house.stage(&later, Stage::Cancelled);
    does(with(at_store("door_dnd"), json!({ "on": true })), "door.mode_changed", becomes("Blocked"));
    does(at_store("door_dnd_toggle"), "door.mode_changed", becomes("Locked"));
    does(with(at_store("door_force"), json!({ "state": "closed" })), "door.mode_changed", becomes("LockedDown"));
    does(with(at_store("door_force"), json!({ "state": "released" })), "door.mode_changed", becomes("Locked"));
    does(at_store("door_force_toggle"), "door.mode_changed", becomes("LockedOpen"));
    house.relay(&house.store, LOCK_COIL, true);
    does(at_store("door_force_toggle"), "door.mode_changed", becomes("Locked"));
    house.relay(&house.store, LOCK_COIL, false);

    let read = json!({ "action": "door_virtual_read", "door": "store", "person": "dan" });
    does(read, "access.granted", json!({ "person": "dan", "door": "store", "actor": by_it }));
    house.walks_through("store");

    house.passes(crate::story::in_ms(1_000));
    house.told("door.forced", json!({ "door": "store" }), || house.store.set_input(CONTACT_INPUT, false));
    let acknowledged = json!({ "door": "store", "alarm": "forced", "actor": by_it });
    does(at_store("alarm_acknowledge"), "door.alarm_acknowledged", acknowledged);
    house.closes_door("store");

    let forgets = json!({ "action": "apb_clear", "person": "eli" });
    does(forgets, "apb.cleared", json!({ "person": "eli", "actor": by_it }));

    let lift = |action: &str| json!({ "action": action, "floor_group": "lift", "floors": ["floor-1"] });
    let floors = json!({ "floor_group": "lift", "floors": ["floor-1"], "actor": by_it });
    does(lift("floor_open"), "floor.enabled", floors.clone());
    house.relay(&house.inside, 1, true);
    does(lift("floor_close"), "floor.disabled", floors.clone());
    house.relay(&house.inside, 1, false);
    does(with(lift("floor_open_and_close"), json!({ "dwell_ms": 300 })), "floor.enabled", floors);
    house.relay(&house.inside, 1, false);

    let node = |action: &str| json!({ "action": action, "node": true });
    does(node("lockdown_set"), "door.mode_changed", becomes("LockedDown"));
    house.denied_for("locked_down", json!({ "person": "eli" }), || house.at_lab(ELI));
    does(node("lockdown_clear"), "door.mode_changed", becomes("Locked"));

    let pulse = json!({ "action": "output_pulse", "output": "siren", "pulse_ms": 300 });
    does(pulse, "output.pulsed", json!({ "output": "siren", "actor": by_it }));
    house.relay(&house.inside, SIREN_COIL, false);
    let on = json!({ "action": "output_set", "output": "siren", "on": true });
    does(on, "output.switched", json!({ "output": "siren", "on": true, "actor": by_it }));
    house.relay(&house.inside, SIREN_COIL, true);

    let says = |action: &str| json!({ "action": action, "text": "somebody rang" });
    let source = json!({ "of": "system_event" });
    let raised = does(says("alarm"), "alarm.raised", json!({ "text": "somebody rang", "source": source }));
    house.answered("alarm.acknowledge", json!({ "alarm": raised["alarm"] }));
    does(says("notify"), "notification.sent", json!({ "text": "somebody rang" }));
    assert_eq!(tried.into_inner(), variants("SystemAction", "action"));
}

#[test]
fn a_button_that_somebody_leans_on_fires_ten_times_and_then_says_how_often_it_did_not() {
    let rings = json!({ "when": { "trigger": "input_activated" }, "do": [{ "action": "notify", "text": "ring" }] });
    let house = house("", &[("system_event", "bell", rings)]);
    let presses = || {
        house.inside.set_input(BUTTON_INPUT, true);
        house.polled(&house.inside);
        house.inside.set_input(BUTTON_INPUT, false);
        house.polled(&house.inside);
    };
    (0..10).for_each(|_| presses());
    let mut more = 0;
    house.until("enough", || {
        presses();
        more += 1;
        house.count("system_event.suppressed") > 0
    });
    house.drained();
    let suppressed = house.event_of("system_event.suppressed", "system_event", "bell");
    assert!(suppressed.json["count"].as_u64().unwrap() >= 1);
    assert!((10..10 + more).contains(&house.count("notification.sent")), "{more} more");
}

#[test]
fn outside_of_its_hours_a_system_event_sleeps() {
    let rings = |text: &str, schedule: &str| {
        let when = json!({ "trigger": "input_activated" });
        json!({ "when": when, "schedule": schedule, "do": [{ "action": "notify", "text": text }] })
    };
    let house = house(
        "",
        &[
            always(),
            ("schedule", "never", json!({})),
            ("system_event", "a-sleeps", rings("asleep", "never")),
            ("system_event", "b-wakes", rings("awake", "always")),
        ],
    );
    house.told("notification.sent", json!({ "text": "awake" }), || house.inside.set_input(BUTTON_INPUT, true));
    house.drained();
    assert_eq!((house.count("notification.sent"), house.count("system_event.fired")), (1, 1));
}

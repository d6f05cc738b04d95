//! Emergency cards: when their time has come, and how each use is told.

use super::*;

const RED: u32 = 0x8ED;

fn red(more: Value) -> (String, Value) {
    let mut body = json!({ "token": hash(&card_text(RED)) });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    record("emergency_card", "red", body)
}

fn after_an_hour() -> (String, Value) {
    record("door_policy", "site", json!({ "doors": ["front", "back"], "emergency_after_s": 3600 }))
}

#[test]
fn it_opens_only_after_its_time_without_a_beat_and_every_use_is_an_alarm() {
    let mut scene = Scene::new(&[red(json!({})), after_an_hour()]);
    let events = scene.card(BACK_IN, RED);
    assert_eq!(access(&events), ["access.denied not_yet_active red"]);
    assert_eq!(told(&scene.wait(3_600_000), &["fallback"]), [r#"fallback.entered {"cause":"emergency_cards"}"#]);
    let events = scene.card(BACK_IN, RED);
    assert_eq!(
        told(&events, &["emergency_card", "uses", "source", "actor"]),
        [
            "access.granted red",
            "emergency.used red 1",
            r#"door.mode_changed {"by":"emergency_card","emergency_card":"red"}"#,
            r#"alarm.raised {"door":"back","emergency_card":"red","of":"emergency_card"}"#,
        ]
    );
    assert!(scene.unlocked(BACK));
    assert_eq!(events[0].get("person"), None);
    scene.beat();
    scene.wait(60_000);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied not_yet_active red"]);
}

#[test]
fn the_time_without_a_beat_is_counted_through_restarts_even_without_a_clock() {
    let mut scene = Scene::new(&[red(json!({})), after_an_hour()]);
    scene.wait(1_800_000);
    scene.now.trust = ClockTrust::Untrusted;
    scene.restart(100_000);
    scene.hears_the_boards();
    assert_eq!(
        access(&scene.card(BACK_IN, RED)),
        ["access.denied not_yet_active red"],
        "nobody knows how long it was off"
    );
    scene.wait(1_500_000);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied not_yet_active red"]);
    scene.wait(300_000);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.granted red"]);

    let mut scene = Scene::new(&[red(json!({})), after_an_hour()]);
    scene.restart(3_600);
    scene.hears_the_boards();
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.granted red"], "with a clock the time off counts");
}

#[test]
fn with_a_pin_it_is_asked_for_and_wrong_ones_lock_it_out() {
    let mut scene = Scene::new(&[red(json!({ "pin": hash("pin:red:7777") })), after_an_hour()]);
    scene.wait(3_600_000);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied pin_required red"], "no keypad there");
    assert_eq!(scene.card(FRONT_IN, RED), Vec::<Value>::new());
    assert_eq!(scene.card(FRONT_IN, RED), Vec::<Value>::new(), "the same card waits on");
    assert_eq!(access(&scene.types("7777#")), ["access.granted red"]);
    scene.wait(60_000);
    for _ in 0..4 {
        scene.card(FRONT_IN, RED);
        assert_eq!(access(&scene.types("1#")), ["access.denied wrong_pin red"]);
    }
    scene.card(FRONT_IN, RED);
    assert_eq!(access(&scene.types("1#")), ["access.denied wrong_pin red", "access.pin_locked_out red"]);
    assert_eq!(access(&scene.card(FRONT_IN, RED)), ["access.denied pin_locked_out red"]);
    scene.wait(310_000);
    scene.card(FRONT_IN, RED);
    assert_eq!(access(&scene.wait(10_000)), ["access.denied pin_required red"]);
}

#[test]
fn it_keeps_to_its_doors_its_expiry_and_its_uses_also_after_a_restart() {
    let limits = red(json!({ "doors": ["back"], "uses_max": 2 }));
    let mut scene = Scene::new(&[limits, after_an_hour()]);
    scene.wait(3_600_000);
    assert_eq!(access(&scene.card(FRONT_IN, RED)), ["access.denied no_rule red"]);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.granted red"]);
    scene.restart(1);
    scene.hears_the_boards();
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.granted red"]);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied expired red"]);
    let expires_at = scene.now.wall.to_string();
    scene.put(&[red(json!({ "expires_at": expires_at }))]);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied expired red"]);
    scene.delete("emergency_card/red");
    assert_eq!(
        (access(&scene.card(BACK_IN, RED)), scene.kept("emergency_uses")),
        (vec!["access.denied unknown_credential".to_owned()], 0)
    );
}

#[test]
fn it_bows_to_the_doors_mode() {
    let mut scene = Scene::new(&[red(json!({})), after_an_hour()]);
    scene.wait(3_600_000);
    scene.order(Task::Door(BACK, DoorAction::Lockdown(true)));
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied locked_down red"]);
}

#[test]
fn when_the_mirror_is_lost_it_opens_from_the_copy_outside_of_it_and_nobody_else_is_let_in() {
    let mut scene = Scene::new(&[staff("card"), red(json!({ "uses_max": 1 }))]);
    scene.loses_the_mirror();
    let events = scene.restart(5);
    assert!(
        told(&events, &["fallback"]).contains(&r#"fallback.entered {"cause":"emergency_cards"}"#.to_owned()),
        "{events:?}"
    );
    scene.hears_the_boards();
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.denied stale_permissions"]);
    for typed in ["1234#", "12345678901234567890#"] {
        assert_eq!(access(&scene.types(typed)), ["access.denied stale_permissions"], "no PIN is called wrong");
    }
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.granted red"]);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied expired red"]);
    scene.mirror_lost = false;
    scene.apply();
    scene.beat();
    assert_eq!(access(&scene.card(BACK_IN, ADA)), ["access.granted ada"]);
    assert_eq!(access(&scene.card(BACK_IN, RED)), ["access.denied expired red"], "its uses are remembered");
}

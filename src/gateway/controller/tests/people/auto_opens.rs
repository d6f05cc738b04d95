//! Doors that schedules unlock, in UTC. The scene begins on Monday 21 September 2026 at 14:13:20.

use super::*;

fn afternoon() -> (String, Value) {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    record("schedule", "afternoon", json!({ "weekly": [{ "days": days, "from": "15:00", "to": "18:00" }] }))
}

fn auto_open(more: Value) -> (String, Value) {
    let mut body = json!({ "doors": ["front"], "schedule": "afternoon" });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    record("auto_open", "hours", body)
}

const HOUR: u64 = 3_600_000;

/// Until 15:00:00.
fn opens(scene: &mut Scene) -> Vec<Value> {
    scene.wait(46 * 60_000 + 40_000)
}

#[test]
fn the_door_is_unlocked_and_locked_again_in_time_each_with_its_event() {
    let mut scene = Scene::new(&[afternoon(), auto_open(json!({}))]);
    let events = opens(&mut scene);
    assert_eq!(
        told(&events, &["door", "auto_open", "to", "actor"]),
        [r#"door.mode_changed front Unlocked {"auto_open":"hours","by":"auto_open"}"#, "auto_open.started front hours",]
    );
    assert!(scene.unlocked(FRONT) && !scene.unlocked(BACK));
    let events = scene.wait(3 * HOUR);
    assert_eq!(told(&events, &["to", "reason"]), ["door.mode_changed Locked", "auto_open.ended schedule"]);
    assert!(!scene.unlocked(FRONT));
}

#[test]
fn a_manual_close_lasts_until_the_next_boundary_and_a_manual_open_too() {
    let mut scene = Scene::new(&[afternoon(), auto_open(json!({}))]);
    opens(&mut scene);
    scene.wait(1_000);
    scene.order(Task::Door(FRONT, DoorAction::Close));
    assert!(!scene.unlocked(FRONT));
    scene.restart(60);
    assert!(!scene.unlocked(FRONT), "also after a restart");
    scene.hears_the_boards();
    scene.wait(3 * HOUR);
    scene.order(Task::Door(FRONT, DoorAction::Open));
    scene.confirm(FRONT);
    assert!(scene.unlocked(FRONT));
    scene.wait(21 * HOUR);
    assert!(scene.unlocked(FRONT), "by the schedule now");
    scene.wait(3 * HOUR);
    assert!(!scene.unlocked(FRONT), "and it ended with it");
}

#[test]
fn it_waits_for_the_first_person_who_is_let_in_there_and_not_for_a_virtual_one() {
    let first = auto_open(json!({ "first_person_in": true, "first_person_groups": ["fire-brigade"] }));
    let mut scene = Scene::new(&[staff("card"), afternoon(), first]);
    assert_eq!(opens(&mut scene), Vec::<Value>::new());
    scene.card(FRONT_IN, ADA);
    scene.card(BACK_IN, EVE);
    scene.order(Task::VirtualRead { door: FRONT, person: id("eve"), credential: None });
    scene.wait(60_000);
    assert!(!scene.unlocked(FRONT));
    let events = scene.card(FRONT_IN, EVE);
    let told = told(&events, &["auto_open"]);
    let order = ["access.granted", "auto_open.first_person_came hours", "auto_open.started hours"];
    assert!(order.iter().all(|wanted| told.iter().any(|line| line == wanted)), "{told:?}");
    scene.restart(60);
    assert!(scene.unlocked(FRONT), "she came already");
}

#[test]
fn lockdown_covers_it_and_clearing_uncovers_it() {
    let mut scene = Scene::new(&[afternoon(), auto_open(json!({}))]);
    opens(&mut scene);
    scene.order(Task::Door(FRONT, DoorAction::Lockdown(true)));
    assert!(!scene.unlocked(FRONT));
    scene.order(Task::Door(FRONT, DoorAction::Lockdown(false)));
    assert!(scene.unlocked(FRONT));
}

#[test]
fn without_a_trusted_clock_it_is_locked() {
    let mut scene = Scene::new(&[afternoon(), auto_open(json!({}))]);
    opens(&mut scene);
    let events = scene.trust(ClockTrust::Untrusted);
    assert!(told(&events, &["reason"]).contains(&"auto_open.ended clock_untrusted".to_owned()), "{events:?}");
    assert!(!scene.unlocked(FRONT));
    scene.trust(ClockTrust::Trusted);
    assert!(scene.unlocked(FRONT));
}

#[test]
fn a_clock_that_is_set_is_noticed_at_once() {
    let mut scene = Scene::new(&[afternoon(), auto_open(json!({}))]);
    scene.now.wall = scene.now.wall + Duration::from_secs(3600);
    scene.tell(Input::Timeout);
    assert!(scene.unlocked(FRONT));
    scene.now.wall = scene.now.wall.saturating_sub(Duration::from_secs(3600));
    scene.tell(Input::Timeout);
    assert!(!scene.unlocked(FRONT));
}

#[test]
fn a_restart_within_the_interval_unlocks_without_a_pulse_and_without_an_event_of_its_own() {
    let mut scene = Scene::new(&[afternoon(), auto_open(json!({}))]);
    opens(&mut scene);
    let events = scene.restart(60);
    assert!(scene.unlocked(FRONT), "before the first board is heard of");
    assert_eq!(told(&events, &["to"]), ["door.mode_changed Unlocked"]);
    let events = scene.restart(4 * 3600);
    assert_eq!(told(&events, &["reason"]), ["auto_open.ended schedule"], "it ended while the node was off");
}

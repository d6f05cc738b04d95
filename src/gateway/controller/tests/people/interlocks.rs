//! Two doors of which one at most may be open or unlocked.

use super::*;

fn mantrap() -> Scene {
    let trap = record("interlock", "trap", json!({ "doors": ["front", "back"] }));
    Scene::new(&[staff("card"), trap])
}

fn modes(events: &[Value]) -> Vec<String> {
    let of_mode: Vec<Value> = events.iter().filter(|event| event["type"] == "door.mode_changed").cloned().collect();
    let line =
        |event: &Value| format!("{} {}", event["door"].as_str().unwrap_or(""), event["to"].as_str().unwrap_or(""));
    of_mode.iter().map(line).collect()
}

#[test]
fn of_two_cards_in_the_same_instant_one_wins() {
    let mut scene = mantrap();
    let first = scene.card(BACK_IN, ADA);
    let second = scene.card(FRONT_IN, BEN);
    assert_eq!(
        (access(&first), access(&second)),
        (vec!["access.granted ada".into()], vec!["access.denied interlock ben".to_owned()])
    );
    assert!(scene.unlocked(BACK) && !scene.unlocked(FRONT));
    let blocked = first.iter().find(|event| event["door"] == "front").expect("its mode");
    assert_eq!(blocked["actor"], json!({ "by": "interlock", "interlock": "trap" }));
}

#[test]
fn the_other_door_is_free_again_when_the_first_is_shut_and_locked() {
    let mut scene = mantrap();
    scene.card(BACK_IN, ADA);
    scene.confirm(BACK);
    scene.contact(GATE, false);
    scene.confirm(BACK);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied interlock ben"], "it stands open");
    scene.contact(GATE, true);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.granted ben"]);
}

#[test]
fn the_way_out_is_open_all_the_same_and_locks_the_other_door() {
    let mut scene = mantrap();
    scene.card(BACK_IN, ADA);
    let events = scene.rex(RELAYS, true);
    assert_eq!(modes(&events), ["front Accessed", "back Blocked"]);
    assert!(scene.unlocked(FRONT) && !scene.unlocked(BACK));
}

#[test]
fn fire_opens_both() {
    let mut scene = mantrap();
    scene.bus(BusReport::Input { input: InputRef { board: RELAYS, input: FIRE }, energised: true });
    assert!(scene.unlocked(FRONT) && scene.unlocked(BACK));
}

#[test]
fn after_a_restart_nothing_opens_before_the_contacts_are_known_and_what_was_open_stays_so() {
    let mut scene = mantrap();
    scene.restart(1);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied interlock ben"]);
    scene.hears_the_boards();
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.granted ben"]);
    scene.wait(60_000);
    let ticket = scene.order(Task::Door(BACK, DoorAction::Open));
    scene.confirm(BACK);
    assert_eq!(scene.progress(ticket).len(), 1);
    let events = scene.restart(1);
    assert_eq!(modes(&events), ["front Blocked"]);
    assert!(scene.unlocked(BACK), "it was never locked");
}

#[test]
fn a_lost_contact_lets_no_other_door_begin() {
    let mut scene = mantrap();
    scene.bus(BusReport::BoardLost { board: GATE, detail: "no answer".to_owned() });
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied interlock ben"]);
    scene.rex(RELAYS, true);
    assert!(scene.unlocked(FRONT), "the way out is free");
}

#[test]
fn an_operators_open_of_the_other_door_is_a_conflict() {
    let mut scene = mantrap();
    scene.card(BACK_IN, ADA);
    let ticket = scene.order(Task::Door(FRONT, DoorAction::Open));
    assert!(matches!(scene.progress(ticket)[..], [Progress::Refused(Refusal::Conflict, _)]));
}

#[test]
fn an_interlock_that_is_deleted_frees_its_doors() {
    let mut scene = mantrap();
    scene.card(BACK_IN, ADA);
    assert_eq!(modes(&scene.delete("interlock/trap")), ["front Locked"]);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.granted ben"]);
}

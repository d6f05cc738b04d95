//! Two who may pass only together.

use super::*;

fn scene() -> Scene {
    Scene::new(&[staff("two_person")])
}

#[test]
fn two_different_people_within_the_time_are_both_granted_and_name_each_other() {
    let mut scene = scene();
    assert_eq!(scene.card(BACK_IN, ADA), Vec::<Value>::new());
    scene.wait(14_000);
    let events = scene.card(BACK_IN, BEN);
    let granted: Vec<Value> = events.into_iter().filter(|event| event["type"] == "access.granted").collect();
    assert_eq!(told(&granted, &["person", "companion"]), ["access.granted ada ben", "access.granted ben ada"]);
    assert!(scene.unlocked(BACK));
}

#[test]
fn the_same_person_is_no_second_one_and_alone_nobody_passes() {
    let mut scene = scene();
    scene.card(BACK_IN, ADA);
    assert_eq!(scene.card(BACK_IN, ADA), Vec::<Value>::new());
    let events = scene.wait(15_000);
    assert_eq!(access(&events), ["access.denied second_person_required ada"]);
    assert_eq!(scene.card(BACK_IN, BEN), Vec::<Value>::new(), "she has gone");
    let other_card = record("credential", "bens-other", json!({ "person": "ben", "token": hash(&card_text(0x77)) }));
    scene.put(&[other_card]);
    assert_eq!(scene.card(BACK_IN, 0x77), Vec::<Value>::new(), "another card of his is still his");
    assert!(!scene.unlocked(BACK));
}

#[test]
fn a_second_card_that_is_refused_ends_the_first_as_well() {
    let mut scene = scene();
    scene.put(&[record("person", "ben", json!({ "groups": [] }))]);
    scene.card(BACK_IN, ADA);
    assert_eq!(
        access(&scene.card(BACK_IN, BEN)),
        ["access.denied second_person_required ada", "access.denied no_rule ben"]
    );
    scene.card(BACK_IN, ADA);
    assert_eq!(
        access(&scene.card(BACK_IN, STRANGER)),
        ["access.denied second_person_required ada", "access.denied unknown_credential"]
    );
}

#[test]
fn somebody_who_may_pass_alone_is_granted_alone() {
    let mut scene = scene();
    let boss = record("access_rule", "boss", json!({ "effect": "allow", "persons": ["ben"], "doors": ["back"] }));
    scene.put(&[boss, record("person", "ben", json!({ "groups": [] }))]);
    scene.card(BACK_IN, ADA);
    assert_eq!(access(&scene.card(BACK_IN, BEN)), ["access.denied second_person_required ada", "access.granted ben"]);
}

#[test]
fn readers_wait_for_themselves() {
    let mut scene = scene();
    scene.card(BACK_IN, ADA);
    assert_eq!(scene.card(FRONT_OUT, BEN), Vec::<Value>::new());
    assert_eq!(access(&scene.card(FRONT_OUT, ADA)), ["access.granted ben", "access.granted ada"]);
}

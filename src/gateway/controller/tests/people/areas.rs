//! Anti-passback and occupancy at the readers.

use super::*;

fn hall(more: Value) -> (String, Value) {
    let mut hall = json!({ "entry_readers": ["front-in"], "exit_readers": ["front-out"] });
    hall.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    record("area", "hall", hall)
}

/// Somebody is granted at this reader, goes through the front door and lets it fall shut.
fn passes(scene: &mut Scene, reader: ReaderIx, number: u32) -> Vec<String> {
    let mut events = scene.card(reader, number);
    scene.confirm(FRONT);
    events.extend(scene.contact(RELAYS, false));
    scene.contact(RELAYS, true);
    scene.wait(10_000);
    access(&events)
}

#[test]
fn whoever_is_inside_is_denied_and_told_of_until_they_have_left() {
    let mut scene = Scene::new(&[staff("card"), hall(json!({ "anti_passback": "hard" }))]);
    passes(&mut scene, FRONT_IN, ADA);
    assert_eq!(scene.count("hall"), 1);
    let events = scene.card(FRONT_IN, ADA);
    assert_eq!(
        told(&events, &["reason", "person", "area", "way", "denied"]),
        ["apb.violated ada hall entry true", "access.denied apb_violation ada hall"]
    );
    assert!(!scene.unlocked(FRONT));
    assert_eq!(passes(&mut scene, FRONT_IN, EVE), ["access.granted eve"]);
    assert_eq!(passes(&mut scene, FRONT_IN, EVE), ["access.granted eve"], "nothing stops her");
    assert_eq!(passes(&mut scene, FRONT_OUT, ADA), ["access.granted ada"]);
    assert_eq!(scene.count("hall"), 1);
    assert_eq!(passes(&mut scene, FRONT_IN, ADA), ["access.granted ada"]);
}

#[test]
fn a_soft_violation_is_told_and_granted() {
    let mut scene = Scene::new(&[staff("card"), hall(json!({ "anti_passback": "soft" }))]);
    passes(&mut scene, FRONT_OUT, ADA);
    let events = scene.card(FRONT_OUT, ADA);
    assert_eq!(told(&events[..2], &["person", "way", "denied"]), ["apb.violated ada exit false", "access.granted ada"]);
}

#[test]
fn who_was_granted_and_did_not_open_the_door_has_not_passed() {
    let mut scene = Scene::new(&[staff("card"), hall(json!({ "anti_passback": "hard", "occupancy_max": 1 }))]);
    scene.card(FRONT_IN, ADA);
    assert_eq!(access(&scene.card(FRONT_IN, BEN)), ["access.denied area_full ben"], "her place is taken meanwhile");
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.granted ada"], "once more, for she missed the door");
    scene.wait(60_000);
    assert_eq!(scene.count("hall"), 0);
    assert_eq!(passes(&mut scene, FRONT_IN, BEN), ["access.granted ben"]);
    assert_eq!(scene.count("hall"), 1);
}

#[test]
fn where_no_contact_tells_a_grant_counts_as_the_passage() {
    let mut scene = Scene::new(&[staff("card"), hall(json!({}))]);
    scene.card(FRONT_IN, ADA);
    assert_eq!(scene.count("hall"), 0);
    scene.bus(BusReport::BoardLost { board: RELAYS, detail: "no answer".to_owned() });
    assert_eq!(scene.count("hall"), 1, "nobody will see whether she opens it");
    scene.card(FRONT_OUT, ADA);
    assert_eq!(scene.count("hall"), 0);
    scene.hears_the_boards();
    scene.order(Task::Door(FRONT, DoorAction::Open));
    scene.contact(RELAYS, false);
    scene.card(FRONT_IN, BEN);
    assert_eq!(scene.count("hall"), 1, "the door stands open");
}

#[test]
fn two_of_whom_one_may_not_enter_are_both_denied() {
    let mut scene = Scene::new(&[staff("two_person"), hall(json!({ "occupancy_max": 1 }))]);
    scene.put(&[staff("card")]);
    passes(&mut scene, FRONT_IN, ADA);
    scene.put(&[staff("two_person")]);
    scene.card(FRONT_IN, ADA);
    let events = scene.card(FRONT_IN, BEN);
    assert_eq!(access(&events), ["access.denied second_person_required ada", "access.denied area_full ben"]);
    assert!(!scene.unlocked(FRONT));
}

#[test]
fn two_together_are_one_too_many_for_the_last_place() {
    let mut scene = Scene::new(&[staff("two_person"), hall(json!({ "occupancy_max": 1 }))]);
    scene.card(FRONT_IN, ADA);
    let events = scene.card(FRONT_IN, BEN);
    assert_eq!(access(&events), ["access.denied area_full ada", "access.denied area_full ben"]);
    assert!(!scene.unlocked(FRONT));
    scene.put(&[hall(json!({ "occupancy_max": 2 }))]);
    scene.card(FRONT_IN, ADA);
    let events = scene.card(FRONT_IN, BEN);
    assert_eq!(access(&events), ["access.granted ada", "access.granted ben"]);
}

#[test]
fn what_the_doors_know_of_somebody_is_found_out_without_moving_or_telling_anything() {
    use crate::domain::permission::Target;
    let mut scene = Scene::new(&[staff("card"), hall(json!({ "anti_passback": "hard" }))]);
    passes(&mut scene, FRONT_IN, ADA);
    for (person, refused) in [("ada", true), ("ben", false)] {
        let ticket = scene.order(Task::Examine { place: Target::Door(FRONT), person: id(person) });
        let progress = scene.progress(ticket);
        let [Progress::Examined(found)] = progress.as_slice() else { panic!("{progress:?}") };
        let denied: Vec<bool> = found.readers.iter().map(|(_, verdict)| verdict.denied.is_some()).collect();
        assert_eq!((denied, found.pin_locked_out), (vec![refused, false], false), "{person}");
    }
    assert!(!scene.unlocked(FRONT));
    assert_eq!(access(&scene.card(FRONT_OUT, ADA)), ["access.granted ada"]);
}

#[test]
fn whereabouts_outlive_a_restart_and_are_forgotten_by_command() {
    let mut scene = Scene::new(&[staff("card"), hall(json!({ "anti_passback": "hard" }))]);
    passes(&mut scene, FRONT_IN, ADA);
    passes(&mut scene, FRONT_IN, BEN);
    scene.restart(100);
    scene.hears_the_boards();
    assert_eq!(scene.count("hall"), 2);
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.denied apb_violation ada"]);
    let clear =
        |person: Option<&str>, area: Option<&str>| Task::ClearApb { person: person.map(id), area: area.map(id) };
    let ticket = scene.order(clear(Some("ada"), None));
    assert_eq!((scene.progress(ticket), scene.count("hall")), (vec![&Progress::Done], 1));
    assert_eq!(access(&scene.card(FRONT_IN, ADA)), ["access.granted ada"]);
    let ticket = scene.order(clear(None, Some("attic")));
    assert!(matches!(scene.progress(ticket)[..], [Progress::Refused(Refusal::UnknownTarget, _)]));
    scene.order(clear(None, None));
    assert_eq!((scene.count("hall"), scene.kept("whereabouts")), (0, 0));
    scene.restart(1);
    assert_eq!(scene.count("hall"), 0);
}

#[test]
fn an_area_has_a_state_while_the_set_has_it_and_people_who_are_deleted_leave_it() {
    let mut scene = Scene::new(&[staff("card"), hall(json!({ "occupancy_max": 5 }))]);
    let area = Thing::Area(id("hall"));
    assert!(scene.changed.contains(&area) && scene.controller.things().any(|thing| thing == area));
    scene.changed.clear();
    passes(&mut scene, FRONT_IN, BEN);
    assert!(scene.changed.contains(&area));
    let status = json!({ "area": "hall", "count": 1, "limit": 5 });
    let Some(Status::Area(now)) = scene.controller.status(&area) else { panic!("no status") };
    assert_eq!(json!(now), status);
    scene.delete("credential/ben-card");
    scene.delete("person/ben");
    scene.wait(1_000);
    assert_eq!(scene.count("hall"), 0);
    scene.changed.clear();
    scene.delete("area/hall");
    assert_eq!((scene.changed.contains(&area), scene.controller.status(&area)), (true, None));
}

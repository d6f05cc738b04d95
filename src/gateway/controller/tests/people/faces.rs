//! What readers show: the door's state, and what was decided at this reader.

use super::*;
use crate::domain::{
    indication::{Face, Moment},
    order::Switch,
};

fn face(scene: &Scene, reader: ReaderIx) -> Face {
    scene.controller.indications().0[reader.index()].face
}

fn moment(scene: &Scene, reader: ReaderIx) -> Option<Moment> {
    scene.controller.indications().0[reader.index()].moment.map(|(moment, _)| moment)
}

#[test]
fn a_reader_asks_for_the_pin_and_shows_the_decision_and_another_of_the_door_its_state_alone() {
    let mut scene = Scene::new(&[staff("card_and_pin")]);
    assert_eq!((face(&scene, FRONT_IN), moment(&scene, FRONT_IN)), (Face::Armed, None));
    scene.card(FRONT_IN, ADA);
    assert_eq!((face(&scene, FRONT_IN), moment(&scene, FRONT_IN)), (Face::Armed, Some(Moment::WaitingForPin)));
    scene.types("1234#");
    assert_eq!((face(&scene, FRONT_IN), moment(&scene, FRONT_IN)), (Face::Unlocked, Some(Moment::Granted)));
    assert_eq!((face(&scene, FRONT_OUT), moment(&scene, FRONT_OUT)), (Face::Unlocked, None));
    assert_eq!((face(&scene, BACK_IN), moment(&scene, BACK_IN)), (Face::Armed, None));
    scene.wait(20_000);
    assert_eq!(face(&scene, FRONT_IN), Face::Armed);
    scene.card(FRONT_IN, STRANGER);
    assert_eq!(moment(&scene, FRONT_IN), Some(Moment::Denied));
}

#[test]
fn a_second_person_is_asked_for() {
    let mut scene = Scene::new(&[staff("two_person")]);
    scene.card(BACK_IN, ADA);
    assert_eq!(moment(&scene, BACK_IN), Some(Moment::WaitingForSecond));
}

#[test]
fn a_door_that_is_locked_down_blocked_or_forced_says_so_at_its_readers() {
    let mut scene = Scene::new(&[staff("card")]);
    for (action, expected) in [
        (DoorAction::Lockdown(true), Face::LockedDown),
        (DoorAction::Lockdown(false), Face::Armed),
        (DoorAction::Dnd(Switch::On), Face::Blocked),
        (DoorAction::Dnd(Switch::Off), Face::Armed),
    ] {
        scene.order(Task::Door(FRONT, action));
        assert_eq!((face(&scene, FRONT_IN), face(&scene, BACK_IN)), (expected, Face::Armed), "{expected:?}");
    }
    scene.contact(GATE, false);
    assert_eq!((face(&scene, FRONT_IN), face(&scene, BACK_IN)), (Face::Armed, Face::Alarm));
}

#[test]
fn whoever_is_denied_sees_it_however_many_were_denied_before_and_are_counted_alone() {
    let mut scene = Scene::new(&[staff("card")]);
    let mut told = 0;
    let mut last = 0;
    for _ in 0..200 {
        told += scene.card(FRONT_IN, STRANGER).len();
        let shown = scene.controller.indications().0[FRONT_IN.index()].moment;
        let (moment, number) = shown.expect("something is shown");
        assert!(moment == Moment::Denied && number > last, "{shown:?} after {last}");
        last = number;
    }
    assert!(told < 100, "{told} events");
}

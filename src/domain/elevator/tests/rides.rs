//! Reads, public schedules, chosen floors.

use super::*;

#[test]
fn one_read_enables_every_floor_of_its_holder_for_the_configured_time() {
    let mut rig = Rig::new();
    let effects = rig.ride("ada", &[GROUND, SECOND]);
    assert_eq!(types(&effects), ["floor.enabled"]);
    assert_eq!(rig.enabled(), set(&[GROUND, SECOND]));
    for desired in [rig.desired()[GROUND], rig.desired()[SECOND]] {
        assert_eq!(desired.until, Some(rig.now.mono + Duration::from_secs(10)));
        assert_eq!(desired.rest, desired.level.inverted());
    }
    rig.pass(10_000);
    // The relay falls although nobody asked the elevator again.
    assert_eq!(rig.enabled(), FloorSet::NONE);
    assert_eq!(types(&rig.tell(ElevatorInput::Timeout)), ["floor.disabled"]);
}

#[test]
fn a_second_read_adds_its_floors_and_shortens_nothing() {
    let mut rig = Rig::new();
    let _ = rig.ride("ada", &[FIRST]);
    rig.pass(6_000);
    let _ = rig.ride("ben", &[FIRST, ROOF]);
    rig.pass(6_000);
    let _ = rig.tell(ElevatorInput::Timeout);
    assert_eq!(rig.enabled(), set(&[FIRST, ROOF]));
    rig.pass(4_000);
    let _ = rig.tell(ElevatorInput::Timeout);
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn who_needs_more_time_gets_it() {
    let mut rig = Rig::new();
    let (person, credential) = (id("ada"), id("card"));
    let _ = rig.tell(ElevatorInput::Ride(Ride {
        floors: set(&[ROOF]),
        actor: Actor::Person { person, credential },
        extended: true,
        enable_s: None,
    }));
    rig.pass(19_999);
    assert_eq!(rig.enabled(), set(&[ROOF]));
    rig.pass(1);
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn a_chosen_floor_names_the_person_whose_read_enabled_it_if_it_was_one() {
    let mut rig = Rig::new();
    let _ = rig.tell(ElevatorInput::Selected { floor: FIRST, active: false });
    let press = |rig: &mut Rig| {
        let effects = rig.tell(ElevatorInput::Selected { floor: FIRST, active: true });
        let _ = rig.tell(ElevatorInput::Selected { floor: FIRST, active: false });
        effects.events
    };
    assert_eq!(press(&mut rig), [EventBody::FloorSelectedWithoutRight { floor_group: id("lift"), floor: id("first") }]);
    let selected = |person: Option<&str>| EventBody::FloorSelected {
        floor_group: id("lift"),
        floor: id("first"),
        person: person.map(id),
        credential: person.map(|_| id("card")),
    };
    let _ = rig.ride("ada", &[FIRST]);
    assert_eq!(press(&mut rig), [selected(Some("ada"))]);
    let _ = rig.ride("ben", &[FIRST]);
    assert_eq!(press(&mut rig), [selected(None)]);
    rig.pass(10_500);
    // Pressed as the relay fell.
    let late = rig.tell(ElevatorInput::Selected { floor: FIRST, active: true });
    assert!(late.events.contains(&selected(None)), "{late:?}");
    rig.pass(2_000);
    let _ = rig.tell(ElevatorInput::Selected { floor: FIRST, active: false });
    assert!(matches!(press(&mut rig).as_slice(), [EventBody::FloorSelectedWithoutRight { .. }]));
}

#[test]
fn the_first_value_of_a_button_is_no_press() {
    let mut rig = Rig::new();
    assert!(rig.tell(ElevatorInput::Selected { floor: FIRST, active: true }).events.is_empty());
    let _ = rig.tell(ElevatorInput::Selected { floor: FIRST, active: false });
    let _ = rig.board(CAB, false);
    let _ = rig.board(CAB, true);
    assert!(rig.tell(ElevatorInput::Selected { floor: FIRST, active: true }).events.is_empty());
}

#[test]
fn public_floors_are_enabled_while_their_schedule_holds() {
    let mut rig = Rig::new();
    let effects = rig.public(&[GROUND, FIRST], Some(60));
    assert_eq!(types(&effects), ["floor.enabled"]);
    assert_eq!(rig.enabled(), set(&[GROUND, FIRST]));
    let effects = rig.public(&[], None);
    assert_eq!(types(&effects), ["floor.disabled"]);
    assert_eq!(rig.enabled(), FloorSet::NONE);
}

#[test]
fn a_close_of_a_public_floor_lasts_until_the_next_boundary_and_refuses_no_card() {
    let mut rig = Rig::new();
    let _ = rig.public(&[FIRST], Some(60));
    let _ = rig.order(FloorAction::Close, &[FIRST]);
    assert_eq!(rig.enabled(), FloorSet::NONE);
    let _ = rig.ride("ada", &[FIRST]);
    assert_eq!(rig.enabled(), set(&[FIRST]));
    rig.pass(59_000);
    let _ = rig.tell(ElevatorInput::Timeout);
    assert_eq!(rig.enabled(), FloorSet::NONE);
    assert_eq!(rig.elevator.next_deadline(rig.now), Some(rig.now.mono + Duration::from_secs(1)));
    rig.pass(1_000);
    let effects = rig.tell(ElevatorInput::Timeout);
    assert_eq!(rig.enabled(), set(&[FIRST]), "{effects:?}");
    assert_eq!(rig.durable.clone().unwrap_or_default().manual, BTreeMap::new());
}

#[test]
fn an_open_of_a_public_floor_lasts_until_the_next_boundary_of_another_until_closed() {
    let mut rig = Rig::new();
    let _ = rig.public(&[FIRST], Some(60));
    let _ = rig.order(FloorAction::Open, &[FIRST, SECOND]);
    let _ = rig.confirm();
    rig.pass(60_000);
    let _ = rig.tell(ElevatorInput::Public(Public { governed: set(&[FIRST]), ..Public::default() }));
    assert_eq!(rig.enabled(), set(&[SECOND]));
}

#[test]
fn a_lockdown_disables_every_floor_denies_every_read_and_is_recomputed_when_it_ends() {
    let mut rig = Rig::new();
    let _ = rig.public(&[GROUND], None);
    let _ = rig.order(FloorAction::Open, &[ROOF]);
    let _ = rig.confirm();
    let (_, effects) = rig.lock_down(true);
    assert_eq!(types(&effects), ["floor.disabled"]);
    assert_eq!(rig.enabled(), FloorSet::NONE);
    assert_eq!(rig.elevator.denies(), Some(crate::domain::event::DenialReason::LockedDown));
    let (_, effects) = rig.order(FloorAction::OpenAndClose { dwell: None }, &[FIRST]);
    assert!(matches!(effects.reports.as_slice(), [(_, Progress::Refused(..))]), "{effects:?}");
    let kept = rig.durable.clone().expect("a lockdown is durable");
    let again = Rig::cold(FailPolicy::Secure, kept);
    assert_eq!(again.enabled(), FloorSet::NONE);
    let _ = rig.lock_down(false);
    assert_eq!(rig.enabled(), set(&[GROUND, ROOF]));
}

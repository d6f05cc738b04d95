//! The installer on the spot, through the controller.

use super::{
    beside::{SIREN, field},
    *,
};
use crate::domain::installer::{Answer, Ask, points};

const UID: u32 = 1000;

fn bench() -> Bench {
    let mut config = field();
    let boards = [board("relays", RELAYS), board("gate", GATE)];
    let doors = [door("front", RELAYS, Level::Energised), door("back", GATE, Level::Released)];
    config.points = points(boards.iter(), &[], &doors, &config);
    let mut bench = Bench::lasting(super::machines(&config, &[]), Lasting::default());
    for board in [RELAYS, GATE] {
        let _ = bench.bus(BusReport::BoardUp { board });
    }
    bench
}

fn ask(bench: &mut Bench, ask: Ask) -> Step {
    bench.tell(Input::Installer(Question { number: 7, uid: UID, ask }))
}

fn pulse(bench: &mut Bench, board: &str, output: &str) -> Step {
    ask(bench, Ask::Pulse { board: id(board), output: id(output), pulse_ms: 500 })
}

fn answer(step: &Step) -> &Answer {
    match step.answers.as_slice() {
        [(7, answer)] => answer,
        other => panic!("{other:?}"),
    }
}

fn refusal(step: &Step) -> &str {
    match answer(step) {
        Answer::Refused { message } => message,
        other => panic!("{other:?}"),
    }
}

fn desired(bench: &Bench, output: OutputRef) -> Option<Desired> {
    bench.controller.desired().iter().find(|desired| desired.output == output).copied()
}

fn confirm(bench: &mut Bench, output: OutputRef) -> Step {
    let Desired { level, order, .. } = desired(bench, output).expect("driven");
    bench.bus(BusReport::Output { output, level, order: order.map(|(ticket, _)| ticket) })
}

#[test]
fn the_lock_of_a_door_is_tried_only_in_installer_mode_and_both_are_events_that_name_the_user() {
    let mut bench = bench();
    let lock = OutputRef { board: RELAYS, output: 0 };
    let step = pulse(&mut bench, "relays", "relay-1");
    assert!(refusal(&step).contains("lock of front") && refusal(&step).contains("installer mode"), "{step:?}");
    assert_eq!(types(&ask(&mut bench, Ask::Mode { minutes: 30 })), ["installer.mode_began"]);
    let step = pulse(&mut bench, "relays", "relay-1");
    assert!(step.answers.is_empty(), "the board has not confirmed it yet");
    assert_eq!(only(&step)["actor"], serde_json::json!({ "by": "installer", "uid": UID }));
    assert_eq!(desired(&bench, lock).map(|desired| desired.level), Some(Level::Energised));
    let step = confirm(&mut bench, lock);
    assert!(matches!(answer(&step), Answer::Done { .. }), "{step:?}");
}

#[test]
fn installer_mode_ends_by_itself() {
    let mut bench = bench();
    let _ = ask(&mut bench, Ask::Mode { minutes: 1 });
    bench.pass(60_000);
    assert_eq!(types(&bench.tell(Input::Timeout)), ["installer.mode_ended"]);
    assert!(refusal(&pulse(&mut bench, "relays", "relay-1")).contains("installer mode"));
}

#[test]
fn a_lock_that_something_higher_holds_is_not_opened_by_a_trial() {
    let mut bench = bench();
    let _ = ask(&mut bench, Ask::Mode { minutes: 30 });
    let what = Task::Lockdown { doors: vec![FRONT], floor_groups: vec![], on: true };
    let (deadline, issued_at) = (bench.now.mono + Duration::from_secs(5), bench.now.wall);
    let by = Actor::Operator { operator: id("op-1"), jti: id("j") };
    let _ = bench.tell(Input::Order(Order { ticket: Ticket(1), what, deadline, issued_at, by }));
    assert!(refusal(&pulse(&mut bench, "relays", "relay-1")).contains("ockdown"));
}

#[test]
fn an_output_of_the_site_file_is_tried_at_any_time() {
    let mut bench = bench();
    assert!(pulse(&mut bench, "gate", "relay-4").answers.is_empty());
    let step = confirm(&mut bench, SIREN);
    assert_eq!(types(&step), ["output.pulsed"]);
    assert!(matches!(answer(&step), Answer::Done { .. }));
}

#[test]
fn an_output_that_serves_nothing_is_driven_for_the_pulse_and_then_left_alone() {
    let mut bench = bench();
    let spare = OutputRef { board: GATE, output: 2 };
    assert_eq!(desired(&bench, spare), None);
    let _ = pulse(&mut bench, "gate", "relay-3");
    assert!(refusal(&pulse(&mut bench, "gate", "relay-2")).contains("wait for its end"));
    let until = desired(&bench, spare).expect("driven").until;
    assert!(until.is_some(), "the end is told with the level");
    assert!(matches!(answer(&confirm(&mut bench, spare)), Answer::Done { .. }));
    bench.pass(5_000);
    let _ = bench.tell(Input::Timeout);
    assert_eq!(desired(&bench, spare).map(|desired| desired.level), Some(Level::Released));
    let _ = confirm(&mut bench, spare);
    assert_eq!(desired(&bench, spare), None);
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let mut bench = bench();
    assert!(refusal(&pulse(&mut bench, "relais", "relay-1")).contains("there are relays, gate"));
    assert!(refusal(&pulse(&mut bench, "gate", "relay-9")).contains("it has relay-1, relay-2"));
    assert!(refusal(&ask(&mut bench, Ask::Mode { minutes: 481 })).contains("480 minutes"));
}

#[test]
fn points_show_level_changes_and_what_they_serve_and_no_card_number() {
    let mut bench = bench();
    for energised in [true, false, true] {
        let _ = bench.input(RELAYS, CONTACT, energised);
    }
    let _ = bench.bus(BusReport::BoardLost { board: GATE, detail: "no answer".to_owned() });
    let _ = bench.present(GOOD);
    let step = ask(&mut bench, Ask::Points {});
    let Answer::Points(snapshot) = answer(&step) else { panic!("{step:?}") };
    let [relays, gate] = snapshot.boards.as_slice() else { panic!("{snapshot:?}") };
    let contact = relays.points.iter().find(|point| point.serves.as_deref() == Some("contact of front")).unwrap();
    assert_eq!((contact.energised, contact.changes), (Some(true), 2));
    assert!(gate.points.iter().all(|point| point.energised.is_none()));
    let read = snapshot.readers[0].last_read.expect("it read");
    assert_eq!((read.bits, snapshot.readers[0].reads), (32, 1));
    assert!(!serde_json::to_string(snapshot).unwrap().to_lowercase().contains("cafe"));
}

//! Readers that babble, contacts that flap, boards that come and go, through the controller.

use serde_json::Value;

use super::*;

/// What is told while something happens every so often, and after it ends.
fn told(bench: &mut Bench, times: u32, every_ms: u64, mut happens: impl FnMut(&mut Bench, u32) -> Step) -> Vec<Value> {
    let mut told = Vec::new();
    let mut hear = |step: Step| {
        told.extend(events(&step).into_iter().map(|event| serde_json::to_value(event).expect("an event")));
    };
    for round in 0..times {
        hear(happens(bench, round));
        bench.pass(every_ms);
        hear(bench.tell(Input::Timeout));
    }
    for _ in 0..30 {
        bench.pass(1_000);
        hear(bench.tell(Input::Timeout));
    }
    told
}

fn of<'a>(told: &'a [Value], kind: &str) -> Vec<&'a Value> {
    told.iter().filter(|event| event["type"] == kind).collect()
}

fn counted(told: &[Value], kind: &str) -> u64 {
    of(told, kind).iter().filter_map(|event| event["count"].as_u64()).sum()
}

#[test]
fn a_reader_that_babbles_is_told_of_and_counted_and_honest_cards_open_all_the_while() {
    let mut bench = Bench::new();
    let (mut granted, mut opened) = (0, 0);
    let told = told(&mut bench, 10_000, 20, |bench, round| {
        if round % 1_000 == 999 {
            // The door has long been locked again.
            granted += 1;
            let step = bench.present(GOOD);
            opened += usize::from(bench.unlocked(FRONT));
            step
        } else {
            bench.present(UNKNOWN)
        }
    });
    assert_eq!((of(&told, "access.granted").len(), opened), (granted, granted));
    let denied = of(&told, "access.denied").len();
    assert!((60..=65).contains(&denied), "{denied}");
    assert_eq!(denied as u64 + counted(&told, "reader.babbling"), 10_000 - granted as u64);
    let summaries = of(&told, "reader.babbling").len();
    assert!((4..=6).contains(&summaries), "{summaries} in three minutes and a half");
    assert_eq!(bench.controller.floods.next_deadline(), None, "it has come to rest");
    assert_eq!(types(&bench.present(UNKNOWN)), ["access.denied"]);
}

#[test]
fn a_card_that_lies_on_the_reader_holds_the_door_open_and_is_told_as_one_that_babbles() {
    let mut bench = Bench::new();
    let told = told(&mut bench, 1_000, 50, |bench, _| {
        let step = bench.present(GOOD);
        assert!(bench.unlocked(FRONT));
        step
    });
    let granted = of(&told, "access.granted").len() as u64;
    assert!(granted < 100, "{granted}");
    assert_eq!(granted + counted(&told, "reader.babbling"), 1_000);
    assert!(!bench.unlocked(FRONT), "the last grant is over");
}

#[test]
fn what_was_counted_and_not_told_yet_is_told_when_the_node_stops_or_begins_anew() {
    for end in [Input::Stop, Input::Pause(Pause { moved: Default::default(), others_stay: true })] {
        let mut bench = Bench::new();
        let mut told = Vec::new();
        let mut hear =
            |step: Step| told.extend(events(&step).into_iter().map(|event| serde_json::to_value(event).unwrap()));
        for _ in 0..500 {
            hear(bench.present(UNKNOWN));
        }
        hear(bench.tell(end));
        let denied = of(&told, "access.denied").len() as u64;
        assert!(denied < 100, "{denied}");
        assert_eq!(denied + counted(&told, "reader.babbling"), 500);
    }
}

#[test]
fn different_people_at_one_reader_are_all_told_however_fast_they_come() {
    let mut bench = Bench::new();
    // The one card that is known, and between two reads of it long enough to be somebody coming back.
    let told = told(&mut bench, 200, 2_000, |bench, _| bench.present(GOOD));
    assert_eq!((of(&told, "access.granted").len(), counted(&told, "reader.babbling")), (200, 0));
}

#[test]
fn a_contact_that_flaps_keeps_its_alarm_and_its_door_and_is_counted() {
    let mut bench = Bench::new();
    let told = told(&mut bench, 4_000, 25, |bench, round| bench.input(RELAYS, CONTACT, round % 2 == 1));
    let singly: usize = ["door.opened", "door.closed", "door.forced", "door.alarm_cleared"]
        .iter()
        .map(|kind| of(&told, kind).len())
        .sum();
    assert!((60..=64).contains(&singly), "{singly}");
    assert_eq!(singly as u64 + counted(&told, "input.flapping"), 8_000, "open and forced, closed and cleared");
    let _ = bench.input(RELAYS, CONTACT, false);
    assert_eq!(bench.controller.door_statuses()[FRONT.index()].alarm, crate::domain::door::Alarm::Forced);
    let (_, _) = bench.order(FRONT, DoorAction::Open);
    assert!(bench.unlocked(FRONT));
}

#[test]
fn a_board_that_comes_and_goes_is_counted_and_so_are_its_readers() {
    let mut bench = Bench::new();
    let lost = || BusReport::BoardLost { board: RELAYS, detail: "no answer".to_owned() };
    let told = told(&mut bench, 2_000, 600, |bench, round| match round % 2 {
        0 => bench.bus(lost()),
        _ => bench.bus(BusReport::BoardUp { board: RELAYS }),
    });
    for (kinds, summary) in
        [(["board.lost", "board.restored"], "board.flapping"), (["reader.lost", "reader.restored"], "reader.flapping")]
    {
        let singly: usize = kinds.iter().map(|kind| of(&told, kind).len()).sum();
        assert!((20..=25).contains(&singly), "{singly} of {kinds:?}");
        let summaries = of(&told, summary).len();
        assert!((20..=23).contains(&summaries), "{summaries} of {summary} in twenty minutes");
        let counted = counted(&told, summary);
        assert_eq!((singly as u64 + counted) % 2_000, 0, "{singly} and {counted} of {kinds:?}");
        assert!(counted > 0);
    }
    for _ in 0..2 {
        bench.pass(60_000);
        let _ = bench.tell(Input::Timeout);
    }
    // It has come to rest.
    assert_eq!(bench.controller.floods.next_deadline(), None);
    assert!(types(&bench.bus(lost())).contains(&"board.lost".to_owned()));
}

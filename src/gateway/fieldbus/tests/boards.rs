use std::time::Duration;

use super::rig::{
    ANSWER, FakeBoard, Mood, Rig, TIMEOUT, TURNAROUND, confirmed, id, input, level, order, output, profile,
};
use crate::{
    domain::{
        fieldbus::{BusReport, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile},
        ids::BoardIx,
        outputs::Level::{Energised, Released},
        time::Mono,
    },
    gateway::fieldbus::{Link, Request, Table},
};

const UP: BusReport = BusReport::BoardUp { board: BoardIx(0) };

fn set_input(board: &mut FakeBoard, address: u16, on: bool) {
    board.bits.insert((Table::DiscreteInput, address), on);
}

#[test]
fn a_board_comes_up_with_all_its_inputs_and_outputs_and_without_any_write() {
    let mut rig = Rig::new(1, &profile());
    set_input(rig.board(), 1, true);
    rig.board().bits.insert((Table::Coil, 0), true);
    rig.run(1_000);
    assert_eq!(
        rig.reported(),
        [
            UP,
            BusReport::Input { input: input(0, 0), energised: false },
            BusReport::Input { input: input(0, 1), energised: true },
            confirmed(output(0, 0), Energised, None),
            confirmed(output(0, 1), Released, None),
        ]
    );
    assert_eq!(rig.writes(), []);
}

#[test]
fn an_input_is_reported_when_it_changes_and_only_then() {
    let mut rig = Rig::up(1);
    rig.run(1_000);
    set_input(rig.board(), 0, true);
    rig.run(150);
    assert_eq!(rig.reported(), [BusReport::Input { input: input(0, 0), energised: true }]);
}

#[test]
fn after_an_outage_outputs_are_read_first_and_only_those_that_differ_are_written() {
    let mut rig = Rig::up(1);
    rig.desire(level(output(0, 0), Energised));
    rig.desire(level(output(0, 1), Energised));
    rig.run(500);
    rig.board().mood = Mood::Silent;
    rig.run(3_000);
    rig.board().mood = Mood::Well;
    rig.board().bits.insert((Table::Coil, 1), false);
    rig.reports.clear();
    rig.wire.clear();
    rig.run(6_000);
    assert_eq!(rig.reports[0].1, UP);
    let writes: Vec<Request> = rig.writes().into_iter().map(|(_, request)| request).collect();
    assert_eq!(writes, [Request::WriteCoil { address: 1, on: true }]);
}

#[test]
fn a_board_that_restarted_unnoticed_has_its_outputs_put_right() {
    let mut rig = Rig::up(1);
    rig.desire(level(output(0, 0), Energised));
    rig.run(300);
    rig.reports.clear();
    rig.board().reboot();
    rig.run(700);
    assert_eq!(rig.reported(), [confirmed(output(0, 0), Released, None), confirmed(output(0, 0), Energised, None)]);
}

#[test]
fn a_single_lost_frame_changes_nothing() {
    let mut rig = Rig::up(1);
    for _ in 0..20 {
        rig.board().moods = vec![Mood::Silent];
        rig.run(1_000);
        rig.board().moods = vec![Mood::Garbage];
        rig.run(1_000);
    }
    assert_eq!(rig.reported(), []);
}

#[test]
fn a_board_is_lost_after_its_time_and_not_before() {
    let mut rig = Rig::up(1);
    rig.board().mood = Mood::Silent;
    let asked_at = loop {
        let count = rig.wire.len();
        rig.step(Mono::MAX);
        if rig.wire.len() > count {
            break rig.wire[count].0;
        }
    };
    rig.run(5_000);
    assert_eq!(rig.reports.len(), 1);
    let (at, report) = &rig.reports[0];
    assert!(matches!(report, BusReport::BoardLost { detail, .. } if detail.contains("no answer")), "{report:?}");
    let late = at.since(asked_at + Duration::from_secs(1));
    assert!(*at >= asked_at + Duration::from_secs(1) && late <= TIMEOUT + TURNAROUND, "{late:?} late");
}

#[test]
fn a_board_that_was_never_there_is_reported_lost() {
    let mut rig = Rig::new(1, &profile());
    rig.board().mood = Mood::Unreachable;
    rig.run(2_000);
    assert!(matches!(&rig.reported()[..], [BusReport::BoardLost { detail, .. }] if detail.contains("refused")));
}

#[test]
fn a_dead_board_costs_the_others_little() {
    let mut rig = Rig::up(3);
    rig.boards[0].mood = Mood::Silent;
    rig.run(2_000);
    rig.wire.clear();
    let before = rig.now;
    rig.run(60_000);
    let dead = rig.wire.iter().filter(|(_, board, _)| *board == 0).count();
    let share = TIMEOUT * u32::try_from(dead).expect("few") * 100
        / u32::try_from(rig.now.since(before).as_millis()).expect("few");
    assert!(share < Duration::from_millis(5), "{dead} probes");
    let mut last = before;
    let mut longest = Duration::ZERO;
    for (at, board, _) in &rig.wire {
        if *board == 1 {
            longest = longest.max(at.since(last));
            last = *at;
        }
    }
    assert!(longest < Duration::from_millis(100) + TIMEOUT + 4 * (ANSWER + TURNAROUND), "{longest:?}");
}

#[test]
fn a_dying_board_leaves_the_others_half_of_the_line_even_before_it_is_lost() {
    let mut rig = Rig::up(2);
    rig.boards[0].mood = Mood::Silent;
    let mut tickets = 0;
    for _ in 0..10 {
        tickets += 1;
        let (start, deadline) = (rig.now, rig.now + Duration::from_millis(400));
        rig.desire(order(output(1, 0), Energised, tickets, deadline));
        rig.reports.clear();
        rig.run(100);
        let confirmed_at = rig.reports.iter().find(|(_, report)| matches!(report, BusReport::Output { .. }));
        let (at, _) = confirmed_at.expect("confirmed");
        assert!(at.since(start) <= 2 * TIMEOUT + 3 * (ANSWER + TURNAROUND), "{:?}", at.since(start));
    }
}

#[test]
fn a_board_that_returns_is_found_within_the_longest_probe_distance() {
    let mut rig = Rig::up(1);
    rig.board().mood = Mood::Silent;
    rig.run(60_000);
    rig.board().mood = Mood::Well;
    rig.reports.clear();
    rig.run(5_300);
    assert_eq!(rig.reports.first().map(|(_, report)| report), Some(&UP));
}

#[test]
fn a_board_of_the_wrong_profile_never_comes_up_and_says_which_address_it_refuses() {
    let mut rig = Rig::new(1, &profile());
    rig.board().missing.insert((Table::DiscreteInput, 1));
    rig.run(5_000);
    match &rig.reported()[..] {
        [BusReport::BoardLost { detail, .. }] => {
            assert!(detail.contains("discrete inputs 0 to 1") && detail.contains("exception 2"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_board_that_begins_to_refuse_its_inputs_is_lost() {
    let mut rig = Rig::up(1);
    rig.board().missing.insert((Table::DiscreteInput, 1));
    rig.run(2_000);
    assert!(matches!(&rig.reported()[..], [BusReport::BoardLost { .. }]));
    rig.board().missing.clear();
    rig.run(6_000);
    assert_eq!(rig.reported()[0], UP);
}

#[test]
fn a_gateway_that_answers_for_a_dead_board_does_not_make_it_live() {
    let mut rig = Rig::up(1);
    rig.board().mood = Mood::Exception(11);
    rig.run(3_000);
    assert!(matches!(&rig.reported()[..], [BusReport::BoardLost { .. }]));
}

#[test]
fn a_board_that_can_only_be_written_is_up_once_it_answers_anything() {
    let blind = OutputPoint { reads_back: false, ..OutputPoint::plain(id("relay"), OutputAddress::Coil(0)) };
    let profile = Profile { outputs: vec![blind], inputs: vec![], card_blocks: vec![], ..profile() };
    let mut rig = Rig::new(1, &profile);
    rig.board().missing.insert((Table::Coil, 0));
    rig.run(300);
    assert_eq!(rig.reported(), [UP]);
    rig.desire(level(output(0, 0), Energised));
    rig.run(300);
    assert!(rig.coil(0, 0));
}

#[test]
fn a_board_without_any_point_is_lost_at_once_and_never_asked() {
    let profile = Profile { outputs: vec![], inputs: vec![], card_blocks: vec![], ..profile() };
    let mut rig = Rig::new(1, &profile);
    rig.run(10_000);
    assert!(matches!(&rig.reported()[..], [BusReport::BoardLost { detail, .. }] if detail.contains("no point")));
    assert_eq!(rig.bus.link(BoardIx(0)), Some(Link::Lost));
    assert_eq!(rig.wire, []);
}

#[test]
fn register_outputs_and_register_bits_work_like_coils_and_discrete_inputs() {
    let relay = OutputAddress::HoldingRegister { address: 5, energised: 0x0100, released: 0x0200 };
    let bit = InputAddress::InputRegisterBit { address: 7, bit: 15 };
    let profile = Profile {
        outputs: vec![OutputPoint::plain(id("relay"), relay)],
        inputs: vec![InputPoint { name: id("in"), address: bit }],
        card_blocks: vec![],
        ..profile()
    };
    let mut rig = Rig::new(1, &profile);
    rig.board().words.insert((Table::InputRegister, 7), 0x8000);
    rig.desire(level(output(0, 0), Released));
    rig.run(300);
    // The register was 0, neither level: unknown, so it was written.
    assert_eq!(
        rig.reported(),
        [UP, BusReport::Input { input: input(0, 0), energised: true }, confirmed(output(0, 0), Released, None)]
    );
    assert_eq!(rig.board().words.get(&(Table::HoldingRegister, 5)), Some(&0x0200));
}

#[test]
fn a_flood_of_orders_does_not_keep_inputs_from_being_read() {
    let mut rig = Rig::up(1);
    for ticket in 1..200 {
        let deadline = rig.now + Duration::from_secs(1);
        rig.desire(order(output(0, 0), if ticket % 2 == 0 { Energised } else { Released }, ticket, deadline));
        rig.run(12);
    }
    let reads =
        rig.wire.iter().filter(|(_, _, request)| matches!(request, Request::Read { table: Table::DiscreteInput, .. }));
    assert!(reads.count() >= 3);
}

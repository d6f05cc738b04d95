//! Which transaction goes first: each has a deadline.

use std::{collections::BTreeMap, time::Duration};

use super::rig::{ANSWER, Rig, TURNAROUND, confirmed, id, level, order, output, profile};
use crate::{
    domain::{
        fieldbus::{InputAddress, InputPoint, OutputAddress, OutputPoint, Profile},
        outputs::Level::{Energised, Released},
        time::Mono,
    },
    gateway::fieldbus::{Bus, Request, Table},
};

const TURN: Duration = Duration::from_millis(12);

/// One board for each, with one input and so many outputs that are not read back, polled so often.
fn polled(every: &[u64], outputs: u16) -> Rig {
    let output =
        |n| OutputPoint { reads_back: false, ..OutputPoint::plain(id(&format!("o-{n}")), OutputAddress::Coil(n)) };
    let profile = Profile {
        outputs: (0..outputs).map(output).collect(),
        inputs: vec![InputPoint { name: id("in"), address: InputAddress::DiscreteInput(0) }],
        card_blocks: vec![],
        ..profile()
    };
    let mut rig = Rig::new(every.len(), &profile);
    let mut plan = rig.bus.plan().clone();
    for (board, every) in plan.boards.iter_mut().zip(every) {
        board.poll = Duration::from_millis(*every);
    }
    rig.bus = Bus::new(plan);
    rig.run(1_000);
    rig.reports.clear();
    rig.wire.clear();
    rig
}

/// The longest that a board was not read, for each.
fn longest(rig: &Rig) -> BTreeMap<usize, Duration> {
    let mut last: BTreeMap<usize, Mono> = BTreeMap::new();
    let mut longest = BTreeMap::new();
    for (at, board, request) in &rig.wire {
        if let Request::Read { table: Table::DiscreteInput, .. } = request
            && let Some(before) = last.insert(*board, *at)
        {
            let most = longest.entry(*board).or_insert(Duration::ZERO);
            *most = (*most).max(at.since(before));
        }
    }
    longest
}

#[test]
fn where_there_is_room_nothing_that_is_known_is_older_than_two_intervals_of_its_board() {
    // Two boards that must be read often among many that need not. By how long they have been due, they would wait for
    // all of those whenever these are due together.
    let every: Vec<u64> = [60, 80].into_iter().chain([800; 20]).collect();
    let mut rig = polled(&every, 0);
    for _ in 0..20 {
        rig.run(5_000);
        let longest = longest(&rig);
        assert_eq!(longest.len(), every.len());
        for (board, longest) in longest {
            let most = Duration::from_millis(every[board] * 2) + TURN;
            assert!(longest <= most, "board {board}: {longest:?} with {} ms", every[board]);
        }
        // The processor was with somebody else: from here on all are due.
        rig.now = rig.now + Duration::from_millis(400);
        rig.wire.clear();
    }
    assert_eq!(ANSWER + TURNAROUND, TURN);
}

#[test]
fn an_order_goes_before_everything_that_is_only_written_anew() {
    let mut rig = polled(&[100, 100], 16);
    for (board, at) in (0..2).flat_map(|board| (0..16).map(move |at| (board, at))) {
        rig.desire(level(output(board, at), Released));
    }
    rig.run(5_000);
    // Whatever of the writing anew is under way: the order is the next on the wire.
    for ticket in 1..=100 {
        let wanted = if ticket % 2 == 1 { Energised } else { Released };
        let deadline = rig.now + Duration::from_millis(5_000);
        rig.wire.clear();
        rig.desire(order(output(1, 3), wanted, ticket, deadline));
        let began = rig.now;
        rig.run(37);
        let (at, board, request) = rig.wire[0];
        assert_eq!((board, request), (1, Request::WriteCoil { address: 3, on: ticket % 2 == 1 }));
        assert!(at.since(began) <= TURN, "{:?}", at.since(began));
        assert!(rig.reported().contains(&confirmed(output(1, 3), wanted, Some(ticket))));
    }
}

#[test]
fn what_is_written_anew_and_what_is_read_take_turns_on_a_line_without_room() {
    let mut rig = polled(&[10, 10], 16);
    for (board, at) in (0..2).flat_map(|board| (0..16).map(move |at| (board, at))) {
        rig.desire(level(output(board, at), Released));
    }
    rig.run(5_000);
    rig.wire.clear();
    rig.run(20_000);
    let writes = rig.writes().len();
    // Thirty-two outputs, each about once a second, or a little later.
    assert!((32 * 8..=32 * 20).contains(&writes), "{writes}");
    for (board, longest) in longest(&rig) {
        assert!(longest < Duration::from_millis(1_500), "board {board}: {longest:?}");
    }
    // And each of them.
    let mut last = BTreeMap::new();
    for (at, board, request) in &rig.wire {
        if let Request::WriteCoil { address, .. } = request
            && let Some(before) = last.insert((*board, *address), *at)
        {
            let longest = at.since(before);
            assert!(longest < Duration::from_millis(2_500), "{board}/{address}: {longest:?}");
        }
    }
    assert_eq!(last.len(), 32);
}

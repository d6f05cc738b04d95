//! The bus that tests and benchmarks of the line ask: boards with eight relays and eight inputs each. Owns only its
//! shape. Invariant: board `n` is unit `n + 1`.

use std::time::Duration;

use latchd::{
    domain::{
        fieldbus::{BoardConfig, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile},
        ids::{BoardIx, BusIx, Id},
    },
    gateway::fieldbus::BusPlan,
};

use super::times::LineTimes;

/// How long an answer is waited for.
pub const TIMEOUT: Duration = Duration::from_millis(300);

fn id(text: &str) -> Id {
    Id::new(text).expect("an id")
}

/// Eight relays, eight inputs.
pub fn eight_of_each() -> Profile {
    let outputs = (0..8).map(|n| OutputPoint::plain(id(&format!("relay-{n}")), OutputAddress::Coil(n)));
    let inputs = (0..8).map(|n| InputPoint { name: id(&format!("in-{n}")), address: InputAddress::DiscreteInput(n) });
    Profile {
        name: id("eight"),
        outputs: outputs.collect(),
        inputs: inputs.collect(),
        card_blocks: Vec::new(),
        read_bits_max: 128,
        read_registers_max: 32,
        gaps_readable: false,
        watchdog: None,
    }
}

/// So many of them, each asked every `poll`, or as often as the line allows.
pub fn plan_of(boards: u8, times: &LineTimes, poll: Duration) -> BusPlan {
    let board = |n: u8| BoardConfig {
        id: id(&format!("board-{n}")),
        board: BoardIx(n.into()),
        unit: n + 1,
        profile: eight_of_each(),
        poll,
        lost_after: Duration::from_secs(2),
        watchdog: None,
    };
    let boards = (0..boards).map(board).collect();
    BusPlan { bus: BusIx(0), boards, serial: true, turnaround: times.modbus_gap(), timeout: TIMEOUT }
}

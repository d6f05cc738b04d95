//! The bus: which Modbus transaction goes on the wire next, and what its answer means. A plain machine
//! without sockets and without a clock; the adapter carries out one [`Transaction`] at a time.
//!
//! Owns the plan of reads, the state of every output and card block, and which board is believed to
//! live. Must never believe a write that was not read back (where the board lets it be read back),
//! never write for an order whose deadline has passed, and never let one dead board take more than its
//! share of the line.
//!
//! ```text
//!             first complete scan            silent for `lost_after`
//!   Unknown ───────────────────────▶  Up  ─────────────────────────▶  Lost
//!      │    BoardUp, Inputs, Outputs   ▲           BoardLost            │ probed, 0.2 s to 5 s apart
//!      └── silent: BoardLost ──────────┼──── complete scan ─────────────┘
//! ```
//!
//! Every read counts towards the scan, so `BoardUp` comes with the value of every input behind it in
//! the same batch. What is driven, and the life of an order, is in [`output`].

mod board;
mod bus;
mod card;
mod echo;
mod guard;
pub mod output;
mod plan;
mod rtu;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

pub use board::Link;
pub use bus::Bus;
pub use echo::{Echo, EchoSense};
pub use plan::{Group, Table, plan};
pub use rtu::{Exchange, RtuTimes};

use crate::domain::{fieldbus::BoardConfig, ids::BusIx, time::Mono};

/// One bus with its boards, as the machine needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct BusPlan {
    pub bus: BusIx,
    pub boards: Vec<BoardConfig>,
    /// A serial line needs silence between frames; TCP does not.
    pub serial: bool,
    pub turnaround: Duration,
    /// How long one transaction may take until it counts as unanswered.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Read {
        table: Table,
        address: u16,
        count: u16,
    },
    /// FC 5.
    WriteCoil {
        address: u16,
        on: bool,
    },
    /// FC 5 with a time in place of the coil's value: the board's own timer.
    WriteTimer {
        address: u16,
        count: u16,
    },
    /// FC 6.
    WriteRegister {
        address: u16,
        value: u16,
    },
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Request::Read { table, address, count: 1 } => write!(f, "reading {table} {address}"),
            Request::Read { table, address, count } => {
                write!(f, "reading {table}s {address} to {}", u32::from(address) + u32::from(count) - 1)
            }
            Request::WriteCoil { address, .. } => write!(f, "writing coil {address}"),
            Request::WriteTimer { address, .. } => write!(f, "setting timer {address}"),
            Request::WriteRegister { address, .. } => write!(f, "writing holding register {address}"),
        }
    }
}

/// One request and its answer: the unit of work on the wire, never interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub unit: u8,
    pub request: Request,
    /// Past this instant the request must not be put on the wire any more: the adapter looks again
    /// right before it sends, for connecting may take long, and answers [`BusFault::TooLate`].
    pub start_by: Option<Mono>,
    /// How long its answer is waited for.
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Bits(Vec<bool>),
    Words(Vec<u16>),
    /// The write was echoed, address and value being those of the request.
    Written,
}

/// Why a transaction has no reply. The difference that counts is whether the request may have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusFault {
    /// Sent, no answer in time: a write may have happened.
    Timeout,
    /// Sent, and what came back was not an answer to it: a write may have happened.
    Garbage(String),
    /// Sent, then the connection or the port went away: a write may have happened.
    Disconnected(String),
    /// Never sent: no connection, no port.
    Unreachable(String),
    /// Never sent: `start_by` had passed.
    TooLate,
    /// The board (or a gateway in front of it) refused with this exception code.
    Exception(u8),
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BusFault::Timeout => f.write_str("no answer"),
            BusFault::Garbage(detail) => write!(f, "not an answer: {detail}"),
            BusFault::Disconnected(detail) => write!(f, "connection lost: {detail}"),
            BusFault::Unreachable(detail) => write!(f, "unreachable: {detail}"),
            BusFault::TooLate => f.write_str("too late to send"),
            BusFault::Exception(code) => write!(f, "exception {code} ({})", exception_name(*code)),
        }
    }
}

/// Modbus Application Protocol V1.1b3, section 7.
fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address: is the profile the right one?",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledge",
        6 => "device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway target did not respond",
        _ => "not defined",
    }
}

/// What the wire should do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Carry this out and hand the result to [`Bus::handle`].
    Transact(Transaction),
    /// Nothing to do before this instant, unless the desired outputs change.
    Idle { until: Option<Mono> },
}

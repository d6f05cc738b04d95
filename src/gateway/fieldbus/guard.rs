//! The watchdog of one board: armed when the board comes, before any output is written, and fed from then on.
//! Owns what is to be written when; must never hold up an output for longer than the arming takes. Invariant:
//! a board that refuses, or says nothing to this alone, is told of once and used without, until it is lost.
//!
//! ```text
//!            BoardUp            all written              refused
//!   asleep ───────────▶ arming ─────────────▶ fed ──────────────────▶ refused
//!     ▲ ◀──────────────────┴───────────────────┴── board lost ◀─────────┘
//! ```

use std::time::Duration;

use crate::domain::{
    fieldbus::{BoardConfig, GuardAddress, GuardValue, GuardWrite},
    time::Mono,
};

use super::Request;

#[derive(Clone, Debug)]
pub struct Guard {
    /// In their order; safe states first, so that the watchdog never strikes with others.
    arm: Vec<Request>,
    feed: Option<GuardWrite>,
    timeout: Duration,
    state: State,
    turn: bool,
    /// It was not written, and why: first the board is to show that it lives.
    doubted: Option<String>,
    /// So often in a row.
    untaken: u32,
}

/// Cheap boards say nothing to what they do not know: after so many tries in a row, the board answering in between.
const TRIES_MAX: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Asleep,
    /// The next of `arm`.
    Arming(usize),
    Fed {
        next: Mono,
    },
    Refused,
}

impl Guard {
    /// `None`: nothing to arm.
    pub fn new(config: &BoardConfig) -> Option<Guard> {
        let (timeout, levels) = config.watchdog.as_ref()?;
        let watchdog = config.profile.watchdog.as_ref()?;
        let safe = config.profile.outputs.iter().zip(levels).filter_map(|(point, level)| {
            Some(Request::WriteCoil { address: point.safe_coil?, on: level.is_energised() })
        });
        let count = watchdog.count(*timeout);
        let arm = watchdog.arm.iter().map(|write| request(write, count, true));
        let (arm, feed) = (safe.chain(arm).collect(), watchdog.feed);
        Some(Guard { arm, feed, timeout: *timeout, state: State::Asleep, turn: false, doubted: None, untaken: 0 })
    }

    pub fn board_up(&mut self) {
        self.state = State::Arming(0);
    }

    pub fn board_lost(&mut self) {
        self.state = State::Asleep;
        (self.doubted, self.untaken) = (None, 0);
    }

    /// Outputs wait: a board whose watchdog struck takes no write before it is armed anew.
    pub fn is_arming(&self) -> bool {
        matches!(self.state, State::Arming(_))
    }

    /// Since when what is due. While it is armed, before everything else.
    pub fn due(&self) -> Option<Mono> {
        if self.doubted.is_some() {
            return None;
        }
        match self.state {
            State::Arming(_) => Some(Mono::ZERO),
            State::Fed { next } => self.feed.map(|_| next),
            State::Asleep | State::Refused => None,
        }
    }

    pub fn request(&self) -> Option<Request> {
        match self.state {
            State::Arming(at) => self.arm.get(at).copied(),
            State::Fed { .. } => self.feed.as_ref().map(|feed| request(feed, 0, self.turn)),
            State::Asleep | State::Refused => None,
        }
    }

    /// No answer, or that it is busy: tried again when the board has answered something else.
    pub fn not_written(&mut self, why: String) {
        self.untaken += 1;
        self.doubted = Some(why);
    }

    /// It has answered something else. Why it is used without its watchdog, if so from now on.
    pub fn board_lives(&mut self) -> Option<String> {
        let why = self.doubted.take()?;
        if self.untaken < TRIES_MAX {
            return None;
        }
        self.state = State::Refused;
        Some(why)
    }

    pub fn written(&mut self, now: Mono) {
        self.untaken = 0;
        self.turn = !self.turn;
        self.state = match self.state {
            State::Arming(at) if at + 1 < self.arm.len() => State::Arming(at + 1),
            State::Arming(_) | State::Fed { .. } => State::Fed { next: now + self.timeout / 4 },
            other => other,
        };
    }

    pub fn refused(&mut self) {
        self.state = State::Refused;
    }
}

fn request(write: &GuardWrite, timeout: u16, turn: bool) -> Request {
    let value = match write.value {
        GuardValue::Fixed(value) => value,
        GuardValue::Timeout => timeout,
        GuardValue::Alternating => u16::from(turn) + 1,
    };
    match write.address {
        GuardAddress::Coil(address) => Request::WriteCoil { address, on: value != 0 },
        GuardAddress::HoldingRegister(address) => Request::WriteRegister { address, value },
    }
}

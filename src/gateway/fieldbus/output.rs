//! One output: what is driven, what is known of it, and the life of the order behind it.
//!
//! ```text
//! order:  set_desired ─▶ Waiting ──write starts──▶ Written ──read back at its level──▶ Output{order}
//!                           │ ▲                       │
//!        deadline passed,   │ └──never sent───────────┤ exception, or still not there
//!        `until` passed     ▼                         ▼ at the deadline or after 3 writes
//!                      OrderExpired              OrderFailed        board lost, overtaken: OrderUnknown
//! ```
//!
//! Owns what is known of it, what is in force and what is under way; must never start a write for an order after its
//! deadline. Invariant: the level driven is a function of (in force, now), so `until` ends by itself. How an order comes
//! and goes is in `order`, what is due on the wire in `wish`, a write until it is read back in `write`, the board's own
//! timer in `timer`.

mod order;
mod timer;
mod wish;
mod write;

use self::timer::Armed;
pub use self::{
    timer::{Drive, HELD_FOR},
    wish::{Action, Wish},
    write::ATTEMPTS_MAX,
};
use crate::domain::{
    fieldbus::{BusReport, OutputPoint},
    ids::OutputRef,
    outputs::{Desired, Level, Ticket},
    time::Mono,
};

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    deadline: Mono,
    /// What comes into force when the write starts; none if the level in force is wanted anyhow.
    desired: Option<Desired>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    ticket: Ticket,
    deadline: Mono,
    level: Level,
    /// Its write is the one on the wire.
    in_flight: bool,
}

#[derive(Clone, Debug)]
pub struct Output {
    output: OutputRef,
    point: OutputPoint,
    /// What it is to be when nobody speaks to it any more, where its timer can see to that.
    at_death: Option<Level>,
    in_force: Option<Desired>,
    /// What was in force before the order whose write is unconfirmed.
    prior: Option<Option<Desired>>,
    waiting: Option<Waiting>,
    written: Vec<Written>,
    newest: Option<Ticket>,
    /// The same of the node's own.
    newest_own: Option<Ticket>,
    /// The order that ended without effect: its desired state is not followed.
    dead: Option<Ticket>,
    /// Level at the last read-back since the board came (or echoed, where there is no read-back).
    seen: Option<Level>,
    /// Level of the last write, until it has been read back.
    unverified: Option<Level>,
    /// What `unverified` was before the write on the wire, should that turn out never to have left.
    unverified_before: Option<Level>,
    armed: Option<Armed>,
    /// What `armed` was before the write on the wire.
    armed_before: Option<Armed>,
    /// The board knows no timer, whatever its profile says: plain writes do, and the bus ends them.
    timer_refused: bool,
    /// The write was refused and counted: the read-back that follows counts nothing.
    refused: bool,
    reported: Option<Level>,
    target: Option<Level>,
    changed_at: Mono,
    attempts: u32,
    retry_at: Mono,
    refresh_at: Mono,
}

impl Output {
    pub fn new(output: OutputRef, point: OutputPoint) -> Output {
        Output {
            output,
            point,
            at_death: None,
            in_force: None,
            prior: None,
            waiting: None,
            written: Vec::new(),
            newest: None,
            newest_own: None,
            dead: None,
            seen: None,
            unverified: None,
            unverified_before: None,
            armed: None,
            armed_before: None,
            timer_refused: false,
            refused: false,
            reported: None,
            target: None,
            changed_at: Mono::ZERO,
            attempts: 0,
            retry_at: Mono::ZERO,
            refresh_at: Mono::MAX,
        }
    }

    /// Without the daemon it is this: whatever else it is to be is put to its timer, also what lasts.
    pub fn falling_back_to(mut self, level: Option<Level>) -> Output {
        self.at_death = level;
        self
    }

    pub fn point(&self) -> &OutputPoint {
        &self.point
    }

    /// The level at which the output was last found, with no write since.
    pub fn confirmed(&self) -> Option<Level> {
        if self.unverified.is_some() { None } else { self.seen }
    }

    /// The level that is in force and was found, if it lasts without being held, and nothing is under way.
    pub fn standing(&self, now: Mono) -> Option<Level> {
        let lasts = self.in_force.filter(|desired| desired.until.is_none_or(|until| until <= now));
        let lasts = lasts.filter(|desired| self.timer().is_none() || !self.is_held(desired, desired.level_at(now)));
        let level = lasts.map(|desired| desired.level_at(now))?;
        (self.is_settled(now) && self.confirmed() == Some(level)).then_some(level)
    }

    /// It does not tell what it is: an echo is all there is.
    pub fn reads_back_no_more(&mut self) {
        self.point.reads_back = false;
    }

    /// Whoever drives it may have been without power for a moment: what was under way may have been lost, and so may
    /// a timer that was set.
    pub fn interrupted(&mut self) {
        self.write_unknown();
    }

    /// Whether nothing is left to do: no order under way, the level in force confirmed.
    pub fn is_settled(&self, now: Mono) -> bool {
        let wanted = self.in_force.map(|desired| desired.level_at(now));
        self.waiting.is_none() && self.written.is_empty() && (wanted.is_none() || self.confirmed() == wanted)
    }

    /// The scan is complete: says what it found.
    pub fn board_up(&mut self, out: &mut Vec<BusReport>) {
        self.reported = self.seen;
        if let Some(level) = self.seen {
            out.push(BusReport::Output { output: self.output, level, order: None });
        }
    }

    /// The board is lost: what was under way is settled as unknown, what it was is forgotten.
    pub fn board_lost(&mut self, detail: &str, out: &mut Vec<BusReport>) {
        for written in std::mem::take(&mut self.written) {
            self.unknown(written.ticket, detail, out);
        }
        self.prior = None;
        self.seen = None;
        self.unverified = None;
        self.armed = None;
        self.timer_refused = false;
        self.refused = false;
        self.reported = None;
        self.attempts = 0;
        self.retry_at = Mono::ZERO;
    }
}

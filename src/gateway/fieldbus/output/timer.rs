//! The board's own timer of an output, where it has one: what is put to it, and when it is set anew. Owns that; must
//! never let it end a level that is to last. Invariant: a level that ends is written to the timer, so that it ends there
//! too, and the bus ends it to the millisecond by a write of its own all the same; where it is known what the output is
//! to be when nobody speaks to it any more, another level that lasts is put to the timer as well, again and again.

use std::time::Duration;

use super::Output;
use crate::domain::{
    fieldbus::{BusReport, OutputTimer},
    outputs::{Desired, Level},
    time::Mono,
};

/// By so much more than two of its counts may a timer of the board end later than the level.
const TIMER_SLACK: Duration = Duration::from_millis(300);
/// A level that lasts, and is not the one of a dead daemon, is put to the timer for so long; and again after so long,
/// well before it runs out: two losses of the line in a row shall not end it.
pub const HELD_FOR: Duration = Duration::from_secs(10);
const HELD_AGAIN: Duration = Duration::from_secs(3);

/// The board's timer, as it was set by the last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    pub(super) ends_at: Mono,
    /// Where the level is to last longer than the timer can: when to set it anew.
    pub(super) again_at: Option<Mono>,
}

/// What the write of a level comes to, whatever the line speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Until told otherwise.
    Steady(Level),
    /// For so many counts of the board's own timer, which then takes it back.
    Timed(Level, u16),
}

impl Output {
    /// It lasts, and is not what a dead daemon is to leave behind.
    pub(super) fn is_held(&self, desired: &Desired, level: Level) -> bool {
        let lasts = desired.until.is_none() || level == desired.rest;
        lasts && self.at_death.is_some_and(|at_death| at_death != level)
    }

    /// When the level ends by the timer as well. What the timer would end in something else than a dead daemon is to
    /// leave behind, the bus alone ends.
    fn ends(&self, desired: &Desired) -> Option<Mono> {
        let falls_well = self.at_death.is_none_or(|at_death| at_death == desired.rest);
        desired.until.filter(|_| desired.rest != desired.level && falls_well)
    }

    /// When the board's timer is to be set anew, for it would end the level in force too early or much too late.
    /// One that is too short for the level is set again when half of it is over.
    pub(super) fn rearm_due(&self) -> Option<Mono> {
        let in_force = self.in_force?;
        let target = self.target?;
        let timer = self.timer().filter(|timer| timer.address(target).is_some())?;
        if self.is_held(&in_force, target) {
            return Some(self.armed.and_then(|armed| armed.again_at).unwrap_or(Mono::ZERO));
        }
        let desired = Some(in_force).filter(|desired| target == desired.level)?;
        match (self.ends(&desired), self.armed) {
            (None, None) => None,
            (None, Some(_)) | (Some(_), None) => Some(Mono::ZERO),
            (Some(until), Some(armed)) => {
                let slack = timer.unit * 2 + TIMER_SLACK;
                match armed.again_at.filter(|_| armed.ends_at < until) {
                    Some(again_at) => Some(again_at),
                    None => (armed.ends_at < until || armed.ends_at > until + slack).then_some(Mono::ZERO),
                }
            }
        }
    }

    pub(super) fn timer(&self) -> Option<&OutputTimer> {
        self.point.timer.as_ref().filter(|_| !self.timer_refused)
    }

    /// How the write of a level that ends by itself is put to the board's timer: for so many of its counts.
    pub(super) fn timed(&self, now: Mono, level: Level) -> Option<(u16, Armed)> {
        let desired = self.waiting.and_then(|waiting| waiting.desired).or(self.in_force)?;
        let timer = self.timer()?;
        timer.address(level)?;
        if self.is_held(&desired, level) {
            let count = timer.count(HELD_FOR);
            let lasts = timer.lasts(count);
            let again_at = now + HELD_AGAIN.min(lasts / 3);
            return Some((count, Armed { ends_at: now + lasts, again_at: Some(again_at) }));
        }
        let until = self.ends(&desired).filter(|until| *until > now)?;
        if desired.level != level {
            return None;
        }
        let count = timer.count(until.since(now));
        let ends_at = now + timer.lasts(count);
        let again_at = (ends_at < until).then(|| now + timer.longest() / 2);
        Some((count, Armed { ends_at, again_at }))
    }

    pub fn drive(&self, now: Mono, level: Level) -> Drive {
        self.timed(now, level).map_or(Drive::Steady(level), |(count, _)| Drive::Timed(level, count))
    }

    /// Whether the write on the wire sets the board's timer.
    pub fn sets_timer(&self) -> bool {
        self.armed.is_some()
    }

    /// The board knows no such timer. Nothing has happened: the order goes on by a plain write, in time or not
    /// at all.
    pub fn timer_unknown(&mut self, now: Mono, detail: &str, out: &mut Vec<BusReport>) {
        self.timer_refused = true;
        // A hold as well stays as it is then, should the daemon die.
        let ends = if self.at_death.is_some() { "its momentary and its held levels" } else { "its momentary levels" };
        let detail = format!("{}: {detail}; the daemon alone ends {ends}", self.point.name);
        out.push(BusReport::BoardDegraded { board: self.output.board, detail });
        self.write_not_sent(now, out);
    }
}

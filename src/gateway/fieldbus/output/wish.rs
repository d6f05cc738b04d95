//! What an output wants of the wire, and how urgently. Owns what is due and when; must never ask for the first write of
//! an order past its deadline, nor for another of one that took no effect. Invariant: an output with nothing to write or
//! to read back asks for nothing.

use std::time::Duration;

use super::Output;
use crate::domain::{
    fieldbus::BusReport,
    outputs::{Level, Ticket},
    time::Mono,
};

const REFRESH_WITHIN: Duration = Duration::from_millis(250);
/// Where a change without an order stands among those with one.
const URGENCY: Duration = Duration::from_millis(500);

/// What an output wants of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its deadline: the earliest goes first.
    pub urgency: Mono,
    /// It is written anew only to be sure: polls whose deadline is earlier go first.
    pub yields: bool,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Write(Level),
    ReadBack,
}

impl Wish {
    /// Whether it goes before another.
    pub fn precedes(&self, other: &Wish) -> bool {
        (self.yields, self.urgency) < (other.yields, other.urgency)
    }
}

impl Output {
    /// What to put on the wire now, the board being up.
    pub fn wish(&mut self, now: Mono, out: &mut Vec<BusReport>) -> Option<Wish> {
        self.tick(now, out);
        if let Some(waiting) = self.waiting {
            let level = waiting.desired.or(self.in_force)?.level_at(now);
            return Some(Wish { urgency: waiting.deadline, yields: false, action: Action::Write(level) });
        }
        let target = self.target?;
        // It was found so, and told, and nothing else was written since: it only goes on.
        let stands = self.reported == Some(target)
            && self.seen == Some(target)
            && self.unverified.is_none_or(|level| level == target)
            && self.written.is_empty();
        let (urgency, yields) = match (self.written.first(), self.armed) {
            (Some(written), _) => (written.deadline, false),
            (None, Some(armed)) if stands => (armed.ends_at, false),
            (None, None) if stands && !self.point.reads_back => (self.refresh_at + REFRESH_WITHIN, true),
            (None, _) => (self.changed_at + URGENCY, false),
        };
        // Refused, it may have acted or not; otherwise a level that changed meanwhile is written at once.
        if self.point.reads_back && (self.unverified == Some(target) || (self.refused && self.unverified.is_some())) {
            return Some(Wish { urgency, yields: false, action: Action::ReadBack });
        }
        if now < self.write_due()? {
            return None;
        }
        if self.give_up_late_orders(now, out) {
            return self.wish(now, out);
        }
        Some(Wish { urgency, yields, action: Action::Write(target) })
    }

    /// From when on the level in force is to be written (again); none if it stands.
    fn write_due(&self) -> Option<Mono> {
        let target = self.target?;
        let differs = self.seen != Some(target) || self.unverified.is_some_and(|level| level != target);
        if differs {
            return Some(self.retry_at);
        }
        let refresh = (!self.point.reads_back).then_some(self.refresh_at.max(self.retry_at));
        let rearm = self.rearm_due().map(|at| at.max(self.retry_at));
        [refresh, rearm].into_iter().flatten().min()
    }

    /// A second write for an order that took no effect must not start after its deadline either.
    /// True if that changed what is driven.
    fn give_up_late_orders(&mut self, now: Mono, out: &mut Vec<BusReport>) -> bool {
        let late: Vec<Ticket> =
            self.written.iter().filter(|written| now > written.deadline).map(|written| written.ticket).collect();
        let before = self.target;
        for ticket in late {
            self.written.retain(|written| written.ticket != ticket);
            self.fail(ticket, "the board did not take it before the deadline", out);
            self.revert(ticket);
        }
        self.retarget(now);
        before != self.target
    }

    /// When to look again although nothing was answered.
    pub fn next_deadline(&self, now: Mono, up: bool) -> Option<Mono> {
        let expiry = self.waiting.map(|waiting| {
            // Expired is *past* the deadline.
            let deadline = waiting.deadline + Duration::from_nanos(1);
            waiting.desired.and_then(|desired| desired.until).map_or(deadline, |until| until.min(deadline))
        });
        let until = self.in_force.and_then(|desired| desired.until).filter(|&until| until > now && up);
        let write = self.write_due().filter(|_| up);
        [expiry, until, write].into_iter().flatten().min()
    }
}

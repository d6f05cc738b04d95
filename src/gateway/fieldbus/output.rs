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
//! Owns those rules. Must never start a write for an order after its deadline, and never let an order
//! end twice. Invariants: a desired state that came with an order takes force only when its write
//! starts, so an order that expired or failed has changed nothing here: the state before it stays until
//! the controller sends another; the level driven is a function of (in force, now), so `until` ends by
//! itself. Tickets rise, operators' and the node's own each for itself: one that is not higher than the
//! highest seen is no new order. A level that ends is written to the board's own timer, where it has one, so that
//! it ends there too; the bus ends it to the millisecond by a write of its own all the same. Where it is known what the
//! output is to be when nobody speaks to it any more, a level that lasts is put to the timer as well, again and again.

use std::time::Duration;

use crate::domain::{
    fieldbus::{BusReport, OutputAddress, OutputPoint, OutputTimer, TimerWrite},
    ids::OutputRef,
    outputs::{Desired, Level, Ticket},
    time::Mono,
};

use super::{Request, plan::output_point};

/// Writes in a row that read back otherwise before that is called a mismatch.
pub const ATTEMPTS_MAX: u32 = 3;
const REWRITE_BACKOFF: Duration = Duration::from_millis(500);
const REWRITE_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An output that cannot be read back is written anew this often, should its board have restarted.
const REFRESH: Duration = Duration::from_secs(1);
const REFRESH_WITHIN: Duration = Duration::from_millis(250);
/// By so much more than two of its counts may a timer of the board end later than the level.
const TIMER_SLACK: Duration = Duration::from_millis(300);
/// A level that lasts, and is not the one of a dead daemon, is put to the timer for so long; and again after so long,
/// well before it runs out: two losses of the line in a row shall not end it.
pub const HELD_FOR: Duration = Duration::from_secs(10);
const HELD_AGAIN: Duration = Duration::from_secs(3);
/// Where a change without an order stands among those with one.
const URGENCY: Duration = Duration::from_millis(500);

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

/// The board's timer, as it was set by the last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Armed {
    ends_at: Mono,
    /// Where the level is to last longer than the timer can: when to set it anew.
    again_at: Option<Mono>,
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

/// What the write of a level comes to, whatever the line speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// Until told otherwise.
    Steady(Level),
    /// For so many counts of the board's own timer, which then takes it back.
    Timed(Level, u16),
}

impl Wish {
    /// Whether it goes before another.
    pub fn precedes(&self, other: &Wish) -> bool {
        (self.yields, self.urgency) < (other.yields, other.urgency)
    }
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

    pub fn set_desired(&mut self, now: Mono, desired: &Desired, out: &mut Vec<BusReport>) {
        // What is over by now is no company for what is wanted from now on.
        self.tick(now, out);
        match desired.order {
            Some((ticket, _)) if self.dead == Some(ticket) => {}
            Some((ticket, deadline)) if self.newest_like(ticket).is_none_or(|newest| ticket > newest) => {
                *self.newest_like(ticket) = Some(ticket);
                if let Some(overtaken) = self.waiting.take() {
                    self.dead = Some(overtaken.ticket);
                    self.fail(overtaken.ticket, "overtaken by a later command before it was written", out);
                }
                self.waiting = Some(Waiting { ticket, deadline, desired: Some(*desired) });
            }
            Some((ticket, _)) if self.waiting.is_some_and(|waiting| waiting.ticket == ticket) => {
                if let Some(waiting) = &mut self.waiting {
                    match waiting.desired {
                        Some(_) => waiting.desired = Some(*desired),
                        None => self.in_force = Some(*desired),
                    }
                }
            }
            Some((ticket, _)) if self.written.iter().any(|written| written.ticket == ticket) => {
                self.in_force = Some(*desired);
            }
            _ => {
                if let Some(waiting) = self.waiting {
                    let level = waiting.desired.or(self.in_force).map(|desired| desired.level_at(now));
                    if level == Some(desired.level_at(now)) {
                        // Wanted for another reason as well: the order comes along.
                        self.waiting = Some(Waiting { desired: None, ..waiting });
                    } else {
                        self.waiting = None;
                        self.dead = Some(waiting.ticket);
                        self.fail(waiting.ticket, "overtaken by a later state before it was written", out);
                    }
                }
                self.in_force = Some(*desired);
                self.prior = None;
            }
        }
        self.retarget(now);
    }

    fn newest_like(&mut self, ticket: Ticket) -> &mut Option<Ticket> {
        if ticket.is_own() { &mut self.newest_own } else { &mut self.newest }
    }

    /// What time alone brings: orders expire, `until` passes.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<BusReport>) {
        if let Some(waiting) = self.waiting {
            let over = waiting.desired.and_then(|desired| desired.until).is_some_and(|until| now >= until);
            if now > waiting.deadline || over {
                self.waiting = None;
                // Riding along with a level that is wanted anyhow, there is nothing to hold back.
                if waiting.desired.is_some() {
                    self.dead = Some(waiting.ticket);
                }
                out.push(BusReport::OrderExpired { output: self.output, ticket: waiting.ticket });
            }
        }
        self.retarget(now);
    }

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

    /// It lasts, and is not what a dead daemon is to leave behind.
    fn is_held(&self, desired: &Desired, level: Level) -> bool {
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
    fn rearm_due(&self) -> Option<Mono> {
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

    fn timer(&self) -> Option<&OutputTimer> {
        self.point.timer.as_ref().filter(|_| !self.timer_refused)
    }

    /// How the write of a level that ends by itself is put to the board's timer: for so many of its counts.
    fn timed(&self, now: Mono, level: Level) -> Option<(u16, Armed)> {
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

    pub fn drive(&self, now: Mono, level: Level) -> Drive {
        self.timed(now, level).map_or(Drive::Steady(level), |(count, _)| Drive::Timed(level, count))
    }

    pub fn request(&self, now: Mono, action: Action) -> Request {
        if let Action::Write(level) = action
            && let Drive::Timed(_, count) = self.drive(now, level)
            && let Some(timer) = self.timer()
            && let Some(address) = timer.address(level)
        {
            return match timer.write {
                TimerWrite::Coil => Request::WriteTimer { address, count },
                TimerWrite::Register => Request::WriteRegister { address, value: count },
            };
        }
        match (action, self.point.address) {
            (Action::Write(level), OutputAddress::Coil(address)) => {
                Request::WriteCoil { address, on: level.is_energised() }
            }
            (Action::Write(level), OutputAddress::HoldingRegister { address, energised, released }) => {
                Request::WriteRegister { address, value: if level.is_energised() { energised } else { released } }
            }
            (Action::ReadBack, address) => {
                let (table, address) = output_point(address);
                Request::Read { table, address, count: 1 }
            }
        }
    }

    /// The write goes on the wire with the return of this call. Returns the last instant for that.
    pub fn start_write(&mut self, now: Mono, level: Level, out: &mut Vec<BusReport>) -> Option<Mono> {
        let (kept, overtaken) =
            std::mem::take(&mut self.written).into_iter().partition(|written| written.level == level);
        self.written = kept;
        let armed = self.timed(now, level).map(|(_, armed)| armed);
        self.armed_before = std::mem::replace(&mut self.armed, armed);
        for written in overtaken {
            self.unknown(written.ticket, "overtaken by a later state before it was read back", out);
        }
        if let Some(waiting) = self.waiting.take() {
            if let Some(desired) = waiting.desired {
                self.prior = Some(self.in_force);
                self.in_force = Some(desired);
                self.attempts = 0;
            }
            let Waiting { ticket, deadline, .. } = waiting;
            self.written.push(Written { ticket, deadline, level, in_flight: true });
        } else {
            self.written.iter_mut().for_each(|written| written.in_flight = true);
        }
        self.unverified_before = self.unverified.replace(level);
        self.refused = false;
        self.retarget(now);
        self.written.iter().filter(|written| written.in_flight).map(|written| written.deadline).min()
    }

    /// The board echoed the write.
    pub fn write_answered(&mut self, now: Mono, out: &mut Vec<BusReport>) {
        self.landed();
        if !self.point.reads_back
            && let Some(level) = self.unverified
        {
            self.refresh_at = now + REFRESH;
            self.found(now, Some(level), out);
        }
    }

    /// Sent, but no proper answer: it may have happened.
    pub fn write_unknown(&mut self) {
        self.landed();
        self.armed = None;
        if !self.point.reads_back {
            // No telling but by another echo: the level seen before is no longer known.
            self.seen = None;
        }
    }

    /// The request never left: as if it had not been tried.
    pub fn write_not_sent(&mut self, now: Mono, out: &mut Vec<BusReport>) {
        self.unverified = self.unverified_before.take();
        self.armed = self.armed_before.take();
        let in_flight = self.written.iter().position(|written| written.in_flight);
        self.landed();
        // A rewrite that never left changes nothing for its order, whose first write did.
        let Some(at) = in_flight.filter(|_| self.attempts == 0) else { return };
        let Written { ticket, deadline, level, .. } = self.written.remove(at);
        let own = self.in_force.filter(|desired| desired.order.is_some_and(|(of, _)| of == ticket));
        if own.is_some()
            && let Some(prior) = self.prior.take()
        {
            self.in_force = prior;
        }
        let wanted = own.or(self.in_force).map(|desired| desired.level_at(now));
        if self.waiting.is_none() && wanted == Some(level) {
            self.waiting = Some(Waiting { ticket, deadline, desired: own });
        } else {
            self.dead = Some(ticket);
            self.fail(ticket, "overtaken by a later state before it was written", out);
        }
        self.retarget(now);
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

    pub fn write_refused(&mut self, now: Mono, detail: &str, out: &mut Vec<BusReport>) {
        let refused: Vec<Ticket> =
            self.written.iter().filter(|written| written.in_flight).map(|written| written.ticket).collect();
        self.written.retain(|written| !written.in_flight);
        for ticket in refused {
            self.fail(ticket, detail, out);
            self.revert(ticket);
        }
        self.refused = true;
        self.attempt_failed(now, out);
        self.retarget(now);
    }

    fn landed(&mut self) {
        self.written.iter_mut().for_each(|written| written.in_flight = false);
    }

    /// The output was read (or its write echoed): `None` is a register value that is neither level.
    pub fn found(&mut self, now: Mono, level: Option<Level>, out: &mut Vec<BusReport>) {
        let wrote = self.unverified.take();
        let refused = std::mem::take(&mut self.refused);
        self.seen = level;
        if let Some(level) = level {
            for written in self.written.extract_if(.., |written| written.level == level) {
                self.reported = Some(level);
                self.prior = None;
                out.push(BusReport::Output { output: self.output, level, order: Some(written.ticket) });
            }
            if self.reported != Some(level) {
                self.reported = Some(level);
                out.push(BusReport::Output { output: self.output, level, order: None });
            }
        }
        self.retarget(now);
        // Read back otherwise, and not wanted any more: nothing will be written for these again.
        let target = self.target;
        for written in self.written.extract_if(.., |written| Some(written.level) != target).collect::<Vec<_>>() {
            self.fail(written.ticket, "the board did not take it while it was wanted", out);
            self.revert(written.ticket);
        }
        self.retarget(now);
        if level.is_some() && level == self.target {
            self.attempts = 0;
            self.retry_at = Mono::ZERO;
        } else if wrote.is_some() && wrote == self.target && !refused {
            self.attempt_failed(now, out);
        }
    }

    fn attempt_failed(&mut self, now: Mono, out: &mut Vec<BusReport>) {
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts < ATTEMPTS_MAX {
            return;
        }
        let doublings = (self.attempts - ATTEMPTS_MAX).min(8);
        self.retry_at = now + (REWRITE_BACKOFF * 2_u32.pow(doublings)).min(REWRITE_BACKOFF_MAX);
        if self.attempts == ATTEMPTS_MAX
            && let Some(level) = self.seen
        {
            out.push(BusReport::OutputMismatch { output: self.output, level });
        }
        for written in std::mem::take(&mut self.written) {
            self.fail(written.ticket, "the output reads back otherwise than written", out);
            self.revert(written.ticket);
        }
        self.retarget(now);
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

    /// Puts back what was in force before `ticket`, unless the controller has spoken since.
    fn revert(&mut self, ticket: Ticket) {
        self.dead = Some(ticket);
        let own = self.in_force.and_then(|desired| desired.order).is_some_and(|(of, _)| of == ticket);
        if own && let Some(prior) = self.prior.take() {
            self.in_force = prior;
        }
    }

    /// A level that newly became the one to be driven starts with a clean slate.
    fn retarget(&mut self, now: Mono) {
        let target = self.in_force.map(|desired| desired.level_at(now));
        if target != self.target {
            self.target = target;
            self.changed_at = now;
            self.attempts = 0;
            self.retry_at = Mono::ZERO;
        }
    }

    fn fail(&self, ticket: Ticket, detail: &str, out: &mut Vec<BusReport>) {
        out.push(BusReport::OrderFailed { output: self.output, ticket, detail: detail.to_owned() });
    }

    fn unknown(&self, ticket: Ticket, detail: &str, out: &mut Vec<BusReport>) {
        out.push(BusReport::OrderUnknown { output: self.output, ticket, detail: detail.to_owned() });
    }
}

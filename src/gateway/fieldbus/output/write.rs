//! What a write goes through: put into a request, on the wire, answered or not, read back. Owns what is believed of the
//! output meanwhile; must never believe a write that was not read back, where it can be. Invariant: a write that never
//! left is as if it had not been tried, and one of which nobody knows counts as one that may have happened.

use std::time::Duration;

use super::{Action, Drive, Output, Waiting, Written};
use crate::{
    domain::{
        fieldbus::{BusReport, OutputAddress, TimerWrite},
        outputs::{Level, Ticket},
        time::Mono,
    },
    gateway::fieldbus::{Request, plan::output_point},
};

/// Writes in a row that read back otherwise before that is called a mismatch.
pub const ATTEMPTS_MAX: u32 = 3;
const REWRITE_BACKOFF: Duration = Duration::from_millis(500);
const REWRITE_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An output that cannot be read back is written anew this often, should its board have restarted.
const REFRESH: Duration = Duration::from_secs(1);

impl Output {
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
}

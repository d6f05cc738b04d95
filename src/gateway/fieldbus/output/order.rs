//! The life of the order behind an output, as far as no wire is concerned: taken, overtaken, expired, taken back. Owns
//! which state is in force; must never let an order end twice. Invariants: what came with an order takes force only when
//! its write starts, so one that expired or failed has changed nothing here: the state before it stays until the
//! controller sends another. Tickets rise, operators' and the node's own each for itself: one that is not higher than the
//! highest seen is no new order.

use super::{Output, Waiting};
use crate::domain::{
    fieldbus::BusReport,
    outputs::{Desired, Ticket},
    time::Mono,
};

impl Output {
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

    /// Puts back what was in force before `ticket`, unless the controller has spoken since.
    pub(super) fn revert(&mut self, ticket: Ticket) {
        self.dead = Some(ticket);
        let own = self.in_force.and_then(|desired| desired.order).is_some_and(|(of, _)| of == ticket);
        if own && let Some(prior) = self.prior.take() {
            self.in_force = prior;
        }
    }

    /// A level that newly became the one to be driven starts with a clean slate.
    pub(super) fn retarget(&mut self, now: Mono) {
        let target = self.in_force.map(|desired| desired.level_at(now));
        if target != self.target {
            self.target = target;
            self.changed_at = now;
            self.attempts = 0;
            self.retry_at = Mono::ZERO;
        }
    }

    pub(super) fn fail(&self, ticket: Ticket, detail: &str, out: &mut Vec<BusReport>) {
        out.push(BusReport::OrderFailed { output: self.output, ticket, detail: detail.to_owned() });
    }

    pub(super) fn unknown(&self, ticket: Ticket, detail: &str, out: &mut Vec<BusReport>) {
        out.push(BusReport::OrderUnknown { output: self.output, ticket, detail: detail.to_owned() });
    }
}

//! An admitted command on its way: authority, then the field, the node itself or a delay. Owns the tickets by which
//! whoever carries it out reports; must never judge time. Invariant: an order has a ticket, and a ticket its command.

use super::{Asked, Desk, DeskStep, HARDWARE_LIFETIME_MAX, edits::edit_of, ending::End, errand::Errand, task::Work};
use crate::{
    domain::{
        event::Actor,
        order::{DoorAction, Order, Task},
        outputs::Ticket,
        time::{ClockTrust, Now},
    },
    gateway::{reports::Scope, step::CommandKey},
    wire::{command::Command, outcome::Stage},
};

impl Desk {
    pub(super) fn carry_out(&mut self, key: &CommandKey, command: &Command, now: Now, step: &mut DeskStep) {
        let body = &command.body;
        if let Err((reason, message)) =
            self.permissions.authorise(&command.operator, &body.name(), &body.targets(), now)
        {
            return self.end(key, command, End::unauthorised(reason, message), now, step);
        }
        if let Err(end) = self.edit_is_in_time(command) {
            return self.end(key, command, end, now, step);
        }
        let work = match self.work(body) {
            Ok(work) => work,
            Err(end) => return self.end(key, command, end, now, step),
        };
        self.advance(key, now.wall, Stage::Authorised, None, None, step);
        let (operator, jti) = (command.operator.clone(), command.jti.clone());
        // Without a trusted clock only what secures or asks comes this far; it gets the full span.
        let deadline = match now.trust {
            ClockTrust::Trusted => now.mono_at(command.exp),
            ClockTrust::Untrusted => now.mono + HARDWARE_LIFETIME_MAX,
        };
        let (ticket, what) = match work {
            Work::Field(what) => (self.ticket(key), what),
            Work::Node => {
                let ticket = self.ticket_of(key);
                let (edits, issued_at) = (edit_of(body), command.iat);
                let asked =
                    Asked { key: key.clone(), operator: operator.clone(), command: body.name(), edits, issued_at };
                self.errands.insert(ticket, asked);
                let (issuer, scope) = (command.issuer.clone(), Scope::of(&self.permissions, &operator));
                let (kid, body) = (command.kid.clone(), body.clone());
                step.errand = Some(Errand { ticket, operator, issuer, jti, kid, scope, body, figures: None });
                return;
            }
            Work::Delay { door, ix, action, delay } => {
                let ticket = self.ticket(key);
                self.ask_for_delay(ticket, command, action, &door, delay, now);
                (ticket, Task::Door(ix, DoorAction::Admit(action)))
            }
            Work::CancelDelay(args) => match self.cancel_delays(now, command, &args, step) {
                // What system events have put off is with the doors.
                Ok(door) if args.jti.is_none() => {
                    (self.ticket(key), Task::CancelDelays { door, system_event: args.system_event })
                }
                Ok(_) => {
                    self.advance(key, now.wall, Stage::Done, None, None, step);
                    return self.finish(key);
                }
                Err(end) => return self.end(key, command, end, now, step),
            },
        };
        let by = Actor::Operator { operator, jti };
        step.order = Some(Order { ticket, what, deadline, issued_at: command.iat, by });
    }

    /// A new one, for a command that the doors or the disk will report on.
    pub(super) fn ticket(&mut self, key: &CommandKey) -> Ticket {
        let ticket = self.ticket_of(key);
        self.tickets.insert(ticket, key.clone());
        ticket
    }

    pub(super) fn ticket_of(&mut self, key: &CommandKey) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        if let Some(entry) = self.book.get_mut(key) {
            entry.ticket = Some(ticket);
        }
        ticket
    }
}

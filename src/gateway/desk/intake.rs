//! What comes in: is it known, dead, fit, in time. Owns the questions before authority, in the contract's order;
//! must never carry a command out of which it has not asked all of them. Invariant: whatever is taken is written
//! down with its first outcome, and whatever is not is answered all the same.

use serde_json::json;

use super::{
    Desk, DeskStep, Entry, HARDWARE_LIFETIME_MAX, HELD_BACK_MAX, LIFETIME_MAX, ORDERS_MAX, book,
    ending::{End, repeated},
};
use crate::{
    domain::{
        event::Refusal,
        time::{ClockTrust, Mono, Now},
    },
    gateway::step::{CommandKey, CommandRecord, Effect, LedgerWrite, MessageToken},
    wire::{
        command::{Command, CommandBody},
        outcome::Stage,
    },
};

/// What the restart fence does not keep from coming twice, and what is a promise about later. Questions change nothing,
/// however often they come.
fn needs_the_ledger(command: &Command) -> bool {
    let waits = command.nbf.is_some();
    match &command.body {
        CommandBody::DoorOpenWithDelay(_) | CommandBody::DoorCloseWithDelay(_) | CommandBody::ReportsQuery(_) => true,
        CommandBody::DoorStateGet(_)
        | CommandBody::List { .. }
        | CommandBody::LiveEventsSubscribe(_)
        | CommandBody::LiveEventsUnsubscribe(_)
        | CommandBody::ConfigurationGet(_)
        | CommandBody::NodeIdentify(_)
        | CommandBody::NodeDiagnostics(_) => waits,
        body => waits || !body.moves_hardware(),
    }
}

impl Desk {
    /// An authentic command came in with `message`, which may be acknowledged once the command is stored.
    pub fn handle_command(&mut self, now: Now, command: Command, message: Option<MessageToken>) -> DeskStep {
        self.judge(now, command, message, false)
    }

    /// The same, of a command that the broker says was retained: refused, and from then on known, so that the
    /// broker cannot have it carried out after we called it refused, nor call refused what was carried out.
    pub fn handle_retained(&mut self, now: Now, command: Command, message: MessageToken) -> DeskStep {
        self.judge(now, command, Some(message), true)
    }

    fn judge(&mut self, now: Now, command: Command, message: Option<MessageToken>, is_retained: bool) -> DeskStep {
        let mut step = DeskStep::default();
        match message {
            // Were it kept back, the broker would soon send nothing more, not even a revocation.
            Some(token) if self.ledger_withheld.is_some() => step.acknowledged = Some(token),
            Some(token) => step.commit.held.push(Effect::AckMessage(token)),
            None => {}
        }
        let key = CommandKey { issuer: command.issuer.clone(), jti: command.jti.clone() };
        if let Some(known) = self.book.get(&key) {
            let answer = repeated(known, &command, now);
            if known.durable_first {
                // What is told again may not be on the disk yet; the ledger lets it out after all that went before.
                step.commit.held.push(Effect::Publish(answer));
            } else {
                step.outcomes.push(answer);
            }
            return step;
        }
        if let Some(why) = self.ledger_withheld.as_ref().filter(|_| needs_the_ledger(&command)) {
            let message = format!(
                "the ledger cannot be opened ({why}): whether this was carried out before is not known, and it could not be kept; what moves a door at once is still carried out"
            );
            step.outcomes.push(End::refused(Refusal::Overloaded, message).outcome(&command.jti, 0, now.wall));
            return step;
        }
        if command.exp <= self.book.floor() {
            // Not stored: the floor alone keeps it dead. Not `expired` either: it may be one that was carried
            // out and then forgotten, and `expired` would say that nothing moved.
            let end = End::stage(Stage::Unknown, "older than what the node still remembers");
            step.outcomes.push(end.outcome(&command.jti, 0, now.wall));
            return step;
        }
        if let Err(end) = self.is_fit(now, &command) {
            // Not stored: it is as unfit when it comes again, and might be live for years.
            step.outcomes.push(end.outcome(&command.jti, 0, now.wall));
            return step;
        }
        if now.trust == ClockTrust::Trusted {
            self.trusted = now.wall;
        }
        let full = || End::refused(Refusal::Overloaded, "too many commands of this operator are still live");
        if self.book.was_refused(&key) {
            step.outcomes.push(full().outcome(&command.jti, 0, now.wall));
            return step;
        }
        match self.book.make_room(&command.operator, self.trusted, command.body.moves_hardware()) {
            Ok(None) => {}
            Ok(Some(dropped)) => {
                step.commit.writes.push(LedgerWrite::Forget { commands: dropped.keys, floor: dropped.floor });
            }
            Err(book::Full) => {
                // Not stored: remembering it whole is what there is no room for.
                if let Some(floor) = self.book.refuse(key, command.exp, self.trusted) {
                    step.commit.writes.push(LedgerWrite::Forget { commands: Vec::new(), floor });
                }
                step.outcomes.push(full().outcome(&command.jti, 0, now.wall));
                return step;
            }
        }
        let record = CommandRecord {
            key: key.clone(),
            operator: command.operator.clone(),
            digest: command.digest,
            exp: command.exp,
            boot: self.boot.clone(),
            outcomes: Vec::with_capacity(4),
            delay: None,
        };
        self.book.insert(Entry { record, ticket: None, finished: false, durable_first: false });
        self.advance(&key, now.wall, Stage::Received, None, None, &mut step);
        let retained = || End::unauthorised(Refusal::Retained, "a command must not be published as a retained message");
        let admitted = if is_retained { Err(retained()) } else { self.admit(now, &command) };
        match admitted {
            Err(end) => self.end(&key, &command, end, now, &mut step),
            // Without a trusted clock nobody can say when it will be time, and only what secures comes this far.
            Ok(()) => match command.nbf.filter(|nbf| now.trust == ClockTrust::Trusted && *nbf > now.wall) {
                Some(nbf) => self.hold_back(&key, command, now.mono_at(nbf), now, &mut step),
                None => self.carry_out(&key, &command, now, &mut step),
            },
        }
        self.store(&key, &mut step);
        step
    }

    /// Takes one command whose `nbf` or delay is over; to be called until `next_deadline` lies in the future.
    pub fn handle_timeout(&mut self, now: Now) -> DeskStep {
        let mut step = DeskStep::default();
        let due = self.held_back.first_entry().filter(|entry| entry.key().0 <= now.mono);
        let Some(command) = due.map(|entry| entry.remove()) else {
            if self.delays.next_due().is_some_and(|due| due <= now.mono) && !self.stopping {
                self.delay_due(now, &mut step);
            }
            return step;
        };
        let key = CommandKey { issuer: command.issuer.clone(), jti: command.jti.clone() };
        match self.admit(now, &command) {
            Err(end) => self.end(&key, &command, end, now, &mut step),
            Ok(()) => match command.nbf.filter(|nbf| now.trust == ClockTrust::Trusted && *nbf > now.wall) {
                // The clock was put back meanwhile.
                Some(nbf) => {
                    self.next_ticket += 1;
                    self.held_back.insert((now.mono_at(nbf), self.next_ticket), command);
                    return step;
                }
                None => self.carry_out(&key, &command, now, &mut step),
            },
        }
        self.store(&key, &mut step);
        step
    }

    /// What no passing of time mends. A command that passes is live for two days at most.
    fn is_fit(&self, now: Now, command: &Command) -> Result<(), End> {
        if command.issuer != self.issuer {
            return Err(End::refused(Refusal::WrongIssuer, format!("this node listens to {}", self.issuer)));
        }
        let cap = if command.body.moves_hardware() { HARDWARE_LIFETIME_MAX } else { LIFETIME_MAX };
        if command.exp <= command.iat || command.exp.since(command.iat) > cap {
            let message = format!("exp must be after iat and at most {} s after it", cap.as_secs());
            return Err(End::refused(Refusal::LifetimeTooLong, message));
        }
        if now.trust == ClockTrust::Trusted && command.iat > now.wall + LIFETIME_MAX {
            return Err(End::refused(Refusal::NotYetValid, "iat lies more than a day in the future"));
        }
        Ok(())
    }

    /// Everything else that is judged before authority, in the contract's order.
    fn admit(&self, now: Now, command: &Command) -> Result<(), End> {
        let body = &command.body;
        if self.stopping {
            return Err(End::refused(Refusal::Overloaded, "the node is stopping"));
        }
        if body.moves_hardware() && !body.is_securing() {
            match &command.boot {
                None => return Err(End::refused(Refusal::Malformed, "boot is required for what moves hardware")),
                Some(boot) if *boot != self.boot => {
                    return Err(End {
                        detail: json!({
                            "message": "meant for another run of the node, which does not know how it went",
                            "boot": self.boot,
                        }),
                        ..End::stage(Stage::Unknown, "")
                    });
                }
                Some(_) => {}
            }
            if now.trust == ClockTrust::Untrusted {
                return Err(End::refused(
                    Refusal::ClockUntrusted,
                    "deadlines cannot be judged: the clock is not trusted",
                ));
            }
        }
        if now.trust == ClockTrust::Trusted {
            if command.iat > now.wall + self.clock_skew {
                return Err(End::refused(Refusal::NotYetValid, "iat lies in the future"));
            }
            if command.exp <= now.wall {
                return Err(End::stage(Stage::Expired, "exp has passed"));
            }
            if command.nbf.is_some_and(|nbf| nbf >= command.exp) {
                return Err(End::refused(Refusal::Malformed, "nbf must lie before exp"));
            }
        }
        if now.trust == ClockTrust::Untrusted && !body.is_securing() && command.exp <= self.trusted {
            // A clock that is not trusted makes no old command young again.
            return Err(End::stage(Stage::Expired, "exp had passed when the clock was last trusted"));
        }
        if self.tickets.len() + self.errands.len() >= ORDERS_MAX {
            return Err(End::refused(Refusal::Overloaded, "too many orders are under way"));
        }
        Ok(())
    }

    fn hold_back(&mut self, key: &CommandKey, command: Command, due: Mono, now: Now, step: &mut DeskStep) {
        if self.held_back.len() >= HELD_BACK_MAX {
            let end = End::refused(Refusal::Overloaded, "too many commands wait for their nbf");
            return self.end(key, &command, end, now, step);
        }
        // Told only once it is stored, and so is all that follows: the next run must know what this one promised to do
        // later, and must not say otherwise of how it ended.
        if let Some(entry) = self.book.get_mut(key) {
            entry.durable_first = true;
        }
        self.advance(key, now.wall, Stage::Scheduled, None, None, step);
        self.next_ticket += 1;
        self.held_back.insert((due, self.next_ticket), command);
    }
}

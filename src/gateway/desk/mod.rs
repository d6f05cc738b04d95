//! The command desk: from a command that is authentic to an order that is due, and back to its
//! outcomes. Owns idempotency, deadlines, the restart fence and authority; must never touch a door.
//! Invariant: each command id leads to at most one order in the life of the node, and every command
//! that was received ends in an outcome that says so.
//!
//! The questions, in the order in which they are asked:
//!
//! ```text
//! known id?       same bytes: its stored outcome; other bytes: conflict
//! dead id?        exp at or below the floor of forgotten ids: unknown
//! room            bounded per operator: overloaded
//! retained        refused
//! issuer, lifetime
//! boot            another run and not securing: unknown, with the present boot
//! clock           untrusted: opening refused, securing accepted
//! iat, exp, nbf
//! operator        status, capability, scope
//! target          unsupported, unknown_target
//! ```

mod book;
mod delay;
mod edits;
mod ending;
mod errand;
mod task;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

pub use book::{Book, Entry};
pub use delay::DELAYS_PER_DOOR_MAX;
pub use edits::EditsAtStart;
pub use ending::is_last;
pub use errand::{Answer, Answered, Errand, Figures};

use self::{
    delay::Delays,
    ending::{End, decision_detail, kept, merged, message_detail, repeated, staged},
    task::Work,
};

use crate::{
    domain::{
        event::{Actor, Event, EventBody, Refusal},
        ids::{DoorIx, Id},
        order::{DoorAction, Order, OrderReport, Progress, Task},
        outputs::Ticket,
        permission::Permissions,
        time::{ClockTrust, Mono, Now, Wall},
        topology::Topology,
    },
    gateway::{
        reports::Scope,
        step::{CommandKey, CommandRecord, Commit, Effect, LedgerWrite, MessageToken},
    },
    wire::{
        command::Command,
        keys::KeySet,
        outcome::{Outcome, Stage},
    },
};

/// `exp - iat` of whatever moves hardware.
const HARDWARE_LIFETIME_MAX: Duration = Duration::from_secs(60);
/// `exp - iat` of the rest.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Commands that may wait for their `nbf` at a time; more are refused as overloaded.
const HELD_BACK_MAX: usize = 256;
/// Orders that may be with the doors at a time; more are refused as overloaded.
pub const ORDERS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct DeskConfig {
    pub boot: Id,
    pub issuer: String,
    pub topology: Arc<Topology>,
    pub commands_per_operator_max: usize,
    pub clock_skew: Duration,
    /// Of an earlier run and not ended with it: the configuration that this run is a trial of, or was until
    /// just now. [`Desk::handle_settled`] ends it.
    pub on_trial: Option<CommandKey>,
    pub edits: EditsAtStart,
    /// Longest `delay_ms`.
    pub delay_max: Duration,
}

/// What one input led to. The order goes to the doors first, then the outcomes to the cloud; the
/// commit goes to the ledger and carries what must wait for it.
#[derive(Debug, Default)]
#[must_use]
pub struct DeskStep {
    pub order: Option<Order>,
    /// What the node itself is asked for, after the order.
    pub errand: Option<Errand>,
    pub outcomes: Vec<Outcome>,
    pub commit: Commit,
    /// Doors at which other delays are pending than before: their state is to be told again.
    pub delays_changed: BTreeSet<Id>,
}

#[derive(Debug)]
pub struct Desk {
    boot: Id,
    issuer: String,
    topology: Arc<Topology>,
    doors: HashMap<Id, DoorIx>,
    clock_skew: Duration,
    delay_max: Duration,
    permissions: Arc<Permissions>,
    book: Book,
    /// The log tells of every edit up to this revision.
    edits_told: u64,
    /// The wall clock when it was last trusted: an untrusted one that jumped ahead must not end anybody's life.
    trusted: Wall,
    /// In the order in which they were given, so that nothing that is said depends on chance.
    tickets: BTreeMap<Ticket, CommandKey>,
    /// What goes into the detail of the next stage.
    decided: BTreeMap<Ticket, Value>,
    /// The same of what the node itself does.
    errands: BTreeMap<Ticket, Asked>,
    next_ticket: u64,
    /// Commands before their `nbf`, by the instant at which it comes.
    held_back: BTreeMap<(Mono, u64), Command>,
    delays: Delays,
    stopping: bool,
}

/// An errand that is under way.
#[derive(Clone, Debug)]
struct Asked {
    key: CommandKey,
    operator: Id,
    command: String,
}

/// The operator, not the command, was found wanting: that is worth an event.
fn is_about_authority(reason: Refusal) -> bool {
    matches!(
        reason,
        Refusal::Forbidden
            | Refusal::OutOfScope
            | Refusal::UnknownOperator
            | Refusal::OperatorPending
            | Refusal::OperatorExpired
            | Refusal::OperatorSuspended
    )
}

impl Desk {
    /// `records` and `floor` as the ledger recovered them. Commands that an earlier run left open end
    /// here as `unknown`: nobody can say any more how far they got. Delays that are not due yet go on.
    pub fn new(
        config: DeskConfig,
        permissions: Arc<Permissions>,
        mut records: Vec<CommandRecord>,
        floor: Wall,
        now: Now,
    ) -> (Desk, DeskStep) {
        let mut step = DeskStep::default();
        let mut delays = Vec::new();
        for record in &mut records {
            if record.outcomes.last().is_some_and(is_last) || config.on_trial.as_ref() == Some(&record.key) {
                continue;
            }
            if let Some(delay) = &record.delay {
                delays.push((record.key.clone(), delay.clone()));
                continue;
            }
            let unknown = || Outcome {
                jti: record.key.jti.clone(),
                seq: record.outcomes.len() as u32,
                stage: Stage::Unknown,
                at: now.wall,
                reason: None,
                detail: Some(message_detail("the node restarted before this command ended")),
            };
            let outcome = config.edits.outcome(record, now).unwrap_or_else(unknown);
            record.outcomes.push(outcome.clone());
            step.commit.writes.push(LedgerWrite::Command(record.clone()));
            step.outcomes.push(outcome);
        }
        let doors = config.topology.doors.iter().cloned().zip((0..).map(DoorIx)).collect();
        let mut desk = Desk {
            boot: config.boot,
            issuer: config.issuer,
            topology: config.topology,
            doors,
            clock_skew: config.clock_skew,
            delay_max: config.delay_max,
            permissions,
            trusted: if now.trust == ClockTrust::Trusted { now.wall } else { floor },
            book: Book::new(records, floor, config.commands_per_operator_max),
            edits_told: config.edits.told,
            tickets: BTreeMap::new(),
            decided: BTreeMap::new(),
            errands: BTreeMap::new(),
            next_ticket: 1,
            held_back: BTreeMap::new(),
            delays: Delays::default(),
            stopping: false,
        };
        for (key, delay) in delays {
            if let Some(entry) = desk.book.get_mut(&key) {
                entry.finished = false;
            }
            desk.restore_delay(now, key, delay, &mut step);
        }
        config.edits.stand.iter().for_each(|made| desk.tell_edit(now, made, &mut step));
        (desk, step)
    }

    pub fn permissions(&self) -> &Arc<Permissions> {
        &self.permissions
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// From now on commands see this set.
    pub fn handle_permissions(&mut self, permissions: Arc<Permissions>) {
        self.permissions = permissions;
    }

    /// New keys are in force: what a revoked key had scheduled is cancelled.
    pub fn handle_keys(&mut self, now: Wall, keys: &KeySet) -> DeskStep {
        let mut step = DeskStep::default();
        let revoked = |(at, command): (&(Mono, u64), &Command)| keys.is_revoked(&command.kid).then_some(*at);
        let due: Vec<_> = self.held_back.iter().filter_map(revoked).collect();
        for command in due.iter().filter_map(|at| self.held_back.remove(at)).collect::<Vec<_>>() {
            let key = CommandKey { issuer: command.issuer, jti: command.jti };
            let detail = message_detail("the key that signed this command was revoked");
            self.advance(&key, now, Stage::Cancelled, None, Some(detail), &mut step);
            self.finish(&key);
            self.store(&key, &mut step);
        }
        self.cancel_revoked(now, keys, &mut step);
        step
    }

    /// From now on every new command is refused: the node is stopping. What waits for its `nbf` ends here; delays
    /// go on in the next run.
    pub fn handle_stop(&mut self, now: Wall) -> DeskStep {
        self.stopping = true;
        let mut step = DeskStep::default();
        for (_, command) in std::mem::take(&mut self.held_back) {
            let key = CommandKey { issuer: command.issuer, jti: command.jti };
            let detail = message_detail("the node stops before its nbf");
            self.advance(&key, now, Stage::Cancelled, None, Some(detail), &mut step);
            self.finish(&key);
            self.store(&key, &mut step);
        }
        step
    }

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
        if let Some(token) = message {
            step.commit.held.push(Effect::AckMessage(token));
        }
        let key = CommandKey { issuer: command.issuer.clone(), jti: command.jti.clone() };
        if let Some(known) = self.book.get(&key) {
            step.outcomes.push(repeated(known, &command, now));
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
        self.book.insert(Entry { record, ticket: None, finished: false });
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

    /// The doors report how far an order has got, or the ledger that something is stored.
    pub fn handle_report(&mut self, now: Now, report: OrderReport) -> DeskStep {
        let mut step = DeskStep::default();
        let Some(key) = self.tickets.get(&report.ticket).cloned() else {
            return step;
        };
        if self.hear_delay(now, &report, &key, &mut step) || report.progress == Progress::Stored {
            return step;
        }
        let last = report.progress.is_final();
        let decision = self.decided.remove(&report.ticket);
        let progress = match report.progress {
            Progress::Decided(decided) => {
                self.decided.insert(report.ticket, decision_detail(&decided));
                return step;
            }
            Progress::Reported(mut status) => {
                status.delays = self.delays_at(&status.door);
                Progress::Reported(status)
            }
            other => other,
        };
        let (stage, reason, detail) = staged(progress);
        self.advance(&key, report.at, stage, reason, merged(decision, detail), &mut step);
        if last {
            self.tickets.remove(&report.ticket);
            self.finish(&key);
        }
        self.store(&key, &mut step);
        step
    }

    /// Whoever carries out an errand reports how far it has got.
    pub fn handle_answer(&mut self, now: Now, answer: Answer) -> DeskStep {
        let mut step = DeskStep::default();
        let Some(Asked { key, operator, command }) = self.errands.get(&answer.ticket).cloned() else {
            return step;
        };
        let last = answer.answered.is_final();
        if let Answered::Edited(made) = &answer.answered {
            self.tell_edit(now, made, &mut step);
        }
        let (stage, reason, detail) = answer.answered.staged();
        // What an edit reaches is only found out where it is made.
        if let Some(reason) = reason.filter(|reason| is_about_authority(*reason)) {
            let detail = detail.as_ref().and_then(|detail| detail["message"].as_str()).map(str::to_owned);
            let jti = key.jti.clone();
            self.refused_event(now, EventBody::OperatorRefused { operator, jti, command, reason, detail }, &mut step);
        }
        self.advance(&key, answer.at, stage, reason, detail, &mut step);
        if last {
            self.errands.remove(&answer.ticket);
            self.finish(&key);
        }
        self.store(&key, &mut step);
        step
    }

    /// What an earlier run left open on purpose has ended.
    pub fn handle_settled(&mut self, now: Wall, key: &CommandKey, answered: Answered) -> DeskStep {
        let mut step = DeskStep::default();
        if self.book.get(key).is_some_and(|entry| !entry.finished) {
            let (stage, reason, detail) = answered.staged();
            self.advance(key, now, stage, reason, detail, &mut step);
            self.finish(key);
            self.store(key, &mut step);
        }
        step
    }

    /// The doors were restarted: what they had not ended, nobody knows.
    pub fn handle_doors_restarted(&mut self, now: Wall) -> DeskStep {
        let mut step = DeskStep::default();
        self.decided.clear();
        let (waiting, lost): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.tickets).into_iter().partition(|(_, key)| self.delays.is_with_the_disk(key));
        self.tickets = waiting;
        for (_, key) in lost {
            self.forget_delay(&key, &mut step);
            let detail = message_detail("the door loop restarted before this command ended");
            self.advance(&key, now, Stage::Unknown, None, Some(detail), &mut step);
            self.finish(&key);
            self.store(&key, &mut step);
        }
        step
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        if self.stopping {
            return None;
        }
        self.held_back.first_key_value().map(|((due, _), _)| *due).into_iter().chain(self.delays.next_due()).min()
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

    /// Orders and errands that have not ended.
    pub fn commands_open(&self) -> usize {
        self.tickets.len() + self.errands.len()
    }

    pub fn commands_remembered(&self) -> usize {
        self.book.len()
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
        self.advance(key, now.wall, Stage::Scheduled, None, None, step);
        // Told only once it is stored: the next run must know what this one promised to do later.
        if let Some(scheduled) = step.outcomes.pop() {
            step.commit.held.push(Effect::Publish(scheduled));
        }
        self.next_ticket += 1;
        self.held_back.insert((due, self.next_ticket), command);
    }

    fn carry_out(&mut self, key: &CommandKey, command: &Command, now: Now, step: &mut DeskStep) {
        let body = &command.body;
        if let Err((reason, message)) =
            self.permissions.authorise(&command.operator, &body.name(), &body.targets(), now)
        {
            return self.end(key, command, End::unauthorised(reason, message), now, step);
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
                let asked = Asked { key: key.clone(), operator: operator.clone(), command: body.name() };
                self.errands.insert(ticket, asked);
                let (issuer, scope) = (command.issuer.clone(), Scope::of(&self.permissions, &operator));
                step.errand = Some(Errand { ticket, operator, issuer, jti, scope, body: body.clone(), figures: None });
                return;
            }
            Work::Delay { door, ix, action, delay } => {
                let ticket = self.ticket(key);
                self.ask_for_delay(ticket, command, action, &door, delay, now);
                (ticket, Task::Door(ix, DoorAction::Admit(action)))
            }
            Work::CancelDelay(args) => {
                return match self.cancel_delays(now, command, &args, step) {
                    Ok(()) => {
                        self.advance(key, now.wall, Stage::Done, None, None, step);
                        self.finish(key);
                    }
                    Err(end) => self.end(key, command, end, now, step),
                };
            }
        };
        let by = Actor::Operator { operator, jti };
        step.order = Some(Order { ticket, what, deadline, issued_at: command.iat, by });
    }

    /// A new one, for a command that the doors or the disk will report on.
    fn ticket(&mut self, key: &CommandKey) -> Ticket {
        let ticket = self.ticket_of(key);
        self.tickets.insert(ticket, key.clone());
        ticket
    }

    fn ticket_of(&mut self, key: &CommandKey) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        if let Some(entry) = self.book.get_mut(key) {
            entry.ticket = Some(ticket);
        }
        ticket
    }

    fn end(&mut self, key: &CommandKey, command: &Command, end: End, now: Now, step: &mut DeskStep) {
        self.end_command(key, &command.operator, &command.body.name(), end, now, step);
    }

    fn end_command(&mut self, key: &CommandKey, operator: &Id, name: &str, end: End, now: Now, step: &mut DeskStep) {
        if let (true, Some(reason)) = (end.event, end.reason) {
            let (operator, jti) = (operator.clone(), key.jti.clone());
            let detail = end.detail["message"].as_str().map(str::to_owned);
            let body = EventBody::OperatorRefused { operator, jti, command: name.to_owned(), reason, detail };
            self.refused_event(now, body, step);
        }
        self.advance(key, now.wall, end.stage, end.reason, Some(end.detail), step);
        self.finish(key);
    }

    fn refused_event(&self, now: Now, body: EventBody, step: &mut DeskStep) {
        let version = self.permissions.version();
        let (epoch, generation) = (version.epoch, version.generation);
        step.commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
    }

    /// Adds the next stage of a command to its record and to what is published.
    fn advance(
        &mut self,
        key: &CommandKey,
        at: Wall,
        stage: Stage,
        reason: Option<Refusal>,
        detail: Option<Value>,
        step: &mut DeskStep,
    ) {
        let Some(entry) = self.book.get_mut(key) else { return };
        let seq = entry.record.outcomes.len() as u32;
        let outcome = Outcome { jti: key.jti.clone(), seq, stage, at, reason, detail };
        entry.record.outcomes.push(kept(&outcome));
        step.outcomes.push(outcome);
    }

    fn finish(&mut self, key: &CommandKey) {
        if let Some(entry) = self.book.get_mut(key) {
            entry.finished = true;
            entry.ticket = None;
        }
    }

    fn store(&self, key: &CommandKey, step: &mut DeskStep) {
        if let Some(entry) = self.book.get(key) {
            step.commit.writes.push(LedgerWrite::Command(entry.record.clone()));
        }
    }
}

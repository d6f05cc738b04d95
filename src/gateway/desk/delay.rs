//! Delayed commands: asked of the door, stored, due, authorised anew, begun. Owns what is pending and when it
//! is due; must never begin what is not on the disk as scheduled, nor open by a delay of which the disk does not
//! have that it was begun. Invariant: a delay is begun once or ends by itself, until then its command is
//! open, and what is told of it from `scheduled` on is on the disk: no crash makes a cancelled one go on.
//!
//! ```text
//!   Asked --the door would do it--> Storing --on the disk--> Waiting --due, authorised--> Beginning --on the disk--> order
//!     |                                |  past exp: expired     ^  a closing needs no disk: order
//!     | the door refuses               |                        |
//!     v                                v                        +-- restart: from the ledger; an opening that is overdue
//!   refused                  cancelled, from any of them            has expired; without a trusted clock it waits for one
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;

use super::{
    Desk, DeskStep, Entry,
    ending::{End, message_detail},
};
use crate::{
    domain::{
        door::{Closed, DelayAction, PendingDelay},
        event::{Actor, Refusal},
        ids::{DoorIx, Id},
        operator::Targets,
        order::{DoorAction, Order, OrderReport, Progress, Task},
        outputs::Ticket,
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::step::{CommandKey, Delay, Effect},
    wire::{
        command::{Command, CommandBody, DoorCancelDelayArgs},
        keys::KeySet,
        outcome::Stage,
    },
};

/// At one door, so that its state stays a message of reasonable size; more are refused as overloaded.
pub const DELAYS_PER_DOOR_MAX: usize = 16;
/// At all doors together.
const DELAYS_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asked {
        delay: Duration,
        store_by: Mono,
    },
    Storing {
        due: Mono,
        store_by: Mono,
    },
    Waiting(Mono),
    /// Of an earlier run, and nobody can say whether it is due.
    ClockWanted,
    Beginning,
}

#[derive(Debug)]
struct Pending {
    delay: Delay,
    phase: Phase,
    ticket: Option<Ticket>,
}

#[derive(Debug, Default)]
pub(super) struct Delays {
    pending: BTreeMap<CommandKey, Pending>,
    /// Those that wait, by the instant at which they are due.
    due: BTreeSet<(Mono, CommandKey)>,
}

impl Delays {
    pub fn next_due(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    fn at_door(&self, door: &Id) -> usize {
        self.pending.values().filter(|pending| pending.delay.door == *door).count()
    }

    fn wait(&mut self, key: &CommandKey, due: Mono) {
        if let Some(pending) = self.pending.get_mut(key) {
            pending.phase = Phase::Waiting(due);
            pending.ticket = None;
            self.due.insert((due, key.clone()));
        }
    }

    fn remove(&mut self, key: &CommandKey) -> Option<Pending> {
        let pending = self.pending.remove(key)?;
        if let Phase::Waiting(due) = pending.phase {
            self.due.remove(&(due, key.clone()));
        }
        Some(pending)
    }

    /// Whether its ticket is with the disk, not with the doors.
    pub fn is_with_the_disk(&self, key: &CommandKey) -> bool {
        let phase = self.pending.get(key).map(|pending| pending.phase);
        matches!(phase, Some(Phase::Storing { .. } | Phase::Beginning))
    }

    fn keys(&self, which: impl Fn(&Delay) -> bool) -> Vec<CommandKey> {
        self.pending.iter().filter(|(_, pending)| which(&pending.delay)).map(|(key, _)| key.clone()).collect()
    }
}

pub(super) fn command_name(action: DelayAction) -> &'static str {
    match action {
        DelayAction::Open => "door.open_with_delay",
        DelayAction::Close => "door.close_with_delay",
    }
}

impl Desk {
    /// What is pending at a door, the next first; what is not stored yet is promised to nobody.
    pub fn delays_at(&self, door: &Id) -> Vec<PendingDelay> {
        let promised = |pending: &&Pending| {
            pending.delay.door == *door && !matches!(pending.phase, Phase::Asked { .. } | Phase::Storing { .. })
        };
        let listed = |key: &CommandKey, delay: &Delay| {
            let operator = Some(self.book.get(key)?.record.operator.clone());
            let (jti, action, due_at) = (Some(key.jti.clone()), delay.action, delay.due_at);
            Some(PendingDelay { jti, action, due_at, operator, system_event: None })
        };
        let pending = self.delays.pending.iter().filter(|(_, pending)| promised(pending));
        let mut all: Vec<PendingDelay> = pending.filter_map(|(key, pending)| listed(key, &pending.delay)).collect();
        all.sort_by(|a, b| (a.due_at, &a.jti).cmp(&(b.due_at, &b.jti)));
        all
    }

    /// An authorised command with a delay: the door is asked whether it could be done at present.
    pub(super) fn delay(&self, action: DelayAction, door: &Id, delay_ms: u32) -> Result<(DoorIx, Duration), End> {
        let ix = self.door(door)?;
        let delay = Duration::from_millis(u64::from(delay_ms));
        if delay > self.delay_max {
            let most = self.delay_max.as_secs();
            let message =
                format!("delay_ms: {} takes at most {most} s here (limits.delay_max_s)", command_name(action));
            return Err(End::refused(Refusal::LifetimeTooLong, message));
        }
        if self.delays.at_door(door) >= DELAYS_PER_DOOR_MAX || self.delays.pending.len() >= DELAYS_MAX {
            return Err(End::refused(Refusal::Overloaded, format!("too many delays are pending at {door}")));
        }
        Ok((ix, delay))
    }

    pub(super) fn ask_for_delay(
        &mut self,
        ticket: Ticket,
        command: &Command,
        action: DelayAction,
        door: &Id,
        delay: Duration,
        now: Now,
    ) {
        let key = CommandKey { issuer: command.issuer.clone(), jti: command.jti.clone() };
        let (issued_at, kid) = (command.iat, command.kid.clone());
        let delay_of = Delay { door: door.clone(), action, due_at: Wall::EPOCH, issued_at, kid };
        let phase = Phase::Asked { delay, store_by: now.mono_at(command.exp) };
        self.delays.pending.insert(key, Pending { delay: delay_of, phase, ticket: Some(ticket) });
    }

    /// The door answered, or the disk. True: this report was about a delay that is not begun yet.
    pub(super) fn hear_delay(&mut self, now: Now, report: &OrderReport, key: &CommandKey, step: &mut DeskStep) -> bool {
        let Some(pending) = self.delays.pending.get(key).filter(|pending| pending.ticket == Some(report.ticket)) else {
            return false;
        };
        match (pending.phase, &report.progress) {
            (Phase::Asked { delay, store_by }, Progress::Done) => {
                self.schedule(now, key, report.ticket, delay, store_by, step);
            }
            (Phase::Storing { due, store_by }, Progress::Stored) => self.stored(now, key, due, store_by, step),
            (Phase::Beginning, Progress::Stored) => {
                if let Some(pending) = self.delays.remove(key) {
                    self.begin(now, key, report.ticket, &pending.delay, step);
                }
            }
            // Refused, or lost with the doors or the disk: the command ends as any other.
            _ => {
                self.forget_delay(key, step);
                return false;
            }
        }
        true
    }

    /// Told only once it is on the disk: the next run must know what this one promised to do later.
    fn schedule(
        &mut self,
        now: Now,
        key: &CommandKey,
        ticket: Ticket,
        delay: Duration,
        store_by: Mono,
        step: &mut DeskStep,
    ) {
        let due_at = now.wall + delay;
        let Some(pending) = self.delays.pending.get_mut(key) else { return };
        pending.delay.due_at = due_at;
        pending.phase = Phase::Storing { due: now.mono + delay, store_by };
        let stored = pending.delay.clone();
        self.advance(key, now.wall, Stage::Scheduled, None, Some(json!({ "due_at": due_at })), step);
        step.outcomes.pop();
        if let Some(entry) = self.book.get_mut(key) {
            entry.record.delay = Some(stored);
            entry.durable_first = true;
        }
        self.store(key, step);
        self.wait_for_the_disk(now, ticket, step);
    }

    fn wait_for_the_disk(&self, now: Now, ticket: Ticket, step: &mut DeskStep) {
        step.commit.held.push(Effect::Report(OrderReport { ticket, at: now.wall, progress: Progress::Stored }));
    }

    fn stored(&mut self, now: Now, key: &CommandKey, due: Mono, store_by: Mono, step: &mut DeskStep) {
        if let Some(ticket) = self.delays.pending.get(key).and_then(|pending| pending.ticket) {
            self.tickets.remove(&ticket);
        }
        step.outcomes.extend(self.book.get(key).and_then(|entry| entry.record.outcomes.last()).cloned());
        if now.mono >= store_by {
            let detail = message_detail("exp passed before the delay was stored");
            return self.end_delay(now.wall, key, Stage::Expired, detail, step);
        }
        if let Some(door) = self.delays.pending.get(key).map(|pending| pending.delay.door.clone()) {
            step.delays_changed.insert(door);
        }
        self.delays.wait(key, due);
    }

    /// One delay that is due: authorised anew, as it stands now.
    pub(super) fn delay_due(&mut self, now: Now, step: &mut DeskStep) {
        let Some((_, key)) = self.delays.due.pop_first() else { return };
        let Some(delay) = self.delays.pending.get(&key).map(|pending| pending.delay.clone()) else { return };
        let Some(operator) = self.book.get(&key).map(|entry| entry.record.operator.clone()) else { return };
        let name = command_name(delay.action);
        if let Err((reason, message)) = self.permissions.authorise(&operator, name, &Targets::door(&delay.door), now) {
            self.forget_delay(&key, step);
            self.end_command(&key, &operator, name, End::unauthorised(reason, message), now, step);
            return self.store(&key, step);
        }
        let ticket = self.ticket(&key);
        if let Some(entry) = self.book.get_mut(&key) {
            entry.record.delay = None;
        }
        self.store(&key, step);
        match delay.action {
            // Carried out again by the next run, should the disk not get to know of it: no harm, and how it ended is
            // told by the run whose disk has it.
            DelayAction::Close => {
                self.forget_delay(&key, step);
                self.begin(now, &key, ticket, &delay, step);
            }
            DelayAction::Open => {
                if let Some(pending) = self.delays.pending.get_mut(&key) {
                    pending.phase = Phase::Beginning;
                    pending.ticket = Some(ticket);
                }
                self.wait_for_the_disk(now, ticket, step);
            }
        }
    }

    /// It gets as long from its due time on as the command had from its `iat` on.
    fn begin(&mut self, now: Now, key: &CommandKey, ticket: Ticket, delay: &Delay, step: &mut DeskStep) {
        step.delays_changed.insert(delay.door.clone());
        let Some(Entry { record, .. }) = self.book.get(key) else { return };
        let by = Actor::Operator { operator: record.operator.clone(), jti: key.jti.clone() };
        let deadline = now.mono + record.exp.since(delay.issued_at);
        match self.door(&delay.door) {
            Ok(ix) => {
                let what = Task::Door(ix, DoorAction::Delayed(delay.action));
                step.order = Some(Order { ticket, what, deadline, issued_at: delay.issued_at, by });
            }
            Err(end) => {
                let operator = record.operator.clone();
                self.tickets.remove(&ticket);
                self.end_command(key, &operator, command_name(delay.action), end, now, step);
                self.store(key, step);
            }
        }
    }

    /// `door.cancel_delay`, authorised: of what commands have delayed, what it names.
    pub(super) fn cancel_delays(
        &mut self,
        now: Now,
        command: &Command,
        args: &DoorCancelDelayArgs,
        step: &mut DeskStep,
    ) -> Result<DoorIx, End> {
        let door = self.door(&args.door)?;
        let named = |key: &CommandKey| match &args.jti {
            Some(jti) => *jti == key.jti,
            None => args.system_event.is_none(),
        };
        let mut found = self.delays.keys(|delay| delay.door == args.door);
        found.retain(named);
        if let (Some(jti), true) = (&args.jti, found.is_empty()) {
            return Err(End::refused(Refusal::UnknownTarget, format!("no delay {jti} is pending at {}", args.door)));
        }
        let why = format!("cancelled by {} of {}: door.cancel_delay", command.jti, command.operator);
        // Done is only what no crash brings back.
        let own = CommandKey { issuer: command.issuer.clone(), jti: command.jti.clone() };
        if let Some(entry) = self.book.get_mut(&own) {
            entry.durable_first = true;
        }
        for key in found {
            self.end_delay(now.wall, &key, Stage::Cancelled, message_detail(why.clone()), step);
        }
        Ok(door)
    }

    /// A `door.close`, or a system event's `door.cancel_delay`, was taken at a door: what was delayed there before it is
    /// cancelled.
    pub fn handle_closed(&mut self, now: Wall, door: DoorIx, closed: &Closed) -> DeskStep {
        let mut step = DeskStep::default();
        let Some(door) = self.topology.door_id(door).cloned() else { return step };
        let why = match &closed.by {
            Actor::Operator { operator, jti } => format!("cancelled by {jti} of {operator}: {}", closed.command),
            other => {
                let cause = other.cause().map_or("the node", |cause| cause.as_str());
                format!("cancelled by {cause}: {}", closed.command)
            }
        };
        for key in self.delays.keys(|delay| delay.door == door && delay.issued_at <= closed.issued_at) {
            self.end_delay(now, &key, Stage::Cancelled, message_detail(why.clone()), &mut step);
        }
        step
    }

    pub(super) fn cancel_revoked(&mut self, now: Wall, keys: &KeySet, step: &mut DeskStep) {
        for key in self.delays.keys(|delay| keys.is_revoked(&delay.kid)) {
            let detail = message_detail("the key that signed this command was revoked");
            self.end_delay(now, &key, Stage::Cancelled, detail, step);
        }
    }

    fn end_delay(&mut self, now: Wall, key: &CommandKey, stage: Stage, detail: serde_json::Value, step: &mut DeskStep) {
        let phase = self.delays.pending.get(key).map(|pending| pending.phase);
        if matches!(phase, Some(Phase::Storing { .. })) && stage == Stage::Cancelled {
            // Its number was given to a stage that nobody was told of yet.
            let scheduled = self.book.get(key).and_then(|entry| entry.record.outcomes.last()).cloned();
            scheduled.into_iter().for_each(|outcome| step.commit.held.push(Effect::Publish(outcome)));
        }
        self.forget_delay(key, step);
        self.advance(key, now, stage, None, Some(detail), step);
        self.finish(key);
        self.store(key, step);
    }

    /// It is pending no longer, whatever becomes of its command.
    pub(super) fn forget_delay(&mut self, key: &CommandKey, step: &mut DeskStep) {
        let Some(pending) = self.delays.remove(key) else { return };
        if let Some(ticket) = pending.ticket {
            self.tickets.remove(&ticket);
        }
        if let Some(entry) = self.book.get_mut(key) {
            entry.record.delay = None;
        }
        step.delays_changed.insert(pending.delay.door);
    }

    /// From the ledger, at start. A closing that is overdue is carried out at once, an opening has expired.
    pub(super) fn restore_delay(&mut self, now: Now, key: CommandKey, delay: Delay, step: &mut DeskStep) {
        let trusted = now.trust == ClockTrust::Trusted;
        if let Some(entry) = self.book.get_mut(&key) {
            entry.durable_first = true;
        }
        let (action, due_at) = (delay.action, delay.due_at);
        self.delays.pending.insert(key.clone(), Pending { delay, phase: Phase::ClockWanted, ticket: None });
        match action {
            // Without a clock it is rather secured too early than too late.
            DelayAction::Close if !trusted => self.delays.wait(&key, now.mono),
            DelayAction::Open if !trusted => {}
            DelayAction::Open if due_at <= now.wall => {
                let detail = message_detail("it was due while the node did not run");
                self.end_delay(now.wall, &key, Stage::Expired, detail, step);
            }
            DelayAction::Open | DelayAction::Close => self.delays.wait(&key, now.mono_at(due_at)),
        }
    }

    /// The clock may be trusted again: openings of an earlier run wait for that.
    pub fn handle_clock(&mut self, now: Now) -> DeskStep {
        let mut step = DeskStep::default();
        if now.trust == ClockTrust::Trusted {
            let waiting = self.delays.pending.iter().filter(|(_, pending)| pending.phase == Phase::ClockWanted);
            let waiting: Vec<_> = waiting.map(|(key, pending)| (key.clone(), pending.delay.clone())).collect();
            for (key, delay) in waiting {
                self.restore_delay(now, key, delay, &mut step);
            }
        }
        step
    }

    /// The work of a command with a delay, for whoever names it.
    pub(super) fn delayed(body: &CommandBody) -> Option<(DelayAction, &Id, u32)> {
        match body {
            CommandBody::DoorOpenWithDelay(args) => Some((DelayAction::Open, &args.door, args.delay_ms)),
            CommandBody::DoorCloseWithDelay(args) => Some((DelayAction::Close, &args.door, args.delay_ms)),
            _ => None,
        }
    }
}

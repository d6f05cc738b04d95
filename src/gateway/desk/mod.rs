//! The command desk: from a command that is authentic to an order that is due, and back to its
//! outcomes. Owns idempotency, deadlines, the restart fence and authority; must never touch a door.
//! Invariant: each command id leads to at most one order in the life of the node, and every command
//! that was received ends in an outcome that says so.
//!
//! The questions, in the order in which they are asked:
//!
//! ```text
//! known id?       same bytes: its stored outcome; other bytes: conflict
//! ledger          cannot be opened: only what the restart fence keeps from coming twice, and questions
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
mod dispatch;
mod edits;
mod ending;
mod errand;
mod intake;
mod report;
mod task;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

pub use book::{Book, Entry};
pub use delay::DELAYS_PER_DOOR_MAX;
pub use edits::{EditsAtStart, Issued};
pub use ending::is_last;
pub use errand::{Answer, Answered, Errand, Figures};

use self::{delay::Delays, edits::EditOf, ending::message_detail};

use crate::{
    domain::{
        event::Refusal,
        ids::{DoorIx, Id},
        order::Order,
        outputs::Ticket,
        permission::Permissions,
        time::{ClockTrust, Mono, Now, Wall},
        topology::Topology,
    },
    gateway::step::{CommandKey, CommandRecord, Commit, LedgerWrite, MessageToken},
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
    /// Of an earlier run and not ended with it: the configurations that this run is a trial of, or was until
    /// just now. [`Desk::handle_settled`] ends them.
    pub on_trial: Vec<CommandKey>,
    pub edits: EditsAtStart,
    /// Longest `delay_ms`.
    pub delay_max: Duration,
    /// It is surely not earlier than this: the clock's floor, the last beat.
    pub no_earlier: Wall,
    /// Why the ledger cannot be opened: what was carried out before this run is not known.
    pub ledger_withheld: Option<String>,
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
    /// A message that the broker may forget at once: there is no ledger to wait for.
    pub acknowledged: Option<MessageToken>,
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
    ledger_withheld: Option<String>,
    permissions: Arc<Permissions>,
    book: Book,
    /// The log tells of every edit up to this revision.
    edits_told: u64,
    /// How late the last edit of each record was issued.
    issued: Issued,
    /// The wall clock when it was last trusted, in this run or before: an untrusted one that jumped ahead must not
    /// end anybody's life.
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
    /// The record that it edits.
    edits: Option<EditOf>,
    issued_at: Wall,
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
            if record.outcomes.last().is_some_and(is_last) || config.on_trial.contains(&record.key) {
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
            ledger_withheld: config.ledger_withheld,
            permissions,
            trusted: if now.trust == ClockTrust::Trusted { now.wall } else { floor.max(config.no_earlier) },
            book: Book::new(records, floor, config.commands_per_operator_max),
            edits_told: config.edits.told,
            issued: config.edits.issued,
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
        if let Some(issued_at) = config.edits.untold_set {
            step.commit.writes.extend(desk.handle_set(now, None, issued_at));
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

    pub fn next_deadline(&self) -> Option<Mono> {
        if self.stopping {
            return None;
        }
        self.held_back.first_key_value().map(|((due, _), _)| *due).into_iter().chain(self.delays.next_due()).min()
    }

    /// Orders and errands that have not ended.
    pub fn commands_open(&self) -> usize {
        self.tickets.len() + self.errands.len()
    }

    pub fn commands_remembered(&self) -> usize {
        self.book.len()
    }
}

//! What is to be sent besides events, and what is on the wire. Owns the window and the queues; must
//! never put more on the wire than the window allows. Invariant: an outcome leaves the queue when the
//! broker has it, or when it is pushed out by newer ones; of a thing only the latest state waits.
//!
//! When full, by number or by bytes: outcomes push out the oldest one (the cloud asks again with the same
//! command and gets the stored outcomes from the ledger); states cannot fill up, there is one per thing; status and
//! request are one each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::link::Handle;
use crate::{
    domain::{ids::Id, status::Status},
    wire::{outcome::Outcome, set::SetRequest},
};

/// Kind and id, as in the topic.
type StateKey = (&'static str, Id);

pub const OUTCOMES_MAX: usize = 1024;
/// Of the details of the outcomes that wait: a handful of pages of reports.
pub const OUTCOME_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub struct Outbox {
    outcomes: VecDeque<WaitingOutcome>,
    outcome_bytes: usize,
    next_outcome: u64,
    states: BTreeMap<StateKey, Status>,
    states_changed: BTreeSet<StateKey>,
    pub status_changed: bool,
    pub request: Option<SetRequest>,
    wire: VecDeque<OnWire>,
    next_handle: u64,
    window: usize,
    /// Outcomes that were pushed out.
    pub dropped: u64,
}

#[derive(Debug)]
struct WaitingOutcome {
    number: u64,
    outcome: Outcome,
    bytes: usize,
    sent: bool,
}

#[derive(Debug)]
struct OnWire {
    handle: Handle,
    what: Sent,
    acknowledged: bool,
}

/// What a PUBACK is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Outcome(u64),
    Status,
    Request,
    State,
    Events,
    /// Of this subscription.
    Live(Id),
}

/// What to send next, without events.
#[derive(Debug)]
pub enum Item {
    Outcome(u64, Outcome),
    Status,
    Request(SetRequest),
    State(Status),
}

impl Outbox {
    pub fn push_outcome(&mut self, outcome: Outcome) {
        let bytes = outcome.detail.as_ref().map_or(0, |detail| detail.to_string().len());
        self.next_outcome += 1;
        self.outcomes.push_back(WaitingOutcome { number: self.next_outcome, outcome, bytes, sent: false });
        self.outcome_bytes += bytes;
        let too_many = |outbox: &Outbox| {
            outbox.outcomes.len() > OUTCOMES_MAX
                || outbox.outcome_bytes > OUTCOME_BYTES_MAX && outbox.outcomes.len() > 1
        };
        while too_many(self) {
            if let Some(oldest) = self.outcomes.pop_front() {
                self.outcome_bytes -= oldest.bytes;
                self.dropped += 1;
            }
        }
    }

    pub fn set_state(&mut self, status: Status) {
        let key = (status.kind(), status.id().clone());
        self.states_changed.insert(key.clone());
        self.states.insert(key, status);
    }

    pub fn outcomes_waiting(&self) -> usize {
        self.outcomes.len()
    }

    pub fn states(&self) -> impl Iterator<Item = &Status> {
        self.states.values()
    }

    /// Everything that is retained is said again, every outcome without PUBACK sent again.
    pub fn connected(&mut self, window: u16) {
        self.window = usize::from(window.max(1));
        self.wire.clear();
        self.outcomes.iter_mut().for_each(|o| o.sent = false);
        self.states_changed = self.states.keys().cloned().collect();
        self.status_changed = true;
    }

    pub fn disconnected(&mut self) {
        self.window = 0;
        self.wire.clear();
        self.request = None;
    }

    /// Whether one more publish may go on the wire. Counted from the oldest that is not acknowledged,
    /// so that packet ids, which are given out in turn, never collide.
    pub fn has_room(&self) -> bool {
        self.wire.len() < self.window
    }

    /// In this order: what somebody waits for, what the node is, what it wants, how its things are.
    pub fn next(&mut self) -> Option<Item> {
        if let Some(waiting) = self.outcomes.iter_mut().find(|o| !o.sent) {
            waiting.sent = true;
            return Some(Item::Outcome(waiting.number, waiting.outcome.clone()));
        }
        if std::mem::take(&mut self.status_changed) {
            return Some(Item::Status);
        }
        if let Some(request) = self.request.take() {
            return Some(Item::Request(request));
        }
        let key = self.states_changed.pop_first()?;
        self.states.get(&key).cloned().map(Item::State)
    }

    pub fn put_on_wire(&mut self, what: Sent) -> Handle {
        self.next_handle += 1;
        let handle = Handle(self.next_handle);
        self.wire.push_back(OnWire { handle, what, acknowledged: false });
        handle
    }

    /// What this PUBACK is for; `None` if for nothing.
    pub fn puback(&mut self, handle: Handle) -> Option<Sent> {
        let on_wire = self.wire.iter_mut().find(|w| w.handle == handle && !w.acknowledged)?;
        on_wire.acknowledged = true;
        let what = on_wire.what.clone();
        while self.wire.front().is_some_and(|w| w.acknowledged) {
            self.wire.pop_front();
        }
        if let Sent::Outcome(number) = what {
            self.outcomes.retain(|o| o.number != number);
            self.outcome_bytes = self.outcomes.iter().map(|o| o.bytes).sum();
        }
        Some(what)
    }

    /// Whether all outcomes and the status are with the broker.
    pub fn is_settled(&self) -> bool {
        let waits = |w: &OnWire| !w.acknowledged && w.what == Sent::Status;
        self.outcomes.is_empty() && !self.status_changed && !self.wire.iter().any(waits)
    }
}

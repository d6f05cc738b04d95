//! Locks. Owns, for each door, the reasons for which it may be unlocked, learnt from what was handed to the
//! doors and not from what they make of it; must never ask a door for its mode. Invariant: a relay that
//! unlocks has one of these reasons, or is about to fall.
//!
//! `runs` has starts and ends, `orders` what operators had done, `causes` fire, exit buttons, grants and openings that
//! last, `relays` what is written and what the relays really are.

mod causes;
mod orders;
mod relays;
mod runs;

use std::time::Duration;

use latchd::domain::{
    door::{DelayAction, HeldBy},
    ids::Id,
    order::DoorAction,
    outputs::Ticket,
    time::Mono,
};

use crate::world::oracle::holds::{Holds, may_open, releases};

/// From the end of the last reason to the lock's fall, the bus being well.
const FALLS_WITHIN: Duration = Duration::from_secs(3);
/// After a board has been ill, writes to it may be spaced this far.
const RECOVERS_WITHIN: Duration = Duration::from_secs(7);
/// What was already on its way to the wire when its reason ended.
const WIRE_LAG: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug)]
struct OrderWatch {
    ticket: Ticket,
    jti: Id,
    action: DoorAction,
    /// By the command's own `exp`.
    deadline: Mono,
    confirmed: Option<Mono>,
}

#[derive(Clone, Debug, Default)]
pub struct DoorWatch {
    pub mode: Option<latchd::domain::door::Mode>,
    fire: bool,
    rex: bool,
    /// The after-run of the button.
    rex_until: Mono,
    grant_until: Mono,
    manual: bool,
    stop_unlocks: bool,
    pub(super) stopping: bool,
    /// As last handed to the ledger.
    pub(super) holds: Holds,
    closed: Option<HeldBy>,
    /// As told.
    pub(super) auto: bool,
    orders: Vec<OrderWatch>,
    /// Orders that ended; what was already on its way for them may still be written until then.
    ended: Vec<Mono>,
    /// The last deadline of an order that was never confirmed.
    late_order: Option<Mono>,
    /// The last instant at which a reason held other than an order that waits.
    reason_seen: Mono,
    wrong_since: Option<Mono>,
    /// Locked although it must not be.
    shut_since: Option<Mono>,
    /// As last handed to the ledger: open for this command, or not.
    stored: Option<Id>,
    /// The same, once the cloud has been told that it is so: then it is durable.
    promised: Option<Option<Id>>,
}

impl DoorWatch {
    fn lasting_reason(&self, at: Mono, dwell: Duration) -> bool {
        if self.holds.shut() {
            return self.safety_at(at) || self.stop_unlocks;
        }
        let confirmed = |order: &OrderWatch| match (order.action, order.confirmed) {
            (DoorAction::Open | DoorAction::Delayed(DelayAction::Open), Some(_)) => true,
            (action, Some(_)) if releases(action) => true,
            (DoorAction::OpenAndClose { dwell: asked }, Some(since)) => at < since + asked.unwrap_or(dwell),
            _ => false,
        };
        self.fire
            || self.rex
            || self.manual
            || self.auto
            || self.holds.forced_open()
            || self.stop_unlocks
            || at < self.rex_until
            || at < self.grant_until
            || self.orders.iter().any(confirmed)
    }

    /// Fire or an exit button speaks.
    pub fn safety_at(&self, at: Mono) -> bool {
        self.fire || self.rex || at < self.rex_until
    }

    /// Until something else is said.
    fn must_be_open(&self) -> bool {
        self.fire || self.rex || self.holds.forced_open() || (self.manual && !self.holds.shut())
    }

    /// Something lies over the door that an order under way may take away.
    pub fn orders_release(&self) -> bool {
        self.orders.iter().any(|order| releases(order.action))
    }

    /// An order's first write may start.
    fn waiting_order(&self, at: Mono) -> bool {
        let waits = |order: &OrderWatch| order.confirmed.is_none() && may_open(order.action) && at <= order.deadline;
        self.orders.iter().any(waits) || self.ended.iter().any(|until| at <= *until)
    }

    /// By a system event, until then at the latest.
    pub fn opened_by_itself(&mut self, until: Mono) {
        self.grant_until = self.grant_until.max(until);
    }

    fn end_order(&mut self, now: Mono, ticket: Ticket) {
        if let Some(at) = self.orders.iter().position(|order| order.ticket == ticket) {
            let order = self.orders.remove(at);
            if order.confirmed.is_none() && may_open(order.action) {
                self.ended.push(order.deadline.min(now + WIRE_LAG));
                self.late_order = Some(order.deadline);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct BoardWatch {
    faults: u32,
    /// Since when nothing is wrong with it.
    well_since: Option<Mono>,
}

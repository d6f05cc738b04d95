//! The orders on their way through one door, and the watches for whether somebody passed. Owns the
//! queue between acceptance and the last report; must never decide whether an order is allowed.
//! Invariant: an order leaves the queue or the watch list with exactly one final report.
//!
//! Orders are confirmed one after another: the bus is told of one (the *slot*), the next takes its place
//! when that one has ended. So each is written or verified within its own deadline, and none is called
//! actuated on the strength of another's. An order of the opposite direction cancels those that wait.

use std::time::Duration;

use super::{Hold, Relock, input::Effects};
use crate::domain::{
    event::{Actor, EventBody},
    order::{DoorAction, Order, Progress},
    outputs::Ticket,
    time::{Mono, Wall},
};

/// Orders that one door carries at a time, watched ones included; the next is refused as overloaded.
pub const ORDERS_MAX: usize = 64;
/// How long after the end of the unlocking somebody may still be seen to have used it: a door that is
/// being pulled as the lock falls, plus the time until the contact is polled.
pub const OPEN_GRACE: Duration = Duration::from_secs(1);
/// The bus answers for each order that it was told of; should it not, this long after the order's
/// deadline nobody waits any more and the outcome is unknown.
pub const ORDER_SETTLE_MAX: Duration = Duration::from_secs(10);

/// How an order ended on the bus without being confirmed.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderEnd {
    Expired,
    Failed(String),
    Unknown(String),
}

/// What an order makes the door do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    Open,
    Close,
    Momentary {
        dwell: Duration,
    },
    ForceOpen,
    /// Lockdown, DND or force closed, in force from its acceptance.
    Secure(Hold),
    /// The end of a hold. Where it `opens` the door (something beneath unlocks it) it is like any opening: in
    /// force while it waits, and withdrawn if it comes too late. Else it is in force from its acceptance.
    Release {
        hold: Hold,
        opens: bool,
    },
}

impl Motion {
    /// How the lock is to be read back; `None`: as the door then wants it.
    fn goal(self) -> Option<bool> {
        match self {
            Motion::Open | Motion::Momentary { .. } | Motion::ForceOpen | Motion::Release { opens: true, .. } => {
                Some(true)
            }
            Motion::Close | Motion::Secure(_) => Some(false),
            Motion::Release { opens: false, .. } => None,
        }
    }

    /// Takes hold only while it waits or after it was confirmed; all else does at once and stays.
    pub fn unlocks(self) -> bool {
        self.goal() == Some(true)
    }

    /// What a later order about the same makes pointless.
    fn hold(self) -> Option<Hold> {
        match self {
            Motion::ForceOpen => Some(Hold::Force),
            Motion::Secure(hold) | Motion::Release { hold, .. } => Some(hold),
            Motion::Open | Motion::Close | Motion::Momentary { .. } => None,
        }
    }

    /// What remains of an order that is in the door's state although nobody confirmed it.
    fn remains(self, detail: String) -> String {
        match self {
            Motion::Close | Motion::Secure(_) => {
                format!("{detail}; the door stays ordered to lock and does so as soon as it can")
            }
            Motion::Release { hold, opens: false } => format!("{detail}; the {} has ended all the same", hold.name()),
            _ => detail,
        }
    }
}

/// What the contact did since an unlocking began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passage {
    pub opened: bool,
    closed: bool,
}

impl Passage {
    pub fn note(&mut self, open: bool) {
        if open { self.opened = true } else { self.closed = true }
    }

    /// Whether a momentary unlocking has done its work.
    pub fn ends(self, relock: Relock) -> bool {
        match relock {
            Relock::OnOpen => self.opened,
            Relock::OnClose => self.closed,
            Relock::AfterDwell => false,
        }
    }
}

/// An accepted order that the board has not confirmed.
///
/// ```text
///   waiting --(the lock should be as it asks, nothing before it)--> told to the bus
///     |                                                              |
///     | deadline            confirmed, expired, failed, unknown <----+--> settle time over: unknown
///     v
///   expired                 overruled, superseded, node stops: cancelled, from either
/// ```
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub ticket: Ticket,
    pub motion: Motion,
    pub deadline: Mono,
    pub issued_at: Wall,
    pub actor: Actor,
    pub passage: Passage,
    /// The bus was told of it: what became of it then only the bus knows.
    told: bool,
}

impl Pending {
    pub fn new(order: &Order<DoorAction>, motion: Motion, actor: Actor) -> Pending {
        let Order { ticket, deadline, issued_at, .. } = *order;
        Pending { ticket, motion, deadline, issued_at, actor, passage: Passage::default(), told: false }
    }

    /// The instant after the last one at which it can still be confirmed.
    fn end(&self) -> Mono {
        self.deadline + if self.told { ORDER_SETTLE_MAX } else { Duration::from_nanos(1) }
    }

    /// The report for an order that was not confirmed. One that is in the door's state already will be carried
    /// out when it can, so it must not be called expired, which means "nothing done".
    pub fn unfinished(&self, end: OrderEnd) -> Progress {
        let motion = self.motion;
        match end {
            OrderEnd::Expired if motion.unlocks() => Progress::Expired,
            OrderEnd::Expired => Progress::Failed(motion.remains("not confirmed before the deadline".to_owned())),
            OrderEnd::Failed(detail) => Progress::Failed(motion.remains(detail)),
            OrderEnd::Unknown(detail) => Progress::Unknown(motion.remains(detail)),
        }
    }
}

/// Somebody may pass: seen by the contact until then, or not.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// The order to report to, and whether its reports wait for the disk (so that they keep their order).
    pub order: Option<(Ticket, bool)>,
    pub actor: Actor,
    pub until: Mono,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    pending: Vec<Pending>,
    watches: Vec<Watch>,
}

impl Orders {
    /// Orders that have not ended, of those that an order of this motion would not end by itself.
    pub fn load(&self, motion: Motion) -> usize {
        if motion.unlocks() {
            self.pending.len() + self.watches.iter().filter(|watch| watch.order.is_some()).count()
        } else {
            self.pending.iter().filter(|pending| !pending.motion.unlocks()).count()
        }
    }

    /// Takes an order in; those that wait and that it counters are cancelled.
    pub fn accept(&mut self, pending: Pending, out: &mut Effects) {
        let motion = pending.motion;
        self.cancel(
            |other| match (motion, other) {
                (Motion::Open | Motion::Momentary { .. }, Motion::Close) => true,
                (Motion::Close, Motion::Open | Motion::Momentary { .. }) => true,
                _ => motion.hold().is_some() && motion.hold() == other.hold(),
            },
            out,
        );
        self.pending.push(pending);
    }

    pub fn cancel(&mut self, mut which: impl FnMut(Motion) -> bool, out: &mut Effects) {
        self.pending.retain(|pending| {
            let cancelled = which(pending.motion);
            if cancelled {
                out.report(pending.ticket, Progress::Cancelled);
            }
            !cancelled
        });
    }

    /// Ends as failed what `which` picks.
    pub fn fail_those(&mut self, which: impl Fn(Motion) -> bool, why: &str, out: &mut Effects) {
        for pending in self.pending.extract_if(.., |pending| which(pending.motion)) {
            out.report(pending.ticket, pending.unfinished(OrderEnd::Failed(why.to_owned())));
        }
    }

    /// The motions that wait, in the order in which they came.
    pub fn motions(&self) -> impl Iterator<Item = Motion> {
        self.pending.iter().map(|pending| pending.motion)
    }

    /// Takes the order that is in the door's state and asks for no level of its own: no bus is told of it.
    pub fn take_release(&mut self) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.motion.goal().is_none())?;
        Some(self.pending.remove(at))
    }

    /// A waiting release opens nothing any more; from here on it is in the door's state.
    pub fn promote_release(&mut self) -> Option<(Hold, Wall)> {
        self.pending.iter_mut().find_map(|pending| match pending.motion {
            Motion::Release { hold, opens: true } => {
                pending.motion = Motion::Release { hold, opens: false };
                Some((hold, pending.issued_at))
            }
            _ => None,
        })
    }

    /// The order that the bus is told of while the lock should be `unlocked`.
    pub fn slot(&self, unlocked: bool) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.motion.goal() == Some(unlocked))
    }

    /// Takes the order of which the bus says how it ended.
    pub fn take_ended(&mut self, ticket: Ticket) -> Option<Pending> {
        let on_the_bus = |pending: &Pending| pending.ticket == ticket && pending.motion.goal().is_some();
        self.pending.iter().any(on_the_bus).then(|| self.take(ticket)).flatten()
    }

    fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.ticket == ticket)?;
        Some(self.pending.remove(at))
    }

    /// Takes the order that the board has confirmed; a confirmation of the other level confirms nothing.
    pub fn take_confirmed(&mut self, ticket: Ticket, unlocked: bool) -> Option<Pending> {
        let confirms = |pending: &Pending| pending.ticket == ticket && pending.motion.goal() == Some(unlocked);
        self.pending.iter().any(confirms).then(|| self.take(ticket)).flatten()
    }

    /// When the latest of the waiting openings that last was issued.
    pub fn opens_issued_at(&self) -> Option<Wall> {
        let lasts =
            |pending: &&Pending| pending.motion.unlocks() && !matches!(pending.motion, Motion::Momentary { .. });
        self.pending.iter().filter(lasts).map(|pending| pending.issued_at).max()
    }

    pub fn fail(&mut self, ticket: Ticket, detail: &str, out: &mut Effects) {
        if let Some(pending) = self.take(ticket) {
            out.report(ticket, pending.unfinished(OrderEnd::Failed(detail.to_owned())));
        }
    }

    /// Until when momentary orders that are not confirmed yet unlock at the latest; the dwell is counted
    /// from the confirmation, and the first write starts at the deadline or never.
    pub fn momentary_until(&self) -> Option<Mono> {
        let until = |pending: &Pending| match pending.motion {
            Motion::Momentary { dwell } => Some(pending.deadline + dwell),
            _ => None,
        };
        self.pending.iter().filter_map(until).max()
    }

    /// Notes the order that the bus is told of from now on. A closing that it is told of no longer need
    /// not be waited for: whether or not the bus ever saw it, it holds and has not been confirmed.
    pub fn tell(&mut self, unlocked: bool) {
        let slot = self.slot(unlocked).map(|pending| pending.ticket);
        for pending in &mut self.pending {
            pending.told = slot == Some(pending.ticket) || (pending.told && pending.motion.unlocks());
        }
    }

    /// Ends the orders whose time is over.
    pub fn advance(&mut self, now: Mono, out: &mut Effects) {
        self.end_those(now, |_| true, out);
    }

    /// The same, of those alone whose end changes nothing at the door: the bus may have been told of them until
    /// just now.
    pub fn advance_in_state(&mut self, now: Mono, out: &mut Effects) {
        self.end_those(now, |motion| !motion.unlocks(), out);
    }

    fn end_those(&mut self, now: Mono, which: impl Fn(Motion) -> bool, out: &mut Effects) {
        for pending in self.pending.extract_if(.., |pending| which(pending.motion) && pending.end() <= now) {
            let end = if pending.told {
                OrderEnd::Unknown("the bus did not say what became of it".to_owned())
            } else {
                OrderEnd::Expired
            };
            out.report(pending.ticket, pending.unfinished(end));
        }
    }

    /// When [`Orders::advance`] has something to do.
    pub fn next_end(&self) -> Option<Mono> {
        self.pending.iter().map(Pending::end).min()
    }

    pub fn note_passage(&mut self, open: bool) {
        self.pending.iter_mut().for_each(|pending| pending.passage.note(open));
    }

    /// Watches for an opening. A watch without an order is dropped when the list is full: all that is
    /// lost is the remark that nobody passed.
    pub fn watch(&mut self, watch: Watch) {
        if watch.order.is_some() || self.watches.len() < ORDERS_MAX {
            self.watches.push(watch);
        }
    }

    /// The door was seen open: everyone who was expected may have passed.
    pub fn observed(&mut self, out: &mut Effects) {
        for watch in self.watches.drain(..) {
            if let Some((ticket, held)) = watch.order {
                out.report_in_order(ticket, held, Progress::Observed);
            }
        }
    }

    /// Ends the watches that are due at `now`; with a contact that `sees` it is also remarked as an event.
    pub fn missed(&mut self, now: Mono, sees: bool, out: &mut Effects) {
        for watch in self.watches.extract_if(.., |watch| watch.until <= now) {
            if sees {
                let door = out.door();
                out.event(EventBody::DoorNotOpened { door, actor: watch.actor });
            }
            if let Some((ticket, held)) = watch.order {
                out.report_in_order(ticket, held, Progress::NotObserved);
            }
        }
    }

    pub fn next_watch(&self) -> Option<Mono> {
        self.watches.iter().map(|watch| watch.until).min()
    }
}

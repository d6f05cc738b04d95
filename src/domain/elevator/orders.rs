//! The orders on their way through one elevator. An order names several floors and has one outcome: it is
//! actuated when the board has confirmed each of them. Owns what is still open of each order; must never decide
//! whether one is allowed. Invariant: an order leaves with exactly one final report.
//!
//! ```text
//! of each floor:  waiting --(the relay should be as it asks, no order before it)--> told to the bus
//!                    |                                                                |
//!                 deadline: expired            confirmed, expired, failed, unknown <--+--> settle time over: unknown
//!                 a later order the other way, lockdown, stop: superseded, from either
//! ```

use std::time::Duration;

use super::FloorSet;
use crate::domain::{
    door::{ORDER_SETTLE_MAX, OrderEnd},
    event::Actor,
    ids::Id,
    order::Progress,
    outputs::Ticket,
    time::{Mono, Wall},
};

/// Orders that one elevator carries at a time, watched ones included; the next is refused as overloaded.
pub const ORDERS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    Open,
    Close,
    Momentary {
        dwell: Duration,
    },
    /// Of every floor: the lockdown, in force from its acceptance.
    Secure,
    /// The end of the lockdown, of the floors that it enables: all of them are confirmed, or it stays locked down.
    Release,
}

impl Motion {
    pub fn enables(self) -> bool {
        matches!(self, Motion::Open | Motion::Momentary { .. } | Motion::Release)
    }
}

#[derive(Debug)]
pub(super) struct Pending {
    pub ticket: Ticket,
    pub motion: Motion,
    pub deadline: Mono,
    pub issued_at: Wall,
    pub by: Actor,
    floors: FloorSet,
    /// Whose outcome is open.
    pub left: FloorSet,
    /// Told to the bus: what became of them then only the bus knows.
    told: FloorSet,
    /// One of the floors was chosen.
    chosen: bool,
    /// What went wrong, by floor.
    failed: Vec<(usize, Failure)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Failure {
    End(OrderEnd),
    Superseded,
}

/// An order of which nothing is open.
#[derive(Debug)]
pub(super) struct Ended {
    pub ticket: Ticket,
    pub motion: Motion,
    pub issued_at: Wall,
    pub floors: FloorSet,
    pub chosen: bool,
    pub progress: Progress,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    pending: Vec<Pending>,
    watches: Vec<Watch>,
}

/// A momentary order whose floors tell whether they were chosen.
#[derive(Debug)]
pub(super) struct Watch {
    pub ticket: Ticket,
    pub floors: FloorSet,
    pub until: Mono,
}

impl Pending {
    pub fn new(
        (ticket, motion, floors): (Ticket, Motion, FloorSet),
        (deadline, issued_at): (Mono, Wall),
        by: Actor,
    ) -> Pending {
        let (told, chosen, failed) = (FloorSet::NONE, false, Vec::new());
        Pending { ticket, motion, deadline, issued_at, by, floors, left: floors, told, chosen, failed }
    }

    fn fail(&mut self, floors: FloorSet, failure: &Failure) {
        let floors = floors.and(self.left);
        self.failed.extend(floors.iter().map(|floor| (floor, failure.clone())));
        self.left = self.left.without(floors);
        if self.motion == Motion::Release && !floors.is_empty() {
            self.left = FloorSet::NONE;
        }
    }

    fn next_end(&self) -> Mono {
        let waiting = !self.left.without(self.told).is_empty();
        self.deadline + if waiting { Duration::from_nanos(1) } else { ORDER_SETTLE_MAX }
    }

    /// The report once nothing is open. A closing is in the state already and will be carried out when it can, so
    /// it must not be called expired, which means "nothing done".
    fn progress(&self, names: &[Id]) -> Progress {
        let none_left = self.failed.len() == self.floors.iter().count();
        let all = |failure: &Failure| none_left && self.failed.iter().all(|(_, other)| other == failure);
        let remains = match self.motion {
            Motion::Open | Motion::Momentary { .. } => None,
            Motion::Close => Some("the floors stay ordered to close and do so as soon as they can"),
            Motion::Secure => Some("the elevator stays locked down, and its floors close as soon as they can"),
            Motion::Release => Some("the elevator stays locked down"),
        };
        if self.failed.is_empty() {
            return Progress::Actuated { observation_follows: false };
        }
        if all(&Failure::Superseded) {
            return Progress::Cancelled;
        }
        if all(&Failure::End(OrderEnd::Expired)) && self.motion.enables() {
            return Progress::Expired;
        }
        let said: Vec<String> = self.failed.iter().map(|(floor, failure)| said(names.get(*floor), failure)).collect();
        let mut detail = said.join("; ");
        if let Some(remains) = remains {
            detail = format!("{detail}; {remains}");
        }
        let unknown = |(_, failure): &(usize, Failure)| matches!(failure, Failure::End(OrderEnd::Unknown(_)));
        if self.failed.iter().any(unknown) { Progress::Unknown(detail) } else { Progress::Failed(detail) }
    }
}

fn said(floor: Option<&Id>, failure: &Failure) -> String {
    let floor = floor.map_or("?", Id::as_str);
    match failure {
        Failure::Superseded => format!("floor {floor}: overruled by a later command"),
        Failure::End(OrderEnd::Expired) => format!("floor {floor}: not confirmed before the deadline"),
        Failure::End(OrderEnd::Failed(detail) | OrderEnd::Unknown(detail)) => format!("floor {floor}: {detail}"),
    }
}

impl Orders {
    pub fn load(&self) -> usize {
        self.pending.len() + self.watches.len()
    }

    /// Takes an order in; what waits the other way on the same floors is superseded. A floor that is ordered to
    /// close is one that the end of a lockdown need not enable.
    pub fn accept(&mut self, pending: Pending) {
        let (floors, motion) = (pending.left, pending.motion);
        let counters = |other: &Motion| {
            other.enables() != motion.enables() && (*other, motion) != (Motion::Release, Motion::Close)
        };
        for other in self.pending.iter_mut().filter(|other| counters(&other.motion)) {
            other.fail(floors, &Failure::Superseded);
        }
        self.pending.push(pending);
    }

    /// The end of a lockdown that waits for its confirmation.
    fn releases(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(|pending| pending.motion == Motion::Release && pending.failed.is_empty())
    }

    pub fn releases_issued_at(&self) -> Option<Wall> {
        self.releases().map(|pending| pending.issued_at).max()
    }

    /// The end of a lockdown enables no other floors than these any more.
    pub fn narrow_releases(&mut self, floors: FloorSet) {
        for pending in self.pending.iter_mut().filter(|pending| pending.motion == Motion::Release) {
            pending.floors = pending.floors.without(pending.left.without(floors));
            pending.left = pending.left.and(floors);
        }
    }

    pub fn supersede(&mut self, which: impl Fn(Motion) -> bool) {
        for pending in self.pending.iter_mut().filter(|pending| which(pending.motion)) {
            pending.fail(pending.left, &Failure::Superseded);
        }
    }

    /// The order that the bus is told of while the relay should be so.
    pub fn slot(&self, floor: usize, enabled: bool) -> Option<(Ticket, Mono)> {
        let slot = |pending: &&Pending| pending.left.contains(floor) && pending.motion.enables() == enabled;
        self.pending.iter().find(slot).map(|pending| (pending.ticket, pending.deadline))
    }

    /// Notes which orders the bus is told of from now on; `enabled` is what each relay should be.
    pub fn tell(&mut self, floors: FloorSet, enabled: FloorSet) {
        let slots: Vec<(usize, Ticket)> =
            floors.iter().filter_map(|floor| Some((floor, self.slot(floor, enabled.contains(floor))?.0))).collect();
        for (floor, ticket) in slots {
            if let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) {
                pending.told = pending.told.or(FloorSet::one(floor));
            }
        }
    }

    /// The order that this read-back confirms; a confirmation of the other level confirms nothing.
    pub fn confirmed(&mut self, ticket: Ticket, floor: usize, enabled: bool) -> Option<&Pending> {
        let mine = |pending: &&mut Pending| {
            pending.ticket == ticket && pending.left.contains(floor) && pending.motion.enables() == enabled
        };
        let pending = self.pending.iter_mut().find(mine)?;
        pending.left = pending.left.without(FloorSet::one(floor));
        Some(pending)
    }

    pub fn fail(&mut self, ticket: Ticket, floors: FloorSet, end: &OrderEnd) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) {
            pending.fail(floors, &Failure::End(end.clone()));
        }
    }

    /// Ends what is over at `now`.
    pub fn advance(&mut self, now: Mono) {
        for pending in &mut self.pending {
            if pending.deadline < now {
                pending.fail(pending.left.without(pending.told), &Failure::End(OrderEnd::Expired));
            }
            if pending.deadline + ORDER_SETTLE_MAX <= now {
                let end = OrderEnd::Unknown("the bus did not say what became of it".to_owned());
                pending.fail(pending.left, &Failure::End(end));
            }
        }
    }

    /// Takes an order of which nothing is open, the oldest first.
    pub fn take_ended(&mut self, names: &[Id]) -> Option<Ended> {
        let at = self.pending.iter().position(|pending| pending.left.is_empty())?;
        let pending = self.pending.remove(at);
        let progress = pending.progress(names);
        let Pending { ticket, motion, issued_at, floors, chosen, .. } = pending;
        Some(Ended { ticket, motion, issued_at, floors, chosen, progress })
    }

    /// Whether a pending opening holds the floor, and until when at the latest: the dwell is counted from the
    /// confirmation, and the first write starts at the deadline or never.
    pub fn momentary_until(&self, floor: usize) -> Option<Mono> {
        let until = |pending: &Pending| match pending.motion {
            Motion::Momentary { dwell } if pending.left.contains(floor) => Some(pending.deadline + dwell),
            _ => None,
        };
        self.pending.iter().filter_map(until).max()
    }

    /// When the latest of the waiting orders to open the floor until closed was issued.
    pub fn opens_issued_at(&self, floor: usize) -> Option<Wall> {
        let opens = |pending: &&Pending| pending.motion == Motion::Open && pending.left.contains(floor);
        self.pending.iter().filter(opens).map(|pending| pending.issued_at).max()
    }

    pub fn watch(&mut self, watch: Watch) {
        self.watches.push(watch);
    }

    /// The floor was chosen: whoever waited for that has seen it.
    pub fn chosen(&mut self, floor: usize) -> Vec<Ticket> {
        let pending = self.pending.iter_mut().filter(|pending| pending.floors.contains(floor));
        pending.for_each(|pending| pending.chosen = true);
        self.watches.extract_if(.., |watch| watch.floors.contains(floor)).map(|watch| watch.ticket).collect()
    }

    pub fn missed(&mut self, now: Mono) -> Vec<Ticket> {
        self.watches.extract_if(.., |watch| watch.until <= now).map(|watch| watch.ticket).collect()
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let watches = self.watches.iter().map(|watch| watch.until);
        self.pending.iter().map(Pending::next_end).chain(watches).min()
    }
}

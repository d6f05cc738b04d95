//! A lockdown of several doors, set or cleared: each door is told, and how they ended is one report. Owns the
//! gathering; must never say more than the doors did. Invariant: of each such order every door is counted once,
//! and the report waits for the disk behind all that they wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::{Controller, Step};
use crate::domain::{
    door::DoorInput,
    event::Refusal,
    ids::DoorIx,
    order::{DoorAction, Order, Progress, Task},
    outputs::Ticket,
    time::Now,
};

/// The orders under way, by their tickets.
pub(super) type Gatherings = BTreeMap<Ticket, Gathering>;

#[derive(Debug, Default)]
pub(super) struct Gathering {
    waiting: BTreeSet<DoorIx>,
    done: usize,
    others: Vec<(DoorIx, Progress)>,
}

impl Gathering {
    fn note(&mut self, door: DoorIx, progress: Progress) {
        if progress.is_final() && self.waiting.remove(&door) {
            match progress {
                Progress::Actuated { .. } | Progress::Done => self.done += 1,
                other => self.others.push((door, other)),
            }
        }
    }
}

impl Controller {
    /// Every door at once, under the one ticket: a bus knows orders by output.
    pub(super) fn lock_down(&mut self, now: Now, order: &Order<Task>, doors: &[DoorIx], on: bool, step: &mut Step) {
        let waiting: BTreeSet<DoorIx> = doors.iter().copied().collect();
        self.gatherings.insert(order.ticket, Gathering { waiting: waiting.clone(), ..Gathering::default() });
        for door in waiting {
            if self.doors.get(door.index()).is_some() {
                self.tell(now, door, DoorInput::Order(order.with(DoorAction::Lockdown(on))), step);
            } else {
                let progress = Progress::Refused(Refusal::UnknownTarget, "the node has no such door".to_owned());
                self.hear_door(now, door, order.ticket, progress, false, step);
            }
        }
        if doors.is_empty() {
            self.gathered(now, order.ticket, step);
        }
    }

    /// A door reports how far an order has got.
    pub(super) fn hear_door(
        &mut self,
        now: Now,
        door: DoorIx,
        ticket: Ticket,
        progress: Progress,
        held: bool,
        step: &mut Step,
    ) {
        match self.gatherings.get_mut(&ticket) {
            Some(gathering) => {
                gathering.note(door, progress);
                self.gathered(now, ticket, step);
            }
            None if held => self.report_held(now, ticket, progress, step),
            None => self.report(now, ticket, progress, step),
        }
    }

    fn gathered(&mut self, now: Now, ticket: Ticket, step: &mut Step) {
        if self.gatherings.get(&ticket).is_none_or(|gathering| !gathering.waiting.is_empty()) {
            return;
        }
        let Some(Gathering { done, others, .. }) = self.gatherings.remove(&ticket) else { return };
        let name = |(door, progress): (DoorIx, Progress)| Some((self.topology.door_id(door)?.clone(), progress));
        let others: Vec<_> = others.into_iter().filter_map(name).collect();
        let progress = if others.is_empty() {
            Progress::Actuated { observation_follows: false }
        } else {
            Progress::Partly { done, others }
        };
        self.report_held(now, ticket, progress, step);
    }
}

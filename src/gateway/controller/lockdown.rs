//! A lockdown of several doors and elevators, set or cleared: each is told, and how they ended is one report. Owns
//! the gathering; must never say more than they did. Invariant: of each such order every door and elevator is counted
//! once, and the report waits for the disk behind all that they wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::{Controller, Step, machine::Happening};
use crate::domain::{
    door::DoorInput,
    event::Refusal,
    ids::{DoorIx, Id},
    order::{DoorAction, Order, Progress, Task},
    outputs::Ticket,
    time::Now,
};

/// The orders under way, by their tickets.
pub(super) type Gatherings = BTreeMap<Ticket, Gathering>;

/// What can be locked down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Door(DoorIx),
    /// An elevator, by its position.
    FloorGroup(u16),
}

#[derive(Debug, Default)]
pub(super) struct Gathering {
    waiting: BTreeSet<Place>,
    done: usize,
    others: Vec<(Place, Progress)>,
}

impl Gathering {
    fn note(&mut self, place: Place, progress: Progress) {
        if progress.is_final() && self.waiting.remove(&place) {
            match progress {
                Progress::Actuated { .. } | Progress::Done => self.done += 1,
                other => self.others.push((place, other)),
            }
        }
    }
}

impl Controller {
    /// All at once, under the one ticket: a bus knows orders by output.
    pub(super) fn lock_down(
        &mut self,
        now: Now,
        order: &Order<Task>,
        (doors, floor_groups): (&[DoorIx], &[u16]),
        on: bool,
        step: &mut Step,
    ) {
        let (here, elsewhere): (BTreeSet<Place>, BTreeSet<Place>) = doors
            .iter()
            .map(|door| Place::Door(*door))
            .chain(floor_groups.iter().map(|group| Place::FloorGroup(*group)))
            .partition(|place| self.name_of(*place).is_some());
        let unknown = || Progress::Refused(Refusal::UnknownTarget, "the node has no such door or elevator".to_owned());
        let others = elsewhere.into_iter().map(|place| (place, unknown())).collect();
        self.gatherings.insert(order.ticket, Gathering { waiting: here.clone(), done: 0, others });
        let mut floor_groups = Vec::new();
        for place in here {
            match place {
                Place::Door(door) => {
                    self.tell(now, door, DoorInput::Order(order.with(DoorAction::Lockdown(on))), step);
                }
                Place::FloorGroup(group) => floor_groups.push(group),
            }
        }
        self.tell_machines(now, Happening::Lockdown { floor_groups: &floor_groups, order: &order.with(on) }, step);
        self.gathered(now, order.ticket, step);
    }

    /// A door or an elevator reports how far an order has got.
    pub(super) fn hear(
        &mut self,
        now: Now,
        place: Place,
        ticket: Ticket,
        progress: Progress,
        held: bool,
        step: &mut Step,
    ) {
        match self.gatherings.get_mut(&ticket) {
            Some(gathering) => {
                gathering.note(place, progress);
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
        let progress = if others.is_empty() {
            Progress::Actuated { observation_follows: false }
        } else {
            let named = others.into_iter().filter_map(|(place, progress)| Some((self.name_of(place)?, progress)));
            Progress::Partly { done, others: named.collect() }
        };
        self.report_held(now, ticket, progress, step);
    }

    fn name_of(&self, place: Place) -> Option<Id> {
        match place {
            Place::Door(door) => self.topology.door_id(door).cloned(),
            Place::FloorGroup(group) => {
                self.topology.floor_groups.get(usize::from(group)).map(|group| group.id.clone())
            }
        }
    }
}

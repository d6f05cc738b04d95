//! The mantrap. Owns which of its doors are open, as the doors' own statuses had it before each step; must never ask
//! the machine. Invariant: of its doors at most one is unlocked, but for fire and exit buttons, and nobody is let in
//! at one while another is open.

use std::time::Duration;

use latchd::{
    domain::{
        door::{ContactState, DoorStatus, LockState, Mode},
        outputs::Desired,
        time::Mono,
    },
    gateway::controller::Controller,
};

use super::{Invariant, Oracle};
use crate::world::{World, site::Site};

/// Two locks that are on the wire at once are not unlocked together for longer.
const OVERLAP_MAX: Duration = Duration::from_secs(3);

/// What the others of the mantrap say about being let in at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    Shut,
    /// Nobody can tell: it may be either.
    Doubtful,
    Open,
}

impl Others {
    fn of(status: &DoorStatus, has_contact: bool) -> Others {
        let unlocks = matches!(status.mode, Mode::Unlocked | Mode::Accessed | Mode::LockedOpen);
        if unlocks || status.contact == ContactState::Open {
            Others::Open
        } else if status.lock != LockState::Locked || (has_contact && status.contact == ContactState::Unknown) {
            Others::Doubtful
        } else {
            Others::Shut
        }
    }
}

impl Oracle {
    /// Before a step of the doors.
    pub fn doors_before(&mut self, site: &Site, controller: &Controller) {
        let of = |door: usize| {
            controller
                .door_statuses()
                .get(door)
                .map_or(Others::Shut, |status| Others::of(status, site.doors[door].contact.is_some()))
        };
        self.others = (0..site.doors.len())
            .map(|door| {
                // Without a set nobody knows of a mantrap.
                let trapped = site.mantrap.contains(&door) && self.rights.generation() > 0;
                let rest = site.mantrap.iter().filter(|other| trapped && **other != door);
                let all: Vec<Others> = rest.map(|other| of(*other)).collect();
                let worst = [Others::Open, Others::Doubtful].into_iter().find(|openness| all.contains(openness));
                let watch = &self.doors[door];
                (worst.unwrap_or(Others::Shut), watch.holds.denies(), watch.orders_release())
            })
            .collect();
    }

    pub(super) fn check_interlock(&mut self, site: &Site, now: Mono, desired: &[Desired], what: &str) {
        let unlocked = |door: &&usize| {
            let free = self.doors[**door].safety_at(now) || self.doors[**door].stopping;
            // What waits for its board is taken back as soon as another one is open.
            desired.get(**door).is_some_and(|desired| {
                desired.order.is_none() && desired.level_at(now) == site.doors[**door].unlocked_level
            }) && !free
        };
        let open: Vec<_> = site.mantrap.iter().filter(unlocked).map(|door| &site.doors[*door].id).collect();
        if open.len() > 1 && self.rights.generation() > 0 {
            let what = format!("{open:?} are desired to be unlocked together on {what}");
            self.fail(Invariant::OneDoorAtATime, what);
        }
    }
}

impl World {
    /// The relays as they really are.
    pub(in crate::world) fn look_at_mantrap(&mut self) {
        let now = self.now;
        let both = self.site.mantrap.iter().all(|door| self.is_unlocked(*door));
        let free = self.oracle.rights.generation() == 0
            || self.site.mantrap.iter().any(|door| {
                let watch = &self.oracle.doors[*door];
                let board = self.site.doors[*door].lock.board.index();
                watch.safety_at(now) || watch.stopping || self.oracle.board_is_ill(now, board)
            });
        if !both || free || self.node.is_none() {
            self.oracle.both_since = None;
            return;
        }
        let since = *self.oracle.both_since.get_or_insert(now);
        if now.since(since) > OVERLAP_MAX {
            let what = format!("both doors of the mantrap are unlocked since {:?}", now.since(since));
            self.oracle.fail(Invariant::OneDoorAtATime, what);
        }
    }
}

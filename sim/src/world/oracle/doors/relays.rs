//! Locks, at the wire and as they are. Owns how long a relay may lag behind its reasons; must never blame a door for a
//! board that is ill. Invariant: what unlocks has a reason, and what must be open is.

use std::time::Duration;

use latchd::{
    domain::{outputs::Level, time::Mono},
    gateway::fieldbus::{Link, Request},
};

use super::{FALLS_WITHIN, RECOVERS_WITHIN, WIRE_LAG};
use crate::world::{
    World,
    oracle::{Invariant, Oracle},
    site::Site,
};

impl Oracle {
    pub(in crate::world::oracle) fn board_is_ill(&self, now: Mono, board: usize) -> bool {
        self.boards[board].well_since.is_none_or(|since| now.since(since) < RECOVERS_WITHIN)
    }

    pub fn on_wire(&mut self, site: &Site, now: Mono, board: usize, request: &Request) {
        let Some((door, unlocks)) = written(site, board, request) else { return };
        let dwell = site.doors[door].dwell;
        let watch = &mut self.doors[door];
        watch.ended.retain(|until| now <= *until);
        if watch.lasting_reason(now, dwell) {
            watch.reason_seen = now;
        }
        let lag = now.since(watch.reason_seen) <= WIRE_LAG;
        if unlocks && !lag {
            let mut waiting = watch.orders.iter().filter(|order| order.confirmed.is_none());
            if let (Some(only), None) = (waiting.next(), waiting.next()) {
                self.written.insert(only.jti.clone());
            }
        }
        if !unlocks || watch.waiting_order(now) || lag {
            return;
        }
        let late = watch.orders.iter().filter(|order| order.confirmed.is_none()).map(|order| order.deadline).max();
        let late = late.or(watch.late_order).filter(|deadline| now.since(*deadline) < Duration::from_secs(150));
        let id = &site.doors[door].id;
        match late {
            Some(deadline) => {
                let what = format!("{id} is unlocked on the wire {:?} after the deadline", now.since(deadline));
                self.fail(Invariant::DeadlineAtTheWire, what);
            }
            None => self.fail(Invariant::StrikeFalls, format!("{id} is unlocked on the wire without a reason")),
        }
    }

    /// A transaction with this board did not come to its end.
    pub fn write_failed(&mut self, site: &Site, now: Mono, board: usize, request: &Request) {
        self.boards[board].faults += 1;
        let again = self.boards[board].faults >= 2;
        let own = written(site, board, request).map(|(door, _)| door);
        for (at, (watch, door)) in self.doors.iter_mut().zip(&site.doors).enumerate() {
            if door.lock.board.index() == board && (again || own == Some(at)) {
                watch.wrong_since = watch.wrong_since.map(|_| now);
                watch.shut_since = watch.shut_since.map(|_| now);
            }
        }
    }

    pub fn wire_well(&mut self, board: usize) {
        self.boards[board].faults = 0;
    }
}

/// The door whose lock a request writes, and whether it unlocks.
fn written(site: &Site, board: usize, request: &Request) -> Option<(usize, bool)> {
    let Request::WriteCoil { address, on } = *request else { return None };
    let lock =
        |door: &latchd::domain::door::DoorConfig| door.lock.board.index() == board && door.lock.output == address;
    let at = site.doors.iter().position(lock)?;
    Some((at, Level::from_energised(on) == site.doors[at].unlocked_level))
}

impl World {
    /// After every event: what the relays really are.
    pub(in crate::world) fn look(&mut self) {
        let now = self.now;
        let Some(node) = &self.node else { return };
        for (at, board) in self.oracle.boards.iter_mut().enumerate() {
            let bus = self.site.bus_of[at].index();
            let link = node.buses[bus].bus.link(self.site.boards[at].board);
            let well = self.field.boards[at].is_well() && !self.field.lines_down[bus] && link == Some(Link::Up);
            board.well_since = if well { board.well_since.or(Some(now)) } else { None };
        }
        if node.doors_ended {
            return;
        }
        for door in 0..self.site.doors.len() {
            let unlocked = self.is_unlocked(door);
            let config = &self.site.doors[door];
            let well_since = self.oracle.boards[config.lock.board.index()].well_since;
            let watch = &mut self.oracle.doors[door];
            // Behind another open door of the mantrap an opening waits.
            let due = watch.must_be_open() && (watch.fire || watch.rex || !self.site.mantrap.contains(&door));
            if unlocked || !due || well_since.is_none_or(|since| now.since(since) < RECOVERS_WITHIN) {
                watch.shut_since = None;
            } else if now.since(*watch.shut_since.get_or_insert(now)) > FALLS_WITHIN {
                let what = format!("{} is locked although fire, REX or an opening holds", config.id);
                return self.oracle.fail(Invariant::LockOpens, what);
            }
            let watch = &mut self.oracle.doors[door];
            let lasting = watch.lasting_reason(now, config.dwell);
            if lasting {
                watch.reason_seen = now;
            }
            if !unlocked || lasting || watch.waiting_order(now) {
                watch.wrong_since = None;
                continue;
            }
            let wrong_since = *watch.wrong_since.get_or_insert(now);
            let Some(well_since) = well_since else {
                watch.wrong_since = None;
                continue;
            };
            if now.since(wrong_since) > FALLS_WITHIN && now.since(well_since) > RECOVERS_WITHIN {
                let what = format!("{} is unlocked since {:?} without a reason", config.id, now.since(wrong_since));
                return self.oracle.fail(Invariant::StrikeFalls, what);
            }
        }
    }
}

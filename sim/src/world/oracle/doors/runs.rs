//! Locks, where a run begins and ends. Owns what a door may be after a start, by what was kept, and what it may be while
//! the daemon ends; must never take over what an earlier run only meant to do. Invariant: what was promised is there.

use std::collections::BTreeMap;

use latchd::{
    domain::{
        door::{DurableDoor, StopPolicy},
        ids::Id,
        permission::SetVersion,
        time::{Mono, Now},
    },
    gateway::controller::Lasting,
};

use super::{BoardWatch, DoorWatch};
use crate::world::{
    oracle::{Invariant, Oracle, holds::Holds},
    site::Site,
};

impl Oracle {
    pub fn doors_started(&mut self, site: &Site, now: Now, version: (SetVersion, u64), lasting: &Lasting) {
        self.rights_of_doors(version);
        self.people.restarted(now, lasting);
        self.lift.restarted(site, lasting.kept.values());
        self.lockers.restarted(site, lasting);
        self.auto.restarted(lasting.kept.values());
        self.areas.restarted(now, lasting.kept.values());
        self.alarms.doors_started();
        self.stands_from_before(lasting.kept.values());
        let restored = &lasting.doors;
        for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
            let manual = restored.get(&door.id).is_some_and(|durable| durable.manual_open.is_some());
            let restores = door.at_start == latchd::domain::door::StartPolicy::Restore;
            let stored = restored.get(&door.id).and_then(|durable| durable.manual_open.as_ref());
            *watch = DoorWatch {
                manual: manual && restores,
                reason_seen: now.mono,
                stored: stored.and_then(|open| open.by.cause().cloned()),
                promised: watch.promised.take(),
                auto: self.auto.is_on(&door.id),
                closed: restored.get(&door.id).and_then(|durable| durable.manual_close.clone()),
                holds: Holds::started(restored.get(&door.id), restores),
                ..DoorWatch::default()
            };
        }
        for board in &mut self.boards {
            *board = BoardWatch::default();
        }
    }

    /// Modes that were reported as durable are there after a start.
    pub(in crate::world::oracle) fn check_promises(&mut self, site: &Site, restored: &BTreeMap<Id, DurableDoor>) {
        for (watch, door) in self.doors.iter().zip(&site.doors) {
            let found = restored
                .get(&door.id)
                .and_then(|durable| durable.manual_open.as_ref())
                .and_then(|open| open.by.cause());
            if let Some(promised) = &watch.promised
                && promised.as_ref() != found
            {
                let what = format!("{} was reported as open for {promised:?}, and is stored as {found:?}", door.id);
                return self.fail(Invariant::Durable, what);
            }
        }
    }

    pub fn doors_ended(&mut self) {
        self.doors.iter_mut().for_each(|watch| {
            watch.wrong_since = None;
            watch.shut_since = None;
        });
        self.boards.iter_mut().for_each(|board| board.well_since = None);
        self.node_up = false;
    }

    pub fn stopping(&mut self, site: &Site) {
        self.rights_stop();
        self.outputs_stop();
        self.lift.stops();
        for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
            watch.grant_until = Mono::ZERO;
            watch.stopping = true;
            match door.at_stop {
                StopPolicy::Lock => (watch.manual, watch.auto) = (false, false),
                StopPolicy::Unlock => watch.stop_unlocks = true,
                StopPolicy::Keep => {}
            }
        }
    }

    /// The daemon begins anew: what it drives stays as it is, but nobody is let in any more.
    pub fn pausing(&mut self) {
        self.rights_stop();
        for watch in &mut self.doors {
            (watch.grant_until, watch.stopping) = (Mono::ZERO, true);
        }
    }
}

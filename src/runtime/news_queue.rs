//! The doors' way to the cloud loop: never waits, keeps what there was no room for. Reports are kept in
//! order and bounded by the number of orders that the desk lets be under way; of a thing's states the
//! newest counts, so a door that changed twice while the cloud loop was busy is told of once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::{
    domain::{
        door::Closed,
        ids::DoorIx,
        order::OrderReport,
        status::{Status, Thing},
    },
    gateway::{controller::Controller, uplink::DoorNews},
};

pub struct NewsQueue {
    cloud: Sender<DoorNews>,
    /// The cloud loop has not been told yet that an earlier door loop failed. Told before anything else.
    restart_untold: bool,
    reports: VecDeque<OrderReport>,
    /// The newest of each door: it cancels whatever an earlier one does.
    closed: BTreeMap<DoorIx, Closed>,
    states: BTreeSet<Thing>,
    /// How often emergency cards were used is to be told; the newest count says all.
    uses: bool,
}

impl NewsQueue {
    pub fn new(cloud: Sender<DoorNews>, restarted: bool) -> NewsQueue {
        NewsQueue {
            cloud,
            restart_untold: restarted,
            reports: VecDeque::new(),
            closed: BTreeMap::new(),
            states: BTreeSet::new(),
            uses: false,
        }
    }

    pub fn reports(&mut self, reports: impl IntoIterator<Item = OrderReport>) {
        self.reports.extend(reports);
        self.send_reports();
    }

    pub fn closed(&mut self, closed: Vec<(DoorIx, Closed)>) {
        for (door, closed) in closed {
            if self.closed.get(&door).is_none_or(|known| known.issued_at <= closed.issued_at) {
                self.closed.insert(door, closed);
            }
        }
        self.send_reports();
    }

    pub fn changed(&mut self, things: Vec<Thing>, controller: &Controller) {
        self.states.extend(things);
        self.send_states(controller);
    }

    pub fn emergency_uses(&mut self, changed: bool, controller: &Controller) {
        self.uses |= changed;
        self.send_uses(controller);
    }

    /// Tries again what waits.
    pub fn hand_on(&mut self, controller: &Controller) {
        self.send_reports();
        self.send_states(controller);
        self.send_uses(controller);
    }

    fn send_uses(&mut self, controller: &Controller) {
        if self.uses {
            let uses = controller.emergency_uses().clone();
            self.uses = self.cloud.try_send(DoorNews::EmergencyUses(uses)).is_err();
        }
    }

    fn send_reports(&mut self) {
        if self.restart_untold {
            self.restart_untold = self.cloud.try_send(DoorNews::Restarted).is_err();
        }
        if self.restart_untold {
            return;
        }
        while let Some((door, closed)) = self.closed.pop_first() {
            if self.cloud.try_send(DoorNews::Closed(door, closed.clone())).is_err() {
                self.closed.insert(door, closed);
                return;
            }
        }
        while let Some(report) = self.reports.pop_front() {
            if let Err(TrySendError::Full(DoorNews::Report(report))) = self.cloud.try_send(DoorNews::Report(report)) {
                self.reports.push_front(report);
                return;
            }
        }
    }

    fn send_states(&mut self, controller: &Controller) {
        while let Some(thing) = self.states.pop_first() {
            let Some(status) = controller.status(&thing).or_else(|| Status::gone(&thing)) else { continue };
            if self.cloud.try_send(DoorNews::Status(Box::new(status))).is_err() {
                self.states.insert(thing);
                return;
            }
        }
    }
}

//! The doors' loop, as `runtime::door_loop` and `doors_thread` run it. Owns the order of hand-out: relays
//! first, then the ledger, then the cloud.

use std::{sync::Arc, time::Duration};

use latchd::{
    domain::{
        cloud::CloudState,
        fieldbus::{BusReport, CardRead, RawCard},
        ids::{BusIx, ReaderIx},
        order::Order,
        permission::{Permissions, SetVersion},
    },
    gateway::{
        controller::{Controller, Input, Setup, Step, machines},
        fieldbus::Bus,
        uplink::{self, DoorNews},
    },
};

use super::{
    Lane, What, World,
    node::{NodeEvent, Phase},
    node_bus::BusLoop,
    set::names::credential_key,
};

impl World {
    pub(super) fn doors_hear(&mut self, bus: BusIx, report: BusReport) {
        self.line(format_args!("doors: {report:?}"));
        self.oracle.doors_told(&self.site, self.now, &report);
        let card = match report {
            BusReport::Card { card, board, block } => {
                let at = Some((board, block));
                self.site.readers.iter().position(|reader| reader.card_block == at).map(|reader| (reader, card))
            }
            _ => None,
        };
        if let Some((reader, card)) = card {
            self.oracle.card(reader, card);
        }
        if let Some(report) = self.shim.report(&self.site, report) {
            self.doors_input(Input::Bus(bus, report), "report");
        } else {
            self.doors_input(Input::Timeout, "timeout");
        }
    }

    pub(super) fn doors_card(&mut self, reader: ReaderIx, card: RawCard) {
        self.oracle.card(reader.index(), card);
        self.doors_input(Input::Card(CardRead::bits(reader, card)), "card");
    }

    pub(super) fn doors_order(&mut self, order: Order) {
        self.line(format_args!("doors: order {:?} {:?} by {:?}", order.ticket, order.what, order.by));
        // What comes to doors that have ended is heard by nobody.
        if self.node.as_ref().is_none_or(|node| node.doors_ended) {
            return;
        }
        let now = self.node_now();
        self.oracle.order_delivered(&self.site, now, &order);
        self.doors_input(Input::Order(order), "order");
    }

    pub(super) fn doors_set(&mut self, version: SetVersion, revision: u64, permissions: Arc<Permissions>) {
        self.line(format_args!("doors: set {} edits {revision}", version.generation));
        self.oracle.set_in_force(version, revision);
        if let Some(node) = &mut self.node {
            node.set = (version, permissions.clone());
            node.revision = revision;
        }
        self.doors_input(Input::Permissions(permissions), "set");
    }

    pub(super) fn doors_cloud(&mut self, cloud: CloudState) {
        if let Some(node) = &mut self.node {
            node.cloud = cloud;
        }
        self.oracle.cloud_known(cloud);
        self.doors_input(Input::Cloud(cloud), "cloud");
    }

    pub(super) fn doors_stop(&mut self) {
        self.line(format_args!("doors: stop"));
        if let Some(node) = &mut self.node {
            node.stopping = true;
        }
        self.oracle.stopping(&self.site);
        self.doors_input(Input::Stop, "stop");
    }

    pub(super) fn doors_input(&mut self, input: Input, what: &'static str) {
        if self.node.as_ref().is_none_or(|node| node.doors_ended) {
            return;
        }
        let now = self.node_now();
        let Some(node) = &mut self.node else { return };
        self.oracle.doors_before(&self.site, &node.controller);
        let step = node.controller.handle(now, input);
        self.oracle.step(&self.site, &self.sets, now, what, &step, &node.controller);
        self.doors_apply(step);
    }

    /// What a step of the controller brought about is handed out.
    pub(super) fn doors_apply(&mut self, mut step: Step) {
        let Some(node) = &mut self.node else { return };
        let desired = self.shim.desired(&self.site, node.controller.desired());
        if node.desired != desired {
            node.desired = desired;
            for bus in 0..node.buses.len() {
                let Some(node) = &mut self.node else { return };
                node.buses[bus].desired_changed = true;
                if node.buses[bus].on_wire.is_none() {
                    let delay = self.rng.micros(1, 80);
                    self.wake_bus(bus, delay);
                }
            }
        }
        let Some(node) = &mut self.node else { return };
        for write in &step.commit.writes {
            node.restored.note(write);
        }
        let statuses: Vec<_> = step.changed.iter().filter_map(|thing| node.controller.status(thing)).collect();
        self.shim.commit(&mut step.commit);
        if !step.commit.is_empty() {
            self.send_node(Lane::DoorsToLedger, NodeEvent::Commit(step.commit));
        }
        for (door, closed) in step.closed {
            let news = uplink::Input::Doors(DoorNews::Closed(door, closed));
            self.send_node(Lane::DoorsToUplink, NodeEvent::Uplink(Box::new(news)));
        }
        for report in step.reports {
            self.line(format_args!("doors: {:?} {:?}", report.ticket, report.progress));
            let news = uplink::Input::Doors(DoorNews::Report(report));
            self.send_node(Lane::DoorsToUplink, NodeEvent::Uplink(Box::new(news)));
        }
        if step.emergency_uses {
            let Some(node) = &self.node else { return };
            let uses = node.controller.emergency_uses().clone();
            let news = uplink::Input::Doors(DoorNews::EmergencyUses(uses));
            self.send_node(Lane::DoorsToUplink, NodeEvent::Uplink(Box::new(news)));
        }
        for status in statuses {
            self.line(format_args!("doors: {status:?}"));
            let news = uplink::Input::Doors(DoorNews::Status(Box::new(status)));
            self.send_node(Lane::DoorsToUplink, NodeEvent::Uplink(Box::new(news)));
        }
        self.doors_alarm();
        self.doors_may_end();
    }

    fn doors_alarm(&mut self) {
        let late = self.rng.micros(0, 1_500);
        let Some(node) = &mut self.node else { return };
        let due = node.controller.next_deadline().map(|due| due.max(self.now) + late);
        // An alarm that is still right stays; another one is void by then.
        let keep = match (node.doors_due, due) {
            (Some(set), Some(due)) => set >= self.now && set <= due,
            (None, None) => true,
            _ => false,
        };
        if keep && node.doors_due != Some(self.now) {
            return;
        }
        node.doors_due = due;
        if let Some(at) = due {
            let run = self.run;
            self.post_at(at, What::Node(run, NodeEvent::DoorsTimer(at)));
        }
    }

    fn doors_may_end(&mut self) {
        let Some(node) = &mut self.node else { return };
        if node.stopping && !node.doors_ended && node.controller.stopped() {
            self.end_doors();
        }
    }

    pub(super) fn end_doors(&mut self) {
        self.line(format_args!("doors: ended"));
        let Some(node) = &mut self.node else { return };
        node.doors_ended = true;
        self.oracle.doors_ended();
        if node.phase == Phase::StoppingDoors {
            self.leave();
        }
    }

    /// The doors' loop goes on where it hung, with what came meanwhile.
    pub(super) fn doors_resume(&mut self) {
        if self.node.as_ref().is_none_or(|node| self.now < node.stalled_until) {
            return;
        }
        let backlog = self.node.as_mut().map(|node| std::mem::take(&mut node.backlog)).unwrap_or_default();
        for event in backlog {
            self.node_event(event);
        }
    }

    /// The doors' loop has panicked: all of the thread starts again from what was durable or on its way there.
    pub(super) fn doors_restart(&mut self) {
        if self.node.as_ref().is_none_or(|node| node.doors_ended) {
            return;
        }
        self.line(format_args!("doors: panic and restart"));
        self.count("doors restarted");
        let now = self.node_now();
        let Some(node) = &mut self.node else { return };
        node.doors += 1;
        let (version, permissions) = node.set.clone();
        let key = credential_key();
        let setup = Setup {
            doors: self.site.doors.clone(),
            readers: self.site.readers.clone(),
            boards: &self.site.boards,
            topology: Arc::new(self.site.topology()),
            credential_key: key,
            spare_cards: node.spare_cards.clone(),
            permissions,
            cloud: node.cloud,
            lasting: node.restored.clone(),
            machines: machines(&self.site.field, &[]),
        };
        let (controller, step) = Controller::new(setup, now);
        node.desired = controller.desired().to_vec();
        node.controller = controller;
        node.buses = self.site.buses.iter().map(|plan| BusLoop::new(Bus::new(plan.clone()))).collect();
        node.doors_due = None;
        node.stalled_until = self.now;
        let (stopping, pausing) = (std::mem::take(&mut node.stopping), std::mem::take(&mut node.pausing));
        let backlog = std::mem::take(&mut node.backlog);
        self.oracle.doors_started(&self.site, now, (version, node.revision), &node.restored);
        if let Some(node) = &self.node {
            self.oracle.outputs_started(node.restored.kept.values(), false);
        }
        self.shim.doors_started();
        let news = uplink::Input::Doors(DoorNews::Restarted);
        self.send_node(Lane::DoorsToUplink, NodeEvent::Uplink(Box::new(news)));
        self.oracle.first_step(&self.site, self.now, &step, self.node.as_ref().map(|node| &node.controller));
        self.doors_apply(step);
        for bus in 0..self.site.buses.len() {
            self.wake_bus(bus, Duration::from_micros(50));
        }
        if pausing {
            self.doors_pause();
        } else if stopping {
            self.doors_stop();
        }
        // The newest set outlives the loop, and so does a stop; the desk has heard that orders are nobody's.
        for event in backlog {
            if matches!(event, NodeEvent::Set(..) | NodeEvent::Cloud(_) | NodeEvent::StopDoors | NodeEvent::PauseDoors)
            {
                self.node_event(event);
            }
        }
    }
}

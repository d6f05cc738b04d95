//! The bus loops, as `runtime::bus_loop` runs them, and the wire adapter's part in them. Owns what is on
//! each wire; must never report while a transaction waits to be sent.

use std::time::Duration;

use latchd::{
    domain::{fieldbus::BusReport, time::Mono},
    gateway::fieldbus::{Bus, BusFault, Next, Reply, Transaction},
};

use super::{
    Lane, What, World,
    field::{Fate, WireRequest},
    node::NodeEvent,
    site::TIMEOUT,
};

/// An idle bus wakes at least this often.
const HEARTBEAT: Duration = Duration::from_millis(500);

pub struct BusLoop {
    pub bus: Bus,
    pub out: Vec<BusReport>,
    pub desired_changed: bool,
    /// The transaction on the wire.
    pub on_wire: Option<u64>,
    pub turn_at: Option<Mono>,
    /// The connection was closed after a fault: the next transaction connects first.
    pub closed: bool,
}

impl BusLoop {
    pub fn new(bus: Bus) -> BusLoop {
        BusLoop { bus, out: Vec::new(), desired_changed: true, on_wire: None, turn_at: None, closed: true }
    }
}

impl World {
    pub(super) fn wake_bus(&mut self, bus: usize, delay: Duration) {
        let at = self.now + delay;
        let Some(node) = &mut self.node else { return };
        let doors = node.doors;
        node.buses[bus].turn_at = Some(at);
        let run = self.run;
        self.post_at(at, What::Node(run, NodeEvent::BusTurn { doors, bus }));
    }

    /// One round of the loop.
    pub(super) fn bus_turn(&mut self, bus: usize) {
        let now = self.now;
        let Some(node) = &mut self.node else { return };
        if node.doors_ended {
            return;
        }
        let this = &mut node.buses[bus];
        // A wake-up that a later one has replaced.
        if this.on_wire.is_some() || this.turn_at.is_none_or(|at| at > now) {
            return;
        }
        this.turn_at = None;
        if std::mem::take(&mut this.desired_changed) {
            this.bus.set_desired(now, &node.desired, &mut this.out);
        }
        match this.bus.next(now, &mut this.out) {
            Next::Transact(wire) => {
                self.next_event += 1;
                let transaction = self.next_event;
                this.on_wire = Some(transaction);
                let doors = node.doors;
                let serial = this.bus.plan().serial;
                let connect = if this.closed && !serial {
                    if self.rng.permille(50) { self.rng.millis(50, 900) } else { self.rng.micros(300, 3_000) }
                } else {
                    self.rng.micros(5, 60)
                };
                self.post_node(connect, NodeEvent::BusSend { doors, bus, transaction, wire });
            }
            Next::Idle { until } => {
                self.deliver(bus);
                let wait = until.map_or(HEARTBEAT, |until| until.since(now).min(HEARTBEAT));
                // Timers are late, never early.
                let late = self.rng.micros(0, 1_500);
                self.wake_bus(bus, wait + late);
            }
        }
    }

    /// The request goes out, unless it is too late or there is no way.
    pub(super) fn bus_send(&mut self, bus: usize, transaction: u64, wire: Transaction) {
        let (now, run) = (self.now, self.run);
        if self.field.lines_down[bus] {
            let result = Err(BusFault::Unreachable("no route to host".to_owned()));
            let delay = self.rng.millis(1, 150);
            return self.post_node(delay, NodeEvent::BusAnswer { bus, transaction, result });
        }
        if let Some(node) = &mut self.node {
            node.buses[bus].closed = false;
        }
        if wire.start_by.is_some_and(|start_by| now > start_by) {
            return self.bus_answer(bus, transaction, Err(BusFault::TooLate));
        }
        let serial = self.site.buses[bus].serial;
        let unit = |board: &latchd::domain::fieldbus::BoardConfig| board.unit == wire.unit;
        let Some(board) = self.site.buses[bus].boards.iter().find(|board| unit(board)).map(|b| b.board.index()) else {
            return;
        };
        let (there, back) = if serial {
            (self.rng.micros(2_000, 6_000), self.rng.micros(3_000, 9_000))
        } else {
            (self.rng.micros(150, 2_500), self.rng.micros(150, 2_500))
        };
        let frames = self.faults.frames;
        let roll = self.rng.below(1000);
        let gives_up = now + TIMEOUT;
        let answer = NodeEvent::BusAnswer { bus, transaction, result: Err(BusFault::Timeout) };
        let lost = frames.lost_permille;
        let fate = if roll < lost {
            self.trace.line(now, format_args!("wire {bus}: {} lost", wire.request));
            self.oracle.on_wire(&self.site, now, board, &wire.request);
            self.oracle.write_failed(&self.site, now, board, &wire.request);
            return self.post_at(gives_up, What::Node(run, answer));
        } else if roll < lost + frames.answer_lost_permille {
            Fate::AnswerLost
        } else if roll < lost + frames.answer_lost_permille + frames.garbled_permille {
            Fate::Garbled
        } else {
            Fate::Arrives
        };
        // A frame may also sit in some gateway, and reach the board when nobody waits for it any more.
        let there = if self.rng.permille(frames.late_permille) { there + self.rng.millis(20, 500) } else { there };
        let back = if self.rng.permille(frames.late_permille) { back + self.rng.millis(20, 400) } else { back };
        let request = wire.request;
        if !matches!(request, latchd::gateway::fieldbus::Request::Read { .. }) || fate != Fate::Arrives {
            self.trace.line(now, format_args!("wire {bus}: {request} of {board} {fate:?}"));
        }
        self.oracle.on_wire(&self.site, now, board, &request);
        if fate != Fate::Arrives || there + back >= TIMEOUT {
            self.oracle.write_failed(&self.site, now, board, &request);
        } else {
            self.oracle.wire_well(board);
        }
        let wire = WireRequest { run, bus, transaction, board, request, fate, back, gives_up };
        self.post(there, What::Wire(wire));
    }

    pub(super) fn bus_answer(&mut self, bus: usize, transaction: u64, result: Result<Reply, BusFault>) {
        let now = self.now;
        let Some(node) = &mut self.node else { return };
        let this = &mut node.buses[bus];
        if this.on_wire != Some(transaction) {
            return;
        }
        this.on_wire = None;
        if let Err(fault) = &result {
            this.closed |= !matches!(fault, BusFault::Exception(_) | BusFault::TooLate);
            self.trace.line(now, format_args!("bus {bus}: {fault}"));
        }
        this.bus.handle(now, result, &mut this.out);
        self.deliver(bus);
        self.wake_bus(bus, Duration::ZERO);
    }

    fn deliver(&mut self, bus: usize) {
        let Some(node) = &mut self.node else { return };
        let doors = node.doors;
        let id = node.buses[bus].bus.plan().bus;
        for report in std::mem::take(&mut node.buses[bus].out) {
            self.oracle.bus_reported(&self.site, self.now, &report);
            self.send_node(Lane::BusToDoors(bus), NodeEvent::Report { doors, bus: id, report });
        }
    }
}

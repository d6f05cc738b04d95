//! One run of the daemon: its machines, and what its threads would hold between them. Owns the dispatch of
//! the node's own events; must never let one machine into another but through an event. Invariant: what is
//! not on a simulated disk is gone when this value is dropped.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use latchd::{
    domain::{
        cloud::CloudState,
        fieldbus::{BusReport, RawCard},
        ids::{BusIx, Id, ReaderIx},
        order::Order,
        outputs::Desired,
        permission::{Permissions, SetVersion},
        record::EmergencyCard,
        time::{Mono, Now},
    },
    gateway::{
        clock_trust::{ClockJudge, ClockNote, Vouchers},
        controller::{Controller, Input as DoorsInput, Lasting},
        desk::Errand,
        fieldbus::{BusFault, Reply, Transaction},
        mirror::MirrorInput,
        session::link::LinkEvent,
        step::{Commit, Fence},
        uplink::{self, Uplink},
    },
};

use super::{
    World,
    configuration::{End, RunningTrial},
    node_bus::BusLoop,
    node_stores::{LedgerLoop, MirrorLoop},
};

pub enum NodeEvent {
    // ---- the doors' thread; the number counts its restarts ----
    BusTurn {
        doors: u64,
        bus: usize,
    },
    BusSend {
        doors: u64,
        bus: usize,
        transaction: u64,
        wire: Transaction,
    },
    BusAnswer {
        bus: usize,
        transaction: u64,
        result: Result<Reply, BusFault>,
    },
    Report {
        doors: u64,
        bus: BusIx,
        report: BusReport,
    },
    Card(ReaderIx, RawCard),
    Order(Order),
    /// The set by its true version and the revision of the edits over it, whatever the value says.
    Set(SetVersion, u64, Arc<Permissions>),
    Cloud(CloudState),
    Durable(Fence),
    DoorsTimer(Mono),
    StopDoors,
    /// The daemon begins anew.
    PauseDoors,
    DoorsResume,
    DoorsPanic,
    // ---- the cloud's thread ----
    Link(LinkEvent),
    Uplink(Box<uplink::Input>),
    UplinkTimer(Mono),
    LookForVouchers,
    LookAtTrial,
    Stop,
    StopTimeout(Phase),
    // ---- the stores' threads ----
    Commit(Commit),
    LedgerSync,
    LedgerRetry,
    Mirror(MirrorInput),
    Errand(Box<Errand>),
    /// What the run began with is durable.
    ToldOfConfiguration,
    MirrorTimer(Mono),
    MirrorRetry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    StoppingDoors,
    Leaving,
    /// Only the ledger still writes.
    Closing,
}

pub struct Node {
    pub boot: Id,
    pub phase: Phase,
    pub judge: ClockJudge,
    pub notes: Vec<ClockNote>,
    // The doors' thread.
    pub doors: u64,
    pub controller: Controller,
    pub desired: Vec<Desired>,
    pub buses: Vec<BusLoop>,
    pub restored: Lasting,
    pub spare_cards: Arc<BTreeMap<Id, EmergencyCard>>,
    pub cloud: CloudState,
    pub set: (SetVersion, Arc<Permissions>),
    /// Of the edits by command over it.
    pub revision: u64,
    pub doors_due: Option<Mono>,
    pub stopping: bool,
    /// For beginning anew.
    pub pausing: bool,
    pub doors_ended: bool,
    /// Until then the doors' loop hangs, while the buses go on.
    pub stalled_until: Mono,
    /// What came meanwhile.
    pub backlog: VecDeque<NodeEvent>,
    // The cloud's thread.
    pub uplink: Uplink,
    pub uplink_due: Option<Mono>,
    pub connection: u64,
    /// This run is a trial of its configuration.
    pub trial: Option<RunningTrial>,
    /// What the end of the running phase will have been for.
    pub end: End,
    /// The newest event that the run began with.
    pub told_with: u64,
    // The stores' threads.
    pub ledger: LedgerLoop,
    pub mirror: MirrorLoop,
}

impl World {
    /// The node's judged time; it must be up.
    pub(super) fn node_now(&mut self) -> Now {
        let (mono, wall) = (self.now, self.node_wall());
        let node = self.node.as_mut().expect("asked only while the node is up");
        node.judge.observe(mono, wall, &mut node.notes)
    }

    pub(super) fn vouchers(&self) -> Vouchers {
        Vouchers { ntp: self.ntp, rtc: true }
    }

    pub(super) fn node_event(&mut self, event: NodeEvent) {
        let Some(node) = &mut self.node else { return };
        let stalled = self.now < node.stalled_until || !node.backlog.is_empty();
        let doors_now = node.doors;
        match event {
            NodeEvent::BusTurn { doors, bus } if doors == doors_now => self.bus_turn(bus),
            NodeEvent::BusSend { doors, bus, transaction, wire } if doors == doors_now => {
                self.bus_send(bus, transaction, wire);
            }
            NodeEvent::BusAnswer { bus, transaction, result } => self.bus_answer(bus, transaction, result),
            NodeEvent::Report { doors, .. } if doors != doors_now => {}
            NodeEvent::Report { .. }
            | NodeEvent::Card(..)
            | NodeEvent::Order(..)
            | NodeEvent::Set(..)
            | NodeEvent::Cloud(_)
            | NodeEvent::Durable(_)
            | NodeEvent::DoorsTimer(..)
            | NodeEvent::StopDoors
            | NodeEvent::PauseDoors
                if stalled =>
            {
                node.backlog.push_back(event);
            }
            NodeEvent::DoorsResume => self.doors_resume(),
            NodeEvent::Report { bus, report, .. } => self.doors_hear(bus, report),
            NodeEvent::Card(reader, card) => self.doors_card(reader, card),
            NodeEvent::Order(order) => self.doors_order(order),
            NodeEvent::Cloud(cloud) => self.doors_cloud(cloud),
            NodeEvent::Durable(fence) => self.doors_input(DoorsInput::Durable(fence), "durable"),
            NodeEvent::Set(version, revision, permissions) => self.doors_set(version, revision, permissions),
            NodeEvent::DoorsTimer(at) => {
                if node.doors_due == Some(at) {
                    self.doors_input(DoorsInput::Timeout, "timeout");
                }
            }
            NodeEvent::StopDoors => self.doors_stop(),
            NodeEvent::PauseDoors => self.doors_pause(),
            NodeEvent::DoorsPanic => self.doors_restart(),
            NodeEvent::Link(event) => self.link_event(event),
            NodeEvent::Uplink(input) => self.uplink(*input),
            NodeEvent::UplinkTimer(at) => {
                if node.uplink_due == Some(at) {
                    self.uplink(uplink::Input::Timeout);
                }
            }
            NodeEvent::LookForVouchers => self.look_for_vouchers(),
            NodeEvent::LookAtTrial => self.look_at_trial(),
            NodeEvent::Stop => self.begin_stop(),
            NodeEvent::StopTimeout(phase) => self.stop_timeout(phase),
            NodeEvent::Commit(commit) => self.ledger_commit(commit),
            NodeEvent::LedgerSync => self.ledger_sync(),
            NodeEvent::LedgerRetry => self.ledger_retry(),
            NodeEvent::Mirror(input) => self.mirror_input(input),
            NodeEvent::Errand(errand) => self.carry_out(&errand),
            NodeEvent::ToldOfConfiguration => self.told_of_configuration(),
            NodeEvent::MirrorTimer(at) => self.mirror_timer(at),
            NodeEvent::MirrorRetry => self.mirror_retry(),
            NodeEvent::BusTurn { .. } | NodeEvent::BusSend { .. } => {}
        }
    }
}

//! How a controller begins. Owns what it starts from and its first step; must never take what lasts for what is seen:
//! relays, inputs and boards are unknown until the field says otherwise. Invariant: the first step names everything
//! that has a state.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Controller, DoorSlot, Lasting, ReaderSlot, Step,
    emergencies::Emergencies,
    floods::Floods,
    lockdown::Gatherings,
    machine::{Happening, Machine},
    routes::Routes,
    standing::StandingSet,
};
use crate::{
    domain::{
        cloud::CloudState,
        door::{Door, DoorConfig},
        fieldbus::{BoardConfig, ReaderPoints},
        ids::{BoardIx, DoorIx, Id, ReaderIx},
        kept::Kept,
        permission::Permissions,
        pin_lock::PinLocks,
        record::EmergencyCard,
        time::Now,
        topology::{ReaderAt, Topology},
    },
    gateway::step::Fence,
    wire::token::CredentialKey,
};

/// A reader and where its cards come from.
#[derive(Clone, Debug)]
pub struct ReaderBinding {
    pub id: Id,
    pub reader: ReaderIx,
    pub at: ReaderAt,
    /// Board and position of the card block, unless the reader has a line of its own.
    pub card_block: Option<(BoardIx, u16)>,
    /// Of one that has inputs and outputs: they are counted as a board's, after the boards.
    pub points: Option<ReaderPoints>,
}

/// All that a controller starts from.
pub struct Setup<'a> {
    /// In the order of their indices, as are `readers` and `boards`.
    pub doors: Vec<DoorConfig>,
    pub readers: Vec<ReaderBinding>,
    pub boards: &'a [BoardConfig],
    pub topology: Arc<Topology>,
    pub credential_key: CredentialKey,
    /// From the copy outside of the mirror.
    pub spare_cards: Arc<BTreeMap<Id, EmergencyCard>>,
    pub permissions: Arc<Permissions>,
    pub cloud: CloudState,
    pub lasting: Lasting,
    /// What stands beside the doors, in the order in which they hear of things.
    pub machines: Vec<Box<dyn Machine>>,
}

impl Controller {
    /// The step names everything that has a state.
    pub fn new(setup: Setup<'_>, now: Now) -> (Controller, Step) {
        let Setup { doors, readers, boards, topology, credential_key, spare_cards, permissions, .. } = setup;
        let Setup { cloud, mut lasting, machines, .. } = setup;
        let mut step = Step::default();
        let mut controller = Controller {
            doors: Vec::with_capacity(doors.len()),
            statuses: Vec::with_capacity(doors.len()),
            desired: Vec::with_capacity(doors.len()),
            deadlines: BTreeSet::new(),
            routes: Routes::new(&doors, &readers, boards),
            readers: readers
                .into_iter()
                .map(|binding| ReaderSlot { binding, lost: false, tamper: false, power_failed: false })
                .collect(),
            credential_key,
            spare_cards,
            permissions,
            topology,
            cloud,
            machines,
            gatherings: Gatherings::new(),
            awaited: VecDeque::new(),
            locks: PinLocks::default(),
            emergencies: Emergencies::default(),
            fence: Fence::default(),
            standing: StandingSet::restored(lasting.kept.values()),
            floods: Floods::default(),
            last: now,
            stopping: false,
            machines_stay: false,
        };
        for (ix, config) in (0..).map(DoorIx).zip(doors) {
            let durable = lasting.doors.remove(&config.id).unwrap_or_default();
            let (door, effects) = Door::new(config, durable, now);
            controller.desired.push(door.desired(now.mono));
            controller.statuses.push(door.status());
            controller.doors.push(DoorSlot { door, deadline: None });
            controller.absorb(now, ix, effects, &mut step);
        }
        step.changed = controller.things().collect();
        let kept: Vec<Kept> = lasting.kept.into_values().collect();
        controller.locks.restore(&kept, now);
        controller.emergencies = Emergencies::new(now, &controller.cloud, &kept);
        controller.plan_emergencies(&mut step);
        step.emergency_uses = true;
        controller.tell_machines(now, Happening::Start(&kept), &mut step);
        controller.carry_out(now, &mut step);
        controller.gather_desired(now);
        (controller, step)
    }
}

//! The door controller: all doors and readers of the node, sans-IO. Owns what can happen to them and the order in which
//! an input is worked off; must never wait for anything (no disk, no cloud) nor do work that grows with the number of
//! doors that an input does not concern. Invariant: every input yields one [`Step`], and [`Controller::desired`] is
//! complete and current when it returns.

mod alarms;
mod auto_open;
mod consequences;
mod effects;
mod elevators;
mod emergencies;
mod entry;
mod faces;
mod field;
mod floods;
mod inputs;
mod installer;
mod interlock;
mod lasting;
mod lockdown;
mod lockers;
pub mod machine;
mod machines;
mod outputs;
mod presented;
mod readers;
mod routes;
mod setup;
mod standing;
mod step;
mod system_events;
mod things;
mod time;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use self::{
    emergencies::Emergencies,
    floods::Floods,
    lockdown::Gatherings,
    machine::{Happening, Machine},
    routes::Routes,
    standing::StandingSet,
};
pub use self::{
    installer::Question,
    lasting::Lasting,
    machines::machines,
    readers::ReaderNews,
    setup::{ReaderBinding, Setup},
    step::Step,
};
use crate::{
    domain::{
        cloud::CloudState,
        door::{Door, DoorInput, DoorStatus},
        event::Refusal,
        fieldbus::{BusReport, CardRead},
        ids::{BusIx, DoorIx, Id, ReaderIx},
        indication::Indication,
        kept::KeptKey,
        order::{Order, Progress, Task},
        outputs::Desired,
        permission::Permissions,
        pin_lock::PinLocks,
        record::EmergencyCard,
        time::{Mono, Now},
        topology::Topology,
    },
    gateway::step::Fence,
    wire::token::CredentialKey,
};

/// What can happen to the doors.
#[derive(Debug)]
pub enum Input {
    Bus(BusIx, BusReport),
    /// From a reader on a line of its own.
    Card(CardRead),
    ReaderLost(ReaderIx, String),
    ReaderRestored(ReaderIx),
    /// What a reader says of itself.
    Reader(ReaderIx, ReaderNews),
    Order(Order),
    /// From the installer on the spot.
    Installer(Question),
    /// A new permission set: the next card is decided by it, what was granted stays granted.
    Permissions(Arc<Permissions>),
    /// What is known of the cloud has changed.
    Cloud(CloudState),
    /// All that was committed up to this mark is durable.
    Durable(Fence),
    /// [`Controller::next_deadline`] has come.
    Timeout,
    /// Every door to its safe state; from here on nothing is commanded.
    Stop,
    /// The daemon begins anew in a moment, with another configuration: the same, but relays that will be
    /// driven again stay as they are.
    Pause(Pause),
}

/// What of the field another configuration leaves alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Doors that it drives elsewhere or not at all: they go to their safe state.
    pub moved: BTreeSet<DoorIx>,
    /// Whatever stands beside the doors is the same.
    pub others_stay: bool,
}

#[derive(Debug)]
struct DoorSlot {
    door: Door,
    deadline: Option<Mono>,
}

#[derive(Debug)]
struct ReaderSlot {
    binding: ReaderBinding,
    lost: bool,
    /// As last told.
    tamper: bool,
    power_failed: bool,
}

pub struct Controller {
    doors: Vec<DoorSlot>,
    /// As named in the last step that changed it, in the order of the doors.
    statuses: Vec<DoorStatus>,
    /// Of each lock, in the order of the doors, then of all other relays.
    desired: Vec<Desired>,
    deadlines: BTreeSet<(Mono, DoorIx)>,
    readers: Vec<ReaderSlot>,
    routes: Routes,
    credential_key: CredentialKey,
    spare_cards: Arc<BTreeMap<Id, EmergencyCard>>,
    permissions: Arc<Permissions>,
    topology: Arc<Topology>,
    cloud: CloudState,
    machines: Vec<Box<dyn Machine>>,
    gatherings: Gatherings,
    /// What machines wait for until it is durable, in the order of the marks.
    awaited: VecDeque<(Fence, KeptKey)>,
    /// One count of wrong PINs, for doors, cabs and cabinets.
    locks: PinLocks,
    /// And one of the uses of emergency cards.
    emergencies: Emergencies,
    fence: Fence,
    standing: StandingSet,
    floods: Floods,
    /// When the last input was handled.
    last: Now,
    stopping: bool,
    /// It pauses, and what stands beside the doors was not told: it goes on as if nothing were.
    machines_stay: bool,
}

impl Controller {
    pub fn handle(&mut self, now: Now, input: Input) -> Step {
        let mut step = Step::default();
        self.emergencies.observe(now);
        self.watch_clock(now, &mut step);
        let ends = matches!(input, Input::Stop | Input::Pause(_));
        match input {
            Input::Bus(_, report) => self.hear_bus(now, report, &mut step),
            Input::Card(read) => self.read_card(now, read, &mut step),
            Input::ReaderLost(reader, detail) => self.reader(now, reader, Some(&detail), &mut step),
            Input::ReaderRestored(reader) => self.reader(now, reader, None, &mut step),
            Input::Reader(reader, news) => self.reader_news(now, reader, news, &mut step),
            Input::Order(order) => self.order(now, order, &mut step),
            Input::Installer(question) => self.tell_machines(now, Happening::Installer(&question), &mut step),
            Input::Permissions(permissions) => {
                self.permissions = permissions;
                self.plan_emergencies(&mut step);
                self.tell_machines(now, Happening::Permissions, &mut step);
            }
            Input::Cloud(cloud) => {
                self.cloud = cloud;
                self.tell_machines(now, Happening::Cloud, &mut step);
            }
            Input::Durable(fence) => {
                while self.awaited.front().is_some_and(|(mark, _)| *mark <= fence) {
                    let Some((_, key)) = self.awaited.pop_front() else { break };
                    self.tell_machines(now, Happening::Durable(&key), &mut step);
                }
            }
            Input::Timeout => {}
            Input::Stop => {
                self.stopping = true;
                self.tell_machines(now, Happening::Stop, &mut step);
                for ix in (0..).map(DoorIx).take(self.doors.len()) {
                    self.tell(now, ix, DoorInput::Stop, &mut step);
                }
            }
            Input::Pause(pause) => {
                self.stopping = true;
                self.machines_stay = pause.others_stay;
                let happening = if pause.others_stay { Happening::Pause } else { Happening::Stop };
                self.tell_machines(now, happening, &mut step);
                for ix in (0..).map(DoorIx).take(self.doors.len()) {
                    let input = if pause.moved.contains(&ix) { DoorInput::Stop } else { DoorInput::Pause };
                    self.tell(now, ix, input, &mut step);
                }
            }
        }
        self.let_time_pass(now, &mut step);
        self.carry_out(now, &mut step);
        if ends {
            let counted = self.floods.rest();
            counted.into_iter().for_each(|body| self.commit_event(now, body, &mut step));
        }
        self.gather_desired(now);
        step
    }

    /// What every relay is to be: the locks in the order of the doors, then the others.
    pub fn desired(&self) -> &[Desired] {
        &self.desired
    }

    /// What each reader shows, by its position, and a number that is another one whenever that changed.
    pub fn indications(&self) -> (&[Indication], u64) {
        self.machines.iter().find_map(|machine| machine.indications()).unwrap_or_default()
    }

    /// After [`Input::Stop`] or [`Input::Pause`]: every door's safe state has been read back.
    pub fn stopped(&self) -> bool {
        let machines = || self.machines_stay || self.machines.iter().all(|machine| machine.stopped());
        self.not_stopped().next().is_none() && machines()
    }

    /// The doors whose safe state has not been confirmed, for whoever waits for [`Controller::stopped`].
    pub fn not_stopped(&self) -> impl Iterator<Item = &Id> {
        self.doors.iter().filter(|slot| !slot.door.stopped()).map(|slot| &slot.door.config().id)
    }

    /// To the door, the doors or the machine that it is for.
    fn order(&mut self, now: Now, order: Order, step: &mut Step) {
        let (door, action) = match &order.what {
            Task::Door(door, action) => (*door, *action),
            Task::Lockdown { doors, floor_groups, on } => {
                return self.lock_down(now, &order, (doors, floor_groups), *on, step);
            }
            _ => return self.tell_machines(now, Happening::Order(&order), step),
        };
        if self.doors.get(door.index()).is_some() {
            self.tell(now, door, DoorInput::Order(order.with(action)), step);
        } else {
            let progress = Progress::Refused(Refusal::UnknownTarget, "the node has no such door".to_owned());
            self.report(now, order.ticket, progress, step);
        }
    }

    fn gather_desired(&mut self, now: Now) {
        self.desired.truncate(self.doors.len());
        for machine in &self.machines {
            machine.desired(now.mono, &mut self.desired);
        }
    }
}

//! The door controller: all doors and readers of the node, sans-IO. Owns the routing between boards,
//! readers, permissions and doors; must never wait for anything (no disk, no cloud) nor do work that
//! grows with the number of doors that an input does not concern. Invariant: every input yields one
//! [`Step`], and [`Controller::desired`] is complete and current when it returns.

mod alarms;
mod auto_open;
mod elevators;
mod emergencies;
mod entry;
mod faces;
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
mod readers;
mod routes;
mod standing;
mod step;
mod system_events;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    emergencies::Emergencies,
    floods::Floods,
    lockdown::{Gatherings, Place},
    machine::{Deed, Deeds, Happening, Machine, View, WrongPin},
    routes::{Role, Routes},
    standing::StandingSet,
};
pub use self::{installer::Question, lasting::Lasting, machines::machines, readers::ReaderNews, step::Step};
use crate::{
    domain::{
        cloud::CloudState,
        door::{ContactState, Door, DoorConfig, DoorInput, DoorStatus, Effects, OrderEnd},
        event::{Event, EventBody, Refusal},
        fieldbus::{BoardConfig, BusReport, CardRead, LineTrouble, ReaderPoints},
        ids::{BoardIx, BusIx, DoorIx, Id, InputRef, ReaderIx},
        indication::Indication,
        kept::{Kept, KeptKey, PinOwner, Standing},
        order::{Order, OrderReport, Progress, Task},
        outputs::{Desired, Ticket},
        permission::Permissions,
        pin_lock::PinLocks,
        record::EmergencyCard,
        status::{BoardStatus, Link, ReaderStatus, Status, Thing},
        time::{Mono, Now},
        topology::{ReaderAt, Topology},
    },
    gateway::step::{Effect, Fence, LedgerWrite},
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

/// How many deeds one input may lead to: far beyond what any honest chain of causes needs.
const DEEDS_MAX: usize = 4096;

/// Wall time that moved by this much more or less than the time that deadlines count has been set.
const CLOCK_STEP: Duration = Duration::from_millis(500);

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

    pub fn next_deadline(&self) -> Option<Mono> {
        let doors = self.deadlines.first().map(|(at, _)| *at);
        let machines = self.machines.iter().filter_map(|machine| machine.next_deadline());
        machines.chain(doors).chain(self.floods.next_deadline()).chain(self.locks.next_deadline()).min()
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

    pub fn door_statuses(&self) -> &[DoorStatus] {
        &self.statuses
    }

    /// Everything that has a state.
    pub fn things(&self) -> impl Iterator<Item = Thing> {
        let doors = (0..).take(self.doors.len()).map(|ix| Thing::Door(DoorIx(ix)));
        let readers = (0..).take(self.readers.len()).map(|ix| Thing::Reader(ReaderIx(ix)));
        let boards = (0..).take(self.routes.boards()).map(|ix| Thing::Board(BoardIx(ix)));
        let others = self.machines.iter().flat_map(|machine| machine.things());
        doors.chain(readers).chain(boards).chain(others)
    }

    pub fn status(&self, thing: &Thing) -> Option<Status> {
        match thing {
            Thing::Door(door) => self.statuses.get(door.index()).map(|status| Status::Door(self.with_delays(status))),
            Thing::Reader(reader) => {
                let slot = self.readers.get(reader.index())?;
                let link = if slot.lost { Link::Lost } else { Link::Up };
                Some(Status::Reader(ReaderStatus { reader: slot.binding.id.clone(), link }))
            }
            Thing::Board(board) => {
                let routes = self.routes.board_at(*board)?;
                let link = match routes.up {
                    None => Link::Unknown,
                    Some(true) => Link::Up,
                    Some(false) => Link::Lost,
                };
                Some(Status::Board(BoardStatus { board: routes.id.clone(), link }))
            }
            Thing::Area(_) | Thing::FloorGroup(_) | Thing::Locker(_) => {
                self.machines.iter().find_map(|machine| machine.status(thing))
            }
        }
    }

    // ---- inputs ----

    fn hear_bus(&mut self, now: Now, report: BusReport, step: &mut Step) {
        self.tell_machines(now, Happening::Bus(&report), step);
        let ended = |ticket, end| DoorInput::OrderEnded { ticket, end };
        let (output, input) = match report {
            BusReport::BoardUp { board } => return self.board_up(now, board, step),
            BusReport::BoardLost { board, detail } => return self.board_lost(now, board, &detail, step),
            BusReport::Input { input, energised } => return self.sense(now, input, energised, step),
            BusReport::InputTrouble { input, trouble } => return self.trouble(now, input, trouble, step),
            BusReport::BoardDegraded { board, detail } => {
                if let Some(board) = self.routes.board(board).map(|routes| routes.id.clone()) {
                    self.record(now, EventBody::BoardDegraded { board, detail }, step);
                }
                return;
            }
            BusReport::Card { board, block, card } => {
                if let Some(reader) = self.routes.reader(board, block) {
                    self.read_card(now, CardRead { reader, card }, step);
                }
                return;
            }
            BusReport::Output { output, level, order } => (output, DoorInput::Lock { level, order }),
            BusReport::OutputMismatch { output, level } => (output, DoorInput::LockMismatch(level)),
            BusReport::OrderExpired { output, ticket } => (output, ended(ticket, OrderEnd::Expired)),
            BusReport::OrderFailed { output, ticket, detail } => (output, ended(ticket, OrderEnd::Failed(detail))),
            BusReport::OrderUnknown { output, ticket, detail } => (output, ended(ticket, OrderEnd::Unknown(detail))),
        };
        if let Some(door) = self.routes.lock(output) {
            self.tell(now, door, input, step);
        }
    }

    /// While the node stops nobody is let in by a door that is being secured.
    fn read_card(&mut self, now: Now, read: CardRead, step: &mut Step) {
        if !self.stopping {
            self.tell_machines(now, Happening::Read(&read), step);
        }
    }

    /// A supervised line is short, cut or faulty. Whatever depends on it is not in its safe state: nobody knows
    /// whether a door is closed, nobody asks to leave, and it burns.
    fn trouble(&mut self, now: Now, input: InputRef, trouble: LineTrouble, step: &mut Step) {
        let Some((board, point)) = self.routes.names(input) else { return };
        let Some(route) = self.routes.input(input) else { return };
        route.troubled = true;
        let (name, roles) = (route.name.clone(), route.roles.clone());
        let fire = roles.iter().any(|(_, role)| *role == Role::Fire) && !std::mem::replace(&mut route.fire, true);
        let mut doors: Vec<Id> = roles.iter().filter_map(|(ix, _)| self.topology.door_id(*ix)).cloned().collect();
        doors.dedup();
        self.record(now, EventBody::TamperLineFaulted { board, input: point, trouble, doors }, step);
        if fire {
            self.record(now, EventBody::FireActivated { input: name }, step);
        }
        for (ix, role) in roles {
            let input = match role {
                Role::Contact => DoorInput::Contact(ContactState::Unknown),
                Role::Rex => DoorInput::Rex(false),
                Role::Fire => DoorInput::Fire(true),
            };
            self.tell(now, ix, input, step);
        }
    }

    /// The line says on or off again.
    fn line_speaks(&mut self, now: Now, input: InputRef, step: &mut Step) {
        let Some((board, point)) = self.routes.names(input) else { return };
        let was = self.routes.input(input).is_some_and(|route| std::mem::take(&mut route.troubled));
        let standing = Standing::LineFault { board: board.clone(), input: point.clone() };
        if was || self.standing.is_from_before(&standing) {
            self.record(now, EventBody::TamperLineRestored { board, input: point }, step);
        }
    }

    fn sense(&mut self, now: Now, input: InputRef, energised: bool, step: &mut Step) {
        self.line_speaks(now, input, step);
        let Some(route) = self.routes.input(input).filter(|route| !route.roles.is_empty()) else {
            return self.tell_machines(now, Happening::Input(input, energised), step);
        };
        let mut fire = None;
        let mut told = Vec::with_capacity(route.roles.len());
        for (ix, role) in &route.roles {
            let Some(config) = self.doors.get(ix.index()).map(|slot| slot.door.config()) else { continue };
            let input = match role {
                Role::Contact => config.contact.map(|contact| DoorInput::Contact(contact.state(energised))),
                Role::Rex => config.rex.map(|rex| DoorInput::Rex(energised == rex.active_value)),
                Role::Fire => config.fire.map(|input| {
                    let active = energised == input.active_value;
                    fire = Some(active);
                    DoorInput::Fire(active)
                }),
            };
            told.extend(input.map(|input| (*ix, input)));
        }
        // One event for the input, however many doors it releases.
        let from_before = || self.standing.is_from_before(&Standing::Fire { input: route.name.clone() });
        if let Some(active) = fire.filter(|active| *active != route.fire || (!active && from_before())) {
            route.fire = active;
            let input = route.name.clone();
            let body = if active { EventBody::FireActivated { input } } else { EventBody::FireCleared { input } };
            self.record(now, body, step);
        }
        for (ix, input) in told {
            self.tell(now, ix, input, step);
        }
    }

    fn board_up(&mut self, now: Now, board: BoardIx, step: &mut Step) {
        let Some(routes) = self.routes.board(board) else { return };
        let was = routes.up.replace(true);
        let locks: Vec<DoorIx> = routes.locks.iter().flatten().copied().collect();
        let (id, readers, of_reader) = (routes.id.clone(), routes.readers.clone(), routes.of_reader);
        // That a reader is there, it says itself.
        if !of_reader {
            if was != Some(true) {
                changed(step, Thing::Board(board));
            }
            let from_before = was.is_none() && self.standing.is_from_before(&Standing::BoardLost { board: id.clone() });
            if was == Some(false) || from_before {
                self.record(now, EventBody::BoardRestored { board: id }, step);
            }
        }
        for reader in readers {
            self.reader(now, reader, None, step);
        }
        for ix in locks {
            self.tell(now, ix, DoorInput::LockBoard(true), step);
        }
    }

    fn board_lost(&mut self, now: Now, board: BoardIx, detail: &str, step: &mut Step) {
        let Some(routes) = self.routes.board(board) else { return };
        if routes.up.replace(false) == Some(false) {
            return;
        }
        let (id, readers, of_reader) = (routes.id.clone(), routes.readers.clone(), routes.of_reader);
        let mut told: Vec<(DoorIx, DoorInput)> =
            routes.locks.iter().flatten().map(|ix| (*ix, DoorInput::LockBoard(false))).collect();
        told.extend(routes.inputs.iter().flat_map(|input| &input.roles).filter_map(|(ix, role)| match role {
            Role::Contact => Some((*ix, DoorInput::Contact(ContactState::Unknown))),
            Role::Rex => Some((*ix, DoorInput::Rex(false))),
            Role::Fire => None,
        }));
        if !of_reader {
            changed(step, Thing::Board(board));
            self.record(now, EventBody::BoardLost { board: id.clone(), detail: detail.to_owned() }, step);
        }
        for reader in readers {
            self.reader(now, reader, Some(&format!("its board {id} is lost: {detail}")), step);
        }
        for (ix, input) in told {
            self.tell(now, ix, input, step);
        }
    }

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

    fn watch_clock(&mut self, now: Now, step: &mut Step) {
        let before = std::mem::replace(&mut self.last, now);
        let expected = before.wall + now.mono.since(before.mono);
        let off = now.wall.since(expected).max(expected.since(now.wall));
        if now.trust != before.trust || off >= CLOCK_STEP {
            self.tell_machines(now, Happening::Clock, step);
        }
    }

    /// Each door that is due is told once; one that is due again at once stays due for the next call.
    fn let_time_pass(&mut self, now: Now, step: &mut Step) {
        let due: Vec<DoorIx> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, door)| *door).collect();
        for door in due {
            self.tell(now, door, DoorInput::Timeout, step);
        }
        if self.machines.iter().any(|machine| machine.next_deadline().is_some_and(|due| due <= now.mono)) {
            self.tell_machines(now, Happening::Timeout, step);
        }
        step.commit.writes.extend(self.locks.advance(now.mono).into_iter().map(LedgerWrite::Unkept));
        if self.floods.next_deadline().is_some_and(|due| due <= now.mono) {
            self.tell_of_floods(now, step);
        }
    }

    // ---- the machines beside the doors ----

    fn tell_machines(&mut self, now: Now, happening: Happening<'_>, step: &mut Step) {
        let cabs_deny: Vec<_> = self.machines.iter().flat_map(|machine| machine.cabs_deny()).collect();
        let view = View {
            locks: &self.locks,
            cabs_deny: &cabs_deny,
            permissions: &self.permissions,
            topology: &self.topology,
            cloud: &self.cloud,
            credential_key: &self.credential_key,
            emergencies: &self.emergencies,
            depth: step.depth,
            statuses: &self.statuses,
            doors: &self.doors,
        };
        let mut deeds = Deeds::default();
        for machine in &mut self.machines {
            machine.handle(now, &view, happening, &mut deeds);
        }
        let depth = step.depth.saturating_add(1);
        step.deeds.extend(deeds.0.into_iter().map(|deed| (depth, deed)));
    }

    /// Deeds lead to events, which lead to deeds: until none is left.
    fn carry_out(&mut self, now: Now, step: &mut Step) {
        let mut done = 0;
        loop {
            let Some((depth, deed)) = step.deeds.pop_front() else {
                step.depth = 0;
                self.tell_machines(now, Happening::Settled, step);
                if step.deeds.is_empty() {
                    return;
                }
                continue;
            };
            done += 1;
            if done > DEEDS_MAX {
                // A set with a loop is refused when it is loaded; this is what must not happen all the same.
                step.deeds.clear();
                let what = format!("more than {DEEDS_MAX} consequences of one input: the rest was not carried out");
                return self.commit_event(now, EventBody::SystemChainBroken { detail: what }, step);
            }
            step.depth = depth;
            match deed {
                Deed::Door(door, input) => self.tell(now, door, input, step),
                Deed::Ride(cab, ride) => self.tell_machines(now, Happening::Ride(cab, &ride), step),
                Deed::WrongPin(wrong) => self.wrong_pin(now, *wrong, step),
                Deed::RightPin(of) => {
                    step.commit.writes.extend(self.locks.right(&of).map(LedgerWrite::Unkept));
                }
                Deed::EmergencyUsed(used) => self.emergency_used(now, used, step),
                Deed::Event(body) => self.record(now, body, step),
                Deed::Order(order) => self.order(now, order, step),
                Deed::Alarm(source, text) => {
                    self.tell_machines(now, Happening::Alarm(&source, text.as_deref()), step);
                }
                Deed::Report(ticket, progress) => self.report(now, ticket, progress, step),
                Deed::FloorReport { floor_group, ticket, progress, held } => {
                    self.hear(now, Place::FloorGroup(floor_group), ticket, progress, held, step);
                }
                Deed::Held(ticket, progress) => self.report_held(now, ticket, progress, step),
                Deed::Keep(kept) => step.commit.writes.push(LedgerWrite::Kept(kept)),
                Deed::KeepFirst(kept) => {
                    // Above what an earlier loop of this process may have waited for.
                    self.fence = Fence(now.mono.as_nanos().max(self.fence.0 + 1));
                    self.awaited.push_back((self.fence, kept.key()));
                    step.commit.writes.push(LedgerWrite::Kept(kept));
                    step.commit.held.push(Effect::Fence(self.fence));
                }
                Deed::Unkeep(key) => step.commit.writes.push(LedgerWrite::Unkept(key)),
                Deed::KeepAll(all) => step.commit.writes.extend(all.into_iter().map(LedgerWrite::Kept)),
                Deed::UnkeepAll(keys) => step.commit.writes.extend(keys.into_iter().map(LedgerWrite::Unkept)),
                Deed::Asked(reader, lacks) => self.tell_machines(now, Happening::Asked(reader, lacks), step),
                Deed::Changed(thing) => changed(step, thing),
                Deed::Answer(number, answer) => step.answers.push((number, answer)),
            }
        }
    }

    fn wrong_pin(&mut self, now: Now, wrong: WrongPin, step: &mut Step) {
        let WrongPin { of, door, floor_group, cabinet, reader, tries, lockout_s } = wrong;
        let counted = self.locks.wrong(of.clone(), now, tries, lockout_s);
        step.commit.writes.push(LedgerWrite::Kept(counted.kept));
        step.commit.writes.extend(counted.unkept.map(LedgerWrite::Unkept));
        let Some(reader) = reader.filter(|_| counted.locked) else { return };
        let (person, emergency_card) = match of {
            PinOwner::Person(person) => (Some(person), None),
            PinOwner::EmergencyCard(card) => (None, Some(card)),
            PinOwner::Reader(_) => (None, None),
        };
        let wrong = counted.count;
        let locked = EventBody::AccessPinLockedOut {
            door,
            floor_group,
            cabinet,
            reader,
            person,
            emergency_card,
            wrong,
            lockout_s,
        };
        self.record(now, locked, step);
    }

    fn gather_desired(&mut self, now: Now) {
        self.desired.truncate(self.doors.len());
        for machine in &self.machines {
            machine.desired(now.mono, &mut self.desired);
        }
    }

    // ---- effects ----

    fn tell(&mut self, now: Now, ix: DoorIx, input: DoorInput, step: &mut Step) {
        let Some(slot) = self.doors.get_mut(ix.index()) else { return };
        let effects = slot.door.handle(now, input);
        self.absorb(now, ix, effects, step);
    }

    fn absorb(&mut self, now: Now, ix: DoorIx, effects: Effects, step: &mut Step) {
        for body in effects.events {
            self.record(now, body, step);
        }
        let Some(slot) = self.doors.get_mut(ix.index()) else { return };
        if let Some(state) = effects.durable {
            step.commit.writes.push(LedgerWrite::Door { door: slot.door.config().id.clone(), state });
        }
        let status = slot.door.status();
        let deadline = slot.door.next_deadline();
        if let Some(before) = std::mem::replace(&mut slot.deadline, deadline) {
            self.deadlines.remove(&(before, ix));
        }
        self.deadlines.extend(deadline.map(|at| (at, ix)));
        if let Some(desired) = self.desired.get_mut(ix.index()) {
            *desired = slot.door.desired(now.mono);
        }
        if let Some(known) = self.statuses.get_mut(ix.index())
            && *known != status
        {
            *known = status;
            changed(step, Thing::Door(ix));
            self.tell_machines(now, Happening::Door(ix), step);
        }
        for (ticket, progress) in effects.reports {
            self.hear(now, Place::Door(ix), ticket, progress, false, step);
        }
        for (ticket, progress) in effects.held {
            self.hear(now, Place::Door(ix), ticket, progress, true, step);
        }
        if let Some(closed) = effects.closed {
            self.tell_machines(now, Happening::Closed(ix, closed.command), step);
            step.closed.push((ix, closed));
        }
    }

    fn with_delays(&self, status: &DoorStatus) -> DoorStatus {
        let delays = self.machines.iter().flat_map(|machine| machine.delays_at(&status.door));
        status.clone().with_delays(delays.collect())
    }

    /// To the desk, or to the machine whose own order it was.
    fn report(&mut self, now: Now, ticket: Ticket, progress: Progress, step: &mut Step) {
        let progress = match progress {
            Progress::Reported(status) => Progress::Reported(Box::new(self.with_delays(&status))),
            other => other,
        };
        if ticket.is_own() {
            self.tell_machines(now, Happening::Progress(ticket, &progress), step);
        } else {
            step.reports.push(report(now, ticket, progress));
        }
    }

    /// The same, after what this step writes is durable. A machine is told at once: nobody sees what it makes
    /// of it before the same commit is on the disk.
    fn report_held(&mut self, now: Now, ticket: Ticket, progress: Progress, step: &mut Step) {
        if ticket.is_own() {
            self.tell_machines(now, Happening::Progress(ticket, &progress), step);
        } else {
            step.commit.held.push(Effect::Report(report(now, ticket, progress)));
        }
    }

    /// An event, and whatever follows from it.
    fn record(&mut self, now: Now, body: EventBody, step: &mut Step) {
        let change = self.standing.note(&body);
        step.commit.writes.extend(change.kept.map(LedgerWrite::Kept));
        step.commit.writes.extend(change.unkept.iter().map(|what| LedgerWrite::Unkept(what.key())));
        if !change.known {
            self.tell_machines(now, Happening::Event(&body), step);
        }
        if self.floods.admit(now.mono, &body) {
            self.commit_event(now, body, step);
        } else {
            self.tell_of_floods(now, step);
        }
    }

    fn tell_of_floods(&mut self, now: Now, step: &mut Step) {
        for body in self.floods.due(now.mono) {
            self.commit_event(now, body, step);
        }
    }

    fn commit_event(&self, now: Now, body: EventBody, step: &mut Step) {
        let version = self.permissions.version();
        let (epoch, generation) = (version.epoch, version.generation);
        step.commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
    }
}

fn changed(step: &mut Step, thing: Thing) {
    if !step.changed.contains(&thing) {
        step.changed.push(thing);
    }
}

fn report(now: Now, ticket: Ticket, progress: Progress) -> OrderReport {
    OrderReport { ticket, at: now.wall, progress }
}

//! The door controller: all doors and readers of the node, sans-IO. Owns the routing between boards,
//! readers, permissions and doors; must never wait for anything (no disk, no cloud) nor do work that
//! grows with the number of doors that an input does not concern. Invariant: every input yields one
//! [`Step`], and [`Controller::desired`] is complete and current when it returns.

mod card;
mod routes;
mod step;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::routes::{Role, Routes};
pub use self::step::Step;
use crate::{
    domain::{
        door::{ContactState, Door, DoorConfig, DoorInput, DoorStatus, DurableDoor, Effects, OrderEnd},
        event::{Event, EventBody, Refusal},
        fieldbus::{BoardConfig, BusReport, CardRead},
        ids::{BoardIx, BusIx, DoorIx, Id, InputRef, ReaderIx},
        order::{Order, OrderReport, Progress},
        outputs::{Desired, Ticket},
        permission::Permissions,
        time::{Mono, Now},
    },
    gateway::step::{Effect, LedgerWrite},
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
    Order(Order),
    /// A new permission set: the next card is decided by it, what was granted stays granted.
    Permissions(Arc<Permissions>),
    /// [`Controller::next_deadline`] has come.
    Timeout,
    /// Every door to its safe state; from here on nothing is commanded.
    Stop,
}

/// A reader and where its cards come from.
#[derive(Clone, Debug)]
pub struct ReaderBinding {
    pub id: Id,
    pub reader: ReaderIx,
    pub door: DoorIx,
    /// Board and position of the card block, unless the reader has a line of its own.
    pub card_block: Option<(BoardIx, u16)>,
}

#[derive(Debug)]
struct DoorSlot {
    door: Door,
    /// As named in the last step that changed it.
    status: DoorStatus,
    deadline: Option<Mono>,
}

#[derive(Debug)]
struct ReaderSlot {
    binding: ReaderBinding,
    lost: bool,
}

pub struct Controller {
    doors: Vec<DoorSlot>,
    /// Indexed by [`DoorIx`], one for each lock.
    desired: Vec<Desired>,
    deadlines: BTreeSet<(Mono, DoorIx)>,
    readers: Vec<ReaderSlot>,
    routes: Routes,
    credential_key: CredentialKey,
    permissions: Arc<Permissions>,
    stopping: bool,
}

impl Controller {
    /// `doors`, `readers` and `boards` in the order of their indices. The step names every door.
    pub fn new(
        doors: Vec<DoorConfig>,
        readers: Vec<ReaderBinding>,
        boards: &[BoardConfig],
        credential_key: CredentialKey,
        permissions: Arc<Permissions>,
        mut restored: BTreeMap<Id, DurableDoor>,
        now: Now,
    ) -> (Controller, Step) {
        let mut step = Step::default();
        let mut controller = Controller {
            doors: Vec::with_capacity(doors.len()),
            desired: Vec::with_capacity(doors.len()),
            deadlines: BTreeSet::new(),
            routes: Routes::new(&doors, &readers, boards),
            readers: readers.into_iter().map(|binding| ReaderSlot { binding, lost: false }).collect(),
            credential_key,
            permissions,
            stopping: false,
        };
        for (ix, config) in (0..).map(DoorIx).zip(doors) {
            let durable = restored.remove(&config.id).unwrap_or_default();
            let (door, effects) = Door::new(config, durable, now);
            controller.desired.push(door.desired(now.mono));
            controller.doors.push(DoorSlot { status: door.status(), door, deadline: None });
            step.changed.push(ix);
            controller.absorb(now, ix, effects, &mut step);
        }
        (controller, step)
    }

    pub fn handle(&mut self, now: Now, input: Input) -> Step {
        let mut step = Step::default();
        match input {
            Input::Bus(_, report) => self.hear_bus(now, report, &mut step),
            Input::Card(read) => self.read_card(now, read, &mut step),
            Input::ReaderLost(reader, detail) => self.reader(now, reader, Some(&detail), &mut step),
            Input::ReaderRestored(reader) => self.reader(now, reader, None, &mut step),
            Input::Order(order) => self.order(now, order, &mut step),
            Input::Permissions(permissions) => self.permissions = permissions,
            Input::Timeout => {}
            Input::Stop => {
                self.stopping = true;
                for ix in (0..).map(DoorIx).take(self.doors.len()) {
                    self.tell(now, ix, DoorInput::Stop, &mut step);
                }
            }
        }
        self.let_time_pass(now, &mut step);
        step
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What every lock is to be, in the order of the doors.
    pub fn desired(&self) -> &[Desired] {
        &self.desired
    }

    /// After [`Input::Stop`]: every door's safe state has been read back.
    pub fn stopped(&self) -> bool {
        self.not_stopped().next().is_none()
    }

    /// The doors whose safe state has not been confirmed, for whoever waits for [`Controller::stopped`].
    pub fn not_stopped(&self) -> impl Iterator<Item = &Id> {
        self.doors.iter().filter(|slot| !slot.door.stopped()).map(|slot| &slot.door.config().id)
    }

    pub fn statuses(&self) -> impl Iterator<Item = &DoorStatus> {
        self.doors.iter().map(|slot| &slot.status)
    }

    pub fn status(&self, door: DoorIx) -> Option<&DoorStatus> {
        self.doors.get(door.index()).map(|slot| &slot.status)
    }

    // ---- inputs ----

    fn hear_bus(&mut self, now: Now, report: BusReport, step: &mut Step) {
        let ended = |ticket, end| DoorInput::OrderEnded { ticket, end };
        let (output, input) = match report {
            BusReport::BoardUp { board } => return self.board_up(now, board, step),
            BusReport::BoardLost { board, detail } => return self.board_lost(now, board, &detail, step),
            BusReport::Input { input, energised } => return self.sense(now, input, energised, step),
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

    fn sense(&mut self, now: Now, input: InputRef, energised: bool, step: &mut Step) {
        let Some(route) = self.routes.input(input) else { return };
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
        if let Some(active) = fire.filter(|active| *active != route.fire) {
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
        let (id, readers) = (routes.id.clone(), routes.readers.clone());
        if was == Some(false) {
            self.record(now, EventBody::BoardRestored { board: id }, step);
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
        let (id, readers) = (routes.id.clone(), routes.readers.clone());
        let mut told: Vec<(DoorIx, DoorInput)> =
            routes.locks.iter().flatten().map(|ix| (*ix, DoorInput::LockBoard(false))).collect();
        told.extend(routes.inputs.iter().flat_map(|input| &input.roles).filter_map(|(ix, role)| match role {
            Role::Contact => Some((*ix, DoorInput::Contact(ContactState::Unknown))),
            Role::Rex => Some((*ix, DoorInput::Rex(false))),
            Role::Fire => None,
        }));
        self.record(now, EventBody::BoardLost { board: id.clone(), detail: detail.to_owned() }, step);
        for reader in readers {
            self.reader(now, reader, Some(&format!("its board {id} is lost: {detail}")), step);
        }
        for (ix, input) in told {
            self.tell(now, ix, input, step);
        }
    }

    fn reader(&mut self, now: Now, reader: ReaderIx, lost: Option<&str>, step: &mut Step) {
        let Some(slot) = self.readers.get_mut(reader.index()) else { return };
        if std::mem::replace(&mut slot.lost, lost.is_some()) == lost.is_some() {
            return;
        }
        let reader = slot.binding.id.clone();
        let body = match lost {
            Some(detail) => EventBody::ReaderLost { reader, detail: detail.to_owned() },
            None => EventBody::ReaderRestored { reader },
        };
        self.record(now, body, step);
    }

    fn order(&mut self, now: Now, order: Order, step: &mut Step) {
        let (ticket, door) = (order.ticket, order.door);
        if self.doors.get(door.index()).is_some() {
            self.tell(now, door, DoorInput::Order(order), step);
        } else {
            let progress = Progress::Refused(Refusal::UnknownTarget, "the node has no such door".to_owned());
            step.reports.push(report(now, ticket, progress));
        }
    }

    /// Each door that is due is told once; one that is due again at once stays due for the next call.
    fn let_time_pass(&mut self, now: Now, step: &mut Step) {
        let due: Vec<DoorIx> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, door)| *door).collect();
        for door in due {
            self.tell(now, door, DoorInput::Timeout, step);
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
        step.reports.extend(effects.reports.into_iter().map(|(ticket, progress)| report(now, ticket, progress)));
        for (ticket, progress) in effects.held {
            step.commit.held.push(Effect::Report(report(now, ticket, progress)));
        }
        let status = slot.door.status();
        if status != slot.status {
            slot.status = status;
            if !step.changed.contains(&ix) {
                step.changed.push(ix);
            }
        }
        let deadline = slot.door.next_deadline();
        if let Some(before) = std::mem::replace(&mut slot.deadline, deadline) {
            self.deadlines.remove(&(before, ix));
        }
        self.deadlines.extend(deadline.map(|at| (at, ix)));
        if let Some(desired) = self.desired.get_mut(ix.index()) {
            *desired = slot.door.desired(now.mono);
        }
    }

    fn record(&self, now: Now, body: EventBody, step: &mut Step) {
        let version = self.permissions.version();
        let (epoch, generation) = (version.epoch, version.generation);
        step.commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
    }
}

fn report(now: Now, ticket: Ticket, progress: Progress) -> OrderReport {
    OrderReport { ticket, at: now.wall, progress }
}

//! What comes from the field: boards that come and go, their inputs and supervised lines, relays read back. Owns who is
//! told of it, by the routes; must never decide what a door makes of it. Invariant: what is not known any more is not
//! told as it was: of a faulty line or a lost board a contact is unknown and an exit button not pressed, and behind a
//! faulty line it burns.

use super::{Controller, Step, machine::Happening, routes::Role};
use crate::domain::{
    door::{ContactState, DoorInput, OrderEnd},
    event::EventBody,
    fieldbus::{BusReport, CardRead, LineTrouble},
    ids::{BoardIx, DoorIx, Id, InputRef},
    kept::Standing,
    status::Thing,
    time::Now,
};

impl Controller {
    pub(super) fn hear_bus(&mut self, now: Now, report: BusReport, step: &mut Step) {
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
                    self.read_card(now, CardRead::bits(reader, card), step);
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
    pub(super) fn read_card(&mut self, now: Now, read: CardRead, step: &mut Step) {
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
                step.name(Thing::Board(board));
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
            step.name(Thing::Board(board));
            self.record(now, EventBody::BoardLost { board: id.clone(), detail: detail.to_owned() }, step);
        }
        for reader in readers {
            self.reader(now, reader, Some(&format!("its board {id} is lost: {detail}")), step);
        }
        for (ix, input) in told {
            self.tell(now, ix, input, step);
        }
    }
}

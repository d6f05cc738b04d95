//! The building: boards on their wires, doors that swing, people who push them. Owns the truth about
//! relays and contacts; must never open a door against its lock, unless somebody forces it.

use std::time::Duration;

use latchd::{
    domain::{
        fieldbus::RawCard,
        ids::{BoardIx, InputRef},
        outputs::Level,
    },
    gateway::fieldbus::{BusFault, Request},
};

use super::{
    What, World,
    board::Board,
    node::NodeEvent,
    site::{FIRE, Site},
};

/// What becomes of one frame and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    /// The board acts, the answer is lost or cannot be used.
    AnswerLost,
    Garbled,
}

/// A request on its way to a board.
pub struct WireRequest {
    pub run: u64,
    pub bus: usize,
    pub transaction: u64,
    pub board: usize,
    pub request: Request,
    pub fate: Fate,
    pub back: Duration,
    /// When the asker gives up.
    pub gives_up: latchd::domain::time::Mono,
}

#[derive(Clone, Copy, Debug)]
pub enum FieldEvent {
    /// Somebody pushes this door, if it is unlocked by then.
    Push(usize),
    Shut(usize),
    Rex(usize, bool),
    Fire(usize, bool),
    Tamper(bool),
    /// A card or a key.
    Read(usize, RawCard),
    /// Somebody presses the button of this floor.
    Choose(u16, bool),
    /// The key of this compartment is taken out or put in.
    Key(usize),
}

pub struct Field {
    pub boards: Vec<Board>,
    /// By bus: nothing gets through.
    pub lines_down: Vec<bool>,
    open: Vec<bool>,
    /// A push is on its way.
    pushed: Vec<bool>,
}

impl Field {
    pub fn new(site: &Site) -> Field {
        let mut boards: Vec<Board> = site.boards.iter().map(Board::new).collect();
        for door in &site.doors {
            if let Some(contact) = door.contact {
                boards[contact.input.board.index()].inputs[usize::from(contact.input.input)] = contact.closed_value;
            }
            if let Some(rex) = door.rex {
                boards[rex.input.board.index()].inputs[usize::from(rex.input.input)] = !rex.active_value;
            }
        }
        let doors = site.doors.len();
        Field {
            boards,
            lines_down: vec![false; site.buses.len()],
            open: vec![false; doors],
            pushed: vec![false; doors],
        }
    }
}

impl World {
    /// Whether the relay, as it really is, lets people through.
    pub(super) fn is_unlocked(&self, door: usize) -> bool {
        let config = &self.site.doors[door];
        let energised = self.field.boards[config.lock.board.index()].coils[usize::from(config.lock.output)];
        Level::from_energised(energised) == config.unlocked_level
    }

    pub(super) fn serve(&mut self, wire: WireRequest) {
        let WireRequest { run, bus, transaction, board, request, fate, back, gives_up } = wire;
        let answer = |result| What::Node(run, NodeEvent::BusAnswer { bus, transaction, result });
        let unlocked: Vec<bool> = (0..self.site.doors.len()).map(|door| self.is_unlocked(door)).collect();
        let Some(target) = self.field.boards.get_mut(board).filter(|board| board.powered && !board.silent) else {
            return self.post_at(gives_up, answer(Err(BusFault::Timeout)));
        };
        let result = target.serve(&request).map_err(BusFault::Exception);
        for (door, before) in unlocked.into_iter().enumerate() {
            if self.is_unlocked(door) != before {
                self.lock_moved(door, !before);
            }
        }
        let at = self.now + back;
        match fate {
            Fate::Arrives if at < gives_up => self.post_at(at, answer(result)),
            Fate::Garbled if at < gives_up => self.post_at(at, answer(Err(BusFault::Garbage("noise".to_owned())))),
            _ => self.post_at(gives_up.max(self.now), answer(Err(BusFault::Timeout))),
        }
    }

    pub(super) fn lock_moved(&mut self, door: usize, unlocked: bool) {
        let id = self.site.doors[door].id.clone();
        self.line(format_args!("lock {id} {}", if unlocked { "unlocked" } else { "locked" }));
        self.count(if unlocked { "unlocked" } else { "locked" });
        if unlocked && !self.field.pushed[door] && !self.healing && self.rng.permille(700) {
            self.field.pushed[door] = true;
            let after = self.rng.millis(50, 3_500);
            self.post(after, What::Field(FieldEvent::Push(door)));
        }
    }

    pub(super) fn cut_power(&mut self, board: usize) {
        let unlocked: Vec<bool> = (0..self.site.doors.len()).map(|door| self.is_unlocked(door)).collect();
        self.field.boards[board].lose_power();
        for (door, before) in unlocked.into_iter().enumerate() {
            if self.is_unlocked(door) != before {
                self.lock_moved(door, !before);
            }
        }
    }

    pub(super) fn field_event(&mut self, event: FieldEvent) {
        self.line(format_args!("field {event:?}"));
        match event {
            FieldEvent::Push(door) => {
                self.field.pushed[door] = false;
                if self.is_unlocked(door) {
                    self.swing(door);
                }
            }
            FieldEvent::Shut(door) => self.set_contact(door, false),
            FieldEvent::Rex(door, active) => {
                if let Some(rex) = self.site.doors[door].rex {
                    let value = if active { rex.active_value } else { !rex.active_value };
                    self.field.boards[rex.input.board.index()].inputs[usize::from(rex.input.input)] = value;
                }
            }
            FieldEvent::Tamper(active) => {
                let InputRef { board, input } = self.site.field.inputs[0].input;
                self.field.boards[board.index()].inputs[usize::from(input)] = active;
            }
            FieldEvent::Read(reader, card) => self.present(reader, card),
            FieldEvent::Choose(floor, pressed) => {
                if let Some(selected) = self.site.lift().floors[usize::from(floor)].selected {
                    let InputRef { board, input } = selected.input;
                    self.field.boards[board.index()].inputs[usize::from(input)] = pressed == selected.active_value;
                }
            }
            FieldEvent::Key(compartment) => {
                if let Some(InputRef { board, input }) =
                    self.site.compartments().nth(compartment).map(|compartment| compartment.occupied.input)
                {
                    let there = &mut self.field.boards[board.index()].inputs[usize::from(input)];
                    *there = !*there;
                }
            }
            FieldEvent::Fire(board, active) => self.field.boards[board].inputs[usize::from(FIRE)] = active,
        }
    }

    /// Opens now and falls shut after a while, now and then too late.
    pub(super) fn swing(&mut self, door: usize) {
        if self.field.open[door] {
            return;
        }
        self.set_contact(door, true);
        let compartment = self.site.compartments().position(|compartment| compartment.door.index() == door);
        if let Some(compartment) = compartment.filter(|_| self.rng.permille(700)) {
            let after = self.rng.millis(50, 900);
            self.post(after, What::Field(FieldEvent::Key(compartment)));
        }
        let held = self.rng.permille(100);
        let open_for = if held { self.rng.millis(6_000, 14_000) } else { self.rng.millis(300, 4_000) };
        self.post(open_for, What::Field(FieldEvent::Shut(door)));
    }

    fn set_contact(&mut self, door: usize, open: bool) {
        self.field.open[door] = open;
        if let Some(contact) = self.site.doors[door].contact {
            let value = if open { !contact.closed_value } else { contact.closed_value };
            self.field.boards[contact.input.board.index()].inputs[usize::from(contact.input.input)] = value;
        }
    }

    pub(super) fn present(&mut self, reader: usize, card: RawCard) {
        self.line(format_args!("card {:x} at reader {reader}", card.value));
        self.count("cards");
        let binding = &self.site.readers[reader];
        match binding.card_block {
            Some((BoardIx(board), block)) => self.field.boards[usize::from(board)].present(block, card),
            None if self.node.is_some() => {
                let from = binding.reader;
                self.send_node(super::Lane::BusToDoors(usize::MAX), NodeEvent::Card(from, card));
            }
            None => {}
        }
    }
}

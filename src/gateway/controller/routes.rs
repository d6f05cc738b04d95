//! Which point of which board belongs to which door or reader. Built once from the configuration; must
//! never be searched, only indexed. Invariant: a lookup costs the same at one door and at a thousand.

use super::ReaderBinding;
use crate::domain::{
    door::DoorConfig,
    fieldbus::{BoardConfig, ReaderPoints},
    ids::{BoardIx, DoorIx, Id, InputRef, OutputRef, ReaderIx},
};

#[derive(Debug)]
pub(super) struct Routes {
    /// The boards, then the readers that have points.
    boards: Vec<BoardRoutes>,
    real: usize,
}

#[derive(Debug)]
pub(super) struct BoardRoutes {
    pub id: Id,
    /// A reader's points: it is no thing of its own.
    pub of_reader: bool,
    /// `None` until the bus has said either.
    pub up: Option<bool>,
    pub readers: Vec<ReaderIx>,
    pub inputs: Vec<InputRoute>,
    pub locks: Vec<Option<DoorIx>>,
    blocks: Vec<Option<ReaderIx>>,
}

#[derive(Debug)]
pub(super) struct InputRoute {
    /// `BOARD/NAME`, as in the configuration.
    pub name: String,
    /// Of the board's profile.
    pub point: Id,
    /// A supervised line that said neither on nor off when last heard of.
    pub troubled: bool,
    pub roles: Vec<(DoorIx, Role)>,
    /// Of an input that is someone's fire input: whether it was active when last seen.
    pub fire: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Contact,
    Rex,
    Fire,
}

impl Routes {
    pub fn new(doors: &[DoorConfig], readers: &[ReaderBinding], boards: &[BoardConfig]) -> Routes {
        let mut routes = Routes { boards: boards.iter().map(BoardRoutes::new).collect(), real: boards.len() };
        for reader in readers {
            // Their numbers go on where those of the boards end.
            if let Some(points) = reader.points.filter(|points| points.board.index() == routes.boards.len()) {
                routes.boards.push(BoardRoutes::of_reader(&reader.id, &points));
            }
        }
        for (door, config) in (0..).map(DoorIx).zip(doors) {
            if let Some(slot) = routes.lock_slot(config.lock) {
                *slot = Some(door);
            }
            let contact = config.contact.map(|contact| (contact.input, Role::Contact));
            let rex = config.rex.map(|rex| (rex.input, Role::Rex));
            let fire = config.fire.map(|fire| (fire.input, Role::Fire));
            for (input, role) in [contact, rex, fire].into_iter().flatten() {
                if let Some(route) = routes.input(input) {
                    route.roles.push((door, role));
                }
            }
        }
        for reader in readers {
            let Some((board, block)) = reader.card_block else { continue };
            let Some(board) = routes.boards.get_mut(board.index()) else { continue };
            board.readers.push(reader.reader);
            if let Some(slot) = board.blocks.get_mut(usize::from(block)) {
                *slot = Some(reader.reader);
            }
        }
        routes
    }

    pub fn board(&mut self, board: BoardIx) -> Option<&mut BoardRoutes> {
        self.boards.get_mut(board.index())
    }

    pub fn board_at(&self, board: BoardIx) -> Option<&BoardRoutes> {
        self.boards.get(board.index())
    }

    /// How many are boards.
    pub fn boards(&self) -> usize {
        self.real
    }

    pub fn input(&mut self, input: InputRef) -> Option<&mut InputRoute> {
        self.board(input.board)?.inputs.get_mut(usize::from(input.input))
    }

    /// The board's, and the point's.
    pub fn names(&self, input: InputRef) -> Option<(Id, Id)> {
        let board = self.boards.get(input.board.index())?;
        Some((board.id.clone(), board.inputs.get(usize::from(input.input))?.point.clone()))
    }

    pub fn lock(&self, output: OutputRef) -> Option<DoorIx> {
        self.boards.get(output.board.index())?.locks.get(usize::from(output.output)).copied().flatten()
    }

    pub fn reader(&self, board: BoardIx, block: u16) -> Option<ReaderIx> {
        self.boards.get(board.index())?.blocks.get(usize::from(block)).copied().flatten()
    }

    fn lock_slot(&mut self, output: OutputRef) -> Option<&mut Option<DoorIx>> {
        self.board(output.board)?.locks.get_mut(usize::from(output.output))
    }
}

impl BoardRoutes {
    fn new(board: &BoardConfig) -> BoardRoutes {
        let inputs = board.profile.inputs.iter().map(|point| &point.name);
        BoardRoutes {
            blocks: vec![None; board.profile.card_blocks.len()],
            ..BoardRoutes::of(&board.id, inputs, board.profile.outputs.len())
        }
    }

    fn of_reader(id: &Id, points: &ReaderPoints) -> BoardRoutes {
        let routes = BoardRoutes::of(id, points.input_names().iter(), usize::from(points.outputs));
        BoardRoutes { of_reader: true, ..routes }
    }

    fn of<'a>(id: &Id, inputs: impl Iterator<Item = &'a Id>, outputs: usize) -> BoardRoutes {
        let input = |name: &Id| InputRoute {
            name: format!("{id}/{name}"),
            point: name.clone(),
            troubled: false,
            roles: Vec::new(),
            fire: false,
        };
        BoardRoutes {
            id: id.clone(),
            of_reader: false,
            up: None,
            readers: Vec::new(),
            inputs: inputs.map(input).collect(),
            locks: vec![None; outputs],
            blocks: Vec::new(),
        }
    }
}

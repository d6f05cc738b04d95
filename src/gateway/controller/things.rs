//! What of the node has a state, and which. Owns the list and how it is put together from doors, readers, boards and
//! machines; must never change anything. Invariant: every thing that a step names as changed has a status here.

use super::Controller;
use crate::domain::{
    door::DoorStatus,
    ids::{BoardIx, DoorIx, ReaderIx},
    status::{BoardStatus, Link, ReaderStatus, Status, Thing},
};

impl Controller {
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

    pub(super) fn with_delays(&self, status: &DoorStatus) -> DoorStatus {
        let delays = self.machines.iter().flat_map(|machine| machine.delays_at(&status.door));
        status.clone().with_delays(delays.collect())
    }
}

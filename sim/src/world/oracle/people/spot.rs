//! Where somebody stands: at a door, or in the cab of the elevator. Owns what the two are called in records and in the
//! question to the naive model; must never say what is open there.

use latchd::domain::{
    ids::Id,
    topology::{FloorGroupPlace, ReaderAt},
};

use crate::world::{oracle::reference::Place, site::Site};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Door(usize),
    Cab,
}

impl Spot {
    /// Cabinets have a watch of their own.
    pub fn of(at: ReaderAt) -> Option<Spot> {
        match at {
            ReaderAt::Door(door) => Some(Spot::Door(door.index())),
            ReaderAt::Cab(_) => Some(Spot::Cab),
            ReaderAt::Cabinet(_) => None,
        }
    }

    pub fn id(self, site: &Site) -> &Id {
        match self {
            Spot::Door(door) => &site.doors[door].id,
            Spot::Cab => &site.lift().id,
        }
    }

    pub fn place<'a>(self, site: &'a Site, lift: &'a FloorGroupPlace) -> Place<'a> {
        match self {
            Spot::Door(door) => Place::Door(&site.doors[door].id),
            Spot::Cab => Place::Cab(lift),
        }
    }
}

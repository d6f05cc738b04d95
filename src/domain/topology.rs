//! What the node has, by the names that the installer gave: what records refer to. Owns names and their
//! order; must never hold an address or a level. Invariant: positions are those of the configuration, so a
//! [`DoorIx`](super::ids::DoorIx) means the same door everywhere.

use super::{
    ids::{DoorIx, Id, ReaderIx},
    record::Partition,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// In the order of their [`DoorIx`]. Compartments of key lockers are doors too, after the others.
    pub doors: Vec<Id>,
    /// In the order of their [`ReaderIx`], each with what it is at.
    pub readers: Vec<(Id, ReaderAt)>,
    pub floor_groups: Vec<FloorGroupPlace>,
    /// Which of the doors are compartments.
    pub lockers: Vec<DoorIx>,
    /// Outputs that belong to no door, floor or compartment.
    pub outputs: Vec<Id>,
    /// The others, as `BOARD.OUTPUT` (and under the name of what they serve), with what they belong to in words.
    pub bound_outputs: Vec<(Id, String)>,
    /// Inputs that belong to no door: power, tamper, others.
    pub inputs: Vec<Id>,
    pub boards: Vec<Id>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FloorGroupPlace {
    pub id: Id,
    /// In the order of their relays; at most 128.
    pub floors: Vec<Id>,
}

/// What can be locked down: doors, compartments among them, and elevators by their positions. Each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Premises {
    pub doors: Vec<DoorIx>,
    pub floor_groups: Vec<u16>,
}

impl Premises {
    pub fn of(mut doors: Vec<DoorIx>, mut floor_groups: Vec<u16>) -> Premises {
        doors.sort_unstable();
        doors.dedup();
        floor_groups.sort_unstable();
        floor_groups.dedup();
        Premises { doors, floor_groups }
    }

    pub fn is_empty(&self) -> bool {
        self.doors.is_empty() && self.floor_groups.is_empty()
    }
}

/// What a credential that is presented at a reader is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderAt {
    Door(DoorIx),
    /// Position in [`Topology::floor_groups`].
    Cab(u16),
    /// Position of the cabinet in the configuration: the compartment follows from the contract.
    Cabinet(u16),
}

impl Topology {
    /// A node with nothing but doors.
    pub fn of_doors(doors: &[Id]) -> Topology {
        Topology { doors: doors.to_vec(), ..Topology::default() }
    }

    pub fn door(&self, id: &str) -> Option<DoorIx> {
        position(self.doors.iter(), id).map(DoorIx)
    }

    pub fn reader(&self, id: &str) -> Option<ReaderIx> {
        position(self.readers.iter().map(|(reader, _)| reader), id).map(ReaderIx)
    }

    pub fn floor_group(&self, id: &str) -> Option<u16> {
        position(self.floor_groups.iter().map(|group| &group.id), id)
    }

    /// What the reader at this position is at.
    pub fn reader_at(&self, reader: ReaderIx) -> Option<(&Id, ReaderAt)> {
        self.readers.get(reader.index()).map(|(id, at)| (id, *at))
    }

    /// What this node has of a partition, elevators and lockers included.
    pub fn premises_of(&self, partition: &Partition) -> Premises {
        let doors = partition.doors.iter().chain(&partition.lockers).filter_map(|door| self.door(door));
        let floor_groups = partition.floor_groups.iter().filter_map(|group| self.floor_group(group));
        Premises::of(doors.collect(), floor_groups.collect())
    }

    /// All that this node has.
    pub fn premises(&self) -> Premises {
        let doors = (0..).map(DoorIx).take(self.doors.len()).collect();
        Premises { doors, floor_groups: (0..).take(self.floor_groups.len()).collect() }
    }

    pub fn door_id(&self, door: DoorIx) -> Option<&Id> {
        self.doors.get(door.index())
    }
}

fn position<'a>(mut ids: impl Iterator<Item = &'a Id>, id: &str) -> Option<u16> {
    ids.position(|other| other.as_str() == id).and_then(|at| u16::try_from(at).ok())
}

//! What the node has, by name. Owns nothing but the numbers; must never change while the node runs.
//! Invariant: the number of a thing is its position in the [`Topology`], the same everywhere.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    elevator::FloorSet,
    ids::{DoorIx, Id},
    record::FloorGrant,
    topology::Topology,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Named>);

#[derive(Debug, Default)]
struct Named {
    doors: HashMap<Id, DoorIx>,
    topology: Topology,
}

impl Places {
    pub(super) fn new(topology: &Topology) -> Places {
        let doors = topology.doors.iter().cloned().zip((0..=u16::MAX).map(DoorIx)).collect();
        Places(Arc::new(Named { doors, topology: topology.clone() }))
    }

    pub(super) fn doors(&self) -> usize {
        self.0.topology.doors.len()
    }

    /// The floor group's position, and which of its floors are meant; those of other nodes are passed over.
    pub(super) fn floors(&self, grant: &FloorGrant) -> Option<(u16, FloorSet)> {
        let at = self.0.topology.floor_group(&grant.floor_group)?;
        let known = &self.0.topology.floor_groups.get(usize::from(at))?.floors;
        let floors = match &grant.floors {
            None => FloorSet::all(known.len()),
            Some(named) => named.iter().filter_map(|floor| known.iter().position(|known| known == floor)).collect(),
        };
        Some((at, floors))
    }

    pub(super) fn door(&self, id: &str) -> Option<DoorIx> {
        self.0.doors.get(id).copied()
    }
}

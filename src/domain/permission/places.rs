//! What the node has, by name. Owns nothing but the numbers; must never change while the node runs.
//! Invariant: the number of a thing is its position in the [`Topology`], the same everywhere.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    ids::{DoorIx, Id},
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

    pub(super) fn topology(&self) -> &Topology {
        &self.0.topology
    }

    pub(super) fn doors(&self) -> usize {
        self.0.topology.doors.len()
    }

    pub(super) fn door(&self, id: &str) -> Option<DoorIx> {
        self.0.doors.get(id).copied()
    }
}

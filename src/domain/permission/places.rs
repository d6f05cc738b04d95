//! What the node has, by name. Owns nothing but the numbers; must never change while the node runs.
//! Invariant: the number of a thing is its position in the [`Topology`], the same everywhere.

use std::{collections::HashMap, sync::Arc};

use super::Floors;
use crate::domain::{
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

    pub(super) fn topology(&self) -> &Topology {
        &self.0.topology
    }

    pub(super) fn doors(&self) -> usize {
        self.0.topology.doors.len()
    }

    pub(super) fn floor_groups(&self) -> usize {
        self.0.topology.floor_groups.len()
    }

    /// The floors that a record means: by floor group, each once. What the node does not have is passed over.
    pub(super) fn floors(&self, grants: &[FloorGrant]) -> Vec<(u16, Floors)> {
        let mut found: Vec<(u16, Floors)> = Vec::new();
        for grant in grants {
            let Some(group) = self.0.topology.floor_group(&grant.floor_group) else { continue };
            let floors = match &grant.floors {
                None => self.all_floors(group),
                Some(names) => names.iter().fold(Floors::NONE, |floors, name| floors | self.floor(group, name)),
            };
            match found.iter_mut().find(|(other, _)| *other == group) {
                Some((_, before)) => *before = *before | floors,
                None => found.push((group, floors)),
            }
        }
        found.retain(|(_, floors)| !floors.is_empty());
        found
    }

    fn all_floors(&self, group: u16) -> Floors {
        let floors = self.0.topology.floor_groups.get(usize::from(group)).map_or(0, |group| group.floors.len());
        Floors::first(floors)
    }

    /// Nothing if the group has no such floor.
    pub(super) fn floor(&self, group: u16, name: &str) -> Floors {
        let group = self.0.topology.floor_groups.get(usize::from(group));
        let at = group.and_then(|group| group.floors.iter().position(|floor| floor.as_str() == name));
        at.map_or(Floors::NONE, Floors::only)
    }

    pub(super) fn door(&self, id: &str) -> Option<DoorIx> {
        self.0.doors.get(id).copied()
    }
}

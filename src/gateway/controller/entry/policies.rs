//! Which door policy speaks at which door. Owns the look-up; must never interpret one. Invariant: every door
//! has exactly one: its own, or the defaults.

use std::sync::Arc;

use crate::domain::{
    ids::{DoorIx, Id},
    permission::SiteRecords,
    record::DoorPolicy,
    topology::Topology,
};

#[derive(Debug, Default)]
pub struct Policies {
    all: Vec<Arc<Policy>>,
    /// In the order of the doors.
    of_door: Vec<Arc<Policy>>,
}

#[derive(Debug, Default)]
pub struct Policy {
    /// `None`: the defaults.
    pub id: Option<Id>,
    pub body: DoorPolicy,
    /// Of this node.
    pub doors: Vec<Id>,
}

impl Policies {
    pub fn new(site: &SiteRecords, topology: &Topology) -> Policies {
        let with_ids: Vec<Option<&Id>> =
            topology.doors.iter().map(|door| site.policy_at(door).map(|(id, _)| id)).collect();
        let doors_of = |id: Option<&Id>| {
            let doors = topology.doors.iter().zip(&with_ids);
            doors.filter(|(_, of)| **of == id).map(|(door, _)| door.clone()).collect::<Vec<Id>>()
        };
        let own = site
            .door_policies
            .iter()
            .map(|(id, body)| Arc::new(Policy { id: Some(id.clone()), body: body.clone(), doors: doors_of(Some(id)) }));
        let rest = Arc::new(Policy { doors: doors_of(None), ..Policy::default() });
        let all: Vec<Arc<Policy>> = own.chain([rest]).filter(|policy| !policy.doors.is_empty()).collect();
        let of = |id: &Option<&Id>| all.iter().find(|policy| policy.id.as_ref() == *id).cloned().unwrap_or_default();
        Policies { of_door: with_ids.iter().map(of).collect(), all }
    }

    pub fn at(&self, door: DoorIx) -> Arc<Policy> {
        self.of_door.get(door.index()).cloned().unwrap_or_default()
    }

    /// Those that speak at a door of this node.
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.all
    }
}

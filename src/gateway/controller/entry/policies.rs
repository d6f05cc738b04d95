//! Which door policy speaks at which door and in which cab. Owns the look-up; must never interpret one. Invariant: every door
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
    /// In the order of the floor groups.
    of_cab: Vec<Arc<Policy>>,
}

#[derive(Debug, Default)]
pub struct Policy {
    /// `None`: the defaults.
    pub id: Option<Id>,
    pub body: DoorPolicy,
    /// Doors and floor groups of this node.
    pub doors: Vec<Id>,
}

impl Policies {
    pub fn new(site: &SiteRecords, topology: &Topology) -> Policies {
        let cabs = topology.floor_groups.iter().map(|group| &group.id);
        let places: Vec<&Id> = topology.doors.iter().chain(cabs).collect();
        let with_ids: Vec<Option<&Id>> = places.iter().map(|place| site.policy_at(place).map(|(id, _)| id)).collect();
        let doors_of = |id: Option<&Id>| {
            let all = places.iter().zip(&with_ids);
            all.filter(|(_, of)| **of == id).map(|(place, _)| (*place).clone()).collect::<Vec<Id>>()
        };
        let own = site
            .door_policies
            .iter()
            .map(|(id, body)| Arc::new(Policy { id: Some(id.clone()), body: body.clone(), doors: doors_of(Some(id)) }));
        let rest = Arc::new(Policy { doors: doors_of(None), ..Policy::default() });
        let all: Vec<Arc<Policy>> = own.chain([rest]).filter(|policy| !policy.doors.is_empty()).collect();
        let of = |id: &Option<&Id>| all.iter().find(|policy| policy.id.as_ref() == *id).cloned().unwrap_or_default();
        let mut of_door: Vec<Arc<Policy>> = with_ids.iter().map(of).collect();
        let of_cab = of_door.split_off(topology.doors.len());
        Policies { of_door, of_cab, all }
    }

    pub fn at(&self, door: DoorIx) -> Arc<Policy> {
        self.of_door.get(door.index()).cloned().unwrap_or_default()
    }

    pub fn in_cab(&self, cab: u16) -> Arc<Policy> {
        self.of_cab.get(usize::from(cab)).cloned().unwrap_or_default()
    }

    /// Those that speak at a door of this node.
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.all
    }
}

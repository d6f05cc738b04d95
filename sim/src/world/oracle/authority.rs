//! Operators. Owns whether somebody may have this done, by role and scope as `scope` reads them; must never ask the
//! daemon's. Invariant: what reaches the field for an operator, the operator was allowed to ask for, by the set that the
//! desk held then.

use std::{collections::BTreeSet, sync::Arc};

use latchd::domain::{
    door::DelayAction,
    ids::{DoorIx, Id},
    order::{DoorAction, Task},
    record::{Person, Record},
};

use super::{
    Asked, Invariant, Oracle,
    scope::{self, Own, Records},
};
use crate::world::{set::Generation, site::Site};

fn person<'a>(records: &'a Records, name: &Id) -> Option<&'a Person> {
    records.iter().find_map(|(id, record)| match record {
        Record::Person(body) if id == name => Some(body),
        _ => None,
    })
}

/// Whether somebody, and all that they come to, is this operator's.
fn has_person(records: &Records, own: &Own, name: &Id) -> bool {
    person(records, name).is_some_and(|body| {
        !own.are_others(&body.partitions) && own.covers(&scope::of_person(records, name, &body.groups))
    })
}

impl Asked {
    /// Whether all that it is about is in here.
    pub fn is_within(&self, site: &Site, records: &Records, own: &Own) -> bool {
        if own.everything {
            return true;
        }
        let has_door = |door: &DoorIx| site.doors.get(door.index()).is_some_and(|door| own.has_door(&door.id));
        match &self.task {
            Task::Door(door, _) | Task::CancelDelays { door, .. } => has_door(door),
            Task::VirtualRead { door, person, .. } => has_door(door) && has_person(records, own, person),
            Task::ClearApb { person: None, area: None } => false,
            Task::ClearApb { person, area } => {
                let has_area = |name: &Id| scope::of_area(site, records, name).is_some_and(|area| own.covers(&area));
                person.as_ref().is_none_or(|person| has_person(records, own, person))
                    && area.as_ref().is_none_or(has_area)
            }
            Task::Lockdown { doors, floor_groups, .. } => match self.partition {
                Some(partition) => scope::of_partition(records, partition).is_some_and(|places| own.covers(&places)),
                // With the elevator: the whole node.
                None => floor_groups.is_empty() && doors.iter().all(has_door),
            },
            Task::Floor { floor_group, .. } => own.has_cab(floor_group),
            _ => false,
        }
    }
}

impl Oracle {
    /// The desk judges by this generation, with what stands over it, from now on.
    pub fn desk_holds(&mut self, generation: Option<&Arc<Generation>>) {
        self.desk = generation.cloned();
    }

    pub(super) fn check_authority(&mut self, site: &Site, asked: &Asked, task: &Task) {
        let desk = self.desk.clone();
        let records = scope::records(desk.as_deref());
        let known = scope::operator(records, asked.operator);
        let may = scope::in_office(records, asked.operator)
            .is_some_and(|(known, own)| scope::may(&known.role, asked.cmd) && asked.is_within(site, records, &own));
        if !may {
            let own = known.map(|known| scope::of_operator(records, known));
            let what =
                format!("{} had {task:?} ordered by {}, who is {known:?} with {own:?}", asked.operator, asked.cmd);
            return self.fail(Invariant::Authorised, what);
        }
        let (Task::Lockdown { doors, floor_groups, .. }, Some(partition)) = (task, asked.partition) else { return };
        let places = scope::of_partition(records, partition).unwrap_or_default();
        let due: BTreeSet<usize> =
            (0..site.doors.len()).filter(|at| places.doors.contains(&site.doors[*at].id)).collect();
        let ordered: BTreeSet<usize> = doors.iter().map(|door| door.index()).collect();
        if ordered != due || floor_groups.is_empty() == places.has_cab(&site.lift().id) {
            let what = format!("{task:?} is ordered for partition {partition}, which has {places:?}");
            self.fail(Invariant::Authorised, what);
        }
    }
}

/// What unlocks, or may.
pub fn unlocks(action: DoorAction) -> bool {
    matches!(action, DoorAction::Open | DoorAction::OpenAndClose { .. } | DoorAction::Delayed(DelayAction::Open))
}

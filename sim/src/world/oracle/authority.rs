//! Operators. Owns a table of its own of who may have done what; must never ask the daemon's. Invariant: what
//! reaches the field for an operator, the operator was allowed to ask for, by the set that the desk held then.

use latchd::domain::{
    door::DelayAction,
    ids::Id,
    order::{DoorAction, Task},
    record::{Operator, OperatorStatus, Record},
    topology::ReaderAt,
};

use super::{Invariant, Oracle};
use crate::world::{set::Sets, site::Site};

/// Roles that may have this done at all: the columns of the catalogue, in words.
fn roles(_task: &Task) -> &'static [&'static str] {
    // Everything that moves hardware or shows a door's state is for all but Reporter.
    &["integrator", "admin", "manager"]
}

/// The doors that it is about.
fn doors(site: &Site, records: &[(Id, Record)], task: &Task) -> Vec<Id> {
    let named = |door: latchd::domain::ids::DoorIx| site.doors.get(door.index()).map(|config| config.id.clone());
    match task {
        Task::Door(door, _) | Task::VirtualRead { door, .. } | Task::CancelDelays { door, .. } => {
            named(*door).into_iter().collect()
        }
        // Of an area those of its readers; what a person may pass is for the rules to say.
        Task::ClearApb { area: Some(area), .. } => {
            let readers = records.iter().filter_map(|(id, record)| match record {
                Record::Area(body) if id == area => Some(body.entry_readers.iter().chain(&body.exit_readers)),
                _ => None,
            });
            let readers: Vec<&Id> = readers.flatten().collect();
            let there = site.readers.iter().filter(|reader| readers.contains(&&reader.id));
            there
                .filter_map(|reader| match reader.at {
                    ReaderAt::Door(door) => named(door),
                    _ => None,
                })
                .collect()
        }
        Task::Lockdown { doors, .. } => doors.iter().filter_map(|door| named(*door)).collect(),
        _ => Vec::new(),
    }
}

/// Hardware that belongs to no door: for those who are not limited to doors.
fn belongs_to_no_door(task: &Task) -> bool {
    matches!(
        task,
        Task::Output { .. }
            | Task::Floor { .. }
            | Task::Identify
            | Task::AcknowledgeAlarm { .. }
            | Task::ClearApb { person: None, area: None }
    )
}

fn may(operator: &Operator, site: &Site, records: &[(Id, Record)], task: &Task) -> bool {
    let limited = operator.doors.is_some() || operator.role.as_str() == "manager";
    let assigned = |door: &Id| match &operator.doors {
        Some(doors) => doors.contains(door),
        None => operator.role.as_str() != "manager",
    };
    operator.status == OperatorStatus::Active {}
        && roles(task).contains(&operator.role.as_str())
        && doors(site, records, task).iter().all(assigned)
        && !(limited && (belongs_to_no_door(task) || matches!(task, Task::VirtualRead { .. })))
}

impl Oracle {
    /// The desk judges by this generation from now on.
    pub fn desk_holds(&mut self, generation: u64) {
        self.desk = generation;
    }

    pub(super) fn check_authority(&mut self, site: &Site, sets: &Sets, operator: &str, task: &Task) {
        let records = sets.at(self.desk).map(|generation| generation.records.as_slice()).unwrap_or_default();
        let known = records.iter().find_map(|(id, record)| match record {
            Record::Operator(body) if id.as_str() == operator => Some(body),
            _ => None,
        });
        if !known.is_some_and(|operator| may(operator, site, records, task)) {
            let what = format!("{operator} had {task:?} ordered, who is {known:?} in generation {}", self.desk);
            self.fail(Invariant::Authorised, what);
        }
    }
}

/// What unlocks, or may.
pub fn unlocks(action: DoorAction) -> bool {
    matches!(action, DoorAction::Open | DoorAction::OpenAndClose { .. } | DoorAction::Delayed(DelayAction::Open))
}

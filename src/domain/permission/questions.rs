//! What others ask a set besides who may pass. Owns plain look-ups; must never decide about a door.
//! Invariant: what the set does not hold is `None` or false, never a guess.

use std::sync::Arc;

use super::Permissions;
use crate::domain::{
    ids::Id,
    schedule::{LocalTime, Schedule},
    time::Wall,
};

impl Permissions {
    pub fn schedule(&self, id: &Id) -> Option<&Arc<Schedule>> {
        self.calendar.schedule(id)
    }

    /// `None`: there is no such schedule.
    pub fn schedule_holds(&self, id: &Id, at: Wall) -> Option<bool> {
        Some(self.calendar.schedule(id)?.holds(&LocalTime::at(at, &self.zone)))
    }

    /// When the answer to [`schedule_holds`](Self::schedule_holds) changes next. `None`: there is no such
    /// schedule, or nothing changes within nine years.
    pub fn schedule_next_change(&self, id: &Id, after: Wall) -> Option<Wall> {
        self.calendar.schedule(id)?.next_change(after, &self.zone)
    }

    /// Whether the site's date is one of this holiday's. `None`: there is no such holiday.
    pub fn holiday_on(&self, id: &Id, at: Wall) -> Option<bool> {
        let date = self.zone.to_datetime(at.timestamp()).date();
        Some(self.calendar.holiday(id)?.falls_on(date))
    }

    pub fn person_exists(&self, person: &Id) -> bool {
        self.people.persons.find(person).is_some()
    }

    pub fn group_exists(&self, group: &Id) -> bool {
        self.people.groups.find(group).is_some()
    }

    pub fn is_member(&self, person: &Id, group: &Id) -> bool {
        let found = self.people.persons.find(person).zip(self.people.groups.find(group));
        found.is_some_and(|(person, group)| {
            self.people.persons.cell(person).is_some_and(|cell| cell.groups.as_slice().contains(&group))
        })
    }
}

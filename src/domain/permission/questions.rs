//! What others ask a set besides who may pass. Owns plain look-ups; must never decide about a door.
//! Invariant: what the set does not hold is `None` or false, never a guess.

use std::sync::Arc;

use super::Permissions;
use crate::domain::{
    event::DenialReason,
    ids::{DoorIx, Id},
    schedule::{LocalTime, Schedule},
    time::{Now, Wall},
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

    /// Whether this person is active and no deny rule holds for them at this door.
    pub fn holder_may(&self, person: &Id, door: DoorIx, now: Now) -> Result<(), (DenialReason, Option<Id>)> {
        let place = self.people.persons.find(person).ok_or((DenialReason::NoRule, None))?;
        let cell = self.people.persons.cell(place).ok_or((DenialReason::NoRule, None))?;
        cell.life.judge(now).map_err(|reason| (reason, None))?;
        match self.judge_rules(place, cell, door, now) {
            Err((DenialReason::ExplicitDeny, rule)) => {
                Err((DenialReason::ExplicitDeny, rule.and_then(|rule| self.rules.name(rule)).cloned()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
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

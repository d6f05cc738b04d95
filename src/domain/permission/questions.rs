//! What others ask a set besides who may pass. Owns plain look-ups; must never decide about a door.
//! Invariant: what the set does not hold is `None` or false, never a guess.

use std::sync::Arc;

use super::{Floors, Permissions};
use crate::domain::{
    card_format::CardTokens,
    ids::Id,
    record::Token,
    schedule::Schedule,
    time::{ClockTrust, Now, Wall},
};

impl Permissions {
    pub fn schedule(&self, id: &Id) -> Option<&Arc<Schedule>> {
        self.calendar.schedule(id)
    }

    /// `None`: there is no such schedule.
    pub fn schedule_holds(&self, id: &Id, at: Wall) -> Option<bool> {
        Some(self.calendar.schedule(id)?.holds(&self.clock.at(at)))
    }

    /// When the answer to [`schedule_holds`](Self::schedule_holds) changes next. `None`: there is no such
    /// schedule, or nothing changes within nine years.
    pub fn schedule_next_change(&self, id: &Id, after: Wall) -> Option<Wall> {
        self.calendar.schedule(id)?.next_change(after, self.zone())
    }

    /// Whether the site's date is one of this holiday's. `None`: there is no such holiday.
    pub fn holiday_on(&self, id: &Id, at: Wall) -> Option<bool> {
        let date = self.zone().to_datetime(at.timestamp()).date();
        Some(self.calendar.holiday(id)?.falls_on(date))
    }

    /// What this credential is presented with: to ask as if it were.
    pub fn token_of(&self, credential: &Id) -> Option<Token> {
        let at = self.people.credentials.find(credential)?;
        self.people.credential(at).map(|held| held.token)
    }

    /// Whose card this is.
    pub fn holder_of(&self, card: &CardTokens) -> Option<&Id> {
        self.known(card).find_map(|held| self.people.persons.name(held.person))
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
            self.people.persons.cell(person).is_some_and(|cell| cell.groups.contains(&group))
        })
    }

    /// Whether anybody is in one of these groups and in one of those.
    pub fn share_a_member(&self, these: &[Id], those: &[Id]) -> bool {
        let places = |names: &[Id]| names.iter().filter_map(|name| self.people.groups.find(name)).collect::<Vec<u32>>();
        let (these, those) = (places(these), places(those));
        let any = |groups: &[u32], of: &[u32]| groups.iter().any(|group| of.contains(group));
        let mut cells = self.people.persons.iter().map(|(_, _, cell)| &*cell.groups);
        cells.any(|groups| any(groups, &these) && any(groups, &those))
    }

    /// Who needs more time at a door.
    pub fn has_extended_access(&self, person: &Id) -> bool {
        let cell = self.people.persons.find(person).and_then(|at| self.people.persons.cell(at));
        cell.is_some_and(|cell| cell.extended)
    }

    /// No anti-passback and no occupancy limit stops this person.
    pub fn apb_exempt(&self, person: &Id) -> bool {
        let cell = self.people.persons.find(person).and_then(|at| self.people.persons.cell(at));
        cell.is_some_and(|cell| cell.apb_exempt)
    }

    /// A member of a group that is critical.
    pub fn is_critical(&self, person: &Id) -> bool {
        let cell = self.people.persons.find(person).and_then(|at| self.people.persons.cell(at));
        cell.is_some_and(|cell| self.people.is_critical(&cell.groups))
    }

    /// The partitions that a person belongs to. `None`: there is no such person.
    pub fn partitions_of(&self, person: &Id) -> Option<&[Id]> {
        let at = self.people.persons.find(person)?;
        Some(self.people.partitions(at))
    }

    /// The floors of a floor group, by its position in the topology, that everybody may choose. With an
    /// untrusted clock a schedule does not hold.
    pub fn public_floors(&self, floor_group: u16, now: Now) -> Floors {
        let place = self.places.topology().floor_groups.get(usize::from(floor_group));
        let Some(record) = place.and_then(|place| self.site.floor_groups.get(&place.id)) else { return Floors::NONE };
        let open = record.public.iter().filter(|public| match &public.schedule {
            None => true,
            Some(_) if now.trust == ClockTrust::Untrusted => false,
            Some(schedule) => self.schedule_holds(schedule, now.wall).unwrap_or(false),
        });
        let floors = open.flat_map(|public| &public.floors);
        floors.fold(Floors::NONE, |floors, floor| floors | self.places.floor(floor_group, floor))
    }
}

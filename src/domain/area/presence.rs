//! What is known of people's whereabouts. Owns its age and its upkeep in what is kept; must never judge.
//! Invariant: the counts are those of the people; every change of a person is in [`Changes`] whole.
//!
//! How old it is counts by the time that never steps, within one run. From an earlier run it counts by the
//! wall, if that was and is trusted, and in any case from the start of this run on.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use super::Changes;
use crate::domain::{
    ids::Id,
    kept::{Kept, KeptKey, Presence},
    time::{ClockTrust, Mono, Now, Wall},
};

#[derive(Debug, Default)]
pub(super) struct People {
    people: BTreeMap<Id, BTreeMap<Id, Whereabouts>>,
    counts: BTreeMap<Id, u32>,
}

/// Of one person and one area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    inside: bool,
    since: Wall,
    clock: ClockTrust,
    /// The same instant, or the start of this run if that is later.
    seen: Mono,
}

impl Whereabouts {
    pub fn noted(inside: bool, now: Now) -> Whereabouts {
        Whereabouts { inside, since: now.wall, clock: now.trust, seen: now.mono }
    }

    fn age(&self, now: Now) -> Duration {
        let trusted = self.clock == ClockTrust::Trusted && now.trust == ClockTrust::Trusted;
        let by_wall = if trusted { now.wall.since(self.since) } else { Duration::ZERO };
        now.mono.since(self.seen).max(by_wall)
    }
}

impl People {
    pub fn restore(&mut self, kept: &[Kept], start: Mono) {
        for kept in kept {
            let Kept::Whereabouts { person, areas } = kept else { continue };
            let of_each = areas.iter().map(|Presence { area, inside, since, clock }| {
                (area.clone(), Whereabouts { inside: *inside, since: *since, clock: *clock, seen: start })
            });
            self.people.insert(person.clone(), of_each.collect());
        }
        self.recount();
    }

    /// Forgets areas that are not there any more.
    pub fn retain_areas(&mut self, area: impl Fn(&Id) -> bool, changes: &mut Changes) {
        self.counts.retain(|of, _| area(of));
        self.forget_where(|_, of| !area(of), changes);
    }

    /// Forgets those of the next `most` people who do not exist; goes on from `after`, which it returns, until
    /// `None`.
    pub fn sweep(
        &mut self,
        after: Option<&Id>,
        most: usize,
        exists: impl Fn(&Id) -> bool,
        changes: &mut Changes,
    ) -> Option<Id> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slice: Vec<Id> =
            self.people.range::<Id, _>((from, Bound::Unbounded)).take(most).map(|(id, _)| id.clone()).collect();
        for gone in slice.iter().filter(|id| !exists(id)) {
            self.forget(Some(gone), None, changes);
        }
        slice.last().filter(|_| slice.len() == most).cloned()
    }

    fn recount(&mut self) {
        self.counts.clear();
        for (area, known) in self.people.values().flatten() {
            *self.counts.entry(area.clone()).or_default() += u32::from(known.inside);
        }
    }

    /// All that anybody is or was in.
    pub fn areas(&self) -> impl Iterator<Item = &Id> {
        self.counts.keys()
    }

    pub fn knows(&self, person: &Id) -> bool {
        self.people.contains_key(person)
    }

    pub fn count(&self, area: &Id) -> u32 {
        self.counts.get(area).copied().unwrap_or(0)
    }

    /// However long ago.
    pub fn is_inside(&self, person: &Id, area: &Id) -> bool {
        self.people.get(person).and_then(|areas| areas.get(area)).is_some_and(|known| known.inside)
    }

    /// `None`: not known, or forgiven.
    pub fn inside(&self, person: &Id, area: &Id, now: Now, forgive_after: Option<Duration>) -> Option<bool> {
        let known = self.people.get(person)?.get(area)?;
        let forgiven = forgive_after.is_some_and(|after| known.age(now) >= after);
        (!forgiven).then_some(known.inside)
    }

    pub fn note(&mut self, person: &Id, crossed: Vec<(Id, Whereabouts)>, changes: &mut Changes) {
        let areas = self.people.entry(person.clone()).or_default();
        for (area, now) in crossed {
            let was_inside = areas.insert(area.clone(), now).is_some_and(|before| before.inside);
            let count = self.counts.entry(area.clone()).or_default();
            match (was_inside, now.inside) {
                (false, true) => *count += 1,
                (true, false) => *count = count.saturating_sub(1),
                (true, true) | (false, false) => continue,
            }
            changes.areas.insert(area);
        }
        changes.kept.push(kept(person, areas));
    }

    pub fn forget(&mut self, person: Option<&Id>, area: Option<&Id>, changes: &mut Changes) {
        let asked = |of: &Id| area.is_none_or(|area| area == of);
        let Some(person) = person else { return self.forget_where(|_, of| asked(of), changes) };
        let Some(areas) = self.people.get_mut(person) else { return };
        drop_areas(person, areas, asked, &mut self.counts, changes);
        if areas.is_empty() {
            self.people.remove(person);
        }
    }

    fn forget_where(&mut self, which: impl Fn(&Id, &Id) -> bool, changes: &mut Changes) {
        let counts = &mut self.counts;
        self.people.retain(|person, areas| {
            drop_areas(person, areas, |area| which(person, area), counts, changes);
            !areas.is_empty()
        });
    }
}

fn drop_areas(
    person: &Id,
    areas: &mut BTreeMap<Id, Whereabouts>,
    which: impl Fn(&Id) -> bool,
    counts: &mut BTreeMap<Id, u32>,
    changes: &mut Changes,
) {
    let before = areas.len();
    areas.retain(|area, known| {
        let kept = !which(area);
        if !kept && known.inside {
            if let Some(count) = counts.get_mut(area) {
                *count = count.saturating_sub(1);
            }
            changes.areas.insert(area.clone());
        }
        kept
    });
    if areas.is_empty() {
        changes.unkept.push(KeptKey::whereabouts(person));
    } else if areas.len() < before {
        changes.kept.push(kept(person, areas));
    }
}

fn kept(person: &Id, areas: &BTreeMap<Id, Whereabouts>) -> Kept {
    let areas = areas.iter().map(|(area, known)| Presence {
        area: area.clone(),
        inside: known.inside,
        since: known.since,
        clock: known.clock,
    });
    Kept::Whereabouts { person: person.clone(), areas: areas.collect() }
}

//! Areas. Owns who is inside, as it was handed to the ledger, and why; must never ask the machine for its count.
//! Invariant: nobody who is inside a hard area is let in again, and no more are inside than may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use latchd::{
    domain::{
        event::EventBody,
        ids::Id,
        kept::Kept,
        record::{AntiPassback, Area, Record},
        time::Now,
    },
    gateway::step::LedgerWrite,
};

use super::{Invariant, Oracle};
use crate::world::set::Generation;

/// From a grant to its passage at the latest.
const PASSES_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct AreaWatch {
    /// Area, and who is inside since when.
    inside: BTreeMap<Id, BTreeMap<Id, Now>>,
    /// Person and area: granted at an entry, and not seen to pass yet.
    granted: BTreeMap<(Id, Id), Now>,
}

fn areas(generation: &Generation) -> impl Iterator<Item = (&Id, &Area)> {
    generation.records.iter().filter_map(|(id, record)| match record {
        Record::Area(body) => Some((id, body)),
        _ => None,
    })
}

fn is_exempt(generation: &Generation, person: &Id) -> bool {
    generation.records.iter().any(|(id, record)| match record {
        Record::Person(body) => id == person && body.apb_exempt,
        _ => false,
    })
}

impl AreaWatch {
    /// What was kept, and nothing else; how old it is counts from now at the latest.
    pub fn restarted<'a>(&mut self, now: Now, kept: impl Iterator<Item = &'a Kept>) {
        self.inside.clear();
        self.granted.clear();
        for kept in kept {
            self.note(now, kept);
        }
    }

    pub fn inside(&self) -> impl Iterator<Item = (&Id, Vec<&Id>)> {
        self.inside.iter().map(|(area, people)| (area, people.keys().collect()))
    }

    fn note(&mut self, now: Now, kept: &Kept) -> Option<(Id, BTreeSet<Id>)> {
        let Kept::Whereabouts { person, areas } = kept else { return None };
        let mut entered = BTreeSet::new();
        for (area, people) in &mut self.inside {
            if !areas.iter().any(|presence| presence.area == *area && presence.inside) {
                people.remove(person);
            }
        }
        for presence in areas.iter().filter(|presence| presence.inside) {
            let people = self.inside.entry(presence.area.clone()).or_default();
            if people.insert(person.clone(), Now { wall: presence.since, ..now }).is_none() {
                entered.insert(presence.area.clone());
            }
        }
        Some((person.clone(), entered))
    }
}

impl Oracle {
    /// After a step of the doors; the whereabouts are those from before it.
    pub(super) fn check_areas<'a>(
        &mut self,
        generation: Option<&Generation>,
        now: Now,
        events: impl Iterator<Item = &'a EventBody>,
        writes: &[LedgerWrite],
    ) {
        let Some(generation) = generation else { return };
        for body in events {
            let EventBody::AccessGranted(granted) = body else { continue };
            let (Some(reader), Some(person)) = (&granted.reader, &granted.person) else {
                continue;
            };
            for (area, record) in areas(generation).filter(|(_, record)| record.entry_readers.contains(reader)) {
                let forgiven = |since: &Now| {
                    let age = now.mono.since(since.mono).max(now.wall.since(since.wall));
                    record
                        .forgive_after_s
                        .is_some_and(|after| age + Duration::from_secs(1) >= Duration::from_secs(u64::from(after)))
                };
                let inside = self.areas.inside.get(area).and_then(|people| people.get(person));
                let hard = record.anti_passback == AntiPassback::Hard && !is_exempt(generation, person);
                if hard && inside.is_some_and(|since| !forgiven(since)) {
                    let what = format!("{person} is inside {area}, and is let in again at {reader}");
                    return self.fail(Invariant::NobodyPassesBack, what);
                }
                self.areas.granted.insert((person.clone(), area.clone()), now);
            }
        }
        for write in writes {
            match write {
                LedgerWrite::Kept(kept) => self.moved(generation, now, kept),
                LedgerWrite::Unkept(key) => {
                    for people in self.areas.inside.values_mut() {
                        people.retain(|person, _| latchd::domain::kept::KeptKey::whereabouts(person) != *key);
                    }
                }
                _ => {}
            }
        }
    }

    fn moved(&mut self, generation: &Generation, now: Now, kept: &Kept) {
        let Some((person, entered)) = self.areas.note(now, kept) else { return };
        for area in entered {
            self.forgiven.entered(&person, &area);
            let granted = self.areas.granted.remove(&(person.clone(), area.clone()));
            if granted.is_none_or(|at| now.mono.since(at.mono) > PASSES_WITHIN) {
                let what = format!("{person} is inside {area}, and was not let in");
                return self.fail(Invariant::NobodyPassesBack, what);
            }
            let limit = areas(generation).find(|(id, _)| **id == area).and_then(|(_, record)| record.occupancy_max);
            let counted = self.areas.inside.get(&area).into_iter().flat_map(BTreeMap::keys);
            let count = counted.filter(|person| !is_exempt(generation, person)).count();
            if limit.is_some_and(|limit| count > limit as usize) {
                let what = format!("{count} are inside {area}, and {limit:?} may be");
                return self.fail(Invariant::AreaNotOverfull, what);
            }
        }
    }
}

//! Areas: who is in which, and whom that keeps out. Owns anti-passback, the counts and when a passage counts;
//! must never open anything, nor forget a person but by a passage, a clearing or the end of area or person.
//! Invariant: the count of an area is the number of people whose last counted passage there was an entry.
//!
//! A passage counts when the door was seen to open after the grant. Where no contact tells (there is none,
//! its board is lost, or the door stood open already), it counts with the grant. While it is still open
//! whether somebody passes, the place in the area is taken all the same; the same person at the same reader
//! is let try again, for nobody has passed.
//!
//! ```text
//!   granted --(contact says closed)--> expected --door opened--> counts
//!      |                                  |------ contact lost -----> counts
//!      |                                  +------ not opened in time --> nothing happened
//!      +----(no contact, or open)-----> counts
//! ```
//!
//! An *entry* by somebody who is inside, and an *exit* by somebody who is outside, is a violation; of whom
//! nothing is known, nothing is held against. `presence` holds what is known, and how old it is.

mod presence;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::presence::{People, Whereabouts};
use super::{
    event::{Actor, DenialReason, PassageWay},
    ids::{DoorIx, Id, ReaderIx},
    kept::{Kept, KeptKey},
    permission::SiteRecords,
    record::{AntiPassback, Area},
    status::AreaStatus,
    time::{Mono, Now},
    topology::Topology,
};

/// People who may be expected at one door at a time; beyond, a passage counts with its grant.
const EXPECTED_MAX: usize = 64;
const SWEEP_SLICE: usize = 512;
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub struct Areas {
    areas: Vec<(Id, Area)>,
    readers: BTreeMap<ReaderIx, Vec<Crossing>>,
    people: People,
    expected: Vec<Expected>,
    sweep: Option<Sweep>,
}

/// People are looked through in slices, for somebody may be waiting at a door.
#[derive(Debug)]
struct Sweep {
    after: Option<Id>,
    due: Mono,
}

/// What passing a reader means for one area, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crossing {
    area: usize,
    way: PassageWay,
}

#[derive(Debug)]
struct Expected {
    door: DoorIx,
    reader: ReaderIx,
    person: Id,
    /// In whose name the door will say that it was not opened.
    actor: Actor,
    until: Mono,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub area: Id,
    pub way: PassageWay,
}

/// What the areas have to say to somebody whom the rules admit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// To be told, granted or not.
    pub violations: Vec<Violation>,
    /// Why not, and the area that says so.
    pub denied: Option<(DenialReason, Id)>,
}

/// What is to be written down and told.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub kept: Vec<Kept>,
    pub unkept: Vec<KeptKey>,
    /// Whose status changed.
    pub areas: BTreeSet<Id>,
}

impl Areas {
    /// What earlier runs kept; to be planned before it is asked anything.
    pub fn restore(&mut self, kept: &[Kept], now: Now) {
        self.people.restore(kept, now.mono);
    }

    /// Takes the records over. Areas that are gone are forgotten.
    pub fn plan(&mut self, site: &SiteRecords, topology: &Topology) -> Changes {
        let before: BTreeMap<Id, Option<u32>> =
            self.areas.drain(..).map(|(id, area)| (id, area.occupancy_max)).collect();
        self.readers.clear();
        for (id, area) in &site.areas {
            let here = |readers: &[Id]| readers.iter().filter_map(|reader| topology.reader(reader)).collect::<Vec<_>>();
            let (entries, exits) = (here(&area.entry_readers), here(&area.exit_readers));
            if entries.is_empty() && exits.is_empty() {
                continue;
            }
            let at = self.areas.len();
            for (readers, way) in [(entries, PassageWay::Entry), (exits, PassageWay::Exit)] {
                for reader in readers {
                    let crossings = self.readers.entry(reader).or_default();
                    if !crossings.iter().any(|crossing| crossing.area == at) {
                        crossings.push(Crossing { area: at, way });
                    }
                }
            }
            self.areas.push((id.clone(), area.clone()));
        }
        let mut changes = Changes::default();
        let after: BTreeMap<&Id, Option<u32>> = self.areas.iter().map(|(id, area)| (id, area.occupancy_max)).collect();
        changes.areas.extend(before.keys().filter(|id| !after.contains_key(id)).cloned());
        changes
            .areas
            .extend(after.iter().filter(|(id, limit)| before.get(**id) != Some(limit)).map(|(id, _)| (*id).clone()));
        if self.people.areas().any(|area| !after.contains_key(area)) {
            self.people.retain_areas(|area| after.contains_key(area), &mut changes);
        }
        self.expected.retain(|expected| self.readers.contains_key(&expected.reader));
        changes
    }

    /// Whether somebody whom the rules admit may pass this reader; `together`: with all of these, or nobody does.
    pub fn judge(&self, now: Now, person: &Id, exempt: bool, reader: ReaderIx, together: &[&Id]) -> Verdict {
        let mut verdict = Verdict::default();
        let crossings = self.readers.get(&reader).map(Vec::as_slice).unwrap_or_default();
        if exempt {
            return verdict;
        }
        let here = |crossing: &Crossing| self.areas.get(crossing.area).map(|(id, area)| (id, area, crossing.way));
        for (id, area, way) in crossings.iter().filter_map(here) {
            let forgive_after = area.forgive_after_s.map(|seconds| Duration::from_secs(seconds.into()));
            let known = self.people.inside(person, id, now, forgive_after);
            let violated = known == Some(way == PassageWay::Entry) && area.anti_passback != AntiPassback::Off;
            if violated {
                verdict.violations.push(Violation { area: id.clone(), way });
                if area.anti_passback == AntiPassback::Hard {
                    verdict.denied.get_or_insert((DenialReason::ApbViolation, id.clone()));
                }
            }
        }
        let is_full = |(id, area, way): &(&Id, &Area, PassageWay)| self.is_full(person, id, area, *way, together);
        let full = || crossings.iter().filter_map(here).find(is_full);
        if verdict.denied.is_none() {
            verdict.denied = full().map(|(id, ..)| (DenialReason::AreaFull, id.clone()));
        }
        verdict
    }

    fn is_full(&self, person: &Id, id: &Id, area: &Area, way: PassageWay, together: &[&Id]) -> bool {
        let Some(limit) = area.occupancy_max.filter(|_| way == PassageWay::Entry) else { return false };
        if self.people.is_inside(person, id) {
            return false;
        }
        let enters = |expected: &&Expected| {
            let crossings = self.readers.get(&expected.reader).into_iter().flatten();
            let mut entries = crossings.filter(|crossing| crossing.way == PassageWay::Entry);
            entries.any(|crossing| self.areas.get(crossing.area).is_some_and(|(of, _)| of == id))
        };
        let expected = self.expected.iter().filter(enters).map(|expected| &expected.person);
        let others = expected.chain(together.iter().copied()).filter(|other| *other != person);
        let coming: BTreeSet<&Id> = others.filter(|other| !self.people.is_inside(other, id)).collect();
        let inside = u64::from(self.people.count(id));
        inside + coming.len() as u64 >= u64::from(limit)
    }

    /// Granted. `expected`: the door is closed and will be seen to open by then, if somebody passes.
    pub fn granted(
        &mut self,
        now: Now,
        person: &Id,
        reader: ReaderIx,
        expected: Option<(DoorIx, Actor, Mono)>,
    ) -> Changes {
        if !self.readers.contains_key(&reader) {
            return Changes::default();
        }
        if let Some((door, actor, until)) = expected {
            self.expected.retain(|other| other.door != door || other.person != *person);
            if self.expected.iter().filter(|other| other.door == door).count() < EXPECTED_MAX {
                self.expected.push(Expected { door, reader, person: person.clone(), actor, until });
                return Changes::default();
            }
        }
        let mut changes = Changes::default();
        self.count(now, person, reader, &mut changes);
        changes
    }

    /// The door was seen to open, or can no longer be seen: everyone who was expected has passed.
    pub fn passed(&mut self, now: Now, door: DoorIx) -> Changes {
        let mut changes = Changes::default();
        for expected in self.expected.extract_if(.., |expected| expected.door == door).collect::<Vec<_>>() {
            self.count(now, &expected.person, expected.reader, &mut changes);
        }
        changes
    }

    /// The door did not open for whoever was granted in this name.
    pub fn not_opened(&mut self, door: DoorIx, actor: &Actor) {
        self.expected.retain(|expected| expected.door != door || expected.actor != *actor);
    }

    /// People may have been deleted: whoever is gone is in no area any more. Found out bit by bit.
    pub fn sweep(&mut self, now: Mono) {
        self.sweep = Some(Sweep { after: None, due: now + SWEEP_PAUSE });
    }

    /// Ends what was expected for too long, and goes on with the sweep.
    pub fn advance(&mut self, now: Mono, exists: impl Fn(&Id) -> bool) -> Changes {
        let mut changes = Changes::default();
        self.expected.retain(|expected| expected.until > now);
        if let Some(Sweep { after, .. }) = self.sweep.take_if(|sweep| sweep.due <= now) {
            let after = self.people.sweep(after.as_ref(), SWEEP_SLICE, exists, &mut changes);
            self.sweep = after.map(|after| Sweep { after: Some(after), due: now + SWEEP_PAUSE });
        }
        changes
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let expected = self.expected.iter().map(|expected| expected.until);
        expected.chain(self.sweep.as_ref().map(|sweep| sweep.due)).min()
    }

    /// Whether anybody is expected at this door.
    pub fn expects(&self, door: DoorIx) -> bool {
        self.expected.iter().any(|expected| expected.door == door)
    }

    /// Forgets where this person is, who is or was in this area, or both; neither: everything. `None`: there is
    /// no such person or area.
    pub fn clear(&mut self, person: Option<&Id>, area: Option<&Id>, exists: impl Fn(&Id) -> bool) -> Option<Changes> {
        let known = |id: &Id| self.areas.iter().any(|(of, _)| of == id);
        if !person.is_none_or(|person| exists(person) || self.people.knows(person)) || !area.is_none_or(known) {
            return None;
        }
        let mut changes = Changes::default();
        self.people.forget(person, area, &mut changes);
        self.expected.retain(|expected| person.is_some_and(|person| expected.person != *person));
        Some(changes)
    }

    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.areas.iter().map(|(id, _)| id)
    }

    pub fn status(&self, id: &Id) -> Option<AreaStatus> {
        let (id, area) = self.areas.iter().find(|(of, _)| of == id)?;
        Some(AreaStatus { area: id.clone(), count: self.people.count(id), limit: area.occupancy_max })
    }

    fn count(&mut self, now: Now, person: &Id, reader: ReaderIx, changes: &mut Changes) {
        let crossings = self.readers.get(&reader).map(Vec::as_slice).unwrap_or_default();
        let crossed = crossings.iter().filter_map(|crossing| {
            let (id, _) = self.areas.get(crossing.area)?;
            Some((id.clone(), Whereabouts::noted(crossing.way == PassageWay::Entry, now)))
        });
        self.people.note(person, crossed.collect(), changes);
    }
}

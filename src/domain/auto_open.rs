//! Auto open: doors that schedules unlock. Owns which door is unlocked by which record, who came first, and
//! when the schedules have their next say; must never unlock by a clock that is not trusted, nor know what
//! else stands over the door (the door knows). Invariant: a door is on exactly while one of its allowing
//! records holds and is satisfied, none of its denying ones holds, and the clock is trusted.
//!
//! ```text
//!            an allow holds, no deny does, who must come first came
//!   off ------------------------------------------------------------> on
//!    ^ <---- schedule over, a deny or holiday began, record gone, -----+
//!            clock not trusted any more
//! ```
//!
//! A *boundary* is an instant at which one of a door's records begins or ceases to hold: until there a manual
//! open or close lasts. While the clock is not trusted there are none, and nothing is unlocked; what was known
//! before (the last boundary, who came) is kept and goes on with a trusted clock. A boundary that passed
//! meanwhile, or while the node was off, is told late, with its own time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{ToSpan as _, civil::Time};

use super::{
    event::AutoOpenEnd,
    ids::{DoorIx, Id},
    kept::{CameFirst, Kept, KeptKey},
    permission::{Permissions, SiteRecords},
    record::{AutoOpen, Effect},
    time::{ClockTrust, Mono, Now, Wall},
    topology::Topology,
};

/// Holidays fall on dates: so many midnights are tried for the next boundary before it is put off.
const MIDNIGHTS_TRIED: usize = 32;

/// What follows for one door.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Manual opens and closes from before `at` end.
    Boundary {
        door: DoorIx,
        at: Wall,
        auto_open: Id,
    },
    Started {
        door: DoorIx,
        auto_open: Id,
    },
    Ended {
        door: DoorIx,
        auto_open: Id,
        why: AutoOpenEnd,
    },
    /// Unlocked already before this run began, and still: nothing that anybody need be told.
    Resumed {
        door: DoorIx,
        auto_open: Id,
    },
    CameFirst {
        door: DoorIx,
        auto_open: Id,
        person: Id,
    },
    Keep(Kept),
    Unkeep(KeptKey),
}

#[derive(Debug, Default)]
pub struct AutoOpens {
    doors: BTreeMap<DoorIx, DoorPlan>,
    due: Option<Mono>,
}

#[derive(Debug)]
struct DoorPlan {
    id: Id,
    /// In the order of their ids.
    records: Vec<(Id, AutoOpen)>,
    memory: Memory,
    /// As last kept.
    kept: Option<Memory>,
    /// When to look again, although nothing need have changed then.
    look_again: Option<Wall>,
    /// Told of the last boundary in this run.
    told: bool,
    /// Unlocked in this run.
    unlocked: bool,
}

/// What outlives a restart.
#[derive(Clone, Debug, Default, PartialEq)]
struct Memory {
    holding: BTreeSet<Id>,
    last: Option<Wall>,
    next: Option<Wall>,
    on: Option<Id>,
    came: BTreeMap<Id, Wall>,
}

/// Whether a record holds, when that changes, and when to look again if that is not known.
#[derive(Clone, Copy, Debug)]
struct Answer {
    holds: bool,
    next: Option<Wall>,
    look_again: Option<Wall>,
}

impl Answer {
    /// As far as can be told it is the same until then.
    fn lasts_until(&self) -> Wall {
        self.next.or(self.look_again).unwrap_or(Wall::MAX)
    }
}

/// Asked of each schedule and its holidays once for all doors.
struct Answers<'a> {
    permissions: &'a Permissions,
    at: Wall,
    known: BTreeMap<(Id, Vec<Id>), Answer>,
}

impl AutoOpens {
    /// Takes up what earlier runs kept; to be planned before it is asked anything.
    pub fn restore(&mut self, kept: &[Kept], topology: &Topology) {
        for kept in kept {
            let Kept::AutoOpen { door, holding, last, next, on, came } = kept else { continue };
            let Some(ix) = topology.door(door) else { continue };
            let memory = Memory {
                holding: holding.iter().cloned().collect(),
                last: *last,
                next: *next,
                on: on.clone(),
                came: came.iter().map(|came| (came.auto_open.clone(), came.until)).collect(),
            };
            let plan = DoorPlan { kept: Some(memory.clone()), memory, ..DoorPlan::new(door.clone()) };
            self.doors.insert(ix, plan);
        }
    }

    /// The records are new.
    pub fn plan(&mut self, site: &SiteRecords, topology: &Topology) {
        for plan in self.doors.values_mut() {
            plan.records.clear();
        }
        for (id, record) in &site.auto_opens {
            let here: BTreeMap<DoorIx, &Id> =
                record.doors.iter().filter_map(|door| Some((topology.door(door)?, door))).collect();
            for (ix, door) in here {
                let plan = self.doors.entry(ix).or_insert_with(|| DoorPlan::new(door.clone()));
                plan.records.push((id.clone(), record.clone()));
            }
        }
    }

    /// Works everything out anew.
    pub fn evaluate(&mut self, now: Now, permissions: &Permissions) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut answers = Answers { permissions, at: now.wall, known: BTreeMap::new() };
        for (door, plan) in &mut self.doors {
            plan.evaluate(*door, now, &mut answers, &mut turns);
        }
        self.doors.retain(|_, plan| !plan.records.is_empty());
        self.arm(now);
        turns
    }

    /// Somebody was let in who stood at the door.
    pub fn granted(&mut self, now: Now, permissions: &Permissions, door: DoorIx, person: &Id) -> Vec<Turn> {
        let mut turns = Vec::new();
        let Some(plan) = self.doors.get_mut(&door) else { return turns };
        if now.trust == ClockTrust::Untrusted {
            return turns;
        }
        let mut answers = Answers { permissions, at: now.wall, known: BTreeMap::new() };
        plan.evaluate(door, now, &mut answers, &mut turns);
        let mut came = Vec::new();
        for (id, record) in &plan.records {
            let counts = record.first_person_groups.is_empty()
                || record.first_person_groups.iter().any(|group| permissions.is_member(person, group));
            let waits = record.first_person_in && record.effect == Effect::Allow && !plan.memory.came.contains_key(id);
            if waits && counts && plan.memory.holding.contains(id) {
                came.push((id.clone(), answers.of(record).lasts_until()));
            }
        }
        for (auto_open, until) in came {
            plan.memory.came.insert(auto_open.clone(), until);
            turns.push(Turn::CameFirst { door, auto_open, person: person.clone() });
        }
        plan.evaluate(door, now, &mut answers, &mut turns);
        self.arm(now);
        turns
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        self.due
    }

    fn arm(&mut self, now: Now) {
        let instants = self.doors.values().flat_map(|plan| [plan.memory.next, plan.look_again]).flatten();
        let next = instants.filter(|at| *at > now.wall).min();
        // Without trust nobody knows when that will be: the clock's own news wakes.
        self.due = next.filter(|_| now.trust == ClockTrust::Trusted).map(|at| now.mono_at(at));
    }
}

impl DoorPlan {
    fn new(id: Id) -> DoorPlan {
        DoorPlan {
            id,
            records: Vec::new(),
            memory: Memory::default(),
            kept: None,
            look_again: None,
            told: false,
            unlocked: false,
        }
    }

    fn evaluate(&mut self, door: DoorIx, now: Now, answers: &mut Answers<'_>, turns: &mut Vec<Turn>) {
        if now.trust == ClockTrust::Trusted && !self.records.is_empty() {
            self.look(door, now, answers, turns);
        }
        self.turn(door, now, turns);
        if self.records.is_empty() {
            turns.extend(self.kept.take().map(|_| Turn::Unkeep(KeptKey::auto_open(&self.id))));
        } else if self.kept.as_ref() != Some(&self.memory) {
            self.kept = Some(self.memory.clone());
            turns.push(Turn::Keep(self.memory.kept(self.id.clone())));
        }
    }

    /// Which records hold, and whether a boundary was passed.
    fn look(&mut self, door: DoorIx, now: Now, answers: &mut Answers<'_>, turns: &mut Vec<Turn>) {
        let mut holding = BTreeSet::new();
        let (mut next, mut look_again) = (None, None);
        let earlier = |a: Option<Wall>, b: Option<Wall>| a.into_iter().chain(b).min();
        for (id, record) in &self.records {
            let answer = answers.of(record);
            if answer.holds {
                holding.insert(id.clone());
            }
            // That it was looked at again is no boundary: whoever came need not come once more.
            if let Some(until) = self.memory.came.get_mut(id).filter(|until| answer.holds && **until <= now.wall)
                && answers.held_since(record, *until)
            {
                *until = answer.lasts_until();
            }
            next = earlier(next, answer.next);
            look_again = earlier(look_again, answer.look_again);
        }
        let memory = &mut self.memory;
        let passed = memory.next.filter(|next| *next <= now.wall);
        let at = match (passed, memory.last) {
            (Some(passed), _) => Some(passed),
            (None, _) if holding != memory.holding => Some(now.wall),
            (None, None) => Some(now.wall),
            (None, Some(last)) => Some(last).filter(|_| !self.told),
        };
        // Any of them will do to say who drew the boundary.
        let by = holding.symmetric_difference(&memory.holding).next().cloned();
        let by = by.or_else(|| self.records.first().map(|(id, _)| id.clone()));
        if let (Some(at), Some(auto_open)) = (at, by) {
            memory.last = Some(at);
            turns.push(Turn::Boundary { door, at, auto_open });
        }
        self.told = true;
        memory.came.retain(|id, until| holding.contains(id) && *until > now.wall);
        memory.holding = holding;
        memory.next = next;
        self.look_again = look_again;
    }

    /// On or off, by what holds.
    fn turn(&mut self, door: DoorIx, now: Now, turns: &mut Vec<Turn>) {
        let memory = &mut self.memory;
        let trusted = now.trust == ClockTrust::Trusted;
        let denied =
            self.records.iter().any(|(id, record)| record.effect == Effect::Deny && memory.holding.contains(id));
        let ready = |(id, record): &&(Id, AutoOpen)| {
            let satisfied = !record.first_person_in || memory.came.contains_key(id);
            record.effect == Effect::Allow && memory.holding.contains(id) && satisfied
        };
        let mut candidates = self.records.iter().filter(ready).map(|(id, _)| id);
        let kept_on = memory.on.as_ref().filter(|on| candidates.clone().any(|id| id == *on));
        let on = kept_on.or_else(|| candidates.next()).filter(|_| trusted && !denied).cloned();
        match (&memory.on, &on) {
            (None, Some(auto_open)) => turns.push(Turn::Started { door, auto_open: auto_open.clone() }),
            (Some(auto_open), None) => {
                let why = if !trusted {
                    AutoOpenEnd::ClockUntrusted
                } else if denied {
                    AutoOpenEnd::Deny
                } else if self.records.iter().any(|(id, _)| id == auto_open) {
                    AutoOpenEnd::Schedule
                } else {
                    AutoOpenEnd::Removed
                };
                turns.push(Turn::Ended { door, auto_open: auto_open.clone(), why });
            }
            (Some(_), Some(auto_open)) if !self.unlocked => {
                turns.push(Turn::Resumed { door, auto_open: auto_open.clone() });
            }
            _ => {}
        }
        self.unlocked = on.is_some();
        memory.on = on;
    }
}

impl Memory {
    fn kept(&self, door: Id) -> Kept {
        let came = self.came.iter();
        Kept::AutoOpen {
            door,
            holding: self.holding.iter().cloned().collect(),
            last: self.last,
            next: self.next,
            on: self.on.clone(),
            came: came.map(|(auto_open, until)| CameFirst { auto_open: auto_open.clone(), until: *until }).collect(),
        }
    }
}

impl Answers<'_> {
    fn of(&mut self, record: &AutoOpen) -> Answer {
        let key = (record.schedule.clone(), record.holidays.clone());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let answer = self.work_out(record);
        self.known.insert(key, answer);
        answer
    }

    fn holds(&self, record: &AutoOpen, at: Wall) -> bool {
        let holiday = |holiday: &Id| self.permissions.holiday_on(holiday, at) == Some(true);
        self.permissions.schedule_holds(&record.schedule, at) == Some(true) && !record.holidays.iter().any(holiday)
    }

    /// Whether it held then, and without a break until now.
    fn held_since(&self, record: &AutoOpen, then: Wall) -> bool {
        let then = Answers { permissions: self.permissions, at: then, known: BTreeMap::new() }.work_out(record);
        then.holds && then.lasts_until() > self.at
    }

    fn work_out(&self, record: &AutoOpen) -> Answer {
        let holds = self.holds(record, self.at);
        let mut scheduled = self.permissions.schedule_next_change(&record.schedule, self.at);
        if record.holidays.is_empty() {
            return Answer { holds, next: scheduled, look_again: None };
        }
        let mut at = self.at;
        for _ in 0..MIDNIGHTS_TRIED {
            let Some(next) = scheduled.into_iter().chain(self.midnight_after(at)).min() else { break };
            if self.holds(record, next) != holds {
                return Answer { holds, next: Some(next), look_again: None };
            }
            if scheduled == Some(next) {
                scheduled = self.permissions.schedule_next_change(&record.schedule, next);
            }
            at = next;
        }
        Answer { holds, next: None, look_again: Some(at).filter(|at| *at > self.at) }
    }

    fn midnight_after(&self, at: Wall) -> Option<Wall> {
        let zone = self.permissions.zone();
        let tomorrow = zone.to_datetime(at.timestamp()).date().checked_add(1.day()).ok()?;
        let midnight = zone.to_timestamp(tomorrow.to_datetime(Time::midnight())).ok()?;
        Some(Wall::from_millis(midnight.as_millisecond())).filter(|midnight| *midnight > at)
    }
}

#[cfg(test)]
mod tests;

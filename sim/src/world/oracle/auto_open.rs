//! Auto open. Owns a naive reading of which doors the schedules unlock, and of who came first; must never ask the
//! machine. Invariant: after every step of the doors, what their events said last is what the records mean now.

use std::{collections::BTreeMap, time::Duration};

use latchd::domain::{
    event::EventBody,
    ids::Id,
    kept::Kept,
    record::{AutoOpen, Effect, Record},
    time::{ClockTrust, Now, Wall},
};

use super::{Invariant, Oracle, reference::Reference};
use crate::world::{set::Generation, set::names::zone};

/// Wall time is told in full milliseconds, alarms are set by the finer clock.
const LAG: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
pub struct AutoWatch {
    /// By door and record: the record's interval has held from the coming until then without a break.
    came: BTreeMap<(Id, Id), Wall>,
    /// By door: as told.
    on: BTreeMap<Id, bool>,
}

/// Whether a record's time has come, its holidays thought of.
fn holds(naive: &Reference<'_>, record: &AutoOpen, at: Wall) -> bool {
    let day = zone().to_datetime(at.timestamp()).date();
    let falls = |holiday: &Id| {
        naive.records.iter().any(|(id, record)| match record {
            Record::Holiday(body) if id == holiday => body.dates.iter().any(|date| date.0 == day),
            _ => false,
        })
    };
    naive.schedule_holds(&record.schedule, at) && !record.holidays.iter().any(falls)
}

fn is_member(naive: &Reference<'_>, person: &Id, group: &Id) -> bool {
    naive.records.iter().any(|(id, record)| match record {
        Record::Person(body) => id == person && body.groups.contains(group),
        _ => false,
    })
}

fn records(generation: &Generation) -> impl Iterator<Item = (&Id, &AutoOpen)> {
    generation.records.iter().filter_map(|(id, record)| match record {
        Record::AutoOpen(body) => Some((id, body)),
        _ => None,
    })
}

impl AutoWatch {
    /// What was not kept is forgotten: who came, and what was on, which is not told again.
    pub fn restarted<'a>(&mut self, kept: impl Iterator<Item = &'a Kept>) {
        let mut came_and_kept = BTreeMap::new();
        self.on.clear();
        for kept in kept {
            let Kept::AutoOpen { door, on, came, .. } = kept else { continue };
            self.on.insert(door.clone(), on.is_some());
            for came in came {
                let key = (door.clone(), came.auto_open.clone());
                if let Some(through) = self.came.get(&key) {
                    came_and_kept.insert(key, *through);
                }
            }
        }
        self.came = came_and_kept;
    }

    pub fn is_on(&self, door: &Id) -> bool {
        self.on.get(door).copied().unwrap_or(false)
    }

    pub fn hear(&mut self, body: &EventBody) {
        match body {
            EventBody::AutoOpenStarted { door, .. } => drop(self.on.insert(door.clone(), true)),
            EventBody::AutoOpenEnded { door, .. } => drop(self.on.insert(door.clone(), false)),
            _ => {}
        }
    }

    /// Somebody came: every record that waits for such a one has its first person.
    fn came(&mut self, naive: &Reference<'_>, generation: &Generation, now: Now, door: &Id, person: &Id) {
        let member = |group: &Id| is_member(naive, person, group);
        for (id, record) in records(generation) {
            let counts = record.first_person_groups.is_empty() || record.first_person_groups.iter().any(member);
            if record.first_person_in && record.doors.contains(door) && counts && holds(naive, record, now.wall) {
                self.came.entry((door.clone(), id.clone())).or_insert(now.wall);
            }
        }
    }

    /// Intervals begin and end at full seconds: each of them is looked at once.
    fn forget(&mut self, naive: &Reference<'_>, generation: &Generation, now: Wall) {
        self.came.retain(|(door, id), through| {
            let mut of = records(generation).filter(|(other, record)| *other == id && record.doors.contains(door));
            let Some((_, record)) = of.next() else { return false };
            let seconds = through.as_millis() / 1000 + 1..=now.as_millis() / 1000;
            let broken = seconds.into_iter().any(|second| !holds(naive, record, Wall::from_millis(second * 1000)));
            *through = now.max(*through);
            !broken && holds(naive, record, now)
        });
    }

    fn expected(&self, naive: &Reference<'_>, generation: &Generation, now: Now, door: &Id) -> bool {
        let here = || records(generation).filter(|(_, record)| record.doors.contains(door));
        let satisfied =
            |id: &Id, record: &AutoOpen| !record.first_person_in || self.came.contains_key(&(door.clone(), id.clone()));
        let allowed = here().any(|(id, record)| {
            record.effect == Effect::Allow && satisfied(id, record) && holds(naive, record, now.wall)
        });
        let denied = here().any(|(_, record)| record.effect == Effect::Deny && holds(naive, record, now.wall));
        now.trust == ClockTrust::Trusted && allowed && !denied
    }
}

impl Oracle {
    pub(super) fn check_auto_open<'a>(
        &mut self,
        (doors, generation): (&[Id], Option<&Generation>),
        now: Now,
        what: &str,
        events: impl Iterator<Item = &'a EventBody>,
    ) {
        let Some(generation) = generation else {
            // With the records it is gone who came.
            self.auto.came.clear();
            events.for_each(|body| self.auto.hear(body));
            return;
        };
        let naive = Reference { records: &generation.records, zone: &zone() };
        if now.trust == ClockTrust::Trusted {
            self.auto.forget(&naive, generation, now.wall.saturating_sub(LAG));
        }
        for body in events {
            self.auto.hear(body);
            if let EventBody::AccessGranted(granted) = body
                && let (Some(door), Some(person), None) = (&granted.door, &granted.person, &granted.actor)
                && now.trust == ClockTrust::Trusted
            {
                self.auto.came(&naive, generation, now, door, person);
            }
        }
        for (watch, door) in self.doors.iter_mut().zip(doors) {
            watch.auto = (watch.auto || !watch.stopping) && self.auto.is_on(door);
        }
        if self.rights.stopping {
            return;
        }
        for door in doors {
            let expected = |now| self.auto.expected(&naive, generation, now, door);
            let (said, just_now) = (self.auto.is_on(door), Now { wall: now.wall.saturating_sub(LAG), ..now });
            if said != expected(now) && said != expected(just_now) {
                let expected = expected(now);
                let what =
                    format!("{door} on {what} at {}: auto open is {said}, the records mean {expected}", now.wall);
                return self.fail(Invariant::AutoOpens, what);
            }
        }
    }
}

//! Edits by command as the desk knows them: which stand, which of them the event log tells of, and how late each was
//! issued. Owns that every edit is told once, whatever crash lies between the mirror and the log, and that none is
//! undone by an older one that the broker kept back; must never make one.
//! Invariant: the event of an edit, the mark that it was told and the outcome of its command are one commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;

use super::{Desk, DeskStep, LIFETIME_MAX, ending::End, is_last};
use crate::{
    domain::{
        event::{EditMade, Event, EventBody, Refusal},
        ids::Id,
        kept::{Kept, KeptKey},
        time::{ClockTrust, Now, Wall},
    },
    gateway::step::{CommandRecord, LedgerWrite},
    wire::{
        command::{Command, CommandBody},
        outcome::{Outcome, Stage},
    },
};

/// Records of which it is remembered when their last edit was issued. Past it the floor rises instead.
const EDITED_MAX: usize = 16 * 1024;
/// An older command of the same record is dead by then: it lives for a day, and clocks may differ.
const EDITED_FOR: Duration = LIFETIME_MAX.saturating_add(Duration::from_secs(3600));

/// A record, by kind and id.
pub(super) type EditOf = (Id, Id);

/// When the last edit of each record was issued.
#[derive(Clone, Debug, Default)]
pub struct Issued {
    newest: BTreeMap<EditOf, Wall>,
    by_time: BTreeSet<(Wall, EditOf)>,
    floor: Wall,
}

impl Issued {
    fn restored(kept: &BTreeMap<KeptKey, Kept>) -> Issued {
        let mut issued = Issued::default();
        for kept in kept.values() {
            match kept.clone() {
                Kept::Edited { record_kind, id, issued_at } => issued.insert((record_kind, id), issued_at),
                Kept::EditsFloor { issued_at } => issued.floor = issued_at,
                _ => {}
            }
        }
        issued
    }

    fn of(&self, record: &EditOf) -> Wall {
        self.newest.get(record).copied().unwrap_or(Wall::EPOCH).max(self.floor)
    }

    fn insert(&mut self, record: EditOf, issued_at: Wall) {
        if let Some(before) = self.newest.insert(record.clone(), issued_at) {
            self.by_time.remove(&(before, record.clone()));
        }
        self.by_time.insert((issued_at, record));
    }

    /// Whatever is older than this has been overtaken, of whichever record it is.
    fn raise_floor(&mut self, to: Wall, out: &mut Vec<LedgerWrite>) {
        if to > self.floor {
            self.floor = to;
            out.push(LedgerWrite::Kept(Kept::EditsFloor { issued_at: to }));
        }
    }

    fn pop_oldest(&mut self, out: &mut Vec<LedgerWrite>) -> Option<Wall> {
        let (issued_at, record) = self.by_time.pop_first()?;
        self.newest.remove(&record);
        out.push(LedgerWrite::Unkept(KeptKey::edited(&record.0, &record.1)));
        Some(issued_at)
    }

    /// An edit of this record was made. What is to be kept of it, and what need not be kept any more.
    fn edited(&mut self, now: Now, record: EditOf, issued_at: Wall, out: &mut Vec<LedgerWrite>) {
        if issued_at <= self.of(&record) {
            return;
        }
        self.insert(record.clone(), issued_at);
        let (record_kind, id) = record;
        out.push(LedgerWrite::Kept(Kept::Edited { record_kind, id, issued_at }));
        while now.trust == ClockTrust::Trusted
            && self.by_time.first().is_some_and(|(oldest, _)| *oldest + EDITED_FOR < now.wall)
        {
            self.pop_oldest(out);
        }
        if self.newest.len() > EDITED_MAX
            && let Some(oldest) = self.pop_oldest(out)
        {
            self.raise_floor(oldest, out);
        }
    }
}

/// Which record a command edits, if it does.
pub(super) fn edit_of(body: &CommandBody) -> Option<EditOf> {
    match body {
        CommandBody::Put { kind, id, .. } | CommandBody::Delete { kind, id } => Some((Id::new(kind).ok()?, id.clone())),
        _ => None,
    }
}

/// What the mirror and the log held at start.
#[derive(Clone, Debug, Default)]
pub struct EditsAtStart {
    /// In the order of their revisions.
    pub stand: Vec<EditMade>,
    /// The log tells of all up to this revision.
    pub told: u64,
    pub issued: Issued,
    /// The log may not know of the set in force, which was signed then.
    pub untold_set: Option<Wall>,
}

impl EditsAtStart {
    pub fn new(stand: Vec<EditMade>, kept: &BTreeMap<KeptKey, Kept>) -> EditsAtStart {
        let told = match kept.get(&KeptKey::edits_told()) {
            Some(Kept::EditsTold { revision }) => *revision,
            _ => 0,
        };
        EditsAtStart { stand, told, issued: Issued::restored(kept), untold_set: None }
    }

    /// Which records that set changed is not known any more, so it counts for all.
    pub fn after_set(self, issued_at: Option<Wall>) -> EditsAtStart {
        EditsAtStart { untold_set: issued_at, ..self }
    }

    /// A command that an earlier run left open is done if its edit stands.
    pub(super) fn outcome(&self, record: &CommandRecord, now: Now) -> Option<Outcome> {
        let made = self.stand.iter().find(|made| made.jti == record.key.jti)?;
        let open = !record.outcomes.last().is_some_and(is_last);
        open.then(|| Outcome {
            jti: record.key.jti.clone(),
            seq: record.outcomes.len() as u32,
            stage: Stage::Done,
            at: now.wall,
            reason: None,
            detail: Some(json!({ "edit": { "revision": made.revision } })),
        })
    }
}

impl Desk {
    /// Reordering on the way cannot undo what was edited later: a card that was taken away stays so.
    pub(super) fn edit_is_in_time(&self, command: &Command) -> Result<(), End> {
        let Some(record) = edit_of(&command.body) else { return Ok(()) };
        let under_way = self.errands.values().filter(|asked| asked.edits.as_ref() == Some(&record));
        let newest = under_way.map(|asked| asked.issued_at).fold(self.issued.of(&record), Wall::max);
        if command.iat < newest {
            let why = format!("{}/{} was changed by an edit or a set that was issued later", record.0, record.1);
            return Err(End::refused(Refusal::Conflict, why));
        }
        Ok(())
    }

    /// A set has changed these records, or nobody knows which: an edit from before does not undo what the cloud said
    /// since. What is to be kept of that, with the word of the set.
    #[must_use]
    pub fn handle_set(&mut self, now: Now, touched: Option<Vec<(Id, Id)>>, issued_at: Wall) -> Vec<LedgerWrite> {
        let mut writes = Vec::new();
        // One that was signed by a clock that runs ahead keeps nobody from editing until then.
        let issued_at = match now.trust {
            ClockTrust::Trusted => issued_at.min(now.wall + self.clock_skew),
            ClockTrust::Untrusted => issued_at,
        };
        match touched {
            Some(records) => {
                for record in records {
                    self.issued.edited(now, record, issued_at, &mut writes);
                }
            }
            None => self.issued.raise_floor(issued_at, &mut writes),
        }
        writes
    }

    /// The record is as this command wanted it.
    pub(super) fn edit_was_made(&mut self, now: Now, record: EditOf, issued_at: Wall, step: &mut DeskStep) {
        self.issued.edited(now, record, issued_at, &mut step.commit.writes);
    }

    /// The mirror holds these edits; those that the log does not tell of are told now.
    pub fn handle_edits(&mut self, now: Now, edits: &[EditMade]) -> DeskStep {
        let mut step = DeskStep::default();
        edits.iter().for_each(|made| self.tell_edit(now, made, &mut step));
        step
    }

    pub(super) fn tell_edit(&mut self, now: Now, made: &EditMade, step: &mut DeskStep) {
        if made.revision <= self.edits_told {
            return;
        }
        self.edits_told = made.revision;
        let version = self.permissions.version();
        let (epoch, generation) = (version.epoch, version.generation);
        let body = EventBody::OverlayEdited(made.clone());
        step.commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
        step.commit.writes.push(LedgerWrite::Kept(Kept::EditsTold { revision: made.revision }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Mono;

    fn record(number: usize) -> EditOf {
        (Id::new("person").unwrap(), Id::new(&format!("p-{number}")).unwrap())
    }

    fn at(seconds: i64) -> Now {
        Now { mono: Mono::ZERO, wall: Wall::from_millis(seconds * 1000), trust: ClockTrust::Trusted }
    }

    #[test]
    fn a_day_later_it_is_forgotten_and_past_its_bound_the_floor_rises_and_nothing_grows() {
        let mut issued = Issued::default();
        let mut kept = BTreeMap::new();
        let edit = |issued: &mut Issued, kept: &mut BTreeMap<KeptKey, Kept>, now: i64, number: usize| {
            let mut out = Vec::new();
            issued.edited(at(now), record(number), at(now).wall, &mut out);
            for write in out {
                match write {
                    LedgerWrite::Kept(one) => drop(kept.insert(one.key(), one)),
                    LedgerWrite::Unkept(key) => drop(kept.remove(&key)),
                    other => panic!("{other:?}"),
                }
            }
        };
        edit(&mut issued, &mut kept, 1_000, 0);
        edit(&mut issued, &mut kept, 1_000 + 26 * 3600, 1);
        assert_eq!((kept.len(), issued.of(&record(0))), (1, Wall::EPOCH));
        let begin = 2_000_000;
        for number in 0..EDITED_MAX + 3 {
            edit(&mut issued, &mut kept, begin + number as i64, number);
        }
        // All but the oldest three, and the floor in their place.
        assert_eq!((issued.newest.len(), issued.by_time.len(), kept.len()), (EDITED_MAX, EDITED_MAX, EDITED_MAX + 1));
        assert_eq!(issued.of(&record(1_000_000)), at(begin + 2).wall);
        let restored = Issued::restored(&kept);
        assert_eq!((restored.newest, restored.floor), (issued.newest, issued.floor));
    }
}

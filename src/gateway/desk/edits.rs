//! Edits by command as the desk knows them: which stand, and which of them the event log tells of. Owns that
//! every edit is told once, whatever crash lies between the mirror and the log; must never make one.
//! Invariant: the event of an edit, the mark that it was told and the outcome of its command are one commit.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Desk, DeskStep, is_last};
use crate::{
    domain::{
        event::{EditMade, Event, EventBody},
        kept::{Kept, KeptKey},
        time::Now,
    },
    gateway::step::{CommandRecord, LedgerWrite},
    wire::outcome::{Outcome, Stage},
};

/// What the mirror and the log held at start.
#[derive(Clone, Debug, Default)]
pub struct EditsAtStart {
    /// In the order of their revisions.
    pub stand: Vec<EditMade>,
    /// The log tells of all up to this revision.
    pub told: u64,
}

impl EditsAtStart {
    pub fn new(stand: Vec<EditMade>, kept: &BTreeMap<KeptKey, Kept>) -> EditsAtStart {
        let told = match kept.get(&KeptKey::edits_told()) {
            Some(Kept::EditsTold { revision }) => *revision,
            _ => 0,
        };
        EditsAtStart { stand, told }
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

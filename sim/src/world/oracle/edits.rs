//! Edits by command. Owns which the mirror said to have made; must never ask it what stands. Invariant: an edit was
//! wished by somebody who may make it, and stands from then on, through every crash, until a set takes it over.

use std::collections::BTreeSet;

use latchd::{
    domain::{
        event::{ConflictedEdit, EditMade},
        ids::Id,
        record::{OperatorStatus, Record},
    },
    gateway::mirror::{MirrorOpened, Source},
};

use super::{Invariant, Oracle};
use crate::world::set::{EditWish, Generation, Sets};

fn is_manager(generation: &Generation, operator: &str) -> bool {
    generation.records.iter().any(|(id, record)| match record {
        Record::Operator(body) => {
            id.as_str() == operator && body.status == OperatorStatus::Active {} && body.role.as_str() == "manager"
        }
        _ => false,
    })
}

impl Oracle {
    /// The mirror says that it was made, by the operators of this generation.
    pub fn edit_made(&mut self, sets: &mut Sets, generation: u64, made: &EditMade) {
        let EditMade { jti, kind, id, revision, .. } = made;
        sets.prepare(generation, revision.saturating_sub(1));
        if !sets.edit_made(generation, made) {
            return self.fail(Invariant::EditsStand, format!("{made:?} was made, which nobody wished"));
        }
        let Some(wish) = sets.edits.wished(jti, kind.as_str(), id) else { return };
        let may = sets.at(generation).is_some_and(|generation| {
            generation.records.iter().any(|(id, record)| match record {
                Record::Operator(body) => {
                    id.as_str() == wish.operator
                        && body.status == OperatorStatus::Active {}
                        && body.doors.is_none()
                        && ["integrator", "admin"].contains(&body.role.as_str())
                }
                _ => false,
            })
        });
        let limited = sets.at(generation).is_some_and(|generation| is_manager(generation, wish.operator));
        let (wish, jti) = (wish.clone(), jti.clone());
        // What reaches no door may be edited by whoever has no door.
        let reaches_nothing = || !self.reaches(sets, generation, revision.saturating_sub(1), &wish);
        if !may && (!limited || !reaches_nothing()) {
            let what = format!("{} had {kind} {id} edited as {jti}, who may not", wish.operator);
            self.fail(Invariant::Authorised, what);
        }
    }

    /// Whether a guest comes to a door by it, or did.
    fn reaches(&self, sets: &Sets, generation: u64, revision: u64, wish: &EditWish) -> bool {
        let Some(before) = sets.in_force(generation, revision) else { return true };
        let is_guest = |person: &Id| before.person(person).is_some_and(|body| !body.groups.is_empty());
        let old = before.records.iter().find(|(id, record)| (record.kind(), id) == (wish.kind, &wish.id));
        let gives = |record: &Record| match record {
            Record::Person(body) => !body.groups.is_empty(),
            Record::Credential(body) => is_guest(&body.person),
            _ => true,
        };
        old.map(|(_, record)| record).into_iter().chain(&wish.body).any(gives)
    }

    /// What the mirror holds after a start, or after its store was opened again.
    pub fn edits_found(&mut self, sets: &mut Sets, opened: &MirrorOpened) {
        if matches!(opened.source, Source::Lost(_)) {
            let newest = sets.edits.lose(opened.overlay.revision);
            if newest > opened.edits_lost {
                let what = format!("{newest:?} was made, and told of as lost were edits up to {:?}", opened.edits_lost);
                self.fail(Invariant::EditsStand, what);
            }
        }
        if !opened.permissions.is_present() {
            return;
        }
        let Some(version) = opened.version else { return };
        // What was told with the set may be known; what is found now is not.
        let then = opened.conflicts_then.iter().filter(|_| !sets.edits.is_settled(version.generation));
        let told: Vec<ConflictedEdit> =
            then.chain(&opened.conflicts).filter(|told| sets.edits.stands(told)).cloned().collect();
        // The word of the set, or of an edit, may have been lost with the run.
        self.edits_settled(sets, version.generation, &told);
        for made in &opened.edits {
            if !sets.edit_made(version.generation, made) {
                return self.fail(Invariant::EditsStand, format!("{made:?} stands, which nobody wished"));
            }
        }
        let found: BTreeSet<u64> = opened.edits.iter().map(|made| made.revision).collect();
        let due = sets.edits.standing();
        if found != due {
            let what = format!("edits {due:?} were made and stand, and after a start it is {found:?}");
            self.fail(Invariant::EditsStand, what);
        }
    }

    /// A set was applied, or is found in force, and of these edits was told that they do not fit.
    pub fn edits_settled(&mut self, sets: &mut Sets, generation: u64, told: &[ConflictedEdit]) {
        if let Err(what) = sets.settle(generation, told) {
            self.fail(Invariant::EditsSettle, format!("over generation {generation}: {what}"));
        }
    }
}

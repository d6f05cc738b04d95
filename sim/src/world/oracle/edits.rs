//! Edits by command. Owns which the mirror said to have made; must never ask it what stands. Invariant: an edit was
//! wished by somebody who may make it, and stands from then on, through every crash, until a set takes it over.

use std::collections::BTreeSet;

use latchd::{
    domain::{
        event::EditMade,
        ids::Id,
        record::{OperatorStatus, Record},
    },
    gateway::mirror::MirrorOpened,
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
        if !sets.edits.made(*revision, jti, kind.as_str(), id) {
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
        let mut reaches_nothing = || !self.reaches(sets, generation, revision.saturating_sub(1), &wish);
        if !may && (!limited || !reaches_nothing()) {
            let what = format!("{} had {kind} {id} edited as {jti}, who may not", wish.operator);
            self.fail(Invariant::Authorised, what);
        }
    }

    /// Whether a guest comes to a door by it, or did.
    fn reaches(&self, sets: &mut Sets, generation: u64, revision: u64, wish: &EditWish) -> bool {
        sets.prepare(generation, revision);
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
        if !opened.permissions.is_present() {
            return;
        }
        for made in &opened.edits {
            // One whose word was lost with the run that made it.
            if !sets.edits.made(made.revision, &made.jti, made.kind.as_str(), &made.id) {
                return self.fail(Invariant::EditsStand, format!("{made:?} stands, which nobody wished"));
            }
        }
        let found: BTreeSet<&Id> = opened.edits.iter().map(|made| &made.jti).collect();
        let Some(generation) = opened.version.and_then(|version| sets.at(version.generation)) else { return };
        let due = sets.edits.must_stand(generation);
        if let Some(lost) = due.iter().find(|jti| !found.contains(jti)) {
            self.fail(Invariant::EditsStand, format!("the edit of {lost} was made, and is not there after a start"));
        }
    }
}

//! Edits by command. Owns which the mirror said to have made; must never ask it what stands. Invariant: an edit was
//! wished by somebody who may make it, and stands from then on, through every crash, until a set takes it over.

use std::collections::BTreeSet;

use latchd::{
    domain::event::{ConflictedEdit, EditMade},
    gateway::mirror::{MirrorOpened, Source},
};

use super::{
    Invariant, Oracle,
    scope::{self, Against, Change},
};
use crate::world::{set::Sets, site::Site};

impl Oracle {
    /// The mirror says that it was made, by the operators of this generation.
    pub fn edit_made(&mut self, site: &Site, sets: &mut Sets, generation: u64, made: &EditMade) {
        let EditMade { jti, kind, id, revision, .. } = made;
        sets.prepare(generation, revision.saturating_sub(1));
        if !sets.edit_made(generation, made) {
            return self.fail(Invariant::EditsStand, format!("{made:?} was made, which nobody wished"));
        }
        let Some(wish) = sets.edits.wished(jti, kind.as_str(), id) else { return };
        let (wish, before) = (wish.clone(), sets.in_force(generation, revision.saturating_sub(1)).cloned());
        let records = scope::records(before.as_deref());
        let known = scope::operator(records, wish.operator);
        let old = records.iter().find(|(other, record)| (record.kind(), other) == (wish.kind, id));
        let change = Change { kind: wish.kind, id, old: old.map(|(_, record)| record), new: wish.body.as_ref() };
        let against =
            known.filter(|known| scope::is_active(known)).map(|known| scope::may_edit(site, records, known, &change));
        if against != Some(Against::default()) {
            let what = format!("{} had {kind} {id} edited as {jti}: {wish:?} over {old:?}; {against:?}", wish.operator);
            self.fail(Invariant::Authorised, what);
        }
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

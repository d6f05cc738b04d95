//! The emergency cards outside the mirror. Owns which of them the cloud signed last; must never read the copy. Invariant:
//! what a start takes from it was in a set that is no older than the last one that was applied, and is all of it.

use std::collections::BTreeMap;

use latchd::{
    domain::{
        ids::Id,
        record::{EmergencyCard, Record},
    },
    gateway::mirror::{Copy, MirrorOpened, MirrorOutput, Source},
};

use super::{Invariant, Oracle};
use crate::world::set::{Generation, Sets};

pub type Cards = BTreeMap<Id, EmergencyCard>;

#[derive(Default)]
pub struct SpareWatch {
    /// The copy was told to be out of date, or was hurt.
    wanting: bool,
}

fn cards_of(generation: &Generation) -> Cards {
    let card = |(id, record): &(Id, Record)| match record {
        Record::EmergencyCard(body) => Some((id.clone(), body.clone())),
        _ => None,
    };
    generation.records.iter().filter_map(card).collect()
}

impl Oracle {
    /// Somebody has laid hands on the copy.
    pub fn spares_hurt(&mut self) {
        self.spares.wanting = true;
    }

    pub fn spares_told(&mut self, output: &MirrorOutput) {
        match output {
            MirrorOutput::CopyFailed { copy: Copy::EmergencyCards, .. } => self.spares.wanting = true,
            MirrorOutput::CopyRestored { copy: Copy::EmergencyCards } => self.spares.wanting = false,
            _ => {}
        }
    }

    /// At a start.
    pub(super) fn spares_found(&mut self, sets: &Sets, opened: &MirrorOpened) {
        self.people.spare_cards = Cards::new();
        self.spares.wanting |= opened.spare_damaged.is_some();
        if opened.permissions.is_present() {
            // What the cloud has in force is copied anew where the copy does not hold it.
            self.spares.wanting &= !opened.spare_mended && !opened.copies_failed.is_empty();
            self.spares.wanting |= opened.copies_failed.iter().any(|(copy, _)| *copy == Copy::EmergencyCards);
            return;
        }
        let found = &opened.spare_cards;
        self.people.spare_cards = found.clone();
        if !matches!(opened.source, Source::Lost(_)) {
            if !found.is_empty() {
                self.fail(Invariant::SpareCards, format!("there never was a set, and there are {found:?}"));
            }
            return;
        }
        // A crash may lie between a set and the word of it.
        let mut since = sets.since(self.rights.applied_generation()).map(|generation| cards_of(generation)).peekable();
        let unknown = since.peek().is_none();
        let fits = |signed: &Cards| match self.spares.wanting {
            true => found.iter().all(|(id, card)| signed.get(id) == Some(card)),
            false => signed == found,
        };
        if !unknown && !since.any(|signed| fits(&signed)) {
            let what = format!(
                "the copy gives {found:?}, and generation {} was applied (the copy is wanting: {})",
                self.rights.applied_generation(),
                self.spares.wanting
            );
            self.fail(Invariant::SpareCards, what);
        }
    }
}

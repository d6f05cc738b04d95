//! What the field had when the last run ended, or the last loop. Owns its upkeep from what is written to the
//! ledger; must never hold more than was handed to the ledger. Invariant: a machine that starts from it goes
//! on as if it had never stopped, but for what nobody kept.

use std::collections::BTreeMap;

use crate::{
    domain::{
        door::DurableDoor,
        ids::Id,
        kept::{Kept, KeptKey},
    },
    gateway::step::LedgerWrite,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lasting {
    pub doors: BTreeMap<Id, DurableDoor>,
    pub kept: BTreeMap<KeptKey, Kept>,
}

impl Lasting {
    pub fn note(&mut self, write: &LedgerWrite) {
        match write {
            LedgerWrite::Door { door, state } => drop(self.doors.insert(door.clone(), state.clone())),
            LedgerWrite::Kept(kept) => drop(self.kept.insert(kept.key(), kept.clone())),
            LedgerWrite::Unkept(key) => drop(self.kept.remove(key)),
            _ => {}
        }
    }
}

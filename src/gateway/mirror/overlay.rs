//! The edits by command that lie over the cloud's set. Owns their list and what they make of its records;
//! must never change the set itself: generation and digest stay the cloud's. Invariant: an edit stands until
//! a set absorbs it or it is told that it was set aside; what it changed is applied to whatever the cloud's
//! record is by then (`merge`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    merge::{self, Merged},
    table::{Changes, TableError, key_of},
};
use crate::{
    domain::{
        event::{EditChange, EditMade},
        ids::Id,
        time::Wall,
    },
    wire::canonical::canonical,
};

/// Edits that no set has absorbed yet, and their bytes: more are refused as overloaded. A cloud that takes
/// its own edits over never sees either.
pub const EDITS_MAX: usize = 4096;
pub const EDITS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Of an edit beside its bodies.
const EDIT_BYTES: usize = 256;

pub type Body = Map<String, Value>;

/// A deleted person stays as one who has expired since ever and is in no group: whatever names them, now or
/// in a later set, still finds them and finds them dead.
const DEPARTED: &str = r#"{"expires_at":"1970-01-01T00:00:00.000Z"}"#;

/// One edit by command, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    pub revision: u64,
    pub jti: Id,
    pub operator: Id,
    pub at: Wall,
    pub kind: Id,
    pub id: Id,
    /// The record as it was found and as it was left; absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Body>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Body>,
}

impl Edit {
    fn bytes(&self) -> usize {
        let body = |body: &Option<Body>| body.as_ref().and_then(|b| serde_json::to_vec(b).ok()).map_or(0, |b| b.len());
        EDIT_BYTES + body(&self.before) + body(&self.after)
    }
}

impl Edit {
    /// As it is told.
    pub fn made(&self) -> EditMade {
        let Edit { operator, jti, kind, id, revision, .. } = self.clone();
        let change = if self.after.is_some() { EditChange::Put } else { EditChange::Delete };
        EditMade { operator, jti, kind, id, change, revision }
    }
}

/// A step from one revision to the next, as it stands in the store's batch and in the second copy's log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayChange {
    /// Afterwards.
    pub revision: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put: Vec<Edit>,
    /// Edits, by their revision, that are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<u64>,
}

impl OverlayChange {
    /// Nothing but the revision.
    pub fn at(revision: u64) -> OverlayChange {
        OverlayChange { revision, ..OverlayChange::default() }
    }

    /// As entries of the second copy's log: one edit each, so that none is too long.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        let one = |put: Vec<Edit>, gone: Vec<u64>| OverlayChange { revision: self.revision, put, gone };
        let gone = one(Vec::new(), self.gone.clone());
        let puts = self.put.iter().map(|edit| one(vec![edit.clone()], Vec::new()));
        let all = (!self.gone.is_empty() || self.put.is_empty()).then_some(gone).into_iter().chain(puts);
        // Nothing in a change fails to be JSON: names, numbers, and bodies that were JSON before.
        all.filter_map(|change| serde_json::to_vec(&change).ok()).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    revision: u64,
    edits: BTreeMap<u64, Edit>,
    bytes: usize,
}

/// For the status: how far the overlay has got and how much of it no set has absorbed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverlayVersion {
    pub revision: u64,
    pub edits: u64,
}

impl Overlay {
    pub fn new(revision: u64, edits: impl IntoIterator<Item = Edit>) -> Overlay {
        let mut overlay = Overlay { revision, ..Overlay::default() };
        edits.into_iter().for_each(|edit| overlay.insert(edit));
        overlay
    }

    /// The same edits, and no revision up to this one given again.
    pub fn continued_from(self, revision: u64) -> Overlay {
        Overlay { revision: self.revision.max(revision), ..self }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn version(&self) -> OverlayVersion {
        OverlayVersion { revision: self.revision, edits: self.edits.len() as u64 }
    }

    /// In the order in which they were made.
    pub fn edits(&self) -> impl DoubleEndedIterator<Item = &Edit> {
        self.edits.values()
    }

    pub fn of_command(&self, jti: &Id) -> Option<&Edit> {
        self.edits.values().rev().find(|edit| edit.jti == *jti)
    }

    pub fn has_room_for(&self, edit: &Edit) -> bool {
        self.edits.len() < EDITS_MAX && self.bytes + edit.bytes() <= EDITS_BYTES_MAX
    }

    pub fn version_after(&self, change: &OverlayChange) -> OverlayVersion {
        let put = change.put.iter().filter(|edit| !self.edits.contains_key(&edit.revision)).count();
        let gone = change.gone.iter().filter(|revision| self.edits.contains_key(revision)).count();
        OverlayVersion { revision: change.revision, edits: (self.edits.len() + put).saturating_sub(gone) as u64 }
    }

    pub fn apply(&mut self, change: &OverlayChange) {
        self.revision = self.revision.max(change.revision);
        for revision in &change.gone {
            if let Some(gone) = self.edits.remove(revision) {
                self.bytes = self.bytes.saturating_sub(gone.bytes());
            }
        }
        change.put.iter().for_each(|edit| self.insert(edit.clone()));
    }

    fn insert(&mut self, edit: Edit) {
        self.revision = self.revision.max(edit.revision);
        self.bytes += edit.bytes();
        if let Some(replaced) = self.edits.insert(edit.revision, edit) {
            self.bytes = self.bytes.saturating_sub(replaced.bytes());
        }
    }

    /// All of it, as a change to an overlay that has nothing.
    pub fn whole(&self) -> OverlayChange {
        OverlayChange { revision: self.revision, put: self.edits.values().cloned().collect(), gone: Vec::new() }
    }

    /// The edits that a set with these `absorbs` takes over or discards: those that it names, and the earlier
    /// ones of the same record, on which they were built.
    pub fn absorbed(&self, absorbs: &[Id]) -> BTreeSet<u64> {
        let named: BTreeSet<&Id> = absorbs.iter().collect();
        let mut records: BTreeSet<(&Id, &Id)> = BTreeSet::new();
        let mut absorbed = BTreeSet::new();
        for edit in self.edits.values().rev() {
            let record = (&edit.kind, &edit.id);
            if named.contains(&edit.jti) || records.contains(&record) {
                records.insert(record);
                absorbed.insert(edit.revision);
            }
        }
        absorbed
    }
}

/// What edits make of a set's records.
#[derive(Debug, Default)]
pub struct Layer {
    /// Only where the record is not what the set has.
    pub changes: Changes,
    /// Edits that came to nothing, and why.
    pub overtaken: Vec<(u64, &'static str)>,
    /// Members that set and edit both changed, and where the edit's word stands.
    pub disputed: Vec<(u64, Vec<String>)>,
}

impl Layer {
    /// `edits` in the order in which they were made; `body` finds a record of the set.
    pub fn of<'a>(
        edits: impl IntoIterator<Item = &'a Edit>,
        mut body: impl FnMut(&Id, &Id) -> Result<Option<Vec<u8>>, TableError>,
    ) -> Result<Layer, TableError> {
        let mut by_record: BTreeMap<(&Id, &Id), Vec<&Edit>> = BTreeMap::new();
        for edit in edits {
            by_record.entry((&edit.kind, &edit.id)).or_default().push(edit);
        }
        let mut layer = Layer::default();
        for ((kind, id), edits) in by_record {
            let stored = body(kind, id)?;
            let damaged = |problem: serde_json::Error| TableError::Damaged(format!("{kind}/{id}: {problem}"));
            let mut current: Option<Body> =
                stored.as_deref().map(serde_json::from_slice).transpose().map_err(damaged)?;
            let mut deleted = false;
            for edit in edits {
                match merge::apply(edit, current.clone()) {
                    Merged::Stands { body, disputed } => {
                        deleted = edit.after.is_none();
                        current = body;
                        if !disputed.is_empty() {
                            layer.disputed.push((edit.revision, disputed));
                        }
                    }
                    Merged::Overtaken(why) => layer.overtaken.push((edit.revision, why)),
                }
            }
            let result = match &current {
                Some(body) => Some(canonical(body).map_err(damaged)?),
                None if deleted && kind.as_str() == "person" => Some(DEPARTED.as_bytes().to_vec()),
                None => None,
            };
            if result != stored {
                layer.changes.insert(key_of(kind, id), result);
            }
        }
        Ok(layer)
    }
}

/// Whether a record is only there because a deleted person must still be found.
pub fn is_departed(kind: &str, body: &[u8]) -> bool {
    kind == "person" && body == DEPARTED.as_bytes()
}

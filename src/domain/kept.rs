//! What must outlive a power cut, besides doors, commands and events: a small value each, under a name of
//! its own. Owns the list of such values; must never hold what can be worked out again from the set.
//! Invariant: the key of a value tells all that distinguishes it from others, so a newer one replaces it.

use serde::{Deserialize, Serialize};

use super::{ids::Id, time::Wall};

/// One value, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// Where a person was let in last; `None`: outside of all areas.
    Whereabouts { person: Id, area: Option<Id>, since: Wall },
    /// Edits by command up to this revision stand in the event log.
    EditsTold { revision: u64 },
}

/// The name under which a value is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptKey(String);

impl KeptKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeptKey {
    pub fn edits_told() -> KeptKey {
        Kept::EditsTold { revision: 0 }.key()
    }
}

impl Kept {
    pub fn key(&self) -> KeptKey {
        match self {
            Kept::Whereabouts { person, .. } => KeptKey(format!("whereabouts/{person}")),
            Kept::EditsTold { .. } => KeptKey("edits_told".to_owned()),
        }
    }
}

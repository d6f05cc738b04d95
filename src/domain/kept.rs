//! What must outlive a power cut, besides doors, commands and events: a small value each, under a name of
//! its own. Owns the list of such values; must never hold what can be worked out again from the set.
//! Invariant: the key of a value tells all that distinguishes it from others, so a newer one replaces it.

use serde::{Deserialize, Serialize};

use super::{elevator::DurableFloors, ids::Id, locker::KeyRecord, record::Token, time::Wall};

/// One value, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// Where a person was let in last; `None`: outside of all areas.
    Whereabouts { person: Id, area: Option<Id>, since: Wall },
    /// A backup code of a key locker that was used.
    BackupCode { code: Token, used_at: Wall },
    /// Where the key of a compartment is.
    LockerKey { locker: Id, record: KeyRecord },
    /// What operators did to an elevator.
    FloorGroup { floor_group: Id, state: DurableFloors },
}

/// The name under which a value is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptKey(String);

impl KeptKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Kept {
    pub fn backup_code(code: &Token) -> KeptKey {
        KeptKey(format!("backup_code/{code}"))
    }

    pub fn key(&self) -> KeptKey {
        match self {
            Kept::Whereabouts { person, .. } => KeptKey(format!("whereabouts/{person}")),
            Kept::BackupCode { code, .. } => Kept::backup_code(code),
            Kept::LockerKey { locker, .. } => KeptKey(format!("locker_key/{locker}")),
            Kept::FloorGroup { floor_group, .. } => KeptKey(format!("floor_group/{floor_group}")),
        }
    }
}

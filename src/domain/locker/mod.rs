//! Key lockers: a cabinet with one reader and many compartments, each a door with momentary opening, an
//! occupancy input and contracts. Owns the words for them; `typed` is what comes from the keypad, `standing` whether
//! a contract counts, `key` where the key of a compartment is. Must never hold a
//! code in clear longer than it takes to look it up.

mod key;
mod standing;
#[cfg(test)]
mod tests;
mod typed;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    key::{KeyChange, KeyRecord, KeyState, Opening, key_change},
    standing::{Standing, excluded, standing},
    typed::{TYPED_MAX, Typed, Typing},
};
use super::{
    ids::{DoorIx, Id, InputRef},
    time::Wall,
};

/// Backup codes of one contract.
pub const BACKUP_CODES_MAX: usize = 32;

/// All that an installer says of one cabinet, but for its doors.
#[derive(Clone, Debug, PartialEq)]
pub struct CabinetConfig {
    pub id: Id,
    pub compartments: Vec<Compartment>,
    /// How long the keypad waits for the next key, and for the choice of a compartment.
    pub keypad_timeout: Duration,
    /// Wrong codes in a row after which no code is accepted for a while.
    pub code_tries: u32,
    pub lockout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Compartment {
    /// As a door: its lock, contact and times.
    pub door: DoorIx,
    pub id: Id,
    /// As it is typed on the keypad.
    pub number: u16,
    pub occupied: Occupancy,
}

/// Tells whether something is in the compartment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occupancy {
    pub input: InputRef,
    /// The input's value while something is.
    pub occupied_value: bool,
}

/// A compartment's present state, beside that of its door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockerStatus {
    pub locker: Id,
    pub cabinet: Id,
    /// As it is typed on the keypad.
    pub number: u16,
    /// Absent: its board does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupied: Option<bool>,
    /// Absent: nothing was ever put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyRecord>,
    /// Every contract of this compartment in the set in force.
    pub contract_sync: Vec<ContractStatus>,
}

/// How far a contract has got on its way to the compartment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractStatus {
    pub contract: Id,
    pub state: SyncState,
    /// Why it is not `applied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the set in which the node last took it in as it is.
    pub generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// It counts, or did until its end.
    Applied,
    /// It will count: its time has not come, or the board of its compartment does not answer.
    Pending,
    /// It cannot be enforced here, and is not.
    Refused,
}

/// What opened a compartment, or was to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Card,
    Pin,
    /// Only to bring back: only while the compartment is empty.
    ReturnCode,
    /// Once.
    BackupCode,
}

/// Consumed backup codes that are remembered; of more, those that no contract names any more are forgotten, and if
/// there are none no further code is accepted.
pub const CONSUMED_MAX: usize = 10_000;

/// When a backup code was used, for the order in which such are forgotten.
pub type UsedAt = Wall;

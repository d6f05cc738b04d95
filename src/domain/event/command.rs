//! What became of a command that was refused, or that edited the set. Owns why it was refused, and what stands of an
//! edit; must never hold what the edit says. Invariant: a refusal is one of the closed list of the contract, and an edit
//! names who made it by which command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ids::Id;

/// Why a command was refused: the closed list of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Malformed,
    WrongAudience,
    WrongIssuer,
    NotYetValid,
    LifetimeTooLong,
    ClockUntrusted,
    Retained,
    UnknownOperator,
    OperatorPending,
    OperatorExpired,
    OperatorSuspended,
    Forbidden,
    OutOfScope,
    UnknownTarget,
    Conflict,
    Overloaded,
    Unsupported,
    BusDown,
}

/// An edit by command that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditMade {
    pub operator: Id,
    pub jti: Id,
    pub kind: Id,
    pub id: Id,
    pub change: EditChange,
    /// Of the overlay with it.
    pub revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditChange {
    Put,
    Delete,
}

/// An edit by command that a later set did not absorb and says otherwise than.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConflictedEdit {
    pub jti: Id,
    pub operator: Id,
    pub kind: Id,
    pub id: Id,
    pub fate: EditFate,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditFate {
    /// It no longer stands.
    SetAside,
    /// Only what it takes away still stands.
    Reduced,
    /// It stands, and what the set says of the same members does not.
    Disputed,
}

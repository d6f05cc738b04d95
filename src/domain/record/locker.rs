//! Key lockers. Owns the shape of `locker_contract`; must never hold a code in clear. Invariant: a contract
//! is about one compartment and, at most, one key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Token;
use crate::domain::{ids::Id, time::Wall};

/// Who may take what out of a compartment, and bring it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockerContract {
    /// A compartment of this node's configuration; one that the node does not have is no error.
    pub locker: Id,
    /// The cardholder; or a PIN alone, with `pin`. At least one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    /// Token of `pin:{locker}:{digits}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Token>,
    /// The key (or other thing) that lies in the compartment, as people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Wall>,
    #[serde(default)]
    pub sharing: Sharing,
    /// Token of `return:{locker}:{code}`: opens for bringing back, only while the compartment is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_code: Option<Token>,
    /// Tokens of `backup:{locker}:{code}`: each opens once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backup_codes: Vec<Token>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// No other contract of this compartment may overlap in time.
    #[default]
    Exclusive,
    Shared,
}

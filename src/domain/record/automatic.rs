//! What doors do by themselves. Owns the shape of `auto_open`; must never say how it is carried out.
//! Invariant: nothing in it opens a door that something above it in the precedence table holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Effect;
use crate::domain::ids::Id;

/// Longest time that a record may give in milliseconds where a person waits.
pub const MILLIS_MAX: u32 = 120_000;

/// Doors that are unlocked while a schedule holds, or (`deny`) must not be by any other auto open. A manual
/// open or close at such a door lasts until the next boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoOpen {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub doors: Vec<Id>,
    pub schedule: Id,
    #[serde(default = "allow")]
    pub effect: Effect,
    /// Opens only once somebody has been granted at the door within the interval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_person_in: bool,
    /// With `first_person_in`: only members of these groups count; absent: everybody who is granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_person_groups: Vec<Id>,
    /// On the dates of these holidays it does not open, whatever the schedule says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<Id>,
}

fn allow() -> Effect {
    Effect::Allow
}

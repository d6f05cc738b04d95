//! The words in which doors and inputs tell what nobody asked them for: what a door falls back to, why an auto open
//! ended, what flaps. Owns the words; must never decide when. Invariant: each is a closed list of the contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::record::{ClockFallback, WhenStale};

/// What a door falls back to when the node is left alone, as its policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", content = "then", rename_all = "snake_case")]
pub enum Fallback {
    /// The cloud has not confirmed the permission set for too long.
    Stale(WhenStale),
    ClockUntrusted(ClockFallback),
    /// Emergency cards are accepted from here on.
    EmergencyCards,
}

/// Why an auto open no longer unlocks a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutoOpenEnd {
    /// Its time is over, or a holiday began.
    Schedule,
    /// An auto open that denies began.
    Deny,
    /// The permission set no longer has it for this door.
    Removed,
    /// Nobody knows what time it is.
    ClockUntrusted,
}

/// What flaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlappingInput {
    /// The contact of `door`.
    Contact,
    /// The exit button of `door`.
    Rex,
    /// Whether the key is in the compartment `door`.
    Key,
    /// Buttons, relays or the board of `floor_group`.
    Floors,
    /// `input`.
    Input,
    /// A supervised line, `input` as its board names it.
    Line,
}

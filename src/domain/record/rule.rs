//! Who may pass where. Owns the shape of `access_rule`; must never say when (that is a schedule's).
//! Invariant: a field that is absent never widens what the rule allows beyond a plain card at its doors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ids::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Allow,
    /// Overrides every allow.
    Deny,
}

/// Who may, or must not, pass where and when. At least one of `groups` and `persons`, and of `doors` and
/// `floors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    pub effect: Effect,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<Id>,
    /// Ids of doors of this node; a door that the node does not have is no error: sets are shared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doors: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<FloorGrant>,
    /// What has to be presented; of a deny rule it is meaningless and must be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Id>,
}

impl AccessRule {
    /// For nobody and nowhere yet, at all times, by a card.
    pub fn new(effect: Effect) -> AccessRule {
        AccessRule {
            effect,
            groups: Vec::new(),
            persons: Vec::new(),
            doors: Vec::new(),
            floors: Vec::new(),
            authentication: None,
            schedule: None,
        }
    }
}

/// Floors of one floor group that a read in its cab enables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorGrant {
    /// Of this node's configuration; one that the node does not have is no error: sets are shared.
    pub floor_group: Id,
    /// Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floors: Option<Vec<Id>>,
}

/// What has to be presented for an allow rule to admit; absent: `card`. A mobile id, a plate or a QR code
/// counts as a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    #[default]
    Card,
    /// A PIN that is a credential by itself.
    Pin,
    CardAndPin,
    CardOrPin,
    /// Two different people, each with a card that a two-person rule admits here, within the door's time.
    TwoPerson,
}

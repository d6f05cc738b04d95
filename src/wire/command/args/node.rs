//! The arguments of commands to the node itself: records of its set, live events, its configuration, diagnostics. Owns
//! their shapes; must never read what a record or a site file says. Invariant: each has a bound on what it may bring or
//! ask for, in itself or by the size of a command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    domain::{ids::Id, time::Wall},
    wire::canonical::hex32,
};

/// `args` of `KIND.put`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutArgs {
    pub id: Id,
    /// As in the set.
    #[schemars(with = "Map<String, Value>")]
    pub body: Value,
}

/// `args` of `KIND.delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteArgs {
    pub id: Id,
}

/// `args` of `KIND.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListArgs {
    /// Only this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub id: Option<Id>,
    /// Only records whose id begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub prefix: Option<Id>,
    /// Only records that name this person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub person: Option<Id>,
    /// Only records that name this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub group: Option<Id>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), with = "String")]
    pub after: Option<String>,
    /// Records in one page; a page may hold fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500), with = "u32")]
    pub limit: Option<u32>,
}

/// `args` of `live_events.unsubscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeArgs {
    /// The `jti` of the subscription.
    pub jti: Id,
}

/// `args` of `configuration.put`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationPutArgs {
    /// The whole site file.
    pub toml: String,
    /// SHA-256 in hex of the file that this one was made from: refused as `conflict` if another is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub expect_sha256: Option<String>,
    /// Rolled back by itself unless `configuration.confirm` comes within this time.
    #[schemars(range(min = 5, max = 3600))]
    pub confirm_within_s: u32,
}

/// `args` of `configuration.confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationConfirmArgs {
    /// SHA-256 in hex of the file on trial.
    #[schemars(with = "hex32::Sha256Hex")]
    pub sha256: String,
}

/// `args` of `node.diagnostics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnosticsArgs {
    /// Also explain what would be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<ExplainArgs>,
}

/// At a door (or compartment) or in the cab of a floor group, exactly one of the two. Exactly one of `credential`,
/// `person` and `emergency_card`: as if that card were presented there, or as a virtual read of that person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainArgs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_group: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_card: Option<Id>,
    /// One reader of the place, where it matters which: of an area the one leads in and another out. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub reader: Option<Id>,
    /// With a clock that is trusted and a set that the cloud has confirmed. Absent: now, with clock and set as
    /// they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Wall>,
}

impl ExplainArgs {
    pub(in crate::wire::command) fn is_one_question(&self) -> bool {
        let whose = [&self.credential, &self.person, &self.emergency_card];
        self.door.is_some() != self.floor_group.is_some() && whose.into_iter().flatten().count() == 1
    }
}

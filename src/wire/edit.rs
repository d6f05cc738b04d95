//! What edits and lists by command answer. Owns the shapes; must never hold a record's meaning. Invariant: a
//! page says which set and which revision of the edits over it is seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::ids::Id;

/// The answer to `KIND.put` and `KIND.delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditDone {
    /// Of the edits over the cloud's set, with this one. The edit stands until a set lists its `jti` in `absorbs`.
    pub revision: u64,
}

/// The answer to `KIND.list`: records as they are in force, in an order of the node's own. A page may hold
/// fewer than were asked for, even none: it is the last only where there is no `next`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPage {
    pub kind: Id,
    /// The set.
    pub epoch: u64,
    pub generation: u64,
    /// The edits over it.
    pub revision: u64,
    pub records: Vec<Listed>,
    /// `after` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub id: Id,
    /// As in the set. Of an operator who has not accepted the invitation `name` says so.
    pub body: Map<String, Value>,
}

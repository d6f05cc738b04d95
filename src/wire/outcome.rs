//! One stage of one command, as the cloud sees it on `rsp`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{event::Refusal, ids::Id, time::Wall};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Received,
    Authorised,
    Scheduled,
    Actuated,
    Observed,
    NotObserved,
    Done,
    Refused,
    Expired,
    Cancelled,
    Failed,
    Unknown,
}

impl Stage {
    /// `Actuated` is final only where no observation follows; its outcome then says `detail.final`.
    pub fn always_ends(self) -> bool {
        !matches!(self, Stage::Received | Stage::Authorised | Stage::Scheduled | Stage::Actuated)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    pub jti: Id,
    /// Counts the stages of one command from 0.
    pub seq: u32,
    pub stage: Stage,
    pub at: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Refusal>,
    /// For people, or the answer of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

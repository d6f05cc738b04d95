//! One stage of one command, as the cloud sees it on `rsp`. Owns the words; must never decide which is true
//! (that is the desk's). Invariant: a command's outcomes count up from 0 and end once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    configuration::ConfigurationAnswer,
    edit::{EditDone, ListPage},
    live::Subscribed,
    report::ReportPage,
    telemetry::Diagnostics,
};
use crate::domain::{
    door::DoorStatus,
    event::{DenialReason, Refusal},
    ids::Id,
    permission::Explanation,
    time::Wall,
};

/// How far a command has got. Each command passes through some of these in this order, and ends once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Authentic, well-formed, for this node, and new.
    Received,
    /// The operator may do this here and now.
    Authorised,
    /// Stored, to be carried out when it is due (a delay, `nbf`).
    Scheduled,
    /// The board confirmed it by read-back; where the mode must outlive a power cut, it is durable, too.
    /// The end where no contact can tell more: `detail` is then `{"final": true}`.
    Actuated,
    /// The end: the door was seen to open (or, for `door.close`, is seen closed).
    Observed,
    /// The end: actuated, but the contact did not follow.
    NotObserved,
    /// The end of a command that moves no hardware; `detail` holds the answer.
    Done,
    /// The end: see `reason`. Nothing was moved.
    Refused,
    /// The end: the deadline passed first. Nothing was moved.
    Expired,
    /// The end: another command or a revoked key took it back.
    Cancelled,
    /// The end: the board refused it, and `detail` says what it answered; or of several doors not all did it.
    Failed,
    /// The end: nobody knows. The write was not answered and could not be read back, or the command was for
    /// another run of the daemon, whose `detail` then holds the present `boot`.
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
    /// When it got there.
    pub at: Wall,
    /// With `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Refusal>,
    /// Shaped like [`Detail`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Detail")]
    pub detail: Option<serde_json::Value>,
}

/// What there is to say beyond the stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// For people: which field, what was expected, what the board answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub message: Option<String>,
    /// With `actuated`, where it is the end: no contact can tell more.
    #[serde(default, rename = "final", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub last: Option<bool>,
    /// The answer to `door.state.get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DoorStatus")]
    pub state: Option<DoorStatus>,
    /// Of `door.virtual_read`: what the rules, fallbacks and areas said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReadDecision")]
    pub decision: Option<ReadDecision>,
    /// With `scheduled`, of a delay: when it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Wall")]
    pub due_at: Option<Wall>,
    /// Of a command for several doors and elevators: those that did not do it, and how it ended there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<Id, DoorEnd>")]
    pub doors: Option<BTreeMap<Id, DoorEnd>>,
    /// The answer to `reports.query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReportPage")]
    pub report: Option<ReportPage>,
    /// The answer to `KIND.put` and `KIND.delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EditDone")]
    pub edit: Option<EditDone>,
    /// With `refused`: everything that is wrong with an edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub reasons: Option<Vec<String>>,
    /// The answer to `KIND.list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ListPage")]
    pub list: Option<ListPage>,
    /// The answer to `live_events.subscribe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Subscribed")]
    pub live: Option<Subscribed>,
    /// The answer to `configuration.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConfigurationAnswer")]
    pub configuration: Option<ConfigurationAnswer>,
    /// The answer to `node.diagnostics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Diagnostics")]
    pub diagnostics: Option<Box<Diagnostics>>,
    /// The same, where `explain` was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Explanation")]
    pub explanation: Option<Box<Explanation>>,
    /// With `refused`: everything that is wrong, one line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub errors: Option<Vec<String>>,
    /// With `unknown`, where the command was for another run: the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub boot: Option<Id>,
}

/// What became of a virtual read, as `access.granted` or `access.denied` tells it as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadDecision {
    pub granted: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
    pub person: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Id>,
}

/// How a command for several doors and elevators ended at one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorEnd {
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

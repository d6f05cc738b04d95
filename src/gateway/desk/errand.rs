//! What a command asks of the node itself rather than of the field: edits, lists, reports, live events,
//! configuration. Owns the words between the desk and whoever carries it out; must never carry anything that
//! was not authorised. Invariant: each errand ends in exactly one final [`Answered`].

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    domain::{
        event::{EditMade, Refusal},
        ids::Id,
        outputs::Ticket,
        permission::{Explanation, SetVersion},
        status::Link,
        time::Wall,
    },
    gateway::reports::Scope,
    wire::{command::CommandBody, edit::EditDone, outcome::Stage, telemetry::Gauges},
};

/// An authorised command that is not a task of the field. Its body says what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Errand {
    pub ticket: Ticket,
    pub operator: Id,
    pub issuer: String,
    pub jti: Id,
    /// The key that signed it.
    pub kid: Id,
    /// What the operator may see.
    pub scope: Scope,
    pub body: CommandBody,
    /// For `node.diagnostics`.
    pub figures: Option<Box<Figures>>,
}

/// What only the cloud's side knows of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub set: SetVersion,
    pub keys_version: u64,
    pub staleness: Option<Duration>,
    pub gauges: Gauges,
    pub outcomes_dropped: u64,
    pub boards: Vec<(Id, Link)>,
    pub readers: Vec<(Id, Link)>,
    /// What a card would come to, if that was asked.
    pub explanation: Option<Box<Explanation>>,
}

/// How far an errand has got. `detail` is published with the outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub ticket: Ticket,
    pub at: Wall,
    pub answered: Answered,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// Not final: a configuration on trial.
    Scheduled(Option<Value>),
    Done(Option<Value>),
    /// An edit stands.
    Edited(EditMade),
    Refused(Refusal, Value),
    Cancelled(Value),
    Failed(Value),
    Unknown(Value),
}

impl Answered {
    pub fn is_final(&self) -> bool {
        !matches!(self, Answered::Scheduled(_))
    }

    pub(super) fn staged(self) -> (Stage, Option<Refusal>, Option<Value>) {
        match self {
            Answered::Scheduled(detail) => (Stage::Scheduled, None, detail),
            Answered::Done(detail) => (Stage::Done, None, detail),
            Answered::Edited(EditMade { revision, .. }) => {
                (Stage::Done, None, Some(json!({ "edit": EditDone { revision } })))
            }
            Answered::Refused(reason, detail) => (Stage::Refused, Some(reason), Some(detail)),
            Answered::Cancelled(detail) => (Stage::Cancelled, None, Some(detail)),
            Answered::Failed(detail) => (Stage::Failed, None, Some(detail)),
            Answered::Unknown(detail) => (Stage::Unknown, None, Some(detail)),
        }
    }
}

//! How a command ends, in the words of the contract. Owns the passage from what happened to what is said;
//! must never decide anything. Invariant: every progress of an order has its stage.

use serde_json::{Map, Value, json};

use super::Entry;
use crate::{
    domain::{
        event::Refusal,
        ids::Id,
        order::{Decided, Progress},
        time::{Now, Wall},
    },
    wire::{
        command::Command,
        outcome::{DoorEnd, Outcome, ReadDecision, Stage},
    },
};

/// Of the doors that did not do what several were ordered to: an outcome has to fit into a message.
const DOORS_TOLD_MAX: usize = 500;

/// Why a command ends before any door hears of it.
pub struct End {
    pub stage: Stage,
    pub reason: Option<Refusal>,
    pub detail: Value,
    pub event: bool,
}

impl End {
    pub fn refused(reason: Refusal, message: impl Into<String>) -> End {
        End { stage: Stage::Refused, reason: Some(reason), detail: message_detail(message), event: false }
    }

    /// The operator or the way it came, not the command, was found wanting: that is worth an event.
    pub fn unauthorised(reason: Refusal, message: impl Into<String>) -> End {
        End { event: true, ..End::refused(reason, message) }
    }

    pub fn stage(stage: Stage, message: impl Into<String>) -> End {
        End { stage, reason: None, detail: message_detail(message), event: false }
    }
}

pub fn message_detail(message: impl Into<String>) -> Value {
    json!({ "message": message.into() })
}

impl End {
    pub fn outcome(self, jti: &Id, seq: u32, at: Wall) -> Outcome {
        Outcome { jti: jti.clone(), seq, stage: self.stage, at, reason: self.reason, detail: Some(self.detail) }
    }
}

/// The answer to an id that is known: the stored outcome for the same bytes, `conflict` for others.
pub fn repeated(known: &Entry, command: &Command, now: Now) -> Outcome {
    match known.record.outcomes.last() {
        Some(last) if known.record.digest == command.digest => last.clone(),
        _ => {
            let message = "another command was received under this jti";
            End::refused(Refusal::Conflict, message).outcome(&command.jti, 0, now.wall)
        }
    }
}

/// Details beyond this many bytes are told and not kept.
const KEPT_BYTES_MAX: usize = 4096;

/// What is remembered of an outcome: a page of a report is not worth its place in the ledger, and whoever
/// lost it can ask again.
pub fn kept(outcome: &Outcome) -> Outcome {
    let large = outcome.detail.as_ref().is_some_and(|detail| detail.to_string().len() > KEPT_BYTES_MAX);
    let told = || message_detail("the answer was told when it was made and is not kept: ask again under another jti");
    Outcome { detail: if large { Some(told()) } else { outcome.detail.clone() }, ..outcome.clone() }
}

/// Whether an outcome is the last of its command.
pub fn is_last(outcome: &Outcome) -> bool {
    let said_so = || outcome.detail.as_ref().is_some_and(|detail| detail["final"] == Value::Bool(true));
    outcome.stage.always_ends() || (outcome.stage == Stage::Actuated && said_so())
}

/// Of a virtual read: what the rules said, beside whatever else is told of the stage.
pub fn decision_detail(decided: &Decided) -> Value {
    let Decided { reason, person, credential, rule } = decided.clone();
    json!({ "decision": ReadDecision { granted: reason.is_none(), reason, person, credential, rule } })
}

/// Both details in one.
pub fn merged(first: Option<Value>, second: Option<Value>) -> Option<Value> {
    match (first, second) {
        (Some(Value::Object(mut first)), Some(Value::Object(second))) => {
            first.extend(second);
            Some(Value::Object(first))
        }
        (first, second) => second.or(first),
    }
}

pub fn staged(progress: Progress) -> (Stage, Option<Refusal>, Option<Value>) {
    match progress {
        Progress::Actuated { observation_follows: true } => (Stage::Actuated, None, None),
        Progress::Actuated { observation_follows: false } => (Stage::Actuated, None, Some(json!({ "final": true }))),
        Progress::Observed => (Stage::Observed, None, None),
        Progress::NotObserved => (Stage::NotObserved, None, None),
        Progress::Reported(status) => (Stage::Done, None, Some(json!({ "state": *status }))),
        // The first two never get here: the desk keeps the one for the stage that follows, the uplink takes the other.
        Progress::Decided(_) | Progress::Examined(_) | Progress::Done => (Stage::Done, None, None),
        Progress::Refused(reason, message) => (Stage::Refused, Some(reason), Some(message_detail(message))),
        Progress::Expired => {
            (Stage::Expired, None, Some(message_detail("the deadline passed before the wire was free")))
        }
        Progress::Cancelled => (Stage::Cancelled, None, None),
        Progress::Failed(message) => (Stage::Failed, None, Some(message_detail(message))),
        Progress::Unknown(message) => (Stage::Unknown, None, Some(message_detail(message))),
        Progress::Partly { done, others } => partly(done, others),
        // Never a door's; whoever gets it all the same has nothing to tell.
        Progress::Stored => (Stage::Scheduled, None, None),
    }
}

/// What only some doors did has failed, and each of the others is told of. What none did ends as it ended there,
/// if it ended alike.
fn partly(done: usize, others: Vec<(Id, Progress)>) -> (Stage, Option<Refusal>, Option<Value>) {
    let left_out = others.len().saturating_sub(DOORS_TOLD_MAX);
    let told = others.len() - left_out;
    let mut ends: Vec<(Id, Stage, Option<Refusal>, Option<String>)> = Vec::with_capacity(others.len());
    for (door, progress) in others {
        let (stage, reason, detail) = staged(progress);
        let message = detail.and_then(|detail| detail["message"].as_str().map(str::to_owned));
        ends.push((door, stage, reason, message));
    }
    let alike = ends.first().map(|(_, stage, reason, _)| (*stage, *reason));
    let alike = alike.filter(|alike| done == 0 && ends.iter().all(|(_, stage, reason, _)| (*stage, *reason) == *alike));
    let message = match left_out {
        0 => format!("{done} doors did it, {told} did not"),
        more => format!("{done} doors did it, {} did not: {told} are told of, and {more} more", told + more),
    };
    let doors: Map<String, Value> = ends
        .into_iter()
        .take(DOORS_TOLD_MAX)
        .map(|(door, stage, reason, message)| (door.to_string(), json!(DoorEnd { stage, reason, message })))
        .collect();
    let (stage, reason) = alike.unwrap_or((Stage::Failed, None));
    (stage, reason, Some(json!({ "message": message, "doors": doors })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::event::DenialReason, wire::outcome::Detail};

    #[test]
    fn what_became_of_a_virtual_read_is_told_in_the_words_of_the_contract() {
        let id = |text: &str| Id::new(text).unwrap();
        for reason in [None, Some(DenialReason::NoRule)] {
            let decided = Decided { reason, person: id("ada"), credential: None, rule: Some(id("staff")) };
            let told = merged(Some(decision_detail(&decided)), Some(json!({ "final": true }))).unwrap();
            let detail: Detail = serde_json::from_value(told).unwrap();
            let expected = ReadDecision {
                granted: reason.is_none(),
                reason,
                person: id("ada"),
                credential: None,
                rule: Some(id("staff")),
            };
            assert_eq!((detail.decision, detail.last), (Some(expected), Some(true)));
        }
    }
}

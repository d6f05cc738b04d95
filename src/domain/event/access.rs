//! What is told of an attempt to pass. Owns the shapes of `access.granted` and `access.denied`; must never
//! hold a digit that was typed. Invariant: whatever was presented, by whom, where and why it ended so is in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Actor, CardEvidence, DenialReason};
use crate::domain::ids::Id;

/// At a door or compartment, or, in a cab, for the floors of a floor group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Granted {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub door: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor_group: Option<Id>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub floors: Vec<Id>,
    /// Absent where an operator's virtual read was at a door without a reader.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reader: Option<Id>,
    /// Absent where a code opened that belongs to a contract without a cardholder, and for an emergency card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub person: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<Id>,
    /// Of a compartment: by which contract.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contract: Option<Id>,
    /// It was an emergency card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emergency_card: Option<Id>,
    /// Where two people are needed: the other one, of whom there is an event as well.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub companion: Option<Id>,
    /// Nobody stood there: an operator had the cardholder's credential read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actor: Option<Actor>,
    /// Absent where only a code was typed, and for a virtual read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card: Option<CardEvidence>,
}

/// The members are those of [`Granted`], as far as they are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Denied {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub door: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor_group: Option<Id>,
    /// At the reader of a cabinet, where it is not known which compartment was meant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cabinet: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reader: Option<Id>,
    pub reason: DenialReason,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub person: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<Id>,
    /// The rule that denied, or that would have allowed at another time, or with more presented.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contract: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emergency_card: Option<Id>,
    /// Of the area whose limit or anti-passback stood in the way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub area: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actor: Option<Actor>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card: Option<CardEvidence>,
}

impl Denied {
    pub fn new(reason: DenialReason) -> Denied {
        Denied {
            door: None,
            floor_group: None,
            cabinet: None,
            reader: None,
            reason,
            person: None,
            credential: None,
            rule: None,
            contract: None,
            emergency_card: None,
            area: None,
            actor: None,
            card: None,
        }
    }
}

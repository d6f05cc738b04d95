//! What is told of an attempt to pass. Owns the shapes of `access.granted` and `access.denied`, what was presented and
//! why it was refused; must never hold a digit that was typed. Invariant: whatever was presented, by whom, where and why
//! it ended so is in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Actor;
use crate::domain::ids::Id;

/// Why a credential was refused: the closed list of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DenialReason {
    UnknownCredential,
    NoRule,
    ExplicitDeny,
    OutsideSchedule,
    NotYetActive,
    Expired,
    Suspended,
    Lost,
    Stolen,
    WrongPin,
    PinRequired,
    PinLockedOut,
    SecondPersonRequired,
    ApbViolation,
    AreaFull,
    Interlock,
    Dnd,
    LockedDown,
    Forced,
    StalePermissions,
    ClockUntrusted,
    EmergencyOnly,
    BadFormat,
}

/// What a reader delivered, kept whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardEvidence {
    /// Number of bits that the reader sent.
    pub bits: u16,
    /// The bits as hex digits, most significant first, left-padded with zero bits to a full digit; of more than 1024
    /// the last, and what there was no room for where they were read as zeros.
    pub raw: String,
    /// The card formats that fit, in the order in which they are asked about; last `raw`, the bits themselves,
    /// which is all there is where none fits.
    pub formats: Vec<Id>,
    /// False where no format fits and one of this length has parity bits that say so.
    pub parity_ok: bool,
    /// Several formats fit: the first of them under which the set knows a credential is what was meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassageWay {
    Entry,
    Exit,
}

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

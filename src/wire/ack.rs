//! The cloud's acknowledgement of events: it has stored all of them up to a number. Owns its shape; must
//! never judge it against the log (that is the session's). Invariant: a parsed one is for this node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    canonical::{StrictError, hex32, parse_strict},
    jws::{Typ, Verified},
};
use crate::domain::ids::Id;

/// The payload of a `latchd-ack+jwt`. It is cumulative, so it may be sent as rarely as the cloud likes, be
/// lost, and come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventAck {
    /// `org/node`, a single string.
    pub aud: String,
    /// Of the log that the events are from, as their messages say.
    pub log_id: Id,
    /// The cloud has durably stored every event with this `seq` and below.
    pub through: u64,
    /// Hash of the event with that `seq`, as the cloud computes it: the node lets go of nothing if it is not
    /// its own.
    #[serde(with = "hex32")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub head_hash: [u8; 32],
}

/// Why an authentic document other than a command is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error(transparent)]
    Json(#[from] StrictError),
    #[error("aud: {found:?} is not this node, which is {expected:?}")]
    WrongAudience { expected: String, found: String },
    #[error("expected a {expected}, found a {found}")]
    WrongTyp { expected: Typ, found: Typ },
}

impl EventAck {
    /// `audience` is `org/node`.
    pub fn parse(verified: &Verified, audience: &str) -> Result<EventAck, DocumentError> {
        check_typ(verified, Typ::Ack)?;
        let ack: EventAck = parse_strict(verified.payload())?;
        check_audience(&ack.aud, audience)?;
        Ok(ack)
    }
}

pub(super) fn check_typ(verified: &Verified, expected: Typ) -> Result<(), DocumentError> {
    let found = verified.typ();
    if found == expected { Ok(()) } else { Err(DocumentError::WrongTyp { expected, found }) }
}

pub(super) fn check_audience(found: &str, expected: &str) -> Result<(), DocumentError> {
    if found == expected {
        return Ok(());
    }
    Err(DocumentError::WrongAudience { expected: expected.to_owned(), found: found.chars().take(130).collect() })
}

//! The beat: the cloud's signed word on which set is the present one. Owns its shape; must never judge it
//! against what the node holds or asked (that is the session's). Invariant: a parsed one is for this node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ack::{DocumentError, check_audience, check_typ},
    canonical::{hex32, parse_strict},
    jws::{Typ, Verified},
    numeric_date::NumericDate,
};
use crate::domain::ids::Id;

/// The payload of a `latchd-beat+jwt`, sent in answer to `set/req`. Only a beat that repeats the nonce of
/// the node's latest request counts: it alone resets staleness, and it alone restores trust in the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// `org/node`, a single string.
    pub aud: String,
    pub iat: NumericDate,
    /// Of the request that this answers.
    pub nonce: Id,
    /// What the cloud holds for this node, right now.
    pub epoch: u64,
    pub generation: u64,
    #[serde(with = "hex32")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub digest: [u8; 32],
    /// Version of the latest key set: a node that has an older one knows that it was kept from it.
    pub keys_version: u64,
}

impl Beat {
    /// `audience` is `org/node`.
    pub fn parse(verified: &Verified, audience: &str) -> Result<Beat, DocumentError> {
        check_typ(verified, Typ::Beat)?;
        let beat: Beat = parse_strict(verified.payload())?;
        check_audience(&beat.aud, audience)?;
        Ok(beat)
    }
}

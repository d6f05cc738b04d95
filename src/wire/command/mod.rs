//! The command. Owns the strict step from a verified payload to a [`Command`]; must never judge time,
//! authority or state (that is the desk's). Invariant: a [`Command`] is complete and well-formed, is for
//! this node, and names its operator; nothing in it was guessed.
//!
//! The commands are in `body`, their arguments in `args`, and how those are read in `read`.

mod args;
mod body;
mod read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub use self::{args::*, body::CommandBody};
use super::{
    canonical::{parse_strict, sha256},
    jws::Verified,
    numeric_date::NumericDate,
};
use crate::domain::{event::Refusal, ids::Id, operator, record::ForceState, time::Wall};

pub const ISSUER_BYTES_MAX: usize = 256;

/// Whether the contract has a command of this name, whatever this version can do with it.
pub fn is_known(name: &str) -> bool {
    operator::requirement(name).is_some()
}

/// Every name that [`is_known`], for the published contract.
pub fn known_commands() -> impl Iterator<Item = String> {
    operator::table().map(|(name, ..)| name)
}

/// The payload of a `latchd-cmd+jwt`, as a cloud writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandClaims {
    /// The cloud, as the node's configuration names it.
    #[schemars(length(min = 1, max = 256))]
    pub iss: String,
    /// The node, as `org/node`: a single string.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._-]{1,64}$"))]
    pub aud: String,
    /// The operator who asked: the node checks this operator against its own mirror.
    pub sub: Id,
    /// New for each command of this issuer. The same bytes again answer with the stored outcome and move
    /// nothing; other bytes under the same `jti` are a `conflict`.
    pub jti: Id,
    /// When it was issued. A level command that is older than the last one applied to its door is a `conflict`.
    pub iat: NumericDate,
    /// The deadline at the relay, after `iat`: at most 60 s after it for what moves hardware, 24 h for the rest.
    pub exp: NumericDate,
    /// Nothing happens before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NumericDate")]
    pub nbf: Option<NumericDate>,
    /// The run of the daemon that this is for, from its status. Required for what moves hardware: a command
    /// for another run is answered `unknown` and moves nothing, unless it secures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub boot: Option<Id>,
    pub cmd: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    pub args: Option<Map<String, Value>>,
}

/// A well-formed command from an authentic issuer for this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub issuer: String,
    pub operator: Id,
    pub jti: Id,
    pub iat: Wall,
    pub exp: Wall,
    pub nbf: Option<Wall>,
    /// Present wherever [`CommandBody::moves_hardware`].
    pub boot: Option<Id>,
    /// The key that signed it.
    pub kid: Id,
    /// SHA-256 of the JWS as received.
    pub digest: [u8; 32],
    pub body: CommandBody,
}

impl CommandBody {
    /// Doors, floors, lockers, outputs, lockdown: lives at most 60 s and needs `boot`.
    pub fn moves_hardware(&self) -> bool {
        moves_hardware(&self.name())
    }

    /// Idempotent and only ever less open than before: passes the restart fence and an untrusted clock.
    pub fn is_securing(&self) -> bool {
        match self {
            CommandBody::Dnd { set, .. } => *set == Setting::On,
            CommandBody::Force { state, .. } => *state == ForceState::Closed,
            _ => is_securing(&self.name()),
        }
    }
}

/// Whatever its arguments; `door.dnd` on and `door.force` closed secure as well.
pub fn is_securing(name: &str) -> bool {
    matches!(name, "door.close" | "lockdown.set")
}

/// See [`CommandBody::moves_hardware`].
pub fn moves_hardware(name: &str) -> bool {
    match name {
        "door.cancel_delay" | "door.state.get" => false,
        _ => {
            let area = name.split_once('.').map_or(name, |(area, _)| area);
            matches!(area, "door" | "lockdown" | "floor" | "locker" | "output")
        }
    }
}

/// A command that is authentic but not fit: whom to answer, as far as it says so, and what with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal:?}: {detail}")]
pub struct Rejected {
    pub jti: Option<Id>,
    pub issuer: Option<String>,
    pub operator: Option<Id>,
    pub refusal: Refusal,
    pub detail: String,
}

/// Reads the payload of a `latchd-cmd+jwt`. `compact` is the JWS that `verified` came from, `audience` is
/// `org/node`.
pub fn parse(verified: &Verified, compact: &[u8], audience: &str) -> Result<Command, Rejected> {
    let mut claims: Map<String, Value> = parse_strict(verified.payload()).map_err(|e| Rejected {
        jti: None,
        issuer: None,
        operator: None,
        refusal: Refusal::Malformed,
        detail: e.to_string(),
    })?;
    let mut rejected = Rejected {
        jti: claims.get("jti").and_then(|v| v.as_str()).and_then(|v| Id::new(v).ok()),
        issuer: claims.get("iss").and_then(|v| v.as_str()).map(str::to_owned),
        operator: claims.get("sub").and_then(|v| v.as_str()).and_then(|v| Id::new(v).ok()),
        refusal: Refusal::Malformed,
        detail: String::new(),
    };
    let digest = sha256(compact);
    command(&mut claims, verified.kid(), digest, audience).map_err(|(refusal, detail)| {
        rejected.refusal = refusal;
        rejected.detail = detail;
        rejected
    })
}

type Claims = Map<String, Value>;
type Fault = (Refusal, String);

fn malformed(detail: impl Into<String>) -> Fault {
    (Refusal::Malformed, detail.into())
}

fn command(claims: &mut Claims, kid: &Id, digest: [u8; 32], audience: &str) -> Result<Command, Fault> {
    let jti: Id = required(claims, "jti", "an id that is new for each command")?;
    let issuer: String = required(claims, "iss", "a string")?;
    let operator: Id = required(claims, "sub", "the id of the operator who asked")?;
    let aud: String = required(claims, "aud", "a single string, org/node")?;
    if aud != audience {
        return Err((Refusal::WrongAudience, format!("aud: {aud:?} is not this node, which is {audience:?}")));
    }
    if issuer.is_empty() || issuer.len() > ISSUER_BYTES_MAX {
        return Err(malformed(format!("iss: expected 1 to {ISSUER_BYTES_MAX} bytes")));
    }
    let iat: NumericDate = required(claims, "iat", "a NumericDate")?;
    let exp: NumericDate = required(claims, "exp", "a NumericDate, the deadline at the relay")?;
    let nbf: Option<NumericDate> = optional(claims, "nbf", "a NumericDate")?;
    let boot: Option<Id> = optional(claims, "boot", "the id of the node's run, from its status")?;
    let name: String = required(claims, "cmd", "the name of a command")?;
    let args = claims.remove("args");
    if let Some(unknown) = claims.keys().next() {
        return Err(malformed(format!(
            "{unknown}: unknown field; expected iss, aud, sub, jti, iat, exp, nbf, boot, cmd, args"
        )));
    }
    if exp <= iat {
        return Err(malformed("exp: must be after iat"));
    }
    let body = CommandBody::parse(&name, args).map_err(|detail| (Refusal::Malformed, detail))?;
    if boot.is_none() && body.moves_hardware() {
        return Err(malformed(format!(
            "boot: missing; {name} moves hardware and must name the node's run, from its status"
        )));
    }
    Ok(Command {
        issuer,
        operator,
        jti,
        iat: iat.0,
        exp: exp.0,
        nbf: nbf.map(|n| n.0),
        boot,
        kid: kid.clone(),
        digest,
        body,
    })
}

fn required<T: DeserializeOwned>(claims: &mut Claims, name: &str, expected: &str) -> Result<T, Fault> {
    optional(claims, name, expected)?.ok_or_else(|| malformed(format!("{name}: missing; expected {expected}")))
}

/// An explicit `null` is a value of the wrong type, not an absence.
fn optional<T: DeserializeOwned>(claims: &mut Claims, name: &str, expected: &str) -> Result<Option<T>, Fault> {
    let Some(value) = claims.remove(name) else { return Ok(None) };
    T::deserialize(value).map(Some).map_err(|e| malformed(format!("{name}: expected {expected}: {e}")))
}

#[cfg(test)]
mod tests;

//! Whom the node believes. Owns the root key, the key set signed by it, and what each key is good for;
//! must never add a key that the root did not sign, nor go back to an earlier set. Invariant: a key is
//! good for one use, until it expires, and under one `kid`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    canonical::{StrictError, parse_exact, parse_strict, sha256},
    jws::{self, JwsError, PublicKey, Typ},
    numeric_date::NumericDate,
};
use crate::domain::{ids::Id, time::Wall};

/// Bounds of a key set: far beyond any use, far below any harm.
pub const KEYS_MAX: usize = 64;
pub const REVOKED_MAX: usize = 1024;

/// The one use of a key: which type of document it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Commands.
    Cmd,
    /// The permission set: deltas and manifests.
    Set,
    /// Beats.
    Beat,
    /// Acknowledgements of events.
    Ack,
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyUse::Cmd => "cmd",
            KeyUse::Set => "set",
            KeyUse::Beat => "beat",
            KeyUse::Ack => "ack",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyType {
    #[serde(rename = "OKP")]
    Okp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Curve {
    Ed25519,
}

/// The public half of an Ed25519 key as a JWK (RFC 8037, section 2): the form of the root key's file and
/// of what `latchd keygen` prints for the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwk {
    pub kty: KeyType,
    pub crv: Curve,
    /// The public key: base64url, without padding, of its 32 bytes.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{43}$"))]
    pub x: String,
    /// Absent: the thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Id>,
    /// `EdDSA` or `Ed25519` if present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// `sig` if present.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

impl Jwk {
    pub fn of(key: &PublicKey) -> Jwk {
        let x = URL_SAFE_NO_PAD.encode(key.0);
        Jwk { kty: KeyType::Okp, crv: Curve::Ed25519, x, kid: None, alg: None, purpose: None }
    }

    pub fn public_key(&self) -> Result<PublicKey, KeysError> {
        decode_x(&self.x)
    }

    /// RFC 7638: SHA-256 over the required members in lexicographic order, in base64url.
    pub fn thumbprint(&self) -> Id {
        let digest = sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x).as_bytes());
        let text = URL_SAFE_NO_PAD.encode(digest);
        // 43 characters of the base64url alphabet are an id.
        Id::new(&text).unwrap_or_else(|_| unreachable!("{text} is an id"))
    }
}

fn decode_x(x: &str) -> Result<PublicKey, KeysError> {
    let mut bytes = [0; 32];
    match URL_SAFE_NO_PAD.decode_slice(x, &mut bytes) {
        Ok(32) => Ok(PublicKey(bytes)),
        _ => Err(KeysError::Invalid("x must be base64url without padding of 32 bytes".into())),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error(transparent)]
    Json(#[from] StrictError),
    #[error("this is a private key (it has a member `d`): the node gets the public half only")]
    Private,
    #[error("{0}")]
    Invalid(String),
    #[error("the key set is for {found:?}, expected {expected:?} or the organisation's `*`")]
    WrongAudience { expected: String, found: String },
    #[error("key set {found} is older than {held}, which is in force")]
    RolledBack { held: u64, found: u64 },
    #[error("another key set came under the version {version}, which is in force")]
    Conflict { version: u64 },
}

/// The offline key that signs key sets: a trust anchor, from the installer's file, and never changed by
/// anything that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKey {
    kid: Id,
    key: PublicKey,
}

impl RootKey {
    /// From the JSON of a JWK.
    pub fn from_jwk(json: &[u8]) -> Result<RootKey, KeysError> {
        let members: serde_json::Map<String, serde_json::Value> = parse_strict(json)?;
        if members.contains_key("d") {
            return Err(KeysError::Private);
        }
        let jwk: Jwk = parse_exact(json)?;
        if jwk.alg.as_deref().is_some_and(|alg| !matches!(alg, "EdDSA" | "Ed25519")) {
            return Err(KeysError::Invalid("alg must be EdDSA".into()));
        }
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err(KeysError::Invalid("use must be sig".into()));
        }
        Ok(RootKey { key: jwk.public_key()?, kid: jwk.kid.clone().unwrap_or_else(|| jwk.thumbprint()) })
    }

    pub fn kid(&self) -> &Id {
        &self.kid
    }
}

/// The payload of a `latchd-keys+jwt`, signed by the root key: all keys that the node believes from then
/// on. A key that is not listed is not believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysDocument {
    /// `org/node` for one node, `org/*` for all nodes of an organisation.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]{1,64}/([A-Za-z0-9._-]{1,64}|\\*)$"))]
    pub aud: String,
    /// Rises with each key set, from 1; a node never goes back. Beats name it, so that a node learns that
    /// it missed one.
    #[schemars(range(min = 1))]
    pub version: u64,
    /// When the root signed it; for people, the version decides.
    pub iat: NumericDate,
    /// The epoch in force: the node accepts sets and beats of this epoch only. It is raised (here, thus
    /// under the root key) when a cloud was restored from a backup and its generations start over.
    pub epoch: u64,
    #[schemars(length(max = 64))]
    pub keys: Vec<KeyEntry>,
    /// Keys that are compromised. What a revoked key had scheduled is cancelled; a key that is only left
    /// out of `keys` signs nothing new, and what it had scheduled stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub revoked: Vec<Id>,
}

/// One public key: a JWK (RFC 8037) with its one use and its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    pub kty: KeyType,
    pub crv: Curve,
    /// Named by the header of what the key signs.
    pub kid: Id,
    /// The public key: base64url, without padding, of its 32 bytes.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{43}$"))]
    pub x: String,
    pub latchd_use: KeyUse,
    /// From then on nothing that the key signed is accepted.
    pub exp: NumericDate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub public: PublicKey,
    pub purpose: KeyUse,
    pub exp: Wall,
}

/// The keys in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    version: u64,
    epoch: u64,
    digest: [u8; 32],
    keys: BTreeMap<Id, Key>,
    revoked: BTreeSet<Id>,
}

impl KeySet {
    /// Before the first key set: believes nobody. Version 0.
    pub fn empty() -> KeySet {
        KeySet { version: 0, epoch: 0, digest: [0; 32], keys: BTreeMap::new(), revoked: BTreeSet::new() }
    }

    /// The key set that is in force after `compact` arrived while `previous` was. The same document again
    /// gives the same set. `audience` is `org/node`.
    pub fn from_signed(compact: &[u8], root: &RootKey, audience: &str, previous: &KeySet) -> Result<KeySet, KeysError> {
        let verified = jws::verify_with(compact, Typ::Keys, &root.kid, &root.key)?;
        let document: KeysDocument = parse_exact(verified.payload())?;
        let for_all = |org: &str| audience.split_once('/').is_some_and(|(own, _)| own == org);
        if document.aud != audience && !document.aud.strip_suffix("/*").is_some_and(for_all) {
            return Err(KeysError::WrongAudience { expected: audience.into(), found: document.aud });
        }
        if document.version == 0 {
            return Err(KeysError::Invalid("version starts at 1".into()));
        }
        let digest = sha256(verified.payload());
        let (held, found) = (previous.version, document.version);
        if found < held || document.epoch < previous.epoch {
            return Err(KeysError::RolledBack { held, found });
        }
        if found == held && digest != previous.digest {
            return Err(KeysError::Conflict { version: held });
        }
        KeySet::checked(document, root, digest)
    }

    fn checked(document: KeysDocument, root: &RootKey, digest: [u8; 32]) -> Result<KeySet, KeysError> {
        let invalid = |problem: String| Err(KeysError::Invalid(problem));
        if document.keys.len() > KEYS_MAX || document.revoked.len() > REVOKED_MAX {
            return invalid(format!("more than {KEYS_MAX} keys or {REVOKED_MAX} revoked"));
        }
        let revoked: BTreeSet<Id> = document.revoked.into_iter().collect();
        let mut keys = BTreeMap::new();
        let mut publics = BTreeSet::from([root.key]);
        for entry in document.keys {
            let kid = entry.kid;
            let public = decode_x(&entry.x)?;
            if kid == root.kid || revoked.contains(&kid) {
                return invalid(format!("{kid} is both among the keys and the root key or revoked"));
            }
            if !publics.insert(public) {
                return invalid(format!("{kid}: the same public key stands here twice, and a key has one use"));
            }
            let key = Key { public, purpose: entry.latchd_use, exp: entry.exp.0 };
            if keys.insert(kid.clone(), key).is_some() {
                return invalid(format!("{kid} stands here twice"));
            }
        }
        Ok(KeySet { version: document.version, epoch: document.epoch, digest, keys, revoked })
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The one epoch whose sets and beats are accepted.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn keys(&self) -> &BTreeMap<Id, Key> {
        &self.keys
    }

    pub fn is_revoked(&self, kid: &Id) -> bool {
        self.revoked.contains(kid)
    }

    /// The key that may verify a document of this type now.
    pub(super) fn key_for(&self, kid: &Id, typ: Typ, now: Wall) -> Result<PublicKey, JwsError> {
        let unknown = || JwsError::UnknownKey { kid: kid.clone() };
        if self.is_revoked(kid) {
            return Err(JwsError::RevokedKey { kid: kid.clone() });
        }
        let key = self.keys.get(kid).ok_or_else(unknown)?;
        let expected = typ.key_use().ok_or_else(unknown)?;
        if key.purpose != expected {
            return Err(JwsError::WrongUse { kid: kid.clone(), expected, found: key.purpose });
        }
        if now >= key.exp {
            return Err(JwsError::ExpiredKey { kid: kid.clone(), at: key.exp });
        }
        Ok(key.public)
    }
}

#[cfg(test)]
mod tests;

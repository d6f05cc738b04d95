//! Signed documents: JWS in compact form (RFC 7515), Ed25519 (RFC 8037), nothing else. Owns the one way
//! from untrusted bytes to a [`Verified`] payload; must never look into a payload, and never verify with
//! a key of another use. Invariant: a [`Verified`] exists only after its signature was checked under a
//! key that was good for that type of document at that time.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    canonical::MESSAGE_BYTES_MAX,
    keys::{Jwk, KeySet, KeyUse},
};
use crate::domain::{ids::Id, time::Wall};

/// An encoded header longer than this is none of ours: three short members.
const HEADER_BYTES_MAX: usize = 512;

/// What is signed; `typ` of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Typ {
    Cmd,
    Set,
    Beat,
    Ack,
    Keys,
    /// What the node itself signs.
    Up,
}

impl Typ {
    pub const ALL: [Typ; 6] = [Typ::Cmd, Typ::Set, Typ::Beat, Typ::Ack, Typ::Keys, Typ::Up];

    pub fn as_str(self) -> &'static str {
        match self {
            Typ::Cmd => "latchd-cmd+jwt",
            Typ::Set => "latchd-set+jwt",
            Typ::Beat => "latchd-beat+jwt",
            Typ::Ack => "latchd-ack+jwt",
            Typ::Keys => "latchd-keys+jwt",
            Typ::Up => "latchd-up+jwt",
        }
    }

    /// The use that a key of the key set must have; key sets are signed by the root key and what goes up
    /// by the node, neither of which is in a key set.
    pub fn key_use(self) -> Option<KeyUse> {
        match self {
            Typ::Cmd => Some(KeyUse::Cmd),
            Typ::Set => Some(KeyUse::Set),
            Typ::Beat => Some(KeyUse::Beat),
            Typ::Ack => Some(KeyUse::Ack),
            Typ::Keys | Typ::Up => None,
        }
    }
}

impl fmt::Display for Typ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error("{bytes} bytes are more than the {MESSAGE_BYTES_MAX} that a message may have")]
    TooLarge { bytes: usize },
    #[error("not a JWS in compact form: {0}")]
    NotCompact(&'static str),
    #[error("header: {0}")]
    Header(String),
    #[error("alg must be EdDSA")]
    Algorithm,
    #[error("typ is {found:?}, expected {expected}")]
    WrongTyp { expected: Typ, found: String },
    #[error("the key set has no key {kid}")]
    UnknownKey { kid: Id },
    #[error("the key {kid} is revoked")]
    RevokedKey { kid: Id },
    #[error("the key {kid} is for {found}, not for {expected}")]
    WrongUse { kid: Id, expected: KeyUse, found: KeyUse },
    #[error("the key {kid} expired at {at}")]
    ExpiredKey { kid: Id, at: Wall },
    #[error("the signature does not verify")]
    BadSignature,
}

/// A payload whose signature was checked. Made by [`verify`] and [`verify_with`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    typ: Typ,
    kid: Id,
    payload: Vec<u8>,
}

impl Verified {
    pub fn typ(&self) -> Typ {
        self.typ
    }

    /// The key that signed it.
    pub fn kid(&self) -> &Id {
        &self.kid
    }

    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Verifies a document from the cloud under the key set. `now` judges the keys' expiry: with an untrusted
/// clock pass the highest time that is known to have passed (the persisted floor), so that a wrong clock
/// can neither revive a key long expired nor lock the cloud out.
pub fn verify(compact: &[u8], typ: Typ, keys: &KeySet, now: Wall) -> Result<Verified, JwsError> {
    let parts = split(compact)?;
    let header = parts.header()?;
    let kid = header.check(typ)?;
    let key = keys.key_for(&kid, typ, now)?;
    parts.verify(typ, kid, &key)
}

/// Verifies under one key that is known beforehand: the root key, or a node's (`typ` [`Typ::Up`]).
/// The header's `kid` must be `kid`.
pub fn verify_with(compact: &[u8], typ: Typ, kid: &Id, key: &PublicKey) -> Result<Verified, JwsError> {
    let parts = split(compact)?;
    let named = parts.header()?.check(typ)?;
    if named != *kid {
        return Err(JwsError::UnknownKey { kid: named });
    }
    parts.verify(typ, named, key)
}

/// What the document claims to be, unverified: only good for choosing whom to hand it to.
pub fn claimed_typ(compact: &[u8]) -> Result<Typ, JwsError> {
    let parts = split(compact)?;
    let header = parts.header()?;
    let found = Typ::ALL.into_iter().find(|typ| typ.as_str() == header.typ);
    found.ok_or_else(|| JwsError::Header(format!("typ {:?} is not one of this contract", header.typ)))
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
    signed: &'a [u8],
}

fn split(compact: &[u8]) -> Result<Parts<'_>, JwsError> {
    if compact.len() > MESSAGE_BYTES_MAX {
        return Err(JwsError::TooLarge { bytes: compact.len() });
    }
    let mut dots = compact.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
        return Err(JwsError::NotCompact("expected three parts divided by dots"));
    };
    let (signed, signature) = compact.split_at(second);
    let (header, payload) = signed.split_at(first);
    let (payload, signature) = (after_dot(payload), after_dot(signature));
    if header.len() > HEADER_BYTES_MAX {
        return Err(JwsError::NotCompact("the header is too long"));
    }
    Ok(Parts { header, payload, signature, signed })
}

fn after_dot(part: &[u8]) -> &[u8] {
    part.split_first().map_or(&[], |(_, rest)| rest)
}

/// Exactly these members: a header member that we ignored could be one that its sender relied upon.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: Id,
}

impl Header {
    fn check(self, expected: Typ) -> Result<Id, JwsError> {
        if self.alg != "EdDSA" {
            return Err(JwsError::Algorithm);
        }
        if self.typ != expected.as_str() {
            return Err(JwsError::WrongTyp { expected, found: self.typ });
        }
        Ok(self.kid)
    }
}

impl Parts<'_> {
    fn header(&self) -> Result<Header, JwsError> {
        let json = URL_SAFE_NO_PAD.decode(self.header).map_err(|_| JwsError::NotCompact("header: not base64url"))?;
        // serde would also read `["EdDSA", …]`.
        if json.first() != Some(&b'{') {
            return Err(JwsError::Header("expected a JSON object".into()));
        }
        serde_json::from_slice(&json).map_err(|e| JwsError::Header(e.to_string()))
    }

    fn verify(&self, typ: Typ, kid: Id, key: &PublicKey) -> Result<Verified, JwsError> {
        let mut signature = [0; 64];
        match URL_SAFE_NO_PAD.decode_slice(self.signature, &mut signature) {
            Ok(64) => {}
            _ => return Err(JwsError::NotCompact("signature: expected base64url of 64 bytes")),
        }
        UnparsedPublicKey::new(&ED25519, key.0).verify(self.signed, &signature).map_err(|_| JwsError::BadSignature)?;
        let payload =
            URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| JwsError::NotCompact("payload: not base64url"))?;
        Ok(Verified { typ, kid, payload })
    }
}

// ---- signing ----

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "expected a PEM file with one PRIVATE KEY (PKCS#8), as `latchd keygen` or `openssl genpkey -algorithm ed25519` make it"
    )]
    NotPem,
    #[error("not an Ed25519 private key in PKCS#8: {0}")]
    NotEd25519(String),
}

/// An Ed25519 private key that signs.
pub struct Signer {
    pair: Ed25519KeyPair,
    kid: Id,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.kid)
    }
}

/// What precedes the 32 bytes of the private key in PKCS#8 version 1 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

impl Signer {
    /// DER, with (version 2) or without (version 1, what OpenSSL makes) the public key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Signer, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|e| KeyError::NotEd25519(e.to_string()))?;
        Ok(Signer::of(pair))
    }

    pub fn from_pem(pem: &str) -> Result<Signer, KeyError> {
        let body = pem
            .split_once("-----BEGIN PRIVATE KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"));
        let (body, _) = body.ok_or(KeyError::NotPem)?;
        let body = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>());
        let der = base64::engine::general_purpose::STANDARD.decode(&*body).map_err(|_| KeyError::NotPem)?;
        let der = Zeroizing::new(der);
        Signer::from_pkcs8(&der)
    }

    /// The private key itself: 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Signer, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Signer::of).map_err(|e| KeyError::NotEd25519(e.to_string()))
    }

    fn of(pair: Ed25519KeyPair) -> Signer {
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Signer { kid: Jwk::of(&PublicKey(public)).thumbprint(), pair }
    }

    /// A key for sealing what only this node is to read, another one for each purpose. It is hashed from a
    /// signature, which Ed25519 makes the same each time and nobody else can make; a purpose has a space in it, so
    /// that no JWS can be mistaken for one.
    pub fn sealing_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let signature = self.pair.sign(format!("latchd sealing key: {purpose}").as_bytes());
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, signature.as_ref()).as_ref());
        key
    }

    pub fn public_key(&self) -> PublicKey {
        let mut public = [0; 32];
        public.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(public)
    }

    /// The thumbprint of the public key (RFC 7638): the `kid` of what the node signs.
    pub fn kid(&self) -> &Id {
        &self.kid
    }
}

/// A private key file for 32 random bytes, as [`Signer::from_pem`] reads it.
pub fn private_key_pem(seed: &[u8; 32]) -> String {
    let der = Zeroizing::new([&PKCS8_PREFIX[..], &seed[..]].concat());
    let body = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*der));
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *body)
}

/// A JWS in compact form over `payload`.
pub fn sign(signer: &Signer, typ: Typ, kid: &Id, payload: &[u8]) -> String {
    // An id needs no escaping.
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#);
    let mut compact = String::with_capacity(4 * (header.len() + payload.len() + 64) / 3 + 8);
    URL_SAFE_NO_PAD.encode_string(header, &mut compact);
    compact.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut compact);
    let signature = signer.pair.sign(compact.as_bytes());
    compact.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut compact);
    compact
}

#[cfg(test)]
mod tests;

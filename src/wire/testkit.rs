//! Keys and documents for the tests of this layer.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    jws::{Signer, Typ, sign},
    keys::{Jwk, KeySet, RootKey},
};
use crate::domain::{ids::Id, time::Wall};

pub const AUDIENCE: &str = "acme/hq-1";
pub const NOW: Wall = Wall::from_millis(1_790_000_000_000);
pub const KEYS_EXPIRE: Wall = Wall::from_millis(1_800_000_000_000);

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

/// One key for each number.
pub fn signer(number: u8) -> Signer {
    Signer::from_seed(&[number; 32]).unwrap()
}

pub const ROOT: u8 = 1;
pub const CMD: u8 = 2;
pub const SET: u8 = 3;
pub const BEAT: u8 = 4;
pub const ACK: u8 = 5;
pub const NODE: u8 = 6;

pub fn root_jwk() -> Value {
    let mut jwk = serde_json::to_value(Jwk::of(&signer(ROOT).public_key())).unwrap();
    jwk["kid"] = json!("root");
    jwk
}

pub fn root() -> RootKey {
    RootKey::from_jwk(root_jwk().to_string().as_bytes()).unwrap()
}

pub fn key_entry(kid: &str, purpose: &str, number: u8) -> Value {
    let x = Jwk::of(&signer(number).public_key()).x;
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "latchd_use": purpose, "exp": 1_800_000_000})
}

pub fn keys_document() -> Value {
    json!({
        "aud": AUDIENCE, "version": 3, "iat": 1_789_000_000, "epoch": 1,
        "keys": [
            key_entry("cmd-1", "cmd", CMD), key_entry("set-1", "set", SET),
            key_entry("beat-1", "beat", BEAT), key_entry("ack-1", "ack", ACK),
        ],
        "revoked": ["cmd-0"],
    })
}

pub fn signed_keys(document: &Value) -> String {
    sign(&signer(ROOT), Typ::Keys, &id("root"), document.to_string().as_bytes())
}

pub fn keys() -> KeySet {
    static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
        KeySet::from_signed(signed_keys(&keys_document()).as_bytes(), &root(), AUDIENCE, &KeySet::empty()).unwrap()
    });
    KEYS.clone()
}

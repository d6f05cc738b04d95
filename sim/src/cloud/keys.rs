//! The test cloud's keys: an offline root and one key for each use. Deterministic, so that a simulated
//! world can be repeated; worth nothing outside of tests.

use latchd::{
    domain::{ids::Id, time::Wall},
    wire::{
        jws::{self, Signer, Typ},
        keys::{Curve, Jwk, KeyEntry, KeyType, KeyUse, KeysDocument},
        numeric_date::NumericDate,
    },
};

/// The keys of the test cloud.
pub struct CloudKeys {
    root: Signer,
    cmd: Signer,
    set: Signer,
    beat: Signer,
    ack: Signer,
    revoked: Vec<Id>,
}

impl CloudKeys {
    pub fn from_seed(seed: u64) -> CloudKeys {
        let signer = |n: u8| signer_from(seed, n);
        CloudKeys {
            root: signer(0),
            cmd: signer(1),
            set: signer(2),
            beat: signer(3),
            ack: signer(4),
            revoked: Vec::new(),
        }
    }

    /// The root key's public JWK: the file that the installer puts on the node.
    pub fn root_jwk(&self) -> String {
        serde_json::to_string_pretty(&Jwk::of(&self.root.public_key())).unwrap_or_default()
    }

    pub fn signer(&self, typ: Typ) -> &Signer {
        match typ {
            Typ::Cmd | Typ::Up => &self.cmd,
            Typ::Set => &self.set,
            Typ::Beat => &self.beat,
            Typ::Ack => &self.ack,
            Typ::Keys => &self.root,
        }
    }

    /// From the next key set on commands are signed by another key, and the one before is revoked.
    pub fn replace_command_key(&mut self, by: Signer) {
        let before = std::mem::replace(&mut self.cmd, by);
        self.revoked.push(before.kid().clone());
    }

    /// A JWS over `payload`, under the key for that use.
    pub fn sign(&self, typ: Typ, payload: &[u8]) -> String {
        let signer = self.signer(typ);
        jws::sign(signer, typ, signer.kid(), payload)
    }

    pub fn document(&self, audience: &str, version: u64, epoch: u64, now: Wall) -> KeysDocument {
        let uses =
            [(&self.cmd, KeyUse::Cmd), (&self.set, KeyUse::Set), (&self.beat, KeyUse::Beat), (&self.ack, KeyUse::Ack)];
        let year = std::time::Duration::from_secs(365 * 86_400);
        let entry = |(signer, latchd_use): (&Signer, KeyUse)| KeyEntry {
            kty: KeyType::Okp,
            crv: Curve::Ed25519,
            kid: signer.kid().clone(),
            x: Jwk::of(&signer.public_key()).x,
            latchd_use,
            exp: NumericDate(now + year),
        };
        KeysDocument {
            aud: audience.to_owned(),
            version,
            iat: NumericDate(now),
            epoch,
            keys: uses.into_iter().map(entry).collect(),
            revoked: self.revoked.clone(),
        }
    }
}

/// A key pair made of two numbers, for clouds and nodes in tests.
pub fn signer_from(seed: u64, number: u8) -> Signer {
    Signer::from_seed(&seed_bytes(seed, number)).expect("any 32 bytes are an Ed25519 seed")
}

/// The 32 bytes behind [`signer_from`], for the key file of a node.
pub fn seed_bytes(seed: u64, number: u8) -> [u8; 32] {
    latchd::wire::canonical::tagged_sha256("latchd-sim-key", &[&seed.to_be_bytes(), &[number]])
}

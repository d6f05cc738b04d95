//! The chain of trust of the second copy: root key, key set, document. Owns no trust of its own.

use super::copy::{Attest, AttestedKeys};
use crate::{
    domain::time::Wall,
    wire::{
        jws::{self, Typ},
        keys::{KeySet, RootKey},
        set::SetDocument,
    },
};

/// Attests with the root key from the installer's file.
#[derive(Clone, Debug)]
pub struct RootAttest {
    pub root: RootKey,
    /// `org/node`.
    pub audience: String,
}

impl RootAttest {
    fn key_set(&self, compact: &str) -> Result<KeySet, String> {
        KeySet::from_signed(compact.as_bytes(), &self.root, &self.audience, &KeySet::empty()).map_err(|e| e.to_string())
    }
}

impl Attest for RootAttest {
    fn keys(&self, compact: &str) -> Result<AttestedKeys, String> {
        let keys = self.key_set(compact)?;
        Ok(AttestedKeys { version: keys.version(), epoch: keys.epoch() })
    }

    fn document(&self, keys: &str, compact: &str) -> Result<SetDocument, String> {
        let keys = self.key_set(keys)?;
        let verified = jws::verify(compact.as_bytes(), Typ::Set, &keys, Wall::EPOCH).map_err(|e| e.to_string())?;
        SetDocument::parse(verified.payload(), &self.audience).map_err(|e| e.to_string())
    }
}

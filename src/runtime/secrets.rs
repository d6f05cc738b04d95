//! The node's secrets, read once at start. Owns nothing afterwards; must never print a secret.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    config::site::{OsdpKey, OsdpReader, ReaderSource, Site},
    domain::ids::ReaderIx,
    gateway::osdp::Scbk,
    wire::{jws::Signer, keys::RootKey, token::CredentialKey},
};

pub struct Secrets {
    pub credential_key: CredentialKey,
    pub signer: Signer,
    /// Of the OSDP readers whose key is in a file.
    pub osdp: BTreeMap<ReaderIx, Scbk>,
    /// Not secret, but a trust anchor read the same way.
    pub root: RootKey,
}

/// What is wrong with which file, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}")]
pub struct SecretError {
    path: String,
    what: String,
}

impl Secrets {
    pub fn read(site: &Site) -> Result<Secrets, SecretError> {
        let credential_path = &site.node.credential_key.path;
        let text = read(credential_path)?;
        let key = credential_key(text.trim()).ok_or_else(|| {
            error(credential_path, "expected 32 bytes in base64url or hex: make one with latchd keygen credential")
        })?;
        let signing_path = &site.node.signing_key.path;
        let signer = Signer::from_pem(&read(signing_path)?).map_err(|e| {
            error(
                signing_path,
                format!("not an Ed25519 private key in PKCS#8 PEM ({e}): make one with latchd keygen signing"),
            )
        })?;
        let root_path = &site.cloud.root_key;
        let root = RootKey::from_jwk(read(root_path)?.as_bytes()).map_err(|e| {
            error(root_path, format!("not a public Ed25519 JWK ({e}): the cloud's operator provides this file"))
        })?;
        let mut osdp = BTreeMap::new();
        for reader in &site.readers {
            let ReaderSource::Osdp(OsdpReader { key: OsdpKey::File(secret), .. }) = &reader.source else { continue };
            let key = scbk(read(&secret.path)?.trim())
                .ok_or_else(|| error(&secret.path, "expected the reader's key (SCBK) as 32 hex digits"))?;
            osdp.insert(reader.reader, key);
        }
        Ok(Secrets { credential_key: CredentialKey::new(&key), signer, osdp, root })
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    fs::read_to_string(path).map(Zeroizing::new).map_err(|e| error(path, format!("cannot be read: {e}")))
}

fn error(path: &Path, what: impl Into<String>) -> SecretError {
    SecretError { path: path.display().to_string(), what: what.into() }
}

fn credential_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0u8; 32]);
    if text.len() == 64 {
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    (URL_SAFE_NO_PAD.decode_slice(text, &mut *key) == Ok(32)).then_some(key)
}

fn scbk(text: &str) -> Option<Scbk> {
    let mut key = Zeroizing::new([0u8; 16]);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != key.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(pairs) {
        let digit = |at: u8| char::from(at).to_digit(16);
        let [high, low] = *pair;
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(Scbk::new(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_osdp_reader_is_32_hex_digits() {
        assert_eq!(scbk("000102030405060708090a0b0c0d0E0F"), Some(Scbk::new(std::array::from_fn(|at| at as u8))));
        for bad in [
            "",
            "0001",
            "zz0102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f00",
            "+10102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(scbk(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_credential_key_is_read_in_base64url_and_in_hex() {
        let base64 = credential_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
        let hex = credential_key("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
        assert_eq!(*base64, *hex);
        for bad in ["", "AAEC", "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "äöü"] {
            assert!(credential_key(bad).is_none(), "{bad:?}");
        }
    }
}

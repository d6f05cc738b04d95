//! The keys of an OSDP reader as they lie on the disk: sealed under a key of the node, so that who copies the state
//! directory has none of them. Owns the format; must never touch a file. Invariant: what was sealed for one reader
//! opens for no other.
//!
//! ```text
//!   "latchd osdp key 1\n" | nonce, 12 | AES-256-GCM ( flags: 1 current, 2 pending | current, 16 | pending, 16 ) | tag
//! ```

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::domain::ids::Id;

const MAGIC: &[u8; 18] = b"latchd osdp key 1\n";
const CURRENT: u8 = 1;
const PENDING: u8 = 2;

/// Both keys of a reader. The bytes are wiped when it goes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReaderKeys {
    pub current: Option<Zeroizing<[u8; 16]>>,
    /// What the reader is to be given, or may have been given.
    pub pending: Option<Zeroizing<[u8; 16]>>,
}

impl std::fmt::Debug for ReaderKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (current, pending) = (self.current.is_some(), self.pending.is_some());
        write!(f, "ReaderKeys {{ current: {current}, pending: {pending} }}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("no sealed key, or damaged")]
    Damaged,
    #[error("sealed under another signing key of this node, for another reader, or damaged")]
    NotOurs,
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| SealError::Damaged)
}

/// `nonce` must be fresh for every call.
pub fn seal(key: &[u8; 32], reader: &Id, keys: &ReaderKeys, nonce: [u8; 12]) -> Result<Vec<u8>, SealError> {
    let flag = |is: bool, flag| if is { flag } else { 0 };
    let flags = flag(keys.current.is_some(), CURRENT) | flag(keys.pending.is_some(), PENDING);
    let bytes = |key: &Option<Zeroizing<[u8; 16]>>| key.clone().unwrap_or_default();
    let mut sealed = Zeroizing::new([&[flags][..], &*bytes(&keys.current), &*bytes(&keys.pending)].concat());
    let aad = Aad::from(reader.as_bytes());
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .map_err(|_| SealError::Damaged)?;
    Ok([&MAGIC[..], &nonce, &sealed, tag.as_ref()].concat())
}

pub fn open(key: &[u8; 32], reader: &Id, bytes: &[u8]) -> Result<ReaderKeys, SealError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SealError::Damaged)?;
    let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or(SealError::Damaged)?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let aad = Aad::from(reader.as_bytes());
    let opened = cipher(key)?.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed);
    let opened = opened.map_err(|_| SealError::NotOurs)?;
    let (flags, keys) = opened.split_first().ok_or(SealError::Damaged)?;
    let (current, pending) = keys.split_first_chunk::<16>().ok_or(SealError::Damaged)?;
    let pending = pending.first_chunk::<16>().ok_or(SealError::Damaged)?;
    let present = |flag, key: &[u8; 16]| (flags & flag != 0).then(|| Zeroizing::new(*key));
    Ok(ReaderKeys { current: present(CURRENT, current), pending: present(PENDING, pending) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    #[test]
    fn what_was_sealed_for_a_reader_opens_for_it_alone_and_under_the_same_key_alone() {
        let some = |byte| Some(Zeroizing::new([byte; 16]));
        for keys in [
            ReaderKeys::default(),
            ReaderKeys { current: some(1), pending: None },
            ReaderKeys { current: None, pending: some(2) },
            ReaderKeys { current: some(1), pending: some(2) },
        ] {
            let sealed = seal(&[7; 32], &id("front"), &keys, [3; 12]).unwrap();
            assert_eq!(open(&[7; 32], &id("front"), &sealed), Ok(keys));
            assert_eq!(open(&[7; 32], &id("back"), &sealed), Err(SealError::NotOurs));
            assert_eq!(open(&[8; 32], &id("front"), &sealed), Err(SealError::NotOurs));
            assert!(!sealed.windows(16).any(|window| window == [1; 16] || window == [2; 16]));
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_open_and_never_panic(at in 0usize..79, flip in 1u8..=255, cut in 0usize..79) {
            let keys = ReaderKeys { current: Some(Zeroizing::new([1; 16])), pending: None };
            let mut sealed = seal(&[7; 32], &id("front"), &keys, [3; 12]).unwrap();
            prop_assert!(open(&[7; 32], &id("front"), sealed.get(..cut).unwrap()).is_err());
            sealed[at] ^= flip;
            prop_assert!(open(&[7; 32], &id("front"), &sealed).is_err());
        }
    }
}

//! Cardholders and their credentials, as dense tables. Owns the way from a token to a person; must
//! never hold a rule. Invariant: every index in a cell points into the table it names.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::rules::RuleRef;
use crate::domain::{
    ids::Id,
    record::{CredentialState, Token},
    time::Wall,
};

#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) tokens: TokenIndex,
    pub(super) credentials: Box<[CredentialCell]>,
    pub(super) persons: Box<[PersonCell]>,
    /// Group numbers, sorted within each person's range.
    pub(super) memberships: Box<[u32]>,
    /// Rules that name a person, in rule order within each person's range.
    pub(super) direct: Box<[RuleRef]>,
}

#[derive(Debug)]
pub(super) struct CredentialCell {
    pub(super) id: Id,
    pub(super) person: u32,
    pub(super) state: CredentialState,
    pub(super) life: Life,
}

#[derive(Debug)]
pub(super) struct PersonCell {
    pub(super) id: Id,
    pub(super) life: Life,
    pub(super) groups: Range,
    pub(super) direct: Range,
    pub(super) extended: bool,
}

/// From when (inclusive) until when (exclusive) something is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) from: Option<Wall>,
    pub(super) until: Option<Wall>,
}

impl Life {
    pub(super) fn is_limited(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }
}

/// A stretch of a shared table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Range {
    pub(super) fn of<T>(self, table: &[T]) -> &[T] {
        table.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

/// From token to credential. A token is uniformly random already (it is an HMAC), so its own first bytes
/// are its hash; equality is over all 32.
pub(super) type TokenIndex = HashMap<Token, u32, BuildHasherDefault<TokenHasher>>;

#[derive(Default)]
pub(super) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*head);
        }
    }

    // The length prefix that an array's hash begins with says nothing.
    fn write_usize(&mut self, _: usize) {}
}

//! Cardholders and their credentials, as dense tables. Owns the way from a token to a person; must
//! never hold a rule. Invariant: every index in a cell points into the table it names.
//!
//! Cells are small and flat because a decision in a large set costs what its cache misses cost.

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
    pub(super) token: Token,
    pub(super) id: Id,
    pub(super) life: Life,
    pub(super) person: u32,
    pub(super) state: CredentialState,
}

#[derive(Debug)]
pub(super) struct PersonCell {
    pub(super) id: Id,
    pub(super) life: Life,
    pub(super) groups: Range,
    pub(super) direct: Range,
    pub(super) extended: bool,
}

impl People {
    pub(super) fn credential(&self, token: &Token) -> Option<&CredentialCell> {
        let candidates = self.tokens.candidates(token);
        candidates.filter_map(|number| self.credentials.get(number as usize)).find(|cell| cell.token == *token)
    }

    pub(super) fn person(&self, credential: &CredentialCell) -> Option<&PersonCell> {
        self.persons.get(credential.person as usize)
    }
}

/// From when (inclusive) until when (exclusive) something is valid; an end that is open lies outside of
/// all that [`Wall`] can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    from_ms: i64,
    until_ms: i64,
}

impl Life {
    pub(super) fn new(from: Option<Wall>, until: Option<Wall>) -> Life {
        Life { from_ms: from.map_or(i64::MIN, Wall::as_millis), until_ms: until.map_or(i64::MAX, Wall::as_millis) }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.from_ms != i64::MIN || self.until_ms != i64::MAX
    }

    pub(super) fn has_begun(&self, at: Wall) -> bool {
        self.from_ms <= at.as_millis()
    }

    pub(super) fn has_ended(&self, at: Wall) -> bool {
        self.until_ms <= at.as_millis()
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

/// From token to the numbers of the credentials that may hold it: open addressing, half empty. A token is
/// an HMAC and so uniformly random: its own bits are its hash. Whether it is really held is for the caller
/// to see, by all 32 bytes.
#[derive(Debug, Default)]
pub(super) struct TokenIndex {
    /// A power of two of them, or none.
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The half of the hash that does not choose the slot in any set that fits in memory.
    tag: u32,
    credential: u32,
}

const EMPTY: Slot = Slot { tag: 0, credential: u32::MAX };

impl TokenIndex {
    /// Tokens in the order of their credentials' numbers.
    pub(super) fn new<'a>(tokens: impl ExactSizeIterator<Item = &'a Token>) -> TokenIndex {
        let mut slots = vec![EMPTY; (tokens.len() * 2).next_power_of_two().max(2)].into_boxed_slice();
        for (token, credential) in tokens.zip(0u32..) {
            let (home, tag) = home_and_tag(token);
            let free = probe(home, slots.len()).find(|at| slots.get(*at).is_some_and(|slot| slot.is_empty()));
            if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                *slot = Slot { tag, credential };
            }
        }
        TokenIndex { slots }
    }

    fn candidates(&self, token: &Token) -> impl Iterator<Item = u32> {
        let (home, tag) = home_and_tag(token);
        let found = probe(home, self.slots.len()).filter_map(|at| self.slots.get(at));
        found.take_while(|slot| !slot.is_empty()).filter(move |slot| slot.tag == tag).map(|slot| slot.credential)
    }
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.credential == u32::MAX
    }
}

/// Every slot once, from `home` on. No slots, no probing.
fn probe(home: usize, slots: usize) -> impl Iterator<Item = usize> {
    (0..slots).map(move |step| home.wrapping_add(step) & (slots - 1))
}

/// Both ends of the token, so that made-up tokens which only count up spread as well.
fn home_and_tag(token: &Token) -> (usize, u32) {
    let head = token.0.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
    let tail = token.0.last_chunk().map_or(0, |tail| u64::from_be_bytes(*tail));
    let hash = head ^ tail;
    (hash as usize, (hash >> 32) as u32)
}

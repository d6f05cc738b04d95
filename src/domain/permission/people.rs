//! Cardholders, their groups and their credentials, as tables that share structure. Owns the way from a
//! token to a person; must never hold a rule. Invariant: of a set in force, every number in a cell is the
//! place of something that is defined.
//!
//! Cells are flat and one cache line each, and an entry of the token index names the person too, because a
//! decision in a large set costs what its cache misses cost: the cells of credential and person are then
//! fetched at once, not one after the other.

use std::sync::Arc;

use super::shared::{Chunks, Hash, Index, Table};
use crate::domain::{
    ids::Id,
    record::{CredentialState, Medium, Token},
    time::Wall,
};

#[derive(Clone, Debug, Default)]
pub(super) struct People {
    pub(super) groups: Table<GroupCell>,
    /// Credentials and rules refer to them.
    pub(super) persons: Table<PersonCell>,
    pub(super) credentials: Table<CredentialCell>,
    /// By the place of the person; nothing for most.
    rest: Chunks<Option<Arc<PersonRest>>>,
    tokens: Index<Holding>,
}

/// Persons and rules refer to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupCell {
    pub(super) critical: bool,
}

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub(super) struct PersonCell {
    pub(super) life: Life,
    pub(super) groups: Numbers,
    pub(super) extended: bool,
    pub(super) apb_exempt: bool,
    /// Has PINs, beside the table.
    pub(super) has_pins: bool,
}

/// What is rarely asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PersonRest {
    pub(super) pin: Option<Token>,
    pub(super) duress_pin: Option<Token>,
    pub(super) partitions: Box<[Id]>,
}

#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct CredentialCell {
    pub(super) token: Token,
    pub(super) life: Life,
    pub(super) person: u32,
    pub(super) state: CredentialState,
    pub(super) medium: Medium,
    pub(super) duress: bool,
}

impl Default for CredentialCell {
    fn default() -> Self {
        CredentialCell {
            token: Token([0; 32]),
            life: Life::default(),
            person: u32::MAX,
            state: CredentialState::Suspended,
            medium: Medium::Card,
            duress: false,
        }
    }
}

/// What the token index says: a credential, and whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) credential: u32,
    pub(super) person: u32,
}

impl People {
    /// Who holds this token, by all of its 32 bytes.
    #[inline]
    pub(super) fn holding(&self, token: &Token) -> Option<(Holding, &CredentialCell)> {
        let candidates = self.tokens.candidates(hash(token));
        let cells = candidates.filter_map(|holding| Some((holding, self.credentials.cell(holding.credential)?)));
        cells.into_iter().find(|(_, cell)| cell.token == *token)
    }

    /// The credentials with this token: of a set in force, one at most.
    pub(super) fn holders(&self, token: &Token) -> impl Iterator<Item = u32> {
        let candidates = self.tokens.candidates(hash(token)).map(|holding| holding.credential);
        candidates.filter(|at| self.credentials.cell(*at).is_some_and(|cell| cell.token == *token))
    }

    pub(super) fn rest(&self, person: u32) -> Option<&PersonRest> {
        self.rest.get(person)?.as_deref()
    }

    pub(super) fn set_rest(&mut self, person: u32, rest: PersonRest) {
        let rest = (rest != PersonRest::default()).then(|| Arc::new(rest));
        if rest.is_none() && self.rest.get(person).is_none_or(Option::is_none) {
            return;
        }
        while self.rest.get(person).is_none() {
            self.rest.push(None);
        }
        if let Some(place) = self.rest.get_mut(person) {
            *place = rest;
        }
    }

    pub(super) fn index(&mut self, token: &Token, holding: Holding) {
        self.tokens.insert(hash(token), holding);
    }

    pub(super) fn unindex(&mut self, token: &Token, holding: Holding) {
        self.tokens.remove(hash(token), holding);
    }
}

/// A token is an HMAC and so random by itself; both of its ends, so that made-up tokens which only count up
/// spread as well.
fn hash(token: &Token) -> Hash {
    let head = token.0.first_chunk().map_or(0, |head| u64::from_le_bytes(*head));
    let tail = token.0.last_chunk().map_or(0, |tail| u64::from_be_bytes(*tail));
    Hash::new(head ^ tail)
}

/// From when (inclusive) until when (exclusive) something is valid; an end that is open lies outside of
/// all that [`Wall`] can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    from_ms: i64,
    until_ms: i64,
}

impl Default for Life {
    fn default() -> Self {
        Life::new(None, None)
    }
}

impl Life {
    pub(super) fn new(from: Option<Wall>, until: Option<Wall>) -> Life {
        Life { from_ms: from.map_or(i64::MIN, Wall::as_millis), until_ms: until.map_or(i64::MAX, Wall::as_millis) }
    }

    pub(super) fn limits(&self) -> (Option<Wall>, Option<Wall>) {
        let from = (self.from_ms != i64::MIN).then(|| Wall::from_millis(self.from_ms));
        (from, (self.until_ms != i64::MAX).then(|| Wall::from_millis(self.until_ms)))
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

/// How many numbers fit into a cell.
const FEW: usize = 8;

/// A few numbers in place, many of them elsewhere.
#[derive(Clone, Debug)]
pub(super) enum Numbers {
    Few { count: u8, numbers: [u32; FEW] },
    Many(Box<[u32]>),
}

impl Default for Numbers {
    fn default() -> Self {
        Numbers::Few { count: 0, numbers: [0; FEW] }
    }
}

impl Numbers {
    pub(super) fn new(numbers: &[u32]) -> Numbers {
        let mut few = [0; FEW];
        match few.get_mut(..numbers.len()) {
            Some(place) => {
                place.copy_from_slice(numbers);
                Numbers::Few { count: numbers.len() as u8, numbers: few }
            }
            None => Numbers::Many(numbers.into()),
        }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Numbers::Few { count, numbers } => numbers.get(..usize::from(*count)).unwrap_or_default(),
            Numbers::Many(numbers) => numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cache_line() {
        assert_eq!(size_of::<PersonCell>(), 64);
        assert_eq!(size_of::<CredentialCell>(), 64);
    }

    #[test]
    fn numbers_are_kept_however_many() {
        for count in 0..20u32 {
            let numbers: Vec<u32> = (0..count).map(|n| n * 7).collect();
            assert_eq!(Numbers::new(&numbers).as_slice(), numbers);
        }
    }
}

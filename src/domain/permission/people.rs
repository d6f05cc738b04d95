//! Cardholders, their groups and their credentials, as tables that share structure. Owns the way from a
//! token to a person; must never hold a rule. Invariant: of a set in force, every number in a cell is the
//! place of something that is defined.
//!
//! A decision in a large set costs what its cache misses cost. So the token index holds numbers alone, small
//! enough to stay near, both the credential's and the person's: the cells of both, flat and one cache line each,
//! are then asked for at once, and so is the line with the person's PINs where one was typed.

use std::sync::Arc;

use super::shared::{Chunks, Entry, Hash, Index, Table};
use crate::domain::{
    ids::Id,
    record::{self, CredentialState, Medium, Token},
    time::Wall,
};

#[derive(Clone, Debug, Default)]
pub(super) struct People {
    pub(super) groups: Table<GroupCell>,
    /// Credentials and rules refer to them.
    pub(super) persons: Table<PersonCell>,
    pub(super) credentials: Table<CredentialCell>,
    tokens: Index<Holder>,
    /// By the place of the person; what the cell does not speak of is left over from before.
    pins: Chunks<Pins>,
    /// By the place of the person; nothing for most.
    partitions: Chunks<Option<Arc<[Id]>>>,
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
    pub(super) has_pin: bool,
    pub(super) has_duress_pin: bool,
}

/// One cache line: a comparison looks at both, whichever there are.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Pins {
    right: Token,
    duress: Token,
}

impl Default for Pins {
    fn default() -> Self {
        Pins { right: Token([0; 32]), duress: Token([0; 32]) }
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct CredentialCell {
    pub(super) token: Token,
    pub(super) life: Life,
    pub(super) credential: u32,
    pub(super) person: u32,
    pub(super) state: CredentialState,
    pub(super) medium: Medium,
    pub(super) duress: bool,
}

/// Nobody's.
impl Default for CredentialCell {
    fn default() -> Self {
        CredentialCell {
            token: Token([0; 32]),
            life: Life::OPEN,
            credential: u32::MAX,
            person: u32::MAX,
            state: CredentialState::Suspended,
            medium: Medium::Card,
            duress: false,
        }
    }
}

impl CredentialCell {
    fn new(credential: u32, person: u32, body: &record::Credential) -> CredentialCell {
        CredentialCell {
            token: body.token,
            life: Life::new(body.active_from, body.expires_at),
            credential,
            person,
            state: body.state,
            medium: body.medium,
            duress: body.duress,
        }
    }
}

/// Who may hold a token with this hash.
#[derive(Clone, Copy, Debug)]
struct Holder {
    /// Nothing: nobody.
    hash: Option<Hash>,
    credential: u32,
    person: u32,
}

impl Entry for Holder {
    const FREE: Holder = Holder { hash: None, credential: u32::MAX, person: u32::MAX };

    #[inline]
    fn hash(&self) -> Option<Hash> {
        self.hash
    }
}

impl People {
    /// Who holds this token, by all of its 32 bytes. What else will be asked of the holder is fetched meanwhile.
    #[inline]
    pub(super) fn holding(&self, token: &Token, pins: bool) -> Option<&CredentialCell> {
        self.tokens.candidates(hash(token)).find_map(|holder| {
            self.fetch(holder.person, pins);
            self.credentials.cell(holder.credential).filter(|cell| cell.token == *token)
        })
    }

    /// Has the processor ask the memory for what there is of a person, without waiting for it.
    #[inline]
    fn fetch(&self, person: u32, pins: bool) {
        std::hint::black_box(self.persons.cell(person).map(|cell| cell.has_pin));
        if pins {
            std::hint::black_box(self.pins.get(person).map(|pins| pins.right.0[0]));
        }
    }

    /// The credentials with this token: of a set in force, one at most.
    pub(super) fn holders(&self, token: &Token) -> impl Iterator<Item = u32> {
        let candidates = self.tokens.candidates(hash(token)).map(|holder| holder.credential);
        candidates.filter(|at| self.credentials.cell(*at).is_some_and(|cell| cell.token == *token))
    }

    /// Defines a credential, or defines it anew: the cell that it had.
    pub(super) fn put_credential(&mut self, id: &Id, person: u32, body: &record::Credential) -> Option<CredentialCell> {
        let (credential, before) = self.credentials.define_with(id, |at| CredentialCell::new(at, person, body));
        if let Some(before) = &before {
            self.take_holder(before);
        }
        self.tokens.insert(Holder { hash: Some(hash(&body.token)), credential, person });
        before
    }

    /// The cell that the credential had.
    pub(super) fn delete_credential(&mut self, id: &Id) -> Option<CredentialCell> {
        let (at, cell) = self.credentials.undefine(id)?;
        self.take_holder(&cell);
        self.credentials.let_go(at);
        Some(cell)
    }

    fn take_holder(&mut self, cell: &CredentialCell) {
        self.tokens.remove(hash(&cell.token), |holder| holder.credential == cell.credential);
    }

    /// Both are compared whole: how long it takes tells nothing.
    pub(super) fn compare_pin(&self, person: u32, pin: &Token) -> (bool, bool) {
        let (Some(cell), Some(pins)) = (self.persons.cell(person), self.pins.get(person)) else {
            return (false, false);
        };
        let (right, duress) = (pins.right.matches(pin), pins.duress.matches(pin));
        (cell.has_pin & right, cell.has_duress_pin & duress)
    }

    /// What is not there any more is left in place: the cell says so.
    pub(super) fn set_pins(&mut self, person: u32, pin: Option<Token>, duress_pin: Option<Token>) {
        let none = Token([0; 32]);
        if pin.is_some() || duress_pin.is_some() {
            self.pins.put(person, Pins { right: pin.unwrap_or(none), duress: duress_pin.unwrap_or(none) });
        }
    }

    pub(super) fn partitions(&self, person: u32) -> &[Id] {
        self.partitions.get(person).and_then(Option::as_deref).unwrap_or_default()
    }

    pub(super) fn set_partitions(&mut self, person: u32, partitions: &[Id]) {
        if self.partitions(person) != partitions {
            self.partitions.put(person, (!partitions.is_empty()).then(|| partitions.into()));
        }
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
        Life::OPEN
    }
}

impl Life {
    const OPEN: Life = Life { from_ms: i64::MIN, until_ms: i64::MAX };

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
        assert_eq!(size_of::<Pins>(), 64);
    }

    #[test]
    fn numbers_are_kept_however_many() {
        for count in 0..20u32 {
            let numbers: Vec<u32> = (0..count).map(|n| n * 7).collect();
            assert_eq!(Numbers::new(&numbers).as_slice(), numbers);
        }
    }
}

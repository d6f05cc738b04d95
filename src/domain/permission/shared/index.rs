//! From a hash to entries. Owns where an entry lies; must never say that a key is held: it offers
//! candidates, and whoever knows the keys looks at them. Invariant: what was put in under a hash is among
//! that hash's candidates until it is taken out.
//!
//! A tree of 256 branches at its root and sixteen at each level below, chosen by the hash from its top. At its ends
//! are pieces small enough to be copied, and beside each, in the tree itself, eight bits of the hash of every entry in
//! it. The tree stays in the cache while the entries of a large set do not: a look-up then finds its entry with one
//! cache miss, however large the entry, and next to never looks at another.

use std::sync::Arc;

/// Thirty-two random bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hash(u32);

/// What an index holds. An entry knows its hash.
pub(crate) trait Entry: Clone {
    /// What stands where no entry is.
    const FREE: Self;
    fn hash(&self) -> Hash;
}

/// Of the root: whatever is changed is reached through it, and so it saves a level.
const ROOT_FANOUT: usize = 256;
const FANOUT: usize = 16;

/// Levels that the hash has bits for, beside the tag. Below, a piece grows as it must.
const DEPTH_MAX: u32 = 5;

/// Entries of the largest piece that is not divided.
const TAGGED: usize = 64;

/// Slots of a new piece, and what it grows by.
const FIRST: usize = 8;
const STEP: usize = 16;

#[derive(Debug)]
pub(crate) struct Index<E>(Node<E>);

#[derive(Debug)]
enum Node<E> {
    Nothing,
    Piece(Piece<E>),
    Branches(Arc<[Node<E>]>),
}

#[derive(Debug)]
struct Piece<E> {
    /// Of the first entries, by slot; what lies beyond them is looked at in any case.
    tags: [u8; TAGGED],
    held: u32,
    /// The entries come first.
    slots: Arc<[E]>,
}

/// A number that only its hash is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    hash: Hash,
    pub(crate) number: u32,
}

impl Numbered {
    pub(crate) fn new(hash: Hash, number: u32) -> Numbered {
        Numbered { hash, number }
    }
}

impl Entry for Numbered {
    const FREE: Numbered = Numbered { hash: Hash(0), number: 0 };

    #[inline]
    fn hash(&self) -> Hash {
        self.hash
    }
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        match self {
            Node::Nothing => Node::Nothing,
            Node::Piece(Piece { tags, held, slots }) => {
                Node::Piece(Piece { tags: *tags, held: *held, slots: slots.clone() })
            }
            Node::Branches(nodes) => Node::Branches(nodes.clone()),
        }
    }
}

impl<E> Clone for Index<E> {
    fn clone(&self) -> Self {
        Index(self.0.clone())
    }
}

impl<E> Default for Index<E> {
    fn default() -> Self {
        Index(Node::Nothing)
    }
}

impl Hash {
    #[inline]
    pub(crate) fn new(random: u64) -> Hash {
        Hash((random ^ (random >> 32)) as u32)
    }

    #[inline]
    fn branch(self, depth: u32) -> usize {
        match depth {
            0 => (self.0 >> 24) as usize,
            _ => (self.0 >> (24 - 4 * depth)) as usize % FANOUT,
        }
    }

    #[inline]
    fn tag(self) -> u8 {
        self.0 as u8
    }
}

impl<E: Entry> Index<E> {
    /// What may be meant by this hash.
    pub(crate) fn candidates(&self, hash: Hash) -> impl Iterator<Item = &E> {
        self.piece(hash).into_iter().flat_map(move |piece| piece.candidates(hash))
    }

    /// The first of the candidates that is meant.
    #[inline]
    pub(crate) fn find(&self, hash: Hash, is_meant: impl Fn(&E) -> bool) -> Option<&E> {
        let piece = self.piece(hash)?;
        let mut tagged = piece.tagged(hash);
        while tagged != 0 {
            let entry = piece.slots.get(tagged.trailing_zeros() as usize)?;
            if entry.hash() == hash && is_meant(entry) {
                return Some(entry);
            }
            tagged &= tagged - 1;
        }
        piece.untagged().iter().find(|entry| entry.hash() == hash && is_meant(entry))
    }

    /// An entry that may well be a candidate, told without a look at it.
    #[inline]
    pub(crate) fn nearest(&self, hash: Hash) -> Option<&E> {
        let piece = self.piece(hash)?;
        piece.slots.get(same(&piece.tags, hash.tag()).trailing_zeros() as usize)
    }

    #[inline]
    fn piece(&self, hash: Hash) -> Option<&Piece<E>> {
        let (mut node, mut depth) = (&self.0, 0);
        loop {
            match node {
                Node::Nothing => return None,
                Node::Piece(piece) => return Some(piece),
                Node::Branches(nodes) => node = nodes.get(hash.branch(depth))?,
            }
            depth += 1;
        }
    }

    pub(crate) fn insert(&mut self, entry: E) {
        self.0.insert(0, entry);
    }

    /// The first candidate that is meant, to be changed; its hash stays what it is.
    pub(crate) fn find_mut(&mut self, hash: Hash, is_meant: impl Fn(&E) -> bool) -> Option<&mut E> {
        let at = self.piece(hash)?.position(hash, is_meant)?;
        match self.0.end(hash)? {
            Node::Piece(piece) => Arc::make_mut(&mut piece.slots).get_mut(at),
            Node::Nothing | Node::Branches(_) => None,
        }
    }

    /// Shows every entry, to be changed; its hash stays what it is.
    pub(crate) fn each_mut(&mut self, mut visit: impl FnMut(&mut E)) {
        self.0.each_mut(&mut visit);
    }

    /// Takes the first candidate that is meant out.
    pub(crate) fn remove(&mut self, hash: Hash, is_meant: impl Fn(&E) -> bool) -> Option<E> {
        let at = self.piece(hash)?.position(hash, is_meant)?;
        let end = self.0.end(hash)?;
        let Node::Piece(piece) = end else { return None };
        let gone = piece.take(at);
        if piece.held == 0 {
            *end = Node::Nothing;
        }
        gone
    }
}

impl<E: Entry> Node<E> {
    fn insert(&mut self, depth: u32, new: E) {
        match self {
            Node::Nothing => *self = Node::Piece(Piece::of([new])),
            Node::Piece(piece) if (piece.held as usize) < TAGGED || depth >= DEPTH_MAX => piece.push(new),
            Node::Piece(piece) => {
                let fanout = if depth == 0 { ROOT_FANOUT } else { FANOUT };
                let mut divided = Node::Branches((0..fanout).map(|_| Node::Nothing).collect());
                piece.entries().iter().cloned().chain([new]).for_each(|entry| divided.insert(depth, entry));
                *self = divided;
            }
            Node::Branches(nodes) => {
                if let Some(node) = Arc::make_mut(nodes).get_mut(new.hash().branch(depth)) {
                    node.insert(depth + 1, new);
                }
            }
        }
    }

    fn each_mut(&mut self, visit: &mut impl FnMut(&mut E)) {
        match self {
            Node::Nothing => {}
            Node::Piece(piece) => Arc::make_mut(&mut piece.slots).iter_mut().take(piece.held as usize).for_each(visit),
            Node::Branches(nodes) => Arc::make_mut(nodes).iter_mut().for_each(|node| node.each_mut(visit)),
        }
    }

    /// The piece in which a hash's way ends, as this index's own.
    fn end(&mut self, hash: Hash) -> Option<&mut Node<E>> {
        let (mut node, mut depth) = (self, 0);
        while let Node::Branches(nodes) = node {
            node = Arc::make_mut(nodes).get_mut(hash.branch(depth))?;
            depth += 1;
        }
        Some(node)
    }
}

impl<E: Entry> Piece<E> {
    fn of(entries: impl IntoIterator<Item = E>) -> Piece<E> {
        let mut piece = Piece { tags: [0; TAGGED], held: 0, slots: Arc::new([]) };
        entries.into_iter().for_each(|entry| piece.push(entry));
        piece
    }

    fn entries(&self) -> &[E] {
        self.slots.get(..self.held as usize).unwrap_or_default()
    }

    fn push(&mut self, new: E) {
        let at = self.held as usize;
        if at == self.slots.len() {
            let more = match at {
                0 => FIRST,
                1..TAGGED => STEP,
                // So many of one hash are a mistake, which must not take long.
                _ => at,
            };
            self.slots = self.slots.iter().cloned().chain(std::iter::repeat_n(E::FREE, more)).collect();
        }
        if let Some(tag) = self.tags.get_mut(at) {
            *tag = new.hash().tag();
        }
        if let Some(slot) = Arc::make_mut(&mut self.slots).get_mut(at) {
            *slot = new;
            self.held += 1;
        }
    }

    /// The last one takes its place.
    fn take(&mut self, at: usize) -> Option<E> {
        let last = self.entries().len().checked_sub(1)?;
        let slots = Arc::make_mut(&mut self.slots);
        let moved = std::mem::replace(slots.get_mut(last)?, E::FREE);
        self.held -= 1;
        let moved_tag = moved.hash().tag();
        let gone = if at == last { moved } else { std::mem::replace(slots.get_mut(at)?, moved) };
        if let Some(tag) = self.tags.get_mut(at) {
            *tag = moved_tag;
        }
        if self.slots.len() > last + STEP + FIRST {
            self.slots = self.entries().into();
        }
        Some(gone)
    }

    fn candidates(&self, hash: Hash) -> impl Iterator<Item = &E> {
        self.alike(hash).filter_map(|at| self.slots.get(at)).filter(move |entry| entry.hash() == hash)
    }

    fn position(&self, hash: Hash, is_meant: impl Fn(&E) -> bool) -> Option<usize> {
        let is_meant = |at: &usize| self.slots.get(*at).is_some_and(|entry| entry.hash() == hash && is_meant(entry));
        self.alike(hash).find(is_meant)
    }

    /// A bit for each slot whose tag is that of this hash.
    #[inline]
    fn tagged(&self, hash: Hash) -> u64 {
        same(&self.tags, hash.tag()) & u64::MAX.unbounded_shr((TAGGED as u32).saturating_sub(self.held))
    }

    /// What has no tag.
    #[inline]
    fn untagged(&self) -> &[E] {
        self.slots.get(TAGGED..self.held as usize).unwrap_or_default()
    }

    /// The slots whose tag is that of this hash, and those that have none.
    fn alike(&self, hash: Hash) -> impl Iterator<Item = usize> {
        let mut tagged = self.tagged(hash);
        let tagged = std::iter::from_fn(move || {
            let at = (tagged != 0).then(|| tagged.trailing_zeros() as usize)?;
            tagged &= tagged - 1;
            Some(at)
        });
        tagged.chain(TAGGED..self.held as usize)
    }
}

/// One bit for each tag that is this one: eight of them at a time.
#[inline]
fn same(tags: &[u8; TAGGED], tag: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let sought = u64::from_le_bytes([tag; 8]);
    let (words, _) = tags.as_chunks::<8>();
    words.iter().rev().fold(0, |same, word| {
        let differing = u64::from_le_bytes(*word) ^ sought;
        // The top bit of each byte that is zero; the product brings these eight bits together.
        let equal = !(((differing & LOW) + LOW) | differing | LOW) >> 7;
        same << 8 | equal.wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Few hashes, many hashes, and such that differ in few bits.
    fn hashes() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..8, any::<u64>(), (0u64..4096).prop_map(|n| n << 20)]
    }

    fn entries(model: &BTreeSet<(u32, u32)>, hash: Hash) -> Vec<u32> {
        model.iter().filter(|(of, _)| *of == hash.0).map(|(_, value)| *value).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_index_offers_what_was_put_in_and_clones_keep_what_they_had(
            first in proptest::collection::vec((hashes(), 0u32..1000), 0..600),
            then in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), hashes(), 0u32..1000), 0..600),
        ) {
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (hash, value) in &first {
                let hash = Hash::new(*hash);
                if model.insert((hash.0, *value)) {
                    index.insert(Numbered::new(hash, *value));
                }
            }
            let (before, model_before) = (index.clone(), model.clone());
            for (goes, which, hash, value) in then {
                let hash = Hash::new(hash);
                if goes && !model.is_empty() {
                    let entry = *which.get(&model.iter().copied().collect::<Vec<_>>());
                    model.remove(&entry);
                    let is_meant = |held: &Numbered| held.number == entry.1;
                    prop_assert!(index.remove(Hash(entry.0), is_meant).is_some_and(|held| is_meant(&held)));
                    prop_assert!(index.remove(Hash(entry.0), is_meant).is_none());
                } else if model.insert((hash.0, value)) {
                    index.insert(Numbered::new(hash, value));
                }
            }
            for (index, model) in [(before, model_before), (index, model)] {
                for hash in model.iter().map(|(hash, _)| *hash).chain([1, 2, 77 << 20]) {
                    let mut found: Vec<u32> = index.candidates(Hash(hash)).map(|held| held.number).collect();
                    found.sort_unstable();
                    let first = index.find(Hash(hash), |_| true).map(|held| held.number);
                    prop_assert_eq!(first.is_some(), !found.is_empty());
                    prop_assert!(first.is_none_or(|first| found.contains(&first)));
                    prop_assert_eq!(found, entries(&model, Hash(hash)));
                }
            }
        }
    }

    #[test]
    fn an_entry_is_changed_where_it_lies_and_not_in_a_clone() {
        let mut index = Index::default();
        (0..5000u32).for_each(|value| index.insert(Numbered::new(Hash::new(u64::from(value) << 20), value)));
        let before = index.clone();
        index.find_mut(Hash::new(777 << 20), |held| held.number == 777).unwrap().number = 9000;
        assert!(index.find_mut(Hash::new(777 << 20), |held| held.number == 777).is_none());
        let number = |index: &Index<Numbered>| index.find(Hash::new(777 << 20), |_| true).map(|held| held.number);
        assert_eq!((number(&index), number(&before)), (Some(9000), Some(777)));
        index.each_mut(|held| held.number += 1);
        let numbers = |index: &Index<Numbered>| {
            (0..5000u32)
                .map(|value| u64::from(index.find(Hash::new(u64::from(value) << 20), |_| true).unwrap().number))
                .sum::<u64>()
        };
        let sum: u64 = (0..5000).sum();
        assert_eq!((numbers(&index), numbers(&before)), (sum - 777 + 9000 + 5000, sum));
    }

    proptest! {
        #[test]
        fn equal_tags_are_found_and_no_others(tags in any::<[[u8; 32]; 2]>(), few in 1u8..=255, sought in any::<u8>()) {
            let tags: [u8; TAGGED] = std::array::from_fn(|at| tags[at / 32][at % 32] % few);
            for sought in [sought, sought % few] {
                let expected = (0..TAGGED).filter(|at| tags[*at] == sought).fold(0, |all, at| all | 1u64 << at);
                prop_assert_eq!(same(&tags, sought), expected);
            }
        }
    }

    #[test]
    fn entries_of_one_hash_are_all_found_however_many() {
        let mut index = Index::default();
        (0..300u32).for_each(|value| index.insert(Numbered::new(Hash::new(9), value)));
        assert_eq!(index.candidates(Hash::new(9)).count(), 300);
        assert!((0..300u32).all(|value| index.remove(Hash::new(9), |held| held.number == value).is_some()));
        assert_eq!(index.candidates(Hash::new(9)).count(), 0);
    }
}

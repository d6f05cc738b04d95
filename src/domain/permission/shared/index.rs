//! From a hash to entries. Owns where an entry lies; must never say that a key is held: it offers
//! candidates, and whoever knows the keys looks at them. Invariant: what was put in under a hash is among
//! that hash's candidates until it is taken out.
//!
//! A tree of sixty-four branches at each level, chosen by the hash from its top; at its ends open addressing
//! by the bottom of the hash, in pieces small enough to be copied. The entries themselves lie in the pieces:
//! a look-up costs a few pointers, which stay in the cache, and where the entry is a whole record one miss.

use std::{num::NonZeroU32, sync::Arc};

/// Thirty-two random bits, never zero: that is kept for free slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(NonZeroU32);

/// What an index holds. An entry knows its hash, and what stands in a free slot.
pub(crate) trait Entry: Copy {
    const FREE: Self;
    /// `None` of [`FREE`](Self::FREE) alone.
    fn hash(&self) -> Option<Hash>;

    fn is_free(&self) -> bool {
        self.hash().is_none()
    }
}

const FANOUT: usize = 64;

/// Levels that the hash has bits for, with enough left to choose a slot by. Below, a piece grows as it must.
const DEPTH_MAX: u32 = 4;

/// Slots of the smallest piece and of the largest that is not divided; both are powers of two.
const SLOTS_MIN: usize = 4;
const SLOTS_MAX: usize = 128;

/// A free slot so near to where it is looked for first is taken without counting how full the piece is.
const NEAR: usize = 4;

#[derive(Debug)]
pub(crate) struct Index<E>(Node<E>);

#[derive(Debug)]
enum Node<E> {
    Nothing,
    Piece(Arc<[E]>),
    Branches(Arc<[Node<E>; FANOUT]>),
}

/// A number that only its hash is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    hash: Option<Hash>,
    pub(crate) number: u32,
}

impl Numbered {
    pub(crate) fn new(hash: Hash, number: u32) -> Numbered {
        Numbered { hash: Some(hash), number }
    }
}

impl Entry for Numbered {
    const FREE: Numbered = Numbered { hash: None, number: 0 };

    #[inline]
    fn hash(&self) -> Option<Hash> {
        self.hash
    }
}

/// What no name has yet.
impl Default for Hash {
    fn default() -> Self {
        Hash(NonZeroU32::MIN)
    }
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        match self {
            Node::Nothing => Node::Nothing,
            Node::Piece(slots) => Node::Piece(slots.clone()),
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
        Hash(NonZeroU32::new((random ^ (random >> 32)) as u32).unwrap_or(NonZeroU32::MIN))
    }

    #[inline]
    fn branch(self, depth: u32) -> usize {
        (self.0.get() >> (26 - 6 * depth)) as usize % FANOUT
    }

    /// Every slot once, from the hash's own on. There is a power of two of them.
    #[inline]
    fn probe(self, slots: usize) -> impl Iterator<Item = usize> {
        (0..slots).map(move |step| (self.0.get() as usize).wrapping_add(step) & (slots - 1))
    }
}

impl<E: Entry> Index<E> {
    /// What may be meant by this hash.
    #[inline]
    pub(crate) fn candidates(&self, hash: Hash) -> impl Iterator<Item = &E> {
        let slots = self.piece(hash);
        let run = hash.probe(slots.len()).filter_map(|at| slots.get(at)).take_while(|slot| slot.hash().is_some());
        run.filter(move |slot| slot.hash() == Some(hash))
    }

    /// The first of the candidates that is meant.
    #[inline]
    pub(crate) fn find(&self, hash: Hash, is_meant: impl Fn(&E) -> bool) -> Option<&E> {
        let slots = self.piece(hash);
        for at in hash.probe(slots.len()) {
            let slot = slots.get(at)?;
            if slot.hash()? == hash && is_meant(slot) {
                return Some(slot);
            }
        }
        None
    }

    #[inline]
    fn piece(&self, hash: Hash) -> &[E] {
        let (mut node, mut depth) = (&self.0, 0);
        loop {
            match node {
                Node::Nothing => return &[],
                Node::Piece(slots) => return slots,
                Node::Branches(nodes) => node = &nodes[hash.branch(depth)],
            }
            depth += 1;
        }
    }

    /// A free slot's entry is no entry.
    pub(crate) fn insert(&mut self, entry: E) {
        if let Some(hash) = entry.hash() {
            self.0.insert(0, hash, entry);
        }
    }

    /// Takes the first candidate that is meant out.
    pub(crate) fn remove(&mut self, hash: Hash, is_meant: impl Fn(&E) -> bool) -> Option<E> {
        let goes = self.find(hash, &is_meant).copied()?;
        self.0.remove(0, hash, &is_meant);
        Some(goes)
    }
}

impl<E: Entry> Node<E> {
    fn insert(&mut self, depth: u32, hash: Hash, new: E) {
        match self {
            Node::Nothing => *self = piece_of(SLOTS_MIN, [new]),
            Node::Piece(slots) => {
                let near = hash.probe(slots.len()).take(NEAR).find(|at| slots.get(*at).is_some_and(E::is_free));
                if let Some(at) = near {
                    if let Some(slot) = Arc::make_mut(slots).get_mut(at) {
                        *slot = new;
                    }
                    return;
                }
                let used = slots.iter().filter(|slot| slot.hash().is_some()).count();
                if (used + 1) * 4 <= slots.len() * 3 {
                    put(Arc::make_mut(slots), hash, new);
                } else if slots.len() < SLOTS_MAX || depth >= DEPTH_MAX {
                    *self = piece_of(slots.len() * 2, slots.iter().copied().chain([new]));
                } else {
                    let mut divided = Node::Branches(Arc::new([const { Node::Nothing }; FANOUT]));
                    let held = slots.iter().filter_map(|slot| Some((slot.hash()?, *slot)));
                    held.for_each(|(hash, slot)| divided.insert(depth, hash, slot));
                    divided.insert(depth, hash, new);
                    *self = divided;
                }
            }
            Node::Branches(nodes) => Arc::make_mut(nodes)[hash.branch(depth)].insert(depth + 1, hash, new),
        }
    }

    /// There is such an entry.
    fn remove(&mut self, depth: u32, hash: Hash, is_meant: &impl Fn(&E) -> bool) {
        match self {
            Node::Nothing => {}
            Node::Piece(slots) => {
                let mut order = hash.probe(slots.len());
                let goes =
                    order.find(|at| slots.get(*at).is_some_and(|slot| slot.hash() == Some(hash) && is_meant(slot)));
                let rest = slots.iter().enumerate().filter(|(at, slot)| Some(*at) != goes && slot.hash().is_some());
                let rest: Vec<_> = rest.map(|(_, slot)| *slot).collect();
                // The run must not be broken, so the piece is laid out anew.
                *self = if rest.is_empty() { Node::Nothing } else { piece_of(slots.len(), rest) };
            }
            Node::Branches(nodes) => Arc::make_mut(nodes)[hash.branch(depth)].remove(depth + 1, hash, is_meant),
        }
    }
}

/// `slots` is a power of two and more than there are entries.
fn piece_of<E: Entry>(slots: usize, entries: impl IntoIterator<Item = E>) -> Node<E> {
    let mut piece: Arc<[E]> = std::iter::repeat_n(E::FREE, slots).collect();
    let room = Arc::make_mut(&mut piece);
    let held = entries.into_iter().filter_map(|entry| Some((entry.hash()?, entry)));
    held.for_each(|(hash, entry)| put(room, hash, entry));
    Node::Piece(piece)
}

fn put<E: Entry>(slots: &mut [E], hash: Hash, new: E) {
    let free = hash.probe(slots.len()).find(|at| slots.get(*at).is_some_and(E::is_free));
    if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
        *slot = new;
    }
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

    fn hash_of(tag: u32) -> Hash {
        Hash(NonZeroU32::new(tag).unwrap())
    }

    fn entries(model: &BTreeSet<(u32, u32)>, hash: Hash) -> Vec<u32> {
        model.iter().filter(|(of, _)| *of == hash.0.get()).map(|(_, value)| *value).collect()
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
                if model.insert((hash.0.get(), *value)) {
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
                    prop_assert!(index.remove(hash_of(entry.0), is_meant).is_some_and(|held| is_meant(&held)));
                    prop_assert!(index.remove(hash_of(entry.0), is_meant).is_none());
                } else if model.insert((hash.0.get(), value)) {
                    index.insert(Numbered::new(hash, value));
                }
            }
            for (index, model) in [(before, model_before), (index, model)] {
                for hash in model.iter().map(|(hash, _)| *hash).chain([1, 2, 77 << 20]) {
                    let mut found: Vec<u32> = index.candidates(hash_of(hash)).map(|held| held.number).collect();
                    found.sort_unstable();
                    let first = index.find(hash_of(hash), |_| true).map(|held| held.number);
                    prop_assert_eq!(first.is_some(), !found.is_empty());
                    prop_assert!(first.is_none_or(|first| found.contains(&first)));
                    prop_assert_eq!(found, entries(&model, hash_of(hash)));
                }
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

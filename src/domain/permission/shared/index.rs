//! From a hash to small values. Owns where an entry lies; must never say that a key is held: it offers
//! candidates, and whoever knows the keys looks at them. Invariant: what was put in under a hash is among
//! that hash's candidates until it is taken out.
//!
//! A tree of sixteen branches at each level, chosen by the hash from its top; at its ends open addressing
//! by the bottom of the hash, in pieces small enough to be copied. A look-up costs a few pointers, which
//! stay in the cache, and one line of the piece.

use std::sync::Arc;

/// Thirty-two random bits; zero is kept for free slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u32);

const FANOUT: usize = 16;

/// Levels that the hash has bits for, with enough left to choose a slot by. Below, a piece grows as it must.
const DEPTH_MAX: u32 = 6;

/// Slots of the smallest piece and of the largest that is not divided; both are powers of two.
const SLOTS_MIN: usize = 4;
const SLOTS_MAX: usize = 128;

#[derive(Debug)]
pub(crate) struct Index<V>(Node<V>);

#[derive(Debug)]
enum Node<V> {
    Nothing,
    Piece(Arc<[Slot<V>]>),
    Branches(Arc<[Node<V>; FANOUT]>),
}

#[derive(Clone, Copy, Debug)]
struct Slot<V> {
    /// Zero: free.
    tag: u32,
    value: V,
}

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Node::Nothing => Node::Nothing,
            Node::Piece(slots) => Node::Piece(slots.clone()),
            Node::Branches(nodes) => Node::Branches(nodes.clone()),
        }
    }
}

impl<V> Clone for Index<V> {
    fn clone(&self) -> Self {
        Index(self.0.clone())
    }
}

impl<V> Default for Index<V> {
    fn default() -> Self {
        Index(Node::Nothing)
    }
}

impl Hash {
    pub(crate) fn new(random: u64) -> Hash {
        Hash(((random ^ (random >> 32)) as u32).max(1))
    }

    fn branch(self, depth: u32) -> usize {
        (self.0 >> (28 - 4 * depth)) as usize % FANOUT
    }
}

/// Every slot once, from the tag's own on.
fn probe(tag: u32, slots: usize) -> impl Iterator<Item = usize> {
    (0..slots).map(move |step| (tag as usize).wrapping_add(step) & (slots - 1))
}

impl<V: Copy + Default + PartialEq> Index<V> {
    /// What may be meant by this hash.
    #[inline]
    pub(crate) fn candidates(&self, hash: Hash) -> impl Iterator<Item = V> {
        let slots = self.piece(hash);
        let run = probe(hash.0, slots.len()).filter_map(|at| slots.get(at)).take_while(|slot| slot.tag != 0);
        run.filter(move |slot| slot.tag == hash.0).map(|slot| slot.value)
    }

    #[inline]
    fn piece(&self, hash: Hash) -> &[Slot<V>] {
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

    pub(crate) fn insert(&mut self, hash: Hash, value: V) {
        self.0.insert(0, Slot { tag: hash.0, value });
    }

    /// Takes one entry of this hash and value out; false if there is none.
    pub(crate) fn remove(&mut self, hash: Hash, value: V) -> bool {
        let held = self.candidates(hash).any(|candidate| candidate == value);
        if held {
            self.0.remove(0, hash, value);
        }
        held
    }
}

impl<V: Copy + Default + PartialEq> Node<V> {
    fn insert(&mut self, depth: u32, new: Slot<V>) {
        match self {
            Node::Nothing => *self = piece_of(SLOTS_MIN, [new]),
            Node::Piece(slots) => {
                let used = slots.iter().filter(|slot| slot.tag != 0).count();
                if (used + 1) * 4 <= slots.len() * 3 {
                    put(Arc::make_mut(slots), new);
                } else if slots.len() < SLOTS_MAX || depth >= DEPTH_MAX {
                    *self = piece_of(slots.len() * 2, slots.iter().copied().chain([new]));
                } else {
                    let mut divided = Node::Branches(Arc::new([const { Node::Nothing }; FANOUT]));
                    slots.iter().filter(|slot| slot.tag != 0).for_each(|slot| divided.insert(depth, *slot));
                    divided.insert(depth, new);
                    *self = divided;
                }
            }
            Node::Branches(nodes) => Arc::make_mut(nodes)[Hash(new.tag).branch(depth)].insert(depth + 1, new),
        }
    }

    /// There is such an entry.
    fn remove(&mut self, depth: u32, hash: Hash, value: V) {
        match self {
            Node::Nothing => {}
            Node::Piece(slots) => {
                let goes = slots.iter().position(|slot| slot.tag == hash.0 && slot.value == value);
                let rest = slots.iter().enumerate().filter(|(at, slot)| Some(*at) != goes && slot.tag != 0);
                let rest: Vec<_> = rest.map(|(_, slot)| *slot).collect();
                // The run must not be broken, so the piece is laid out anew.
                *self = if rest.is_empty() { Node::Nothing } else { piece_of(slots.len(), rest) };
            }
            Node::Branches(nodes) => Arc::make_mut(nodes)[hash.branch(depth)].remove(depth + 1, hash, value),
        }
    }
}

/// `slots` is a power of two and more than there are entries.
fn piece_of<V: Copy + Default>(slots: usize, entries: impl IntoIterator<Item = Slot<V>>) -> Node<V> {
    let mut piece: Arc<[Slot<V>]> = std::iter::repeat_n(Slot { tag: 0, value: V::default() }, slots).collect();
    let room = Arc::make_mut(&mut piece);
    entries.into_iter().filter(|slot| slot.tag != 0).for_each(|entry| put(room, entry));
    Node::Piece(piece)
}

fn put<V>(slots: &mut [Slot<V>], new: Slot<V>) {
    let free = probe(new.tag, slots.len()).find(|at| slots.get(*at).is_some_and(|slot| slot.tag == 0));
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

    fn entries(model: &BTreeSet<(u32, u32)>, hash: Hash) -> Vec<u32> {
        model.iter().filter(|(of, _)| *of == hash.0).map(|(_, value)| *value).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_index_offers_what_was_put_in_and_clones_keep_what_they_had(
            first in proptest::collection::vec((hashes(), 0u32..1000), 0..600),
            then in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), hashes(), 0u32..1000), 0..600),
        ) {
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (hash, value) in &first {
                let hash = Hash::new(*hash);
                if model.insert((hash.0, *value)) {
                    index.insert(hash, *value);
                }
            }
            let (before, model_before) = (index.clone(), model.clone());
            for (goes, which, hash, value) in then {
                let hash = Hash::new(hash);
                if goes && !model.is_empty() {
                    let entry = *which.get(&model.iter().copied().collect::<Vec<_>>());
                    model.remove(&entry);
                    prop_assert!(index.remove(Hash(entry.0), entry.1));
                    prop_assert!(!index.remove(Hash(entry.0), entry.1));
                } else if model.insert((hash.0, value)) {
                    index.insert(hash, value);
                }
            }
            for (index, model) in [(before, model_before), (index, model)] {
                for hash in model.iter().map(|(hash, _)| *hash).chain([1, 2, 77 << 20]) {
                    let mut found: Vec<u32> = index.candidates(Hash(hash)).collect();
                    found.sort_unstable();
                    prop_assert_eq!(found, entries(&model, Hash(hash)));
                }
            }
        }
    }

    #[test]
    fn entries_of_one_hash_are_all_found_however_many() {
        let mut index = Index::default();
        (0..300u32).for_each(|value| index.insert(Hash::new(9), value));
        assert_eq!(index.candidates(Hash::new(9)).count(), 300);
        assert!((0..300u32).all(|value| index.remove(Hash::new(9), value)));
        assert_eq!(index.candidates(Hash::new(9)).count(), 0);
    }
}

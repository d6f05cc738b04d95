//! A vector in pieces of 64, behind two levels of pointers. Owns which piece is copied when; must never
//! move an item to another place. Invariant: an item that was not written to lies in the same memory in
//! every clone.
//!
//! A place beyond the end reads as nothing. A piece that nothing was put into takes no memory.

use std::sync::Arc;

const LEAF: usize = 64;
const BRANCH: usize = 64;

type Leaf<T> = Arc<[T; LEAF]>;
type Branch<T> = Arc<[Option<Leaf<T>>; BRANCH]>;

#[derive(Debug)]
pub(crate) struct Chunks<T> {
    /// Each holds 4096 places.
    branches: Arc<[Branch<T>]>,
    len: u32,
}

impl<T> Clone for Chunks<T> {
    fn clone(&self) -> Self {
        Chunks { branches: self.branches.clone(), len: self.len }
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks { branches: Arc::new([]), len: 0 }
    }
}

/// Branch, leaf in it and item in that. The last two are below 64.
fn place(at: u32) -> (usize, usize, usize) {
    let at = at as usize;
    (at / (LEAF * BRANCH), at / LEAF % BRANCH, at % LEAF)
}

impl<T> Chunks<T> {
    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        let (branch, leaf, item) = place(at);
        let leaf = self.branches.get(branch)?[leaf].as_ref()?;
        // What lies in a leaf beyond the end is nobody's.
        (at < self.len).then_some(&leaf[item])
    }

    /// Every item with its place, in order, but for pieces that nothing was put into.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.len).filter_map(|at| Some((at, self.get(at)?)))
    }
}

impl<T: Clone + Default> Chunks<T> {
    /// `None` beyond the end.
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        if at >= self.len {
            return None;
        }
        let (branch, leaf, item) = place(at);
        let branch = Arc::make_mut(Arc::make_mut(&mut self.branches).get_mut(branch)?);
        let leaf = Arc::make_mut(branch[leaf].as_mut()?);
        Some(&mut leaf[item])
    }

    /// The place that the item got.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let at = self.len;
        self.put(at, item);
        at
    }

    /// Wherever that place is: what lies between the end and there is the default, or nothing.
    pub(crate) fn put(&mut self, at: u32, item: T) {
        self.len = self.len.max(at.saturating_add(1));
        if let Some(place) = self.get_mut(at) {
            *place = item;
            return;
        }
        let (branch, leaf, place) = place(at);
        if branch >= self.branches.len() {
            let new = self.branches.len()..=branch;
            let grown = self.branches.iter().cloned().chain(new.map(|_| Arc::new([const { None }; BRANCH])));
            self.branches = grown.collect();
        }
        if let Some(branch) = Arc::make_mut(&mut self.branches).get_mut(branch) {
            let mut new: [T; LEAF] = std::array::from_fn(|_| T::default());
            new[place] = item;
            Arc::make_mut(branch)[leaf] = Some(Arc::new(new));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(len: u32) -> Chunks<u64> {
        let mut chunks = Chunks::default();
        for n in 0..len {
            assert_eq!(chunks.push(u64::from(n)), n);
        }
        chunks
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_clone_keeps_what_it_had_while_the_other_changes(
            len in 0u32..9000,
            writes in proptest::collection::vec((0u32..9000, any::<u64>()), 0..50),
        ) {
            let before = filled(len);
            let mut after = before.clone();
            let mut expected: Vec<u64> = (0..u64::from(len)).collect();
            for (at, item) in writes {
                match after.get_mut(at) {
                    Some(place) => {
                        *place = item;
                        expected[at as usize] = item;
                    }
                    None => {
                        prop_assert!(at as usize >= expected.len());
                        after.push(item);
                        expected.push(item);
                    }
                }
            }
            prop_assert!(before.iter().eq((0..len).zip(&(0..u64::from(len)).collect::<Vec<_>>())));
            prop_assert!(after.iter().map(|(_, item)| item).eq(&expected));
            for at in 0..10_000 {
                prop_assert_eq!(after.get(at), expected.get(at as usize));
            }
        }
    }

    #[test]
    fn what_is_put_far_out_takes_one_piece_and_is_found_there() {
        let mut chunks = Chunks::default();
        chunks.put(70_000, 7u64);
        assert_eq!((chunks.get(70_000), chunks.get(70_001), chunks.get(0)), (Some(&7), None, None));
        assert_eq!(chunks.get(70_000 / 64 * 64), Some(&0), "of the same piece");
        let pieces = chunks.branches.iter().flat_map(|branch| branch.iter().flatten());
        assert_eq!(pieces.count(), 1);
        chunks.put(3, 9);
        let found: Vec<_> = chunks.iter().filter(|(_, item)| **item != 0).collect();
        assert_eq!(found, [(3, &9), (70_000, &7)]);
        assert!(chunks.get_mut(10_000).is_none());
    }

    #[test]
    fn a_change_copies_one_piece_and_shares_all_others() {
        let before = filled(9000);
        let mut after = before.clone();
        *after.get_mut(5000).unwrap() = 1;
        let shared = (0..9000).filter(|at| std::ptr::eq(before.get(*at).unwrap(), after.get(*at).unwrap()));
        assert_eq!(shared.count(), 9000 - LEAF);
    }
}

//! Cells under names. Owns the place of each name and who refers to it; must never lose a name that
//! something refers to. Invariant: a place stays that of its name as long as the name is defined or referred
//! to, so whoever refers keeps a number.
//!
//! A name that is referred to before, or after, it is defined has a place all the same: the set is read in
//! any order, and judged when it is complete.

use std::{
    hash::{DefaultHasher, Hasher as _},
    sync::LazyLock,
};

use super::{Chunks, Hash, Index, index::Numbered};
use crate::domain::ids::Id;

#[derive(Clone, Debug)]
pub(crate) struct Table<C> {
    cells: Chunks<C>,
    names: Chunks<Name>,
    by_name: Index<Numbered>,
    /// The first of the places that are free; each names the next.
    free: Option<u32>,
    defined: u32,
}

#[derive(Clone, Debug)]
struct Name {
    /// Of a free place: nothing's.
    id: Id,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Free { next: Option<u32> },
    Taken { refs: u32, defined: bool },
}

/// What stands in the places that are nobody's.
static NOBODY: LazyLock<Id> = LazyLock::new(|| Id::new("-").unwrap_or_else(|_| unreachable!("it is valid")));

impl Default for Name {
    fn default() -> Self {
        Name { id: NOBODY.clone(), place: Place::Free { next: None } }
    }
}

impl<C> Default for Table<C> {
    fn default() -> Self {
        Table { cells: Chunks::default(), names: Chunks::default(), by_name: Index::default(), free: None, defined: 0 }
    }
}

/// SipHash under a fixed key: names come from a cloud that signs them.
fn hash(id: &str) -> Hash {
    let mut hasher = DefaultHasher::new();
    hasher.write(id.as_bytes());
    Hash::new(hasher.finish())
}

impl<C> Table<C> {
    /// The cell at a place, defined or not.
    #[inline]
    pub(crate) fn cell(&self, at: u32) -> Option<&C> {
        self.cells.get(at)
    }

    #[inline]
    pub(crate) fn name(&self, at: u32) -> Option<&Id> {
        self.names.get(at).filter(|name| matches!(name.place, Place::Taken { .. })).map(|name| &name.id)
    }

    /// The name of a place that is taken, without a look at it: in a large table that look is a cache miss, and
    /// whoever is given the name seldom reads it.
    #[inline]
    pub(crate) fn name_of_taken(&self, at: u32) -> Option<&Id> {
        self.names.get(at).map(|name| &name.id)
    }

    fn taken(&self, at: u32) -> Option<(u32, bool)> {
        match self.names.get(at)?.place {
            Place::Taken { refs, defined } => Some((refs, defined)),
            Place::Free { .. } => None,
        }
    }

    /// Where a name has its place, defined or only referred to.
    pub(crate) fn place(&self, id: &str) -> Option<u32> {
        let is_meant = |at: u32| self.name(at).is_some_and(|name| name.as_str() == id);
        self.by_name.find(hash(id), |held| is_meant(held.number)).map(|held| held.number)
    }

    pub(crate) fn is_defined(&self, at: u32) -> bool {
        matches!(self.taken(at), Some((_, true)))
    }

    /// The place of a name that is defined.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        self.place(id).filter(|at| self.is_defined(*at))
    }

    /// Referred to without being defined.
    pub(crate) fn is_missing(&self, at: u32) -> bool {
        matches!(self.taken(at), Some((_, false)))
    }

    /// How many are defined.
    pub(crate) fn len(&self) -> u32 {
        self.defined
    }

    /// What is defined, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Id, &C)> {
        self.names.iter().zip(self.cells.iter()).filter_map(|((at, name), (_, cell))| match name.place {
            Place::Taken { defined: true, .. } => Some((at, &name.id, cell)),
            _ => None,
        })
    }
}

impl<C: Clone + Default> Table<C> {
    /// Where a name has its place, which it gets if it has none.
    fn place_for(&mut self, id: &Id) -> u32 {
        if let Some(at) = self.place(id) {
            return at;
        }
        let taken = Name { id: id.clone(), place: Place::Taken { refs: 0, defined: false } };
        let at = match self.free {
            Some(at) => {
                if let Some(name) = self.names.get_mut(at)
                    && let Place::Free { next } = std::mem::replace(name, taken).place
                {
                    self.free = next;
                }
                at
            }
            None => {
                self.cells.push(C::default());
                self.names.push(taken)
            }
        };
        self.by_name.insert(Numbered::new(hash(id), at));
        at
    }

    /// Defines a name, or defines it anew: its place, and the cell that it had.
    pub(crate) fn define(&mut self, id: &Id, cell: C) -> (u32, Option<C>) {
        let at = self.place_for(id);
        let before = self.cells.get_mut(at).map(|place| std::mem::replace(place, cell));
        let was_defined = match self.names.get_mut(at).map(|name| &mut name.place) {
            Some(Place::Taken { defined, .. }) => std::mem::replace(defined, true),
            _ => false,
        };
        self.defined += u32::from(!was_defined);
        (at, before.filter(|_| was_defined))
    }

    /// As [`cell`](Self::cell), to be changed.
    pub(crate) fn cell_mut(&mut self, at: u32) -> Option<&mut C> {
        self.cells.get_mut(at)
    }

    /// The cell that the name had. Its place remains until it is let go.
    pub(crate) fn undefine(&mut self, id: &str) -> Option<(u32, C)> {
        let at = self.find(id)?;
        if let Some(Place::Taken { defined, .. }) = self.names.get_mut(at).map(|name| &mut name.place) {
            *defined = false;
        }
        self.defined -= 1;
        Some((at, self.cells.get_mut(at).map(std::mem::take)?))
    }

    /// The place of a name, which is from now on referred to once more.
    pub(crate) fn refer(&mut self, id: &Id) -> u32 {
        let at = self.place_for(id);
        if let Some(Place::Taken { refs, .. }) = self.names.get_mut(at).map(|name| &mut name.place) {
            *refs += 1;
        }
        at
    }

    /// One reference less.
    pub(crate) fn unrefer(&mut self, at: u32) {
        if let Some(Place::Taken { refs, .. }) = self.names.get_mut(at).map(|name| &mut name.place) {
            *refs = refs.saturating_sub(1);
        }
    }

    /// Frees the place of a name that is neither defined nor referred to. False if it is missed: referred to
    /// and not defined.
    pub(crate) fn let_go(&mut self, at: u32) -> bool {
        let (hash, refs) = match self.names.get(at) {
            Some(Name { id, place: Place::Taken { refs, defined: false } }) => (hash(id), *refs),
            _ => return true,
        };
        if refs > 0 {
            return false;
        }
        self.by_name.remove(hash, |held| held.number == at);
        if let Some(name) = self.names.get_mut(at) {
            *name = Name { place: Place::Free { next: self.free.replace(at) }, ..Name::default() };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    #[test]
    fn a_name_keeps_its_place_from_the_first_reference_to_the_last() {
        let mut table: Table<u8> = Table::default();
        let ada = table.refer(&id("ada"));
        assert!(table.is_missing(ada) && table.find("ada").is_none());
        assert!(!table.let_go(ada));
        assert_eq!(table.define(&id("ada"), 1), (ada, None));
        assert_eq!(table.define(&id("ada"), 2), (ada, Some(1)));
        assert_eq!((table.find("ada"), table.len()), (Some(ada), 1));
        let before = table.clone();
        assert_eq!(table.undefine("ada"), Some((ada, 2)));
        assert_eq!(table.undefine("ada"), None);
        assert!(!table.let_go(ada), "somebody refers to it");
        table.unrefer(ada);
        assert!(table.let_go(ada));
        assert_eq!((table.place("ada"), table.len()), (None, 0));
        assert_eq!((before.find("ada"), before.cell(ada), before.len()), (Some(ada), Some(&2), 1));
    }

    #[test]
    fn free_places_are_given_out_again() {
        let mut table: Table<u8> = Table::default();
        for name in ["a", "b", "c"] {
            table.define(&id(name), 0);
        }
        for name in ["a", "c"] {
            let (at, _) = table.undefine(name).unwrap();
            assert!(table.let_go(at));
        }
        for name in ["d", "e", "f"] {
            table.define(&id(name), 1);
        }
        assert_eq!((table.names.iter().count(), table.len()), (4, 4));
        let mut names: Vec<&str> = table.iter().map(|(_, id, _)| id.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["b", "d", "e", "f"]);
        for name in ["b", "d", "e", "f"] {
            let at = table.find(name).unwrap();
            assert_eq!(table.name(at).map(Id::as_str), Some(name));
        }
    }
}

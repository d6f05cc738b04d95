//! Floors of one floor group. Owns nothing but set arithmetic; must never know which group they are of.
//! Invariant: a floor is its position among the group's floors, 128 of them at most.

use std::ops::{BitAnd, BitOr, Not};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors(u128);

impl Floors {
    pub const NONE: Floors = Floors(0);

    /// What stands for a door, where a door is asked about like a floor.
    pub(super) const DOOR: Floors = Floors(1);

    /// Nothing beyond the 128th.
    pub fn only(floor: usize) -> Floors {
        u32::try_from(floor).ok().and_then(|floor| 1u128.checked_shl(floor)).map_or(Floors::NONE, Floors)
    }

    pub fn first(count: usize) -> Floors {
        (0..count.min(128)).fold(Floors::NONE, |floors, floor| floors | Floors::only(floor))
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn contains(self, floor: usize) -> bool {
        !(self & Floors::only(floor)).is_empty()
    }

    /// Their positions, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..128).filter(move |floor| self.contains(*floor))
    }
}

impl BitOr for Floors {
    type Output = Floors;
    fn bitor(self, other: Floors) -> Floors {
        Floors(self.0 | other.0)
    }
}

impl BitAnd for Floors {
    type Output = Floors;
    fn bitand(self, other: Floors) -> Floors {
        Floors(self.0 & other.0)
    }
}

impl Not for Floors {
    type Output = Floors;
    fn not(self) -> Floors {
        Floors(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_counted_from_the_first_to_the_128th() {
        assert_eq!(Floors::first(3).iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Floors::first(200).iter().count(), 128);
        assert!(Floors::only(127).contains(127) && Floors::only(128).is_empty());
        assert_eq!((Floors::first(4) & !Floors::only(2)).iter().collect::<Vec<_>>(), [0, 1, 3]);
    }
}

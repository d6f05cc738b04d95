//! Interlocks (mantraps): of certain doors at most one may be open or unlocked. Owns who holds the right to
//! be open and who must stay locked meanwhile; must never unlock anything, nor stand in the way of a way out
//! (REX and fire outrank it, see the precedence table). Invariant: once settled, a door that is locked by an
//! interlock is in a set of which another door is, or may be, open.
//!
//! Of each set, in this order:
//!
//! | one of its doors | follows |
//! |---|---|
//! | is open or unlocked | it *holds* the set, the first one if there are several: all others are locked |
//! | is open although it is locked by the interlock (REX, fire, by force) | the holder is locked as well |
//! | may be open: its contact is lost | no other may be opened, but a holder is not cut off by a doubt |
//!
//! A door without a contact is shut when its lock was read back as locked. After a start nobody knows
//! anything until the boards have answered: what was unlocked before goes on, nothing else begins.

use std::collections::BTreeMap;

use super::{
    door::{ContactState, DoorStatus, LockState, Mode},
    ids::{DoorIx, Id},
    permission::SiteRecords,
    topology::Topology,
};

/// How far a door is from shut, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Openness {
    /// Closed and locked.
    Shut,
    /// Nobody can tell: its contact is lost, or it has none and its lock cannot be read back.
    Doubtful,
    /// Told to lock, closed, and the lock still reads back as unlocked.
    Settling,
    /// Open, or unlocked.
    Open,
}

impl Openness {
    pub fn of(status: &DoorStatus, has_contact: bool) -> Openness {
        let unlocks = match status.mode {
            Mode::Unlocked | Mode::Accessed | Mode::LockedOpen => true,
            Mode::Locked | Mode::Blocked | Mode::LockedDown => false,
        };
        match (status.contact, status.lock) {
            (ContactState::Open, _) => Openness::Open,
            _ if unlocks => Openness::Open,
            (_, LockState::Unlocked) => Openness::Settling,
            (ContactState::Unknown, _) if has_contact => Openness::Doubtful,
            (ContactState::Unknown, LockState::Unknown) => Openness::Doubtful,
            (ContactState::Closed, _) | (ContactState::Unknown, LockState::Locked) => Openness::Shut,
        }
    }
}

#[derive(Debug)]
struct LockSet {
    id: Id,
    /// At least two.
    doors: Vec<DoorIx>,
    holder: Option<DoorIx>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    openness: Openness,
    /// Counts beginnings: who became open first holds.
    since: u64,
    blocked: bool,
}

/// A door that must be locked from now on, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub door: DoorIx,
    pub blocked: bool,
    /// The interlock that asks for it; of a release the last one that did.
    pub interlock: Id,
}

#[derive(Debug, Default)]
pub struct Interlocks {
    sets: Vec<LockSet>,
    doors: BTreeMap<DoorIx, Cell>,
    /// By whom a door is blocked.
    blockers: BTreeMap<DoorIx, Id>,
    beginnings: u64,
    dirty: bool,
}

impl Interlocks {
    /// Takes the records over; a set with fewer than two doors of this node locks nothing.
    pub fn plan(&mut self, site: &SiteRecords, topology: &Topology) {
        let mut holders: BTreeMap<Id, DoorIx> =
            self.sets.drain(..).filter_map(|set| Some((set.id, set.holder?))).collect();
        for (id, record) in &site.interlocks {
            let mut doors: Vec<DoorIx> = record.doors.iter().filter_map(|door| topology.door(door)).collect();
            doors.sort_unstable();
            doors.dedup();
            if doors.len() >= 2 {
                let holder = holders.remove(id).filter(|holder| doors.contains(holder));
                self.sets.push(LockSet { id: id.clone(), doors, holder });
            }
        }
        let sets = &self.sets;
        let concerned = |door: DoorIx| sets.iter().any(|set| set.doors.contains(&door));
        // A blocked door that is in no set any more is kept until it has been told.
        self.doors.retain(|door, cell| cell.blocked || concerned(*door));
        self.dirty = true;
    }

    /// Of all doors that an interlock names.
    pub fn doors(&self) -> impl Iterator<Item = DoorIx> {
        let mut doors: Vec<DoorIx> = self.sets.iter().flat_map(|set| &set.doors).copied().collect();
        doors.sort_unstable();
        doors.dedup();
        doors.into_iter()
    }

    pub fn see(&mut self, door: DoorIx, openness: Openness) {
        if !self.doors.contains_key(&door) && !self.sets.iter().any(|set| set.doors.contains(&door)) {
            return;
        }
        let cell = self.doors.entry(door).or_insert(Cell { openness: Openness::Shut, since: 0, blocked: false });
        if cell.openness < Openness::Settling && openness >= Openness::Settling {
            self.beginnings += 1;
            cell.since = self.beginnings;
        }
        self.dirty |= cell.openness != openness;
        cell.openness = openness;
    }

    /// What follows, once everything else has: to be carried out before it is asked again.
    pub fn settle(&mut self) -> Vec<Change> {
        if !std::mem::take(&mut self.dirty) {
            return Vec::new();
        }
        let mut wanted: BTreeMap<DoorIx, Id> = BTreeMap::new();
        for set in &mut self.sets {
            let cells: Vec<(DoorIx, Cell)> =
                set.doors.iter().filter_map(|door| Some((*door, *self.doors.get(door)?))).collect();
            set.holder = holder(set.holder, &cells);
            for (door, _) in &cells {
                let others = || cells.iter().filter(|(other, _)| other != door).map(|(_, cell)| cell);
                let blocked = match set.holder {
                    Some(holder) if holder != *door => true,
                    Some(_) => others().any(|cell| cell.openness == Openness::Open && cell.blocked),
                    None => others().any(|cell| cell.openness == Openness::Doubtful),
                };
                if blocked {
                    wanted.entry(*door).or_insert_with(|| set.id.clone());
                }
            }
        }
        let mut changes = Vec::new();
        for (door, cell) in &mut self.doors {
            let by = wanted.remove(door);
            if cell.blocked == by.is_some() {
                continue;
            }
            cell.blocked = by.is_some();
            let interlock = match by {
                Some(by) => {
                    self.blockers.insert(*door, by.clone());
                    Some(by)
                }
                None => self.blockers.remove(door),
            };
            changes.extend(interlock.map(|interlock| Change { door: *door, blocked: cell.blocked, interlock }));
        }
        // What is blocked from here on counts as such when it is found open.
        self.dirty = !changes.is_empty();
        changes
    }
}

/// Who holds a set keeps it until it is shut; then whoever was open first.
fn holder(before: Option<DoorIx>, cells: &[(DoorIx, Cell)]) -> Option<DoorIx> {
    let occupies = |cell: &Cell| cell.openness >= Openness::Settling;
    let kept = before.filter(|before| cells.iter().any(|(door, cell)| door == before && occupies(cell)));
    kept.or_else(|| {
        let open = cells.iter().filter(|(_, cell)| occupies(cell));
        let rank = |cell: &Cell| (cell.openness != Openness::Open, cell.since);
        open.min_by_key(|(door, cell)| (rank(cell), *door)).map(|(door, _)| *door)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::record;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn planned(sets: &[(&str, &[u16])]) -> Interlocks {
        let doors: Vec<Id> = (0..8).map(|n| id(&format!("d{n}"))).collect();
        let topology = Topology::of_doors(&doors);
        let mut site = SiteRecords::default();
        for (name, of) in sets {
            let doors = of.iter().map(|n| id(&format!("d{n}"))).collect();
            site.interlocks.insert(id(name), record::Interlock { name: None, doors });
        }
        let mut interlocks = Interlocks::default();
        interlocks.plan(&site, &topology);
        for n in 0..8 {
            interlocks.see(DoorIx(n), Openness::Shut);
        }
        interlocks
    }

    /// Doors that obey at once: what is blocked is locked, unless it is held open physically.
    struct Doors {
        interlocks: Interlocks,
        wants: BTreeSet<u16>,
        held: BTreeSet<u16>,
        blocked: BTreeSet<u16>,
    }

    impl Doors {
        fn new(sets: &[(&str, &[u16])]) -> Doors {
            let mut doors = Doors {
                interlocks: planned(sets),
                wants: BTreeSet::new(),
                held: BTreeSet::new(),
                blocked: BTreeSet::new(),
            };
            doors.settle();
            doors
        }

        fn is_open(&self, door: u16) -> bool {
            self.held.contains(&door) || (self.wants.contains(&door) && !self.blocked.contains(&door))
        }

        fn see(&mut self, door: u16) {
            let openness = if self.is_open(door) { Openness::Open } else { Openness::Shut };
            self.interlocks.see(DoorIx(door), openness);
        }

        fn wants(&mut self, door: u16, on: bool) {
            if on {
                self.wants.insert(door)
            } else {
                self.wants.remove(&door)
            };
            self.see(door);
        }

        fn held(&mut self, door: u16, on: bool) {
            if on {
                self.held.insert(door)
            } else {
                self.held.remove(&door)
            };
            self.see(door);
        }

        fn settle(&mut self) {
            for round in 0.. {
                let changes = self.interlocks.settle();
                if changes.is_empty() {
                    return;
                }
                assert!(round < 20, "it never settles: {changes:?}");
                for change in changes {
                    let door = change.door.0;
                    if change.blocked {
                        self.blocked.insert(door)
                    } else {
                        self.blocked.remove(&door)
                    };
                    self.see(door);
                }
            }
        }

        fn open(&self) -> Vec<u16> {
            (0..8).filter(|door| self.is_open(*door)).collect()
        }
    }

    #[test]
    fn while_one_door_is_unlocked_the_others_of_its_set_are_blocked_and_free_again_when_it_is_shut() {
        let mut doors = Doors::new(&[("trap", &[0, 1, 2])]);
        doors.wants(1, true);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::from([0, 2]));
        doors.wants(1, false);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::new());
    }

    #[test]
    fn of_two_that_open_within_one_step_the_first_wins_and_the_other_follows_when_it_is_shut() {
        let mut doors = Doors::new(&[("trap", &[0, 1])]);
        doors.wants(1, true);
        doors.wants(0, true);
        doors.settle();
        assert_eq!((doors.open(), doors.blocked.clone()), (vec![1], BTreeSet::from([0])));
        doors.wants(1, false);
        doors.settle();
        assert_eq!(doors.open(), [0]);
    }

    #[test]
    fn a_way_out_that_opens_although_it_is_blocked_locks_the_holder_until_it_is_shut_again() {
        let mut doors = Doors::new(&[("trap", &[0, 1])]);
        doors.wants(0, true);
        doors.settle();
        doors.held(1, true);
        doors.settle();
        assert_eq!((doors.open(), doors.blocked.contains(&0)), (vec![1], true));
        doors.held(1, false);
        doors.settle();
        assert_eq!(doors.open(), [0]);
    }

    #[test]
    fn with_both_forced_open_neither_can_be_unlocked_until_one_is_shut() {
        let mut doors = Doors::new(&[("trap", &[0, 1])]);
        doors.held(0, true);
        doors.held(1, true);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::from([0, 1]));
        doors.held(0, false);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::from([0]));
    }

    #[test]
    fn a_door_in_two_sets_is_blocked_by_either_and_its_neighbours_do_not_block_each_other() {
        let mut doors = Doors::new(&[("east", &[0, 1]), ("west", &[1, 2])]);
        doors.wants(0, true);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::from([1]));
        doors.wants(2, true);
        doors.settle();
        assert_eq!(doors.open(), [0, 2]);
        doors.wants(0, false);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::from([1]), "still the west");
        doors.wants(2, false);
        doors.settle();
        doors.wants(1, true);
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::from([0, 2]));
    }

    #[test]
    fn a_doubtful_door_lets_no_other_begin_and_cuts_off_none_that_has_begun() {
        let mut interlocks = planned(&[("trap", &[0, 1])]);
        interlocks.see(DoorIx(1), Openness::Doubtful);
        let blocked = |door, blocked| Change { door: DoorIx(door), blocked, interlock: id("trap") };
        assert_eq!(interlocks.settle(), [blocked(0, true)]);
        interlocks.see(DoorIx(1), Openness::Shut);
        assert_eq!(interlocks.settle(), [blocked(0, false)]);
        interlocks.see(DoorIx(0), Openness::Open);
        assert_eq!(interlocks.settle(), [blocked(1, true)]);
        assert_eq!(interlocks.settle(), []);
        interlocks.see(DoorIx(1), Openness::Doubtful);
        assert_eq!(interlocks.settle(), []);
    }

    #[test]
    fn a_lock_that_still_reads_unlocked_holds_its_set_but_is_not_taken_for_a_door_that_opened_against_it() {
        let mut interlocks = planned(&[("trap", &[0, 1])]);
        interlocks.see(DoorIx(0), Openness::Open);
        interlocks.see(DoorIx(1), Openness::Open);
        let blocked = |door, blocked| Change { door: DoorIx(door), blocked, interlock: id("trap") };
        assert_eq!(interlocks.settle(), [blocked(1, true)]);
        interlocks.see(DoorIx(1), Openness::Settling);
        assert_eq!(interlocks.settle(), []);
        interlocks.see(DoorIx(0), Openness::Settling);
        assert_eq!(interlocks.settle(), [], "the other one waits for the lock");
        interlocks.see(DoorIx(0), Openness::Shut);
        assert_eq!(interlocks.settle(), [blocked(0, true), blocked(1, false)], "it never locked");
    }

    #[test]
    fn what_an_interlock_blocked_is_freed_when_the_set_no_longer_names_it() {
        let mut doors = Doors::new(&[("trap", &[0, 1])]);
        doors.wants(0, true);
        doors.settle();
        doors.interlocks.plan(&SiteRecords::default(), &Topology::default());
        doors.settle();
        assert_eq!(doors.blocked, BTreeSet::new());
        assert_eq!(doors.interlocks.doors().count(), 0);
    }

    #[test]
    fn the_openness_of_a_door_follows_its_contact_its_mode_and_its_lock() {
        use ContactState as C;
        use LockState as L;
        let cases = [
            (Mode::Locked, C::Closed, L::Locked, true, Openness::Shut),
            (Mode::Locked, C::Closed, L::Unknown, true, Openness::Shut),
            (Mode::Locked, C::Open, L::Locked, true, Openness::Open),
            (Mode::Blocked, C::Closed, L::Unlocked, true, Openness::Settling),
            (Mode::Accessed, C::Closed, L::Locked, true, Openness::Open),
            (Mode::LockedOpen, C::Unknown, L::Unknown, false, Openness::Open),
            (Mode::Locked, C::Unknown, L::Locked, true, Openness::Doubtful),
            (Mode::Locked, C::Unknown, L::Locked, false, Openness::Shut),
            (Mode::Locked, C::Unknown, L::Unknown, false, Openness::Doubtful),
        ];
        for (mode, contact, lock, has_contact, expected) in cases {
            let since = crate::domain::time::Wall::EPOCH;
            let alarm = crate::domain::door::Alarm::None;
            let status = DoorStatus {
                door: id("d"),
                mode,
                contact,
                lock,
                alarm,
                alarm_acknowledged: false,
                denies: None,
                since,
                delays: Vec::new(),
            };
            assert_eq!(Openness::of(&status, has_contact), expected, "{status:?}");
        }
    }

    proptest! {
        /// Whatever is wanted and forced, in whatever order: it settles, and of each set at most one door is
        /// open that is not held open physically, and none while another one is.
        #[test]
        fn of_each_set_at_most_one_door_is_open(
            sets in proptest::collection::vec(proptest::collection::btree_set(0u16..8, 2..5), 1..4),
            steps in proptest::collection::vec((0u16..8, any::<bool>(), any::<bool>(), any::<bool>()), 1..40),
        ) {
            let named: Vec<(String, Vec<u16>)> =
                sets.iter().enumerate().map(|(n, set)| (format!("i{n}"), set.iter().copied().collect())).collect();
            let named: Vec<(&str, &[u16])> = named.iter().map(|(name, set)| (name.as_str(), set.as_slice())).collect();
            let mut doors = Doors::new(&named);
            for (door, physical, on, settles) in steps {
                if physical { doors.held(door, on) } else { doors.wants(door, on) }
                if !settles {
                    continue;
                }
                doors.settle();
                for set in &sets {
                    let open: Vec<u16> = doors.open().into_iter().filter(|door| set.contains(door)).collect();
                    let willing = open.iter().filter(|door| !doors.held.contains(door)).count();
                    prop_assert!(willing == 0 || open.len() == 1, "{open:?} of {set:?} are open");
                    let all_shut = open.is_empty();
                    let in_another = |door: &u16| sets.iter().any(|other| other != set && other.contains(door));
                    for door in set.iter().filter(|door| all_shut && !in_another(door)) {
                        prop_assert!(!doors.blocked.contains(door), "{door} is blocked for nothing");
                    }
                }
            }
        }
    }
}

//! Access rules, arranged by door and group. Owns the way from (door, groups) to the rules that may
//! apply; must never hold a person's data. Invariant: a rule's number is its place among all rule ids in
//! order, so "the first rule that decides" does not depend on how a set was delivered.

use crate::domain::{
    ids::{DoorIx, Id},
    record::Effect,
    schedule::Schedule,
};

#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) cells: Box<[RuleCell]>,
    pub(super) doors: Box<[DoorRules]>,
    pub(super) schedules: Box<[Schedule]>,
}

#[derive(Debug)]
pub(super) struct RuleCell {
    pub(super) id: Id,
    /// One bit for each door, for rules that are reached through a person instead of a door.
    pub(super) doors: DoorSet,
}

/// All that judging a rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleRef {
    pub(super) rule: u32,
    pub(super) schedule: Option<ScheduleIx>,
    pub(super) effect: Effect,
}

/// Counted from one, so that "none" costs nothing.
pub(super) type ScheduleIx = std::num::NonZeroU16;

/// The rules of one door: `groups` is sorted, and the rules of `groups[i]` are
/// `rules[starts[i]..starts[i + 1]]`.
#[derive(Debug, Default)]
pub(super) struct DoorRules {
    pub(super) groups: Box<[u32]>,
    pub(super) starts: Box<[u32]>,
    pub(super) rules: Box<[RuleRef]>,
}

impl DoorRules {
    /// From (group, rule) pairs in any order, without repetitions.
    pub(super) fn new(mut pairs: Vec<(u32, RuleRef)>) -> DoorRules {
        pairs.sort_unstable_by_key(|(group, rule)| (*group, rule.rule));
        let (mut groups, mut starts, mut rules) = (Vec::new(), Vec::new(), Vec::with_capacity(pairs.len()));
        for (group, rule) in pairs {
            if groups.last() != Some(&group) {
                groups.push(group);
                starts.push(rules.len() as u32);
            }
            rules.push(rule);
        }
        starts.push(rules.len() as u32);
        DoorRules { groups: groups.into(), starts: starts.into(), rules: rules.into() }
    }

    /// Calls `visit` with each rule of this door for any of the groups (sorted). Walks the shorter of the
    /// two lists and searches the longer, so neither a door with many groups nor a person in many is slow.
    pub(super) fn each(&self, groups: &[u32], visit: &mut impl FnMut(RuleRef)) {
        if groups.len() <= self.groups.len() {
            for position in groups.iter().filter_map(|group| self.groups.binary_search(group).ok()) {
                self.at(position).iter().copied().for_each(&mut *visit);
            }
        } else {
            for (position, group) in self.groups.iter().enumerate() {
                if groups.binary_search(group).is_ok() {
                    self.at(position).iter().copied().for_each(&mut *visit);
                }
            }
        }
    }

    fn at(&self, position: usize) -> &[RuleRef] {
        match (self.starts.get(position), self.starts.get(position + 1)) {
            (Some(from), Some(to)) => self.rules.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct DoorSet(Box<[u64]>);

impl DoorSet {
    pub(super) fn new(doors: impl IntoIterator<Item = DoorIx>) -> DoorSet {
        let mut words = Vec::new();
        for door in doors {
            let (word, bit) = (door.index() / 64, door.index() % 64);
            if words.len() <= word {
                words.resize(word + 1, 0u64);
            }
            if let Some(word) = words.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        DoorSet(words.into())
    }

    pub(super) fn contains(&self, door: DoorIx) -> bool {
        self.0.get(door.index() / 64).is_some_and(|word| word >> (door.index() % 64) & 1 == 1)
    }
}

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
    /// The rule's doors, where it is reached through a person instead of a door.
    pub(super) doors: NumberSet,
}

impl RuleCell {
    pub(super) fn is_at(&self, door: DoorIx) -> bool {
        self.doors.rank(u32::from(door.0)).is_some()
    }
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

/// The rules of one door. The rules of the n-th of its groups are `rules[starts[n]..starts[n + 1]]`.
#[derive(Debug, Default)]
pub(super) struct DoorRules {
    groups: NumberSet,
    starts: Box<[u32]>,
    rules: Box<[RuleRef]>,
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
        DoorRules { groups: NumberSet::new(groups), starts: starts.into(), rules: rules.into() }
    }

    pub(super) fn of_group(&self, group: u32) -> &[RuleRef] {
        let Some(rank) = self.groups.rank(group) else { return &[] };
        match self.starts.get(rank..rank + 2) {
            Some([from, to]) => self.rules.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// A set of small numbers that also knows how many members come before each: membership and place in
/// one look.
#[derive(Clone, Debug, Default)]
pub(super) struct NumberSet(Box<[Word]>);

#[derive(Clone, Copy, Debug, Default)]
struct Word {
    bits: u64,
    /// Members in all words before.
    before: u32,
}

impl NumberSet {
    pub(super) fn new(numbers: impl IntoIterator<Item = u32>) -> NumberSet {
        let mut words: Vec<Word> = Vec::new();
        for number in numbers {
            let (word, bit) = place(number);
            if words.len() <= word {
                words.resize(word + 1, Word::default());
            }
            if let Some(word) = words.get_mut(word) {
                word.bits |= bit;
            }
        }
        let mut before = 0;
        for word in &mut words {
            word.before = before;
            before += word.bits.count_ones();
        }
        NumberSet(words.into())
    }

    /// How many members are smaller than this one; `None` if it is no member.
    fn rank(&self, number: u32) -> Option<usize> {
        let (word, bit) = place(number);
        let word = self.0.get(word).filter(|word| word.bits & bit != 0)?;
        Some((word.before + (word.bits & (bit - 1)).count_ones()) as usize)
    }
}

fn place(number: u32) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_set_ranks_its_members_and_knows_no_others(
            numbers in proptest::collection::btree_set(0u32..1000, 0..200),
        ) {
            let set = NumberSet::new(numbers.iter().copied());
            for number in 0..1100 {
                let rank = numbers.contains(&number).then(|| numbers.range(..number).count());
                prop_assert_eq!(set.rank(number), rank, "{}", number);
            }
        }

        #[test]
        fn the_rules_of_a_group_at_a_door_come_in_order(
            pairs in proptest::collection::btree_set((0u32..300, 0u32..50), 0..300),
        ) {
            let reference = |rule| RuleRef { rule, schedule: None, effect: Effect::Allow };
            let door = DoorRules::new(pairs.iter().rev().map(|(group, rule)| (*group, reference(*rule))).collect());
            for group in 0..310 {
                let expected: BTreeSet<u32> = pairs.iter().filter(|(of, _)| *of == group).map(|(_, rule)| *rule).collect();
                prop_assert!(door.of_group(group).iter().map(|rule| rule.rule).eq(expected));
            }
        }
    }
}

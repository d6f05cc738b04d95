//! Access rules, arranged so that those which concern one person at one door are found at once. Owns the
//! way from (door, groups, person) to rule numbers; must never hold a person's data. Invariant: a rule's
//! number is its place among all rule ids in order, so "the first rule that decides" does not depend on how
//! a set was delivered.
//!
//! A door has one bit for each rule; a group, and a person whom rules name, has the words of its bits that
//! are not empty. What lies in both is looked at. The words are short, for a group has few rules and they are seldom
//! neighbours: so the lists of all groups stay in the nearest cache. All of it together is small against the people, so
//! it is worked out anew when a rule or schedule changes: a thousandth of what a whole set takes.

use std::{collections::BTreeMap, num::NonZeroU16, sync::Arc};

use super::{Floors, Target, calendar::Calendar, places::Places};
use crate::domain::{
    ids::{DoorIx, Id},
    record::Authentication,
    schedule::Schedule,
};

/// Bounds what the bits of all doors take.
pub(super) const RULES_MAX: usize = 65_536;

/// What a rule record says, with numbers for names.
#[derive(Clone, Debug)]
pub(super) struct RuleBody {
    pub(super) gate: Gate,
    pub(super) schedule: Option<Id>,
    /// Places of groups and persons, each once.
    pub(super) groups: Box<[u32]>,
    pub(super) persons: Box<[u32]>,
    /// Of this node, each once.
    pub(super) doors: Box<[DoorIx]>,
    /// By floor group of this node, each once.
    pub(super) floors: Box<[(u16, Floors)]>,
    /// What is wrong with it by itself.
    pub(super) faults: Vec<&'static str>,
}

/// What a rule does where it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Deny,
    Allow(Authentication),
}

/// By id; a set shares the bodies that it has in common with the one before.
pub(super) type RuleBodies = BTreeMap<Id, Arc<RuleBody>>;

/// By rule, ascending.
type RuleFloors = Box<[(u32, Floors)]>;

/// The rules of a set, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Rules {
    cells: Box<[RuleCell]>,
    names: Box<[Id]>,
    schedules: Box<[Arc<Schedule>]>,
    doors: Rows,
    cabs: Rows,
    /// For each floor group, the floors that each rule means, by rule.
    floors: Box<[RuleFloors]>,
    /// One bit for each rule: those that deny, and those that allow two persons.
    denying: Rows,
    for_two: Rows,
    by_group: Lists,
    direct: NumberSet,
    by_direct: Lists,
}

/// All that judging a rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleCell {
    pub(super) gate: Gate,
    pub(super) schedule: Option<ScheduleIx>,
}

/// Counted from one, so that "none" costs nothing.
pub(super) type ScheduleIx = NonZeroU16;

impl Rules {
    /// Every schedule that a rule names is in the calendar, which has no more than a [`ScheduleIx`] can say.
    pub(super) fn new(bodies: &RuleBodies, calendar: &Calendar, places: &Places) -> Rules {
        let schedule_numbers: BTreeMap<&Id, ScheduleIx> =
            calendar.schedules().map(|(id, _)| id).zip((1..=u16::MAX).filter_map(ScheduleIx::new)).collect();
        let schedule_number = |id: &Id| schedule_numbers.get(id).copied();
        let cell = |body: &Arc<RuleBody>| RuleCell {
            gate: body.gate,
            schedule: body.schedule.as_ref().and_then(schedule_number),
        };
        let numbered = || (0u32..).zip(bodies.values());
        let mut persons: Vec<u32> = bodies.values().flat_map(|body| body.persons.iter().copied()).collect();
        persons.sort_unstable();
        persons.dedup();
        let direct = NumberSet::new(persons.iter().copied());
        let rank = |person: &u32| direct.rank(*person).map(|rank| rank as u32);
        let having = |gate: Gate| {
            let rules = numbered().filter(|(_, body)| body.gate == gate).map(|(rule, _)| (0, rule));
            Rows::new(1, bodies.len(), rules)
        };
        let groups = bodies.values().flat_map(|body| body.groups.iter()).max().map_or(0, |highest| highest + 1);
        Rules {
            cells: bodies.values().map(cell).collect(),
            names: bodies.keys().cloned().collect(),
            schedules: calendar.schedules().map(|(_, schedule)| schedule.clone()).collect(),
            doors: Rows::new(
                places.doors(),
                bodies.len(),
                numbered().flat_map(|(rule, body)| body.doors.iter().map(move |door| (door.index(), rule))),
            ),
            cabs: Rows::new(
                places.floor_groups(),
                bodies.len(),
                numbered().flat_map(|(rule, body)| body.floors.iter().map(move |(cab, _)| (usize::from(*cab), rule))),
            ),
            floors: (0..places.floor_groups())
                .map(|cab| {
                    let at =
                        |body: &RuleBody| body.floors.iter().find(|(other, _)| usize::from(*other) == cab).copied();
                    numbered().filter_map(|(rule, body)| Some((rule, at(body)?.1))).collect()
                })
                .collect(),
            denying: having(Gate::Deny),
            for_two: having(Gate::Allow(Authentication::TwoPerson)),
            by_group: Lists::new(groups, || {
                numbered().flat_map(|(rule, body)| body.groups.iter().map(move |group| (*group, rule)))
            }),
            by_direct: Lists::new(persons.len() as u32, || {
                numbered().flat_map(|(rule, body)| body.persons.iter().filter_map(rank).map(move |at| (at, rule)))
            }),
            direct,
        }
    }

    pub(super) fn cell(&self, rule: u32) -> Option<RuleCell> {
        self.cells.get(rule as usize).copied()
    }

    pub(super) fn name(&self, rule: u32) -> Option<&Id> {
        self.names.get(rule as usize)
    }

    pub(super) fn schedule(&self, schedule: ScheduleIx) -> Option<&Schedule> {
        self.schedules.get(usize::from(schedule.get()) - 1).map(|schedule| &**schedule)
    }

    /// The floors that a rule means there; a door is a floor by itself.
    pub(super) fn floors(&self, rule: u32, target: Target) -> Floors {
        let Target::Cab(cab) = target else { return Floors::DOOR };
        let Some(floors) = self.floors.get(usize::from(cab)) else { return Floors::NONE };
        let found = floors.binary_search_by_key(&rule, |(rule, _)| *rule);
        found.ok().and_then(|at| floors.get(at)).map_or(Floors::NONE, |(_, floors)| *floors)
    }

    /// The rules for one of these groups, or this person, at this place.
    #[inline]
    pub(super) fn concerning<'a>(&'a self, who: (u32, &'a [u32]), target: Target) -> Concerning<'a> {
        let (person, groups) = who;
        let here = match target {
            Target::Door(door) => self.doors.row(door.index()),
            Target::Cab(cab) => self.cabs.row(usize::from(cab)),
        };
        let here = here.unwrap_or_default();
        let direct = self.direct.rank(person).map_or(&[][..], |rank| self.by_direct.of(rank as u32));
        let mut concerning =
            Concerning { rules: self, groups, direct, here, few: [RuleWord::default(); FEW], found: 0 };
        for word in groups.iter().flat_map(|group| self.by_group.of(*group)).chain(direct) {
            let bits = here.get(usize::from(word.at)).map_or(0, |here| here & word.bits);
            if bits != 0 {
                if let Some(place) = concerning.few.get_mut(concerning.found) {
                    *place = RuleWord { bits, at: word.at };
                }
                concerning.found += 1;
            }
        }
        concerning
    }
}

/// Words that are kept when they are found; where there are more they are looked for again.
const FEW: usize = 8;

/// The rules that concern somebody somewhere.
pub(super) struct Concerning<'a> {
    rules: &'a Rules,
    groups: &'a [u32],
    direct: &'a [RuleWord],
    here: &'a [u16],
    few: [RuleWord; FEW],
    found: usize,
}

impl Concerning<'_> {
    /// Shows every one of them of a kind; some more than once.
    #[inline]
    pub(super) fn each(&self, kind: Kind, mut visit: impl FnMut(u32)) {
        let (marked, others) = match kind {
            Kind::Deny => (&self.rules.denying, 0),
            Kind::Allow => (&self.rules.denying, u16::MAX),
            Kind::TwoPerson => (&self.rules.for_two, 0),
        };
        let marked = marked.row(0).unwrap_or_default();
        let mut show = |word: &RuleWord| {
            let marked = marked.get(usize::from(word.at)).copied().unwrap_or_default();
            word.rules(marked ^ others, &mut visit);
        };
        if let Some(few) = self.few.get(..self.found) {
            return few.iter().for_each(show);
        }
        for word in self.groups.iter().flat_map(|group| self.rules.by_group.of(*group)).chain(self.direct) {
            let here = self.here.get(usize::from(word.at)).copied().unwrap_or_default();
            show(&RuleWord { bits: word.bits & here, at: word.at });
        }
    }
}

/// Which rules are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deny,
    Allow,
    /// Those that allow, if they are two.
    TwoPerson,
}

/// For each row, one bit for each rule.
#[derive(Debug, Default)]
struct Rows {
    words: Box<[u16]>,
    /// Words in a row.
    width: usize,
}

impl Rows {
    fn new(rows: usize, rules: usize, pairs: impl Iterator<Item = (usize, u32)>) -> Rows {
        let width = rules.div_ceil(u16::BITS as usize);
        let mut words = vec![0; rows * width].into_boxed_slice();
        for (row, rule) in pairs {
            let (word, bit) = rule_place(rule);
            if let Some(word) = words.get_mut(row * width + usize::from(word)) {
                *word |= bit;
            }
        }
        Rows { words, width }
    }

    fn row(&self, row: usize) -> Option<&[u16]> {
        self.words.get(row * self.width..(row + 1) * self.width)
    }
}

/// For each of a range of numbers, its rules: a word of bits at a time, without those that are empty.
#[derive(Debug, Default)]
struct Lists {
    /// The n-th list is `words[starts[n]..starts[n + 1]]`.
    starts: Box<[u32]>,
    words: Box<[RuleWord]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct RuleWord {
    bits: u16,
    at: u16,
}

impl Lists {
    /// From (list, rule) pairs, rules ascending. They are asked for twice: once to count.
    fn new<I: Iterator<Item = (u32, u32)>>(lists: u32, pairs: impl Fn() -> I) -> Lists {
        let lists = lists as usize;
        let mut starts = vec![0u32; lists + 1].into_boxed_slice();
        let mut last: Box<[Option<u16>]> = vec![None; lists].into();
        // A word is begun where a list's rule is not in the word of the rule before.
        let mut begins = |list: u32, rule: u32| {
            let (word, _) = rule_place(rule);
            last.get_mut(list as usize).is_some_and(|last| last.replace(word) != Some(word))
        };
        for (list, rule) in pairs() {
            if begins(list, rule)
                && let Some(count) = starts.get_mut(list as usize + 1)
            {
                *count += 1;
            }
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut words = vec![RuleWord::default(); total as usize].into_boxed_slice();
        let mut next: Box<[u32]> = starts.clone();
        let mut last: Box<[Option<u16>]> = vec![None; lists].into();
        for (list, rule) in pairs() {
            let (at, bit) = rule_place(rule);
            let (Some(next), Some(last)) = (next.get_mut(list as usize), last.get_mut(list as usize)) else { continue };
            if last.replace(at) != Some(at) {
                *next += 1;
            }
            if let Some(word) = words.get_mut(*next as usize - 1) {
                word.at = at;
                word.bits |= bit;
            }
        }
        Lists { starts, words }
    }

    #[inline]
    fn of(&self, list: u32) -> &[RuleWord] {
        match self.starts.get(list as usize..list as usize + 2) {
            Some([from, to]) => self.words.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl RuleWord {
    /// Those of its rules that are also in another word, in order.
    #[inline]
    fn rules(&self, others: u16, visit: &mut impl FnMut(u32)) {
        let mut bits = self.bits & others;
        while bits != 0 {
            visit(u32::from(self.at) * u16::BITS + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
}

/// A set of small numbers that also knows how many members come before each: membership and place in
/// one look.
#[derive(Clone, Debug, Default)]
struct NumberSet(Box<[Word]>);

#[derive(Clone, Copy, Debug, Default)]
struct Word {
    bits: u64,
    /// Members in all words before.
    before: u32,
}

impl NumberSet {
    fn new(numbers: impl IntoIterator<Item = u32>) -> NumberSet {
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

/// Word and bit; there are no more rules than [`RULES_MAX`].
fn rule_place(rule: u32) -> (u16, u16) {
    ((rule / u16::BITS) as u16, 1 << (rule % u16::BITS))
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
        fn what_is_in_a_row_and_in_a_list_comes_in_order(
            rows in proptest::collection::btree_set((0u32..500, 0usize..5), 0..600),
            lists in proptest::collection::btree_set((0u32..500, 0u32..8), 0..600),
        ) {
            let table = Rows::new(5, 500, rows.iter().map(|(rule, row)| (*row, *rule)));
            let by_list = Lists::new(8, || lists.iter().map(|(rule, list)| (*list, *rule)));
            for row in 0..5 {
                for list in 0..10 {
                    let both = |rule: &u32| rows.contains(&(*rule, row)) && lists.contains(&(*rule, list));
                    let expected: BTreeSet<u32> = (0..500).filter(both).collect();
                    let mut found = Vec::new();
                    by_list.of(list).iter().for_each(|word| word.rules(table.row(row).unwrap()[usize::from(word.at)], &mut |rule| found.push(rule)));
                    prop_assert!(found.iter().eq(&expected), "{:?} {:?}", found, expected);
                }
            }
            prop_assert!(table.row(5).is_none());
        }
    }
}

//! All that is wrong with a draft, in words. Owns their order; must never be asked about a draft that is
//! without fault. Invariant: what is said depends on the records that the draft holds, so a delta is refused
//! in the words in which the whole set would be.
//!
//! It visits everything: a set is refused rarely, and then whoever reads the reasons wants all of them.

use std::collections::BTreeMap;

use super::{
    draft::{Draft, Missing},
    rules::RULES_MAX,
};
use crate::domain::ids::Id;

/// More reasons than this for one refusal tell nobody more; the last one then says how many there were.
pub const FAULTS_MAX: usize = 200;

#[derive(Default)]
struct Faults {
    listed: Vec<String>,
    unlisted: usize,
}

impl Faults {
    fn push(&mut self, fault: String) {
        if self.listed.len() < FAULTS_MAX {
            self.listed.push(fault);
        } else {
            self.unlisted += 1;
        }
    }

    fn into_vec(mut self) -> Vec<String> {
        if self.unlisted > 0 {
            self.listed.push(format!("and {} more", self.unlisted));
        }
        self.listed
    }
}

impl Draft {
    pub(super) fn faults(&self, missing: &Missing) -> Vec<String> {
        let mut faults = Faults::default();
        let mut fault = |fault| faults.push(fault);
        self.twice.iter().cloned().for_each(&mut fault);
        self.set.operators.check(&self.set.site, &mut fault);
        self.check_site(&mut fault);
        self.set.calendar.check(&mut fault);
        self.check_rules(missing, &mut fault);
        self.check_persons(missing, &mut fault);
        self.check_credentials(missing, &mut fault);
        faults.into_vec()
    }

    fn check_rules(&self, missing: &Missing, fault: &mut dyn FnMut(String)) {
        let people = &self.set.people;
        for (number, (id, body)) in self.set.rule_bodies.iter().enumerate() {
            let mut fault = |what: String| fault(format!("access_rule {id}: {what}"));
            body.faults.iter().for_each(|what| fault((*what).to_owned()));
            for schedule in body.schedule.iter().filter(|schedule| self.set.calendar.schedule(schedule).is_none()) {
                fault(format!("schedule {schedule} does not exist"));
            }
            let groups = body.groups.iter().filter(|at| missing.groups.contains(at));
            in_order(groups.filter_map(|at| people.groups.name(*at)))
                .for_each(|group| fault(format!("group {group} does not exist")));
            let persons = body.persons.iter().filter(|at| missing.persons.contains(at));
            in_order(persons.filter_map(|at| people.persons.name(*at)))
                .for_each(|person| fault(format!("person {person} does not exist")));
            if number >= RULES_MAX {
                fault(format!("a node holds at most {RULES_MAX} access rules"));
            }
        }
    }

    fn check_persons(&self, missing: &Missing, fault: &mut dyn FnMut(String)) {
        if missing.groups.is_empty() {
            return;
        }
        let people = &self.set.people;
        let mut found: Vec<(&Id, Vec<&Id>)> = Vec::new();
        for (_, id, cell) in people.persons.iter() {
            let groups = cell.groups.iter().filter(|at| missing.groups.contains(at));
            let groups: Vec<&Id> = in_order(groups.filter_map(|at| people.groups.name(*at))).collect();
            if !groups.is_empty() {
                found.push((id, groups));
            }
        }
        found.sort_unstable();
        for (id, groups) in found {
            groups.iter().for_each(|group| fault(format!("person {id}: group {group} does not exist")));
        }
    }

    fn check_credentials(&self, missing: &Missing, fault: &mut dyn FnMut(String)) {
        let people = &self.set.people;
        // What is wrong with each credential: whose token it has, who is missing.
        let mut found: BTreeMap<&Id, (Option<&Id>, Option<&Id>)> = BTreeMap::new();
        for token in &self.shared_tokens {
            let holders: Vec<&Id> =
                in_order(people.holders(token).filter_map(|at| people.credentials.name(at))).collect();
            for pair in holders.windows(2) {
                if let [first, second] = pair {
                    found.entry(second).or_default().0 = Some(first);
                }
            }
        }
        if !missing.persons.is_empty() {
            for (_, id, cell) in people.credentials.iter().filter(|(_, _, cell)| missing.persons.contains(&cell.person))
            {
                found.entry(id).or_default().1 = people.persons.name(cell.person);
            }
        }
        for (id, (other, person)) in found {
            other.iter().for_each(|other| fault(format!("credential {id}: has the same token as credential {other}")));
            person.iter().for_each(|person| fault(format!("credential {id}: person {person} does not exist")));
        }
    }
}

fn in_order<'a>(names: impl Iterator<Item = &'a Id>) -> impl Iterator<Item = &'a Id> {
    let mut names: Vec<&Id> = names.collect();
    names.sort_unstable();
    names.into_iter()
}

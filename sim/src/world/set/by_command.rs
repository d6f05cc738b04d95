//! What operators edit by command, over the cloud's set: guests with their cards, rules for them, and what `places` has.
//! Owns each edit as
//! it was wished, which were made, and which the cloud takes over; must never ask the mirror's merging: what stands is
//! for `overlay` to say. Invariant: a set of the cloud's names nobody who is not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use latchd::domain::{
    event::{ConflictedEdit, EditFate, EditMade},
    ids::Id,
    permission::Permissions,
    record::{AccessRule, Credential, CredentialState, Effect, Group, Person, Record},
};
use serde_json::{Value, json};

use super::{
    Generation, Records,
    first::ids,
    names::{PERSONS, guest_card_id, guest_card_of, guest_id, person_id, tokens_of},
    overlay::Overlay,
};
use crate::{
    cloud::Wish,
    world::{World, site::id},
};

pub const GUESTS: u64 = 3;
/// Versions of the permissions that may still be on their way to the doors.
const KNOWN_MAX: usize = 32;

#[derive(Clone, Debug)]
pub struct EditWish {
    pub operator: &'static str,
    pub kind: &'static str,
    pub id: Id,
    /// `None`: it is to go.
    pub body: Option<Record>,
}

#[derive(Default)]
pub struct Edits {
    /// By command; several where other bytes were sent under one id.
    wished: BTreeMap<Id, Vec<EditWish>>,
    /// All that were ever made, by revision.
    made: BTreeMap<u64, (Id, EditWish)>,
    overlay: Overlay,
    /// The generation over which it stands.
    settled: u64,
    /// Up to here all are gone: with store and copy.
    lost: u64,
    /// Of a generation with what stood over it at a revision.
    over: BTreeMap<(u64, u64), Arc<Generation>>,
    /// Which revision a version of the permissions has.
    known: Vec<(Arc<Permissions>, u64)>,
    /// Did not fit: told of in the log as well, sooner or later.
    conflicts: BTreeSet<Id>,
}

impl Edits {
    pub fn wished(&self, jti: &Id, kind: &str, id: &Id) -> Option<&EditWish> {
        let mut of = self.wished.get(jti).into_iter().flatten();
        of.find(|wish| wish.kind == kind && wish.id == *id)
    }

    /// What is told of an edit that stands.
    pub fn stands(&self, conflict: &ConflictedEdit) -> bool {
        self.overlay.has(&conflict.jti, &conflict.id)
    }

    /// What was told of this generation is known.
    pub fn is_settled(&self, generation: u64) -> bool {
        self.settled == generation
    }

    pub fn standing(&self) -> BTreeSet<u64> {
        self.overlay.revisions()
    }

    /// The node has none of those that were made. The newest that it had before, if any.
    pub fn lose(&mut self, through: u64) -> Option<u64> {
        let newest = self.made.keys().next_back().copied().filter(|newest| *newest > self.lost);
        self.lost = self.lost.max(through);
        self.overlay.clear();
        self.settled = 0;
        // The same revisions mean another overlay from here on.
        (self.over, self.known) = (BTreeMap::new(), Vec::new());
        newest
    }

    pub fn know(&mut self, permissions: &Arc<Permissions>, revision: u64) {
        if self.known.len() >= KNOWN_MAX {
            self.known.remove(0);
        }
        self.known.push((permissions.clone(), revision));
    }

    pub fn revision_of(&self, permissions: &Arc<Permissions>) -> u64 {
        let mut known = self.known.iter().rev();
        known.find(|(known, _)| Arc::ptr_eq(known, permissions)).map_or(0, |(_, revision)| *revision)
    }

    /// The commands whose edits did not fit.
    pub fn conflicts(&self) -> impl Iterator<Item = &Id> {
        self.conflicts.iter()
    }
}

impl super::Sets {
    /// Works out what a generation comes to with what stands over it.
    pub fn prepare(&mut self, number: u64, revision: u64) {
        let Some(base) = self.generations.get(&number).cloned() else { return };
        let overlay = &self.edits.overlay;
        let over = || Arc::new(base.saying(overlay.over(&base.records).0));
        self.edits.over.entry((number, revision)).or_insert_with(over);
    }

    pub fn in_force(&self, number: u64, revision: u64) -> Option<&Arc<Generation>> {
        self.edits.over.get(&(number, revision)).or_else(|| self.generations.get(&number))
    }

    /// With every edit that was ever made, whatever became of it.
    pub fn never_absorbed(&self, number: u64) -> Option<Generation> {
        let base = self.at(number)?;
        let mut records = base.records.clone();
        for (_, wish) in self.edits.made.values() {
            records.retain(|(id, record)| (record.kind(), id) != (wish.kind, &wish.id));
            records.extend(wish.body.clone().map(|body| (wish.id.clone(), body)));
        }
        Some(base.saying(records))
    }

    /// The mirror has made it over this generation. False: nobody wished it.
    pub fn edit_made(&mut self, number: u64, made: &EditMade) -> bool {
        let EditMade { jti, kind, id, revision, .. } = made;
        if self.edits.overlay.revisions().contains(revision) {
            return true;
        }
        let Some(wish) = self.edits.wished(jti, kind.as_str(), id).cloned() else { return false };
        if let Some(base) = self.generations.get(&number) {
            self.edits.overlay.made(base, *revision, jti.clone(), (wish.kind, id), wish.body.clone());
        }
        self.edits.made.insert(*revision, (jti.clone(), wish));
        true
    }

    /// A set is in force, of which was told what did not fit.
    pub fn settle(&mut self, number: u64, conflicts: &[ConflictedEdit]) -> Result<(), String> {
        let Some(base) = self.generations.get(&number) else { return Ok(()) };
        let fits = |conflict: &&ConflictedEdit| conflict.fate != EditFate::Disputed;
        self.edits.conflicts.extend(conflicts.iter().filter(fits).map(|conflict| conflict.jti.clone()));
        self.edits.settled = number;
        self.edits.overlay.settle(base, conflicts)
    }
}

impl World {
    /// Somebody changes a guest at the node itself, or to whom a part of the site belongs.
    pub(in crate::world) fn edit_by_command(&mut self) {
        let operators = ["op-1", "op-1", "op-2", "op-2", "op-3", "op-5", "op-4", "op-6", "op-6", "op-7", "op-8"];
        let operator = operators[self.rng.index(operators.len())];
        let number = self.rng.below(GUESTS);
        let (guest, card) = (guest_id(number), guest_card_id(number));
        let (kind, name, body) = match self.rng.below(12) {
            0..3 => {
                let groups = if self.rng.permille(700) { ids(&["guests"]) } else { Vec::new() };
                let partitions: [&[&str]; 3] = [&[], &["street"], &["yard"]];
                let partitions = ids(partitions[self.rng.index(3)]);
                ("person", guest, Some(Record::Person(Person { groups, partitions, ..Person::default() })))
            }
            3..6 => {
                let lost = self.rng.permille(400);
                let state = if lost { CredentialState::Lost } else { CredentialState::Active };
                let (tokens, _) = tokens_of(guest_card_of(number));
                (
                    "credential",
                    card,
                    Some(Record::Credential(Credential { state, ..Credential::card(guest, tokens[0]) })),
                )
            }
            6 => ("credential", card, None),
            7..11 => self.place_wish(),
            _ => {
                // Of a guest who is gone it is what it says of the other that stays.
                let other = self.rng.permille(400).then(|| person_id(self.rng.below(PERSONS)));
                let persons = std::iter::once(guest).chain(other).collect();
                let deny = AccessRule { persons, doors: ids(&["front"]), ..AccessRule::new(Effect::Deny) };
                let body = self.rng.permille(500).then_some(Record::AccessRule(deny));
                ("access_rule", id(&format!("no-guest-{number}")), body)
            }
        };
        let cmd = format!("{kind}.{}", if body.is_some() { "put" } else { "delete" });
        let mut args = json!({ "id": name });
        if let Some(body) = &body {
            let value = serde_json::to_value(body).unwrap_or_default();
            args["body"] = value.get("body").cloned().unwrap_or(Value::Null);
        }
        let wish = Wish { lifetime: self.rng.millis(2_000, 20_000), ..Wish::new(operator, &cmd, args) };
        let wall = self.wall();
        let (jti, message) = self.cloud.command(wall, &wish);
        self.line(format_args!("cloud: {cmd} {name} by {operator} {jti}"));
        self.count("edits wished");
        let wished = EditWish { operator, kind, id: name, body };
        self.sets.edits.wished.entry(jti.clone()).or_default().push(wished);
        self.send_command(jti, message);
    }

    /// The cloud takes over what it has heard to be done, in the order in which it was made; of some records it discards
    /// all of it, and so it does with what does not fit its set.
    pub(super) fn absorb(&mut self, set: &mut Records) {
        let done =
            |jti: &Id| self.cloud.outcomes_of(jti).any(|outcome| outcome.stage == latchd::wire::outcome::Stage::Done);
        let made = self.sets.edits.made.values().take_while(|(jti, _)| done(jti));
        let taken: Vec<(Id, EditWish)> = made.cloned().collect();
        let mut discards: BTreeMap<(&str, Id), bool> = BTreeMap::new();
        for (jti, EditWish { kind, id, body, .. }) in taken {
            if self.sets.absorbs.insert(jti) {
                let discards = *discards.entry((kind, id.clone())).or_insert_with(|| self.rng.permille(350));
                self.count(if discards { "edits discarded" } else { "edits absorbed" });
                match body {
                    _ if discards => {}
                    Some(body) if names_only(set, &body) => set.put(&id, body),
                    Some(_) => {}
                    None => drop(set.delete(kind, &id)),
                }
            }
        }
    }

    /// The cloud gives up its guests, or has them again. What it takes away from them is for the watch of the edits.
    pub(super) fn edit_guests(&mut self, set: &mut Records) {
        let (group, rule) = (id("guests"), id("guests-at-the-front"));
        if set.get("group", &group).is_none() {
            set.put(&group, Record::Group(Group::default()));
            let front = AccessRule { groups: vec![group], doors: ids(&["front"]), ..AccessRule::new(Effect::Allow) };
            set.put(&rule, Record::AccessRule(front));
            return;
        }
        set.delete("group", &group);
        set.delete("access_rule", &rule);
        for (id, record) in set.list() {
            if let Record::Person(mut person) = record
                && person.groups.contains(&group)
            {
                person.groups.retain(|other| *other != group);
                set.put(&id, Record::Person(person));
            }
        }
    }
}

/// Whether all that this record names is in the set.
fn names_only(set: &Records, record: &Record) -> bool {
    match record {
        Record::Person(body) => body.groups.iter().all(|group| set.get("group", group).is_some()),
        Record::Credential(body) => set.get("person", &body.person).is_some(),
        Record::AccessRule(body) => body.persons.iter().all(|person| set.get("person", person).is_some()),
        _ => true,
    }
}

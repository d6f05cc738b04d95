//! What operators edit by command, over the cloud's set: guests with their cards, and rules for them. Owns each edit as
//! it was wished, which were made, and what a generation with the edits over it comes to; must never ask the mirror's
//! merging. Invariant: nobody but these edits touches a guest, so the last word on a record is the last edit's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use latchd::domain::{
    ids::Id,
    permission::Permissions,
    record::{AccessRule, Credential, CredentialState, Effect, Person, Record},
};
use serde_json::{Value, json};

use super::{
    Generation, Records,
    first::ids,
    names::{guest_card_id, guest_card_of, guest_id, tokens_of},
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
    /// By revision.
    made: BTreeMap<u64, (Id, EditWish)>,
    /// Of a generation with the edits up to a revision over it.
    over: BTreeMap<(u64, u64), Arc<Generation>>,
    /// Which revision a version of the permissions has.
    known: Vec<(Arc<Permissions>, u64)>,
}

impl Edits {
    pub fn wished(&self, jti: &Id, kind: &str, id: &Id) -> Option<&EditWish> {
        let mut of = self.wished.get(jti).into_iter().flatten();
        of.find(|wish| wish.kind == kind && wish.id == *id)
    }

    /// The mirror has made it. False: nobody wished it.
    pub fn made(&mut self, revision: u64, jti: &Id, kind: &str, id: &Id) -> bool {
        let Some(wish) = self.wished(jti, kind, id).cloned() else { return false };
        self.made.insert(revision, (jti.clone(), wish));
        true
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

    /// What stands over this generation, oldest first: an edit goes with the last of its record that was taken over.
    fn standing(&self, generation: &Generation, revision: u64) -> Vec<(u64, &Id, &EditWish)> {
        let mut taken: BTreeMap<(&str, &Id), u64> = BTreeMap::new();
        for (revision, (_, wish)) in self.made.iter().filter(|(_, (jti, _))| generation.absorbs.contains(jti)) {
            taken.insert((wish.kind, &wish.id), *revision);
        }
        let stands = |(at, (_, wish)): &(&u64, &(Id, EditWish))| {
            **at <= revision && taken.get(&(wish.kind, &wish.id)).is_none_or(|through| *through < **at)
        };
        self.made.iter().filter(stands).map(|(at, (jti, wish))| (*at, jti, wish)).collect()
    }

    /// The commands whose edits stand over this generation.
    pub fn must_stand(&self, generation: &Generation) -> BTreeSet<Id> {
        self.standing(generation, u64::MAX).into_iter().map(|(_, jti, _)| jti.clone()).collect()
    }
}

impl super::Sets {
    /// Works out what a generation comes to with the edits up to this revision over it.
    pub fn prepare(&mut self, number: u64, revision: u64) {
        let Some(base) = self.generations.get(&number).cloned() else { return };
        if self.edits.over.contains_key(&(number, revision)) {
            return;
        }
        let mut records = base.records.clone();
        for (_, _, wish) in self.edits.standing(&base, revision) {
            records.retain(|(id, record)| (record.kind(), id) != (wish.kind, &wish.id));
            records.extend(wish.body.clone().map(|body| (wish.id.clone(), body)));
        }
        self.edits.over.insert((number, revision), Arc::new(base.saying(records)));
    }

    pub fn in_force(&self, number: u64, revision: u64) -> Option<&Arc<Generation>> {
        self.edits.over.get(&(number, revision)).or_else(|| self.generations.get(&number))
    }
}

impl World {
    /// Somebody changes a guest at the node itself.
    pub(in crate::world) fn edit_by_command(&mut self) {
        let operator = ["op-1", "op-1", "op-2", "op-2", "op-3", "op-5", "op-4"][self.rng.index(7)];
        let number = self.rng.below(GUESTS);
        let (guest, card) = (guest_id(number), guest_card_id(number));
        let (kind, name, body) = match self.rng.below(8) {
            0..3 => {
                let groups = if self.rng.permille(700) { ids(&["guests"]) } else { Vec::new() };
                ("person", guest, Some(Record::Person(Person { groups, ..Person::default() })))
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
            _ => {
                let deny = AccessRule { persons: vec![guest], doors: ids(&["front"]), ..AccessRule::new(Effect::Deny) };
                let body = self.rng.permille(500).then_some(Record::AccessRule(deny));
                // Rules reach doors, which a manager may have been given.
                if operator == "op-5" {
                    ("credential", card, None)
                } else {
                    ("access_rule", id(&format!("no-guest-{number}")), body)
                }
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

    /// The cloud takes over what it has heard to be done, in the order in which it was made.
    pub(super) fn absorb(&mut self, set: &mut Records) {
        let done =
            |jti: &Id| self.cloud.outcomes_of(jti).any(|outcome| outcome.stage == latchd::wire::outcome::Stage::Done);
        let made = self.sets.edits.made.values().take_while(|(jti, _)| done(jti));
        let taken: Vec<(Id, EditWish)> = made.cloned().collect();
        for (jti, EditWish { kind, id, body, .. }) in taken {
            if self.sets.absorbs.insert(jti) {
                match body {
                    Some(body) => set.put(&id, body),
                    None => drop(set.delete(kind, &id)),
                }
            }
        }
    }
}

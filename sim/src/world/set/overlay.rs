//! What stands over the cloud's set, by a model of its own: each edit as what it found and what it left. Owns which edits
//! stand and what they make of a generation; must never ask the mirror's merging. Invariant: an edit leaves by a set that
//! names it, or is told not to fit; and what is told not to fit does not.

use std::collections::{BTreeMap, BTreeSet};

use latchd::domain::{
    event::{ConflictedEdit, EditFate},
    ids::Id,
    record::{Effect, Record},
};
use serde_json::{Map, Value};

use super::Generation;

type Body = Map<String, Value>;

/// An edit that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    pub jti: Id,
    pub kind: &'static str,
    pub id: Id,
    before: Option<Record>,
    after: Option<Record>,
}

#[derive(Default)]
pub struct Overlay {
    /// By revision.
    standing: BTreeMap<u64, Edit>,
}

fn body_of(record: &Record) -> Body {
    let value = serde_json::to_value(record).unwrap_or_default();
    value.get("body").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn record_of(kind: &str, body: Body) -> Option<Record> {
    serde_json::from_value(serde_json::json!({ "kind": kind, "body": body })).ok()
}

fn denies(record: &Record) -> bool {
    matches!(record, Record::AccessRule(rule) if rule.effect == Effect::Deny)
}

/// What an edit makes of the record as it is by now; `Err`: the cloud has undone what it was built on.
fn applied(edit: &Edit, current: Option<Record>) -> Result<Option<Record>, ()> {
    match (&edit.before, &edit.after, current) {
        (before, None, Some(current)) if denies(&current) && before.as_ref() != Some(&current) => Err(()),
        (_, None, _) => Ok(None),
        (Some(_), Some(after), None) if !denies(after) => Err(()),
        (_, Some(after), None) => Ok(Some(after.clone())),
        (before, Some(after), Some(current)) => {
            let before = before.as_ref().map(body_of).unwrap_or_default();
            let (after, current) = (body_of(after), body_of(&current));
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).chain(current.keys()).collect();
            let merged = names.into_iter().filter_map(|name| {
                let value = member(edit.kind, name, before.get(name), after.get(name), current.get(name))?;
                Some((name.clone(), value))
            });
            Ok(record_of(edit.kind, merged.collect()))
        }
    }
}

/// Of an operator these lists mean everything when they are not there.
fn is_all_without(kind: &str, name: &str) -> bool {
    kind == "operator" && matches!(name, "doors" | "partitions" | "organisation_units")
}

fn member(
    kind: &str,
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    current: Option<&Value>,
) -> Option<Value> {
    if after == before {
        return current.cloned();
    }
    if current == before || current == after {
        return after.cloned();
    }
    let strictness = |value: Option<&Value>| {
        let states = ["active", "suspended", "lost", "stolen"];
        states.iter().position(|state| value.is_some_and(|value| value == state)).unwrap_or(0)
    };
    match name {
        "state" => if strictness(after) >= strictness(current) { after } else { current }.cloned(),
        _ if is_all_without(kind, name) && (after.is_none() || current.is_none()) => after.or(current).cloned(),
        "groups" | "persons" | "doors" | "partitions" | "organisation_units" | "floor_groups" | "lockers" => {
            let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (before, after, current) = (list(before), list(after), list(current));
            let stays = |item: &Value| {
                let removed = before.contains(item) && (!after.contains(item) || !current.contains(item));
                (after.contains(item) || current.contains(item)) && !removed
            };
            let mut merged: Vec<Value> = current.iter().chain(&after).filter(|item| stays(item)).cloned().collect();
            let mut seen = Vec::new();
            merged.retain(|item| {
                !seen.contains(item) && {
                    seen.push(item.clone());
                    true
                }
            });
            (!merged.is_empty() || is_all_without(kind, name)).then_some(Value::Array(merged))
        }
        _ => after.cloned(),
    }
}

/// Whether all that a record names is there.
fn resolves(records: &[(Id, Record)]) -> bool {
    let has = |kind: &str, id: &Id| records.iter().any(|(other, record)| record.kind() == kind && other == id);
    records.iter().all(|(_, record)| match record {
        Record::Person(body) => body.groups.iter().all(|group| has("group", group)),
        Record::Credential(body) => has("person", &body.person),
        Record::AccessRule(body) => {
            body.groups.iter().all(|group| has("group", group)) && body.persons.iter().all(|one| has("person", one))
        }
        _ => true,
    })
}

fn found(records: &[(Id, Record)], kind: &str, id: &Id) -> Option<Record> {
    let mut of = records.iter().filter(|(other, record)| record.kind() == kind && other == id);
    of.next().map(|(_, record)| record.clone())
}

fn put(records: &mut Vec<(Id, Record)>, kind: &str, id: &Id, record: Option<Record>) {
    records.retain(|(other, known)| (known.kind(), other) != (kind, id));
    records.extend(record.map(|record| (id.clone(), record)));
}

/// A record that denies, for those of its people whom there are.
fn reduced(edit: &Edit, records: &[(Id, Record)]) -> Option<Record> {
    let Some(Record::AccessRule(mut rule)) = edit.after.clone().filter(denies) else { return None };
    rule.persons.retain(|person| found(records, "person", person).is_some());
    rule.groups.retain(|group| found(records, "group", group).is_some());
    (!rule.persons.is_empty() || !rule.groups.is_empty()).then_some(Record::AccessRule(rule))
}

impl Overlay {
    pub fn revisions(&self) -> BTreeSet<u64> {
        self.standing.keys().copied().collect()
    }

    pub fn has(&self, jti: &Id, id: &Id) -> bool {
        self.standing.values().any(|edit| edit.jti == *jti && edit.id == *id)
    }

    pub fn clear(&mut self) {
        self.standing.clear();
    }

    /// One was made, over this generation and what stands there already.
    pub fn made(
        &mut self,
        base: &Generation,
        revision: u64,
        jti: Id,
        (kind, id): (&'static str, &Id),
        after: Option<Record>,
    ) {
        let before = found(&self.over(&base.records).0, kind, id);
        self.standing.insert(revision, Edit { jti, kind, id: id.clone(), before, after });
    }

    /// What the edits make of these records, and which of them come to nothing.
    pub fn over(&self, base: &[(Id, Record)]) -> (Vec<(Id, Record)>, BTreeSet<u64>) {
        let (mut records, mut nothing) = (base.to_vec(), BTreeSet::new());
        for (revision, edit) in &self.standing {
            match applied(edit, found(&records, edit.kind, &edit.id)) {
                Ok(record) => put(&mut records, edit.kind, &edit.id, record),
                Err(()) => drop(nothing.insert(*revision)),
            }
        }
        (records, nothing)
    }

    fn before(&self, revision: u64) -> Overlay {
        Overlay { standing: self.standing.range(..revision).map(|(at, edit)| (*at, edit.clone())).collect() }
    }

    /// A set is in force that names these, and of which was told what does not fit.
    pub fn settle(&mut self, base: &Generation, told: &[ConflictedEdit]) -> Result<(), String> {
        let mut records: BTreeSet<(&str, Id)> = BTreeSet::new();
        let mut gone = Vec::new();
        for (revision, edit) in self.standing.iter().rev() {
            let record = (edit.kind, edit.id.clone());
            if base.absorbs.contains(&edit.jti) || records.contains(&record) {
                records.insert(record);
                gone.push(*revision);
            }
        }
        gone.iter().for_each(|revision| drop(self.standing.remove(revision)));
        let mut aside = Vec::new();
        for conflict in told.iter().filter(|conflict| conflict.fate != EditFate::Disputed) {
            let of = |(_, edit): &(&u64, &Edit)| edit.jti == conflict.jti && edit.id == conflict.id;
            let Some(revision) = self.standing.iter().find(of).map(|(revision, _)| *revision) else {
                return Err(format!("{conflict:?} is told of an edit that does not stand"));
            };
            aside.extend(self.standing.remove(&revision).map(|edit| (revision, edit, conflict.fate)));
        }
        // Those that are reduced come in again at their place.
        for (revision, edit, fate) in &aside {
            let (records, _) = self.before(*revision).over(&base.records);
            let less = reduced(edit, &records);
            match fate {
                EditFate::Reduced => {
                    let Some(less) = less else {
                        return Err(format!("{edit:?} is reduced, and takes nothing away"));
                    };
                    let current = found(&records, edit.kind, &edit.id);
                    self.standing.insert(*revision, Edit { before: current, after: Some(less), ..edit.clone() });
                }
                _ if less.is_some() && found(&records, edit.kind, &edit.id) != less => {
                    return Err(format!("{edit:?} is set aside, and might be reduced"));
                }
                _ => {}
            }
        }
        let (records, nothing) = self.over(&base.records);
        if !nothing.is_empty() || !resolves(&records) {
            return Err(format!("edits {nothing:?} come to nothing, or do not fit, and nobody was told"));
        }
        // What came before it is kept by then; what came after it need not be.
        for (revision, edit, _) in aside {
            let mut with = self.before(revision);
            with.standing.insert(revision, edit.clone());
            let (records, nothing) = with.over(&base.records);
            if nothing.is_empty() && resolves(&records) {
                return Err(format!("{edit:?} does not stand as it was made, and fits"));
            }
        }
        Ok(())
    }
}

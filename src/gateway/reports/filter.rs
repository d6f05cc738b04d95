//! Which events fit a question, and which an operator may see. Owns what an event is about; must never
//! guess a place: an event that names none belongs to the whole node. Invariant: to an operator who is limited to places an
//! event is shown only if it names a door (or compartment) or a floor group, and none beyond theirs.
//!
//! Events are read as JSON, not as this version's types: the log may hold what another version wrote.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value};

use crate::{
    domain::{
        ids::Id,
        operator,
        permission::Permissions,
        time::Wall,
        topology::{ReaderAt, Topology},
    },
    wire::report::{EventFilter, TypePattern},
};

/// Objects and lists within each other that are looked through.
const DEPTH_MAX: usize = 8;

/// Which door a reader belongs to, or which floor group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub readers: BTreeMap<Id, Id>,
    pub cabs: BTreeMap<Id, Id>,
}

impl Places {
    pub fn of(topology: &Topology) -> Places {
        let at_door = |(reader, at): &(Id, ReaderAt)| match at {
            ReaderAt::Door(door) => Some((reader.clone(), topology.door_id(*door)?.clone())),
            ReaderAt::Cab(_) | ReaderAt::Cabinet(_) => None,
        };
        let in_cab = |(reader, at): &(Id, ReaderAt)| match at {
            ReaderAt::Cab(cab) => Some((reader.clone(), topology.floor_groups.get(usize::from(*cab))?.id.clone())),
            ReaderAt::Door(_) | ReaderAt::Cabinet(_) => None,
        };
        let readers = topology.readers.iter();
        Places { readers: readers.clone().filter_map(at_door).collect(), cabs: readers.filter_map(in_cab).collect() }
    }
}

/// What an operator may see: without `doors` everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub doors: Option<BTreeSet<Id>>,
    pub floor_groups: BTreeSet<Id>,
}

/// An event, and whom and what it names.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub event: Map<String, Value>,
    /// Compartments are doors too.
    pub doors: Vec<String>,
    pub floor_groups: Vec<String>,
    pub persons: Vec<String>,
    pub credentials: Vec<String>,
    pub operators: Vec<String>,
    pub readers: Vec<String>,
}

impl Seen {
    /// `None` if it cannot be read.
    pub fn new(json: &[u8], places: &Places) -> Option<Seen> {
        let Value::Object(event) = serde_json::from_slice(json).ok()? else { return None };
        let mut seen = Seen {
            event: Map::new(),
            doors: Vec::new(),
            floor_groups: Vec::new(),
            persons: Vec::new(),
            credentials: Vec::new(),
            operators: Vec::new(),
            readers: Vec::new(),
        };
        seen.look_through(&event, 0);
        if seen.doors.is_empty() && seen.floor_groups.is_empty() {
            let of = |places: &BTreeMap<Id, Id>| {
                let found = seen.readers.iter().filter_map(|reader| places.get(reader.as_str()));
                found.map(ToString::to_string).collect()
            };
            (seen.doors, seen.floor_groups) = (of(&places.readers), of(&places.cabs));
        }
        seen.event = event;
        Some(seen)
    }

    pub fn member(&self, name: &str) -> &str {
        self.event.get(name).and_then(|value| value.as_str()).unwrap_or_default()
    }

    fn look_through(&mut self, members: &Map<String, Value>, depth: usize) {
        for (name, value) in members {
            let named = match name.as_str() {
                "door" | "doors" | "locker" => Some(&mut self.doors),
                "floor_group" => Some(&mut self.floor_groups),
                "person" | "persons" => Some(&mut self.persons),
                "credential" | "credentials" => Some(&mut self.credentials),
                "operator" | "operators" => Some(&mut self.operators),
                "reader" | "readers" => Some(&mut self.readers),
                _ => None,
            };
            match (named, value) {
                (Some(list), Value::String(id)) => list.push(id.clone()),
                (Some(list), Value::Array(ids)) => {
                    list.extend(ids.iter().filter_map(|id| id.as_str()).map(str::to_owned));
                }
                (_, Value::Object(inner)) if depth < DEPTH_MAX => self.look_through(inner, depth + 1),
                (_, Value::Array(items)) if depth < DEPTH_MAX => {
                    items.iter().filter_map(|item| item.as_object()).for_each(|i| self.look_through(i, depth + 1));
                }
                _ => {}
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    from: Option<Wall>,
    until: Option<Wall>,
    doors: Names,
    persons: Names,
    credentials: Names,
    operators: Names,
    readers: Names,
    types: Vec<TypePattern>,
    reasons: BTreeSet<String>,
    scope: Scope,
}

/// Nobody in particular if empty.
type Names = BTreeSet<Id>;

impl Filter {
    /// What occurred at any time, where `span` says nothing: from, and until.
    pub fn new(asked: &EventFilter, span: (Option<Wall>, Option<Wall>), scope: Scope) -> Filter {
        let names = |ids: &[Id]| ids.iter().cloned().collect::<Names>();
        Filter {
            from: span.0,
            until: span.1,
            doors: names(&asked.doors),
            persons: names(&asked.persons),
            credentials: names(&asked.credentials),
            operators: names(&asked.operators),
            readers: names(&asked.readers),
            types: asked.types.clone(),
            reasons: asked.reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
            scope,
        }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether nothing that occurred from `first` to `last`, both included, can fit.
    pub fn is_outside(&self, first: Wall, last: Wall) -> bool {
        self.from.is_some_and(|from| last < from) || self.until.is_some_and(|until| first >= until)
    }

    pub fn fits(&self, seen: &Seen) -> bool {
        self.scope.shows(seen)
            && (self.types.is_empty() || self.types.iter().any(|pattern| pattern.fits(seen.member("type"))))
            && (self.reasons.is_empty() || self.reasons.contains(seen.member("reason")))
            && (among(&self.doors, &seen.doors) || among(&self.doors, &seen.floor_groups))
            && among(&self.persons, &seen.persons)
            && among(&self.credentials, &seen.credentials)
            && among(&self.operators, &seen.operators)
            && among(&self.readers, &seen.readers)
            && self.in_time(seen)
    }

    fn in_time(&self, seen: &Seen) -> bool {
        if self.from.is_none() && self.until.is_none() {
            return true;
        }
        occurred_at(&seen.event).is_some_and(|at| !self.is_outside(at, at))
    }
}

pub fn occurred_at(event: &Map<String, Value>) -> Option<Wall> {
    let text = Cow::from(event.get("occurred_at")?.as_str()?);
    serde_json::from_value(Value::String(text.into_owned())).ok()
}

fn among(wanted: &Names, named: &[String]) -> bool {
    wanted.is_empty() || named.iter().any(|name| wanted.contains(name.as_str()))
}

impl Scope {
    /// Of an operator who is authorised; of anybody else: nothing.
    pub fn of(permissions: &Permissions, operator: &Id) -> Scope {
        let limits = match permissions.operator(operator).map(|authority| &authority.scope) {
            Some(operator::Scope::Everything) => return Scope::default(),
            Some(operator::Scope::Limited(limits)) => limits.clone(),
            None => operator::Limits::default(),
        };
        Scope { doors: Some(limits.doors), floor_groups: limits.floor_groups }
    }

    pub fn shows(&self, seen: &Seen) -> bool {
        let Some(own) = &self.doors else { return true };
        let names_a_place = !seen.doors.is_empty() || !seen.floor_groups.is_empty();
        names_a_place
            && seen.doors.iter().all(|door| own.contains(door.as_str()))
            && seen.floor_groups.iter().all(|group| self.floor_groups.contains(group.as_str()))
    }
}

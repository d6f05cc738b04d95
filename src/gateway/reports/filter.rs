//! Which events fit a question, and which an operator may see. Owns what an event is about; must never
//! guess a door: an event that names none belongs to the whole node. Invariant: to an operator who is limited to doors an event
//! is shown only if it names a door, and none beyond theirs.
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
        permission::Permissions,
        time::Wall,
        topology::{ReaderAt, Topology},
    },
    wire::report::{EventFilter, TypePattern},
};

/// Objects and lists within each other that are looked through.
const DEPTH_MAX: usize = 8;

/// Which door a reader belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub readers: BTreeMap<Id, Id>,
}

impl Places {
    pub fn of(topology: &Topology) -> Places {
        let at_door = |(reader, at): &(Id, ReaderAt)| match at {
            ReaderAt::Door(door) => Some((reader.clone(), topology.door_id(*door)?.clone())),
            ReaderAt::Cab(_) | ReaderAt::Cabinet(_) => None,
        };
        Places { readers: topology.readers.iter().filter_map(at_door).collect() }
    }
}

/// What an operator may see: `None` is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub doors: Option<BTreeSet<Id>>,
}

/// An event, and whom and what it names.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub event: Map<String, Value>,
    pub doors: Vec<String>,
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
            persons: Vec::new(),
            credentials: Vec::new(),
            operators: Vec::new(),
            readers: Vec::new(),
        };
        seen.look_through(&event, 0);
        if seen.doors.is_empty() {
            let doors = seen.readers.iter().filter_map(|reader| places.readers.get(reader.as_str()));
            seen.doors = doors.map(ToString::to_string).collect();
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
                "door" | "doors" => Some(&mut self.doors),
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
            && among(&self.doors, &seen.doors)
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
        let nothing = || Some(BTreeSet::new());
        Scope {
            doors: permissions.operator(operator).map_or_else(nothing, |authority| authority.scope.doors().cloned()),
        }
    }

    pub fn shows(&self, seen: &Seen) -> bool {
        let Some(own) = &self.doors else { return true };
        !seen.doors.is_empty() && seen.doors.iter().all(|door| own.contains(door.as_str()))
    }
}

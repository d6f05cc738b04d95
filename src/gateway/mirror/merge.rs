//! One edit over a record that the cloud may have changed since. Owns the question who wins; must never let
//! either side bring back what the other took away. Invariant: over the record that the edit found, the
//! result is what the edit left.
//!
//! An edit is what it changed, member by member:
//!
//! | member | result |
//! |---|---|
//! | the edit left it as it was | the cloud's |
//! | the cloud left it as it was | the edit's |
//! | both changed it: a state, a date, an effect, an operator's status | the stricter |
//! | both changed a list of names | what either added, without what either took away |
//! | both changed it: an operator's role | the cloud's |
//! | both changed it: anything else | the edit's, until a set absorbs it; told as disputed |
//!
//! A record that the cloud deleted stays deleted, unless the edit left a restriction (what denies, an
//! interlock, an area, a door's policy); a record that the edit deleted stays deleted, unless it was such a restriction and the cloud
//! has changed it since.

use serde_json::Value;

use super::{
    overlay::{Body, Edit},
    table::TableError,
};
use crate::domain::time::Wall;

#[derive(Debug, PartialEq)]
pub enum Merged {
    Stands {
        body: Option<Body>,
        /// Members that both changed, where the edit's word stands.
        disputed: Vec<String>,
    },
    /// The cloud has undone what the edit was built on.
    Overtaken(&'static str),
}

const DELETED_SINCE: &str = "the cloud has deleted the record since";
const CHANGED_SINCE: &str = "the cloud has changed this restriction since";

/// `current` is the record as the set and the edits before this one make it.
pub fn apply(edit: &Edit, current: Option<Body>) -> Merged {
    let stands = |body| Merged::Stands { body, disputed: Vec::new() };
    let kind = edit.kind.as_str();
    match (&edit.before, &edit.after, current) {
        (_, None, None) => stands(None),
        (before, None, Some(current)) if is_restriction(kind, &current) && before.as_ref() != Some(&current) => {
            Merged::Overtaken(CHANGED_SINCE)
        }
        (_, None, Some(_)) => stands(None),
        (Some(_), Some(after), None) if !is_restriction(kind, after) => Merged::Overtaken(DELETED_SINCE),
        (_, Some(after), None) => stands(Some(after.clone())),
        (before, Some(after), Some(current)) => {
            let nothing = Body::new();
            members(kind, before.as_ref().unwrap_or(&nothing), after, &current)
        }
    }
}

fn members(kind: &str, before: &Body, after: &Body, current: &Body) -> Merged {
    let mut body = Body::new();
    let mut disputed = Vec::new();
    let mut names: Vec<&String> = before.keys().chain(after.keys()).chain(current.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (was, edited, found) = (before.get(name), after.get(name), current.get(name));
        let value = if edited == was || edited == found {
            found.cloned()
        } else if found == was {
            edited.cloned()
        } else if let Some(stricter) = stricter(kind, name, edited, found) {
            stricter
        } else if let Some(list) = list(kind, name, was, edited, found) {
            list
        } else if (kind, name.as_str()) == ("operator", "role") {
            found.cloned()
        } else {
            disputed.push(name.clone());
            edited.cloned()
        };
        if let Some(value) = value {
            body.insert(name.clone(), value);
        }
    }
    Merged::Stands { body: Some(body), disputed }
}

/// An edit that did not fit, as one that only takes away what this one took away; `None` if that is nothing.
/// `current` is what the record is without it, and `exists` looks for another record.
pub fn reduce(
    edit: &Edit,
    current: Option<Body>,
    mut exists: impl FnMut(&str, &str) -> Result<bool, TableError>,
) -> Result<Option<Edit>, TableError> {
    let Some(after) = &edit.after else { return Ok(None) };
    let kind = edit.kind.as_str();
    let reduced = if is_restriction(kind, after) {
        with_what_exists(after, &mut exists)?
    } else {
        current.as_ref().map(|current| only_less(kind, edit.before.as_ref(), after, current))
    };
    let worth = reduced.filter(|reduced| current.as_ref() != Some(reduced));
    Ok(worth.map(|reduced| Edit { before: current, after: Some(reduced), ..edit.clone() }))
}

/// A restriction on whatever of its names there still is.
fn with_what_exists(
    restriction: &Body,
    exists: &mut impl FnMut(&str, &str) -> Result<bool, TableError>,
) -> Result<Option<Body>, TableError> {
    let mut body = restriction.clone();
    let mut somebody = false;
    for (list, kind) in [("groups", "group"), ("persons", "person")] {
        let Some(names) = body.get_mut(list).and_then(Value::as_array_mut) else { continue };
        let mut there = Vec::with_capacity(names.len());
        for name in names.drain(..) {
            if let Some(id) = name.as_str()
                && exists(kind, id)?
            {
                there.push(name);
            }
        }
        somebody |= !there.is_empty();
        *names = there;
    }
    Ok(somebody.then_some(body))
}

/// What the record is now, less what the edit took away.
fn only_less(kind: &str, before: Option<&Body>, after: &Body, current: &Body) -> Body {
    let nothing = Body::new();
    let before = before.unwrap_or(&nothing);
    let mut body = current.clone();
    for (name, edited) in after.iter().filter(|(name, edited)| before.get(*name) != Some(*edited)) {
        if let Some(Some(stricter)) = stricter(kind, name, Some(edited), current.get(name)) {
            body.insert(name.clone(), stricter);
        }
    }
    for (name, was) in before.iter().filter(|(name, _)| takes_away(kind, name)) {
        let (Some(was), Some(found)) = (was.as_array(), current.get(name).and_then(Value::as_array)) else { continue };
        let left = after.get(name).and_then(Value::as_array);
        let removed = |item: &&Value| was.contains(item) && !left.is_some_and(|left| left.contains(item));
        let kept: Vec<Value> = found.iter().filter(|item| !removed(item)).cloned().collect();
        if !kept.is_empty() || absent_is_all(kind, name) {
            body.insert(name.clone(), Value::Array(kept));
        } else if empty_is_nothing(kind, name) {
            body.remove(name);
        }
    }
    body
}

/// A record that only ever takes away from others: losing it would be a grant.
fn is_restriction(kind: &str, body: &Body) -> bool {
    match kind {
        "interlock" | "area" | "door_policy" => true,
        _ => body.get("effect").is_some_and(|effect| effect == "deny"),
    }
}

/// Lists of which a shorter one is less.
fn takes_away(kind: &str, name: &str) -> bool {
    match kind {
        "person" => name == "groups",
        "access_rule" => matches!(name, "groups" | "persons" | "doors"),
        "auto_open" => name == "doors",
        _ => absent_is_all(kind, name),
    }
}

/// Lists that need not be there to be empty.
fn empty_is_nothing(kind: &str, name: &str) -> bool {
    (kind, name) == ("person", "groups")
}

/// Lists that mean everything when they are not there.
fn absent_is_all(kind: &str, name: &str) -> bool {
    kind == "operator" && matches!(name, "doors" | "partitions" | "organisation_units")
}

/// Of two values the one that allows less, where that can be told. The inner `None`: the member is absent.
fn stricter(kind: &str, name: &str, one: Option<&Value>, other: Option<&Value>) -> Option<Option<Value>> {
    let rank = match (kind, name) {
        ("credential", "state") => |value: Option<&Value>| {
            let state = value.map_or(Some("active"), Value::as_str)?;
            ["active", "suspended", "lost", "stolen"].iter().position(|known| *known == state)
        },
        ("operator", "status") => |value: Option<&Value>| {
            let state = value?.get("state")?.as_str()?;
            ["active", "invited", "suspended"].iter().position(|known| *known == state)
        },
        (_, "effect") => {
            |value: Option<&Value>| ["allow", "deny"].iter().position(|known| value.is_some_and(|v| v == known))
        }
        (_, "expires_at" | "active_from") => return stricter_date(name, one, other),
        _ => return None,
    };
    let (one_rank, other_rank) = (rank(one)?, rank(other)?);
    Some(if one_rank >= other_rank { one } else { other }.cloned())
}

fn stricter_date(name: &str, one: Option<&Value>, other: Option<&Value>) -> Option<Option<Value>> {
    let (Some(first), Some(second)) = (one, other) else {
        return Some(one.or(other).cloned());
    };
    let date = |value: &Value| serde_json::from_value::<Wall>(value.clone()).ok();
    let earlier = date(first)? <= date(second)?;
    Some(Some(if earlier == (name == "expires_at") { first } else { second }.clone()))
}

/// Three lists of names into one: what either side added, without what either took away.
fn list(
    kind: &str,
    name: &str,
    was: Option<&Value>,
    edited: Option<&Value>,
    found: Option<&Value>,
) -> Option<Option<Value>> {
    if absent_is_all(kind, name) {
        match (edited, found) {
            (Some(list), None) | (None, Some(list)) => return Some(Some(list.clone())),
            _ => {}
        }
    }
    let names = |value: Option<&Value>| match value {
        None => Some(Vec::new()),
        Some(value) => {
            let items = value.as_array()?;
            items.iter().all(Value::is_string).then(|| items.clone())
        }
    };
    let (was, edited, found) = (names(was)?, names(edited)?, names(found)?);
    let kept = found.iter().filter(|item| edited.contains(item) || !was.contains(item));
    let added = edited.iter().filter(|item| !was.contains(item) && !found.contains(item));
    let merged: Vec<Value> = kept.chain(added).cloned().collect();
    let absent = merged.is_empty() && (edited.is_empty() || found.is_empty()) && !absent_is_all(kind, name);
    Some((!absent).then_some(Value::Array(merged)))
}

#[cfg(test)]
mod tests;

//! Which places an event names. Owns the reading of its JSON for those who see no more than their own places; must never
//! guess: what names no place is the whole node's. Invariant: an event that names one place of others is not shown.

use latchd::domain::ids::Id;
use serde_json::Value;

use super::{Own, of_readers};
use crate::world::site::Site;

fn names(value: &Value) -> Vec<Id> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().filter_map(|text| Id::new(text).ok()).collect()
}

fn look(value: &Value, own: &mut Own, readers: &mut Vec<Id>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| look(item, own, readers)),
        Value::Object(members) => {
            for (name, value) in members {
                match name.as_str() {
                    "door" | "doors" | "locker" => own.doors.extend(names(value)),
                    "floor_group" => own.cabs.extend(names(value)),
                    "reader" | "readers" => readers.extend(names(value)),
                    _ => {}
                }
                look(value, own, readers);
            }
        }
        _ => {}
    }
}

/// Whether somebody with these places is shown an event.
pub fn shows(site: &Site, own: &Own, event: &Value) -> bool {
    if own.everything {
        return true;
    }
    let (mut named, mut readers) = (Own::default(), Vec::new());
    look(event, &mut named, &mut readers);
    if named.is_nowhere() {
        named = of_readers(site, readers.iter());
    }
    !named.is_nowhere() && own.covers(&named)
}

//! What the daemon really sends against the contract that it publishes. Owns a reader of just the words of JSON
//! Schema that the contract uses; must never pass over a word that it does not know. Invariant: every message that
//! the cloud of a scenario opens was held against the schema of its channel.

use std::{collections::BTreeSet, sync::LazyLock};

use latchd::wire::schema::asyncapi;
use latchd_sim::broker::Way;
use serde_json::{Map, Value};

static DOCUMENT: LazyLock<Value> = LazyLock::new(asyncapi);

/// The message on a path below the node's root.
fn message(path: &str) -> Option<&'static str> {
    Some(match path.split('/').collect::<Vec<_>>()[..] {
        ["rsp"] => "Outcome",
        ["evt"] => "Events",
        ["set", "req"] => "SetRequest",
        ["status"] => "Status",
        ["telemetry"] => "Telemetry",
        ["live", _] => "Live",
        ["state", "door", _] => "DoorState",
        ["state", "reader", _] => "ReaderState",
        ["state", "board", _] => "BoardState",
        ["state", "area", _] => "AreaState",
        ["state", "floor_group", _] => "FloorGroupState",
        ["state", "locker", _] => "LockerState",
        _ => return None,
    })
}

/// What the table of topics says of how the node publishes below its root: QoS, and whether retained. `None`: the node
/// publishes nothing there.
fn way(path: &str) -> Option<(u8, bool)> {
    Some(match path.split('/').collect::<Vec<_>>()[..] {
        ["rsp" | "evt"] | ["set", "req"] | ["live", _] => (1, false),
        ["status"] | ["state", "door" | "floor_group" | "locker" | "reader" | "board" | "area", _] => (1, true),
        ["telemetry"] => (0, false),
        _ => return None,
    })
}

/// What of all that passed through the broker was published otherwise than the contract says.
pub fn ways_that_are_wrong(root: &str, ways: &BTreeSet<Way>) -> Vec<String> {
    // What the cloud publishes.
    let is_down = |path: &str| matches!(path, "cmd" | "evt/ack" | "set") || path.starts_with("set/chunk/");
    let wrong = |found: &Way| {
        let Some(path) = found.topic.strip_prefix(root).and_then(|path| path.strip_prefix('/')) else { return true };
        !is_down(path) && way(path) != Some((found.qos, found.retain))
    };
    ways.iter().filter(|found| wrong(found)).map(|found| format!("{found:?}")).collect()
}

/// What is wrong with a message; `None`: it is as published.
pub fn fault(path: &str, payload: &Value) -> Option<String> {
    let Some(name) = message(path) else { return Some(format!("{path} is no channel of the contract")) };
    let schema = &DOCUMENT["components"]["messages"][name]["payload"];
    check(schema, payload, "").err().map(|why| format!("{name} on {path}: {why}"))
}

/// What a tagged shape of the contract can be, by its tag.
pub fn variants(shape: &str, tag: &str) -> BTreeSet<String> {
    let shapes = schemas(&DOCUMENT["components"]["schemas"][shape]["oneOf"]).iter();
    shapes.map(|shape| shape["properties"][tag]["const"].as_str().unwrap().to_owned()).collect()
}

fn check(schema: &'static Value, value: &Value, at: &str) -> Result<(), String> {
    let words = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(words) => words,
        other => return Err(format!("{at}: {other} allows nothing")),
    };
    for (word, wanted) in words {
        match word.as_str() {
            "$ref" => check(resolved(wanted), value, at)?,
            "allOf" => schemas(wanted).iter().try_for_each(|schema| check(schema, value, at))?,
            "anyOf" => matching(wanted, value, at, |count| count > 0)?,
            "oneOf" => matching(wanted, value, at, |count| count == 1)?,
            "type" => has_type(wanted, value, at)?,
            "const" if value == wanted => {}
            "enum" if schemas(wanted).contains(value) => {}
            "const" | "enum" => return Err(format!("{at}: {value} is not {wanted}")),
            "required" | "properties" | "patternProperties" | "additionalProperties" => {
                if let Value::Object(members) = value {
                    check_member(words, word, wanted, members, at)?;
                }
            }
            "items" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
                for (index, item) in items {
                    check(wanted, item, &format!("{at}/{index}"))?;
                }
            }
            "minimum" | "maximum" => {
                let (Some(number), Some(bound)) = (value.as_f64(), wanted.as_f64()) else { continue };
                if (word == "minimum" && number < bound) || (word == "maximum" && number > bound) {
                    return Err(format!("{at}: {number} is beyond the {word} of {bound}"));
                }
            }
            "pattern" => {
                if let Some(text) = value.as_str()
                    && !fits(wanted.as_str().unwrap_or_default(), text)
                {
                    return Err(format!("{at}: {text:?} does not fit {wanted}"));
                }
            }
            "format" if wanted == "date-time" => {
                value.as_str().unwrap_or_default().parse::<jiff::Timestamp>().map_err(|e| format!("{at}: {e}"))?;
            }
            // Of numbers, whose bounds stand beside it.
            "format" => {}
            "description" | "examples" | "title" | "default" => {}
            other => return Err(format!("{at}: the schema says {other}, which is not understood here")),
        }
    }
    Ok(())
}

fn resolved(reference: &'static Value) -> &'static Value {
    let pointer = reference.as_str().unwrap_or_default().trim_start_matches('#');
    DOCUMENT.pointer(pointer).unwrap_or(&Value::Null)
}

fn schemas(list: &'static Value) -> &'static [Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn matching(list: &'static Value, value: &Value, at: &str, enough: fn(usize) -> bool) -> Result<(), String> {
    let results: Vec<_> = schemas(list).iter().map(|schema| check(schema, value, at)).collect();
    if enough(results.iter().filter(|result| result.is_ok()).count()) {
        return Ok(());
    }
    // The one that got furthest says most.
    let furthest = results.into_iter().filter_map(Result::err).max_by_key(|why| why.find(": "));
    Err(furthest.unwrap_or_else(|| format!("{at}: {value} fits more than one")))
}

fn has_type(wanted: &Value, value: &Value, at: &str) -> Result<(), String> {
    let is = |name: &Value| match name.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    };
    let good = wanted.as_array().map_or_else(|| is(wanted), |names| names.iter().any(is));
    if good { Ok(()) } else { Err(format!("{at}: {value} is no {wanted}")) }
}

fn check_member(
    words: &'static Map<String, Value>,
    word: &str,
    wanted: &'static Value,
    members: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    let named = |word: &str| words.get(word).and_then(Value::as_object);
    let by_pattern = |name: &str| named("patternProperties")?.iter().find(|(pattern, _)| fits(pattern, name));
    match word {
        "required" => {
            let missing = schemas(wanted).iter().filter_map(Value::as_str).find(|name| !members.contains_key(*name));
            return missing.map_or(Ok(()), |name| Err(format!("{at}: {name} is missing")));
        }
        "properties" => {
            for (name, member) in members {
                if let Some(schema) = wanted.get(name) {
                    check(schema, member, &format!("{at}/{name}"))?;
                }
            }
        }
        "patternProperties" => {
            for (name, member) in members {
                if let Some((_, schema)) = by_pattern(name) {
                    check(schema, member, &format!("{at}/{name}"))?;
                }
            }
        }
        _ => {
            let known = |name: &str| named("properties").is_some_and(|known| known.contains_key(name));
            for (name, member) in members.iter().filter(|(name, _)| !known(name) && by_pattern(name).is_none()) {
                if wanted == false {
                    return Err(format!("{at}: the contract knows no {name}"));
                }
                check(wanted, member, &format!("{at}/{name}"))?;
            }
        }
    }
    Ok(())
}

/// Just the patterns that the contract has.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[A-Za-z0-9._-]{1,64}$" => latchd::domain::ids::Id::new(text).is_ok(),
        "^[0-9a-f]{64}$" => text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        other => panic!("the pattern {other} is not understood here"),
    }
}

#[test]
fn what_is_published_in_another_way_than_the_contract_says_is_found() {
    let way = |path: &str, qos, retain| Way { topic: format!("latchd/v1/acme/hq-1/{path}"), qos, retain };
    let wrong = |way: Way| !ways_that_are_wrong("latchd/v1/acme/hq-1", &BTreeSet::from([way])).is_empty();
    for (path, qos, retain) in [
        ("rsp", 1, false),
        ("evt", 1, false),
        ("set/req", 1, false),
        ("live/j-1", 1, false),
        ("status", 1, true),
        ("state/door/front", 1, true),
        ("telemetry", 0, false),
    ] {
        assert!(!wrong(way(path, qos, retain)), "{path}");
        assert!(wrong(way(path, 1 - qos, retain)) && wrong(way(path, qos, !retain)), "{path}");
    }
    assert!(wrong(way("state/ghost/x", 1, true)) && wrong(way("log", 1, false)));
    assert!(wrong(Way { topic: "latchd/v1/acme/hq-2/status".to_owned(), qos: 1, retain: true }));
}

#[test]
fn what_is_not_as_published_is_found() {
    let good = DOCUMENT["components"]["messages"]["Events"]["examples"][0]["payload"].clone();
    assert_eq!(fault("evt", &good), None);
    let changed = |change: fn(&mut Value)| {
        let mut payload = good.clone();
        change(&mut payload);
        fault("evt", &payload).unwrap_or_else(|| panic!("{payload} passes"))
    };
    assert!(changed(|payload| payload["events"][0]["type"] = "door.exploded".into()).contains("door.exploded"));
    assert!(changed(|payload| payload["events"][0]["seq"] = "1".into()).contains("seq"));
    assert!(changed(|payload| payload["events"][0]["occurred_at"] = "noon".into()).contains("occurred_at"));
    assert!(changed(|payload| drop(payload["events"][0].as_object_mut().unwrap().remove("prev"))).contains("prev"));
    assert!(changed(|payload| payload["log_id"] = "no id!".into()).contains("log_id"));
    assert!(fault("state/ghost/x", &good).is_some());
}

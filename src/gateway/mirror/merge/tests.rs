use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::ids::Id;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn body(value: Value) -> Option<Body> {
    match value {
        Value::Object(body) => Some(body),
        Value::Null => None,
        other => panic!("{other}"),
    }
}

fn edit(kind: &str, before: Value, after: Value) -> Edit {
    Edit {
        revision: 1,
        jti: id("jti-1"),
        operator: id("op-1"),
        at: Wall::EPOCH,
        kind: id(kind),
        id: id("x"),
        before: body(before),
        after: body(after),
    }
}

/// What becomes of the record; `Err` where the edit was overtaken.
fn merged(kind: &str, before: Value, after: Value, current: Value) -> Result<Value, &'static str> {
    match apply(&edit(kind, before, after), body(current)) {
        Merged::Stands { body, .. } => Ok(body.map_or(Value::Null, Value::Object)),
        Merged::Overtaken(why) => Err(why),
    }
}

#[test]
fn what_the_edit_left_alone_follows_the_cloud() {
    let before = json!({"name": "Ada", "groups": ["staff"]});
    let after = json!({"name": "Ada L.", "groups": ["staff"]});
    let cloud = json!({"name": "Ada", "groups": [], "expires_at": "2026-01-01T00:00:00.000Z"});
    let result = json!({"name": "Ada L.", "groups": [], "expires_at": "2026-01-01T00:00:00.000Z"});
    assert_eq!(merged("person", before, after, cloud), Ok(result));
}

#[test]
fn of_two_states_the_stricter_holds_whichever_side_it_comes_from() {
    let state = |state: &str| json!({"person": "ada", "state": state});
    for (before, after, cloud, result) in [
        ("active", "lost", "active", "lost"),
        ("active", "active", "stolen", "stolen"),
        ("active", "lost", "stolen", "stolen"),
        ("active", "stolen", "lost", "stolen"),
        ("suspended", "active", "suspended", "active"),
        ("suspended", "active", "lost", "lost"),
    ] {
        assert_eq!(
            merged("credential", state(before), state(after), state(cloud)),
            Ok(state(result)),
            "{before} {after} {cloud}"
        );
    }
    // A state that is not written is `active`.
    let lost = json!({"person": "ada", "state": "lost"});
    assert_eq!(merged("credential", state("suspended"), json!({"person": "ada"}), lost.clone()), Ok(lost));
}

#[test]
fn of_two_ends_the_earlier_and_of_two_beginnings_the_later_holds() {
    let day = |day: u32| format!("2026-01-{day:02}T00:00:00.000Z");
    let dates = |from: u32, until: u32| json!({"active_from": day(from), "expires_at": day(until)});
    assert_eq!(merged("person", dates(5, 20), dates(4, 25), dates(6, 22)), Ok(dates(6, 22)));
    assert_eq!(merged("person", dates(5, 20), dates(7, 18), dates(6, 22)), Ok(dates(7, 18)));
    // None is no limit: any is stricter.
    assert_eq!(merged("person", dates(5, 20), json!({}), dates(6, 22)), Ok(dates(6, 22)));
    assert_eq!(merged("person", dates(5, 20), dates(6, 22), json!({})), Ok(dates(6, 22)));
}

#[test]
fn both_sides_of_a_list_count_and_what_either_took_away_is_gone() {
    let groups = |groups: &[&str]| json!({ "groups": groups });
    assert_eq!(
        merged("person", groups(&["a", "b", "c"]), groups(&["a", "c", "d"]), groups(&["b", "c", "e"])),
        Ok(groups(&["c", "e", "d"]))
    );
    assert_eq!(merged("person", groups(&["a"]), json!({}), groups(&["a", "b"])), Ok(groups(&["b"])));
    assert_eq!(
        merged("person", groups(&["a"]), json!({}), json!({"groups": [], "name": "x"})),
        Ok(json!({"name": "x"}))
    );
}

#[test]
fn a_list_that_means_everything_when_absent_is_narrowed_by_either_side() {
    let doors = |doors: &[&str]| json!({"role": "admin", "doors": doors});
    let all = json!({"role": "admin"});
    assert_eq!(merged("operator", doors(&["a"]), all.clone(), doors(&["a", "b"])), Ok(doors(&["a", "b"])));
    assert_eq!(merged("operator", doors(&["a"]), doors(&["a", "b"]), all), Ok(doors(&["a", "b"])));
    // Taking the last one away does not make it everything.
    assert_eq!(merged("operator", doors(&["a"]), doors(&[]), doors(&["b", "a"])), Ok(doors(&["b"])));
    assert_eq!(merged("operator", doors(&["a", "b"]), doors(&["b"]), doors(&["a"])), Ok(doors(&[])));
}

#[test]
fn an_operators_role_is_the_clouds_word() {
    let role = |role: &str| json!({ "role": role });
    assert_eq!(merged("operator", role("manager"), role("admin"), role("reporter")), Ok(role("reporter")));
    assert_eq!(merged("operator", role("manager"), role("admin"), role("manager")), Ok(role("admin")));
}

#[test]
fn anything_else_that_both_changed_stands_as_edited_and_is_told() {
    let name = |name: &str| body(json!({"name": name, "extended_access": true})).unwrap();
    let edit = edit("person", json!({"name": "A"}), json!({"name": "B", "extended_access": true}));
    let Merged::Stands { body: result, disputed } = apply(&edit, body(json!({"name": "C"}))) else { panic!() };
    assert_eq!((result, disputed), (Some(name("B")), vec!["name".to_owned()]));
}

#[test]
fn what_the_cloud_deleted_stays_deleted_unless_it_was_a_restriction() {
    let rule = |effect: &str, doors: &[&str]| json!({"effect": effect, "groups": ["g"], "doors": doors});
    let changed = |effect| merged("access_rule", rule(effect, &["a"]), rule(effect, &["a", "b"]), Value::Null);
    assert_eq!(changed("allow"), Err(DELETED_SINCE));
    assert_eq!(changed("deny"), Ok(rule("deny", &["a", "b"])));
    assert_eq!(merged("person", json!({"name": "a"}), json!({"name": "b"}), Value::Null), Err(DELETED_SINCE));
    assert_eq!(
        merged("interlock", json!({"doors": ["a"]}), json!({"doors": ["b"]}), Value::Null),
        Ok(json!({"doors": ["b"]}))
    );
}

#[test]
fn a_deletion_stands_unless_it_would_end_a_restriction_that_the_cloud_has_changed_since() {
    let rule = |effect: &str, doors: &[&str]| json!({"effect": effect, "groups": ["g"], "doors": doors});
    let deleted = |effect: &str, cloud: Value| merged("access_rule", rule(effect, &["a"]), Value::Null, cloud);
    assert_eq!(deleted("allow", rule("allow", &["a", "b"])), Ok(Value::Null));
    assert_eq!(deleted("deny", rule("deny", &["a"])), Ok(Value::Null));
    assert_eq!(deleted("deny", rule("deny", &["a", "b"])), Err(CHANGED_SINCE));
    assert_eq!(deleted("allow", rule("deny", &["a"])), Err(CHANGED_SINCE));
    assert_eq!(deleted("deny", Value::Null), Ok(Value::Null));
}

fn reduced(kind: &str, before: Value, after: Value, current: Value, there: &[&str]) -> Option<Value> {
    let exists = |kind: &str, id: &str| Ok(there.contains(&format!("{kind}/{id}").as_str()));
    let edit = reduce(&edit(kind, before, after), body(current.clone()), exists).unwrap()?;
    assert_eq!(edit.before, body(current));
    edit.after.map(Value::Object)
}

#[test]
fn a_reduced_edit_only_takes_away() {
    let before = json!({"groups": ["a", "b"], "name": "A"});
    let after = json!({"groups": ["b", "new"], "name": "B", "expires_at": "2026-01-01T00:00:00.000Z"});
    let cloud = json!({"groups": ["a", "b", "c"], "name": "C"});
    let less = json!({"groups": ["b", "c"], "name": "C", "expires_at": "2026-01-01T00:00:00.000Z"});
    assert_eq!(reduced("person", before, after, cloud, &[]), Some(less));
    let grant =
        reduced("person", json!({"groups": ["a"]}), json!({"groups": ["a", "b"]}), json!({"groups": ["a"]}), &[]);
    assert_eq!(grant, None);
    let card = |state: &str| json!({"person": "ada", "state": state});
    assert_eq!(reduced("credential", card("active"), card("lost"), card("active"), &[]), Some(card("lost")));
    assert_eq!(reduced("credential", card("lost"), card("active"), card("lost"), &[]), None);
    assert_eq!(reduced("credential", card("active"), card("lost"), Value::Null, &[]), None);
}

#[test]
fn a_deny_rule_is_reduced_to_those_it_names_that_are_still_there() {
    let rule = |groups: &[&str]| json!({"effect": "deny", "groups": groups, "doors": ["a"]});
    let reduce = |there: &[&str]| reduced("access_rule", Value::Null, rule(&["g", "h"]), Value::Null, there);
    assert_eq!(reduce(&["group/h"]), Some(rule(&["h"])));
    assert_eq!(reduce(&[]), None);
}

fn any_person() -> impl Strategy<Value = Option<Body>> {
    let groups = proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4);
    let end = proptest::option::of(1u32..5);
    let name = proptest::option::of("[xy]");
    let person = (groups, end, name).prop_map(|(groups, end, name)| {
        let mut person = Body::new();
        if !groups.is_empty() {
            person.insert("groups".into(), json!(groups));
        }
        if let Some(day) = end {
            person.insert("expires_at".into(), json!(format!("2026-01-0{day}T00:00:00.000Z")));
        }
        if let Some(name) = name {
            person.insert("name".into(), json!(name));
        }
        person
    });
    proptest::option::weighted(0.8, person)
}

fn groups(person: &Option<Body>) -> Vec<Value> {
    person.as_ref().and_then(|p| p.get("groups")).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn end(person: &Option<Body>) -> Wall {
    let end = person.as_ref().map(|p| p.get("expires_at").cloned());
    match end {
        None => Wall::EPOCH,
        Some(None) => Wall::MAX,
        Some(Some(end)) => serde_json::from_value(end).unwrap(),
    }
}

proptest! {
    #[test]
    fn over_the_record_that_it_found_an_edit_leaves_what_it_left(before in any_person(), after in any_person()) {
        let edit = Edit { before: before.clone(), after: after.clone(), ..edit("person", json!({}), json!({})) };
        prop_assert_eq!(apply(&edit, before), Merged::Stands { body: after, disputed: Vec::new() });
    }

    #[test]
    fn nothing_that_either_side_took_away_comes_back(before in any_person(), after in any_person(), cloud in any_person()) {
        let edit = Edit { before: before.clone(), after: after.clone(), ..edit("person", json!({}), json!({})) };
        let result = match apply(&edit, cloud.clone()) {
            Merged::Stands { body, .. } => body,
            Merged::Overtaken(_) => cloud.clone(),
        };
        for side in [&after, &cloud] {
            for group in groups(&before) {
                prop_assert!(groups(side).contains(&group) || !groups(&result).contains(&group), "{group} is back");
            }
            prop_assert!(end(side) >= end(&before) || end(&result) <= end(side), "lives longer than either side said");
            prop_assert!(side.is_some() || before.is_none() || result.is_none(), "is back");
        }
    }
}

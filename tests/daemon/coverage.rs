//! What the contract names and no scenario speaks of. Owns no story; must never count a story of its own. Invariant: a
//! word that is new in the contract is missing here by name, until some test plays it through MQTT and Modbus.

use std::{collections::BTreeSet, fs, path::Path};

use latchd::{
    domain::record::KNOWN_KINDS,
    wire::{command::known_commands, schema::asyncapi},
};
use serde_json::Value;

use crate::contract::variants;

/// The scenarios: those of this program, and those with programs of other people.
fn scenarios() -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = ["daemon", "interop"].iter().flat_map(|of| fs::read_dir(tests.join(of)).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let is_scenario = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|kind| kind == "rs" || kind == "py") && !path.ends_with("coverage.rs")
    };
    paths.filter(is_scenario).map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn words(shape: &str) -> BTreeSet<String> {
    let schema = &asyncapi()["components"]["schemas"][shape];
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    let listed = one_of.clone().chain([schema]).flat_map(|shape| shape["enum"].as_array().into_iter().flatten());
    let constants = one_of.filter_map(|shape| shape.get("const"));
    listed.chain(constants).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn unspoken(words: &BTreeSet<String>, spoken: impl Fn(&str) -> bool) -> Vec<&str> {
    assert!(words.len() > 10, "the contract names only {words:?}");
    words.iter().map(String::as_str).filter(|word| !spoken(word)).collect()
}

/// `unknown_target` is `UnknownTarget` in Rust.
fn camel(word: &str) -> String {
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    word.split('_').map(part).collect()
}

#[test]
fn every_type_of_event_is_told_in_some_scenario() {
    let scenarios = scenarios();
    let spoken = |word: &str| scenarios.contains(&format!("{word}\"")) || scenarios.contains(&format!("{word} "));
    assert_eq!(unspoken(&variants("PublishedEvent", "type"), spoken), Vec::<&str>::new());
}

#[test]
fn every_reason_of_a_denial_is_given_in_some_scenario() {
    let scenarios = scenarios();
    let spoken =
        |word: &str| scenarios.contains(&format!("\"{word}\"")) || scenarios.contains(&format!("reason={word}"));
    assert_eq!(unspoken(&words("DenialReason"), spoken), Vec::<&str>::new());
}

#[test]
fn every_reason_of_a_refusal_is_given_in_some_scenario() {
    let scenarios = scenarios();
    let spoken = |word: &str| {
        scenarios.contains(&format!("Refusal::{}", camel(word))) || scenarios.contains(&format!("\"{word}\""))
    };
    assert_eq!(unspoken(&words("Refusal"), spoken), Vec::<&str>::new());
}

#[test]
fn every_command_is_given_in_some_scenario() {
    let scenarios = scenarios();
    // What a set holds, one test of `operators` plays kind by kind, and names the kind that it forgets.
    let of_records = |name: &str| {
        let (kind, verb) = name.split_once('.').unwrap_or_default();
        KNOWN_KINDS.contains(&kind) && ["put", "list", "delete"].contains(&verb)
    };
    let names: BTreeSet<String> = known_commands().filter(|name| !of_records(name)).collect();
    assert_eq!(unspoken(&names, |word| scenarios.contains(&format!("\"{word}\""))), Vec::<&str>::new());
}

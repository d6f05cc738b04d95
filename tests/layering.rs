//! The layers, held by reading the sources: an arrow that goes up, or an adapter that knows another
//! adapter, fails here. So does a domain that touches the outside.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up. A layer may name itself and those that its entry lists.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &["domain"]),
    ("gateway", &["domain", "wire"]),
    ("config", &["domain", "wire"]),
    ("adapters", &["domain", "wire", "gateway", "config"]),
    ("runtime", &["domain", "wire", "gateway", "config", "adapters"]),
];

/// What pure code must not name: the outside, by crate or by path.
const IMPURE: &[&str] = &[
    "tokio",
    "tracing",
    "log",
    "rand",
    "sled",
    "rumqttc",
    "rustix",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "std::io",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "SystemRandom",
    "println",
    "eprintln",
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return files };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The text without comments and without what strings hold, lines kept: enough for names to be read.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 2;
            rest.get(body..).and_then(|text| text.find(&end)).map_or(rest.len(), |at| body + at + end.len())
        } else if c == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest.find("\"'").map_or(1, |at| at + 2)
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let (gone, left) = rest.split_at(skipped);
        out.extend(gone.matches('\n'));
        rest = left;
    }
    out
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    hashes.get(count..)?.starts_with('"').then_some(count)
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Without `#[cfg(test)] mod tests { … }` at the end of a file: tests may use anything.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ").map_or(code, |at| &code[..at])
}

/// Every module of this crate that the code names first in a path: `crate::x`, `crate::{x, y::z}`, and
/// `super::x` as seen from `module`, such as `["gateway", "mirror"]`.
fn layers_named(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, root) in occurrences(code, "crate::").chain(occurrences(code, "super::")) {
        let line = code[..start].matches('\n').count() + 1;
        let mut after = &code[start + root.len()..];
        if root == "super::" {
            // Counted once per chain, at its first `super`.
            if code[..start].ends_with("super::") {
                continue;
            }
            let mut depth = 1;
            while let Some(next) = after.strip_prefix("super::") {
                after = next;
                depth += 1;
            }
            if depth != module.len() {
                continue;
            }
        }
        found.extend(first_names(after).into_iter().map(|name| (line, name)));
    }
    found
}

fn occurrences<'c>(code: &'c str, root: &'static str) -> impl Iterator<Item = (usize, &'static str)> + 'c {
    let boundary = move |at: usize| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '$'))
    };
    code.match_indices(root).map(|(at, _)| at).filter(move |at| boundary(*at)).map(move |at| (at, root))
}

/// `x` of `x::y`, or every first name in `{x::y, z}`.
fn first_names(text: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = text.strip_prefix('{') else { return vec![name(text)] };
    let (mut names, mut depth, mut expects) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects = true,
            c if expects && (c.is_alphabetic() || c == '_') => {
                names.push(name(&group[at..]));
                expects = false;
            }
            _ => {}
        }
    }
    names
}

/// `["gateway", "mirror", "anchor"]` for `src/gateway/mirror/anchor.rs`.
fn module_of(root: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root).unwrap().with_extension("");
    let mut module: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

fn of_tests(module: &[String]) -> bool {
    module.iter().any(|part| part == "tests" || part == "testkit")
}

/// Every file but those of tests, which may use anything: its name, its module, its code.
fn all_sources() -> impl Iterator<Item = (String, Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 10);
    files
        .into_iter()
        .filter({
            let root = root.clone();
            move |file| !of_tests(&module_of(&root, file))
        })
        .map(move |file| {
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(&root).unwrap().display().to_string();
            (name, module_of(&root, &file), without_tests(&code(&text)).to_owned())
        })
}

#[test]
fn no_arrow_goes_up() {
    let mut wrong = Vec::new();
    for (name, module, code) in all_sources() {
        let Some((layer, below)) = LAYERS.iter().find(|(layer, _)| module.first().is_some_and(|m| m == layer)) else {
            continue;
        };
        for (line, target) in layers_named(&code, &module) {
            let is_layer = LAYERS.iter().any(|(known, _)| *known == target);
            if is_layer && target != *layer && !below.contains(&target.as_str()) {
                wrong.push(format!("src/{name}:{line}: {layer} names {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Not outside things of their own, but the one way in which several adapters reach one.
const SHARED_DRIVERS: &[&str] = &["serial_port"];

#[test]
fn an_adapter_knows_no_other_adapter() {
    let mut wrong = Vec::new();
    for (name, module, code) in all_sources().filter(|(_, module, _)| module.first().is_some_and(|m| m == "adapters")) {
        let Some(own) = module.get(1) else { continue };
        for (line, text) in code.lines().enumerate() {
            for (at, root) in occurrences(text, "adapters::") {
                let others = first_names(&text[at + root.len()..]);
                wrong.extend(
                    others
                        .iter()
                        .filter(|other| *other != own && !SHARED_DRIVERS.contains(&other.as_str()))
                        .map(|other| format!("src/{name}:{}: {own} names {other}", line + 1)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_layers_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for (name, module, code) in all_sources() {
        let pure = ["domain", "wire", "gateway"].iter().any(|layer| module.first().is_some_and(|m| m == layer));
        if !pure {
            continue;
        }
        for (line, text) in code.lines().enumerate() {
            for word in IMPURE {
                let at_boundary = text.match_indices(word).any(|(at, _)| {
                    let joins = |c: char| c.is_alphanumeric() || c == '_';
                    let before = text[..at].chars().next_back();
                    let after = text[at + word.len()..].chars().next();
                    // A crate is named by what follows it; a method called `log` is none.
                    let named =
                        word.contains("::") || word.starts_with(char::is_uppercase) || matches!(after, Some(':' | '!'));
                    !before.is_some_and(|c| joins(c) || c == '.') && !after.is_some_and(joins) && named
                });
                if at_boundary && !allowed(&name, word) {
                    wrong.push(format!("src/{name}:{}: names {word}", line + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Exceptions, each with its reason.
fn allowed(file: &str, word: &str) -> bool {
    // ring wants a source of randomness to make a key; only `latchd keygen` calls it.
    word == "SystemRandom" && file == "wire/keys.rs"
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let bare: Vec<String> = sources(&root)
        .into_iter()
        .filter(|file| !of_tests(&module_of(&root, file)))
        .filter(|file| {
            !fs::read_to_string(file).unwrap().lines().any(|line| line.starts_with("//!") || line.starts_with("#![doc"))
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(bare.is_empty(), "{}", bare.join("\n"));
}

#[test]
fn the_reading_of_sources_sees_what_it_must() {
    let module = |path: &[&str]| path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let names = |text: &str, path: &[&str]| {
        layers_named(&code(text), &module(path)).into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("use crate::runtime::x;", &["domain", "door"]), ["runtime"]);
    assert_eq!(names("use crate::{wire::{a, b}, adapters};", &["domain", "door"]), ["wire", "adapters"]);
    assert_eq!(names("fn f() { super::super::runtime::go() }", &["domain", "door"]), ["runtime"]);
    assert_eq!(names("use super::ids::Id;", &["domain", "door"]), Vec::<String>::new());
    assert_eq!(names("// crate::runtime\nlet a = \"crate::runtime\";", &["domain"]), Vec::<String>::new());
    assert_eq!(names("let q = '\"'; crate::runtime::x();", &["domain"]), ["runtime"]);
    assert_eq!(names("let a = r#\"\" crate::runtime \"#;", &["domain"]), Vec::<String>::new());
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests { use tokio; }"), "a\n");
}

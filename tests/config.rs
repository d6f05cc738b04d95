//! Bad configuration and what is said of it, word for word.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use latchd::config::{self, Environment, Files, Loaded, Purpose};

/// Files in memory, so that names in messages are the same everywhere.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
    fn readable(&self, path: &Path) -> io::Result<()> {
        self.read(path).map(drop)
    }
    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
    fn profiles(&self, directory: &Path) -> Vec<String> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    }
    fn resolved(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

const SITE: &str = include_str!("../config/site.toml");
const PROFILE: &str = include_str!("../config/profiles/generic-8ch.toml");

fn load(site: &str, profile: &str, purpose: Purpose) -> Loaded {
    let files = Memory(BTreeMap::from([
        ("site.toml".into(), site.to_owned()),
        ("profiles/generic-8ch.toml".into(), profile.to_owned()),
    ]));
    config::load_from(&files, Path::new("site.toml"), &Environment::default(), purpose)
}

#[test]
fn explore() {
    let bad = SITE
        .replace("baud = 38400", "bawd = 38400")
        .replace("Europe/Berlin", "Berlin")
        .replace("relays/relay-1", "relay/relay-1")
        .replace("gate/in-1", "gate/inn-1")
        .replace("relays/in-2", "relays/relay-2")
        .replace("dwell_ms = 5000", "dwell_ms = 50")
        .replace("pre_alarm_ms = 5000", "pre_alarm_ms = 50000")
        .replace("id = \"glass\"", "id = \"front\"")
        .replace("org = \"acme\"", "");
    let loaded = load(&bad, PROFILE, Purpose::Check);
    println!("{}", loaded.report);
    println!("{}", loaded.report.lines().join("\n"));
    let loaded = load(SITE, PROFILE, Purpose::CheckWithoutFiles);
    println!("{}", loaded.report);
    println!("{}", config::command::summary(&loaded.site.unwrap()));
}

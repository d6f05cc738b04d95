//! What is installed beside the daemon fits the daemon: the example site, the profiles, the JSON
//! Schemas, the systemd files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use latchd::config::{self, CheckOptions, Environment, Files, Loaded, Purpose};
use serde_json::Value;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(shipped(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_example_site_passes_check() {
    let options = CheckOptions { no_files: true, ..CheckOptions::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let path = shipped("config/site.toml");
    let status = config::check_command(&path, &Environment::default(), options, &mut out, &mut err);
    assert_eq!(String::from_utf8_lossy(&err), "");
    assert_eq!(status, 0);
}

#[test]
fn the_example_site_has_a_cabinet_of_thirty_keys_an_elevator_and_doors() {
    let path = shipped("config/site.toml");
    let loaded = config::load_from(&config::Disk, &path, &Environment::default(), Purpose::CheckWithoutFiles);
    let site = loaded.site.unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
    let cabinets: Vec<usize> = site.field.cabinets.iter().map(|cabinet| cabinet.compartments.len()).collect();
    assert_eq!((cabinets, site.field.floor_groups.len()), (vec![30], 1));
    assert_eq!(site.doors.len(), 2 + 30, "each compartment is a door that opens for a moment");
}

/// A site in memory with one profile, so that any of its keys can be changed.
struct Memory {
    site: String,
    profile: String,
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("site.toml") => Ok(self.site.clone()),
            Some("profiles/locker-16ch.toml") if !self.profile.contains("\"locker-16ch\"") => {
                Ok(text("config/profiles/locker-16ch.toml"))
            }
            Some(path) if path.starts_with("profiles/") => Ok(self.profile.clone()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn profiles(&self, _: &Path) -> Vec<String> {
        Vec::new()
    }
    fn resolved(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

fn load(site: &str, profile: &str) -> Loaded {
    let files = Memory { site: site.to_owned(), profile: profile.to_owned() };
    config::load_from(&files, Path::new("site.toml"), &Environment::default(), Purpose::CheckWithoutFiles)
}

#[test]
fn every_profile_can_be_used() {
    let mut count = 0;
    for entry in fs::read_dir(shipped("config/profiles")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let site = text("config/site.toml").replace("generic-8ch\"", &format!("{name}\""));
        let report = load(&site, &fs::read_to_string(&path).unwrap()).report;
        // The example's points need not be on this board; the profile itself must be sound.
        let about: Vec<String> = report.lines().into_iter().filter(|line| line.starts_with("profiles/")).collect();
        assert_eq!(about, Vec::<String>::new(), "{name}");
        count += 1;
    }
    assert!(count >= 2);
}

/// Where the tables of a kind are in a file and in its schema.
struct Kind {
    /// As messages name it.
    name: &'static str,
    schema: &'static str,
    /// Keys from the root to the first such table of the example.
    path: &'static [&'static str],
}

static SITE_KINDS: &[Kind] = &[
    Kind { name: "the site file", schema: "", path: &[] },
    Kind { name: "[node]", schema: "/properties/node", path: &["node"] },
    Kind { name: "[cloud]", schema: "/properties/cloud", path: &["cloud"] },
    Kind { name: "[cloud.tls]", schema: "/$defs/tls", path: &["cloud", "tls"] },
    Kind { name: "[[bus]]", schema: "/properties/bus/items", path: &["bus"] },
    Kind { name: "[[board]]", schema: "/properties/board/items", path: &["board"] },
    Kind { name: "[[door]]", schema: "/properties/door/items", path: &["door"] },
    Kind { name: "lock", schema: "/properties/door/items/properties/lock", path: &["door", "lock"] },
    Kind { name: "contact", schema: "/properties/door/items/properties/contact", path: &["door", "contact"] },
    Kind { name: "rex", schema: "/properties/door/items/properties/rex", path: &["door", "rex"] },
    Kind { name: "fire", schema: "/properties/door/items/properties/fire", path: &["door", "fire"] },
    Kind { name: "[[floor_group]]", schema: "/properties/floor_group/items", path: &["floor_group"] },
    Kind {
        name: "[[floor_group]] floors",
        schema: "/properties/floor_group/items/properties/floors/items",
        path: &["floor_group", "floors"],
    },
    Kind {
        name: "selected",
        schema: "/properties/floor_group/items/properties/floors/items/properties/selected",
        path: &["floor_group", "floors", "selected"],
    },
    Kind { name: "[[cabinet]]", schema: "/properties/cabinet/items", path: &["cabinet"] },
    Kind {
        name: "[[cabinet]] compartments",
        schema: "/properties/cabinet/items/properties/compartments/items",
        path: &["cabinet", "compartments"],
    },
    Kind {
        name: "occupied",
        schema: "/properties/cabinet/items/properties/compartments/items/properties/occupied",
        path: &["cabinet", "compartments", "occupied"],
    },
    Kind { name: "[[reader]]", schema: "/properties/reader/items", path: &["reader"] },
    Kind { name: "osdp", schema: "/properties/reader/items/properties/osdp", path: &["reader", "osdp"] },
    Kind { name: "feedback", schema: "/properties/reader/items/properties/feedback", path: &["reader", "feedback"] },
    Kind {
        name: "words",
        schema: "/properties/reader/items/properties/feedback/properties/words",
        path: &["reader", "feedback", "words"],
    },
    Kind { name: "[words]", schema: "/properties/words", path: &["words"] },
    Kind { name: "[[output]]", schema: "/properties/output/items", path: &["output"] },
    Kind { name: "[[input]]", schema: "/properties/input/items", path: &["input"] },
    Kind { name: "[limits]", schema: "/properties/limits", path: &["limits"] },
];

static PROFILE_KINDS: &[Kind] = &[
    Kind { name: "the profile", schema: "", path: &[] },
    Kind { name: "[watchdog]", schema: "/properties/watchdog", path: &["watchdog"] },
    Kind { name: "[[watchdog.arm]]", schema: "/properties/watchdog/properties/arm/items", path: &["watchdog", "arm"] },
    Kind { name: "feed", schema: "/properties/watchdog/properties/feed", path: &["watchdog", "feed"] },
    Kind { name: "[[outputs]]", schema: "/properties/outputs/items", path: &["outputs"] },
    Kind { name: "timer", schema: "/properties/outputs/items/properties/timer", path: &["outputs", "timer"] },
    Kind { name: "[[inputs]]", schema: "/properties/inputs/items", path: &["inputs"] },
    Kind { name: "bands", schema: "/properties/inputs/items/properties/bands", path: &["inputs", "bands"] },
    Kind { name: "[[card_blocks]]", schema: "/properties/card_blocks/items", path: &["card_blocks"] },
];

fn schema(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

fn properties<'s>(schema: &'s Value, kind: &Kind) -> &'s serde_json::Map<String, Value> {
    let table = schema.pointer(kind.schema).unwrap_or_else(|| panic!("{} is not in the schema", kind.name));
    assert_eq!(table["additionalProperties"], Value::Bool(false), "{}", kind.name);
    table["properties"].as_object().unwrap()
}

/// Generic-8ch with one of everything.
fn example_profile() -> String {
    let plain = text("config/profiles/generic-8ch.toml");
    let timer = r#"timer = { write = "coil", energised_for = 512, released_for = 1024, unit_ms = 100, max = 32767 }"#;
    let watchdog = "[watchdog]\nunit_ms = 100\ntimeout_min_ms = 1000\ntimeout_max_ms = 60000\n\
                    arm = [{ holding_register = 4096, timeout = true }]\n\
                    feed = { holding_register = 4099, alternating = true }\n\n[[outputs]]";
    let bands = "bands = { energised_from = 1, energised_to = 2, released_from = 3, released_to = 4 }";
    plain
        .replace("discrete_input = 0 ", &format!("{bands}\ninput_register = 0 "))
        .replace("coil = 0\n", &format!("coil = 0\n{timer}\n"))
        .replacen("[[outputs]]", watchdog, 1)
}

#[test]
fn every_profile_says_where_it_was_read_and_what_becomes_of_its_outputs() {
    for entry in fs::read_dir(shipped("config/profiles")).unwrap() {
        let path = entry.unwrap().path();
        let profile: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let name = path.display();
        assert!(profile["source"].as_str().is_some_and(|source| source.len() > 20), "{name}");
        assert!(profile.get("line_lost").is_some(), "{name}");
        let words = fs::read_to_string(&path).unwrap().to_lowercase();
        let comments: String = words.lines().filter_map(|line| line.strip_prefix('#')).collect();
        for said in ["read back", "timer", "watchdog"] {
            assert!(comments.contains(said), "{name}: {said}");
        }
        for group in profile.get("outputs").and_then(toml::Value::as_array).into_iter().flatten() {
            assert!(group.get("reads_back").is_some(), "{name}: whether it reads back");
        }
        // What the file says of guards in words is what it has in keys.
        let armed = profile.get("watchdog").is_some();
        assert_eq!(profile["line_lost"].as_str() == Some("releases"), armed, "{name}");
    }
}

#[test]
fn the_boards_that_people_buy_are_there() {
    for (board, timers, watchdog) in [
        ("waveshare-rtu-relay-8ch", 8, false),
        ("waveshare-rtu-relay-16ch", 16, false),
        ("waveshare-rtu-relay-32ch", 32, false),
        ("waveshare-poe-eth-relay-8ch", 8, false),
        ("advantech-adam-4068", 0, false),
        ("advantech-adam-6060", 0, false),
        ("advantech-adam-6066", 0, false),
        ("moxa-iologik-e1212", 0, false),
        ("moxa-iologik-e1214", 0, false),
        ("icpdas-m-7067", 0, true),
        ("icpdas-et-7067", 0, false),
        ("wago-750-16di-16do", 0, true),
    ] {
        let profile: toml::Table = text(&format!("config/profiles/{board}.toml")).parse().unwrap();
        let of = |group: &toml::Value| group.get("timer").map_or(0, |_| group["count"].as_integer().unwrap());
        assert_eq!(profile["outputs"].as_array().unwrap().iter().map(of).sum::<i64>(), timers, "{board}");
        assert_eq!(profile.get("watchdog").is_some(), watchdog, "{board}");
    }
}

#[test]
fn the_schemas_know_the_same_keys_as_the_reader() {
    let known = load(&text("config/site.toml"), &example_profile()).known_keys;
    let mut in_schemas: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (kinds, schema) in
        [(SITE_KINDS, schema("config/site.schema.json")), (PROFILE_KINDS, schema("config/profile.schema.json"))]
    {
        for kind in kinds {
            in_schemas.insert(kind.name, properties(&schema, kind).keys().cloned().collect());
        }
    }
    let known: BTreeMap<&str, BTreeSet<String>> =
        known.into_iter().map(|(kind, keys)| (kind, keys.into_iter().map(str::to_owned).collect())).collect();
    assert_eq!(known, in_schemas);
}

/// The first table of the kind in the document; of a list, the first entry that leads there.
fn table_at<'d>(document: &'d mut toml::Table, path: &[&str]) -> &'d mut toml::Table {
    let Some((key, rest)) = path.split_first() else { return document };
    match document.get_mut(*key) {
        Some(toml::Value::Table(table)) => table_at(table, rest),
        Some(toml::Value::Array(items)) => {
            let leads = |item: &toml::Value| rest.first().is_none_or(|next| item.get(*next).is_some());
            let at = items.iter().position(leads).unwrap_or(0);
            table_at(items[at].as_table_mut().unwrap(), rest)
        }
        other => panic!("{key}: {other:?}"),
    }
}

/// Changes one key of the example at a time, and returns what is said of it.
fn said(kinds: &'static [Kind], path: &[&str], change: impl FnOnce(&mut toml::Table)) -> String {
    let (mut site, mut profile) = (text("config/site.toml").parse().unwrap(), example_profile().parse().unwrap());
    let document: &mut toml::Table =
        if std::ptr::eq(kinds.as_ptr(), SITE_KINDS.as_ptr()) { &mut site } else { &mut profile };
    change(table_at(document, path));
    load(&site.to_string(), &profile.to_string()).report.lines().join("\n")
}

#[test]
fn the_schemas_and_the_reader_agree_on_ranges_words_and_what_is_required() {
    let mut checked = 0;
    for (kinds, schema) in
        [(SITE_KINDS, schema("config/site.schema.json")), (PROFILE_KINDS, schema("config/profile.schema.json"))]
    {
        for kind in kinds {
            let place = |key: &str| format!("{} of {}", key, kind.name);
            for (key, property) in properties(&schema, kind) {
                if let (Some(min), Some(max)) = (property["minimum"].as_u64(), property["maximum"].as_u64()) {
                    let beyond = i64::try_from(max + 1).unwrap();
                    let said = said(kinds, kind.path, |table| {
                        table.insert(key.clone(), beyond.into());
                    });
                    let range =
                        format!("`{key}` has a value that is not allowed: expected a whole number from {min} to {max}");
                    assert!(said.contains(&range), "{}: {said}", place(key));
                    checked += 1;
                } else if let (Some(words), Some("string")) = (property["enum"].as_array(), property["type"].as_str()) {
                    let said = said(kinds, kind.path, |table| {
                        table.insert(key.clone(), "zzz".into());
                    });
                    let line =
                        said.lines().find(|line| line.contains(&format!("`{key}` has a value"))).unwrap_or_default();
                    let quoted: BTreeSet<&str> = line.split('"').skip(1).step_by(2).collect();
                    assert_eq!(quoted, words.iter().filter_map(Value::as_str).collect(), "{}: {said}", place(key));
                    checked += 1;
                }
                let required = schema.pointer(kind.schema).and_then(|table| table["required"].as_array());
                let required = required.is_some_and(|keys| keys.iter().any(|required| required == key));
                let said = said(kinds, kind.path, |table| {
                    table.remove(key);
                });
                let missing = said.contains(&format!("missing key `{key}` in {}", kind.name));
                assert_eq!(missing, required, "{}: {said}", place(key));
                checked += 1;
            }
        }
    }
    assert!(checked > 120, "{checked}");
}

/// `KEY=VALUE` lines of a unit file by section.
fn unit(name: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut section = String::new();
    for line in text(name).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = header.to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
            assert!(!section.is_empty(), "{name}: {line} is in no section");
            sections.entry(section.clone()).or_default().push((key.to_owned(), value.to_owned()));
        }
    }
    sections
}

#[test]
fn the_service_is_supervised_and_confined() {
    let unit = unit("systemd/latchd.service");
    let service = &unit["Service"];
    let values = |key: &str| service.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    for (key, value) in [
        ("Type", "notify"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "78"),
        ("User", "latchd"),
        ("StateDirectory", "latchd"),
        ("StateDirectoryMode", "0700"),
        ("ConfigurationDirectory", "latchd"),
        ("SupplementaryGroups", "dialout"),
        ("DevicePolicy", "closed"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ] {
        assert_eq!(values(key), [value], "{key}");
    }
    assert!(values("ExecStart").iter().all(|command| command.starts_with("/usr/bin/latchd ")));
    let seconds = |key: &str| values(key)[0].strip_suffix('s').unwrap_or(values(key)[0]).parse::<u32>().unwrap();
    assert!((5..=60).contains(&seconds("WatchdogSec")));
    assert!(seconds("TimeoutStopSec") >= 30);
    assert!(!values("SystemCallFilter").is_empty());
    assert_eq!(unit["Install"], [("WantedBy".to_owned(), "multi-user.target".to_owned())]);
}

#[test]
fn every_credential_of_the_example_site_is_handed_over() {
    let unit = unit("systemd/latchd.service");
    let handed: BTreeSet<&str> = unit["Service"]
        .iter()
        .filter(|(key, _)| key == "LoadCredential")
        .filter_map(|(_, value)| Some(value.split_once(':')?.0))
        .collect();
    let site = text("config/site.toml");
    let settings = site.lines().filter(|line| !line.starts_with('#'));
    let asked: BTreeSet<&str> =
        settings.filter_map(|line| line.split_once("\"credential:")?.1.split('"').next()).collect();
    assert!(asked.len() >= 3);
    assert_eq!(asked, handed);
}

#[test]
fn the_user_the_directories_and_the_ports_are_set_up() {
    assert!(text("systemd/latchd.sysusers").lines().any(|line| line.starts_with("u latchd ")));
    assert!(text("systemd/latchd.sysusers").lines().any(|line| line == "m latchd dialout"));
    assert!(text("systemd/latchd.tmpfiles").lines().any(|line| line.starts_with("d /etc/latchd ")));
    assert!(text("systemd/60-latchd-serial.rules").contains("SYMLINK+="));
}

/// Every command and who may give it, as people read it; `LATCHD_BLESS=1` writes the file anew.
#[test]
fn the_published_tables_of_commands_and_roles_are_those_in_the_code() {
    use latchd::domain::operator::{BUILT_IN_ROLES, CATALOGUE_A, CATALOGUE_B, Reach, capability_name, table};
    use latchd::domain::record::Capability;

    let (roles_a, roles_b) = BUILT_IN_ROLES.split_at(CATALOGUE_A[0].1.len());
    let mut text =
        String::from("## From command to capability\n\nWhat stands nowhere in here is allowed to nobody.\n\n");
    text += "| command | capability | limited to |\n|---|---|---|\n";
    for (command, capability, reach) in table() {
        let limit = match reach {
            Reach::Doors => "the doors, partition, person or area that it names",
            Reach::Floors => "the floor group that it names",
            Reach::Hardware => "operators with the whole node as their scope",
            Reach::Data => "what lies within the scope",
            Reach::Node => "the node",
        };
        text += &format!("| `{command}` | `{}` | {limit} |\n", capability_name(capability));
    }
    let mut catalogue = |title: &str, roles: &[&str], rows: &mut dyn Iterator<Item = (Capability, &[bool])>| {
        let names: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
        text +=
            &format!("\n## {title}\n\n| capability | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(roles.len()));
        for (capability, cells) in rows {
            let cells: Vec<&str> = cells.iter().map(|holds| if *holds { "R" } else { "" }).collect();
            text += &format!("| `{}` | {} |\n", capability_name(capability), cells.join(" | "));
        }
    };
    catalogue("Catalogue A: the cloud node", roles_a, &mut CATALOGUE_A.iter().map(|(c, cells)| (*c, &cells[..])));
    catalogue("Catalogue B: the key automat", roles_b, &mut CATALOGUE_B.iter().map(|(c, cells)| (*c, &cells[..])));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/operator/tables.md");
    if std::env::var_os("LATCHD_BLESS").is_some() {
        fs::write(&path, &text).expect("the checkout can be written to");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text);
}

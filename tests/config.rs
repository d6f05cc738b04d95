//! Bad configuration and what is said of it, word for word.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use latchd::{
    config::{self, CheckOptions, Environment, Files, Loaded, Purpose, site::ReaderSource},
    domain::{fieldbus::InputAddress, outputs::Level},
    wire::{
        jws::{Signer, private_key_pem},
        keys::Jwk,
    },
};

/// Files in memory, so that names in messages are the same everywhere.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
    fn profiles(&self, directory: &Path) -> Vec<String> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    }
    fn resolved(&self, path: &Path) -> PathBuf {
        // Ports are those of the disk.
        config::Disk.resolved(path)
    }
}

const SITE: &str = include_str!("../config/site.toml");
const LOCKER_PROFILE: &str = include_str!("../config/profiles/locker-16ch.toml");
const PROFILE: &str = include_str!("../config/profiles/generic-8ch.toml");

fn load(site: &str, profile: &str, purpose: Purpose) -> Loaded {
    let files = Memory(BTreeMap::from([
        ("site.toml".into(), site.to_owned()),
        ("profiles/generic-8ch.toml".into(), profile.to_owned()),
        ("profiles/locker-16ch.toml".into(), LOCKER_PROFILE.to_owned()),
    ]));
    config::load_from(&files, Path::new("site.toml"), &Environment::default(), purpose)
}

/// One block of `config_cases.txt`: what is edited in the shipped files, and what is then said.
struct Case {
    title: String,
    edits: Vec<(char, String, String)>,
    expected: String,
}

/// `==== TITLE`, then pairs of `s- OLD` and `s+ NEW` (`p` for the profile), an empty line, the report.
fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in text.split("==== ").skip(1) {
        let (head, expected) = block.split_once("\n\n").unwrap_or((block, ""));
        let mut lines = head.lines();
        let title = lines.next().unwrap_or_default().to_owned();
        let mut edits = Vec::new();
        while let (Some(old), new) = (lines.next(), lines.next()) {
            let file = old.chars().next().unwrap_or('s');
            let old = old.get(3..).unwrap_or_default();
            let new = new.and_then(|new| new.get(3..)).unwrap_or_default();
            edits.push((file, old.to_owned(), new.replace("\\n", "\n")));
        }
        cases.push(Case { title, edits, expected: expected.to_owned() });
    }
    cases
}

fn rendered(case: &Case) -> String {
    let (mut site, mut profile) = (SITE.to_owned(), PROFILE.to_owned());
    for (file, old, new) in &case.edits {
        let text = if *file == 'p' { &mut profile } else { &mut site };
        assert!(text.contains(old.as_str()), "{}: the shipped file no longer holds {old:?}", case.title);
        *text = text.replacen(old.as_str(), new, 1);
    }
    let loaded = load(&site, &profile, Purpose::CheckWithoutFiles);
    assert_eq!(loaded.site.is_some(), loaded.report.errors() == 0, "{}", case.title);
    format!("{}\n", loaded.report)
}

/// With `LATCHD_BLESS=1` the file is written anew from what is said now: read the difference.
#[test]
fn every_bad_configuration_is_answered_word_for_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_cases.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = cases(&text);
    assert!(cases.len() > 50);
    if std::env::var_os("LATCHD_BLESS").is_some() {
        let preamble = text.split("==== ").next().unwrap_or_default();
        let mut out = preamble.to_owned();
        for case in &cases {
            out.push_str(&format!("==== {}\n", case.title));
            for (file, old, new) in &case.edits {
                let edit = format!("{file}- {old}\n{file}+ {}", new.replace('\n', "\\n"));
                out.push_str(edit.trim_end());
                out.push('\n');
            }
            out.push_str(&format!("\n{}", rendered(case)));
        }
        std::fs::write(&path, out).unwrap();
        return;
    }
    for case in &cases {
        assert_eq!(rendered(case), case.expected, "{}", case.title);
    }
}

#[test]
fn the_shipped_site_has_nothing_to_complain_about() {
    let loaded = load(SITE, PROFILE, Purpose::CheckWithoutFiles);
    assert!(loaded.report.is_empty(), "{}", loaded.report);
    assert!(loaded.site.is_some());
}

#[test]
fn a_supervised_line_that_was_measured_on_the_spot_has_bands_of_its_own() {
    let bands = |to| format!("{{ energised_from = 10, energised_to = 20, released_from = 30, released_to = {to} }}");
    let profile = PROFILE.replace("discrete_input = 0 ", &format!("input_register = 0\nbands = {} #", bands(40)));
    let of_contact = "contact = { input = \"relays/in-1\", closed = true";
    let site = SITE.replace(of_contact, &format!("{of_contact}, bands = {}", bands(99)));
    let loaded = load(&site, &profile, Purpose::CheckWithoutFiles);
    let boards = loaded.site.unwrap_or_else(|| panic!("{}", loaded.report)).boards;
    let released_to = |board: usize, input: usize| match boards[board].config.profile.inputs[input].address {
        InputAddress::InputRegister { bands, .. } => bands.released.1,
        other => panic!("{other:?}"),
    };
    // That line alone, of that board alone.
    assert_eq!((released_to(0, 0), released_to(0, 1), released_to(1, 0)), (99, 40, 40));
}

#[test]
fn two_names_of_one_port_are_one_port() {
    let directory = tempfile::tempdir().unwrap();
    let [port, by_id, other] = ["ttyUSB0", "usb-FTDI_FT232R_A5069RR4-if00-port0", "ttyUSB1"].map(|name| {
        let path = directory.path().canonicalize().unwrap().join(name);
        path.to_str().unwrap().to_owned()
    });
    std::fs::write(&port, "").unwrap();
    std::fs::write(&other, "").unwrap();
    std::os::unix::fs::symlink(&port, &by_id).unwrap();
    let said = |rtu: &str, osdp: &str| {
        let site = SITE.replace("/dev/ttyS1", rtu).replace("/dev/ttyS2", osdp);
        let report = load(&site, PROFILE, Purpose::Check).report;
        let lines = report.lines();
        lines.into_iter().filter(|line| line.contains("two users")).collect::<Vec<_>>()
    };
    assert_eq!(said(&port, &other), [""; 0]);
    let expected =
        format!("site.toml:188:8: error: the port {by_id} has two users: again here; both are names of {port}");
    assert_eq!(said(&port, &by_id), [expected]);
    assert_eq!(
        said(&by_id, &port),
        [format!("site.toml:188:8: error: the port {port} has two users: again here; both are names of {port}")]
    );
}

#[test]
fn what_a_readers_relay_is_left_at_without_the_daemon_is_what_at_stop_says() {
    let at_death = |unlocked: &str, at_stop: &str| {
        let lock =
            format!("lock = {{ output = \"glass-out/output-2\", unlocked = \"{unlocked}\" }}\nat_stop = \"{at_stop}\"");
        let site = SITE
            .replace("lock = { output = \"gate/relay-1\", unlocked = \"released\" }", &lock)
            .replace("{ bus = \"readers\", address = 0 }", "{ bus = \"readers\", address = 0, outputs = 2 }");
        let loaded = load(&site, PROFILE, Purpose::CheckWithoutFiles);
        let site = loaded.site.unwrap_or_else(|| panic!("{}", loaded.report));
        let points = site.readers.iter().find_map(|reader| match &reader.source {
            ReaderSource::Osdp(osdp) if reader.id.as_str() == "glass-out" => Some(osdp.points),
            _ => None,
        });
        let [unused, lock, ..] = points.expect("the reader").at_death;
        assert_eq!(unused, None);
        lock
    };
    for (unlocked, at_stop, level) in [
        ("released", "lock", Some(Level::Energised)),
        ("energised", "lock", Some(Level::Released)),
        ("released", "unlock", Some(Level::Released)),
        ("energised", "keep", None),
    ] {
        assert_eq!(at_death(unlocked, at_stop), level, "{unlocked} {at_stop}");
    }
}

#[test]
fn all_errors_of_all_files_are_reported_in_one_run() {
    let site = SITE
        .replace("org = \"acme\"", "")
        .replace("Europe/Berlin", "Europe/Berln")
        .replace("parity = \"even\"", "parity = \"evn\"")
        .replace("dwell_ms = 5000", "dwell_ms = 50")
        .replace("door = \"front\"", "door = \"frnt\"");
    let profile = PROFILE.replace("data_words = 3", "data_words = 65").replace("coil = 0", "coil = -1");
    let report = load(&site, &profile, Purpose::CheckWithoutFiles).report;
    let places: Vec<String> =
        report.lines().iter().map(|line| line.split(": ").next().unwrap_or("").to_owned()).collect();
    assert_eq!(
        places,
        [
            "site.toml:7:1",
            "site.toml:10:13",
            "site.toml:39:10",
            "site.toml:74:12",
            "site.toml:94:8",
            "profiles/generic-8ch.toml:13:8",
            "profiles/generic-8ch.toml:27:14",
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_line_that_asked_for_it() {
    let report = load(SITE, PROFILE, Purpose::Check).report;
    assert_eq!(
        report.lines(),
        [
            "site.toml:20:12: error: cannot read root.jwk.json: entity not found; `latchd check --no-files` leaves files out",
            "site.toml:28:6: error: cannot read ca.pem: entity not found; `latchd check --no-files` leaves files out",
            "site.toml:29:15: error: cannot read node.pem: entity not found; `latchd check --no-files` leaves files out",
            "site.toml:37:7: warning: there is no /dev/ttyS1 now: latchd waits for it, and reports what hangs on it as lost",
            "site.toml:101:10: warning: there is no /dev/ttyUSB0 now: latchd waits for it, and reports what hangs on it as lost",
            "site.toml:188:8: warning: there is no /dev/ttyS2 now: latchd waits for it, and reports what hangs on it as lost",
        ]
    );
    let missing =
        config::load_from(&Memory::default(), Path::new("site.toml"), &Environment::default(), Purpose::Check);
    assert_eq!(
        missing.report.lines(),
        ["error: cannot read the site file site.toml: entity not found; name it with --config FILE"]
    );
}

#[test]
fn a_daemon_without_systemd_is_told_which_credential_it_lacks() {
    let site = SITE.replace("state_dir =", "# state_dir =");
    let report = load(&site, PROFILE, Purpose::Run).report;
    let lines = report.lines();
    let expected = "error: it is not known where state is kept; \
        set `state_dir` in [node], or start latchd as a service (StateDirectory=latchd)";
    assert_eq!(lines.first().map(String::as_str), Some(expected));
    let expected = "site.toml:12:18: error: the credential `credential-key` was not handed over: \
        $CREDENTIALS_DIRECTORY is not set; start latchd as a service with LoadCredential=credential-key:FILE, or name a file here";
    assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
}

#[test]
fn a_complete_machine_is_accepted_from_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir_all(at("profiles")).unwrap();
    std::fs::create_dir_all(at("credentials")).unwrap();
    std::fs::write(at("site.toml"), SITE).unwrap();
    std::fs::write(at("profiles/generic-8ch.toml"), PROFILE).unwrap();
    std::fs::write(at("profiles/locker-16ch.toml"), LOCKER_PROFILE).unwrap();
    let root = Jwk::of(&Signer::from_seed(&[7; 32]).unwrap().public_key());
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    for (name, text) in [
        ("root.jwk.json", serde_json::to_string(&root).unwrap()),
        ("ca.pem", pem("CERTIFICATE")),
        ("node.pem", pem("CERTIFICATE")),
        ("credentials/credential-key", format!("{}\n", "ab".repeat(32))),
        ("credentials/signing-key", private_key_pem(&[8; 32])),
        ("credentials/mqtt-key", pem("PRIVATE KEY")),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    let environment = Environment { state_directory: None, credentials_directory: Some(at("credentials")) };
    let site = config::load(&at("site.toml"), &environment).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(site.node.signing_key.path, at("credentials/signing-key"));
    assert_eq!(site.cloud.root_key, at("root.jwk.json"));
    assert_eq!((site.buses.len(), site.boards.len(), site.doors.len(), site.readers.len()), (3, 5, 32, 6));
    assert_eq!(site.field.cabinets.iter().map(|cabinet| cabinet.compartments.len()).collect::<Vec<_>>(), [30]);
    assert_eq!(site.topology().lockers.len(), 30);

    // Each file with what belongs into another.
    for (name, other, expected) in [
        ("root.jwk.json", "ca.pem", "root.jwk.json is not a public Ed25519 key as JWK"),
        ("node.pem", "credentials/mqtt-key", "node.pem is not PEM"),
        ("credentials/credential-key", "ca.pem", "credential-key is not a credential key"),
        ("credentials/signing-key", "credentials/mqtt-key", "signing-key is not an Ed25519 private key"),
    ] {
        let sound = std::fs::read(at(name)).unwrap();
        std::fs::copy(at(other), at(name)).unwrap();
        let report = config::load(&at("site.toml"), &environment).unwrap_err();
        assert!(report.errors() == 1 && report.to_string().contains(expected), "{report}");
        std::fs::write(at(name), sound).unwrap();
    }

    // A named pipe would be waited for: it is refused unopened.
    std::fs::remove_file(at("ca.pem")).unwrap();
    std::fs::create_dir(at("ca.pem")).unwrap();
    let report = config::load(&at("site.toml"), &environment).unwrap_err();
    assert!(report.to_string().contains("not a file"), "{report}");
}

#[test]
fn check_prints_the_site_and_says_78_when_it_is_bad() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.toml");
    std::fs::create_dir_all(directory.path().join("profiles")).unwrap();
    std::fs::write(directory.path().join("profiles/generic-8ch.toml"), PROFILE).unwrap();
    std::fs::write(directory.path().join("profiles/locker-16ch.toml"), LOCKER_PROFILE).unwrap();
    let check = |site: &str, options: CheckOptions| {
        std::fs::write(&path, site).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = config::check_command(&path, &Environment::default(), options, &mut out, &mut err);
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let options = CheckOptions { no_files: true, ..CheckOptions::default() };
    let (status, out, err) = check(SITE, options);
    assert_eq!((status, err.as_str()), (0, ""));
    let (first, rest) = out.split_once('\n').unwrap();
    assert!(first.ends_with("site.toml: ok"), "{first}");
    assert_eq!(
        rest,
        "node acme/hq-1, time zone Europe/Berlin\n\
         cloud mqtt.example.com:8883 (TLS)\n\
         3 buses, 5 boards, 2 doors, 1 floor group, 1 cabinet with 30 compartments, 6 readers\n\
         2 free outputs, 2 inputs beside the doors\n\
        \x20 bus riser: Modbus RTU /dev/ttyS1 at 38400 8E1, a poll round takes about 31 ms\n\
        \x20   board relays: unit 1, generic-8ch\n\
        \x20 bus lan: Modbus TCP 192.0.2.10:502\n\
        \x20   board gate: unit 1, generic-8ch\n\
        \x20   board lift: unit 2, generic-8ch\n\
        \x20   board keys-a: unit 3, locker-16ch\n\
        \x20   board keys-b: unit 4, locker-16ch\n\
        \x20 bus readers: OSDP /dev/ttyS2 at 9600 8N1, a poll round takes about 68 ms\n\
        \x20 door front: relays/relay-1 energised to unlock, contact, REX, fire\n\
        \x20   reader front-in: relays\n\
        \x20 door glass: gate/relay-1 released to unlock, contact, REX\n\
        \x20   reader glass-in: /dev/ttyUSB0\n\
        \x20   reader glass-out: OSDP readers, address 0\n\
        \x20 floor group lift: 6 floors, disabled when their board is lost\n\
        \x20   reader lift-cab: lift\n\
        \x20   reader lift-cab-2: OSDP readers, address 1\n\
        \x20 cabinet keys: 30 compartments, key-01 to key-30\n\
        \x20   reader keys-front: keys-a\n"
    );
    let (status, out, err) = check(&SITE.replace("unit = 1 ", "unit = 0 "), options);
    assert_eq!((status, out.as_str()), (78, ""));
    assert!(err.contains("0 is not a unit on a serial line"), "{err}");
    let machine = CheckOptions { no_files: true, machine: true, colour: false };
    let (status, out, err) = check(&SITE.replace("unit = 1 ", "unit = 0 "), machine);
    assert_eq!((status, err.as_str()), (78, ""));
    assert!(
        out.ends_with(
            "site.toml:54:8: error: 0 is not a unit on a serial line: expected a whole number from 1 to 247\n"
        ),
        "{out}"
    );
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in "(?s).{0,200}") {
            let loaded = load(&text, PROFILE, Purpose::Check);
            prop_assert!(loaded.site.is_none());
            prop_assert!(!loaded.report.render(true).is_empty());
            prop_assert!(!loaded.report.lines().is_empty());
        }

        /// The shipped files with a piece cut out and something else put there.
        #[test]
        fn put_into_a_sound_file_never_panics(
            in_profile: bool, at in 0usize..5000, cut in 0usize..40,
            insert in "(?s)(.{0,12}|[\\[\\]{}=\"'#\\\\\n0-9a-z_]{0,12}|\r\n|\u{feff}|\u{1b}\\[31m|\"\\\\u001b\")",
        ) {
            let whole = if in_profile { PROFILE } else { SITE };
            let start = (0..=at.min(whole.len())).rev().find(|n| whole.is_char_boundary(*n)).unwrap_or(0);
            let end = (start..=(start + cut).min(whole.len())).rev().find(|n| whole.is_char_boundary(*n)).unwrap_or(start);
            let text = format!("{}{insert}{}", &whole[..start], &whole[end..]);
            let (site, profile) = if in_profile { (SITE, text.as_str()) } else { (text.as_str(), PROFILE) };
            let loaded = load(site, profile, Purpose::CheckWithoutFiles);
            prop_assert_eq!(loaded.site.is_some(), loaded.report.errors() == 0);
            // Without colour, nothing that a terminal would obey is passed on.
            let rendered = loaded.report.render(false);
            prop_assert!(!rendered.contains('\x1b'), "an escape came through");
            let lines = loaded.report.lines();
            prop_assert!(!lines.iter().any(|line| line.contains(char::is_control)), "{lines:?}");
        }
    }
}

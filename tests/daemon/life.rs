//! Start, stop and sudden death, and what systemd and the log see of it.

use std::{
    ffi::OsStr,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use latchd::wire::outcome::Stage;
use latchd_sim::{
    board::Write,
    cloud::Wish,
    site::{Daemon, LOCK_COIL, Program},
};
use serde_json::json;

use crate::world::{PATIENCE, World, program};

#[test]
fn sigterm_drives_each_door_to_its_stop_policy_and_leaves_an_offline_status() {
    let mut world = World::new();
    let policy = |door: &str, policy: &str| {
        let head = format!("id = \"{door}\"\nlock");
        world.site.configure(&head, &format!("id = \"{door}\"\nat_stop = \"{policy}\"\nlock")).unwrap();
    };
    policy("front", "lock");
    policy("glass", "unlock");
    policy("barrier", "keep");
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    for door in ["front", "barrier"] {
        let jti = world.command("door.open", door);
        world.stage(&jti, Stage::Actuated);
    }
    let began = Instant::now();
    assert_eq!(world.stop(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!world.site.field.front.coil(LOCK_COIL), "front: locked");
    assert!(!world.site.field.glass.coil(LOCK_COIL), "glass: the magnet let go");
    assert!(world.site.field.front.coil(1), "barrier: kept open");
    world.cloud("offline", |cloud| cloud.online().is_none().then_some(()));
    let status = world.site.cloud.cloud().topics.status();
    assert!(world.broker().retained(&status).is_some());
    world.start();
    world.event("node.started", |json| json["clean"] == true && json["seq"] != 1);
}

#[test]
fn a_terminal_that_closes_leaves_no_door_open() {
    let mut world = World::running();
    let jti = world.wish(&Wish::new("op-ada", "door.open_and_close", json!({ "door": "barrier", "dwell_ms": 60_000 })));
    world.stage(&jti, Stage::Actuated);
    let pid = i32::try_from(world.daemon.as_ref().unwrap().pid()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::HUP).unwrap();
    assert_eq!(world.end(), Some(0));
    assert!(!world.site.field.front.coil(1));
}

#[test]
fn too_few_open_files_end_with_71_and_say_how_many_are_needed() {
    let world = World::new();
    let daemon = program().path.display().to_string();
    let script = r#"ulimit -n 12; exec "$0" "$@""#;
    let starved = Program { path: "sh".into(), arguments: vec!["-c".to_owned(), script.to_owned(), daemon] };
    let mut daemon = Daemon::start(&starved, &world.site.config()).unwrap();
    world.until("an end", || daemon.ended().unwrap().is_some());
    assert_eq!(daemon.ended().unwrap().and_then(|status| status.code()), Some(71));
    assert!(world.log().contains("this process may open 12 files and needs 6"), "{}", world.log());
    assert!(world.log().contains("LimitNOFILE"), "{}", world.log());
}

/// Too little memory looks like damage from inside of sled.
#[test]
fn a_start_without_room_to_breathe_sets_nothing_aside() {
    let mut world = World::running();
    world.ada_passes();
    world.drained();
    world.kill();
    for limit in ["ulimit -v 100000", "ulimit -v 150000", "ulimit -v 200000"] {
        let script = format!(r#"{limit}; exec "$0" "$@""#);
        let daemon = program().path.display().to_string();
        let starved = Program { path: "sh".into(), arguments: vec!["-c".to_owned(), script, daemon] };
        let started = || world.log().matches(" ready: the doors are enforced").count();
        let before = started();
        let mut daemon = Daemon::start(&starved, &world.site.config()).unwrap();
        // Some builds can do with the most of these.
        world.until("an end, or a start all the same", || daemon.ended().unwrap().is_some() || started() > before);
        daemon.kill().unwrap();
        assert_eq!(
            (world.kept("ledger.sled.damaged").len(), world.kept("mirror.sled.damaged").len()),
            (0, 0),
            "{limit}"
        );
    }
    world.start();
    world.ada_passes();
    world.drained();
    let logs: std::collections::BTreeSet<_> =
        world.site.cloud.cloud().events.iter().map(|event| event.log_id.clone()).collect();
    assert_eq!(logs.len(), 1, "the log goes on");
}

#[test]
fn sigterm_with_a_dead_board_and_a_dead_broker_still_ends_with_0_within_its_bound() {
    let mut world = World::running();
    let jti = world.command("door.open", "front");
    world.stage(&jti, Stage::Actuated);
    world.site.field.front.set_fault(latchd_sim::board::Fault::Silent);
    world.broker().set_faults(|faults| faults.stalled = true);
    let began = Instant::now();
    assert_eq!(world.stop(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(world.site.field.glass.coil(LOCK_COIL), "the other door is in its safe state");
    world.broker().set_faults(|faults| faults.stalled = false);
}

#[test]
fn after_sigkill_a_door_that_was_open_stays_open_and_no_relay_is_pulsed() {
    let mut world = World::running();
    let (front, glass) = (world.site.field.front.clone(), world.site.field.glass.clone());
    let jti = world.command("door.open", "front");
    assert_eq!(world.stage(&jti, Stage::Actuated).reason, None);
    world.kill();
    front.take_writes();
    glass.take_writes();
    world.start();
    world.boot();
    world.ready();
    world.lock_state("front", "unlocked");
    assert!(front.coil(LOCK_COIL) && glass.coil(LOCK_COIL));
    assert_eq!((front.take_writes(), glass.take_writes()), (vec![], vec![]), "a relay was written at start");
    // Whoever reads the log hears that something may be missing.
    let boot = world.boot();
    world.event("node.started", |json| json["clean"] == false && json["boot"] == boot.as_str());
    // It still knows what to do with it.
    let jti = world.command("door.close", "front");
    world.stage(&jti, Stage::Actuated);
    assert!(!front.coil(LOCK_COIL));
}

#[test]
fn a_door_that_locks_at_start_is_locked_after_sigkill_although_it_was_open() {
    let mut world = World::new();
    world.site.configure("id = \"front\"\nlock", "id = \"front\"\nat_start = \"lock\"\nlock").unwrap();
    world.start();
    world.site.publish_set().unwrap();
    world.applied(1);
    let jti = world.command("door.open", "front");
    world.stage(&jti, Stage::Actuated);
    world.kill();
    world.start();
    world.coil(&world.site.field.front, false);
    let writes = world.site.field.front.take_writes();
    let last = writes.iter().rev().find(|(_, write)| matches!(write, Write::Coil { address: LOCK_COIL, .. }));
    assert!(last.is_some_and(|(_, write)| *write == Write::Coil { address: LOCK_COIL, on: false }));
}

#[test]
fn a_momentary_unlocking_under_way_at_sigkill_is_ended_by_the_next_run() {
    let mut world = World::running();
    let wish = Wish::new("op-ada", "door.open_and_close", json!({ "door": "barrier", "dwell_ms": 60_000 }));
    let jti = world.wish(&wish);
    world.stage(&jti, Stage::Actuated);
    world.kill();
    assert!(world.site.field.front.coil(1));
    world.start();
    let front = world.site.field.front.clone();
    world.until("the barrier's fall", || !front.coil(1));
}

pub struct Systemd {
    socket: UnixDatagram,
    pub path: std::path::PathBuf,
}

impl Systemd {
    pub fn new(directory: &std::path::Path) -> Systemd {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Systemd { socket, path }
    }

    pub fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a message for systemd");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    pub fn next_with(&self, wanted: &str) {
        while !self.next().lines().any(|line| line == wanted) {}
    }
}

#[test]
fn systemd_hears_ready_after_the_boards_then_the_watchdog_then_stopping() {
    let mut world = World::new();
    let systemd = Systemd::new(&world.site.directory);
    world.site.broker.stop();
    // One board says nothing: doors are enforced once it is known to be lost.
    world.site.field.front.set_fault(latchd_sim::board::Fault::Silent);
    let watchdog = OsStr::new("3000000");
    world.start_with(&[("NOTIFY_SOCKET", systemd.path.as_os_str()), ("WATCHDOG_USEC", watchdog)]);
    let first = systemd.next();
    assert!(first.lines().any(|line| line == "READY=1"), "{first}");
    assert!(world.site.field.glass.look().requests() > 0 && world.site.field.front.look().requests() > 0);
    world.logged(1, &["board.lost", "board=gate"]);
    systemd.next_with("WATCHDOG=1");
    world.site.field.front.set_fault(latchd_sim::board::Fault::None);
    world.logged(1, &["board.restored"]);
    assert_eq!(world.stop(), Some(0));
    systemd.next_with("STOPPING=1");
}

#[test]
fn without_a_journal_the_log_is_lines_that_a_person_can_read() {
    let mut world = World::running();
    world.ada_passes();
    world
        .logged(1, &["INFO", "access.granted", "door=front", "reader=front-in", "person=ada", "rule=staff-everywhere"]);
    for line in world.log().lines() {
        let (time, rest) = line.split_once(' ').expect(line);
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert!(["INFO ", "WARN ", "ERROR"].iter().any(|level| rest.starts_with(level)), "{line}");
    }
    assert_eq!(world.stop(), Some(0));
}

#[test]
fn missing_and_garbled_secrets_end_with_78_and_name_their_file() {
    let mut world = World::new();
    for name in ["credential-key", "signing-key", "root.jwk.json", "node.pem", "node.key", "ca.pem"] {
        let path = world.site.directory.join(name);
        let good = std::fs::read(&path).unwrap();
        for bad in [None, Some(&b""[..]), Some(b"\xFF\x00garbage")] {
            match bad {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            std::fs::write(world.site.config().with_file_name("latchd.log"), "").unwrap();
            world.start();
            assert_eq!(world.end(), Some(78), "{name} {bad:?}: {}", world.log());
            assert!(world.log().contains(name), "{name} {bad:?}: {}", world.log());
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_certificate_that_is_damaged_keeps_the_cloud_away_but_no_door_closed() {
    let mut world = World::running();
    for (name, bad) in [
        ("node.key", "-----BEGIN PRIVATE KEY-----\n"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("node.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        world.kill();
        let path = world.site.directory.join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, bad).unwrap();
        world.start();
        world.ada_passes();
        world.logged(1, &["no link to the cloud", name]);
        // Mended under way: no restart is needed.
        std::fs::write(&path, good).unwrap();
        world.drained();
        world.logged(world.starts(), &["type=node.started"]);
    }
}

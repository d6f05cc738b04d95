//! The mirror as the daemon runs it: its own thread, sled, real files.

use std::{fs, path::Path, sync::Arc, time::Duration};

use latchd::{
    adapters::store::mirror_thread::{MirrorHandle, MirrorPlace, MirrorThread},
    domain::time::{ClockTrust, Mono, Now, Wall},
    gateway::mirror::{Applied, MirrorConfig, MirrorInput, MirrorOpened, MirrorOutput, Source},
};
use tokio::sync::mpsc::Receiver;

use crate::cloud::{AUDIENCE, Cloud, dismiss, enrol, house, id};

fn clock() -> impl Fn() -> Now + Send + 'static {
    let started = std::time::Instant::now();
    move || {
        let elapsed = started.elapsed();
        let mono = Mono::ZERO + elapsed;
        Now { mono, wall: Wall::from_millis(1_790_000_000_000) + elapsed, trust: ClockTrust::Trusted }
    }
}

struct Running {
    thread: MirrorThread,
    handle: MirrorHandle,
    outputs: Receiver<MirrorOutput>,
    opened: MirrorOpened,
    was_set_aside: bool,
}

fn start(directory: &Path, cloud: &Cloud) -> Running {
    let place = MirrorPlace {
        store: directory.join("mirror.sled"),
        copy: directory.join("set-copy"),
        emergency: directory.join("emergency-cards"),
        attest: Arc::new(cloud.attest()),
        config: MirrorConfig {
            audience: AUDIENCE.into(),
            topology: latchd::domain::topology::Topology::of_doors(&[id("front")]),
            zone: jiff::tz::TimeZone::UTC,
            seed: 1,
        },
    };
    let clock = clock();
    let open = place.start(clock()).unwrap();
    let was_set_aside = open.set_aside.is_some();
    let (mut thread, opened) = MirrorThread::spawn(open, clock).unwrap();
    let running = Running { handle: thread.handle(), outputs: thread.outputs(), thread, opened, was_set_aside };
    running.handle.try_send(cloud.keys()).unwrap();
    running
}

impl Running {
    fn give(&self, input: MirrorInput) {
        self.handle.try_send(input).unwrap();
    }

    fn applied(&mut self) -> Applied {
        loop {
            match self.outputs.blocking_recv().unwrap() {
                MirrorOutput::Applied(applied) => return applied,
                MirrorOutput::Failed { detail } => panic!("{detail}"),
                _ => {}
            }
        }
    }

    fn stop(self) {
        self.thread.stop();
    }
}

fn first_day(directory: &Path) -> Cloud {
    let mut cloud = Cloud::new();
    let mut ops = house();
    ops.extend(enrol("ada"));
    ops.extend(enrol("bob"));
    let first = cloud.change(ops);
    let mut running = start(directory, &cloud);
    assert_eq!(running.opened.source, Source::Nothing);
    running.give(first);
    assert_eq!(running.applied().version.generation, 1);
    let revocation = cloud.change(dismiss("ada"));
    running.give(revocation);
    assert_eq!(running.applied().version, cloud.version());
    running.stop();
    cloud
}

#[test]
fn a_restart_of_the_daemon_begins_with_the_stored_set() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = first_day(directory.path());
    let running = start(directory.path(), &cloud);
    assert_eq!((running.opened.source, running.opened.version), (Source::Store, Some(cloud.version())));
    assert!(!running.was_set_aside);
    running.stop();
}

#[test]
fn a_store_that_is_missing_or_garbage_is_filled_from_the_second_copy() {
    for garbage in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let cloud = first_day(directory.path());
        let store = directory.path().join("mirror.sled");
        if garbage {
            for entry in fs::read_dir(&store).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    fs::write(path, [0xa5; 9000]).unwrap();
                }
            }
        } else {
            fs::remove_dir_all(&store).unwrap();
        }
        let running = start(directory.path(), &cloud);
        assert_eq!((running.opened.source, running.opened.version), (Source::SecondCopy, Some(cloud.version())));
        assert_eq!(running.was_set_aside, garbage);
        assert_eq!(running.opened.records, 4);
        running.stop();
    }
}

#[test]
fn a_store_that_cannot_be_opened_leaves_the_second_copy_in_force_and_takes_sets_in_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut cloud = first_day(directory.path());
    let (store, away) = (directory.path().join("mirror.sled"), directory.path().join("away"));
    fs::rename(&store, &away).unwrap();
    // Neither there nor not: every look at it is an error of the disk.
    std::os::unix::fs::symlink(&store, &store).unwrap();
    let mut running = start(directory.path(), &cloud);
    let opened = &running.opened;
    assert_eq!((opened.source, opened.version), (Source::SecondCopy, Some(cloud.version())));
    assert!(opened.store_failed.is_some() && opened.permissions.is_present() && opened.records == 4);
    assert!(!opened.permissions.person_exists(&id("ada")), "who was dismissed stays so");
    assert!(opened.permissions.person_exists(&id("bob")));
    let dismissal = cloud.change(dismiss("bob"));
    fs::remove_file(&store).unwrap();
    fs::rename(&away, &store).unwrap();
    loop {
        match running.outputs.blocking_recv().unwrap() {
            MirrorOutput::Restored { set_aside: None, .. } => break,
            MirrorOutput::Applied(applied) => panic!("{:?} is in force already", applied.version),
            _ => {}
        }
    }
    running.give(dismissal);
    assert_eq!(running.applied().version, cloud.version());
    running.stop();
}

#[test]
fn the_thread_shows_progress_while_it_has_nothing_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path(), &Cloud::new());
    let progress = running.thread.progress();
    let before = progress.load(std::sync::atomic::Ordering::SeqCst);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while progress.load(std::sync::atomic::Ordering::SeqCst) < before + 2 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    running.stop();
}

//! A site and its daemon, for one test. Waits for what happens, never for time to pass. Invariant: at
//! the end of each test the daemon's log holds no panic, and the cloud found no fault with what it got: neither
//! with its signatures and order, nor by the published contract, down to the quality of service of each topic.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use latchd::{
    domain::{event::Refusal, ids::Id},
    wire::{
        outcome::{Outcome, Stage},
        upward::Online,
    },
};
use latchd_sim::{
    board::{SimBoard, Write},
    broker::Broker,
    cloud::{Cloud, Outgoing, StoredEvent, Wish},
    site::{BrokerChoice, Daemon, LOCK_COIL, Program, Site, card},
};
use tempfile::TempDir;
use tokio::runtime::Handle;

pub const PATIENCE: Duration = Duration::from_secs(15);

pub const ADA: u16 = 1001;
pub const STRANGER: u16 = 4711;

pub struct World {
    pub site: Site,
    pub daemon: Option<Daemon>,
    starts: usize,
    /// Runs in the log before this one.
    runs_before: usize,
    /// The run before this one, as far as the cloud knows.
    before: Option<Id>,
    world: Handle,
    _directory: TempDir,
}

impl World {
    /// Everything but the daemon.
    pub fn new() -> World {
        let directory = tempfile::Builder::new().prefix("latchd-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let site = world.block_on(Site::start(directory.path(), BrokerChoice::Embedded)).unwrap();
        // Each beat brings a status, and with it the backlog.
        site.configure("beat_every_s = 10", "beat_every_s = 1").unwrap();
        site.cloud.cloud().witness = Some(Box::new(crate::contract::fault));
        World { site, daemon: None, starts: 0, runs_before: 0, before: None, world, _directory: directory }
    }

    /// The daemon runs, and the first set is in force.
    pub fn running() -> World {
        let mut world = World::new();
        world.start();
        world.site.publish_set().unwrap();
        world.applied(1);
        world.ready();
        world
    }

    // ---- the daemon ----

    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    pub fn start_with(&mut self, environment: &[(&str, &OsStr)]) {
        self.runs_before = self.log().matches(" starting version=").count();
        let daemon = Daemon::start_with(&program(), &self.site.config(), environment).unwrap();
        assert!(self.daemon.replace(daemon).is_none(), "one is running");
        self.starts += 1;
        self.before = self.site.cloud.cloud().status.as_ref().map(|status| status.boot.clone());
    }

    pub fn starts(&self) -> usize {
        self.starts
    }

    /// This run enforces the doors. What a reader shows before that is from before the start.
    pub fn ready(&self) {
        self.until("ready", || {
            let log = self.log();
            let runs: Vec<&str> = log.split(" starting version=").skip(1).collect();
            let own = runs.last().filter(|_| runs.len() > self.runs_before);
            own.is_some_and(|own| own.contains(" ready: the doors are enforced"))
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.take().unwrap().kill().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.daemon.take().unwrap().stop(PATIENCE).unwrap().code()
    }

    /// Its end by itself, and the exit code.
    pub fn end(&mut self) -> Option<i32> {
        self.daemon.take().unwrap().wait(PATIENCE).unwrap().code()
    }

    pub fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| daemon.ended().unwrap().is_none())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.site.config().with_file_name("latchd.log")).unwrap_or_default()
    }

    /// Waits until the log holds so many lines with all of these words.
    pub fn logged(&self, times: usize, words: &[&str]) {
        let lines = || self.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
        self.until(&format!("{words:?} in the log"), || lines() >= times);
    }

    // ---- files ----

    pub fn state(&self) -> PathBuf {
        self.site.directory.join("state")
    }

    /// Files of the state directory whose names begin so.
    pub fn kept(&self, prefix: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state()).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
        entries.filter(named).collect()
    }

    // ---- the broker and the cloud ----

    pub fn broker(&self) -> &Broker {
        self.site.broker.embedded().unwrap()
    }

    /// As whoever owns the broker.
    pub fn inject(&self, path: &str, payload: &[u8], retain: bool) {
        let topic = format!("{}/{path}", self.site.cloud.cloud().topics.root());
        self.broker().inject(&topic, payload, retain);
    }

    pub fn cloud<T>(&self, what: &str, test: impl FnMut(&mut Cloud) -> Option<T>) -> T {
        self.site.cloud.wait_for(what, PATIENCE, test).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What this run of the daemon says of itself, once it is as wanted.
    pub fn online(&self, what: &str, test: impl Fn(&Online) -> bool) -> Id {
        self.cloud(what, |cloud| {
            let boot = cloud.status.as_ref().map(|status| status.boot.clone());
            let online = cloud.online().filter(|online| boot != self.before && test(online));
            online.and(boot)
        })
    }

    pub fn boot(&self) -> Id {
        self.online("a status", |_| true)
    }

    pub fn applied(&self, generation: u64) {
        self.online(&format!("generation {generation}"), |online| online.generation == generation);
    }

    pub fn event(&self, kind: &str, test: impl Fn(&serde_json::Map<String, serde_json::Value>) -> bool) -> StoredEvent {
        self.cloud(&format!("event {kind}"), |cloud| {
            cloud.events.iter().find(|event| event.kind == kind && test(&event.json)).cloned()
        })
    }

    pub fn event_of(&self, kind: &str, member: &str, value: &str) -> StoredEvent {
        self.event(kind, |json| json.get(member).is_some_and(|found| found == value))
    }

    pub fn count(&self, kind: &str) -> usize {
        self.site.cloud.cloud().events.iter().filter(|event| event.kind == kind).count()
    }

    /// All that happened so far is with the cloud.
    pub fn drained(&self) {
        let before = self.site.cloud.cloud().status_changes.0;
        self.cloud("an empty backlog", |cloud| {
            let news = cloud.status_changes.0 > before;
            cloud.online().filter(|online| news && online.backlog == 0).map(drop)
        });
    }

    pub fn command(&self, cmd: &str, door: &str) -> Id {
        self.wish(&Wish::door("op-ada", cmd, door))
    }

    pub fn wish(&self, wish: &Wish) -> Id {
        self.site.cloud.command(wish).unwrap()
    }

    /// This stage of a command, which must not end otherwise.
    pub fn stage(&self, jti: &Id, stage: Stage) -> Outcome {
        let outcome = self.cloud(&format!("{stage:?} of {jti}"), |cloud| {
            cloud.outcomes_of(jti).find(|outcome| outcome.stage == stage || outcome.stage.always_ends()).cloned()
        });
        assert_eq!(outcome.stage, stage, "{outcome:?}");
        outcome
    }

    pub fn refused(&self, jti: &Id, reason: Refusal) {
        let outcome = self.stage(jti, Stage::Refused);
        assert_eq!(outcome.reason, Some(reason), "{outcome:?}");
    }

    /// Publishes the same bytes until the command has ended, whatever the broker loses.
    pub fn insist(&self, message: &Outgoing, jti: &Id) -> Outcome {
        for _ in 0..100 {
            self.site.cloud.publish(message.clone()).unwrap();
            let end = self.site.cloud.wait_for("an end", Duration::from_millis(400), |cloud| {
                let mut outcomes = cloud.outcomes_of(jti);
                outcomes.find(|outcome| outcome.stage == Stage::Actuated || outcome.stage.always_ends()).cloned()
            });
            if let Ok(end) = end {
                return end;
            }
        }
        panic!("{jti} never ended")
    }

    // ---- the doors ----

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.world.block_on(future)
    }

    /// In the runtime in which the simulated site lives.
    pub fn with_field<T>(&mut self, work: impl AsyncFnOnce(&mut latchd_sim::site::Field) -> T) -> T {
        self.world.block_on(work(&mut self.site.field))
    }

    pub fn coil(&self, board: &SimBoard, on: bool) {
        let reached = board.until(|registers| registers.coil(LOCK_COIL) == on);
        let reached = self.world.block_on(async { tokio::time::timeout(PATIENCE, reached).await });
        assert!(reached.is_ok(), "the relay did not become {}", if on { "energised" } else { "released" });
    }

    /// A card at the front door; where a daemon runs, one that sees it.
    pub fn card(&self, number: u16) {
        if self.daemon.is_some() {
            self.ready();
        }
        self.site.field.front.present_card(26, card(number));
    }

    /// A card at the glass door.
    pub fn card_at_glass(&self, number: u16) {
        self.world.block_on(self.site.field.glass_reader.present(26, u128::from(card(number)))).unwrap();
    }

    /// The serial reader's port is open and has settled: what it sends from now on counts.
    pub fn listens_at_glass(&self) {
        self.until("the serial reader", || {
            self.card_at_glass(STRANGER);
            std::thread::sleep(Duration::from_millis(20));
            self.log().lines().any(|line| line.contains("access.denied") && line.contains("reader=glass-in"))
        });
    }

    /// The front door opens by Ada's card and is locked again.
    pub fn ada_passes(&self) {
        self.ready();
        self.card(ADA);
        self.coil(&self.site.field.front, true);
        self.coil(&self.site.field.front, false);
    }

    /// The door that `state` names last: what the daemon believes.
    pub fn lock_state(&self, door: &str, wanted: &str) {
        self.cloud(&format!("{door} is {wanted}"), |cloud| {
            let status = cloud.doors.values().find(|status| status.door.as_str() == door)?;
            let value = serde_json::to_value(status).unwrap();
            (value["lock"] == wanted || value["mode"] == wanted).then_some(())
        });
    }

    pub fn until(&self, what: &str, mut test: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !test() {
            assert!(Instant::now() < deadline, "{what} did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let log = self.log();
        let daemon = self.daemon.take();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the daemon's log\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            return;
        }
        // As the panic hook says it; a panic of sled that was caught reads otherwise.
        let panicked = log.lines().any(|line| line.starts_with("thread '") && line.contains("panicked at"));
        assert!(!panicked, "the daemon panicked:\n{log}");
        if let Some(mut daemon) = daemon {
            assert_eq!(daemon.ended().unwrap(), None, "the daemon ended by itself:\n{log}");
        }
        let problems = self.site.cloud.cloud().problems.clone();
        assert!(problems.is_empty(), "the cloud found fault: {problems:?}");
        let wrong =
            self.site.broker.embedded().map(|broker| {
                crate::contract::ways_that_are_wrong(self.site.cloud.cloud().topics.root(), &broker.ways())
            });
        assert_eq!(wrong.unwrap_or_default(), [""; 0], "published otherwise than the contract says");
    }
}

pub fn program() -> Program {
    Program::binary(env!("CARGO_BIN_EXE_latchd"))
}

/// How often the writes unlocked the front door, which was locked before them.
pub fn unlockings(board: &SimBoard) -> usize {
    let mut unlocked = false;
    let mut count = 0;
    for (_, write) in board.take_writes() {
        if let Write::Coil { address: LOCK_COIL, on } = write {
            count += usize::from(on && !unlocked);
            unlocked = on;
        }
    }
    count
}

/// Turns every bit of what a file holds, but for its first eighth and its last.
pub fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    // What follows is reserved and empty.
    let eighth = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 8;
    for byte in &mut bytes[eighth..7 * eighth] {
        *byte = !*byte;
    }
    std::fs::write(path, bytes).unwrap();
}

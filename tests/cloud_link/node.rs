//! The cloud's side of a node without doors: the real session and the real link, over a log in memory.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use latchd::{
    adapters::mqtt::{Link, LinkConfig, MqttLink},
    domain::{
        event::EventBody,
        ids::Id,
        time::{ClockTrust, Mono, Now},
    },
    gateway::{
        session::{Action, Input, Session, SetMessage, link::LinkEvent},
        step::{Durable, Effect, LedgerWrite},
    },
    wire::{
        beat::Beat,
        command::Command,
        keys::RootKey,
        outcome::{Outcome, Stage},
    },
};
use latchd_sim::{
    cloud::{
        Cloud,
        client::wall_now,
        keys::{CloudKeys, signer_from},
    },
    session::{self, MemoryLog, Repeating},
};

pub const SEED: u64 = 7;

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

pub fn cloud() -> Cloud {
    Cloud::new("acme", "hq-1", signer_from(SEED, 200).public_key(), CloudKeys::from_seed(SEED))
}

pub fn plain(port: u16) -> LinkConfig {
    LinkConfig {
        host: "127.0.0.1".into(),
        port,
        tls: None,
        username: None,
        password_file: None,
        client_id: "latchd-acme-hq-1".into(),
        keep_alive: Duration::from_secs(5),
    }
}

pub struct Node {
    pub session: Session,
    pub link: MqttLink,
    start: Instant,
    log: MemoryLog,
    pub acked: u64,
    pub commands: Vec<Command>,
    pub beats: Vec<Beat>,
    pub notices: Vec<String>,
    pub connections: u64,
    pub disconnected: Vec<String>,
    pub stored_keys: Option<Vec<u8>>,
    pub stopped: bool,
    random: Repeating,
}

impl Node {
    pub fn new(link: LinkConfig) -> Node {
        let root = RootKey::from_jwk(CloudKeys::from_seed(SEED).root_jwk().as_bytes()).unwrap();
        let log = MemoryLog::default();
        let reconnect = (Duration::from_millis(10), Duration::from_millis(100));
        let config = session::config(Duration::from_secs(1), reconnect);
        let start = Instant::now();
        let session = Session::new(config, root, signer_from(SEED, 200), session::never_ran(&log), now(start));
        Node {
            session,
            link: MqttLink::new(link),
            start,
            log,
            acked: 0,
            commands: Vec::new(),
            beats: Vec::new(),
            notices: Vec::new(),
            connections: 0,
            disconnected: Vec::new(),
            stored_keys: None,
            stopped: false,
            random: Repeating::default(),
        }
    }

    /// Runs until the condition holds; panics if it does not within the time.
    pub async fn run_until(&mut self, what: &str, within: Duration, mut done: impl FnMut(&mut Node) -> bool) {
        let deadline = Instant::now() + within;
        self.input(Input::Timeout);
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: not within {within:?}; {}", self.summary());
            let due = self.session.next_deadline().map(|at| at.since(self.now().mono));
            let nap = due.unwrap_or(Duration::MAX).min(Duration::from_millis(20));
            tokio::select! {
                event = self.link.next() => {
                    match &event {
                        LinkEvent::Connected { .. } => self.connections += 1,
                        LinkEvent::Disconnected { reason, .. } => self.disconnected.push(reason.clone()),
                        _ => {}
                    }
                    self.input(Input::Link(event));
                }
                () = tokio::time::sleep(nap) => self.input(Input::Timeout),
            }
        }
    }

    fn summary(&self) -> String {
        let rejected = self
            .log
            .events()
            .iter()
            .map(|e| String::from_utf8_lossy(&e.json))
            .filter(|json| json.contains("security."));
        let rejected: Vec<_> = rejected.collect();
        format!(
            "head {} acked {} backlog {}; {rejected:?} {:?}",
            self.log.head(),
            self.acked,
            self.session.backlog(),
            self.notices.last()
        )
    }

    pub async fn run_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        self.run_until("time passes", time + Duration::from_secs(60), |_| Instant::now() >= until).await;
    }

    pub fn now(&self) -> Now {
        now(self.start)
    }

    pub fn event(&mut self, body: EventBody) {
        self.log.append(wall_now(), body);
    }

    /// `count` events, durable at once.
    pub fn events(&mut self, count: usize) {
        for _ in 0..count {
            self.event(EventBody::DoorOpened { door: id("front") });
        }
        self.input(Input::DurableHead(self.log.head()));
    }

    pub fn head(&self) -> u64 {
        self.log.head()
    }

    pub fn input(&mut self, input: Input) {
        let now = self.now();
        let actions = self.session.handle(now, input, &mut |bytes| self.random.fill(bytes));
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Link(order) => self.link.order(order),
            Action::Command { command, token, .. } => {
                let outcome = Outcome {
                    jti: command.jti.clone(),
                    seq: 0,
                    stage: Stage::Received,
                    at: wall_now(),
                    reason: None,
                    detail: None,
                };
                self.commands.push(*command);
                self.input(Input::Outcome(outcome));
                self.input(Input::AckMessage(token));
            }
            Action::Set(SetMessage::Beat(beat)) => self.beats.push(beat),
            Action::Set(_) | Action::Keys(_) | Action::CloudTime { .. } => {}
            Action::Commit(commit) => {
                for write in commit.writes {
                    match write {
                        LedgerWrite::Event(event) => self.event(event.body),
                        LedgerWrite::Acked { through } => self.acked = through,
                        _ => {}
                    }
                }
                self.input(Input::DurableHead(self.log.head()));
                for effect in commit.held.release(&Durable::synced()) {
                    if let Effect::AckMessage(token) = effect {
                        self.input(Input::AckMessage(token));
                    }
                }
            }
            Action::ReadEvents { from, bytes_max } => {
                let events = self.log.read(from, bytes_max);
                self.input(Input::Events { from, events });
            }
            Action::ReadLive { from, bytes_max } => {
                let events = self.log.read(from, bytes_max);
                self.input(Input::LiveEvents { from, events });
            }
            Action::ReadEventHash { seq } => {
                let hash = self.log.hash(seq);
                self.input(Input::EventHash { seq, hash });
            }
            Action::StoreKeys(bytes) => self.stored_keys = Some(bytes),
            Action::Notice(text) => self.notices.push(text),
            Action::Stopped => self.stopped = true,
        }
    }
}

fn now(start: Instant) -> Now {
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap();
    Now { mono: Mono::from_nanos(nanos), wall: wall_now(), trust: ClockTrust::Trusted }
}

/// A directory with the CA and the node's certificate and key.
pub struct Files {
    pub directory: tempfile::TempDir,
}

impl Files {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

//! The ledger's and the mirror's threads, as `adapters::store` runs them: one group, one sync, then what
//! waited for it; a store that fails is opened again with back-off. A sync takes virtual time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use latchd::{
    domain::{
        permission::{Permissions, SetVersion},
        time::Mono,
    },
    gateway::{
        kv::Reopen as _,
        ledger::{EventReader, Ledger},
        mirror::{
            Answer, Applied, Edited, Mirror, MirrorConfig, MirrorInput, MirrorOpened, MirrorOutput, OverlayVersion,
            RootAttest,
        },
        step::{Commit, Durable, Effect, Held},
        uplink::Input,
    },
};

use super::{
    Lane, What, World,
    node::{NodeEvent, Phase},
};
use crate::disk::{
    SimKv,
    copy::{FusedKv, MemCopy},
};

const GROUP_MAX: usize = 512;
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
const MIRROR_RETRY_MIN: Duration = Duration::from_millis(500);
const MIRROR_RETRY_MAX: Duration = Duration::from_secs(30);

pub type SimMirror = Mirror<FusedKv, MemCopy>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerState {
    Idle,
    /// A group was appended and its sync is under way.
    Syncing,
    Failing {
        attempts: u32,
        pause: Duration,
    },
}

pub struct LedgerLoop {
    pub ledger: Ledger<SimKv>,
    pub reader: EventReader<SimKv>,
    pub waiting: VecDeque<Commit>,
    held: Vec<Held>,
    pub state: LedgerState,
}

impl LedgerLoop {
    pub fn new(ledger: Ledger<SimKv>) -> LedgerLoop {
        let reader = ledger.reader();
        LedgerLoop { ledger, reader, waiting: VecDeque::new(), held: Vec::new(), state: LedgerState::Idle }
    }
}

pub struct MirrorLoop {
    pub mirror: Option<SimMirror>,
    pub config: MirrorConfig,
    pub attest: Arc<RootAttest>,
    pub in_force: Option<SetVersion>,
    edits_in_force: OverlayVersion,
    pub due: Option<Mono>,
    pause: Duration,
    /// The newest that was given; nobody gives it again.
    keys: Option<MirrorInput>,
    link_up: bool,
    /// What it found when it was opened again is told once more.
    retelling: bool,
}

impl MirrorLoop {
    pub fn new(
        mirror: SimMirror,
        config: MirrorConfig,
        attest: Arc<RootAttest>,
        (in_force, edits_in_force): (Option<SetVersion>, OverlayVersion),
    ) -> MirrorLoop {
        MirrorLoop {
            mirror: Some(mirror),
            config,
            attest,
            in_force,
            edits_in_force,
            due: None,
            pause: MIRROR_RETRY_MIN,
            keys: None,
            link_up: false,
            retelling: false,
        }
    }
}

impl World {
    pub(super) fn ledger_commit(&mut self, commit: Commit) {
        let Some(node) = &mut self.node else { return };
        node.ledger.waiting.push_back(commit);
        if node.ledger.state == LedgerState::Idle {
            self.ledger_write();
        }
    }

    /// One group: appended now, durable later.
    fn ledger_write(&mut self) {
        let latency = self.disk_latency();
        let Some(node) = &mut self.node else { return };
        let this = &mut node.ledger;
        let count = this.waiting.len().min(GROUP_MAX);
        if count == 0 {
            this.state = LedgerState::Idle;
            return self.close_if_done();
        }
        let mut writes = Vec::new();
        for commit in this.waiting.drain(..count) {
            writes.extend(commit.writes);
            this.held.push(commit.held);
        }
        self.oracle.appended(self.now, &writes);
        match this.ledger.append(writes) {
            Ok(()) => {
                this.state = LedgerState::Syncing;
                self.post_node(latency, NodeEvent::LedgerSync);
            }
            Err(error) => self.ledger_failed(&error.to_string(), 0, RETRY_MIN),
        }
    }

    fn disk_latency(&mut self) -> Duration {
        if self.faults.disk_slow { self.rng.millis(200, 2_500) } else { self.rng.micros(300, 12_000) }
    }

    pub(super) fn ledger_sync(&mut self) {
        let Some(node) = &mut self.node else { return };
        match node.ledger.ledger.sync() {
            Ok(durable) => self.ledger_durable(&durable),
            Err(error) => self.ledger_failed(&error.to_string(), 0, RETRY_MIN),
        }
    }

    fn ledger_durable(&mut self, durable: &Durable) {
        let Some(node) = &mut self.node else { return };
        let head = node.ledger.ledger.head().seq;
        let effects: Vec<Effect> = node.ledger.held.drain(..).flat_map(|held| held.release(durable)).collect();
        self.line(format_args!("ledger: durable through {head}, {} effects", effects.len()));
        self.oracle.durable(self.now, head);
        self.look_whether_told(head);
        for effect in &effects {
            if let Effect::Fence(fence) = effect {
                self.send_node(Lane::LedgerToDoors, NodeEvent::Durable(*fence));
            }
        }
        if let Some(input) = self.shim.durable_head(head) {
            self.send_node(Lane::LedgerToUplink, NodeEvent::Uplink(Box::new(input)));
        }
        if !effects.is_empty() {
            self.send_node(Lane::LedgerToUplink, NodeEvent::Uplink(Box::new(Input::Released(effects))));
        }
        self.ledger_write();
    }

    fn look_whether_told(&mut self, head: u64) {
        let Some(node) = &mut self.node else { return };
        if head >= node.told_with {
            node.told_with = u64::MAX;
            let delay = self.rng.micros(50, 5_000);
            self.post_node(delay, NodeEvent::ToldOfConfiguration);
        }
    }

    fn ledger_failed(&mut self, error: &str, attempts: u32, pause: Duration) {
        self.line(format_args!("ledger: failed ({error}), attempt {attempts}"));
        self.count("ledger failures");
        let Some(node) = &mut self.node else { return };
        let (store, detail) = ("ledger".to_owned(), error.to_owned());
        let stopping = node.phase == Phase::Closing;
        node.ledger.state = LedgerState::Failing { attempts, pause };
        if stopping && attempts > 3 {
            return self.node_ends(false);
        }
        let event = Input::Event(latchd::domain::event::EventBody::StorageFailed { store, detail });
        self.send_node(Lane::LedgerToUplink, NodeEvent::Uplink(Box::new(event)));
        let wait = if attempts == 0 { Duration::from_millis(1) } else { pause };
        self.post_node(wait, NodeEvent::LedgerRetry);
    }

    pub(super) fn ledger_retry(&mut self) {
        let Some(node) = &mut self.node else { return };
        let LedgerState::Failing { attempts, pause } = node.ledger.state else { return };
        match node.ledger.ledger.reopen() {
            Ok(durable) => {
                self.line(format_args!("ledger: back"));
                let body = latchd::domain::event::EventBody::StorageRestored { store: "ledger".to_owned() };
                self.send_node(Lane::LedgerToUplink, NodeEvent::Uplink(Box::new(Input::Event(body))));
                self.ledger_durable(&durable);
            }
            Err(error) => self.ledger_failed(&error.to_string(), attempts + 1, (pause * 2).min(RETRY_MAX)),
        }
    }

    /// Whether the record of a command would survive a power cut now.
    pub(super) fn is_stored(&self, key: &[u8]) -> bool {
        self.disks.ledger.durable_keys().iter().any(|stored| stored == key)
    }

    // ---- the mirror ----

    pub(super) fn mirror_input(&mut self, input: MirrorInput) {
        if self.node.is_none() {
            return;
        }
        let now = self.node_now();
        let Some(node) = &mut self.node else { return };
        let this = &mut node.mirror;
        if matches!(input, MirrorInput::Keys { .. }) {
            this.keys = Some(input.clone());
        }
        let Some(mirror) = &mut this.mirror else {
            match input {
                MirrorInput::LinkUp => this.link_up = true,
                MirrorInput::LinkDown => this.link_up = false,
                _ => {}
            }
            return;
        };
        let outputs = mirror.handle(now, input);
        if self.disks.copy.fuse.is_blown() {
            return self.crash("within a step of the mirror");
        }
        for output in outputs {
            self.mirror_says(output);
        }
        let Some(node) = &mut self.node else { return };
        if node.mirror.mirror.as_ref().is_some_and(Mirror::has_failed) {
            self.line(format_args!("mirror: failed"));
            let Some(node) = &mut self.node else { return };
            let this = &mut node.mirror;
            this.link_up = this.mirror.take().is_some_and(|mirror| mirror.link_is_up());
            this.pause = MIRROR_RETRY_MIN;
            this.due = None;
            self.post_node(Duration::from_millis(1), NodeEvent::MirrorRetry);
        }
        self.mirror_alarm();
    }

    fn mirror_says(&mut self, mut output: MirrorOutput) {
        if let MirrorOutput::Answer { ticket, answer: answer @ (Answer::Listed(_) | Answer::Refused(..)) } = &output {
            let (version, edits) =
                self.node.as_ref().map(|node| (node.mirror.in_force, node.mirror.edits_in_force)).unwrap_or_default();
            let generation = version.unwrap_or_default().generation;
            self.sets.prepare(generation, edits.revision);
            let in_force = self.sets.in_force(generation, edits.revision).cloned();
            self.count(if matches!(answer, Answer::Listed(_)) { "lists" } else { "edits and lists refused" });
            self.oracle.mirror_answered(&self.site, &self.sets, in_force.as_deref(), *ticket, answer);
        }
        self.oracle.spares_told(&output);
        match &mut output {
            MirrorOutput::Applied(applied) => {
                let generation = applied.version.generation;
                self.line(format_args!("mirror: applied {generation}"));
                self.count("sets applied");
                self.oracle.applied(applied.version);
                let again = self.node.as_ref().is_some_and(|node| node.mirror.retelling);
                if !again {
                    self.oracle.edits_settled(&mut self.sets, generation, &applied.conflicts);
                }
                self.sets.prepare(generation, applied.overlay.revision);
                let set = (generation, applied.overlay.revision);
                applied.permissions = self.shim.applied(applied.permissions.clone(), set, &self.site, &self.sets);
                if let Some(node) = &mut self.node {
                    node.mirror.in_force = Some(applied.version);
                }
                self.edits_in_force(&applied.permissions, applied.overlay);
            }
            MirrorOutput::Edited(Edited { permissions, overlay })
            | MirrorOutput::Resumed { permissions, overlay, .. } => {
                self.line(format_args!("mirror: edits {}", overlay.revision));
                self.edits_in_force(permissions, *overlay);
            }
            MirrorOutput::Answer { answer: Answer::Edited(made), .. } => {
                self.line(format_args!("mirror: {made:?}"));
                self.count("edits made");
                let generation = self.node.as_ref().and_then(|node| node.mirror.in_force);
                let generation = generation.unwrap_or_default().generation;
                self.oracle.edit_made(&self.site, &mut self.sets, generation, made);
                self.sets.prepare(generation, made.revision);
            }
            other => {
                let text = format!("{other:?}");
                self.line(format_args!("mirror: {}", text.get(..80).unwrap_or(&text)));
            }
        }
        let output = self.shim.mirror_output(output);
        let delay = self.rng.micros(200, 4_000);
        let run = self.run;
        self.send(Lane::MirrorToUplink, delay, What::Node(run, NodeEvent::Uplink(Box::new(Input::Mirror(output)))));
    }

    fn edits_in_force(&mut self, permissions: &Arc<Permissions>, overlay: OverlayVersion) {
        self.sets.edits.know(permissions, overlay.revision);
        if let Some(node) = &mut self.node {
            node.mirror.edits_in_force = overlay;
        }
    }

    pub(super) fn mirror_timer(&mut self, at: Mono) {
        if self.node.as_ref().is_some_and(|node| node.mirror.due == Some(at)) {
            self.mirror_input(MirrorInput::Timeout);
        }
    }

    pub(super) fn mirror_alarm(&mut self) {
        let late = self.rng.micros(0, 1_500);
        let Some(node) = &mut self.node else { return };
        let due = node.mirror.mirror.as_ref().and_then(Mirror::next_deadline).map(|due| due.max(self.now) + late);
        node.mirror.due = due;
        if let Some(at) = due {
            let run = self.run;
            self.post_at(at, What::Node(run, NodeEvent::MirrorTimer(at)));
        }
    }

    pub(super) fn open_mirror(
        &self,
        config: &MirrorConfig,
        attest: &Arc<RootAttest>,
        now: latchd::domain::time::Now,
    ) -> Result<(SimMirror, MirrorOpened), latchd::gateway::mirror::OpenError> {
        let copy = self.disks.copy.clone();
        let kv = FusedKv { kv: self.disks.mirror.open(), fuse: copy.fuse.clone() };
        Mirror::open(kv, copy, attest.clone(), config.clone(), now)
    }

    /// Opened in place again; what was found newer than what is in force is reported.
    pub(super) fn mirror_retry(&mut self) {
        let now = self.node_now();
        let Some(node) = &self.node else { return };
        let (config, attest) = (node.mirror.config.clone(), node.mirror.attest.clone());
        let reopened = self.disks.mirror.open().reopen().is_ok();
        let opened = if reopened { self.open_mirror(&config, &attest, now).ok() } else { None };
        let Some((mirror, opened)) = opened else {
            let Some(node) = &mut self.node else { return };
            let pause = node.mirror.pause;
            node.mirror.pause = (pause * 2).min(MIRROR_RETRY_MAX);
            return self.post_node(pause, NodeEvent::MirrorRetry);
        };
        self.line(format_args!("mirror: back"));
        self.oracle.edits_found(&mut self.sets, &opened);
        let Some(node) = &mut self.node else { return };
        let this = &mut node.mirror;
        this.mirror = Some(mirror);
        this.retelling = true;
        let keys = this.keys.clone();
        let link = std::mem::take(&mut this.link_up).then_some(MirrorInput::LinkUp);
        let (in_force, edits) = (this.in_force, this.edits_in_force);
        self.mirror_says(MirrorOutput::Restored { set_aside: None, notes: opened.notes });
        let mark = |version: SetVersion| (version.epoch, version.generation);
        if let Some(version) = opened.version.filter(|_| opened.permissions.is_present())
            && in_force.is_none_or(|in_force| mark(version) > mark(in_force))
        {
            self.mirror_says(MirrorOutput::Applied(Applied {
                version,
                permissions: opened.permissions,
                records: opened.records,
                unknown_kinds: opened.unknown_kinds,
                absorbed: 0,
                conflicts: opened.conflicts_then.into_iter().chain(opened.conflicts).collect(),
                overlay: opened.overlay,
                issued_at: opened.issued_at,
                touched: None,
            }));
        } else if opened.permissions.is_present() && opened.version == in_force && opened.overlay != edits {
            let (permissions, overlay, edits) = (opened.permissions, opened.overlay, opened.edits);
            self.mirror_says(MirrorOutput::Resumed { permissions, overlay, edits });
        }
        if let Some(node) = &mut self.node {
            node.mirror.retelling = false;
        }
        keys.into_iter().chain(link).for_each(|input| self.mirror_input(input));
        self.mirror_alarm();
    }

    /// The last thing of an orderly stop.
    pub(super) fn close_if_done(&mut self) {
        let Some(node) = &mut self.node else { return };
        let done =
            node.phase == Phase::Closing && node.ledger.state == LedgerState::Idle && node.ledger.waiting.is_empty();
        if done {
            let clean = node.ledger.ledger.close_clean().is_ok();
            self.node_ends(clean);
        }
    }
}

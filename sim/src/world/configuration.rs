//! Configuration by command, as `runtime::configuration` and `runtime::run` keep it. Owns the installer's file, the disk
//! on which the override lies, and what outlives a run but not its process; must never judge what is in force: the
//! daemon's own [`Keeping`] does.
//!
//! A site file of this world says one thing only: how long its doors are unlocked for a grant.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use latchd::{
    config::trial::{InForce, Keeping, Moment, NotKept, Override, OverrideStore, PutFile},
    domain::{
        event::{EventBody, Refusal, RollbackCause},
        ids::Id,
        time::Mono,
    },
    gateway::{controller::Pause, desk::Answered, step::CommandKey, uplink::Input},
    wire::canonical::{hex, sha256},
};
use serde_json::json;

use super::{
    Lane, What, World,
    mistake::{Mistake, override_as_stored},
    node::{NodeEvent, Phase},
    site::Site,
};
use crate::{cloud::Wish, disk::copy::MemCopy};

pub const INSTALLERS: &str = "dwell_ms = 3000\n";
/// How often the cloud's loop looks whether a trial is over.
const ROUND: Duration = Duration::from_millis(500);

pub fn text_of(dwell_ms: u64) -> String {
    format!("dwell_ms = {dwell_ms}\n")
}

pub fn site_of(text: &str) -> Result<Site, String> {
    let dwell = text.strip_prefix("dwell_ms = ").and_then(|rest| rest.trim_end().parse().ok());
    let dwell: u64 = dwell.ok_or_else(|| "toml:1: it does not say how long a door is unlocked".to_owned())?;
    Ok(Site::with_dwell(Duration::from_millis(dwell)))
}

/// On the same disk as the mirror's copies: full with them.
#[derive(Clone)]
pub struct OverrideDisk {
    kept: Arc<Mutex<Override>>,
    beside: MemCopy,
    mistake: Option<Mistake>,
}

impl OverrideDisk {
    fn kept(&self) -> MutexGuard<'_, Override> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OverrideStore for OverrideDisk {
    type Error = String;

    fn store(&self, kept: &Override) -> Result<(), String> {
        if self.beside.files().full {
            return Err("no space left on device".to_owned());
        }
        if let Some(stored) = override_as_stored(self.mistake, kept) {
            *self.kept() = stored;
        }
        Ok(())
    }
}

/// What the run ends for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Stopped,
    Trial,
    TrialOver(RollbackCause),
}

/// The run is a trial.
#[derive(Clone, Debug)]
pub struct RunningTrial {
    of: CommandKey,
    kid: Option<Id>,
    until: Mono,
}

/// Of the process that runs.
struct Keeper {
    keeping: Keeping<OverrideDisk>,
    /// The installer's file as it was read last.
    installer: String,
}

pub struct Configuration {
    /// The installer's file.
    pub installer: String,
    disk: OverrideDisk,
    keeper: Option<Keeper>,
    /// The last one that the cloud put, for confirming it.
    pub put: Option<String>,
}

/// What a run begins with beside its site.
pub struct Begin {
    pub trial: Option<RunningTrial>,
    pub events: Vec<EventBody>,
    pub cancelled: Vec<(CommandKey, RollbackCause)>,
}

impl Begin {
    /// The commands that the next run does not end as unknown.
    pub fn on_trial(&self) -> Vec<CommandKey> {
        let cancelled = self.cancelled.iter().map(|(of, _)| of);
        self.trial.as_ref().map(|trial| &trial.of).into_iter().chain(cancelled).cloned().collect()
    }

    pub fn settled(&self) -> Vec<Input> {
        let settled = |(key, cause): &(CommandKey, RollbackCause)| {
            let answered = Answered::Cancelled(json!({ "message": format!("rolled back: {}", cause.as_str()) }));
            Input::Settled { key: key.clone(), answered }
        };
        self.cancelled.iter().map(settled).collect()
    }
}

impl Configuration {
    pub fn new(beside: MemCopy, mistake: Option<Mistake>) -> Configuration {
        let disk = OverrideDisk { kept: Arc::default(), beside, mistake };
        Configuration { installer: INSTALLERS.to_owned(), disk, keeper: None, put: None }
    }
}

fn key(file: &PutFile) -> CommandKey {
    CommandKey { issuer: file.issuer.clone(), jti: file.jti.clone() }
}

impl World {
    fn moment(&self) -> Moment {
        Moment { mono: self.now, wall: self.node_wall() }
    }

    /// The next run: which site it uses, and what there is to tell of how it came to it.
    pub(super) fn begin_configuration(&mut self) -> Begin {
        let now = self.moment();
        let this = &mut self.configuration;
        let disk = this.disk.clone();
        let keeper = this.keeper.get_or_insert_with(|| {
            let kept = disk.kept().clone();
            Keeper { keeping: Keeping::new(disk, kept), installer: String::new() }
        });
        keeper.installer = self.shim.installers_file(&this.installer);
        let installer = keeper.installer.clone();
        let begun = keeper.keeping.begin(sha256(installer.as_bytes()), now, |in_force| {
            site_of(in_force.put_file().map_or(&installer, |file| &file.toml))
        });
        self.site = begun.site;
        let (mut events, mut cancelled) = (Vec::new(), Vec::new());
        for ended in begun.ended {
            let (sha256, cause, detail) = (hex(&ended.sha256), ended.cause, ended.detail);
            events.push(EventBody::ConfigurationRolledBack { sha256, cause, detail });
            cancelled.extend(ended.trial_of.map(|(issuer, jti)| (CommandKey { issuer, jti }, cause)));
        }
        let mut trial = None;
        let running = keeper.keeping.running().clone();
        if let (InForce::Trial { file, left }, Some(until)) = (&running, keeper.keeping.trial_until()) {
            let (operator, jti) = (file.operator.clone(), file.jti.clone());
            let sha256 = hex(&file.sha256());
            events.push(EventBody::ConfigurationTrialStarted {
                sha256,
                operator,
                jti,
                confirm_within_s: left.as_secs(),
            });
            trial = Some(RunningTrial { of: key(file), kid: file.kid.clone(), until });
            self.count("trials");
        }
        self.line(format_args!("node: configuration {running:?}"));
        let used = running.put_file().map_or(&installer, |file| &file.toml);
        let full = self.disks.copy.files().full;
        self.oracle.configuration_begins(now, &running, used, &self.configuration.installer, full);
        for body in &events {
            self.oracle.configuration_told(body);
        }
        Begin { trial, events, cancelled }
    }

    /// The daemon cannot run: with a trial it begins anew without it, else its process ends.
    pub(super) fn cannot_run(&mut self, why: &str) {
        let keeper = self.configuration.keeper.as_mut();
        match keeper.filter(|keeper| matches!(keeper.keeping.running(), InForce::Trial { .. })) {
            Some(keeper) => {
                // What cannot be written falls back as well.
                let _ = keeper.keeping.end_trial(RollbackCause::Failed, Some(why.to_owned()));
                self.oracle.trial_failed();
            }
            None => self.configuration.keeper = None,
        }
    }

    /// The process died.
    pub(super) fn configuration_dies(&mut self) {
        self.configuration.keeper = None;
        self.oracle.configuration_died();
    }

    /// A run ended in order. Whether the process goes on.
    pub(super) fn run_ended(&mut self, end: End) -> bool {
        let now = self.moment();
        let Some(keeper) = &mut self.configuration.keeper else { return false };
        match end {
            End::Stopped => {
                let paused = keeper.keeping.pause(now);
                self.oracle.configuration_paused(now, paused.is_ok());
                self.configuration.keeper = None;
            }
            End::Trial => {}
            End::TrialOver(cause) => drop(keeper.keeping.end_trial(cause, None)),
        }
        end != End::Stopped
    }

    pub(super) fn told_of_configuration(&mut self) {
        if let Some(keeper) = &mut self.configuration.keeper {
            drop(keeper.keeping.told());
        }
    }

    // ---- the clerk's part ----

    pub(super) fn put_configuration(
        &mut self,
        file: PutFile,
        expected: Option<[u8; 32]>,
        within: Duration,
    ) -> Answered {
        let now = self.moment();
        let refused = |reason, text: String| Answered::Refused(reason, json!({ "message": text }));
        let Some(keeper) = &mut self.configuration.keeper else {
            return refused(Refusal::Unsupported, "nothing runs".to_owned());
        };
        let present = keeper.keeping.running().put_file().map_or(&keeper.installer, |file| &file.toml).clone();
        let present = sha256(present.as_bytes());
        if expected.is_some_and(|expected| expected != present) {
            return refused(Refusal::Conflict, format!("{} is in force", hex(&present)));
        }
        if keeper.keeping.on_trial().is_some() {
            return refused(Refusal::Conflict, "another is on trial".to_owned());
        }
        if let Err(error) = site_of(&file.toml) {
            return refused(Refusal::Malformed, error);
        }
        if file.sha256() == present {
            return Answered::Done(None);
        }
        let (jti, text) = (file.jti.clone(), file.toml.clone());
        match keeper.keeping.put(sha256(keeper.installer.as_bytes()), file, within, now) {
            Ok(()) => {
                self.oracle.trial_put(now, &jti, &text, within);
                Answered::Scheduled(None)
            }
            Err(NotKept::Conflict(why)) => refused(Refusal::Conflict, why),
            Err(NotKept::Store(error)) => Answered::Failed(json!({ "message": error })),
        }
    }

    /// The file that stays, if it does.
    pub(super) fn confirm_configuration(&mut self, wanted: [u8; 32]) -> (Answered, Option<PutFile>) {
        let now = self.now;
        let Some(keeper) = &mut self.configuration.keeper else { return (Answered::Done(None), None) };
        match keeper.keeping.confirm(wanted) {
            Ok(file) => {
                self.oracle.trial_confirmed(now, &file.toml);
                (Answered::Done(None), Some(file))
            }
            Err(NotKept::Conflict(why)) => (Answered::Refused(Refusal::Conflict, json!({ "message": why })), None),
            Err(NotKept::Store(error)) => (Answered::Failed(json!({ "message": error })), None),
        }
    }

    pub(super) fn confirmed(&mut self, file: &PutFile, operator: Id, jti: Id) {
        self.count("trials confirmed");
        if let Some(node) = &mut self.node {
            node.trial = None;
        }
        let sha256 = hex(&file.sha256());
        self.uplink(Input::Event(EventBody::ConfigurationConfirmed { sha256, operator, jti }));
        self.uplink(Input::Settled { key: key(file), answered: Answered::Done(None) });
    }

    // ---- the cloud's loop ----

    /// Each half second: is the trial over?
    pub(super) fn look_at_trial(&mut self) {
        let now = self.now;
        let Some(node) = &self.node else { return };
        let Some(trial) = &node.trial else { return };
        let keys = node.uplink.session().keys();
        let over = match &trial.kid {
            Some(kid) if keys.is_revoked(kid) => Some(RollbackCause::KeyRevoked),
            _ => (trial.until <= now).then_some(RollbackCause::NotConfirmed),
        };
        match over.filter(|_| self.shim.trial_ends()) {
            Some(cause) => {
                if let Some(node) = &mut self.node {
                    node.trial = None;
                }
                self.begin_anew(End::TrialOver(cause));
            }
            None => self.post_node(ROUND, NodeEvent::LookAtTrial),
        }
    }

    /// As a stop, but what the next run drives as well stays as it is.
    pub(super) fn begin_anew(&mut self, end: End) {
        let Some(node) = &mut self.node else { return };
        if node.phase != Phase::Running {
            return;
        }
        (node.end, node.phase) = (end, Phase::StoppingDoors);
        self.line(format_args!("node: begins anew, {end:?}"));
        self.count("begun anew");
        self.uplink(Input::RefuseCommands);
        self.uplink(Input::Event(EventBody::NodeStopping {}));
        self.send_node(Lane::SetsToDoors, NodeEvent::PauseDoors);
        self.post_node(super::node_uplink::STOP_WITHIN, NodeEvent::StopTimeout(Phase::StoppingDoors));
    }

    /// Nothing of the wiring is another one in another site of this world.
    pub(super) fn doors_pause(&mut self) {
        self.line(format_args!("doors: pause"));
        if let Some(node) = &mut self.node {
            (node.stopping, node.pausing) = (true, true);
        }
        self.oracle.pausing();
        let pause = Pause { others_stay: true, ..Pause::default() };
        self.doors_input(latchd::gateway::controller::Input::Pause(pause), "pause");
    }

    /// Somebody puts a configuration, confirms one, or edits the installer's file by hand.
    pub(super) fn configure(&mut self) {
        match self.rng.below(10) {
            0 => {
                self.configuration.installer = text_of(2_000 + 250 * self.rng.below(8));
                let installer = self.configuration.installer.clone();
                self.line(format_args!("installer: edits the site file: {}", installer.trim_end()));
            }
            1..9 => self.wish_put(),
            _ => self.wish_confirm(),
        }
    }

    fn wish_put(&mut self) {
        let operator = ["op-1", "op-1", "op-1", "op-2", "op-4", "op-7"][self.rng.index(6)];
        let text =
            if self.rng.permille(100) { "nonsense\n".to_owned() } else { text_of(1_500 + self.rng.below(3_000)) };
        let within = 5 + self.rng.below(15);
        let mut args = json!({ "toml": text, "confirm_within_s": within });
        if self.rng.permille(200) {
            args["expect_sha256"] = json!(hex(&sha256(self.configuration.installer.as_bytes())));
        }
        let lifetime = self.rng.millis(1_000, 20_000);
        let wish = Wish { lifetime, ..Wish::new(operator, "configuration.put", args) };
        let (jti, message) = self.cloud.command(self.wall(), &wish);
        self.line(format_args!("cloud: puts {} for {within} s by {operator} {jti}", text.trim_end()));
        self.oracle.trial_wished(jti.clone(), text.clone(), Duration::from_secs(within));
        self.oracle.errand_wished(&jti, operator, "configuration.put");
        self.configuration.put = Some(text);
        self.send_command(jti, message);
        if self.rng.permille(600) {
            let after = self.rng.millis(500, within * 1_000 + 1_000);
            self.post(after, What::Confirm);
        }
    }

    pub(super) fn wish_confirm(&mut self) {
        let Some(text) = self.configuration.put.clone().filter(|_| !self.healing) else { return };
        let args = json!({ "sha256": hex(&sha256(text.as_bytes())) });
        let lifetime = self.rng.millis(1_000, 8_000);
        let wish = Wish { lifetime, ..Wish::new("op-1", "configuration.confirm", args) };
        let (jti, message) = self.cloud.command(self.wall(), &wish);
        self.line(format_args!("cloud: confirms {} {jti}", text.trim_end()));
        self.send_command(jti, message);
    }
}

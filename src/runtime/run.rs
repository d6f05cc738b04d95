//! The life of the daemon: stores, doors, cloud, and all of it backwards. Owns the order; must never
//! let the network, or the lack of it, stand between the start and enforced doors.

use std::{
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::{Resource, Rlimit};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    adapters::{
        clock as clocks, journal,
        mqtt::{LinkConfig, MqttLink},
        osdp_key_file::OsdpKeyFiles,
        override_file::OverrideError,
        process,
        store::{
            self, OpenError, SetAside, SledKv,
            ledger_thread::{LedgerThread, Observer, Unwritten, Withheld},
            mirror_thread::{MirrorError, MirrorPlace, MirrorThread},
        },
    },
    config::{
        Installation,
        site::{Cloud, Reboot, Site},
    },
    domain::{
        cloud::{CloudState, Confirmation},
        event::{Event, EventBody, RollbackCause},
        field::{Weakness, WeaknessOf},
        ids::Id,
        kept::{Kept, KeptKey},
    },
    gateway::{
        controller::Lasting,
        departed::{Departed, departed},
        desk::{Answered, Desk, DeskConfig, EditsAtStart},
        kv::KvError,
        ledger::{EventReader, Ledger, LedgerError, LedgerLimits, Note, Recovered},
        mirror::{Copy, MirrorConfig, MirrorOpened, RootAttest, Source},
        opening,
        reports::Places,
        session::{Restored, Session, SessionConfig},
        step::{Commit, Effect, Fence, LedgerWrite},
        uplink::{self, DoorNews, Input, Uplink},
        vitals::Vitals,
    },
    runtime::{
        clerk::{Clerk, Office},
        clock::Clock,
        cloud_loop::{CloudLoop, End, Inlets, Outlets, StopSignals},
        configuration::{Begin, Keeper, SharedKeeper},
        control::Control,
        doors_thread::{Doors, DoorsSetup},
        event_line,
        figures::{OrderTimes, Reporter, Sources},
        heartbeat::Heartbeats,
        ledger_queue::LedgerQueue,
        mirror_queue::MirrorQueue,
        osdp_keys::KeyKeeper,
        secrets::{SecretError, Secrets},
        watchdog::Watchdog,
    },
    wire::canonical::hex,
};

/// As sysexits.h names them: EX_CANTCREAT, EX_TEMPFAIL, EX_OSERR, EX_CONFIG.
const EXIT_CANNOT_CREATE: u8 = 73;
const EXIT_IN_USE: u8 = 75;
const EXIT_SYSTEM: u8 = 71;
const EXIT_BAD_CONFIGURATION: u8 = 78;
/// What the stores, the cloud's link and the threads need at their worst; each port comes on top.
const OPEN_FILES: u64 = 64;
const LEDGER: &str = "ledger";
/// Groups of effects between the ledger and the cloud loop; full: the ledger waits, doors do not.
const RELEASED_QUEUE_MAX: usize = 1024;
/// A set of a hundred thousand people takes a slow box most of a minute to compile and write: the watchdog
/// must not end that, for it would only begin anew.
const MIRROR_STILL_MAX: u32 = 60;
/// A ledger that cannot be opened is tried again so often; less often the more runs in a row it let down.
const PROBE_FIRST: Duration = Duration::from_secs(2);
const PROBE_MOST: Duration = Duration::from_secs(300);
/// Of what a run without the ledger did, in one batch.
const WRITES_TOGETHER: usize = 512;
/// What the log still has to say at the end gets this long.
const JOURNAL_CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// Why the daemon did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{error}")]
    Open { error: OpenError, exit_code: u8 },
    #[error("{}: {what}", path.display())]
    State { path: PathBuf, what: String, exit_code: u8 },
    #[error(
        "this process may open {limit} files and needs {needed}: raise LimitNOFILE of the unit, or the hard limit of `ulimit -n`"
    )]
    OpenFiles { limit: u64, needed: u64 },
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    #[error("the kernel gave no randomness")]
    Randomness,
    #[error("{0}")]
    Doors(String),
    #[error(transparent)]
    Override(#[from] OverrideError),
}

impl RunError {
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Secret(_) => EXIT_BAD_CONFIGURATION,
            RunError::State { exit_code, .. } | RunError::Open { exit_code, .. } => *exit_code,
            RunError::OpenFiles { .. } | RunError::Io(_) | RunError::Randomness => EXIT_SYSTEM,
            RunError::Override(_) => EXIT_IN_USE,
            RunError::Doors(_) => 1,
        }
    }
}

/// Runs until SIGTERM, SIGINT or SIGHUP, or until something fails for good, which has then been said once: in the
/// journal, or on stderr where there is none.
pub fn run(installation: Installation) -> Result<Finish, RunError> {
    let journal = journal::start().inspect_err(|error| eprintln!("latchd: cannot start the log: {error}"))?;
    let result = run_logged(installation, journal.dropped());
    let on_stderr = journal.is_on_stderr();
    if let Err(error) = &result
        && !on_stderr
    {
        tracing::error!(%error, "the daemon ends");
    }
    journal.close(JOURNAL_CLOSES_WITHIN);
    if let Err(error) = &result
        && on_stderr
    {
        eprintln!("latchd: {error}");
    }
    result
}

/// How the daemon ended, if nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stopped,
    /// By `node.reboot`: whoever started it starts it anew.
    StartAnew,
}

/// What outlives a run.
struct Daemon {
    keeper: SharedKeeper,
    runtime: Runtime,
    stop_signals: StopSignals,
    lines_dropped: Arc<AtomicU64>,
    /// What runs did that could not open the ledger.
    unwritten: Unwritten,
    /// So many of them in a row.
    runs_without_ledger: u32,
}

/// One run after the other, each with the configuration that is in force when it begins.
fn run_logged(installation: Installation, lines_dropped: Arc<AtomicU64>) -> Result<Finish, RunError> {
    make_state_directory(&installation.site.node.state_dir)?;
    let keeper = SharedKeeper::new(Keeper::new(installation)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop_signals = runtime.block_on(async {
        Ok::<StopSignals, std::io::Error>([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ])
    })?;
    let unwritten = Unwritten::default();
    let mut daemon =
        Daemon { keeper: keeper.clone(), runtime, stop_signals, lines_dropped, unwritten, runs_without_ledger: 0 };
    let result = loop {
        let begin = keeper.lock().begin();
        let (is_trial, reboot) = (begin.trial.is_some(), begin.site.node.reboot);
        let ended = run_once(begin, &mut daemon);
        let mut keeper = keeper.lock();
        match ended {
            Ok((End::TrialOver(cause), doors)) => {
                keeper.end_trial(cause, None);
                if let Err(stuck) = doors {
                    break Err(RunError::Doors(stuck));
                }
            }
            Ok((End::Trial | End::LedgerBack, Ok(()))) => {}
            Ok((End::Stopped, Ok(()))) => {
                keeper.pause();
                break Ok(Finish::Stopped);
            }
            Ok((End::Reboot, Ok(()))) => {
                keeper.pause();
                if reboot == Some(Reboot::Machine)
                    && let Err(error) = process::reboot_machine()
                {
                    tracing::error!(%error, "the machine cannot be started anew, so only the daemon is");
                }
                break Ok(Finish::StartAnew);
            }
            // A thread that is stuck has the ports: only the end of the process frees them.
            Ok((_, Err(stuck))) => {
                keeper.end_trial(RollbackCause::Failed, Some(stuck.clone()));
                break Err(RunError::Doors(stuck));
            }
            Err(error) if is_trial => {
                tracing::error!(%error, "the daemon cannot run with the configuration on trial");
                keeper.end_trial(RollbackCause::Failed, Some(error.to_string()));
            }
            Err(error) => break Err(error),
        }
    };
    // Without waiting for a resolver that may just be looking for the broker.
    daemon.runtime.shutdown_background();
    result
}

/// From open stores to closed ones. Beside the end: what kept the doors' thread from ending.
fn run_once(begin: Begin, daemon: &mut Daemon) -> Result<(End, Result<(), String>), RunError> {
    let started = Instant::now();
    let site = begin.site;
    let vitals = Arc::new(Vitals::of(site.buses.len(), site.boards.len()));
    open_files_suffice(&site)?;
    let secrets = Secrets::read(&site)?;
    let boot = random_id()?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, boot = %boot, node = %site.node.id, "starting");

    let mut opening = Opening::new(&site);
    let was_without_ledger = daemon.runs_without_ledger > 0;
    let LedgerAtStart { ledger, events, recovered, withheld } = match opening.ledger(&site, &mut daemon.unwritten) {
        // A trial is not to begin with half a node.
        Err(error) if begin.trial.is_none() && is_withheld(&error, &opening.ledger_path()) => {
            daemon.runs_without_ledger += 1;
            opening.without_ledger(&error)?
        }
        opened => {
            daemon.runs_without_ledger = 0;
            opened?
        }
    };
    let clock = Clock::start(recovered.clock_floor, recovered.last_beat.map(|beat| beat.at));
    let now = clock.now();
    vitals.alarms_stand(recovered.kept.values());
    let (mut mirror, mut opened) = opening.mirror(&site, &secrets, &clock)?;

    let log_id = recovered.head.log_id.clone();
    let (release, released) = mpsc::channel(RELEASED_QUEUE_MAX);
    let (passed, durable) = watch::channel(Fence::default());
    let hand_on = move |effects: Vec<Effect>| {
        // The doors first: they must not wait for the cloud loop.
        for effect in &effects {
            if let Effect::Fence(fence) = effect {
                passed.send_replace(*fence);
            }
        }
        // Once the cloud loop is gone nobody needs the others.
        drop(release.blocking_send(effects));
    };
    let observer = {
        let (vitals, append) = (vitals.clone(), vitals.append.clone());
        let event = move |event: &Event| {
            vitals.event(event);
            event_line::log(event);
        };
        Observer { event, clock: clocks::mono, append }
    };
    let probe_every = (PROBE_FIRST * 2u32.saturating_pow(daemon.runs_without_ledger.saturating_sub(1))).min(PROBE_MOST);
    let (ledger, _idle) = match ledger {
        Some(ledger) => (LedgerThread::spawn_observed(ledger, observer, hand_on)?, None),
        None => {
            let why = KvError::Failed(withheld.clone().unwrap_or_default());
            let withheld = Withheld { why, probe: opening.probe(&site)?, probe_every };
            let earlier = std::mem::take(&mut daemon.unwritten);
            // Nothing becomes durable; whoever waits for it waits on.
            let thread = LedgerThread::spawn_withheld(withheld, earlier, recovered.head.clone(), observer)?;
            (thread, Some(hand_on))
        }
    };
    let (restored, keys) = Restored::from_stores(&recovered, &opened, &secrets.root, &audience(&site));
    if let Err(error) = keys {
        tracing::error!(%error, "the stored key set does not verify under the root key");
    }
    let set = restored.set;
    let mut queue = LedgerQueue::new(ledger.handle());
    let mut told = opening.events(&recovered, &opened, &boot);
    told.extend(opening::ledger_told(was_without_ledger, withheld.as_deref()));
    let newest = newest(&events, recovered.head.seq);
    let untold_set = opening::is_untold(newest.as_ref(), &set).then_some(opened.issued_at);
    told.extend(opening::untold(newest.as_ref(), &set, &opened));
    told.extend(begin.events);
    let told_with = recovered.head.seq + told.len() as u64;
    // Reports are held only by orders; there are none yet.
    drop(queue.commit(now, opening::commit(now, &set, told)));
    let Departed { gone, kept } = departed(&site.topology(), &recovered.kept);
    if let Some(kept) = kept {
        drop(queue.commit(now, Commit { writes: vec![LedgerWrite::Kept(kept)], ..Commit::default() }));
    }

    let key_files = OsdpKeyFiles::new(&site.node.state_dir, secrets.signer.sealing_key("osdp readers"));
    let (key_keeper, osdp_keys) = KeyKeeper::start(&site, &secrets.osdp, key_files)?;
    let mut heartbeats = Heartbeats::default();
    heartbeats.register("ledger", ledger.progress().into());
    heartbeats.register_slow("mirror", mirror.progress().into(), MIRROR_STILL_MAX);
    let (control, installer) = Control::start(&site.node.state_dir, key_keeper.tasks());
    let setup = DoorsSetup {
        site: site.clone(),
        vitals: vitals.clone(),
        clock: clock.clone(),
        ledger: ledger.handle(),
        credential_key: secrets.credential_key,
        spare_cards: Arc::new(std::mem::take(&mut opened.spare_cards)),
        permissions: opened.permissions.clone(),
        weaknesses: withheld.iter().map(|why| ledger_weakness(why)).collect(),
        restored: Lasting { doors: recovered.doors, kept: recovered.kept.clone() },
        cloud: CloudState {
            connected: false,
            last_beat: recovered.last_beat.map(|beat| Confirmation::Before(beat.at)),
            mirror_lost: !opened.permissions.is_present(),
        },
        durable,
        osdp_keys,
        installer,
    };
    let doors = Doors::start(setup, &mut heartbeats)?;

    let last_beat_at = recovered.last_beat.map_or(recovered.clock_floor, |beat| beat.at);
    let passed = recovered.clock_floor.max(last_beat_at);
    let session_config = SessionConfig {
        org: site.node.org.clone(),
        node: site.node.id.clone(),
        boot: boot.clone(),
        version: version.to_owned(),
        issuer: site.cloud.issuer.clone(),
        beat_every: site.cloud.beat_every,
        reconnect_min: site.cloud.reconnect_min,
        reconnect_max: site.cloud.reconnect_max,
    };
    let topology = Arc::new(site.topology());
    let places = Places::of(&topology);
    let session = Session::new(session_config, secrets.root, secrets.signer, restored, now)
        .with_places(places.clone())
        .with_ledger_failed(withheld.clone());
    let cancelled = begin.cancelled.iter().map(|(of, _)| of);
    let on_trial = begin.trial.as_ref().map(|trial| &trial.of).into_iter().chain(cancelled);
    let desk_config = DeskConfig {
        boot: boot.clone(),
        issuer: site.cloud.issuer.clone(),
        topology,
        commands_per_operator_max: site.limits.commands_per_operator_max,
        clock_skew: site.limits.clock_skew,
        on_trial: on_trial.cloned().collect(),
        edits: match &withheld {
            // How far they were told, the ledger knows: the run that has it tells the rest.
            Some(_) => EditsAtStart { told: opened.overlay.revision, stand: opened.edits, ..EditsAtStart::default() },
            None => EditsAtStart::new(opened.edits, &recovered.kept).after_set(untold_set),
        },
        no_earlier: passed,
        ledger_withheld: withheld,
        delay_max: site.limits.delay_max,
    };
    let (desk, first) = Desk::new(desk_config, opened.permissions, recovered.commands, recovered.forget_floor, now);
    let uplink = Uplink::new(session, desk, set);

    let sources = Sources {
        vitals: vitals.clone(),
        buses: site.buses.iter().map(|bus| bus.id.clone()).collect(),
        lines_dropped: daemon.lines_dropped.clone(),
        started,
    };
    let office = Office {
        clock: clock.clone(),
        events: events.clone(),
        log_id,
        places,
        keeper: daemon.keeper.clone(),
        site: site.clone(),
        boot,
        sources: sources.clone(),
        health: ledger.health(),
    };
    let clerk = Clerk::start(office)?;
    let settled = begin.cancelled.into_iter();
    let settled = settled.map(|(key, cause)| Input::Settled { key, answered: rolled_back(cause) });
    let gone = gone.into_iter().map(|gone| Input::Doors(DoorNews::Status(Box::new(gone))));
    let settled = settled.chain(gone).collect();

    let (end, outlets) = daemon.runtime.block_on(async {
        let inlets = Inlets {
            link: MqttLink::new(link_config(&site)).no_earlier_than(passed),
            released,
            head: ledger.head(),
            health: ledger.health(),
            mirror: mirror.outputs(),
            stop_signals: &mut daemon.stop_signals,
            told_with,
            trial: begin.trial,
        };
        let outlets = Outlets {
            doors,
            ledger: queue,
            events,
            mirror: MirrorQueue::new(mirror.handle()),
            clock,
            clerk,
            watchdog: Watchdog::new(heartbeats),
            reporter: Reporter::new(sources, site.cloud.telemetry_every),
            order_times: OrderTimes::default(),
            vitals,
        };
        CloudLoop::new(inlets, outlets, uplink).run(first, settled).await
    });
    let doors = outlets.doors.join();
    if let Some(control) = control {
        control.stop();
    }
    key_keeper.stop();
    outlets.clerk.stop();
    mirror.stop();
    let (stopped, unwritten) = ledger.stop_unwritten();
    daemon.unwritten = unwritten;
    if !daemon.unwritten.is_empty() && end != End::LedgerBack {
        tracing::warn!("what happened without the ledger is in this journal and nowhere else");
    }
    tracing::info!(clean = stopped.clean, commits_lost = stopped.commits_lost, "stopped");
    Ok((end, doors))
}

fn rolled_back(cause: RollbackCause) -> Answered {
    Answered::Cancelled(serde_json::json!({ "message": format!("rolled back: {}", cause.as_str()) }))
}

/// Asked before anything is opened: sled and the runtimes take a shortage for damage, or panic at it.
fn open_files_suffice(site: &Site) -> Result<(), RunError> {
    let needed = OPEN_FILES + u64::try_from(site.boards.len() + site.readers.len()).unwrap_or(u64::MAX / 2);
    let limits = rustix::process::getrlimit(Resource::Nofile);
    match limits.current {
        Some(limit) if limit < needed => {
            let raised = Rlimit { current: Some(needed), maximum: limits.maximum };
            rustix::process::setrlimit(Resource::Nofile, raised).map_err(|_| RunError::OpenFiles { limit, needed })
        }
        _ => Ok(()),
    }
}

fn audience(site: &Site) -> String {
    format!("{}/{}", site.node.org, site.node.id)
}

fn link_config(site: &Site) -> LinkConfig {
    let Cloud { host, port, tls, username, password, keep_alive, .. } = &site.cloud;
    LinkConfig {
        host: host.clone(),
        port: *port,
        tls: tls.clone(),
        username: username.clone(),
        password_file: password.as_ref().map(|secret| secret.path.clone()),
        client_id: format!("latchd-{}-{}", site.node.org, site.node.id),
        keep_alive: *keep_alive,
    }
}

/// 128 random bits in hex.
fn random_id() -> Result<Id, RunError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| RunError::Randomness)?;
    Id::new(&hex(&bytes)).map_err(|_| RunError::Randomness)
}

fn make_state_directory(path: &Path) -> Result<(), RunError> {
    // What is in there concerns nobody else, whatever the umask.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| RunError::State {
        path: path.to_owned(),
        what: format!("cannot be created ({error}): systemd's StateDirectory=latchd makes it"),
        exit_code: EXIT_CANNOT_CREATE,
    })
}

/// A ledger that lies there and cannot be opened, for reasons that are not its own. Where there never was one, or where
/// another daemon has it, there is nothing to be gained by going on.
fn is_withheld(error: &RunError, path: &Path) -> bool {
    let was_there = std::fs::symlink_metadata(path).map_or_else(|e| e.kind() != ErrorKind::NotFound, |_| true);
    was_there
        && match error {
            RunError::Open { error, .. } => {
                !matches!(error, OpenError::Locked { .. } | OpenError::MissingParent { .. })
            }
            RunError::State { .. } => true,
            _ => false,
        }
}

fn ledger_weakness(why: &str) -> Weakness {
    Weakness {
        of: WeaknessOf::Store(LEDGER.to_owned()),
        what: format!("the ledger cannot be opened ({why}): see to the disk or the directory; no restart is needed"),
    }
}

/// The ledger as a run begins with it.
struct LedgerAtStart {
    /// `None`: it cannot be opened.
    ledger: Option<Ledger<SledKv>>,
    events: EventReader<SledKv>,
    recovered: Recovered,
    /// Why not.
    withheld: Option<String>,
}

/// Opens the stores; what cannot be read is put aside and told of.
struct Opening {
    dir: PathBuf,
    set_aside: Vec<(&'static str, SetAside)>,
}

impl Opening {
    fn new(site: &Site) -> Opening {
        Opening { dir: site.node.state_dir.clone(), set_aside: Vec::new() }
    }

    fn ledger_path(&self) -> PathBuf {
        self.dir.join("ledger.sled")
    }

    /// With what runs without it did.
    fn ledger(&mut self, site: &Site, unwritten: &mut Unwritten) -> Result<LedgerAtStart, RunError> {
        let path = self.ledger_path();
        let failed = |error: LedgerError| unusable(&path, &error);
        let limits = LedgerLimits { events_max: site.limits.events_max };
        let store = self.store(LEDGER, &path)?;
        let opened = match Ledger::open(store.clone(), random_id()?, limits) {
            Err(LedgerError::Store(KvError::Damaged(detail))) => {
                drop(store);
                let store = self.fresh(LEDGER, &path, &detail)?;
                Ledger::open(store.clone(), random_id()?, limits).map(|opened| (store, opened))
            }
            other => other.map(|opened| (store, opened)),
        };
        let (store, (mut ledger, mut recovered)) = opened.map_err(failed)?;
        if !unwritten.is_empty() {
            let uses = |card: &Id| match recovered.kept.get(&KeptKey::emergency_uses(card)) {
                Some(Kept::EmergencyUses { uses, .. }) => *uses,
                _ => 0,
            };
            for writes in unwritten.writes(uses).chunks(WRITES_TOGETHER) {
                ledger.append(writes.to_vec()).map_err(failed)?;
            }
            let _ = ledger.sync().map_err(failed)?;
            drop(ledger);
            let lost = unwritten.events_lost();
            let gap = || Note {
                lost: Some(lost),
                detail: "too much happened while the ledger could not be opened".to_owned(),
            };
            recovered.notes.extend((lost > 0).then(gap));
            *unwritten = Unwritten::default();
            let (again, found) = Ledger::open(store, random_id()?, limits).map_err(failed)?;
            recovered = Recovered { clean: recovered.clean, notes: recovered.notes, ..found };
            ledger = again;
        }
        Ok(LedgerAtStart { events: ledger.reader(), ledger: Some(ledger), recovered, withheld: None })
    }

    /// The disk does not give it: the doors are enforced all the same, and the ledger's thread goes on trying.
    fn without_ledger(&self, error: &RunError) -> Result<LedgerAtStart, RunError> {
        tracing::error!(%error, "the ledger cannot be opened: doors are enforced without it");
        let none = Id::new("none").map_err(|error| RunError::Doors(error.to_string()))?;
        Ok(LedgerAtStart {
            ledger: None,
            events: EventReader::of_nothing(SledKv::withheld(&self.ledger_path())),
            recovered: Recovered::unknown(none),
            withheld: Some(error.to_string()),
        })
    }

    /// Whether the ledger can be opened and written; what is damaged can be once it can be set aside.
    fn probe(&self, site: &Site) -> Result<impl FnMut() -> Result<(), KvError> + Send + 'static, RunError> {
        let (path, dir, fresh_log_id) = (self.ledger_path(), self.dir.clone(), random_id()?);
        let limits = LedgerLimits { events_max: site.limits.events_max };
        Ok(move || {
            let opened = SledKv::open(&path).map_err(KvError::from).and_then(|store| {
                Ledger::open(store, fresh_log_id.clone(), limits).map(drop).map_err(|error| match error {
                    LedgerError::Store(error) => error,
                    other => KvError::Failed(other.to_string()),
                })
            });
            let Err(KvError::Damaged(detail)) = opened else { return opened };
            let file = dir.join("ledger.probe");
            let written = std::fs::write(&file, b"").and_then(|()| std::fs::remove_file(&file));
            written.map_err(|error| KvError::Failed(format!("{detail}; and {}: {error}", dir.display())))
        })
    }

    fn mirror(
        &mut self,
        site: &Site,
        secrets: &Secrets,
        clock: &Clock,
    ) -> Result<(MirrorThread, MirrorOpened), RunError> {
        let audience = audience(site);
        let place = MirrorPlace {
            store: self.dir.join("mirror.sled"),
            copy: self.dir.join("set-copy"),
            emergency: self.dir.join("emergency-cards"),
            attest: Arc::new(RootAttest { root: secrets.root.clone(), audience: audience.clone() }),
            config: MirrorConfig {
                seed: audience.bytes().fold(0, |seed, byte| seed.rotate_left(8) ^ u64::from(byte)),
                audience,
                topology: site.topology(),
                zone: site.node.time_zone.clone(),
            },
        };
        let mut open = place.start(clock.now()).map_err(|error| match error {
            MirrorError::Store(error) => error.into(),
            other => unusable(&place.store, &other),
        })?;
        self.note("mirror", open.set_aside.take());
        let clock = clock.clone();
        Ok(MirrorThread::spawn(open, move || clock.now())?)
    }

    fn store(&mut self, name: &'static str, path: &Path) -> Result<SledKv, RunError> {
        let (store, set_aside) = store::open_or_set_aside(path, clocks::wall())?;
        self.note(name, set_aside);
        Ok(store)
    }

    /// For a store that opens but does not hold what it should.
    fn fresh(&mut self, name: &'static str, path: &Path, detail: &str) -> Result<SledKv, RunError> {
        let set_aside = store::set_aside(path, detail, clocks::wall())?;
        self.note(name, Some(set_aside));
        self.store(name, path)
    }

    fn note(&mut self, name: &'static str, set_aside: Option<SetAside>) {
        if let Some(set_aside) = set_aside {
            let moved_to = set_aside.moved_to.display();
            tracing::error!(store = name, %moved_to, detail = set_aside.detail, "a damaged store was set aside");
            self.set_aside.push((name, set_aside));
        }
    }

    /// What the start has to tell, in order.
    fn events(&self, recovered: &Recovered, opened: &MirrorOpened, boot: &Id) -> Vec<EventBody> {
        let mut events = vec![EventBody::NodeStarted {
            boot: boot.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // A new ledger in the place of a damaged one knows nothing of the last stop.
            clean: recovered.clean && self.set_aside.iter().all(|(name, _)| *name != LEDGER),
        }];
        events.extend(self.set_aside.iter().map(|(name, set_aside)| EventBody::StorageSetAside {
            store: (*name).to_owned(),
            moved_to: set_aside.moved_to.display().to_string(),
            detail: set_aside.detail.clone(),
        }));
        let gap = |note: &Note| EventBody::LogGap { lost: note.lost, detail: note.detail.clone() };
        events.extend(recovered.notes.iter().map(gap));
        if let Some(detail) = &opened.store_failed {
            let in_force = if opened.permissions.is_present() { "the second copy's" } else { "none" };
            let detail = format!("it cannot be opened ({detail}): the set in force is {in_force}, until it can");
            events.push(EventBody::StorageFailed { store: "mirror".to_owned(), detail });
        }
        if let Source::Lost(floor) = opened.source {
            events.push(EventBody::StorageFailed {
                store: "mirror".to_owned(),
                detail: format!(
                    "the permission set (at least generation {} of epoch {}) is lost: every card but {} emergency cards is denied until the cloud sends it",
                    floor.generation,
                    floor.epoch,
                    opened.spare_cards.len()
                ),
            });
        }
        let failed = |copy: Copy, detail: &str| EventBody::StorageFailed {
            store: copy.as_str().to_owned(),
            detail: detail.to_owned(),
        };
        events.extend(opened.copies_failed.iter().map(|(copy, detail)| failed(*copy, detail)));
        if let Some(detail) = &opened.spare_damaged {
            events.push(failed(Copy::EmergencyCards, detail));
            if opened.spare_mended {
                events.push(EventBody::StorageRestored { store: Copy::EmergencyCards.as_str().to_owned() });
            }
        }
        if !opened.refused.is_empty() {
            events.push(EventBody::SetRefused {
                from_epoch: opened.version.map_or(0, |version| version.epoch),
                from_generation: opened.version.map_or(0, |version| version.generation),
                reasons: uplink::bounded(opened.refused.clone()),
            });
        }
        for note in &opened.notes {
            tracing::warn!("{note}");
        }
        events
    }
}

fn newest(events: &EventReader<SledKv>, seq: u64) -> Option<Event> {
    let sealed = events.read(seq, 1).ok()?.pop()?;
    serde_json::from_slice(&sealed.json).ok()
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> RunError {
    RunError::State { path: path.to_owned(), what: error.to_string(), exit_code: 1 }
}

impl From<OpenError> for RunError {
    fn from(error: OpenError) -> RunError {
        let exit_code = match &error {
            OpenError::Locked { .. } => EXIT_IN_USE,
            OpenError::ReadOnly { .. } | OpenError::MissingParent { .. } | OpenError::Full { .. } => EXIT_CANNOT_CREATE,
            OpenError::Damaged { .. } | OpenError::Io { .. } => 1,
        };
        RunError::Open { error, exit_code }
    }
}

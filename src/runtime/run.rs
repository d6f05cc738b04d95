//! The life of the daemon's process: one run after the other, until it is told to stop or something fails for good. Owns
//! how each run's end leads to the next; must never end without saying why, once. Invariant: each run begins with the
//! configuration that is in force then, and a trial that fails leads back to the one before it.

mod cloud;
mod error;
mod ledger;
mod once;
mod stores;
mod told;

use std::{
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::{Resource, Rlimit};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

pub use self::error::RunError;
use self::{error::EXIT_CANNOT_CREATE, once::run_once};
use crate::{
    adapters::{journal, process, store::ledger_thread::Unwritten},
    config::{
        Installation,
        site::{Reboot, Site},
    },
    domain::{event::RollbackCause, ids::Id},
    runtime::{
        cloud_loop::{End, StopSignals},
        configuration::{Keeper, SharedKeeper},
    },
    wire::canonical::hex,
};

/// What the stores, the cloud's link and the threads need at their worst; each port comes on top.
const OPEN_FILES: u64 = 64;
/// What the log still has to say at the end gets this long.
const JOURNAL_CLOSES_WITHIN: Duration = Duration::from_secs(1);

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

//! The ledger of a run: opened with what earlier runs could not write, or withheld by the disk. Owns which of both it is,
//! and its thread; must never keep the doors from being enforced for want of it. Invariant: what became durable reaches
//! the doors before the cloud loop, and of a ledger that is withheld nothing does.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    Daemon,
    error::{RunError, unusable},
    random_id,
    stores::Opening,
};
use crate::{
    adapters::{
        clock as clocks,
        store::{
            OpenError, SledKv,
            ledger_thread::{LedgerThread, Observer, Unwritten, Withheld},
        },
    },
    config::site::Site,
    domain::{
        event::Event,
        field::{Weakness, WeaknessOf},
        ids::Id,
        kept::{Kept, KeptKey},
    },
    gateway::{
        kv::KvError,
        ledger::{EventReader, Ledger, LedgerError, LedgerLimits, Note, Recovered},
        step::{Effect, Fence},
        vitals::Vitals,
    },
    runtime::event_line,
};

pub(super) const LEDGER: &str = "ledger";
/// Groups of effects between the ledger and the cloud loop; full: the ledger waits, doors do not.
const RELEASED_QUEUE_MAX: usize = 1024;
/// A ledger that cannot be opened is tried again so often; less often the more runs in a row it let down.
const PROBE_FIRST: Duration = Duration::from_secs(2);
const PROBE_MOST: Duration = Duration::from_secs(300);
/// Of what a run without the ledger did, in one batch.
const WRITES_TOGETHER: usize = 512;

/// The ledger as a run begins with it.
pub(super) struct LedgerAtStart {
    /// `None`: it cannot be opened.
    pub(super) ledger: Option<Ledger<SledKv>>,
    pub(super) events: EventReader<SledKv>,
    pub(super) recovered: Recovered,
    /// Why not.
    pub(super) withheld: Option<String>,
}

impl LedgerAtStart {
    pub(super) fn weakness(&self) -> Option<Weakness> {
        let why = self.withheld.as_ref()?;
        Some(Weakness {
            of: WeaknessOf::Store(LEDGER.to_owned()),
            what: format!(
                "the ledger cannot be opened ({why}): see to the disk or the directory; no restart is needed"
            ),
        })
    }
}

/// The ledger's thread, and what comes of it.
pub(super) struct LedgerRuns {
    pub(super) thread: LedgerThread,
    pub(super) released: mpsc::Receiver<Vec<Effect>>,
    pub(super) durable: watch::Receiver<Fence>,
    /// Without a ledger nothing becomes durable: whoever waits for it waits on.
    pub(super) idle: Option<HandOn>,
}

/// Whom what has become durable goes to.
pub(super) struct HandOn {
    passed: watch::Sender<Fence>,
    release: mpsc::Sender<Vec<Effect>>,
}

impl HandOn {
    fn pass(&self, effects: Vec<Effect>) {
        // The doors first: they must not wait for the cloud loop.
        for effect in &effects {
            if let Effect::Fence(fence) = effect {
                self.passed.send_replace(*fence);
            }
        }
        // Once the cloud loop is gone nobody needs the others.
        drop(self.release.blocking_send(effects));
    }
}

impl Opening {
    /// The ledger; or, where the disk does not give it, what a run can do without.
    pub(super) fn ledger(
        &mut self,
        site: &Site,
        daemon: &mut Daemon,
        is_trial: bool,
    ) -> Result<LedgerAtStart, RunError> {
        match self.opened_ledger(site, &mut daemon.unwritten) {
            // A trial is not to begin with half a node.
            Err(error) if !is_trial && is_withheld(&error, &self.ledger_path()) => {
                daemon.runs_without_ledger += 1;
                self.without_ledger(&error)
            }
            opened => {
                daemon.runs_without_ledger = 0;
                opened
            }
        }
    }

    fn ledger_path(&self) -> PathBuf {
        self.dir.join("ledger.sled")
    }

    /// With what runs without it did.
    fn opened_ledger(&mut self, site: &Site, unwritten: &mut Unwritten) -> Result<LedgerAtStart, RunError> {
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

    /// The thread that has it from here on.
    pub(super) fn ledger_thread(
        &self,
        at_start: &mut LedgerAtStart,
        site: &Site,
        daemon: &mut Daemon,
        vitals: &Arc<Vitals>,
    ) -> Result<LedgerRuns, RunError> {
        let (release, released) = mpsc::channel(RELEASED_QUEUE_MAX);
        let (passed, durable) = watch::channel(Fence::default());
        let hand_on = HandOn { passed, release };
        let observer = observer(vitals);
        let (thread, idle) = match at_start.ledger.take() {
            Some(ledger) => {
                let sink = move |effects| hand_on.pass(effects);
                (LedgerThread::spawn_observed(ledger, observer, sink)?, None)
            }
            None => {
                let why = KvError::Failed(at_start.withheld.clone().unwrap_or_default());
                let doublings = daemon.runs_without_ledger.saturating_sub(1);
                let probe_every = (PROBE_FIRST * 2u32.saturating_pow(doublings)).min(PROBE_MOST);
                let withheld = Withheld { why, probe: self.probe(site)?, probe_every };
                let earlier = std::mem::take(&mut daemon.unwritten);
                let head = at_start.recovered.head.clone();
                (LedgerThread::spawn_withheld(withheld, earlier, head, observer)?, Some(hand_on))
            }
        };
        Ok(LedgerRuns { thread, released, durable, idle })
    }
}

fn observer(vitals: &Arc<Vitals>) -> Observer<impl FnMut(&Event) + Send + 'static + use<>> {
    let (vitals, append) = (vitals.clone(), vitals.append.clone());
    let event = move |event: &Event| {
        vitals.event(event);
        event_line::log(event);
    };
    Observer { event, clock: clocks::mono, append }
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

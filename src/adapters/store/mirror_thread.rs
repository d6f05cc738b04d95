//! The thread that owns the mirror. Owns the only queue to it, and bringing its store back; must never make
//! a sender wait. Invariant: what it reports as applied is durable, and a store that fails or is damaged
//! takes nothing away that is already enforced.
//!
//! ```text
//! recv (or the mirror's deadline) -> handle -> outputs, in order
//!                                      |failed or panicked|
//!                                      v                  v
//!              reopen in place -> else set aside and fill from the second copy, with back-off
//! ```
//!
//! When the queue is full the sender gets its input back and drops it: the mirror asks the cloud again for
//! what it lacks. (A key set that comes back must be given again.)

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{OpenError, SetAside, SledKv, open::open_or_set_aside_with, second_copy::SecondCopyFiles, set_aside};
use crate::{
    domain::{permission::SetVersion, time::Now},
    gateway::{
        kv::Reopen as _,
        mirror::{
            self, Answer, Applied, Attest, Copy, Mirror, MirrorConfig, MirrorInput, MirrorOpened, MirrorOutput,
            OverlayVersion,
        },
    },
};

/// Inputs that wait while a set is compiled: two windows of chunks.
pub const QUEUE_MAX: usize = 128;

/// Outputs that wait for the cloud's loop. Full: the mirror waits.
const OUTPUTS_MAX: usize = 256;

/// An idle thread shows that it lives this often.
const TICK: Duration = Duration::from_millis(500);

const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Compiling a set yields to the doors.
const NICENESS: i32 = 5;

/// What is kept in memory of the set as it is stored: of the largest that is promised, all. A delta reads
/// whole buckets for their hashes, and each page that is not in memory costs ten times as much. A smaller set
/// takes no more than it is.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

type FileMirror = Mirror<SledKv, SecondCopyFiles>;

/// Where the mirror lies, and all that opening it takes.
#[derive(Clone)]
pub struct MirrorPlace {
    /// Directory of the store.
    pub store: PathBuf,
    /// Directory of the second copy and the anchor.
    pub copy: PathBuf,
    /// Directory of the copy of the emergency cards.
    pub emergency: PathBuf,
    pub attest: Arc<dyn Attest>,
    pub config: MirrorConfig,
}

#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Mirror(#[from] mirror::OpenError),
}

/// A mirror that has been opened and does not run yet.
pub struct OpenMirror {
    pub opened: MirrorOpened,
    /// The store could not be read and lies beside the new one.
    pub set_aside: Option<SetAside>,
    place: MirrorPlace,
    /// Both `None`: the store cannot be opened yet.
    kv: Option<SledKv>,
    mirror: Option<FileMirror>,
}

impl MirrorPlace {
    /// Opens the mirror; where its store cannot be opened for reasons that are not its own (no right, no space, a disk
    /// that answers with errors), what is in force is the second copy, and the thread goes on trying. `Err`: another
    /// process has it.
    pub fn start(&self, now: Now) -> Result<OpenMirror, MirrorError> {
        let error = match self.open(now) {
            Err(MirrorError::Store(error @ OpenError::Locked { .. })) => return Err(error.into()),
            Err(error) => error,
            open => return open,
        };
        let mut copy = SecondCopyFiles::open(&self.copy, &self.emergency);
        let opened = mirror::open_without_store(&mut copy, &*self.attest, &self.config, error.to_string());
        Ok(OpenMirror { opened, set_aside: None, place: self.clone(), kv: None, mirror: None })
    }

    /// Opens the mirror; one that is damaged is set aside and filled from the second copy.
    pub fn open(&self, now: Now) -> Result<OpenMirror, MirrorError> {
        let (kv, aside) = open_or_set_aside_with(&self.store, CACHE_BYTES, now.wall)?;
        match self.open_over(&kv, now) {
            Err(MirrorError::Mirror(mirror::OpenError::Damaged(detail))) => {
                drop(kv);
                let aside = set_aside(&self.store, &detail, now.wall)?;
                let kv = SledKv::open_with(&self.store, CACHE_BYTES)?;
                let (mirror, opened) = self.open_over(&kv, now)?;
                Ok(self.opened(opened, Some(aside), kv, mirror))
            }
            opened => {
                let (mirror, opened) = opened?;
                Ok(self.opened(opened, aside, kv, mirror))
            }
        }
    }

    fn opened(&self, opened: MirrorOpened, set_aside: Option<SetAside>, kv: SledKv, mirror: FileMirror) -> OpenMirror {
        OpenMirror { opened, set_aside, place: self.clone(), kv: Some(kv), mirror: Some(mirror) }
    }

    fn open_over(&self, kv: &SledKv, now: Now) -> Result<(FileMirror, MirrorOpened), MirrorError> {
        let copy = SecondCopyFiles::open(&self.copy, &self.emergency);
        Ok(Mirror::open(kv.clone(), copy, self.attest.clone(), self.config.clone(), now)?)
    }
}

#[derive(Clone)]
pub struct MirrorHandle {
    queue: SyncSender<Option<MirrorInput>>,
    stopping: Arc<AtomicBool>,
}

impl MirrorHandle {
    /// Gives the input back if the queue is full or the thread is stopping.
    pub fn try_send(&self, input: MirrorInput) -> Result<(), MirrorInput> {
        if self.stopping.load(SeqCst) {
            return Err(input);
        }
        match self.queue.try_send(Some(input)) {
            Err(TrySendError::Full(Some(input)) | TrySendError::Disconnected(Some(input))) => Err(input),
            _ => Ok(()),
        }
    }
}

pub struct MirrorThread {
    handle: MirrorHandle,
    progress: Arc<AtomicU64>,
    outputs: Option<mpsc::Receiver<MirrorOutput>>,
    thread: JoinHandle<()>,
}

impl MirrorThread {
    pub fn spawn(
        open: OpenMirror,
        clock: impl Fn() -> Now + Send + 'static,
    ) -> io::Result<(MirrorThread, MirrorOpened)> {
        let (sender, queue) = sync_channel(QUEUE_MAX);
        let (reports, outputs) = mpsc::channel(OUTPUTS_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            in_force: open.opened.version,
            edits_in_force: open.opened.overlay,
            place: open.place,
            kv: open.kv,
            mirror: open.mirror,
            waiting: Waiting::default(),
            queue,
            clock,
            reports,
            stopping: stopping.clone(),
            progress: progress.clone(),
        };
        let thread = thread::Builder::new().name("mirror".to_owned()).spawn(move || worker.run())?;
        let handle = MirrorHandle { queue: sender, stopping };
        Ok((MirrorThread { handle, progress, outputs: Some(outputs), thread }, open.opened))
    }

    pub fn handle(&self) -> MirrorHandle {
        self.handle.clone()
    }

    /// All that the mirror says, in order. Whoever does not read it makes the mirror wait. Once only; later
    /// receivers are empty.
    pub fn outputs(&mut self) -> mpsc::Receiver<MirrorOutput> {
        self.outputs.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Rises at least every half second while the thread lives and no single step of it hangs.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.progress.clone()
    }

    /// Ends after the step at hand; all that was applied is durable already.
    pub fn stop(mut self) {
        self.outputs = None;
        self.handle.stopping.store(true, SeqCst);
        // If the queue is full the thread is awake anyway.
        let _ = self.handle.queue.try_send(None);
        let _ = self.thread.join();
    }
}

/// What must not be lost when the store fails, or while it is down.
#[derive(Default)]
struct Waiting {
    /// The newest that was given, also the one over which the store failed: nobody gives it again.
    keys: Option<MirrorInput>,
    link_up: bool,
}

struct Worker<C> {
    place: MirrorPlace,
    /// `None` while the store is down.
    kv: Option<SledKv>,
    mirror: Option<FileMirror>,
    in_force: Option<SetVersion>,
    edits_in_force: OverlayVersion,
    waiting: Waiting,
    queue: Receiver<Option<MirrorInput>>,
    clock: C,
    reports: mpsc::Sender<MirrorOutput>,
    stopping: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
}

impl<C: Fn() -> Now> Worker<C> {
    fn run(mut self) {
        // Of this thread only, on Linux. Without the right to it nothing is lost.
        let _ = rustix::process::nice(NICENESS);
        if self.mirror.is_none() {
            self.bring_back();
        }
        while !self.stopping.load(SeqCst) {
            self.progress.fetch_add(1, SeqCst);
            let now = (self.clock)();
            let deadline = self.mirror.as_ref().and_then(Mirror::next_deadline);
            let wait = deadline.map_or(TICK, |deadline| deadline.since(now.mono).min(TICK));
            let input = match self.queue.recv_timeout(wait) {
                Ok(Some(input)) => input,
                Ok(None) => continue,
                Err(RecvTimeoutError::Timeout) => MirrorInput::Timeout,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.handle(input);
        }
    }

    fn handle(&mut self, input: MirrorInput) {
        if matches!(input, MirrorInput::Keys { .. }) {
            self.waiting.keys = Some(input.clone());
        }
        if !self.step(input) {
            self.waiting.link_up = self.mirror.take().is_some_and(|mirror| mirror.link_is_up());
            self.bring_back();
        }
    }

    /// False if the store failed over it.
    fn step(&mut self, input: MirrorInput) -> bool {
        let now = (self.clock)();
        let asked = input.asked();
        let Some(mirror) = &mut self.mirror else {
            self.unavailable(&input);
            return true;
        };
        let out = catch_unwind(AssertUnwindSafe(|| mirror.handle(now, input)));
        let failed = out.is_err() || mirror.has_failed();
        let out = out.unwrap_or_else(|_| {
            let detail = "a step of the mirror panicked; it starts anew".to_owned();
            let answer = asked.map(|ticket| MirrorOutput::Answer { ticket, answer: Answer::Unknown(detail.clone()) });
            answer.into_iter().chain([MirrorOutput::Failed { detail }]).collect()
        });
        for output in out {
            match &output {
                MirrorOutput::Applied(applied) => {
                    self.in_force = Some(applied.version);
                    self.edits_in_force = applied.overlay;
                }
                MirrorOutput::Edited(edited) => self.edits_in_force = edited.overlay,
                _ => {}
            }
            self.report(output);
        }
        !failed
    }

    /// Whoever asked while the store is down hears that at once.
    fn unavailable(&self, input: &MirrorInput) {
        if let Some(ticket) = input.asked() {
            self.report(mirror::unavailable(ticket));
        }
    }

    fn report(&self, output: MirrorOutput) {
        // Nobody reads any more when the daemon stops.
        let _ = self.reports.blocking_send(output);
    }

    fn bring_back(&mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let now = (self.clock)();
            match self.reopen(now) {
                Ok((opened, set_aside)) => {
                    tracing::info!("the permission mirror's store is back");
                    self.back(opened, set_aside);
                    let link = self.waiting.link_up.then_some(MirrorInput::LinkUp);
                    let mut missed = self.waiting.keys.clone().into_iter().chain(link);
                    if missed.all(|input| self.step(input)) {
                        return;
                    }
                    self.mirror = None;
                }
                Err(error) => tracing::error!(%error, "the permission mirror cannot be opened again"),
            }
            if !self.wait(pause) {
                return;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// In place first, which gives up the space reserve on a full disk; else from the directory on.
    fn reopen(&mut self, now: Now) -> Result<(MirrorOpened, Option<SetAside>), MirrorError> {
        if let Some(kv) = self.kv.take()
            && kv.reopen().is_ok()
        {
            match self.place.open_over(&kv, now) {
                Ok((mirror, opened)) => {
                    (self.kv, self.mirror) = (Some(kv), Some(mirror));
                    return Ok((opened, None));
                }
                Err(MirrorError::Mirror(mirror::OpenError::Damaged(_))) => {}
                Err(error) => {
                    self.kv = Some(kv);
                    return Err(error);
                }
            }
        }
        let open = self.place.open(now)?;
        (self.kv, self.mirror) = (open.kv, open.mirror);
        Ok((open.opened, open.set_aside))
    }

    fn back(&mut self, opened: MirrorOpened, set_aside: Option<SetAside>) {
        let set_aside = set_aside.map(|aside| (aside.moved_to.display().to_string(), aside.detail));
        self.report(MirrorOutput::Restored { set_aside, notes: opened.notes });
        let spare = opened.spare_damaged.map(|detail| (Copy::EmergencyCards, detail));
        for (copy, detail) in opened.copies_failed.into_iter().chain(spare) {
            self.report(MirrorOutput::CopyFailed { copy, detail });
        }
        if opened.spare_mended {
            self.report(MirrorOutput::CopyRestored { copy: Copy::EmergencyCards });
        }
        if let Some(through) = opened.edits_lost {
            self.report(MirrorOutput::EditsLost { through });
        }
        let mark = |version: SetVersion| (version.epoch, version.generation);
        // Durable before the failure, but not reported then.
        if let Some(version) = opened.version.filter(|_| opened.permissions.is_present())
            && self.in_force.is_none_or(|in_force| mark(version) > mark(in_force))
        {
            self.in_force = Some(version);
            self.edits_in_force = opened.overlay;
            self.report(MirrorOutput::Applied(Applied {
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
        } else if opened.permissions.is_present()
            && opened.version == self.in_force
            && opened.overlay != self.edits_in_force
        {
            self.edits_in_force = opened.overlay;
            let (permissions, overlay, edits) = (opened.permissions, opened.overlay, opened.edits);
            self.report(MirrorOutput::Resumed { permissions, overlay, edits });
        }
    }

    /// In steps, so that the watchdog sees that this thread waits and does not hang. Documents are let go
    /// meanwhile: the mirror asks again. False when the daemon stops.
    fn wait(&mut self, pause: Duration) -> bool {
        let mut left = pause;
        while !left.is_zero() {
            self.progress.fetch_add(1, SeqCst);
            if self.stopping.load(SeqCst) {
                return false;
            }
            let step = left.min(TICK);
            thread::sleep(step);
            while let Ok(input) = self.queue.try_recv() {
                match input {
                    Some(keys @ MirrorInput::Keys { .. }) => self.waiting.keys = Some(keys),
                    Some(MirrorInput::LinkUp) => self.waiting.link_up = true,
                    Some(MirrorInput::LinkDown) => self.waiting.link_up = false,
                    Some(input) => self.unavailable(&input),
                    None => {}
                }
            }
            left -= step;
        }
        true
    }
}

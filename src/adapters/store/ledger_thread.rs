//! The thread that owns the ledger. Owns the only queue to it; must never make a sender wait, and never let
//! an effect out before its writes are durable. Invariant: commits are written in the order they were
//! queued, each whole, and their effects come out in that order.
//!
//! ```text
//! recv -> drain what waits -> one append -> one sync -> publish head, release effects
//!                                 |failed|
//!                                 v      v
//!                       reopen and resume, with back-off, the group kept in memory
//! ```
//!
//! When the queue is full (the disk has failed or is far too slow), the sender gets its commit back and
//! counts the loss; a later `log.gap` event tells of it.

mod withheld;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use tokio::sync::watch;

pub use withheld::{Unwritten, Withheld};

use crate::{
    domain::{event::Event, time::Mono},
    gateway::{
        kv::{Kv, KvError, Reopen},
        ledger::{Ledger, LedgerError},
        step::{Commit, Durable, Effect, Held, LedgerWrite},
        vitals::Latency,
    },
    wire::event_log::Head,
};

/// Commits that wait while the disk is busy. Full: the sender gets its commit back.
pub const QUEUE_MAX: usize = 4096;

/// Commits in one group: bounds the memory of a batch and the wait of the first in it.
const GROUP_MAX: usize = 512;

/// How long a group that nobody waits for may gather.
const GATHER: Duration = Duration::from_millis(1);

/// An idle thread shows that it lives this often.
const TICK: Duration = Duration::from_millis(500);

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Attempts to bring a failed store back when the daemon wants to stop.
const STOP_ATTEMPTS_MAX: u32 = 3;

#[derive(Clone, Debug)]
pub enum StoreHealth {
    Healthy,
    /// Nothing becomes durable; commits pile up in the queue.
    Failing {
        error: KvError,
        attempts: u32,
    },
    /// It could not be opened when the run began, and can be now: for a run that begins with what it holds.
    Openable,
}

impl StoreHealth {
    pub fn is_healthy(&self) -> bool {
        matches!(self, StoreHealth::Healthy)
    }
}

/// How the thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// All was written, and the next start will know.
    pub clean: bool,
    /// Commits that were accepted and did not become durable.
    pub commits_lost: usize,
}

/// Where commits go in; cheap to clone, never blocks.
#[derive(Clone)]
pub struct LedgerHandle {
    queue: SyncSender<Message>,
    stopping: Arc<AtomicBool>,
}

impl LedgerHandle {
    /// Gives the commit back if the queue is full or the thread is stopping.
    pub fn try_commit(&self, commit: Commit) -> Result<(), Commit> {
        if commit.is_empty() {
            return Ok(());
        }
        if self.stopping.load(SeqCst) {
            return Err(commit);
        }
        match self.queue.try_send(Message::Commit(commit)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(Message::Commit(commit)) | TrySendError::Disconnected(Message::Commit(commit))) => {
                Err(commit)
            }
            Err(_) => Ok(()),
        }
    }
}

enum Message {
    Commit(Commit),
    /// Look at `stopping`.
    Wake,
}

/// Who watches the ledger at work.
pub struct Observer<O> {
    /// Sees each event before it is written: the journal, which is thus kept off the threads of doors and cloud.
    pub event: O,
    pub clock: fn() -> Mono,
    /// How long each group took to become durable.
    pub append: Arc<Latency>,
}

pub struct LedgerThread {
    handle: LedgerHandle,
    progress: Arc<AtomicU64>,
    head: watch::Receiver<Head>,
    health: watch::Receiver<StoreHealth>,
    thread: JoinHandle<(Stopped, Unwritten)>,
}

impl LedgerThread {
    /// `sink` gets the effects of each group once it is durable, in order; it must not block for long.
    pub fn spawn<K>(ledger: Ledger<K>, sink: impl FnMut(Vec<Effect>) + Send + 'static) -> io::Result<LedgerThread>
    where
        K: Kv + Reopen + Send + 'static,
    {
        let observer = Observer { event: |_: &Event| {}, clock: || Mono::ZERO, append: Arc::default() };
        LedgerThread::spawn_observed(ledger, observer, sink)
    }

    /// The same, with somebody who watches.
    pub fn spawn_observed<K, O>(
        ledger: Ledger<K>,
        observer: Observer<O>,
        sink: impl FnMut(Vec<Effect>) + Send + 'static,
    ) -> io::Result<LedgerThread>
    where
        K: Kv + Reopen + Send + 'static,
        O: FnMut(&Event) + Send + 'static,
    {
        let (sender, queue) = sync_channel(QUEUE_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(AtomicU64::new(0));
        let (head_sender, head) = watch::channel(ledger.head().clone());
        let (health_sender, health) = watch::channel(StoreHealth::Healthy);
        let worker = Worker {
            ledger,
            queue,
            observer,
            sink,
            stopping: stopping.clone(),
            progress: progress.clone(),
            head: head_sender,
            health: health_sender,
        };
        let thread =
            thread::Builder::new().name("ledger".to_owned()).spawn(move || (worker.run(), Unwritten::default()))?;
        Ok(LedgerThread { handle: LedgerHandle { queue: sender, stopping }, progress, head, health, thread })
    }

    pub fn handle(&self) -> LedgerHandle {
        self.handle.clone()
    }

    /// The newest durable event.
    pub fn head(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.health.clone()
    }

    /// Rises at least every half second while the thread lives and no single disk operation hangs.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.progress.clone()
    }

    /// Writes what waits, marks the orderly stop and ends. Stop those who commit first: what they queue from
    /// here on comes back to them.
    pub fn stop(self) -> Stopped {
        self.stop_unwritten().0
    }

    /// The same; beside it, of a thread without a store, what is to be written by the run that has it again.
    pub fn stop_unwritten(self) -> (Stopped, Unwritten) {
        self.handle.stopping.store(true, SeqCst);
        // If the queue is full the thread is awake anyway.
        let _ = self.handle.queue.try_send(Message::Wake);
        let thread: &Thread = self.thread.thread();
        thread.unpark();
        self.thread.join().unwrap_or((Stopped { clean: false, commits_lost: 0 }, Unwritten::default()))
    }
}

struct Worker<K, O, S> {
    ledger: Ledger<K>,
    queue: Receiver<Message>,
    observer: Observer<O>,
    sink: S,
    stopping: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
    head: watch::Sender<Head>,
    health: watch::Sender<StoreHealth>,
}

/// The daemon stops while the store is down.
struct GivenUp {
    commits: usize,
}

impl<K: Kv + Reopen, O: FnMut(&Event), S: FnMut(Vec<Effect>)> Worker<K, O, S> {
    fn run(mut self) -> Stopped {
        loop {
            self.progress();
            let waited = match self.queue.recv_timeout(TICK) {
                Ok(message) => self.drain(message),
                Err(RecvTimeoutError::Timeout) if !self.stopping() => continue,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            };
            if let Err(GivenUp { commits }) = self.write(waited) {
                let waiting = self.queue.try_iter().filter(|m| matches!(m, Message::Commit(_))).count();
                return Stopped { clean: false, commits_lost: commits + waiting };
            }
            if self.stopping() {
                match self.queue.try_recv() {
                    Ok(message) => {
                        let rest = self.drain(message);
                        if let Err(GivenUp { commits }) = self.write(rest) {
                            return Stopped { clean: false, commits_lost: commits };
                        }
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
        }
        let clean = self.ledger.close_clean();
        if let Err(error) = &clean {
            tracing::error!(%error, "the ledger could not be closed in order");
        }
        Stopped { clean: clean.is_ok(), commits_lost: 0 }
    }

    fn stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    fn progress(&self) {
        self.progress.fetch_add(1, SeqCst);
    }

    /// All that waits, up to a bound. If nobody waits for a report in it, a moment later: what a command
    /// or a card writes comes in several commits, and its relay is to have the processor first.
    fn drain(&self, first: Message) -> Vec<Commit> {
        let mut group = Vec::new();
        self.take_waiting(Some(first), &mut group);
        if !self.stopping() && !group.iter().any(|commit| commit.held.is_urgent()) {
            thread::sleep(GATHER);
            self.take_waiting(self.queue.try_recv().ok(), &mut group);
        }
        group
    }

    fn take_waiting(&self, mut next: Option<Message>, group: &mut Vec<Commit>) {
        while let Some(message) = next {
            if let Message::Commit(commit) = message {
                group.push(commit);
            }
            next = if group.len() < GROUP_MAX { self.queue.try_recv().ok() } else { None };
        }
    }

    fn write(&mut self, group: Vec<Commit>) -> Result<(), GivenUp> {
        if group.is_empty() {
            return Ok(());
        }
        let commits = group.len();
        let mut writes = Vec::new();
        let mut held: Vec<Held> = Vec::with_capacity(commits);
        for commit in group {
            writes.extend(commit.writes);
            held.push(commit.held);
        }
        for write in &writes {
            if let LedgerWrite::Event(event) = write {
                (self.observer.event)(event);
            }
        }
        let began = (self.observer.clock)();
        let appended = match self.ledger.append(writes) {
            Err(LedgerError::Encode(error)) => {
                // No type that gets here can fail to encode. Its effects must not come out all the same.
                tracing::error!(%error, commits, "records that cannot be written were dropped");
                return Ok(());
            }
            other => other,
        };
        let durable = match appended.and_then(|()| self.ledger.sync()) {
            Ok(durable) => durable,
            Err(error) => self.bring_back(error).ok_or(GivenUp { commits })?,
        };
        self.observer.append.record((self.observer.clock)().since(began));
        self.head.send_if_modified(|head| {
            let changed = head != self.ledger.head();
            head.clone_from(self.ledger.head());
            changed
        });
        let effects: Vec<Effect> = held.into_iter().flat_map(|held| held.release(&durable)).collect();
        if !effects.is_empty() {
            (self.sink)(effects);
        }
        Ok(())
    }

    /// Until the store is back and holds what was appended. `None` if the daemon stops before that.
    fn bring_back(&mut self, error: LedgerError) -> Option<Durable> {
        let mut pause = RETRY_MIN;
        let mut error = error;
        let mut attempts_stopping = 0;
        for attempts in 0u32.. {
            if attempts == 0 {
                tracing::error!(%error, "the ledger's store has failed");
            }
            let kv_error = match error {
                LedgerError::Store(error) => error,
                other => KvError::Failed(other.to_string()),
            };
            self.health.send_replace(StoreHealth::Failing { error: kv_error, attempts });
            if attempts > 0 {
                self.wait(pause);
                pause = (pause * 2).min(RETRY_MAX);
            }
            if self.stopping() {
                attempts_stopping += 1;
                if attempts_stopping > STOP_ATTEMPTS_MAX {
                    return None;
                }
            }
            match self.ledger.reopen() {
                Ok(durable) => {
                    tracing::info!(attempts = attempts + 1, "the ledger's store is back");
                    self.health.send_replace(StoreHealth::Healthy);
                    return Some(durable);
                }
                Err(failed) => error = failed,
            }
        }
        None
    }

    /// In steps, so that the watchdog sees that this thread waits and does not hang. Stopping cuts it short.
    fn wait(&self, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() {
            self.progress();
            let step = left.min(TICK);
            if self.stopping() {
                // A last moment for a store that is busy rather than gone.
                thread::sleep(step.min(RETRY_MIN));
                return;
            }
            thread::park_timeout(step);
            left = left.saturating_sub(step);
        }
    }
}

//! The ledger's thread while its store cannot be opened. Owns what is committed meanwhile, and the attempts to open
//! the store; must never say that anything is durable, nor hold up whoever commits. Invariant: what is kept is in
//! the order in which it came, of a lasting value the newest is kept, and events that are given up are counted.
//!
//! ```text
//! recv -> journal -> kept in memory          every so often: can it be opened? -> Openable, once
//! stop -> Unwritten, for the run that begins with the store
//! ```

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{LedgerHandle, LedgerThread, Message, Observer, QUEUE_MAX, Stopped, StoreHealth, TICK};
use crate::{
    domain::{
        event::Event,
        ids::Id,
        kept::{Kept, KeptKey},
    },
    gateway::{
        kv::KvError,
        step::{Commit, LastingKey, LedgerWrite},
    },
    wire::event_log::Head,
};

/// Commits that are kept; past it the oldest is given up.
const KEPT_MAX: usize = 16 * 1024;

/// What a run did without the store.
#[derive(Debug, Default)]
pub struct Unwritten {
    commits: VecDeque<Vec<LedgerWrite>>,
    /// Of commits that were given up, what must not be lost.
    lasting: Vec<LedgerWrite>,
    events_lost: u64,
}

/// Why there is no store, and how it is found that there is one again.
pub struct Withheld<P> {
    pub why: KvError,
    /// Whether it can be opened and written now.
    pub probe: P,
    pub probe_every: Duration,
}

impl Unwritten {
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.lasting.is_empty() && self.events_lost == 0
    }

    pub fn events_lost(&self) -> u64 {
        self.events_lost
    }

    /// All that is to be written, in order; `uses` says how often an emergency card was used before.
    pub fn writes(&self, uses: impl Fn(&Id) -> u32) -> Vec<LedgerWrite> {
        let counted = |write: &LedgerWrite| match write {
            // The run counted from 0, for it did not know.
            LedgerWrite::Kept(Kept::EmergencyUses { emergency_card, uses: here }) => {
                let uses = uses(emergency_card).saturating_add(*here);
                LedgerWrite::Kept(Kept::EmergencyUses { emergency_card: emergency_card.clone(), uses })
            }
            other => other.clone(),
        };
        self.lasting.iter().chain(self.commits.iter().flatten()).map(counted).collect()
    }

    /// The newest event of the run, by which a start finds what is untold.
    pub fn newest(&self) -> Option<&Event> {
        let mut writes = self.commits.iter().rev().flat_map(|writes| writes.iter().rev());
        writes.find_map(|write| if let LedgerWrite::Event(event) = write { Some(event) } else { None })
    }

    fn push(&mut self, mut writes: Vec<LedgerWrite>) {
        writes.retain(is_to_be_written);
        if !writes.is_empty() {
            self.commits.push_back(writes);
        }
        while self.commits.len() > KEPT_MAX {
            for write in self.commits.pop_front().unwrap_or_default() {
                self.events_lost += u64::from(matches!(write, LedgerWrite::Event(_)));
                let Some(key) = write.lasting() else { continue };
                self.lasting.retain(|older: &LedgerWrite| older.lasting().as_ref() != Some(&key));
                self.lasting.push(write);
            }
        }
    }
}

/// A run that knows nothing of the ledger's own marks must not move them: floors, acknowledgements, and how far edits
/// were told.
fn is_to_be_written(write: &LedgerWrite) -> bool {
    match write {
        LedgerWrite::Event(_) | LedgerWrite::Command(_) | LedgerWrite::Door { .. } | LedgerWrite::Beat { .. } => true,
        LedgerWrite::Kept(_) | LedgerWrite::Unkept(_) => {
            write.lasting().is_some_and(|key| key != LastingKey::Kept(KeptKey::edits_told()))
        }
        LedgerWrite::Forget { .. } | LedgerWrite::Acked { .. } | LedgerWrite::ClockFloor(_) => false,
    }
}

struct Worker<O, P> {
    queue: Receiver<Message>,
    observer: O,
    withheld: Withheld<P>,
    unwritten: Unwritten,
    stopping: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
    health: watch::Sender<StoreHealth>,
}

impl LedgerThread {
    /// Without a store. What is committed is kept for [`LedgerThread::stop_unwritten`], after what an earlier run left;
    /// its effects never come out.
    pub fn spawn_withheld<O, P>(
        withheld: Withheld<P>,
        earlier: Unwritten,
        head: Head,
        observer: Observer<O>,
    ) -> io::Result<LedgerThread>
    where
        O: FnMut(&Event) + Send + 'static,
        P: FnMut() -> Result<(), KvError> + Send + 'static,
    {
        let (sender, queue) = sync_channel(QUEUE_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(AtomicU64::new(0));
        let (_, head) = watch::channel(head);
        let failing = StoreHealth::Failing { error: withheld.why.clone(), attempts: 0 };
        let (health_sender, health) = watch::channel(failing);
        let worker = Worker {
            queue,
            observer: observer.event,
            withheld,
            unwritten: earlier,
            stopping: stopping.clone(),
            progress: progress.clone(),
            health: health_sender,
        };
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || worker.run())?;
        Ok(LedgerThread { handle: LedgerHandle { queue: sender, stopping }, progress, head, health, thread })
    }
}

impl<O: FnMut(&Event), P: FnMut() -> Result<(), KvError>> Worker<O, P> {
    fn run(mut self) -> (Stopped, Unwritten) {
        let mut probe_at = Some(Instant::now() + self.withheld.probe_every);
        let mut attempts = 0;
        loop {
            self.progress.fetch_add(1, SeqCst);
            let wait = probe_at.map_or(TICK, |at| at.saturating_duration_since(Instant::now()).min(TICK));
            match self.queue.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.stopping.load(SeqCst) {
                while let Ok(message) = self.queue.try_recv() {
                    self.take(message);
                }
                break;
            }
            if probe_at.is_some_and(|at| at <= Instant::now()) {
                attempts += 1;
                probe_at = self.probe(attempts);
            }
        }
        (Stopped { clean: false, commits_lost: 0 }, self.unwritten)
    }

    /// When to try again; `None`: it can be opened, and the run ends for it.
    fn probe(&mut self, attempts: u32) -> Option<Instant> {
        match (self.withheld.probe)() {
            Ok(()) => {
                self.health.send_replace(StoreHealth::Openable);
                None
            }
            Err(error) => {
                // That it cannot be opened was told when the run began; whoever asks hears the newest reason.
                self.health.send_if_modified(|health| {
                    *health = StoreHealth::Failing { error, attempts };
                    false
                });
                Some(Instant::now() + self.withheld.probe_every)
            }
        }
    }

    fn take(&mut self, message: Message) {
        let Message::Commit(Commit { writes, .. }) = message else { return };
        for write in &writes {
            if let LedgerWrite::Event(event) = write {
                (self.observer)(event);
            }
        }
        self.unwritten.push(writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::EventBody,
        time::{ClockTrust, Mono, Wall},
    };

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn event() -> LedgerWrite {
        let (occurred_at, clock, body) = (Wall::EPOCH, ClockTrust::Trusted, EventBody::NodeStopping {});
        LedgerWrite::Event(Event { occurred_at, clock, epoch: 1, generation: 7, body })
    }

    fn used(uses: u32) -> LedgerWrite {
        LedgerWrite::Kept(Kept::EmergencyUses { emergency_card: id("red"), uses })
    }

    #[test]
    fn what_a_run_without_a_store_did_is_kept_but_for_the_marks_it_cannot_know() {
        let mut unwritten = Unwritten::default();
        assert!(unwritten.is_empty());
        unwritten.push(vec![event(), used(1)]);
        unwritten.push(vec![
            LedgerWrite::ClockFloor(Wall::EPOCH),
            LedgerWrite::Forget { commands: Vec::new(), floor: Wall::EPOCH },
            LedgerWrite::Acked { through: 9 },
            LedgerWrite::Kept(Kept::EditsTold { revision: 3 }),
        ]);
        unwritten.push(vec![used(2)]);
        assert_eq!(unwritten.writes(|_| 5), [event(), used(6), used(7)], "counted on from what the ledger knows");
        assert!(unwritten.newest().is_some());
    }

    #[test]
    fn past_its_bound_events_are_given_up_and_counted_and_the_newest_of_what_lasts_stays() {
        let mut unwritten = Unwritten::default();
        for uses in 1..=3 {
            unwritten.push(vec![used(uses), event()]);
        }
        for _ in 0..KEPT_MAX {
            unwritten.push(vec![event()]);
        }
        assert_eq!((unwritten.commits.len(), unwritten.events_lost()), (KEPT_MAX, 3));
        let writes = unwritten.writes(|_| 0);
        assert_eq!((writes.len(), writes.first()), (1 + KEPT_MAX, Some(&used(3))));
    }

    #[test]
    fn the_thread_tells_once_that_the_store_can_be_opened_and_hands_out_what_it_kept() {
        let mut probes = 0;
        let probe = move || {
            probes += 1;
            if probes < 3 { Err(KvError::Full) } else { Ok(()) }
        };
        let withheld = Withheld { why: KvError::Full, probe, probe_every: Duration::from_millis(1) };
        let observer = Observer { event: |_: &Event| {}, clock: || Mono::ZERO, append: Arc::default() };
        let mut earlier = Unwritten::default();
        earlier.push(vec![used(1)]);
        let head = Head::begin(id("none"));
        let thread = LedgerThread::spawn_withheld(withheld, earlier, head, observer).unwrap();
        let mut health = thread.health();
        let handle = thread.handle();
        let commit = || Commit { writes: vec![event()], ..Commit::default() };
        handle.try_commit(commit()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(health.wait_for(|health| matches!(health, StoreHealth::Openable))).unwrap();
        handle.try_commit(commit()).unwrap();
        let (stopped, unwritten) = thread.stop_unwritten();
        assert!(!stopped.clean);
        assert_eq!(unwritten.writes(|_| 0), [used(1), event(), event()]);
    }
}

//! A loop's way to the ledger: never waits, keeps what the ledger's queue had no room for, and owns up
//! to what had to be given up. Bounded; when full the oldest commit is given up, its events are counted
//! and a `log.gap` event tells of them as soon as there is room again. Invariant: the last durable state of
//! a door is never given up, so that no later start restores one that ended meanwhile.

use std::collections::VecDeque;

use crate::{
    adapters::store::ledger_thread::LedgerHandle,
    domain::{
        event::{Event, EventBody},
        order::OrderReport,
        time::Now,
    },
    gateway::step::{Commit, LedgerWrite},
    runtime::event_line,
};

const WAITING_MAX: usize = 1024;

pub struct LedgerQueue {
    ledger: LedgerHandle,
    waiting: VecDeque<Commit>,
    events_lost: u64,
    /// Epoch and generation of the newest event, for the one that tells of lost ones.
    in_force: (u64, u64),
}

impl LedgerQueue {
    pub fn new(ledger: LedgerHandle) -> LedgerQueue {
        LedgerQueue { ledger, waiting: VecDeque::new(), events_lost: 0, in_force: (0, 0) }
    }

    /// Commits that the ledger had no room for.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// [`LedgerQueue::keep`] and [`LedgerQueue::settle`].
    #[must_use]
    pub fn commit(&mut self, now: Now, commit: Commit) -> Vec<OrderReport> {
        self.keep(commit);
        self.settle(now)
    }

    /// From here on it is not lost with the loop; the ledger is not woken yet.
    pub fn keep(&mut self, commit: Commit) {
        for write in &commit.writes {
            if let LedgerWrite::Event(event) = write {
                self.in_force = (event.epoch, event.generation);
            }
        }
        if !commit.is_empty() {
            self.waiting.push_back(commit);
        }
    }

    /// Hands on what waits. Returns the reports that waited for what was given up: nobody will ever know more.
    #[must_use]
    pub fn settle(&mut self, now: Now) -> Vec<OrderReport> {
        let mut given_up = Vec::new();
        self.hand_on(now);
        while self.waiting.len() > WAITING_MAX {
            if let Some(lost) = self.waiting.pop_front() {
                for write in &lost.writes {
                    if let LedgerWrite::Event(event) = write {
                        // The journal is then the only place that tells of it.
                        event_line::log(event);
                        self.events_lost += 1;
                    }
                }
                self.pass_on_lasting(lost.writes);
                given_up.extend(lost.held.give_up("the ledger did not take it: is the disk full or failing?"));
            }
        }
        given_up
    }

    /// What must not be lost moves to the next commit, unless it or a write behind them has a newer one.
    fn pass_on_lasting(&mut self, lost: Vec<LedgerWrite>) {
        let Some(next) = self.waiting.front_mut() else { return };
        for write in lost.into_iter().rev() {
            let Some(key) = write.lasting() else { continue };
            if !next.writes.iter().any(|other| other.lasting().as_ref() == Some(&key)) {
                next.writes.insert(0, write);
            }
        }
    }

    /// Tries again what waits.
    pub fn hand_on(&mut self, now: Now) {
        while let Some(commit) = self.waiting.pop_front() {
            if let Err(refused) = self.ledger.try_commit(commit) {
                self.waiting.push_front(refused);
                return;
            }
        }
        if self.events_lost > 0 {
            let detail = "the ledger did not take events in time".to_owned();
            let body = EventBody::LogGap { lost: Some(self.events_lost), detail };
            let mut commit = Commit::default();
            let (epoch, generation) = self.in_force;
            commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
            if self.ledger.try_commit(commit).is_ok() {
                self.events_lost = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapters::store::{SledKv, ledger_thread::LedgerThread},
        domain::{
            door::{DurableDoor, HeldBy},
            event::Actor,
            ids::Id,
            time::{ClockTrust, Mono, Wall},
        },
        gateway::ledger::{Ledger, LedgerLimits},
    };

    const NOW: Now = Now { mono: Mono::ZERO, wall: Wall::EPOCH, trust: ClockTrust::Trusted };

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn door(name: &str, open: bool) -> Commit {
        let manual_open =
            open.then(|| HeldBy { by: Actor::Operator { operator: id("ada"), jti: id("j1") }, since: Wall::EPOCH });
        let state = DurableDoor { manual_open, ..DurableDoor::default() };
        Commit { writes: vec![LedgerWrite::Door { door: id(name), state }], ..Commit::default() }
    }

    #[test]
    fn what_is_given_up_takes_events_with_it_but_never_the_last_state_of_a_door() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledKv::open(&directory.path().join("ledger.sled")).unwrap();
        let (ledger, _) = Ledger::open(store, id("log"), LedgerLimits { events_max: 100 }).unwrap();
        let ledger = LedgerThread::spawn(ledger, drop).unwrap();
        // A thread that is stopping takes nothing: as good as a disk that failed.
        let handle = ledger.handle();
        let _ = ledger.stop();
        let mut queue = LedgerQueue::new(handle);
        for commit in [door("front", true), door("front", false), door("back", true)] {
            assert!(queue.commit(NOW, commit).is_empty());
        }
        for _ in 0..WAITING_MAX {
            let mut commit = Commit::default();
            let (epoch, generation, body) = (1, 7, EventBody::NodeStopping {});
            commit.event(Event { occurred_at: NOW.wall, clock: NOW.trust, epoch, generation, body });
            let _ = queue.commit(NOW, commit);
        }
        assert_eq!(queue.waiting.len(), WAITING_MAX);
        assert_eq!(queue.events_lost, 0);
        let first = queue.waiting.front().unwrap();
        let doors: Vec<_> = first.writes.iter().filter(|w| matches!(w, LedgerWrite::Door { .. })).cloned().collect();
        assert_eq!(doors, [door("front", false).writes, door("back", true).writes].concat());
    }
}

//! A loop's way to the ledger: never waits, keeps what the ledger's queue had no room for, and owns up
//! to what had to be given up. Bounded; when full the oldest commit is given up, its events are counted
//! and a `log.gap` event tells of them as soon as there is room again.

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
}

impl LedgerQueue {
    pub fn new(ledger: LedgerHandle) -> LedgerQueue {
        LedgerQueue { ledger, waiting: VecDeque::new(), events_lost: 0 }
    }

    /// Returns the reports that waited for what was given up: nobody will ever know more.
    #[must_use]
    pub fn commit(&mut self, now: Now, commit: Commit) -> Vec<OrderReport> {
        let mut given_up = Vec::new();
        for write in &commit.writes {
            if let LedgerWrite::Event(event) = write {
                event_line::log(event);
            }
        }
        if !commit.is_empty() {
            self.waiting.push_back(commit);
        }
        self.hand_on(now);
        while self.waiting.len() > WAITING_MAX {
            if let Some(lost) = self.waiting.pop_front() {
                self.events_lost +=
                    lost.writes.iter().filter(|write| matches!(write, LedgerWrite::Event(_))).count() as u64;
                given_up.extend(lost.held.give_up("the ledger did not take it: is the disk full or failing?"));
            }
        }
        given_up
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
            commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch: 0, generation: 0, body });
            if self.ledger.try_commit(commit).is_ok() {
                self.events_lost = 0;
            }
        }
    }
}

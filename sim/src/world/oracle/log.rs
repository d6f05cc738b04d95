//! The events, from the machine that makes one to the cloud that stores it. Owns a log of its own, without
//! hashes; must never take a number from the daemon's word. Invariant: the cloud's log is a beginning of it.

use std::collections::VecDeque;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchd::{
    domain::{event::Event, ids::Id, time::Mono},
    gateway::step::{Commit, LedgerWrite},
    wire::{event_log::Head, outcome::Outcome},
};
use serde_json::Value;

use super::{
    Invariant, Oracle, Violation,
    scope::{Own, shows},
};
use crate::{cloud::Cloud, world::site::Site};

/// Between the disk and the session.
const NOTICE_TAKES_MS: u64 = 5;

#[derive(Default)]
pub struct LogWatch {
    log_id: Option<Id>,
    /// The event with number `n` is at `n - 1`.
    events: Vec<Event>,
    durable: u64,
    /// When it became so.
    durable_at: VecDeque<(Mono, u64)>,
    /// Made and not yet in the log.
    owed_doors: VecDeque<Event>,
    owed_uplink: VecDeque<Event>,
    /// Durable when the connection began.
    before_connection: u64,
    sent: u64,
    acked: u64,
    /// Of the cloud's events, so many have been compared.
    compared: usize,
}

impl LogWatch {
    pub fn durable_events(&self) -> u64 {
        self.durable
    }

    pub fn event(&self, seq: u64) -> Option<&Event> {
        self.events.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    /// Whether somebody who sees no more than these places is shown it.
    pub fn is_shown(&self, site: &Site, own: &Own, seq: u64) -> bool {
        let event = || self.event(seq).and_then(|event| serde_json::to_value(event).ok());
        own.everything || event().is_some_and(|event| shows(site, own, &event))
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// Whether this is what the log says under this number, but for what seals it.
    pub fn is_event(&self, seq: u64, json: &Value) -> bool {
        let mut found = json.as_object().cloned().unwrap_or_default();
        for member in ["seq", "prev", "replayed"] {
            found.remove(member);
        }
        let expected = self.event(seq).and_then(|event| serde_json::to_value(event).ok());
        expected == Some(Value::Object(found))
    }

    pub fn owe_doors<'a>(&mut self, events: impl Iterator<Item = &'a Event>) {
        self.owed_doors.extend(events.cloned());
    }

    pub fn died(&mut self) {
        self.owed_doors.clear();
        self.owed_uplink.clear();
    }

    pub fn recovered(&mut self, head: &Head, acked: u64, violation: &mut Option<Violation>) {
        let known = self.events.len() as u64;
        let same = self.log_id.as_ref().is_none_or(|id| *id == head.log_id);
        if head.seq < self.durable || head.seq > known || (!same && known > 0) {
            let what = format!(
                "the log had {known} events, {} of them durable, and after the start its head is {} of {}",
                self.durable, head.seq, head.log_id
            );
            violation.get_or_insert(Violation::new(Invariant::Durable, what));
        }
        self.log_id = Some(head.log_id.clone());
        self.events.truncate(usize::try_from(head.seq).unwrap_or(usize::MAX));
        // An acknowledgement that was not durable is heard again.
        self.acked = acked;
        self.durable = head.seq;
        self.durable_at.clear();
        self.durable_at.push_back((Mono::ZERO, head.seq));
    }
}

impl Oracle {
    pub fn uplink_commit(&mut self, commit: &Commit) {
        for write in &commit.writes {
            match write {
                LedgerWrite::Event(event) => self.log.owed_uplink.push_back(event.clone()),
                LedgerWrite::Forget { commands, .. } => {
                    self.dropped.extend(commands.iter().map(|key| key.jti.clone()));
                }
                LedgerWrite::Acked { through } => self.log.acked = self.log.acked.max(*through),
                _ => {}
            }
        }
    }

    /// The ledger gives numbers.
    pub fn appended(&mut self, _now: Mono, writes: &[LedgerWrite]) {
        for write in writes {
            let LedgerWrite::Event(event) = write else { continue };
            if self.log.owed_doors.front() == Some(event) {
                self.log.owed_doors.pop_front();
            } else if self.log.owed_uplink.front() == Some(event) {
                self.log.owed_uplink.pop_front();
            } else {
                let due = self.log.owed_doors.front().or(self.log.owed_uplink.front()).map(|event| &event.body);
                let what = format!("{:?} is written, and what is due is {due:?}", event.body);
                return self.fail(Invariant::OneEventEach, what);
            }
            self.log.events.push(event.clone());
        }
    }

    pub fn durable(&mut self, now: Mono, head: u64) {
        if head != self.log.events.len() as u64 {
            let what = format!("{} events were written, and the head is {head}", self.log.events.len());
            self.fail(Invariant::LogWithoutGap, what);
        }
        self.log.durable = head;
        self.log.durable_at.push_back((now, head));
        if self.log.durable_at.len() > 256 {
            self.log.durable_at.pop_front();
        }
    }

    pub fn connected(&mut self, now: Mono) {
        let known = now.as_nanos().saturating_sub(NOTICE_TAKES_MS * 1_000_000);
        let before = self.log.durable_at.iter().rev().find(|(at, _)| at.as_nanos() <= known);
        self.log.before_connection = before.map_or(0, |(_, seq)| *seq);
        self.log.sent = self.log.acked;
        self.live.connected();
    }

    /// One stage of a command goes to the broker.
    pub fn answered(&mut self, now: Mono, payload: &[u8]) {
        let outcome = payload_of(payload).and_then(|mut message| message.get_mut("outcome").map(Value::take));
        if let Some(outcome) = outcome.and_then(|outcome| serde_json::from_value::<Outcome>(outcome).ok()) {
            self.live.outcome(self.run, now, &outcome);
            self.forgiven.outcome(&outcome.jti, outcome.stage);
            self.outcome(&outcome.jti, outcome.stage);
        }
    }

    /// A batch of events goes to the broker.
    pub fn published(&mut self, payload: &[u8]) {
        let Some(message) = payload_of(payload) else { return };
        let Some(events) = message.get("events").and_then(Value::as_array) else { return };
        self.log.sent = self.log.sent.max(self.log.acked);
        let mut next = None;
        for event in events {
            let seq = event.get("seq").and_then(Value::as_u64).unwrap_or(0);
            let first_fits = seq > self.log.acked && seq <= self.log.sent + 1;
            if !next.map_or(first_fits, |next| next == seq) {
                let (sent, acked) = (self.log.sent, self.log.acked);
                let what = format!("event {seq} is sent where {next:?} was due (sent {sent}, acknowledged {acked})");
                return self.fail(Invariant::LogWithoutGap, what);
            }
            if seq > self.log.durable {
                let what = format!("event {seq} is sent, and only {} are durable", self.log.durable);
                return self.fail(Invariant::Durable, what);
            }
            let replayed = event.get("replayed").and_then(Value::as_bool).unwrap_or(false);
            if seq <= self.log.before_connection && !replayed {
                let what = format!("event {seq} was durable before the connection, and is not marked");
                return self.fail(Invariant::ReplayedMarked, what);
            }
            next = Some(seq + 1);
        }
        self.log.sent = next.map_or(self.log.sent, |next| next - 1);
    }

    /// The cloud has heard something.
    pub fn cloud_heard(&mut self, cloud: &Cloud) {
        if let Some(problem) = cloud.problems.first() {
            return self.fail(Invariant::HonestNode, problem.clone());
        }
        for stored in cloud.events.iter().skip(self.log.compared) {
            let at = usize::try_from(stored.seq).unwrap_or(0);
            let mut expected =
                self.log.events.get(at.wrapping_sub(1)).and_then(|event| serde_json::to_value(event).ok());
            let mut found = stored.json.clone();
            for member in ["seq", "prev", "replayed"] {
                found.remove(member);
            }
            let same = expected.as_mut().is_some_and(|expected| *expected == Value::Object(found.clone()));
            if !same || at != self.log.compared + 1 {
                let what = format!("the cloud's event {at} is {found:?}, the log's is {expected:?}");
                return self.fail(Invariant::LogWithoutGap, what);
            }
            self.log.compared += 1;
        }
    }
}

pub fn payload_of(compact: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(compact).ok()?;
    let bytes = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

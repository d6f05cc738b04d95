//! What a session stands on, for tests of it without a node: a log in memory, a fresh start, and randomness that
//! repeats. Owns no machine; must never lose an event. Invariant: every event is durable as soon as it is in the
//! log.

use std::time::Duration;

use latchd::{
    domain::{
        event::{Event, EventBody},
        ids::Id,
        permission::SetVersion,
        time::{ClockTrust, Wall},
    },
    gateway::session::{Restored, SessionConfig},
    wire::{
        event_log::{Head, Sealed, seal},
        keys::KeySet,
    },
};

use crate::cloud::ISSUER;

fn id(text: &str) -> Id {
    Id::new(text).expect("an id")
}

/// Of node `acme/hq-1` in its run `boot-1`.
pub fn config(beat_every: Duration, reconnect: (Duration, Duration)) -> SessionConfig {
    SessionConfig {
        org: id("acme"),
        node: id("hq-1"),
        boot: id("boot-1"),
        version: "0.1.0".into(),
        issuer: ISSUER.into(),
        beat_every,
        reconnect_min: reconnect.0,
        reconnect_max: reconnect.1,
    }
}

/// A node that has never run.
pub fn never_ran(log: &MemoryLog) -> Restored {
    Restored {
        overlay: Default::default(),
        keys: KeySet::empty(),
        log_id: log.head.log_id.clone(),
        head: 0,
        acked_through: 0,
        last_beat: None,
        clock_floor: Wall::EPOCH,
        set: SetVersion::default(),
    }
}

pub struct MemoryLog {
    head: Head,
    events: Vec<Sealed>,
}

impl Default for MemoryLog {
    fn default() -> MemoryLog {
        MemoryLog { head: Head::begin(id("log-1")), events: Vec::new() }
    }
}

impl MemoryLog {
    /// # Panics
    /// If an event of ours is no canonical JSON.
    pub fn append(&mut self, occurred_at: Wall, body: EventBody) {
        let event = Event { occurred_at, clock: ClockTrust::Trusted, epoch: 0, generation: 0, body };
        let (sealed, head) = seal(&self.head, &event).expect("an event");
        self.events.push(sealed);
        self.head = head;
    }

    pub fn head(&self) -> u64 {
        self.head.seq
    }

    /// In order, the first is number 1.
    pub fn events(&self) -> &[Sealed] {
        &self.events
    }

    /// From this number on, as many as fit into the bytes.
    pub fn read(&self, from: u64, bytes_max: usize) -> Vec<Sealed> {
        let mut bytes = 0;
        let fits = |event: &&Sealed| {
            bytes += event.json.len();
            bytes <= bytes_max
        };
        self.events.iter().skip(position(from)).take_while(fits).cloned().collect()
    }

    pub fn hash(&self, seq: u64) -> Option<[u8; 32]> {
        self.events.get(position(seq)).map(|event| event.hash)
    }
}

fn position(seq: u64) -> usize {
    usize::try_from(seq).unwrap_or(usize::MAX).saturating_sub(1)
}

/// Bytes that look random and are the same on every run.
#[derive(Debug)]
pub struct Repeating(u64);

impl Default for Repeating {
    fn default() -> Repeating {
        Repeating(1)
    }
}

impl Repeating {
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

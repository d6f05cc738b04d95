//! The session with the cloud: a pure machine between the link (whatever carries MQTT), the desk
//! (commands), the mirror (the permission set) and the ledger (events).
//!
//! Owns what is sent when, what of the incoming is believed, when to reconnect, and how fresh the
//! permission set is. Must never execute a command, look into a set, or trust the broker with anything
//! but bytes. Invariant: nothing leaves this machine towards desk or mirror that was not signed for this
//! node under a key for that use; no event is let go of on the broker's word alone.
//!
//! ```text
//!              Timeout                    Connected
//!   waiting ------------> connecting ------------------> connected
//!      ^                      |  Disconnected                |  Disconnected
//!      +----- backoff --------+------------------------------+
//! ```
//!
//! `interface` is what goes in and comes out, `intake` judges what arrives, `outbox`, `events` and `sending`
//! decide what is sent, `backoff` when to try again, `rejects` and `bucket` keep garbage from costing more
//! than it should.

mod backoff;
mod events;
mod intake;
mod interface;
pub mod link;
mod outbox;
mod receipts;
mod rejects;
mod sending;

use std::{collections::BTreeSet, collections::VecDeque, time::Duration};

pub use self::interface::{Action, Entropy, Input, Restored, SessionConfig, SetMessage};
use self::{
    backoff::Backoff,
    events::{AckVerdict, EventDrain},
    intake::Budgets,
    link::{LinkEvent, LinkOrder, Will},
    outbox::{Outbox, Sent},
    receipts::Receipts,
    rejects::Rejects,
};
pub use super::ledger::LastBeat;
use super::{live::LiveEvents, reports::Places};
use crate::{
    domain::{
        cloud::Confirmation,
        event::{Event, EventBody},
        ids::Id,
        permission::SetVersion,
        status::Status,
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::{
        mirror::OverlayVersion,
        step::{Commit, LedgerWrite, MessageToken},
    },
    wire::{
        canonical::hex,
        jws::Signer,
        keys::{KeySet, RootKey},
        set::{Digest, SetRequest, Want},
        telemetry::Gauges,
        topics::Topics,
        upward::{NodeStatus, Sealer},
    },
};

/// A line that is down for less is nobody's business.
pub const CLOUD_LOST_AFTER: Duration = Duration::from_secs(5);
/// How long an orderly stop waits for the broker to take the last words.
pub const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// Requests whose beat may still come.
const NONCES_MAX: usize = 4;

#[derive(Debug)]
enum Phase {
    /// Until `retry_at`.
    Waiting,
    Connecting,
    Connected,
    /// After `Stop`: says the last words, then goodbye, until the deadline.
    Leaving {
        until: Mono,
        said_goodbye: bool,
    },
    Stopped,
}

pub struct Session {
    config: SessionConfig,
    topics: Topics,
    root: RootKey,
    keys: KeySet,
    sealer: Sealer,
    log_id: Id,
    ledger_failed: Option<String>,
    phase: Phase,
    /// Counts connections; the present one, or the last.
    connection: u64,
    backoff: Backoff,
    retry_at: Option<Mono>,
    lost_at: Option<Mono>,
    lost_reported: bool,
    last_reason: String,
    outbox: Outbox,
    events: EventDrain,
    live: LiveEvents,
    rejects: Rejects,
    receipts: Receipts,
    budgets: Budgets,
    set: SetVersion,
    overlay: OverlayVersion,
    /// How many alarms stand.
    alarms: u64,
    trust: ClockTrust,
    clock_floor: Wall,
    /// Requests without a beat yet.
    nonces: VecDeque<(Id, Mono)>,
    wanted: BTreeSet<Digest>,
    beat_at: Mono,
    /// What the present set was last confirmed by: when it was asked in this run, or when it was signed
    /// in an earlier one.
    confirmed: Option<Confirmation>,
    /// The same of any set that was held: what staleness at the doors is counted from.
    last_beat: Option<Confirmation>,
}

impl Session {
    /// The first attempt to connect is due at once: call `handle` with `Timeout`.
    pub fn new(config: SessionConfig, root: RootKey, signer: Signer, restored: Restored, now: Now) -> Session {
        let confirmed = restored
            .last_beat
            .filter(|beat| (beat.epoch, beat.generation) == (restored.set.epoch, restored.set.generation))
            .map(|beat| Confirmation::Before(beat.at));
        Session {
            topics: Topics::new(&config.org, &config.node),
            sealer: Sealer::new(signer, config.boot.clone()),
            backoff: Backoff::new(config.reconnect_min, config.reconnect_max),
            config,
            root,
            keys: restored.keys,
            log_id: restored.log_id,
            ledger_failed: None,
            phase: Phase::Waiting,
            connection: 0,
            retry_at: Some(now.mono),
            lost_at: Some(now.mono + CLOUD_LOST_AFTER),
            lost_reported: false,
            last_reason: "not connected since the start".to_owned(),
            outbox: Outbox::default(),
            events: EventDrain::new(restored.head, restored.acked_through),
            live: LiveEvents::new(Places::default(), restored.head),
            rejects: Rejects::default(),
            receipts: Receipts::default(),
            budgets: Budgets::new(now.mono),
            set: restored.set,
            overlay: restored.overlay,
            alarms: 0,
            trust: now.trust,
            clock_floor: restored.clock_floor,
            nonces: VecDeque::new(),
            wanted: BTreeSet::new(),
            beat_at: now.mono,
            confirmed,
            last_beat: confirmed,
        }
    }

    /// Which readers are at which doors, for those who watch the events of some doors only.
    pub fn with_places(mut self, places: Places) -> Session {
        self.live = LiveEvents::new(places, self.events.head());
        self
    }

    /// Why this run has no ledger, if it has none.
    pub fn with_ledger_failed(mut self, why: Option<String>) -> Session {
        self.ledger_failed = why;
        self
    }

    /// Who watches what; whatever is changed there is sent with the next input.
    pub fn live(&mut self) -> &mut LiveEvents {
        &mut self.live
    }

    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected | Phase::Leaving { .. })
    }

    /// What it holds, and whom it holds it for.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            backlog: self.events.backlog(),
            outcomes_waiting: self.outbox.outcomes_waiting() as u64,
            live_subscriptions: self.live.count() as u64,
            ..Gauges::default()
        }
    }

    /// Outcomes that newer ones pushed out.
    pub fn outcomes_dropped(&self) -> u64 {
        self.outbox.dropped
    }

    /// The present state of each thing, as it was said last.
    pub fn states(&self) -> impl Iterator<Item = &Status> {
        self.outbox.states()
    }

    /// Events that the cloud has not confirmed.
    pub fn backlog(&self) -> u64 {
        self.events.backlog()
    }

    /// Time since the cloud last confirmed the set that is in force; `None`: unknown, which is stale.
    pub fn staleness(&self, now: Now) -> Option<Duration> {
        match self.confirmed? {
            Confirmation::ThisRun(asked) => Some(now.mono.since(asked)),
            Confirmation::Before(at) => (now.trust == ClockTrust::Trusted).then(|| now.wall.since(at)),
        }
    }

    /// When the cloud last confirmed a set that this node held.
    pub fn last_beat(&self) -> Option<Confirmation> {
        self.last_beat
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        if matches!(self.phase, Phase::Stopped) {
            return None;
        }
        let connected = self.is_connected();
        let leaving = match self.phase {
            Phase::Leaving { until, .. } => Some(until),
            _ => None,
        };
        [
            self.retry_at,
            self.lost_at,
            connected.then_some(self.beat_at),
            self.events.next_deadline(),
            self.live.next_deadline(),
            self.rejects.next_deadline(),
            leaving,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn handle(&mut self, now: Now, input: Input, entropy: Entropy<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.phase, Phase::Stopped) {
            return out;
        }
        if now.trust != self.trust {
            self.trust = now.trust;
            self.outbox.status_changed = true;
        }
        match input {
            Input::Link(event) => self.handle_link(now, event, entropy, &mut out),
            Input::DurableHead(head) => {
                self.events.durable(head);
                self.live.durable(head);
            }
            Input::LiveEvents { from, events } => self.live.read(now.mono, from, &events),
            Input::Events { from, events } => self.events.read(now.mono, from, events),
            Input::EventHash { seq, hash } => {
                let verdict = self.events.hash_of(now.mono, seq, hash);
                self.acked(verdict, &mut out);
            }
            Input::Outcome(outcome) => self.outbox.push_outcome(outcome),
            Input::State(status) => self.outbox.set_state(status),
            Input::Telemetry(telemetry) => self.mention(now, &telemetry, &mut out),
            Input::AckMessage(token) => self.ack_message(token, &mut out),
            Input::SetApplied(version) => self.set_applied(now, version, entropy),
            Input::Alarms(standing) => {
                self.outbox.status_changed |= standing != self.alarms;
                self.alarms = standing;
            }
            Input::Overlay(version) => {
                self.outbox.status_changed |= version != self.overlay;
                self.overlay = version;
            }
            Input::SetWanted { want, chunks } => self.request(now, want, chunks, entropy),
            Input::Timeout => {}
            Input::Stop => self.stop(now, &mut out),
        }
        self.pass_deadlines(now, entropy, &mut out);
        self.send(now, &mut out);
        self.leave(now, &mut out);
        out
    }

    fn handle_link(&mut self, now: Now, event: LinkEvent, entropy: Entropy<'_>, out: &mut Vec<Action>) {
        match event {
            LinkEvent::Connected { connection, window, .. } if connection == self.connection => {
                self.connected(now, window, entropy, out);
            }
            LinkEvent::Disconnected { connection, reason } if connection == self.connection => {
                self.disconnected(now, reason, entropy, out);
            }
            LinkEvent::Subscribed { connection, refused } if connection == self.connection => {
                for (filter, reason) in refused {
                    out.push(Action::Notice(format!(
                        "the broker refused the subscription to {filter} ({reason}): its ACL must let this node read it"
                    )));
                }
            }
            LinkEvent::PubAcked { connection, handle, refused, unheard } if connection == self.connection => {
                if let Some(reason) = refused {
                    out.push(Action::Notice(format!("the broker refused a message: {reason}")));
                }
                match self.outbox.puback(handle) {
                    Some(Sent::Events) => {
                        self.events.puback();
                        if unheard {
                            self.events.unheard(now.mono);
                        }
                    }
                    Some(Sent::Live(jti)) => self.live.puback(&jti),
                    _ => {}
                }
            }
            LinkEvent::Message { token, topic, payload, retain, .. } if token.connection == self.connection => {
                self.message(now, token, &topic, payload, retain, out);
            }
            // Of an earlier connection.
            _ => {}
        }
    }

    fn connected(&mut self, now: Now, window: u16, entropy: Entropy<'_>, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Connecting) {
            return;
        }
        self.phase = Phase::Connected;
        self.backoff.connected(now.mono);
        self.lost_at = None;
        // With a session the broker has the subscriptions; subscribing again brings the retained key set.
        out.push(Action::Link(LinkOrder::Subscribe { filters: self.topics.subscriptions().to_vec() }));
        if std::mem::take(&mut self.lost_reported) {
            self.commit_event(now, EventBody::CloudRestored {}, out);
        }
        self.outbox.connected(window);
        self.events.connected();
        self.live.connected();
        self.request(now, Want::Update, Vec::new(), entropy);
    }

    fn disconnected(&mut self, now: Now, reason: String, entropy: Entropy<'_>, out: &mut Vec<Action>) {
        self.outbox.disconnected();
        self.events.disconnected();
        self.live.disconnected();
        self.receipts.disconnected();
        self.wanted.clear();
        if matches!(self.phase, Phase::Leaving { .. }) {
            self.phase = Phase::Stopped;
            out.push(Action::Stopped);
            return;
        }
        if matches!(self.phase, Phase::Connected) {
            self.lost_at = Some(now.mono + CLOUD_LOST_AFTER);
        }
        let mut random = [0; 8];
        entropy(&mut random);
        let delay = self.backoff.next_delay(now.mono, u64::from_le_bytes(random));
        self.retry_at = Some(now.mono + delay);
        out.push(Action::Notice(format!("no link to the cloud: {reason}; next attempt in {} ms", delay.as_millis())));
        self.last_reason = reason;
        self.phase = Phase::Waiting;
    }

    fn pass_deadlines(&mut self, now: Now, entropy: Entropy<'_>, out: &mut Vec<Action>) {
        if self.retry_at.is_some_and(|at| at <= now.mono) {
            self.retry_at = None;
            self.connection += 1;
            self.phase = Phase::Connecting;
            if let Ok(payload) = self.sealer.seal_status(now.wall, &NodeStatus::Offline {}) {
                let will = Will { topic: self.topics.status(), payload: payload.into_bytes() };
                out.push(Action::Link(LinkOrder::Connect { connection: self.connection, will }));
            }
        }
        if self.lost_at.is_some_and(|at| at <= now.mono) {
            self.lost_at = None;
            self.lost_reported = true;
            let detail = self.last_reason.clone();
            self.commit_event(now, EventBody::CloudLost { detail }, out);
        }
        if self.is_connected() && self.beat_at <= now.mono {
            self.request(now, Want::Update, Vec::new(), entropy);
            self.outbox.status_changed = true;
        }
        self.events.timeout(now.mono);
        self.live.handle_timeout(now.mono);
        for body in self.rejects.due(now.mono) {
            self.commit_event(now, body, out);
        }
    }

    /// Asks the cloud. A request that is still waiting is replaced, so its chunks are kept in the new one.
    fn request(&mut self, now: Now, want: Want, mut chunks: Vec<Digest>, entropy: Entropy<'_>) {
        if !self.is_connected() {
            return;
        }
        let mut want = want;
        if let Some(waiting) = self.outbox.request.take() {
            if want == Want::Update {
                want = waiting.want;
            }
            chunks.extend(waiting.chunks);
            chunks.sort_unstable();
            chunks.dedup();
        }
        let mut random = [0; 16];
        entropy(&mut random);
        let nonce = hex(&random);
        let Ok(id) = Id::new(&nonce) else { return };
        if self.nonces.len() >= NONCES_MAX {
            self.nonces.pop_front();
        }
        self.nonces.push_back((id, now.mono));
        self.beat_at = now.mono + self.config.beat_every;
        if self.wanted.len() + chunks.len() > intake::WANTED_MAX {
            self.wanted.clear();
        }
        self.wanted.extend(chunks.iter().copied());
        let SetVersion { epoch, generation, digest } = self.set;
        let digest = if generation == 0 { Digest::of_nothing() } else { Digest(digest) };
        self.outbox.request = Some(SetRequest { nonce, epoch, generation, digest, want, chunks });
    }

    /// A set that was just applied has not been confirmed by any beat: asks for one.
    fn set_applied(&mut self, now: Now, version: SetVersion, entropy: Entropy<'_>) {
        if version == self.set {
            return;
        }
        self.set = version;
        self.confirmed = None;
        self.outbox.status_changed = true;
        self.request(now, Want::Update, Vec::new(), entropy);
    }

    fn acked(&mut self, verdict: AckVerdict, out: &mut Vec<Action>) {
        match verdict {
            AckVerdict::Accepted(through) => {
                let mut commit = Commit::default();
                commit.writes.push(LedgerWrite::Acked { through });
                out.push(Action::Commit(commit));
            }
            AckVerdict::LookUp(seq) => out.push(Action::ReadEventHash { seq }),
            AckVerdict::Refused(cause) => self.rejects.count("evt/ack", cause),
            AckVerdict::Old => {}
        }
    }

    fn stop(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Connected => {
                self.phase = Phase::Leaving { until: now.mono + GOODBYE_WITHIN, said_goodbye: false };
                self.outbox.status_changed = true;
            }
            Phase::Leaving { .. } | Phase::Stopped => {}
            Phase::Waiting | Phase::Connecting => {
                self.phase = Phase::Stopped;
                out.push(Action::Link(LinkOrder::Disconnect));
                out.push(Action::Stopped);
            }
        }
    }

    /// Goodbye once the last words are with the broker; stopped once the link has ended.
    fn leave(&mut self, now: Now, out: &mut Vec<Action>) {
        let Phase::Leaving { until, said_goodbye } = self.phase else { return };
        let late = until <= now.mono;
        if !said_goodbye && (late || self.outbox.is_settled()) {
            self.phase = Phase::Leaving { until, said_goodbye: true };
            out.push(Action::Link(LinkOrder::Disconnect));
        }
        if late {
            self.phase = Phase::Stopped;
            out.push(Action::Stopped);
        }
    }

    fn ack_message(&mut self, token: MessageToken, out: &mut Vec<Action>) {
        self.receipts.done(token);
        self.acknowledge(out);
    }

    fn acknowledge(&mut self, out: &mut Vec<Action>) {
        while let Some(token) = self.receipts.next() {
            out.push(Action::Link(LinkOrder::Ack(token)));
        }
    }

    fn commit_event(&self, now: Now, body: EventBody, out: &mut Vec<Action>) {
        let mut commit = Commit::default();
        commit.event(Event {
            occurred_at: now.wall,
            clock: now.trust,
            epoch: self.set.epoch,
            generation: self.set.generation,
            body,
        });
        out.push(Action::Commit(commit));
    }
}

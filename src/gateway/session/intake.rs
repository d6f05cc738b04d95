//! What arrives. Owns the order of the checks: size, then budget, then signature, then content. Must
//! never answer what cannot be attributed: an answer would be an oracle.
//!
//! Budgets: each type of document has its own bucket, so that a flood of one never starves another, and
//! a check takes a token only if it ends in "bad signature"; whatever is refused sooner is cheap, and
//! what is good has deserved it. So only forgeries under a known key id use a budget up; past it, that
//! type is dropped unchecked until tokens come back.

use std::{collections::VecDeque, time::Duration};

use super::{Action, Session, SetMessage};
use crate::{
    domain::{
        bucket::Bucket,
        cloud::Confirmation,
        event::{EventBody, Refusal},
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::step::{Commit, LedgerWrite, MessageToken},
    wire::{
        ack::EventAck,
        beat::Beat,
        canonical::{MESSAGE_BYTES_MAX, sha256},
        command::{self, Rejected},
        jws::{self, JwsError, Typ, Verified},
        keys::{KeySet, KeysError},
        outcome::{Outcome, Stage},
        set::Digest,
        topics::Incoming,
    },
};

/// A forged signature costs about 0.1 ms on a small processor: a flood takes a twentieth of it.
const FORGERIES_AT_ONCE: u32 = 500;
const FORGERY_EVERY: Duration = Duration::from_millis(2);
/// So many bytes are hashed in the time that a signature takes: what is larger costs as much more.
const BYTES_AT_ONE_COST: usize = 16 * 1024;
/// Most commands have a handful of short claims; one of them carries a whole site file.
const COMMAND_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Acknowledgements and beats have a handful of short claims.
const SMALL_BYTES_MAX: usize = 4 * 1024;

/// The same bytes again are answered from the ledger, which costs: a broker that repeats one good
/// command for ever gets so many answers.
const REPEATS_AT_ONCE: u32 = 50;
const REPEAT_EVERY: Duration = Duration::from_millis(50);
/// Commands whose bytes are remembered for that.
const RECENT_MAX: usize = 256;
/// Refusals of what is signed but not for us, not now or not well-formed; each costs an event.
const REFUSALS_AT_ONCE: u32 = 50;
const REFUSAL_EVERY: Duration = Duration::from_millis(500);
/// Chunks asked for and not yet come: four times the buckets of a set. Past it, older ones are dropped
/// when they come, and asked for again.
pub(super) const WANTED_MAX: usize = 4096;

pub struct Budgets {
    command: Bucket,
    set: Bucket,
    beat: Bucket,
    ack: Bucket,
    keys: Bucket,
    repeats: Bucket,
    refusals: Bucket,
    recent: VecDeque<[u8; 32]>,
}

impl Budgets {
    pub fn new(now: Mono) -> Budgets {
        let bucket = || Bucket::new(FORGERIES_AT_ONCE, FORGERY_EVERY, now);
        Budgets {
            command: bucket(),
            set: bucket(),
            beat: bucket(),
            ack: bucket(),
            keys: bucket(),
            repeats: Bucket::new(REPEATS_AT_ONCE, REPEAT_EVERY, now),
            refusals: Bucket::new(REFUSALS_AT_ONCE, REFUSAL_EVERY, now),
            recent: VecDeque::with_capacity(RECENT_MAX),
        }
    }

    /// False: these very bytes have come too often of late.
    fn admit(&mut self, now: Mono, jws: &[u8]) -> bool {
        let digest = sha256(jws);
        if self.recent.contains(&digest) {
            return self.repeats.take(now);
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(digest);
        true
    }

    fn of(&mut self, typ: Typ) -> Option<&mut Bucket> {
        match typ {
            Typ::Cmd => Some(&mut self.command),
            Typ::Set => Some(&mut self.set),
            Typ::Beat => Some(&mut self.beat),
            Typ::Ack => Some(&mut self.ack),
            Typ::Keys => Some(&mut self.keys),
            Typ::Up => None,
        }
    }
}

impl Session {
    pub(super) fn message(
        &mut self,
        now: Now,
        token: MessageToken,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        out: &mut Vec<Action>,
    ) {
        self.receipts.arrived(token);
        let handed_to_desk = match self.topics.incoming(topic) {
            Some(Incoming::Command) => self.command(now, token, &payload, retain, out),
            Some(Incoming::EventAck) => {
                self.event_ack(now, &payload, out);
                false
            }
            Some(Incoming::Set) => {
                self.set_message(now, payload, out);
                false
            }
            Some(Incoming::Chunk(name)) => {
                self.chunk(Digest(name), payload, out);
                false
            }
            None => {
                self.rejects.count("other", "not a topic of this node");
                false
            }
        };
        // What was handled, or is good for nothing, need not come again. Sets converge by asking.
        if !handed_to_desk {
            self.receipts.done(token);
        }
        self.acknowledge(out);
    }

    /// Size, budget, signature. What fails is counted, never answered.
    fn authentic(&mut self, now: Now, topic: &'static str, typ: Typ, bytes_max: usize, jws: &[u8]) -> Option<Verified> {
        if jws.len() > bytes_max {
            self.rejects.count(topic, "too large");
            return None;
        }
        let bucket = self.budgets.of(typ)?;
        let cost = u32::try_from(jws.len() / BYTES_AT_ONE_COST).unwrap_or(u32::MAX).saturating_add(1);
        if !bucket.take_for(now.mono, cost) {
            self.rejects.count(topic, "dropped unchecked, too many forgeries");
            return None;
        }
        let at = if now.trust == ClockTrust::Trusted { now.wall } else { self.clock_floor };
        let verified = jws::verify(jws, typ, &self.keys, at);
        if verified.as_ref().err() != Some(&JwsError::BadSignature) {
            bucket.refund(cost);
        }
        match verified {
            Ok(verified) => Some(verified),
            Err(error) => {
                self.rejects.count(topic, cause(&error));
                None
            }
        }
    }

    /// True if the desk now has it and will say when it may be acknowledged.
    fn command(&mut self, now: Now, token: MessageToken, jws: &[u8], retain: bool, out: &mut Vec<Action>) -> bool {
        if jws.len() <= COMMAND_BYTES_MAX && !self.budgets.admit(now.mono, jws) {
            self.rejects.count("cmd", "the same message too often");
            return false;
        }
        let Some(verified) = self.authentic(now, "cmd", Typ::Cmd, COMMAND_BYTES_MAX, jws) else { return false };
        let parsed = command::parse(&verified, jws, self.topics.audience());
        let parsed = parsed.and_then(|command| {
            let refused = |refusal, detail: String| Rejected {
                jti: Some(command.jti.clone()),
                issuer: Some(command.issuer.clone()),
                operator: Some(command.operator.clone()),
                refusal,
                detail,
            };
            if command.issuer != self.config.issuer {
                Err(refused(Refusal::WrongIssuer, format!("commands must come from {}", self.config.issuer)))
            } else {
                Ok(command)
            }
        });
        match parsed {
            Ok(command) => {
                out.push(Action::Command { command: Box::new(command), token, retained: retain });
                true
            }
            Err(rejected) => {
                self.refuse(now, rejected, &verified, out);
                false
            }
        }
    }

    /// Signed by a key of the cloud's, so it may be answered.
    fn refuse(&mut self, now: Now, rejected: Rejected, verified: &Verified, out: &mut Vec<Action>) {
        if !self.budgets.refusals.take(now.mono) {
            self.rejects.count("cmd", "signed, but refused too often to answer");
            return;
        }
        let Rejected { jti: Some(jti), operator, refusal, detail, .. } = rejected else {
            self.rejects.count("cmd", "signed, but without a usable jti");
            // There is no id to answer under; whoever writes the cloud finds the cause here.
            out.push(Action::Notice(format!("a command with a good signature cannot be read: {}", rejected.detail)));
            return;
        };
        self.outbox.push_outcome(Outcome {
            jti: jti.clone(),
            seq: 0,
            stage: Stage::Refused,
            at: now.wall,
            reason: Some(refusal),
            detail: Some(serde_json::json!({ "message": detail })),
        });
        if let Some(operator) = operator {
            let command = named_command(verified);
            let body = EventBody::OperatorRefused { operator, jti, command, reason: refusal, detail: Some(detail) };
            self.commit_event(now, body, out);
        }
    }

    fn event_ack(&mut self, now: Now, jws: &[u8], out: &mut Vec<Action>) {
        const TOPIC: &str = "evt/ack";
        let Some(verified) = self.authentic(now, TOPIC, Typ::Ack, SMALL_BYTES_MAX, jws) else { return };
        match EventAck::parse(&verified, self.topics.audience()) {
            Err(_) => self.rejects.count(TOPIC, "signed, but malformed or for another node"),
            Ok(ack) if ack.log_id != self.log_id => self.rejects.count(TOPIC, "acknowledges another log"),
            Ok(ack) => {
                let verdict = self.events.ack(now.mono, ack.through, ack.head_hash);
                self.acked(verdict, out);
            }
        }
    }

    fn set_message(&mut self, now: Now, jws: Vec<u8>, out: &mut Vec<Action>) {
        const TOPIC: &str = "set";
        match jws::claimed_typ(&jws) {
            Ok(Typ::Set) => {
                if let Some(verified) = self.authentic(now, TOPIC, Typ::Set, MESSAGE_BYTES_MAX, &jws) {
                    out.push(Action::Set(SetMessage::Document { verified, compact: jws }));
                }
            }
            Ok(Typ::Beat) => {
                if let Some(verified) = self.authentic(now, TOPIC, Typ::Beat, SMALL_BYTES_MAX, &jws) {
                    self.beat(&verified, out);
                }
            }
            Ok(Typ::Keys) => self.key_set(now, jws, out),
            Ok(Typ::Cmd | Typ::Ack | Typ::Up) => self.rejects.count(TOPIC, "a document of another topic"),
            Err(error) => self.rejects.count(TOPIC, cause(&error)),
        }
    }

    fn key_set(&mut self, now: Now, jws: Vec<u8>, out: &mut Vec<Action>) {
        const TOPIC: &str = "set";
        if !self.budgets.keys.take(now.mono) {
            self.rejects.count(TOPIC, "dropped unchecked, too many forgeries");
            return;
        }
        let set = KeySet::from_signed(&jws, &self.root, self.topics.audience(), &self.keys);
        if !matches!(set, Err(KeysError::Jws(JwsError::BadSignature))) {
            self.budgets.keys.refund(1);
        }
        match set {
            Ok(set) if set.version() > self.keys.version() => {
                out.push(Action::StoreKeys(jws));
                out.push(Action::Keys(set.clone()));
                self.keys = set;
                self.outbox.status_changed = true;
                // What waited for these keys was refused: asks for it now instead of at the next beat.
                self.beat_at = now.mono;
            }
            Ok(_) => {}
            Err(KeysError::Jws(error)) => self.rejects.count(TOPIC, cause(&error)),
            // A retained or delayed one: it happens without malice, and the version protects us.
            Err(KeysError::RolledBack { .. }) => {}
            Err(KeysError::Conflict { .. }) => {
                let detail = "another key set came under the version that is in force".to_owned();
                self.commit_event(now, EventBody::SecurityRollbackRefused { detail }, out);
            }
            Err(error) => {
                out.push(Action::Notice(format!("a key set that the root key signed is of no use: {error}")));
                self.rejects.count(TOPIC, "a key set of no use to this node");
            }
        }
    }

    fn beat(&mut self, verified: &Verified, out: &mut Vec<Action>) {
        const TOPIC: &str = "set";
        let Ok(beat) = Beat::parse(verified, self.topics.audience()) else {
            return self.rejects.count(TOPIC, "signed, but malformed or for another node");
        };
        let Some(at) = self.nonces.iter().position(|(nonce, _)| *nonce == beat.nonce) else {
            // Authentic, but late, repeated by the broker, or for a request of an earlier run.
            return;
        };
        // This one and older requests are answered.
        let Some((_, asked_at)) = self.nonces.drain(..=at).next_back() else { return };
        let iat: Wall = beat.iat.0;
        self.clock_floor = self.clock_floor.max(iat);
        out.push(Action::CloudTime { iat, asked_at });
        let own = (self.set.epoch, self.set.generation, self.set.digest);
        let held_is_current = self.set.generation > 0 && own == (beat.epoch, beat.generation, beat.digest);
        if held_is_current && beat.epoch == self.keys.epoch() {
            // From when it was asked: a broker that holds the answer back makes nothing fresher.
            self.confirmed = Some(Confirmation::ThisRun(asked_at));
            self.last_beat = self.confirmed;
            let mut commit = Commit::default();
            commit.writes.push(LedgerWrite::Beat { at: iat, epoch: beat.epoch, generation: beat.generation });
            out.push(Action::Commit(commit));
            self.outbox.status_changed = true;
        }
        if beat.keys_version > self.keys.version() {
            out.push(Action::Notice(format!(
                "the cloud is at key set {} and this node at {}: it has not arrived yet",
                beat.keys_version,
                self.keys.version()
            )));
        }
        out.push(Action::Set(SetMessage::Beat(beat)));
    }

    fn chunk(&mut self, name: Digest, bytes: Vec<u8>, out: &mut Vec<Action>) {
        // Comes again after a broken connection, or is for somebody who asked in our name.
        if !self.wanted.contains(&name) {
            return;
        }
        if bytes.len() > MESSAGE_BYTES_MAX || sha256(&bytes) != name.0 {
            return self.rejects.count("set/chunk", "not what its name says");
        }
        self.wanted.remove(&name);
        out.push(Action::Set(SetMessage::Chunk { name, bytes }));
    }
}

/// The command that a refused message names, if it is one of the contract.
fn named_command(verified: &Verified) -> String {
    let claims: Option<serde_json::Value> = serde_json::from_slice(verified.payload()).ok();
    let name = claims.as_ref().and_then(|claims| claims.get("cmd")?.as_str()).filter(|name| command::is_known(name));
    name.unwrap_or("unknown").to_owned()
}

/// Fixed words: what an attacker writes never becomes part of an event.
fn cause(error: &JwsError) -> &'static str {
    match error {
        JwsError::TooLarge { .. } => "too large",
        JwsError::NotCompact(_) => "not a JWS",
        JwsError::Header(_) | JwsError::Algorithm => "not a header of this contract",
        JwsError::WrongTyp { .. } => "a document of another topic",
        JwsError::UnknownKey { .. } => "unknown key",
        JwsError::RevokedKey { .. } => "revoked key",
        JwsError::WrongUse { .. } => "a key for another use",
        JwsError::ExpiredKey { .. } => "expired key",
        JwsError::BadSignature => "bad signature",
    }
}

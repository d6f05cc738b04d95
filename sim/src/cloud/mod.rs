//! A cloud for tests, the demo and the simulator: it owns keys, a permission set and operators' wishes,
//! answers `set/req`, acknowledges events, and checks everything that the node says.
//!
//! [`Cloud`] is pure: time and messages in, messages out. [`client::CloudClient`] runs one over a real
//! broker. Must never share state with the daemon: it knows only what came over the wire.

pub mod client;
pub mod keys;
pub mod set;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use latchd::{
    domain::{door::DoorStatus, ids::Id, time::Wall},
    wire::{
        ack::EventAck,
        beat::Beat,
        event_log::{ChainError, Head, verify_next},
        jws::{PublicKey, Typ},
        live::LiveUpdate,
        numeric_date::NumericDate,
        outcome::Outcome,
        set::{Delta, Digest, Manifest, Op, SetDocument, SetRequest, Want},
        telemetry::Telemetry,
        topics::Topics,
        upward::{
            self, DoorMessage, EventsMessage, LiveMessage, NodeStatus, OutcomeMessage, RequestMessage, StatusMessage,
            TelemetryMessage,
        },
    },
};
use serde_json::{Map, Value, json};

use self::{keys::CloudKeys, set::SetStore};

pub const ISSUER: &str = "https://cloud.example";

/// A message for the broker, QoS 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
}

/// A command as an operator wishes it.
#[derive(Clone, Debug)]
pub struct Wish {
    pub operator: String,
    pub cmd: String,
    pub args: Value,
    /// `exp - iat`.
    pub lifetime: Duration,
    /// `None`: the run that the node's status names.
    pub boot: Option<Id>,
    /// `None`: a new one.
    pub jti: Option<Id>,
}

impl Wish {
    pub fn new(operator: &str, cmd: &str, args: Value) -> Wish {
        Wish {
            operator: operator.into(),
            cmd: cmd.into(),
            args,
            lifetime: Duration::from_secs(5),
            boot: None,
            jti: None,
        }
    }

    pub fn door(operator: &str, cmd: &str, door: &str) -> Wish {
        Wish::new(operator, cmd, json!({ "door": door }))
    }
}

/// An event as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    pub log_id: Id,
    pub seq: u64,
    pub replayed: bool,
    /// The `type` member.
    pub kind: String,
    pub json: Map<String, Value>,
}

/// The cloud of one node.
pub struct Cloud {
    pub topics: Topics,
    pub keys: CloudKeys,
    node: PublicKey,
    pub set: SetStore,
    /// Edits by command that every document of the set from now on takes over or discards.
    pub absorbs: Vec<Id>,
    pub epoch: u64,
    pub keys_version: u64,
    signed_keys: Option<((u64, u64), Outgoing)>,
    next_jti: u64,
    /// Numbers of messages that were seen, by run.
    seen: BTreeMap<Id, BTreeSet<u64>>,
    heads: BTreeMap<Id, Head>,
    /// In order of arrival, without duplicates.
    pub events: Vec<StoredEvent>,
    pub outcomes: Vec<Outcome>,
    pub status: Option<StatusMessage>,
    /// How often the status said `online`, and `offline`.
    pub status_changes: (u64, u64),
    pub doors: BTreeMap<Id, DoorStatus>,
    /// The messages on `state/…` that are not a door's, by what follows `state/`.
    pub states: BTreeMap<String, serde_json::Value>,
    /// What each subscription got, by the command that subscribed.
    pub live: BTreeMap<Id, Vec<LiveUpdate>>,
    pub telemetry: Option<Telemetry>,
    pub requests: Vec<SetRequest>,
    /// Events that came again: only ever before they were acknowledged, or in flight at that moment.
    pub duplicates: u64,
    /// Batches that did not follow on what is stored; the node sends them again.
    pub gaps: u64,
    /// What no honest node says. Must stay empty.
    pub problems: Vec<String>,
    /// Acknowledge events as they come.
    pub acks: bool,
    /// Answer requests.
    pub answers: bool,
    /// How far the cloud's clock, as its beats tell it, is ahead of the world's.
    pub clock_ahead: Duration,
    /// Looks at every message that could be opened: what it finds wrong by path and payload is a problem.
    pub witness: Option<Witness>,
}

pub type Witness = Box<dyn Fn(&str, &Value) -> Option<String> + Send>;

impl Cloud {
    /// `node` is the public key that `latchd keygen` printed.
    pub fn new(org: &str, node_id: &str, node: PublicKey, keys: CloudKeys) -> Cloud {
        let id = |text: &str| Id::new(text).expect("an id");
        Cloud {
            topics: Topics::new(&id(org), &id(node_id)),
            keys,
            node,
            set: SetStore::default(),
            absorbs: Vec::new(),
            epoch: 1,
            keys_version: 1,
            signed_keys: None,
            next_jti: 0,
            seen: BTreeMap::new(),
            heads: BTreeMap::new(),
            events: Vec::new(),
            outcomes: Vec::new(),
            status: None,
            status_changes: (0, 0),
            doors: BTreeMap::new(),
            states: BTreeMap::new(),
            live: BTreeMap::new(),
            telemetry: None,
            requests: Vec::new(),
            duplicates: 0,
            gaps: 0,
            problems: Vec::new(),
            acks: true,
            answers: true,
            clock_ahead: Duration::ZERO,
            witness: None,
        }
    }

    /// What the cloud listens to.
    pub fn subscriptions(&self) -> Vec<String> {
        let below = |path: &str| format!("{}/{path}", self.topics.root());
        let own = [
            self.topics.rsp(),
            self.topics.evt(),
            self.topics.status(),
            self.topics.set_req(),
            self.topics.telemetry(),
        ];
        own.into_iter().chain(["state/#", "live/+"].map(below)).collect()
    }

    /// The signed key set; retained, so that a node finds it whenever it comes.
    pub fn key_set(&mut self, now: Wall) -> Outgoing {
        let version = (self.keys_version, self.epoch);
        let signed = self.signed_keys.take_if(|(of, _)| *of == version).map(|(_, signed)| signed);
        let signed = signed.unwrap_or_else(|| {
            let document = self.keys.document(self.topics.audience(), self.keys_version, self.epoch, now);
            self.signed(Typ::Keys, self.topics.set(), &set::json(&document), true)
        });
        // One document for each version: another one would be a conflict.
        self.signed_keys = Some((version, signed.clone()));
        signed
    }

    /// The key that signed all commands so far is revoked; the next ones are signed by another.
    pub fn revoke_command_key(&mut self, now: Wall) -> Outgoing {
        self.keys.replace_command_key(keys::signer_from(now.as_millis().unsigned_abs(), 99));
        self.keys_version += 1;
        self.key_set(now)
    }

    /// Changes the set: the next generation, as a delta.
    pub fn change(&mut self, now: Wall, ops: Vec<Op>) -> Outgoing {
        let (from, held) = (self.set.generation, self.set.digest());
        self.set.apply(&ops);
        let delta = SetDocument::Delta(Delta {
            aud: self.topics.audience().to_owned(),
            iat: NumericDate(now),
            epoch: self.epoch,
            from,
            to: self.set.generation,
            digest: self.set.digest(),
            critical: Vec::new(),
            absorbs: self.absorbs.clone(),
            ops,
        });
        let out = self.signed(Typ::Set, self.topics.set(), &set::json(&delta), false);
        self.set.remember(from, held, String::from_utf8_lossy(&out.payload).into_owned());
        out
    }

    /// Changes the set without telling: the node learns of it by asking, and is sent a manifest if the
    /// change is too large for a delta.
    pub fn change_silently(&mut self, ops: &[Op]) {
        self.set.apply(ops);
    }

    pub fn manifest(&self, now: Wall) -> Outgoing {
        let manifest = SetDocument::Manifest(Manifest {
            aud: self.topics.audience().to_owned(),
            iat: NumericDate(now),
            epoch: self.epoch,
            generation: self.set.generation,
            digest: self.set.digest(),
            critical: Vec::new(),
            absorbs: self.absorbs.clone(),
            chunks: self.set.summary().clone().into_chunks(),
        });
        self.signed(Typ::Set, self.topics.set(), &set::json(&manifest), false)
    }

    pub fn chunk(&self, name: Digest) -> Option<Outgoing> {
        let payload = self.set.chunk(name)?;
        Some(Outgoing { topic: self.topics.set_chunk(&name.0), payload, retain: false })
    }

    pub fn beat(&self, now: Wall, nonce: &str) -> Outgoing {
        let beat = Beat {
            aud: self.topics.audience().to_owned(),
            iat: NumericDate(now + self.clock_ahead),
            nonce: Id::new(nonce).unwrap_or_else(|_| Id::new("none").expect("an id")),
            epoch: self.epoch,
            generation: self.set.generation,
            digest: self.set.digest().0,
            keys_version: self.keys_version,
        };
        self.signed(Typ::Beat, self.topics.set(), &set::json(&beat), false)
    }

    /// Signs a wish as a command.
    pub fn command(&mut self, now: Wall, wish: &Wish) -> (Id, Outgoing) {
        let jti = wish.jti.clone().unwrap_or_else(|| {
            self.next_jti += 1;
            Id::new(&format!("c-{}", self.next_jti)).expect("an id")
        });
        let boot = wish.boot.clone().or_else(|| self.status.as_ref().map(|s| s.boot.clone()));
        let mut claims = json!({
            "iss": ISSUER,
            "aud": self.topics.audience(),
            "sub": wish.operator,
            "jti": jti,
            "iat": NumericDate(now),
            "exp": NumericDate(now + wish.lifetime),
            "cmd": wish.cmd,
            "args": wish.args,
        });
        if let (Some(boot), Some(claims)) = (boot, claims.as_object_mut()) {
            claims.insert("boot".into(), json!(boot));
        }
        (jti, self.signed(Typ::Cmd, self.topics.cmd(), &set::json(&claims), false))
    }

    pub fn signed(&self, typ: Typ, topic: String, payload: &[u8], retain: bool) -> Outgoing {
        Outgoing { topic, payload: self.keys.sign(typ, payload).into_bytes(), retain }
    }

    pub fn outcomes_of(&self, jti: &Id) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |o| o.jti == *jti)
    }

    /// The status, if the node is online.
    pub fn online(&self) -> Option<&upward::Online> {
        match &self.status.as_ref()?.status {
            NodeStatus::Online(online) => Some(online),
            NodeStatus::Offline {} => None,
        }
    }

    /// A message from the node, or from whoever writes its topics.
    pub fn handle(&mut self, now: Wall, topic: &str, payload: &[u8]) -> Vec<Outgoing> {
        let path = topic.strip_prefix(self.topics.root()).unwrap_or(topic).to_owned();
        match path.as_str() {
            "/rsp" => {
                if let Some(message) = self.open::<OutcomeMessage>(topic, payload)
                    && self.is_new(&message.boot, message.n)
                {
                    // Another command under a known id is answered by outcomes of its own, from 0.
                    let known = self.outcomes.contains(&message.outcome);
                    if !known {
                        self.outcomes.push(message.outcome);
                    }
                }
                Vec::new()
            }
            "/evt" => match self.open::<EventsMessage>(topic, payload) {
                Some(message) => self.events(message),
                None => Vec::new(),
            },
            "/status" => {
                if let Some(message) = self.open::<StatusMessage>(topic, payload) {
                    match message.status {
                        NodeStatus::Online(_) => self.status_changes.0 += 1,
                        NodeStatus::Offline {} => self.status_changes.1 += 1,
                    }
                    self.status = Some(message);
                }
                Vec::new()
            }
            "/set/req" => match self.open::<RequestMessage<SetRequest>>(topic, payload) {
                Some(message) if self.answers && self.is_new(&message.boot, message.n) => self.answer(now, message),
                _ => Vec::new(),
            },
            path if path.starts_with("/state/door/") && payload.is_empty() => {
                let gone = path.trim_start_matches("/state/door/");
                self.doors.retain(|door, _| door.as_str() != gone);
                Vec::new()
            }
            path if path.starts_with("/state/door/") => {
                if let Some(message) = self.open::<DoorMessage>(topic, payload) {
                    self.doors.insert(message.door.door.clone(), message.door);
                }
                Vec::new()
            }
            // Retained no longer: there is no such thing any more.
            path if path.starts_with("/state/") && payload.is_empty() => {
                self.states.remove(path.trim_start_matches("/state/"));
                Vec::new()
            }
            path if path.starts_with("/state/") => {
                if let Some(message) = self.open::<serde_json::Value>(topic, payload) {
                    self.states.insert(path.trim_start_matches("/state/").to_owned(), message);
                }
                Vec::new()
            }
            "/telemetry" => {
                self.telemetry = self.open::<TelemetryMessage>(topic, payload).map(|message| message.telemetry);
                Vec::new()
            }
            path if path.starts_with("/live/") => {
                if let Some(message) = self.open::<LiveMessage>(topic, payload)
                    && self.is_new(&message.boot, message.n)
                {
                    self.live_update(path.trim_start_matches("/live/"), message.live);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn live_update(&mut self, named: &str, update: LiveUpdate) {
        let so_far = self.live.entry(update.subscription.clone()).or_default();
        let seq = |event: &Map<String, Value>| event.get("seq").and_then(Value::as_u64);
        let before = so_far.iter().flat_map(|update| &update.events).filter_map(seq).max();
        let first = update.events.first().and_then(seq);
        // The link broke before the broker had said that it had it.
        let again = so_far.last().is_some_and(|last| last.events.first().and_then(seq) == first && first.is_some());
        let rises = update.events.windows(2).all(|pair| seq(&pair[0]) < seq(&pair[1]));
        if named != update.subscription.as_str()
            || !rises
            || (!again && first.is_some_and(|first| before.is_some_and(|before| before >= first)))
            || so_far.last().is_some_and(|last| last.ended.is_some())
        {
            self.problems.push(format!("live/{named}: after {before:?} came {update:?}"));
        }
        if !again {
            so_far.push(update);
        }
    }

    fn open<T: serde::de::DeserializeOwned>(&mut self, topic: &str, payload: &[u8]) -> Option<T> {
        if let (Some(witness), Ok(value)) = (&self.witness, upward::open::<Value>(payload, &self.node)) {
            let path = topic.strip_prefix(self.topics.root()).unwrap_or(topic).trim_start_matches('/');
            self.problems.extend(witness(path, &value));
        }
        match upward::open(payload, &self.node) {
            Ok(message) => Some(message),
            Err(error) => {
                self.problems.push(format!("on {topic}: {error}"));
                None
            }
        }
    }

    fn is_new(&mut self, boot: &Id, n: u64) -> bool {
        self.seen.entry(boot.clone()).or_default().insert(n)
    }

    fn events(&mut self, message: EventsMessage) -> Vec<Outgoing> {
        if !self.is_new(&message.boot, message.n) {
            return Vec::new();
        }
        let log_id = message.log_id;
        let begin = || Head::begin(log_id.clone());
        let mut head = self.heads.get(&log_id).cloned().unwrap_or_else(begin);
        for json in message.events {
            let bytes = serde_json::to_vec(&json).unwrap_or_default();
            let seq = json.get("seq").and_then(Value::as_u64).unwrap_or(0);
            if seq <= head.seq {
                self.duplicates += 1;
                continue;
            }
            match verify_next(&head, &bytes) {
                Ok(next) => head = next,
                // The acknowledgement below repeats what is stored, which tells the node.
                Err(ChainError::Sequence { .. }) => {
                    self.gaps += 1;
                    break;
                }
                Err(error) => {
                    self.problems.push(format!("event {seq} of {log_id}: {error}"));
                    break;
                }
            }
            let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let replayed = json.get("replayed").and_then(Value::as_bool).unwrap_or(false);
            self.events.push(StoredEvent { log_id: log_id.clone(), seq, replayed, kind: text("type"), json });
        }
        let ack = self.acks.then(|| self.event_ack(&head));
        self.heads.insert(log_id, head);
        ack.into_iter().collect()
    }

    /// Everything up to this head is stored.
    pub fn event_ack(&self, head: &Head) -> Outgoing {
        let ack = EventAck {
            aud: self.topics.audience().to_owned(),
            log_id: head.log_id.clone(),
            through: head.seq,
            head_hash: head.hash,
        };
        self.signed(Typ::Ack, self.topics.evt_ack(), &set::json(&ack), false)
    }

    /// Says again what is stored: after a time with `acks` off, and whenever the cloud's own link comes
    /// back, so that the node soon sends again what was lost meanwhile.
    pub fn catch_up_acks(&self) -> Vec<Outgoing> {
        self.heads.values().map(|head| self.event_ack(head)).collect()
    }

    fn answer(&mut self, now: Wall, message: RequestMessage<SetRequest>) -> Vec<Outgoing> {
        let request = message.request;
        let mut out = Vec::new();
        if message.keys_version < self.keys_version {
            out.push(Outgoing { retain: false, ..self.key_set(now) });
        }
        let held = (request.epoch, request.generation, request.digest);
        let current = (self.epoch, self.set.generation, self.set.digest());
        match request.want {
            Want::Update if self.set.generation == 0 || held == current => {}
            Want::Update => {
                let same_epoch = request.epoch == self.epoch || request.generation == 0;
                match self.set.deltas_since(request.generation, request.digest).filter(|_| same_epoch) {
                    Some(deltas) => out.extend(deltas.into_iter().map(|delta| Outgoing {
                        topic: self.topics.set(),
                        payload: delta.into_bytes(),
                        retain: false,
                    })),
                    None => out.push(self.manifest(now)),
                }
            }
            Want::Manifest => out.push(self.manifest(now)),
            Want::Chunks => {
                let chunks: Vec<_> = request.chunks.iter().map(|name| self.chunk(*name)).collect();
                if chunks.iter().any(Option::is_none) {
                    out.push(self.manifest(now));
                }
                out.extend(chunks.into_iter().flatten());
            }
        }
        out.push(self.beat(now, &request.nonce));
        self.requests.push(request);
        out
    }
}

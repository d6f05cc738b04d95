//! A session in virtual time between a pure cloud, a log in memory and a link that is told what to do.

use std::{collections::VecDeque, time::Duration};

use latchd::{
    domain::{
        event::EventBody,
        ids::Id,
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::{
        session::{
            Action, Input, Restored, Session, SetMessage,
            link::{LinkEvent, LinkOrder},
        },
        step::{LedgerWrite, MessageToken},
    },
    wire::{command::Command, keys::RootKey, set::Digest},
};
use latchd_sim::{
    cloud::{
        Cloud, Outgoing,
        keys::{CloudKeys, signer_from},
    },
    session::{self, MemoryLog, Repeating},
};

pub const SEED: u64 = 11;

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

pub struct World {
    pub now: Now,
    pub session: Session,
    pub cloud: Cloud,
    pub connection: u64,
    pub window: u16,
    /// Publishes that the broker has not taken yet.
    pub wire: VecDeque<LinkOrder>,
    pub acks: Vec<MessageToken>,
    pub last_connect: Option<LinkOrder>,
    pub goodbyes: u64,
    pub commands: Vec<(Command, MessageToken)>,
    /// Of those, what the broker called retained.
    pub retained: Vec<Id>,
    pub documents: u64,
    pub chunks: Vec<Digest>,
    pub beats: u64,
    pub events: Vec<EventBody>,
    pub writes: Vec<LedgerWrite>,
    pub stored_keys: Option<Vec<u8>>,
    pub stopped: bool,
    pub log: MemoryLog,
    packet_id: u16,
    random: Repeating,
}

impl World {
    pub fn new() -> World {
        World::restored(|_| {})
    }

    pub fn restored(change: impl FnOnce(&mut Restored)) -> World {
        let now = Now {
            mono: Mono::from_millis(1_000),
            wall: Wall::from_millis(1_790_000_000_000),
            trust: ClockTrust::Trusted,
        };
        let keys = CloudKeys::from_seed(SEED);
        let root = RootKey::from_jwk(keys.root_jwk().as_bytes()).unwrap();
        let reconnect = (Duration::from_millis(500), Duration::from_secs(60));
        let config = session::config(Duration::from_secs(60), reconnect);
        let log = MemoryLog::default();
        let mut restored = session::never_ran(&log);
        change(&mut restored);
        let mut world = World {
            now,
            session: Session::new(config, root, signer_from(SEED, 200), restored.clone(), now),
            cloud: Cloud::new("acme", "hq-1", signer_from(SEED, 200).public_key(), keys),
            connection: 0,
            window: 10,
            wire: VecDeque::new(),
            acks: Vec::new(),
            last_connect: None,
            goodbyes: 0,
            commands: Vec::new(),
            retained: Vec::new(),
            documents: 0,
            chunks: Vec::new(),
            beats: 0,
            events: Vec::new(),
            writes: Vec::new(),
            stored_keys: None,
            stopped: false,
            log,
            packet_id: 0,
            random: Repeating::default(),
        };
        for _ in 0..restored.head {
            world.append(EventBody::DoorOpened { door: id("front") });
        }
        world
    }

    pub fn input(&mut self, input: Input) {
        let actions = self.session.handle(self.now, input, &mut |bytes| self.random.fill(bytes));
        actions.into_iter().for_each(|action| self.act(action));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Link(order) => match order {
                LinkOrder::Connect { connection, .. } => {
                    self.connection = connection;
                    self.wire.clear();
                    self.last_connect = Some(order);
                }
                LinkOrder::Publish { .. } => {
                    self.wire.push_back(order);
                    assert!(self.wire.len() <= usize::from(self.window), "more on the wire than the window allows");
                }
                LinkOrder::Mention { .. } => {}
                LinkOrder::Ack(token) => self.acks.push(token),
                LinkOrder::Disconnect => self.goodbyes += 1,
                LinkOrder::Subscribe { .. } => {}
            },
            Action::Command { command, token, retained } => {
                if retained {
                    self.retained.push(command.jti.clone());
                }
                self.commands.push((*command, token));
            }
            Action::Set(SetMessage::Document { .. }) => self.documents += 1,
            Action::Set(SetMessage::Chunk { name, .. }) => self.chunks.push(name),
            Action::Set(SetMessage::Beat(_)) => self.beats += 1,
            Action::Commit(commit) => {
                for write in commit.writes {
                    match write {
                        LedgerWrite::Event(event) => {
                            self.events.push(event.body.clone());
                            self.append(event.body);
                        }
                        other => self.writes.push(other),
                    }
                }
                self.input(Input::DurableHead(self.log.head()));
            }
            Action::ReadEvents { from, bytes_max } => {
                let mut events = self.log.read(from, bytes_max);
                events.truncate(20);
                self.input(Input::Events { from, events });
            }
            Action::ReadLive { from, bytes_max } => {
                let events = self.log.read(from, bytes_max);
                self.input(Input::LiveEvents { from, events });
            }
            Action::ReadEventHash { seq } => {
                let hash = self.log.hash(seq);
                self.input(Input::EventHash { seq, hash });
            }
            Action::StoreKeys(bytes) => self.stored_keys = Some(bytes),
            Action::Keys(_) | Action::CloudTime { .. } | Action::Notice(_) => {}
            Action::Stopped => self.stopped = true,
        }
    }

    pub fn append(&mut self, body: EventBody) {
        self.log.append(self.now.wall, body);
    }

    /// Durable events.
    pub fn happen(&mut self, count: u64) {
        for _ in 0..count {
            self.append(EventBody::DoorOpened { door: id("front") });
        }
        self.input(Input::DurableHead(self.log.head()));
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.wall = self.now.wall + time;
        self.input(Input::Timeout);
    }

    /// To each deadline in turn, for this long.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end) {
            self.pass(due.since(self.now.mono));
            self.settle();
        }
        self.pass(end.since(self.now.mono));
        self.settle();
    }

    pub fn connect(&mut self) {
        let due = self.session.next_deadline().unwrap();
        self.pass(due.since(self.now.mono));
        let (connection, window) = (self.connection, self.window);
        self.input(Input::Link(LinkEvent::Connected { connection, session_present: false, window }));
    }

    /// Connected, with the cloud's keys, everything sent and answered.
    pub fn up() -> World {
        let mut world = World::new();
        world.connect();
        world.settle();
        assert!(world.stored_keys.is_some());
        world
    }

    pub fn disconnect(&mut self) {
        self.wire.clear();
        let (connection, reason) = (self.connection, "cut".to_owned());
        self.input(Input::Link(LinkEvent::Disconnected { connection, reason }));
    }

    /// The broker takes the oldest publish and hands it to the cloud.
    pub fn take_one(&mut self) -> Option<(String, Vec<Outgoing>)> {
        let LinkOrder::Publish { handle, topic, payload, .. } = self.wire.pop_front()? else { return None };
        let answers = self.cloud.handle(self.now.wall, &topic, &payload);
        let connection = self.connection;
        self.input(Input::Link(LinkEvent::PubAcked { connection, handle, refused: None, unheard: false }));
        Some((topic, answers))
    }

    /// Until nothing is on the wire any more.
    pub fn settle(&mut self) {
        while let Some((_, answers)) = self.take_one() {
            answers.into_iter().for_each(|answer| self.deliver(answer));
        }
    }

    pub fn deliver(&mut self, message: Outgoing) {
        self.deliver_as(&message.topic, message.payload, false);
    }

    pub fn deliver_as(&mut self, topic: &str, payload: Vec<u8>, retain: bool) -> MessageToken {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let token = MessageToken { connection: self.connection, packet_id: self.packet_id };
        let topic = topic.to_owned();
        self.input(Input::Link(LinkEvent::Message { token, topic, payload, retain, dup: false }));
        token
    }

    pub fn topics_on_wire(&self) -> Vec<String> {
        let topic = |order: &LinkOrder| match order {
            LinkOrder::Publish { topic, .. } => topic.trim_start_matches("latchd/v1/acme/hq-1/").to_owned(),
            other => format!("{other:?}"),
        };
        self.wire.iter().map(topic).collect()
    }

    pub fn rejected(&self) -> Vec<String> {
        let text = |body: &EventBody| match body {
            EventBody::SecurityRejected { topic, cause, .. } => Some(format!("{topic}: {cause}")),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

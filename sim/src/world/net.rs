//! The broker between node and cloud, and both their connections to it. Owns sessions, retained messages
//! and what gets lost on the way; must never look into a message. Invariant: within one connection and one
//! direction messages keep their order, unless the fault that reorders them is on.

use std::collections::{BTreeMap, VecDeque};

use latchd::gateway::{
    session::link::{LinkEvent, LinkOrder, Will},
    step::MessageToken,
};

use super::{Lane, What, World, node::NodeEvent};
use crate::cloud::Outgoing;

/// Deliveries to the node that may be unacknowledged.
const WINDOW: usize = 32;

#[derive(Clone, Debug)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
    dup: bool,
}

/// The node's connection as the broker sees it.
struct Connection {
    run: u64,
    number: u64,
    will: Option<Will>,
}

pub enum NetEvent {
    /// CONNECT reaches the broker.
    Connect {
        run: u64,
        number: u64,
        will: Will,
    },
    /// Anything else of the node's.
    FromNode {
        run: u64,
        number: u64,
        order: LinkOrder,
    },
    /// The broker notices that the node is gone.
    NodeGone {
        run: u64,
        number: u64,
    },
    FromCloud(Outgoing),
    ToCloud {
        epoch: u64,
        topic: String,
        payload: Vec<u8>,
    },
}

#[derive(Default)]
pub struct Net {
    pub down: bool,
    /// Of a thousand deliveries to the node.
    pub duplicate_permille: u64,
    pub reorder_permille: u64,
    /// Counts the broker's losses of memory: what was under way inside it is void.
    epoch: u64,
    connection: Option<Connection>,
    session: bool,
    subscribed: bool,
    queue: VecDeque<Message>,
    unacked: VecDeque<(u16, Message)>,
    next_packet: u16,
    retained: BTreeMap<String, Vec<u8>>,
    /// What the cloud could not publish while the broker was down.
    cloud_waits: Vec<Outgoing>,
}

impl World {
    pub(super) fn net_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Connect { run, number, will } => self.accept(run, number, will),
            NetEvent::FromNode { run, number, order } => {
                if self.net.connection.as_ref().is_some_and(|c| (c.run, c.number) == (run, number)) {
                    self.hear_node(run, number, order);
                }
            }
            NetEvent::NodeGone { run, number } => {
                if self.net.connection.as_ref().is_some_and(|c| (c.run, c.number) == (run, number)) {
                    self.drop_connection();
                }
            }
            NetEvent::FromCloud(message) if self.net.down => self.net.cloud_waits.push(message),
            NetEvent::FromCloud(message) => self.hear_cloud(message),
            NetEvent::ToCloud { epoch, topic, payload } => {
                if epoch == self.net.epoch {
                    self.cloud_hears(&topic, &payload);
                }
            }
        }
    }

    fn accept(&mut self, run: u64, number: u64, will: Will) {
        let to_node = |event| What::Node(run, NodeEvent::Link(event));
        if self.net.down {
            let reason = "connection refused".to_owned();
            let delay = self.rng.millis(1, 40);
            return self.send(
                Lane::BrokerToNode,
                delay,
                to_node(LinkEvent::Disconnected { connection: number, reason }),
            );
        }
        // Taken over.
        self.drop_connection();
        let session_present = std::mem::replace(&mut self.net.session, true);
        self.net.connection = Some(Connection { run, number, will: Some(will) });
        self.line(format_args!("broker: connection {number} of run {run}, session {session_present}"));
        self.count("connections");
        let delay = self.rng.micros(300, 5_000);
        let connected = LinkEvent::Connected { connection: number, session_present, window: 16 };
        self.send(Lane::BrokerToNode, delay, to_node(connected));
        while let Some((_, mut message)) = self.net.unacked.pop_back() {
            message.dup = true;
            self.net.queue.push_front(message);
        }
        self.pump();
    }

    /// The connection ends without a goodbye: the will is published.
    fn drop_connection(&mut self) {
        if let Some(Connection { will: Some(will), .. }) = self.net.connection.take() {
            self.route(will.topic, will.payload, true);
        }
    }

    fn hear_node(&mut self, run: u64, number: u64, order: LinkOrder) {
        let to_node = |event| What::Node(run, NodeEvent::Link(event));
        let delay = self.rng.micros(100, 3_000);
        match order {
            LinkOrder::Connect { .. } => {}
            LinkOrder::Disconnect => {
                self.line(format_args!("broker: goodbye of run {run}"));
                self.net.connection = None;
            }
            LinkOrder::Subscribe { .. } => {
                self.net.subscribed = true;
                let retained: Vec<_> = self.net.retained.iter().map(|(t, p)| (t.clone(), p.clone())).collect();
                for (topic, payload) in retained {
                    if self.is_for_node(&topic) {
                        self.net.queue.push_back(Message { topic, payload, retain: true, dup: false });
                    }
                }
                let subscribed = LinkEvent::Subscribed { connection: number, refused: Vec::new() };
                self.send(Lane::BrokerToNode, delay, to_node(subscribed));
                self.pump();
            }
            LinkOrder::Publish { handle, topic, payload, retain } => {
                self.route(topic, payload, retain);
                let acked = LinkEvent::PubAcked { connection: number, handle, refused: None, unheard: false };
                self.send(Lane::BrokerToNode, delay, to_node(acked));
            }
            // What is lost of it is lost: here, all.
            LinkOrder::Mention { .. } => {}
            LinkOrder::Ack(token) => {
                self.net.unacked.retain(|(packet, _)| *packet != token.packet_id);
                self.pump();
            }
        }
    }

    fn is_for_node(&self, topic: &str) -> bool {
        self.cloud.topics.incoming(topic).is_some()
    }

    /// From the node to the cloud.
    fn route(&mut self, topic: String, payload: Vec<u8>, retain: bool) {
        if retain {
            self.net.retained.insert(topic.clone(), payload.clone());
        }
        let epoch = self.net.epoch;
        let delay = self.rng.micros(200, 20_000);
        self.send(Lane::BrokerToCloud, delay, What::Net(NetEvent::ToCloud { epoch, topic, payload }));
    }

    /// From the cloud to the node.
    fn hear_cloud(&mut self, Outgoing { topic, payload, retain }: Outgoing) {
        if retain {
            self.net.retained.insert(topic.clone(), payload.clone());
        }
        if self.net.session && self.net.subscribed {
            // MQTT 5, 3.3.1.3: to a subscription that stands, a retained message comes as any other.
            self.net.queue.push_back(Message { topic, payload, retain: false, dup: false });
            let queued = self.net.queue.len();
            if queued >= 2 && self.rng.permille(self.net.reorder_permille) {
                self.net.queue.swap(queued - 1, queued - 2);
                self.count("reordered");
            }
            self.pump();
        }
    }

    /// Sends the node what its window lets through.
    fn pump(&mut self) {
        while self.net.unacked.len() < WINDOW && self.net.subscribed {
            let Some(&Connection { run, number, .. }) = self.net.connection.as_ref() else { return };
            let Some(message) = self.net.queue.pop_front() else { return };
            if !message.dup && self.rng.permille(self.net.duplicate_permille) {
                self.count("duplicated");
                self.net.queue.push_front(Message { dup: true, ..message.clone() });
            }
            // Long waits in the broker are what reorders streams of one topic against another.
            self.net.next_packet = self.net.next_packet.checked_add(1).unwrap_or(1);
            let packet_id = self.net.next_packet;
            let token = MessageToken { connection: number, packet_id };
            let Message { topic, payload, retain, dup } = message.clone();
            self.net.unacked.push_back((packet_id, message));
            let delay = self.rng.micros(200, 20_000);
            let event = LinkEvent::Message { token, topic, payload, retain, dup };
            self.send(Lane::BrokerToNode, delay, What::Node(run, NodeEvent::Link(event)));
        }
    }

    /// The node's order to its link.
    pub(super) fn link_order(&mut self, order: LinkOrder) {
        let run = self.run;
        let delay = self.rng.micros(100, 8_000);
        match order {
            LinkOrder::Connect { connection: number, will } => {
                if let Some(node) = &mut self.node {
                    node.connection = number;
                }
                let delay = delay + self.rng.millis(2, 40);
                self.send(Lane::NodeToBroker, delay, What::Net(NetEvent::Connect { run, number, will }));
            }
            order => {
                let number = self.node.as_ref().map_or(0, |node| node.connection);
                self.send(Lane::NodeToBroker, delay, What::Net(NetEvent::FromNode { run, number, order }));
            }
        }
    }

    /// The line breaks; both sides notice in their own time.
    pub(super) fn cut_connection(&mut self) {
        let Some(Connection { run, number, .. }) = &self.net.connection else { return };
        let (run, number) = (*run, *number);
        self.line(format_args!("net: connection {number} is cut"));
        self.drop_connection();
        let delay = self.rng.millis(1, 1_500);
        let reason = "connection reset".to_owned();
        let event = LinkEvent::Disconnected { connection: number, reason };
        self.send(Lane::BrokerToNode, delay, What::Node(run, NodeEvent::Link(event)));
    }

    /// The process at the other end has died.
    pub(super) fn node_vanished(&mut self) {
        if let Some(Connection { run, number, .. }) = &self.net.connection {
            let (run, number) = (*run, *number);
            let delay = self.rng.millis(1, 3_000);
            self.post(delay, What::Net(NetEvent::NodeGone { run, number }));
        }
    }

    pub(super) fn broker_stops(&mut self, forgets_sessions: bool, forgets_retained: bool) {
        self.cut_connection();
        self.net.down = true;
        if forgets_sessions {
            self.forget_sessions();
            self.net.epoch += 1;
        }
        if forgets_retained {
            self.net.retained.clear();
        }
    }

    pub(super) fn forget_sessions(&mut self) {
        self.cut_connection();
        self.net.session = false;
        self.net.subscribed = false;
        self.net.queue.clear();
        self.net.unacked.clear();
    }

    pub(super) fn broker_starts(&mut self) {
        self.net.down = false;
        // The cloud's own link comes back with it.
        let keys = self.cloud.key_set(self.wall());
        self.hear_cloud(keys);
        for message in std::mem::take(&mut self.net.cloud_waits) {
            self.hear_cloud(message);
        }
        self.cloud_catches_up();
    }

    pub(super) fn cloud_catches_up(&mut self) {
        for ack in self.cloud.catch_up_acks() {
            self.cloud_sends(ack);
        }
    }

    pub(super) fn cloud_sends(&mut self, message: Outgoing) {
        let delay = self.rng.millis(1, 30);
        self.send(Lane::CloudToBroker, delay, What::Net(NetEvent::FromCloud(message)));
    }

    fn cloud_hears(&mut self, topic: &str, payload: &[u8]) {
        let wall = self.wall();
        let answers = self.cloud.handle(wall, topic, payload);
        for answer in answers {
            self.cloud_sends(answer);
        }
        self.oracle.cloud_heard(&self.cloud);
    }
}

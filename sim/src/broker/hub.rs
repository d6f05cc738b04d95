//! What the broker knows: sessions, retained messages, who is connected. No sockets here; a
//! connection asks for its next delivery and tells what came in.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Connect, Filter, LastWill, Publish, RetainForwardRule},
};
use tokio::sync::Notify;

use super::{BrokerOptions, Counters, Faults, Way};

/// Ways that are remembered: far more than one test has topics.
const WAYS_MAX: usize = 100_000;

pub struct Hub {
    pub options: BrokerOptions,
    pub counters: Counters,
    /// False while the broker is stopped.
    pub accepting: bool,
    faults: Faults,
    /// In which ways clients have published, wills included.
    pub ways: BTreeSet<Way>,
    retained: BTreeMap<String, (Bytes, QoS)>,
    sessions: BTreeMap<String, Session>,
    next_connection: u64,
}

struct Session {
    filters: Vec<Filter>,
    /// Not yet sent, in order.
    queue: VecDeque<Waiting>,
    /// Sent with QoS 1 and not acknowledged, in order of sending.
    unacked: VecDeque<Publish>,
    next_packet_id: u16,
    /// So many unacknowledged deliveries the client accepts.
    receive_maximum: u16,
    expiry: Duration,
    /// When it is forgotten; `None` while connected or for ever.
    expires_at: Option<Instant>,
    owner: Option<Owner>,
    deliveries: u32,
}

struct Waiting {
    publish: Publish,
    due: Instant,
}

/// The ends by which the hub reaches a connection's task.
#[derive(Clone)]
pub struct Connected {
    pub number: u64,
    pub wake: Arc<Notify>,
    pub cut: Arc<Notify>,
}

/// The connection that a session belongs to, and the will it left.
struct Owner {
    connected: Connected,
    will: Option<LastWill>,
}

pub enum NextDelivery {
    Now(Box<Publish>),
    At(Instant),
    None,
}

impl Hub {
    pub fn new(options: BrokerOptions) -> Hub {
        Hub {
            options,
            counters: Counters::default(),
            accepting: true,
            faults: Faults::default(),
            ways: BTreeSet::new(),
            retained: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_connection: 0,
        }
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    pub fn set_faults(&mut self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults);
        self.sessions.values().filter_map(Session::connected).for_each(|c| c.wake.notify_one());
    }

    pub fn retained(&self, topic: &str) -> Option<Vec<u8>> {
        self.retained.get(topic).map(|(payload, _)| payload.to_vec())
    }

    pub fn cut_all(&mut self) {
        self.sessions.values().filter_map(Session::connected).for_each(|c| c.cut.notify_one());
    }

    pub fn forget_sessions(&mut self) {
        self.cut_all();
        let forgotten = std::mem::take(&mut self.sessions);
        for will in forgotten.into_values().filter_map(|s| s.owner?.will) {
            self.publish_will(&will);
        }
    }

    /// A CONNECT that was accepted: the session, fresh or resumed, now belongs to this connection.
    pub fn connect(&mut self, connect: &Connect, will: Option<LastWill>) -> (Connected, bool) {
        let now = Instant::now();
        self.sessions.retain(|_, s| s.expires_at.is_none_or(|at| at > now));
        let properties = connect.properties.as_ref();
        let expiry = properties.and_then(|p| p.session_expiry_interval).unwrap_or(0);
        let receive_maximum = properties.and_then(|p| p.receive_maximum).unwrap_or(u16::MAX).max(1);
        self.next_connection += 1;
        self.counters.connections += 1;
        let connected = Connected { number: self.next_connection, wake: Arc::default(), cut: Arc::default() };
        let mut resumed = self.sessions.remove(&connect.client_id);
        if let Some(taken_over) = resumed.as_mut().and_then(|s| s.owner.take()) {
            taken_over.connected.cut.notify_one();
            // Before anything that the new connection says.
            if let Some(will) = taken_over.will {
                self.publish_will(&will);
            }
        }
        resumed = resumed.filter(|_| !connect.clean_start);
        let present = resumed.is_some();
        let mut session = resumed.unwrap_or_else(Session::fresh);
        session.receive_maximum = receive_maximum;
        session.expiry = Duration::from_secs(expiry.into());
        session.expires_at = None;
        // Sent to an earlier connection and not acknowledged: sent again first, in order, with DUP.
        while let Some(mut publish) = session.unacked.pop_back() {
            publish.dup = true;
            session.queue.push_front(Waiting { publish, due: now });
        }
        connected.wake.notify_one();
        session.owner = Some(Owner { connected: connected.clone(), will });
        self.sessions.insert(connect.client_id.clone(), session);
        (connected, present)
    }

    /// The connection is gone; the will is published unless the client said goodbye.
    pub fn disconnect(&mut self, client: &str, number: u64, goodbye: bool) {
        // Taken over or forgotten: then the will has been published.
        let Some(session) = self.session(client, number) else { return };
        session.expires_at = Some(Instant::now() + session.expiry);
        let will = session.owner.take().and_then(|owner| owner.will);
        if session.expiry.is_zero() {
            self.sessions.remove(client);
        }
        if let Some(will) = will.filter(|_| !goodbye) {
            self.publish_will(&will);
        }
    }

    fn publish_will(&mut self, will: &LastWill) {
        if let Ok(topic) = std::str::from_utf8(&will.topic) {
            self.note(topic, will.qos, will.retain);
            self.route(topic, will.message.clone(), will.qos, will.retain);
        }
    }

    pub fn subscribe(&mut self, client: &str, number: u64, filters: &[Filter]) {
        let Some(session) = self.session(client, number) else { return };
        let mut fresh = Vec::new();
        for filter in filters {
            let known = session.filters.iter().position(|f| f.path == filter.path);
            match known.and_then(|at| session.filters.get_mut(at)) {
                Some(known) => *known = filter.clone(),
                None => session.filters.push(filter.clone()),
            }
            let wanted = match filter.retain_forward_rule {
                RetainForwardRule::OnEverySubscribe => true,
                RetainForwardRule::OnNewSubscribe => known.is_none(),
                RetainForwardRule::Never => false,
            };
            if wanted {
                fresh.push(filter.clone());
            }
        }
        for filter in fresh {
            let retained: Vec<_> = self
                .retained
                .iter()
                .filter(|(topic, _)| topic_matches(topic, &filter.path))
                .map(|(topic, (payload, qos))| (topic.clone(), payload.clone(), *qos))
                .collect();
            for (topic, payload, qos) in retained {
                self.enqueue(client, &topic, payload, lower(qos, filter.qos), true);
            }
        }
    }

    pub fn unsubscribe(&mut self, client: &str, number: u64, filters: &[String]) {
        if let Some(session) = self.session(client, number) {
            session.filters.retain(|f| !filters.contains(&f.path));
        }
    }

    fn note(&mut self, topic: &str, qos: QoS, retain: bool) {
        if self.ways.len() < WAYS_MAX {
            self.ways.insert(Way { topic: topic.to_owned(), qos: qos as u8, retain });
        }
    }

    /// A client published. False: the fault "lose" took it.
    pub fn published(&mut self, publish: &Publish) -> bool {
        self.counters.published += 1;
        let lose = u64::from(self.faults.lose_every);
        if lose > 0 && self.counters.published.is_multiple_of(lose) {
            return false;
        }
        if let Ok(topic) = std::str::from_utf8(&publish.topic) {
            self.note(topic, publish.qos, publish.retain);
            self.route(topic, publish.payload.clone(), publish.qos, publish.retain);
        }
        true
    }

    pub fn route(&mut self, topic: &str, payload: Bytes, qos: QoS, retain: bool) {
        if retain && payload.is_empty() {
            self.retained.remove(topic);
        } else if retain {
            self.retained.insert(topic.to_owned(), (payload.clone(), qos));
        }
        let receivers: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(client, session)| {
                let granted = session.filters.iter().filter(|f| topic_matches(topic, &f.path)).map(|f| f.qos);
                granted.reduce(higher).map(|granted| (client.clone(), granted))
            })
            .collect();
        for (client, granted) in receivers {
            self.enqueue(&client, topic, payload.clone(), lower(qos, granted), false);
        }
    }

    fn enqueue(&mut self, client: &str, topic: &str, payload: Bytes, qos: QoS, retain: bool) {
        let due = Instant::now() + self.faults.delay;
        let queue_max = self.options.queue_max;
        let Some(session) = self.sessions.get_mut(client) else { return };
        if session.queue.len() >= queue_max {
            session.queue.pop_front();
            self.counters.dropped += 1;
        }
        let mut publish = Publish::new(topic, qos, payload, None);
        publish.retain = retain;
        session.queue.push_back(Waiting { publish, due });
        if let Some(connection) = session.connected() {
            connection.wake.notify_one();
        }
    }

    /// What this connection may send now. It is then unacknowledged, if it has QoS 1.
    pub fn next_delivery(&mut self, client: &str, number: u64) -> NextDelivery {
        let duplicate_every = self.faults.duplicate_every;
        let Some(session) = self.session(client, number) else { return NextDelivery::None };
        let Some(first) = session.queue.front() else { return NextDelivery::None };
        if first.due > Instant::now() {
            return NextDelivery::At(first.due);
        }
        let full = session.unacked.len() >= usize::from(session.receive_maximum);
        if full && first.publish.qos != QoS::AtMostOnce {
            return NextDelivery::None;
        }
        let Some(Waiting { mut publish, .. }) = session.queue.pop_front() else { return NextDelivery::None };
        let redelivered = publish.dup;
        if publish.qos != QoS::AtMostOnce {
            if publish.pkid == 0 {
                publish.pkid = session.free_packet_id();
            }
            session.unacked.push_back(publish.clone());
            session.deliveries += 1;
            if duplicate_every > 0 && session.deliveries.is_multiple_of(duplicate_every) {
                let twin = Publish { pkid: 0, dup: true, ..publish.clone() };
                session.queue.push_front(Waiting { publish: twin, due: Instant::now() });
            }
        }
        self.counters.delivered += 1;
        self.counters.redelivered += u64::from(redelivered);
        NextDelivery::Now(Box::new(publish))
    }

    pub fn acknowledged(&mut self, client: &str, number: u64, packet_id: u16) {
        if let Some(session) = self.session(client, number) {
            session.unacked.retain(|publish| publish.pkid != packet_id);
        }
    }

    /// The session, if it still belongs to this connection.
    fn session(&mut self, client: &str, number: u64) -> Option<&mut Session> {
        self.sessions.get_mut(client).filter(|s| s.connected().is_some_and(|c| c.number == number))
    }
}

impl Session {
    fn fresh() -> Session {
        Session {
            filters: Vec::new(),
            queue: VecDeque::new(),
            unacked: VecDeque::new(),
            next_packet_id: 0,
            receive_maximum: u16::MAX,
            expiry: Duration::ZERO,
            expires_at: None,
            owner: None,
            deliveries: 0,
        }
    }

    fn connected(&self) -> Option<&Connected> {
        self.owner.as_ref().map(|owner| &owner.connected)
    }

    fn free_packet_id(&mut self) -> u16 {
        loop {
            self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
            let id = self.next_packet_id;
            let waits_again = |w: &Waiting| w.publish.pkid == id;
            if !self.unacked.iter().any(|p| p.pkid == id) && !self.queue.iter().take(64).any(waits_again) {
                return id;
            }
        }
    }
}

fn lower(a: QoS, b: QoS) -> QoS {
    if a == QoS::AtMostOnce || b == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

fn higher(a: QoS, b: QoS) -> QoS {
    if a == QoS::AtMostOnce { b } else { a }
}

/// MQTT 5, section 4.7.
pub fn topic_matches(topic: &str, filter: &str) -> bool {
    let mut levels = topic.split('/');
    if topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+')) {
        return false;
    }
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

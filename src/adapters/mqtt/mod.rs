//! MQTT 5 over TLS 1.3, by rumqttc and rustls.
//!
//! Owns the socket to the broker and nothing that must survive it: what is sent, in which order, when
//! to reconnect and what to resend is decided by `gateway::session`. Must never keep a message from
//! one connection to the next (rumqttc does so wrongly in several ways: each connection gets a fresh
//! event loop, and what was unacknowledged is dropped here). Invariant: every `Connect` is answered by
//! exactly one `Connected` or `Disconnected`, and nothing that the broker does panics or hangs the
//! daemon.

mod connection;
mod explain;
mod tls;

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::{
    config::site::Tls,
    domain::time::Wall,
    gateway::session::link::{LinkEvent, LinkOrder},
};

/// Whatever carries MQTT for the session.
pub trait Link {
    /// Never waits.
    fn order(&mut self, order: LinkOrder);
    /// Safe to cancel.
    fn next(&mut self) -> impl Future<Output = LinkEvent>;
}

/// How to reach the broker. Certificate and key files are read again for each connection, so that
/// they can be rotated under a running daemon.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    pub host: String,
    pub port: u16,
    /// `None`: in the clear, which the caller has reported as a standing alarm.
    pub tls: Option<Tls>,
    pub username: Option<String>,
    /// The file that holds the password; white space around it is not part of it.
    pub password_file: Option<PathBuf>,
    pub client_id: String,
    pub keep_alive: Duration,
}

/// So many publishes may be unacknowledged at most, if the broker allows as many.
const WINDOW_MAX: u16 = 64;
/// So many received messages may wait for our acknowledgement.
const RECEIVE_MAXIMUM: u16 = 64;
/// The contract's 256 KiB, and room for the topic and the packet's own fields.
const PACKET_BYTES_MAX: u32 = 256 * 1024 + 1024;
/// How long the broker keeps our session without us: for broken lines. After a longer absence nothing
/// in it is of use: commands have expired, and sets and events converge by asking.
const SESSION_EXPIRY_S: u32 = 3600;
/// From the name's look-up to CONNACK.
const CONNECT_WITHIN_S: u64 = 10;
/// Events on their way to the session. When full, the connection is read no further.
const EVENTS_QUEUED_MAX: usize = 64;

/// The link to a real broker. Must be used within a tokio runtime.
pub struct MqttLink {
    config: LinkConfig,
    events: mpsc::Receiver<LinkEvent>,
    events_in: mpsc::Sender<LinkEvent>,
    /// What did not come from the network: a connection that could not even be tried.
    own: VecDeque<LinkEvent>,
    /// The latest connection, alive or not.
    connection: u64,
    running: Option<Running>,
    /// The next connection asks for a session without what is queued in the old one. It costs nothing:
    /// events come from our own outbox, sets by asking, and commands are repeated by whoever sent them.
    fresh_session: bool,
    /// A time that has passed, and when that was said.
    passed: (Wall, Instant),
}

struct Running {
    orders: Arc<connection::Orders>,
    task: JoinHandle<()>,
}

impl MqttLink {
    pub fn new(config: LinkConfig) -> MqttLink {
        let (events_in, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        MqttLink {
            config,
            events,
            events_in,
            own: VecDeque::new(),
            connection: 0,
            running: None,
            fresh_session: false,
            passed: (Wall::EPOCH, Instant::now()),
        }
    }

    /// It is `wall` or later, whatever the clock says: a box that starts without a clock would otherwise find
    /// every certificate not valid yet, and never hear from the cloud what time it is.
    #[must_use]
    pub fn no_earlier_than(mut self, wall: Wall) -> MqttLink {
        self.passed = (wall, Instant::now());
        self
    }

    fn connect(&mut self, connection: u64, will: crate::gateway::session::link::Will) {
        self.drop_connection();
        self.connection = connection;
        let (passed, since) = self.passed;
        let no_earlier = passed + since.elapsed();
        match connection::options(&self.config, will, std::mem::take(&mut self.fresh_session), no_earlier) {
            Err(reason) => self.own.push_back(LinkEvent::Disconnected { connection, reason }),
            Ok(options) => {
                let (orders, running) =
                    connection::start(options, self.config.clone(), connection, self.events_in.clone());
                self.running = Some(Running { orders, task: tokio::spawn(running) });
            }
        }
    }

    fn drop_connection(&mut self) {
        if let Some(running) = self.running.take() {
            running.task.abort();
        }
    }

    fn fail(&mut self, reason: &str) {
        if self.running.is_some() {
            self.drop_connection();
            self.own.push_back(LinkEvent::Disconnected { connection: self.connection, reason: reason.to_owned() });
        }
    }

    /// Events of earlier connections mean nothing any more.
    fn is_current(&self, event: &LinkEvent) -> bool {
        let of = match event {
            LinkEvent::Connected { connection, .. }
            | LinkEvent::Subscribed { connection, .. }
            | LinkEvent::PubAcked { connection, .. }
            | LinkEvent::Disconnected { connection, .. } => *connection,
            LinkEvent::Message { token, .. } => token.connection,
        };
        of == self.connection && self.running.is_some()
    }
}

impl Link for MqttLink {
    fn order(&mut self, order: LinkOrder) {
        if let LinkOrder::Connect { connection, will } = order {
            return self.connect(connection, will);
        }
        let Some(running) = &self.running else { return };
        if let LinkOrder::Ack(token) = &order
            && token.connection != self.connection
        {
            return;
        }
        if running.orders.send(order).is_err() {
            // The channel has room for the whole window: the session broke its promise, or the event
            // loop is gone. Losing an order silently would be worse than a new connection.
            self.fail("the outgoing queue is full");
        }
    }

    async fn next(&mut self) -> LinkEvent {
        loop {
            if let Some(event) = self.own.pop_front() {
                return event;
            }
            match self.events.recv().await {
                Some(event) if self.is_current(&event) => {
                    if matches!(event, LinkEvent::Disconnected { .. }) {
                        let ended = self.running.take();
                        self.fresh_session = ended.is_some_and(|running| running.orders.met_unreadable());
                    }
                    return event;
                }
                Some(_) => {}
                // Cannot be: `events_in` is ours.
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for MqttLink {
    fn drop(&mut self) {
        self.drop_connection();
    }
}

//! One connection: a fresh rumqttc event loop, driven by a task of its own, because its `poll` loses
//! a packet when it is cancelled. Ends with exactly one `Disconnected`.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use rumqttc::{
    NetworkOptions, Outgoing, TlsConfiguration, Transport,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{ConnectProperties, Filter, LastWill, Packet, PubAckReason, Publish, SubAck, SubscribeReasonCode},
        },
    },
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    CONNECT_WITHIN_S, LinkConfig, PACKET_BYTES_MAX, RECEIVE_MAXIMUM, SESSION_EXPIRY_S, WINDOW_MAX, explain, tls,
};
use crate::{
    domain::time::Wall,
    gateway::{
        session::link::{Handle, LinkEvent, LinkOrder, Will},
        step::MessageToken,
    },
};

/// How much longer than the keep-alive one `poll` may take: it returns at each ping at the latest, so
/// past this the peer has stopped reading while we write.
const POLL_GRACE: Duration = Duration::from_secs(5);

/// rumqttc panics below this.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(u16::MAX as u64);

/// Everything for one attempt; files are read now. The error is for the installer. A fresh session forgets
/// what the broker has queued.
pub fn options(config: &LinkConfig, will: Will, fresh_session: bool, no_earlier: Wall) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(&config.client_id, &config.host, config.port);
    options.set_keep_alive(config.keep_alive.clamp(KEEP_ALIVE_MIN, KEEP_ALIVE_MAX));
    options.set_clean_start(fresh_session);
    options.set_manual_acks(true);
    options.set_connection_timeout(CONNECT_WITHIN_S);
    // Packet ids run in order modulo this; far above the window, so that one late PUBACK does not make
    // an id collide (the broker's receive maximum lowers it, see `window`).
    options.set_outgoing_inflight_upper_limit(WINDOW_MAX * 8);
    options.set_connect_properties(ConnectProperties {
        session_expiry_interval: Some(SESSION_EXPIRY_S),
        receive_maximum: Some(RECEIVE_MAXIMUM),
        max_packet_size: Some(PACKET_BYTES_MAX),
        ..ConnectProperties::new()
    });
    options.set_last_will(LastWill::new(will.topic, will.payload, QoS::AtLeastOnce, true, None));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some(tls) = &config.tls {
        let client = tls::client_config(tls, no_earlier)?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(client)));
    }
    if let Some(username) = &config.username {
        let password = match &config.password_file {
            None => String::new(),
            Some(file) => std::fs::read_to_string(file)
                .map_err(|e| format!("cannot read the MQTT password from {}: {e}", file.display()))?,
        };
        options.set_credentials(username, password.trim());
    }
    Ok(options)
}

/// The sending end of a connection.
pub struct Orders {
    client: AsyncClient,
    /// Handles of publishes in the order in which they were handed to the event loop, which gives out
    /// packet ids in that order.
    handed_over: Mutex<VecDeque<Handle>>,
    /// A publish of QoS 0 waits to be sent.
    mentioned: AtomicBool,
    /// The filters of the last SUBSCRIBE, to name those that are refused.
    filters: Mutex<Vec<String>>,
    /// The broker sent what cannot be read, and would send it again in the same session for ever.
    unreadable: AtomicBool,
}

pub struct OrdersFull;

impl Orders {
    pub fn send(&self, order: LinkOrder) -> Result<(), OrdersFull> {
        let sent = match order {
            LinkOrder::Publish { handle, topic, payload, retain } => {
                let mut handed_over = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
                let sent = self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload);
                if sent.is_ok() {
                    handed_over.push_back(handle);
                }
                sent
            }
            LinkOrder::Mention { topic, payload } => {
                // One at a time, so that the room for what is promised is never theirs.
                if !self.mentioned.swap(true, Relaxed)
                    && self.client.try_publish(topic, QoS::AtMostOnce, false, payload).is_err()
                {
                    self.mentioned.store(false, Relaxed);
                }
                Ok(())
            }
            LinkOrder::Subscribe { filters } => {
                filters.clone_into(&mut self.filters.lock().unwrap_or_else(PoisonError::into_inner));
                self.client.try_subscribe_many(filters.into_iter().map(|f| Filter::new(f, QoS::AtLeastOnce)))
            }
            LinkOrder::Ack(token) => {
                let message = Publish { pkid: token.packet_id, qos: QoS::AtLeastOnce, ..Publish::default() };
                self.client.try_ack(&message)
            }
            LinkOrder::Disconnect => self.client.try_disconnect(),
            // Makes a connection, is not sent on one.
            LinkOrder::Connect { .. } => Ok(()),
        };
        sent.map_err(|_| OrdersFull)
    }

    /// Whether this connection ended by something that cannot be read.
    pub fn met_unreadable(&self) -> bool {
        self.unreadable.load(Relaxed)
    }

    fn next_handle(&self) -> Option<Handle> {
        self.handed_over.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

pub fn start(
    options: MqttOptions,
    config: LinkConfig,
    connection: u64,
    events: mpsc::Sender<LinkEvent>,
) -> (Arc<Orders>, impl Future<Output = ()> + Send + 'static) {
    let capacity = usize::from(WINDOW_MAX) + usize::from(RECEIVE_MAXIMUM) + 8;
    let poll_within = options.keep_alive() + POLL_GRACE;
    let (client, event_loop) = AsyncClient::new(options, capacity);
    let orders = Arc::new(Orders {
        client,
        handed_over: Mutex::default(),
        mentioned: AtomicBool::new(false),
        filters: Mutex::default(),
        unreadable: AtomicBool::new(false),
    });
    let running = Connection {
        config,
        connection,
        event_loop,
        orders: Arc::clone(&orders),
        events: events.clone(),
        unacknowledged: BTreeMap::new(),
    };
    let task = async move {
        // rumqttc has asserts and index arithmetic on what the broker sends: contain them.
        let mut run = pin!(running.run(poll_within));
        let reason = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready("the MQTT client failed on what the broker sent".to_owned()),
        })
        .await;
        let _ = events.send(LinkEvent::Disconnected { connection, reason }).await;
    };
    (orders, task)
}

struct Connection {
    config: LinkConfig,
    connection: u64,
    event_loop: EventLoop,
    orders: Arc<Orders>,
    events: mpsc::Sender<LinkEvent>,
    /// Publishes on the wire, by packet id.
    unacknowledged: BTreeMap<u16, Handle>,
}

/// Why the connection's loop should end, for the log and the event.
type Reason = String;

impl Connection {
    async fn run(mut self, poll_within: Duration) -> Reason {
        // The first poll connects, which has a bound of its own.
        let mut within = Duration::from_secs(CONNECT_WITHIN_S) + POLL_GRACE;
        loop {
            let polled = match timeout(within, self.event_loop.poll()).await {
                Ok(polled) => polled,
                Err(_) => return format!("the broker has not taken or sent anything for {} s", within.as_secs()),
            };
            within = poll_within;
            let handled = match polled {
                Ok(Event::Incoming(packet)) => self.incoming(packet).await,
                Ok(Event::Outgoing(outgoing)) => self.outgoing(outgoing),
                Err(error) => Err(self.explain(&error)),
            };
            if let Err(reason) = handled {
                return reason;
            }
        }
    }

    fn explain(&self, error: &ConnectionError) -> Reason {
        if explain::is_unreadable(error) {
            self.orders.unreadable.store(true, Relaxed);
        }
        explain::connection_error(error, &self.config)
    }

    async fn incoming(&mut self, packet: Packet) -> Result<(), Reason> {
        let connection = self.connection;
        let event = match packet {
            Packet::ConnAck(connack) => {
                let properties = connack.properties.as_ref();
                let receive_maximum = properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX);
                if receive_maximum == 0 {
                    return Err("the broker announced a receive maximum of 0, which MQTT forbids".to_owned());
                }
                LinkEvent::Connected {
                    connection,
                    session_present: connack.session_present,
                    window: window(receive_maximum),
                }
            }
            Packet::Publish(publish) => {
                if publish.qos == QoS::ExactlyOnce {
                    return Err("the broker sent QoS 2 to a subscription of QoS 1".to_owned());
                }
                // Without UTF-8 it is none of our topics; the session counts it as such.
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                LinkEvent::Message {
                    // QoS 0 has packet id 0, which is never acknowledged.
                    token: MessageToken { connection, packet_id: publish.pkid },
                    topic,
                    payload: publish.payload.into(),
                    retain: publish.retain,
                    dup: publish.dup,
                }
            }
            Packet::PubAck(ack) => {
                let Some(handle) = self.unacknowledged.remove(&ack.pkid) else { return Ok(()) };
                let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                let refused = (!taken).then(|| explain::publish_refused(ack.reason));
                let unheard = ack.reason == PubAckReason::NoMatchingSubscribers;
                LinkEvent::PubAcked { connection, handle, refused, unheard }
            }
            Packet::SubAck(ack) => LinkEvent::Subscribed { connection, refused: self.refused(&ack) },
            _ => return Ok(()),
        };
        // Fails only when the link itself is gone, which ends this task too.
        self.events.send(event).await.map_err(|_| "the link was dropped".to_owned())
    }

    fn outgoing(&mut self, outgoing: Outgoing) -> Result<(), Reason> {
        match outgoing {
            // QoS 0 has no packet id.
            Outgoing::Publish(0) => {
                self.orders.mentioned.store(false, Relaxed);
                Ok(())
            }
            Outgoing::Publish(packet_id) => {
                if let Some(handle) = self.orders.next_handle() {
                    self.unacknowledged.insert(packet_id, handle);
                }
                Ok(())
            }
            Outgoing::Disconnect => Err("said goodbye".to_owned()),
            _ => Ok(()),
        }
    }

    fn refused(&self, ack: &SubAck) -> Vec<(String, String)> {
        let filters = self.orders.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || "a filter".to_owned();
        ack.return_codes
            .iter()
            .enumerate()
            .filter(|(_, code)| !matches!(code, SubscribeReasonCode::Success(_)))
            .map(|(n, code)| (filters.get(n).cloned().unwrap_or_else(unknown), format!("{code:?}")))
            .collect()
    }
}

/// rumqttc stops sending, acknowledgements included, once as many publishes are unacknowledged as the
/// broker's receive maximum, and hands out packet ids modulo that number, one of them to SUBSCRIBE:
/// two below it neither can happen.
fn window(receive_maximum: u16) -> u16 {
    receive_maximum.saturating_sub(2).clamp(1, WINDOW_MAX)
}

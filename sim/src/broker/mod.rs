//! A small MQTT 5 broker for the demo, the tests and the benches: QoS 0 and 1, retained messages,
//! wills, persistent sessions with expiry, receive maximum in both directions, redelivery with DUP,
//! optional TLS with client certificates, and faults that can be switched on and off.
//!
//! Owns one thread with its own runtime. Must never be part of the daemon, and is no model of how a
//! production broker is built: everything is in memory. Invariant: a session's messages are delivered
//! in the order in which they were routed to it, unless a fault is switched on.

mod connection;
mod hub;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};

use hub::Hub;

/// How a broker is set up; none of it changes while it runs.
#[derive(Clone)]
pub struct BrokerOptions {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// With a verifier for client certificates in it, clients without one are turned away.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What the broker announces: so many unacknowledged QoS 1 publishes it accepts from one client.
    pub receive_maximum: u16,
    /// Announced and enforced.
    pub packet_bytes_max: u32,
    /// Messages waiting for one session; when full, the oldest waiting message is dropped and counted.
    pub queue_max: usize,
}

impl Default for BrokerOptions {
    fn default() -> BrokerOptions {
        BrokerOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            receive_maximum: 20,
            packet_bytes_max: 1024 * 1024,
            queue_max: 100_000,
        }
    }
}

/// What can go wrong on purpose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Every n-th QoS 1 delivery is sent twice, the second time with DUP; 0: none.
    pub duplicate_every: u32,
    /// Deliveries wait this long.
    pub delay: Duration,
    /// PUBACKs are withheld and then sent last first, in groups.
    pub acks_reversed: bool,
    /// PUBACKs are never sent.
    pub acks_swallowed: bool,
    /// The broker neither reads nor writes: connections stay open and silent.
    pub stalled: bool,
    /// CONNECT is answered with "Not authorized".
    pub refuse_connections: bool,
    /// Every n-th message that a client publishes is acknowledged and then forgotten; 0: none.
    pub lose_every: u32,
}

/// What passed through, for assertions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub connections: u64,
    pub published: u64,
    pub delivered: u64,
    pub redelivered: u64,
    /// Dropped because a session's queue was full.
    pub dropped: u64,
    /// Clients that sent more than the announced receive maximum: protocol errors.
    pub receive_maximum_exceeded: u64,
}

/// A topic, and how something was published there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
}

/// A running broker. Dropping it ends its thread.
pub struct Broker {
    address: SocketAddr,
    hub: Arc<Mutex<Hub>>,
    /// Whether it should listen; `None` ends the thread.
    power: watch::Sender<Option<bool>>,
    /// Whether it does listen.
    listening: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    pub fn start(options: BrokerOptions) -> std::io::Result<Broker> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let hub = Arc::new(Mutex::new(Hub::new(options.clone())));
        let (power, switched) = watch::channel(Some(true));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&hub);
        let listening = Arc::new(AtomicBool::new(true));
        let says = Arc::clone(&listening);
        let thread = std::thread::Builder::new().name("broker".into()).spawn(move || {
            let served = runtime.block_on(serve(listener, address, options, shared, switched, &says));
            if let Err(error) = served {
                tracing::error!(%error, "the test broker ended");
            }
        })?;
        Ok(Broker { address, hub, power, listening, thread: Some(thread) })
    }

    /// Where it listens; the same after a stop and a start.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and every connection without a word. Sessions and retained messages stay.
    pub fn stop(&self) {
        self.hub().accepting = false;
        self.power.send_replace(Some(false));
        self.drop_connections();
        self.wait_until_listening(false);
    }

    /// Listens again on the same port.
    pub fn start_again(&self) {
        self.hub().accepting = true;
        self.power.send_replace(Some(true));
        self.wait_until_listening(true);
    }

    fn wait_until_listening(&self, on: bool) {
        for _ in 0..5_000 {
            if self.listening.load(Ordering::Acquire) == on {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Cuts every connection without a DISCONNECT; wills are published.
    pub fn drop_connections(&self) {
        self.hub().cut_all();
    }

    /// Forgets every session and what was queued in it, and cuts the connections.
    pub fn forget_sessions(&self) {
        self.hub().forget_sessions();
    }

    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        self.hub().set_faults(change);
    }

    pub fn counters(&self) -> Counters {
        self.hub().counters
    }

    /// In which ways clients have published so far.
    pub fn ways(&self) -> BTreeSet<Way> {
        self.hub().ways.clone()
    }

    /// The retained message of a topic.
    pub fn retained(&self, topic: &str) -> Option<Vec<u8>> {
        self.hub().retained(topic)
    }

    /// Publishes as the broker's owner could: whatever, wherever.
    pub fn inject(&self, topic: &str, payload: &[u8], retain: bool) {
        self.hub().route(topic, payload.to_vec().into(), rumqttc::v5::mqttbytes::QoS::AtLeastOnce, retain);
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        lock(&self.hub)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.power.send_replace(None);
        self.drop_connections();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(hub: &Mutex<Hub>) -> MutexGuard<'_, Hub> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    first: std::net::TcpListener,
    address: SocketAddr,
    options: BrokerOptions,
    hub: Arc<Mutex<Hub>>,
    mut switched: watch::Receiver<Option<bool>>,
    listening: &AtomicBool,
) -> std::io::Result<()> {
    let tls = options.tls.clone().map(tokio_rustls::TlsAcceptor::from);
    let mut listener = Some(TcpListener::from_std(first)?);
    loop {
        let on = match *switched.borrow_and_update() {
            None => return Ok(()),
            Some(on) => on,
        };
        match (&listener, on) {
            (Some(_), false) => listener = None,
            (None, true) => listener = Some(listen_again(address).await?),
            _ => {}
        }
        listening.store(listener.is_some(), Ordering::Release);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = switched.changed() => if changed.is_err() { return Ok(()) },
            accepted = accepted => {
                let Ok((socket, _)) = accepted else { continue };
                let _ = socket.set_nodelay(true);
                let (hub, tls) = (Arc::clone(&hub), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection::run(socket, hub).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(stream) => connection::run(stream, hub).await,
                            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
                        },
                    }
                });
            }
        }
    }
}

/// The port was ours a moment ago: it comes back once the old sockets are gone.
async fn listen_again(address: SocketAddr) -> std::io::Result<TcpListener> {
    let mut last = None;
    for _ in 0..100 {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

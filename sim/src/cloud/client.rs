//! The test cloud over a real broker: a thread with an MQTT client around a [`Cloud`].

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use latchd::domain::{ids::Id, time::Wall};
use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{ConnectProperties, Filter, Packet},
        },
    },
};

use super::{Cloud, Outgoing, Wish};

#[derive(Clone)]
pub struct CloudLink {
    pub host: String,
    pub port: u16,
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A running cloud. Dropping it ends its thread.
pub struct CloudClient {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    cloud: Mutex<Cloud>,
    changed: Condvar,
    client: Mutex<AsyncClient>,
    connected: AtomicBool,
    stop: AtomicBool,
}

pub fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl CloudClient {
    /// Connects, subscribes and publishes the key set, then serves until dropped.
    pub fn start(cloud: Cloud, link: CloudLink) -> anyhow::Result<CloudClient> {
        let (client, event_loop) = connect(&link, cloud.topics.audience());
        let shared = Arc::new(Shared {
            cloud: Mutex::new(cloud),
            changed: Condvar::new(),
            client: Mutex::new(client),
            connected: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("cloud".into())
            .spawn(move || runtime.block_on(serve(&own, &link, event_loop)))?;
        let client = CloudClient { shared, thread: Some(thread) };
        client.wait_for("the cloud's own link", Duration::from_secs(10), |_| {
            client.shared.connected.load(Ordering::Acquire).then_some(())
        })?;
        let keys = client.cloud().key_set(wall_now());
        client.publish(keys)?;
        Ok(client)
    }

    pub fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.shared.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn publish(&self, message: Outgoing) -> anyhow::Result<()> {
        self.shared.publish(message)
    }

    /// Signs and publishes a command; its id.
    pub fn command(&self, wish: &Wish) -> anyhow::Result<Id> {
        let (jti, message) = self.cloud().command(wall_now(), wish);
        self.publish(message)?;
        Ok(jti)
    }

    /// Waits until `test` has an answer; the error says what was waited for.
    pub fn wait_for<T>(
        &self,
        what: &str,
        within: Duration,
        mut test: impl FnMut(&mut Cloud) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + within;
        let mut cloud = self.cloud();
        loop {
            if let Some(found) = test(&mut cloud) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{what} did not come within {} ms", within.as_millis());
            }
            // Woken by each message; looks again now and then for what is not a message.
            let nap = left.min(Duration::from_millis(50));
            cloud = self.shared.changed.wait_timeout(cloud, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for CloudClient {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Ok(client) = self.shared.client.lock() {
            let _ = client.try_disconnect();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn publish(&self, message: Outgoing) -> anyhow::Result<()> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client
            .try_publish(message.topic, QoS::AtLeastOnce, message.retain, message.payload)
            .context("the cloud's own queue is full")
    }
}

fn connect(link: &CloudLink, audience: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(format!("cloud-of-{}", audience.replace('/', "-")), &link.host, link.port);
    options.set_clean_start(false);
    options.set_keep_alive(Duration::from_secs(5));
    options.set_connect_properties(ConnectProperties {
        session_expiry_interval: Some(3600),
        max_packet_size: Some(1024 * 1024),
        ..ConnectProperties::new()
    });
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some(tls) = &link.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(tls))));
    }
    AsyncClient::new(options, 4096)
}

async fn serve(shared: &Shared, link: &CloudLink, mut event_loop: EventLoop) {
    let (audience, subscriptions) = {
        let cloud = shared.cloud.lock().unwrap_or_else(PoisonError::into_inner);
        (cloud.topics.audience().to_owned(), cloud.subscriptions())
    };
    while !shared.stop.load(Ordering::Acquire) {
        match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let client = shared.client.lock().unwrap_or_else(PoisonError::into_inner);
                let filters = subscriptions.iter().map(|f| Filter::new(f.clone(), QoS::AtLeastOnce));
                let _ = client.try_subscribe_many(filters);
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                // What was sent while we were away may be lost: the node hears where we are.
                let acks = shared.cloud.lock().unwrap_or_else(PoisonError::into_inner).catch_up_acks();
                for ack in acks {
                    let _ = shared.publish(ack);
                }
                shared.connected.store(true, Ordering::Release);
                shared.changed.notify_all();
            }
            Ok(Event::Incoming(Packet::Publish(message))) => {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                let answers = {
                    let mut cloud = shared.cloud.lock().unwrap_or_else(PoisonError::into_inner);
                    cloud.handle(wall_now(), &topic, &message.payload)
                };
                shared.changed.notify_all();
                for answer in answers {
                    if let Err(error) = shared.publish(answer) {
                        tracing::warn!(%error, "the test cloud could not answer");
                    }
                }
            }
            Ok(_) => {}
            Err(error) => {
                shared.connected.store(false, Ordering::Release);
                tracing::debug!(%error, "the test cloud lost its broker");
                tokio::time::sleep(Duration::from_millis(50)).await;
                // A fresh event loop, for the same reasons as in the daemon.
                let (client, fresh) = connect(link, &audience);
                *shared.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
                event_loop = fresh;
            }
        }
    }
}

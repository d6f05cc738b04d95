//! From the client's publish to the `actuated` outcome in the client's hands, over Modbus TCP on
//! loopback, beside the floor of the same run: a bare broker round trip there and back plus a bare
//! Modbus write. Signature, operator check, deadline, ledger, read-back and staged outcome are in place.
//!
//! `cargo bench --bench end_to_end` (with mosquitto where it is installed, else the embedded broker;
//! `-- --embedded` for the latter always, `-- --samples N`). Prints p50, p99 and the greatest, and the
//! ratio of the medians. Samples of floor and latchd alternate, so that a noisy machine hits both.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use latchd::domain::ids::Id;
use latchd_sim::{
    cloud::{Cloud, Wish, client::wall_now},
    site::{BrokerChoice, Daemon, Program, Site, mosquitto, new_cloud},
};
use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{Packet, Publish},
        },
    },
};
use serde_json::json;
use tokio_modbus::client::Writer as _;

const DAEMON: &str = "__daemon";
const PATIENCE: Duration = Duration::from_secs(5);
/// Momentary and short, on a door without a contact: `actuated` is the last stage.
const DWELL: Duration = Duration::from_millis(100);
const BARE_COIL: u16 = 7;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|argument| argument == DAEMON) {
        arguments.remove(1);
        return latchd::cli::main(arguments);
    }
    let value_of = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.to_str()?.parse().ok()
    };
    let samples = value_of("--samples").unwrap_or(200);
    let embedded = arguments.iter().any(|argument| argument == "--embedded") || mosquitto::installed().is_none();
    match measure(samples, if embedded { BrokerChoice::Embedded } else { BrokerChoice::Mosquitto }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(samples: usize, choice: BrokerChoice) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let world = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let site = world.block_on(Site::start(directory.path(), choice))?;
    let daemon = Daemon::start(&Program::myself(DAEMON)?, &site.config())?;
    site.cloud.wait_for("the node", PATIENCE, |cloud| cloud.online().map(drop))?;
    site.publish_set()?;
    site.cloud
        .wait_for("the set", PATIENCE, |cloud| cloud.online().filter(|online| online.generation == 1).map(drop))?;

    // From here on the only client of the broker besides the daemon is the one that measures: a cloud
    // that verifies and stores everything on the same two cores would be measured along.
    let mut signer = Signer::of(&site)?;
    let Site { cloud, broker, field, client_tls, .. } = site;
    drop(cloud);
    let port = broker.address().port();
    let client = Client::connect(port, &client_tls, "bench-client", &["bench/back", &signer.cloud.topics.rsp()])?;
    let _echo = echo(port, &client_tls)?;
    let mut wire = Wire::connect(field.gate_address())?;
    let (mut floors, mut trips, mut writes, mut ours) = (vec![], vec![], vec![], vec![]);
    for sample in 0..samples + 10 {
        let trip = client.round_trip()?;
        let write = wire.write(sample % 2 == 0)?;
        let command = client.command(&mut signer)?;
        // The first few find cold caches on both sides.
        if sample >= 10 {
            trips.push(trip);
            writes.push(write);
            floors.push(trip + write);
            ours.push(command);
        }
        std::thread::sleep(DWELL + Duration::from_millis(25));
    }

    println!("broker: {choice:?}, {samples} samples, TLS 1.3 with client certificates, QoS 1, Modbus TCP on loopback");
    println!("{:<44} {:>8} {:>8} {:>8}  us", "", "p50", "p99", "max");
    row("bare broker round trip, there and back", &mut trips);
    row("bare Modbus write", &mut writes);
    let floor = row("floor: both", &mut floors);
    let latchd = row("latchd: publish to `actuated` in hand", &mut ours);
    println!("ratio of the medians: {:.2}", latchd.as_secs_f64() / floor.as_secs_f64());
    if let Some(kib) = daemon.resident_kib() {
        println!(
            "resident memory of the daemon (this program, with the test site's code in it): {:.1} MiB",
            kib as f64 / 1024.0
        );
    }
    Ok(())
}

fn row(name: &str, samples: &mut [Duration]) -> Duration {
    samples.sort();
    let at = |share: f64| samples.get(((samples.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    let us = |duration: Duration| duration.as_micros();
    println!("{name:<44} {:>8} {:>8} {:>8}", us(at(0.5)), us(at(0.99)), us(at(1.0)));
    at(0.5)
}

/// Signs commands for the present run of the daemon.
struct Signer {
    cloud: Cloud,
    boot: Id,
}

impl Signer {
    fn of(site: &Site) -> anyhow::Result<Signer> {
        let boot = site.cloud.cloud().status.as_ref().map(|status| status.boot.clone()).context("no status")?;
        Ok(Signer { cloud: new_cloud()?, boot })
    }
}

/// An MQTT client on a thread of its own, as small as possible.
struct Client {
    mqtt: AsyncClient,
    messages: Receiver<(String, Vec<u8>)>,
}

/// Connects, subscribes, and hands every message to `take` on a thread of the client's own.
fn listen(
    port: u16,
    tls: &Arc<rustls::ClientConfig>,
    name: &str,
    topics: &[&str],
    mut take: impl FnMut(&AsyncClient, Publish) + Send + 'static,
) -> anyhow::Result<AsyncClient> {
    let mut options = MqttOptions::new(name, "localhost", port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
    let (mqtt, mut events) = AsyncClient::new(options, 64);
    let (own, (ready, subscribed)) = (mqtt.clone(), channel());
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish))) => take(&own, publish),
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready.send(())),
                    Ok(_) => {}
                    // The broker goes when the measurement is over.
                    Err(_) => return,
                }
            }
        });
    });
    for topic in topics {
        mqtt.try_subscribe(*topic, QoS::AtLeastOnce)?;
        subscribed.recv_timeout(PATIENCE).context("no SUBACK")?;
    }
    Ok(mqtt)
}

impl Client {
    fn connect(port: u16, tls: &Arc<rustls::ClientConfig>, name: &str, topics: &[&str]) -> anyhow::Result<Client> {
        let (out, messages) = channel();
        let mqtt = listen(port, tls, name, topics, move |_, publish| {
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            // Nobody waits any more at the end.
            let _ = out.send((topic, publish.payload.to_vec()));
        })?;
        Ok(Client { mqtt, messages })
    }

    fn round_trip(&self) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        self.mqtt.try_publish("bench/there", QoS::AtLeastOnce, false, vec![b'x'; 450])?;
        self.wait(|topic, _| topic == "bench/back")?;
        Ok(sent.elapsed())
    }

    fn command(&self, signer: &mut Signer) -> anyhow::Result<Duration> {
        let args = json!({ "door": "barrier", "dwell_ms": DWELL.as_millis() as u64 });
        let wish = Wish { boot: Some(signer.boot.clone()), ..Wish::new("op-ada", "door.open_and_close", args) };
        let (jti, message) = signer.cloud.command(wall_now(), &wish);
        let wanted = format!("\"jti\":\"{jti}\"");
        let sent = Instant::now();
        self.mqtt.try_publish(message.topic, QoS::AtLeastOnce, false, message.payload)?;
        let rsp = signer.cloud.topics.rsp();
        self.wait(|topic, payload| {
            let text = payload_text(payload);
            if topic == rsp && text.contains(&wanted) && text.contains("\"refused\"") {
                eprintln!("{text}");
            }
            topic == rsp && text.contains(&wanted) && text.contains("\"actuated\"")
        })?;
        Ok(sent.elapsed())
    }

    fn wait(&self, test: impl Fn(&str, &[u8]) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((topic, payload)) = self.messages.recv_timeout(left) else { bail!("no answer") };
            if test(&topic, &payload) {
                return Ok(());
            }
        }
    }
}

/// The claims of a compact JWS; the client of a benchmark need not verify them.
fn payload_text(jws: &[u8]) -> String {
    use base64::Engine as _;
    let payload = jws.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What any gateway needs at least: takes a message and sends one back.
fn echo(port: u16, tls: &Arc<rustls::ClientConfig>) -> anyhow::Result<AsyncClient> {
    listen(port, tls, "bench-echo", &["bench/there"], |mqtt, publish| {
        let _ = mqtt.try_publish("bench/back", QoS::AtLeastOnce, false, publish.payload);
    })
}

struct Wire {
    runtime: tokio::runtime::Runtime,
    board: tokio_modbus::client::Context,
}

impl Wire {
    fn connect(address: SocketAddr) -> anyhow::Result<Wire> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let board = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(tokio_modbus::client::tcp::attach_slave(stream, tokio_modbus::Slave(1)))
        })?;
        Ok(Wire { runtime, board })
    }

    fn write(&mut self, on: bool) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        self.runtime.block_on(self.board.write_single_coil(BARE_COIL, on))??;
        Ok(sent.elapsed())
    }
}

//! A whole simulated site around the real daemon: broker with TLS, cloud, two boards, a serial reader,
//! doors that swing, and a directory with everything that an installer would have put there.
//! For the demo, the end-to-end benchmark and scenario tests.

mod daemon;
pub mod mosquitto;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
pub use daemon::{Daemon, Program};
use latchd::{
    domain::{
        ids::Id,
        record::{
            AccessRule, Credential, Effect, Group, Interval, Operator, Person, Record, Schedule, TimeOfDay, Weekday,
            WeeklyInterval,
        },
    },
    wire::{
        jws::{Signer, private_key_pem},
        set::Op,
        token::{CredentialKey, token},
    },
};
use mosquitto::Mosquitto;

use crate::{
    board::{RtuLine, SimBoard, Swing, SwingDoor, TcpServer},
    broker::{Broker, BrokerOptions},
    cloud::{
        Cloud,
        client::{CloudClient, CloudLink, wall_now},
        keys::{CloudKeys, seed_bytes},
        set::put,
    },
    pki::Authority,
    reader::SimReader,
};

pub const ORG: &str = "acme";
pub const NODE: &str = "hq-1";
/// Relay 1 of either board locks its door.
pub const LOCK_COIL: u16 = 0;
pub const CONTACT_INPUT: u16 = 0;
pub const REX_INPUT: u16 = 1;
const SEED: u64 = 20;
const PROFILE: &str = include_str!("../../../config/profiles/generic-8ch.toml");

/// A card of facility 10: the bits of a 26-bit H10301 read, with its parity.
pub fn card(number: u16) -> u64 {
    let data = (10_u64 << 16) | u64::from(number);
    let leading = (data >> 12).count_ones() % 2;
    let trailing = 1 - (data & 0xFFF).count_ones() % 2;
    (u64::from(leading) << 25) | (data << 1) | u64::from(trailing)
}

/// What is simulated; it lives in the runtime that it was started in.
pub struct Field {
    /// Door `front`: a fail-secure strike on Modbus TCP, its reader in the board's registers. Relay 2
    /// lifts `barrier`, which has no contact.
    pub front: SimBoard,
    /// Door `glass`: a fail-safe magnet on Modbus RTU, its reader on a serial line of its own.
    pub glass: SimBoard,
    pub glass_reader: SimReader,
    pub swings: [SwingDoor; 2],
    gate_address: SocketAddr,
    gate: Option<TcpServer>,
    riser_path: PathBuf,
    riser: Option<RtuLine>,
}

impl Field {
    /// With the serial line's port in `directory`, under a name that it keeps when it is plugged in again.
    pub async fn start(directory: &Path) -> anyhow::Result<Field> {
        let (front, glass) = (SimBoard::new(1), SimBoard::new(1));
        let swing = |board: &SimBoard, unlocked| {
            let (push_after, open_for) = (Duration::from_millis(150), Duration::from_millis(400));
            let swing = Swing {
                lock_coil: LOCK_COIL,
                unlocked,
                contact_input: CONTACT_INPUT,
                closed: true,
                push_after,
                open_for,
            };
            SwingDoor::start(board.clone(), swing)
        };
        // The magnet has power until the daemon says otherwise, as after any start of the building.
        glass.set_coil(LOCK_COIL, true);
        let swings = [swing(&front, true), swing(&glass, false)];
        let tcp = TcpServer::start(SocketAddr::from((loopback_of_our_own(), 0)), vec![front.clone()]).await?;
        let (gate_address, riser_path) = (tcp.address(), directory.join("riser"));
        // A name of its own: the number of a pseudo-terminal is soon another one's.
        let glass_reader = SimReader::start(Some(&directory.join("reader")))?;
        let mut field =
            Field { front, glass, glass_reader, swings, gate_address, gate: Some(tcp), riser_path, riser: None };
        field.plug_riser()?;
        Ok(field)
    }

    /// Where the board of `front` is reached.
    pub fn gate_address(&self) -> SocketAddr {
        self.gate_address
    }

    /// The serial port to which the board of `glass` is wired.
    pub fn riser_path(&self) -> &Path {
        &self.riser_path
    }

    /// Connections to the board of `front` break, and new ones are refused.
    pub async fn unplug_gate(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.stop().await;
        }
    }

    pub async fn plug_gate(&mut self) -> anyhow::Result<()> {
        if self.gate.is_none() {
            self.gate = Some(TcpServer::start(self.gate_address, vec![self.front.clone()]).await?);
        }
        Ok(())
    }

    /// The serial port goes away, as when a USB adapter is pulled out.
    pub async fn unplug_riser(&mut self) {
        if let Some(riser) = self.riser.take() {
            riser.stop().await;
        }
    }

    /// To be called in the runtime that the field lives in.
    pub fn plug_riser(&mut self) -> anyhow::Result<()> {
        if self.riser.is_none() {
            self.riser = Some(RtuLine::start(vec![self.glass.clone()], Some(&self.riser_path), Some(115_200))?);
        }
        Ok(())
    }
}

/// While the gate is unplugged its port is free, and on the address that everybody uses a neighbour would soon have it.
fn loopback_of_our_own() -> Ipv4Addr {
    static FIELDS: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | FIELDS.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254))
}

/// Which broker a site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerChoice {
    Embedded,
    Mosquitto,
}

/// The broker of a site, which can go down and come back.
pub enum SiteBroker {
    Embedded(Broker),
    Mosquitto(Mosquitto),
}

impl SiteBroker {
    pub fn address(&self) -> SocketAddr {
        match self {
            SiteBroker::Embedded(broker) => broker.address(),
            SiteBroker::Mosquitto(mosquitto) => mosquitto.address(),
        }
    }

    pub fn stop(&mut self) {
        match self {
            SiteBroker::Embedded(broker) => broker.stop(),
            SiteBroker::Mosquitto(mosquitto) => mosquitto.stop(),
        }
    }

    pub fn start_again(&mut self) -> anyhow::Result<()> {
        match self {
            SiteBroker::Embedded(broker) => broker.start_again(),
            SiteBroker::Mosquitto(mosquitto) => mosquitto.start_again()?,
        }
        Ok(())
    }

    /// With all its switches, where it is ours.
    pub fn embedded(&self) -> Option<&Broker> {
        match self {
            SiteBroker::Embedded(broker) => Some(broker),
            SiteBroker::Mosquitto(_) => None,
        }
    }
}

/// With the keys that every site here has.
pub fn new_cloud() -> anyhow::Result<Cloud> {
    let node = Signer::from_seed(&seed_bytes(SEED, 100)).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Cloud::new(ORG, NODE, node.public_key(), CloudKeys::from_seed(SEED)))
}

/// Everything but the daemon.
pub struct Site {
    pub directory: PathBuf,
    pub broker: SiteBroker,
    pub cloud: CloudClient,
    pub field: Field,
    /// Of anyone else who wants to speak to the broker.
    pub client_tls: Arc<rustls::ClientConfig>,
}

impl Site {
    /// Writes the configuration into `directory` and starts all that surrounds the daemon.
    pub async fn start(directory: &Path, broker: BrokerChoice) -> anyhow::Result<Site> {
        let field = Field::start(directory).await?;
        let authority = Authority::new("demo CA")?;
        let server = authority.issue(&["localhost"])?;
        let node = authority.issue(&["latchd-acme-hq-1"])?;
        let operator = authority.issue(&["cloud"])?;
        let broker = match broker {
            BrokerChoice::Embedded => {
                let tls = Some(authority.server_config(&server, true)?);
                SiteBroker::Embedded(Broker::start(BrokerOptions { tls, ..BrokerOptions::default() })?)
            }
            BrokerChoice::Mosquitto => SiteBroker::Mosquitto(Mosquitto::start(directory, &authority, &server)?),
        };

        let keys = CloudKeys::from_seed(SEED);
        let seed = seed_bytes(SEED, 100);
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())
        };
        std::fs::create_dir_all(directory.join("profiles"))?;
        write("profiles/generic-8ch.toml", PROFILE)?;
        write("root.jwk.json", &keys.root_jwk())?;
        write("ca.pem", authority.pem())?;
        node.write(&directory.join("node.pem"), &directory.join("node.key"))?;
        write("signing-key", &private_key_pem(&seed))?;
        write("credential-key", &"42".repeat(32))?;
        let configuration = configuration(directory, broker.address().port(), &field);
        write("site.toml", &configuration)?;

        let cloud = new_cloud()?;
        let port = broker.address().port();
        let client_tls = authority.client_config(&operator)?;
        let link = CloudLink { host: "localhost".to_owned(), port, tls: Some(client_tls.clone()) };
        let cloud = CloudClient::start(cloud, link)?;
        Ok(Site { directory: directory.to_owned(), broker, cloud, field, client_tls })
    }

    pub fn config(&self) -> PathBuf {
        self.directory.join("site.toml")
    }

    /// Changes the configuration before a start of the daemon; `from` must be there.
    pub fn configure(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(self.config())?;
        anyhow::ensure!(text.contains(from), "the configuration has no {from:?}");
        Ok(std::fs::write(self.config(), text.replace(from, to))?)
    }

    /// The first set: who works here and what they may.
    pub fn publish_set(&self) -> anyhow::Result<()> {
        let delta = self.cloud.cloud().change(wall_now(), people());
        self.cloud.publish(delta)
    }
}

fn configuration(directory: &Path, port: u16, field: &Field) -> String {
    let state = directory.join("state");
    format!(
        r#"# Written by the demo.
[node]
org = "{ORG}"
id = "{NODE}"
time_zone = "Europe/Berlin"
state_dir = "{state}"
credential_key = "credential-key"
signing_key = "signing-key"

[cloud]
host = "localhost"
port = {port}
issuer = "{issuer}"
root_key = "root.jwk.json"
reconnect_min_ms = 100
reconnect_max_ms = 1000
beat_every_s = 10

[cloud.tls]
ca = "ca.pem"
certificate = "node.pem"
key = "node.key"

[[bus]]
id = "lan"
tcp = "{tcp}"

[[bus]]
id = "riser"
rtu = "{rtu}"
baud = 115200
parity = "even"
turnaround_ms = 2

[[board]]
id = "gate"
bus = "lan"
unit = 1
profile = "generic-8ch"
poll_ms = 20

[[board]]
id = "relays"
bus = "riser"
unit = 1
profile = "generic-8ch"

[[door]]
id = "front"
lock = {{ output = "gate/relay-1", unlocked = "energised" }}
contact = {{ input = "gate/in-1", closed = true }}
rex = {{ input = "gate/in-2", active = true }}
dwell_ms = 1500
relock = "on_close"
open_time_ms = 20000

[[door]]
id = "glass"
lock = {{ output = "relays/relay-1", unlocked = "released" }}
contact = {{ input = "relays/in-1", closed = true }}
rex = {{ input = "relays/in-2", active = true }}
dwell_ms = 1500
relock = "on_close"
open_time_ms = 20000

[[door]]
id = "barrier"
lock = {{ output = "gate/relay-2", unlocked = "energised" }}
dwell_ms = 1000

[[reader]]
id = "front-in"
door = "front"
card_block = "gate/wiegand-1"

[[reader]]
id = "glass-in"
door = "glass"
serial = "{reader}"
baud = 9600
format = "bits_hex"
"#,
        state = state.display(),
        issuer = crate::cloud::ISSUER,
        tcp = field.gate_address(),
        rtu = field.riser_path().display(),
        reader = field.glass_reader.path().display(),
    )
}

/// Ada may pass everywhere, Ben only at the front and only in the first minute of the night; op-ada
/// controls the doors, op-rita only reads.
fn people() -> Vec<Op> {
    let id = |text: &str| Id::new(text).expect("an id");
    let person =
        |groups: &[&str]| Person { groups: groups.iter().map(|group| id(group)).collect(), ..Person::default() };
    let key = CredentialKey::new(&[0x42; 32]);
    let credential = |person: &str, number: u16| {
        Record::Credential(Credential::card(id(person), token(&key, &format!("h10301:10:{number}"))))
    };
    let rule = |groups: &[&str], doors: &[&str], schedule: Option<&str>| {
        Record::AccessRule(AccessRule {
            groups: groups.iter().map(|group| id(group)).collect(),
            doors: doors.iter().map(|door| id(door)).collect(),
            schedule: schedule.map(id),
            ..AccessRule::new(Effect::Allow)
        })
    };
    let every_day = vec![
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let night = Interval { from: TimeOfDay(0), to: TimeOfDay(60_000) };
    let schedule = Schedule {
        weekly: vec![WeeklyInterval { days: every_day, from: night.from, to: night.to }],
        ..Schedule::default()
    };
    let operator = |role: &str| Record::Operator(Operator::active(id(role)));
    vec![
        put("staff", &Record::Group(Group::default())),
        put("night-shift", &Record::Group(Group::default())),
        put("ada", &Record::Person(person(&["staff"]))),
        put("ben", &Record::Person(person(&["night-shift"]))),
        put("ada-card", &credential("ada", 1001)),
        put("ben-card", &credential("ben", 1002)),
        put("first-minute", &Record::Schedule(schedule)),
        put("staff-everywhere", &rule(&["staff"], &["front", "glass"], None)),
        put("night-at-the-front", &rule(&["night-shift"], &["front"], Some("first-minute"))),
        put("op-ada", &operator("integrator")),
        put("op-rita", &operator("reporter")),
    ]
}

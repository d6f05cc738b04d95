//! The daemon's loop for a line of readers, in a site that has nothing else; shared by path between `tests/line` and
//! `benches/line`. Owns the ends of its channels; must never stand in for a part of the loop.

use std::{
    any::Any,
    collections::BTreeMap,
    path::Path,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::Context as _;
use latchd::{
    adapters::clock::mono,
    config::{self, Purpose, site::Site},
    domain::ids::{BusIx, ReaderIx},
    gateway::osdp::KeyRing,
    runtime::{
        osdp_loop::{self, KeyState, OsdpKeys, OsdpLine, OsdpPorts},
        reader_loop::ReaderReport,
    },
};
use latchd_sim::line::READER_KEY;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

pub struct ReaderLoop {
    pub reports: mpsc::Receiver<ReaderReport>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// The other ends, which the loop takes for the rest of the daemon.
    _rest: Box<dyn Any>,
}

impl ReaderLoop {
    /// Readers 0, 1, … on this port. To be called within a [`LocalSet`](tokio::task::LocalSet).
    pub fn start(directory: &Path, port: &Path, baud: u32, readers: u8) -> anyhow::Result<ReaderLoop> {
        let (line, port) = OsdpLine::of(&site(directory, port, baud, readers)?, BusIx(1)).context("an OSDP line")?;
        let ring = KeyState { ring: KeyRing::of(Some(READER_KEY)), ..KeyState::default() };
        let rings: BTreeMap<ReaderIx, KeyState> =
            (0..u16::from(readers)).map(|n| (ReaderIx(n), ring.clone())).collect();
        let (reports_out, reports) = mpsc::channel(1024);
        let (stop, stop_in) = watch::channel(false);
        let (rings_out, rings) = watch::channel(Arc::new(rings));
        let (taken, taken_in) = mpsc::channel(16);
        let (indications_out, indications) = watch::channel(Rc::from([]));
        let (points, points_in) = mpsc::channel(1024);
        let (desired_out, desired) = watch::channel(Rc::from([]));
        let keys = OsdpKeys { rings, taken };
        let progress = Arc::new(AtomicU64::new(0));
        let ports = OsdpPorts { reports: reports_out, points, desired, keys, indications, progress, stop: stop_in };
        let task = tokio::task::spawn_local(osdp_loop::run(line, port, ports, mono));
        let rest = Box::new((rings_out, taken_in, indications_out, points_in, desired_out));
        Ok(ReaderLoop { reports, stop, task, _rest: rest })
    }

    #[allow(dead_code, reason = "a test ends with the loop running")]
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

fn site(directory: &Path, port: &Path, baud: u32, readers: u8) -> anyhow::Result<Site> {
    let path = directory.join("site.toml");
    let mut text = format!(
        r#"
[node]
org = "acme"
id = "hq-1"
time_zone = "Europe/Berlin"
state_dir = "/var/lib/latchd"
credential_key = "credential-key"
signing_key = "signing-key"

[cloud]
host = "localhost"
port = 1883
issuer = "https://cloud.example"
root_key = "root.jwk.json"
tls = "off-insecure"

[[bus]]
id = "lan"
tcp = "192.0.2.1"

[[bus]]
id = "readers"
osdp = "{}"
baud = {baud}

[[board]]
id = "gate"
bus = "lan"
unit = 1
profile = "generic-8ch"

[[door]]
id = "front"
lock = {{ output = "gate/relay-1", unlocked = "energised" }}
"#,
        port.display()
    );
    for n in 0..readers {
        text +=
            &format!("[[reader]]\nid = \"r-{n}\"\ndoor = \"front\"\nosdp = {{ bus = \"readers\", address = {n} }}\n");
    }
    std::fs::write(&path, text)?;
    std::fs::create_dir_all(directory.join("profiles"))?;
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/config/profiles/generic-8ch.toml");
    std::fs::copy(profile, directory.join("profiles/generic-8ch.toml"))?;
    let environment = config::Environment::of_process();
    let loaded = config::load_from(&config::Disk, &path, &environment, Purpose::CheckWithoutFiles);
    loaded.site.with_context(|| loaded.report.render(false))
}

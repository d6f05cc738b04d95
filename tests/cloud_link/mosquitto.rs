//! Against Debian's mosquitto, with TLS 1.3, client certificates and an ACL. Skipped, and said so, where
//! it is not installed.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use latchd::{adapters::mqtt::LinkConfig, config::site, gateway::session::Input};
use latchd_sim::{
    cloud::{
        Wish,
        client::{CloudClient, CloudLink},
    },
    pki::Authority,
};

use crate::node::{Files, Node, cloud, plain};

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const SOON: Duration = Duration::from_secs(15);

/// All that CONTRACT says a node needs.
const ACL: &str = "user hq-1
topic read latchd/v1/acme/hq-1/cmd
topic read latchd/v1/acme/hq-1/evt/ack
topic read latchd/v1/acme/hq-1/set
topic read latchd/v1/acme/hq-1/set/chunk/+
topic write latchd/v1/acme/hq-1/rsp
topic write latchd/v1/acme/hq-1/evt
topic write latchd/v1/acme/hq-1/set/req
topic write latchd/v1/acme/hq-1/state/#
topic write latchd/v1/acme/hq-1/status
user cloud
topic readwrite latchd/#
";

struct Mosquitto {
    files: Files,
    port: u16,
    child: Child,
    authority: Authority,
}

impl Mosquitto {
    fn start(acl: &str) -> Option<Mosquitto> {
        if !Path::new(MOSQUITTO).exists() {
            eprintln!("skipped: {MOSQUITTO} is not installed (Debian: apt-get install mosquitto)");
            return None;
        }
        let files = Files { directory: tempfile::tempdir().unwrap() };
        let authority = Authority::new("site CA").unwrap();
        std::fs::write(files.path("ca.pem"), authority.pem()).unwrap();
        let server = authority.issue(&["broker.example", "127.0.0.1"]).unwrap();
        server.write(&files.path("server.pem"), &files.path("server.key")).unwrap();
        let node = authority.issue(&["hq-1"]).unwrap();
        node.write(&files.path("node.pem"), &files.path("node.key")).unwrap();
        std::fs::write(files.path("acl"), acl).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = files.directory.path().display();
        let config = format!(
            "listener {port} 127.0.0.1\nuser root\ncafile {directory}/ca.pem\ncertfile {directory}/server.pem\n\
             keyfile {directory}/server.key\nrequire_certificate true\nuse_identity_as_username true\n\
             tls_version tlsv1.3\nacl_file {directory}/acl\nallow_anonymous false\nset_tcp_nodelay true\n"
        );
        std::fs::write(files.path("mosquitto.conf"), config).unwrap();
        let child = spawn(&files.path("mosquitto.conf"), port);
        Some(Mosquitto { files, port, child, authority })
    }

    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.files.path("mosquitto.conf"), self.port);
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn link(&self) -> LinkConfig {
        let tls = site::Tls {
            ca: self.files.path("ca.pem"),
            certificate: self.files.path("node.pem"),
            key: site::Secret { path: self.files.path("node.key") },
            server_name: "broker.example".into(),
        };
        LinkConfig { tls: Some(tls), ..plain(self.port) }
    }

    fn cloud(&self) -> CloudClient {
        let identity = self.authority.issue(&["cloud"]).unwrap();
        let tls = Some(self.authority.client_config(&identity).unwrap());
        CloudClient::start(cloud(), CloudLink { host: "127.0.0.1".into(), port: self.port, tls }).unwrap()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(config: &Path, port: u16) -> Child {
    let child =
        Command::new(MOSQUITTO).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "mosquitto does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[tokio::test]
async fn a_node_works_through_mosquitto_with_the_acl_of_the_contract() {
    let Some(mosquitto) = Mosquitto::start(ACL) else { return };
    let cloud = mosquitto.cloud();
    let mut node = Node::new(mosquitto.link());
    node.events(100);
    node.run_until("keys, a beat, the acknowledgement", SOON, |node| {
        node.stored_keys.is_some() && !node.beats.is_empty() && node.acked >= 100
    })
    .await;
    node.run_until("the status", SOON, |_| cloud.cloud().online().is_some()).await;
    let jti = cloud.command(&Wish::door("op-1", "door.open", "front")).unwrap();
    node.run_until("the outcome", SOON, |_| cloud.cloud().outcomes_of(&jti).next().is_some()).await;
    node.input(Input::Stop);
    node.run_until("the goodbye", SOON, |node| node.stopped).await;
    node.run_until("the offline status", SOON, |_| cloud.cloud().online().is_none()).await;
    assert_eq!(cloud.cloud().problems, [""; 0]);
    assert!(!node.notices.iter().any(|n| n.contains("refused")), "{:?}", node.notices);
}

#[tokio::test]
async fn events_survive_mosquitto_being_killed_again_and_again() {
    let Some(mut mosquitto) = Mosquitto::start(ACL) else { return };
    let cloud = mosquitto.cloud();
    let mut node = Node::new(mosquitto.link());
    node.run_until("keys", SOON, |node| node.stored_keys.is_some()).await;
    for round in 0..6 {
        node.events(500);
        node.run_for(Duration::from_millis(20 * round)).await;
        let connections = node.connections;
        mosquitto.kill_and_restart();
        node.run_until("a new connection", SOON, |node| node.connections > connections).await;
    }
    node.run_until("all events", Duration::from_secs(60), |node| node.acked >= 3_000).await;
    let cloud = cloud.cloud();
    assert!(cloud.events.iter().map(|e| e.seq).eq(1..=cloud.events.len() as u64));
    assert_eq!(cloud.problems, [""; 0]);
}

#[tokio::test]
async fn a_frozen_mosquitto_is_given_up_and_used_again_when_it_thaws() {
    let Some(mosquitto) = Mosquitto::start(ACL) else { return };
    let _cloud = mosquitto.cloud();
    let mut node = Node::new(mosquitto.link());
    node.run_until("keys", SOON, |node| node.stored_keys.is_some()).await;
    mosquitto.signal("-STOP");
    node.events(5_000);
    node.run_until("the end of the connection", Duration::from_secs(15), |node| !node.disconnected.is_empty()).await;
    mosquitto.signal("-CONT");
    node.run_until("all events", Duration::from_secs(60), |node| node.acked >= 5_000).await;
}

#[tokio::test]
async fn what_the_acl_forbids_is_told_with_the_word_acl() {
    let Some(mosquitto) = Mosquitto::start("user cloud\ntopic readwrite latchd/#\n") else { return };
    let mut node = Node::new(mosquitto.link());
    node.run_until("a notice", SOON, |node| node.notices.iter().any(|n| n.contains("ACL"))).await;
}

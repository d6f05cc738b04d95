//! TLS: what must hold, and what an installer is told when it does not.

use std::time::Duration;

use latchd::{adapters::mqtt::LinkConfig, config::site};
use latchd_sim::{
    broker::{Broker, BrokerOptions},
    pki::{Authority, Identity},
};

use crate::node::{Files, Node, plain};

struct Setup {
    authority: Authority,
    node: Identity,
    broker: Broker,
    files: Files,
}

fn setup() -> Setup {
    let authority = Authority::new("test CA").unwrap();
    let server = authority.issue(&["broker.example", "127.0.0.1"]).unwrap();
    let node = authority.issue(&["hq-1"]).unwrap();
    let tls = Some(authority.server_config(&server, true).unwrap());
    let broker = Broker::start(BrokerOptions { tls, ..BrokerOptions::default() }).unwrap();
    let files = Files { directory: tempfile::tempdir().unwrap() };
    std::fs::write(files.path("ca.pem"), authority.pem()).unwrap();
    node.write(&files.path("node.pem"), &files.path("node.key")).unwrap();
    Setup { authority, node, broker, files }
}

fn config(setup: &Setup, server_name: &str) -> LinkConfig {
    let tls = site::Tls {
        ca: setup.files.path("ca.pem"),
        certificate: setup.files.path("node.pem"),
        key: site::Secret { path: setup.files.path("node.key") },
        server_name: server_name.into(),
    };
    LinkConfig { tls: Some(tls), ..plain(setup.broker.address().port()) }
}

async fn reason(config: LinkConfig) -> String {
    let mut node = Node::new(config);
    node.run_until("a refusal", Duration::from_secs(15), |node| !node.disconnected.is_empty()).await;
    assert_eq!(node.connections, 0);
    node.disconnected.remove(0)
}

#[tokio::test]
async fn a_node_connects_over_tls_with_its_certificate_by_the_brokers_name() {
    let setup = setup();
    for name in ["broker.example", "127.0.0.1"] {
        let mut node = Node::new(config(&setup, name));
        node.run_until("a connection", Duration::from_secs(10), |node| node.connections == 1).await;
    }
}

#[tokio::test]
async fn rotated_files_are_read_for_the_next_connection() {
    let setup = setup();
    let mut node = Node::new(config(&setup, "broker.example"));
    node.run_until("a connection", Duration::from_secs(10), |node| node.connections == 1).await;
    std::fs::write(setup.files.path("node.key"), "gone").unwrap();
    setup.broker.drop_connections();
    node.run_until("a failure", Duration::from_secs(10), |node| node.disconnected.len() > 2).await;
    assert!(node.disconnected[2].contains("node.key holds no usable private key"), "{:?}", node.disconnected);
    let rotated = setup.authority.issue(&["hq-1"]).unwrap();
    rotated.write(&setup.files.path("node.pem"), &setup.files.path("node.key")).unwrap();
    node.run_until("a connection", Duration::from_secs(10), |node| node.connections == 2).await;
}

#[tokio::test]
async fn each_tls_mistake_is_told_with_the_file_and_what_to_do() {
    let setup = setup();
    let stranger = Authority::new("another CA").unwrap();
    let check = |text: String, words: &[&str]| {
        for word in words {
            assert!(text.contains(word), "expected {word:?} in: {text}");
        }
    };

    check(reason(config(&setup, "other.example")).await, &["other.example", "server_name"]);

    std::fs::write(setup.files.path("ca.pem"), stranger.pem()).unwrap();
    check(reason(config(&setup, "broker.example")).await, &["not signed by the CA in", "ca.pem"]);
    std::fs::write(setup.files.path("ca.pem"), "no PEM").unwrap();
    check(reason(config(&setup, "broker.example")).await, &["ca.pem holds no certificate"]);
    std::fs::remove_file(setup.files.path("ca.pem")).unwrap();
    check(reason(config(&setup, "broker.example")).await, &["cannot read", "ca.pem", "No such file"]);
    std::fs::write(setup.files.path("ca.pem"), setup.authority.pem()).unwrap();

    let other = setup.authority.issue(&["hq-2"]).unwrap();
    std::fs::write(setup.files.path("node.key"), &other.key).unwrap();
    check(reason(config(&setup, "broker.example")).await, &["node.key", "does not belong to", "node.pem"]);

    let foreign = stranger.issue(&["hq-1"]).unwrap();
    foreign.write(&setup.files.path("node.pem"), &setup.files.path("node.key")).unwrap();
    check(reason(config(&setup, "broker.example")).await, &["does not accept the certificate", "node.pem"]);
    setup.node.write(&setup.files.path("node.pem"), &setup.files.path("node.key")).unwrap();

    setup.broker.set_faults(|f| f.refuse_connections = true);
    check(reason(config(&setup, "broker.example")).await, &["Not authorized", "ACL"]);

    let plain_broker = Broker::start(BrokerOptions::default()).unwrap();
    let wrong_port = LinkConfig { port: plain_broker.address().port(), ..config(&setup, "broker.example") };
    check(reason(wrong_port).await, &["127.0.0.1"]);
    setup.broker.stop();
    check(reason(config(&setup, "broker.example")).await, &["connection refused"]);
}

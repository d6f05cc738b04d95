//! Against the embedded broker, with faults.

use std::time::Duration;

use latchd::gateway::session::Input;
use latchd_sim::{
    broker::{Broker, BrokerOptions},
    cloud::{
        Wish,
        client::{CloudClient, CloudLink},
    },
};

use crate::node::{Node, cloud, plain};

const SOON: Duration = Duration::from_secs(10);

struct World {
    broker: Broker,
    cloud: CloudClient,
    node: Node,
}

fn world(options: BrokerOptions) -> World {
    let broker = Broker::start(options).unwrap();
    let port = broker.address().port();
    let link = CloudLink { host: "127.0.0.1".into(), port, tls: None };
    let cloud = CloudClient::start(cloud(), link).unwrap();
    World { broker, cloud, node: Node::new(plain(port)) }
}

#[tokio::test]
async fn a_node_comes_up_gets_its_keys_is_confirmed_by_a_beat_and_answers_a_command() {
    let World { cloud, mut node, broker } = world(BrokerOptions::default());
    node.run_until("a beat", SOON, |node| !node.beats.is_empty() && node.stored_keys.is_some()).await;
    node.run_until("the status", SOON, |_| cloud.cloud().online().is_some()).await;
    let jti = cloud.command(&Wish::door("op-1", "door.open", "front")).unwrap();
    node.run_until("the outcome", SOON, |_| cloud.cloud().outcomes_of(&jti).next().is_some()).await;
    assert_eq!(node.commands.len(), 1);
    node.input(Input::Stop);
    node.run_until("the goodbye", SOON, |node| node.stopped).await;
    node.run_until("the offline status", SOON, |_| cloud.cloud().online().is_none()).await;
    assert_eq!(cloud.cloud().problems, [""; 0]);
    assert!(broker.retained("latchd/v1/acme/hq-1/status").is_some());
}

#[tokio::test]
async fn five_thousand_events_survive_thirty_forced_reconnects_in_order_and_without_gap() {
    let World { broker, cloud, mut node } = world(BrokerOptions::default());
    broker.set_faults(|f| f.duplicate_every = 7);
    node.run_until("keys", SOON, |node| node.stored_keys.is_some()).await;
    for round in 0..30 {
        node.events(5_000 / 30);
        let (connections, wait) = (node.connections, 5 + round * 3);
        node.run_for(Duration::from_millis(wait)).await;
        broker.set_faults(|f| f.acks_reversed = round % 3 == 0);
        if round % 2 == 0 { broker.drop_connections() } else { broker.forget_sessions() }
        node.run_until("a new connection", SOON, |node| node.connections > connections).await;
    }
    node.events(5_000 - node.head() as usize);
    node.run_until("all events", Duration::from_secs(60), |node| node.acked >= 5_000).await;
    let cloud = cloud.cloud();
    let seqs: Vec<u64> = cloud.events.iter().map(|e| e.seq).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "a gap or a wrong order");
    assert!(seqs.len() >= 5_000);
    assert_eq!(cloud.problems, [""; 0]);
    assert_eq!(broker.counters().receive_maximum_exceeded, 0);
    assert!(node.connections > 30);
}

#[tokio::test]
async fn acks_out_of_order_and_a_lost_session_do_not_stop_the_stream() {
    let World { broker, cloud, mut node } =
        world(BrokerOptions { receive_maximum: 5, ..BrokerOptions::default() });
    broker.set_faults(|f| f.acks_reversed = true);
    node.events(3_000);
    node.run_until("half", SOON, |node| node.acked > 1_000).await;
    broker.forget_sessions();
    node.run_until("all", Duration::from_secs(30), |node| node.acked >= 3_000).await;
    assert_eq!(cloud.cloud().problems, [""; 0]);
    assert_eq!(broker.counters().receive_maximum_exceeded, 0);
}

#[tokio::test]
async fn a_broker_that_stops_reading_does_not_hang_the_node() {
    let World { broker, cloud: _cloud, mut node } = world(BrokerOptions::default());
    node.run_until("keys", SOON, |node| node.stored_keys.is_some()).await;
    broker.set_faults(|f| f.stalled = true);
    node.events(20_000);
    node.run_until("the end of the connection", Duration::from_secs(15), |node| !node.disconnected.is_empty()).await;
    broker.set_faults(|f| f.stalled = false);
    let head = node.head();
    node.run_until("all events", Duration::from_secs(60), |node| node.acked >= head).await;
}

#[tokio::test]
async fn a_stopped_broker_is_waited_for_and_what_happened_meanwhile_is_marked_replayed() {
    let World { broker, cloud, mut node } = world(BrokerOptions::default());
    node.events(10);
    node.run_until("the first events", SOON, |node| node.acked >= 10).await;
    broker.stop();
    node.run_until("the loss", SOON, |node| !node.disconnected.is_empty()).await;
    node.events(10);
    node.run_for(Duration::from_millis(100)).await;
    assert!(cloud.cloud().events.len() < 20);
    broker.start_again();
    node.run_until("the rest", SOON, |node| node.acked >= 20).await;
    node.events(1);
    node.run_until("the present", SOON, |node| node.acked >= 21).await;
    let replayed: Vec<u64> = cloud.cloud().events.iter().filter(|e| e.replayed).map(|e| e.seq).collect();
    assert!((11..=20).all(|seq| replayed.contains(&seq)), "{:?}", cloud.cloud().events.iter().filter(|e| e.kind != "door.opened").collect::<Vec<_>>());
    assert!(!replayed.contains(&21), "{:?}", cloud.cloud().events.iter().filter(|e| e.kind != "door.opened").collect::<Vec<_>>());
    assert_eq!(cloud.cloud().problems, [""; 0]);
}

#[tokio::test]
async fn garbage_on_every_topic_changes_nothing_and_commands_still_pass() {
    let World { broker, cloud, mut node } = world(BrokerOptions::default());
    node.run_until("keys", SOON, |node| node.stored_keys.is_some()).await;
    for n in 0..2_000_u32 {
        let garbage = [n.to_be_bytes().to_vec(), vec![b'.'; (n % 300) as usize]].concat();
        for topic in ["cmd", "set", "evt/ack", "set/chunk/00"] {
            broker.inject(&format!("latchd/v1/acme/hq-1/{topic}"), &garbage, false);
        }
    }
    node.run_until("the status", SOON, |_| cloud.cloud().online().is_some()).await;
    let jti = cloud.command(&Wish::door("op-1", "door.open", "front")).unwrap();
    node.run_until("the outcome", SOON, |_| cloud.cloud().outcomes_of(&jti).next().is_some()).await;
    let rejected = |cloud: &CloudClient| cloud.cloud().events.iter().filter(|e| e.kind == "security.rejected").count();
    node.run_until("a report", SOON, |_| rejected(&cloud) >= 1).await;
    assert!(rejected(&cloud) <= 8, "coalesced");
    assert_eq!(node.connections, 1);
}

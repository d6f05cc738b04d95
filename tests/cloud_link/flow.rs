//! Flow control and redelivery, link against broker, message by message.

use std::time::Duration;

use latchd::{
    adapters::mqtt::{Link, MqttLink},
    gateway::{
        session::link::{LinkEvent, LinkOrder, Will},
        step::MessageToken,
    },
};
use latchd_sim::broker::{Broker, BrokerOptions};

use crate::node::plain;

struct Client {
    link: MqttLink,
    connection: u64,
}

impl Client {
    async fn connect(&mut self) -> bool {
        self.connection += 1;
        let will = Will { topic: "status".into(), payload: format!("gone {}", self.connection).into_bytes() };
        self.link.order(LinkOrder::Connect { connection: self.connection, will });
        loop {
            match self.link.next().await {
                LinkEvent::Connected { session_present, .. } => return session_present,
                LinkEvent::Disconnected { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    /// Every message that comes until there is silence.
    async fn messages(&mut self) -> Vec<(MessageToken, String, bool)> {
        let mut messages = Vec::new();
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(300), self.link.next()).await {
            if let LinkEvent::Message { token, payload, dup, .. } = event {
                messages.push((token, String::from_utf8(payload).unwrap(), dup));
            }
        }
        messages
    }
}

fn numbers(messages: &[(MessageToken, String, bool)]) -> Vec<u32> {
    messages.iter().map(|(_, text, _)| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn unacknowledged_messages_stop_the_broker_and_come_again_first_in_order_and_marked() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let mut client = Client { link: MqttLink::new(plain(broker.address().port())), connection: 0 };
    assert!(!client.connect().await);
    client.link.order(LinkOrder::Subscribe { filters: vec!["cmd".into()] });
    assert!(client.messages().await.is_empty());
    for n in 0..100 {
        broker.inject("cmd", n.to_string().as_bytes(), false);
    }
    let first = client.messages().await;
    assert_eq!(numbers(&first), (0..64).collect::<Vec<_>>(), "as many as the receive maximum");
    for (token, ..) in &first[..10] {
        client.link.order(LinkOrder::Ack(*token));
    }
    let more = client.messages().await;
    assert_eq!(numbers(&more), (64..74).collect::<Vec<_>>());

    broker.drop_connections();
    assert!(client.connect().await, "the session is kept");
    let again = client.messages().await;
    assert_eq!(numbers(&again), (10..74).collect::<Vec<_>>());
    assert!(again.iter().all(|(_, _, dup)| *dup));
    // An acknowledgement from before means nothing now.
    client.link.order(LinkOrder::Ack(first[20].0));
    assert!(client.messages().await.is_empty());
    for (token, ..) in &again {
        client.link.order(LinkOrder::Ack(*token));
    }
    let rest = client.messages().await;
    assert_eq!(numbers(&rest), (74..100).collect::<Vec<_>>());
    assert!(rest.iter().all(|(_, _, dup)| !*dup));
}

#[tokio::test]
async fn the_will_is_published_when_the_line_is_cut_and_not_after_a_goodbye() {
    let broker = Broker::start(BrokerOptions::default()).unwrap();
    let mut client = Client { link: MqttLink::new(plain(broker.address().port())), connection: 0 };
    client.connect().await;
    client.link.order(LinkOrder::Disconnect);
    client.messages().await;
    assert_eq!(broker.retained("status"), None);
    client.connect().await;
    broker.drop_connections();
    client.messages().await;
    assert_eq!(broker.retained("status").as_deref(), Some(&b"gone 2"[..]));
}

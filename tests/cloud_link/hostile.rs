//! A broker that sends anything at all: every attempt ends, nothing panics through, nothing hangs.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use latchd::{
    adapters::mqtt::{Link, MqttLink},
    gateway::{
        session::link::{Handle, LinkEvent, LinkOrder, Will},
        step::MessageToken,
    },
};

use crate::node::plain;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// CONNACK with receive maximum 20 and maximum packet size.
const CONNACK: [u8; 13] = [0x20, 11, 0, 0, 8, 0x21, 0, 20, 0x27, 0, 1, 0, 0];

fn packet(random: &mut Random) -> Vec<u8> {
    let mut body: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
    let mut first = random.next() as u8;
    match random.below(8) {
        // Something that is nearly a PUBLISH, a PUBACK, a SUBACK, a DISCONNECT, a PUBREC, a PUBCOMP.
        0 => {
            first = 0x30 | (random.next() as u8 & 0x0F);
            body.splice(0..0, [0, 3, b'a', b'/', b'b', 0, random.below(30) as u8, 0]);
        }
        1 => (first, body) = (0x40, vec![0, random.below(30) as u8]),
        2 => (first, body) = (0x90, vec![0, random.below(5) as u8, 0, random.next() as u8]),
        3 => (first, body) = (0xE0, vec![random.next() as u8, 0]),
        4 => (first, body) = (0x50, vec![0, random.below(30) as u8]),
        5 => (first, body) = (0x70, vec![0, random.below(30) as u8]),
        6 => (first, body) = (0x62, vec![0, random.below(30) as u8]),
        _ => {}
    }
    let mut packet = vec![first, body.len() as u8];
    if random.below(10) == 0 {
        // A length that is not true, or not even one.
        packet = vec![first, 0xFF, 0xFF, random.next() as u8, random.next() as u8];
    }
    packet.extend(body);
    packet
}

fn serve(mut socket: TcpStream, random: &mut Random) {
    let mut connect = [0; 1024];
    let _ = socket.read(&mut connect);
    let mut connack = CONNACK.to_vec();
    match random.below(6) {
        0 => {
            let at = random.below(13) as usize;
            connack[at] = random.next() as u8;
        }
        1 => connack = packet(random),
        _ => {}
    }
    let _ = socket.write_all(&connack);
    for _ in 0..random.below(30) {
        let bytes = packet(random);
        if socket.write_all(&bytes).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn no_broker_panics_or_hangs_the_link() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for socket in listener.incoming().flatten() {
            serve(socket, &mut random);
        }
    });
    let mut link = MqttLink::new(plain(port));
    let mut established = 0;
    for connection in 1..=500 {
        link.order(LinkOrder::Connect { connection, will: Will { topic: "status".into(), payload: vec![1] } });
        let ended = async {
            loop {
                match link.next().await {
                    LinkEvent::Connected { window, .. } => {
                        established += 1;
                        link.order(LinkOrder::Subscribe { filters: vec!["cmd".into()] });
                        for n in 0..u64::from(window) {
                            let (topic, payload) = ("evt".to_owned(), vec![0; 10]);
                            link.order(LinkOrder::Publish { handle: Handle(n), topic, payload, retain: false });
                        }
                    }
                    LinkEvent::Message { token, .. } => {
                        link.order(LinkOrder::Ack(token));
                        link.order(LinkOrder::Ack(MessageToken { connection: connection - 1, packet_id: 1 }));
                    }
                    LinkEvent::Disconnected { connection: of, .. } => {
                        assert_eq!(of, connection);
                        return;
                    }
                    LinkEvent::Subscribed { .. } | LinkEvent::PubAcked { .. } => {}
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(15), ended).await.is_ok(), "attempt {connection} hangs");
    }
    assert!(established > 100, "{established}");
}

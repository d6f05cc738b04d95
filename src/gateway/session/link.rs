//! The words between the session and whatever carries MQTT for it: the real adapter, or the simulated
//! one in virtual time. Owns no behaviour.

use crate::gateway::step::MessageToken;

/// Names one publish of one connection until its PUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// What the broker publishes when the connection ends without a goodbye; QoS 1, retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// What the session wants of the link. What is published has QoS 1, but for what is only mentioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOrder {
    /// One attempt; answered by one `Connected` or `Disconnected` with this number. Whatever
    /// connection there was is dropped.
    Connect {
        connection: u64,
        will: Will,
    },
    /// Says goodbye (no will is published) after what was ordered before is on the wire.
    Disconnect,
    Subscribe {
        filters: Vec<String>,
    },
    Publish {
        handle: Handle,
        topic: String,
        payload: Vec<u8>,
        retain: bool,
    },
    /// QoS 0, never answered: lost where there is no room.
    Mention {
        topic: String,
        payload: Vec<u8>,
    },
    /// The broker may forget this message.
    Ack(MessageToken),
}

/// What the link tells the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// `window`: so many publishes may be unacknowledged at a time.
    Connected {
        connection: u64,
        session_present: bool,
        window: u16,
    },
    /// The broker's answer to `Subscribe`: the filters that it refused, with its reason.
    Subscribed {
        connection: u64,
        refused: Vec<(String, String)>,
    },
    Message {
        token: MessageToken,
        topic: String,
        payload: Vec<u8>,
        retain: bool,
        dup: bool,
    },
    /// PUBACK; `refused` is the broker's reason if it did not take the message. `unheard`: it took it, but
    /// nobody was there to get it.
    PubAcked {
        connection: u64,
        handle: Handle,
        refused: Option<String>,
        unheard: bool,
    },
    /// The attempt failed or the connection ended: why, and what to do about it.
    Disconnected {
        connection: u64,
        reason: String,
    },
}

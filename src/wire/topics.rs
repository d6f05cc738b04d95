//! The MQTT topics of the contract. Owns their spelling; must never be spelled anywhere else. Invariant:
//! everything lies under `latchd/v1/{org}/{node}`, so that a broker's ACL for a node is that one prefix.

use super::canonical::{hex, unhex32};
use crate::domain::ids::Id;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    root: String,
    audience: String,
}

/// What arrives, by its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    Command,
    EventAck,
    /// A delta, manifest, beat or key set: the header's `typ` says which.
    Set,
    /// The bytes that hash to this name.
    Chunk([u8; 32]),
}

impl Topics {
    pub fn new(org: &Id, node: &Id) -> Topics {
        let audience = format!("{org}/{node}");
        Topics { root: format!("latchd/v1/{audience}"), audience }
    }

    /// `org/node`: the `aud` of everything that is for this node.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    /// What the node subscribes to, all with QoS 1.
    pub fn subscriptions(&self) -> [String; 4] {
        [self.cmd(), self.evt_ack(), self.set(), self.under("set/chunk/+")]
    }

    /// What a message on `topic` is; `None` if it is nothing that the node subscribed to.
    pub fn incoming(&self, topic: &str) -> Option<Incoming> {
        match topic.strip_prefix(self.root.as_str())?.strip_prefix('/')? {
            "cmd" => Some(Incoming::Command),
            "evt/ack" => Some(Incoming::EventAck),
            "set" => Some(Incoming::Set),
            other => unhex32(other.strip_prefix("set/chunk/")?).map(Incoming::Chunk),
        }
    }

    fn under(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    pub fn cmd(&self) -> String {
        self.under("cmd")
    }

    pub fn rsp(&self) -> String {
        self.under("rsp")
    }

    pub fn evt(&self) -> String {
        self.under("evt")
    }

    pub fn evt_ack(&self) -> String {
        self.under("evt/ack")
    }

    pub fn set(&self) -> String {
        self.under("set")
    }

    pub fn set_chunk(&self, hash: &[u8; 32]) -> String {
        self.under(&format!("set/chunk/{}", hex(hash)))
    }

    pub fn set_req(&self) -> String {
        self.under("set/req")
    }

    pub fn live(&self, jti: &Id) -> String {
        self.under(&format!("live/{jti}"))
    }

    /// `kind` is `door`, `floor_group`, `locker`, `reader`, `board` or `area`.
    pub fn state(&self, kind: &str, id: &Id) -> String {
        self.under(&format!("state/{kind}/{id}"))
    }

    pub fn status(&self) -> String {
        self.under("status")
    }

    pub fn telemetry(&self) -> String {
        self.under("telemetry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new(&Id::new("acme").unwrap(), &Id::new("hq-1").unwrap())
    }

    #[test]
    fn what_the_node_subscribes_to_is_recognised_when_it_arrives() {
        let topics = topics();
        assert_eq!(topics.audience(), "acme/hq-1");
        assert_eq!(topics.incoming("latchd/v1/acme/hq-1/cmd"), Some(Incoming::Command));
        assert_eq!(topics.incoming("latchd/v1/acme/hq-1/evt/ack"), Some(Incoming::EventAck));
        assert_eq!(topics.incoming("latchd/v1/acme/hq-1/set"), Some(Incoming::Set));
        let hash = [0xab; 32];
        assert_eq!(topics.incoming(&topics.set_chunk(&hash)), Some(Incoming::Chunk(hash)));
    }

    #[test]
    fn a_topic_of_another_node_or_none_of_the_contract_is_nothing() {
        let topics = topics();
        for other in [
            "",
            "latchd/v1/acme/hq-1",
            "latchd/v1/acme/hq-1/",
            "latchd/v1/acme/hq-12/cmd",
            "latchd/v1/acme/hq-1/cmd/x",
            "latchd/v1/acme/hq-1/rsp",
            "latchd/v1/acme/hq-1/set/chunk/",
            "latchd/v1/acme/hq-1/set/chunk/ABAB",
            &topics.set_chunk(&[0xab; 32]).to_uppercase(),
        ] {
            assert_eq!(topics.incoming(other), None, "{other}");
        }
    }
}

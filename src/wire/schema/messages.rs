//! What travels where. Owns the table of channels; the shapes of what travels are in `payloads`.

use serde_json::Value;

use crate::wire::jws::Typ;

pub enum Way {
    /// From the cloud to the node.
    Down,
    Up,
}

pub struct Channel {
    pub name: &'static str,
    pub address: &'static str,
    pub way: Way,
    pub operation: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub retain: bool,
    pub messages: &'static [&'static str],
}

impl Channel {
    /// What is lost of the node's figures is lost.
    pub fn qos(&self) -> u8 {
        if self.name == "telemetry" { 0 } else { 1 }
    }
}

pub struct Message {
    pub name: &'static str,
    pub title: &'static str,
    pub summary: &'static str,
    /// `None`: not signed.
    pub typ: Option<Typ>,
    pub payload: Value,
    pub examples: Vec<(&'static str, Value)>,
}

pub fn channels() -> [Channel; 16] {
    [
        Channel {
            name: "command",
            address: "latchd/v1/{org}/{node}/cmd",
            way: Way::Down,
            operation: "receiveCommand",
            summary: "Carry out a command before its deadline or not at all",
            description: "One signed command. Never retained: one that arrives retained is refused.",
            retain: false,
            messages: &["Command"],
        },
        Channel {
            name: "outcome",
            address: "latchd/v1/{org}/{node}/rsp",
            way: Way::Up,
            operation: "sendOutcome",
            summary: "Say how far a command has got",
            description: "One stage of one command.",
            retain: false,
            messages: &["Outcome"],
        },
        Channel {
            name: "events",
            address: "latchd/v1/{org}/{node}/evt",
            way: Way::Up,
            operation: "sendEvents",
            summary: "Say what happened",
            description: "Events in order and without gaps, sent until acknowledged. The broker's PUBACK acknowledges nothing.",
            retain: false,
            messages: &["Events"],
        },
        Channel {
            name: "eventAck",
            address: "latchd/v1/{org}/{node}/evt/ack",
            way: Way::Down,
            operation: "receiveEventAck",
            summary: "Let go of events that the cloud has stored",
            description: "Cumulative. Refused if the hash is not the node's own or the number is beyond what was sent.",
            retain: false,
            messages: &["EventAck"],
        },
        Channel {
            name: "set",
            address: "latchd/v1/{org}/{node}/set",
            way: Way::Down,
            operation: "receiveSet",
            summary: "Converge with the cloud's permission set",
            description: "A delta, a manifest, a beat or a key set, told apart by the JWS header's typ. May be retained.",
            retain: false,
            messages: &["Set", "Beat", "Keys"],
        },
        Channel {
            name: "chunk",
            address: "latchd/v1/{org}/{node}/set/chunk/{sha256}",
            way: Way::Down,
            operation: "receiveChunk",
            summary: "Receive the records that a manifest names",
            description: "The bytes that hash to the topic's last level. Unrequested ones are dropped.",
            retain: false,
            messages: &["Chunk"],
        },
        Channel {
            name: "setRequest",
            address: "latchd/v1/{org}/{node}/set/req",
            way: Way::Up,
            operation: "sendSetRequest",
            summary: "Say what the node holds and ask for what it lacks",
            description: "Sent at every connection, from time to time, and whenever something is missing. Answered with a beat.",
            retain: false,
            messages: &["SetRequest"],
        },
        Channel {
            name: "doorState",
            address: "latchd/v1/{org}/{node}/state/door/{door}",
            way: Way::Up,
            operation: "sendDoorState",
            summary: "Say how a door is",
            description: "The door's present state, published at every change and whenever the link comes up.",
            retain: true,
            messages: &["DoorState"],
        },
        Channel {
            name: "readerState",
            address: "latchd/v1/{org}/{node}/state/reader/{reader}",
            way: Way::Up,
            operation: "sendReaderState",
            summary: "Say how a reader is",
            description: "Published when the reader is lost or heard again, and whenever the link comes up.",
            retain: true,
            messages: &["ReaderState"],
        },
        Channel {
            name: "boardState",
            address: "latchd/v1/{org}/{node}/state/board/{board}",
            way: Way::Up,
            operation: "sendBoardState",
            summary: "Say how a board is",
            description: "Published when the board is lost or answers again, and whenever the link comes up.",
            retain: true,
            messages: &["BoardState"],
        },
        Channel {
            name: "liveEvents",
            address: "latchd/v1/{org}/{node}/live/{jti}",
            way: Way::Up,
            operation: "sendLiveEvents",
            summary: "Show events to one who watches",
            description: "One topic for each live_events.subscribe, named by its jti. In order, but not without gaps: `missed` counts them.",
            retain: false,
            messages: &["Live"],
        },
        Channel {
            name: "areaState",
            address: "latchd/v1/{org}/{node}/state/area/{area}",
            way: Way::Up,
            operation: "sendAreaState",
            summary: "Say how many people are in an area",
            description: "Published at every change and whenever the link comes up; an empty message clears it when the permission set has no such area any more.",
            retain: true,
            messages: &["AreaState"],
        },
        Channel {
            name: "floorGroupState",
            address: "latchd/v1/{org}/{node}/state/floor_group/{floor_group}",
            way: Way::Up,
            operation: "sendFloorGroupState",
            summary: "Say which floors of an elevator are enabled",
            description: "Published at every change and whenever the link comes up.",
            retain: true,
            messages: &["FloorGroupState"],
        },
        Channel {
            name: "lockerState",
            address: "latchd/v1/{org}/{node}/state/locker/{locker}",
            way: Way::Up,
            operation: "sendLockerState",
            summary: "Say where a key is and how far its contracts have got",
            description: "Of each compartment, at every change and whenever the link comes up. Lock and contact are those of the door of the same id.",
            retain: true,
            messages: &["LockerState"],
        },
        Channel {
            name: "telemetry",
            address: "latchd/v1/{org}/{node}/telemetry",
            way: Way::Up,
            operation: "sendTelemetry",
            summary: "Say how the node is running",
            description: "Counters, gauges and latency quantiles, from time to time, as the node is configured.",
            retain: false,
            messages: &["Telemetry"],
        },
        Channel {
            name: "status",
            address: "latchd/v1/{org}/{node}/status",
            way: Way::Up,
            operation: "sendStatus",
            summary: "Say whether and how the node is",
            description: "Published when the link comes up and at every change; the broker publishes the will here when the link breaks.",
            retain: true,
            messages: &["Status"],
        },
    ]
}

//! What the node says of its own running: on `telemetry` from time to time, and in answer to
//! `node.diagnostics`. Owns the words; must never say anything about a person. Invariant: every list is
//! bounded by the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{canonical::hex32, configuration::ConfigurationAnswer};
use crate::domain::{
    ids::Id,
    status::Link,
    time::{ClockTrust, Wall},
};

/// How long something took, of `count` times: each value is at most a quarter too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// From a card at the controller to what follows from it.
    pub decision: Quantiles,
    /// From an order that was authorised to the board's confirmation, durable where it must be.
    pub command: Quantiles,
    /// From a group of writes to their being durable.
    pub event_append: Quantiles,
}

/// Since the start of this run; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    pub events: u64,
    pub granted: u64,
    pub denied: u64,
    /// Outcomes that newer ones pushed out before the broker had them.
    pub outcomes_dropped: u64,
    /// Lines of the node's own log that there was no room for.
    pub lines_dropped: u64,
}

/// Of one bus: since the last message in telemetry, since the start in diagnostics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BusFigures {
    pub bus: Id,
    pub answered: u64,
    /// Not answered, or not with what was asked.
    pub failed: u64,
    pub transaction: Quantiles,
}

/// Now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gauges {
    /// Events that the cloud has not acknowledged.
    pub backlog: u64,
    pub outcomes_waiting: u64,
    /// Commits that the ledger's queue had no room for.
    pub commits_waiting: u64,
    /// Orders and errands that have not ended.
    pub commands_open: u64,
    pub commands_remembered: u64,
    pub live_subscriptions: u64,
    /// Alarms that stand and nobody has acknowledged.
    pub alarms: u64,
    /// Of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub memory_bytes: Option<u64>,
}

/// On `telemetry`, QoS 0: what is lost is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub uptime_s: u64,
    /// What latencies and buses are of: the time since the last message.
    pub interval_ms: u64,
    pub counters: Counters,
    pub gauges: Gauges,
    pub latencies: Latencies,
    pub buses: Vec<BusFigures>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoardFigures {
    pub board: Id,
    pub link: Link,
    pub answered: u64,
    pub failed: u64,
    /// Of the last answer.
    pub last_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReaderFigures {
    pub reader: Id,
    pub link: Link,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreFigures {
    pub store: String,
    /// On the disk; absent if nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub bytes: Option<u64>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub failing: Option<String>,
}

/// The log of events on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFigures {
    pub log_id: Id,
    pub oldest: u64,
    pub newest: u64,
    /// How many it keeps.
    pub events_max: u64,
}

/// The answer to `node.diagnostics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnostics {
    /// Of the daemon.
    pub version: String,
    pub boot: Id,
    pub uptime_s: u64,
    pub time: Wall,
    pub clock: ClockTrust,
    pub epoch: u64,
    pub generation: u64,
    #[serde(with = "hex32")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub digest: [u8; 32],
    pub keys_version: u64,
    /// Absent: unknown, which counts as stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub staleness_ms: Option<u64>,
    pub configuration: ConfigurationAnswer,
    pub counters: Counters,
    pub gauges: Gauges,
    /// Since the start.
    pub latencies: Latencies,
    pub buses: Vec<BusFigures>,
    pub boards: Vec<BoardFigures>,
    pub readers: Vec<ReaderFigures>,
    pub stores: Vec<StoreFigures>,
    /// Absent if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LogFigures")]
    pub event_log: Option<LogFigures>,
}

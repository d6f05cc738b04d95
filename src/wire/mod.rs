//! Codecs and cryptography of everything that crosses the node's borders, pure.

pub mod ack;
pub mod beat;
pub mod canonical;
pub mod command;
pub mod configuration;
pub mod edit;
pub mod event_log;
pub mod jws;
pub mod keys;
pub mod live;
pub mod numeric_date;
pub mod osdp;
pub mod outcome;
pub mod reader_line;
pub mod report;
pub mod schema;
pub mod set;
pub mod stored;
pub mod telemetry;
pub mod token;
pub mod topics;
pub mod upward;

#[cfg(test)]
pub(crate) mod testkit;

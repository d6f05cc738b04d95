//! The real link and session against brokers: our own with faults, and mosquitto.

mod broker;
mod flow;
mod hostile;
mod mosquitto;
mod node;
mod tls;

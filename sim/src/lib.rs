//! The simulated site: what surrounds latchd, for its demo, tests and benches. Never part of the daemon.

pub mod board;
pub mod broker;
pub mod disk;
pub mod cloud;
pub mod pki;
pub mod pty;
pub mod reader;
pub mod site;

//! The simulated site: what surrounds latchd, for its demo, tests and benches. Never part of the daemon.

pub mod board;
pub mod broker;
pub mod cloud;
pub mod disk;
pub mod line;
pub mod pki;
pub mod pty;
pub mod reader;
pub mod session;
pub mod site;
pub mod world;

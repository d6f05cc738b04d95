//! Wiring: threads, queues, start, stop, the watchdog. Owns everything that waits; must never decide
//! anything about doors or commands.

pub mod clock;
pub mod heartbeat;
mod run;
pub mod secrets;

pub use run::{RunError, run};

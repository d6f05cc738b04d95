//! Wiring: threads, queues, start, stop, the watchdog. Owns everything that waits; must never decide
//! anything about doors or commands.

mod run;

pub use run::{RunError, run};

pub mod bus_loop;
pub mod clock;
pub mod heartbeat;
pub mod reader_loop;
pub mod secrets;

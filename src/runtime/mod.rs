//! Wiring: threads, queues, start, stop, the watchdog. Owns everything that waits; must never decide
//! anything about doors or commands.

pub mod bus_loop;
mod clerk;
pub mod clock;
mod cloud_loop;
mod configuration;
mod control;
mod door_loop;
mod doors_thread;
mod event_line;
mod figures;
pub mod heartbeat;
mod ledger_queue;
mod mirror_queue;
mod news_queue;
mod osdp_keys;
mod osdp_lines;
pub mod osdp_loop;
pub mod reader_loop;
mod run;
pub mod secrets;
mod watchdog;

pub use run::{Finish, RunError, run};

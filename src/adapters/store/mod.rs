//! The disk: sled behind the gateway's [`Kv`](crate::gateway::kv::Kv), and the thread that owns the ledger.
//! Owns everything that is known about sled's weaknesses (see [`sled_kv`]); must never know what the records
//! mean. Invariant: nothing here says "durable" before an fsync has returned.

mod emergency_copy;
mod mark;
mod open;
mod parts;
mod quiet;
mod reserve;
mod scan;
mod sled_kv;

pub mod ledger_thread;
pub mod mirror_thread;
pub mod second_copy;

pub use open::{OpenError, SetAside, open_or_set_aside, set_aside};
pub use sled_kv::SledKv;

//! The gateway's machines, sans-IO: each is a plain struct with `handle(now, input)` and
//! `next_deadline()`. The runtime gives each its loop; the simulator runs all of them in virtual time.

pub mod kv;
pub mod mirror;
pub mod ledger;
pub mod step;

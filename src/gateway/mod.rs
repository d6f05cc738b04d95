//! The gateway's machines, sans-IO: each is a plain struct with `handle(now, input)` and
//! `next_deadline()`. The runtime gives each its loop; the simulator runs all of them in virtual time.

pub mod clock_trust;
pub mod controller;
pub mod departed;
pub mod desk;
pub mod explain;
pub mod fieldbus;
pub mod kv;
pub mod ledger;
pub mod live;
pub mod mirror;
pub mod opening;
pub mod osdp;
pub mod reports;
pub mod scan;
pub mod session;
pub mod step;
pub mod uplink;
pub mod vitals;

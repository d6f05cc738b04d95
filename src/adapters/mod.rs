//! One outside thing each; never each other.

pub mod clock;
pub mod control;
pub mod field;
pub mod journal;
pub mod mqtt;
pub mod osdp_key_file;
pub mod override_file;
pub mod process;
pub mod store;
pub mod timer;

//! One outside thing each.

pub mod store;

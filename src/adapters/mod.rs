//! One outside thing each, and never each other.

pub mod mqtt;

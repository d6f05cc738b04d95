//! One outside thing each; never each other.

pub mod clock;
pub mod journal;
pub mod modbus;
pub mod mqtt;
pub mod serial_port;
pub mod serial_reader;
pub mod store;

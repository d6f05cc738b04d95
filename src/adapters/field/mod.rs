//! The wires of the building: Modbus boards, OSDP lines and line-framed readers. One adapter, because both speak
//! over the same outside thing, the serial port.

pub mod modbus;
pub mod osdp_port;
pub mod serial_port;
pub mod serial_reader;

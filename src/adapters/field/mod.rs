//! The wires of the building: Modbus boards and line-framed readers. One adapter, because both speak
//! over the same outside thing, the serial port.

pub mod modbus;
pub mod serial_port;
pub mod serial_reader;

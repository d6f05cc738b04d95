//! Opening a serial port, for whoever speaks over one. Owns the settings of the line and the words for
//! what went wrong; must never enumerate ports: installers name them. Invariant: a port has one owner, under whichever of
//! its names it is opened: the opening locks the device (TIOCEXCL, and `flock` for what the superuser runs) and fails
//! while anybody else has it.

use std::io;

use tokio_serial::{DataBits, FlowControl, SerialStream, StopBits};

use crate::config::site::{Parity, SerialPort};

/// Opens and sets up a port; the error says which port and what to do about it.
pub fn open_port(port: &SerialPort) -> Result<SerialStream, String> {
    let path = port.path.to_string_lossy();
    let builder = tokio_serial::new(path.as_ref(), port.baud)
        .data_bits(DataBits::Eight)
        .parity(match port.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if port.stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .flow_control(FlowControl::None);
    SerialStream::open(&builder).map_err(|error| {
        let hint = match error.kind() {
            tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
                "; the user that runs latchd must be in the port's group (on Debian: dialout)"
            }
            tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => "; is the adapter plugged in, is the name right?",
            tokio_serial::ErrorKind::NoDevice if is_held(&error.description) => {
                "; another program or another bus holds it, perhaps under another name of the same port. A running latchd \
                 holds the ports of its buses until `systemctl stop latchd` (its doors go to their safe state meanwhile); \
                 `fuser -v` on the port names who else does"
            }
            _ => "; is it a serial port?",
        };
        format!("cannot open {path}: {error}{hint}")
    })
}

/// One word of the library for a port that another holds, and the system's for EBUSY.
fn is_held(description: &str) -> bool {
    description.contains("lock") || description.contains("busy")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_port_that_is_not_there_is_named_with_a_hint() {
        let port = SerialPort {
            path: "/dev/no-such-port".into(),
            baud: 9_600,
            parity: Parity::None,
            stop_bits: 1,
            turnaround: Duration::ZERO,
        };
        let error = open_port(&port).expect_err("no such port");
        assert!(error.contains("/dev/no-such-port") && error.contains("plugged in"), "{error}");
    }
}

//! The serial port of an OSDP line: bytes out, bytes in. Owns the port, opens it again when it has gone; must never
//! look at what the bytes mean (that is `gateway::osdp`). Invariant: what was received before the port was opened
//! is thrown away.

use std::{fmt, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use crate::{adapters::field::serial_port::open_port, config::site::SerialPort};

const REOPEN_AFTER: Duration = Duration::from_millis(250);
/// A frame that the port does not take within this is not going to leave any more.
const WRITE_WITHIN: Duration = Duration::from_secs(2);

pub struct OsdpPort {
    port: SerialPort,
    stream: Option<SerialStream>,
    /// As the open port is set.
    baud: u32,
    tried: Option<Instant>,
}

impl fmt::Debug for OsdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OsdpPort({})", self.port.path.display())
    }
}

impl OsdpPort {
    pub fn new(port: SerialPort) -> OsdpPort {
        OsdpPort { baud: port.baud, port, stream: None, tried: None }
    }

    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Opens the port if it is not open and was not tried just now.
    pub fn open(&mut self) -> Result<(), String> {
        if self.stream.is_some() {
            return Ok(());
        }
        if self.tried.is_some_and(|at| at.elapsed() < REOPEN_AFTER) {
            return Err(format!("{} is gone", self.port.path.display()));
        }
        self.tried = Some(Instant::now());
        let stream = open_port(&self.port)?;
        let _ = stream.clear(ClearBuffer::Input);
        self.baud = self.port.baud;
        self.stream = Some(stream);
        Ok(())
    }

    /// Puts the bytes on the line, and listens, at this speed from now on.
    pub async fn send(&mut self, baud: u32, bytes: &[u8]) -> Result<(), String> {
        let Some(stream) = &mut self.stream else { return Err(self.gone("it is not open")) };
        if self.baud != baud {
            if let Err(error) = stream.set_baud_rate(baud) {
                return Err(self.gone(&format!("it cannot be set to {baud} baud: {error}")));
            }
            self.baud = baud;
        }
        let sent = timeout(WRITE_WITHIN, stream.write_all(bytes)).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| self.gone(&error.to_string()))
    }

    /// The next bytes. Cancelling it loses none.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let Some(stream) = &mut self.stream else { return Err(self.gone("it is not open")) };
        match stream.read(buffer).await {
            Ok(0) => Err(self.gone("the port has gone")),
            Ok(count) => Ok(count),
            Err(error) => Err(self.gone(&error.to_string())),
        }
    }

    fn gone(&mut self, detail: &str) -> String {
        self.stream = None;
        self.tried = Some(Instant::now());
        format!("{}: {detail}", self.port.path.display())
    }
}

//! Modbus RTU on a serial port. tokio-modbus matches an answer by unit and function code only, so a
//! late answer would pass for the answer to the next request. Hence after every fault: wait until the
//! line has been silent long enough, throw away what came, and give the client a fresh codec on the
//! same port.

use std::{fmt, io, time::Duration};

use tokio::{io::AsyncReadExt as _, time::Instant};
use tokio_modbus::{
    Slave,
    client::{Context, rtu},
};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use crate::{
    adapters::field::serial_port::open_port,
    config::site::SerialPort,
    domain::time::Mono,
    gateway::fieldbus::{BusFault, Reply, Request, Transaction},
};

use super::{codec, in_time, shared::Shared, timer};

/// A port that could not be opened is tried again no sooner than this.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// A line that never falls silent is not listened to for longer than this.
const DRAIN_MAX: Duration = Duration::from_millis(500);

pub struct RtuWire {
    port: SerialPort,
    timeout: Duration,
    open: Option<(Context, Shared<SerialStream>)>,
    /// When it was last tried to open the port, and what came of it.
    failed: Option<(Instant, String)>,
}

impl fmt::Debug for RtuWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtuWire({})", self.port.path.display())
    }
}

impl RtuWire {
    pub fn new(port: SerialPort, timeout: Duration) -> RtuWire {
        RtuWire { port, timeout, open: None, failed: None }
    }

    pub async fn transact(&mut self, transaction: Transaction, clock: impl Fn() -> Mono) -> Result<Reply, BusFault> {
        let (mut client, stream) = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        if let Err(late) = in_time(&transaction, clock) {
            self.open = Some((client, stream));
            return Err(late);
        }
        // What lies there was not asked for.
        if stream.lock().clear(ClearBuffer::Input).is_err() {
            return Err(BusFault::Unreachable(format!("{}: the port is gone", self.port.path.display())));
        }
        let result = match transaction.request {
            Request::WriteTimer { address, count } => {
                timer::over_rtu(&mut stream.clone(), transaction.unit, (address, count), self.timeout).await
            }
            _ => codec::call(&mut client, &transaction, self.timeout).await,
        };
        match &result {
            Ok(_) | Err(BusFault::Exception(_)) => self.open = Some((client, stream)),
            Err(BusFault::Disconnected(_)) => {}
            Err(_) => {
                drop(client);
                if quiet(stream.clone(), self.silence()).await.is_ok() {
                    self.open = Some((rtu::attach_slave(stream.clone(), Slave(0)), stream));
                }
            }
        }
        result
    }

    fn open(&mut self) -> Result<(Context, Shared<SerialStream>), BusFault> {
        if let Some((at, detail)) = &self.failed
            && at.elapsed() < REOPEN_AFTER
        {
            return Err(BusFault::Unreachable(detail.clone()));
        }
        match open_port(&self.port) {
            Ok(stream) => {
                self.failed = None;
                let stream = Shared::new(stream);
                Ok((rtu::attach_slave(stream.clone(), Slave(0)), stream))
            }
            Err(detail) => {
                self.failed = Some((Instant::now(), detail.clone()));
                Err(BusFault::Unreachable(detail))
            }
        }
    }

    /// How long the line must be silent before it is trusted again: at least t3.5 and the turnaround,
    /// and a part of the timeout, for a board that was late once is late by more than a frame.
    fn silence(&self) -> Duration {
        frame_gap(self.port.baud).max(self.port.turnaround).max(self.timeout / 4)
    }
}

/// t3.5: three and a half characters of 11 bits, fixed above 19200 baud (Modbus over Serial Line
/// V1.02, section 2.5.1.1).
fn frame_gap(baud: u32) -> Duration {
    if baud > 19_200 {
        Duration::from_micros(1_750)
    } else {
        Duration::from_micros(38_500_000 / u64::from(baud.max(1)))
    }
}

/// Reads and forgets until nothing has come for `silence`.
async fn quiet(mut stream: Shared<SerialStream>, silence: Duration) -> io::Result<()> {
    let give_up = Instant::now() + DRAIN_MAX.max(silence);
    let mut discarded = [0; 256];
    loop {
        match tokio::time::timeout(silence, stream.read(&mut discarded)).await {
            Err(_) => return Ok(()),
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(_)) if Instant::now() >= give_up => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_between_frames_is_fixed_above_19200_baud() {
        assert_eq!(frame_gap(9_600), Duration::from_micros(4_010));
        assert_eq!(frame_gap(19_200), Duration::from_micros(2_005));
        assert_eq!(frame_gap(115_200), Duration::from_micros(1_750));
    }
}

//! Modbus RTU on a serial port: carries the bytes of one exchange after the other. Owns the port, opens it again
//! when it has gone; must never look at what the bytes mean (that is `gateway::fieldbus::rtu`). Invariant: what lay
//! in the port before a request was sent is thrown away.

use std::{fmt, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use crate::{
    adapters::field::serial_port::open_port,
    config::{
        line_time::{bits_per_character, frame_gap},
        site::SerialPort,
    },
    domain::time::Mono,
    gateway::fieldbus::{BusFault, EchoSense, Exchange, Reply, RtuTimes, Transaction},
};

use super::in_time;

/// A port that could not be opened is tried again no sooner than this.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// A request that the port does not take within this is not going to leave any more.
const WRITE_WITHIN: Duration = Duration::from_secs(2);

pub struct RtuWire {
    port: SerialPort,
    times: RtuTimes,
    open: Option<SerialStream>,
    echo: EchoSense,
    echo_news: bool,
    /// When it was last tried to open the port, and what came of it.
    failed: Option<(Instant, String)>,
}

impl fmt::Debug for RtuWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtuWire({})", self.port.path.display())
    }
}

impl RtuWire {
    pub fn new(port: SerialPort) -> RtuWire {
        let gap = frame_gap(port.baud, bits_per_character(port.parity, port.stop_bits));
        let times = RtuTimes::new(gap, port.turnaround);
        RtuWire { port, times, open: None, echo: EchoSense::default(), echo_news: false, failed: None }
    }

    /// Once, when it became known that the line hears what is said on it.
    pub fn echo_news(&mut self) -> Option<String> {
        std::mem::take(&mut self.echo_news).then(|| {
            format!(
                "the adapter at {} hears what it sends itself (local echo). latchd takes that for what it is and nothing \
                 need be done; a switch or jumper on the adapter may turn it off",
                self.port.path.display()
            )
        })
    }

    pub async fn transact(&mut self, transaction: Transaction, clock: impl Fn() -> Mono) -> Result<Reply, BusFault> {
        let mut stream = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        if let Err(late) = in_time(&transaction, &clock) {
            self.open = Some(stream);
            return Err(late);
        }
        // What lies there was not asked for.
        if stream.clear(ClearBuffer::Input).is_err() {
            return Err(BusFault::Unreachable(format!("{}: the port is gone", self.port.path.display())));
        }
        let (mut exchange, bytes) = Exchange::begin(self.times, self.echo.echo(), &transaction, clock());
        // Not flushed: that would be tcdrain, which holds the thread until the last bit has left.
        let sent = timeout(WRITE_WITHIN, stream.write_all(&bytes)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        sent.map_err(|error| BusFault::Disconnected(error.to_string()))?;
        match listen(&mut stream, &mut exchange, &clock).await {
            Ok(result) => {
                self.echo_news |= self.echo.learn(exchange.echo());
                self.open = Some(stream);
                result
            }
            Err(error) => Err(BusFault::Disconnected(error.to_string())),
        }
    }

    fn open(&mut self) -> Result<SerialStream, BusFault> {
        if let Some((at, detail)) = &self.failed
            && at.elapsed() < REOPEN_AFTER
        {
            return Err(BusFault::Unreachable(detail.clone()));
        }
        match open_port(&self.port) {
            Ok(stream) => {
                self.failed = None;
                // Another adapter may have its name.
                self.echo = EchoSense::default();
                Ok(stream)
            }
            Err(detail) => {
                self.failed = Some((Instant::now(), detail.clone()));
                Err(BusFault::Unreachable(detail))
            }
        }
    }
}

/// Until the exchange is over, and the line fit for the next.
async fn listen(
    stream: &mut SerialStream,
    exchange: &mut Exchange,
    clock: &impl Fn() -> Mono,
) -> io::Result<Result<Reply, BusFault>> {
    let mut bytes = [0; 256];
    loop {
        let over = tokio::select! {
            // What has come is heard before time is up.
            biased;
            count = stream.read(&mut bytes) => match count? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => exchange.hear(clock(), bytes.get(..count).unwrap_or(&[])),
            },
            () = sleep(exchange.until().since(clock())) => exchange.due(clock()),
        };
        if let Some(result) = over {
            return Ok(result);
        }
    }
}

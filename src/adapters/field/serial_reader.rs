//! A line-framed reader on its serial port. Owns the port: opens it, keeps at it with back-off, tells
//! when it is lost and when it is back. Must never hand out a card that was read before the port was
//! opened: what waits in the kernel, and the rest of a line under way, is thrown away first.

use std::{fmt, time::Duration};

use tokio::{io::AsyncReadExt as _, time::timeout};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use crate::{
    adapters::field::serial_port::open_port,
    config::site::SerialPort,
    wire::reader_line::{Line, LineFormat, LineReader},
};

const REOPEN_MIN: Duration = Duration::from_millis(250);
const REOPEN_MAX: Duration = Duration::from_secs(5);
/// After opening, input is discarded until it pauses this long, at most [`SETTLE_MAX`].
const SETTLE: Duration = Duration::from_millis(50);
const SETTLE_MAX: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderEvent {
    /// As the reader sent it.
    Read(Line),
    /// Once, when the port cannot be opened or has gone away.
    Lost(String),
    /// Once, after `Lost`.
    Restored,
    /// Lines that were no card, since the start.
    Dropped(u64),
}

pub struct SerialReader {
    port: SerialPort,
    lines: LineReader,
    stream: Option<SerialStream>,
    lost: bool,
    backoff: Duration,
    pending: Vec<Line>,
    dropped: u64,
}

impl fmt::Debug for SerialReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialReader({})", self.port.path.display())
    }
}

impl SerialReader {
    pub fn new(port: SerialPort, format: LineFormat) -> SerialReader {
        SerialReader {
            port,
            lines: LineReader::new(format),
            stream: None,
            lost: false,
            backoff: Duration::ZERO,
            pending: Vec::new(),
            dropped: 0,
        }
    }

    /// The next thing that happens. Cancelling it loses nothing.
    pub async fn next(&mut self) -> ReaderEvent {
        loop {
            if !self.pending.is_empty() {
                return ReaderEvent::Read(self.pending.remove(0));
            }
            if self.dropped != self.lines.dropped() {
                self.dropped = self.lines.dropped();
                return ReaderEvent::Dropped(self.dropped);
            }
            let Some(stream) = &mut self.stream else {
                if let Some(event) = self.open().await {
                    return event;
                }
                continue;
            };
            let mut bytes = [0; 256];
            match stream.read(&mut bytes).await {
                Ok(0) => return self.lose("the port has gone".to_owned()),
                Ok(count) => self.lines.push(bytes.get(..count).unwrap_or(&[]), &mut self.pending),
                Err(error) => return self.lose(error.to_string()),
            }
        }
    }

    fn lose(&mut self, detail: String) -> ReaderEvent {
        self.stream = None;
        self.lines.reset();
        self.lost = true;
        self.backoff = REOPEN_MIN;
        ReaderEvent::Lost(format!("{}: {detail}", self.port.path.display()))
    }

    async fn open(&mut self) -> Option<ReaderEvent> {
        tokio::time::sleep(self.backoff).await;
        match open_port(&self.port) {
            Ok(mut stream) => {
                settle(&mut stream).await;
                self.stream = Some(stream);
                self.backoff = REOPEN_MIN;
                std::mem::take(&mut self.lost).then_some(ReaderEvent::Restored)
            }
            Err(detail) => {
                self.backoff = (self.backoff * 2).clamp(REOPEN_MIN, REOPEN_MAX);
                (!std::mem::replace(&mut self.lost, true)).then_some(ReaderEvent::Lost(detail))
            }
        }
    }
}

/// Errors show again at the next read.
async fn settle(stream: &mut SerialStream) {
    let discard = async {
        let _ = stream.clear(ClearBuffer::Input);
        let mut bytes = [0; 256];
        while let Ok(Ok(1..)) = timeout(SETTLE, stream.read(&mut bytes)).await {}
    };
    // Whoever talks without a pause is listened to all the same.
    let _ = timeout(SETTLE_MAX, discard).await;
}

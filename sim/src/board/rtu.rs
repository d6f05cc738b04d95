//! Boards on a serial line: Modbus RTU over a pseudo-terminal, on the paced line. Dropping it pulls the plug.

use std::{path::Path, time::Duration};

use super::SimBoard;
use crate::line::{BoardDevice, Line, LineTimes, PtyLine};

/// 8E1, as the specification has it.
const BITS_PER_CHARACTER: u32 = 11;
const BAUD: u32 = 115_200;
const SEED: u64 = 1;

pub struct RtuLine(PtyLine);

impl RtuLine {
    /// With `link`, the port appears under that path; at 115 200 baud if no other rate is named.
    pub fn start(boards: Vec<SimBoard>, link: Option<&Path>, baud: Option<u32>) -> anyhow::Result<RtuLine> {
        let mut line = Line::new(LineTimes::new(baud.unwrap_or(BAUD), BITS_PER_CHARACTER, Duration::ZERO), SEED);
        for board in boards {
            line.plug(BoardDevice::new(board));
        }
        Ok(RtuLine(PtyLine::start(line, link)?))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gone when this returns: whoever has the port open finds it dead.
    pub async fn stop(self) {
        self.0.stop();
    }
}

/// CRC-16/MODBUS (Modbus over Serial Line V1.02, section 6.2.2).
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc(b"123456789"), 0x4B37);
    }
}

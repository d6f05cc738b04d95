//! Boards on a serial line: Modbus RTU over a pseudo-terminal. A pseudo-terminal has no speed; with
//! `baud` the answers take as long as they would on a real line. Dropping the line pulls the plug.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Answer, SimBoard};
use crate::pty::Pty;

#[derive(Debug)]
pub struct RtuLine {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl RtuLine {
    /// With `link`, the port appears under that path.
    pub fn start(boards: Vec<SimBoard>, link: Option<&Path>, baud: Option<u32>) -> anyhow::Result<RtuLine> {
        let pty = match link {
            Some(link) => Pty::at(link)?,
            None => Pty::new()?,
        };
        let path = pty.path().to_owned();
        let task = tokio::spawn(async move {
            let _ = serve(&pty, &boards, baud).await;
        });
        Ok(RtuLine { path, task })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gone when this returns: whoever has the port open finds it dead.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for RtuLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(pty: &Pty, boards: &[SimBoard], baud: Option<u32>) -> std::io::Result<()> {
    let mut line: Vec<u8> = Vec::new();
    let mut bytes = [0; 256];
    loop {
        let count = pty.read(&mut bytes).await?;
        line.extend_from_slice(bytes.get(..count).unwrap_or(&[]));
        while let Some(frame) = next_frame(&mut line) {
            let Some((unit, pdu)) = frame.split_first() else { continue };
            let Some(board) = boards.iter().find(|board| board.unit() == *unit) else { continue };
            let (answer, late) = board.answer(pdu);
            let reply = match answer {
                Answer::Nothing => continue,
                Answer::Noise(bytes) => bytes,
                Answer::Pdu(pdu) => {
                    let mut reply = [vec![*unit], pdu].concat();
                    reply.extend(crc(&reply).to_le_bytes());
                    reply
                }
            };
            let on_the_line = baud.map_or(Duration::ZERO, |baud| {
                let characters = u32::try_from(frame.len() + 2 + reply.len()).unwrap_or(u32::MAX);
                Duration::from_secs(1) * 11 * characters / baud.max(1)
            });
            tokio::time::sleep(late + on_the_line).await;
            pty.write_all(&reply).await?;
        }
    }
}

/// Takes one request with a correct checksum off the line, without its checksum; noise before it goes.
fn next_frame(line: &mut Vec<u8>) -> Option<Vec<u8>> {
    // All requests that boards serve are 8 bytes long.
    while let Some(candidate) = line.get(..8) {
        let (body, checksum) = candidate.split_at(6);
        if crc(body).to_le_bytes() == checksum {
            let frame = body.to_vec();
            line.drain(..8);
            return Some(frame);
        }
        line.remove(0);
    }
    None
}

/// CRC-16/MODBUS (Modbus over Serial Line V1.02, section 6.2.2).
fn crc(bytes: &[u8]) -> u16 {
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

    #[test]
    fn a_request_is_found_behind_noise() {
        let mut request = vec![1, 5, 0, 3, 0xFF, 0];
        request.extend(crc(&request).to_le_bytes());
        let mut line = [vec![0xAA, 0x55], request].concat();
        assert_eq!(next_frame(&mut line), Some(vec![1, 5, 0, 3, 0xFF, 0]));
        assert_eq!(next_frame(&mut line), None);
    }
}

//! A simulated line-framed card reader on a pseudo-terminal. Dropping it pulls its plug.

use std::path::Path;

use crate::pty::Pty;

#[derive(Debug)]
pub struct SimReader {
    pty: Pty,
}

impl SimReader {
    /// With `link`, the port appears under that path.
    pub fn start(link: Option<&Path>) -> anyhow::Result<SimReader> {
        let pty = match link {
            Some(link) => Pty::at(link)?,
            None => Pty::new()?,
        };
        Ok(SimReader { pty })
    }

    pub fn path(&self) -> &Path {
        self.pty.path()
    }

    /// Presents a card in the format `bits_hex`.
    pub async fn present(&self, bits: u16, value: u128) -> std::io::Result<()> {
        self.send(format!("{bits}:{value:X}\r\n").as_bytes()).await
    }

    /// Sends bytes as they are.
    pub async fn send(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.pty.write_all(bytes).await
    }
}

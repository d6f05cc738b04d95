//! Boards behind a Modbus TCP socket. Dropping the server cuts every connection, as a power cut would;
//! it can be started again at the same address.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Answer, SimBoard};

#[derive(Debug)]
pub struct TcpServer {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl TcpServer {
    /// `address` may have port 0.
    pub async fn start(address: SocketAddr, boards: Vec<SimBoard>) -> std::io::Result<TcpServer> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // Dropped with the task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, boards.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(TcpServer { address, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gone when this returns: connections are cut, the port is free.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Modbus Messaging on TCP/IP V1.0b: transaction, protocol 0, length, unit, PDU.
async fn serve(mut stream: TcpStream, boards: Vec<SimBoard>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut header = [0_u8; 7];
        stream.read_exact(&mut header).await?;
        let [t0, t1, _, _, l0, l1, unit] = header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if !(2..=254).contains(&length) {
            return Ok(());
        }
        let mut pdu = vec![0; length - 1];
        stream.read_exact(&mut pdu).await?;
        let Some(board) = boards.iter().find(|board| board.unit() == unit) else { continue };
        let (answer, late) = board.answer(&pdu);
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        match answer {
            Answer::Nothing => {}
            Answer::Noise(bytes) => stream.write_all(&bytes).await?,
            Answer::Pdu(pdu) => {
                let [l0, l1] = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX).to_be_bytes();
                let frame = [vec![t0, t1, 0, 0, l0, l1, unit], pdu].concat();
                stream.write_all(&frame).await?;
            }
        }
    }
}

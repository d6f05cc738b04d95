//! FC 5 with a time in place of the coil's value, as relay boards with timers of their own take it. The client
//! library for TCP knows a coil as on or off only and takes the echo of anything else for damage, so this one exchange
//! is framed here. Owns nothing but the frame; must never be used while the client is in the middle of
//! something. Invariant: only the very echo of the request counts as its answer.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::gateway::fieldbus::{BusFault, Reply};

const WRITE_COIL: u8 = 5;
const EXCEPTION: u8 = 0x80;
/// Of the one transaction that is under way on its connection; the client library counts its own from 0.
const TRANSACTION_ID: [u8; 2] = [0x54, 0x4d];

fn pdu((address, count): (u16, u16)) -> [u8; 5] {
    let ([high, low], [long, short]) = (address.to_be_bytes(), count.to_be_bytes());
    [WRITE_COIL, high, low, long, short]
}

/// Over TCP: transaction, protocol 0, length, unit, PDU.
pub async fn over_tcp<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    unit: u8,
    timer: (u16, u16),
    timeout: Duration,
) -> Result<Reply, BusFault> {
    let mut frame = TRANSACTION_ID.to_vec();
    frame.extend([0, 0, 0, 6, unit]);
    frame.extend(pdu(timer));
    let exchange = async {
        stream.write_all(&frame).await?;
        let mut head = [0; 7];
        stream.read_exact(&mut head).await?;
        let [.., high, low, _] = head;
        // An answer longer than the request is none to it, and its rest goes with the connection.
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut said = vec![0; length.saturating_sub(1).min(5)];
        stream.read_exact(&mut said).await?;
        io::Result::Ok((head, said))
    };
    let (head, said) = in_time(exchange, timeout).await?;
    let [first, second] = TRANSACTION_ID;
    let [.., high, low, from] = head;
    let long = u16::from_be_bytes([high, low]) > 6;
    if head.get(..4) != Some(&[first, second, 0, 0]) || from != unit || long {
        return Err(BusFault::Garbage("an answer to something else".to_owned()));
    }
    judge(&said, timer)
}

async fn in_time<T>(exchange: impl Future<Output = io::Result<T>>, timeout: Duration) -> Result<T, BusFault> {
    match tokio::time::timeout(timeout, exchange).await {
        Err(_) => Err(BusFault::Timeout),
        Ok(Err(error)) => Err(BusFault::Disconnected(error.to_string())),
        Ok(Ok(answer)) => Ok(answer),
    }
}

fn judge(said: &[u8], timer: (u16, u16)) -> Result<Reply, BusFault> {
    match said {
        [code, exception] if *code == WRITE_COIL | EXCEPTION => Err(BusFault::Exception(*exception)),
        said if *said == pdu(timer) => Ok(Reply::Written),
        _ => Err(BusFault::Garbage("not the echo of the timer's write".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(answer: &'static [u8]) -> (Result<Reply, BusFault>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(answer).await.unwrap();
            let result = over_tcp(&mut ours, 1, (0x200, 7), Duration::from_millis(20)).await;
            let mut sent = vec![0; 12];
            theirs.read_exact(&mut sent).await.unwrap();
            (result, sent)
        })
    }

    #[test]
    fn the_frame_is_that_of_the_manual_and_its_echo_is_the_answer() {
        let tcp = [0x54, 0x4d, 0, 0, 0, 6, 1, 5, 2, 0, 0, 7];
        assert_eq!(exchange(&[0x54, 0x4d, 0, 0, 0, 6, 1, 5, 2, 0, 0, 7]), (Ok(Reply::Written), tcp.to_vec()));
    }

    #[test]
    fn a_refusal_is_told_from_silence_and_the_echo_of_something_else() {
        assert_eq!(exchange(&[0x54, 0x4d, 0, 0, 0, 3, 1, 0x85, 2]).0, Err(BusFault::Exception(2)));
        assert_eq!(exchange(&[0x54, 0x4d, 0]).0, Err(BusFault::Timeout));
        let others: [&'static [u8]; 3] = [
            &[0x54, 0x4d, 0, 0, 0, 6, 1, 5, 2, 0, 0, 8],
            &[0, 1, 0, 0, 0, 6, 1, 5, 2, 0, 0, 7],
            &[0x54, 0x4d, 0, 0, 0, 200, 1, 5, 2, 0, 0, 7],
        ];
        for other in others {
            assert!(matches!(exchange(other).0, Err(BusFault::Garbage(_) | BusFault::Timeout)), "{other:?}");
        }
    }
}

//! Modbus TCP. A connection is kept while it behaves; a timeout or anything unexpected closes it, so a
//! late answer dies with it.

use std::{
    fmt,
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use tokio::{io::ReadBuf, net::TcpStream};
use tokio_modbus::{
    Slave,
    client::{Context, tcp},
};

use crate::{
    domain::time::Mono,
    gateway::fieldbus::{BusFault, Reply, Request, Transaction},
};

use super::{codec, in_time, shared::Shared, timer};

pub struct TcpWire {
    host: String,
    port: u16,
    timeout: Duration,
    connection: Option<(Context, Shared<TcpStream>)>,
}

impl fmt::Debug for TcpWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpWire({}:{})", self.host, self.port)
    }
}

impl TcpWire {
    pub fn new(host: String, port: u16, timeout: Duration) -> TcpWire {
        TcpWire { host, port, timeout, connection: None }
    }

    pub async fn transact(&mut self, transaction: Transaction, clock: impl Fn() -> Mono) -> Result<Reply, BusFault> {
        let (mut client, stream) = match self.connection.take() {
            Some(connection) if is_clean(&connection.1) => connection,
            // Closed by the board meanwhile, perhaps because it restarted; or it said something unasked.
            // Nothing is sent: the machine must know, and comes again at once.
            Some(_) => return Err(self.unreachable("the board has closed the connection")),
            None => self.connect().await?,
        };
        if let Err(late) = in_time(&transaction, clock) {
            self.connection = Some((client, stream));
            return Err(late);
        }
        let result = match transaction.request {
            Request::WriteTimer { address, count } => {
                timer::over_tcp(&mut stream.clone(), transaction.unit, (address, count), transaction.patience).await
            }
            _ => codec::call(&mut client, &transaction).await,
        };
        if matches!(result, Ok(_) | Err(BusFault::Exception(_))) {
            self.connection = Some((client, stream));
        }
        result
    }

    async fn connect(&self) -> Result<(Context, Shared<TcpStream>), BusFault> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match tokio::time::timeout(self.timeout, connecting).await {
            Err(_) => return Err(self.unreachable(format!("no connection within {} ms", self.timeout.as_millis()))),
            Ok(Err(error)) => return Err(self.unreachable(error)),
            Ok(Ok(stream)) => stream,
        };
        // Nagle's algorithm and delayed ACKs together would cost 40 ms per request.
        stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
        let stream = Shared::new(stream);
        Ok((tcp::attach_slave(stream.clone(), Slave(0)), stream))
    }

    fn unreachable(&self, detail: impl fmt::Display) -> BusFault {
        BusFault::Unreachable(format!("{}:{}: {detail}", self.host, self.port))
    }
}

/// Nothing to read and not closed: what an idle connection looks like.
fn is_clean(stream: &Shared<TcpStream>) -> bool {
    let mut byte = [0; 1];
    let mut buffer = ReadBuf::new(&mut byte);
    // Without a waker: the answer now is all that is wanted.
    let mut context = TaskContext::from_waker(Waker::noop());
    let peeked = stream.lock().poll_peek(&mut context, &mut buffer);
    matches!(peeked, Poll::Pending)
}

//! The Modbus wire: carries out one transaction at a time over TCP or a serial line. Owns connection
//! and port; must never retry, reorder or interpret (that is `gateway::fieldbus`), and never let an
//! answer that comes late be taken for the answer to the next request. Invariant: after any fault the
//! stream is either drained and quiet (serial) or closed (TCP) before the next request is sent.

mod codec;
mod rtu;
mod shared;
mod tcp;
mod timer;

use crate::{
    config::site,
    domain::time::Mono,
    gateway::fieldbus::{BusFault, Reply, Transaction},
};

pub use rtu::RtuWire;
pub use tcp::TcpWire;

#[derive(Debug)]
pub enum Wire {
    Tcp(TcpWire),
    Rtu(Box<RtuWire>),
}

impl Wire {
    /// Connects to nothing yet: the first transaction does. `None`: on this bus nobody speaks Modbus.
    pub fn new(bus: &site::Bus) -> Option<Wire> {
        match &bus.line {
            site::Line::Tcp { host, port } => Some(Wire::Tcp(TcpWire::new(host.clone(), *port, bus.timeout))),
            site::Line::Rtu(port) => Some(Wire::Rtu(Box::new(RtuWire::new(port.clone())))),
            site::Line::Osdp(_) => None,
        }
    }

    /// Once, when it became known that the adapter hears what it says itself: for the installer.
    pub fn echo_news(&mut self) -> Option<String> {
        match self {
            Wire::Tcp(_) => None,
            Wire::Rtu(wire) => wire.echo_news(),
        }
    }

    /// One request, one answer, within a bound of a few timeouts.
    pub async fn transact(&mut self, transaction: Transaction, clock: impl Fn() -> Mono) -> Result<Reply, BusFault> {
        match self {
            Wire::Tcp(wire) => wire.transact(transaction, clock).await,
            Wire::Rtu(wire) => wire.transact(transaction, clock).await,
        }
    }
}

/// Right before sending: is it still in time?
fn in_time(transaction: &Transaction, clock: impl Fn() -> Mono) -> Result<(), BusFault> {
    match transaction.start_by {
        Some(start_by) if clock() > start_by => Err(BusFault::TooLate),
        _ => Ok(()),
    }
}

//! Between our words and tokio-modbus's. Must never accept a reply that is not exactly what was asked.

use std::io;

use tokio_modbus::{
    Error, Slave,
    client::{Client, Context},
    prelude::{Request as Call, Response, SlaveContext as _},
};

use crate::gateway::fieldbus::{BusFault, Reply, Request, Table, Transaction};

/// Sends the request and waits for its answer. The client library itself knows no timeout.
pub async fn call(client: &mut Context, transaction: &Transaction) -> Result<Reply, BusFault> {
    client.set_slave(Slave(transaction.unit));
    match tokio::time::timeout(transaction.patience, client.call(encode(&transaction.request))).await {
        Err(_) => Err(BusFault::Timeout),
        Ok(Err(Error::Protocol(error))) => Err(BusFault::Garbage(error.to_string())),
        Ok(Err(Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
            Err(BusFault::Garbage(error.to_string()))
        }
        Ok(Err(Error::Transport(error))) => Err(BusFault::Disconnected(error.to_string())),
        Ok(Ok(Err(exception))) => Err(BusFault::Exception(exception.into())),
        Ok(Ok(Ok(response))) => decode(&transaction.request, response),
    }
}

fn encode(request: &Request) -> Call<'static> {
    match *request {
        Request::Read { table: Table::Coil, address, count } => Call::ReadCoils(address, count),
        Request::Read { table: Table::DiscreteInput, address, count } => Call::ReadDiscreteInputs(address, count),
        Request::Read { table: Table::HoldingRegister, address, count } => Call::ReadHoldingRegisters(address, count),
        Request::Read { table: Table::InputRegister, address, count } => Call::ReadInputRegisters(address, count),
        Request::WriteCoil { address, on } => Call::WriteSingleCoil(address, on),
        // The client library writes a coil as on or off only: see `timer`.
        Request::WriteTimer { address, count } => {
            Call::Custom(5, [address.to_be_bytes(), count.to_be_bytes()].concat().into())
        }
        Request::WriteRegister { address, value } => Call::WriteSingleRegister(address, value),
    }
}

fn decode(request: &Request, response: Response) -> Result<Reply, BusFault> {
    match (*request, response) {
        (Request::Read { count, table: Table::Coil, .. }, Response::ReadCoils(bits))
        | (Request::Read { count, table: Table::DiscreteInput, .. }, Response::ReadDiscreteInputs(bits)) => {
            // Bits come in whole bytes.
            let count = usize::from(count);
            if bits.len() != count.next_multiple_of(8) {
                return Err(BusFault::Garbage(format!("{} bits came for the {count} asked for", bits.len())));
            }
            Ok(Reply::Bits(bits.into_iter().take(count).collect()))
        }
        (Request::Read { count, table: Table::HoldingRegister, .. }, Response::ReadHoldingRegisters(words))
        | (Request::Read { count, table: Table::InputRegister, .. }, Response::ReadInputRegisters(words)) => {
            if words.len() != usize::from(count) {
                return Err(BusFault::Garbage(format!("{} registers came for the {count} asked for", words.len())));
            }
            Ok(Reply::Words(words))
        }
        (Request::WriteCoil { address, on }, Response::WriteSingleCoil(at, value)) if (at, value) == (address, on) => {
            Ok(Reply::Written)
        }
        (Request::WriteRegister { address, value }, Response::WriteSingleRegister(at, word))
            if (at, word) == (address, value) =>
        {
            Ok(Reply::Written)
        }
        _ => Err(BusFault::Garbage(format!("a reply to something else while {request}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Request = Request::Read { table: Table::Coil, address: 0, count: 10 };

    #[test]
    fn bits_come_in_whole_bytes_and_are_cut_to_what_was_asked() {
        assert_eq!(decode(&READ, Response::ReadCoils(vec![true; 16])), Ok(Reply::Bits(vec![true; 10])));
        assert!(matches!(decode(&READ, Response::ReadCoils(vec![true; 8])), Err(BusFault::Garbage(_))));
    }

    #[test]
    fn an_echo_of_another_write_is_garbage() {
        let write = Request::WriteCoil { address: 3, on: true };
        assert_eq!(decode(&write, Response::WriteSingleCoil(3, true)), Ok(Reply::Written));
        assert!(matches!(decode(&write, Response::WriteSingleCoil(3, false)), Err(BusFault::Garbage(_))));
        assert!(matches!(decode(&write, Response::WriteSingleCoil(2, true)), Err(BusFault::Garbage(_))));
    }

    #[test]
    fn too_many_registers_are_garbage() {
        let read = Request::Read { table: Table::HoldingRegister, address: 0, count: 2 };
        assert_eq!(decode(&read, Response::ReadHoldingRegisters(vec![1, 2])), Ok(Reply::Words(vec![1, 2])));
        assert!(matches!(decode(&read, Response::ReadHoldingRegisters(vec![1, 2, 3])), Err(BusFault::Garbage(_))));
    }
}

//! A board as registers, without time and without a wire. Owns coils, inputs and the card block; must
//! never know who asks. Invariant: without power it answers nothing and every relay has fallen.

use std::collections::BTreeMap;

use latchd::{
    domain::fieldbus::{BoardConfig, RawCard},
    gateway::fieldbus::{Reply, Request, Table},
};

use super::site::card_counter;

#[derive(Clone, Debug)]
pub struct Board {
    pub coils: Vec<bool>,
    pub inputs: Vec<bool>,
    holding: BTreeMap<u16, u16>,
    pub powered: bool,
    /// Hears and says nothing.
    pub silent: bool,
    /// Answers everything with this exception.
    pub exception: Option<u8>,
}

impl Board {
    pub fn new(config: &BoardConfig) -> Board {
        let (coils, inputs) = (vec![false; config.profile.outputs.len()], vec![false; config.profile.inputs.len()]);
        Board { coils, inputs, holding: BTreeMap::new(), powered: true, silent: false, exception: None }
    }

    /// Nothing is wrong with it.
    pub fn is_well(&self) -> bool {
        self.powered && !self.silent && self.exception.is_none()
    }

    /// Relays fall, registers are forgotten, inputs are what the world says.
    pub fn lose_power(&mut self) {
        self.powered = false;
        self.coils.fill(false);
        self.holding.clear();
    }

    /// At the card block with this number.
    pub fn present(&mut self, block: u16, card: RawCard) {
        if !self.powered {
            return;
        }
        let at = card_counter(block);
        // Nobody in this world has a longer card.
        let value = card.value.to_u128().unwrap_or(0);
        for (word, shift) in [(2, 32), (3, 16), (4, 0)] {
            self.holding.insert(at + word, (value >> shift & 0xFFFF) as u16);
        }
        self.holding.insert(at + 1, card.bits);
        let counter = self.holding.entry(at).or_default();
        *counter = counter.wrapping_add(1).max(1);
    }

    /// `Err` is a Modbus exception.
    pub fn serve(&mut self, request: &Request) -> Result<Reply, u8> {
        if let Some(code) = self.exception {
            return Err(code);
        }
        let span = |address: u16, count: u16| usize::from(address)..usize::from(address) + usize::from(count);
        let bits =
            |of: &[bool], address, count| of.get(span(address, count)).map(|bits| Reply::Bits(bits.to_vec())).ok_or(2);
        match *request {
            Request::Read { table: Table::Coil, address, count } => bits(&self.coils, address, count),
            Request::Read { table: Table::DiscreteInput, address, count } => bits(&self.inputs, address, count),
            Request::Read { address, count, .. } => {
                let word = |at: u16| self.holding.get(&at).copied().unwrap_or(0);
                Ok(Reply::Words((address..address + count).map(word).collect()))
            }
            Request::WriteCoil { address, on } => match self.coils.get_mut(usize::from(address)) {
                Some(coil) => {
                    *coil = on;
                    Ok(Reply::Written)
                }
                None => Err(2),
            },
            Request::WriteTimer { .. } => Err(2),
            Request::WriteRegister { address, value } => {
                self.holding.insert(address, value);
                Ok(Reply::Written)
            }
        }
    }
}

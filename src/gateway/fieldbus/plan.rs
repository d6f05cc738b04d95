//! Fewest reads that cover a profile. Owns the merging of addresses; must never read an address that the profile
//! does not name, for boards answer those with an exception, unless it says that they do not. Then a gap is read over
//! if its bytes take less of the line than another request and answer would.

use std::fmt;

use crate::domain::fieldbus::{CardHandshake, InputAddress, OutputAddress, Profile, RegisterTable};

/// The four tables of Modbus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// FC 1.
    Coil,
    /// FC 2.
    DiscreteInput,
    /// FC 3.
    HoldingRegister,
    /// FC 4.
    InputRegister,
}

impl Table {
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::DiscreteInput)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Coil => "coil",
            Table::DiscreteInput => "discrete input",
            Table::HoldingRegister => "holding register",
            Table::InputRegister => "input register",
        })
    }
}

impl From<RegisterTable> for Table {
    fn from(table: RegisterTable) -> Table {
        match table {
            RegisterTable::Input => Table::InputRegister,
            RegisterTable::Holding => Table::HoldingRegister,
        }
    }
}

/// One read of the poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub table: Table,
    pub address: u16,
    pub count: u16,
    /// Nothing but read-back of outputs: polled at leisure, since each write reads back by itself.
    pub outputs_only: bool,
}

impl Group {
    pub fn covers(&self, table: Table, address: u16) -> bool {
        self.table == table && address >= self.address && u32::from(address) < self.end()
    }

    fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }
}

pub fn input_point(address: InputAddress) -> (Table, u16) {
    match address {
        InputAddress::DiscreteInput(address) => (Table::DiscreteInput, address),
        InputAddress::Coil(address) => (Table::Coil, address),
        InputAddress::InputRegisterBit { address, .. } => (Table::InputRegister, address),
        InputAddress::HoldingRegisterBit { address, .. } => (Table::HoldingRegister, address),
        InputAddress::InputRegister { address, .. } => (Table::InputRegister, address),
        InputAddress::HoldingRegister { address, .. } => (Table::HoldingRegister, address),
    }
}

pub fn output_point(address: OutputAddress) -> (Table, u16) {
    match address {
        OutputAddress::Coil(address) => (Table::Coil, address),
        OutputAddress::HoldingRegister { address, .. } => (Table::HoldingRegister, address),
    }
}

/// A stretch that should not be cut, if a board's limit allows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    table: Table,
    start: u32,
    end: u32,
    outputs_only: bool,
}

pub fn plan(profile: &Profile) -> Vec<Group> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |(table, address): (Table, u16), length: u32, outputs_only: bool| {
        let start = u32::from(address);
        ranges.push(Range { table, start, end: (start + length).min(0x1_0000), outputs_only });
    };
    for input in &profile.inputs {
        add(input_point(input.address), 1, false);
    }
    for output in profile.outputs.iter().filter(|output| output.reads_back) {
        add(output_point(output.address), 1, true);
    }
    for block in &profile.card_blocks {
        let table = Table::from(block.table);
        let mut single: Vec<u16> = Vec::new();
        single.extend(block.bits_address);
        if let CardHandshake::Counter { address } = block.handshake {
            single.push(address);
        }
        // The parts of a block that adjoin are one stretch, so that one read sees all of a card.
        let mut parts: Vec<(u32, u32)> = single.iter().map(|&at| (u32::from(at), u32::from(at) + 1)).collect();
        parts.push((u32::from(block.data_address), u32::from(block.data_address) + u32::from(block.data_words)));
        parts.sort_unstable();
        for (start, end) in join(&parts) {
            if let Ok(address) = u16::try_from(start) {
                add((table, address), end - start, false);
            }
        }
    }
    ranges.sort_unstable();
    merge(&ranges, profile)
}

/// Sorted stretches, those that touch joined.
fn join(parts: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for &(start, end) in parts {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn merge(ranges: &[Range], profile: &Profile) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for range in ranges {
        // Limits of the protocol itself: 2000 bits, 125 registers in a read.
        let max = u32::from(if range.table.is_bits() {
            profile.read_bits_max.clamp(1, 2000)
        } else {
            profile.read_registers_max.clamp(1, 125)
        });
        if let Some(last) = groups.last_mut() {
            let extends =
                last.table == range.table && range.start <= last.end() + profile.gap_max(range.table.is_bits());
            let end = last.end().max(range.end);
            if extends && end - u32::from(last.address) <= max {
                last.count = u16::try_from(end - u32::from(last.address)).unwrap_or(u16::MAX);
                last.outputs_only &= range.outputs_only;
                continue;
            }
        }
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + max);
            if let (Ok(address), Ok(count)) = (u16::try_from(start), u16::try_from(end - start)) {
                groups.push(Group { table: range.table, address, count, outputs_only: range.outputs_only });
            }
            start = end;
        }
    }
    groups
}

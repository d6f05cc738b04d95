//! The formats that everybody has, as records. Owns their layouts; must never be more than data. Invariant: a
//! record of the set with the same id stands in their place.
//!
//! Each is written as its published drawing: `F` facility, `N` number, `P` parity bits, one line for each of
//! these with `E` or `O` at its own bit and `X` where it covers.

use std::collections::BTreeMap;

use crate::domain::{
    ids::Id,
    record::{BitField, BitString, ByteOrder, CardFormat, Notation, Parity, ParityBit},
};

struct Drawing {
    id: &'static str,
    name: &'static str,
    fields: &'static str,
    parity: &'static [&'static str],
}

/// Behind those of the set, which have 100 unless they say otherwise.
const ORDER: u16 = 1000;

const DRAWINGS: [Drawing; 6] = [
    Drawing {
        id: "h10301",
        name: "HID H10301, 26 bits",
        fields: "PFFFFFFFFNNNNNNNNNNNNNNNNP",
        parity: &["EXXXXXXXXXXXX.............", ".............XXXXXXXXXXXXO"],
    },
    Drawing {
        id: "h10306",
        name: "HID H10306, 34 bits",
        fields: "PFFFFFFFFFFFFFFFFNNNNNNNNNNNNNNNNP",
        parity: &["EXXXXXXXXXXXXXXXX.................", ".................XXXXXXXXXXXXXXXXO"],
    },
    Drawing {
        id: "corporate1000_35",
        name: "HID Corporate 1000, 35 bits",
        fields: "PPFFFFFFFFFFFFNNNNNNNNNNNNNNNNNNNNP",
        parity: &[
            ".EXX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.",
            ".XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.O",
            "OXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        ],
    },
    Drawing {
        id: "h10302",
        name: "HID H10302, 37 bits without facility",
        fields: "PNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNP",
        parity: &["EXXXXXXXXXXXXXXXXXX..................", "..................XXXXXXXXXXXXXXXXXXO"],
    },
    Drawing {
        id: "h10304",
        name: "HID H10304, 37 bits with facility",
        fields: "PFFFFFFFFFFFFFFFFNNNNNNNNNNNNNNNNNNNP",
        parity: &["EXXXXXXXXXXXXXXXXXX..................", "..................XXXXXXXXXXXXXXXXXXO"],
    },
    Drawing {
        id: "corporate1000_48",
        name: "HID Corporate 1000, 48 bits",
        fields: "PPFFFFFFFFFFFFFFFFFFFFFFNNNNNNNNNNNNNNNNNNNNNNNP",
        parity: &[
            ".E.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.",
            "..XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.XX.O",
            "OXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        ],
    },
];

/// The serial numbers of contactless cards, by their length in bytes (ISO/IEC 14443-3).
const UIDS: [(&str, &str, u16); 3] =
    [("uid4", "UID of 4 bytes", 4), ("uid7", "UID of 7 bytes", 7), ("uid10", "UID of 10 bytes", 10)];

pub(super) fn records() -> BTreeMap<Id, CardFormat> {
    let drawn = DRAWINGS.iter().map(|drawing| (drawing.id, drawing.record()));
    let uids = UIDS.iter().map(|(id, name, bytes)| (*id, uid(name, *bytes)));
    // Every name above is a valid id; a test looks for each of them.
    drawn.chain(uids).filter_map(|(id, record)| Some((Id::new(id).ok()?, record))).collect()
}

fn uid(name: &str, bytes: u16) -> CardFormat {
    let number = BitField { first: 0, bits: bytes * 8, byte_order: ByteOrder::MsbFirst };
    CardFormat { notation: Notation::Hex, ..plain(name, bytes * 8, number) }
}

fn plain(name: &str, bits: u16, number: BitField) -> CardFormat {
    CardFormat {
        name: Some(name.to_owned()),
        bits,
        order: ORDER,
        disabled: false,
        facility: None,
        number,
        notation: Notation::Decimal,
        parity: Vec::new(),
        fixed: Vec::new(),
        facility_ranges: Vec::new(),
        number_ranges: Vec::new(),
    }
}

impl Drawing {
    fn record(&self) -> CardFormat {
        // Drawings are at most 48 letters long: no truncation.
        let bits = self.fields.len() as u16;
        let number = self.field('N').unwrap_or(BitField { first: 0, bits, byte_order: ByteOrder::MsbFirst });
        let parity = self.parity.iter().filter_map(|line| parity_bit(line)).collect();
        CardFormat { facility: self.field('F'), parity, ..plain(self.name, bits, number) }
    }

    fn field(&self, letter: char) -> Option<BitField> {
        let first = self.fields.find(letter)? as u16;
        let bits = self.fields.chars().filter(|found| *found == letter).count() as u16;
        Some(BitField { first, bits, byte_order: ByteOrder::MsbFirst })
    }
}

fn parity_bit(line: &str) -> Option<ParityBit> {
    let bit = line.find(['E', 'O'])?;
    let parity = if line.contains('E') { Parity::Even } else { Parity::Odd };
    let value = line.chars().fold(0u128, |value, letter| value << 1 | u128::from(letter == 'X'));
    let mask = BitString { bits: line.len() as u16, value: value.into() };
    Some(ParityBit { bit: bit as u16, parity, mask })
}

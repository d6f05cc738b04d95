//! How a card's bits are read. Owns the shape of `card_format`; must never read a card itself. Invariant: bits
//! are counted from 0 in the order in which a reader sends them, so that a drawing of a format (`PFFF…NNNP`)
//! is copied from left to right.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::card_bits::CardBits;

/// The layout of one card format. What it reads becomes the text that tokens are made of (see `token` of
/// `credential`): `{id}:{facility}:{number}`, or `{id}:{number}` where there is no facility. A record with
/// the id of a built-in format (`h10301` `h10306` `h10302` `h10304` `corporate1000_35` `corporate1000_48`
/// `uid4` `uid7` `uid10`) replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardFormat {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many a reader sends, parity included: 1 to 1024.
    pub bits: u16,
    /// Where a read fits several formats, that with the lowest is asked about first; of equal ones the first
    /// by id. Absent: 100. Built-in formats have 1000.
    #[serde(default = "usual_order", skip_serializing_if = "is_usual_order")]
    pub order: u16,
    /// Never read by it: how a built-in format is taken out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facility: Option<BitField>,
    pub number: BitField,
    /// How the number is written in the text.
    #[serde(default, skip_serializing_if = "Notation::is_decimal")]
    pub notation: Notation,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parity: Vec<ParityBit>,
    /// Bits that every card of this format has; a card that differs is not of this format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<FixedBits>,
    /// Facilities that cards of this format have; none listed: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facility_ranges: Vec<NumberRange>,
    /// Numbers that cards of this format have; none listed: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub number_ranges: Vec<NumberRange>,
}

fn usual_order() -> u16 {
    100
}

fn is_usual_order(order: &u16) -> bool {
    *order == usual_order()
}

/// Consecutive bits that hold a number, the most significant one first. No bit belongs to two fields; fixed and parity
/// bits may stand within a number that is written in hex, as part of it, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BitField {
    pub first: u16,
    pub bits: u16,
    #[serde(default, skip_serializing_if = "ByteOrder::is_msb_first")]
    pub byte_order: ByteOrder,
}

/// In which order a reader sends the bytes of a UID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// As they are written.
    #[default]
    MsbFirst,
    /// The last one first; the field has whole bytes.
    LsbFirst,
}

impl ByteOrder {
    fn is_msb_first(&self) -> bool {
        *self == ByteOrder::MsbFirst
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notation {
    #[default]
    Decimal,
    /// Lower case, two digits for each byte of the field: as UIDs are written.
    Hex,
}

impl Notation {
    fn is_decimal(&self) -> bool {
        *self == Notation::Decimal
    }
}

/// One bit that makes the number of ones, its own included, even or odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParityBit {
    pub bit: u16,
    pub parity: Parity,
    /// What it covers: a `0` or `1` for each bit of the format. Its own bit counts in any case; other parity
    /// bits may be covered.
    pub mask: BitString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    Even,
    Odd,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedBits {
    pub first: u16,
    /// A `0` or `1` for each bit.
    pub value: BitString,
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberRange {
    pub from: CardNumber,
    pub to: CardNumber,
}

/// In decimal digits, as a string: JSON's numbers lose some of the larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardNumber(pub CardBits);

/// 1 to 1024 digits `0` and `1`, in the order in which a reader sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BitString {
    pub bits: u16,
    /// Right-aligned.
    pub value: CardBits,
}

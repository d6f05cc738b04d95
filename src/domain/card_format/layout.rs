//! One format, compiled: masks and shifts. Owns what makes a layout sound, and both ways between bits and
//! numbers; must never accept a layout whose cards could not be written as well as read. Invariant: what
//! `encode` writes, `fit` takes, and `text` renders back.

use std::fmt;

use crate::domain::{
    fieldbus::{CARD_BITS_MAX, RawCard},
    ids::Id,
    record::{BitField, ByteOrder, CardFormat, Notation, NumberRange, Parity, ParityBit},
};

use super::reading::Fit;

#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) id: Id,
    pub(super) bits: u16,
    pub(super) order: u16,
    facility: Option<Field>,
    number: Field,
    notation: Notation,
    /// In an order in which they can be computed one after another.
    parity: Box<[ParityCheck]>,
    fixed_mask: u128,
    fixed_value: u128,
    facility_ranges: Box<[NumberRange]>,
    number_ranges: Box<[NumberRange]>,
}

#[derive(Clone, Copy, Debug)]
struct ParityCheck {
    own: u128,
    /// Its own bit included.
    mask: u128,
    odd: bool,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    shift: u32,
    bits: u32,
    reversed: bool,
}

/// The lowest `bits` bits.
fn ones(bits: u32) -> u128 {
    u128::MAX.checked_shr(u128::BITS.saturating_sub(bits)).unwrap_or(0)
}

impl Field {
    fn new(field: &BitField, bits: u16, what: &str) -> Result<Field, String> {
        let end = field.first.checked_add(field.bits).filter(|end| field.bits > 0 && *end <= bits);
        let Some(end) = end else {
            return Err(format!("{what}: expected bits from 0 to {}, and at least one", bits.saturating_sub(1)));
        };
        let reversed = field.byte_order == ByteOrder::LsbFirst;
        if reversed && !field.bits.is_multiple_of(8) {
            return Err(format!("{what}: byte_order needs whole bytes, and {} bits are none", field.bits));
        }
        Ok(Field { shift: u32::from(bits - end), bits: u32::from(field.bits), reversed })
    }

    fn mask(self) -> u128 {
        ones(self.bits) << self.shift
    }

    fn get(self, value: u128) -> u128 {
        self.ordered(value >> self.shift & ones(self.bits))
    }

    /// `None`: too large.
    fn put(self, number: u128) -> Option<u128> {
        (number <= ones(self.bits)).then(|| self.ordered(number) << self.shift)
    }

    fn ordered(self, number: u128) -> u128 {
        if self.reversed { number.swap_bytes() >> (u128::BITS - self.bits) } else { number }
    }
}

fn within(ranges: &[NumberRange], number: u128) -> bool {
    ranges.is_empty() || ranges.iter().any(|range| (range.from.0..=range.to.0).contains(&number))
}

impl Layout {
    pub(super) fn new(id: Id, record: &CardFormat) -> Result<Layout, String> {
        let bits = record.bits;
        if !(1..=CARD_BITS_MAX).contains(&bits) {
            return Err(format!("bits: expected 1 to {CARD_BITS_MAX}"));
        }
        let number = Field::new(&record.number, bits, "number")?;
        let facility = record.facility.as_ref().map(|field| Field::new(field, bits, "facility")).transpose()?;
        let mut taken = Taken(0);
        taken.take(number.mask(), "number")?;
        facility.map_or(Ok(()), |facility| taken.take(facility.mask(), "facility"))?;
        let (mut fixed_mask, mut fixed_value) = (0, 0);
        for fixed in &record.fixed {
            let end = fixed.first.checked_add(fixed.value.bits).filter(|end| *end <= bits);
            let shift = bits - end.ok_or_else(|| format!("fixed: expected bits from 0 to {}", bits - 1))?;
            let mask = ones(u32::from(fixed.value.bits)) << shift;
            taken.take(mask, "fixed")?;
            fixed_mask |= mask;
            fixed_value |= fixed.value.value << shift;
        }
        let mut parity = Vec::with_capacity(record.parity.len());
        for bit in &record.parity {
            let check = ParityCheck::new(bit, bits)?;
            taken.take(check.own, "parity")?;
            parity.push(check);
        }
        ranges(&record.number_ranges, Some(number), "number_ranges")?;
        ranges(&record.facility_ranges, facility, "facility_ranges")?;
        Ok(Layout {
            id,
            bits,
            order: record.order,
            facility,
            number,
            notation: record.notation,
            parity: in_turn(parity)?,
            fixed_mask,
            fixed_value,
            facility_ranges: record.facility_ranges.clone().into(),
            number_ranges: record.number_ranges.clone().into(),
        })
    }

    /// Whether these bits, as many as this format has, are a card of it.
    pub(super) fn fit(&self, value: u128) -> Fit {
        if value & self.fixed_mask != self.fixed_value {
            return Fit::FixedBits;
        }
        if !self.parity.iter().all(|check| check.holds(value)) {
            return Fit::Parity;
        }
        let facility_fits = self.facility.is_none_or(|field| within(&self.facility_ranges, field.get(value)));
        if facility_fits && within(&self.number_ranges, self.number.get(value)) { Fit::Fits } else { Fit::OutOfRange }
    }

    /// The text that tokens are made of.
    pub(super) fn text(&self, value: u128, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "{}:", self.id)?;
        if let Some(facility) = self.facility {
            write!(out, "{}:", facility.get(value))?;
        }
        let number = self.number.get(value);
        match self.notation {
            Notation::Decimal => write!(out, "{number}"),
            Notation::Hex => write!(out, "{number:0width$x}", width = self.number.bits.div_ceil(8) as usize * 2),
        }
    }

    /// The card with this text. `None`: there is none.
    pub(super) fn encode(&self, text: &str) -> Option<RawCard> {
        let mut parts = text.split(':').skip(1);
        let facility = match self.facility {
            Some(field) => field.put(parts.next()?.parse().ok()?)?,
            None => 0,
        };
        let digits = parts.next()?;
        let number = match self.notation {
            Notation::Decimal => digits.parse().ok()?,
            Notation::Hex => u128::from_str_radix(digits, 16).ok()?,
        };
        let mut value = self.fixed_value | facility | self.number.put(number)?;
        for check in &self.parity {
            if !check.holds(value) {
                value |= check.own;
            }
        }
        // A sign, a leading zero, a further part: the text would not be the one that a reader's card has.
        let mut rendered = String::new();
        let _ = self.text(value, &mut rendered);
        (rendered == text && self.fit(value) == Fit::Fits).then_some(RawCard { bits: self.bits, value })
    }
}

impl ParityCheck {
    fn new(record: &ParityBit, bits: u16) -> Result<ParityCheck, String> {
        if record.bit >= bits {
            return Err(format!("parity: bit {} is beyond {bits} bits", record.bit));
        }
        if record.mask.bits != bits {
            return Err(format!("parity of bit {}: mask has {} digits, not {bits}", record.bit, record.mask.bits));
        }
        let own = 1u128 << (bits - 1 - record.bit);
        if record.mask.value & !own == 0 {
            return Err(format!("parity of bit {}: mask covers no bit", record.bit));
        }
        Ok(ParityCheck { own, mask: record.mask.value | own, odd: record.parity == Parity::Odd })
    }

    fn holds(self, value: u128) -> bool {
        ((value & self.mask).count_ones() % 2 == 1) == self.odd
    }
}

/// Which bits have a meaning already.
struct Taken(u128);

impl Taken {
    fn take(&mut self, mask: u128, what: &str) -> Result<(), String> {
        if self.0 & mask != 0 {
            return Err(format!("{what}: a bit has two meanings"));
        }
        self.0 |= mask;
        Ok(())
    }
}

fn ranges(ranges: &[NumberRange], field: Option<Field>, what: &str) -> Result<(), String> {
    let most = field.map(|field| ones(field.bits));
    for range in ranges {
        let Some(most) = most else { return Err(format!("{what}: there is no such field")) };
        if range.from > range.to || range.to.0 > most {
            return Err(format!("{what}: expected from up to to, and to at most {most}"));
        }
    }
    Ok(())
}

/// Each after those that it covers.
fn in_turn(mut left: Vec<ParityCheck>) -> Result<Box<[ParityCheck]>, String> {
    let mut turn = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waiting: u128 = left.iter().map(|check| check.own).fold(0, |all, own| all | own);
        let ready = left.iter().position(|check| check.mask & waiting == check.own);
        let Some(ready) = ready else { return Err("parity: bits cover each other in a circle".to_owned()) };
        turn.push(left.remove(ready));
    }
    Ok(turn.into())
}

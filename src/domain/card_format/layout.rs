//! One format, compiled: masks and shifts. Owns what makes a layout sound, and both ways between bits and
//! numbers; must never accept a layout whose cards could not be written as well as read. Invariant: what
//! `encode` writes, `fit` takes, and `text` renders back.

use std::fmt;

use crate::domain::{
    card_bits::{CARD_BITS_MAX, CardBits},
    fieldbus::RawCard,
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
    fixed_mask: CardBits,
    fixed_value: CardBits,
    facility_ranges: Box<[NumberRange]>,
    number_ranges: Box<[NumberRange]>,
}

#[derive(Clone, Copy, Debug)]
struct ParityCheck {
    own: CardBits,
    /// Its own bit included.
    mask: CardBits,
    odd: bool,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    shift: u16,
    bits: u16,
    reversed: bool,
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
        Ok(Field { shift: bits - end, bits: field.bits, reversed })
    }

    fn mask(self) -> CardBits {
        CardBits::ones(self.bits) << self.shift
    }

    fn get(self, value: &CardBits) -> CardBits {
        self.ordered(value.extract(self.shift, self.bits))
    }

    /// `None`: too large.
    fn put(self, number: CardBits) -> Option<CardBits> {
        (number.significant_bits() <= self.bits).then(|| self.ordered(number) << self.shift)
    }

    fn ordered(self, number: CardBits) -> CardBits {
        if self.reversed { number.with_bytes_reversed(self.bits) } else { number }
    }
}

fn within(ranges: &[NumberRange], field: Field, value: &CardBits) -> bool {
    if ranges.is_empty() {
        return true;
    }
    let number = field.get(value);
    ranges.iter().any(|range| (range.from.0..=range.to.0).contains(&number))
}

impl Layout {
    pub(super) fn new(id: Id, record: &CardFormat) -> Result<Layout, String> {
        let bits = record.bits;
        if !(1..=CARD_BITS_MAX).contains(&bits) {
            return Err(format!("bits: expected 1 to {CARD_BITS_MAX}"));
        }
        let number = Field::new(&record.number, bits, "number")?;
        let facility = record.facility.as_ref().map(|field| Field::new(field, bits, "facility")).transpose()?;
        let mut taken = Taken(CardBits::ZERO);
        taken.take(number.mask(), "number")?;
        facility.map_or(Ok(()), |facility| taken.take(facility.mask(), "facility"))?;
        if record.notation == Notation::Hex {
            // A stretch of the card as it is, with whatever is always the same or checked in it.
            taken = Taken(facility.map_or(CardBits::ZERO, Field::mask));
        }
        let (mut fixed_mask, mut fixed_value) = (CardBits::ZERO, CardBits::ZERO);
        for fixed in &record.fixed {
            let end = fixed.first.checked_add(fixed.value.bits).filter(|end| *end <= bits);
            let shift = bits - end.ok_or_else(|| format!("fixed: expected bits from 0 to {}", bits - 1))?;
            let mask = CardBits::ones(fixed.value.bits) << shift;
            taken.take(mask, "fixed")?;
            fixed_mask = fixed_mask | mask;
            fixed_value = fixed_value | fixed.value.value << shift;
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
    pub(super) fn fit(&self, value: &CardBits) -> Fit {
        if *value & self.fixed_mask != self.fixed_value {
            return Fit::FixedBits;
        }
        if !self.parity.iter().all(|check| check.holds(value)) {
            return Fit::Parity;
        }
        let facility_fits = self.facility.is_none_or(|field| within(&self.facility_ranges, field, value));
        if facility_fits && within(&self.number_ranges, self.number, value) { Fit::Fits } else { Fit::OutOfRange }
    }

    /// The text that tokens are made of.
    pub(super) fn text(&self, value: &CardBits, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "{}:", self.id)?;
        if let Some(facility) = self.facility {
            write!(out, "{}:", facility.get(value))?;
        }
        let number = self.number.get(value);
        match self.notation {
            Notation::Decimal => write!(out, "{number}"),
            Notation::Hex => write!(out, "{number:0width$x}", width = usize::from(self.number.bits.div_ceil(8)) * 2),
        }
    }

    /// The card with this text. `None`: there is none.
    pub(super) fn encode(&self, text: &str) -> Option<RawCard> {
        let mut parts = text.split(':').skip(1);
        let facility = match self.facility {
            Some(field) => field.put(CardBits::from_digits(parts.next()?, 10)?)?,
            None => CardBits::ZERO,
        };
        let digits = parts.next()?;
        let number = match self.notation {
            Notation::Decimal => CardBits::from_digits(digits, 10)?,
            Notation::Hex => CardBits::from_digits(digits, 16)?,
        };
        let mut value = self.fixed_value | facility | self.number.put(number)?;
        for check in &self.parity {
            if !check.holds(&value) {
                value = value | check.own;
            }
        }
        // A leading zero, a further part: the text would not be the one that a reader's card has.
        let mut rendered = String::new();
        let _ = self.text(&value, &mut rendered);
        (rendered == text && self.fit(&value) == Fit::Fits).then_some(RawCard::of(self.bits, value))
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
        let own = CardBits::new(1) << (bits - 1 - record.bit);
        if record.mask.value | own == own {
            return Err(format!("parity of bit {}: mask covers no bit", record.bit));
        }
        Ok(ParityCheck { own, mask: record.mask.value | own, odd: record.parity == Parity::Odd })
    }

    fn holds(&self, value: &CardBits) -> bool {
        value.is_odd_under(&self.mask) == self.odd
    }
}

/// Which bits have a meaning already.
struct Taken(CardBits);

impl Taken {
    fn take(&mut self, mask: CardBits, what: &str) -> Result<(), String> {
        if !(self.0 & mask).is_zero() {
            return Err(format!("{what}: a bit has two meanings"));
        }
        self.0 = self.0 | mask;
        Ok(())
    }
}

fn ranges(ranges: &[NumberRange], field: Option<Field>, what: &str) -> Result<(), String> {
    let most = field.map(|field| CardBits::ones(field.bits));
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
    let mut waiting = left.iter().fold(CardBits::ZERO, |all, check| all | check.own);
    while !left.is_empty() {
        let ready = left.iter().position(|check| check.mask & waiting == check.own);
        let Some(ready) = ready else { return Err("parity: bits cover each other in a circle".to_owned()) };
        let next = left.remove(ready);
        waiting = waiting ^ next.own;
        turn.push(next);
    }
    Ok(turn.into())
}

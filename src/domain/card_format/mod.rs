//! What a reader delivered, as far as bits alone can tell: the card formats of the set and those that are built
//! in, compiled. Owns reading bits by them; must never throw bits away, allocate on the way to a decision, or
//! settle which of several formats was meant: that is for the set, in the formats' order. Invariant: the raw
//! form of a possible read is always among its texts, so a card enrolled by its bits opens whatever becomes of
//! the formats.
//!
//! `built_in` the formats that everybody has, `layout` one format, `reading` what comes of one read.

mod built_in;
mod layout;
mod reading;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use self::layout::Layout;
pub use self::reading::{CardTokens, FITS_MAX, Fit, Reading, Tried};
use super::{
    card_bits::{CARD_BITS_MAX, CardBits},
    fieldbus::RawCard,
    ids::Id,
    record::CardFormat,
};

/// Formats of a set, built-in ones apart.
pub const CARD_FORMATS_MAX: usize = 128;

/// What stands before the colon in other texts that tokens are made of: as the name of a format it would let
/// a card pass for something else.
const RESERVED: [&str; 7] = ["raw", "pin", "mobile", "plate", "qr", "backup", "return"];

/// Every format in force.
#[derive(Clone, Debug)]
pub struct CardFormats {
    /// By length, and those of one length in the order in which they are asked about.
    layouts: Vec<Layout>,
    /// The name under which bits themselves are told of.
    raw: Option<Id>,
}

impl CardFormats {
    /// Those that everybody has, and nothing else.
    pub fn built_in() -> Arc<CardFormats> {
        static BUILT_IN: std::sync::OnceLock<Arc<CardFormats>> = std::sync::OnceLock::new();
        BUILT_IN.get_or_init(|| Arc::new(CardFormats::new(&BTreeMap::new()))).clone()
    }

    /// A record that [`check`] finds fault with is left out.
    pub fn new(records: &BTreeMap<Id, CardFormat>) -> CardFormats {
        let mut layouts: Vec<Layout> =
            all(records).into_iter().filter_map(|(id, record)| Layout::new(id, &record).ok()).collect();
        // The sort is stable: of equal ones the first by id.
        layouts.sort_by_key(|layout| (layout.bits, layout.order));
        CardFormats { layouts, raw: Id::new("raw").ok() }
    }

    fn of_length(&self, bits: u16) -> &[Layout] {
        let from = self.layouts.partition_point(|layout| layout.bits < bits);
        let to = self.layouts.partition_point(|layout| layout.bits <= bits);
        self.layouts.get(from..to).unwrap_or_default()
    }

    /// The bits of the card with this text, if it is that of a card and one of these formats writes it:
    /// `h10301:123:4567`, `raw:26:2f623ae`.
    pub fn encode(&self, text: &str) -> Option<RawCard> {
        let (name, rest) = text.split_once(':')?;
        if name == "raw" {
            let (bits, value) = rest.split_once(':')?;
            let card = RawCard::of(bits.parse().ok()?, CardBits::from_digits(value, 16)?);
            return (self.read(card).texts().last()? == text).then_some(card);
        }
        self.layouts.iter().find(|layout| layout.id.as_str() == name)?.encode(text)
    }
}

/// The built-in formats, with the set's records in their place and beside them; without those that are disabled.
fn all(records: &BTreeMap<Id, CardFormat>) -> BTreeMap<Id, CardFormat> {
    let mut all = built_in::records();
    all.extend(records.iter().map(|(id, record)| (id.clone(), record.clone())));
    all.retain(|_, record| !record.disabled);
    all
}

/// What is wrong with the formats of a set.
pub fn check(records: &BTreeMap<Id, CardFormat>, fault: &mut dyn FnMut(String)) {
    if records.len() > CARD_FORMATS_MAX {
        fault(format!("card_format: more than {CARD_FORMATS_MAX} formats"));
    }
    for (id, record) in records {
        if RESERVED.contains(&id.as_str()) {
            fault(format!("card_format {id}: this name is taken by other credentials"));
        }
        if let Err(what) = Layout::new(id.clone(), record) {
            fault(format!("card_format {id}: {what}"));
        }
    }
    let mut by_length: BTreeMap<u16, usize> = BTreeMap::new();
    for record in all(records).values() {
        *by_length.entry(record.bits).or_default() += 1;
    }
    for (bits, count) in by_length.into_iter().filter(|(bits, count)| *count > FITS_MAX && *bits <= CARD_BITS_MAX) {
        fault(format!("card_format: {count} formats of {bits} bits, at most {FITS_MAX} can be told apart"));
    }
}

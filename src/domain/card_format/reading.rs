//! One read, by every format of its length. Owns which formats fit and what they make of it; must never put
//! anything on the heap before the decision has fallen. Invariant: the texts come in the formats' order, the
//! bits themselves last.

use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{
    card_bits::{CARD_BITS_MAX, DECIMAL_DIGITS_MAX},
    event::CardEvidence,
    fieldbus::RawCard,
    ids::{ID_LENGTH_MAX, Id},
    record::Token,
};

use super::{CardFormats, layout::Layout};

/// How many formats one read can fit.
pub const FITS_MAX: usize = 7;

/// An id and two numbers with colons, which have no bit in common and so, in decimal, one digit more than one number
/// of all bits. Nothing is longer: not in hex, and not the bits themselves.
const TEXT_LENGTH_MAX: usize = ID_LENGTH_MAX + 2 + DECIMAL_DIGITS_MAX + 1;

/// What became of one format at one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    Fits,
    /// Bits that are always the same differ.
    FixedBits,
    /// Misread, or not of this format.
    Parity,
    /// No card of this format has this facility or number.
    OutOfRange,
}

/// For people who ask why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub format: Id,
    pub fit: Fit,
}

/// A read, and the formats in force.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    raw: RawCard,
    /// No reader can mean it: no bits, too many, bits beyond its length, or some that are missing.
    possible: bool,
    layouts: &'a [Layout],
    /// Which of them fit.
    fits: [bool; FITS_MAX],
    parity_ok: bool,
    raw_name: Option<&'a Id>,
}

impl CardFormats {
    pub fn read(&self, raw: RawCard) -> Reading<'_> {
        let fits_in = raw.value.significant_bits() <= raw.bits;
        let possible = (1..=CARD_BITS_MAX).contains(&raw.bits) && fits_in && !raw.cut;
        let layouts = if possible { self.of_length(raw.bits) } else { &[] };
        let mut fits = [false; FITS_MAX];
        let mut misread = false;
        for (slot, layout) in fits.iter_mut().zip(layouts) {
            let fit = layout.fit(&raw.value);
            *slot = fit == Fit::Fits;
            misread |= fit == Fit::Parity;
        }
        let parity_ok = fits.contains(&true) || !misread;
        Reading { raw, possible, layouts, fits, parity_ok, raw_name: self.raw.as_ref() }
    }
}

impl Reading<'_> {
    /// What the permission set is asked about; `token` is the keyed hash of the site.
    pub fn tokens(&self, token: impl Fn(&str) -> Token) -> CardTokens {
        let mut tokens = CardTokens { tokens: [Token([0; 32]); FITS_MAX + 1], count: 0, parity_ok: self.parity_ok };
        self.each_text(|text| {
            if let Some(slot) = tokens.tokens.get_mut(tokens.count) {
                *slot = token(text);
                tokens.count += 1;
            }
        });
        tokens
    }

    /// What is told of the read, whatever becomes of it.
    pub fn evidence(&self) -> CardEvidence {
        let digits = match self.possible {
            true => self.raw.bits.div_ceil(4),
            false => self.raw.bits.min(CARD_BITS_MAX).max(self.raw.value.significant_bits()).div_ceil(4),
        };
        let width = usize::from(digits);
        let raw = if width == 0 { String::new() } else { format!("{:0width$x}", self.raw.value) };
        let fitting = self.fitting().map(|layout| &layout.id);
        let formats: Vec<Id> = fitting.chain(self.raw_name.filter(|_| self.possible)).cloned().collect();
        let ambiguous = self.fitting().nth(1).is_some();
        CardEvidence { bits: self.raw.bits, raw, formats, parity_ok: self.parity_ok, ambiguous }
    }

    /// Every format of this length in its order, and the bits themselves.
    pub fn tried(&self) -> Vec<Tried> {
        let formats = self.layouts.iter().map(|layout| (&layout.id, layout.fit(&self.raw.value)));
        let raw = self.raw_name.filter(|_| self.possible).map(|name| (name, Fit::Fits));
        formats.chain(raw).map(|(format, fit)| Tried { format: format.clone(), fit }).collect()
    }

    /// One for each format of the evidence, in that order.
    pub fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        self.each_text(|text| texts.push(text.to_owned()));
        texts
    }

    fn fitting(&self) -> impl Iterator<Item = &Layout> {
        self.layouts.iter().zip(self.fits).filter_map(|(layout, fits)| fits.then_some(layout))
    }

    fn each_text(&self, mut each: impl FnMut(&str)) {
        for layout in self.fitting() {
            let mut text = Text::new();
            if layout.text(&self.raw.value, &mut text).is_ok() {
                each(text.as_str());
            }
        }
        if self.possible {
            let (bits, width) = (self.raw.bits, usize::from(self.raw.bits.div_ceil(4)));
            let mut text = Text::new();
            if write!(text, "raw:{bits}:{:0width$x}", self.raw.value).is_ok() {
                each(text.as_str());
            }
        }
    }
}

/// A text on the stack.
struct Text {
    bytes: [u8; TEXT_LENGTH_MAX],
    length: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; TEXT_LENGTH_MAX], length: 0 }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = self.length + more.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(more.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// The tokens of one read, without heap: one for each format that fits, in their order, then that of the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardTokens {
    tokens: [Token; FITS_MAX + 1],
    count: usize,
    parity_ok: bool,
}

impl CardTokens {
    /// A credential that came as one token (a PIN, a test, a bench).
    pub fn single(token: Token) -> CardTokens {
        CardTokens { tokens: [token; FITS_MAX + 1], count: 1, parity_ok: true }
    }

    /// None for a read that is impossible.
    pub fn as_slice(&self) -> &[Token] {
        self.tokens.get(..self.count).unwrap_or(&self.tokens)
    }

    /// What this can stand for: of the first list one is meant, the first that anybody knows; the last token
    /// is the card in any case.
    pub fn split(&self) -> (&[Token], Option<&Token>) {
        match self.as_slice().split_last() {
            Some((bits, formats)) => (formats, Some(bits)),
            None => (&[], None),
        }
    }

    /// Whether the bits were possible and their parity, where a format of their length has one, fits.
    pub fn well_formed(&self) -> bool {
        self.count > 0 && self.parity_ok
    }
}

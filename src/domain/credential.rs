//! What a reader delivered, as far as bits alone can tell. Owns the decoding of raw bits into the texts
//! that are hashed into tokens; must never throw bits away, and must never settle an ambiguity: every
//! format that fits is offered, and the permission set decides which of them anyone holds.
//! Invariant: the raw form of a possible read is always among its texts, so a card enrolled by its bits
//! opens whatever becomes of the formats.

use super::{
    event::CardEvidence,
    fieldbus::{CARD_BITS_MAX, RawCard},
    ids::Id,
    record::Token,
};

/// How many formats one read can fit, raw bits included.
pub const CARD_FORMATS_MAX: usize = 2;

/// A read, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    pub evidence: CardEvidence,
    /// One text for each of `evidence.formats`, in that order, exactly as documented at [`Token`].
    /// Empty for a read that no reader can mean (`bad_format`).
    pub texts: Vec<String>,
}

impl Presented {
    /// The tokens of this read; `token` is the keyed hash of the site.
    pub fn tokens(&self, token: impl Fn(&str) -> Token) -> CardTokens {
        let mut tokens = [Token([0; 32]); CARD_FORMATS_MAX];
        let mut count = 0;
        for (slot, text) in tokens.iter_mut().zip(&self.texts) {
            *slot = token(text);
            count += 1;
        }
        CardTokens { tokens, count, parity_ok: self.evidence.parity_ok }
    }
}

/// What the permission set is asked about: the tokens of one read, without heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardTokens {
    tokens: [Token; CARD_FORMATS_MAX],
    count: usize,
    parity_ok: bool,
}

impl CardTokens {
    /// A credential that came as one token (a test, a bench, a virtual read).
    pub fn single(token: Token) -> CardTokens {
        CardTokens { tokens: [token; CARD_FORMATS_MAX], count: 1, parity_ok: true }
    }

    /// None for a read that is impossible.
    pub fn as_slice(&self) -> &[Token] {
        self.tokens.get(..self.count).unwrap_or(&self.tokens)
    }

    /// Whether the bits were possible and their parity, where the format has one, fits.
    pub fn well_formed(&self) -> bool {
        self.count > 0 && self.parity_ok
    }
}

/// Reads the bits. A read of no bits, of more than [`CARD_BITS_MAX`], or with bits set beyond its
/// length is no card: it has no texts.
pub fn decode(raw: RawCard) -> Presented {
    let possible = (1..=CARD_BITS_MAX).contains(&raw.bits) && significant_bits(raw.value) <= raw.bits;
    if !possible {
        let digits = raw.bits.min(CARD_BITS_MAX).max(significant_bits(raw.value)).div_ceil(4);
        return presented(raw, digits, &[], true);
    }
    let digits = raw.bits.div_ceil(4);
    let as_raw = ("raw", format!("raw:{}:{}", raw.bits, hex(raw.value, digits)));
    match h10301(raw) {
        Some(Some(card)) => {
            let text = format!("h10301:{}:{}", card.facility, card.number);
            presented(raw, digits, &[("h10301", text), as_raw], true)
        }
        Some(None) => presented(raw, digits, &[as_raw], false),
        None => presented(raw, digits, &[as_raw], true),
    }
}

fn presented(raw: RawCard, digits: u16, candidates: &[(&str, String)], parity_ok: bool) -> Presented {
    let formats = candidates.iter().filter_map(|(name, _)| Id::new(name).ok()).collect();
    Presented {
        evidence: CardEvidence { bits: raw.bits, raw: hex(raw.value, digits), formats, parity_ok },
        texts: candidates.iter().map(|(_, text)| text.clone()).collect(),
    }
}

fn significant_bits(value: u128) -> u16 {
    // At most 128: no truncation.
    (u128::BITS - value.leading_zeros()) as u16
}

fn hex(value: u128, digits: u16) -> String {
    let width = usize::from(digits);
    if width == 0 { String::new() } else { format!("{value:0width$x}") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct H10301 {
    facility: u8,
    number: u16,
}

/// HID's open 26-bit format: even parity over the leading 13 bits (the parity bit and the 12 after it),
/// 8 bits of facility, 16 of number, odd parity over the last 13. `None`: not 26 bits long;
/// `Some(None)`: the parity does not fit.
fn h10301(raw: RawCard) -> Option<Option<H10301>> {
    const HALF: u128 = (1 << 13) - 1;
    if raw.bits != 26 {
        return None;
    }
    let even = ((raw.value >> 13) & HALF).count_ones().is_multiple_of(2);
    let odd = !(raw.value & HALF).count_ones().is_multiple_of(2);
    let card = H10301 { facility: (raw.value >> 17) as u8, number: (raw.value >> 1) as u16 };
    Some((even && odd).then_some(card))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(presented: &Presented) -> Vec<&str> {
        presented.evidence.formats.iter().map(Id::as_str).collect()
    }

    /// Facility 123, number 4567 as a 26-bit card.
    const CARD: RawCard = RawCard { bits: 26, value: 0x2f6_23ae };

    #[test]
    fn a_26_bit_card_is_read_as_h10301_and_as_its_bits() {
        let presented = decode(CARD);
        assert_eq!(presented.texts, ["h10301:123:4567", "raw:26:2f623ae"]);
        assert_eq!(formats(&presented), ["h10301", "raw"]);
        assert!(presented.evidence.parity_ok);
        assert_eq!((presented.evidence.bits, presented.evidence.raw.as_str()), (26, "2f623ae"));
    }

    #[test]
    fn every_single_flipped_bit_breaks_the_parity_and_leaves_the_raw_form() {
        for bit in 0..26 {
            let presented = decode(RawCard { value: CARD.value ^ (1 << bit), ..CARD });
            assert_eq!(formats(&presented), ["raw"], "bit {bit}");
            assert!(!presented.evidence.parity_ok, "bit {bit}");
        }
    }

    #[test]
    fn facility_and_number_keep_all_their_bits() {
        for (facility, number) in [(0u8, 0u16), (255, 65535), (1, 1), (128, 32768), (170, 21845)] {
            let data = u128::from(facility) << 17 | u128::from(number) << 1;
            let leading = u128::from((data >> 13).count_ones() % 2 == 1) << 25;
            let trailing = u128::from((data & 0x1fff).count_ones() % 2 == 0);
            let presented = decode(RawCard { bits: 26, value: leading | data | trailing });
            assert_eq!(presented.texts.first(), Some(&format!("h10301:{facility}:{number}")));
        }
    }

    #[test]
    fn a_dead_line_is_no_valid_card() {
        for value in [0, (1 << 26) - 1] {
            assert!(!decode(RawCard { bits: 26, value }).evidence.parity_ok);
        }
    }

    #[test]
    fn other_lengths_are_kept_as_bits_with_leading_zeros() {
        let cases = [
            (1, 1, "raw:1:1"),
            (4, 0, "raw:4:0"),
            (37, 0x1f, "raw:37:000000001f"),
            (128, u128::MAX, "raw:128:ffffffffffffffffffffffffffffffff"),
        ];
        for (bits, value, text) in cases {
            let presented = decode(RawCard { bits, value });
            assert_eq!(presented.texts, [text]);
            assert!(presented.evidence.parity_ok);
        }
    }

    #[test]
    fn an_impossible_read_has_no_text_and_keeps_what_came() {
        let cases =
            [(0, 0, ""), (0, 0x5, "5"), (26, 1 << 26, "4000000"), (129, 0xf, "0000000000000000000000000000000f")];
        for (bits, value, raw) in cases {
            let presented = decode(RawCard { bits, value });
            assert_eq!(presented.texts, [""; 0], "{bits} bits");
            assert_eq!(presented.evidence.raw, raw, "{bits} bits");
            assert!(!presented.tokens(|_| Token([1; 32])).well_formed());
        }
    }

    #[test]
    fn tokens_follow_the_order_of_the_formats() {
        let first_byte = |text: &str| Token([text.as_bytes().first().copied().unwrap_or_default(); 32]);
        let tokens = decode(CARD).tokens(first_byte);
        assert_eq!(tokens.as_slice(), [Token([b'h'; 32]), Token([b'r'; 32])]);
        assert!(tokens.well_formed());
    }
}

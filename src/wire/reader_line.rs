//! Line-framed serial readers: bytes to cards. Owns framing and number formats; must never guess: what
//! does not parse is counted and dropped, never repaired.
//!
//! Only terminators frame a line: CR, LF and ETX end one, STX begins one anew, empty lines are nothing;
//! so CR, LF, CRLF and STX…ETX readers all work without a setting. A pause ends nothing: a converter
//! that stalls in mid-line must not turn half a number into a card.

use crate::domain::{
    card_bits::{CARD_BITS_MAX, CardBits},
    fieldbus::RawCard,
};

/// How a line-framed serial reader writes a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// Hex digits; the number of bits is 4 per digit, or `bits` if set (right-aligned).
    Hex { bits: Option<u16> },
    /// A decimal number in `bits` bits.
    Decimal { bits: u16 },
    /// `BITS:HEX`, such as `26:2800F0A`: the bits right-aligned, leading zero digits optional.
    BitsHex,
    /// `0` and `1` for each bit, first sent first.
    Binary,
    /// No card: what a camera, a scanner or a phone's reader has read, as it is.
    Text(TextKind),
}

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// In upper case and without blanks, whatever the camera writes.
    Plate,
    Qr,
    Mobile,
}

impl TextKind {
    fn name(self) -> &'static str {
        match self {
            TextKind::Plate => "plate",
            TextKind::Qr => "qr",
            TextKind::Mobile => "mobile",
        }
    }
}

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Card(RawCard),
    /// As tokens are made of it: `plate:KAB1234`.
    Text(Box<str>),
}

/// Longest line kept of a card: in binary.
pub const LINE_LENGTH_MAX: usize = CARD_BITS_MAX as usize;
/// And of a text.
pub const TEXT_LENGTH_MAX: usize = 128;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;

#[derive(Clone, Debug)]
pub struct LineReader {
    format: LineFormat,
    line: Vec<u8>,
    length_max: usize,
    /// The line is too long already: all up to its end is dropped.
    overlong: bool,
    dropped: u64,
}

impl LineReader {
    pub fn new(format: LineFormat) -> LineReader {
        let length_max = match format {
            LineFormat::Text(_) => TEXT_LENGTH_MAX,
            _ => LINE_LENGTH_MAX,
        };
        LineReader { format, line: Vec::with_capacity(length_max), length_max, overlong: false, dropped: 0 }
    }

    /// Takes bytes as they come; adds the cards that they complete.
    pub fn push(&mut self, bytes: &[u8], cards: &mut Vec<Line>) {
        for &byte in bytes {
            match byte {
                b'\r' | b'\n' | ETX => self.end(Some(cards)),
                STX => self.end(None),
                _ if self.line.len() >= self.length_max => self.overlong = true,
                _ => self.line.push(byte),
            }
        }
    }

    /// Forgets an unfinished line: the port was lost.
    pub fn reset(&mut self) {
        self.end(None);
    }

    /// Lines that were no card since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn end(&mut self, cards: Option<&mut Vec<Line>>) {
        let line = self.line.trim_ascii();
        if !line.is_empty() || self.overlong {
            let card = if self.overlong { None } else { parse(self.format, line) };
            match (card, cards) {
                (Some(card), Some(cards)) => cards.push(card),
                _ => self.dropped = self.dropped.saturating_add(1),
            }
        }
        self.line.clear();
        self.overlong = false;
    }
}

/// One line without its terminator.
pub fn parse(format: LineFormat, line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    if let LineFormat::Text(kind) = format {
        return written(kind, text).map(Line::Text);
    }
    card(format, text).map(Line::Card)
}

fn written(kind: TextKind, text: &str) -> Option<Box<str>> {
    let text = match kind {
        TextKind::Plate => text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_uppercase).collect(),
        TextKind::Qr | TextKind::Mobile => text.to_owned(),
    };
    let is_sound = !text.is_empty() && !text.chars().any(char::is_control);
    is_sound.then(|| format!("{}:{text}", kind.name()).into_boxed_str())
}

fn card(format: LineFormat, text: &str) -> Option<RawCard> {
    match format {
        LineFormat::Text(_) => None,
        LineFormat::Hex { bits } => {
            let value = CardBits::from_digits(text, 16)?;
            let bits = bits.or_else(|| u16::try_from(text.len() * 4).ok())?;
            Some(RawCard::of(bits, value))
        }
        LineFormat::Decimal { bits } => Some(RawCard::of(bits, CardBits::from_digits(text, 10)?)),
        LineFormat::BitsHex => {
            let (bits, hex) = text.split_once(':')?;
            let bits = u16::try_from(CardBits::from_digits(bits, 10)?.to_u128()?).ok();
            let bits = bits.filter(|bits| (1..=CARD_BITS_MAX).contains(bits))?;
            Some(RawCard::of(bits, CardBits::from_digits(hex, 16)?))
        }
        LineFormat::Binary => Some(RawCard::of(u16::try_from(text.len()).ok()?, CardBits::from_digits(text, 2)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: LineFormat, bytes: &[u8]) -> (Vec<Line>, u64) {
        let mut reader = LineReader::new(format);
        let mut lines = Vec::new();
        reader.push(bytes, &mut lines);
        (lines, reader.dropped())
    }

    fn cards(lines: Vec<Line>) -> Vec<RawCard> {
        let card = |line| match line {
            Line::Card(card) => Some(card),
            Line::Text(_) => None,
        };
        lines.into_iter().filter_map(card).collect()
    }

    fn read(format: LineFormat, bytes: &[u8]) -> (Vec<RawCard>, u64) {
        let (lines, dropped) = lines(format, bytes);
        (cards(lines), dropped)
    }

    #[test]
    fn a_text_is_what_was_read_and_a_plate_is_written_as_plates_are_known() {
        let text = |text: &str| Line::Text(text.into());
        for (kind, bytes, line) in [
            (TextKind::Plate, &b"k-ab 1234\r\n"[..], "plate:K-AB1234"),
            (TextKind::Qr, b"https://a.example/T?x=1\n", "qr:https://a.example/T?x=1"),
            (TextKind::Mobile, b"\x0204aB-77\x03", "mobile:04aB-77"),
        ] {
            assert_eq!(lines(LineFormat::Text(kind), bytes), (vec![text(line)], 0));
        }
        for bytes in [&b"a\tb\x07\n"[..], b"\xff\xfe\n", &[b"x".repeat(TEXT_LENGTH_MAX + 1), b"\n".to_vec()].concat()] {
            assert_eq!(lines(LineFormat::Text(TextKind::Qr), bytes), (vec![], 1), "{bytes:?}");
        }
    }

    const CARD: RawCard = RawCard::new(26, 0x280_0F0A);

    #[test]
    fn every_usual_terminator_frames_a_line() {
        for bytes in
            [&b"26:2800F0A\r"[..], b"26:2800F0A\n", b"26:2800F0A\r\n", b"\x0226:2800F0A\x03", b"\n\r 26:2800f0a \n"]
        {
            assert_eq!(read(LineFormat::BitsHex, bytes), (vec![CARD], 0), "{bytes:?}");
        }
    }

    #[test]
    fn a_line_may_come_in_pieces_but_never_ends_without_a_terminator() {
        let mut reader = LineReader::new(LineFormat::BitsHex);
        let mut cards = Vec::new();
        reader.push(b"26:28", &mut cards);
        reader.push(b"00F0A", &mut cards);
        assert_eq!(cards, vec![]);
        reader.push(b"\r\n", &mut cards);
        assert_eq!(cards, vec![Line::Card(CARD)]);
    }

    #[test]
    fn each_format_reads_its_own_way() {
        assert_eq!(read(LineFormat::Hex { bits: None }, b"2800F0A\n").0, [RawCard::new(28, 0x280_0F0A)]);
        assert_eq!(read(LineFormat::Hex { bits: Some(26) }, b"2800F0A\n").0, [CARD]);
        assert_eq!(read(LineFormat::Decimal { bits: 26 }, b"41946890\n").0, [CARD]);
        assert_eq!(read(LineFormat::Binary, b"10100000000000111100001010\n").0, [CARD]);
        let longest = [b'1'; 1024];
        let card = RawCard::of(1024, CardBits::ones(1024));
        assert_eq!(parse(LineFormat::Binary, &longest), Some(Line::Card(card)));
        assert_eq!(read(LineFormat::Binary, &[&longest[..], b"\n"].concat()), (vec![card], 0));
        assert_eq!(read(LineFormat::Hex { bits: None }, &[&[b'F'; 256][..], b"\n"].concat()), (vec![card], 0));
        let in_hex = format!("1024:{}\n", "f".repeat(256));
        assert_eq!(read(LineFormat::BitsHex, in_hex.as_bytes()), (vec![card], 0));
        let in_decimal = format!("{}\n", CardBits::ones(1024));
        assert_eq!(read(LineFormat::Decimal { bits: 1024 }, in_decimal.as_bytes()), (vec![card], 0));
    }

    #[test]
    fn what_is_no_card_is_counted_and_the_next_line_is_read() {
        let bytes = b"hello\n26:+F\n0:0\n1025:1\n\xff\xfe\n26:\n26:F_F\n26:2800F0A\n";
        assert_eq!(read(LineFormat::BitsHex, bytes), (vec![CARD], 7));
    }

    #[test]
    fn an_endless_line_is_one_dropped_line() {
        let mut bytes = vec![b'1'; 100_000];
        bytes.extend(b"\n1\n");
        assert_eq!(read(LineFormat::Binary, &bytes), (vec![RawCard::new(1, 1)], 1));
    }

    #[test]
    fn a_start_mark_drops_what_stood_before_it() {
        assert_eq!(read(LineFormat::BitsHex, b"26:28\x0226:2800F0A\x03"), (vec![CARD], 1));
    }
}

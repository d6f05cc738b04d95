//! Keypads of readers: only where a key can be told from a card.

use std::collections::BTreeMap;

use super::{Checker, boards::Boards};
use crate::{
    config::{
        raw::{RawKeypad, RawReader},
        report::Diagnostic,
        site::{LineFormat, Reader, ReaderSource},
    },
    domain::{ids::ReaderIx, keypad::Keypad},
};

impl Checker<'_> {
    pub fn keypads(
        &self,
        raw: &[RawReader],
        readers: &[Option<Reader>],
        boards: &Boards,
    ) -> BTreeMap<ReaderIx, Keypad> {
        let mut keypads = BTreeMap::new();
        for (raw, reader) in raw.iter().zip(readers) {
            let (Some(at), Some(reader)) = (&raw.keypad, reader) else { continue };
            let on_osdp = matches!(reader.source, ReaderSource::Osdp(_));
            let keypad = match at.value {
                RawKeypad::Frames(Keypad::None) => continue,
                // The panel hands on each key as such a frame.
                RawKeypad::Osdp if on_osdp => Keypad::FourBit,
                RawKeypad::Frames(keypad) if !on_osdp => keypad,
                RawKeypad::Osdp | RawKeypad::Frames(_) => {
                    let finding = Diagnostic::error("this reader sends its keys another way");
                    let expected = if on_osdp { "\"osdp\"" } else { "\"4-bit\", \"8-bit\"" };
                    self.sink.add(finding.at(at.span, format!("expected {expected} or \"none\"")));
                    continue;
                }
            };
            if let Some(why) = tells_no_length(&reader.source, boards) {
                let finding = Diagnostic::error("a keypad of which no key can be told from a card");
                self.sink.add(finding.at(at.span, "a key is a read of 4 or 8 bits").help(why));
            }
            keypads.insert(reader.reader, keypad);
        }
        keypads
    }
}

/// Why every read of this source has the same number of bits.
fn tells_no_length(source: &ReaderSource, boards: &Boards) -> Option<&'static str> {
    match source {
        ReaderSource::CardBlock { board, block } => {
            let profile = boards.profiles.get(board.index())?.as_ref()?;
            let block = profile.card_blocks.get(usize::from(*block))?;
            let why = "the card block of the board's profile has no register for the number of bits (`bits`)";
            block.bits_address.is_none().then_some(why)
        }
        ReaderSource::Serial { format: LineFormat::Decimal { .. } | LineFormat::Hex { bits: Some(_) }, .. } => Some(
            "with `bits`, every line is a card of that length: use format \"bits_hex\", \"binary\" or \"hex\" alone",
        ),
        ReaderSource::Serial { format: LineFormat::Text(_), .. } => Some("a reader of texts has no keys"),
        ReaderSource::Serial {
            format: LineFormat::BitsHex | LineFormat::Binary | LineFormat::Hex { bits: None },
            ..
        }
        | ReaderSource::Osdp(_) => None,
    }
}

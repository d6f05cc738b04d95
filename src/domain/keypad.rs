//! Keys of a reader's keypad. Owns how a key is told from a card, and what was typed so far; must never show a
//! digit, in no log and no event. Invariant: what is a key is never looked up as a card.
//!
//! A keypad on a Wiegand line sends one short frame for each key: 4 bits (0 to 9, 10 for `*`, 11 for `#`), or
//! 8 bits, the same with its complement in front. No card is that short.

use super::fieldbus::RawCard;

/// What stands beside the reader, as the installer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keypad {
    /// Nothing to type on: who has to type a PIN here is denied at once.
    #[default]
    None,
    FourBit,
    EightBit,
}

/// What one read of a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    Card,
    Key(Key),
    /// A key of this keypad that stands for nothing here.
    Nothing,
    /// As short as a key, and none of this keypad: its bits may be somebody's PIN and are shown to nobody.
    Unreadable,
}

impl Keypad {
    pub fn read(self, frame: RawCard) -> Frame {
        match (self, frame.bits) {
            (Keypad::FourBit, 4) => Key::of(frame).map_or(Frame::Nothing, Frame::Key),
            (Keypad::EightBit, 8) => Key::of(frame).map_or(Frame::Unreadable, Frame::Key),
            (_, 4 | 8) => Frame::Unreadable,
            _ => Frame::Card,
        }
    }
}

/// Longest PIN.
pub const DIGITS_MAX: usize = 16;

/// What was typed since it was last taken. Shows itself to nobody.
#[derive(Clone, Default)]
pub struct Digits {
    typed: [u8; DIGITS_MAX],
    count: usize,
}

impl Digits {
    /// More than [`DIGITS_MAX`] are no PIN, and stay none until they are cleared.
    pub fn push(&mut self, digit: u8) {
        if let Some(slot) = self.typed.get_mut(self.count) {
            *slot = b'0' + digit % 10;
        }
        self.count = self.count.saturating_add(1);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn clear(&mut self) {
        *self = Digits::default();
    }

    /// The digits as text; `None` for none and for too many.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.typed.get(..self.count)?).ok().filter(|text| !text.is_empty())
    }
}

impl std::fmt::Debug for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digits(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// 0 to 9.
    Digit(u8),
    Star,
    Hash,
}

impl Key {
    /// The key that this frame stands for; `None`: it is a card.
    pub fn of(frame: RawCard) -> Option<Key> {
        let value = u8::try_from(frame.value.to_u128()?).ok()?;
        let low = value & 0x0F;
        match frame.bits {
            4 if value < 16 => {}
            8 if value >> 4 == !low & 0x0F => {}
            _ => return None,
        }
        match low {
            digit @ 0..=9 => Some(Key::Digit(digit)),
            10 => Some(Key::Star),
            11 => Some(Key::Hash),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keypad_knows_its_own_keys_and_takes_none_of_another_for_a_card() {
        let frame = |bits, value| RawCard::new(bits, value);
        let seven = Frame::Key(Key::Digit(7));
        for (keypad, bits, value, expected) in [
            (Keypad::FourBit, 4, 7, seven),
            (Keypad::FourBit, 4, 14, Frame::Nothing),
            (Keypad::FourBit, 8, 0x87, Frame::Unreadable),
            (Keypad::EightBit, 8, 0x87, seven),
            (Keypad::EightBit, 8, 0x77, Frame::Unreadable),
            (Keypad::EightBit, 4, 7, Frame::Unreadable),
            (Keypad::None, 4, 7, Frame::Unreadable),
            (Keypad::None, 26, 7, Frame::Card),
            (Keypad::FourBit, 26, 7, Frame::Card),
        ] {
            assert_eq!(keypad.read(frame(bits, value)), expected, "{keypad:?} {bits} {value}");
        }
    }

    #[test]
    fn digits_are_text_until_there_are_too_many_and_show_nothing_of_themselves() {
        let mut digits = Digits::default();
        assert_eq!((digits.text(), digits.is_empty()), (None, true));
        for digit in [0, 1, 9, 7] {
            digits.push(digit);
        }
        assert_eq!(digits.text(), Some("0197"));
        assert_eq!(format!("{digits:?}"), "Digits(..)");
        for _ in 0..DIGITS_MAX {
            digits.push(3);
        }
        assert_eq!(digits.text(), None);
        digits.clear();
        digits.push(5);
        assert_eq!(digits.text(), Some("5"));
    }

    #[test]
    fn four_bits_and_eight_bits_with_a_complement_are_keys_and_nothing_else_is() {
        let key = |bits, value| Key::of(RawCard::new(bits, value));
        for digit in 0..10_u8 {
            assert_eq!(key(4, digit.into()), Some(Key::Digit(digit)));
            assert_eq!(key(8, u128::from(!digit << 4 | digit)), Some(Key::Digit(digit)));
        }
        assert_eq!((key(4, 10), key(8, 0x5A)), (Some(Key::Star), Some(Key::Star)));
        assert_eq!((key(4, 11), key(8, 0x4B)), (Some(Key::Hash), Some(Key::Hash)));
        for (bits, value) in [(4, 12), (4, 16), (8, 0x05), (8, 0x55), (5, 1), (26, 5), (0, 0), (4, u128::MAX)] {
            assert_eq!(key(bits, value), None, "{bits} bits of {value:x}");
        }
    }
}

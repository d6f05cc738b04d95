//! Keys of a reader's keypad. Owns how a key is told from a card; must never remember what was typed.
//! Invariant: what is a key is never looked up as a card.
//!
//! A keypad on a Wiegand line sends one short frame for each key: 4 bits (0 to 9, 10 for `*`, 11 for `#`), or
//! 8 bits, the same with its complement in front. No card is that short.

use super::fieldbus::RawCard;

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
        let value = u8::try_from(frame.value).ok()?;
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
    fn four_bits_and_eight_bits_with_a_complement_are_keys_and_nothing_else_is() {
        let key = |bits, value| Key::of(RawCard { bits, value });
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

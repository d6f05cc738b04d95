//! The bits of a card as one number. Owns how many a card may have at most, and all arithmetic on them; must never
//! put anything on the heap (the texts of cards are made on the way to a decision), nor take for a digit what is
//! none. Invariant: a card of 128 bits or less is the same number here as it is in a `u128`, and written alike.

use std::{
    fmt,
    ops::{BitAnd, BitOr, BitXor, Shl, Shr},
};

use ruint::Uint;

/// Longest card that is used. Every OSDP device has to manage packets of 128 bytes, and a card that arrives in one
/// of them has fewer bits than this; what converters and scanners send is shorter still.
pub const CARD_BITS_MAX: u16 = 1024;

/// Digits of the longest card in decimal.
pub const DECIMAL_DIGITS_MAX: usize = 309;

const LIMBS: usize = CARD_BITS_MAX as usize / 64;

type Number = Uint<{ CARD_BITS_MAX as usize }, LIMBS>;

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardBits(Number);

impl CardBits {
    pub const ZERO: CardBits = CardBits(Number::ZERO);

    pub const fn new(value: u128) -> CardBits {
        let mut limbs = [0; LIMBS];
        limbs[0] = value as u64;
        limbs[1] = (value >> 64) as u64;
        CardBits(Number::from_limbs(limbs))
    }

    /// The lowest `count` bits set.
    pub fn ones(count: u16) -> CardBits {
        let mut limbs = [0; LIMBS];
        for (limb, below) in limbs.iter_mut().zip((0u16..).step_by(64)) {
            let set = u32::from(count.saturating_sub(below).min(64));
            *limb = u64::MAX.checked_shr(64 - set).unwrap_or(0);
        }
        CardBits(Number::from_limbs(limbs))
    }

    /// Of units of so many bits (4, 8, 16), the last first; of more than there is room for the last ones.
    pub fn from_last(bits_each: u8, units: impl IntoIterator<Item = u16>) -> CardBits {
        let each = usize::from(bits_each.max(1));
        let in_one = (64 / each).max(1);
        let mut limbs = [0; LIMBS];
        for (at, unit) in units.into_iter().enumerate() {
            let Some(limb) = limbs.get_mut(at / in_one) else { break };
            *limb |= u64::from(unit) << (at % in_one * each);
        }
        CardBits(Number::from_limbs(limbs))
    }

    /// Digits of this radix and nothing else: no sign, no prefix, no `_`. `None` also for too large a number.
    pub fn from_digits(text: &str, radix: u32) -> Option<CardBits> {
        let digits = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
        digits.then(|| Number::from_str_radix(text, u64::from(radix)).ok().map(CardBits)).flatten()
    }

    /// `None`: it needs more than 128 bits.
    pub fn to_u128(self) -> Option<u128> {
        let [low, high, beyond @ ..] = self.0.as_limbs();
        beyond.iter().all(|limb| *limb == 0).then_some(u128::from(*high) << 64 | u128::from(*low))
    }

    pub fn is_zero(self) -> bool {
        self == CardBits::ZERO
    }

    pub fn has(self, bit: u16) -> bool {
        self.0.bit(usize::from(bit))
    }

    /// How many bits it takes to write it.
    pub fn significant_bits(self) -> u16 {
        // At most 1024: no truncation.
        self.0.bit_len() as u16
    }

    /// Whether the number of ones among the bits of `mask` is odd.
    pub fn is_odd_under(&self, mask: &CardBits) -> bool {
        let pairs = self.0.as_limbs().iter().zip(mask.0.as_limbs());
        pairs.fold(0, |folded, (limb, mask)| folded ^ (limb & mask)).count_ones() % 2 == 1
    }

    /// `count` bits from `shift` on, counted from the last.
    pub fn extract(&self, shift: u16, count: u16) -> CardBits {
        let [low, high, ..] = self.0.as_limbs();
        match shift.checked_add(count) {
            // Ordinary cards, for speed alone.
            Some(end @ ..=128) if end > shift => {
                let low = u128::from(*high) << 64 | u128::from(*low);
                CardBits::new(low >> shift & u128::MAX >> (128 - count))
            }
            _ => (*self >> shift) & CardBits::ones(count),
        }
    }

    /// The bytes of a number of so many bits (whole bytes) in reverse.
    pub fn with_bytes_reversed(self, bits: u16) -> CardBits {
        let bytes = usize::from(bits / 8);
        CardBits::from_last(8, (0..bytes).rev().map(|at| u16::from(self.byte(at))))
    }

    /// Counted from the last; beyond the first they are 0.
    fn byte(self, at: usize) -> u8 {
        self.0.checked_byte(at).unwrap_or(0)
    }
}

/// The only conversion of an integer, so that a literal needs no type.
impl From<u128> for CardBits {
    fn from(value: u128) -> CardBits {
        CardBits::new(value)
    }
}

macro_rules! bitwise {
    ($($operator:ident :: $method:ident),*) => {$(
        impl $operator for CardBits {
            type Output = CardBits;
            fn $method(self, other: CardBits) -> CardBits {
                CardBits(self.0.$method(other.0))
            }
        }
    )*};
}

bitwise!(BitAnd::bitand, BitOr::bitor, BitXor::bitxor);

/// Bits that are shifted out are gone, however far.
impl Shl<u16> for CardBits {
    type Output = CardBits;
    fn shl(self, by: u16) -> CardBits {
        CardBits(self.0.wrapping_shl(usize::from(by)))
    }
}

impl Shr<u16> for CardBits {
    type Output = CardBits;
    fn shr(self, by: u16) -> CardBits {
        CardBits(self.0.wrapping_shr(usize::from(by)))
    }
}

macro_rules! written {
    ($($form:ident),*) => {$(
        impl fmt::$form for CardBits {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::$form::fmt(&self.0, f)
            }
        }
    )*};
}

written!(Display, LowerHex, Binary);

impl fmt::Debug for CardBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_bits() -> impl Strategy<Value = CardBits> {
        (any::<[u16; 64]>(), 0..=CARD_BITS_MAX)
            .prop_map(|(words, bits)| CardBits::from_last(16, words).extract(0, bits))
    }

    /// By the bit, so that nothing is shared with what is tested.
    fn bits_of(bits: CardBits) -> Vec<bool> {
        (0..CARD_BITS_MAX).map(|at| bits.has(at)).collect()
    }

    #[test]
    fn the_longest_card_is_written_in_as_many_digits_as_there_is_room_for() {
        let most = CardBits::ones(CARD_BITS_MAX);
        assert_eq!(most.to_string().len(), DECIMAL_DIGITS_MAX);
        assert_eq!((format!("{most:x}"), format!("{most:b}")), ("f".repeat(256), "1".repeat(1024)));
        assert_eq!(CardBits::from_digits(&most.to_string(), 10), Some(most));
        assert_eq!(CardBits::from_digits(&format!("1{}", "0".repeat(256)), 16), None);
        assert_eq!(CardBits::from_digits(&"9".repeat(309), 10), None);
        assert_eq!(most.significant_bits(), CARD_BITS_MAX);
    }

    #[test]
    fn nothing_but_digits_is_a_number() {
        for text in ["", "+1", "-1", "1_0", "0x1", " 1", "1 ", "٣", "1\n"] {
            for radix in [2, 10, 16] {
                assert_eq!(CardBits::from_digits(text, radix), None, "{text:?} in radix {radix}");
            }
        }
        assert_eq!(CardBits::from_digits("00fF", 16), Some(CardBits::new(255)));
        assert_eq!((CardBits::from_digits("2", 2), CardBits::from_digits("a", 10)), (None, None));
    }

    #[test]
    fn of_more_units_than_there_is_room_for_the_last_count() {
        assert_eq!(CardBits::from_last(8, [0x34, 0x12]), CardBits::new(0x1234));
        assert_eq!(CardBits::from_last(4, [1, 2, 3]), CardBits::new(0x321));
        let long = CardBits::from_last(8, std::iter::repeat_n(0xA5, 128).chain([0xFF]));
        assert_eq!(format!("{long:x}"), "a5".repeat(128));
    }

    proptest! {
        #[test]
        fn what_fits_in_128_bits_is_written_and_computed_as_a_u128(a: u128, b: u128, shift in 0u16..140, width in 0usize..300) {
            let (wide, other) = (CardBits::from(a), CardBits::new(b));
            prop_assert_eq!(wide.to_u128(), Some(a));
            prop_assert_eq!((wide & other).to_u128(), Some(a & b));
            prop_assert_eq!((wide | other).to_u128(), Some(a | b));
            prop_assert_eq!((wide ^ other).to_u128(), Some(a ^ b));
            prop_assert_eq!((wide >> shift).to_u128(), Some(a.checked_shr(shift.into()).unwrap_or(0)));
            prop_assert_eq!(wide.cmp(&other), a.cmp(&b));
            prop_assert_eq!(wide.is_odd_under(&other), (a & b).count_ones() % 2 == 1);
            prop_assert_eq!(u32::from(wide.significant_bits()), 128 - a.leading_zeros());
            prop_assert_eq!(format!("{wide} {wide:x} {wide:0width$x}"), format!("{a} {a:x} {a:0width$x}"));
            prop_assert_eq!(format!("{wide:b} {wide:0width$b}"), format!("{a:b} {a:0width$b}"));
            prop_assert_eq!(CardBits::from_digits(&a.to_string(), 10), Some(wide));
        }

        #[test]
        fn bits_are_shifted_cut_out_and_counted_at_any_width(bits in any_bits(), mask in any_bits(), shift in 0u16..1100, count in 0u16..1100) {
            let (each, masked) = (bits_of(bits), bits_of(mask));
            let at = |at: u16| each.get(usize::from(at)).copied().unwrap_or(false);
            let shifted: Vec<bool> = (0..CARD_BITS_MAX).map(|bit| bit.checked_sub(shift).is_some_and(at)).collect();
            prop_assert_eq!(bits_of(bits << shift), shifted);
            let cut: Vec<bool> = (0..CARD_BITS_MAX).map(|bit| bit < count && at(bit + shift)).collect();
            prop_assert_eq!(bits_of(bits.extract(shift, count)), cut);
            let odd = each.iter().zip(&masked).filter(|(bit, mask)| **bit && **mask).count() % 2 == 1;
            prop_assert_eq!(bits.is_odd_under(&mask), odd);
            let last = each.iter().rposition(|bit| *bit).map_or(0, |last| last + 1);
            prop_assert_eq!(usize::from(bits.significant_bits()), last);
        }

        #[test]
        fn a_number_is_read_back_from_its_digits_at_any_width(bits in any_bits(), width in 0usize..1030) {
            prop_assert_eq!(CardBits::from_digits(&bits.to_string(), 10), Some(bits));
            prop_assert_eq!(CardBits::from_digits(&format!("{bits:x}"), 16), Some(bits));
            let binary: String = bits_of(bits).iter().rev().map(|bit| if *bit { '1' } else { '0' }).collect();
            prop_assert_eq!(CardBits::from_digits(&binary, 2), Some(bits));
            let bare = binary.trim_start_matches('0');
            let bare = if bare.is_empty() { "0" } else { bare };
            prop_assert_eq!(format!("{bits:0width$b}"), format!("{}{bare}", "0".repeat(width.saturating_sub(bare.len()))));
        }

        #[test]
        fn bytes_are_turned_round_and_back(bits in any_bits(), bytes in 1u16..=128) {
            let number = bits.extract(0, bytes * 8);
            let turned = number.with_bytes_reversed(bytes * 8);
            prop_assert_eq!(turned.with_bytes_reversed(bytes * 8), number);
            let hex = |bits: CardBits| format!("{bits:0width$x}", width = usize::from(bytes) * 2).into_bytes();
            let pairs: Vec<u8> = hex(number).rchunks(2).flatten().copied().collect();
            prop_assert_eq!(hex(turned), pairs);
        }
    }
}

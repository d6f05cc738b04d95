//! What a reader answers. Owns codes and layouts; must never believe a length that the bytes do not have.
//! Invariant: a reply of a known code with a wrong layout is an error, never half a reply.

use crate::domain::card_bits::CardBits;

/// Codes that are looked at before the rest is believed.
pub const NAK: u8 = 0x41;
pub const CLIENT_CRYPTOGRAM: u8 = 0x76;
pub const INITIAL_MAC: u8 = 0x78;
pub const BUSY: u8 = 0x79;
pub const COM: u8 = 0x54;

/// SIA OSDP 2.2, clause 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Ack,
    Nak(Nak),
    Id(Identity),
    Capabilities(Vec<Capability>),
    LocalStatus {
        tamper: bool,
        power_failure: bool,
    },
    /// One byte for each: 0 inactive, 1 active; what else a reader says is its own.
    InputStatus(Vec<u8>),
    OutputStatus(Vec<u8>),
    /// One byte for each reader: 0 normal, 1 not connected, 2 tampered with.
    ReaderStatus(Vec<u8>),
    Card(Card),
    /// A card that the reader has turned into characters.
    Formatted {
        reader: u8,
        text: Vec<u8>,
    },
    /// Digits as ASCII; `*` is 0x7F and `#` 0x0D.
    Keypad {
        reader: u8,
        digits: Vec<u8>,
    },
    Com {
        address: u8,
        baud: u32,
    },
    ClientCryptogram {
        client: [u8; 8],
        random: [u8; 8],
        cryptogram: [u8; 16],
    },
    InitialMac([u8; 16]),
    Busy,
    Manufacturer {
        vendor: [u8; 3],
        data: Vec<u8>,
    },
    /// A code that is not used here.
    Other {
        code: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nak {
    /// Bad checksum or CRC.
    Check,
    CommandLength,
    UnknownCommand,
    Sequence,
    SecurityBlockUnsupported,
    EncryptionRequired,
    BioTypeUnsupported,
    BioFormatUnsupported,
    CannotProcess,
    Other(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub vendor: [u8; 3],
    pub model: u8,
    pub version: u8,
    pub serial: u32,
    pub firmware: [u8; 3],
}

/// Function, how well it is complied with, how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    pub function: u8,
    pub level: u8,
    pub count: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub reader: u8,
    /// 0 unspecified, 1 Wiegand.
    pub format: u8,
    pub bits: u16,
    /// The first bit is the most significant of the first byte.
    pub data: Vec<u8>,
}

impl Card {
    /// The bits right-aligned; of more than any card has the last, which no format takes for a card.
    pub fn value(&self) -> CardBits {
        let bytes = usize::from(self.bits).div_ceil(8);
        let spare = bytes * 8 - usize::from(self.bits);
        let data = self.data.get(..bytes).unwrap_or(&self.data);
        // The last byte comes in with what of it counts, and so each takes as much over from the one before it.
        let before = data.iter().rev().skip(1).chain([&0]);
        let pairs = data.iter().rev().zip(before);
        CardBits::from_last(8, pairs.map(|(byte, before)| u16::from_be_bytes([*before, *byte]) >> spare & 0xFF))
    }
}

/// The bits of a card that the reader has turned into characters: 4 for each if all of them are hex digits, else 8.
/// `None`: none. Of more than any card has the last.
pub fn formatted_card(text: &[u8]) -> Option<(u16, CardBits)> {
    let last_first = || text.iter().rev().copied();
    let (each, value) = if text.iter().all(u8::is_ascii_hexdigit) {
        // A hex digit is 15 at most: no truncation.
        let digit = |byte| char::from(byte).to_digit(16).unwrap_or(0) as u16;
        (4, CardBits::from_last(4, last_first().map(digit)))
    } else {
        (8, CardBits::from_last(8, last_first().map(u16::from)))
    };
    let bits = u16::try_from(text.len()).ok()?.checked_mul(each).filter(|bits| *bits > 0)?;
    Some((bits, value))
}

/// A key of KEYPAD as the frame of 4 bits that stands for it everywhere else: 10 is `*`, 11 is `#`.
pub fn keypad_frame(key: u8) -> Option<u128> {
    match key {
        b'0'..=b'9' => Some(u128::from(key - b'0')),
        0x7F | b'*' => Some(10),
        0x0D | b'#' => Some(11),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reply 0x{code:02x} with {bytes} bytes of data is not laid out as OSDP says")]
pub struct BadReply {
    pub code: u8,
    pub bytes: usize,
}

impl Reply {
    pub fn parse(code: u8, data: &[u8]) -> Result<Reply, BadReply> {
        Reply::read(code, data).ok_or(BadReply { code, bytes: data.len() })
    }

    fn read(code: u8, data: &[u8]) -> Option<Reply> {
        Some(match code {
            0x40 => Reply::Ack,
            NAK => Reply::Nak(Nak::from_code(*data.first()?)),
            0x45 => {
                let [v0, v1, v2, model, version, s0, s1, s2, s3, f0, f1, f2] = *data.first_chunk::<12>()?;
                Reply::Id(Identity {
                    vendor: [v0, v1, v2],
                    model,
                    version,
                    serial: u32::from_le_bytes([s0, s1, s2, s3]),
                    firmware: [f0, f1, f2],
                })
            }
            0x46 => Reply::Capabilities(data.as_chunks::<3>().0.iter().copied().map(capability).collect()),
            0x48 => {
                let [tamper, power] = *data.first_chunk::<2>()?;
                Reply::LocalStatus { tamper: tamper != 0, power_failure: power != 0 }
            }
            0x49 => Reply::InputStatus(data.to_vec()),
            0x4A => Reply::OutputStatus(data.to_vec()),
            0x4B => Reply::ReaderStatus(data.to_vec()),
            0x50 => {
                let ([reader, format, low, high], rest) = data.split_first_chunk::<4>()?;
                let bits = u16::from_le_bytes([*low, *high]);
                let bytes = usize::from(bits).div_ceil(8);
                Reply::Card(Card { reader: *reader, format: *format, bits, data: rest.get(..bytes)?.to_vec() })
            }
            0x51 => {
                let ([reader, _direction, length], rest) = data.split_first_chunk::<3>()?;
                Reply::Formatted { reader: *reader, text: rest.get(..usize::from(*length))?.to_vec() }
            }
            0x53 => {
                let ([reader, count], rest) = data.split_first_chunk::<2>()?;
                Reply::Keypad { reader: *reader, digits: rest.get(..usize::from(*count))?.to_vec() }
            }
            COM => {
                let [address, b0, b1, b2, b3] = *data.first_chunk::<5>()?;
                Reply::Com { address, baud: u32::from_le_bytes([b0, b1, b2, b3]) }
            }
            CLIENT_CRYPTOGRAM => {
                let (client, rest) = data.split_first_chunk::<8>()?;
                let (random, rest) = rest.split_first_chunk::<8>()?;
                Reply::ClientCryptogram { client: *client, random: *random, cryptogram: *rest.first_chunk::<16>()? }
            }
            INITIAL_MAC => Reply::InitialMac(*data.first_chunk::<16>()?),
            BUSY => Reply::Busy,
            0x90 => {
                let (vendor, rest) = data.split_first_chunk::<3>()?;
                Reply::Manufacturer { vendor: *vendor, data: rest.to_vec() }
            }
            code => Reply::Other { code },
        })
    }
}

fn capability([function, level, count]: [u8; 3]) -> Capability {
    Capability { function, level, count }
}

impl Nak {
    fn from_code(code: u8) -> Nak {
        match code {
            1 => Nak::Check,
            2 => Nak::CommandLength,
            3 => Nak::UnknownCommand,
            4 => Nak::Sequence,
            5 => Nak::SecurityBlockUnsupported,
            6 => Nak::EncryptionRequired,
            7 => Nak::BioTypeUnsupported,
            8 => Nak::BioFormatUnsupported,
            9 => Nak::CannotProcess,
            other => Nak::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_card_keeps_its_bits_right_aligned() {
        let reply = Reply::parse(0x50, &[0, 1, 26, 0, 0xBD, 0x88, 0xEB, 0x80]).unwrap();
        let Reply::Card(card) = reply else { panic!("{reply:?}") };
        assert_eq!((card.bits, card.value()), (26, 0x2f6_23ae.into()));
    }

    #[test]
    fn a_card_that_says_more_bits_than_it_has_is_no_card() {
        assert!(Reply::parse(0x50, &[0, 1, 26, 0, 0xBD, 0x88]).is_err());
    }

    fn read(bits: u16, data: &[u8]) -> CardBits {
        let [low, high] = bits.to_le_bytes();
        let reply = Reply::parse(0x50, &[&[0, 1, low, high][..], data].concat()).unwrap();
        let Reply::Card(card) = reply else { panic!("{reply:?}") };
        assert_eq!(card.bits, bits);
        card.value()
    }

    #[test]
    fn a_card_is_taken_whole_up_to_the_longest_and_of_one_that_is_longer_the_last_bits_are_kept() {
        let fasc_n: Vec<u8> = (1..=25).collect();
        assert_eq!(format!("{:x}", read(200, &fasc_n)), "102030405060708090a0b0c0d0e0f10111213141516171819");
        assert_eq!(read(128, &[0xA5; 16]), 0xA5A5_A5A5_A5A5_A5A5_A5A5_A5A5_A5A5_A5A5.into());
        assert_eq!(read(129, &[0xFF; 17]), CardBits::ones(129));
        assert_eq!(read(1024, &[0xFF; 128]), CardBits::ones(1024));
        assert_eq!(format!("{:x}", read(1032, &[&[0xFF][..], &[0x5A; 128]].concat())), "5a".repeat(128));
        // Of 129 bytes: seven spare bits at the end, then one, and what of the first byte still is among the last 1024.
        assert_eq!(read(1025, &[&[0x80][..], &[0; 127], &[0x80]].concat()), CardBits::new(1));
        assert_eq!(read(1031, &[&[0xFF][..], &[0; 128]].concat()), CardBits::new(1) << 1023);
        assert_eq!(read(u16::MAX, &[0xFF; 8192]), CardBits::ones(1024));
        assert_eq!(read(0, &[]), CardBits::ZERO);
    }

    proptest! {
        /// By the bit: the first is the most significant of the first byte, and spare bits are at the end.
        #[test]
        fn each_bit_of_a_card_of_any_length_is_where_the_standard_says(data: [[u8; 32]; 5], bits in 0u16..1280) {
            let data: Vec<u8> = data.concat().into_iter().take(usize::from(bits).div_ceil(8)).collect();
            let value = read(bits, &data);
            for from_last in 0..bits.min(1024) {
                let at = usize::from(bits - 1 - from_last);
                prop_assert_eq!(value.has(from_last), data[at / 8] >> (7 - at % 8) & 1 == 1, "bit {} of {}", at, bits);
            }
            prop_assert!(value.significant_bits() <= bits);
        }
    }

    #[test]
    fn each_reply_is_read_as_the_standard_lays_it_out() {
        let id = [0x5C, 0x26, 0x23, 1, 2, 0x78, 0x56, 0x34, 0x12, 3, 4, 5];
        let identity =
            Identity { vendor: [0x5C, 0x26, 0x23], model: 1, version: 2, serial: 0x1234_5678, firmware: [3, 4, 5] };
        let cases: Vec<(u8, &[u8], Reply)> = vec![
            (0x40, &[], Reply::Ack),
            (0x41, &[4], Reply::Nak(Nak::Sequence)),
            (0x45, &id, Reply::Id(identity)),
            (0x46, &[3, 1, 8], Reply::Capabilities(vec![Capability { function: 3, level: 1, count: 8 }])),
            (0x48, &[1, 0], Reply::LocalStatus { tamper: true, power_failure: false }),
            (0x49, &[0, 1], Reply::InputStatus(vec![0, 1])),
            (0x53, &[0, 3, b'1', b'2', 0x0D], Reply::Keypad { reader: 0, digits: vec![b'1', b'2', 0x0D] }),
            (0x54, &[9, 0x80, 0x25, 0, 0], Reply::Com { address: 9, baud: 9600 }),
            (0x79, &[], Reply::Busy),
        ];
        for (code, data, reply) in cases {
            assert_eq!(Reply::parse(code, data), Ok(reply));
        }
    }

    #[test]
    fn a_formatted_card_has_four_bits_a_hex_digit_and_else_eight_a_character() {
        let card = |text: &[u8]| formatted_card(text).map(|(bits, value)| (bits, format!("{value:x}")));
        let told = |bits: u16, hex: &str| Some((bits, hex.to_owned()));
        assert_eq!(card(b"2F623AE"), told(28, "2f623ae"));
        assert_eq!(card(b"AX"), told(16, "4158"));
        assert_eq!((card(b""), card(&[b'f'; 33])), (None, told(132, &"f".repeat(33))));
        assert_eq!(card(&[b'x'; 17]), told(136, &"78".repeat(17)));
        // As much as one reply can hold: `length` is one byte.
        assert_eq!(card(&[b'f'; 255]), told(1020, &"f".repeat(255)));
        assert_eq!(card(&[b'x'; 128]), told(1024, &"78".repeat(128)));
        assert_eq!(card(&[&[b'y'][..], &[b'x'; 128]].concat()), told(1032, &"78".repeat(128)));
    }

    #[test]
    fn keys_are_digits_star_and_hash() {
        assert_eq!(b"0\x7F".map(keypad_frame), [Some(0), Some(10)]);
        assert_eq!(b"9\x0D".map(keypad_frame), [Some(9), Some(11)]);
        assert_eq!(keypad_frame(b'A'), None);
    }

    proptest! {
        #[test]
        fn arbitrary_replies_never_panic(code: u8, data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Reply::parse(code, &data);
        }
    }
}

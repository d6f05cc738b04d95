//! Large values in small parts. sled 0.34 keeps up to 17 records in one page and moves a page that has grown
//! above 128 KiB into a file of its own, which it never syncs: after a power cut that page is gone. So no
//! record in sled is larger than [`PART_BYTES`]; a larger value lies in parts, in the same batch.
//!
//! Stored under its key: `0 | value`, or `1 | number of parts (2) | CRC-32 of the whole (4)`. The parts lie
//! under `0xFF | length of key (2) | key | part (2)`; no key of ours begins with `0xFF`.
//! Invariant: pages stay below sled's threshold, and a value is read whole or not at all.

use crate::gateway::kv::KvError;

/// 17 records of this size and their keys stay well below 128 KiB.
pub const PART_BYTES: usize = 4096;

/// No value is larger than this.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

pub const KEY_BYTES_MAX: usize = 512;

/// First byte of the keys of parts; scans end before it.
pub const PARTS: u8 = 0xFF;

#[derive(Debug, PartialEq, Eq)]
pub enum Main<'a> {
    Whole(&'a [u8]),
    InParts { count: u16, crc: u32 },
}

pub fn part_key(key: &[u8], part: u16) -> Vec<u8> {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    [&[PARTS][..], &length.to_be_bytes(), key, &part.to_be_bytes()].concat()
}

/// The main record, and the parts in order.
pub fn split(value: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    if value.len() < PART_BYTES {
        return ([&[0][..], value].concat(), Vec::new());
    }
    let parts: Vec<&[u8]> = value.chunks(PART_BYTES).collect();
    let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    (main_in_parts(count, crc32fast::hash(value)), parts)
}

fn main_in_parts(count: u16, crc: u32) -> Vec<u8> {
    [&[1][..], &count.to_be_bytes(), &crc.to_be_bytes()].concat()
}

pub fn read_main(stored: &[u8]) -> Result<Main<'_>, KvError> {
    match stored.split_first() {
        Some((0, value)) => Ok(Main::Whole(value)),
        Some((1, &[a, b, c, d, e, f])) => {
            Ok(Main::InParts { count: u16::from_be_bytes([a, b]), crc: u32::from_be_bytes([c, d, e, f]) })
        }
        _ => Err(damaged()),
    }
}

pub fn damaged() -> KvError {
    KvError::Damaged("a record's parts do not fit together".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_value_stays_whole_and_a_large_one_is_split() {
        let (main, parts) = split(b"abc");
        assert_eq!(read_main(&main).ok(), Some(Main::Whole(b"abc")));
        assert!(parts.is_empty());

        let large = vec![7u8; PART_BYTES * 2 + 1];
        let (main, parts) = split(&large);
        assert_eq!(read_main(&main).ok(), Some(Main::InParts { count: 3, crc: crc32fast::hash(&large) }));
        assert_eq!(parts.concat(), large);
    }

    #[test]
    fn part_keys_of_two_keys_never_meet() {
        assert_ne!(part_key(b"a", 0x6200), part_key(b"ab", 0));
    }
}

//! How far a store was synced, outside of sled: sled 0.34 takes a log that is damaged in the middle for one
//! that ends there, and opens without what came after it, or empty, and without a word. Each batch carries
//! its number; the number of the last one synced lies in a file beside sled's own.
//!
//! Owns that file; must never be ahead of what is durable. Invariant: a mark above the store's own number
//! means that the store has lost what it had called durable. The file is not synced: after a power cut it may
//! lag behind, which only makes the check weaker.
//!
//! `mark`: number (u64) | CRC-32 of it, little-endian.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::parts::PARTS;

/// The record that holds a batch's number. No part's key is like it: no key is that long.
pub const KEY: [u8; 3] = [PARTS, 0xFF, 0xFF];

#[derive(Debug)]
pub struct Mark {
    /// None where it cannot be opened, such as on a full disk: the store runs all the same.
    file: Option<File>,
}

impl Mark {
    pub fn open(store: &Path) -> Mark {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(store.join("mark"));
        Mark { file: file.ok() }
    }

    /// Zero where there is none, or none that can be read.
    pub fn read(&self) -> u64 {
        let mut bytes = [0; 12];
        let read = self.file.as_ref().map(|file| file.read_exact_at(&mut bytes, 0));
        match (read, bytes.split_first_chunk::<8>()) {
            (Some(Ok(())), Some((number, crc))) if crc32fast::hash(number).to_le_bytes() == crc => {
                u64::from_le_bytes(*number)
            }
            _ => 0,
        }
    }

    /// Fails without a word: then only the check at the next start is weaker.
    pub fn write(&self, number: u64) {
        let number = number.to_le_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
        if let Some(file) = &self.file {
            let _ = file.write_all_at(&bytes, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_a_damaged_one_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let mark = Mark::open(directory.path());
        assert_eq!(mark.read(), 0);
        mark.write(77);
        assert_eq!(Mark::open(directory.path()).read(), 77);
        mark.file.as_ref().unwrap().write_all_at(&[1], 3).unwrap();
        assert_eq!(mark.read(), 0);
    }
}

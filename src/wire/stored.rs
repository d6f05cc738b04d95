//! How one record lies in a store. Owns the frame around every stored value; must never look inside the
//! payload. Invariant: a value that was changed, cut short or filed under another key does not open.
//!
//! `version (1 byte) | CRC-32 of version, key and payload (4 bytes, little-endian) | payload`

/// The frame that this version writes and the only one it reads.
pub const VERSION: u8 = 1;

const HEADER_BYTES: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("{bytes} bytes are too few for a record")]
    Short { bytes: usize },
    #[error("record version {found}; this program reads {VERSION}")]
    Version { found: u8 },
    #[error("the checksum does not match")]
    Checksum,
}

fn checksum(version: u8, key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

pub fn frame(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HEADER_BYTES + payload.len());
    framed.push(VERSION);
    framed.extend_from_slice(&checksum(VERSION, key, payload).to_le_bytes());
    framed.extend_from_slice(payload);
    framed
}

pub fn unframe<'a>(key: &[u8], framed: &'a [u8]) -> Result<&'a [u8], FrameError> {
    let short = FrameError::Short { bytes: framed.len() };
    let (&version, rest) = framed.split_first().ok_or(short.clone())?;
    let (stated, payload) = rest.split_first_chunk::<4>().ok_or(short)?;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    if u32::from_le_bytes(*stated) != checksum(version, key, payload) {
        return Err(FrameError::Checksum);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_under_its_own_key_only() {
        let framed = frame(b"d/front", b"{}");
        assert_eq!(unframe(b"d/front", &framed), Ok(&b"{}"[..]));
        assert_eq!(unframe(b"d/back", &framed), Err(FrameError::Checksum));
    }

    #[test]
    fn every_changed_bit_and_every_cut_shows() {
        let framed = frame(b"k", b"payload");
        for bit in 0..framed.len() * 8 {
            let mut changed = framed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(unframe(b"k", &changed).is_err(), "bit {bit}");
        }
        for length in 0..framed.len() {
            assert!(unframe(b"k", &framed[..length]).is_err(), "cut to {length}");
        }
    }
}

//! The frame: from bytes to one checked message and back. Owns delimiting and the check; must never look at
//! what a message means. Invariant: every frame that comes out passed its CRC or checksum; bytes that belong
//! to none are dropped one by one, so that noise costs no frame behind it.
//!
//! ```text
//!   0x53 | address (bit 7: reply) | length, 2 | control | [security block] | code | data | [MAC, 4] | CRC, 2 or sum, 1
//! ```
//!
//! Control: bits 0-1 the sequence number, bit 2 CRC instead of checksum, bit 3 a security block follows.

/// Start of message.
const SOM: u8 = 0x53;
const REPLY: u8 = 0x80;
const CONTROL_SEQUENCE: u8 = 0x03;
const CONTROL_CRC: u8 = 0x04;
const CONTROL_SECURITY: u8 = 0x08;
/// SOM, address, length, control.
const HEADER: usize = 5;
/// The least a reader must be able to take, and the most that is sent here (SIA OSDP 2.2, 5.3).
pub const FRAME_BYTES_MAX: usize = 1440;

/// How a frame shows that it arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Checksum,
    Crc,
}

/// SCS_11 to SCS_18, with what follows the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityBlock {
    pub kind: u8,
    pub data: Vec<u8>,
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Command,
    Reply,
}

/// One message, its check passed. With a security block of a session the last four bytes of `data` are the MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub way: Way,
    pub address: u8,
    /// 0 to 3; 0 begins anew.
    pub sequence: u8,
    pub check: Check,
    pub security: Option<SecurityBlock>,
    pub code: u8,
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are more than one OSDP frame holds")]
pub struct TooLong {
    pub bytes: usize,
}

impl Frame {
    /// The bytes that a MAC is made over: all up to the end of `data`. Their length field already counts
    /// `trailing` bytes of MAC and the check.
    pub fn head(&self, trailing: usize) -> Result<Vec<u8>, TooLong> {
        let check = match self.check {
            Check::Checksum => 1,
            Check::Crc => 2,
        };
        let security = self.security.as_ref().map_or(0, |block| 2 + block.data.len());
        let bytes = HEADER + security + 1 + self.data.len() + trailing + check;
        let length = u16::try_from(bytes).ok().filter(|_| bytes <= FRAME_BYTES_MAX).ok_or(TooLong { bytes })?;
        let way = if self.way == Way::Reply { REPLY } else { 0 };
        let crc = if self.check == Check::Crc { CONTROL_CRC } else { 0 };
        let secure = if self.security.is_some() { CONTROL_SECURITY } else { 0 };
        let control = (self.sequence & CONTROL_SEQUENCE) | crc | secure;
        let mut out = Vec::with_capacity(bytes);
        out.extend([SOM, self.address | way]);
        out.extend(length.to_le_bytes());
        out.push(control);
        if let Some(block) = &self.security {
            // A block of a frame of at most 1440 bytes; longer ones were refused above but for the type's sake.
            out.push(u8::try_from(2 + block.data.len()).map_err(|_| TooLong { bytes })?);
            out.push(block.kind);
            out.extend(&block.data);
        }
        out.push(self.code);
        out.extend(&self.data);
        Ok(out)
    }

    /// Whether its data is for the two sides of its session alone: SCS_17 or SCS_18.
    pub fn is_encrypted(&self) -> bool {
        self.security.as_ref().is_some_and(|block| matches!(block.kind, 0x17 | 0x18))
    }

    /// The whole frame, its check at the end.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        Ok(finish(self.head(0)?, self.check))
    }
}

/// Adds the check to a head and whatever MAC follows it.
pub fn finish(mut bytes: Vec<u8>, check: Check) -> Vec<u8> {
    match check {
        Check::Checksum => bytes.push(checksum(&bytes)),
        Check::Crc => bytes.extend(crc(&bytes).to_le_bytes()),
    }
    bytes
}

/// Two's complement of the sum of all bytes.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// CRC-16 with polynomial 0x1021 and initial value 0x1D0F (SIA OSDP 2.2, annex C).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0x1D0F, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 },
        )
    })
}

/// What came out of the line besides frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noise {
    /// Bytes that belong to no frame.
    pub bytes: u64,
    /// Frames whose check failed.
    pub bad_checks: u64,
}

/// Takes bytes as they come and gives out frames.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    noise: Noise,
}

/// A frame, with the bytes that its MAC is over and the MAC itself apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub frame: Frame,
    /// From SOM to before the MAC (or the check, without one).
    pub head: Vec<u8>,
    pub mac: Option<[u8; 4]>,
}

enum Step {
    /// More bytes are needed.
    Wait,
    /// This many bytes are noise.
    Drop(usize),
    Frame(Box<Received>, usize),
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next frame that is whole.
    pub fn next_frame(&mut self) -> Option<Received> {
        loop {
            match self.step() {
                Step::Wait => return None,
                Step::Drop(bytes) => {
                    self.noise.bytes += bytes as u64;
                    self.pending.drain(..bytes.min(self.pending.len()));
                }
                Step::Frame(received, bytes) => {
                    self.pending.drain(..bytes.min(self.pending.len()));
                    return Some(*received);
                }
            }
        }
    }

    /// The same, once the line was quiet for longer than a frame may pause: what began and was not completed was no
    /// frame, and one may lie behind it. Nothing is left when there is no more.
    pub fn next_behind(&mut self) -> Option<Received> {
        while !self.pending.is_empty() {
            self.noise.bytes += 1;
            self.pending.remove(0);
            if let Some(received) = self.next_frame() {
                return Some(received);
            }
        }
        None
    }

    /// The line was quiet for longer than a frame may pause: what is left of it will not be completed.
    pub fn quiet(&mut self) {
        self.noise.bytes += self.pending.len() as u64;
        self.pending.clear();
    }

    /// What lies there belongs to nobody any more: a new request is about to be sent.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    pub fn noise(&self) -> Noise {
        self.noise
    }

    /// Whether a frame has begun.
    pub fn is_midway(&self) -> bool {
        !self.pending.is_empty()
    }

    fn step(&mut self) -> Step {
        let Some(start) = self.pending.iter().position(|byte| *byte == SOM) else {
            return if self.pending.is_empty() { Step::Wait } else { Step::Drop(self.pending.len()) };
        };
        if start > 0 {
            return Step::Drop(start);
        }
        let [_, address, low, high, control] = match self.pending.first_chunk::<HEADER>() {
            Some(header) => *header,
            None => return Step::Wait,
        };
        let length = usize::from(u16::from_le_bytes([low, high]));
        let check = if control & CONTROL_CRC != 0 { Check::Crc } else { Check::Checksum };
        // Code and check at least; bits 4 to 7 of control are reserved.
        if !(HEADER + 2..=FRAME_BYTES_MAX).contains(&length) || control & 0xF0 != 0 {
            return Step::Drop(1);
        }
        let Some(whole) = self.pending.get(..length) else { return Step::Wait };
        let check_bytes = if check == Check::Crc { 2 } else { 1 };
        let Some((body, sum)) = whole.split_at_checked(length - check_bytes) else { return Step::Drop(1) };
        let passed = match (check, sum) {
            (Check::Crc, [low, high]) => crc(body) == u16::from_le_bytes([*low, *high]),
            (Check::Checksum, [sum]) => checksum(body) == *sum,
            _ => false,
        };
        if !passed {
            self.noise.bad_checks += 1;
            return Step::Drop(1);
        }
        match parse(body, address, control, check) {
            Some(received) => Step::Frame(Box::new(received), length),
            None => Step::Drop(1),
        }
    }
}

/// `body` is all but the check.
fn parse(body: &[u8], address: u8, control: u8, check: Check) -> Option<Received> {
    let rest = body.get(HEADER..)?;
    let (security, rest) = if control & CONTROL_SECURITY != 0 {
        let length = usize::from(*rest.first()?);
        let block = rest.get(..length).filter(|block| block.len() >= 2)?;
        (Some(SecurityBlock { kind: *block.get(1)?, data: block.get(2..)?.to_vec() }), rest.get(length..)?)
    } else {
        (None, rest)
    };
    let in_session = security.as_ref().is_some_and(|block| (0x15..=0x18).contains(&block.kind));
    let (rest, mac) = if in_session {
        let (rest, mac) = rest.split_last_chunk::<4>()?;
        (rest, Some(*mac))
    } else {
        (rest, None)
    };
    let (code, data) = rest.split_first()?;
    let frame = Frame {
        way: if address & REPLY != 0 { Way::Reply } else { Way::Command },
        address: address & !REPLY,
        sequence: control & CONTROL_SEQUENCE,
        check,
        security,
        code: *code,
        data: data.to_vec(),
    };
    let head = body.get(..body.len() - if mac.is_some() { 4 } else { 0 })?.to_vec();
    Some(Received { frame, head, mac })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn poll(check: Check) -> Frame {
        Frame { way: Way::Command, address: 0x65, sequence: 0, check, security: None, code: 0x60, data: Vec::new() }
    }

    /// The poll of the standard's example, address 0x65 (also in the tests of libosdp).
    #[test]
    fn a_poll_is_the_bytes_of_the_published_example() {
        assert_eq!(poll(Check::Crc).encode().unwrap(), [0x53, 0x65, 0x08, 0x00, 0x04, 0x60, 0x60, 0x90]);
        assert_eq!(poll(Check::Checksum).encode().unwrap(), [0x53, 0x65, 0x07, 0x00, 0x00, 0x60, 0xE1]);
    }

    /// SIA OSDP 2.2, annex E: the examples of CRC and checksum.
    #[test]
    fn the_published_checks_are_ours() {
        let comset = [0x53, 0x7F, 0x0D, 0x00, 0x04, 0x6E, 0x00, 0x80, 0x25, 0x00, 0x00];
        assert_eq!(crc(&comset).to_le_bytes(), [0x6E, 0x38]);
        assert_eq!(crc(&[0x53, 0x00, 0x09, 0x00, 0x04, 0x61, 0x00]).to_le_bytes(), [0xC0, 0x66]);
        let comset = [0x53, 0x7F, 0x0C, 0x00, 0x00, 0x6E, 0x00, 0x80, 0x25, 0x00, 0x00];
        assert_eq!(checksum(&comset), 0x0F);
        assert_eq!(checksum(&[0x53, 0x00, 0x08, 0x00, 0x00, 0x61, 0x00]), 0x44);
    }

    #[test]
    fn noise_before_within_and_after_costs_no_whole_frame() {
        let frame = poll(Check::Crc);
        let bytes = frame.encode().unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&[0xFF, 0x53, 0x00]);
        decoder.push(&bytes);
        decoder.push(&[0x53, 0x65]);
        assert_eq!(decoder.next_frame().map(|received| received.frame), Some(frame.clone()));
        assert_eq!(decoder.next_frame(), None);
        assert!(decoder.is_midway());
        decoder.quiet();
        decoder.push(&bytes);
        assert_eq!(decoder.next_frame().map(|received| received.frame), Some(frame));
    }

    #[test]
    fn noise_that_looks_like_the_start_of_a_long_frame_costs_no_frame_behind_it_once_the_line_is_quiet() {
        let frame = poll(Check::Crc);
        let mut decoder = Decoder::default();
        // Two starts that were none, the second within what the first seems to hold.
        decoder.push(&[0x53, 0x65, 0x40, 0x00, 0x04, 0x53, 0x65, 0x30, 0x00, 0x04]);
        decoder.push(&frame.encode().unwrap());
        assert_eq!(decoder.next_frame(), None);
        assert_eq!(decoder.next_behind().map(|received| received.frame), Some(frame));
        assert_eq!(decoder.next_behind(), None);
        assert!(!decoder.is_midway());
        assert_eq!(decoder.noise(), Noise { bytes: 10, bad_checks: 0 });
    }

    #[test]
    fn a_frame_that_is_longer_than_any_is_not_waited_for() {
        let mut decoder = Decoder::default();
        decoder.push(&[0x53, 0x65, 0xFF, 0xFF, 0x04]);
        decoder.push(&poll(Check::Crc).encode().unwrap());
        assert!(decoder.next_frame().is_some());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = poll(Check::Crc).encode().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = Decoder::default();
            decoder.push(&flipped);
            let frame = decoder.next_frame().map(|received| received.frame);
            assert_ne!(frame, Some(poll(Check::Crc)), "bit {bit}");
            // A flipped check flag asks for another check, which does not fit either.
            assert_eq!(frame, None, "bit {bit}");
        }
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let block = proptest::option::of((0x11u8..0x19, proptest::collection::vec(any::<u8>(), 0..3)));
        let data = proptest::collection::vec(any::<u8>(), 4..200);
        (any::<bool>(), 0u8..0x80, 0u8..4, any::<bool>(), block, any::<u8>(), data).prop_map(
            |(reply, address, sequence, crc, block, code, data)| Frame {
                way: if reply { Way::Reply } else { Way::Command },
                address,
                sequence,
                check: if crc { Check::Crc } else { Check::Checksum },
                security: block.map(|(kind, data)| SecurityBlock { kind, data }),
                code,
                data,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_in_whatever_pieces_it_comes(frame in frames(), piece in 1usize..40) {
            let bytes = frame.encode().unwrap();
            let mut decoder = Decoder::default();
            let mut received = Vec::new();
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                received.extend(decoder.next_frame());
            }
            let [received] = &received[..] else { panic!("{received:?}") };
            let mut data = received.frame.data.clone();
            data.extend(received.mac.unwrap_or_default().iter().take(if received.mac.is_some() { 4 } else { 0 }));
            prop_assert_eq!(&Frame { data, ..received.frame.clone() }, &frame);
            prop_assert!(bytes.starts_with(&received.head));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_pile_up(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..64)) {
            let mut decoder = Decoder::default();
            for piece in pieces {
                decoder.push(&piece);
                while decoder.next_frame().is_some() {}
                prop_assert!(decoder.pending.len() <= FRAME_BYTES_MAX + 64);
            }
        }
    }
}

//! An OSDP reader on the line. Owns its sequence, its session and what waits to be told; must never say anything
//! unasked. Invariant: a command repeated under its number is answered by the same bytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use latchd::{
    domain::time::Mono,
    wire::osdp::frame::{Check, Decoder, Frame, Received, SecurityBlock, Way, finish},
};

use super::{
    model::{Device, answers_at},
    secure::Channel,
    times::LineTimes,
};

/// The key of every reader here.
pub const READER_KEY: [u8; 16] = [0x42; 16];
/// After so many characters of silence a frame that was begun is over.
const FRAME_OVER: usize = 20;
const QUEUE_MAX: usize = 64;

const POLL: u8 = 0x60;
const KEYSET: u8 = 0x75;
const CHALLENGE: u8 = 0x76;
const PROOF: u8 = 0x77;
const ACK: u8 = 0x40;
const NAK: u8 = 0x41;
const RAW: u8 = 0x50;

#[derive(Debug)]
struct State {
    address: u8,
    key: [u8; 16],
    channel: Option<Channel>,
    decoder: Decoder,
    heard_at: Mono,
    /// Number, command, answer.
    last: Option<(u8, Vec<u8>, Vec<u8>)>,
    queue: VecDeque<(u8, Vec<u8>)>,
    answer: Option<(Mono, Vec<u8>)>,
    late: Duration,
    sessions: u64,
    polls: u64,
}

/// A handle to one reader; clones are the same reader.
#[derive(Clone, Debug)]
pub struct OsdpReader(Arc<Mutex<State>>);

impl OsdpReader {
    pub fn secure(address: u8) -> OsdpReader {
        OsdpReader::with(address, Some(Channel::new(READER_KEY, [0xA5 ^ address; 8])))
    }

    pub fn plain(address: u8) -> OsdpReader {
        OsdpReader::with(address, None)
    }

    fn with(address: u8, channel: Option<Channel>) -> OsdpReader {
        OsdpReader(Arc::new(Mutex::new(State {
            address,
            key: READER_KEY,
            channel,
            decoder: Decoder::default(),
            heard_at: Mono::ZERO,
            last: None,
            queue: VecDeque::new(),
            answer: None,
            late: Duration::ZERO,
            sessions: 0,
            polls: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A card is held to it: told at its next poll.
    pub fn present(&self, bits: u16, value: u64) {
        let count = usize::from(bits).div_ceil(8);
        let shifted = u128::from(value) << (count * 8).saturating_sub(usize::from(bits));
        let bytes = shifted.to_be_bytes();
        self.present_bits(bits, bytes.get(bytes.len().saturating_sub(count)..).unwrap_or(&[]));
    }

    /// The same of any length, with the first bit as the most significant of the first byte.
    pub fn present_bits(&self, bits: u16, data: &[u8]) {
        let mut state = self.state();
        if state.queue.len() < QUEUE_MAX {
            let [low, high] = bits.to_le_bytes();
            state.queue.push_back((RAW, [&[0, 1, low, high][..], data].concat()));
        }
    }

    /// From now on it answers so much later than the line's turnaround.
    pub fn set_late(&self, late: Duration) {
        self.state().late = late;
    }

    /// Sessions begun so far.
    pub fn sessions(&self) -> u64 {
        self.state().sessions
    }

    /// Polls heard so far, repeated ones too.
    pub fn polls(&self) -> u64 {
        self.state().polls
    }
}

impl State {
    fn receive(&mut self, received: &Received, bytes: &[u8]) -> Option<Vec<u8>> {
        let frame = &received.frame;
        self.polls += u64::from(frame.code == POLL);
        if let Some((number, command, answer)) = &self.last
            && *number == frame.sequence
            && frame.sequence != 0
            && command == bytes
        {
            return Some(answer.clone());
        }
        let expected = self.last.as_ref().map(|(number, ..)| number % 3 + 1);
        if frame.sequence != 0 && expected != Some(frame.sequence) {
            return plain(received, None, NAK, vec![4]);
        }
        let answer = self.respond(received)?;
        self.last = Some((frame.sequence, bytes.to_vec(), answer.clone()));
        Some(answer)
    }

    fn respond(&mut self, received: &Received) -> Option<Vec<u8>> {
        let code = received.frame.code;
        let Some(channel) = &mut self.channel else {
            let (code, data) = content(code, &mut self.queue);
            return plain(received, None, code, data);
        };
        if code == CHALLENGE {
            let (block, code, data) = channel.challenged(received)?;
            return plain(received, block, code, data);
        }
        if code == PROOF {
            let (block, code, data) = channel.proven(received);
            self.sessions += u64::from(channel.stands);
            return plain(received, block, code, data);
        }
        let Some(data) = channel.hear(received) else { return plain(received, None, NAK, vec![6]) };
        let (answer, content) = content(code, &mut self.queue);
        let (block, sealed) = channel.seal(&content);
        let frame = reply(received, Some(block), answer, sealed);
        let mut bytes = frame.head(4).ok()?;
        bytes.extend(channel.mac_of_reply(&bytes));
        if code == KEYSET
            && let Some(key) = data.get(2..18).and_then(|key| key.try_into().ok())
        {
            self.key = key;
            *channel = Channel::new(key, [0x5A ^ self.address; 8]);
        }
        Some(finish(bytes, frame.check))
    }
}

fn content(code: u8, queue: &mut VecDeque<(u8, Vec<u8>)>) -> (u8, Vec<u8>) {
    match code {
        POLL => queue.pop_front().unwrap_or((ACK, Vec::new())),
        0x61 => (0x45, vec![0x5C, 0x26, 0x23, 1, 2, 1, 0, 0, 0, 3, 4, 5]),
        // A reader's LED and buzzer, and nothing else.
        0x62 => (0x46, vec![4, 1, 1, 5, 1, 1, 9, 1, 1]),
        0x64 => (0x48, vec![0, 0]),
        0x65 => (0x49, vec![0, 1]),
        0x66 => (0x4A, vec![0]),
        0x67 => (0x4B, vec![0]),
        _ => (ACK, Vec::new()),
    }
}

fn reply(to: &Received, security: Option<SecurityBlock>, code: u8, data: Vec<u8>) -> Frame {
    let Frame { address, sequence, .. } = to.frame;
    Frame { way: Way::Reply, address, sequence, check: Check::Crc, security, code, data }
}

fn plain(to: &Received, security: Option<SecurityBlock>, code: u8, data: Vec<u8>) -> Option<Vec<u8>> {
    reply(to, security, code, data).encode().ok()
}

impl Device for OsdpReader {
    fn hear(&mut self, now: Mono, byte: u8, times: &LineTimes) {
        let mut state = self.state();
        if now.since(state.heard_at) > times.characters(FRAME_OVER) {
            state.decoder.quiet();
        }
        state.heard_at = now;
        state.decoder.push(&[byte]);
        while let Some(received) = state.decoder.next_frame() {
            if received.frame.way != Way::Command || received.frame.address != state.address {
                continue;
            }
            let bytes = sent_as(&received);
            if let Some(answer) = state.receive(&received, &bytes) {
                state.answer = Some((answers_at(now, times, state.late), answer));
            }
        }
    }

    fn wakes_at(&self) -> Option<Mono> {
        self.state().answer.as_ref().map(|(at, _)| *at)
    }

    fn wake(&mut self, _now: Mono, _times: &LineTimes) -> Vec<u8> {
        self.state().answer.take().map(|(_, bytes)| bytes).unwrap_or_default()
    }

    fn unplugged(&mut self) {
        let mut state = self.state();
        let fresh = state.channel.is_some().then(|| Channel::new(state.key, [0x3C ^ state.address; 8]));
        state.channel = fresh;
        state.decoder = Decoder::default();
        state.last = None;
        state.answer = None;
    }
}

/// What tells a repeated command from another one under its number: all of it but the check.
fn sent_as(received: &Received) -> Vec<u8> {
    let mut bytes = received.head.clone();
    bytes.extend(received.mac.iter().flatten());
    bytes
}

//! The line itself. Owns what is on the wire and what each one hears of it; must never read a clock. Invariant: the
//! same calls at the same times with the same seed give the same bytes at the same times.
//!
//! A byte that is on the wire together with another sender's is heard by nobody as it was sent. Nobody hears
//! himself, but the master if its adapter echoes.

use std::{collections::VecDeque, fmt, time::Duration};

use latchd::domain::time::Mono;

use super::times::LineTimes;
use crate::world::rng::Rng;

/// Records kept for those who look afterwards; the oldest go.
const RECORD_MAX: usize = 200_000;

/// Something on the line that hears every byte and answers some.
pub trait Device: Send {
    /// A byte has passed; `now` is the end of its stop bit.
    fn hear(&mut self, now: Mono, byte: u8, times: &LineTimes);
    /// When it next wants to be asked, should nothing be heard until then.
    fn wakes_at(&self) -> Option<Mono>;
    /// What it sends, beginning at once.
    fn wake(&mut self, now: Mono, times: &LineTimes) -> Vec<u8>;
    /// It was unplugged: it has no power, and forgets what it was about to say.
    fn unplugged(&mut self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Master,
    /// By its position.
    Device(usize),
}

/// One run of bytes of one sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub from: Sender,
    pub start: Mono,
    pub end: Mono,
    pub bytes: Vec<u8>,
    /// Noise or another sender has changed some of it.
    pub damaged: bool,
}

struct Running {
    sent: Sent,
    /// How many of its bytes have passed.
    passed: usize,
    cut: bool,
}

struct Slot {
    device: Box<dyn Device>,
    plugged: bool,
}

pub struct Line {
    times: LineTimes,
    devices: Vec<Slot>,
    running: Vec<Running>,
    /// The master's adapter does not turn its receiver off while it sends.
    echoes: bool,
    /// When the master's transmitter is free.
    master_free: Mono,
    /// For the master's receiver: when each byte had passed.
    for_master: VecDeque<(Mono, u8)>,
    record: VecDeque<Sent>,
    /// Of a million bits, so many are turned.
    bit_errors: u32,
    rng: Rng,
    /// Everything before this has happened.
    now: Mono,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("times", &self.times).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Line {
    pub fn new(times: LineTimes, seed: u64) -> Line {
        Line {
            times,
            devices: Vec::new(),
            running: Vec::new(),
            echoes: false,
            master_free: Mono::ZERO,
            for_master: VecDeque::new(),
            record: VecDeque::new(),
            bit_errors: 0,
            rng: Rng::new(seed),
            now: Mono::ZERO,
        }
    }

    pub fn times(&self) -> LineTimes {
        self.times
    }

    /// Adds a device; its position.
    pub fn plug(&mut self, device: impl Device + 'static) -> usize {
        self.devices.push(Slot { device: Box::new(device), plugged: true });
        self.devices.len() - 1
    }

    /// Pulls a device's plug, in the middle of a byte if need be, or puts it in again.
    pub fn set_plugged(&mut self, device: usize, plugged: bool) {
        let Some(slot) = self.devices.get_mut(device) else { return };
        if std::mem::replace(&mut slot.plugged, plugged) && !plugged {
            slot.device.unplugged();
            for running in self.running.iter_mut().filter(|running| running.sent.from == Sender::Device(device)) {
                running.cut = true;
            }
        }
    }

    /// The master's port is pulled out, or put in: what it was sending ends there, and it has heard nothing.
    pub fn cut_master(&mut self) {
        for running in self.running.iter_mut().filter(|running| running.sent.from == Sender::Master) {
            running.cut = true;
        }
        self.for_master.clear();
        self.master_free = self.now;
    }

    /// Whether the master hears itself.
    pub fn set_echo(&mut self, echoes: bool) {
        self.echoes = echoes;
    }

    /// Of a million bits, so many are turned, on their way to everybody.
    pub fn set_noise(&mut self, bit_errors: u32) {
        self.bit_errors = bit_errors;
    }

    /// The master's port is handed bytes; they leave one after the other, behind those that it has already.
    pub fn send(&mut self, now: Mono, bytes: &[u8]) {
        self.advance(now);
        let start = self.master_free.max(self.now);
        self.master_free = start + self.times.characters(bytes.len());
        self.begin(Sender::Master, start, bytes.to_vec());
    }

    /// When something is to happen next.
    pub fn next_event(&self) -> Option<Mono> {
        let wakes = self.devices.iter().filter(|slot| slot.plugged).filter_map(|slot| slot.device.wakes_at());
        let bytes = self.running.iter().map(|running| self.byte_end(running));
        wakes.chain(bytes).min()
    }

    /// The same, for one who looks at bytes in handfuls: a frame's end, or every `handful` bytes of it.
    pub fn next_look(&self, handful: usize) -> Option<Mono> {
        let wakes = self.devices.iter().filter(|slot| slot.plugged).filter_map(|slot| slot.device.wakes_at());
        let bytes = self.running.iter().map(|running| {
            let bytes = (running.passed / handful + 1) * handful;
            running.sent.start + self.times.characters(bytes.min(running.sent.bytes.len()))
        });
        wakes.chain(bytes).min()
    }

    /// Lets everything happen up to and with `now`.
    pub fn advance(&mut self, now: Mono) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            self.pass_bytes(at);
            self.wake_devices(at);
        }
        self.now = self.now.max(now);
    }

    /// What has come to the master's receiver, with when.
    pub fn heard(&mut self) -> Vec<(Mono, u8)> {
        self.for_master.drain(..).collect()
    }

    /// Everything that was sent to its end since the last call, in the order of the ends.
    pub fn take_record(&mut self) -> Vec<Sent> {
        self.record.drain(..).collect()
    }

    /// Whether somebody is speaking.
    pub fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    fn begin(&mut self, from: Sender, start: Mono, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let end = start + self.times.characters(bytes.len());
        let sent = Sent { from, start, end, bytes, damaged: false };
        self.running.push(Running { sent, passed: 0, cut: false });
    }

    fn byte_end(&self, running: &Running) -> Mono {
        running.sent.start + self.times.characters(running.passed + 1)
    }

    /// The bytes that end at `at`.
    fn pass_bytes(&mut self, at: Mono) {
        self.running.retain(|running| !running.cut);
        for index in 0..self.running.len() {
            let Some(running) = self.running.get(index) else { continue };
            if self.byte_end(running) != at {
                continue;
            }
            let (from, began) = (running.sent.from, running.sent.start + self.times.characters(running.passed));
            let byte = running.sent.bytes.get(running.passed).copied().unwrap_or(0);
            let overlaps = |other: &Sent| other.from != from && other.start < at && other.end > began;
            let collides = self.running.iter().any(|other| overlaps(&other.sent))
                || self.record.iter().rev().take(self.devices.len() + 1).any(overlaps);
            let mut heard = byte;
            if collides {
                heard = self.rng.next() as u8;
            }
            for bit in 0..8 {
                if self.bit_errors > 0 && self.rng.below(1_000_000) < u64::from(self.bit_errors) {
                    heard ^= 1 << bit;
                }
            }
            if let Some(running) = self.running.get_mut(index) {
                running.passed += 1;
                running.sent.damaged |= heard != byte || collides;
            }
            self.hand_out(from, at, heard);
        }
        for running in self.running.extract_if(.., |running| running.passed == running.sent.bytes.len()) {
            if self.record.len() >= RECORD_MAX {
                self.record.pop_front();
            }
            self.record.push_back(running.sent);
        }
    }

    fn hand_out(&mut self, from: Sender, at: Mono, byte: u8) {
        if from != Sender::Master || self.echoes {
            self.for_master.push_back((at, byte));
        }
        for (index, slot) in self.devices.iter_mut().enumerate() {
            if slot.plugged && from != Sender::Device(index) {
                slot.device.hear(at, byte, &self.times);
            }
        }
    }

    fn wake_devices(&mut self, at: Mono) {
        for index in 0..self.devices.len() {
            let Some(slot) = self.devices.get_mut(index) else { continue };
            if slot.plugged && slot.device.wakes_at().is_some_and(|wakes| wakes <= at) {
                let bytes = slot.device.wake(at, &self.times);
                self.begin(Sender::Device(index), at, bytes);
            }
        }
    }
}

/// When a device that has understood a request begins to answer.
pub(super) fn answers_at(understood: Mono, times: &LineTimes, late: Duration) -> Mono {
    understood + times.turnaround + late
}

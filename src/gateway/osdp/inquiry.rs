//! Whether an address is free before a reader is told to take it: two readers with one address are heard by nobody any
//! more, and found by nobody. Owns the questions and how long each is waited for; must never ask anything but POLL, nor
//! a reader that the panel speaks to. Invariant: at the speed of the line and at the one to come, with either check, an
//! answer of any kind means that somebody is there.
//!
//! In the clear and under sequence 0, as a scan asks.

use std::{collections::VecDeque, time::Duration};

use super::{panel::LinePlan, reader::REPLY_WITHIN};
use crate::{
    domain::time::Mono,
    wire::osdp::{
        command::Command,
        frame::{Check, Decoder, FRAME_BYTES_MAX, Frame, TooLong, Way},
    },
};

/// Without another byte for this long, and 20 characters, a frame has ended.
const CHARACTER_WITHIN: Duration = Duration::from_millis(20);
/// Fewer bytes that belong to no frame are what a driver adds when it turns on or off.
const NOISE_MIN: u64 = 5;

#[derive(Debug)]
pub struct Inquiry {
    /// Who is to take it, by its position.
    pub reader: usize,
    pub address: u8,
    pub baud: u32,
    line: LinePlan,
    questions: VecDeque<(u32, Check)>,
    asked: Option<Asked>,
    decoder: Decoder,
}

#[derive(Debug)]
struct Asked {
    line: LinePlan,
    sent: Mono,
    deadline: Mono,
}

impl Inquiry {
    /// `own`: the address that the reader has now.
    pub fn new(reader: usize, own: u8, (address, baud): (u8, u32), line: LinePlan) -> Inquiry {
        let mut speeds = Vec::new();
        // Under its own address it would answer itself.
        if address != own {
            speeds.push(line.baud);
        }
        if baud != line.baud {
            speeds.push(baud);
        }
        let questions = speeds.into_iter().flat_map(|baud| [(baud, Check::Crc), (baud, Check::Checksum)]).collect();
        Inquiry { reader, address, baud, line, questions, asked: None, decoder: Decoder::default() }
    }

    /// At which speed it listens, while it does.
    pub fn listens_at(&self) -> Option<u32> {
        self.asked.as_ref().map(|asked| asked.line.baud)
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.asked.as_ref().map(|asked| asked.deadline)
    }

    /// The next question; `None`: all are asked, and nobody has answered.
    pub fn ask(&mut self, now: Mono) -> Result<Option<Vec<u8>>, TooLong> {
        let Some((baud, check)) = self.questions.pop_front() else { return Ok(None) };
        let (code, data) = (Command::Poll.code(), Command::Poll.data());
        let frame = Frame { way: Way::Command, address: self.address, sequence: 0, check, security: None, code, data };
        let bytes = frame.encode()?;
        self.decoder = Decoder::default();
        let line = LinePlan { baud, ..self.line };
        let sent = now + line.characters(bytes.len());
        self.asked = Some(Asked { line, sent, deadline: sent + REPLY_WITHIN });
        Ok(Some(bytes))
    }

    /// Bytes as they come: whether somebody is there; and who else has answered, late.
    pub fn hear(&mut self, now: Mono, bytes: &[u8], others: &mut Vec<u8>) -> Option<String> {
        let asked = self.asked.as_mut()?;
        self.decoder.push(bytes);
        while let Some(received) = self.decoder.next_frame() {
            match received.frame.way {
                // Some converters hear themselves.
                Way::Command => {}
                Way::Reply if received.frame.address == self.address => {
                    return Some(self.taken("answers already"));
                }
                Way::Reply => others.push(received.frame.address),
            }
        }
        if self.decoder.is_midway() {
            let last = asked.sent + REPLY_WITHIN + asked.line.characters(FRAME_BYTES_MAX);
            asked.deadline = asked.deadline.max((now + CHARACTER_WITHIN + asked.line.characters(20)).min(last));
        }
        None
    }

    /// Nobody has answered in time; unless what came was somebody who was not understood.
    pub fn unanswered(&mut self) -> Option<String> {
        self.decoder.quiet();
        let heard = self.decoder.noise().bytes >= NOISE_MIN;
        let taken =
            heard.then(|| self.taken("is answered by bytes that are no answer of one reader (two with one address?)"));
        self.asked = None;
        taken
    }

    fn taken(&self, how: &str) -> String {
        let baud = self.listens_at().unwrap_or(self.baud);
        format!(
            "address {} {how} at {baud} baud: another reader has it and must be given another one first",
            self.address
        )
    }
}

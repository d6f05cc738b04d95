//! A Modbus RTU board on the line. Owns what it has heard and what it is about to answer; must never act on a frame
//! that is not whole. Invariant: a frame ends with 3.5 characters of silence, and nothing else ends it.

use std::{collections::VecDeque, time::Duration};

use latchd::domain::time::Mono;

use super::{
    model::{Device, answers_at},
    times::LineTimes,
};
use crate::board::{Answer, SimBoard, crc};

const EVERYBODY: u8 = 0;
/// The longest frame, and some noise.
const HEARD_MAX: usize = 512;

pub struct BoardDevice {
    board: SimBoard,
    heard: Vec<u8>,
    frame_ends_at: Option<Mono>,
    answers: VecDeque<(Mono, Vec<u8>)>,
}

impl BoardDevice {
    pub fn new(board: SimBoard) -> BoardDevice {
        BoardDevice { board, heard: Vec::new(), frame_ends_at: None, answers: VecDeque::new() }
    }

    /// Of a whole frame: the answer's bytes, and by how much it is late.
    fn answer(&mut self) -> Option<(Vec<u8>, Duration)> {
        let heard = std::mem::take(&mut self.heard);
        let (body, check) = heard.split_last_chunk::<2>()?;
        let (&unit, pdu) = body.split_first()?;
        if crc(body).to_le_bytes() != *check || (unit != self.board.unit() && unit != EVERYBODY) {
            return None;
        }
        let (answer, late) = self.board.answer(pdu);
        let bytes = match answer {
            Answer::Nothing => return None,
            Answer::Noise(bytes) => bytes,
            Answer::Pdu(pdu) => {
                let mut bytes = [vec![unit], pdu].concat();
                bytes.extend(crc(&bytes).to_le_bytes());
                bytes
            }
        };
        (unit != EVERYBODY).then_some((bytes, late))
    }
}

impl Device for BoardDevice {
    fn hear(&mut self, now: Mono, byte: u8, times: &LineTimes) {
        if self.heard.len() < HEARD_MAX {
            self.heard.push(byte);
        }
        self.frame_ends_at = Some(now + times.modbus_gap());
    }

    fn wakes_at(&self) -> Option<Mono> {
        self.answers.front().map(|(at, _)| *at).into_iter().chain(self.frame_ends_at).min()
    }

    fn wake(&mut self, now: Mono, times: &LineTimes) -> Vec<u8> {
        if self.frame_ends_at.is_some_and(|at| at <= now) {
            self.frame_ends_at = None;
            if let Some((bytes, late)) = self.answer() {
                // One after the other, as a small processor does.
                let free = self.answers.back().map(|(at, bytes)| *at + times.characters(bytes.len()));
                let at = answers_at(now, times, late).max(free.unwrap_or(now));
                self.answers.push_back((at, bytes));
            }
        }
        let due = self.answers.front().is_some_and(|(at, _)| *at <= now);
        if !due {
            return Vec::new();
        }
        self.answers.pop_front().map(|(_, bytes)| bytes).unwrap_or_default()
    }

    fn unplugged(&mut self) {
        self.heard.clear();
        self.frame_ends_at = None;
        self.answers.clear();
    }
}

//! One Modbus RTU exchange on a serial line: the bytes of a request, and what of the bytes that come back is its
//! answer. Owns the frame (unit, PDU, CRC) and how long is listened; must never take for an answer what does not
//! fit the request to the byte. Invariant: when an exchange ends with a fault that may have sent anything, the line
//! has been silent for long enough since, so that what was late or damaged is gone before the next request.
//!
//! ```text
//!            a fitting frame, CRC right
//!   Waiting ─────────────────────────────▶ its reply, at once
//!      │ │ a frame's bytes came, then none for `stall`
//!      │ └───────────────────────────────▶ Garbage
//!      │ deadline                          silent for `silence`
//!      └────────────▶ Settling ───────────────────────────────▶ Timeout, or Garbage
//! ```
//!
//! An adapter may hear what it sends itself ([`Echo`]): then nothing counts but what comes behind it. The answer to a write
//! is the same bytes as its echo, so where it is not known whether there is one, one alone confirms nothing.
//!
//! RTU has no transaction number: that a late answer is not taken for that of a later, like request is not known
//! here but kept in `board`, which lets time pass before it asks alike again.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{
    BusFault, Reply, Request, Table, Transaction,
    echo::{Echo, Heard},
};
use crate::domain::time::Mono;

const EXCEPTION: u8 = 0x80;
/// Unit, function, exception code, CRC: the shortest frame.
const FRAME_MIN: usize = 5;
/// The longest frame (Modbus over Serial Line V1.02, 2.5.1), and noise before and behind it.
const HEARD_MAX: usize = 512;
/// A USB adapter may hold back what it has heard for as long as this.
const ADAPTER_HOLDS: Duration = Duration::from_millis(20);
/// A line that never falls silent is not listened to for longer than this.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// How long is listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtuTimes {
    /// Within an answer: what has paused for so long is over.
    pub stall: Duration,
    /// After an answer that did not come the line must be silent for at least as long.
    pub silence_min: Duration,
}

impl RtuTimes {
    /// `gap` is t3.5.
    pub fn new(gap: Duration, turnaround: Duration) -> RtuTimes {
        RtuTimes { stall: gap + ADAPTER_HOLDS, silence_min: gap.max(turnaround) }
    }
}

#[derive(Debug)]
pub struct Exchange {
    times: RtuTimes,
    unit: u8,
    request: Request,
    sent: Vec<u8>,
    echo: Echo,
    heard: Vec<u8>,
    last_heard: Option<Mono>,
    silence: Duration,
    deadline: Mono,
    settling: Option<Settling>,
}

#[derive(Debug)]
struct Settling {
    quiet_at: Mono,
    give_up: Mono,
}

impl Exchange {
    /// The exchange and the bytes to be sent at once.
    pub fn begin(times: RtuTimes, echo: Echo, transaction: &Transaction, now: Mono) -> (Exchange, Vec<u8>) {
        let Transaction { unit, request, patience, .. } = *transaction;
        let bytes = frame(unit, &request_pdu(&request));
        let exchange = Exchange {
            times,
            unit,
            request,
            sent: bytes.clone(),
            echo,
            heard: Vec::new(),
            last_heard: None,
            // A board that was late once is late by more than a frame.
            silence: times.silence_min.max(patience / 4),
            deadline: now + patience,
            settling: None,
        };
        (exchange, bytes)
    }

    /// Bytes as they come; with the last of them, or a little later, the result.
    pub fn hear(&mut self, now: Mono, bytes: &[u8]) -> Option<Result<Reply, BusFault>> {
        if bytes.is_empty() {
            return None;
        }
        self.last_heard = Some(now);
        if let Some(settling) = &mut self.settling {
            settling.quiet_at = now + self.silence;
            return None;
        }
        self.heard.extend(bytes.iter().take(HEARD_MAX.saturating_sub(self.heard.len())));
        self.answer()
    }

    /// When to call [`Exchange::due`], should nothing be heard until then.
    pub fn until(&self) -> Mono {
        match &self.settling {
            Some(settling) => settling.quiet_at.min(settling.give_up),
            None => self.stalls_at().map_or(self.deadline, |stalls_at| stalls_at.min(self.deadline)),
        }
    }

    /// Fewer bytes than a frame has are what a driver adds when it turns on or off: a slow board still thinks.
    fn stalls_at(&self) -> Option<Mono> {
        self.last_heard.filter(|_| self.heard_of_others() >= FRAME_MIN).map(|last| last + self.times.stall)
    }

    /// Time has passed, and everything that had come was heard.
    pub fn due(&mut self, now: Mono) -> Option<Result<Reply, BusFault>> {
        if now < self.until() {
            return None;
        }
        if self.settling.is_some() {
            return Some(Err(self.fault()));
        }
        if self.stalls_at().is_some_and(|stalls_at| now >= stalls_at) {
            return Some(Err(self.fault()));
        }
        self.settling = Some(Settling { quiet_at: now + self.silence, give_up: now + SETTLE_MAX });
        None
    }

    fn fault(&self) -> BusFault {
        if self.may_be_both() {
            let detail = format!("its own bytes while {}: its answer, or the adapter hears itself", self.request);
            return BusFault::Garbage(detail);
        }
        match self.heard_of_others() {
            0 => BusFault::Timeout,
            count => BusFault::Garbage(format!("{count} bytes while {}", self.request)),
        }
    }

    /// What the line has shown of itself.
    pub fn echo(&self) -> Option<Heard> {
        let echoed = self.echo_ends();
        match (echoed.map(|end| self.answer_from(end)), self.answer_from(0)) {
            // Nobody else says what was asked; of a write that may have been the answer.
            (Some(None), _) => (!self.is_write()).then_some(Heard::Itself),
            (Some(Some(_)), _) => Some(Heard::Itself),
            (None, Some((start, result))) => {
                let told = start < FRAME_MIN && (!self.is_write() || result.is_err());
                told.then_some(Heard::OnlyTheAnswer)
            }
            (None, None) => None,
        }
    }

    fn is_write(&self) -> bool {
        data_length(&self.request).is_none()
    }

    /// Behind the request, where it was heard.
    fn echo_ends(&self) -> Option<usize> {
        let start = self.heard.windows(self.sent.len()).position(|bytes| bytes == self.sent)?;
        // Behind something else than noise it is no echo: that comes first.
        (self.is_write() || start < FRAME_MIN).then_some(start + self.sent.len())
    }

    /// What may count as an answer begins here.
    fn begins(&self) -> usize {
        match self.echo_ends() {
            Some(end) if !self.is_write() || self.echo != Echo::Absent => end,
            _ => 0,
        }
    }

    /// A write's request came once, and nothing tells whether that is its answer.
    fn may_be_both(&self) -> bool {
        self.echo == Echo::Unknown && self.is_write() && self.echo_ends().is_some_and(|end| end == self.heard.len())
    }

    /// Bytes that may be somebody else's.
    fn heard_of_others(&self) -> usize {
        match self.begins() {
            // Where it may echo, and was not heard whole, so many may be its own, damaged.
            0 if self.echo != Echo::Absent => self.heard.len().saturating_sub(self.sent.len()),
            first => self.heard.len() - first,
        }
    }

    fn answer(&self) -> Option<Result<Reply, BusFault>> {
        self.answer_from(self.begins()).map(|(_, result)| result)
    }

    /// Noise before a frame costs nothing; behind it less than another frame may stand. With where it was found.
    fn answer_from(&self, first: usize) -> Option<(usize, Result<Reply, BusFault>)> {
        (first..self.heard.len()).find_map(|start| {
            let from = self.heard.get(start..)?;
            let code = from.get(1).filter(|_| from.first() == Some(&self.unit))?;
            let refused = *code == function(&self.request) | EXCEPTION;
            if !refused && *code != function(&self.request) {
                return None;
            }
            let length = if refused { FRAME_MIN } else { reply_length(&self.request) };
            let (body, [low, high]) = from.get(..length)?.split_last_chunk::<2>()?;
            let behind = from.len() - length;
            if crc(body) != u16::from_le_bytes([*low, *high]) || behind >= FRAME_MIN {
                return None;
            }
            match body {
                [_, _, exception] if refused => Some((start, Err(BusFault::Exception(*exception)))),
                [_, said @ ..] => reply(&self.request, said).map(|reply| (start, Ok(reply))),
                [] => None,
            }
        })
    }
}

fn function(request: &Request) -> u8 {
    match request {
        Request::Read { table: Table::Coil, .. } => 1,
        Request::Read { table: Table::DiscreteInput, .. } => 2,
        Request::Read { table: Table::HoldingRegister, .. } => 3,
        Request::Read { table: Table::InputRegister, .. } => 4,
        Request::WriteCoil { .. } | Request::WriteTimer { .. } => 5,
        Request::WriteRegister { .. } => 6,
    }
}

/// All requests of ours: function, address, count or value.
fn request_pdu(request: &Request) -> [u8; 5] {
    let (address, value) = match *request {
        Request::Read { address, count, .. } | Request::WriteTimer { address, count } => (address, count),
        Request::WriteCoil { address, on } => (address, if on { 0xFF00 } else { 0 }),
        Request::WriteRegister { address, value } => (address, value),
    };
    let ([high, low], [upper, lower]) = (address.to_be_bytes(), value.to_be_bytes());
    [function(request), high, low, upper, lower]
}

/// How many bytes of data a read brings.
fn data_length(request: &Request) -> Option<usize> {
    match *request {
        Request::Read { table, count, .. } if table.is_bits() => Some(usize::from(count).div_ceil(8)),
        Request::Read { count, .. } => Some(usize::from(count) * 2),
        _ => None,
    }
}

/// Of the whole frame.
fn reply_length(request: &Request) -> usize {
    data_length(request).map_or(8, |data| FRAME_MIN + data)
}

/// `said` is the PDU. A write's answer is its echo.
fn reply(request: &Request, said: &[u8]) -> Option<Reply> {
    let Some(length) = data_length(request) else {
        return (said == request_pdu(request)).then_some(Reply::Written);
    };
    let [_, count, data @ ..] = said else { return None };
    if usize::from(*count) != length || data.len() != length {
        return None;
    }
    match *request {
        Request::Read { table, count, .. } if table.is_bits() => {
            let bits = data.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
            Some(Reply::Bits(bits.take(usize::from(count)).collect()))
        }
        _ => Some(Reply::Words(data.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word)).collect())),
    }
}

fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = [&[unit], pdu].concat();
    frame.extend(crc(&frame).to_le_bytes());
    frame
}

/// CRC-16 of Modbus over Serial Line (V1.02, 6.2.2).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

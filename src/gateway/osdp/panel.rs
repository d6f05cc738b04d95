//! The turns of all readers of one line. Owns who is asked next, how long an answer is waited for, and which frame
//! is whose; must never let one reader's trouble reach another's session. Invariant: one command is on the line
//! at a time; a frame counts only for the reader whose address it has and who was asked.
//!
//! Round robin, one transaction for each reader and turn, up to [`CHAIN_MAX`] where a handshake is under way, so
//! that a reader that has lost its session has a new one before anybody else is asked.

use std::time::Duration;

use super::{
    inquiry::Inquiry,
    keys::Protection,
    news::News,
    reader::{Conversation, ReaderPlan},
};
use crate::{
    domain::{fieldbus::BusReport, outputs::Desired, time::Mono},
    wire::osdp::{
        command::Command,
        frame::{Decoder, FRAME_BYTES_MAX, Received, Way},
    },
};

/// A refused poll, the challenge, the proof.
const CHAIN_MAX: u8 = 3;
/// After so many commands in a row that drive something, whoever's turn it is.
const URGENT_RUN_MAX: u32 = 8;
/// Without another byte for this long, and 20 characters, a frame has ended (the standard's inter-character limit).
const CHARACTER_WITHIN: Duration = Duration::from_millis(20);
/// At most so many bytes are taken at once; a line says less in any time between two looks.
const BYTES_MAX: usize = 4096;

/// The line, as its port is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePlan {
    pub baud: u32,
    /// Start, data, parity and stop bits of one character.
    pub bits_per_character: u32,
}

impl LinePlan {
    pub fn characters(&self, count: usize) -> Duration {
        let bits = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(u64::from(self.bits_per_character));
        Duration::from_nanos(bits.saturating_mul(1_000_000_000) / u64::from(self.baud.max(1)))
    }

    /// Between two frames: the time of two characters.
    fn gap(&self) -> Duration {
        self.characters(2)
    }
}

/// What the line should do now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Put these on the line at once.
    Send(Vec<u8>),
    /// Listen; nothing is to be said before this.
    Listen { until: Mono },
}

#[derive(Debug)]
struct Flight {
    reader: usize,
    /// When its last byte has left.
    sent: Mono,
    deadline: Mono,
}

#[derive(Debug)]
pub struct Panel {
    line: LinePlan,
    readers: Vec<Conversation>,
    decoder: Decoder,
    flight: Option<Flight>,
    quiet_until: Mono,
    turn: usize,
    chain: u8,
    urgent_run: u32,
    /// Before a reader is told to take another address or speed.
    inquiry: Option<Inquiry>,
}

/// The next look where nobody has anything to say.
const IDLE: Duration = Duration::from_millis(500);

impl Panel {
    pub fn new(line: LinePlan, readers: Vec<ReaderPlan>, now: Mono) -> Panel {
        Panel {
            line,
            readers: readers.into_iter().map(|plan| Conversation::new(plan, now)).collect(),
            decoder: Decoder::default(),
            flight: None,
            quiet_until: now,
            turn: 0,
            chain: 0,
            urgent_run: 0,
            inquiry: None,
        }
    }

    /// The speed at which what is sent now goes out, and its answer comes.
    pub fn baud(&self) -> u32 {
        self.inquiry.as_ref().and_then(Inquiry::listens_at).unwrap_or(self.line.baud)
    }

    /// Something that a reader is to do, between polls; readers by their position.
    pub fn wish(&mut self, reader: usize, command: Command) {
        if let Some(reader) = self.readers.get_mut(reader) {
            reader.wish(command);
        }
    }

    /// The newest of each output; those that are on no reader of this line are not ours.
    pub fn set_desired(&mut self, now: Mono, desired: &[Desired]) {
        for points in self.readers.iter_mut().filter_map(Conversation::points) {
            points.set_desired(now, desired);
        }
    }

    /// What became known of inputs and outputs since the last call.
    pub fn point_reports(&mut self, out: &mut Vec<BusReport>) {
        for points in self.readers.iter_mut().filter_map(Conversation::points) {
            out.extend(points.reports());
        }
    }

    /// This reader is to have another address, or another speed, if nobody answers there.
    pub fn set_line(&mut self, reader: usize, address: u8, baud: u32, out: &mut Vec<(usize, News)>) {
        let Some(own) = self.readers.get(reader).map(Conversation::address) else { return };
        let others = self.readers.iter().enumerate().filter(|(at, _)| *at != reader);
        let keeps = if others.map(|(_, other)| other.address()).any(|other| other == address) {
            Some(format!("another reader of this line has address {address}"))
        } else if self.inquiry.is_some() {
            Some("another reader of this line is being told just now; ask again in a moment".to_owned())
        } else {
            None
        };
        match keeps {
            Some(detail) => out.push((reader, News::LineKept { detail })),
            None if self.is_online(reader) => {
                self.inquiry = Some(Inquiry::new(reader, own, (address, baud), self.line));
            }
            None => self.tell_line(reader, address, baud, out),
        }
    }

    fn tell_line(&mut self, reader: usize, address: u8, baud: u32, out: &mut Vec<(usize, News)>) {
        let mut news = Vec::new();
        if let Some(conversation) = self.readers.get_mut(reader) {
            conversation.set_line(address, baud, &mut news);
        }
        out.extend(news.into_iter().map(|news| (reader, news)));
    }

    /// Goes on asking whether an address is free. What is to be driven goes first.
    fn inquire(&mut self, now: Mono, out: &mut Vec<(usize, News)>) -> Option<Next> {
        let inquiry = self.inquiry.as_mut()?;
        if let Some(deadline) = inquiry.deadline() {
            if now < deadline {
                return Some(Next::Listen { until: deadline });
            }
            if let Some(detail) = inquiry.unanswered() {
                self.end_inquiry(now, detail, out);
                return None;
            }
        }
        if self.readers.iter_mut().any(|reader| reader.urgency(now).is_some()) {
            return None;
        }
        match inquiry.ask(now) {
            Ok(Some(bytes)) => Some(Next::Send(bytes)),
            Ok(None) | Err(_) => {
                let Inquiry { reader, address, baud, .. } = self.inquiry.take()?;
                self.tell_line(reader, address, baud, out);
                None
            }
        }
    }

    fn end_inquiry(&mut self, now: Mono, detail: String, out: &mut Vec<(usize, News)>) {
        self.quiet_until = self.quiet_until.max(now + self.line.gap());
        if let Some(inquiry) = self.inquiry.take() {
            out.push((inquiry.reader, News::LineKept { detail }));
        }
    }

    pub fn protect(&mut self, now: Mono, reader: usize, protection: Protection) {
        if let Some(conversation) = self.readers.get_mut(reader) {
            conversation.protect(now, protection);
            self.flight.take_if(|flight| flight.reader == reader);
        }
    }

    pub fn is_online(&self, reader: usize) -> bool {
        self.readers.get(reader).is_some_and(Conversation::is_online)
    }

    /// What to do now; what became known by time alone is added to `out`, with the reader's position.
    pub fn next(&mut self, now: Mono, random: &mut dyn FnMut() -> [u8; 8], out: &mut Vec<(usize, News)>) -> Next {
        if self.flight.as_ref().is_some_and(|flight| flight.deadline <= now) {
            while let Some(received) = self.decoder.next_behind() {
                self.heed(now, &received, out);
            }
        }
        if let Some(flight) = self.flight.take_if(|flight| flight.deadline <= now) {
            self.quiet_until = now;
            if let Some(reader) = self.readers.get_mut(flight.reader) {
                reader.unanswered(now);
            }
        }
        self.tick(now, out);
        if let Some(flight) = &self.flight {
            return Next::Listen { until: flight.deadline };
        }
        if now < self.quiet_until {
            return Next::Listen { until: self.quiet_until };
        }
        if let Some(next) = self.inquire(now, out) {
            return next;
        }
        if let Some(at) = self.next_reader(now)
            && let Some(reader) = self.readers.get_mut(at)
        {
            if self.urgent_run == 0 {
                self.turn = at;
            }
            // A command that fits no frame cannot be made; were there one, it is dropped and the next is asked for.
            if let Ok(Some(bytes)) = reader.speak(now, random) {
                self.decoder.clear();
                let sent = now + self.line.characters(bytes.len());
                self.flight = Some(Flight { reader: at, sent, deadline: sent + reader.answers_within() });
                return Next::Send(bytes);
            }
        }
        let due = self.readers.iter().filter_map(|reader| reader.due(now)).min();
        let soon = now + Duration::from_millis(1);
        Next::Listen { until: due.map_or(now + IDLE, |due| due.max(soon).min(now + IDLE)) }
    }

    /// Bytes as they come.
    pub fn hear(&mut self, now: Mono, bytes: &[u8], out: &mut Vec<(usize, News)>) {
        let bytes = bytes.get(..BYTES_MAX).unwrap_or(bytes);
        if let Some(inquiry) = self.inquiry.as_mut().filter(|inquiry| inquiry.listens_at().is_some()) {
            let mut others = Vec::new();
            let taken = inquiry.hear(now, bytes, &mut others);
            for address in others {
                self.late(self.readers.iter().position(|reader| reader.address() == address));
            }
            if let Some(detail) = taken {
                self.end_inquiry(now, detail, out);
            }
            return;
        }
        self.decoder.push(bytes);
        while let Some(received) = self.decoder.next_frame() {
            self.heed(now, &received, out);
        }
        match &mut self.flight {
            // A frame that has begun is waited for.
            Some(flight) if self.decoder.is_midway() => {
                let last = flight.sent + super::reader::REPLY_WITHIN + self.line.characters(FRAME_BYTES_MAX);
                let on = now + CHARACTER_WITHIN + self.line.characters(20);
                flight.deadline = flight.deadline.max(on.min(last));
            }
            Some(_) => {}
            None => self.quiet_until = self.quiet_until.max(now + self.line.gap()),
        }
    }

    fn heed(&mut self, now: Mono, received: &Received, out: &mut Vec<(usize, News)>) {
        // Some converters hear themselves.
        if received.frame.way == Way::Command {
            return;
        }
        let asked = self.flight.as_ref().map(|flight| (flight.reader, flight.sent));
        let owner = self.readers.iter().position(|reader| reader.address() == received.frame.address);
        let (Some(owner), Some((reader, sent))) = (owner, asked) else { return self.late(owner) };
        if owner != reader {
            return self.late(Some(owner));
        }
        let Some(conversation) = self.readers.get_mut(reader) else { return };
        let mut news = Vec::new();
        if conversation.hear(now, received, &mut news) {
            conversation.answered_after(now.since(sent));
            self.flight = None;
            self.quiet_until = now + self.line.gap();
        }
        out.extend(news.into_iter().map(|news| (reader, news)));
    }

    /// The port is gone, or was reopened: nothing that was on the line counts.
    pub fn cut(&mut self, now: Mono, out: &mut Vec<(usize, News)>) {
        self.decoder.clear();
        if let Some(flight) = self.flight.take()
            && let Some(reader) = self.readers.get_mut(flight.reader)
        {
            reader.unanswered(now);
        }
        self.readers.iter_mut().for_each(Conversation::was_cut);
        if self.inquiry.is_some() {
            self.end_inquiry(now, "the port is gone".to_owned(), out);
        }
        self.tick(now, out);
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<(usize, News)>) {
        let mut news = Vec::new();
        for (at, reader) in self.readers.iter_mut().enumerate() {
            reader.tick(now, &mut news);
            out.extend(news.drain(..).map(|news| (at, news)));
        }
    }

    fn late(&mut self, reader: Option<usize>) {
        if let Some(reader) = reader.and_then(|at| self.readers.get_mut(at)) {
            reader.was_late();
        }
    }

    /// The one of which something is to be driven first; the one whose handshake is under way, else the next that
    /// has something to say.
    fn next_reader(&mut self, now: Mono) -> Option<usize> {
        if self.urgent_run < URGENT_RUN_MAX {
            let urgent = self.readers.iter_mut().enumerate().filter_map(|(at, it)| Some((it.urgency(now)?, at)));
            if let Some((_, at)) = urgent.min() {
                self.urgent_run += 1;
                return Some(at);
            }
        }
        self.urgent_run = 0;
        let is_due = |reader: &Conversation| reader.due(now).is_some_and(|due| due <= now);
        let goes_on = |reader: &&Conversation| reader.is_beginning() && is_due(reader);
        if self.chain < CHAIN_MAX && self.readers.get(self.turn).filter(goes_on).is_some() {
            self.chain += 1;
            return Some(self.turn);
        }
        self.chain = 1;
        let count = self.readers.len();
        (1..=count).map(|step| (self.turn + step) % count).find(|at| self.readers.get(*at).is_some_and(is_due))
    }
}

//! A line in virtual time with readers on it, made from the standard's words: sequence numbers, the repeated
//! reply, the secure channel. Owns the time; its readers misbehave as told.

use std::{collections::VecDeque, time::Duration};

use crate::{
    domain::{fieldbus::BusReport, time::Mono},
    gateway::osdp::{KeyRing, LinePlan, News, Next, Panel, Protection, ReaderPlan},
    wire::osdp::{
        frame::{Check, Received},
        testkit::{SecureReader, frame_of, reply},
    },
};

pub const KEY: [u8; 16] = [0x42; 16];

/// How a reader behaves from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Normal,
    /// Unplugged.
    Dead,
    Late(Duration),
    /// One bit of so many replies is wrong.
    Corrupt(u32),
    /// Loses so many replies.
    Mute(u32),
    /// Is busy for so many commands.
    Busy(u32),
    /// Answers everything in the clear, whatever was asked.
    Cleartext,
    /// Lets go of its session before it says that it has its new key.
    Forgetful,
    /// Refuses with this code.
    Refuses(u8),
}

#[derive(Debug)]
pub struct Reader {
    pub address: u8,
    pub secure: Option<SecureReader>,
    /// Under a default key until it is given one.
    pub key: [u8; 16],
    pub manner: Manner,
    /// Answers nothing before it has seen a POLL.
    pub needs_poll: bool,
    pub turnaround: Duration,
    pub polled: bool,
    pub last: Option<(u8, Vec<u8>, Vec<u8>)>,
    pub queue: VecDeque<(u8, Vec<u8>)>,
    /// Code, sequence, whether it was under a session.
    pub asked: Vec<(u8, u8, bool)>,
    pub sessions: u32,
    pub inputs: Vec<u8>,
    pub outputs: Vec<Relay>,
    /// Codes that it does not know.
    pub ignorant: Vec<u8>,
    /// Takes another address, and says nothing.
    pub moves_silently: bool,
    /// What it says in place of the right reply to this command, within its session where it has one.
    pub says: fn(u8) -> Option<(u8, Vec<u8>)>,
    /// Proves its replies and encrypts none of them (SCS_16).
    pub bare: bool,
    /// The last word on what goes on the line.
    pub twist: Twist,
    pub now: Mono,
}

/// The command, and the answer: what is sent in its place.
#[derive(Default)]
pub struct Twist(pub Option<Box<Twisting>>);

type Twisting = dyn FnMut(&Received, Vec<u8>) -> Vec<u8>;

impl std::fmt::Debug for Twist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Twist(..)" } else { "Twist" })
    }
}

/// One output: what lasts, what passes, and when it moved.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    pub lasting: bool,
    pub passing: Option<(bool, Mono)>,
    pub moves: Vec<(Mono, bool)>,
}

impl Relay {
    pub fn is_on(&mut self, now: Mono) -> bool {
        if let Some((on, until)) = self.passing {
            if now < until {
                return on;
            }
            self.passing = None;
            self.moves.push((until, self.lasting));
        }
        self.lasting
    }

    /// SIA OSDP 2.2, 6.10.
    fn obey(&mut self, now: Mono, code: u8, tenths: u16) {
        let before = self.is_on(now);
        let until = now + Duration::from_millis(100) * u32::from(tenths);
        match code {
            1 | 2 => (self.lasting, self.passing) = (code == 2, None),
            3 | 4 => self.lasting = code == 4,
            5 | 6 => self.passing = Some((code == 5, until)),
            _ => {}
        }
        let is = self.is_on(now);
        if is != before {
            self.moves.push((now, is));
        }
    }
}

impl Reader {
    pub fn plain(address: u8) -> Reader {
        Reader {
            address,
            secure: None,
            key: [0; 16],
            manner: Manner::Normal,
            needs_poll: false,
            turnaround: Duration::from_millis(3),
            polled: false,
            last: None,
            queue: VecDeque::new(),
            asked: Vec::new(),
            sessions: 0,
            inputs: vec![0, 1],
            outputs: vec![Relay::default()],
            ignorant: Vec::new(),
            moves_silently: false,
            says: |_| None,
            bare: false,
            twist: Twist::default(),
            now: Mono::ZERO,
        }
    }

    pub fn secure(address: u8) -> Reader {
        Reader { secure: Some(SecureReader::new(KEY)), key: KEY, ..Reader::plain(address) }
    }

    /// Loses power for a moment: its outputs fall off.
    pub fn restart(&mut self) {
        for relay in &mut self.outputs {
            (relay.lasting, relay.passing) = (false, None);
        }
        self.polled = false;
        self.last = None;
        if let Some(secure) = &mut self.secure {
            *secure = SecureReader::new(self.key);
        }
    }

    pub fn card(&mut self) {
        self.queue.push_back((0x50, vec![0, 1, 26, 0, 0xBD, 0x88, 0xEB, 0x80]));
    }

    /// An input changes, and the reader tells so.
    pub fn sense(&mut self, at: usize, state: u8) {
        self.inputs[at] = state;
        self.queue.push_back((0x49, self.inputs.clone()));
    }

    fn hear(&mut self, now: Mono, bytes: &[u8]) -> Option<(Duration, Vec<u8>)> {
        self.now = now;
        let received = frame_of(bytes);
        if received.frame.address != self.address || self.manner == Manner::Dead {
            return None;
        }
        let sequence = received.frame.sequence;
        self.asked.push((received.frame.code, sequence, received.mac.is_some()));
        match &mut self.manner {
            Manner::Busy(left) if *left > 0 => {
                *left -= 1;
                let mut busy = received.clone();
                busy.frame.sequence = 0;
                return Some((self.turnaround, reply(&busy, None, 0x79, Vec::new())));
            }
            Manner::Refuses(code) => return Some((self.turnaround, reply(&received, None, 0x41, vec![*code]))),
            _ => {}
        }
        self.polled |= received.frame.code == 0x60;
        if self.needs_poll && !self.polled {
            return None;
        }
        let address = self.address;
        let mut answer = self.answer(bytes, &received);
        if self.address != address && self.moves_silently {
            return None;
        }
        if let Twist(Some(twist)) = &mut self.twist {
            answer = twist(&received, answer);
        }
        match &mut self.manner {
            Manner::Mute(left) if *left > 0 => {
                *left -= 1;
                return None;
            }
            Manner::Corrupt(left) if *left > 0 => {
                *left -= 1;
                answer[6] ^= 0x10;
            }
            Manner::Late(by) => return Some((*by, answer)),
            _ => {}
        }
        Some((self.turnaround, answer))
    }

    fn answer(&mut self, bytes: &[u8], received: &Received) -> Vec<u8> {
        let sequence = received.frame.sequence;
        if let Some((number, command, answer)) = &self.last
            && *number == sequence
            && sequence != 0
            && command == bytes
        {
            return answer.clone();
        }
        if sequence != 0 && self.last.as_ref().is_none_or(|(number, ..)| number % 3 + 1 != sequence) {
            return reply(received, None, 0x41, vec![4]);
        }
        let answer = self.decide(bytes, received);
        self.last = Some((sequence, bytes.to_vec(), answer.clone()));
        answer
    }

    fn decide(&mut self, bytes: &[u8], received: &Received) -> Vec<u8> {
        let code = received.frame.code;
        if self.manner == Manner::Cleartext {
            let (code, data) = self.queue.pop_front().unwrap_or((0x40, Vec::new()));
            return reply(received, None, code, data);
        }
        let Some(secure) = &mut self.secure else {
            let (code, data) = self.content(code, &received.frame.data);
            return reply(received, None, code, data);
        };
        if matches!(code, 0x76 | 0x77) {
            let own = received.frame.security.as_ref().and_then(|block| block.data.first().copied()) == Some(1);
            if code == 0x76 && !own {
                *secure = SecureReader::new(*b"0123456789:;<=>?");
            } else if code == 0x76 && secure.key() != self.key {
                *secure = SecureReader::new(self.key);
            }
            let answer = secure.answer(bytes, 0, &[]);
            self.sessions += u32::from(code == 0x77 && secure.stands);
            return answer;
        }
        let Some(data) = secure.hear(received) else { return reply(received, None, 0x41, vec![6]) };
        let (answer, content) = self.content(code, &data);
        let takes_key = code == 0x75 && answer == 0x40;
        let Some(secure) = &mut self.secure else { unreachable!() };
        let mut answer = match self.bare {
            true => secure.say_bare(received, answer, content),
            false => secure.say(received, answer, &content),
        };
        if code == 0x75 && self.manner == Manner::Forgetful {
            answer = reply(received, None, 0x40, Vec::new());
        }
        if takes_key {
            self.key = data[2..18].try_into().unwrap();
            *secure = SecureReader::new(self.key);
        }
        answer
    }

    fn content(&mut self, code: u8, data: &[u8]) -> (u8, Vec<u8>) {
        if self.ignorant.contains(&code) {
            return (0x41, vec![3]);
        }
        if let Some(answer) = (self.says)(code) {
            return answer;
        }
        let now = self.now;
        match code {
            0x65 => return (0x49, self.inputs.clone()),
            0x66 => return (0x4A, self.outputs.iter_mut().map(|relay| u8::from(relay.is_on(now))).collect()),
            0x68 => {
                for control in data.as_chunks::<4>().0 {
                    let [at, code, low, high] = *control;
                    if self.ignorant.contains(&(0xF0 | code)) {
                        return (0x41, vec![9]);
                    }
                    self.outputs[usize::from(at)].obey(now, code, u16::from_le_bytes([low, high]));
                }
            }
            0x6E => {
                self.address = data[0];
                return (0x54, data[..5].to_vec());
            }
            _ => {}
        }
        content(code, &mut self.queue)
    }
}

fn content(code: u8, queue: &mut VecDeque<(u8, Vec<u8>)>) -> (u8, Vec<u8>) {
    match code {
        0x60 => queue.pop_front().unwrap_or((0x40, Vec::new())),
        0x61 => (0x45, vec![0x5C, 0x26, 0x23, 1, 2, 1, 0, 0, 0, 3, 4, 5]),
        0x62 => (0x46, vec![1, 1, 2, 2, 1, 1, 9, 1, 1]),
        0x64 => (0x48, vec![0, 0]),
        0x67 => (0x4B, vec![0]),
        _ => (0x40, Vec::new()),
    }
}

pub struct Line {
    pub panel: Panel,
    pub now: Mono,
    pub readers: Vec<Reader>,
    line: LinePlan,
    /// On their way to the panel.
    coming: Vec<(Mono, Vec<u8>)>,
    pub news: Vec<(Mono, usize, News)>,
    /// Of inputs and outputs.
    pub reports: Vec<(Mono, BusReport)>,
    /// When which command went out, and to whom.
    pub sent: Vec<(Mono, Vec<u8>)>,
    random: u64,
}

pub fn plan(address: u8, protection: Protection) -> ReaderPlan {
    ReaderPlan { address, protection, check: Check::Crc, lost_after: Duration::from_secs(1), points: None }
}

pub fn keyed() -> Protection {
    Protection::Secure(KeyRing::of(Some(KEY)))
}

impl Line {
    pub fn new(readers: Vec<Reader>) -> Line {
        let plans = readers
            .iter()
            .map(|reader| plan(reader.address, if reader.secure.is_some() { keyed() } else { Protection::Plain }));
        Line::with(plans.collect(), readers)
    }

    pub fn with(plans: Vec<ReaderPlan>, readers: Vec<Reader>) -> Line {
        Line::at(115_200, plans, readers)
    }

    pub fn at(baud: u32, plans: Vec<ReaderPlan>, readers: Vec<Reader>) -> Line {
        let line = LinePlan { baud, bits_per_character: 10 };
        let now = Mono::from_millis(1_000);
        Line {
            panel: Panel::new(line, plans, now),
            now,
            readers,
            line,
            coming: Vec::new(),
            news: Vec::new(),
            reports: Vec::new(),
            sent: Vec::new(),
            random: 1,
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(end);
        }
    }

    /// Until this many commands have been sent from here on.
    pub fn run_commands(&mut self, count: usize) {
        let target = self.sent.len() + count;
        let end = self.now + Duration::from_secs(60);
        while self.sent.len() < target && self.now < end {
            self.step(end);
        }
    }

    fn step(&mut self, end: Mono) {
        let mut out = Vec::new();
        let random = &mut self.random;
        let mut fresh = || {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random.to_le_bytes()
        };
        match self.panel.next(self.now, &mut fresh, &mut out) {
            Next::Send(bytes) => {
                let arrived = self.now + self.line.characters(bytes.len());
                for reader in &mut self.readers {
                    if let Some((after, answer)) = reader.hear(arrived, &bytes) {
                        self.coming.push((arrived + after + self.line.characters(answer.len()), answer));
                    }
                }
                self.sent.push((self.now, bytes));
            }
            Next::Listen { until } => {
                let first = self.coming.iter().map(|(at, _)| *at).min();
                let to = first.into_iter().chain([until, end]).min().unwrap_or(end);
                self.now = to.max(self.now + Duration::from_micros(1));
                self.coming.sort_by_key(|(at, _)| *at);
                while self.coming.first().is_some_and(|(at, _)| *at <= self.now) {
                    let (_, bytes) = self.coming.remove(0);
                    self.panel.hear(self.now, &bytes, &mut out);
                }
            }
        }
        let mut reports = Vec::new();
        self.panel.point_reports(&mut reports);
        self.reports.extend(reports.into_iter().map(|report| (self.now, report)));
        self.news.extend(out.into_iter().map(|(reader, news)| (self.now, reader, news)));
    }

    pub fn said(&self, reader: usize, wanted: impl Fn(&News) -> bool) -> usize {
        self.news.iter().filter(|(_, of, news)| *of == reader && wanted(news)).count()
    }

    pub fn cards(&self, reader: usize) -> usize {
        self.said(reader, |news| matches!(news, News::Card(_)))
    }

    pub fn lost(&self, reader: usize) -> usize {
        self.said(reader, |news| matches!(news, News::Lost { .. }))
    }

    pub fn online(&self, reader: usize) -> usize {
        self.said(reader, |news| *news == News::Online)
    }

    pub fn security(&self, reader: usize) -> usize {
        self.said(reader, |news| matches!(news, News::Security { .. }))
    }

    pub fn when(&self, reader: usize, wanted: impl Fn(&News) -> bool) -> Option<Mono> {
        self.news.iter().rev().find(|(_, of, news)| *of == reader && wanted(news)).map(|(at, ..)| *at)
    }
}

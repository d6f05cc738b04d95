//! The conversation with one reader. Owns its sequence number, its session and its retries; must never know of
//! other readers. Invariant: a retry is the same bytes under the same sequence number; after anything that
//! cannot be explained the conversation begins anew with sequence 0 and, where a key is due, with a handshake.
//!
//! ```text
//!            probe answered             identified           SCRYPT accepted
//!   Offline ───────────────▶ Identify ────────────▶ Handshake ─────────────▶ Online
//!      ▲  ▲                     │                    ▲    │                    │
//!      │  └─ retries used up ───┴────────────────────│────┴────────────────────┤
//!      │                                             └── session lost ─────────┘
//!      └── lost for longer than allowed
//! ```

use std::{collections::VecDeque, time::Duration};

use crate::{
    domain::time::Mono,
    wire::osdp::{
        command::Command,
        frame::{Check, Frame, Received, TooLong, Way},
        reply::{Capability, Card, Identity, Nak, Reply},
        secure::{Handshake, KeyKind, SCBK_DEFAULT, SecureError, Session},
    },
};

/// How often a command is sent again before the reader counts as not answering.
const RETRIES: u8 = 2;
/// The pause before a reader that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long a reader that is away is left alone between probes, at the start and at most.
const PROBE_AFTER: Duration = Duration::from_millis(500);
const PROBE_AFTER_MAX: Duration = Duration::from_millis(1_500);
/// Wishes that wait at a reader; of each kind the newest counts.
const WISHES_MAX: usize = 16;

/// What protects the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPolicy {
    /// The reader's own key.
    Own([u8; 16]),
    /// While installing: the default key is accepted, and replaced by this one at once.
    Install { fresh: [u8; 16] },
    /// By explicit opt-in only.
    Plain,
}

#[derive(Clone, Debug)]
pub struct ReaderConfig {
    pub address: u8,
    pub key: KeyPolicy,
    pub check: Check,
    /// Without an answer for this long the reader is lost.
    pub lost_after: Duration,
}

/// Something that the reader is to do, between polls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish(pub Command);

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It answers; `secure` unless plain was asked for.
    Online {
        secure: bool,
    },
    Lost {
        detail: String,
    },
    Identified {
        identity: Identity,
        capabilities: Vec<Capability>,
    },
    Card(Card),
    Formatted {
        reader: u8,
        text: Vec<u8>,
    },
    Keys {
        reader: u8,
        digits: Vec<u8>,
    },
    Tamper(bool),
    Power {
        failed: bool,
    },
    Inputs(Vec<bool>),
    Outputs(Vec<bool>),
    /// The reader has taken its new key: keep it.
    KeyTaken([u8; 16]),
    Com {
        address: u8,
        baud: u32,
    },
    /// A command was refused by the reader.
    Refused {
        code: u8,
        nak: Nak,
    },
    /// Somebody else speaks, or the reader was exchanged: a reply that should have been protected was not, or
    /// does not prove the key.
    Security {
        detail: String,
    },
}

#[derive(Debug)]
enum Phase {
    Offline {
        probe_at: Mono,
        pause: Duration,
    },
    Identify(Identify),
    /// The challenge is next.
    Begin,
    /// The challenge, or the proof, was sent.
    Handshake(Box<Handshake>, Proof),
    Online(Channel),
}

#[derive(Clone, Debug, Default)]
struct Identify {
    identity: Option<Identity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Challenge,
    Cryptogram,
}

#[derive(Debug)]
enum Channel {
    Plain,
    Secure(Box<Session>, KeyKind),
}

/// What is on the line, or was and is to be repeated.
#[derive(Debug)]
struct InFlight {
    bytes: Vec<u8>,
    command: Command,
    tries: u8,
    /// Not again before.
    not_before: Mono,
}

#[derive(Debug)]
pub struct Conversation {
    config: ReaderConfig,
    phase: Phase,
    sequence: u8,
    in_flight: Option<InFlight>,
    wishes: VecDeque<Command>,
    /// When it last answered anything that can be believed.
    heard: Mono,
    /// As last told.
    told_online: bool,
    identified: bool,
    local: Option<(bool, bool)>,
}

impl Conversation {
    pub fn new(config: ReaderConfig, now: Mono) -> Conversation {
        Conversation {
            config,
            phase: Phase::Offline { probe_at: now, pause: PROBE_AFTER },
            sequence: 0,
            in_flight: None,
            wishes: VecDeque::new(),
            heard: now,
            told_online: false,
            identified: false,
            local: None,
        }
    }

    pub fn address(&self) -> u8 {
        self.config.address
    }

    /// Of a kind that waits already, the newest counts.
    pub fn wish(&mut self, command: Command) {
        self.wishes.retain(|waiting| waiting.code() != command.code());
        if self.wishes.len() >= WISHES_MAX {
            self.wishes.pop_front();
        }
        self.wishes.push_back(command);
    }

    /// When it has something to say at the earliest.
    pub fn due(&self) -> Mono {
        match (&self.in_flight, &self.phase) {
            (Some(in_flight), _) => in_flight.not_before,
            (None, Phase::Offline { probe_at, .. }) => *probe_at,
            (None, _) => Mono::ZERO,
        }
    }

    pub fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online(_))
    }

    /// Whether more than the next poll waits to be said.
    pub fn is_eager(&self) -> bool {
        self.in_flight.is_some() || !self.wishes.is_empty() || matches!(self.phase, Phase::Begin | Phase::Handshake(..))
    }

    /// The next bytes for the line. `random` is asked for only where a handshake begins.
    pub fn speak(&mut self, now: Mono, random: &mut dyn FnMut() -> [u8; 8]) -> Result<Option<Vec<u8>>, TooLong> {
        if let Some(in_flight) = &mut self.in_flight {
            if now < in_flight.not_before {
                return Ok(None);
            }
            in_flight.tries += 1;
            return Ok(Some(in_flight.bytes.clone()));
        }
        let (security, command) = match &mut self.phase {
            Phase::Offline { probe_at, .. } if now < *probe_at => return Ok(None),
            Phase::Offline { .. } => (None, Command::Poll),
            Phase::Identify(Identify { identity: None }) => (None, Command::Id),
            Phase::Identify(Identify { identity: Some(_) }) => (None, Command::Capabilities),
            Phase::Begin => {
                let (kind, key) = match &self.config.key {
                    KeyPolicy::Own(key) => (KeyKind::Own, *key),
                    KeyPolicy::Install { .. } | KeyPolicy::Plain => (KeyKind::Default, SCBK_DEFAULT),
                };
                let handshake = Handshake::begin(kind, key, random());
                let (security, command) = handshake.challenge();
                self.phase = Phase::Handshake(Box::new(handshake), Proof::Challenge);
                (Some(security), command)
            }
            // The proof is put in flight when the cryptogram comes; without it there is nothing to say.
            Phase::Handshake(..) => return Ok(None),
            Phase::Online(channel) => {
                let command = match (&*channel, &self.config.key) {
                    (Channel::Secure(_, KeyKind::Default), KeyPolicy::Install { fresh }) => Command::KeySet(*fresh),
                    _ => self.wishes.pop_front().unwrap_or(Command::Poll),
                };
                if let Channel::Secure(session, _) = channel {
                    let bytes = session.seal(self.config.address, self.sequence, self.config.check, &command)?;
                    return Ok(Some(self.send(bytes, command, now)));
                }
                (None, command)
            }
        };
        let frame = Frame {
            way: Way::Command,
            address: self.config.address,
            sequence: self.sequence,
            check: self.config.check,
            security,
            code: command.code(),
            data: command.data(),
        };
        let bytes = frame.encode()?;
        Ok(Some(self.send(bytes, command, now)))
    }

    fn send(&mut self, bytes: Vec<u8>, command: Command, now: Mono) -> Vec<u8> {
        self.in_flight = Some(InFlight { bytes: bytes.clone(), command, tries: 1, not_before: now });
        bytes
    }

    /// A frame with this reader's address, while it was asked something.
    pub fn hear(&mut self, now: Mono, received: &Received, out: &mut Vec<News>) {
        let Some(asked) = self.in_flight.take() else { return };
        if received.frame.code == BUSY {
            // Busy is said under sequence 0 and outside of the session; the same bytes again, later.
            self.heard = now;
            self.in_flight = Some(InFlight { not_before: now + BUSY_PAUSE, tries: 0, ..asked });
            return;
        }
        if received.frame.sequence != self.sequence {
            // An answer to something else, or to nobody: not ours.
            self.in_flight = Some(asked);
            return;
        }
        match self.read(received) {
            Ok(Reply::Nak(nak)) => self.refused(now, asked.command.code(), nak, out),
            Ok(reply) => self.answered(now, &asked.command, reply, received, out),
            Err(error) => {
                if matches!(error, SecureError::Cleartext | SecureError::BadMac | SecureError::WrongCryptogram) {
                    out.push(News::Security { detail: error.to_string() });
                }
                self.anew(now);
            }
        }
    }

    fn read(&mut self, received: &Received) -> Result<Reply, SecureError> {
        let plain = || Ok(Reply::parse(received.frame.code, &received.frame.data)?);
        match &mut self.phase {
            // A NAK may be outside of the session: the reader may have lost it.
            Phase::Online(Channel::Secure(..)) if received.frame.security.is_none() && received.frame.code == NAK => {
                plain()
            }
            Phase::Online(Channel::Secure(session, _)) => session.open(received),
            _ => plain(),
        }
    }

    fn answered(&mut self, now: Mono, asked: &Command, reply: Reply, received: &Received, out: &mut Vec<News>) {
        self.heard = now;
        self.sequence = self.sequence % 3 + 1;
        match std::mem::replace(&mut self.phase, Phase::Begin) {
            Phase::Offline { .. } => {
                self.phase = if self.identified { self.protected(out) } else { Phase::Identify(Identify::default()) };
            }
            Phase::Identify(mut identify) => {
                match (reply, identify.identity) {
                    (Reply::Id(identity), _) => identify.identity = Some(identity),
                    (Reply::Capabilities(capabilities), Some(identity)) => {
                        self.identified = true;
                        out.push(News::Identified { identity, capabilities });
                        self.phase = self.protected(out);
                        return;
                    }
                    _ => {}
                }
                self.phase = Phase::Identify(identify);
            }
            Phase::Begin => {}
            Phase::Handshake(handshake, proof) => self.shake(now, handshake, proof, received, out),
            Phase::Online(channel) => {
                self.phase = Phase::Online(channel);
                self.told(now, asked, reply, out);
            }
        }
    }

    /// What comes after identification: a handshake, or, by opt-in, nothing.
    fn protected(&mut self, out: &mut Vec<News>) -> Phase {
        if self.config.key == KeyPolicy::Plain {
            self.online(false, out);
            return Phase::Online(Channel::Plain);
        }
        Phase::Begin
    }

    fn shake(
        &mut self,
        now: Mono,
        mut handshake: Box<Handshake>,
        proof: Proof,
        received: &Received,
        out: &mut Vec<News>,
    ) {
        let result = match proof {
            Proof::Challenge => handshake.prove(received).map(|(security, command)| {
                let frame = Frame {
                    way: Way::Command,
                    address: self.config.address,
                    sequence: self.sequence,
                    check: self.config.check,
                    security: Some(security),
                    code: command.code(),
                    data: command.data(),
                };
                let bytes = frame.encode().unwrap_or_default();
                self.in_flight = Some(InFlight { bytes, command, tries: 0, not_before: now });
                self.phase = Phase::Handshake(handshake, Proof::Cryptogram);
            }),
            Proof::Cryptogram => {
                let kind = handshake.kind();
                handshake.complete(received).map(|session| {
                    self.phase = Phase::Online(Channel::Secure(Box::new(session), kind));
                    // A reader under the default key is not there yet: it is given its own first.
                    if kind == KeyKind::Own {
                        self.online(true, out);
                    }
                })
            }
        };
        if let Err(error) = result {
            out.push(News::Security { detail: error.to_string() });
            self.anew(now);
        }
    }

    fn told(&mut self, now: Mono, asked: &Command, reply: Reply, out: &mut Vec<News>) {
        match reply {
            Reply::Ack => {
                if let Command::KeySet(key) = asked {
                    self.config.key = KeyPolicy::Own(*key);
                    out.push(News::KeyTaken(*key));
                    // The new key holds from the next session on.
                    self.anew(now);
                }
            }
            Reply::Card(card) => out.push(News::Card(card)),
            Reply::Formatted { reader, text } => out.push(News::Formatted { reader, text }),
            Reply::Keypad { reader, digits } => out.push(News::Keys { reader, digits }),
            Reply::LocalStatus { tamper, power_failure } => {
                let before = self.local.replace((tamper, power_failure));
                if before.is_none_or(|(was, _)| was != tamper) {
                    out.push(News::Tamper(tamper));
                }
                if before.is_none_or(|(_, was)| was != power_failure) {
                    out.push(News::Power { failed: power_failure });
                }
            }
            Reply::InputStatus(inputs) => out.push(News::Inputs(inputs)),
            Reply::OutputStatus(outputs) => out.push(News::Outputs(outputs)),
            Reply::Com { address, baud } => {
                self.config.address = address;
                out.push(News::Com { address, baud });
            }
            _ => {}
        }
    }

    fn refused(&mut self, now: Mono, code: u8, nak: Nak, out: &mut Vec<News>) {
        self.heard = now;
        match nak {
            Nak::Sequence | Nak::EncryptionRequired | Nak::SecurityBlockUnsupported | Nak::Check => {
                if matches!(self.phase, Phase::Handshake(..)) {
                    out.push(News::Security { detail: "the reader refuses the secure channel".to_owned() });
                }
                self.anew(now);
            }
            _ => {
                self.sequence = self.sequence % 3 + 1;
                // A reader that knows neither who it is nor what it can do may still read cards.
                if let Phase::Identify(identify) = &self.phase {
                    let identity = identify.identity.unwrap_or(Identity {
                        vendor: [0; 3],
                        model: 0,
                        version: 0,
                        serial: 0,
                        firmware: [0; 3],
                    });
                    self.identified = true;
                    out.push(News::Identified { identity, capabilities: Vec::new() });
                    self.phase = self.protected(out);
                }
                out.push(News::Refused { code, nak });
            }
        }
    }

    /// No answer within the time for one.
    pub fn unanswered(&mut self, now: Mono, out: &mut Vec<News>) {
        let tries = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.tries);
        match &mut self.phase {
            Phase::Offline { probe_at, pause } => {
                *probe_at = now + *pause;
                *pause = (*pause * 2).min(PROBE_AFTER_MAX);
                self.in_flight = None;
                self.sequence = 0;
            }
            _ if tries <= RETRIES => {}
            _ if now.since(self.heard) < self.config.lost_after => self.anew(now),
            _ => {}
        }
        if self.told_online && now.since(self.heard) >= self.config.lost_after {
            self.told_online = false;
            self.local = None;
            out.push(News::Lost { detail: "does not answer".to_owned() });
        }
        if now.since(self.heard) >= self.config.lost_after && !matches!(self.phase, Phase::Offline { .. }) {
            self.phase = Phase::Offline { probe_at: now + PROBE_AFTER, pause: PROBE_AFTER };
            self.in_flight = None;
            self.sequence = 0;
        }
    }

    /// Sequence 0, and a handshake where one is due.
    fn anew(&mut self, now: Mono) {
        self.sequence = 0;
        self.in_flight = None;
        self.phase = match (&self.config.key, self.identified) {
            (_, false) => Phase::Offline { probe_at: now, pause: PROBE_AFTER },
            (KeyPolicy::Plain, true) => Phase::Online(Channel::Plain),
            (_, true) => Phase::Begin,
        };
    }

    fn online(&mut self, secure: bool, out: &mut Vec<News>) {
        if !std::mem::replace(&mut self.told_online, true) {
            out.push(News::Online { secure });
            self.wish(Command::LocalStatus);
        }
    }
}

const NAK: u8 = 0x41;
const BUSY: u8 = 0x79;

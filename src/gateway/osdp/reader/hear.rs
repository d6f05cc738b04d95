//! What a reader answers. Owns which answers are believed; must never take one in the clear for more than a sign
//! of life where a session is due. Invariant: an answer that is not to what was asked leaves the question standing.

use super::{
    BUSY_PAUSE, Channel, Conversation, InFlight, PROBE_AFTER, PROBE_AFTER_MAX, Phase, REFUSALS_MIN, Told, WISHES_MAX,
    same_thing,
};
use crate::{
    domain::time::Mono,
    gateway::osdp::{
        keys::{Origin, Protection},
        news::News,
    },
    wire::osdp::{
        ADDRESS_MAX,
        command::Command,
        frame::Received,
        reply::{BUSY, CLIENT_CRYPTOGRAM, COM, INITIAL_MAC, NAK, Nak, Reply},
        secure::SecureError,
    },
};

impl Conversation {
    /// A frame with this reader's address, while it was asked something. True: that was the answer, the line is
    /// free; false: it was not, the answer may still come.
    pub fn hear(&mut self, now: Mono, received: &Received, out: &mut Vec<News>) -> bool {
        let Some(asked) = self.in_flight.take() else { return false };
        let frame = &received.frame;
        let in_clear = frame.security.is_none();
        let refusal = || match Reply::parse(frame.code, &frame.data) {
            Ok(Reply::Nak(nak)) if frame.code == NAK => Some(nak),
            _ => None,
        };
        // Busy is said under sequence 0 and outside of the session: the same bytes again, later.
        if frame.code == BUSY && in_clear && (frame.sequence == 0 || self.is_expected(received)) {
            self.busy = true;
            self.in_flight = Some(InFlight { not_before: now + BUSY_PAUSE, ..asked });
            return true;
        }
        // Who lost count says so under a number of its own.
        let lost_count = frame.code == NAK && in_clear && refusal() == Some(Nak::Sequence);
        if !self.is_expected(received) && !lost_count {
            self.in_flight = Some(asked);
            return false;
        }
        match &self.phase {
            Phase::Away { .. } => self.hear_probed(now, received, out),
            Phase::Begin => return false,
            Phase::Handshake(..) if lost_count => self.anew(now),
            Phase::Handshake(..) => return self.hear_handshake(now, received, asked, out),
            Phase::Online(Channel::Secure(..)) if in_clear => match refusal() {
                // It did not get it whole: again.
                Some(Nak::Check) => {
                    self.in_flight = Some(asked);
                    self.unanswered(now);
                }
                Some(Nak::Sequence | Nak::SecurityBlockUnsupported | Nak::EncryptionRequired) => self.anew(now),
                // Some readers let go of the session before they say that they have the new key: it is to be proven.
                _ if matches!(asked.command, Command::KeySet(_)) => self.anew(now),
                _ => {
                    self.security(now, "a reply in the clear from a reader with a secure channel".to_owned(), out);
                    self.anew(now);
                }
            },
            Phase::Online(_) => self.hear_online(now, received, asked, out),
        }
        true
    }

    fn is_expected(&self, received: &Received) -> bool {
        received.frame.sequence == self.sequence
    }

    /// Whatever it says, it is there. A card is not taken from it in the clear.
    fn hear_probed(&mut self, now: Mono, received: &Received, out: &mut Vec<News>) {
        if self.plan.protection == Protection::Plain {
            self.forget();
            self.phase = Phase::Online(Channel::Plain);
            self.sequence = 1;
            self.online(now, out);
            if let Ok(reply) = Reply::parse(received.frame.code, &received.frame.data) {
                self.told(now, &Command::Poll, reply, out);
            }
            return;
        }
        if matches!(Reply::parse(received.frame.code, &received.frame.data), Ok(Reply::Card(_) | Reply::Keypad { .. }))
        {
            let detail = "a card or key in the clear from a reader that is to have a secure channel: not taken";
            self.security(now, detail.to_owned(), out);
        }
        self.anew(now);
        // A reader that refused the probe has not counted it.
        self.sequence = if received.frame.code == NAK { 0 } else { 1 };
    }

    fn hear_handshake(&mut self, now: Mono, received: &Received, asked: InFlight, out: &mut Vec<News>) -> bool {
        let Phase::Handshake(handshake, origin) = &mut self.phase else { return false };
        let origin = *origin;
        let result = match (received.frame.code, &asked.command) {
            (NAK, _) => return self.refused_channel(now, out),
            (CLIENT_CRYPTOGRAM, Command::Challenge(_)) => {
                handshake.prove(received).map(Some).map_err(|error| error.to_string())
            }
            (INITIAL_MAC, Command::ServerCryptogram(_)) => match handshake.complete(received) {
                Ok(session) => {
                    self.phase = Phase::Online(Channel::Secure(Box::new(session), origin));
                    Ok(None)
                }
                Err(error) => Err(error.to_string()),
            },
            // Late, or of somebody else.
            _ => {
                self.in_flight = Some(asked);
                return false;
            }
        };
        match result {
            Ok(proof) => {
                self.misses = 0;
                self.sequence = next(self.sequence);
                match proof {
                    Some((security, command)) => {
                        // A proof is 21 bytes: it always fits.
                        let bytes = self.plain(Some(security), &command).unwrap_or_default();
                        self.in_flight = Some(InFlight { bytes, command, not_before: now, until: None });
                    }
                    None => self.session_stands(now, origin, out),
                }
            }
            Err(detail) => self.not_proven(now, detail, out),
        }
        true
    }

    fn refused_channel(&mut self, now: Mono, out: &mut Vec<News>) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        let detail = (self.refusals >= REFUSALS_MIN).then(|| "the reader refuses the secure channel".to_owned());
        self.next_key(now, detail, out);
        true
    }

    fn not_proven(&mut self, now: Mono, detail: String, out: &mut Vec<News>) {
        self.next_key(now, Some(detail), out);
    }

    /// The next key, if there is one; else a pause.
    fn next_key(&mut self, now: Mono, detail: Option<String>, out: &mut Vec<News>) {
        self.forget();
        self.attempt += 1;
        self.misses = self.misses.saturating_add(1);
        let Protection::Secure(keys) = &self.plan.protection else { return };
        if !self.attempt.is_multiple_of(keys.candidates(now).count().max(1)) {
            self.phase = Phase::Begin;
            return;
        }
        self.trouble = "it does not prove the key that it was given";
        if let Some(detail) = detail {
            self.security(now, detail, out);
        }
        let pause = if self.told == Told::Lost { PROBE_AFTER_MAX } else { PROBE_AFTER };
        self.away(now, pause);
    }

    fn session_stands(&mut self, now: Mono, origin: Origin, out: &mut Vec<News>) {
        if origin == Origin::Default {
            return;
        }
        self.heard = now;
        if let Protection::Secure(keys) = &mut self.plan.protection
            && origin == Origin::Pending
        {
            out.extend(keys.take_pending().map(News::KeyTaken));
            if let Phase::Online(Channel::Secure(_, origin)) = &mut self.phase {
                *origin = Origin::Current;
            }
            self.attempt = 0;
        }
        if !self.unannounced {
            self.online(now, out);
        }
    }

    fn hear_online(&mut self, now: Mono, received: &Received, asked: InFlight, out: &mut Vec<News>) {
        let reply = match &mut self.phase {
            Phase::Online(Channel::Secure(session, _)) => session.open(received),
            _ => Reply::parse(received.frame.code, &received.frame.data).map_err(SecureError::from),
        };
        match reply {
            Ok(Reply::Nak(nak)) => self.refused(now, asked, nak, out),
            // Everybody has the default key: it is good for taking another one, and for nothing else.
            Ok(reply) if !self.is_online() && reply != Reply::Ack => self.believed(now),
            // It is there, and nothing is to be had of it: as if it had said so outside of the session.
            Ok(Reply::Busy) => {
                let heard = self.heard;
                self.believed(now);
                (self.heard, self.busy) = (heard, true);
                self.put_off(now, &asked.command);
                self.left_open(&asked.command);
            }
            // The MAC proves it, and everybody on the line can read it.
            Ok(Reply::Card(_) | Reply::Formatted { .. } | Reply::Keypad { .. }) if self.is_bare(received) => {
                self.believed(now);
                let detail = "a card or key that is proven but not encrypted (SCS_16): not taken";
                self.security(now, detail.to_owned(), out);
                self.left_open(&asked.command);
            }
            Ok(reply) => {
                self.believed(now);
                if self.is_online() && std::mem::take(&mut self.unannounced) {
                    self.online(now, out);
                }
                self.told(now, &asked.command, reply, out);
                self.left_open(&asked.command);
            }
            // Whole and ours, and not laid out as it should be: nothing of it counts, the conversation goes on.
            Err(SecureError::Reply(_)) => {
                self.believed(now);
                self.left_open(&asked.command);
            }
            Err(error) => {
                self.security(now, error.to_string(), out);
                self.anew(now);
            }
        }
    }

    fn is_bare(&self, received: &Received) -> bool {
        matches!(self.phase, Phase::Online(Channel::Secure(..))) && !received.frame.is_encrypted()
    }

    /// Whatever it answered: an OUT that it did not take by that may have been carried out, or not.
    fn left_open(&mut self, asked: &Command) {
        if let (Command::Output(_), Some(points)) = (asked, &mut self.points) {
            points.interrupted();
        }
    }

    fn believed(&mut self, now: Mono) {
        self.heard = now;
        self.misses = 0;
        self.begins = 0;
        self.busy = false;
        self.sequence = next(self.sequence);
    }

    fn refused(&mut self, now: Mono, asked: InFlight, nak: Nak, out: &mut Vec<News>) {
        match nak {
            Nak::Check => {
                self.in_flight = Some(asked);
                self.unanswered(now);
            }
            Nak::Sequence | Nak::EncryptionRequired | Nak::SecurityBlockUnsupported => self.anew(now),
            _ => {
                self.believed(now);
                if let (Command::KeySet(_), Protection::Secure(keys)) = (&asked.command, &mut self.plan.protection) {
                    keys.install_until = None;
                    out.push(News::InstallEnded { detail: format!("the reader does not take a key (NAK {nak:?})") });
                    if !self.is_online() {
                        self.away(now, PROBE_AFTER);
                    }
                }
                if let Some(points) = &mut self.points {
                    points.refused(now, &asked.command, nak);
                }
                if matches!(asked.command, Command::ComSet { .. }) {
                    self.line_change = None;
                    out.push(News::LineNotSet { detail: format!("the reader refuses it (NAK {nak:?})") });
                }
                out.push(News::Refused { code: asked.command.code(), nak });
            }
        }
    }

    fn told(&mut self, now: Mono, asked: &Command, reply: Reply, out: &mut Vec<News>) {
        match reply {
            Reply::Ack => {
                if let (Command::Output(_), Some(points)) = (asked, &mut self.points) {
                    points.acknowledged(now);
                }
                if let (Command::KeySet(_), Protection::Secure(keys)) = (asked, &mut self.plan.protection) {
                    out.extend(keys.take_pending().map(News::KeyTaken));
                    self.attempt = 0;
                    // The new key holds from the next session on.
                    self.anew(now);
                }
            }
            Reply::Id(identity) => out.push(News::Identified(identity)),
            Reply::Capabilities(capabilities) => {
                out.push(News::Capable(capabilities));
                self.wish(Command::ReaderStatus);
            }
            Reply::Card(card) => out.push(News::Card(card)),
            Reply::Formatted { reader, text } => out.push(News::Formatted { reader, text }),
            Reply::Keypad { reader, digits } => out.push(News::Keys { reader, digits }),
            Reply::LocalStatus { tamper, power_failure } => {
                let before = self.local.replace((tamper, power_failure));
                if before.is_none_or(|(_, was)| was != power_failure) {
                    out.push(News::Power { failed: power_failure });
                }
                self.tamper(out);
                if *asked == Command::LocalStatus && self.tells_covers {
                    self.wish(Command::ReaderStatus);
                }
            }
            Reply::ReaderStatus(readers) => {
                self.tells_covers = true;
                self.covers_open = readers.contains(&TAMPERED);
                self.tamper(out);
            }
            Reply::InputStatus(states) => {
                if let Some(points) = &mut self.points {
                    points.inputs(now, &states, *asked == Command::InputStatus);
                }
            }
            Reply::OutputStatus(states) => match (asked, &mut self.points) {
                (Command::Output(_), Some(points)) => points.acknowledged_with(now, &states),
                (_, Some(points)) => points.outputs(now, &states),
                (_, None) => {}
            },
            Reply::Com { address, baud } => self.moved(asked, address, baud, out),
            Reply::Manufacturer { vendor, data } => {
                let bytes = data.len();
                out.extend(self.odd().map(|count| News::Manufacturer { vendor, bytes, count }));
            }
            Reply::Other { code } => out.extend(self.odd().map(|count| News::Unhandled { code, count })),
            Reply::Busy | Reply::Nak(_) | Reply::ClientCryptogram { .. } | Reply::InitialMac(_) => {}
        }
    }

    /// A reply that nothing is made of: told when their count is a power of two, for some readers are full of them.
    fn odd(&mut self) -> Option<u64> {
        self.odd = self.odd.saturating_add(1);
        Some(self.odd).filter(|count| count.is_power_of_two())
    }

    /// It is busy within its session, and has not done it.
    fn put_off(&mut self, now: Mono, asked: &Command) {
        match (asked, &mut self.points) {
            (Command::Output(_), Some(points)) => points.put_off(now),
            // Said again in its time; and a key only while it may be.
            (Command::InputStatus | Command::OutputStatus | Command::Poll | Command::KeySet(_), _) => {}
            (Command::ComSet { .. }, _) => {
                if let Some(change) = &mut self.line_change {
                    change.sent = false;
                }
            }
            _ if self.wishes.len() >= WISHES_MAX || self.wishes.iter().any(|newer| same_thing(newer, asked)) => {}
            _ => self.wishes.push_front(asked.clone()),
        }
    }

    /// The reader says which settings it has from now on. Nobody asked: it keeps what it has.
    fn moved(&mut self, asked: &Command, address: u8, baud: u32, out: &mut Vec<News>) {
        let Command::ComSet { address: wanted, baud: wanted_baud } = asked else {
            return out.extend(self.odd().map(|count| News::Unhandled { code: COM, count }));
        };
        self.line_change = None;
        if address <= ADDRESS_MAX {
            self.plan.address = address;
        }
        if (address, baud) == (*wanted, *wanted_baud) {
            out.push(News::LineSet { address, baud });
        } else {
            let detail = format!("it took address {address} and {baud} baud instead");
            out.push(News::LineNotSet { detail });
        }
    }

    fn tamper(&mut self, out: &mut Vec<News>) {
        let tamper = self.covers_open || self.local.is_some_and(|(tamper, _)| tamper);
        if self.tamper_told.replace(tamper) != Some(tamper) {
            out.push(News::Tamper(tamper));
        }
        if let Some(points) = &mut self.points {
            points.local(tamper, self.local.is_some_and(|(_, power)| power));
        }
    }

    /// It is as it should be: who it is and how it stands is asked anew.
    fn online(&mut self, now: Mono, out: &mut Vec<News>) {
        self.heard = now;
        self.misses = 0;
        self.refusals = 0;
        self.security_told = None;
        let was = std::mem::replace(&mut self.told, Told::Online);
        if let Some(points) = &mut self.points {
            points.session();
        }
        if let Some(change) = self.line_change.take_if(|change| change.unsure.is_some()) {
            out.push(if self.plan.address == change.address {
                News::LineSet { address: change.address, baud: change.baud }
            } else {
                News::LineNotSet { detail: "it did not answer, and is where it was".to_owned() }
            });
        }
        let is_new = was != Told::Online;
        if is_new {
            (self.local, self.covers_open, self.tells_covers) = (None, false, false);
        }
        out.push(if is_new { News::Online } else { News::Renewed });
        // In the clear it may be another one at the same address.
        if is_new || self.plan.protection == Protection::Plain {
            self.wish(Command::Id);
            self.wish(Command::Capabilities);
        }
        self.wish(Command::LocalStatus);
    }
}

/// In RSTATR: the reader's cover.
const TAMPERED: u8 = 2;

fn next(sequence: u8) -> u8 {
    sequence % 3 + 1
}

//! Which readers answer on a line, and where. Owns the order of the questions and what the answers mean; must never
//! ask anything but POLL, ID and CAP, nor anybody's address, so that no reader is changed. Invariant: every address
//! is asked under every setting.
//!
//! All is said in the clear and under sequence 0, which begins a conversation anew: a reader that has a session with
//! a panel ends it. One that wants a session first says so (NAK 6), which tells that it is there as well.

use crate::wire::osdp::{
    ADDRESS_MAX,
    command::Command,
    frame::{Check, Frame, Received, TooLong, Way},
    reply::{Capability, Identity, Nak, Reply},
};

/// Most installers number from 0 and have a handful: those are asked under every setting first.
const LIKELY: u8 = 8;
/// A reader that is busy is asked again so often.
const BUSY_MAX: u32 = 5;
/// Function code of PDCAP.
const SECURITY: u8 = 9;

/// Which of the line's settings, in the order given to [`Scan::new`].
pub type Setting = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub setting: Setting,
    pub address: u8,
    pub bytes: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// Bytes that are no answer of OSDP.
    Noise(String),
    Frame(Box<Received>),
}

/// A reader that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub setting: Setting,
    pub address: u8,
    pub check: Check,
    /// Absent: it does not say who it is in the clear.
    pub identity: Option<Identity>,
    pub capabilities: Option<Vec<Capability>>,
    pub wants_session: bool,
}

/// Whether it has the secure channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Unknown,
    None,
    Supported,
    /// It answers nothing else.
    Required,
}

impl Found {
    fn security(&self) -> Option<Option<Capability>> {
        let capabilities = self.capabilities.as_ref()?;
        Some(capabilities.iter().copied().find(|is| is.function == SECURITY))
    }

    pub fn channel(&self) -> Channel {
        match self.security() {
            _ if self.wants_session => Channel::Required,
            None => Channel::Unknown,
            Some(is) if is.is_some_and(|is| is.level & 1 == 1) => Channel::Supported,
            Some(_) => Channel::None,
        }
    }

    /// It says that it still has the key that everybody knows.
    pub fn has_default_key(&self) -> bool {
        self.security().flatten().is_some_and(|is| is.level & 1 == 1 && is.count & 1 == 1)
    }

    /// How many of a function it has, by PDCAP.
    pub fn count(&self, function: u8) -> Option<u8> {
        let capabilities = self.capabilities.as_ref()?;
        Some(capabilities.iter().find(|is| is.function == function && is.level > 0).map_or(0, |is| is.count))
    }
}

/// Something came that is no answer: two readers with one address, another protocol, a wrong speed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noise {
    pub setting: Setting,
    pub address: u8,
    pub detail: String,
}

#[derive(Debug)]
pub struct Scan {
    addresses: Vec<(Setting, u8)>,
    at: usize,
    asked: Asked,
    busy: u32,
    found: Vec<Found>,
    noise: Vec<Noise>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Is there anybody?
    Poll(Check),
    Id(Check),
    Capabilities(Check),
}

impl Scan {
    /// Addresses that no reader can have are left out.
    pub fn new(settings: usize, addresses: impl Iterator<Item = u8> + Clone) -> Scan {
        let all = |likely: bool| {
            let addresses = addresses.clone().filter(|address| *address <= ADDRESS_MAX);
            (0..settings).flat_map(move |setting| {
                let addresses = addresses.clone().filter(move |address| (*address < LIKELY) == likely);
                addresses.map(move |address| (setting, address))
            })
        };
        let addresses = all(true).chain(all(false)).collect();
        let asked = Asked::Poll(Check::Crc);
        Scan { addresses, at: 0, asked, busy: 0, found: Vec::new(), noise: Vec::new() }
    }

    /// What to ask now; none when all is done.
    pub fn next(&self) -> Result<Option<Question>, TooLong> {
        let Some((setting, address)) = self.addresses.get(self.at).copied() else { return Ok(None) };
        let (command, check) = match self.asked {
            Asked::Poll(check) => (Command::Poll, check),
            Asked::Id(check) => (Command::Id, check),
            Asked::Capabilities(check) => (Command::Capabilities, check),
        };
        let (code, data) = (command.code(), command.data());
        let frame = Frame { way: Way::Command, address, sequence: 0, check, security: None, code, data };
        Ok(Some(Question { setting, address, bytes: frame.encode()? }))
    }

    /// What came back to [`Scan::next`].
    pub fn heard(&mut self, heard: Heard) {
        let Some((setting, address)) = self.addresses.get(self.at).copied() else { return };
        let heard = match heard {
            Heard::Frame(received) if received.frame.address != address => {
                Heard::Noise(format!("an answer of address {}", received.frame.address))
            }
            heard => heard,
        };
        let reply = match heard {
            Heard::Frame(received) => Reply::parse(received.frame.code, &received.frame.data).ok(),
            Heard::Noise(detail) => {
                self.noise.push(Noise { setting, address, detail });
                return self.unanswered();
            }
            Heard::Nothing => return self.unanswered(),
        };
        if reply == Some(Reply::Busy) && self.busy < BUSY_MAX {
            self.busy += 1;
            return;
        }
        self.busy = 0;
        let wants_session = matches!(reply, Some(Reply::Nak(Nak::EncryptionRequired)));
        match self.asked {
            Asked::Poll(check) => {
                let (identity, capabilities) = (None, None);
                self.found.push(Found { setting, address, check, identity, capabilities, wants_session });
                self.asked = Asked::Id(check);
            }
            Asked::Id(check) => {
                if let (Some(Reply::Id(identity)), Some(found)) = (reply, self.found.last_mut()) {
                    found.identity = Some(identity);
                }
                self.asked = Asked::Capabilities(check);
            }
            Asked::Capabilities(_) => {
                if let (Some(Reply::Capabilities(capabilities)), Some(found)) = (reply, self.found.last_mut()) {
                    found.capabilities = Some(capabilities);
                }
                self.next_address();
            }
        }
    }

    /// Old readers know the checksum alone.
    fn unanswered(&mut self) {
        self.busy = 0;
        match self.asked {
            Asked::Poll(Check::Crc) => self.asked = Asked::Poll(Check::Checksum),
            Asked::Poll(Check::Checksum) | Asked::Capabilities(_) => self.next_address(),
            Asked::Id(check) => self.asked = Asked::Capabilities(check),
        }
    }

    fn next_address(&mut self) {
        self.at += 1;
        self.asked = Asked::Poll(Check::Crc);
    }

    /// Addresses done, and all of them.
    pub fn progress(&self) -> (usize, usize) {
        (self.at, self.addresses.len())
    }

    pub fn found(&self) -> &[Found] {
        &self.found
    }

    pub fn noise(&self) -> &[Noise] {
        &self.noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::osdp::{
        frame::Decoder,
        testkit::{frame_of, reply},
    };

    /// A reader's answer to what was asked.
    fn answer(bytes: &[u8], secure: bool) -> Heard {
        let asked = frame_of(bytes);
        let (code, data) = match asked.frame.code {
            0x60 if secure => (0x41, vec![6]),
            0x60 => (0x40, vec![]),
            0x61 => (0x45, vec![0x5C, 0x26, 0x23, 7, 2, 1, 0, 0, 0, 3, 4, 5]),
            0x62 => (0x46, vec![1, 1, 2, 2, 1, 1, 9, 1, u8::from(!secure)]),
            code => panic!("{code:x} was asked"),
        };
        Heard::Frame(Box::new(frame_of(&reply(&asked, None, code, data))))
    }

    fn run(mut scan: Scan, line: impl Fn(&Question) -> Heard) -> (Scan, Vec<Question>) {
        let mut asked = Vec::new();
        while let Some(question) = scan.next().unwrap() {
            scan.heard(line(&question));
            asked.push(question);
            assert!(asked.len() < 10_000, "it must end");
        }
        (scan, asked)
    }

    #[test]
    fn a_reader_is_found_at_its_address_and_speed_with_who_it_is_and_whether_it_has_the_secure_channel() {
        let (scan, _) = run(Scan::new(3, 0..=126), |question| match (question.setting, question.address) {
            (1, 5) => answer(&question.bytes, true),
            (1, 90) => answer(&question.bytes, false),
            _ => Heard::Nothing,
        });
        let [first, second] = scan.found() else { panic!("{:?}", scan.found()) };
        assert_eq!(
            (first.setting, first.address, first.channel(), first.has_default_key()),
            (1, 5, Channel::Required, false)
        );
        let identity = first.identity.unwrap();
        assert_eq!(
            (identity.vendor, identity.model, identity.serial, identity.firmware),
            ([0x5C, 0x26, 0x23], 7, 1, [3, 4, 5])
        );
        assert_eq!((second.channel(), second.has_default_key()), (Channel::Supported, true));
        assert_eq!((second.count(1), second.count(2), second.count(5)), (Some(2), Some(1), Some(0)));
        assert_eq!(scan.progress(), (3 * 127, 3 * 127));
    }

    #[test]
    fn nobody_is_asked_anything_that_could_change_a_reader_and_everybody_at_once_nothing() {
        let (_, asked) = run(Scan::new(2, 0..=255), |question| answer(&question.bytes, true));
        assert_eq!(asked.iter().map(|question| question.address).max(), Some(ADDRESS_MAX));
        for question in asked {
            let mut decoder = Decoder::default();
            decoder.push(&question.bytes);
            let frame = decoder.next_frame().unwrap().frame;
            assert!(matches!(frame.code, 0x60..=0x62) && frame.sequence == 0 && frame.security.is_none());
        }
    }

    #[test]
    fn a_reader_that_knows_the_checksum_alone_is_found_by_it() {
        let (scan, _) = run(Scan::new(1, 0..=3), |question| match frame_of(&question.bytes).frame {
            Frame { check: Check::Checksum, address: 2, .. } => answer(&question.bytes, false),
            _ => Heard::Nothing,
        });
        assert_eq!(
            scan.found().iter().map(|found| (found.address, found.check)).collect::<Vec<_>>(),
            [(2, Check::Checksum)]
        );
    }

    #[test]
    fn a_reader_that_says_nothing_of_itself_is_there_all_the_same() {
        let (scan, _) = run(Scan::new(1, 4..=4), |question| {
            let asked = frame_of(&question.bytes);
            match asked.frame.code {
                0x60 => answer(&question.bytes, false),
                0x61 => Heard::Frame(Box::new(frame_of(&reply(&asked, None, 0x41, vec![3])))),
                _ => Heard::Nothing,
            }
        });
        let [found] = scan.found() else { panic!() };
        assert_eq!((found.identity, found.channel()), (None, Channel::Unknown));
    }

    #[test]
    fn one_that_is_always_busy_is_found_and_not_waited_for_without_end() {
        let (scan, asked) = run(Scan::new(1, 4..=4), |question| {
            Heard::Frame(Box::new(frame_of(&reply(&frame_of(&question.bytes), None, 0x79, vec![]))))
        });
        assert_eq!(scan.found().len(), 1);
        assert!(asked.len() < 30, "{}", asked.len());
    }

    #[test]
    fn noise_and_the_answers_of_others_are_told_and_are_no_reader() {
        let (scan, _) = run(Scan::new(1, 4..=5), |question| match question.address {
            4 => Heard::Noise("7 bytes".to_owned()),
            _ => {
                let mut frame = frame_of(&question.bytes);
                frame.frame.address = 9;
                answer(&frame.frame.encode().unwrap(), false)
            }
        });
        assert_eq!(scan.found(), []);
        assert_eq!(scan.noise().len(), 4);
        assert!(scan.noise()[2].detail.contains("address 9"));
    }

    #[test]
    fn low_addresses_are_asked_under_every_setting_first() {
        let (_, asked) = run(Scan::new(2, 0..=126), |_| Heard::Nothing);
        let mut order: Vec<_> = asked.iter().map(|question| (question.setting, question.address)).collect();
        order.dedup();
        assert_eq!((order[0], order[8], order[16]), ((0, 0), (1, 0), (0, 8)));
        assert_eq!(order.len(), 2 * 127);
    }
}

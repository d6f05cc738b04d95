//! The conversation with one reader. Owns its sequence number, its session and its retries; must never know of
//! other readers, and never believe anything in the clear from a reader that has, or is to have, a session.
//! Invariant: a retry is the same bytes under the same sequence number; after anything that cannot be explained
//! the conversation begins anew with sequence 0 and, where a key is due, with a handshake.
//!
//! ```text
//!             probe (POLL) answered         CHLNG ─▶ CCRYPT, SCRYPT ─▶ RMAC_I
//!   Away ───────────────────────────▶ Begin ───────────────────────────────▶ Online
//!    ▲                                  ▲                                       │
//!    │ not proven with any key,         └── NAK 4, 5, 6, cleartext, bad MAC ────┤
//!    └── no answer for too long ────────────────────────────────────────────────┘
//! ```
//!
//! The probe is the only thing that is said in the clear, and of its answer nothing counts but that there is one:
//! some readers answer nothing else before they have seen a POLL. `hear` takes replies, this file the rest.

mod hear;

use std::{collections::VecDeque, time::Duration};

use super::{
    keys::{Origin, Protection},
    news::News,
    points::Points,
};
use crate::{
    domain::{bucket::Bucket, fieldbus::ReaderPoints, time::Mono},
    wire::osdp::{
        command::Command,
        frame::{Check, Frame, SecurityBlock, TooLong, Way},
        secure::{Handshake, Session},
    },
};

/// So many polls without a believed answer, at least, before a reader is lost.
const MISSES_MIN: u32 = 3;
/// However slow the line: IEC 60839-11-5's off-line time.
pub const LOST_CEILING: Duration = Duration::from_secs(8);
/// The pause before a reader that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long a reader that is away is left alone between probes, at first and at most.
const PROBE_AFTER: Duration = Duration::from_millis(500);
const PROBE_AFTER_MAX: Duration = Duration::from_millis(1_200);
/// A try to begin that fails so often in a row gets a pause.
const BEGINS_MAX: u32 = 3;
/// A refusal proves nothing, and may be a late answer to something else: told of when there were so many in a row.
const REFUSALS_MIN: u32 = 3;
/// Wishes that wait; one that asks the same of the same thing takes the place of the older.
const WISHES_MAX: usize = 24;
/// After so many wishes in a row a poll: cards come as answers to polls only. Outputs may take more turns.
const WISH_RUN_MAX: u32 = 2;
const URGENT_RUN_MAX: u32 = 8;
/// The same security news of a reader is told again no sooner; of a reader that has good moments in between, so many at
/// once and then one in so long.
const SECURITY_AGAIN: Duration = Duration::from_secs(60);
const SECURITY_BURST: u32 = 5;

/// How long a reader that is there gets to answer (the standard's limit), and one that is away.
pub const REPLY_WITHIN: Duration = Duration::from_millis(200);
pub const PROBE_WITHIN: Duration = Duration::from_millis(60);

/// What the installer says of a reader.
#[derive(Clone, Debug)]
pub struct ReaderPlan {
    pub address: u8,
    pub protection: Protection,
    pub check: Check,
    /// Without a believed answer for this long (and at least three polls) the reader is lost.
    pub lost_after: Duration,
    pub points: Option<ReaderPoints>,
}

#[derive(Debug)]
enum Phase {
    Away {
        probe_at: Mono,
        pause: Duration,
    },
    /// The challenge is next.
    Begin,
    /// The challenge, or the proof, was sent.
    Handshake(Box<Handshake>, Origin),
    Online(Channel),
}

#[derive(Debug)]
enum Channel {
    Plain,
    Secure(Box<Session>, Origin),
}

/// What is on the line, or was and is to be repeated.
#[derive(Debug)]
struct InFlight {
    bytes: Vec<u8>,
    command: Command,
    /// Not again before.
    not_before: Mono,
    /// And not after: it drives something, for an order that has a deadline.
    until: Option<Mono>,
}

/// Other settings of the line, on the installer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LineChange {
    address: u8,
    baud: u32,
    sent: bool,
    /// It did not answer: where it may be as well.
    unsure: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Online,
    Lost,
}

#[derive(Debug)]
pub struct Conversation {
    plan: ReaderPlan,
    phase: Phase,
    sequence: u8,
    in_flight: Option<InFlight>,
    wishes: VecDeque<Command>,
    wish_run: u32,
    /// When it last answered anything that can be believed, and how often since it did not.
    heard: Mono,
    misses: u32,
    /// Begins since the last reply within a session, and which key is tried.
    begins: u32,
    /// Handshakes refused since it was last as it should be.
    refusals: u32,
    attempt: usize,
    busy: bool,
    /// The longest that it recently took to answer; decays.
    slowest: Duration,
    /// It once took longer than a probe waits.
    late: bool,
    told: Told,
    trouble: &'static str,
    local: Option<(bool, bool)>,
    covers_open: bool,
    /// It has said how its covers are: it may tell that only when asked.
    tells_covers: bool,
    tamper_told: Option<bool>,
    points: Option<Points>,
    line_change: Option<LineChange>,
    odd: u64,
    security_told: Option<(Mono, String)>,
    security_budget: Bucket,
    security_untold: u64,
    /// It has begun anew, and that is told with the first answer that is more than that it is busy.
    unannounced: bool,
}

impl Conversation {
    pub fn new(plan: ReaderPlan, now: Mono) -> Conversation {
        Conversation {
            points: plan.points.map(Points::new),
            line_change: None,
            odd: 0,
            plan,
            phase: Phase::Away { probe_at: now, pause: PROBE_AFTER },
            sequence: 0,
            in_flight: None,
            wishes: VecDeque::new(),
            wish_run: 0,
            heard: now,
            misses: 0,
            begins: 0,
            refusals: 0,
            attempt: 0,
            busy: false,
            slowest: REPLY_WITHIN,
            late: false,
            told: Told::Nothing,
            trouble: "it does not answer",
            local: None,
            covers_open: false,
            tells_covers: false,
            tamper_told: None,
            security_told: None,
            security_budget: Bucket::new(SECURITY_BURST, SECURITY_AGAIN, now),
            security_untold: 0,
            unannounced: false,
        }
    }

    pub fn address(&self) -> u8 {
        self.plan.address
    }

    /// Of what asks the same of the same thing, the newest counts. A reader that is away is asked nothing: whoever
    /// wishes hears when it is back.
    pub fn wish(&mut self, command: Command) {
        if !self.is_online() {
            return;
        }
        self.wishes.retain(|waiting| !same_thing(waiting, &command));
        if self.wishes.len() >= WISHES_MAX {
            self.wishes.pop_front();
        }
        self.wishes.push_back(command);
    }

    pub fn points(&mut self) -> Option<&mut Points> {
        self.points.as_mut()
    }

    /// Something of it is to be driven at once: how urgent it is. A command that is to be repeated goes first, and
    /// has its turn.
    pub fn urgency(&mut self, now: Mono) -> Option<Mono> {
        if self.in_flight.is_some() || !self.is_online() {
            return None;
        }
        self.points.as_mut()?.urgency(now)
    }

    /// It is to have another address, or another speed.
    pub fn set_line(&mut self, address: u8, baud: u32, out: &mut Vec<News>) {
        if self.is_online() {
            self.line_change = Some(LineChange { address, baud, sent: false, unsure: None });
        } else {
            out.push(News::LineNotSet { detail: "it does not answer".to_owned() });
        }
    }

    /// Other keys than before: the conversation begins anew with them.
    pub fn protect(&mut self, now: Mono, mut protection: Protection) {
        if let Protection::Secure(keys) = &mut protection {
            keys.install_until = keys.install_until.filter(|until| now < *until);
        }
        if self.plan.protection == protection {
            return;
        }
        self.plan.protection = protection;
        self.attempt = 0;
        self.begins = 0;
        self.security_told = None;
        self.away(now, Duration::ZERO);
    }

    /// When it has something to say at the earliest; `None`: it may be said nothing to.
    pub fn due(&self, now: Mono) -> Option<Mono> {
        let has_key = match &self.plan.protection {
            Protection::Plain => true,
            Protection::Secure(keys) => keys.candidates(now).next().is_some(),
        };
        match (&self.in_flight, &self.phase) {
            _ if !has_key => None,
            (Some(in_flight), _) => Some(in_flight.not_before),
            (None, Phase::Away { probe_at, .. }) => Some(*probe_at),
            (None, _) => Some(Mono::ZERO),
        }
    }

    /// It answers as it should: whoever is spoken to in an installing session under the default key does not yet.
    pub fn is_online(&self) -> bool {
        match &self.phase {
            Phase::Online(Channel::Secure(_, origin)) => *origin != Origin::Default,
            Phase::Online(Channel::Plain) => true,
            _ => false,
        }
    }

    /// In the middle of a handshake: what comes next is better said at once.
    pub fn is_beginning(&self) -> bool {
        matches!(self.phase, Phase::Begin | Phase::Handshake(..)) && !self.busy
    }

    /// How long it gets for an answer.
    pub fn answers_within(&self) -> Duration {
        match self.phase {
            Phase::Away { .. } if self.late => REPLY_WITHIN,
            Phase::Away { .. } => PROBE_WITHIN,
            // A reader that was quick and is silent now is most likely gone: it gets less of the line.
            _ if self.misses > 0 => (self.slowest * 4).clamp(PROBE_WITHIN, REPLY_WITHIN),
            _ => REPLY_WITHIN,
        }
    }

    /// The line is not the one that it was: whatever was said may not have arrived.
    pub fn was_cut(&mut self) {
        self.misses = self.misses.max(MISSES_MIN);
        self.trouble = "its port is gone";
    }

    /// It took this long to answer.
    pub fn answered_after(&mut self, taken: Duration) {
        self.slowest = taken.max(self.slowest * 7 / 8);
        self.late = taken > PROBE_WITHIN;
    }

    /// An answer of it came when nobody waited for it any more.
    pub fn was_late(&mut self) {
        self.slowest = REPLY_WITHIN;
        self.late = true;
    }

    /// The next bytes for the line. `random` is asked for only where a handshake begins.
    pub fn speak(&mut self, now: Mono, random: &mut dyn FnMut() -> [u8; 8]) -> Result<Option<Vec<u8>>, TooLong> {
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.until.is_some_and(|until| now > until)) {
            // It may not be said again, and without it the conversation cannot go on: what it did is read back.
            self.anew(now);
        }
        if let Some(in_flight) = &self.in_flight {
            self.busy = false;
            return Ok((in_flight.not_before <= now).then(|| in_flight.bytes.clone()));
        }
        if matches!(self.phase, Phase::Online(_)) {
            return self.speak_online(now).map(Some);
        }
        let (security, command) = match &self.phase {
            Phase::Away { probe_at, .. } if now < *probe_at => return Ok(None),
            Phase::Away { .. } => (None, Command::Poll),
            // The proof is put in flight when the cryptogram comes; without it there is nothing to say.
            Phase::Handshake(..) | Phase::Online(_) => return Ok(None),
            Phase::Begin => {
                let Protection::Secure(keys) = &self.plan.protection else { return Ok(None) };
                let count = keys.candidates(now).count().max(1);
                let Some((origin, key)) = keys.candidates(now).nth(self.attempt % count) else { return Ok(None) };
                let handshake = Handshake::begin(origin.kind(), key, random());
                let (security, command) = handshake.challenge();
                self.phase = Phase::Handshake(Box::new(handshake), origin);
                (Some(security), command)
            }
        };
        let bytes = self.plain(security, &command)?;
        Ok(Some(self.send(bytes, command, now, None)))
    }

    fn speak_online(&mut self, now: Mono) -> Result<Vec<u8>, TooLong> {
        let to_set = match (&self.phase, &self.plan.protection) {
            (Phase::Online(Channel::Secure(_, origin)), Protection::Secure(keys)) => keys.to_set(now, *origin),
            _ => None,
        };
        let (command, until) = match to_set {
            Some(key) => (Command::KeySet(*key.bytes()), None),
            None => self.choose(now),
        };
        self.wish_run = if command == Command::Poll { 0 } else { self.wish_run + 1 };
        let bytes = match &mut self.phase {
            Phase::Online(Channel::Secure(session, _)) => {
                session.seal(self.plan.address, self.sequence, self.plan.check, &command)?
            }
            _ => self.plain(None, &command)?,
        };
        Ok(self.send(bytes, command, now, until))
    }

    /// What is to be driven, what the installer wants, what is to be asked, and in between polls.
    fn choose(&mut self, now: Mono) -> (Command, Option<Mono>) {
        let (run, online) = (self.wish_run, self.is_online());
        let mut points = self.points.as_mut().filter(|_| online);
        if run < URGENT_RUN_MAX
            && let Some(driven) = points.as_mut().and_then(|points| points.drive(now))
        {
            return driven;
        }
        if run >= WISH_RUN_MAX {
            return (Command::Poll, None);
        }
        if let Some(change) = self.line_change.as_mut().filter(|change| online && !change.sent) {
            change.sent = true;
            return (Command::ComSet { address: change.address, baud: change.baud }, None);
        }
        let chore = points.and_then(|points| points.chore(now, run == 0));
        (chore.or_else(|| self.wishes.pop_front()).unwrap_or(Command::Poll), None)
    }

    fn plain(&self, security: Option<SecurityBlock>, command: &Command) -> Result<Vec<u8>, TooLong> {
        let frame = Frame {
            way: Way::Command,
            address: self.plan.address,
            sequence: self.sequence,
            check: self.plan.check,
            security,
            code: command.code(),
            data: command.data(),
        };
        frame.encode()
    }

    fn send(&mut self, bytes: Vec<u8>, command: Command, now: Mono, until: Option<Mono>) -> Vec<u8> {
        self.in_flight = Some(InFlight { bytes: bytes.clone(), command, not_before: now, until });
        bytes
    }

    /// No answer within the time for one, or none that counts.
    pub fn unanswered(&mut self, now: Mono) {
        self.misses = self.misses.saturating_add(1);
        self.trouble = "it does not answer";
        let asked_to_move = |flight: &InFlight| matches!(flight.command, Command::ComSet { .. });
        if self.misses >= MISSES_MIN && self.in_flight.as_ref().is_some_and(asked_to_move) {
            return self.may_have_moved(now);
        }
        match &self.phase {
            Phase::Away { pause, .. } => {
                let pause = *pause;
                self.look_elsewhere();
                self.away(now, pause);
                if let Phase::Away { pause: next, .. } = &mut self.phase {
                    *next = (pause * 2).min(PROBE_AFTER_MAX);
                }
            }
            // The same bytes again at its next turn, until it is lost.
            Phase::Online(_) => {}
            Phase::Begin | Phase::Handshake(..) if self.misses < MISSES_MIN => {}
            Phase::Begin | Phase::Handshake(..) => self.away(now, PROBE_AFTER),
        }
    }

    /// It was told to have another address, and has said nothing since: it is looked for at both.
    fn may_have_moved(&mut self, now: Mono) {
        if let Some(change) = &mut self.line_change {
            change.unsure = Some(change.address);
        }
        self.look_elsewhere();
        self.away(now, Duration::ZERO);
    }

    fn look_elsewhere(&mut self) {
        if let Some(other) = self.line_change.as_mut().and_then(|change| change.unsure.as_mut()) {
            std::mem::swap(other, &mut self.plan.address);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<News>) {
        self.end_install(now, out);
        if let Some(points) = &mut self.points {
            points.tick(now);
        }
        let silent = now.since(self.heard);
        let patience = if self.busy { LOST_CEILING } else { self.plan.lost_after };
        let has_no_key = self.due(now).is_none();
        if has_no_key {
            self.trouble = "it has no key yet: install it";
        }
        let enough = self.misses >= MISSES_MIN || has_no_key || silent >= LOST_CEILING;
        if self.told == Told::Lost || silent < patience || !enough {
            return;
        }
        self.told = Told::Lost;
        self.unannounced = self.busy;
        self.tamper_told = None;
        if let Some(points) = &mut self.points {
            points.lost(self.trouble);
        }
        if let Some(change) = self.line_change {
            let detail = match change.sent {
                true => "it has not answered since it was told to: whether it did is not known",
                false => "it does not answer",
            };
            self.line_change = Some(change).filter(|change| change.sent);
            out.push(News::LineNotSet { detail: detail.to_owned() });
        }
        out.push(News::Lost { detail: self.trouble.to_owned() });
        if !matches!(self.phase, Phase::Away { .. }) {
            self.away(now, PROBE_AFTER);
        }
    }

    fn end_install(&mut self, now: Mono, out: &mut Vec<News>) {
        let Protection::Secure(keys) = &mut self.plan.protection else { return };
        if keys.install_until.take_if(|until| *until <= now).is_some() {
            out.push(News::InstallEnded { detail: "the time for installing is over".to_owned() });
            if !self.is_online() {
                self.away(now, PROBE_AFTER);
            }
        }
    }

    fn away(&mut self, now: Mono, pause: Duration) {
        self.phase = Phase::Away { probe_at: now + pause, pause: pause.max(PROBE_AFTER) };
        self.forget();
        self.wishes.clear();
    }

    /// Sequence 0, and a handshake where one is due.
    fn anew(&mut self, now: Mono) {
        self.forget();
        if let Some(change) = self.line_change.as_mut().filter(|change| change.sent) {
            change.unsure.get_or_insert(change.address);
        }
        // A reader that was just given a key is most likely to have it.
        self.attempt = 0;
        self.begins += 1;
        if self.begins > BEGINS_MAX {
            self.begins = 0;
            return self.away(now, PROBE_AFTER);
        }
        self.phase = match &self.plan.protection {
            Protection::Plain => {
                self.unannounced = true;
                Phase::Online(Channel::Plain)
            }
            Protection::Secure(_) => Phase::Begin,
        };
    }

    fn forget(&mut self) {
        self.sequence = 0;
        self.in_flight = None;
        self.busy = false;
        if let Some(points) = &mut self.points {
            points.interrupted();
        }
    }

    fn security(&mut self, now: Mono, detail: String, out: &mut Vec<News>) {
        let again = |(at, told): &(Mono, String)| *told == detail && now.since(*at) < SECURITY_AGAIN;
        if self.security_told.as_ref().is_some_and(again) {
            return;
        }
        self.security_told = Some((now, detail.clone()));
        if !self.security_budget.take(now) {
            self.security_untold += 1;
            return;
        }
        let detail = match std::mem::take(&mut self.security_untold) {
            0 => detail,
            more => format!("{detail} (and {more} times what was not told)"),
        };
        out.push(News::Security { detail });
    }
}

fn same_thing(one: &Command, other: &Command) -> bool {
    let output = |command: &Command| match command {
        Command::Output(controls) => controls.iter().map(|control| control.output).collect(),
        _ => Vec::new(),
    };
    // A passing light must not be lost with a lasting one.
    let passes = |command: &Command| match command {
        Command::Led(controls) => controls.iter().any(|control| control.temporary.is_some()),
        _ => false,
    };
    one.code() == other.code() && output(one) == output(other) && passes(one) == passes(other)
}

//! One board: is it there, what of it is to be read next. Owns the link state, the poll groups and the
//! points; must never report a value that was not read since the board came up. Invariant: `Up` is
//! reported only after a complete scan, with every input and every readable output behind it.

use std::time::Duration;

use crate::domain::{
    fieldbus::{Bands, BoardConfig, BusReport, InputAddress, LineTrouble, OutputAddress},
    ids::{InputRef, OutputRef},
    outputs::Level,
    time::Mono,
};

use super::{
    BusFault, Reply, Request,
    card::Card,
    guard::Guard,
    output::{Action, Output, Wish},
    plan::{Group, Table, input_point, output_point, plan},
};

/// Distance of the probes of a board that does not answer, doubled each time between these two.
const PROBE_MIN: Duration = Duration::from_millis(200);
const PROBE_MAX: Duration = Duration::from_secs(5);
/// So many times as long as a probe takes does a lost board leave the line to the others: it costs them a sixteenth.
const PROBE_SHARE: u32 = 15;
const READ_BACK_EVERY: Duration = Duration::from_millis(500);
/// A board on which something has changed is in motion for this long: its door is about to open or to fall shut.
const MOTION: Duration = Duration::from_secs(5);
/// Then it is read so many times as often.
const MOTION_FASTER: u32 = 4;
/// Clearings of a card block in a row before they are slowed down to the poll.
const CLEARS_MAX: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Unknown,
    Up,
    Lost,
}

#[derive(Clone, Debug)]
struct Poll {
    group: Group,
    due: Mono,
    every: Duration,
    /// Read since the board began to answer.
    scanned: bool,
    failing_since: Option<Mono>,
    probe: bool,
}

#[derive(Clone, Debug)]
struct Input {
    table: Table,
    address: u16,
    what: Part,
    value: Option<Sensed>,
    reported: Option<Sensed>,
    /// Trouble that was seen once: one read may have met the line just as it changed.
    suspected: Option<LineTrouble>,
}

/// On or off, or why neither.
type Sensed = Result<bool, LineTrouble>;

/// What of its address an input is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Bit,
    OfWord(u8),
    Word(Bands),
}

#[derive(Clone, Debug)]
struct CardSlot {
    card: Card,
    clear_at: Mono,
    clears: u32,
}

#[derive(Clone, Debug)]
pub struct Board {
    config: BoardConfig,
    link: Link,
    polls: Vec<Poll>,
    inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    cards: Vec<CardSlot>,
    guard: Option<Guard>,
    /// Transactions in a row without an answer.
    faults: u32,
    /// When the first of them began.
    silent_since: Option<Mono>,
    hold_until: Mono,
    moving_until: Mono,
    /// Reads of a table that got no answer, and until when that may still come: nothing alike is asked before.
    awaited: Vec<(Table, Mono)>,
    detail: String,
}

/// What a board wants to have done that is not an output's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    Poll(usize),
    /// Index of the card block, address to write zero to.
    Clear(usize, u16),
    /// The watchdog is to be armed or fed.
    Guard,
}

impl Board {
    pub fn new(config: BoardConfig) -> Board {
        let mut groups = plan(&config.profile);
        let probe = groups.is_empty();
        if let Some(first) = config.profile.outputs.first().filter(|_| probe) {
            // Nothing can be read: asking for the first output at least draws an exception.
            let (table, address) = output_point(first.address);
            groups.push(Group { table, address, count: 1, outputs_only: true });
        }
        let slow = config.poll.max(READ_BACK_EVERY.min(config.poll * 10));
        let polls = groups.iter().map(|&group| Poll {
            group,
            due: Mono::ZERO,
            every: if group.outputs_only { slow } else { config.poll },
            scanned: false,
            failing_since: None,
            probe,
        });
        let inputs = config.profile.inputs.iter().map(|point| {
            let (table, address) = input_point(point.address);
            let what = match point.address {
                InputAddress::InputRegisterBit { bit, .. } | InputAddress::HoldingRegisterBit { bit, .. } => {
                    Part::OfWord(bit)
                }
                InputAddress::InputRegister { bands, .. } | InputAddress::HoldingRegister { bands, .. } => {
                    Part::Word(bands)
                }
                InputAddress::DiscreteInput(_) | InputAddress::Coil(_) => Part::Bit,
            };
            Input { table, address, what, value: None, reported: None, suspected: None }
        });
        let outputs = (0_u16..)
            .zip(&config.profile.outputs)
            .map(|(output, point)| Output::new(OutputRef { board: config.board, output }, point.clone()));
        let cards = config.profile.card_blocks.iter().map(|block| CardSlot {
            card: Card::new(block, &groups),
            clear_at: Mono::ZERO,
            clears: 0,
        });
        Board {
            link: Link::Unknown,
            polls: polls.collect(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            cards: cards.collect(),
            guard: Guard::new(&config),
            faults: 0,
            silent_since: None,
            hold_until: Mono::ZERO,
            moving_until: Mono::ZERO,
            awaited: Vec::new(),
            detail: String::new(),
            config,
        }
    }

    pub fn config(&self) -> &BoardConfig {
        &self.config
    }

    pub fn link(&self) -> Link {
        self.link
    }

    /// Transactions in a row without an answer.
    pub fn faults(&self) -> u32 {
        self.faults
    }

    /// Whether the board may have the wire: one that does not answer waits between its probes.
    pub fn is_ready(&self, now: Mono) -> bool {
        now >= self.hold_until
    }

    pub fn group(&self, poll: usize) -> Option<Group> {
        self.polls.get(poll).map(|poll| poll.group)
    }

    /// What time alone brings.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<BusReport>) {
        for output in &mut self.outputs {
            output.tick(now, out);
        }
        if self.polls.is_empty() && self.link == Link::Unknown {
            // Whoever waits for word of every board shall not wait for ever.
            self.detail = "its profile names no point".to_owned();
            self.lose(now, out);
        }
        let failing = self.polls.iter().filter_map(|poll| poll.failing_since).chain(self.silent_since).min();
        if self.link != Link::Lost && failing.is_some_and(|since| now.since(since) >= self.config.lost_after) {
            self.lose(now, out);
        }
    }

    /// Of the chores that are due the one with the earliest deadline, and that; of a board that is not up the next
    /// read of its scan. A poll's deadline is when what is known of its points would be older than two of its intervals.
    pub fn chore(&self, now: Mono) -> Option<(Mono, Chore)> {
        if self.link != Link::Up {
            let (at, poll) = self.next_of_scan()?;
            return (now >= self.askable_at(poll)).then_some((self.hold_until + poll.every, Chore::Poll(at)));
        }
        // A watchdog that is not fed in time lets go of every door of its board: it waits for nothing that is read.
        let guard = self.guard.iter().filter_map(Guard::due).map(|due| (due, Mono::ZERO, Chore::Guard));
        let polls = self.polls.iter().enumerate().map(|(at, poll)| {
            let due = self.askable_at(poll);
            (due, due + self.interval(now, poll), Chore::Poll(at))
        });
        // The look whether it worked comes before another.
        let clears = self.cards.iter().enumerate().filter_map(|(at, slot)| {
            Some((slot.clear_at, slot.clear_at + self.config.poll, Chore::Clear(at, slot.card.clear_address()?)))
        });
        let due = guard.chain(clears).chain(polls).filter(|&(due, ..)| due <= now);
        due.map(|(_, deadline, chore)| (deadline, chore)).min_by_key(|&(deadline, _)| deadline)
    }

    /// Between two reads, as things are.
    fn interval(&self, now: Mono, poll: &Poll) -> Duration {
        if self.is_moving(now) && !poll.group.outputs_only { poll.every / MOTION_FASTER } else { poll.every }
    }

    fn next_of_scan(&self) -> Option<(usize, &Poll)> {
        self.polls.iter().enumerate().find(|(_, poll)| !poll.scanned)
    }

    /// When a poll is due; of a board that is not up, when it may be read.
    fn askable_at(&self, poll: &Poll) -> Mono {
        let due = if self.link == Link::Up { poll.due } else { self.hold_until };
        due.max(self.late_until(poll.group.table))
    }

    /// Until when the answer to an earlier read of this table may come: RTU would not tell it from that of another.
    fn late_until(&self, table: Table) -> Mono {
        self.awaited.iter().find(|(of, _)| *of == table).map_or(Mono::ZERO, |(_, until)| *until)
    }

    /// The most urgent wish of its outputs. A read-back that would take a late answer for its own has to wait.
    pub fn wish(&mut self, now: Mono, out: &mut Vec<BusReport>) -> Option<(usize, Wish)> {
        let mut first: Option<(usize, Wish)> = None;
        for (at, output) in self.outputs.iter_mut().enumerate() {
            let Some(wish) = output.wish(now, out) else { continue };
            let (table, _) = output_point(output.point().address);
            let awaited = self.awaited.iter().any(|(of, until)| *of == table && now < *until);
            let waits = awaited && wish.action == Action::ReadBack;
            if !waits && first.is_none_or(|(_, best)| wish.precedes(&best)) {
                first = Some((at, wish));
            }
        }
        first
    }

    /// Whether an answer to something earlier may still come.
    pub fn awaits(&self, now: Mono) -> bool {
        self.awaited.iter().any(|(_, until)| now < *until)
    }

    /// The read got no answer, and may get it until then.
    pub fn may_answer_late(&mut self, table: Table, until: Mono) {
        self.awaited.retain(|(of, _)| *of != table);
        self.awaited.push((table, until));
    }

    pub fn is_moving(&self, now: Mono) -> bool {
        now < self.moving_until
    }

    /// Something has changed or is about to: its inputs are read more often for a while.
    pub fn moves(&mut self, now: Mono) {
        self.moving_until = now + MOTION;
        for poll in self.polls.iter_mut().filter(|poll| !poll.group.outputs_only) {
            poll.due = poll.due.min(now + poll.every / MOTION_FASTER);
        }
    }

    pub fn next_deadline(&self, now: Mono) -> Option<Mono> {
        let ready = self.is_ready(now);
        let up = self.link == Link::Up;
        let driven = up && ready && !self.is_arming();
        let outputs = self.outputs.iter().filter_map(|output| {
            let at = output.next_deadline(now, driven)?;
            // What it wishes by now, and does not get, is a read-back that has to wait.
            let (table, _) = output_point(output.point().address);
            Some(if at <= now { at.max(self.late_until(table)) } else { at })
        });
        let outputs = outputs.min();
        let failing = self.polls.iter().filter_map(|poll| poll.failing_since).chain(self.silent_since).min();
        let lost = failing.filter(|_| self.link != Link::Lost).map(|since| since + self.config.lost_after);
        let work = if !ready || !up {
            self.next_of_scan().map(|(_, poll)| self.askable_at(poll)).filter(|_| !up).or(Some(self.hold_until))
        } else {
            let clears = self.cards.iter().filter(|slot| slot.card.clear_address().is_some()).map(|slot| slot.clear_at);
            let guard = self.guard.iter().filter_map(Guard::due);
            self.polls.iter().map(|poll| self.askable_at(poll)).chain(clears).chain(guard).min()
        };
        let work = work.filter(|_| !self.polls.is_empty());
        let late = self.awaited.iter().map(|(_, until)| *until).filter(|until| *until > now).min();
        [outputs, lost, work, late].into_iter().flatten().min()
    }

    pub fn start_poll(&mut self, now: Mono, poll: usize) {
        let Some(interval) = self.polls.get(poll).map(|poll| self.interval(now, poll)) else { return };
        if let Some(poll) = self.polls.get_mut(poll) {
            poll.due = now + interval;
        }
    }

    pub fn poll_answered(&mut self, now: Mono, at: usize, reply: &Reply, out: &mut Vec<BusReport>) {
        let Some(poll) = self.polls.get_mut(at) else { return };
        let group = poll.group;
        poll.scanned = true;
        poll.failing_since = None;
        let was_up = self.link == Link::Up;
        if let Some(detail) = self.guard.as_mut().filter(|_| was_up).and_then(Guard::board_lives) {
            let detail = format!("{detail}; its watchdog is not armed");
            out.push(BusReport::BoardDegraded { board: self.config.board, detail });
        }
        if !was_up && self.polls.iter().all(|poll| poll.scanned) {
            self.link = Link::Up;
            self.guard.iter_mut().for_each(Guard::board_up);
            out.push(BusReport::BoardUp { board: self.config.board });
        }
        self.answered(now);
        self.take_inputs(&group, reply);
        if let Reply::Words(words) = reply {
            self.take_cards(now, &group, words, out);
        }
        let mut levels = Vec::new();
        self.take_outputs(now, &group, reply, if was_up { &mut *out } else { &mut levels });
        if self.link != Link::Up {
            return;
        }
        let mut moved = false;
        for (input, point) in (0_u16..).zip(&mut self.inputs) {
            if let Some(sensed) = point.value.filter(|_| point.value != point.reported) {
                point.reported = Some(sensed);
                let input = InputRef { board: self.config.board, input };
                moved = true;
                out.push(match sensed {
                    Ok(energised) => BusReport::Input { input, energised },
                    Err(trouble) => BusReport::InputTrouble { input, trouble },
                });
            }
        }
        if was_up && moved {
            self.moves(now);
        }
        if !was_up {
            for output in &mut self.outputs {
                output.board_up(out);
            }
        }
    }

    fn take_inputs(&mut self, group: &Group, reply: &Reply) {
        for point in self.inputs.iter_mut().filter(|point| group.covers(point.table, point.address)) {
            let at = usize::from(point.address - group.address);
            let sensed = match (reply, point.what) {
                (Reply::Bits(bits), Part::Bit) => bits.get(at).copied().map(Ok),
                (Reply::Words(words), Part::OfWord(bit)) => words.get(at).map(|word| Ok(word >> (bit & 15) & 1 == 1)),
                (Reply::Words(words), Part::Word(bands)) => words.get(at).map(|word| bands.read(*word)),
                _ => None,
            };
            let Some(sensed) = sensed else { continue };
            let suspected = std::mem::replace(&mut point.suspected, sensed.err());
            // Any trouble after trouble: which one may still change.
            if sensed.is_ok() || suspected.is_some() || point.value.is_none() {
                point.value = Some(sensed);
            }
        }
    }

    fn take_outputs(&mut self, now: Mono, group: &Group, reply: &Reply, out: &mut Vec<BusReport>) {
        for output in &mut self.outputs {
            let (table, address) = output_point(output.point().address);
            if output.point().reads_back && group.covers(table, address) {
                let level = level_in(output.point().address, reply, usize::from(address - group.address));
                output.found(now, level, out);
            }
        }
    }

    fn take_cards(&mut self, now: Mono, group: &Group, words: &[u16], out: &mut Vec<BusReport>) {
        for (block, slot) in (0_u16..).zip(&mut self.cards) {
            let card = slot.card.absorb(group, words);
            if slot.card.clear_address().is_none() {
                slot.clears = 0;
            }
            if let Some(card) = card {
                slot.clears = 0;
                slot.clear_at = now;
                out.push(BusReport::Card { board: self.config.board, block, card });
            }
        }
    }

    /// The read-back of one output alone.
    pub fn read_back_answered(&mut self, now: Mono, output: usize, reply: &Reply, out: &mut Vec<BusReport>) {
        self.answered(now);
        if let Some(output) = self.outputs.get_mut(output) {
            let level = level_in(output.point().address, reply, 0);
            output.found(now, level, out);
        }
    }

    /// Whether its outputs have to wait for the watchdog to be armed.
    pub fn is_arming(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_arming)
    }

    pub fn guard_request(&self) -> Option<Request> {
        self.guard.as_ref()?.request()
    }

    pub fn guard_written(&mut self, now: Mono) {
        self.answered(now);
        self.guard.iter_mut().for_each(|guard| guard.written(now));
    }

    /// No answer, or that it is busy.
    pub fn guard_not_written(&mut self, request: &Request, fault: &BusFault) {
        self.guard.iter_mut().for_each(|guard| guard.not_written(format!("{request}: {fault}")));
    }

    /// The board lives, and has no such watchdog.
    pub fn guard_refused(&mut self, now: Mono, detail: &str, out: &mut Vec<BusReport>) {
        self.answered(now);
        self.guard.iter_mut().for_each(Guard::refused);
        let detail = format!("{detail}; its watchdog is not armed");
        out.push(BusReport::BoardDegraded { board: self.config.board, detail });
    }

    /// The clearing of a card block was tried: look whether it worked.
    pub fn clear_tried(&mut self, now: Mono, at: usize) {
        let Some(slot) = self.cards.get_mut(at) else { return };
        slot.clears = slot.clears.saturating_add(1);
        let look_at = if slot.clears < CLEARS_MAX { now } else { now + self.config.poll };
        // The next clearing comes after that look, which makes it needless if all is well.
        slot.clear_at = look_at + Duration::from_nanos(1);
        for poll in self.polls.iter_mut().filter(|poll| slot.card.is_in(&poll.group)) {
            poll.due = poll.due.min(look_at);
        }
    }

    /// While the scan is not complete an answer only lets it go on: one part of a board that answers
    /// must not hide another that does not.
    pub fn answered(&mut self, now: Mono) {
        if self.link == Link::Up {
            self.faults = 0;
            self.silent_since = None;
        }
        self.hold_until = self.hold_until.min(now);
    }

    /// An exception to a read of the poll: the board lives, but this part of it cannot be had.
    pub fn poll_refused(&mut self, (started, now): (Mono, Mono), at: usize, fault: &BusFault, timeout: Duration) {
        let Some(poll) = self.polls.get_mut(at) else { return };
        poll.failing_since.get_or_insert(started);
        let detail = format!("{}: {fault}", request_of(&poll.group));
        if self.link == Link::Up {
            poll.due = poll.due.max(now + PROBE_MIN);
            self.answered(now);
        } else {
            self.unanswered(started, now, fault, timeout);
        }
        self.detail = detail;
    }

    /// Whether this poll only asks for a sign of life, which an exception is as well.
    pub fn is_probe(&self, poll: usize) -> bool {
        self.polls.get(poll).is_some_and(|poll| poll.probe)
    }

    /// No answer, or none that can be used.
    pub fn unanswered(&mut self, started: Mono, now: Mono, fault: &BusFault, timeout: Duration) {
        self.faults = self.faults.saturating_add(1);
        self.silent_since.get_or_insert(started);
        self.detail = fault.to_string();
        // The first repetition may come at once: most faults are a single lost frame. From then on the
        // board waits as long as it has cost, doubled each time, so the others keep at least half.
        if self.faults > 1 || self.link == Link::Lost {
            let base = if self.link == Link::Lost { PROBE_MIN.max(timeout) } else { timeout };
            let doublings = self.faults.saturating_sub(2).min(16);
            let pause = base.saturating_mul(1 << doublings).clamp(PROBE_MIN.min(timeout), PROBE_MAX);
            let share = if self.link == Link::Lost { now.since(started) * PROBE_SHARE } else { Duration::ZERO };
            self.hold_until = now + pause.max(share);
        }
        // One lost frame or a connection renewed at once is no restart, but may hide one.
        let renewed = self.faults > 1 || matches!(fault, BusFault::Unreachable(_) | BusFault::Disconnected(_));
        for slot in &mut self.cards {
            slot.card.frame_lost();
            if self.faults > 1 {
                slot.card.reconnected();
            }
        }
        for poll in &mut self.polls {
            poll.scanned &= self.link == Link::Up;
            if renewed {
                // Should the board have restarted, its outputs are looked at first thing.
                poll.due = poll.due.min(now);
            }
        }
    }

    fn lose(&mut self, now: Mono, out: &mut Vec<BusReport>) {
        self.link = Link::Lost;
        self.guard.iter_mut().for_each(Guard::board_lost);
        self.hold_until = self.hold_until.max(now);
        for poll in &mut self.polls {
            poll.scanned = false;
            poll.failing_since = None;
        }
        for input in &mut self.inputs {
            input.value = None;
            input.reported = None;
            input.suspected = None;
        }
        for slot in &mut self.cards {
            slot.card.reconnected();
        }
        let detail = format!("board {}: {}", self.config.id, self.detail);
        out.push(BusReport::BoardLost { board: self.config.board, detail: detail.clone() });
        for output in &mut self.outputs {
            output.board_lost(&detail, out);
        }
    }
}

fn request_of(group: &Group) -> super::Request {
    super::Request::Read { table: group.table, address: group.address, count: group.count }
}

fn level_in(address: OutputAddress, reply: &Reply, at: usize) -> Option<Level> {
    match (reply, address) {
        (Reply::Bits(bits), OutputAddress::Coil(_)) => bits.get(at).copied().map(Level::from_energised),
        (Reply::Words(words), OutputAddress::HoldingRegister { energised, released, .. }) => match words.get(at) {
            Some(&word) if word == energised => Some(Level::Energised),
            Some(&word) if word == released => Some(Level::Released),
            _ => None,
        },
        _ => None,
    }
}

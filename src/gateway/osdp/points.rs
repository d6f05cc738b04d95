//! The inputs and outputs of one reader, as points of doors. Owns what is known of them, what is driven, and when
//! either is asked for; must never drive for an order whose deadline has passed, and never report what was not read
//! in the reader's session. Invariant: what ends by itself is put to the reader's own timer over the state that it
//! falls back to, so that a reader whose panel is gone locks again; so is what lasts and is not what a dead daemon is to
//! leave behind, again and again.
//!
//! ```text
//!             all of it read              the reader is lost, or does not have them
//!   Unknown ─────────────────▶  Up  ────────────────────────────────────────────────▶  Lost
//!             BoardUp, Inputs, Outputs   ▲                                 BoardLost      │
//!                                        └──────────── all of it read ───────────────────┘
//! ```
//!
//! `hear` takes what the reader says of them, this file the rest.
//!
//! OUT knows a state that lasts and one that passes (SIA OSDP 2.2, 6.10). The one that passes goes first, and at once
//! after it what it falls back to, unless that is known: the other way round an output that is held would let go in
//! between. An answer that was lost leaves open what the output does, until OSTATR says.

mod hear;

use std::time::Duration;

use crate::{
    domain::{
        fieldbus::{BusReport, LineTrouble, OutputAddress, OutputPoint, OutputTimer, ReaderPoints, TimerWrite},
        ids::OutputRef,
        outputs::{Desired, Level},
        time::Mono,
    },
    gateway::fieldbus::{
        Link,
        output::{Action, Drive, Output, Wish},
    },
    wire::osdp::command::{Command, OutputCode, OutputControl},
};

/// A reader tells of changes by itself, in answer to a POLL; should one get lost, this finds it.
const INPUTS_EVERY: Duration = Duration::from_millis(500);
const OUTPUTS_EVERY: Duration = Duration::from_secs(1);
const LOCAL_EVERY: Duration = Duration::from_secs(5);
/// Points that the reader does not have are looked for again.
const LACKING_AGAIN: Duration = Duration::from_secs(5);
/// Changes found in a row that the reader did not tell: such a one is asked with every other turn.
const UNTOLD_MAX: u32 = 2;
/// Of a timed OUT.
const TENTH: Duration = Duration::from_millis(100);

type Sensed = Result<bool, LineTrouble>;

#[derive(Clone, Copy, Debug, Default)]
struct Input {
    value: Option<Sensed>,
    reported: Option<Sensed>,
}

#[derive(Clone, Debug)]
struct Driven {
    output: Output,
    /// What it falls back to; `None`: nobody has said since its session began.
    lasting: Option<Level>,
    /// What it was last told to be for a time.
    passing: Option<Level>,
}

impl Driven {
    /// The time would end in a state that nobody has said.
    fn falls_back_to(&self) -> Option<Level> {
        self.passing.map(Level::inverted).filter(|rest| self.lasting != Some(*rest))
    }

    fn forget(&mut self) {
        (self.lasting, self.passing) = (None, None);
    }
}

/// The OUT that was said and is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    Write(usize, Level, Lasting),
    /// What it is to fall back to: moves nothing.
    Ground(usize, Level),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Becomes,
    Stays,
}

#[derive(Debug)]
pub struct Points {
    plan: ReaderPoints,
    out: Vec<BusReport>,
    link: Link,
    /// There is a session in which they can be asked for.
    asking: bool,
    inputs: Vec<Input>,
    outputs: Vec<Driven>,
    inputs_read: bool,
    outputs_read: bool,
    local_read: bool,
    inputs_at: Mono,
    outputs_at: Mono,
    local_at: Mono,
    untold: u32,
    flight: Option<Flight>,
    lacking: bool,
    /// It does not tell its outputs.
    by_its_word: bool,
}

impl Points {
    pub fn new(plan: ReaderPoints) -> Points {
        let output = |(at, name)| {
            let point = OutputPoint {
                name,
                // Its number; nothing of it goes on a Modbus line.
                address: OutputAddress::Coil(at),
                reads_back: true,
                timer: Some(OutputTimer {
                    write: TimerWrite::Coil,
                    energised_for: Some(at),
                    released_for: Some(at),
                    unit: TENTH,
                    max: u16::MAX,
                }),
                safe_coil: None,
            };
            let output = Output::new(OutputRef { board: plan.board, output: at }, point);
            let output = output.falling_back_to(plan.at_death.get(usize::from(at)).copied().flatten());
            Driven { output, lasting: None, passing: None }
        };
        Points {
            out: Vec::new(),
            link: Link::Unknown,
            asking: false,
            inputs: vec![Input::default(); plan.input_names().len()],
            outputs: (0..).zip(plan.output_names()).map(output).collect(),
            inputs_read: false,
            outputs_read: false,
            local_read: false,
            inputs_at: Mono::ZERO,
            outputs_at: Mono::ZERO,
            local_at: Mono::ZERO,
            untold: 0,
            flight: None,
            lacking: false,
            by_its_word: false,
            plan,
        }
    }

    /// What became known since the last call.
    pub fn reports(&mut self) -> impl Iterator<Item = BusReport> {
        self.out.drain(..)
    }

    /// The newest of each output; those of others are not ours.
    pub fn set_desired(&mut self, now: Mono, desired: &[Desired]) {
        for one in desired.iter().filter(|one| one.output.board == self.plan.board) {
            if let Some(driven) = self.outputs.get_mut(usize::from(one.output.output)) {
                driven.output.set_desired(now, one, &mut self.out);
            }
        }
    }

    pub fn tick(&mut self, now: Mono) {
        for driven in &mut self.outputs {
            driven.output.tick(now, &mut self.out);
        }
    }

    /// A session stands: whatever was before may have been without power meanwhile.
    pub fn session(&mut self) {
        self.asking = true;
        self.flight = None;
        self.nothing_read();
        (self.inputs_at, self.outputs_at, self.local_at) = (Mono::ZERO, Mono::ZERO, Mono::ZERO);
        for driven in &mut self.outputs {
            driven.forget();
            driven.output.interrupted();
        }
    }

    fn nothing_read(&mut self) {
        self.inputs_read = self.plan.inputs == 0;
        self.outputs_read = self.outputs.is_empty() || self.by_its_word;
        self.local_read = false;
    }

    /// What was under way may or may not have arrived.
    pub fn interrupted(&mut self) {
        if let Some(Flight::Write(at, ..) | Flight::Ground(at, _)) = self.flight.take()
            && let Some(driven) = self.outputs.get_mut(at)
        {
            driven.forget();
            driven.output.interrupted();
            self.outputs_at = Mono::ZERO;
        }
    }

    pub fn lost(&mut self, detail: &str) {
        self.asking = false;
        self.flight = None;
        self.lose(detail);
    }

    fn lose(&mut self, detail: &str) {
        if self.link == Link::Lost {
            return;
        }
        self.link = Link::Lost;
        self.inputs.iter_mut().for_each(|input| *input = Input::default());
        self.out.push(BusReport::BoardLost { board: self.plan.board, detail: detail.to_owned() });
        for driven in &mut self.outputs {
            driven.forget();
            driven.output.board_lost(detail, &mut self.out);
        }
    }

    /// The reader is there, and these points of it are not.
    fn lacks(&mut self, now: Mono, detail: String) {
        self.nothing_read();
        self.local_at = now + LACKING_AGAIN;
        (self.inputs_at, self.outputs_at) = (now + LACKING_AGAIN, now + LACKING_AGAIN);
        if !std::mem::replace(&mut self.lacking, true) {
            self.lose(&detail);
            self.out.push(BusReport::BoardDegraded { board: self.plan.board, detail });
        }
    }

    // ---- what is said ----

    fn wish(&mut self, now: Mono) -> Option<(usize, Wish)> {
        if self.link != Link::Up || !self.asking || self.flight.is_some() {
            return None;
        }
        let mut first: Option<(usize, Wish)> = None;
        for (at, driven) in self.outputs.iter_mut().enumerate() {
            if let Some(wish) = driven.output.wish(now, &mut self.out)
                && first.is_none_or(|(_, best)| wish.precedes(&best))
            {
                first = Some((at, wish));
            }
        }
        first
    }

    /// Something is to be driven: how urgent it is.
    pub fn urgency(&mut self, now: Mono) -> Option<Mono> {
        let wish = self.wish(now).map(|(_, wish)| wish.urgency);
        self.unfounded().map(|_| Mono::ZERO).or(wish)
    }

    /// What goes on for a time, and over what it is to go on.
    fn unfounded(&self) -> Option<(usize, Level)> {
        if self.link != Link::Up || !self.asking || self.flight.is_some() {
            return None;
        }
        self.outputs.iter().enumerate().find_map(|(at, driven)| Some((at, driven.falls_back_to()?)))
    }

    /// What drives it, and the last instant at which that may go on the line. It goes there with the return of this
    /// call.
    pub fn drive(&mut self, now: Mono) -> Option<(Command, Option<Mono>)> {
        if let Some((at, rest)) = self.unfounded() {
            let code = if rest.is_energised() { OutputCode::OnAfterTimer } else { OutputCode::OffAfterTimer };
            self.flight = Some(Flight::Ground(at, rest));
            return Some((control(at, code, 0)?, None));
        }
        let (at, wish) = self.wish(now)?;
        let Action::Write(level) = wish.action else {
            self.outputs_at = now + OUTPUTS_EVERY;
            return Some((Command::OutputStatus, None));
        };
        let driven = self.outputs.get_mut(at)?;
        let (code, tenths, lasting) = match driven.output.drive(now, level) {
            Drive::Steady(Level::Energised) => (OutputCode::On, 0, Lasting::Becomes),
            Drive::Steady(Level::Released) => (OutputCode::Off, 0, Lasting::Becomes),
            Drive::Timed(Level::Energised, count) => (OutputCode::OnTimed, count, Lasting::Stays),
            Drive::Timed(Level::Released, count) => (OutputCode::OffTimed, count, Lasting::Stays),
        };
        let until = driven.output.start_write(now, level, &mut self.out);
        self.flight = Some(Flight::Write(at, level, lasting));
        Some((control(at, code, tenths)?, until))
    }

    /// What is to be asked when nothing is to be driven.
    pub fn chore(&mut self, now: Mono, polled: bool) -> Option<Command> {
        if !self.asking || self.flight.is_some() {
            return None;
        }
        if now >= self.local_at {
            self.local_at = now + LOCAL_EVERY;
            return Some(Command::LocalStatus);
        }
        if self.plan.inputs > 0 && (now >= self.inputs_at || (polled && self.untold >= UNTOLD_MAX)) {
            self.inputs_at = now + INPUTS_EVERY;
            return Some(Command::InputStatus);
        }
        if !self.outputs.is_empty() && !self.by_its_word && now >= self.outputs_at {
            self.outputs_at = now + OUTPUTS_EVERY;
            return Some(Command::OutputStatus);
        }
        if self.link != Link::Up {
            return None;
        }
        // What it is at for good: so that the first opening need not wait for it.
        let ungrounded = |driven: &Driven| driven.output.standing(now).filter(|level| driven.lasting != Some(*level));
        let (at, level) = self.outputs.iter().enumerate().find_map(|(at, driven)| Some((at, ungrounded(driven)?)))?;
        self.flight = Some(Flight::Ground(at, level));
        control(at, if level.is_energised() { OutputCode::On } else { OutputCode::Off }, 0)
    }
}

fn control(at: usize, code: OutputCode, tenths: u16) -> Option<Command> {
    Some(Command::Output(vec![OutputControl { output: u8::try_from(at).ok()?, code, tenths }]))
}

//! The machine of the installer on the spot: shows every point as it is, and tries outputs. Owns installer mode
//! and its end; must never drive what a door, floor or `[[output]]` drives: those it orders, as anybody must, so
//! that whatever rules them still does. Invariant: an output that serves something is tried only in installer mode,
//! and mode and trial are events that name who asked.
//!
//! ```text
//!   off --mode, minutes--> on --its time, mode 0, the stop--> off
//! ```
//!
//! An output that serves nothing is no relay of the node's: it is driven from the pulse on until it was seen at
//! rest again, and then left alone.

use std::{collections::BTreeMap, time::Duration};

use super::machine::{Deed, Deeds, Happening, Machine, View};
use crate::domain::{
    event::{Actor, EventBody, InstallerModeEnd},
    field::{FieldConfig, FreeOutputConfig, OutputStart, OutputStop},
    fieldbus::{BusReport, CardRead},
    free_output::{FreeOutput, OutputEffect},
    ids::{Id, OutputRef},
    installer::{
        Answer, Ask, LastRead, LivePoints, MODE_MAX, OutputUse, PULSE_MAX, PULSE_MIN, ReaderSnapshot, Snapshot, find,
    },
    order::{DoorAction, FloorAction, Order, OutputAction, Progress, Task},
    outputs::{Desired, Level, Ticket},
    time::{Mono, Now},
};

/// Apart from those of system events.
const FIRST_TICKET: u64 = 1 << 62;
/// An order to try something is carried out at once or not at all.
const TRY_WITHIN: Duration = Duration::from_secs(3);
/// Trials under way at a time.
const TRIALS_MAX: usize = 8;

/// One question of `latchd io`, and under which number the answer is awaited.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub number: u64,
    /// Of the user who asks, by the kernel's word.
    pub uid: u32,
    pub ask: Ask,
}

#[derive(Debug)]
pub struct Installer {
    boards: Vec<LivePoints>,
    /// By their position: when each read last, how many bits, how often.
    reads: BTreeMap<usize, (Mono, u16, u64)>,
    mode: Option<Mode>,
    tickets: u64,
    trials: BTreeMap<Ticket, u64>,
    spare: Option<FreeOutput>,
    stopping: bool,
}

#[derive(Clone, Copy, Debug)]
struct Mode {
    until: Mono,
    uid: u32,
}

impl Installer {
    pub fn new(config: &FieldConfig) -> Installer {
        Installer {
            boards: config.points.iter().cloned().map(LivePoints::new).collect(),
            reads: BTreeMap::new(),
            mode: None,
            tickets: FIRST_TICKET,
            trials: BTreeMap::new(),
            spare: None,
            stopping: false,
        }
    }

    fn hear(&mut self, now: Now, report: &BusReport, deeds: &mut Deeds) {
        let board = match report {
            BusReport::BoardUp { board }
            | BusReport::BoardLost { board, .. }
            | BusReport::BoardDegraded { board, .. }
            | BusReport::Card { board, .. } => *board,
            BusReport::Input { input, .. } | BusReport::InputTrouble { input, .. } => input.board,
            BusReport::Output { output, .. }
            | BusReport::OutputMismatch { output, .. }
            | BusReport::OrderExpired { output, .. }
            | BusReport::OrderFailed { output, .. }
            | BusReport::OrderUnknown { output, .. } => output.board,
        };
        let Some(points) = self.boards.get_mut(board.index()) else { return };
        match report {
            BusReport::BoardUp { .. } => points.board(true),
            BusReport::BoardLost { .. } => points.board(false),
            BusReport::Input { input, energised } => points.input(input.input, *energised),
            BusReport::InputTrouble { input, trouble } => points.trouble(input.input, *trouble),
            BusReport::Output { output, level, .. } | BusReport::OutputMismatch { output, level } => {
                points.output(output.output, *level);
            }
            _ => {}
        }
        // That a trial does not do what it is told is seen among the points: it has no name to be told under.
        if let Some(spare) = self.spare.as_mut().filter(|_| !matches!(report, BusReport::OutputMismatch { .. })) {
            let mut out = Vec::new();
            spare.hear(now.mono, report, &mut out);
            self.spare_said(out, deeds);
        }
        self.spare.take_if(|spare| spare.at_rest());
    }

    fn spare_said(&mut self, out: Vec<OutputEffect>, deeds: &mut Deeds) {
        for effect in out {
            match effect {
                OutputEffect::Event(body) => deeds.event(body),
                OutputEffect::Report(ticket, progress) | OutputEffect::Held(ticket, progress) => {
                    self.progress(ticket, &progress, deeds);
                }
                // It is nobody's: nothing of it outlives the trial.
                OutputEffect::Keep(_) => {}
            }
        }
    }

    fn read(&mut self, now: Now, read: &CardRead) {
        let (at, bits, count) = self.reads.entry(read.reader.index()).or_insert((now.mono, 0, 0));
        (*at, *bits, *count) = (now.mono, read.card.bits, *count + 1);
    }

    fn asked(&mut self, now: Now, view: &View<'_>, question: &Question, deeds: &mut Deeds) {
        let answer = match &question.ask {
            Ask::Points {} => Answer::Points(self.snapshot(now.mono, view)),
            Ask::EmergencyUses {} => Answer::EmergencyUses { uses: view.emergencies.uses().clone() },
            // Whoever keeps the keys answers these.
            Ask::OsdpInstall { .. } | Ask::OsdpKey { .. } | Ask::OsdpSetLine { .. } | Ask::OsdpLine { .. } => {
                Answer::Refused { message: "the doors know no keys".to_owned() }
            }
            Ask::Mode { minutes } => self.set_mode(now.mono, *minutes, question.uid, deeds),
            Ask::Pulse { board, output, pulse_ms } => {
                match self.pulse(now, question, (board, output), *pulse_ms, deeds) {
                    // The answer comes with the order's end.
                    Ok(()) => return,
                    Err(message) => Answer::Refused { message },
                }
            }
        };
        deeds.push(Deed::Answer(question.number, answer));
    }

    fn snapshot(&self, now: Mono, view: &View<'_>) -> Snapshot {
        let reader = |(at, (id, _)): (usize, &(Id, _))| {
            let read = self.reads.get(&at);
            ReaderSnapshot {
                reader: id.clone(),
                last_read: read.map(|(at, bits, _)| LastRead { bits: *bits, ago_s: now.since(*at).as_secs() }),
                reads: read.map_or(0, |(.., count)| *count),
            }
        };
        Snapshot {
            boards: self.boards.iter().map(LivePoints::snapshot).collect(),
            readers: view.topology.readers.iter().enumerate().map(reader).collect(),
            mode_left_s: self.mode.map(|mode| mode.until.since(now).as_secs()),
        }
    }

    fn set_mode(&mut self, now: Mono, minutes: u32, uid: u32, deeds: &mut Deeds) -> Answer {
        let length = Duration::from_secs(60 * u64::from(minutes));
        if minutes == 0 {
            let was_on = self.end_mode(InstallerModeEnd::Ended, deeds);
            let message = if was_on { "installer mode is over" } else { "installer mode was not on" };
            return Answer::Done { message: message.to_owned() };
        }
        if length > MODE_MAX {
            let message = format!("at most {} minutes; it can be asked for again", MODE_MAX.as_secs() / 60);
            return Answer::Refused { message };
        }
        if self.stopping {
            return Answer::Refused { message: "the node is stopping".to_owned() };
        }
        self.mode = Some(Mode { until: now + length, uid });
        deeds.event(EventBody::InstallerModeBegan { uid, minutes });
        Answer::Done { message: format!("installer mode for {minutes} minutes; every trial is an event") }
    }

    fn end_mode(&mut self, reason: InstallerModeEnd, deeds: &mut Deeds) -> bool {
        let mode = self.mode.take();
        if let Some(Mode { uid, .. }) = mode {
            deeds.event(EventBody::InstallerModeEnded { uid, reason });
        }
        mode.is_some()
    }

    fn pulse(
        &mut self,
        now: Now,
        question: &Question,
        (board, output): (&Id, &Id),
        pulse_ms: u32,
        deeds: &mut Deeds,
    ) -> Result<(), String> {
        let length = Duration::from_millis(u64::from(pulse_ms));
        if !(PULSE_MIN..=PULSE_MAX).contains(&length) {
            let (min, max) = (PULSE_MIN.as_millis(), PULSE_MAX.as_millis());
            return Err(format!("{pulse_ms} ms: expected {min} to {max}"));
        }
        if self.trials.len() >= TRIALS_MAX {
            return Err(format!("{TRIALS_MAX} trials are under way; wait for one to end"));
        }
        let (at, place) = find(&self.boards, board.as_str(), output.as_str())?;
        let bound = |what: String| match &self.mode {
            Some(_) => Ok(()),
            None => Err(format!(
                "{board}/{output} is {what}: only in installer mode (`latchd io install --minutes 30`), in which doors may open"
            )),
        };
        let task = match place.clone() {
            OutputUse::Nothing => None,
            OutputUse::Output(output) => Some(Task::Output { output, action: OutputAction::Pulse(length) }),
            OutputUse::Lock(door, id) => {
                bound(format!("the lock of {id}"))?;
                Some(Task::Door(door, DoorAction::OpenAndClose { dwell: Some(length) }))
            }
            OutputUse::Floor { floor_group, floor } => {
                bound(format!("floor {floor} of {floor_group}"))?;
                let action = FloorAction::OpenAndClose { dwell: Some(length) };
                Some(Task::Floor { floor_group, floors: vec![floor], action })
            }
        };
        self.tickets += 1;
        let ticket = Ticket::own(self.tickets);
        let by = Actor::Installer { uid: question.uid };
        let order = |what| Order { ticket, what, deadline: now.mono + TRY_WITHIN, issued_at: now.wall, by: by.clone() };
        match task {
            Some(task) => {
                self.trials.insert(ticket, question.number);
                deeds.push(Deed::Order(order(task)));
            }
            None => {
                let mut out = Vec::new();
                let id = Id::new(&format!("{board}.{output}")).map_err(|error| format!("{board}.{output}: {error}"))?;
                let up = self.boards.get(at.board.index()).is_some_and(|points| points.up == Some(true));
                if self.spare.as_ref().is_some_and(|spare| spare.config().output != at) {
                    return Err("another output that serves nothing is being tried; wait for its end".to_owned());
                }
                self.trials.insert(ticket, question.number);
                let spare = self.spare.get_or_insert_with(|| {
                    let mut spare = FreeOutput::new(spare_config(id, at), None);
                    spare.board(up);
                    spare
                });
                spare.order(now, &order(Task::Identify), OutputAction::Pulse(length), &mut out);
                self.spare_said(out, deeds);
            }
        }
        Ok(())
    }

    fn progress(&mut self, ticket: Ticket, progress: &Progress, deeds: &mut Deeds) {
        // What the contact says of it afterwards is seen among the points.
        let ended = progress.is_final() || matches!(progress, Progress::Actuated { .. });
        let Some(number) = ended.then(|| self.trials.remove(&ticket)).flatten() else { return };
        let refused = |message: String| Answer::Refused { message };
        let answer = match progress {
            Progress::Actuated { .. } | Progress::Done | Progress::Observed | Progress::NotObserved => {
                Answer::Done { message: "the board confirms it".to_owned() }
            }
            Progress::Refused(_, detail) => refused(detail.clone()),
            Progress::Expired => refused("the board did not take it in time".to_owned()),
            Progress::Cancelled => refused("it was overruled".to_owned()),
            Progress::Failed(detail) => refused(detail.clone()),
            Progress::Unknown(detail) => refused(format!("nobody knows whether it was done: {detail}")),
            Progress::Partly { .. }
            | Progress::Reported(_)
            | Progress::Examined(_)
            | Progress::Decided(_)
            | Progress::Stored => refused("it was not done".to_owned()),
        };
        deeds.push(Deed::Answer(number, answer));
    }
}

fn spare_config(id: Id, output: OutputRef) -> FreeOutputConfig {
    let (at_start, at_stop) = (OutputStart::Off, OutputStop::Off);
    FreeOutputConfig { id, output, on_level: Level::Energised, at_start, at_stop }
}

impl Machine for Installer {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Bus(report) => self.hear(now, report, deeds),
            Happening::Read(read) => self.read(now, read),
            Happening::Installer(question) => self.asked(now, view, question, deeds),
            Happening::Progress(ticket, progress) => self.progress(ticket, progress, deeds),
            Happening::Timeout => {
                if self.mode.is_some_and(|mode| mode.until <= now.mono) {
                    self.end_mode(InstallerModeEnd::Over, deeds);
                }
                if let Some(spare) = &mut self.spare {
                    let mut out = Vec::new();
                    spare.timeout(now.mono, &mut out);
                    self.spare_said(out, deeds);
                }
            }
            Happening::Stop => {
                self.stopping = true;
                self.end_mode(InstallerModeEnd::Ended, deeds);
                if let Some(spare) = &mut self.spare {
                    let mut out = Vec::new();
                    spare.stop(&mut out);
                    self.spare_said(out, deeds);
                }
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        let spare = self.spare.as_ref().and_then(FreeOutput::next_deadline);
        self.mode.map(|mode| mode.until).into_iter().chain(spare).min()
    }

    fn desired(&self, now: Mono, out: &mut Vec<Desired>) {
        out.extend(self.spare.iter().map(|spare| spare.desired(now)));
    }

    fn stopped(&self) -> bool {
        self.spare.as_ref().is_none_or(FreeOutput::stopped)
    }
}

//! An order: one command that has been found authentic, new and authorised, on its way to the field, and
//! the reports that come back. Must never carry anything unchecked. Invariant: each order ends in
//! exactly one final [`Progress`].

use std::time::Duration;

use super::{
    area::Verdict,
    door::{DelayAction, DoorStatus, Mode},
    event::{Actor, AlarmSource, DenialReason, Refusal},
    ids::{DoorIx, Id},
    outputs::Ticket,
    permission::Target,
    record::ForceState,
    time::{Mono, Wall},
};

/// `What` is a [`Task`] on the way to the controller, a [`DoorAction`] at the door.
#[derive(Clone, Debug, PartialEq)]
pub struct Order<What = Task> {
    pub ticket: Ticket,
    pub what: What,
    /// The deadline at the relay: past it nothing is put on the wire for this order.
    pub deadline: Mono,
    /// When the cloud issued it: an older level command never undoes a newer one.
    pub issued_at: Wall,
    /// An operator by command, or a system event (then the ticket is the node's own).
    pub by: Actor,
}

/// All that an operator can have done in the field.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Door(DoorIx, DoorAction),
    /// `door.virtual_read`: as if this person had presented a credential here; `None`: any of theirs.
    VirtualRead {
        door: DoorIx,
        person: Id,
        credential: Option<Id>,
    },
    /// `lockdown.set` and `lockdown.clear`: one report for all of them together.
    Lockdown {
        /// Each once.
        doors: Vec<DoorIx>,
        /// By their positions, each once: those of the partition, or of the node. Of doors by name none.
        floor_groups: Vec<u16>,
        on: bool,
    },
    /// `apb.clear`: forget where this person is, or all who are in this area, or (neither) everybody.
    ClearApb {
        person: Option<Id>,
        area: Option<Id>,
    },
    /// `floor.*`; no floors: all of the group.
    Floor {
        floor_group: Id,
        floors: Vec<Id>,
        action: FloorAction,
    },
    /// `output.*`, of outputs that belong to nothing.
    Output {
        output: Id,
        action: OutputAction,
    },
    /// `door.cancel_delay`: what system events, or this one, have put off at a door.
    CancelDelays {
        door: DoorIx,
        system_event: Option<Id>,
    },
    /// `alarm.acknowledge` of an alarm that belongs to no door.
    AcknowledgeAlarm {
        alarm: Id,
    },
    /// The uplink's: an alarm that is to stand with all others.
    RaiseAlarm {
        source: AlarmSource,
        text: Option<String>,
    },
    /// `node.identify`.
    Identify,
    /// For an explanation: what only the doors know of this person there. Answered [`Progress::Examined`]; nothing
    /// moves.
    Examine {
        place: Target,
        person: Id,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorAction {
    /// Enabled until closed.
    Open,
    Close,
    /// `None`: as long as a read enables floors.
    OpenAndClose {
        dwell: Option<Duration>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputAction {
    Pulse(Duration),
    Set(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorAction {
    /// `door.open`: unlocked until closed.
    Open,
    /// `door.close`: ends an unlocking.
    Close,
    /// `door.open_and_close`: momentary; `None` takes the door's own dwell.
    OpenAndClose {
        dwell: Option<Duration>,
    },
    /// `door.dnd`.
    Dnd(Switch),
    /// `door.force_toggle`: refused unless the door is in this mode.
    ForceToggle {
        expect: Mode,
    },
    /// `door.force`.
    Force(ForceState),
    Lockdown(bool),
    /// `alarm.acknowledge`: of the standing forced or propped alarm, and the reset by hand of a release by fire
    /// that is over.
    AcknowledgeAlarm,
    /// Whether a delayed command could be carried out at present: answered `Done`, and nothing is done.
    Admit(DelayAction),
    /// A delayed command that is due. What was issued meanwhile does not make it out of date; a `door.close`
    /// that came after it was issued cancels it.
    Delayed(DelayAction),
    /// Of a system event: whatever is put off at this door, by commands and by others of its kind.
    CancelDelays,
    /// `door.state.get`.
    Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
    /// Refused unless the door is in this mode.
    Toggle {
        expect: Mode,
    },
}

impl<What> Order<What> {
    /// The same order for something else.
    pub fn with<Other>(&self, what: Other) -> Order<Other> {
        let Order { ticket, deadline, issued_at, .. } = *self;
        Order { ticket, what, deadline, issued_at, by: self.by.clone() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct OrderReport {
    pub ticket: Ticket,
    pub at: Wall,
    pub progress: Progress,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The board confirmed by read-back; for a level that must outlive a power cut: and it is durable.
    /// Not final: `Observed` or `NotObserved` follows where the door can tell.
    Actuated {
        observation_follows: bool,
    },
    Observed,
    NotObserved,
    /// Ends `door.state.get`.
    Reported(Box<DoorStatus>),
    /// Ends [`Task::Examine`]; never told as a stage.
    Examined(Box<Examined>),
    /// Of a virtual read. No stage by itself: it goes into the detail of the one that follows.
    Decided(Box<Decided>),
    /// Ends what moves no hardware.
    Done,
    /// Ends what was ordered of several doors and not done by all: those that did not, with how it ended there.
    Partly {
        done: usize,
        others: Vec<(Id, Progress)>,
    },
    /// What this waited for is on the disk. The desk's word to itself, by way of the ledger; never a door's.
    Stored,
    Refused(Refusal, String),
    Expired,
    Cancelled,
    Failed(String),
    /// A write timed out and could not be read back: nobody knows.
    Unknown(String),
}

/// What became of a virtual read, by the rules, fallbacks and areas.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Absent: granted.
    pub reason: Option<DenialReason>,
    pub person: Id,
    pub credential: Option<Id>,
    pub rule: Option<Id>,
}

/// What the doors know of a person, beside what the rules say.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    /// By the readers of the place, in the order of the configuration; a virtual read is one at the first of them.
    pub readers: Vec<(Id, Verdict)>,
    /// Too many wrong PINs: none of theirs is taken at present.
    pub pin_locked_out: bool,
}

impl Progress {
    pub fn is_final(&self) -> bool {
        !matches!(self, Progress::Actuated { observation_follows: true } | Progress::Decided(_) | Progress::Stored)
    }
}

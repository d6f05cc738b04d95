//! When TRIGGER (and during SCHEDULE) do ACTION. Owns the shape of `system_event`; must never carry anything
//! out. Invariant: what a trigger or action names, it names by id, so that its reach can be told from the
//! record alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{event::DenialReason, ids::Id};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemEvent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub when: Trigger,
    /// Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Id>,
    #[serde(rename = "do")]
    pub actions: Vec<SystemAction>,
    /// The operator in whose name and scope it acts, looked at when it fires; absent: the cloud's own, without
    /// limit. An edit by command always carries its operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Id>,
}

/// Lists that are absent or empty mean every door (reader, board, input) of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "trigger", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    ContactOpened {
        #[serde(default)]
        doors: Vec<Id>,
    },
    ContactClosed {
        #[serde(default)]
        doors: Vec<Id>,
    },
    FireActivated {},
    FireCleared {},
    Forced {
        #[serde(default)]
        doors: Vec<Id>,
    },
    Propped {
        #[serde(default)]
        doors: Vec<Id>,
    },
    AlarmCleared {
        #[serde(default)]
        doors: Vec<Id>,
    },
    Rex {
        #[serde(default)]
        doors: Vec<Id>,
    },
    Granted {
        #[serde(default)]
        doors: Vec<Id>,
        #[serde(default)]
        groups: Vec<Id>,
        #[serde(default)]
        persons: Vec<Id>,
    },
    /// `reasons` empty: every reason.
    Denied {
        #[serde(default)]
        doors: Vec<Id>,
        #[serde(default)]
        reasons: Vec<DenialReason>,
    },
    UnknownCredential {
        #[serde(default)]
        doors: Vec<Id>,
    },
    Duress {
        #[serde(default)]
        doors: Vec<Id>,
    },
    /// The same credential `swipes` times (2 to 4) at one reader, each within `within_ms` of the one before,
    /// and granted.
    MultiSwipe {
        #[serde(default)]
        doors: Vec<Id>,
        swipes: u8,
        #[serde(default = "swipe_within_ms")]
        within_ms: u32,
        #[serde(default)]
        groups: Vec<Id>,
    },
    ApbViolation {
        #[serde(default)]
        doors: Vec<Id>,
    },
    ReaderLost {
        #[serde(default)]
        readers: Vec<Id>,
    },
    ReaderRestored {
        #[serde(default)]
        readers: Vec<Id>,
    },
    BoardLost {
        #[serde(default)]
        boards: Vec<Id>,
    },
    BoardRestored {
        #[serde(default)]
        boards: Vec<Id>,
    },
    PowerLost {},
    PowerRestored {},
    /// Of any input, where none is named: then a supervised line that is short, cut or faulty is one as well.
    Tamper {
        #[serde(default)]
        inputs: Vec<Id>,
    },
    TamperCleared {
        #[serde(default)]
        inputs: Vec<Id>,
    },
    /// Inputs that are neither power nor tamper.
    InputActivated {
        #[serde(default)]
        inputs: Vec<Id>,
    },
    InputCleared {
        #[serde(default)]
        inputs: Vec<Id>,
    },
    /// The first person came for whom an auto open had waited.
    FirstIn {
        #[serde(default)]
        doors: Vec<Id>,
    },
    AutoOpenOn {
        #[serde(default)]
        doors: Vec<Id>,
    },
    AutoOpenOff {
        #[serde(default)]
        doors: Vec<Id>,
    },
    CloudLost {},
    CloudRestored {},
}

fn swipe_within_ms() -> u32 {
    3_000
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum SystemAction {
    DoorOpen {
        doors: Vec<Id>,
    },
    DoorClose {
        doors: Vec<Id>,
    },
    DoorOpenAndClose {
        doors: Vec<Id>,
        #[serde(default)]
        dwell_ms: Option<u32>,
    },
    DoorOpenWithDelay {
        doors: Vec<Id>,
        delay_ms: u32,
    },
    DoorCloseWithDelay {
        doors: Vec<Id>,
        delay_ms: u32,
    },
    /// Whatever commands and system events have put off there.
    DoorCancelDelay {
        doors: Vec<Id>,
    },
    DoorDnd {
        doors: Vec<Id>,
        on: bool,
    },
    /// DND the other way round, from whatever it is when this fires.
    DoorDndToggle {
        doors: Vec<Id>,
    },
    DoorForce {
        doors: Vec<Id>,
        state: ForceState,
    },
    DoorForceToggle {
        doors: Vec<Id>,
    },
    /// As if this person had presented a credential at the door.
    DoorVirtualRead {
        door: Id,
        person: Id,
        #[serde(default)]
        credential: Option<Id>,
    },
    /// Of the alarm that stands at each of the doors.
    AlarmAcknowledge {
        doors: Vec<Id>,
    },
    /// Neither: everybody.
    ApbClear {
        #[serde(default)]
        person: Option<Id>,
        #[serde(default)]
        area: Option<Id>,
    },
    /// No floors: all of the group.
    FloorOpen {
        floor_group: Id,
        #[serde(default)]
        floors: Vec<Id>,
    },
    FloorClose {
        floor_group: Id,
        #[serde(default)]
        floors: Vec<Id>,
    },
    FloorOpenAndClose {
        floor_group: Id,
        #[serde(default)]
        floors: Vec<Id>,
        #[serde(default)]
        dwell_ms: Option<u32>,
    },
    LockdownSet {
        #[serde(default)]
        doors: Vec<Id>,
        #[serde(default)]
        partition: Option<Id>,
        #[serde(default)]
        node: bool,
    },
    LockdownClear {
        #[serde(default)]
        doors: Vec<Id>,
        #[serde(default)]
        partition: Option<Id>,
        #[serde(default)]
        node: bool,
    },
    OutputPulse {
        output: Id,
        pulse_ms: u32,
    },
    OutputSet {
        output: Id,
        on: bool,
    },
    /// Raises an alarm (`alarm.raised`) that stands until it is acknowledged.
    Alarm {
        #[serde(default)]
        text: Option<String>,
    },
    /// Only tells (`notification.sent`).
    Notify {
        #[serde(default)]
        text: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForceState {
    Open,
    Closed,
    Released,
}

impl SystemAction {
    /// The command that does the same; none for what only tells.
    pub fn command(&self) -> Option<&'static str> {
        Some(match self {
            SystemAction::DoorOpen { .. } => "door.open",
            SystemAction::DoorClose { .. } => "door.close",
            SystemAction::DoorOpenAndClose { .. } => "door.open_and_close",
            SystemAction::DoorOpenWithDelay { .. } => "door.open_with_delay",
            SystemAction::DoorCloseWithDelay { .. } => "door.close_with_delay",
            SystemAction::DoorCancelDelay { .. } => "door.cancel_delay",
            SystemAction::DoorDnd { .. } | SystemAction::DoorDndToggle { .. } => "door.dnd",
            SystemAction::DoorForce { .. } => "door.force",
            SystemAction::DoorForceToggle { .. } => "door.force_toggle",
            SystemAction::DoorVirtualRead { .. } => "door.virtual_read",
            SystemAction::AlarmAcknowledge { .. } => "alarm.acknowledge",
            SystemAction::ApbClear { .. } => "apb.clear",
            SystemAction::FloorOpen { .. } => "floor.open",
            SystemAction::FloorClose { .. } => "floor.close",
            SystemAction::FloorOpenAndClose { .. } => "floor.open_and_close",
            SystemAction::LockdownSet { .. } => "lockdown.set",
            SystemAction::LockdownClear { .. } => "lockdown.clear",
            SystemAction::OutputPulse { .. } => "output.pulse",
            SystemAction::OutputSet { .. } => "output.set",
            SystemAction::Alarm { .. } | SystemAction::Notify { .. } => return None,
        })
    }

    /// As the record writes it.
    pub fn name(&self) -> &'static str {
        match self {
            SystemAction::Alarm { .. } => "alarm",
            SystemAction::Notify { .. } => "notify",
            other => other.command().unwrap_or_default(),
        }
    }

    /// The doors that it names.
    pub fn doors(&self) -> &[Id] {
        match self {
            SystemAction::DoorOpen { doors }
            | SystemAction::DoorClose { doors }
            | SystemAction::DoorOpenAndClose { doors, .. }
            | SystemAction::DoorOpenWithDelay { doors, .. }
            | SystemAction::DoorCloseWithDelay { doors, .. }
            | SystemAction::DoorCancelDelay { doors }
            | SystemAction::DoorDnd { doors, .. }
            | SystemAction::DoorDndToggle { doors }
            | SystemAction::DoorForce { doors, .. }
            | SystemAction::DoorForceToggle { doors }
            | SystemAction::AlarmAcknowledge { doors }
            | SystemAction::LockdownSet { doors, .. }
            | SystemAction::LockdownClear { doors, .. } => doors,
            SystemAction::DoorVirtualRead { door, .. } => std::slice::from_ref(door),
            SystemAction::ApbClear { .. }
            | SystemAction::FloorOpen { .. }
            | SystemAction::FloorClose { .. }
            | SystemAction::FloorOpenAndClose { .. }
            | SystemAction::OutputPulse { .. }
            | SystemAction::OutputSet { .. }
            | SystemAction::Alarm { .. }
            | SystemAction::Notify { .. } => &[],
        }
    }

    /// Whom it reads a credential of, or forgets the way of.
    pub fn person(&self) -> Option<&Id> {
        match self {
            SystemAction::DoorVirtualRead { person, .. } => Some(person),
            SystemAction::ApbClear { person, .. } => person.as_ref(),
            _ => None,
        }
    }

    /// Whether it only makes safer or tells: carried out even when nobody knows what time it is.
    pub fn secures(&self) -> bool {
        match self {
            SystemAction::DoorClose { .. }
            | SystemAction::DoorCloseWithDelay { .. }
            | SystemAction::DoorDnd { on: true, .. }
            | SystemAction::DoorForce { state: ForceState::Closed, .. }
            | SystemAction::LockdownSet { .. }
            | SystemAction::FloorClose { .. }
            | SystemAction::Alarm { .. }
            | SystemAction::Notify { .. } => true,
            SystemAction::DoorOpen { .. }
            | SystemAction::DoorOpenAndClose { .. }
            | SystemAction::DoorOpenWithDelay { .. }
            | SystemAction::DoorCancelDelay { .. }
            | SystemAction::DoorDnd { on: false, .. }
            | SystemAction::DoorDndToggle { .. }
            | SystemAction::DoorForce { state: ForceState::Open | ForceState::Released, .. }
            | SystemAction::DoorForceToggle { .. }
            | SystemAction::DoorVirtualRead { .. }
            | SystemAction::AlarmAcknowledge { .. }
            | SystemAction::ApbClear { .. }
            | SystemAction::FloorOpen { .. }
            | SystemAction::FloorOpenAndClose { .. }
            | SystemAction::LockdownClear { .. }
            | SystemAction::OutputPulse { .. }
            | SystemAction::OutputSet { .. } => false,
        }
    }
}

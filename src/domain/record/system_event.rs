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
    Tamper {
        #[serde(default)]
        inputs: Vec<Id>,
    },
    TamperCleared {
        #[serde(default)]
        inputs: Vec<Id>,
    },
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
    DoorDnd {
        doors: Vec<Id>,
        on: bool,
    },
    DoorForce {
        doors: Vec<Id>,
        state: ForceState,
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

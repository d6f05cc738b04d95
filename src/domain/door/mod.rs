//! The door: its configuration, the inputs it reacts to, the words for its states. The state machine
//! is in `state`, who wins in [`precedence`], what follows for the relay in `outputs`; `input` holds what a
//! door is told and answers, `sense` contact, exit button and fire, `accept` and `orders` the operators'
//! orders, `alarm` the alarms.
//! Must never know of boards, buses or people's rules.

mod accept;
mod alarm;
mod input;
mod orders;
mod outputs;
pub mod precedence;
mod sense;
mod state;

#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    input::{Closed, DoorInput, Effects, Force, Grant, Override},
    orders::{OPEN_GRACE, ORDER_SETTLE_MAX, ORDERS_MAX, OrderEnd},
    state::Door,
};
use super::{
    event::{Actor, DenialReason},
    ids::{Id, InputRef, OutputRef},
    outputs::Level,
    time::Wall,
};

/// ONVIF DoorMode (Door Control Service Specification), reduced to what latchd can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    Locked,
    Unlocked,
    Accessed,
    Blocked,
    LockedDown,
    LockedOpen,
}

/// All that an installer says of one door.
#[derive(Clone, Debug, PartialEq)]
pub struct DoorConfig {
    pub id: Id,
    pub lock: OutputRef,
    /// The level at which the door is unlocked: `Energised` for a fail-secure strike, `Released` for a
    /// fail-safe magnet.
    pub unlocked_level: Level,
    pub contact: Option<Contact>,
    pub rex: Option<Rex>,
    pub fire: Option<Fire>,
    /// How long a momentary unlock lasts ("release time").
    pub dwell: Duration,
    /// The same for cardholders with the extended access flag.
    pub dwell_extended: Duration,
    pub relock: Relock,
    /// How long the door may stand open after it was opened by right, before it is propped ("open time").
    pub open_time: Duration,
    pub open_time_extended: Duration,
    /// The warning comes this long before the propped alarm; zero for none.
    pub pre_alarm: Duration,
    pub at_start: StartPolicy,
    pub at_stop: StopPolicy,
    /// Nothing unlocks it for longer than a dwell but fire: a compartment of a key locker.
    pub momentary_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contact {
    pub input: InputRef,
    /// The input's value while the door is closed.
    pub closed_value: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rex {
    pub input: InputRef,
    pub active_value: bool,
    /// False where the exit is mechanical: then REX only masks the forced alarm and moves no relay.
    pub releases: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fire {
    pub input: InputRef,
    pub active_value: bool,
    pub reset: FireReset,
}

/// What ends the release by fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FireReset {
    /// The input, when it is inactive again.
    #[default]
    Auto,
    /// A person, by `alarm.acknowledge` at the door once the input is inactive; until then the release lasts,
    /// through a restart as well.
    Manual,
}

/// When a momentary unlock ends before its dwell is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relock {
    /// As soon as the door opens (the strike's tongue holds it on closing).
    OnOpen,
    /// As soon as the door has closed again.
    OnClose,
    /// Only when the dwell is over.
    AfterDwell,
}

/// What a door does at start, before anyone commanded anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartPolicy {
    /// What was durable before (`door.open` that was not closed, force open) holds again; else locked.
    Restore,
    /// What was open before is forgotten. What secures (lockdown, force closed, DND) holds again all the same.
    Lock,
}

/// What a door does when the daemon stops in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopPolicy {
    Lock,
    /// But for a lockdown, force closed or DND: those stay secured.
    Unlock,
    /// The relay stays as it is; a momentary unlock is still ended.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    Open,
    Closed,
    /// No contact, or its board is lost.
    Unknown,
}

/// The lock as read back from the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    Locked,
    Unlocked,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    None,
    Forced,
    PropWarning,
    Propped,
}

/// What lies over a door until somebody takes it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    Lockdown,
    Force,
    Dnd,
}

impl Hold {
    pub fn name(self) -> &'static str {
        match self {
            Hold::Lockdown => "lockdown",
            Hold::Force => "force",
            Hold::Dnd => "DND",
        }
    }
}

/// What a delayed command does when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DelayAction {
    Open,
    Close,
}

/// A delayed command, or what a system event has put off, that is not due yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingDelay {
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub jti: Option<Id>,
    /// In the command's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub system_event: Option<Id>,
    pub action: DelayAction,
    pub due_at: Wall,
    /// Who gave the command; of a system event its author, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub operator: Option<Id>,
}

/// A door's present state: what is retained on its topic and answered to `door.state.get`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoorStatus {
    pub door: Id,
    pub mode: Mode,
    pub contact: ContactState,
    pub lock: LockState,
    pub alarm: Alarm,
    /// Somebody has seen the alarm that stands; it clears by itself all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alarm_acknowledged: bool,
    /// Why every credential is refused here, whatever the rules say of it; absent: they decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denies: Option<DenialReason>,
    /// When `mode` began.
    pub since: Wall,
    /// Delayed commands that are not due yet, the next first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays: Vec<PendingDelay>,
}

impl DoorStatus {
    /// With these besides, the next first.
    pub fn with_delays(mut self, delays: Vec<PendingDelay>) -> DoorStatus {
        self.delays.extend(delays);
        self.delays.sort_by(|a, b| (a.due_at, &a.jti, &a.system_event).cmp(&(b.due_at, &b.jti, &b.system_event)));
        self
    }
}

/// What must outlive a power cut of a door's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DurableDoor {
    /// `door.open` that nobody countered and no boundary ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub manual_open: Option<HeldBy>,
    /// `door.close` that nobody countered and no boundary ended: auto open does not unlock meanwhile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub manual_close: Option<HeldBy>,
    /// One for each door, however many commands it was named by: whoever set it last is named here, and a
    /// clear that names the door clears it, whatever else the set had named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lockdown: Option<HeldBy>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub force: Option<Forced>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dnd: Option<HeldBy>,
    /// Released by fire and not reset by hand yet.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub fire_latched: bool,
    /// What the stop made of the door, where the next run will make something else of it: it tells of that change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped_as: Option<Mode>,
    /// `iat` of the last level command that was applied, in milliseconds.
    #[serde(default)]
    pub level_issued_at_ms: i64,
    /// `iat` of the last `door.close` that was applied, in milliseconds: delays from before it are cancelled.
    #[serde(default)]
    pub closed_issued_at_ms: i64,
}

/// Who brought about what lasts, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldBy {
    #[serde(flatten)]
    pub by: Actor,
    #[serde(default)]
    pub since: Wall,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forced {
    pub state: Force,
    pub held: HeldBy,
}

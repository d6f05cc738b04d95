//! The arguments of commands to what stands at the site: doors, alarms, areas, floors, compartments, outputs. Owns their
//! shapes; must never hold an argument of a command to the node itself. Invariant: each says whether it is one target or
//! several, and what an absent one means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{door::Mode, ids::Id, record::ForceState};

/// `args` of `door.open`, `door.close` and `door.state.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorArgs {
    pub door: Id,
}

/// `args` of `door.open_and_close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorOpenAndCloseArgs {
    pub door: Id,
    /// How long the door is released; absent: the door's own dwell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 540_000), with = "u32")]
    pub dwell_ms: Option<u32>,
}

/// `args` of `door.open_with_delay` and `door.close_with_delay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorDelayArgs {
    pub door: Id,
    /// From when the command is accepted; the node's configuration may cap it lower.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub delay_ms: u32,
}

/// `args` of `door.cancel_delay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorCancelDelayArgs {
    pub door: Id,
    /// The command to cancel. With neither of the two: all that is pending at the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<Id>,
    /// What this system event has put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_event: Option<Id>,
}

/// `args` of `door.dnd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DndArgs {
    pub door: Id,
    pub set: Setting,
    /// Required with `toggle`: the mode that the door is believed to be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_mode: Option<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    On,
    Off,
    Toggle,
}

/// `args` of `door.force_toggle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceToggleArgs {
    pub door: Id,
    /// The mode that the door is believed to be in.
    pub expect_mode: Mode,
}

/// `args` of `door.force`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceArgs {
    pub door: Id,
    pub state: ForceState,
}

/// `args` of `door.virtual_read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualReadArgs {
    pub door: Id,
    pub person: Id,
    /// Absent: any credential of the person that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
}

/// `args` of `lockdown.set` and `lockdown.clear`: exactly one of them. A partition takes its lockers and elevators
/// along, and the node all that it has; doors by name are these doors alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownArgs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<Vec<Id>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Id>,
    /// The whole node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<bool>,
}

/// `args` of `alarm.acknowledge`: exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmAcknowledgeArgs {
    /// The standing alarm of this door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Id>,
    /// An alarm by its id, from `alarm.raised`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Id>,
}

/// `args` of `apb.clear`: at most one of them; neither: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApbClearArgs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<Id>,
}

/// `args` of `floor.open` and `floor.close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorArgs {
    pub floor_group: Id,
    /// Absent: all of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floors: Option<Vec<Id>>,
}

/// `args` of `floor.open_and_close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorOpenAndCloseArgs {
    pub floor_group: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floors: Option<Vec<Id>>,
    /// Absent: as long as a read enables floors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 540_000), with = "u32")]
    pub dwell_ms: Option<u32>,
}

/// `args` of `locker.open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockerArgs {
    /// A compartment.
    pub locker: Id,
}

/// `args` of `output.pulse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputPulseArgs {
    pub output: Id,
    #[schemars(range(min = 100, max = 540_000))]
    pub pulse_ms: u32,
}

/// `args` of `output.set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSetArgs {
    pub output: Id,
    pub on: bool,
}

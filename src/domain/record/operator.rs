//! Who may command. Owns the shapes of `operator`, `role` and `organisation_unit`; must never decide
//! (that is `domain::operator`). Invariant: an absent scope is the whole node only where the role says so.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ids::Id, time::Wall};

/// Someone who may command this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// For lists and logs, where first and last name are not kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// BCP 47.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether the cloud may send messages to this operator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notifications: bool,
    pub status: OperatorStatus,
    /// A built-in role (`integrator`, `admin`, `manager`, `reporter` and those of the key automat) or the id of
    /// a role record.
    pub role: Id,
    /// Doors assigned. With `doors`, `partitions` and `organisation_units` all absent: every door of the node,
    /// but for a `manager`, who has only what is assigned. Else the doors of all three together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<Vec<Id>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<Id>>,
    /// With all units below them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation_units: Option<Vec<Id>>,
}

impl Operator {
    /// Active, with this role, not limited by anything but it.
    pub fn active(role: Id) -> Operator {
        Operator {
            name: None,
            email: None,
            first_name: None,
            last_name: None,
            company: None,
            title: None,
            phone: None,
            language: None,
            notifications: false,
            status: OperatorStatus::Active {},
            role,
            doors: None,
            partitions: None,
            organisation_units: None,
        }
    }
}

/// A part of the organisation; operators and partitions belong to units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationUnit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum OperatorStatus {
    Active {},
    /// Invited, not accepted; dead from `expires_at` on, or else six hours after `invited_at`. At least one of
    /// them; an edit by command that has neither is of the moment in which it is made.
    Invited {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        invited_at: Option<Wall>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Wall>,
    },
    Suspended {},
}

/// How long an invitation is good for that does not say so.
pub const INVITATION_LASTS: Duration = Duration::from_secs(6 * 3600);

impl OperatorStatus {
    /// From then on an invitation is dead; `None` where there is none, or none that says when.
    pub fn invitation_ends_at(&self) -> Option<Wall> {
        match self {
            OperatorStatus::Invited { invited_at, expires_at } => {
                expires_at.or_else(|| invited_at.map(|at| at + INVITATION_LASTS))
            }
            OperatorStatus::Active {} | OperatorStatus::Suspended {} => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub capabilities: Vec<Capability>,
}

/// What an operator may do; the table from command to capability is in `domain::operator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    People,
    Groups,
    SystemEvents,
    AutoOpen,
    Elevators,
    Reports,
    Partitions,
    DoorStates,
    LiveEvents,
    Configuration,
    EmergencyCards,
    DoorControl,
    Operators,
    Lockdown,
    FloorControl,
    Outputs,
    /// Seeing lockers and their contracts.
    Lockers,
    LockerContracts,
    LockerOpen,
    Keys,
    AntiPassback,
    Alarms,
    Reboot,
    MainUsageReport,
    DeviceUsageReport,
    MainAlarms,
    DeviceAlarms,
    InstallDevices,
    DeviceSettings,
    DevicePreferences,
    PrivacySettings,
    DeviceTools,
    DeviceLogs,
    LockerPhoto,
    FrontCameraPhoto,
    FrontCameraTimeline,
}

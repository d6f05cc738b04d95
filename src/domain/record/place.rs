//! What belongs together in the building. Owns the shapes of `partition`, `area`, `interlock`, `floor_group`
//! and `door_policy`; must never name hardware beyond the ids that the node's configuration gives it.
//! Invariant: a door, reader or floor group that the node does not have is no error: sets are shared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MILLIS_MAX;
use crate::domain::ids::Id;

/// A part of the site that operators are limited to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation_unit: Option<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doors: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floor_groups: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lockers: Vec<Id>,
}

/// A space that people enter and leave through readers. A reader that is in nobody's list changes nothing;
/// leaving one area through a reader that is another's entry is both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Area {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub entry_readers: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exit_readers: Vec<Id>,
    #[serde(default)]
    pub anti_passback: AntiPassback,
    /// A violation is forgiven this long after the last passage; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgive_after_s: Option<u32>,
    /// At most so many people inside; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupancy_max: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AntiPassback {
    /// People are counted, never refused.
    #[default]
    Off,
    /// A violation is granted and told.
    Soft,
    /// A violation is denied.
    Hard,
}

/// Doors of which at most one may be open or unlocked at a time (mantrap).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interlock {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub doors: Vec<Id>,
}

/// What an elevator does besides enabling the floors of those who read a card: its id is that of the floor
/// group in the node's configuration, where cab reader and relays are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorGroup {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Floors that everybody may choose while a schedule holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public: Vec<PublicFloors>,
    /// How long a read enables floors; absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_s: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicFloors {
    pub floors: Vec<Id>,
    /// Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Id>,
}

/// What certain doors do when the node is left alone, and how they ask people for more than a card. Of each
/// door at most one policy speaks; a door without one keeps to the defaults given here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Doors and compartments; of an elevator the id of its floor group, for its cab.
    pub doors: Vec<Id>,
    /// The set is stale when the last beat is this old; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after_s: Option<u32>,
    #[serde(default)]
    pub when_stale: WhenStale,
    #[serde(default)]
    pub clock_untrusted: ClockFallback,
    /// Emergency cards are accepted when the last beat is this old; absent: only as the fallbacks above say,
    /// and when the mirror cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_after_s: Option<u32>,
    /// Wrong PINs in a row after which a person's (or, for PINs alone, a reader's) PINs are refused.
    #[serde(default = "pin_tries")]
    pub pin_tries: u32,
    #[serde(default = "pin_lockout_s")]
    pub pin_lockout_s: u32,
    /// How long the reader waits for the PIN, and between two digits.
    #[serde(default = "pin_timeout_ms")]
    pub pin_timeout_ms: u32,
    /// How long the reader waits for the second person.
    #[serde(default = "second_person_ms")]
    pub second_person_ms: u32,
}

fn pin_tries() -> u32 {
    5
}

fn pin_lockout_s() -> u32 {
    300
}

fn pin_timeout_ms() -> u32 {
    10_000
}

fn second_person_ms() -> u32 {
    15_000
}

impl Default for DoorPolicy {
    fn default() -> DoorPolicy {
        DoorPolicy {
            name: None,
            doors: Vec::new(),
            stale_after_s: None,
            when_stale: WhenStale::default(),
            clock_untrusted: ClockFallback::default(),
            emergency_after_s: None,
            pin_tries: pin_tries(),
            pin_lockout_s: pin_lockout_s(),
            pin_timeout_ms: pin_timeout_ms(),
            second_person_ms: second_person_ms(),
        }
    }
}

impl DoorPolicy {
    /// What is wrong with it by itself.
    pub fn fault(&self) -> Option<&'static str> {
        let in_range = |ms: u32| (1000..=MILLIS_MAX).contains(&ms);
        if self.pin_tries == 0 {
            Some("pin_tries: expected at least 1")
        } else if !in_range(self.pin_timeout_ms) || !in_range(self.second_person_ms) {
            Some("pin_timeout_ms and second_person_ms: expected 1000 to 120000")
        } else {
            None
        }
    }
}

/// Who is admitted by a set that the cloud has not confirmed for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// As before.
    #[default]
    Keep,
    /// Members of groups that are `critical`, and emergency cards. The codes of a locker contract are its
    /// cardholder's; of a contract without one they are nobody's, who is in no group.
    CriticalGroups,
    EmergencyCards,
    /// Nobody.
    Deny,
}

/// Who is admitted while the clock is not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockFallback {
    /// By rules without a schedule, for people and credentials without dates.
    #[default]
    AlwaysRules,
    /// Schedules of allow rules count as holding; dates still deny in doubt.
    IgnoreSchedules,
    EmergencyCards,
}

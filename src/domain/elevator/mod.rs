//! The elevator: a cab reader and a relay for each floor. Owns the words for its configuration and its state;
//! the state machine is in `state`, what each input does in `hear`, operators' orders in `orders`, what
//! follows for the relays and what they were read back to be in `relay`. Must never know of people's rules or of addresses on a bus.
//!
//! A floor is *enabled* while the elevator's own control accepts its button. Why a floor is enabled, highest
//! first:
//!
//! | cause | floor | ends |
//! |---|---|---|
//! | the node stops, or the board is lost | as `fail` says | when the board answers |
//! | lockdown | disabled, every read denied with `locked_down` | when it is cleared, and what that enables was read back |
//! | `floor.open` | enabled | by `floor.close`; of a public floor at the schedule's next boundary |
//! | `floor.close` | public schedules count for nothing | by `floor.open`, or at the next boundary |
//! | a public schedule | enabled | with the schedule |
//! | `floor.open_and_close` | enabled | after its dwell |
//! | a read in the cab | enabled for whom the rules allow it | after `enable_s` |
//!
//! The last four add up: a floor is enabled while any of them enables it. Fire is the elevator's own business:
//! its control has a fire recall, which needs no relay of ours.

mod hear;
mod orders;
mod relay;
mod state;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::state::{Elevator, ElevatorInput, Ride};
use super::{
    event::{Actor, EventBody},
    ids::{Id, InputRef, OutputRef},
    order::Progress,
    outputs::{Level, Ticket},
    status::Link,
    time::Wall,
};

/// Floors of one elevator.
pub const FLOORS_MAX: usize = 128;

/// All that an installer says of one elevator.
#[derive(Clone, Debug, PartialEq)]
pub struct FloorGroupConfig {
    pub id: Id,
    pub floors: Vec<FloorConfig>,
    /// How long a read enables floors.
    pub enable: Duration,
    /// The same for cardholders with the extended access flag.
    pub enable_extended: Duration,
    pub fail: FailPolicy,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FloorConfig {
    pub id: Id,
    pub output: OutputRef,
    /// The level at which the floor may be chosen.
    pub enabled_level: Level,
    /// Tells that the floor was chosen.
    pub selected: Option<Selected>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selected {
    pub input: InputRef,
    pub active_value: bool,
}

/// What becomes of floors while the node is not in charge of their relays: their board is lost, or the node
/// stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailPolicy {
    /// Disabled; what enabled them for a while is over.
    Secure,
    /// Enabled until the node is in charge again.
    Free,
    /// As they are; but for a stop in order, at which what was enabled for a while is over: nobody would end it.
    Keep,
}

/// Floors of one group, by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FloorSet(pub u128);

impl FloorSet {
    pub const NONE: FloorSet = FloorSet(0);

    /// The first `count` floors.
    pub fn all(count: usize) -> FloorSet {
        FloorSet(1_u128.checked_shl(count.min(FLOORS_MAX) as u32).map_or(u128::MAX, |bit| bit - 1))
    }

    pub fn one(floor: usize) -> FloorSet {
        FloorSet(1_u128.checked_shl(floor as u32).unwrap_or(0))
    }

    pub fn contains(self, floor: usize) -> bool {
        !self.and(FloorSet::one(floor)).is_empty()
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn and(self, other: FloorSet) -> FloorSet {
        FloorSet(self.0 & other.0)
    }

    #[must_use]
    pub fn or(self, other: FloorSet) -> FloorSet {
        FloorSet(self.0 | other.0)
    }

    #[must_use]
    pub fn without(self, other: FloorSet) -> FloorSet {
        FloorSet(self.0 & !other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..FLOORS_MAX).filter(move |floor| self.contains(*floor))
    }
}

impl FromIterator<usize> for FloorSet {
    fn from_iter<T: IntoIterator<Item = usize>>(floors: T) -> FloorSet {
        floors.into_iter().map(FloorSet::one).fold(FloorSet::NONE, FloorSet::or)
    }
}

impl FloorGroupConfig {
    pub fn all(&self) -> FloorSet {
        FloorSet::all(self.floors.len())
    }

    pub fn names(&self, floors: FloorSet) -> Vec<Id> {
        floors.iter().filter_map(|floor| self.floors.get(floor)).map(|floor| floor.id.clone()).collect()
    }

    pub fn position(&self, floor: &str) -> Option<usize> {
        self.floors.iter().position(|known| known.id.as_str() == floor)
    }
}

/// What the public schedules say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Public {
    /// Of these floors now.
    pub holds: FloorSet,
    /// These floors are public at some time or other.
    pub governed: FloorSet,
    /// When that of a floor changes next; absent: never.
    pub next: BTreeMap<usize, Wall>,
}

/// What must outlive a power cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableFloors {
    /// By floor.
    pub manual: BTreeMap<Id, Manual>,
    pub lockdown: bool,
    /// When the last command that set or cleared it was issued, in milliseconds: an older one must not undo it.
    #[serde(default)]
    pub lockdown_issued_at_ms: i64,
    /// When the last level command applied to a floor was issued: an older one must not undo it.
    pub level_issued_at_ms: BTreeMap<Id, i64>,
}

impl DurableFloors {
    fn level_issued(&mut self, floor: &Id, issued_at: Wall) {
        let latest = self.level_issued_at_ms.entry(floor.clone()).or_insert(0);
        *latest = issued_at.as_millis().max(*latest);
    }
}

/// An operator's `floor.open`, or a `floor.close` of a public floor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manual {
    pub open: bool,
    /// Until the public schedule's next boundary; absent: until countered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Wall>,
    pub by: Actor,
}

/// A floor group's present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FloorGroupStatus {
    pub floor_group: Id,
    /// Of its boards together: lost if any is.
    pub link: Link,
    pub lockdown: bool,
    /// In the order of the configuration.
    pub floors: Vec<FloorStatus>,
    /// When it last became as it is.
    pub since: Wall,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FloorStatus {
    pub floor: Id,
    /// Whether it is meant to be enabled, and the highest cause of that.
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FloorCause>,
    /// As read back from the board.
    pub relay: RelayState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FloorCause {
    /// `fail = "free"`.
    Fail,
    /// `floor.open`.
    Open,
    /// A public schedule.
    Public,
    /// `floor.open_and_close`.
    Momentary,
    /// A read in the cab.
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    Unknown,
    Enabled,
    Disabled,
}

/// What one input brought about, besides the elevator's state.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    pub events: Vec<EventBody>,
    pub reports: Vec<(Ticket, Progress)>,
    /// Reports that wait until `durable`, and all that was durable before, is on the disk.
    pub held: Vec<(Ticket, Progress)>,
    pub durable: Option<DurableFloors>,
}

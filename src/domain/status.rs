//! The present state of the things of the node: what is retained on `state/{kind}/{id}`. Owns the list of
//! such things; must never say what happened (that is an event). Invariant: a status is complete in itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    door::DoorStatus,
    elevator::FloorGroupStatus,
    ids::{BoardIx, DoorIx, Id, ReaderIx},
    locker::LockerStatus,
};

/// What has a state, by its position or name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Door(DoorIx),
    Reader(ReaderIx),
    Board(BoardIx),
    /// By its id: areas come and go with the permission set.
    Area(Id),
    /// By its position in the configuration.
    FloorGroup(u16),
    Locker(DoorIx),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Door(DoorStatus),
    Reader(ReaderStatus),
    Board(BoardStatus),
    Area(AreaStatus),
    FloorGroup(FloorGroupStatus),
    Locker(LockerStatus),
    /// There is no such thing any more: what is retained of it is to be cleared. Kind and id.
    Gone(&'static str, Id),
}

/// A reader's present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReaderStatus {
    pub reader: Id,
    pub link: Link,
}

/// A board's present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoardStatus {
    pub board: Id,
    pub link: Link,
}

/// How many people are in an area.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AreaStatus {
    pub area: Id,
    /// People who were seen to enter and not to leave.
    pub count: u32,
    /// At most so many; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Nothing heard yet since the start.
    Unknown,
    Up,
    Lost,
}

impl Status {
    /// Of a thing that has no status any more. `None`: what the configuration names does not go.
    pub fn gone(thing: &Thing) -> Option<Status> {
        match thing {
            Thing::Area(area) => Some(Status::Gone("area", area.clone())),
            Thing::Door(_) | Thing::Reader(_) | Thing::Board(_) | Thing::FloorGroup(_) | Thing::Locker(_) => None,
        }
    }

    /// As in the topic, and the name of the member in the message.
    pub fn kind(&self) -> &'static str {
        match self {
            Status::Door(_) => "door",
            Status::Reader(_) => "reader",
            Status::Board(_) => "board",
            Status::Area(_) => "area",
            Status::FloorGroup(_) => "floor_group",
            Status::Locker(_) => "locker",
            Status::Gone(kind, _) => kind,
        }
    }

    pub fn id(&self) -> &Id {
        match self {
            Status::Door(status) => &status.door,
            Status::Reader(status) => &status.reader,
            Status::Board(status) => &status.board,
            Status::Area(status) => &status.area,
            Status::FloorGroup(status) => &status.floor_group,
            Status::Locker(status) => &status.locker,
            Status::Gone(_, id) => id,
        }
    }
}

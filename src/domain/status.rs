//! The present state of the things of the node: what is retained on `state/{kind}/{id}`. Owns the list of
//! such things; must never say what happened (that is an event). Invariant: a status is complete in itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    door::DoorStatus,
    ids::{BoardIx, DoorIx, Id, ReaderIx},
};

/// What has a state, by its position or name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Door(DoorIx),
    Reader(ReaderIx),
    Board(BoardIx),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Door(DoorStatus),
    Reader(ReaderStatus),
    Board(BoardStatus),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Nothing heard yet since the start.
    Unknown,
    Up,
    Lost,
}

impl Status {
    /// As in the topic, and the name of the member in the message.
    pub fn kind(&self) -> &'static str {
        match self {
            Status::Door(_) => "door",
            Status::Reader(_) => "reader",
            Status::Board(_) => "board",
        }
    }

    pub fn id(&self) -> &Id {
        match self {
            Status::Door(status) => &status.door,
            Status::Reader(status) => &status.reader,
            Status::Board(status) => &status.board,
        }
    }
}

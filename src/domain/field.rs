//! What the installer says of everything that is not a door, a reader or a board. Owns that list; must never
//! hold state. Invariant: every output in it drives nothing else.

use std::collections::BTreeMap;

use super::{
    elevator::FloorGroupConfig,
    ids::{Id, InputRef, OutputRef, ReaderIx},
    installer::BoardPoints,
    keypad::Keypad,
    locker::CabinetConfig,
    outputs::Level,
};

/// What the machines beside the doors are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldConfig {
    pub floor_groups: Vec<FloorGroupConfig>,
    pub cabinets: Vec<CabinetConfig>,
    /// Of the readers that have one.
    pub keypads: BTreeMap<ReaderIx, Keypad>,
    /// In the order of [`Topology::outputs`](super::topology::Topology::outputs).
    pub outputs: Vec<FreeOutputConfig>,
    /// In the order of [`Topology::inputs`](super::topology::Topology::inputs).
    pub inputs: Vec<NodeInput>,
    /// Position in `outputs` of the one that blinks on `node.identify`.
    pub identify: Option<usize>,
    /// All points of all boards, in the order of the boards: for whoever looks for a wire.
    pub points: Vec<BoardPoints>,
}

/// What is less than it should be for as long as a run lasts: a secure default that the configuration gives up, or
/// a store that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    pub of: WeaknessOf,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeaknessOf {
    Link,
    Reader(Id),
    Store(String),
}

/// An output that belongs to no door, floor or compartment: a siren, a lamp, a gong.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeOutputConfig {
    pub id: Id,
    pub output: OutputRef,
    /// The level at which what hangs on it is on.
    pub on_level: Level,
    pub at_start: OutputStart,
    pub at_stop: OutputStop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStart {
    /// As it was set last.
    Restore,
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStop {
    /// As it is set; a pulse is ended all the same.
    Keep,
    On,
    Off,
}

/// An input that belongs to no door.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInput {
    pub id: Id,
    pub input: InputRef,
    pub kind: InputKind,
    /// The input's value while the mains has failed, the cover is open, the thing is on.
    pub active_value: bool,
    /// What it watches over, where that is a door or a reader.
    pub door: Option<Id>,
    pub reader: Option<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Active: the mains has failed.
    Power,
    /// Active: a cover is open, a wire is cut.
    Tamper,
    /// Whatever a system event makes of it.
    General,
}

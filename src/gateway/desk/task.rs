//! From a command to what is to be done in the field. Owns the resolution of names to positions; must never
//! judge authority or time. Invariant: a task names only what this node has.

use super::{Desk, End};
use crate::{
    domain::{
        event::Refusal,
        ids::{DoorIx, Id},
        record::KNOWN_KINDS,
        order::{DoorAction, Switch, Task},
    },
    wire::command::{CommandBody, Setting, dwell},
};

/// Who carries a command out.
pub(super) enum Work {
    Field(Task),
    /// The node itself: an errand.
    Node,
}

impl Desk {
    pub(super) fn work(&self, body: &CommandBody) -> Result<Work, End> {
        let at_door = |door: &Id, action| Ok(Work::Field(Task::Door(self.door(door)?, action)));
        match body {
            CommandBody::DoorOpen(args) => at_door(&args.door, DoorAction::Open),
            CommandBody::DoorClose(args) => at_door(&args.door, DoorAction::Close),
            CommandBody::DoorOpenAndClose(args) => {
                at_door(&args.door, DoorAction::OpenAndClose { dwell: dwell(args.dwell_ms) })
            }
            CommandBody::DoorStateGet(args) => at_door(&args.door, DoorAction::Report),
            CommandBody::Dnd { door, set, expect_mode } => {
                let switch = match (set, expect_mode) {
                    (Setting::On, _) => Switch::On,
                    (Setting::Toggle, Some(expect)) => Switch::Toggle { expect: *expect },
                    (Setting::Off | Setting::Toggle, _) => Switch::Off,
                };
                at_door(door, DoorAction::Dnd(switch))
            }
            CommandBody::ForceToggle { door, expect_mode } => {
                at_door(door, DoorAction::ForceToggle { expect: *expect_mode })
            }
            CommandBody::Force { door, state } => at_door(door, DoorAction::Force(*state)),
            CommandBody::ReportsQuery(_)
            | CommandBody::LiveEventsSubscribe(_)
            | CommandBody::LiveEventsUnsubscribe(_) => Ok(Work::Node),
            CommandBody::Put { kind, .. } | CommandBody::Delete { kind, .. } | CommandBody::List { kind, .. }
                if KNOWN_KINDS.contains(&kind.as_str()) =>
            {
                Ok(Work::Node)
            }
            other => {
                let name = other.name();
                Err(End::refused(Refusal::Unsupported, format!("this version of latchd does not carry out {name}")))
            }
        }
    }

    pub(super) fn door(&self, door: &Id) -> Result<DoorIx, End> {
        let known = self.doors.get(door).copied();
        known.ok_or_else(|| End::refused(Refusal::UnknownTarget, format!("this node has no door {door}")))
    }
}

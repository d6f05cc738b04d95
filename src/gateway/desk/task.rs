//! From a command to what is to be done in the field. Owns the resolution of names to positions; must never
//! judge authority or time. Invariant: a task names only what this node has.

use std::time::Duration;

use super::{Desk, End};
use crate::{
    domain::{
        event::Refusal,
        ids::{DoorIx, Id},
        order::{DoorAction, OutputAction, Switch, Task},
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
            CommandBody::AlarmAcknowledge(args) => match (&args.door, &args.alarm) {
                (Some(door), None) => at_door(door, DoorAction::AcknowledgeAlarm),
                (None, Some(alarm)) => Ok(Work::Field(Task::AcknowledgeAlarm { alarm: alarm.clone() })),
                (Some(_), Some(_)) | (None, None) => {
                    Err(End::refused(Refusal::Malformed, "expected `door` or `alarm`, and one of them"))
                }
            },
            CommandBody::OutputPulse(args) => {
                let pulse = Duration::from_millis(u64::from(args.pulse_ms));
                Ok(Work::Field(self.free_output(&args.output, OutputAction::Pulse(pulse))?))
            }
            CommandBody::OutputSet(args) => {
                Ok(Work::Field(self.free_output(&args.output, OutputAction::Set(args.on))?))
            }
            CommandBody::NodeIdentify(_) => Ok(Work::Field(Task::Identify)),
            CommandBody::ReportsQuery(_)
            | CommandBody::LiveEventsSubscribe(_)
            | CommandBody::LiveEventsUnsubscribe(_) => Ok(Work::Node),
            other => {
                let name = other.name();
                Err(End::refused(Refusal::Unsupported, format!("this version of latchd does not carry out {name}")))
            }
        }
    }

    /// An output that belongs to nothing; of one that does, whose commands to use.
    fn free_output(&self, output: &Id, action: OutputAction) -> Result<Task, End> {
        if self.topology.outputs.contains(output) {
            return Ok(Task::Output { output: output.clone(), action });
        }
        let bound = self.topology.bound_outputs.iter().find(|(name, _)| name == output);
        Err(match bound {
            Some((_, to)) => {
                let message = format!("the output {output} belongs to {to}: it moves by the commands for that alone");
                End::refused(Refusal::Conflict, message)
            }
            None => End::refused(Refusal::UnknownTarget, format!("this node has no free output {output}")),
        })
    }

    pub(super) fn door(&self, door: &Id) -> Result<DoorIx, End> {
        let known = self.doors.get(door).copied();
        known.ok_or_else(|| End::refused(Refusal::UnknownTarget, format!("this node has no door {door}")))
    }
}

//! From a command to what is to be done in the field. Owns the resolution of names to positions; must never
//! judge authority or time. Invariant: a task names only what this node has.

use std::time::Duration;

use super::{Desk, ending::End};
use crate::{
    domain::{
        door::DelayAction,
        event::Refusal,
        ids::{DoorIx, Id},
        order::{DoorAction, FloorAction, OutputAction, Switch, Task},
        record::KNOWN_KINDS,
        topology::Premises,
    },
    wire::command::{ApbClearArgs, CommandBody, DoorCancelDelayArgs, LockdownArgs, Setting, VirtualReadArgs, dwell},
};

/// Who carries a command out.
pub(super) enum Work {
    Field(Task),
    /// The node itself: an errand.
    Node,
    /// The desk, when it is due; first the door is asked.
    Delay {
        door: Id,
        ix: DoorIx,
        action: DelayAction,
        delay: Duration,
    },
    CancelDelay(DoorCancelDelayArgs),
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
            CommandBody::FloorOpen(args) => {
                self.floors(&args.floor_group, args.floors.as_deref(), FloorAction::Open).map(Work::Field)
            }
            CommandBody::FloorClose(args) => {
                self.floors(&args.floor_group, args.floors.as_deref(), FloorAction::Close).map(Work::Field)
            }
            CommandBody::FloorOpenAndClose(args) => {
                let action = FloorAction::OpenAndClose { dwell: dwell(args.dwell_ms) };
                self.floors(&args.floor_group, args.floors.as_deref(), action).map(Work::Field)
            }
            CommandBody::LockerOpen(args) => {
                let known = self.doors.get(&args.locker).copied().filter(|door| self.topology.lockers.contains(door));
                let missing = || format!("this node has no locker {}", args.locker);
                let door = known.ok_or_else(|| End::refused(Refusal::UnknownTarget, missing()))?;
                Ok(Work::Field(Task::Door(door, DoorAction::OpenAndClose { dwell: None })))
            }
            CommandBody::DoorOpenWithDelay(_) | CommandBody::DoorCloseWithDelay(_) => {
                let Some((action, door, delay_ms)) = Desk::delayed(body) else { return Err(unsupported(body)) };
                let (ix, delay) = self.delay(action, door, delay_ms)?;
                Ok(Work::Delay { door: door.clone(), ix, action, delay })
            }
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
            CommandBody::VirtualRead(VirtualReadArgs { door, person, credential }) => {
                let (door, person, credential) = (self.door(door)?, person.clone(), credential.clone());
                Ok(Work::Field(Task::VirtualRead { door, person, credential }))
            }
            CommandBody::ApbClear(ApbClearArgs { person, area }) => {
                Ok(Work::Field(Task::ClearApb { person: person.clone(), area: area.clone() }))
            }
            CommandBody::NodeIdentify(_) => Ok(Work::Field(Task::Identify)),
            CommandBody::ReportsQuery(_)
            | CommandBody::LiveEventsSubscribe(_)
            | CommandBody::LiveEventsUnsubscribe(_)
            | CommandBody::ConfigurationGet(_)
            | CommandBody::ConfigurationPut(_)
            | CommandBody::ConfigurationConfirm(_)
            | CommandBody::NodeReboot(_)
            | CommandBody::NodeDiagnostics(_) => Ok(Work::Node),
            CommandBody::DoorCancelDelay(args) => Ok(Work::CancelDelay(args.clone())),
            CommandBody::LockdownSet(args) => self.lockdown(args, true),
            CommandBody::LockdownClear(args) => self.lockdown(args, false),
            CommandBody::Put { kind, .. } | CommandBody::Delete { kind, .. } | CommandBody::List { kind, .. }
                if KNOWN_KINDS.contains(&kind.as_str()) =>
            {
                Ok(Work::Node)
            }
            other => Err(unsupported(other)),
        }
    }

    /// None named: all of the group. An empty list names none, which is no order at all.
    fn floors(&self, floor_group: &Id, floors: Option<&[Id]>, action: FloorAction) -> Result<Task, End> {
        let unknown = |what: String| End::refused(Refusal::UnknownTarget, what);
        let group = self.topology.floor_groups.iter().find(|group| group.id == *floor_group);
        let group = group.ok_or_else(|| unknown(format!("this node has no floor group {floor_group}")))?;
        if floors.is_some_and(<[Id]>::is_empty) {
            return Err(End::refused(Refusal::Malformed, "floors names none; leave it out for all of the group"));
        }
        let floors = floors.unwrap_or_default();
        match floors.iter().find(|floor| !group.floors.contains(floor)) {
            Some(floor) => Err(unknown(format!("floor group {floor_group} has no floor {floor}"))),
            None => Ok(Task::Floor { floor_group: floor_group.clone(), floors: floors.to_vec(), action }),
        }
    }

    fn lockdown(&self, args: &LockdownArgs, on: bool) -> Result<Work, End> {
        let Premises { doors, floor_groups } = match (&args.doors, &args.partition) {
            // Each by its name: one that does not exist is a mistake that must show.
            (Some(named), _) => {
                let doors = named.iter().map(|door| self.door(door)).collect::<Result<_, _>>()?;
                Premises::of(doors, Vec::new())
            }
            (None, Some(partition)) => {
                let record = self.permissions.site().partitions.get(partition);
                let premises = record.map(|record| self.topology.premises_of(record)).unwrap_or_default();
                if premises.is_empty() {
                    let message = format!("nothing of this node is in a partition {partition}");
                    return Err(End::refused(Refusal::UnknownTarget, message));
                }
                premises
            }
            (None, None) => self.topology.premises(),
        };
        Ok(Work::Field(Task::Lockdown { doors, floor_groups, on }))
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

fn unsupported(body: &CommandBody) -> End {
    End::refused(Refusal::Unsupported, format!("this version of latchd does not carry out {}", body.name()))
}

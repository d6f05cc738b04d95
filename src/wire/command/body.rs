//! Every command of the contract. Owns their names and what each names as its target; must never judge whether a target
//! exists or may be touched. Invariant: one variant for each command.

use serde_json::Value;

use super::args::*;
use crate::{
    domain::{door::Mode, ids::Id, operator::Targets, record::ForceState},
    wire::{configuration::ConfigurationGetArgs, live::SubscribeArgs, report::ReportArgs},
};

#[derive(Clone, Debug, PartialEq)]
pub enum CommandBody {
    DoorOpen(DoorArgs),
    DoorClose(DoorArgs),
    DoorOpenAndClose(DoorOpenAndCloseArgs),
    DoorOpenWithDelay(DoorDelayArgs),
    DoorCloseWithDelay(DoorDelayArgs),
    DoorCancelDelay(DoorCancelDelayArgs),
    Dnd {
        door: Id,
        set: Setting,
        expect_mode: Option<Mode>,
    },
    ForceToggle {
        door: Id,
        expect_mode: Mode,
    },
    Force {
        door: Id,
        state: ForceState,
    },
    VirtualRead(VirtualReadArgs),
    DoorStateGet(DoorArgs),
    LockdownSet(LockdownArgs),
    LockdownClear(LockdownArgs),
    AlarmAcknowledge(AlarmAcknowledgeArgs),
    ApbClear(ApbClearArgs),
    FloorOpen(FloorArgs),
    FloorClose(FloorArgs),
    FloorOpenAndClose(FloorOpenAndCloseArgs),
    LockerOpen(LockerArgs),
    OutputPulse(OutputPulseArgs),
    OutputSet(OutputSetArgs),
    /// `KIND.put`.
    Put {
        kind: String,
        id: Id,
        body: Value,
    },
    /// `KIND.delete`.
    Delete {
        kind: String,
        id: Id,
    },
    /// `KIND.list`.
    List {
        kind: String,
        args: ListArgs,
    },
    ReportsQuery(ReportArgs),
    LiveEventsSubscribe(SubscribeArgs),
    LiveEventsUnsubscribe(UnsubscribeArgs),
    ConfigurationGet(ConfigurationGetArgs),
    ConfigurationPut(ConfigurationPutArgs),
    ConfigurationConfirm(ConfigurationConfirmArgs),
    NodeReboot(NoArgs),
    NodeIdentify(NoArgs),
    NodeDiagnostics(DiagnosticsArgs),
    /// A command of the contract that this version cannot carry out.
    Unsupported {
        name: String,
    },
}

impl CommandBody {
    pub fn name(&self) -> String {
        let name = match self {
            CommandBody::DoorOpen(_) => "door.open",
            CommandBody::DoorClose(_) => "door.close",
            CommandBody::DoorOpenAndClose(_) => "door.open_and_close",
            CommandBody::DoorOpenWithDelay(_) => "door.open_with_delay",
            CommandBody::DoorCloseWithDelay(_) => "door.close_with_delay",
            CommandBody::DoorCancelDelay(_) => "door.cancel_delay",
            CommandBody::Dnd { .. } => "door.dnd",
            CommandBody::ForceToggle { .. } => "door.force_toggle",
            CommandBody::Force { .. } => "door.force",
            CommandBody::VirtualRead(_) => "door.virtual_read",
            CommandBody::DoorStateGet(_) => "door.state.get",
            CommandBody::LockdownSet(_) => "lockdown.set",
            CommandBody::LockdownClear(_) => "lockdown.clear",
            CommandBody::AlarmAcknowledge(_) => "alarm.acknowledge",
            CommandBody::ApbClear(_) => "apb.clear",
            CommandBody::FloorOpen(_) => "floor.open",
            CommandBody::FloorClose(_) => "floor.close",
            CommandBody::FloorOpenAndClose(_) => "floor.open_and_close",
            CommandBody::LockerOpen(_) => "locker.open",
            CommandBody::OutputPulse(_) => "output.pulse",
            CommandBody::OutputSet(_) => "output.set",
            CommandBody::Put { kind, .. } => return format!("{kind}.put"),
            CommandBody::Delete { kind, .. } => return format!("{kind}.delete"),
            CommandBody::List { kind, .. } => return format!("{kind}.list"),
            CommandBody::ReportsQuery(_) => "reports.query",
            CommandBody::LiveEventsSubscribe(_) => "live_events.subscribe",
            CommandBody::LiveEventsUnsubscribe(_) => "live_events.unsubscribe",
            CommandBody::ConfigurationGet(_) => "configuration.get",
            CommandBody::ConfigurationPut(_) => "configuration.put",
            CommandBody::ConfigurationConfirm(_) => "configuration.confirm",
            CommandBody::NodeReboot(_) => "node.reboot",
            CommandBody::NodeIdentify(_) => "node.identify",
            CommandBody::NodeDiagnostics(_) => "node.diagnostics",
            CommandBody::Unsupported { name } => name,
        };
        name.to_owned()
    }

    /// What an operator's scope must cover.
    pub fn targets(&self) -> Targets<'_> {
        match self {
            CommandBody::DoorOpen(args) | CommandBody::DoorClose(args) | CommandBody::DoorStateGet(args) => {
                Targets::door(&args.door)
            }
            CommandBody::DoorOpenAndClose(args) => Targets::door(&args.door),
            CommandBody::DoorOpenWithDelay(args) | CommandBody::DoorCloseWithDelay(args) => Targets::door(&args.door),
            CommandBody::DoorCancelDelay(args) => Targets::door(&args.door),
            CommandBody::Dnd { door, .. } | CommandBody::ForceToggle { door, .. } | CommandBody::Force { door, .. } => {
                Targets::door(door)
            }
            CommandBody::VirtualRead(args) => Targets { person: Some(&args.person), ..Targets::door(&args.door) },
            CommandBody::LockdownSet(args) | CommandBody::LockdownClear(args) => Targets {
                doors: args.doors.as_deref().unwrap_or_default(),
                partition: args.partition.as_ref(),
                ..Targets::default()
            },
            CommandBody::AlarmAcknowledge(args) => args.door.as_ref().map(Targets::door).unwrap_or_default(),
            CommandBody::ApbClear(args) => {
                Targets { person: args.person.as_ref(), area: args.area.as_ref(), ..Targets::default() }
            }
            CommandBody::FloorOpen(args) | CommandBody::FloorClose(args) => {
                Targets { floor_group: Some(&args.floor_group), ..Targets::default() }
            }
            CommandBody::FloorOpenAndClose(args) => {
                Targets { floor_group: Some(&args.floor_group), ..Targets::default() }
            }
            CommandBody::LockerOpen(args) => Targets::door(&args.locker),
            _ => Targets::default(),
        }
    }
}

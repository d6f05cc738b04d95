//! Every command of the contract with its arguments. Owns names, shapes and ranges; must never judge
//! whether a target exists or may be touched. Invariant: one variant for each command; what parsed is in
//! range.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::is_known;
use crate::{
    domain::{
        door::Mode,
        ids::Id,
        operator::{self, Targets},
        record::ForceState,
        time::Wall,
    },
    wire::{
        canonical::{hex32, unhex32},
        configuration::ConfigurationGetArgs,
        live::SubscribeArgs,
        report::ReportArgs,
    },
};

pub const DWELL_MS_MIN: u32 = 100;
pub const DWELL_MS_MAX: u32 = 540_000;
/// Of one pulse of a free output.
pub const PULSE_MS_MAX: u32 = 540_000;
/// What no configuration can raise: a delay lives in the ledger as long as this.
pub const DELAY_MS_MAX: u32 = 24 * 3600 * 1000;

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

/// In one page.
pub const LIST_RECORDS_MAX: u32 = 500;

/// Kind and id of the record after which a page begins, from the cursor that the page before gave.
pub fn parse_cursor(cursor: &str) -> Option<(Id, Id)> {
    let (kind, id) = cursor.split_once('/')?;
    Some((Id::new(kind).ok()?, Id::new(id).ok()?))
}

/// Everything of which all fields may be absent takes `args` that are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArgs {}

/// `args` of `door.open`, `door.close` and `door.state.get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorArgs {
    pub door: Id,
}

/// `args` of `door.open_and_close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorOpenAndCloseArgs {
    pub door: Id,
    /// How long the door is released; absent: the door's own dwell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 540_000), with = "u32")]
    pub dwell_ms: Option<u32>,
}

/// `args` of `door.open_with_delay` and `door.close_with_delay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorDelayArgs {
    pub door: Id,
    /// From when the command is accepted; the node's configuration may cap it lower.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub delay_ms: u32,
}

/// `args` of `door.cancel_delay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoorCancelDelayArgs {
    pub door: Id,
    /// The command to cancel. With neither of the two: all that is pending at the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<Id>,
    /// What this system event has put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_event: Option<Id>,
}

/// `args` of `door.dnd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DndArgs {
    pub door: Id,
    pub set: Setting,
    /// Required with `toggle`: the mode that the door is believed to be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_mode: Option<Mode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    On,
    Off,
    Toggle,
}

/// `args` of `door.force_toggle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceToggleArgs {
    pub door: Id,
    /// The mode that the door is believed to be in.
    pub expect_mode: Mode,
}

/// `args` of `door.force`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceArgs {
    pub door: Id,
    pub state: ForceState,
}

/// `args` of `door.virtual_read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualReadArgs {
    pub door: Id,
    pub person: Id,
    /// Absent: any credential of the person that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
}

/// `args` of `lockdown.set` and `lockdown.clear`: exactly one of them. A partition takes its lockers and elevators
/// along, and the node all that it has; doors by name are these doors alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownArgs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<Vec<Id>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Id>,
    /// The whole node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<bool>,
}

/// `args` of `alarm.acknowledge`: exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmAcknowledgeArgs {
    /// The standing alarm of this door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Id>,
    /// An alarm by its id, from `alarm.raised`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Id>,
}

/// `args` of `apb.clear`: at most one of them; neither: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApbClearArgs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<Id>,
}

/// `args` of `floor.open` and `floor.close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorArgs {
    pub floor_group: Id,
    /// Absent: all of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floors: Option<Vec<Id>>,
}

/// `args` of `floor.open_and_close`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorOpenAndCloseArgs {
    pub floor_group: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floors: Option<Vec<Id>>,
    /// Absent: as long as a read enables floors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 540_000), with = "u32")]
    pub dwell_ms: Option<u32>,
}

/// `args` of `locker.open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockerArgs {
    /// A compartment.
    pub locker: Id,
}

/// `args` of `output.pulse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputPulseArgs {
    pub output: Id,
    #[schemars(range(min = 100, max = 540_000))]
    pub pulse_ms: u32,
}

/// `args` of `output.set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSetArgs {
    pub output: Id,
    pub on: bool,
}

/// `args` of `KIND.put`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutArgs {
    pub id: Id,
    /// As in the set.
    #[schemars(with = "Map<String, Value>")]
    pub body: Value,
}

/// `args` of `KIND.delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteArgs {
    pub id: Id,
}

/// `args` of `KIND.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListArgs {
    /// Only this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub id: Option<Id>,
    /// Only records whose id begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub prefix: Option<Id>,
    /// Only records that name this person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub person: Option<Id>,
    /// Only records that name this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub group: Option<Id>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), with = "String")]
    pub after: Option<String>,
    /// Records in one page; a page may hold fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500), with = "u32")]
    pub limit: Option<u32>,
}

/// `args` of `live_events.unsubscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeArgs {
    /// The `jti` of the subscription.
    pub jti: Id,
}

/// `args` of `configuration.put`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationPutArgs {
    /// The whole site file.
    pub toml: String,
    /// SHA-256 in hex of the file that this one was made from: refused as `conflict` if another is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "hex32::Sha256Hex")]
    pub expect_sha256: Option<String>,
    /// Rolled back by itself unless `configuration.confirm` comes within this time.
    #[schemars(range(min = 5, max = 3600))]
    pub confirm_within_s: u32,
}

/// `args` of `configuration.confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationConfirmArgs {
    /// SHA-256 in hex of the file on trial.
    #[schemars(with = "hex32::Sha256Hex")]
    pub sha256: String,
}

/// `args` of `node.diagnostics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnosticsArgs {
    /// Also explain what would be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<ExplainArgs>,
}

/// At a door (or compartment) or in the cab of a floor group, exactly one of the two. Exactly one of `credential`,
/// `person` and `emergency_card`: as if that card were presented there, or as a virtual read of that person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainArgs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_group: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_card: Option<Id>,
    /// One reader of the place, where it matters which: of an area the one leads in and another out. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    pub reader: Option<Id>,
    /// With a clock that is trusted and a set that the cloud has confirmed. Absent: now, with clock and set as
    /// they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Wall>,
}

impl ExplainArgs {
    fn is_one_question(&self) -> bool {
        let whose = [&self.credential, &self.person, &self.emergency_card];
        self.door.is_some() != self.floor_group.is_some() && whose.into_iter().flatten().count() == 1
    }
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

    /// The one door that it names.
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

    /// Reads `args` of the command `name`; the error says what is wrong with which field.
    pub(crate) fn parse(name: &str, args: Option<Value>) -> Result<CommandBody, String> {
        let args = match args {
            Some(Value::Object(args)) => Some(args),
            Some(_) => return Err("args: expected an object".to_owned()),
            None => None,
        };
        let args = Args { name, args };
        let body = match name {
            "door.open" => CommandBody::DoorOpen(args.read("door")?),
            "door.close" => CommandBody::DoorClose(args.read("door")?),
            "door.state.get" => CommandBody::DoorStateGet(args.read("door")?),
            "door.open_and_close" => {
                let args: DoorOpenAndCloseArgs = args.read("door, dwell_ms")?;
                within("dwell_ms", args.dwell_ms, DWELL_MS_MIN, DWELL_MS_MAX)?;
                CommandBody::DoorOpenAndClose(args)
            }
            "door.open_with_delay" => CommandBody::DoorOpenWithDelay(args.delay()?),
            "door.close_with_delay" => CommandBody::DoorCloseWithDelay(args.delay()?),
            "door.cancel_delay" => {
                let args: DoorCancelDelayArgs = args.read("door, jti, system_event")?;
                if args.jti.is_some() && args.system_event.is_some() {
                    return Err("args: expected jti or system_event, or neither".to_owned());
                }
                CommandBody::DoorCancelDelay(args)
            }
            "door.dnd" => {
                let DndArgs { door, set, expect_mode } = args.read("door, set, expect_mode")?;
                if (set == Setting::Toggle) != expect_mode.is_some() {
                    return Err("args.expect_mode: expected with toggle, and only with it".to_owned());
                }
                CommandBody::Dnd { door, set, expect_mode }
            }
            "door.force_toggle" => {
                let ForceToggleArgs { door, expect_mode } = args.read("door, expect_mode")?;
                CommandBody::ForceToggle { door, expect_mode }
            }
            "door.force" => {
                let ForceArgs { door, state } = args.read("door, state")?;
                CommandBody::Force { door, state }
            }
            "door.virtual_read" => CommandBody::VirtualRead(args.read("door, person, credential")?),
            "lockdown.set" => CommandBody::LockdownSet(args.lockdown()?),
            "lockdown.clear" => CommandBody::LockdownClear(args.lockdown()?),
            "alarm.acknowledge" => {
                let args: AlarmAcknowledgeArgs = args.read("door or alarm")?;
                if args.door.is_some() == args.alarm.is_some() {
                    return Err("args: expected either door or alarm".to_owned());
                }
                CommandBody::AlarmAcknowledge(args)
            }
            "apb.clear" => {
                let args: ApbClearArgs = args.read_or_default("person or area, or neither")?;
                if args.person.is_some() && args.area.is_some() {
                    return Err("args: expected person or area, not both".to_owned());
                }
                CommandBody::ApbClear(args)
            }
            "floor.open" => CommandBody::FloorOpen(args.read("floor_group, floors")?),
            "floor.close" => CommandBody::FloorClose(args.read("floor_group, floors")?),
            "floor.open_and_close" => {
                let args: FloorOpenAndCloseArgs = args.read("floor_group, floors, dwell_ms")?;
                within("dwell_ms", args.dwell_ms, DWELL_MS_MIN, DWELL_MS_MAX)?;
                CommandBody::FloorOpenAndClose(args)
            }
            "locker.open" => CommandBody::LockerOpen(args.read("locker")?),
            "output.pulse" => {
                let args: OutputPulseArgs = args.read("output, pulse_ms")?;
                within("pulse_ms", Some(args.pulse_ms), DWELL_MS_MIN, PULSE_MS_MAX)?;
                CommandBody::OutputPulse(args)
            }
            "output.set" => CommandBody::OutputSet(args.read("output, on")?),
            "reports.query" => {
                let given = args.args.clone().unwrap_or_default();
                let args: ReportArgs = args.read_or_default("from, until, filter, order, format, limit, cursor")?;
                args.check(&given).map_err(within_args)?;
                CommandBody::ReportsQuery(args)
            }
            "live_events.subscribe" => {
                let given = args.args.clone().unwrap_or_default();
                let args: SubscribeArgs = args.read_or_default("filter, ttl_s")?;
                args.check(&given).map_err(within_args)?;
                CommandBody::LiveEventsSubscribe(args)
            }
            "live_events.unsubscribe" => CommandBody::LiveEventsUnsubscribe(args.read("jti")?),
            "configuration.get" => CommandBody::ConfigurationGet(args.read_or_default("offset")?),
            "configuration.put" => {
                let args: ConfigurationPutArgs = args.read("toml, expect_sha256, confirm_within_s")?;
                within("confirm_within_s", Some(args.confirm_within_s), 5, 3600)?;
                if let Some(expected) = &args.expect_sha256 {
                    is_sha256("expect_sha256", expected)?;
                }
                CommandBody::ConfigurationPut(args)
            }
            "configuration.confirm" => {
                let args: ConfigurationConfirmArgs = args.read("sha256")?;
                is_sha256("sha256", &args.sha256)?;
                CommandBody::ConfigurationConfirm(args)
            }
            "node.reboot" => CommandBody::NodeReboot(args.read_or_default("nothing")?),
            "node.identify" => CommandBody::NodeIdentify(args.read_or_default("nothing")?),
            "node.diagnostics" => {
                let args: DiagnosticsArgs = args.read_or_default("explain")?;
                if args.explain.as_ref().is_some_and(|asked| !asked.is_one_question()) {
                    return Err("args.explain: expected door or floor_group, and one of credential, person and \
                                emergency_card"
                        .to_owned());
                }
                CommandBody::NodeDiagnostics(args)
            }
            _ => return args.edit(),
        };
        Ok(body)
    }
}

struct Args<'a> {
    name: &'a str,
    args: Option<Map<String, Value>>,
}

impl Args<'_> {
    fn read<T: DeserializeOwned>(self, expected: &str) -> Result<T, String> {
        let Some(args) = self.args else {
            return Err(format!("args: missing; {} needs {expected}", self.name));
        };
        if let Some((null, _)) = args.iter().find(|(_, value)| value.is_null()) {
            return Err(format!("args.{null}: expected a value or nothing at all, not null"));
        }
        serde_path_to_error::deserialize(Value::Object(args)).map_err(|error| {
            let path = error.path().to_string();
            let within = if path == "." || path == "?" { String::new() } else { format!(".{path}") };
            let what = error.into_inner().to_string();
            let quoted = |prefix: &str| what.strip_prefix(prefix)?.split_once('`').map(|(field, _)| field.to_owned());
            if let Some(field) = quoted("missing field `") {
                format!("args.{field}: missing; {} needs {expected}", self.name)
            } else if let Some(field) = quoted("unknown field `") {
                format!("args.{field}: unknown field; expected {expected}")
            } else {
                format!("args{within}: {what}; expected {expected}")
            }
        })
    }

    fn read_or_default<T: DeserializeOwned + Default>(self, expected: &str) -> Result<T, String> {
        if self.args.is_none() { Ok(T::default()) } else { self.read(expected) }
    }

    fn delay(self) -> Result<DoorDelayArgs, String> {
        let args: DoorDelayArgs = self.read("door, delay_ms")?;
        within("delay_ms", Some(args.delay_ms), 1, DELAY_MS_MAX)?;
        Ok(args)
    }

    fn lockdown(self) -> Result<LockdownArgs, String> {
        let args: LockdownArgs = self.read("doors, partition or node")?;
        let one_of = [args.doors.is_some(), args.partition.is_some(), args.node == Some(true)];
        if one_of.iter().filter(|given| **given).count() != 1 || args.node == Some(false) {
            return Err("args: expected exactly one of doors, partition and node (true)".to_owned());
        }
        if args.doors.as_ref().is_some_and(Vec::is_empty) {
            return Err("args.doors: expected at least one door".to_owned());
        }
        Ok(args)
    }

    fn edit(self) -> Result<CommandBody, String> {
        let name = self.name;
        if !is_known(name) {
            return Err(format!("cmd: {name:?} is not a command of this contract"));
        }
        match name.split_once('.') {
            Some((kind, edit)) if operator::KINDS.iter().any(|(known, ..)| *known == kind) => {
                let kind = kind.to_owned();
                match edit {
                    "put" => {
                        let PutArgs { id, body } = self.read("id, body")?;
                        if !body.is_object() {
                            return Err("args.body: expected an object".to_owned());
                        }
                        Ok(CommandBody::Put { kind, id, body })
                    }
                    "delete" => {
                        let DeleteArgs { id } = self.read("id")?;
                        Ok(CommandBody::Delete { kind, id })
                    }
                    _ => {
                        let args: ListArgs = self.read_or_default("id, prefix, person, group, after, limit")?;
                        within("limit", args.limit, 1, LIST_RECORDS_MAX)?;
                        if args.after.as_ref().is_some_and(|after| parse_cursor(after).is_none()) {
                            return Err("args.after: expected `next` of the page before".to_owned());
                        }
                        Ok(CommandBody::List { kind, args })
                    }
                }
            }
            _ => Ok(CommandBody::Unsupported { name: name.to_owned() }),
        }
    }
}

fn is_sha256(field: &str, text: &str) -> Result<(), String> {
    match unhex32(text) {
        Some(_) => Ok(()),
        None => Err(format!("args.{field}: expected a SHA-256 in lower-case hex")),
    }
}

fn within_args(problem: String) -> String {
    format!("args.{problem}")
}

fn within(field: &str, value: Option<u32>, min: u32, max: u32) -> Result<(), String> {
    match value {
        Some(value) if !(min..=max).contains(&value) => {
            Err(format!("args.{field}: expected a whole number from {min} to {max}"))
        }
        _ => Ok(()),
    }
}

/// How long a momentary opening was asked to last.
pub fn dwell(ms: Option<u32>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(u64::from(ms)))
}

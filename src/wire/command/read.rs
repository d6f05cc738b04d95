//! How the arguments of a command are read. Owns the refusal of what is out of shape or range, in words that name the
//! member; must never judge whether a target exists or may be touched. Invariant: what was read is in range, and of an
//! unknown command nothing is.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{args::*, body::CommandBody, is_known};
use crate::{
    domain::operator,
    wire::{canonical::unhex32, live::SubscribeArgs, report::ReportArgs},
};

impl CommandBody {
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
                        if args.after.as_ref().is_some_and(|after| ListCursor::parse(after).is_none()) {
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

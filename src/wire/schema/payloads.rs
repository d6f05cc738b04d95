//! The schemas of all payloads in one vocabulary (JSON Schema draft 07, which AsyncAPI's own schema language
//! extends). Owns only what no type can say: which `args` belong to which command, which `body` to which kind.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{examples, messages::Message};
use crate::{
    domain::{
        operator,
        record::{
            AccessRule, Area, AutoOpen, CardFormat, Credential, DoorPolicy, EmergencyCard, FloorGroup, Group, Holiday,
            Interlock, KNOWN_KINDS, LockerContract, Operator, OrganisationUnit, Partition, Person, Role, Schedule,
            SystemEvent,
        },
    },
    wire::{
        ack::EventAck,
        beat::Beat,
        command::{
            self, AlarmAcknowledgeArgs, ApbClearArgs, CommandClaims, ConfigurationConfirmArgs, ConfigurationPutArgs,
            DeleteArgs, DiagnosticsArgs, DndArgs, DoorArgs, DoorCancelDelayArgs, DoorDelayArgs, DoorOpenAndCloseArgs,
            FloorArgs, FloorOpenAndCloseArgs, ForceArgs, ForceToggleArgs, ListArgs, LockdownArgs, LockerArgs, NoArgs,
            OutputPulseArgs, OutputSetArgs, PutArgs, UnsubscribeArgs, VirtualReadArgs,
        },
        configuration::ConfigurationGetArgs,
        jws::Typ,
        keys::KeysDocument,
        live::SubscribeArgs,
        report::ReportArgs,
        set::{RecordPut, SetDocument, SetRequest},
        upward::{
            AreaMessage, BoardMessage, DoorMessage, EventsMessage, FloorGroupMessage, LiveMessage, LockerMessage,
            OutcomeMessage, ReaderMessage, RequestMessage, StatusMessage, TelemetryMessage,
        },
    },
};

/// The commands that this version carries out.
#[rustfmt::skip]
pub const SUPPORTED: &[&str] = &[
    "door.open",
    "door.close",
    "door.open_and_close",
    "door.open_with_delay",
    "door.close_with_delay",
    "door.cancel_delay",
    "door.dnd",
    "door.force_toggle",
    "door.force",
    "door.virtual_read",
    "door.state.get",
    "floor.open",
    "floor.close",
    "floor.open_and_close",
    "locker.open",
    "lockdown.set",
    "lockdown.clear",
    "alarm.acknowledge",
    "apb.clear",
    "output.pulse",
    "output.set",
    "node.identify",
    "reports.query",
    "live_events.subscribe",
    "live_events.unsubscribe",
    "configuration.get",
    "configuration.put",
    "configuration.confirm",
    "node.reboot",
    "node.diagnostics",
];

/// Beside those, edits and lists of every kind that this version knows.
pub fn is_supported(command: &str) -> bool {
    let edits = |(kind, edit): (&str, &str)| KNOWN_KINDS.contains(&kind) && operator::EDITS.contains(&edit);
    SUPPORTED.contains(&command) || command.split_once('.').is_some_and(edits)
}

/// The shared definitions, and the messages that refer to them.
pub fn schemas() -> (Map<String, Value>, Vec<Message>) {
    let settings = SchemaSettings::draft07().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut messages = from_the_cloud(&mut generator);
    messages.extend(from_the_node(&mut generator));
    let args = command_args(&mut generator);
    let bodies = record_bodies(&mut generator);
    let mut schemas = generator.take_definitions(true);
    bind(&mut schemas, "CommandClaims", command_rules(&args));
    bind(&mut schemas, "RecordPut", record_rules(&bodies));
    (schemas, messages)
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn bind(schemas: &mut Map<String, Value>, name: &str, rules: Map<String, Value>) {
    if let Some(Value::Object(schema)) = schemas.get_mut(name) {
        schema.extend(rules);
    }
}

fn from_the_cloud(generator: &mut SchemaGenerator) -> Vec<Message> {
    vec![
        Message {
            name: "Command",
            title: "A command",
            summary: "Asks for one thing, by one operator, before a deadline. Answered with outcomes.",
            typ: Some(Typ::Cmd),
            payload: of::<CommandClaims>(generator),
            examples: examples::commands(),
        },
        Message {
            name: "EventAck",
            title: "An acknowledgement of events",
            summary: "The cloud has durably stored every event up to a number.",
            typ: Some(Typ::Ack),
            payload: of::<EventAck>(generator),
            examples: examples::acks(),
        },
        Message {
            name: "Set",
            title: "A delta or a manifest",
            summary: "The permission set: a step from one generation to the next, or the names of all its chunks.",
            typ: Some(Typ::Set),
            payload: of::<SetDocument>(generator),
            examples: examples::sets(),
        },
        Message {
            name: "Beat",
            title: "A beat",
            summary: "Which set is the present one, in answer to the nonce of a request.",
            typ: Some(Typ::Beat),
            payload: of::<Beat>(generator),
            examples: examples::beats(),
        },
        Message {
            name: "Keys",
            title: "A key set",
            summary: "All keys that the node believes from now on, under the root key.",
            typ: Some(Typ::Keys),
            payload: of::<KeysDocument>(generator),
            examples: examples::keys(),
        },
        Message {
            name: "Chunk",
            title: "A chunk",
            summary: "The records of one bucket, sorted by kind and id, in RFC 8785 form: its bytes hash to its topic. \
                      Not signed: the manifest that names it is.",
            typ: None,
            payload: json!({ "type": "array", "minItems": 1, "items": of::<RecordPut>(generator) }),
            examples: examples::chunks(),
        },
    ]
}

fn from_the_node(generator: &mut SchemaGenerator) -> Vec<Message> {
    vec![
        Message {
            name: "Outcome",
            title: "An outcome",
            summary: "One stage of one command.",
            typ: Some(Typ::Up),
            payload: of::<OutcomeMessage>(generator),
            examples: examples::outcomes(),
        },
        Message {
            name: "Events",
            title: "A batch of events",
            summary: "What happened, in order, each chained to the one before.",
            typ: Some(Typ::Up),
            payload: of::<EventsMessage>(generator),
            examples: examples::events(),
        },
        Message {
            name: "Live",
            title: "Live events",
            summary: "What one subscription sees, as soon as it is durable; the last one says why it ended.",
            typ: Some(Typ::Up),
            payload: of::<LiveMessage>(generator),
            examples: examples::live(),
        },
        Message {
            name: "Telemetry",
            title: "Figures",
            summary: "How much of what happened, and how long it took.",
            typ: Some(Typ::Up),
            payload: of::<TelemetryMessage>(generator),
            examples: examples::telemetry(),
        },
        Message {
            name: "SetRequest",
            title: "A request",
            summary: "What the node holds, and what it asks for.",
            typ: Some(Typ::Up),
            payload: of::<RequestMessage<SetRequest>>(generator),
            examples: examples::requests(),
        },
        Message {
            name: "DoorState",
            title: "A door's state",
            summary: "Mode, contact, lock as read back, and alarm.",
            typ: Some(Typ::Up),
            payload: of::<DoorMessage>(generator),
            examples: examples::doors(),
        },
        Message {
            name: "ReaderState",
            title: "A reader's state",
            summary: "Whether a reader is heard.",
            typ: Some(Typ::Up),
            payload: of::<ReaderMessage>(generator),
            examples: examples::reader_states(),
        },
        Message {
            name: "BoardState",
            title: "A board's state",
            summary: "Whether a board answers.",
            typ: Some(Typ::Up),
            payload: of::<BoardMessage>(generator),
            examples: examples::board_states(),
        },
        Message {
            name: "AreaState",
            title: "An area's state",
            summary: "How many people are in an area, and how many may be.",
            typ: Some(Typ::Up),
            payload: of::<AreaMessage>(generator),
            examples: examples::area_states(),
        },
        Message {
            name: "FloorGroupState",
            title: "A floor group's state",
            summary: "Which floors of an elevator may be chosen, and why.",
            typ: Some(Typ::Up),
            payload: of::<FloorGroupMessage>(generator),
            examples: examples::floor_group_states(),
        },
        Message {
            name: "LockerState",
            title: "A compartment's state",
            summary: "Whether its key is in it, who has it, and how far each of its contracts has got.",
            typ: Some(Typ::Up),
            payload: of::<LockerMessage>(generator),
            examples: examples::locker_states(),
        },
        Message {
            name: "Status",
            title: "The node's status",
            summary: "Online with what it holds, or offline.",
            typ: Some(Typ::Up),
            payload: of::<StatusMessage>(generator),
            examples: examples::statuses(),
        },
    ]
}

/// The commands that take certain `args`, and whether they must.
struct CommandArgs {
    commands: Vec<String>,
    required: bool,
    schema: Value,
}

fn command_args(generator: &mut SchemaGenerator) -> Vec<CommandArgs> {
    fn args<T: JsonSchema>(generator: &mut SchemaGenerator, required: bool, commands: &[&str]) -> CommandArgs {
        let commands = commands.iter().map(|command| (*command).to_owned()).collect();
        CommandArgs { commands, required, schema: of::<T>(generator) }
    }
    fn edits<T: JsonSchema>(generator: &mut SchemaGenerator, edit: &str, required: bool) -> CommandArgs {
        let commands = operator::KINDS.iter().map(|(kind, ..)| format!("{kind}.{edit}")).collect();
        CommandArgs { commands, required, schema: of::<T>(generator) }
    }
    let g = generator;
    vec![
        args::<DoorArgs>(g, true, &["door.open", "door.close", "door.state.get"]),
        args::<DoorOpenAndCloseArgs>(g, true, &["door.open_and_close"]),
        args::<DoorDelayArgs>(g, true, &["door.open_with_delay", "door.close_with_delay"]),
        args::<DoorCancelDelayArgs>(g, true, &["door.cancel_delay"]),
        args::<DndArgs>(g, true, &["door.dnd"]),
        args::<ForceToggleArgs>(g, true, &["door.force_toggle"]),
        args::<ForceArgs>(g, true, &["door.force"]),
        args::<VirtualReadArgs>(g, true, &["door.virtual_read"]),
        args::<LockdownArgs>(g, true, &["lockdown.set", "lockdown.clear"]),
        args::<AlarmAcknowledgeArgs>(g, true, &["alarm.acknowledge"]),
        args::<ApbClearArgs>(g, false, &["apb.clear"]),
        args::<FloorArgs>(g, true, &["floor.open", "floor.close"]),
        args::<FloorOpenAndCloseArgs>(g, true, &["floor.open_and_close"]),
        args::<LockerArgs>(g, true, &["locker.open"]),
        args::<OutputPulseArgs>(g, true, &["output.pulse"]),
        args::<OutputSetArgs>(g, true, &["output.set"]),
        args::<ReportArgs>(g, false, &["reports.query"]),
        args::<SubscribeArgs>(g, false, &["live_events.subscribe"]),
        args::<UnsubscribeArgs>(g, true, &["live_events.unsubscribe"]),
        args::<ConfigurationPutArgs>(g, true, &["configuration.put"]),
        args::<ConfigurationConfirmArgs>(g, true, &["configuration.confirm"]),
        args::<DiagnosticsArgs>(g, false, &["node.diagnostics"]),
        args::<ConfigurationGetArgs>(g, false, &["configuration.get"]),
        args::<NoArgs>(g, false, &["node.reboot", "node.identify"]),
        edits::<PutArgs>(g, "put", true),
        edits::<DeleteArgs>(g, "delete", true),
        edits::<ListArgs>(g, "list", false),
    ]
}

/// `cmd` is one of the known names; what moves hardware names a `boot`; each command has its `args`.
fn command_rules(args: &[CommandArgs]) -> Map<String, Value> {
    let when =
        |names: &[String], then: Value| json!({ "if": { "properties": { "cmd": { "enum": names } } }, "then": then });
    let (known, moving): (Vec<String>, Vec<String>) = (
        command::known_commands().collect(),
        command::known_commands().filter(|n| command::moves_hardware(n)).collect(),
    );
    let mut rules =
        vec![json!({ "properties": { "cmd": { "enum": known } } }), when(&moving, json!({ "required": ["boot"] }))];
    rules.extend(args.iter().map(|args| {
        let mut then = json!({ "properties": { "args": args.schema } });
        if args.required {
            then["required"] = json!(["args"]);
        }
        when(&args.commands, then)
    }));
    into_map(json!({ "allOf": rules }))
}

/// The kinds that this version understands.
fn record_bodies(generator: &mut SchemaGenerator) -> [(&'static str, Value); 19] {
    [
        ("person", of::<Person>(generator)),
        ("credential", of::<Credential>(generator)),
        ("group", of::<Group>(generator)),
        ("access_rule", of::<AccessRule>(generator)),
        ("schedule", of::<Schedule>(generator)),
        ("holiday", of::<Holiday>(generator)),
        ("auto_open", of::<AutoOpen>(generator)),
        ("system_event", of::<SystemEvent>(generator)),
        ("partition", of::<Partition>(generator)),
        ("area", of::<Area>(generator)),
        ("floor_group", of::<FloorGroup>(generator)),
        ("interlock", of::<Interlock>(generator)),
        ("emergency_card", of::<EmergencyCard>(generator)),
        ("card_format", of::<CardFormat>(generator)),
        ("operator", of::<Operator>(generator)),
        ("role", of::<Role>(generator)),
        ("organisation_unit", of::<OrganisationUnit>(generator)),
        ("door_policy", of::<DoorPolicy>(generator)),
        ("locker_contract", of::<LockerContract>(generator)),
    ]
}

fn record_rules(bodies: &[(&'static str, Value)]) -> Map<String, Value> {
    let rules: Vec<Value> = bodies
        .iter()
        .map(|(kind, body)| {
            json!({ "if": { "properties": { "kind": { "const": kind } } }, "then": { "properties": { "body": body } } })
        })
        .collect();
    into_map(json!({
        "allOf": rules,
        "description": "A record. A kind that the node does not understand is kept and reported, unless the set says \
                        that it is critical.",
    }))
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_is_understood_has_its_schema() {
        let mut generator = SchemaSettings::draft07().into_generator();
        assert_eq!(record_bodies(&mut generator).map(|(kind, _)| kind), KNOWN_KINDS);
    }
}

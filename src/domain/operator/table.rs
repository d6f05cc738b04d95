//! The one table from command to capability. Owns what a command needs and how far it reaches; must never
//! hold a role. Invariant: a command that stands nowhere in here is allowed to nobody.
#![doc = include_str!("tables.md")]

use crate::domain::record::Capability::{self, *};

/// How far a command reaches, and with it what an operator's scope must cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The doors, partition, person or area that the command names. Without one it reaches the whole node.
    Doors,
    /// The floor group that the command names.
    Floors,
    /// Hardware that belongs to no door: only for operators that are not limited to places.
    Hardware,
    /// Records and queries: what they show or change is limited where they are carried out.
    Data,
    /// The node itself.
    Node,
}

/// Every command that is not `KIND.put`, `KIND.delete` or `KIND.list`.
pub const COMMANDS: &[(&str, Capability, Reach)] = &[
    ("door.open", DoorControl, Reach::Doors),
    ("door.close", DoorControl, Reach::Doors),
    ("door.open_and_close", DoorControl, Reach::Doors),
    ("door.open_with_delay", DoorControl, Reach::Doors),
    ("door.close_with_delay", DoorControl, Reach::Doors),
    ("door.cancel_delay", DoorControl, Reach::Doors),
    ("door.dnd", DoorControl, Reach::Doors),
    ("door.force_toggle", DoorControl, Reach::Doors),
    ("door.force", DoorControl, Reach::Doors),
    ("door.virtual_read", DoorControl, Reach::Doors),
    ("door.state.get", DoorStates, Reach::Doors),
    ("lockdown.set", Lockdown, Reach::Doors),
    ("lockdown.clear", Lockdown, Reach::Doors),
    ("alarm.acknowledge", Alarms, Reach::Doors),
    ("apb.clear", AntiPassback, Reach::Doors),
    ("floor.open", FloorControl, Reach::Floors),
    ("floor.close", FloorControl, Reach::Floors),
    ("floor.open_and_close", FloorControl, Reach::Floors),
    ("locker.open", LockerOpen, Reach::Doors),
    ("output.pulse", Outputs, Reach::Hardware),
    ("output.set", Outputs, Reach::Hardware),
    ("reports.query", Reports, Reach::Data),
    ("live_events.subscribe", LiveEvents, Reach::Data),
    ("live_events.unsubscribe", LiveEvents, Reach::Data),
    ("configuration.get", Configuration, Reach::Node),
    ("configuration.put", Configuration, Reach::Node),
    ("configuration.confirm", Configuration, Reach::Node),
    ("node.reboot", Reboot, Reach::Node),
    ("node.identify", Configuration, Reach::Node),
    ("node.diagnostics", Configuration, Reach::Node),
];

/// What the catalogues speak of and the contract has no command for: known by these names, so that whoever
/// may not use it is told so, and everybody else that it is `unsupported`.
pub const WITHOUT_COMMAND: &[(&str, Capability)] = &[
    ("usage_report.main", MainUsageReport),
    ("usage_report.device", DeviceUsageReport),
    ("alarms.main", MainAlarms),
    ("alarms.device", DeviceAlarms),
    ("device.install", InstallDevices),
    ("device.settings", DeviceSettings),
    ("device.preferences", DevicePreferences),
    ("device.privacy", PrivacySettings),
    ("device.tools", DeviceTools),
    ("device.logs", DeviceLogs),
    ("key.manage", Keys),
    ("camera.locker_photo", LockerPhoto),
    ("camera.front_photo", FrontCameraPhoto),
    ("camera.timeline", FrontCameraTimeline),
];

/// What changing a record kind needs, and what listing it.
pub const KINDS: &[(&str, Capability, Capability)] = &[
    ("person", People, People),
    ("credential", People, People),
    ("group", Groups, Groups),
    // Who may pass where and when is what a group is for: the catalogue has no column of its own.
    ("access_rule", Groups, Groups),
    ("schedule", Groups, Groups),
    ("holiday", Groups, Groups),
    ("auto_open", AutoOpen, AutoOpen),
    ("system_event", SystemEvents, SystemEvents),
    ("partition", Partitions, Partitions),
    ("area", AntiPassback, AntiPassback),
    ("floor_group", Elevators, Elevators),
    ("interlock", Configuration, Configuration),
    ("emergency_card", EmergencyCards, EmergencyCards),
    ("card_format", Configuration, Configuration),
    ("operator", Operators, Operators),
    ("role", Operators, Operators),
    ("organisation_unit", Partitions, Partitions),
    ("door_policy", Configuration, Configuration),
    ("locker_contract", LockerContracts, Lockers),
];

pub const EDITS: [&str; 3] = ["put", "delete", "list"];

/// The whole table, as it is published: every command, what it needs and how far it reaches.
pub fn table() -> impl Iterator<Item = (String, Capability, Reach)> {
    let edits = |(kind, change, list): &(&str, Capability, Capability)| {
        let (kind, change, list) = (kind.to_string(), *change, *list);
        EDITS
            .into_iter()
            .map(move |edit| (format!("{kind}.{edit}"), if edit == "list" { list } else { change }, Reach::Data))
    };
    let others = COMMANDS.iter().map(|(name, capability, reach)| (name.to_string(), *capability, *reach));
    let later = WITHOUT_COMMAND.iter().map(|(name, capability)| (name.to_string(), *capability, Reach::Data));
    others.chain(KINDS.iter().flat_map(edits)).chain(later)
}

/// What a command needs; `None`: nobody may.
pub fn requirement(command: &str) -> Option<(Capability, Reach)> {
    if let Some((_, capability, reach)) = COMMANDS.iter().find(|(name, ..)| *name == command) {
        return Some((*capability, *reach));
    }
    if let Some((_, capability)) = WITHOUT_COMMAND.iter().find(|(name, _)| *name == command) {
        return Some((*capability, Reach::Data));
    }
    let (kind, edit) = command.split_once('.')?;
    let (_, change, list) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    let capability = if edit == "list" { list } else { change };
    EDITS.contains(&edit).then_some((*capability, Reach::Data))
}

/// As the contract writes it.
pub fn capability_name(capability: Capability) -> &'static str {
    match capability {
        People => "people",
        Groups => "groups",
        SystemEvents => "system_events",
        AutoOpen => "auto_open",
        Elevators => "elevators",
        Reports => "reports",
        Partitions => "partitions",
        DoorStates => "door_states",
        LiveEvents => "live_events",
        Configuration => "configuration",
        EmergencyCards => "emergency_cards",
        DoorControl => "door_control",
        Operators => "operators",
        Lockdown => "lockdown",
        FloorControl => "floor_control",
        Outputs => "outputs",
        Lockers => "lockers",
        LockerContracts => "locker_contracts",
        LockerOpen => "locker_open",
        Keys => "keys",
        AntiPassback => "anti_passback",
        Alarms => "alarms",
        Reboot => "reboot",
        MainUsageReport => "main_usage_report",
        DeviceUsageReport => "device_usage_report",
        MainAlarms => "main_alarms",
        DeviceAlarms => "device_alarms",
        InstallDevices => "install_devices",
        DeviceSettings => "device_settings",
        DevicePreferences => "device_preferences",
        PrivacySettings => "privacy_settings",
        DeviceTools => "device_tools",
        DeviceLogs => "device_logs",
        LockerPhoto => "locker_photo",
        FrontCameraPhoto => "front_camera_photo",
        FrontCameraTimeline => "front_camera_timeline",
    }
}

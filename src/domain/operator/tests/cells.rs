//! The catalogues as the product description has them, one line a row, written out again: blank is "may not".

use super::{
    super::{table::*, *},
    scene::*,
};
use crate::domain::{
    event::Refusal,
    ids::Id,
    record::{Capability, Operator},
};

/// Columns: integrator, admin, manager, reporter. Then the commands that the row is about.
const ROWS_A: &str = "
    People              | R | R | R |   | person.put person.delete person.list credential.put credential.delete credential.list
    Groups              | R | R | R |   | group.put group.delete group.list access_rule.put access_rule.delete access_rule.list schedule.put schedule.delete schedule.list holiday.put holiday.delete holiday.list
    System Events       | R | R |   |   | system_event.put system_event.delete system_event.list
    Auto Open           | R | R | R |   | auto_open.put auto_open.delete auto_open.list
    Elevators           | R | R |   |   | floor_group.put floor_group.delete floor_group.list
    Reports             | R | R | R | R | reports.query
    Partitions          | R | R |   |   | partition.put partition.delete partition.list organisation_unit.put organisation_unit.delete organisation_unit.list
    Door States         | R | R | R |   | door.state.get
    Live Events         | R | R | R | R | live_events.subscribe live_events.unsubscribe
    Configuration       | R |   |   |   | configuration.get configuration.put configuration.confirm node.identify node.diagnostics interlock.put interlock.delete interlock.list card_format.put card_format.delete card_format.list door_policy.put door_policy.delete door_policy.list
    Ecards              | R |   |   |   | emergency_card.put emergency_card.delete emergency_card.list
    Door control        | R | R | R |   | door.open door.close door.open_and_close door.open_with_delay door.close_with_delay door.cancel_delay door.dnd door.force_toggle door.force door.virtual_read
    Operators           | R | R | R |   | operator.put operator.delete operator.list role.put role.delete role.list
    Lockdown            | R | R | R |   | lockdown.set lockdown.clear
    Floors              | R | R | R |   | floor.open floor.close floor.open_and_close
    Outputs             | R | R | R |   | output.pulse output.set
    Lockers             | R | R | R |   | locker.open locker_contract.put locker_contract.delete locker_contract.list key.manage
    APB                 | R | R | R |   | apb.clear area.put area.delete area.list
    Alarms              | R | R | R |   | alarm.acknowledge
    Reboot              | R |   |   |   | node.reboot
    of catalogue B only |   |   |   |   | usage_report.main usage_report.device alarms.main alarms.device device.install device.settings device.preferences device.privacy device.tools device.logs camera.locker_photo camera.front_photo camera.timeline
";

/// Columns: admin, user (edit and view), user (view only), customer service (edit and view), customer service
/// (view only).
const ROWS_B: &str = "
    User management                      | R |   |   |   |   | operator.put operator.delete operator.list role.put role.delete role.list
    Main-level usage report              | R |   |   |   |   | usage_report.main
    Main alarms                          | R | R |   | R | R | alarms.main
    Install devices                      | R | R |   | R |   | device.install
    Device settings                      | R | R |   | R |   | device.settings
    Preferences                          | R | R |   | R | R | device.preferences
    Privacy settings                     | R | R |   |   |   | device.privacy
    Tools                                | R | R |   | R |   | device.tools
    Device alarms                        | R | R |   | R | R | alarms.device
    Device logs                          | R | R |   | R | R | device.logs reports.query
    Device usage report                  | R | R |   | R | R | usage_report.device
    Manage keys                          | R | R |   | R |   | key.manage
    Manage contracts                     | R | R |   | R |   | locker_contract.put locker_contract.delete
    People of contracts                  | R | R |   | R |   | person.put person.delete person.list credential.put credential.delete credential.list
    Open a locker remotely               | R | R |   | R |   | locker.open
    Take a locker photo                  | R | R |   | R |   | camera.locker_photo
    Take a front-camera photo            | R | R |   |   |   | camera.front_photo
    Front camera in timelines            | R | R | R |   |   | camera.timeline
    Reboot remotely                      | R | R |   | R |   | node.reboot
    See lockers, contracts, states       | R | R | R | R | R | locker_contract.list door.state.get live_events.subscribe live_events.unsubscribe
    Acknowledge alarms                   | R | R |   | R |   | alarm.acknowledge
    not of the key automat               | R |   |   |   |   | group.put group.delete group.list access_rule.put access_rule.delete access_rule.list schedule.put schedule.delete schedule.list holiday.put holiday.delete holiday.list system_event.put system_event.delete system_event.list auto_open.put auto_open.delete auto_open.list floor_group.put floor_group.delete floor_group.list partition.put partition.delete partition.list organisation_unit.put organisation_unit.delete organisation_unit.list configuration.get configuration.put configuration.confirm node.identify node.diagnostics interlock.put interlock.delete interlock.list card_format.put card_format.delete card_format.list door_policy.put door_policy.delete door_policy.list emergency_card.put emergency_card.delete emergency_card.list door.open door.close door.open_and_close door.open_with_delay door.close_with_delay door.cancel_delay door.dnd door.force_toggle door.force door.virtual_read lockdown.set lockdown.clear floor.open floor.close floor.open_and_close output.pulse output.set apb.clear area.put area.delete area.list
";

/// One cell for one command.
struct Cell {
    row: &'static str,
    role: &'static str,
    command: &'static str,
    may: bool,
}

fn cells(rows: &'static str, roles: &'static [&'static str]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for line in rows.lines().filter(|line| !line.trim().is_empty()) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [row, marks @ .., commands] = parts.as_slice() else { panic!("{line}") };
        assert_eq!(marks.len(), roles.len(), "{line}");
        for command in commands.split(' ') {
            let of_role = |(role, mark): (&&'static str, &&str)| {
                assert!(["", "R"].contains(mark), "{line}");
                Cell { row, role, command, may: *mark == "R" }
            };
            cells.extend(roles.iter().zip(marks).map(of_role));
        }
    }
    cells
}

fn all_cells() -> Vec<Cell> {
    let (a, b) = BUILT_IN_ROLES.split_at(4);
    let mut all = cells(ROWS_A, a);
    all.extend(cells(ROWS_B, b));
    all
}

/// Somebody of this role to whom everything is assigned.
fn everywhere(role: &str) -> Authority {
    let scene = Scene::new();
    let authority = scene.world().authority(&Operator::active(id(role))).unwrap();
    Authority { scope: Scope::Everything, ..authority }
}

fn all_commands() -> Vec<String> {
    table().map(|(command, ..)| command).collect()
}

/// What the node says, where everything that a command names is in scope.
fn ask(authority: &Authority, command: &str) -> Result<(), Refused> {
    authority.authorise(command, &Targets::door(&id("front")), &Nowhere, now())
}

pub struct Nowhere;

impl Reaches for Nowhere {
    fn partition(&self, _: &Id) -> Option<Scope> {
        None
    }
    fn person(&self, _: &Id) -> Option<Scope> {
        None
    }
    fn partitions_of(&self, _: &Id) -> Vec<Id> {
        Vec::new()
    }
    fn area(&self, _: &Id) -> Option<Scope> {
        None
    }
}

#[test]
fn every_cell_of_both_catalogues_holds_for_every_command() {
    let mut wrong = Vec::new();
    for Cell { row, role, command, may } in all_cells() {
        let expected = if may { None } else { Some(Refusal::Forbidden) };
        let found = ask(&everywhere(role), command).err().map(|(refusal, _)| refusal);
        if found != expected {
            wrong.push(format!("{row} / {role}: {command}: expected {expected:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_catalogues_speak_of_every_command_once() {
    let mut all = all_commands();
    all.sort();
    for role in BUILT_IN_ROLES {
        let mut seen: Vec<&str> =
            all_cells().iter().filter(|cell| cell.role == role).map(|cell| cell.command).collect();
        seen.sort_unstable();
        assert_eq!(seen, all, "{role}");
    }
}

#[test]
fn every_command_of_the_contract_is_in_the_table_and_beyond_it_only_what_the_catalogues_lack() {
    let contract = "door.open door.close door.open_and_close door.open_with_delay door.close_with_delay \
        door.cancel_delay door.dnd door.force_toggle door.force door.virtual_read door.state.get lockdown.set \
        lockdown.clear alarm.acknowledge apb.clear floor.open floor.close floor.open_and_close locker.open \
        output.pulse output.set reports.query live_events.subscribe live_events.unsubscribe configuration.get \
        configuration.put configuration.confirm node.reboot node.identify node.diagnostics";
    let kinds = "person credential group access_rule schedule holiday auto_open system_event partition area \
        floor_group interlock emergency_card card_format operator role organisation_unit door_policy \
        locker_contract";
    let mut expected: Vec<String> = contract.split_whitespace().map(str::to_owned).collect();
    expected.extend(kinds.split_whitespace().flat_map(|kind| EDITS.map(|edit| format!("{kind}.{edit}"))));
    expected.extend(WITHOUT_COMMAND.iter().map(|(name, _)| (*name).to_owned()));
    let mut all = all_commands();
    for (command, capability, reach) in table() {
        assert_eq!(requirement(&command), Some((capability, reach)), "{command}");
    }
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "no name stands twice");
}

#[test]
fn what_is_not_in_the_table_is_allowed_to_nobody() {
    for unknown in [
        "",
        "door",
        "door.",
        "door.open.now",
        "person",
        "person.open",
        "person.put.put",
        "door.put",
        "DOOR.OPEN",
        "camera",
    ] {
        assert_eq!(requirement(unknown), None, "{unknown:?}");
        for role in BUILT_IN_ROLES {
            refused(ask(&everywhere(role), unknown), Refusal::Forbidden, "no capability covers");
        }
    }
}

#[test]
fn every_capability_is_needed_by_some_command_and_has_its_name() {
    for (capability, _) in CATALOGUE_B {
        assert!(table().any(|(_, needed, _)| needed == capability), "{capability:?}");
        assert_eq!(serde_json::to_value(capability).unwrap(), capability_name(capability));
    }
    for (command, capability, _) in table() {
        assert!(CATALOGUE_B.iter().any(|(known, _)| *known == capability), "{command} needs {capability:?}");
    }
    let mut seen: Vec<Capability> = CATALOGUE_B.iter().map(|(capability, _)| *capability).collect();
    seen.sort();
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(CATALOGUE_A.iter().all(|(capability, _)| seen.contains(capability)));
}

#[test]
fn a_role_record_grants_exactly_its_capabilities() {
    for (granted, _) in CATALOGUE_B {
        let mut scene = Scene::new();
        scene.put("role", "custom", serde_json::json!({"capabilities": [capability_name(granted)]}));
        let authority = scene.world().authority(&Operator::active(id("custom"))).unwrap();
        for (command, needed, _) in table() {
            let found = ask(&authority, &command).err().map(|(refusal, _)| refusal);
            assert_eq!(found, (needed != granted).then_some(Refusal::Forbidden), "{granted:?} {command}");
        }
    }
}

//! Who may command. Owns the one table from command to capability and the roles that ship built in;
//! must never let a command through that the table does not name. Invariant: the order of refusals is
//! unknown, suspended, pending or expired, forbidden, out of scope, so that nobody learns about
//! capabilities or doors before they are someone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    event::Refusal,
    ids::Id,
    record::{self, Capability, OperatorStatus},
    time::{ClockTrust, Now},
};

use Capability::*;

/// How far a command reaches, and with it what an operator's doors must cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The doors that the command names. Without one it reaches the whole node.
    Doors,
    /// Hardware that belongs to no door: only for operators that are not limited to doors.
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
    ("apb.clear", AntiPassback, Reach::Data),
    ("floor.open", FloorControl, Reach::Hardware),
    ("floor.close", FloorControl, Reach::Hardware),
    ("floor.open_and_close", FloorControl, Reach::Hardware),
    ("locker.open", Lockers, Reach::Doors),
    ("output.pulse", Outputs, Reach::Hardware),
    ("output.set", Outputs, Reach::Hardware),
    ("reports.query", Reports, Reach::Data),
    ("live_events.subscribe", LiveEvents, Reach::Data),
    ("live_events.unsubscribe", LiveEvents, Reach::Data),
    ("configuration.get", Configuration, Reach::Node),
    ("configuration.put", Configuration, Reach::Node),
    ("configuration.confirm", Configuration, Reach::Node),
    ("node.reboot", Configuration, Reach::Node),
    ("node.identify", Configuration, Reach::Node),
    ("node.diagnostics", Configuration, Reach::Node),
];

/// What editing or listing a record kind needs, whichever of the [`EDITS`] it is.
pub const KINDS: &[(&str, Capability)] = &[
    ("person", People),
    ("credential", People),
    ("group", Groups),
    // Who may pass where and when is what a group is for: the catalogue has no column of its own.
    ("access_rule", Groups),
    ("schedule", Groups),
    ("holiday", Groups),
    ("auto_open", AutoOpen),
    ("system_event", SystemEvents),
    ("partition", Partitions),
    ("area", AntiPassback),
    ("floor_group", Elevators),
    ("interlock", Configuration),
    ("emergency_card", EmergencyCards),
    ("card_format", Configuration),
    ("operator", Operators),
    ("role", Operators),
    ("organisation_unit", Partitions),
    ("door_policy", Configuration),
    ("locker_contract", Lockers),
];

pub const EDITS: [&str; 3] = ["put", "delete", "list"];

/// The whole table, as it is published: every command, what it needs and how far it reaches.
pub fn table() -> impl Iterator<Item = (String, Capability, Reach)> {
    let edits = |(kind, capability): &(&str, Capability)| {
        let (kind, capability) = (kind.to_string(), *capability);
        EDITS.into_iter().map(move |edit| (format!("{kind}.{edit}"), capability, Reach::Data))
    };
    let others = COMMANDS.iter().map(|(name, capability, reach)| (name.to_string(), *capability, *reach));
    others.chain(KINDS.iter().flat_map(edits))
}

/// What a command needs; `None`: nobody may.
pub fn requirement(command: &str) -> Option<(Capability, Reach)> {
    if let Some((_, capability, reach)) = COMMANDS.iter().find(|(name, ..)| *name == command) {
        return Some((*capability, *reach));
    }
    let (kind, edit) = command.split_once('.')?;
    let (_, capability) = KINDS.iter().find(|(name, _)| *name == kind)?;
    EDITS.contains(&edit).then_some((*capability, Reach::Data))
}

/// The roles that ship with the node, in no need of a record: the columns of [`CATALOGUE_A`].
pub const BUILT_IN_ROLES: [&str; 4] = ["integrator", "admin", "manager", "reporter"];

/// The built-in role to which only doors assigned by name count: without a list it has none.
const DOORS_BY_NAME: &str = "manager";

const R: bool = true;
const O: bool = false;

/// Catalogue A, "Cloud Node permissions": who may use what. The rows after "operators" are not in the
/// catalogue: they go to Integrator, Admin, and Manager within their doors.
pub const CATALOGUE_A: [(Capability, [bool; 4]); 19] = [
    // integrator, admin, manager, reporter
    (People, [R, R, R, O]),
    (Groups, [R, R, R, O]),
    (SystemEvents, [R, R, O, O]),
    (AutoOpen, [R, R, R, O]),
    (Elevators, [R, R, O, O]),
    (Reports, [R, R, R, R]),
    (Partitions, [R, R, O, O]),
    (DoorStates, [R, R, R, O]),
    (LiveEvents, [R, R, R, R]),
    (Configuration, [R, O, O, O]),
    (EmergencyCards, [R, O, O, O]),
    (DoorControl, [R, R, R, O]),
    (Operators, [R, R, R, O]),
    (Lockdown, [R, R, R, O]),
    (FloorControl, [R, R, R, O]),
    (Outputs, [R, R, R, O]),
    (Lockers, [R, R, R, O]),
    (AntiPassback, [R, R, R, O]),
    (Alarms, [R, R, R, O]),
];

/// The capabilities of a built-in role; `None` for any other name.
pub fn built_in(role: &str) -> Option<BTreeSet<Capability>> {
    let column = BUILT_IN_ROLES.iter().position(|name| *name == role)?;
    let holds = |cells: &[bool; 4]| cells.get(column).copied().unwrap_or_default();
    Some(CATALOGUE_A.iter().filter(|(_, cells)| holds(cells)).map(|(capability, _)| *capability).collect())
}

/// An operator record with its role resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Authority {
    pub status: OperatorStatus,
    pub capabilities: BTreeSet<Capability>,
    /// `None`: every door.
    pub doors: Option<BTreeSet<Id>>,
}

impl Authority {
    /// `role` finds a role record; built-in roles come first and cannot be redefined.
    pub fn compile(
        record: &record::Operator,
        role: impl Fn(&str) -> Option<record::Role>,
    ) -> Result<Authority, String> {
        let capabilities = match built_in(&record.role) {
            Some(capabilities) => capabilities,
            None => match role(&record.role) {
                Some(role) => role.capabilities.into_iter().collect(),
                None => return Err(format!("role {} does not exist", record.role)),
            },
        };
        let by_name = record.role.as_str() == DOORS_BY_NAME;
        let doors = match &record.doors {
            Some(doors) => Some(doors.iter().cloned().collect()),
            None => by_name.then(BTreeSet::new),
        };
        Ok(Authority { status: record.status.clone(), capabilities, doors })
    }
}

/// The operators of one permission set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorIndex(BTreeMap<Id, Authority>);

impl FromIterator<(Id, Authority)> for OperatorIndex {
    fn from_iter<T: IntoIterator<Item = (Id, Authority)>>(authorities: T) -> Self {
        OperatorIndex(authorities.into_iter().collect())
    }
}

impl OperatorIndex {
    pub fn get(&self, operator: &Id) -> Option<&Authority> {
        self.0.get(operator)
    }

    pub fn authorise(
        &self,
        operator: &Id,
        command: &str,
        door: Option<&Id>,
        now: Now,
    ) -> Result<(), (Refusal, String)> {
        let refused = |refusal, why: String| Err((refusal, why));
        let Some(authority) = self.0.get(operator) else {
            return refused(Refusal::UnknownOperator, format!("{operator} is no operator of this node"));
        };
        match &authority.status {
            OperatorStatus::Active {} => {}
            OperatorStatus::Suspended {} => {
                return refused(Refusal::OperatorSuspended, format!("{operator} is suspended"));
            }
            // Either way nothing is allowed: an untrusted clock only blurs which refusal is told.
            OperatorStatus::Invited { expires_at } if now.trust == ClockTrust::Trusted && now.wall >= *expires_at => {
                return refused(Refusal::OperatorExpired, format!("the invitation ended at {expires_at}"));
            }
            OperatorStatus::Invited { .. } => {
                return refused(Refusal::OperatorPending, "the invitation was not accepted yet".to_owned());
            }
        }
        let Some((capability, reach)) = requirement(command) else {
            return refused(Refusal::Forbidden, format!("no capability covers {command}"));
        };
        if !authority.capabilities.contains(&capability) {
            return refused(Refusal::Forbidden, format!("missing capability: {}", capability_name(capability)));
        }
        let Some(doors) = &authority.doors else { return Ok(()) };
        match (reach, door) {
            (Reach::Data, None) => Ok(()),
            (_, Some(door)) if doors.contains(door) => Ok(()),
            (_, Some(door)) => refused(Refusal::OutOfScope, format!("door {door} is not assigned to {operator}")),
            (_, None) => refused(Refusal::OutOfScope, format!("{operator} is limited to assigned doors")),
        }
    }
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
        AntiPassback => "anti_passback",
        Alarms => "alarms",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{Mono, Wall};

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn at(wall_ms: i64, trust: ClockTrust) -> Now {
        Now { mono: Mono::ZERO, wall: Wall::from_millis(wall_ms), trust }
    }

    const NOW_MS: i64 = 1_790_000_000_000;

    /// One operator, `op`, and whatever role records the test needs.
    fn operators(record: serde_json::Value, roles: &[(&str, &[Capability])]) -> OperatorIndex {
        let record: record::Operator = serde_json::from_value(record).unwrap();
        let role = |name: &str| {
            let (_, capabilities) = roles.iter().find(|(id, _)| *id == name)?;
            Some(record::Role { name: None, capabilities: capabilities.to_vec() })
        };
        [(id("op"), Authority::compile(&record, role).unwrap())].into_iter().collect()
    }

    fn active(role: &str, doors: Option<&[&str]>) -> OperatorIndex {
        let mut record = serde_json::json!({ "status": { "state": "active" }, "role": role });
        if let Some(doors) = doors {
            record["doors"] = serde_json::json!(doors);
        }
        operators(record, &[])
    }

    fn ask(operators: &OperatorIndex, command: &str, door: Option<&str>) -> Result<(), Refusal> {
        let door = door.map(id);
        let now = at(NOW_MS, ClockTrust::Trusted);
        operators.authorise(&id("op"), command, door.as_ref(), now).map_err(|(refusal, _)| refusal)
    }

    fn all_commands() -> Vec<String> {
        table().map(|(command, ..)| command).collect()
    }

    /// The catalogue, copied cell by cell from the product description, blank for "may not".
    const CATALOGUE: &str = "
        People              | R | R | R |   | person.put person.delete person.list credential.put credential.delete credential.list
        Groups              | R | R | R |   | group.put group.delete group.list access_rule.put access_rule.delete access_rule.list schedule.put schedule.delete schedule.list holiday.put holiday.delete holiday.list
        System Events       | R | R |   |   | system_event.put system_event.delete system_event.list
        Auto Open           | R | R | R |   | auto_open.put auto_open.delete auto_open.list
        Elevators           | R | R |   |   | floor_group.put floor_group.delete floor_group.list
        Reports             | R | R | R | R | reports.query
        Partitions          | R | R |   |   | partition.put partition.delete partition.list organisation_unit.put organisation_unit.delete organisation_unit.list
        Door States         | R | R | R |   | door.state.get
        Live Events         | R | R | R | R | live_events.subscribe live_events.unsubscribe
        Configuration       | R |   |   |   | configuration.get configuration.put configuration.confirm node.reboot node.identify node.diagnostics interlock.put interlock.delete interlock.list card_format.put card_format.delete card_format.list door_policy.put door_policy.delete door_policy.list
        Ecards              | R |   |   |   | emergency_card.put emergency_card.delete emergency_card.list
        Door control        | R | R | R |   | door.open door.close door.open_and_close door.open_with_delay door.close_with_delay door.cancel_delay door.dnd door.force_toggle door.force door.virtual_read
        Operators           | R | R | R |   | operator.put operator.delete operator.list role.put role.delete role.list
        Lockdown            | R | R | R |   | lockdown.set lockdown.clear
        Floors              | R | R | R |   | floor.open floor.close floor.open_and_close
        Outputs             | R | R | R |   | output.pulse output.set
        Lockers             | R | R | R |   | locker.open locker_contract.put locker_contract.delete locker_contract.list
        APB                 | R | R | R |   | apb.clear area.put area.delete area.list
        Alarms              | R | R | R |   | alarm.acknowledge
    ";

    #[test]
    fn every_cell_of_the_catalogue_holds_for_every_command() {
        let mut seen = Vec::new();
        for line in CATALOGUE.lines().filter(|line| !line.trim().is_empty()) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, roles @ .., commands] = cells.as_slice() else { panic!("{line}") };
            assert_eq!(roles.len(), BUILT_IN_ROLES.len(), "{line}");
            for command in commands.split(' ') {
                for (role, cell) in BUILT_IN_ROLES.iter().zip(roles) {
                    let operators = active(role, Some(&["front"]));
                    let answer = ask(&operators, command, Some("front"));
                    let expected = if *cell == "R" { Ok(()) } else { Err(Refusal::Forbidden) };
                    assert_eq!(answer, expected, "{role} {command}");
                }
                seen.push(command.to_owned());
            }
        }
        let mut all = all_commands();
        all.sort();
        seen.sort();
        assert_eq!(seen, all, "the catalogue above and the published table name the same commands");
    }

    #[test]
    fn every_command_of_the_contract_is_in_the_table_and_nothing_else_is() {
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
        let mut all = all_commands();
        for (command, capability, reach) in table() {
            assert_eq!(requirement(&command), Some((capability, reach)), "{command}");
        }
        all.sort();
        expected.sort();
        assert_eq!(all, expected);
        for unknown in
            ["", "door", "door.", "door.open.now", "person", "person.open", "person.put.put", "door.put", "DOOR.OPEN"]
        {
            assert_eq!(requirement(unknown), None, "{unknown:?}");
            assert_eq!(ask(&active("integrator", None), unknown, None), Err(Refusal::Forbidden), "{unknown:?}");
        }
    }

    #[test]
    fn capability_names_are_those_of_the_records() {
        for (capability, _) in CATALOGUE_A {
            assert_eq!(serde_json::to_value(capability).unwrap(), capability_name(capability));
        }
    }

    #[test]
    fn who_is_not_an_operator_is_told_nothing_else() {
        let nobody = OperatorIndex::default();
        assert_eq!(ask(&nobody, "door.open", Some("front")), Err(Refusal::UnknownOperator));
        assert_eq!(ask(&nobody, "no.such", None), Err(Refusal::UnknownOperator));
    }

    #[test]
    fn an_invitation_is_pending_until_it_ends_and_dead_from_then_on() {
        let status = serde_json::json!({ "state": "invited", "expires_at": Wall::from_millis(NOW_MS).to_string() });
        let invited = operators(serde_json::json!({ "status": status, "role": "integrator" }), &[]);
        let ask = |now| invited.authorise(&id("op"), "door.open", None, now).map_err(|(refusal, _)| refusal);
        assert_eq!(ask(at(NOW_MS - 1, ClockTrust::Trusted)), Err(Refusal::OperatorPending));
        assert_eq!(ask(at(NOW_MS, ClockTrust::Trusted)), Err(Refusal::OperatorExpired));
        assert_eq!(ask(at(NOW_MS, ClockTrust::Untrusted)), Err(Refusal::OperatorPending));
    }

    #[test]
    fn a_suspended_operator_is_refused_before_anything_else() {
        let suspended = operators(serde_json::json!({ "status": { "state": "suspended" }, "role": "reporter" }), &[]);
        assert_eq!(ask(&suspended, "door.open", Some("front")), Err(Refusal::OperatorSuspended));
    }

    #[test]
    fn only_assigned_doors_are_in_scope() {
        let scoped = active("integrator", Some(&["front"]));
        assert_eq!(ask(&scoped, "door.open", Some("front")), Ok(()));
        assert_eq!(ask(&scoped, "door.open", Some("back")), Err(Refusal::OutOfScope));
        // Without a door a lockdown is the whole node's; outputs and the node belong to no door.
        for command in ["lockdown.set", "door.open", "output.pulse", "floor.open", "node.reboot"] {
            assert_eq!(ask(&scoped, command, None), Err(Refusal::OutOfScope), "{command}");
            assert_eq!(ask(&active("integrator", None), command, None), Ok(()), "{command}");
        }
        // What is shown or edited is limited where it is carried out.
        assert_eq!(ask(&scoped, "reports.query", None), Ok(()));
        assert_eq!(ask(&active("integrator", Some(&[])), "door.open", Some("front")), Err(Refusal::OutOfScope));
    }

    #[test]
    fn a_manager_without_assigned_doors_controls_none() {
        assert_eq!(ask(&active("manager", None), "door.open", Some("front")), Err(Refusal::OutOfScope));
        assert_eq!(ask(&active("manager", Some(&["front"])), "door.open", Some("front")), Ok(()));
        assert_eq!(ask(&active("admin", None), "door.open", Some("front")), Ok(()));
    }

    #[test]
    fn a_role_record_grants_exactly_its_capabilities() {
        for (granted, _) in CATALOGUE_A {
            let record = serde_json::json!({ "status": { "state": "active" }, "role": "custom" });
            let operators = operators(record, &[("custom", &[granted])]);
            for command in all_commands() {
                let (needed, _) = requirement(&command).unwrap();
                let expected = if needed == granted { Ok(()) } else { Err(Refusal::Forbidden) };
                assert_eq!(ask(&operators, &command, None), expected, "{granted:?} {command}");
            }
        }
    }

    #[test]
    fn a_refusal_for_lack_of_a_capability_names_it() {
        let now = at(NOW_MS, ClockTrust::Trusted);
        let (refusal, why) = active("reporter", None).authorise(&id("op"), "door.open", None, now).unwrap_err();
        assert_eq!((refusal, why.as_str()), (Refusal::Forbidden, "missing capability: door_control"));
    }

    #[test]
    fn a_role_that_does_not_exist_is_a_fault() {
        let record: record::Operator =
            serde_json::from_value(serde_json::json!({ "status": { "state": "active" }, "role": "boss" })).unwrap();
        assert_eq!(Authority::compile(&record, |_| None).unwrap_err(), "role boss does not exist");
    }
}

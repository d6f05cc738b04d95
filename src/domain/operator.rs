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

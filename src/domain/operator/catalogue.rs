//! The roles that ship with the node. Owns both catalogues, cell by cell; must never hold a role that a set
//! defines. Invariant: a capability that a catalogue does not speak of is given to none of its roles but the
//! one that may do everything.

use std::collections::BTreeSet;

use crate::domain::record::Capability::{self, *};

/// The built-in roles: the columns of [`CATALOGUE_A`], then those of [`CATALOGUE_B`].
pub const BUILT_IN_ROLES: [&str; 9] = [
    "integrator",
    "admin",
    "manager",
    "reporter",
    "automat.admin",
    "automat.user_edit",
    "automat.user_view",
    "automat.customer_service_edit",
    "automat.customer_service_view",
];

/// Roles that reach only what is assigned to them: without any doors, partitions or units they have none.
const ONLY_ASSIGNED: [&str; 5] = [
    "manager",
    "automat.user_edit",
    "automat.user_view",
    "automat.customer_service_edit",
    "automat.customer_service_view",
];

const R: bool = true;
const O: bool = false;

/// Catalogue A, "Cloud Node permissions": who may use what. The rows after "operators" are not in the
/// catalogue: they go to Integrator, Admin, and Manager within their doors; a reboot is configuration.
pub const CATALOGUE_A: [(Capability, [bool; 4]); 23] = [
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
    (LockerContracts, [R, R, R, O]),
    (LockerOpen, [R, R, R, O]),
    (Keys, [R, R, R, O]),
    (AntiPassback, [R, R, R, O]),
    (Alarms, [R, R, R, O]),
    (Reboot, [R, O, O, O]),
];

/// Catalogue B, the key automat. What it does not speak of (doors, groups, elevators and the like) is the
/// admin's alone. Managing contracts includes the people they are made with; seeing alarms, logs and usage
/// reports is one thing, acknowledging, installing and changing another, which no view-only role does.
pub const CATALOGUE_B: [(Capability, [bool; 5]); 36] = [
    // admin, user (edit and view), user (view only), customer service (edit and view), c. s. (view only)
    (Operators, [R, O, O, O, O]),
    (MainUsageReport, [R, O, O, O, O]),
    (MainAlarms, [R, R, O, R, R]),
    (InstallDevices, [R, R, O, R, O]),
    (DeviceSettings, [R, R, O, R, O]),
    (DevicePreferences, [R, R, O, R, R]),
    (PrivacySettings, [R, R, O, O, O]),
    (DeviceTools, [R, R, O, R, O]),
    (DeviceAlarms, [R, R, O, R, R]),
    (DeviceLogs, [R, R, O, R, R]),
    (DeviceUsageReport, [R, R, O, R, R]),
    (Keys, [R, R, O, R, O]),
    (LockerContracts, [R, R, O, R, O]),
    (LockerOpen, [R, R, O, R, O]),
    (LockerPhoto, [R, R, O, R, O]),
    (FrontCameraPhoto, [R, R, O, O, O]),
    (FrontCameraTimeline, [R, R, R, O, O]),
    (Reboot, [R, R, O, R, O]),
    (Lockers, [R, R, R, R, R]),
    (DoorStates, [R, R, R, R, R]),
    (LiveEvents, [R, R, R, R, R]),
    // The log of a device, as this node keeps it.
    (Reports, [R, R, O, R, R]),
    (Alarms, [R, R, O, R, O]),
    (People, [R, R, O, R, O]),
    (Groups, [R, O, O, O, O]),
    (SystemEvents, [R, O, O, O, O]),
    (AutoOpen, [R, O, O, O, O]),
    (Elevators, [R, O, O, O, O]),
    (Partitions, [R, O, O, O, O]),
    (Configuration, [R, O, O, O, O]),
    (EmergencyCards, [R, O, O, O, O]),
    (DoorControl, [R, O, O, O, O]),
    (Lockdown, [R, O, O, O, O]),
    (FloorControl, [R, O, O, O, O]),
    (Outputs, [R, O, O, O, O]),
    (AntiPassback, [R, O, O, O, O]),
];

/// The capabilities of a built-in role; `None` for any other name.
pub fn built_in(role: &str) -> Option<BTreeSet<Capability>> {
    fn column<const N: usize>(catalogue: &[(Capability, [bool; N])], at: usize) -> BTreeSet<Capability> {
        let holds = |cells: &[bool; N]| cells.get(at).copied().unwrap_or_default();
        catalogue.iter().filter(|(_, cells)| holds(cells)).map(|(capability, _)| *capability).collect()
    }
    let at = BUILT_IN_ROLES.iter().position(|name| *name == role)?;
    let of_a = CATALOGUE_A.first().map_or(0, |(_, cells)| cells.len());
    Some(if at < of_a { column(&CATALOGUE_A, at) } else { column(&CATALOGUE_B, at - of_a) })
}

/// Whether an operator of this role to whom nothing is assigned reaches nothing, rather than everything.
pub fn only_assigned(role: &str) -> bool {
    ONLY_ASSIGNED.contains(&role)
}

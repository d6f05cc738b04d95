//! Which machines stand beside the doors, and in which order they hear of things. Owns that list and what
//! they are made of; must never hold their state.

use super::{
    alarms::Alarms, auto_open::AutoOpenMachine, elevators::Elevators, entry::Entry, faces::Faces, inputs::NodeInputs,
    installer::Installer, interlock::InterlockMachine, lockers::Lockers, machine::Machine, outputs::FreeOutputs,
    system_events::SystemEvents,
};
use crate::domain::field::{FieldConfig, Weakness};

/// All of them, new. `weaknesses`: what the configuration gives up of the secure defaults.
pub fn machines(config: &FieldConfig, weaknesses: &[Weakness]) -> Vec<Box<dyn Machine>> {
    vec![
        Box::new(Entry::new(config)),
        Box::<AutoOpenMachine>::default(),
        Box::<InterlockMachine>::default(),
        Box::new(FreeOutputs::new(config)),
        Box::new(Elevators::new(&config.floor_groups)),
        Box::new(Lockers::new(&config.cabinets)),
        Box::new(NodeInputs::new(config)),
        Box::new(Alarms::new(weaknesses)),
        Box::<SystemEvents>::default(),
        Box::new(Installer::new(config)),
        Box::<Faces>::default(),
    ]
}

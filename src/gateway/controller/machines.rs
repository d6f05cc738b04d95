//! Which machines stand beside the doors, and in which order they hear of things. Owns that list and what
//! they are made of; must never hold their state.

use super::{elevators::Elevators, lockers::Lockers, machine::Machine};
use crate::domain::field::FieldConfig;

/// All of them, new.
pub fn machines(config: &FieldConfig) -> Vec<Box<dyn Machine>> {
    vec![Box::new(Elevators::new(&config.floor_groups)), Box::new(Lockers::new(&config.cabinets))]
}

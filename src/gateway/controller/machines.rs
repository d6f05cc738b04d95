//! Which machines stand beside the doors, and in which order they hear of things. Owns that list and what
//! they are made of; must never hold their state.

use super::machine::Machine;
use crate::domain::field::FieldConfig;

/// All of them, new.
pub fn machines(_config: &FieldConfig) -> Vec<Box<dyn Machine>> {
    Vec::new()
}

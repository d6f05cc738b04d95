//! Which machines stand beside the doors, and in which order they hear of things. Owns that list and what
//! they are made of; must never hold their state.

use super::machine::Machine;

/// What the installer says of everything that is not a door, a reader or a board.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldConfig {}

/// All of them, new.
pub fn machines(_config: &FieldConfig) -> Vec<Box<dyn Machine>> {
    Vec::new()
}

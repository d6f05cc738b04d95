//! What the installer says of everything that is not a door, a reader or a board. Owns that list; must never
//! hold state. Invariant: every output in it drives nothing else.

/// What the machines beside the doors are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldConfig {}

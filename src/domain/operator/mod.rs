//! Who may command, edit and see. Owns operators, their roles and how far both reach; must never let through
//! what the table does not name. Invariant: default deny: what is not given by a role within a scope is not
//! there.
//!
//! `table` is the one table from command to capability, `catalogue` the roles that ship with the node,
//! `authority` an operator as they stand and the judgement of their commands, `scope` sets of places,
//! `directory` and `reach` what a record can bring about where, `edit` whether somebody may change or see it.

mod authority;
mod catalogue;
mod directory;
mod edit;
mod reach;
mod scope;
mod table;
#[cfg(test)]
mod tests;

pub use authority::{Authority, OperatorIndex, Reaches, Refused, Targets};
pub use catalogue::{BUILT_IN_ROLES, CATALOGUE_A, CATALOGUE_B, built_in};
pub use directory::{Directory, People};
pub use edit::{RecordEdit, Worlds};
pub use reach::{Field, World};
pub use scope::{Limits, Places, Scope, of_partition};
pub use table::{COMMANDS, EDITS, KINDS, Reach, WITHOUT_COMMAND, capability_name, requirement, table};

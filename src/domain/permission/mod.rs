//! Who may pass: the compiled permission set. Owns the answer to one question (these tokens, this door,
//! now) and to its sister (this operator, this command, now); must never change once it is made.
//! Invariant: a [`Permissions`] is one generation, whole. It is shared behind an `Arc` and swapped
//! between two decisions, so no decision ever sees half of a change.
//!
//! `compile` makes it from records and finds all that is wrong with them, `people` and `rules` hold it,
//! `decide` asks it.

mod compile;
mod decide;
mod people;
mod rules;
mod site;
#[cfg(test)]
mod tests;

pub use compile::{Compiler, FAULTS_MAX};
pub use decide::Decision;
pub use site::{Known, SiteRecords};

use std::sync::Arc;

use jiff::tz::TimeZone;

use self::{people::People, rules::Rules};
use super::{
    event::Refusal,
    ids::Id,
    operator::{Authority, OperatorIndex},
    record::Record,
    time::Now,
    topology::Topology,
};

/// Which permission set: the generation rises within an epoch, the digest says what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetVersion {
    pub epoch: u64,
    pub generation: u64,
    pub digest: [u8; 32],
}

/// One generation, compiled. People, rules and operators are separate, so that a change to one need
/// not rebuild the others.
#[derive(Debug)]
pub struct Permissions {
    version: SetVersion,
    /// False before the first set: then nobody is known and nothing is granted.
    present: bool,
    zone: TimeZone,
    people: People,
    rules: Rules,
    operators: OperatorIndex,
    site: Arc<SiteRecords>,
}

impl Permissions {
    /// Before the first set: every card is denied with `stale_permissions`, no operator is known.
    pub fn none() -> Permissions {
        Permissions {
            version: SetVersion::default(),
            present: false,
            zone: TimeZone::UTC,
            people: People::default(),
            rules: Rules::default(),
            operators: OperatorIndex::default(),
            site: Arc::default(),
        }
    }

    /// Every reason for refusal comes at once.
    pub fn compile(
        records: impl IntoIterator<Item = (Id, Record)>,
        topology: &Topology,
        zone: &TimeZone,
        version: SetVersion,
    ) -> Result<Permissions, Vec<String>> {
        let mut compiler = Compiler::new();
        for (id, record) in records {
            compiler.add(id, record);
        }
        compiler.finish(topology, zone, version)
    }

    pub fn version(&self) -> &SetVersion {
        &self.version
    }

    /// False for [`Permissions::none`].
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// The records of places, automatic behaviour and lockers. The same `Arc` as before if none of them changed.
    pub fn site(&self) -> &Arc<SiteRecords> {
        &self.site
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub fn operator(&self, operator: &Id) -> Option<&Authority> {
        self.operators.get(operator)
    }

    /// Whether this operator may give this command, at this door if it names one. The text is for people
    /// and names what is missing.
    pub fn authorise(
        &self,
        operator: &Id,
        command: &str,
        door: Option<&Id>,
        now: Now,
    ) -> Result<(), (Refusal, String)> {
        self.operators.authorise(operator, command, door, now)
    }
}

//! Who may pass: the compiled permission set. Owns the answer to one question (these tokens, this door,
//! now) and to its sister (this operator, this command, now); must never change once it is made.
//! Invariant: a [`Permissions`] is one generation, whole. It is shared behind an `Arc` and swapped
//! between two decisions, so no decision ever sees half of a change.
//!
//! `compile` is the way in, over `draft`, which takes records in and out, and `faults`, which finds all that
//! is wrong with them; `people`, `rules`, `calendar` and `operators` hold the set, in tables that `shared`
//! lets two generations have in common; `decide` asks it.

mod calendar;
mod cells;
mod compile;
mod decide;
mod draft;
mod explain;
mod faults;
mod floors;
mod judge;
mod operators;
mod people;
mod places;
mod questions;
mod reaches;
mod request;
mod rules;
mod shared;
mod site;
#[cfg(test)]
mod tests;

pub use compile::{Change, Compiler};
pub use decide::{Decision, Wants};
pub use explain::{
    Answer, AreaExplained, Candidate, CheckExplained, ContractExplained, EmergencyCardExplained, Explanation,
    RuleExplained, RuleOutcome, TriedFormat,
};
pub use faults::FAULTS_MAX;
pub use floors::Floors;
pub use request::{Request, Restriction, Target};
pub use site::{Known, SiteRecords};

use std::sync::Arc;

use jiff::tz::TimeZone;

use self::{
    calendar::Calendar,
    operators::Operators,
    people::People,
    places::Places,
    rules::{RuleBodies, Rules},
};
use super::{
    card_format::CardFormats,
    event::Refusal,
    ids::Id,
    operator::{Authority, Targets},
    record::Record,
    schedule::Clock,
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

/// One generation, compiled. Cloning it costs some reference counts: the tables are shared, also with the
/// generations that come of it.
#[derive(Clone, Debug)]
pub struct Permissions {
    version: SetVersion,
    /// False before the first set: then nobody is known and nothing is granted.
    present: bool,
    clock: Arc<Clock>,
    places: Places,
    people: People,
    rule_bodies: Arc<RuleBodies>,
    calendar: Arc<Calendar>,
    /// Made of the two before.
    rules: Arc<Rules>,
    operators: Arc<Operators>,
    site: Arc<SiteRecords>,
    /// Made of `site`.
    card_formats: Arc<CardFormats>,
}

impl Permissions {
    /// Before the first set: every card is denied with `stale_permissions`, no operator is known.
    pub fn none() -> Permissions {
        Permissions::empty(Places::default(), TimeZone::UTC)
    }

    fn empty(places: Places, zone: TimeZone) -> Permissions {
        Permissions {
            version: SetVersion::default(),
            present: false,
            clock: Arc::new(Clock::new(&zone)),
            places,
            people: People::default(),
            rule_bodies: Arc::default(),
            calendar: Arc::default(),
            rules: Arc::default(),
            operators: Arc::default(),
            site: Arc::default(),
            card_formats: CardFormats::built_in(),
        }
    }

    /// Every reason for refusal comes at once.
    pub fn compile(
        records: impl IntoIterator<Item = (Id, Record)>,
        topology: &Topology,
        zone: &TimeZone,
        version: SetVersion,
    ) -> Result<Permissions, Vec<String>> {
        let mut compiler = Compiler::new(topology, zone);
        for (id, record) in records {
            compiler.add(&id, record);
        }
        compiler.finish(version)
    }

    /// Persons and credentials in the set.
    pub fn people(&self) -> (u32, u32) {
        (self.people.persons.len(), self.people.credentials.len())
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

    /// How reads are understood: the set's formats, and those that are built in.
    pub fn card_formats(&self) -> &CardFormats {
        &self.card_formats
    }

    pub fn zone(&self) -> &TimeZone {
        self.clock.zone()
    }

    pub fn operator(&self, operator: &Id) -> Option<&Authority> {
        self.operators.index.get(operator)
    }

    /// Whether this operator may give this command, of what it names. The text is for people and names what
    /// is missing.
    pub fn authorise(
        &self,
        operator: &Id,
        command: &str,
        targets: &Targets<'_>,
        now: Now,
    ) -> Result<(), (Refusal, String)> {
        self.operators.index.authorise(operator, command, targets, self, now)
    }
}

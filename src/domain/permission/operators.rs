//! The operators and roles of a set. Owns their records, from which authorities are worked out; must never
//! say what an authority allows (that is `domain::operator`). Invariant: of a set in force, every operator's
//! role exists.

use std::collections::BTreeMap;

use super::SiteRecords;
use crate::domain::{
    ids::Id,
    operator::{Authority, BUILT_IN_ROLES, OperatorIndex, Places},
    record::{Operator, Role},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Operators {
    pub(super) records: BTreeMap<Id, Operator>,
    pub(super) roles: BTreeMap<Id, Role>,
    pub(super) index: OperatorIndex,
}

impl Operators {
    /// Works the authorities out anew. False if something is wrong: see [`Operators::check`].
    pub(super) fn refresh(&mut self, site: &SiteRecords) -> bool {
        let mut sound = true;
        self.index = self.compile(site, &mut |_| sound = false);
        sound
    }

    pub(super) fn check(&self, site: &SiteRecords, fault: &mut dyn FnMut(String)) {
        self.compile(site, fault);
    }

    fn compile(&self, site: &SiteRecords, fault: &mut dyn FnMut(String)) -> OperatorIndex {
        let places = Places { partitions: &site.partitions, organisation_units: &site.organisation_units };
        for role in BUILT_IN_ROLES.into_iter().filter(|role| self.roles.contains_key(*role)) {
            fault(format!("role {role}: is built in and cannot be redefined"));
        }
        let mut compiled = Vec::with_capacity(self.records.len());
        for (id, operator) in &self.records {
            match Authority::compile(operator, |role| self.roles.get(role).cloned(), &places) {
                Ok(authority) => compiled.push((id.clone(), authority)),
                Err(what) => fault(format!("operator {id}: {what}")),
            }
        }
        compiled.into_iter().collect()
    }
}

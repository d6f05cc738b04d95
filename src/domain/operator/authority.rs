//! An operator as the node knows them: status, capabilities and scope. Owns the judgement of a command; must
//! never let one through that the table does not name. Invariant: the order of refusals is unknown,
//! suspended, pending or expired, forbidden, out of scope, so that nobody learns about capabilities or
//! places before they are someone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    catalogue::{built_in, only_assigned},
    scope::{Places, Scope},
    table::{Reach, capability_name, requirement},
};
use crate::domain::{
    event::Refusal,
    ids::Id,
    record::{self, Capability, OperatorStatus},
    time::{ClockTrust, Now},
};

pub type Refused = (Refusal, String);

/// An operator record with its role and places resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Authority {
    pub status: OperatorStatus,
    pub role: Id,
    pub capabilities: BTreeSet<Capability>,
    pub scope: Scope,
}

/// What a command is about. Nothing at all is the whole node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Targets<'a> {
    /// Compartments of lockers are doors too.
    pub doors: &'a [Id],
    pub floor_group: Option<&'a Id>,
    pub partition: Option<&'a Id>,
    pub person: Option<&'a Id>,
    pub area: Option<&'a Id>,
}

impl<'a> Targets<'a> {
    pub fn door(door: &'a Id) -> Targets<'a> {
        Targets { doors: std::slice::from_ref(door), ..Targets::default() }
    }

    fn names_nothing(&self) -> bool {
        let records = [self.floor_group, self.partition, self.person, self.area];
        self.doors.is_empty() && records.into_iter().all(|record| record.is_none())
    }
}

/// What a command reaches by way of records: of a person the doors that they may pass, of an area those of
/// its readers. `None`: no such record.
pub trait Reaches {
    fn partition(&self, partition: &Id) -> Option<Scope>;
    fn person(&self, person: &Id) -> Option<Scope>;
    /// Whose they are; none: everybody's who reaches as far as they do.
    fn partitions_of(&self, person: &Id) -> Vec<Id>;
    fn area(&self, area: &Id) -> Option<Scope>;
}

impl Authority {
    /// `role` finds a role record; built-in roles come first and cannot be redefined.
    pub fn compile(
        record: &record::Operator,
        role: impl Fn(&str) -> Option<record::Role>,
        places: &Places<'_>,
    ) -> Result<Authority, String> {
        let capabilities = match built_in(&record.role) {
            Some(capabilities) => capabilities,
            None => match role(&record.role) {
                Some(role) => role.capabilities.into_iter().collect(),
                None => return Err(format!("role {} does not exist", record.role)),
            },
        };
        if let OperatorStatus::Invited { invited_at: None, expires_at: None } = &record.status {
            return Err("status: an invitation needs invited_at or expires_at".to_owned());
        }
        let scope = match (&record.doors, &record.partitions, &record.organisation_units) {
            (None, None, None) if !only_assigned(&record.role) => Scope::Everything,
            (doors, partitions, units) => {
                let list = |list: &Option<Vec<Id>>| list.clone().unwrap_or_default();
                places.scope(list(doors), list(partitions), list(units))
            }
        };
        Ok(Authority { status: record.status.clone(), role: record.role.clone(), capabilities, scope })
    }

    /// Whether this operator may do anything at all now.
    pub fn is_in_office(&self, now: Now) -> Result<(), Refused> {
        match &self.status {
            OperatorStatus::Active {} => Ok(()),
            OperatorStatus::Suspended {} => Err((Refusal::OperatorSuspended, "the operator is suspended".to_owned())),
            // Either way nothing is allowed: an untrusted clock only blurs which refusal is told.
            OperatorStatus::Invited { .. } => match self.status.invitation_ends_at() {
                Some(end) if now.trust == ClockTrust::Trusted && now.wall >= end => {
                    Err((Refusal::OperatorExpired, format!("the invitation ended at {end}; it must be made anew")))
                }
                _ => Err((Refusal::OperatorPending, "the invitation was not accepted yet".to_owned())),
            },
        }
    }

    pub fn may(&self, capability: Capability) -> Result<(), Refused> {
        if self.capabilities.contains(&capability) {
            return Ok(());
        }
        Err((Refusal::Forbidden, format!("missing capability: {}", capability_name(capability))))
    }

    /// Status, capability and scope, in this order.
    pub fn authorise(
        &self,
        command: &str,
        targets: &Targets<'_>,
        reaches: &impl Reaches,
        now: Now,
    ) -> Result<(), Refused> {
        self.is_in_office(now)?;
        let Some((capability, reach)) = requirement(command) else {
            return Err((Refusal::Forbidden, format!("no capability covers {command}")));
        };
        self.may(capability)?;
        let Scope::Limited(limits) = &self.scope else { return Ok(()) };
        let out = |what: String| Err((Refusal::OutOfScope, format!("{what} is not assigned to this operator")));
        match reach {
            Reach::Data => Ok(()),
            Reach::Doors if targets.names_nothing() => out("the whole node".to_owned()),
            Reach::Doors => {
                if let Some(door) = targets.doors.iter().find(|door| !limits.doors.contains(*door)) {
                    return out(format!("door {door}"));
                }
                if let Some(group) = targets.floor_group.filter(|group| !limits.floor_groups.contains(*group)) {
                    return out(format!("floor group {group}"));
                }
                if let Some(person) = targets.person {
                    let partitions = reaches.partitions_of(person);
                    if let Some(partition) = self.scope.foreign_partition(&partitions) {
                        return out(format!("person {person}, who is in partition {partition},"));
                    }
                }
                let named = [
                    ("partition", targets.partition, targets.partition.map(|id| reaches.partition(id))),
                    ("person", targets.person, targets.person.map(|id| reaches.person(id))),
                    ("area", targets.area, targets.area.map(|id| reaches.area(id))),
                ];
                for (kind, id, reach) in named {
                    // What does not exist is outside of every limited scope.
                    if let (Some(id), Some(reach)) = (id, reach)
                        && !reach.is_some_and(|reach| reach.is_within(&self.scope))
                    {
                        return out(format!("{kind} {id}, with all that it reaches,"));
                    }
                }
                Ok(())
            }
            Reach::Floors => match targets.floor_group {
                Some(group) if limits.floor_groups.contains(group) => Ok(()),
                Some(group) => out(format!("floor group {group}")),
                None => out("the whole node".to_owned()),
            },
            Reach::Hardware => out("hardware that belongs to no door".to_owned()),
            Reach::Node => out("the node itself".to_owned()),
        }
    }
}

/// The operators of one permission set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorIndex(BTreeMap<Id, Authority>);

impl FromIterator<(Id, Authority)> for OperatorIndex {
    fn from_iter<T: IntoIterator<Item = (Id, Authority)>>(authorities: T) -> Self {
        OperatorIndex(authorities.into_iter().collect())
    }
}

impl OperatorIndex {
    pub fn get(&self, operator: &Id) -> Option<&Authority> {
        self.0.get(operator)
    }

    pub fn authorise(
        &self,
        operator: &Id,
        command: &str,
        targets: &Targets<'_>,
        reaches: &impl Reaches,
        now: Now,
    ) -> Result<(), Refused> {
        let Some(authority) = self.0.get(operator) else {
            return Err((Refusal::UnknownOperator, format!("{operator} is no operator of this node")));
        };
        authority.authorise(command, targets, reaches, now)
    }
}

//! Whether an operator may make one edit, and see one record. Owns what "not beyond their own" means; must
//! never look at one side only. Invariant: an edit passes on the record as it was, on the record as it would
//! be, and on everything that either reaches; by no record does anybody come to more than the editor has.
//!
//! Asked in this order: in office, capability; whether an operator who is edited is seen at all; what the record
//! itself gives (roles, scopes, actions); partitions; reach.

use super::{
    authority::{Authority, Refused},
    reach::{World, of_rule},
    scope::Scope,
    table::{capability_name, requirement},
};
use crate::domain::{
    event::Refusal,
    ids::Id,
    record::{Capability, Operator, OperatorStatus, Person, Record, SystemAction, SystemEvent},
    time::{ClockTrust, Now},
};

/// One record, before and after.
#[derive(Clone, Copy)]
pub struct RecordEdit<'a> {
    pub kind: &'a str,
    pub id: &'a Id,
    pub old: Option<&'a Record>,
    pub new: Option<&'a Record>,
}

/// The set before and after it.
#[derive(Clone, Copy)]
pub struct Worlds<'a> {
    pub before: World<'a>,
    pub after: World<'a>,
}

impl RecordEdit<'_> {
    pub fn authorise(&self, editor_id: &Id, editor: &Authority, worlds: &Worlds<'_>, now: Now) -> Result<(), Refused> {
        editor.is_in_office(now)?;
        let change = if self.new.is_some() { "put" } else { "delete" };
        let Some((capability, _)) = requirement(&format!("{}.{change}", self.kind)) else {
            return Err((Refusal::Forbidden, format!("no capability covers {}.{change}", self.kind)));
        };
        editor.may(capability)?;
        if let Some(record @ Record::Operator(_)) = self.old
            && !editor.sees(editor_id, self.id, record, &worlds.before)
        {
            // Neither what they may do nor where: whoever does not see them learns nothing of them.
            let why = format!("operator {} is not within what is assigned to {editor_id}", self.id);
            return Err((Refusal::OutOfScope, why));
        }
        for (record, world) in [(self.old, &worlds.before), (self.new, &worlds.after)] {
            match record {
                Some(Record::Operator(operator)) => gives_no_more(editor, operator, world)?,
                Some(Record::Role(role)) => {
                    role.capabilities.iter().try_for_each(|capability| has_too(editor, *capability))?;
                }
                Some(Record::SystemEvent(event)) => may_act(editor, event)?,
                _ => {}
            }
        }
        match (self.old, self.new) {
            (old, Some(Record::Operator(new))) => {
                let old = old.and_then(|old| if let Record::Operator(old) = old { Some(old) } else { None });
                comes_into_office(old, new, now)?;
            }
            (_, Some(Record::SystemEvent(event))) if event.author.as_ref() != Some(editor_id) => {
                let why = "author: whoever edits a system event is its author".to_owned();
                return Err((Refusal::Forbidden, why));
            }
            _ => {}
        }
        if editor.scope.is_everything() {
            return Ok(());
        }
        self.stays_in_partitions(editor, worlds)?;
        for (record, world) in [(self.old, &worlds.before), (self.new, &worlds.after)] {
            let Some(record) = record else { continue };
            if let Record::SystemEvent(event) = record {
                acts_for_own_people(editor, event, world)?;
            }
            let mut reach = world.of(self.id, record);
            if self.old.is_none() {
                // What is only being made is nobody's yet.
                reach.forget_name(self.kind, self.id);
            }
            if let Some(outside) = reach.first_outside(&editor.scope) {
                let why = format!("{} {} reaches {outside}, which is not assigned to {editor_id}", self.kind, self.id);
                return Err((Refusal::OutOfScope, why));
            }
        }
        Ok(())
    }

    /// People and groups are in partitions so that others may not touch them; places, so that a scope does
    /// not grow.
    fn stays_in_partitions(&self, editor: &Authority, worlds: &Worlds<'_>) -> Result<(), Refused> {
        let not_own = |what: &str, id: &Id| {
            let why = format!("{} {}: {what} {id} is not assigned to this operator", self.kind, self.id);
            Err((Refusal::OutOfScope, why))
        };
        let (old, new) = (partitions(self.old, &worlds.before), partitions(self.new, &worlds.after));
        for partitions in [&old, &new].into_iter().flatten() {
            if let Some(first) = editor.scope.foreign_partition(partitions).filter(|_| self.keeps_its_partitions()) {
                return not_own("partition", first);
            }
        }
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let moved = old.iter().filter(|p| !new.contains(p)).chain(new.iter().filter(|p| !old.contains(p)));
        if self.new.is_some() && self.keeps_its_partitions() {
            for partition in moved {
                if !editor.scope.has_partition(partition) {
                    return not_own("partition", partition);
                }
            }
        }
        match (unit_above(self.old), unit_above(self.new)) {
            (old, new) if old != new || (self.old.is_none() && self.new.is_some()) => {
                for unit in [old, new].into_iter().flatten() {
                    match unit {
                        Some(unit) if editor.scope.has_unit(unit) => {}
                        Some(unit) => return not_own("organisation unit", unit),
                        None => {
                            let why = format!("{} {}: must be under a unit of the operator's own", self.kind, self.id);
                            return Err((Refusal::OutOfScope, why));
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Of a credential they are its person's.
    fn keeps_its_partitions(&self) -> bool {
        matches!(self.kind, "person" | "group" | "credential")
    }
}

impl Scope {
    fn forget_name(&mut self, kind: &str, id: &Id) {
        if let Scope::Limited(limits) = self {
            match kind {
                "partition" => drop(limits.partitions.remove(id)),
                "organisation_unit" => drop(limits.organisation_units.remove(id)),
                _ => {}
            }
        }
    }
}

/// The partitions that a record of people is in; `None` for other records.
fn partitions(record: Option<&Record>, world: &World<'_>) -> Option<Vec<Id>> {
    match record? {
        Record::Person(Person { partitions, .. }) => Some(partitions.clone()),
        Record::Group(group) => Some(group.partitions.clone()),
        Record::Credential(credential) => Some(world.people.person(&credential.person)?.partitions),
        _ => None,
    }
}

/// The unit that a partition or unit is under. The outer `None`: no such record.
fn unit_above(record: Option<&Record>) -> Option<Option<&Id>> {
    match record? {
        Record::Partition(partition) => Some(partition.organisation_unit.as_ref()),
        Record::OrganisationUnit(unit) => Some(unit.parent.as_ref()),
        _ => None,
    }
}

fn has_too(editor: &Authority, capability: Capability) -> Result<(), Refused> {
    if editor.capabilities.contains(&capability) {
        return Ok(());
    }
    Err((Refusal::Forbidden, format!("nobody gives what they do not have: {}", capability_name(capability))))
}

fn gives_no_more(editor: &Authority, operator: &Operator, world: &World<'_>) -> Result<(), Refused> {
    // An operator whose role does not exist might be anybody.
    let Ok(authority) = world.authority(operator) else {
        let why = format!("role {} does not exist", operator.role);
        return if editor.scope.is_everything() { Ok(()) } else { Err((Refusal::OutOfScope, why)) };
    };
    authority.capabilities.iter().try_for_each(|capability| has_too(editor, *capability))?;
    match authority.scope.first_outside(&editor.scope) {
        None => Ok(()),
        Some(outside) => Err((Refusal::OutOfScope, format!("nobody gives what they do not have: {outside}"))),
    }
}

/// A system event does what its author might have commanded.
fn may_act(editor: &Authority, event: &SystemEvent) -> Result<(), Refused> {
    let commands = event.actions.iter().filter_map(SystemAction::command);
    commands.filter_map(requirement).try_for_each(|(capability, _)| has_too(editor, capability))
}

/// Whoever may not touch a person has no system event act as them either.
fn acts_for_own_people(editor: &Authority, event: &SystemEvent, world: &World<'_>) -> Result<(), Refused> {
    for person in event.actions.iter().filter_map(SystemAction::person) {
        let partitions = world.people.person(person).map(|body| body.partitions).unwrap_or_default();
        if let Some(partition) = editor.scope.foreign_partition(&partitions) {
            let why = format!("person {person} is in partition {partition}, which is not assigned to this operator");
            return Err((Refusal::OutOfScope, why));
        }
    }
    Ok(())
}

/// By command an operator becomes active through an invitation that is still good, or out of a suspension.
///
/// ```text
///   nobody ──► invited ──(accepted before its end)──► active ◄──► suspended
///                 ▲ └─(its end has passed: dead)           │
///                 └───────────── invited anew ─────────────┘
/// ```
fn comes_into_office(old: Option<&Operator>, new: &Operator, now: Now) -> Result<(), Refused> {
    use OperatorStatus::{Active, Invited, Suspended};
    let refused = |refusal, why: &str| Err((refusal, format!("status: {why}")));
    match (old.map(|old| &old.status), &new.status) {
        (None, Active {} | Suspended {}) => refused(Refusal::Conflict, "a new operator begins with an invitation"),
        (Some(Invited { .. }), Suspended {}) => {
            refused(Refusal::Conflict, "an invitation is withdrawn by deleting the operator")
        }
        (Some(invited @ Invited { .. }), Active {}) => match invited.invitation_ends_at() {
            _ if now.trust == ClockTrust::Untrusted => {
                refused(Refusal::ClockUntrusted, "whether the invitation is still good cannot be judged")
            }
            Some(end) if now.wall < end => Ok(()),
            _ => refused(Refusal::OperatorExpired, "the invitation has ended; it must be made anew"),
        },
        (old, invited @ Invited { .. }) => {
            let unchanged = old == Some(invited);
            match invited.invitation_ends_at() {
                _ if unchanged => Ok(()),
                Some(end) if now.trust == ClockTrust::Trusted && end <= now.wall => {
                    refused(Refusal::Conflict, "an invitation must end in the future")
                }
                _ => Ok(()),
            }
        }
        (Some(Active {} | Suspended {}), Active {} | Suspended {}) => Ok(()),
    }
}

impl Authority {
    /// Whether a listing shows them this record.
    pub fn sees(&self, own_id: &Id, id: &Id, record: &Record, world: &World<'_>) -> bool {
        if self.scope.is_everything() {
            return true;
        }
        match record {
            // What rules and operators are made of names no place.
            Record::Schedule(_) | Record::Holiday(_) | Record::Role(_) | Record::CardFormat(_) => true,
            Record::Person(_) | Record::Group(_) | Record::Credential(_) => {
                let partitions = partitions(Some(record), world).unwrap_or_default();
                let reach = world.of(id, record);
                partitions.iter().any(|partition| self.scope.has_partition(partition))
                    || reach.meets(&self.scope)
                    || (partitions.is_empty() && reach.is_nowhere())
            }
            // What it sets off elsewhere shows it to nobody, and would take a look at all people.
            Record::AccessRule(rule) => of_rule(rule).meets(&self.scope),
            Record::Partition(_) => self.scope.has_partition(id),
            Record::OrganisationUnit(_) => self.scope.has_unit(id),
            // With their names and addresses: those whom they might edit, and themselves.
            Record::Operator(_) => id == own_id || world.of(id, record).is_within(&self.scope),
            _ => world.of(id, record).meets(&self.scope),
        }
    }
}

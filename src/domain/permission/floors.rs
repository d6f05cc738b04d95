//! Which floors a read in a cab enables. Owns the decision floor by floor; must never grant on a doubt.
//! Invariant: a floor is granted if an allow rule for it holds and no deny rule for it does, as at a door.
//!
//! The reasons and their order are those of [`decide`](super::decide). A read is granted if at least one floor
//! is; of a rule that asks for more than a card its floors are left out, and if nothing else is left the read is
//! denied with what it asks for. When one read matches several credentials, each has to be granted, and only the
//! floors that all of them may use are enabled.

use super::{
    Permissions,
    people::{CredentialCell, Holding},
    rules::RuleBody,
};
use crate::domain::{
    credential::CardTokens,
    elevator::FloorSet,
    event::DenialReason,
    ids::Id,
    record::{AccessRule, Authentication, Effect},
    time::{ClockTrust, Now},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FloorDecision {
    Granted {
        person: Id,
        credential: Id,
        /// The first by id of those that allow.
        rule: Id,
        extended: bool,
        /// At least one.
        floors: FloorSet,
    },
    Denied {
        reason: DenialReason,
        person: Option<Id>,
        credential: Option<Id>,
        rule: Option<Id>,
    },
}

/// What a rule asks for beyond a card.
pub(super) fn asks(rule: &AccessRule) -> Option<DenialReason> {
    match rule.authentication.unwrap_or_default() {
        _ if rule.effect == Effect::Deny => None,
        Authentication::Card | Authentication::CardOrPin => None,
        Authentication::Pin | Authentication::CardAndPin => Some(DenialReason::PinRequired),
        Authentication::TwoPerson => Some(DenialReason::SecondPersonRequired),
    }
}

/// Floors by what the rules say of them, each with the first rule that does.
#[derive(Default)]
struct Sorted<'a> {
    allowed: FloorSet,
    denied: FloorSet,
    first: [Option<&'a Id>; 3],
    asks: Option<(DenialReason, &'a Id)>,
}

impl Permissions {
    /// `group` is the position of the floor group in the topology.
    pub fn floors(&self, card: &CardTokens, group: u16, now: Now) -> FloorDecision {
        let denied = |reason| FloorDecision::Denied { reason, person: None, credential: None, rule: None };
        if card.as_slice().is_empty() {
            return denied(DenialReason::BadFormat);
        }
        if !self.present {
            return denied(DenialReason::StalePermissions);
        }
        let mut granted: Option<FloorDecision> = None;
        for (holding, credential) in card.as_slice().iter().filter_map(|token| self.people.holding(token)) {
            let mut decision = self.floors_of(holding, credential, group, now);
            match (&mut decision, &granted) {
                (FloorDecision::Denied { .. }, _) => return decision,
                (FloorDecision::Granted { floors, .. }, Some(FloorDecision::Granted { floors: others, .. })) => {
                    *floors = floors.and(*others);
                    if floors.is_empty() {
                        return denied(DenialReason::NoRule);
                    }
                }
                _ => {}
            }
            granted = Some(decision);
        }
        let unknown = if card.well_formed() { DenialReason::UnknownCredential } else { DenialReason::BadFormat };
        granted.unwrap_or(denied(unknown))
    }

    fn floors_of(&self, holding: Holding, credential: &CredentialCell, group: u16, now: Now) -> FloorDecision {
        let people = &self.people;
        let names = people.persons.name(holding.person).zip(people.credentials.name(holding.credential));
        let (Some((person_id, credential_id)), Some(person)) = (names, people.persons.cell(holding.person)) else {
            let reason = DenialReason::UnknownCredential;
            return FloorDecision::Denied { reason, person: None, credential: None, rule: None };
        };
        let denied = |reason, rule: Option<&Id>| FloorDecision::Denied {
            reason,
            person: Some(person_id.clone()),
            credential: Some(credential_id.clone()),
            rule: rule.cloned(),
        };
        let fit = credential.state.judge().and_then(|()| credential.life.judge(now));
        if let Err(reason) = fit.and_then(|()| person.life.judge(now)) {
            return denied(reason, None);
        }
        let mut sorted = Sorted::default();
        let groups = person.groups.as_slice();
        for (id, body) in self.rule_bodies.iter() {
            let concerned = body.persons.contains(&holding.person) || body.groups.iter().any(|of| groups.contains(of));
            let floors = body.floors.iter().filter(|(of, _)| *of == group).map(|(_, floors)| *floors);
            let floors = floors.fold(FloorSet::NONE, FloorSet::or);
            if concerned && !floors.is_empty() {
                sorted.rule(id, body, floors, self.rule_holds(body, now));
            }
        }
        let Sorted { allowed, denied: refused, first: [allow, deny, miss], asks } = sorted;
        let floors = allowed.without(refused);
        if let Some(rule) = allow.filter(|_| !floors.is_empty()) {
            let (holder, credential, rule) = (person_id.clone(), credential_id.clone(), rule.clone());
            return FloorDecision::Granted { person: holder, credential, rule, extended: person.extended, floors };
        }
        match (deny, asks, miss) {
            (Some(rule), ..) => denied(DenialReason::ExplicitDeny, Some(rule)),
            (_, Some((reason, rule)), _) => denied(reason, Some(rule)),
            (.., Some(rule)) if now.trust == ClockTrust::Untrusted => denied(DenialReason::ClockUntrusted, Some(rule)),
            (.., Some(rule)) => denied(DenialReason::OutsideSchedule, Some(rule)),
            _ => denied(DenialReason::NoRule, None),
        }
    }

    /// Without a trusted clock every doubt denies.
    fn rule_holds(&self, body: &RuleBody, now: Now) -> bool {
        match (&body.schedule, now.trust) {
            (None, _) => true,
            (Some(schedule), ClockTrust::Trusted) => {
                self.schedule_holds(schedule, now.wall).unwrap_or(body.effect == Effect::Deny)
            }
            (Some(_), ClockTrust::Untrusted) => body.effect == Effect::Deny,
        }
    }
}

impl<'a> Sorted<'a> {
    fn rule(&mut self, id: &'a Id, body: &RuleBody, floors: FloorSet, holds: bool) {
        let [allow, deny, miss] = &mut self.first;
        let (set, first) = match (body.effect, holds, body.asks) {
            (Effect::Deny, true, _) => (&mut self.denied, deny),
            (Effect::Deny, false, _) => return,
            (Effect::Allow, true, Some(reason)) => {
                self.asks.get_or_insert((reason, id));
                return;
            }
            (Effect::Allow, true, None) => (&mut self.allowed, allow),
            (Effect::Allow, false, _) => {
                miss.get_or_insert(id);
                return;
            }
        };
        *set = set.or(floors);
        // Rules come in the order of their ids.
        first.get_or_insert(id);
    }
}

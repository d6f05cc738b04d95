//! The decision. Owns the order of reasons; must never allocate, and never grant on a doubt.
//! Invariant: for one set, one read, one door and one instant there is one answer.
//!
//! In this order, the first that applies:
//!
//! | reason | when |
//! |---|---|
//! | `bad_format` | the read is impossible |
//! | `stale_permissions` | no set was ever received |
//! | `bad_format` | no credential matches and the parity does not fit |
//! | `unknown_credential` | no credential matches |
//! | `suspended` `lost` `stolen` | the credential's state |
//! | `not_yet_active` `expired` | the credential's dates, then the person's |
//! | `explicit_deny` | a deny rule holds; the first by id is named |
//! | *granted* | an allow rule holds; the first by id is named |
//! | `outside_schedule` | an allow rule would hold at another time; the first by id is named |
//! | `no_rule` | nothing allows it |
//!
//! With an untrusted clock nothing that depends on wall time is believed, and every doubt denies: a
//! credential or person with any date limit is refused (`clock_untrusted`), an allow rule with a schedule
//! does not hold (`clock_untrusted` in place of `outside_schedule`), a deny rule with a schedule holds.
//!
//! When one read matches several credentials (the same card enrolled by its bits and by its number), all
//! of them must be granted: a card that was reported lost in one form is lost in every form. The first
//! that is refused speaks, or the first of all that are granted.

use super::{
    Permissions,
    people::{CredentialCell, Holding, Life, PersonCell},
    rules::ScheduleIx,
};
use crate::domain::{
    credential::CardTokens,
    event::DenialReason,
    ids::{DoorIx, Id},
    record::{CredentialState, Effect},
    schedule::LocalTime,
    time::{ClockTrust, Now},
};

/// The answer. The names in it are [`Id`]s of its own, or, from [`Permissions::judge`], borrowed from the
/// set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<Name = Id> {
    Granted {
        person: Name,
        credential: Name,
        rule: Name,
        /// The cardholder has extended release and open times.
        extended: bool,
    },
    Denied {
        reason: DenialReason,
        person: Option<Name>,
        credential: Option<Name>,
        /// The rule that denied, or that would have allowed at another time.
        rule: Option<Name>,
    },
}

impl<Name> Decision<Name> {
    pub fn is_granted(&self) -> bool {
        matches!(self, Decision::Granted { .. })
    }

    pub(super) fn unattributed(reason: DenialReason) -> Self {
        Decision::Denied { reason, person: None, credential: None, rule: None }
    }
}

impl Decision<&Id> {
    /// With names that outlive the set.
    pub fn cloned(self) -> Decision {
        match self {
            Decision::Granted { person, credential, rule, extended } => Decision::Granted {
                person: person.clone(),
                credential: credential.clone(),
                rule: rule.clone(),
                extended,
            },
            Decision::Denied { reason, person, credential, rule } => Decision::Denied {
                reason,
                person: person.cloned(),
                credential: credential.cloned(),
                rule: rule.cloned(),
            },
        }
    }
}

/// What the rules come to: the number of the one that allows, or why not.
type Verdict = Result<u32, (DenialReason, Option<u32>)>;

impl Permissions {
    pub fn decide(&self, card: &CardTokens, door: DoorIx, now: Now) -> Decision {
        self.judge(card, door, now).cloned()
    }

    /// [`decide`](Self::decide) without touching a reference count.
    pub fn judge(&self, card: &CardTokens, door: DoorIx, now: Now) -> Decision<&Id> {
        if card.as_slice().is_empty() {
            return Decision::unattributed(DenialReason::BadFormat);
        }
        if !self.present {
            return Decision::unattributed(DenialReason::StalePermissions);
        }
        let mut granted = None;
        for (holding, credential) in card.as_slice().iter().filter_map(|token| self.people.holding(token)) {
            let decision = self.judge_credential(holding, credential, door, now);
            if !decision.is_granted() {
                return decision;
            }
            granted = granted.or(Some(decision));
        }
        let unknown = if card.well_formed() { DenialReason::UnknownCredential } else { DenialReason::BadFormat };
        granted.unwrap_or(Decision::unattributed(unknown))
    }

    fn judge_credential(&self, holding: Holding, credential: &CredentialCell, door: DoorIx, now: Now) -> Decision<&Id> {
        let people = &self.people;
        let names = people.persons.name(holding.person).zip(people.credentials.name(holding.credential));
        let (Some((person_id, credential_id)), Some(person)) = (names, people.persons.cell(holding.person)) else {
            return Decision::unattributed(DenialReason::UnknownCredential);
        };
        let state = match credential.state {
            CredentialState::Active => Ok(()),
            CredentialState::Suspended => Err(DenialReason::Suspended),
            CredentialState::Lost => Err(DenialReason::Lost),
            CredentialState::Stolen => Err(DenialReason::Stolen),
        };
        let verdict = state
            .and_then(|()| credential.life.judge(now))
            .and_then(|()| person.life.judge(now))
            .map_err(|reason| (reason, None))
            .and_then(|()| self.judge_rules(holding.person, person, door, now));
        let name = |rule: u32| self.rules.name(rule);
        let denied =
            |reason, rule| Decision::Denied { reason, person: Some(person_id), credential: Some(credential_id), rule };
        match verdict.map(name) {
            Ok(Some(rule)) => {
                Decision::Granted { person: person_id, credential: credential_id, rule, extended: person.extended }
            }
            // Compiling leaves no rule without a name; were there one, it would not grant.
            Ok(None) => denied(DenialReason::NoRule, None),
            Err((reason, rule)) => denied(reason, rule.and_then(name)),
        }
    }

    fn judge_rules(&self, place: u32, person: &PersonCell, door: DoorIx, now: Now) -> Verdict {
        let mut judge = RuleJudge { permissions: self, now, local: None, denied: None, allowed: None, missed: None };
        self.rules.concerning(place, person.groups.as_slice(), door, |rule| judge.rule(rule));
        match judge {
            RuleJudge { denied: Some(rule), .. } => Err((DenialReason::ExplicitDeny, Some(rule))),
            RuleJudge { allowed: Some(rule), .. } => Ok(rule),
            RuleJudge { missed: Some(rule), .. } => match now.trust {
                ClockTrust::Trusted => Err((DenialReason::OutsideSchedule, Some(rule))),
                ClockTrust::Untrusted => Err((DenialReason::ClockUntrusted, Some(rule))),
            },
            _ => Err((DenialReason::NoRule, None)),
        }
    }
}

impl Life {
    fn judge(&self, now: Now) -> Result<(), DenialReason> {
        match now.trust {
            ClockTrust::Untrusted if self.is_limited() => Err(DenialReason::ClockUntrusted),
            ClockTrust::Untrusted => Ok(()),
            ClockTrust::Trusted if !self.has_begun(now.wall) => Err(DenialReason::NotYetActive),
            ClockTrust::Trusted if self.has_ended(now.wall) => Err(DenialReason::Expired),
            ClockTrust::Trusted => Ok(()),
        }
    }
}

/// Sees the rules that apply to person and door, in any order, and keeps the first by number of each
/// way to decide.
struct RuleJudge<'a> {
    permissions: &'a Permissions,
    now: Now,
    /// Civil time, once a schedule asked for it.
    local: Option<LocalTime>,
    denied: Option<u32>,
    allowed: Option<u32>,
    missed: Option<u32>,
}

impl RuleJudge<'_> {
    fn rule(&mut self, rule: u32) {
        let Some(cell) = self.permissions.rules.cell(rule) else { return };
        // What would not be named decides nothing: most often that saves looking at a schedule.
        let comes_after = |first: Option<u32>| first.is_some_and(|first| first <= rule);
        let idle = match cell.effect {
            Effect::Deny => comes_after(self.denied),
            Effect::Allow => self.denied.is_some() || comes_after(self.allowed),
        };
        if idle {
            return;
        }
        let holds = match (cell.schedule, self.now.trust) {
            (None, _) => true,
            (Some(schedule), ClockTrust::Trusted) => self.schedule_holds(schedule, cell.effect),
            (Some(_), ClockTrust::Untrusted) => cell.effect == Effect::Deny,
        };
        let first = match (cell.effect, holds) {
            (Effect::Deny, true) => &mut self.denied,
            (Effect::Deny, false) => return,
            (Effect::Allow, true) => &mut self.allowed,
            (Effect::Allow, false) => &mut self.missed,
        };
        *first = Some(first.map_or(rule, |earlier| earlier.min(rule)));
    }

    fn schedule_holds(&mut self, schedule: ScheduleIx, effect: Effect) -> bool {
        let Permissions { rules, zone, .. } = self.permissions;
        let local = self.local.get_or_insert_with(|| LocalTime::at(self.now.wall, zone));
        // Compiling leaves no dangling schedule; were there one, it would deny.
        rules.schedule(schedule).map_or(effect == Effect::Deny, |schedule| schedule.holds(local))
    }
}

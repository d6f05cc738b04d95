//! Why a decision is as it is. Owns the telling: what was tried, what applied and what did not, and what
//! would have to change; must never judge by itself. Invariant: every word comes from the run of the very
//! code that decides ([`judge`](super::judge)), so an explanation and its decision cannot disagree.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Decision, Permissions, Request, Restriction, Target,
    cells::{Holding, Life},
    judge::{Check, Observer, Outcome, Subject},
    rules::{Gate, RuleBody},
};
use crate::domain::{
    card_format::{Fit, Tried},
    event::{DenialReason, PassageWay},
    ids::Id,
    locker::Standing,
    record::{Authentication, CredentialState, Effect, Medium},
    time::{ClockTrust, Now, Wall},
};

/// The whole reasoning about one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    pub at: Wall,
    pub clock: ClockTrust,
    pub epoch: u64,
    pub generation: u64,
    /// The door, or the floor group.
    pub place: Option<Id>,
    pub answer: Answer,
    /// The ways in which the read was understood, in the order tried.
    pub formats: Vec<TriedFormat>,
    /// Whoever is meant: one for each credential that matches. All of them must be granted.
    pub candidates: Vec<Candidate>,
    /// Why the door or elevator itself refuses every credential at present, whatever the rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses_all: Option<DenialReason>,
    /// Of the running node: what the areas behind the readers of this place have to say to this person, granted or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<AreaExplained>,
    /// At a compartment of a key locker: its contracts. A card opens there by that of its holder; rules narrow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contracts: Vec<ContractExplained>,
    /// What was read is an emergency card as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_card: Option<EmergencyCardExplained>,
    /// What speaks first, highest first.
    pub precedence: Vec<String>,
    /// What would have to change for a grant; nothing if it is granted.
    pub would_grant: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    pub granted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Id>,
    /// At a compartment: the contract that opens it, or comes closest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Id>,
    /// In a cab: the floors that are enabled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<Id>,
    pub duress: bool,
}

/// Anti-passback and occupancy at one reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AreaExplained {
    pub reader: Id,
    pub area: Id,
    pub way: PassageWay,
    /// Why nobody else's word helps at this reader; absent: a violation that is only told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractExplained {
    pub contract: Id,
    /// Absent: of whoever knows its PIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    /// `over`: its key, if it is out, may still be brought back.
    pub standing: Standing,
    /// A contract beside which it cannot be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded_by: Option<Id>,
}

/// It counts where the rules do not admit whoever carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmergencyCardExplained {
    pub emergency_card: Id,
    /// Emergency cards are accepted here and now.
    pub accepted: bool,
    /// Why this one opens nothing here; absent: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_max: Option<u32>,
    /// How often it was used on this node, which counts towards `uses_max`; absent: not known to whoever explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriedFormat {
    pub format: String,
    /// Whether the read is a card of this format, and why not.
    pub fit: Fit,
    /// The credential that has this token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    /// It counts for nothing: a format that is asked about earlier is known to the set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_over: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    pub person: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    pub groups: Vec<Id>,
    /// What is looked at before the rules, in order.
    pub checks: Vec<CheckExplained>,
    /// Every rule of the set, by id, but for those left out of a message.
    pub rules: Vec<RuleExplained>,
    /// How many: they are about other people or other places, or more than a message holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rules_left_out: usize,
    pub granted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckExplained {
    pub check: String,
    /// Absent: passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleExplained {
    pub rule: Id,
    pub effect: Effect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Id>,
    /// The groups, and the person, through which it concerns this holder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<Id>,
    pub outcome: RuleOutcome,
    /// When its schedule begins or ends to hold next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_at: Option<Wall>,
}

/// Why a rule applied, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    Allows,
    Denies,
    /// A deny rule, at another time.
    DeniesAtOtherTimes,
    /// An allow rule, all of whose floors are denied by others.
    Overruled,
    OutsideSchedule,
    /// Whether its schedule holds cannot be known.
    ClockUntrusted,
    PinRequired,
    WrongPin,
    SecondPersonRequired,
    /// It asks for a PIN that is a credential by itself.
    PinAloneRequired,
    /// It asks for a card, and a PIN came.
    CardRequired,
    OtherPlace,
    OtherPeople,
    OtherPlaceAndPeople,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Default)]
struct Recorder {
    checks: Vec<CheckExplained>,
    rules: BTreeMap<u32, Outcome>,
}

impl Observer for Recorder {
    const SEES: bool = true;

    fn check(&mut self, check: Check, result: Result<(), DenialReason>) {
        self.checks.push(CheckExplained { check: check.name().to_owned(), reason: result.err() });
    }

    fn rule(&mut self, rule: u32, outcome: Outcome) {
        self.rules.insert(rule, outcome);
    }
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::CredentialState => "credential_state",
            Check::Fallback => "door_policy",
            Check::CredentialDates => "credential_dates",
            Check::PersonDates => "person_dates",
        }
    }
}

impl Permissions {
    /// `formats` are those that were tried; the tokens of the read stand for those that fit, in their order.
    pub fn explain(&self, request: &Request<'_>, formats: &[Tried]) -> Explanation {
        let companion = self.companion_of(request);
        let known = || self.known(request.card).filter(|_| self.present);
        let mut tokens = request.card.as_slice().iter();
        let mut tried = Vec::new();
        let unnamed = formats.is_empty().then(|| ("token".to_owned(), Fit::Fits));
        for (format, fit) in formats.iter().map(|tried| (tried.format.to_string(), tried.fit)).chain(unnamed) {
            let token = if fit == Fit::Fits { tokens.next() } else { None };
            let found = token.and_then(|token| self.people.holding(token)).filter(|_| self.present);
            let at = found.map(|held| held.credential);
            let credential = at.and_then(|at| self.people.credentials.name(at)).cloned();
            let passed_over = at.is_some_and(|at| known().all(|held| held.credential != at));
            tried.push(TriedFormat { format, fit, credential, passed_over });
        }
        let candidate = |held: &Holding| self.candidate(&self.subject(held, request, companion), Some(held));
        let candidates = known().filter_map(candidate).collect();
        self.explained(request.target, request.now, self.judge(request), tried, candidates)
    }

    /// As [`judge_person`](Self::judge_person) decides.
    pub fn explain_person(&self, person: &Id, target: Target, now: Now, restriction: Restriction) -> Explanation {
        let place = self.people.persons.find(person).filter(|_| self.present);
        let candidate = place.and_then(|person| {
            let holder = self.people.holder(person, self.people.persons.cell(person)?);
            self.candidate(&Subject::virtually(holder, None, target, now, restriction), None)
        });
        let decision = self.judge_person(person, None, target, now, restriction);
        self.explained(target, now, decision, Vec::new(), candidate.into_iter().collect())
    }

    fn explained(
        &self,
        target: Target,
        now: Now,
        decision: Decision<&Id>,
        formats: Vec<TriedFormat>,
        candidates: Vec<Candidate>,
    ) -> Explanation {
        let topology = self.places.topology();
        let place = match target {
            Target::Door(door) => topology.door_id(door).cloned(),
            Target::Cab(cab) => topology.floor_groups.get(usize::from(cab)).map(|group| group.id.clone()),
        };
        let answer = self.answered(target, decision);
        let mut would_grant: Vec<String> = candidates.iter().flat_map(|candidate| self.hints(candidate)).collect();
        if candidates.is_empty() && !answer.granted {
            would_grant.push(match answer.reason {
                Some(DenialReason::StalePermissions) => "a permission set: none was received".to_owned(),
                Some(DenialReason::BadFormat) => "a clean read of a card that the set knows".to_owned(),
                _ => "a credential in the set with this card".to_owned(),
            });
        }
        Explanation {
            at: now.wall,
            clock: now.trust,
            epoch: self.version.epoch,
            generation: self.version.generation,
            place,
            answer,
            formats,
            candidates,
            refuses_all: None,
            areas: Vec::new(),
            contracts: Vec::new(),
            emergency_card: None,
            precedence: PRECEDENCE.map(str::to_owned).to_vec(),
            would_grant,
        }
    }

    fn answered(&self, target: Target, decision: Decision<&Id>) -> Answer {
        match decision.cloned() {
            Decision::Granted { person, credential, rule, floors, duress, .. } => {
                let group = match target {
                    Target::Cab(cab) => self.places.topology().floor_groups.get(usize::from(cab)),
                    Target::Door(_) => None,
                };
                let name = |floor| group.and_then(|group| group.floors.get(floor)).cloned();
                let floors = floors.iter().filter_map(name).collect();
                Answer {
                    granted: true,
                    reason: None,
                    person: Some(person),
                    credential,
                    rule: Some(rule),
                    contract: None,
                    floors,
                    duress,
                }
            }
            Decision::Denied { reason, person, credential, rule, duress, .. } => Answer {
                granted: false,
                reason: Some(reason),
                person,
                credential,
                rule,
                contract: None,
                floors: Vec::new(),
                duress,
            },
        }
    }

    fn candidate(&self, subject: &Subject<'_>, credential: Option<&Holding>) -> Option<Candidate> {
        let mut recorder = Recorder::default();
        let judged = self.judge_observed(subject, &mut recorder);
        let people = &self.people;
        let groups: Vec<Id> =
            subject.holder.groups.as_slice().iter().filter_map(|group| people.groups.name(*group)).cloned().collect();
        let numbered = (0u32..).zip(self.rule_bodies.iter());
        let rules = numbered.map(|(number, (id, body))| {
            let seen = recorder.rules.get(&number).copied();
            self.rule_explained(id, body, seen, subject, subject.holder.groups.as_slice())
        });
        Some(Candidate {
            person: people.persons.name(subject.holder.person)?.clone(),
            credential: credential.and_then(|held| people.credentials.name(held.credential)).cloned(),
            medium: credential.map(|held| held.medium),
            groups,
            rules: rules.collect(),
            rules_left_out: 0,
            checks: recorder.checks,
            granted: judged.verdict.is_ok(),
            reason: judged.verdict.err().map(|refused| refused.reason),
        })
    }

    fn rule_explained(
        &self,
        id: &Id,
        body: &RuleBody,
        seen: Option<Outcome>,
        subject: &Subject<'_>,
        groups: &[u32],
    ) -> RuleExplained {
        let shared = body.groups.iter().filter(|group| groups.contains(group));
        let mut through: Vec<Id> = shared.filter_map(|group| self.people.groups.name(*group)).cloned().collect();
        if body.persons.contains(&subject.holder.person) {
            through.extend(self.people.persons.name(subject.holder.person).cloned());
        }
        let here = match subject.target {
            Target::Door(door) => body.doors.contains(&door),
            Target::Cab(cab) => body.floors.iter().any(|(other, _)| *other == cab),
        };
        let outcome = match seen {
            Some(outcome) => outcome.told(subject.now.trust),
            None if here => RuleOutcome::OtherPeople,
            None if through.is_empty() => RuleOutcome::OtherPlaceAndPeople,
            None => RuleOutcome::OtherPlace,
        };
        let changes_at = body.schedule.as_ref().filter(|_| seen.is_some() && subject.now.trust == ClockTrust::Trusted);
        let (effect, authentication) = match body.gate {
            Gate::Deny => (Effect::Deny, None),
            Gate::Allow(authentication) => (Effect::Allow, Some(authentication)),
        };
        RuleExplained {
            rule: id.clone(),
            effect,
            authentication,
            schedule: body.schedule.clone(),
            through,
            outcome,
            changes_at: changes_at.and_then(|schedule| self.schedule_next_change(schedule, subject.now.wall)),
        }
    }

    /// What stands in this candidate's way, one by one.
    fn hints(&self, candidate: &Candidate) -> Vec<String> {
        if candidate.granted {
            return Vec::new();
        }
        let mut hints = Vec::new();
        for CheckExplained { check, reason } in &candidate.checks {
            let Some(reason) = reason else { continue };
            hints.push(self.check_hint(candidate, check, *reason));
        }
        let at = |rule: &RuleExplained| rule.changes_at.map(|at| format!(" (at {at})")).unwrap_or_default();
        let rules = |outcome| candidate.rules.iter().filter(move |rule| rule.outcome == outcome);
        for rule in rules(RuleOutcome::Denies) {
            let end = if rule.schedule.is_some() { at(rule) } else { String::new() };
            hints.push(format!("deny rule {} would have to stop holding{end}", rule.rule));
        }
        if rules(RuleOutcome::Allows).next().is_some() {
            return hints;
        }
        let before = hints.len();
        hints.extend(rules(RuleOutcome::PinRequired).map(|rule| format!("the person's PIN, for rule {}", rule.rule)));
        hints.extend(rules(RuleOutcome::WrongPin).map(|rule| format!("the right PIN, for rule {}", rule.rule)));
        hints.extend(
            rules(RuleOutcome::SecondPersonRequired)
                .map(|rule| format!("a second person whom a two-person rule admits, for rule {}", rule.rule)),
        );
        hints.extend(
            rules(RuleOutcome::PinAloneRequired)
                .map(|rule| format!("a PIN that is a credential in place of the card, for rule {}", rule.rule)),
        );
        hints.extend(
            rules(RuleOutcome::CardRequired).map(|rule| format!("a card in place of the PIN, for rule {}", rule.rule)),
        );
        hints.extend(
            rules(RuleOutcome::OutsideSchedule)
                .map(|rule| format!("another time: rule {} begins to hold{}", rule.rule, at(rule))),
        );
        hints.extend(
            rules(RuleOutcome::ClockUntrusted)
                .map(|rule| format!("a trusted clock: rule {} has a schedule", rule.rule)),
        );
        if hints.len() == before && rules(RuleOutcome::Overruled).next().is_none() {
            let groups = candidate.groups.iter().map(Id::as_str).collect::<Vec<_>>().join(", ");
            let groups = if groups.is_empty() { String::new() } else { format!(" or one of the groups {groups}") };
            hints.push(format!("an allow rule here for person {}{groups}", candidate.person));
        }
        hints
    }

    fn check_hint(&self, candidate: &Candidate, check: &str, reason: DenialReason) -> String {
        let credential = candidate.credential.as_ref();
        let held = credential.and_then(|id| self.people.credential(self.people.credentials.find(id)?));
        let person = self.people.persons.find(&candidate.person);
        let holder = person.and_then(|at| Some(self.people.holder(at, self.people.persons.cell(at)?)));
        let name = credential.map(Id::to_string).unwrap_or_default();
        match check {
            "credential_state" => {
                let state = held.map_or(CredentialState::Suspended, |held| held.state);
                format!("credential {name} would have to be active; it is {state:?}").to_lowercase()
            }
            "credential_dates" => {
                format!("credential {name}: {}", dates(held.map(|held| self.people.life_of_credential(held)), reason))
            }
            "person_dates" => {
                format!("person {}: {}", candidate.person, dates(holder.map(|holder| holder.life), reason))
            }
            _ => match reason {
                DenialReason::EmergencyOnly => "an emergency card, or the end of the door's fallback".to_owned(),
                _ => "a set that the cloud has confirmed lately, or a critical group".to_owned(),
            },
        }
    }
}

impl Outcome {
    fn told(self, trust: ClockTrust) -> RuleOutcome {
        match self {
            Outcome::Denies => RuleOutcome::Denies,
            Outcome::DeniesLater => RuleOutcome::DeniesAtOtherTimes,
            Outcome::Overruled => RuleOutcome::Overruled,
            Outcome::Allows => RuleOutcome::Allows,
            Outcome::NotNow if trust == ClockTrust::Untrusted => RuleOutcome::ClockUntrusted,
            Outcome::NotNow => RuleOutcome::OutsideSchedule,
            Outcome::WrongPin => RuleOutcome::WrongPin,
            Outcome::Lacks(super::Wants::Pin) => RuleOutcome::PinRequired,
            Outcome::Lacks(super::Wants::SecondPerson) => RuleOutcome::SecondPersonRequired,
            Outcome::WantsPinAlone => RuleOutcome::PinAloneRequired,
            Outcome::Unsuited => RuleOutcome::CardRequired,
        }
    }
}

fn dates(life: Option<Life>, reason: DenialReason) -> String {
    let (from, until) = life.map_or((None, None), |life| life.limits());
    let at = |at: Option<Wall>| at.map(|at| at.to_string()).unwrap_or_default();
    match reason {
        DenialReason::NotYetActive => format!("active from {}; an earlier date, or a later read", at(from)),
        DenialReason::Expired => format!("expired at {}; a later date", at(until)),
        _ => "has dates, which an untrusted clock cannot judge".to_owned(),
    }
}

/// As in the table of `decide`.
const PRECEDENCE: [&str; 11] = [
    "what lies over the door or elevator itself: interlock, lockdown, force, DND",
    "an impossible or unknown read",
    "the credential's state",
    "the door's policy for a stale set or an untrusted clock",
    "the dates of credential and person",
    "a deny rule that holds",
    "an allow rule that holds and has what it asks for, the first by id is named; but for anti-passback and full areas",
    "a wrong PIN",
    "a missing PIN or second person",
    "a PIN that is locked out after too many wrong ones",
    "an allow rule at another time; else no rule",
];

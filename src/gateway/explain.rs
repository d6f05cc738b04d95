//! Why somebody is, or is not, let in, as it is asked from outside: by `latchd explain` and by
//! `node.diagnostics`. Owns the way from names to the question that the doors ask, and how much of the answer
//! fits into a message; must never judge by itself (that is `domain::permission`, as at the doors).
//! Invariant: the policy of the door restricts the answer by the very words in which it restricts the door.

use std::time::Duration;

use crate::{
    domain::{
        card_format::{CardTokens, Fit, Tried},
        fallback::{Alone, Regime},
        fieldbus::RawCard,
        ids::Id,
        permission::{Explanation, Permissions, Request, Restriction, RuleExplained, RuleOutcome, Target},
        record::Token,
        time::Now,
        topology::Topology,
    },
    wire::token::{CredentialKey, token},
};

/// Of the rules in an explanation that goes into a message.
const RULES_BYTES_MAX: usize = 48 * 1024;
const HINTS_MAX: usize = 64;

pub enum Place<'a> {
    Door(&'a Id),
    /// In the cab of this elevator.
    FloorGroup(&'a Id),
}

pub enum Who<'a> {
    /// As if this credential of the set were presented.
    Credential(&'a Id),
    /// As a virtual read of this person.
    Person(&'a Id),
    /// As if this had been read.
    Read(Read<'a>),
}

/// A card; in which forms the set may know it, the set's formats say.
pub struct Read<'a> {
    what: What<'a>,
    key: &'a CredentialKey,
}

enum What<'a> {
    Bits(RawCard),
    Text(&'a str),
}

impl<'a> Read<'a> {
    /// These bits, from a reader.
    pub fn bits(raw: RawCard, key: &'a CredentialKey) -> Read<'a> {
        Read { what: What::Bits(raw), key }
    }

    /// The text of a card, such as `h10301:123:4567`.
    pub fn text(text: &'a str, key: &'a CredentialKey) -> Read<'a> {
        Read { what: What::Text(text), key }
    }

    fn by(&self, set: &Permissions) -> (CardTokens, Vec<Tried>) {
        let formats = set.card_formats();
        let read = |bits| {
            let reading = formats.read(bits);
            (reading.tokens(|text| token(self.key, text)), reading.tried())
        };
        match &self.what {
            What::Bits(bits) => read(*bits),
            // The bits that a reader would send for it: they may mean something else as well.
            What::Text(text) => {
                if let Some(bits) = formats.encode(text) {
                    return read(bits);
                }
                let format = text.split(':').next().and_then(|format| Id::new(format).ok());
                let tried = format.map(|format| Tried { format, fit: Fit::Fits });
                (CardTokens::single(token(self.key, text)), tried.into_iter().collect())
            }
        }
    }
}

pub struct Question<'a> {
    pub place: Place<'a>,
    pub who: Who<'a>,
    /// Typed after the card: as the token of this person's PIN.
    pub pin: Option<&'a dyn Fn(&Id) -> Token>,
    /// The credential of whoever came before.
    pub companion: Option<&'a Id>,
    pub now: Now,
    /// Since the cloud confirmed the set; `None`: nobody knows, which counts as stale.
    pub staleness: Option<Duration>,
}

/// The configuration or the set has no such thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {kind} {id} in the {place}")]
pub struct NotFound {
    kind: &'static str,
    id: Id,
    place: &'static str,
}

pub fn explain(question: &Question<'_>, set: &Permissions, topology: &Topology) -> Result<Explanation, NotFound> {
    let here = |kind, id: &Id| NotFound { kind, id: id.clone(), place: "configuration" };
    let (target, door) = match question.place {
        Place::Door(door) => (Target::Door(topology.door(door).ok_or_else(|| here("door", door))?), Some(door)),
        Place::FloorGroup(group) => {
            (Target::Cab(topology.floor_group(group).ok_or_else(|| here("floor group", group))?), None)
        }
    };
    let now = question.now;
    let restriction = restriction(question, set, door);
    let missing = |kind, id: &Id| NotFound { kind, id: id.clone(), place: "set" };
    let card_of = |credential: &Id| {
        set.token_of(credential).map(CardTokens::single).ok_or_else(|| missing("credential", credential))
    };
    let (card, formats) = match &question.who {
        Who::Person(person) if set.person_exists(person) => {
            return Ok(set.explain_person(person, target, now, restriction));
        }
        Who::Person(person) => return Err(missing("person", person)),
        Who::Credential(credential) => (card_of(credential)?, Vec::new()),
        Who::Read(read) => read.by(set),
    };
    let companion = question.companion.map(card_of).transpose()?;
    let mut request = Request { restriction, companion: companion.as_ref(), ..Request::card(&card, target, now) };
    if let (Some(pin), Some(person)) = (question.pin, set.holder_of(&card)) {
        request.pin = Some(pin(person));
    }
    Ok(set.explain(&request, &formats))
}

fn restriction(question: &Question<'_>, set: &Permissions, door: Option<&Id>) -> Restriction {
    let alone = Alone {
        staleness: question.staleness,
        at_least: Duration::ZERO,
        clock: question.now.trust,
        mirror_lost: !set.is_present(),
    };
    let policy = door.and_then(|door| set.site().policy_at(door)).map(|(_, policy)| policy.clone());
    Regime::of(&policy.unwrap_or_default(), &alone).restriction()
}

/// The same, small enough for a message: first the rules about other people and other places go, and are
/// counted instead, then those about either.
pub fn bounded(mut explanation: Explanation) -> Explanation {
    let least = [RuleOutcome::OtherPlaceAndPeople, RuleOutcome::OtherPeople, RuleOutcome::OtherPlace];
    let share = RULES_BYTES_MAX / explanation.candidates.len().max(1);
    for candidate in &mut explanation.candidates {
        let all = candidate.rules.len();
        candidate.rules.retain(|rule| rule.outcome != RuleOutcome::OtherPlaceAndPeople);
        for outcome in least {
            if bytes(&candidate.rules) > share {
                candidate.rules.retain(|rule| rule.outcome != outcome);
            }
        }
        let mut room = share;
        let fitting = candidate.rules.iter().take_while(|rule| {
            let bytes = bytes_of(rule);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let fitting = fitting.count();
        candidate.rules.truncate(fitting);
        candidate.rules_left_out = all - candidate.rules.len();
    }
    if explanation.would_grant.len() > HINTS_MAX {
        let more = explanation.would_grant.len() - HINTS_MAX;
        explanation.would_grant.truncate(HINTS_MAX);
        explanation.would_grant.push(format!("and {more} more"));
    }
    explanation
}

fn bytes(rules: &[RuleExplained]) -> usize {
    rules.iter().map(bytes_of).sum()
}

fn bytes_of(rule: &RuleExplained) -> usize {
    serde_json::to_vec(rule).map_or(0, |json| json.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        permission::{Answer, Candidate},
        record::Effect,
        time::{ClockTrust, Wall},
    };

    fn rule(number: usize, outcome: RuleOutcome) -> RuleExplained {
        RuleExplained {
            rule: Id::new(&format!("rule-{number}")).unwrap(),
            effect: Effect::Allow,
            authentication: None,
            schedule: None,
            through: Vec::new(),
            outcome,
            changes_at: None,
        }
    }

    fn explanation(rules: Vec<RuleExplained>) -> Explanation {
        let id = |text: &str| Id::new(text).unwrap();
        Explanation {
            at: Wall::EPOCH,
            clock: ClockTrust::Trusted,
            epoch: 1,
            generation: 1,
            place: Some(id("front")),
            answer: Answer {
                granted: false,
                reason: None,
                person: None,
                credential: None,
                rule: None,
                floors: Vec::new(),
                duress: false,
            },
            formats: Vec::new(),
            candidates: vec![Candidate {
                person: id("ada"),
                credential: None,
                medium: None,
                groups: Vec::new(),
                checks: Vec::new(),
                rules,
                rules_left_out: 0,
                granted: false,
                reason: None,
            }],
            precedence: Vec::new(),
            would_grant: vec!["something".to_owned(); 100],
        }
    }

    #[test]
    fn rules_of_other_people_elsewhere_are_counted_and_those_that_matter_told() {
        let rules = vec![rule(1, RuleOutcome::OtherPlaceAndPeople), rule(2, RuleOutcome::OutsideSchedule)];
        let told = bounded(explanation(rules));
        assert_eq!((told.candidates[0].rules.len(), told.candidates[0].rules_left_out), (1, 1));
        assert_eq!(told.would_grant.last().map(String::as_str), Some("and 36 more"));
    }

    #[test]
    fn however_many_rules_there_are_it_fits_into_a_message() {
        let with = |outcome| (0..5000).map(|number| rule(number, outcome)).collect::<Vec<_>>();
        for outcome in [RuleOutcome::OtherPlace, RuleOutcome::OtherPeople, RuleOutcome::OutsideSchedule] {
            let mut rules = with(outcome);
            rules.push(rule(9999, RuleOutcome::Denies));
            let told = bounded(explanation(rules));
            let candidate = &told.candidates[0];
            assert!(serde_json::to_vec(&told).unwrap().len() < 64 * 1024);
            assert_eq!(candidate.rules.len() + candidate.rules_left_out, 5001);
            let decisive = candidate.rules.iter().any(|rule| rule.outcome == RuleOutcome::Denies);
            assert_eq!(decisive, outcome != RuleOutcome::OutsideSchedule, "{outcome:?}");
        }
    }
}

//! Why somebody is, or is not, let in, as it is asked from outside: by `latchd explain` and by
//! `node.diagnostics`. Owns the way from names to the question that the doors ask, and how much of the answer
//! fits into a message; must never judge by itself (that is `domain::permission`, as at the doors).
//! Invariant: the policy of the door restricts the answer by the very words in which it restricts the door.

mod compartment;
mod emergency;
mod present;

use std::{collections::BTreeMap, time::Duration};

pub use self::present::examined;
use crate::{
    domain::{
        card_format::{CardTokens, Fit, Tried},
        event::DenialReason,
        fallback::{Alone, Regime},
        fieldbus::RawCard,
        ids::Id,
        permission::{Explanation, Permissions, Request, RuleExplained, RuleOutcome, Target},
        record::Token,
        time::Now,
        topology::Topology,
    },
    wire::token::{CredentialKey, token},
};

/// Of the rules in an explanation that goes into a message.
const RULES_BYTES_MAX: usize = 48 * 1024;
const HINTS_MAX: usize = 64;
/// Of one compartment.
const CONTRACTS_MAX: usize = 64;

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
    /// As if this emergency card of the set were presented.
    EmergencyCard(&'a Id),
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
    /// Typed after the card: as the token of the PIN of this person, or of this emergency card.
    pub pin: Option<&'a dyn Fn(&Id) -> Token>,
    /// The credential of whoever came before.
    pub companion: Option<&'a Id>,
    pub now: Now,
    /// Since the cloud confirmed the set; `None`: nobody knows, which counts as stale.
    pub staleness: Option<Duration>,
    /// How often each emergency card was used, as the doors count it; `None`: they were not asked.
    pub emergency_uses: Option<&'a BTreeMap<Id, u32>>,
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
    let (target, place) = match question.place {
        Place::Door(door) => (Target::Door(topology.door(door).ok_or_else(|| here("door", door))?), door),
        Place::FloorGroup(group) => {
            (Target::Cab(topology.floor_group(group).ok_or_else(|| here("floor group", group))?), group)
        }
    };
    let now = question.now;
    let regime = regime(question, set, place);
    let restriction = regime.restriction();
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
        Who::EmergencyCard(card) => {
            let record = set.site().emergency_cards.get(*card).ok_or_else(|| missing("emergency card", card))?;
            (CardTokens::single(record.token), Vec::new())
        }
        Who::Read(read) => read.by(set),
    };
    let companion = question.companion.map(card_of).transpose()?;
    let mut request = Request { restriction, companion: companion.as_ref(), ..Request::card(&card, target, now) };
    if let (Some(pin), Some(person)) = (question.pin, set.holder_of(&card)) {
        request.pin = Some(pin(person));
    }
    let mut explanation = set.explain(&request, &formats);
    let is_locker = matches!(target, Target::Door(door) if topology.lockers.contains(&door));
    if is_locker && compartment::compartment(question, set, place, set.holder_of(&card), &mut explanation) {
        return Ok(explanation);
    }
    emergency::emergency_card(question, set, (place, regime.emergency_cards), &card, &mut explanation);
    if explanation.answer.granted
        && explanation.answer.rule.is_none()
        && let Some(group) = topology.floor_groups.iter().find(|group| group.id == *place)
    {
        // By the emergency card: all of them.
        explanation.answer.floors.clone_from(&group.floors);
    }
    Ok(explanation)
}

/// The same at a door, or in an elevator, that itself refuses everybody for this reason at present.
pub fn refused_by_place(mut explanation: Explanation, reason: DenialReason) -> Explanation {
    explanation.refuses_all = Some(reason);
    let answer = &mut explanation.answer;
    // A cabinet asks its compartment only once it has found a contract that would open it.
    let is_compartment = !explanation.contracts.is_empty();
    if is_compartment && !answer.granted {
        return explanation;
    }
    (answer.granted, answer.reason, answer.floors) = (false, Some(reason), Vec::new());
    let what = explanation.place.as_ref().map(Id::to_string).unwrap_or_default();
    let why = match reason {
        DenialReason::Dnd => "its Do Not Disturb would have to end",
        DenialReason::LockedDown => "its lockdown would have to be cleared",
        DenialReason::Forced => "its force would have to be released",
        DenialReason::Interlock => "the doors that it must not be open together with would have to be closed",
        _ => "what refuses everybody there would have to end",
    };
    explanation.would_grant.insert(0, format!("{what}: {why}"));
    explanation
}

fn regime(question: &Question<'_>, set: &Permissions, place: &Id) -> Regime {
    let alone = Alone {
        staleness: question.staleness,
        at_least: question.staleness.unwrap_or_default(),
        clock: question.now.trust,
        mirror_lost: !set.is_present(),
    };
    let policy = set.site().policy_at(place).map(|(_, policy)| policy.clone());
    Regime::of(&policy.unwrap_or_default(), &alone)
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
    explanation.contracts.truncate(CONTRACTS_MAX);
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
mod tests;

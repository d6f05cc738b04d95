//! Why somebody is, or is not, let in, as it is asked from outside: by `latchd explain` and by
//! `node.diagnostics`. Owns the way from names to the question that the doors ask, and how much of the answer
//! fits into a message; must never judge by itself (that is `domain::permission`, as at the doors).
//! Invariant: the policy of the door restricts the answer by the very words in which it restricts the door.

use std::time::Duration;

use crate::{
    domain::{
        card_format::{CardTokens, Fit, Tried},
        emergency::{CertainTime, EmergencyCards},
        event::DenialReason,
        fallback::{Alone, Regime},
        fieldbus::RawCard,
        ids::Id,
        permission::{
            Answer, EmergencyCardExplained, Explanation, Permissions, Request, RuleExplained, RuleOutcome, Target,
        },
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
    emergency_card(question, set, (place, regime.emergency_cards), &card, &mut explanation);
    if explanation.answer.granted
        && explanation.answer.rule.is_none()
        && let Some(group) = topology.floor_groups.iter().find(|group| group.id == *place)
    {
        // By the emergency card: all of them.
        explanation.answer.floors.clone_from(&group.floors);
    }
    Ok(explanation)
}

/// What was read is an emergency card: its word counts where the rules have said no.
fn emergency_card(
    question: &Question<'_>,
    set: &Permissions,
    (place, accepted): (&Id, bool),
    card: &CardTokens,
    explanation: &mut Explanation,
) {
    let mut cards = EmergencyCards::default();
    cards.replace(&set.site().emergency_cards);
    let Some(id) = cards.find(card) else { return };
    let certain = CertainTime::new(question.now.mono, None);
    let reason = match cards.judge(id, place, accepted, question.now, &certain) {
        Err(reason) => Some(reason),
        Ok(record) => record.pin.and_then(|pin| match question.pin.map(|typed| typed(id)) {
            None => Some(DenialReason::PinRequired),
            Some(typed) => (!pin.matches(&typed)).then_some(DenialReason::WrongPin),
        }),
    };
    let uses_max = cards.get(id).and_then(|record| record.uses_max);
    let told = EmergencyCardExplained { emergency_card: id.clone(), accepted, reason, uses_max };
    if !explanation.answer.granted {
        explanation.answer = Answer {
            granted: reason.is_none(),
            reason,
            person: None,
            credential: None,
            rule: None,
            floors: Vec::new(),
            duress: false,
        };
        // What would have let a holder in is another matter.
        explanation.would_grant.retain(|_| !explanation.candidates.is_empty() && reason.is_some());
        explanation.would_grant.extend(reason.map(|reason| hint(id, place, reason)));
    }
    explanation.emergency_card = Some(told);
}

fn hint(id: &Id, place: &Id, reason: DenialReason) -> String {
    match reason {
        DenialReason::NotYetActive => {
            format!(
                "the time of emergency cards: the policy of {place} says when a node that is left alone accepts them"
            )
        }
        DenialReason::NoRule => format!("{place} among the doors of emergency card {id}"),
        DenialReason::Expired => format!("a later end of emergency card {id}"),
        DenialReason::PinRequired => format!("the PIN of emergency card {id}"),
        _ => format!("the right PIN of emergency card {id}"),
    }
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
            emergency_card: None,
            would_grant: vec!["something".to_owned(); 100],
        }
    }

    /// A door `front`, an elevator `lift` with two floors, and these records.
    fn asked(records: serde_json::Value, place: &Place<'_>, pin: Option<&str>, staleness: Duration) -> Explanation {
        let id = |text: &str| Id::new(text).unwrap();
        let floors = vec![id("floor-0"), id("floor-1")];
        let topology = Topology {
            doors: vec![id("front")],
            floor_groups: vec![crate::domain::topology::FloorGroupPlace { id: id("lift"), floors }],
            ..Topology::default()
        };
        let read = |mut record: serde_json::Value| {
            let id = id(record["id"].as_str().unwrap());
            record.as_object_mut().unwrap().remove("id");
            (id, serde_json::from_value(record).unwrap())
        };
        let version = crate::domain::permission::SetVersion { epoch: 1, generation: 1, digest: [0; 32] };
        let records = records.as_array().unwrap().iter().cloned().map(read);
        let set = Permissions::compile(records, &topology, &jiff::tz::TimeZone::UTC, version).unwrap();
        let key = CredentialKey::new(&[7; 32]);
        let typed =
            pin.map(|digits| move |whose: &Id| token(&CredentialKey::new(&[7; 32]), &format!("pin:{whose}:{digits}")));
        let question = Question {
            place: match place {
                Place::Door(door) => Place::Door(door),
                Place::FloorGroup(group) => Place::FloorGroup(group),
            },
            who: Who::Read(Read::text("h10301:1:2", &key)),
            pin: typed.as_ref().map(|pin| pin as &dyn Fn(&Id) -> Token),
            companion: None,
            now: Now { mono: crate::domain::time::Mono::ZERO, wall: Wall::EPOCH, trust: ClockTrust::Trusted },
            staleness: Some(staleness),
        };
        explain(&question, &set, &topology).unwrap()
    }

    fn red(more: serde_json::Value) -> serde_json::Value {
        let key = CredentialKey::new(&[7; 32]);
        let mut body = serde_json::json!({ "token": token(&key, "h10301:1:2").to_string() });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let policy = serde_json::json!({ "doors": ["front", "lift"], "emergency_after_s": 60 });
        serde_json::json!([
            { "kind": "emergency_card", "id": "red", "body": body },
            { "kind": "door_policy", "id": "alone", "body": policy },
        ])
    }

    #[test]
    fn an_emergency_card_is_explained_by_what_it_lacks_and_opens_when_it_lacks_nothing() {
        use DenialReason::*;
        let (front, lift) = (Id::new("front").unwrap(), Id::new("lift").unwrap());
        let (fresh, alone) = (Duration::ZERO, Duration::from_secs(60));
        let key = CredentialKey::new(&[7; 32]);
        let with_pin = serde_json::json!({ "pin": token(&key, "pin:red:77").to_string(), "uses_max": 3 });
        for (body, pin, staleness, reason) in [
            (serde_json::json!({}), None, fresh, Some(NotYetActive)),
            (serde_json::json!({}), None, alone, None),
            (serde_json::json!({ "doors": ["lift"] }), None, alone, Some(NoRule)),
            (serde_json::json!({ "expires_at": "1969-01-01T00:00:00.000Z" }), None, alone, Some(Expired)),
            (with_pin.clone(), None, alone, Some(PinRequired)),
            (with_pin.clone(), Some("78"), alone, Some(WrongPin)),
            (with_pin, Some("77"), alone, None),
        ] {
            let told = asked(red(body.clone()), &Place::Door(&front), pin, staleness);
            let card = told.emergency_card.as_ref().unwrap();
            assert_eq!(
                (card.reason, told.answer.reason, told.answer.granted),
                (reason, reason, reason.is_none()),
                "{body}"
            );
            assert_eq!(card.accepted, staleness == alone);
            assert_eq!(told.would_grant.len(), usize::from(reason.is_some()), "{:?}", told.would_grant);
        }
        let told = asked(red(serde_json::json!({})), &Place::FloorGroup(&lift), None, alone);
        assert_eq!(
            (told.answer.granted, told.answer.floors.len()),
            (true, 2),
            "the policy of the cab, and every floor"
        );
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

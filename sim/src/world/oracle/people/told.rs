//! What was told of an attempt, beside what the records mean. Owns the comparison, and which invariant is hurt where
//! the two differ; must never judge by itself.

use std::collections::VecDeque;

use latchd::domain::{
    event::{DenialReason, Denied, EventBody, Granted},
    ids::Id,
    permission::{Decision, Wants},
    topology::FloorGroupPlace,
};

use super::{Invariant, Scene, Violation};

/// What the model says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// `None`: let in.
    pub reason: Option<DenialReason>,
    pub person: Option<Id>,
    pub credential: Option<Id>,
    pub rule: Option<Id>,
    pub emergency_card: Option<Id>,
    pub wants: Option<Wants>,
    /// Only together with somebody.
    pub companion: bool,
    pub duress: bool,
    pub virtually: bool,
    /// In the cab: what may be chosen.
    pub floors: Vec<Id>,
}

impl Said {
    pub fn nobody(reason: DenialReason) -> Said {
        Said { reason: Some(reason), ..Said::default() }
    }

    pub fn of(decision: Decision, lift: &FloorGroupPlace) -> Said {
        match decision {
            Decision::Granted { person, credential, rule, companion, duress, floors, .. } => Said {
                floors: floors.iter().map(|floor| lift.floors[floor].clone()).collect(),
                person: Some(person),
                credential,
                rule: Some(rule),
                companion: companion.is_some(),
                duress,
                ..Said::default()
            },
            Decision::Denied { reason, person, credential, rule, wants, duress } => {
                Said { reason: Some(reason), person, credential, rule, wants, duress, ..Said::default() }
            }
        }
    }

    /// For another reason, against which nothing helps.
    pub fn with(self, reason: DenialReason) -> Said {
        Said { reason: Some(reason), wants: None, companion: false, floors: Vec::new(), ..self }
    }

    /// Nothing more came.
    pub fn ended_for(self, lacks: Wants) -> Said {
        let reason = match lacks {
            Wants::Pin => DenialReason::PinRequired,
            Wants::SecondPerson => DenialReason::SecondPersonRequired,
        };
        Said { duress: false, ..self.with(reason) }
    }

    pub fn by_operator(self, person: &Id) -> Said {
        Said { person: Some(person.clone()), virtually: true, wants: None, ..self }
    }
}

/// What an event says.
#[derive(Clone, Debug)]
pub struct Told {
    pub reader: Option<Id>,
    place: Id,
    in_cab: bool,
    said: Said,
    pub companion: bool,
}

impl Told {
    /// Of an attempt at a door or in the cab; cabinets have their own.
    pub fn of(body: &EventBody) -> Option<Told> {
        match body.clone() {
            EventBody::AccessGranted(Granted {
                door,
                floor_group,
                floors,
                contract: None,
                reader,
                person,
                credential,
                rule,
                emergency_card,
                companion,
                actor,
                ..
            }) => {
                let virtually = actor.is_some();
                let in_cab = floor_group.is_some();
                let said = Said { person, credential, rule, emergency_card, virtually, floors, ..Said::default() };
                Some(Told { reader, place: door.or(floor_group)?, in_cab, said, companion: companion.is_some() })
            }
            EventBody::AccessDenied(Denied {
                door,
                floor_group,
                cabinet: None,
                reader,
                reason,
                person,
                credential,
                rule,
                emergency_card,
                actor,
                ..
            }) => {
                let (reason, virtually) = (Some(reason), actor.is_some());
                let said = Said { reason, person, credential, rule, emergency_card, virtually, ..Said::default() };
                let in_cab = floor_group.is_some();
                Some(Told { reader, place: door.or(floor_group)?, in_cab, said, companion: false })
            }
            _ => None,
        }
    }

    /// An area may refuse whom the rules admit: whether rightly is for its own watch to say.
    pub fn is(&self, said: &Said) -> bool {
        let by_area = matches!(self.said.reason, Some(DenialReason::ApbViolation | DenialReason::AreaFull));
        (self.said.reason == said.reason || (by_area && said.reason.is_none()))
            && self.said.person == said.person
            && self.said.credential == said.credential
            && self.said.rule == said.rule
            && self.said.emergency_card == said.emergency_card
            && self.said.virtually == said.virtually
            && self.said.floors == said.floors
    }
}

/// The next event is one of these.
pub fn take(told: &mut VecDeque<Told>, scene: &Scene<'_>, answers: &[Said]) -> Result<Said, Violation> {
    let Some(next) = told.pop_front() else {
        let what = format!("nothing is told on {}, the model says {answers:?}", scene.what);
        let virtually = answers.iter().any(|said| said.virtually);
        let invariant = match answers.first().and_then(|said| said.reason) {
            _ if virtually => Invariant::VirtualReadJudged,
            _ if scene.generation.is_none() => Invariant::SpareCards,
            Some(DenialReason::StalePermissions | DenialReason::EmergencyOnly | DenialReason::ClockUntrusted) => {
                Invariant::FallbackNarrows
            }
            // Something is waited for that could not help.
            Some(reason) if is_plain(reason) => Invariant::RevokedIsDenied,
            _ => Invariant::OneEventEach,
        };
        return Err(Violation::new(invariant, what));
    };
    if let Some(said) = answers.iter().find(|said| next.is(said)) {
        return Ok(said.clone());
    }
    let what = format!("at {} on {}: told {:?}, the model says {answers:?}", next.place, scene.what, next.said);
    // A card that is not known there is no card that is known to be used up.
    let used_up =
        next.said.emergency_card.is_some() && answers.iter().any(|said| said.reason == Some(DenialReason::Expired));
    let invariant = if scene.generation.is_none() && !used_up {
        Invariant::SpareCards
    } else if next.in_cab && floors_differ(&next.said, answers) {
        Invariant::FloorsAsGranted
    } else {
        hurt(&next.said, answers)
    };
    Err(Violation::new(invariant, what))
}

/// Nobody was to be let in or refused yet, for something is waited for.
pub fn nothing_of(told: &VecDeque<Told>, scene: &Scene<'_>, waits: &Said) -> Result<(), Violation> {
    let Some(next) = told.front().filter(|told| told.said.person == waits.person && told.said.reason.is_none()) else {
        return Ok(());
    };
    let what =
        format!("at {} on {}: let in {:?}, who still lacks {:?}", next.place, scene.what, next.said, waits.wants);
    let invariant = match waits.wants {
        // By a rule that is not theirs (any more).
        _ if next.said.rule != waits.rule => Invariant::RevokedIsDenied,
        Some(Wants::SecondPerson) => Invariant::TwoTogether,
        _ => Invariant::PinAsked,
    };
    Err(Violation::new(invariant, what))
}

pub fn nothing_left(told: &VecDeque<Told>, scene: &Scene<'_>) -> Result<(), Violation> {
    let Some(next) = told.front() else { return Ok(()) };
    let what = format!("at {} on {}: told {:?}, where nothing was due", next.place, scene.what, next.said);
    if scene.generation.is_none() {
        return Err(Violation::new(Invariant::SpareCards, what));
    }
    // Its time has come, and it was refused instead of asked for its PIN.
    let too_early = next.said.emergency_card.is_some() && next.said.reason == Some(DenialReason::NotYetActive);
    Err(Violation::new(if too_early { Invariant::FallbackNarrows } else { Invariant::OneEventEach }, what))
}

/// Nothing that is presented besides makes it good.
fn is_plain(reason: DenialReason) -> bool {
    use DenialReason::*;
    matches!(
        reason,
        NoRule
            | ExplicitDeny
            | OutsideSchedule
            | NotYetActive
            | Expired
            | Suspended
            | Lost
            | Stolen
            | UnknownCredential
    )
}

/// Somebody may ride, and not where they are let, or to no floor at all.
fn floors_differ(told: &Said, answers: &[Said]) -> bool {
    let rides = answers.first().is_some_and(|said| said.reason.is_none());
    rides && matches!(told.reason, None | Some(DenialReason::NoRule | DenialReason::ExplicitDeny))
}

/// What is hurt where this is told and one of those was due.
fn hurt(told: &Said, answers: &[Said]) -> Invariant {
    use DenialReason::*;
    let due = answers.first().and_then(|said| said.reason);
    let either =
        |reasons: &[DenialReason]| [due, told.reason].into_iter().flatten().any(|reason| reasons.contains(&reason));
    let persons = || answers.iter().chain([told]).filter_map(|said| said.person.as_ref());
    let by_edit = answers
        .iter()
        .chain([told])
        .any(|said| said.rule.as_ref().is_some_and(|rule| rule.as_str().starts_with("no-guest")));
    let guest = by_edit || persons().any(|person| person.as_str().starts_with("guest"));
    if answers.iter().any(|said| said.virtually) {
        Invariant::VirtualReadJudged
    } else if due == Some(Interlock) {
        Invariant::OneDoorAtATime
    } else if matches!(due, Some(LockedDown | Forced | Dnd)) && told.reason != due {
        Invariant::HeldIsShut
    } else if guest && !either(&[StalePermissions, EmergencyOnly, ClockUntrusted]) {
        Invariant::EditsStand
    } else if due.is_some_and(is_plain)
        && told.emergency_card.is_none()
        && answers.iter().all(|said| said.emergency_card.is_none())
    {
        Invariant::RevokedIsDenied
    } else if told.emergency_card.is_some() || answers.iter().any(|said| said.emergency_card.is_some()) {
        if due != Some(Expired) && either(&[NotYetActive]) {
            Invariant::FallbackNarrows
        } else {
            Invariant::EmergencyLast
        }
    } else if either(&[StalePermissions, EmergencyOnly, ClockUntrusted]) {
        Invariant::FallbackNarrows
    } else if told.reason.is_none()
        && answers.iter().all(|said| said.rule != told.rule)
        && !either(&[PinRequired, WrongPin])
    {
        Invariant::RevokedIsDenied
    } else if either(&[PinLockedOut]) {
        Invariant::PinLocksOut
    } else if either(&[SecondPersonRequired]) {
        Invariant::TwoTogether
    } else if either(&[PinRequired, WrongPin]) {
        Invariant::PinAsked
    } else {
        Invariant::RevokedIsDenied
    }
}

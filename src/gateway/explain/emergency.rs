//! An emergency card, explained. Owns the words for what it lacks; must never count its uses: the doors do, and say
//! how many there were. Invariant: it is judged by the very code of the readers, after the rules have said no.

use super::Question;
use crate::domain::{
    card_format::CardTokens,
    emergency::{CertainTime, EmergencyCards},
    event::DenialReason,
    ids::Id,
    permission::{Answer, EmergencyCardExplained, Explanation, Permissions},
};

/// What was read is an emergency card: its word counts where the rules have said no.
pub(super) fn emergency_card(
    question: &Question<'_>,
    set: &Permissions,
    (place, accepted): (&Id, bool),
    card: &CardTokens,
    explanation: &mut Explanation,
) {
    let mut cards = EmergencyCards::default();
    cards.replace(&set.site().emergency_cards);
    if let Some(uses) = question.emergency_uses {
        cards.count(uses);
    }
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
    let uses = question.emergency_uses.map(|_| cards.uses(id));
    let used_up = uses_max.zip(uses).is_some_and(|(max, uses)| uses >= max);
    let told = EmergencyCardExplained { emergency_card: id.clone(), accepted, reason, uses_max, uses };
    if !explanation.answer.granted {
        explanation.answer = Answer {
            granted: reason.is_none(),
            reason,
            person: None,
            credential: None,
            rule: None,
            contract: None,
            floors: Vec::new(),
            duress: false,
        };
        // What would have let a holder in is another matter.
        explanation.would_grant.retain(|_| !explanation.candidates.is_empty() && reason.is_some());
        explanation.would_grant.extend(reason.map(|reason| hint(id, place, reason, used_up)));
    }
    explanation.emergency_card = Some(told);
}

fn hint(id: &Id, place: &Id, reason: DenialReason, used_up: bool) -> String {
    match reason {
        DenialReason::NotYetActive => {
            format!(
                "the time of emergency cards: the policy of {place} says when a node that is left alone accepts them"
            )
        }
        DenialReason::NoRule => format!("{place} among the doors of emergency card {id}"),
        DenialReason::Expired if used_up => format!("more uses for emergency card {id} (uses_max)"),
        DenialReason::Expired => format!("a later end of emergency card {id}"),
        DenialReason::PinRequired => format!("the PIN of emergency card {id}"),
        _ => format!("the right PIN of emergency card {id}"),
    }
}

//! A card at a compartment of a key locker, explained: there a contract opens, and rules only narrow it. Owns the
//! reading of contracts beside the rules; must never say of a rule what the rules did not. Invariant: which contract
//! counts, and what a rule still asks for, is found by the very functions that the cabinets ask.

use super::Question;
use crate::domain::{
    event::DenialReason,
    ids::Id,
    locker::{Standing, excluded, standing},
    permission::{ContractExplained, Explanation, Permissions},
};

/// True: the person has a contract that counts here, so that this is the last word.
pub(super) fn compartment(
    question: &Question<'_>,
    set: &Permissions,
    place: &Id,
    person: Option<&Id>,
    explanation: &mut Explanation,
) -> bool {
    let contracts = &set.site().locker_contracts;
    let in_the_way = excluded(contracts);
    let here = contracts.iter().filter(|(_, contract)| contract.locker == *place);
    explanation.contracts = here
        .map(|(id, contract)| ContractExplained {
            contract: id.clone(),
            person: contract.person.clone(),
            standing: standing(contract, question.now),
            excluded_by: in_the_way.get(id).map(|other| (*other).clone()),
        })
        .collect();
    let answer = &mut explanation.answer;
    let counts = |told: &&ContractExplained| told.excluded_by.is_none();
    let theirs = || explanation.contracts.iter().filter(|told| person.is_some() && told.person.as_ref() == person);
    let in_force = theirs().filter(counts).find(|told| told.standing == Standing::InForce);
    // Whoever is not good for anything now, or is denied, no contract helps.
    let refused = match answer.reason {
        None | Some(DenialReason::NoRule) => false,
        Some(DenialReason::ExplicitDeny) => true,
        Some(_) => answer.rule.is_none(),
    };
    if refused {
        return false;
    }
    let Some(contract) = in_force else {
        let closest = theirs().filter(counts).find_map(|told| Some((told, told.standing.denial()?)));
        explanation.would_grant = theirs()
            .map(|told| match (&told.excluded_by, told.standing) {
                (Some(other), _) => format!("contract {} without {other}, which excludes it", told.contract),
                (None, Standing::NotYet) => format!("contract {}, once it has begun", told.contract),
                (None, Standing::Doubtful) => format!("a trusted clock: contract {} has dates", told.contract),
                (None, _) => format!("contract {} with a later end", told.contract),
            })
            .collect();
        if let Some(person) = person.filter(|_| explanation.would_grant.is_empty()) {
            explanation.would_grant.push(format!("a contract of person {person} for {place}"));
        }
        answer.granted = false;
        answer.reason = Some(closest.map_or(DenialReason::NoRule, |(_, reason)| reason));
        answer.contract = closest.map(|(told, _)| told.contract.clone());
        answer.rule = None;
        return false;
    };
    answer.contract = Some(contract.contract.clone());
    // What a rule asks for beside the card, the cabinet asks for as well.
    let lacks = matches!(
        answer.reason,
        Some(DenialReason::PinRequired | DenialReason::WrongPin | DenialReason::SecondPersonRequired)
    );
    if !lacks {
        (answer.granted, answer.reason) = (true, None);
        explanation.would_grant.clear();
    }
    true
}

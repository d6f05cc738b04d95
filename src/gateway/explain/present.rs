//! What only the running node knows of a person at a place: areas and locked PINs. Owns how it changes an answer; must
//! never judge an area or count a PIN (the doors did). Invariant: what the rules refuse stays refused.

use crate::domain::{
    area::Verdict,
    event::{DenialReason, PassageWay},
    ids::Id,
    order::Examined,
    permission::{AreaExplained, Explanation},
};

/// With what the doors know. `at`: the readers that count; none named, all of the place: then somebody is let in whom
/// one of them would let in. A virtual read is one at the first.
pub fn examined(mut explanation: Explanation, found: &Examined, at: Option<&Id>, is_virtual: bool) -> Explanation {
    let person = explanation.answer.person.as_ref().map(Id::to_string).unwrap_or_default();
    let counts = |(reader, _): &&(Id, Verdict)| at.is_none_or(|at| at == reader);
    let readers: Vec<&(Id, Verdict)> =
        found.readers.iter().filter(counts).take(if is_virtual { 1 } else { usize::MAX }).collect();
    explanation.areas = readers.iter().flat_map(|(reader, verdict)| told(reader, verdict)).collect();
    let answer = &mut explanation.answer;
    if answer.granted {
        let denials: Vec<DenialReason> =
            readers.iter().filter_map(|(_, verdict)| verdict.denied.as_ref().map(|(reason, _)| *reason)).collect();
        if let Some(first) = denials.first().filter(|_| denials.len() == readers.len()) {
            (answer.granted, answer.reason, answer.floors) = (false, Some(*first), Vec::new());
            let hints = explanation.areas.iter().filter_map(|area| hint(&person, area));
            explanation.would_grant.extend(hints);
        }
    } else if found.pin_locked_out && answer.reason == Some(DenialReason::PinRequired) {
        answer.reason = Some(DenialReason::PinLockedOut);
        explanation.would_grant.insert(0, format!("the end of the time in which no PIN of {person} is taken"));
    }
    explanation
}

fn told(reader: &Id, verdict: &Verdict) -> Vec<AreaExplained> {
    let denied = verdict.denied.as_ref();
    let by = |area: &Id| denied.filter(|(_, of)| of == area).map(|(reason, _)| *reason);
    let entry = |area: &Id, way| AreaExplained { reader: reader.clone(), area: area.clone(), way, reason: by(area) };
    let mut told: Vec<AreaExplained> =
        verdict.violations.iter().map(|violation| entry(&violation.area, violation.way)).collect();
    // That it is full is no violation of this person's.
    if let Some((_, area)) = denied.filter(|(_, area)| told.iter().all(|told| told.area != *area)) {
        told.push(entry(area, PassageWay::Entry));
    }
    told
}

fn hint(person: &str, told: &AreaExplained) -> Option<String> {
    let AreaExplained { reader, area, way, reason } = told;
    Some(match (reason.as_ref()?, way) {
        (DenialReason::AreaFull, _) => format!("{reader}: somebody would have to leave area {area}"),
        (_, PassageWay::Entry) => {
            format!("{reader}: {person} would have to leave area {area}, or be forgiven (apb.clear)")
        }
        (_, PassageWay::Exit) => {
            format!("{reader}: {person} would have to enter area {area}, or be forgiven (apb.clear)")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            area::Violation,
            permission::Answer,
            time::{ClockTrust, Wall},
        },
        gateway::explain::refused_by_place,
    };

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn answered(granted: bool, reason: Option<DenialReason>) -> Explanation {
        Explanation {
            at: Wall::EPOCH,
            clock: ClockTrust::Trusted,
            epoch: 1,
            generation: 1,
            place: Some(id("lab")),
            answer: Answer {
                granted,
                reason,
                person: Some(id("ada")),
                credential: None,
                rule: None,
                contract: None,
                floors: Vec::new(),
                duress: false,
            },
            formats: Vec::new(),
            candidates: Vec::new(),
            refuses_all: None,
            areas: Vec::new(),
            contracts: Vec::new(),
            emergency_card: None,
            precedence: Vec::new(),
            would_grant: Vec::new(),
        }
    }

    /// She is inside of a hard area: in is closed to her, out is not.
    fn inside() -> Examined {
        let again = Violation { area: id("hall"), way: PassageWay::Entry };
        let verdict = Verdict { violations: vec![again], denied: Some((DenialReason::ApbViolation, id("hall"))) };
        let readers = vec![(id("in"), verdict), (id("out"), Verdict::default())];
        Examined { readers, pin_locked_out: false }
    }

    #[test]
    fn who_is_inside_is_refused_at_the_way_in_and_granted_where_one_reader_lets_them_pass() {
        let of =
            |at: Option<&str>, is_virtual| examined(answered(true, None), &inside(), at.map(id).as_ref(), is_virtual);
        let (all, way_in, way_out, read) =
            (of(None, false), of(Some("in"), false), of(Some("out"), false), of(None, true));
        assert!(all.answer.granted && all.would_grant.is_empty());
        assert_eq!((all.areas.len(), all.areas[0].reason), (1, Some(DenialReason::ApbViolation)));
        for told in [way_in, read] {
            assert_eq!((told.answer.granted, told.answer.reason), (false, Some(DenialReason::ApbViolation)));
            assert_eq!(told.would_grant, ["in: ada would have to leave area hall, or be forgiven (apb.clear)"]);
        }
        assert!(way_out.answer.granted && way_out.areas.is_empty());
    }

    #[test]
    fn a_soft_violation_is_told_and_a_full_area_refuses() {
        let soft = Verdict { violations: vec![Violation { area: id("hall"), way: PassageWay::Exit }], denied: None };
        let full = Verdict { violations: vec![], denied: Some((DenialReason::AreaFull, id("lab"))) };
        let found = |verdict| Examined { readers: vec![(id("in"), verdict)], pin_locked_out: true };
        let told = examined(answered(true, None), &found(soft), None, false);
        assert_eq!((told.answer.granted, told.areas[0].way, told.areas[0].reason), (true, PassageWay::Exit, None));
        let told = examined(answered(true, None), &found(full), None, false);
        assert_eq!((told.answer.reason, &told.areas[0].area), (Some(DenialReason::AreaFull), &id("lab")));
        assert_eq!(told.would_grant, ["in: somebody would have to leave area lab"]);
    }

    #[test]
    fn what_is_refused_for_another_reason_stays_so_and_a_locked_pin_is_named_where_one_is_asked_for() {
        for (before, after) in [
            (DenialReason::PinRequired, DenialReason::PinLockedOut),
            (DenialReason::NoRule, DenialReason::NoRule),
            (DenialReason::LockedDown, DenialReason::LockedDown),
        ] {
            let found = Examined { pin_locked_out: true, ..inside() };
            let told = examined(answered(false, Some(before)), &found, Some(&id("in")), false);
            assert_eq!((told.answer.granted, told.answer.reason), (false, Some(after)));
        }
        let told = refused_by_place(examined(answered(true, None), &inside(), None, false), DenialReason::Dnd);
        assert_eq!(told.answer.reason, Some(DenialReason::Dnd));
    }
}

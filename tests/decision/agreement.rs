//! The compiled decision says the same as the naive one, about every card at every door.

use jiff::tz::TimeZone;
use latchd::domain::{
    credential::{CardTokens, decode},
    event::DenialReason,
    fieldbus::RawCard,
    ids::{DoorIx, Id},
    permission::{Decision, Permissions, SetVersion},
    topology::Topology,
};
use proptest::prelude::*;

use crate::{
    reference::Reference,
    sets::{Case, DOORS, cases, id, token},
};

/// Every card of the set and one stranger, read alone, as two formats of one read, and garbled.
pub fn reads() -> Vec<CardTokens> {
    let well_formed = RawCard { bits: 26, value: 0x2f6_23ae };
    let bad_parity = RawCard { value: well_formed.value ^ 1, ..well_formed };
    let as_formats = |raw, number, bits| {
        decode(raw).tokens(|text| if text.starts_with("h10301") { token(number) } else { token(bits) })
    };
    let mut reads: Vec<CardTokens> = (0..7).map(|n| CardTokens::single(token(n))).collect();
    reads.extend([(0, 1), (1, 0), (2, 9), (9, 3), (9, 9)].map(|(number, bits)| as_formats(well_formed, number, bits)));
    reads.extend([4, 9].map(|bits| as_formats(bad_parity, 9, bits)));
    reads.push(as_formats(RawCard { bits: 0, value: 0 }, 9, 9));
    reads
}

fn check(case: &Case) -> Result<Vec<Decision>, TestCaseError> {
    let zone = TimeZone::get(case.zone).unwrap();
    let doors: Vec<Id> = DOORS.map(id).to_vec();
    let compiled =
        Permissions::compile(case.records.iter().cloned(), &Topology::of_doors(&doors), &zone, SetVersion::default());
    let compiled = compiled.map_err(|faults| TestCaseError::fail(faults.join("; ")))?;
    let naive = Reference { records: &case.records, zone: &zone };
    let mut decisions = Vec::new();
    for (door, index) in doors.iter().zip((0..).map(DoorIx)) {
        for read in reads() {
            let expected = naive.decide(read.as_slice(), read.well_formed(), door, case.now);
            let decision = compiled.decide(&read, index, case.now);
            prop_assert_eq!(&decision, &expected, "{:?} at {} in {}", read, door, case.zone);
            decisions.push(decision);
        }
    }
    Ok(decisions)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_decision_agrees_with_the_naive_one(case in cases()) {
        check(&case)?;
    }
}

/// Random sets that never come to an interesting answer would prove nothing.
#[test]
fn the_random_sets_reach_every_answer() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<Option<DenialReason>, u32>::new();
    for _ in 0..200 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        for decision in check(&case).unwrap() {
            let reason = match decision {
                Decision::Granted { .. } => None,
                Decision::Denied { reason, .. } => Some(reason),
            };
            *seen.entry(reason).or_default() += 1;
        }
    }
    use DenialReason::*;
    for reason in [
        None,
        Some(UnknownCredential),
        Some(NoRule),
        Some(ExplicitDeny),
        Some(OutsideSchedule),
        Some(NotYetActive),
        Some(Expired),
        Some(Suspended),
        Some(Lost),
        Some(Stolen),
        Some(ClockUntrusted),
        Some(BadFormat),
    ] {
        let times = seen.get(&reason).copied().unwrap_or_default();
        assert!(times >= 20, "{reason:?} came {times} times of {seen:?}");
    }
}

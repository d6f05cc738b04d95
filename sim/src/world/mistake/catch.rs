//! The proof that a mistake is seen. Owns how long is tried; must never judge by itself. Invariant: a mistake counts as
//! caught only where the invariant that it breaks names it.

use super::Mistake;
use crate::world::{Options, run};

/// Runs in which the rarest mistake has shown itself, with room to spare.
const SEEDS_FOR_A_MISTAKE: u64 = 1_000;

/// Plants it in one world after the other until it is caught. The seed that did; or that none did, or that it was taken
/// for something else.
pub fn catch(mistake: Mistake) -> Result<u64, String> {
    let failed = |seed| run(Options { mistake: Some(mistake), ..Options::seed(seed) }).err();
    let failure = (1..=SEEDS_FOR_A_MISTAKE).find_map(|seed| failed(seed).map(|failure| (seed, failure)));
    let (seed, failure) =
        failure.ok_or_else(|| format!("{} was not caught in {SEEDS_FOR_A_MISTAKE} seeds", mistake.name()))?;
    let violation = failure.violation;
    match violation.invariant == mistake.breaks() {
        true => Ok(seed),
        false => Err(format!("{} was caught as {}: {}", mistake.name(), violation.invariant, violation.what)),
    }
}

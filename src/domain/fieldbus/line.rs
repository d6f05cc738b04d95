//! A supervised line: an input whose value tells more than on and off, because resistors at its end do. Owns
//! which value means what; must never take a value that means nothing for either state. Invariant: the bands
//! of a line do not overlap.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From and up to, both included.
pub type Band = (u16, u16);

/// By the value of the input's register. What lies in none of them is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bands {
    pub energised: Band,
    pub released: Band,
    /// The wires touch.
    pub short: Option<Band>,
    /// A wire is cut.
    pub open: Option<Band>,
}

/// Why a line says neither on nor off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineTrouble {
    /// The wires touch.
    Short,
    /// A wire is cut.
    Open,
    /// A value that the line should never have.
    Fault,
}

impl Bands {
    /// Whether the input is energised.
    pub fn read(&self, value: u16) -> Result<bool, LineTrouble> {
        let within = |band: Band| (band.0..=band.1).contains(&value);
        if within(self.energised) {
            Ok(true)
        } else if within(self.released) {
            Ok(false)
        } else if self.short.is_some_and(within) {
            Err(LineTrouble::Short)
        } else if self.open.is_some_and(within) {
            Err(LineTrouble::Open)
        } else {
            Err(LineTrouble::Fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_band_or_a_fault() {
        let bands =
            Bands { energised: (1000, 1999), released: (2000, 2999), short: Some((0, 99)), open: Some((3900, 4095)) };
        for (value, expected) in [
            (0, Err(LineTrouble::Short)),
            (99, Err(LineTrouble::Short)),
            (100, Err(LineTrouble::Fault)),
            (999, Err(LineTrouble::Fault)),
            (1000, Ok(true)),
            (1999, Ok(true)),
            (2000, Ok(false)),
            (2999, Ok(false)),
            (3000, Err(LineTrouble::Fault)),
            (3900, Err(LineTrouble::Open)),
            (4095, Err(LineTrouble::Open)),
            (4096, Err(LineTrouble::Fault)),
            (u16::MAX, Err(LineTrouble::Fault)),
        ] {
            assert_eq!(bands.read(value), expected, "{value}");
        }
    }
}

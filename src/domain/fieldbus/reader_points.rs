//! The inputs and outputs of a reader: points that a door uses as it uses those of a board, under the reader's name.
//! Owns their names and their order; must never say what is wired to them. Invariant: the cover and the supply are
//! the last two inputs of every reader.

use crate::domain::{
    ids::{BoardIx, Id, InputRef},
    outputs::Level,
};

/// More than any reader has.
pub const READER_POINTS_MAX: u16 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderPoints {
    /// Readers with points are counted on after the boards.
    pub board: BoardIx,
    /// Beside the cover and the supply.
    pub inputs: u16,
    pub outputs: u16,
    pub bound: Bound,
    /// What each output is to be when nobody speaks to the reader any more; `None`: as it was.
    pub at_death: [Option<Level>; READER_POINTS_MAX as usize],
}

/// What of a reader's points serves something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub any: bool,
    /// The cover, or the supply, is an input of the site: the reader's own word on it is not told beside that.
    pub tamper: bool,
    pub power: bool,
}

impl ReaderPoints {
    pub fn new(board: BoardIx, inputs: u16, outputs: u16) -> ReaderPoints {
        ReaderPoints { board, inputs, outputs, bound: Bound::default(), at_death: [None; READER_POINTS_MAX as usize] }
    }

    /// `input-1`, `input-2`, …, `tamper`, `power`.
    pub fn input_names(&self) -> Vec<Id> {
        let others = ["tamper", "power"].map(str::to_owned);
        (1..=self.inputs).map(|n| format!("input-{n}")).chain(others).filter_map(|name| Id::new(&name).ok()).collect()
    }

    /// `output-1`, `output-2`, …
    pub fn output_names(&self) -> Vec<Id> {
        (1..=self.outputs).filter_map(|n| Id::new(&format!("output-{n}")).ok()).collect()
    }

    /// Active while the cover is open.
    pub fn tamper(&self) -> InputRef {
        InputRef { board: self.board, input: self.inputs }
    }

    /// Active while the supply has failed.
    pub fn power(&self) -> InputRef {
        InputRef { board: self.board, input: self.inputs.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readers_points_are_numbered_from_one_and_its_cover_and_supply_come_last() {
        let points = ReaderPoints::new(BoardIx(7), 2, 1);
        let names = points.input_names();
        assert_eq!(names.iter().map(Id::as_str).collect::<Vec<_>>(), ["input-1", "input-2", "tamper", "power"]);
        assert_eq!(points.output_names().iter().map(Id::as_str).collect::<Vec<_>>(), ["output-1"]);
        assert_eq!(names[usize::from(points.tamper().input)].as_str(), "tamper");
        assert_eq!(names[usize::from(points.power().input)].as_str(), "power");
    }
}

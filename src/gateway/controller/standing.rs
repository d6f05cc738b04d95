//! What began and has not ended: lost boards and readers, fire, door alarms, active inputs. Owns the memory of it
//! across runs; must never keep an event from the log. Invariant: the machines beside the doors hear of a
//! beginning once, also when the node starts again in the middle of it.

use std::collections::BTreeSet;

use crate::domain::{
    event::EventBody,
    kept::{Kept, Standing},
};

/// What an event says of something lasting: that it began, or ended.
fn turn(body: &EventBody) -> Option<(Standing, bool)> {
    Some(match body {
        EventBody::BoardLost { board, .. } => (Standing::BoardLost { board: board.clone() }, true),
        EventBody::BoardRestored { board } => (Standing::BoardLost { board: board.clone() }, false),
        EventBody::ReaderLost { reader, .. } => (Standing::ReaderLost { reader: reader.clone() }, true),
        EventBody::ReaderRestored { reader } => (Standing::ReaderLost { reader: reader.clone() }, false),
        EventBody::FireActivated { input } => (Standing::Fire { input: input.clone() }, true),
        EventBody::FireCleared { input } => (Standing::Fire { input: input.clone() }, false),
        EventBody::DoorForced { door } => (Standing::Forced { door: door.clone() }, true),
        EventBody::DoorPropped { door } => (Standing::Propped { door: door.clone() }, true),
        EventBody::PowerLost { input }
        | EventBody::TamperActivated { input, .. }
        | EventBody::InputActivated { input } => (Standing::InputActive { input: input.clone() }, true),
        EventBody::TamperLineFaulted { board, input, .. } => {
            (Standing::LineFault { board: board.clone(), input: input.clone() }, true)
        }
        EventBody::TamperLineRestored { board, input } => {
            (Standing::LineFault { board: board.clone(), input: input.clone() }, false)
        }
        EventBody::PowerRestored { input }
        | EventBody::TamperCleared { input, .. }
        | EventBody::InputCleared { input } => (Standing::InputActive { input: input.clone() }, false),
        _ => return None,
    })
}

#[derive(Debug, Default)]
pub struct StandingSet {
    now: BTreeSet<Standing>,
    /// Of `now`, what stands since an earlier run and has not been heard of in this one.
    before: BTreeSet<Standing>,
}

/// What is to be written for one event.
#[derive(Debug, Default)]
pub struct Change {
    pub kept: Option<Kept>,
    pub unkept: Vec<Standing>,
    /// It began in an earlier run, in which everybody heard of it.
    pub known: bool,
}

impl StandingSet {
    pub fn restored<'a>(kept: impl Iterator<Item = &'a Kept>) -> StandingSet {
        let standing = kept.filter_map(|kept| match kept {
            Kept::Standing { what } => Some(what.clone()),
            _ => None,
        });
        let before: BTreeSet<Standing> = standing.collect();
        StandingSet { now: before.clone(), before }
    }

    pub fn note(&mut self, body: &EventBody) -> Change {
        if let EventBody::DoorAlarmCleared { door } = body {
            let ended = [Standing::Forced { door: door.clone() }, Standing::Propped { door: door.clone() }];
            return Change { unkept: ended.into_iter().filter(|what| self.end(what)).collect(), ..Change::default() };
        }
        match turn(body) {
            Some((what, true)) => {
                let known = self.before.remove(&what);
                let new = self.now.insert(what.clone());
                Change { kept: new.then_some(Kept::Standing { what }), known, ..Change::default() }
            }
            Some((what, false)) => {
                Change { unkept: if self.end(&what) { vec![what] } else { Vec::new() }, ..Change::default() }
            }
            None => Change::default(),
        }
    }

    fn end(&mut self, what: &Standing) -> bool {
        self.before.remove(what);
        self.now.remove(what)
    }

    /// Whether it stands since an earlier run and this one has not heard of it: the first sign to the contrary
    /// is its end.
    pub fn is_from_before(&self, what: &Standing) -> bool {
        self.before.contains(what)
    }
}

//! What one input to the controller brought about. Invariant: an event is in the step of its effect, so
//! whoever commits the step can neither act without the record nor record without the act.

use std::collections::VecDeque;

use super::machine::Deed;
use crate::{
    domain::{door::Closed, ids::DoorIx, installer::Answer, order::OrderReport, status::Thing},
    gateway::step::Commit,
};

#[derive(Debug, Default)]
#[must_use]
pub struct Step {
    pub commit: Commit,
    /// Order reports that nothing holds back; those that wait for the disk are in `commit.held`.
    pub reports: Vec<OrderReport>,
    /// Things whose status differs from the last step that named them, each once.
    pub changed: Vec<Thing>,
    /// Emergency cards were used, or those that were are gone.
    pub emergency_uses: bool,
    /// What is still to be carried out, and as how remote a consequence; empty when the controller returns.
    pub(super) deeds: VecDeque<(u8, Deed)>,
    /// Of the deed that is being carried out.
    pub(super) depth: u8,
    /// Doors at which a `door.close` was taken: to the desk, which cancels what it had delayed there.
    pub closed: Vec<(DoorIx, Closed)>,
    /// To the installer's questions, by their numbers.
    pub answers: Vec<(u64, Answer)>,
}

impl Step {
    pub fn is_empty(&self) -> bool {
        self.commit.is_empty()
            && self.reports.is_empty()
            && self.changed.is_empty()
            && !self.emergency_uses
            && self.closed.is_empty()
            && self.answers.is_empty()
    }
}

impl Step {
    pub(super) fn name(&mut self, thing: Thing) {
        if !self.changed.contains(&thing) {
            self.changed.push(thing);
        }
    }
}

//! What time alone brings: deadlines that have come, a clock that was set. Owns when the controller is to be called
//! again; must never read a clock. Invariant: whatever is due when the controller is called is told of it in that step,
//! or stays due.

use std::time::Duration;

use super::{Controller, Step, machine::Happening};
use crate::{
    domain::{
        door::DoorInput,
        ids::DoorIx,
        time::{Mono, Now},
    },
    gateway::step::LedgerWrite,
};

/// Wall time that moved by this much more or less than the time that deadlines count has been set.
const CLOCK_STEP: Duration = Duration::from_millis(500);

impl Controller {
    pub fn next_deadline(&self) -> Option<Mono> {
        let doors = self.deadlines.first().map(|(at, _)| *at);
        let machines = self.machines.iter().filter_map(|machine| machine.next_deadline());
        machines.chain(doors).chain(self.floods.next_deadline()).chain(self.locks.next_deadline()).min()
    }

    pub(super) fn watch_clock(&mut self, now: Now, step: &mut Step) {
        let before = std::mem::replace(&mut self.last, now);
        let expected = before.wall + now.mono.since(before.mono);
        let off = now.wall.since(expected).max(expected.since(now.wall));
        if now.trust != before.trust || off >= CLOCK_STEP {
            self.tell_machines(now, Happening::Clock, step);
        }
    }

    /// Each door that is due is told once; one that is due again at once stays due for the next call.
    pub(super) fn let_time_pass(&mut self, now: Now, step: &mut Step) {
        let due: Vec<DoorIx> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, door)| *door).collect();
        for door in due {
            self.tell(now, door, DoorInput::Timeout, step);
        }
        if self.machines.iter().any(|machine| machine.next_deadline().is_some_and(|due| due <= now.mono)) {
            self.tell_machines(now, Happening::Timeout, step);
        }
        step.commit.writes.extend(self.locks.advance(now.mono).into_iter().map(LedgerWrite::Unkept));
        if self.floods.next_deadline().is_some_and(|due| due <= now.mono) {
            self.tell_of_floods(now, step);
        }
    }
}

//! What the relay is told, as a function of the door's state, and what it was read back to be. Must
//! never remember what was told before. Invariant: an unlocking that ends by itself carries its end in
//! `until`, so the lock falls even if nobody asks the door again.

use super::{LockState, input::Effects, state::Door};
use crate::domain::{
    event::EventBody,
    outputs::{Desired, Level},
    time::Mono,
};

/// The lock as the bus knows it.
#[derive(Debug)]
pub(super) struct Lock {
    /// Its board answers.
    pub up: bool,
    /// Its bus has said that it does not; not so just after the start.
    pub lost: bool,
    pub state: LockState,
    mismatched: bool,
}

impl Lock {
    /// Before the first report: nothing is known.
    pub fn unknown() -> Lock {
        Lock { up: false, lost: false, state: LockState::Unknown, mismatched: false }
    }

    pub fn board(&mut self, up: bool) {
        self.up = up;
        self.lost = !up;
        if !up {
            self.state = LockState::Unknown;
        }
    }

    pub fn read_back(&mut self, unlocked: bool) {
        self.board(true);
        self.state = if unlocked { LockState::Unlocked } else { LockState::Locked };
    }

    /// The bus gave up writing for now; what was read back may be what is wanted by now.
    pub fn mismatch(&mut self, unlocked: bool, out: &mut Effects) {
        if !self.agrees(unlocked) && !self.mismatched {
            self.mismatched = true;
            let door = out.door();
            out.event(EventBody::DoorLockMismatched { door });
        }
    }

    /// A lock that is as it should be again is no longer mismatched.
    pub fn settle(&mut self, unlocked: bool, out: &mut Effects) {
        if self.mismatched && self.agrees(unlocked) {
            self.mismatched = false;
            let door = out.door();
            out.event(EventBody::DoorLockRestored { door });
        }
    }

    pub fn agrees(&self, unlocked: bool) -> bool {
        self.state == if unlocked { LockState::Unlocked } else { LockState::Locked }
    }
}

impl Door {
    /// The desired state of the lock's output, complete in itself.
    pub fn desired(&self, now: Mono) -> Desired {
        let unlocked = self.ruling(now).unlocks;
        let mut ends = self.ends();
        ends.sort_unstable();
        let until = ends.into_iter().flatten().find(|end| *end > now && self.ruling(*end).unlocks != unlocked);
        let rest = until.map_or(unlocked, |end| self.ruling(end).unlocks);
        Desired {
            output: self.config().lock,
            level: self.level(unlocked),
            until,
            rest: self.level(rest),
            order: self.orders.slot(unlocked).map(|pending| (pending.ticket, pending.deadline)),
        }
    }

    /// Polarity: unlocked is not the same as energised.
    pub(super) fn level(&self, unlocked: bool) -> Level {
        if unlocked { self.config().unlocked_level } else { self.config().unlocked_level.inverted() }
    }

    /// Whether the board has confirmed what the door wants as of its last input.
    pub(super) fn is_settled(&self) -> bool {
        self.lock.agrees(self.unlocked)
    }
}

//! What wrong codes lead to: after some in a row none is accepted for a while. Owns the count; must never tell which
//! part of a code was wrong. Invariant: while it is locked out no code is even looked at.

use std::time::Duration;

use crate::domain::time::Mono;

#[derive(Debug, Default)]
pub struct Lockout {
    wrong: u32,
    until: Option<Mono>,
}

impl Lockout {
    pub fn is_locked(&self, now: Mono) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub fn right(&mut self) {
        *self = Lockout::default();
    }

    pub fn wrong(&mut self, now: Mono, tries: u32, lockout: Duration) {
        self.wrong = self.wrong.saturating_add(1);
        if self.wrong >= tries {
            *self = Lockout { wrong: 0, until: Some(now + lockout) };
        }
    }
}

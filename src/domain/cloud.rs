//! What the doors know of the cloud. Owns the words for it; must never hold more than decisions at the doors
//! depend on. Invariant: what is unknown counts as stale.

use std::time::Duration;

use super::time::{ClockTrust, Mono, Now, Wall};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloudState {
    /// The broker has the node's session. Says nothing of the cloud behind it.
    pub connected: bool,
    pub last_beat: Option<Confirmation>,
    /// The permission mirror could not be read, and no second copy either: nobody is known.
    pub mirror_lost: bool,
}

/// When the cloud last confirmed a set that this node held; a set that was applied since changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Asked for at this instant of this run.
    ThisRun(Mono),
    /// Signed then, before this run began.
    Before(Wall),
}

impl CloudState {
    /// How long ago the cloud confirmed the set; `None`: nobody knows.
    pub fn staleness(&self, now: Now) -> Option<Duration> {
        match self.last_beat? {
            Confirmation::ThisRun(mono) => Some(now.mono.since(mono)),
            Confirmation::Before(wall) => (now.trust == ClockTrust::Trusted).then(|| now.wall.since(wall)),
        }
    }
}

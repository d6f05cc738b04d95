//! When the node is left alone. Owns a plain reading of what a door's policy says then; must never ask what the
//! machine believes to be in force. Invariant: what nobody knows counts as stale.

use std::time::Duration;

use latchd::domain::{
    cloud::Confirmation,
    permission::Restriction,
    record::{ClockFallback, WhenStale},
    time::{ClockTrust, Now},
};

use super::{PeopleWatch, Scene, answers::policy, spot::Spot};

pub struct Regime {
    pub restriction: Restriction,
    /// Their time has come.
    pub emergency_cards: bool,
}

impl PeopleWatch {
    pub(super) fn regime(&self, scene: &Scene<'_>, at: Spot) -> Regime {
        let policy = policy(scene, at);
        let reached = |limit: Option<u32>, passed: Option<Duration>| {
            limit.is_some_and(|limit| passed.is_none_or(|passed| passed >= Duration::from_secs(u64::from(limit))))
        };
        let stale = reached(policy.stale_after_s, self.unconfirmed(scene.now)).then_some(policy.when_stale);
        let untrusted = scene.now.trust == ClockTrust::Untrusted;
        let clock = untrusted.then_some(policy.clock_untrusted);
        let emergency_cards = scene.generation.is_none()
            || matches!(stale, Some(WhenStale::CriticalGroups | WhenStale::EmergencyCards))
            || clock == Some(ClockFallback::EmergencyCards)
            || reached(policy.emergency_after_s, Some(self.alone_at_least(scene.now)));
        let restriction = Restriction { clock: clock.unwrap_or_default(), stale: stale.unwrap_or_default() };
        Regime { restriction, emergency_cards }
    }

    /// How long the cloud has not confirmed the set; `None`: nobody knows.
    fn unconfirmed(&self, now: Now) -> Option<Duration> {
        match self.cloud.last_beat {
            Some(Confirmation::ThisRun(at)) => Some(now.mono.since(at)),
            Some(Confirmation::Before(at)) if now.trust == ClockTrust::Trusted => Some(now.wall.since(at)),
            Some(Confirmation::Before(_)) | None => None,
        }
    }

    /// What is sure of it: the doors' own time counts, whatever the clock does, with what was kept of it.
    fn alone_at_least(&self, now: Now) -> Duration {
        match self.cloud.last_beat {
            Some(Confirmation::ThisRun(at)) => now.mono.since(at),
            _ => self.unconfirmed(now).unwrap_or_default().max(self.carried + now.mono.since(self.started)),
        }
    }
}

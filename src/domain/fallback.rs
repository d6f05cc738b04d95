//! When the node is left alone: what a door's policy says of a permission set that nobody confirms, of a clock
//! that nobody trusts, and of emergency cards. Owns the judgement of the three and the count of the time
//! without a beat; must never widen what the rules allow, but for the schedules that a policy ignores.
//! Invariant: what is not known counts as stale, and as time without a beat only once it has really passed.
//!
//! | fallback | begins | ends |
//! |---|---|---|
//! | stale | no beat for `stale_after_s`, or nobody knows since when | with a beat |
//! | clock untrusted | with the clock's trust | with its return |
//! | emergency cards | no beat for `emergency_after_s`, counted through restarts; stale or without a clock, where the policy then admits them; the permission mirror cannot be read | when none of these holds |
//!
//! Two that hold at a time restrict each other: whoever is to pass must be admitted by both.

use std::time::Duration;

use super::{
    cloud::{CloudState, Confirmation},
    event::Fallback,
    kept::{Kept, KeptKey},
    permission::Restriction,
    record::{ClockFallback, DoorPolicy, WhenStale},
    time::{ClockTrust, Mono, Now},
};

/// The count of the time without a beat is kept this often, and whenever something that waited for it has come: at
/// most so much of it is lost with a crash.
const KEEP_EVERY: Duration = Duration::from_secs(300);

/// How long there was no beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alone {
    /// `None`: nobody knows.
    pub staleness: Option<Duration>,
    /// It was at least this long.
    pub at_least: Duration,
    pub clock: ClockTrust,
    pub mirror_lost: bool,
}

/// What is in force at a door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regime {
    pub stale: Option<WhenStale>,
    pub clock: Option<ClockFallback>,
    pub emergency_cards: bool,
}

impl Regime {
    pub fn of(policy: &DoorPolicy, alone: &Alone) -> Regime {
        let after = |seconds: u32| Duration::from_secs(seconds.into());
        let is_stale = |limit: u32| alone.staleness.is_none_or(|staleness| staleness >= after(limit));
        let stale = policy.stale_after_s.filter(|limit| is_stale(*limit)).map(|_| policy.when_stale);
        let clock = (alone.clock == ClockTrust::Untrusted).then_some(policy.clock_untrusted);
        let emergency_cards = alone.mirror_lost
            || matches!(stale, Some(WhenStale::CriticalGroups | WhenStale::EmergencyCards))
            || clock == Some(ClockFallback::EmergencyCards)
            || policy.emergency_after_s.is_some_and(|limit| alone.at_least >= after(limit));
        Regime { stale, clock, emergency_cards }
    }

    /// For the rules, which know who is critical.
    pub fn restriction(&self) -> Restriction {
        Restriction { clock: self.clock.unwrap_or_default(), stale: self.stale.unwrap_or_default() }
    }

    /// What has its event.
    pub fn fallbacks(&self) -> Vec<Fallback> {
        let emergency = self.emergency_cards.then_some(Fallback::EmergencyCards);
        let stale = self.stale.map(Fallback::Stale);
        stale.into_iter().chain(self.clock.map(Fallback::ClockUntrusted)).chain(emergency).collect()
    }

    /// When time alone changes it next.
    pub fn next_change(policy: &DoorPolicy, alone: &Alone, now: Mono) -> Option<Mono> {
        let left = |limit: Option<u32>, passed: Duration| {
            let limit = Duration::from_secs(limit?.into());
            (passed < limit).then(|| now + (limit - passed))
        };
        let stale = alone.staleness.and_then(|staleness| left(policy.stale_after_s, staleness));
        stale.into_iter().chain(left(policy.emergency_after_s, alone.at_least)).min()
    }
}

/// The time without a beat, while the node was on.
#[derive(Debug)]
pub struct Beatless {
    /// Before this run.
    carried: Duration,
    start: Mono,
    /// What the disk says.
    kept: Option<u64>,
}

impl Beatless {
    pub fn new(kept: &[Kept], now: Mono) -> Beatless {
        let seconds = kept.iter().find_map(|kept| match kept {
            Kept::WithoutBeat { seconds } => Some(*seconds),
            _ => None,
        });
        Beatless { carried: Duration::from_secs(seconds.unwrap_or(0)), start: now, kept: seconds }
    }

    pub fn alone(&self, now: Now, cloud: &CloudState) -> Alone {
        let staleness = cloud.staleness(now);
        let counted = self.counted(now.mono, cloud);
        Alone {
            staleness,
            at_least: staleness.map_or(counted, |staleness| staleness.max(counted)),
            clock: now.trust,
            mirror_lost: cloud.mirror_lost,
        }
    }

    fn counted(&self, now: Mono, cloud: &CloudState) -> Duration {
        match cloud.last_beat {
            Some(Confirmation::ThisRun(beat)) => now.since(beat),
            Some(Confirmation::Before(_)) | None => self.carried + now.since(self.start),
        }
    }

    /// What is to be written down by now. `limits`: what somebody waits for; one that has come is written down at
    /// once, so that no crash takes it back.
    pub fn keep(
        &mut self,
        now: Mono,
        cloud: &CloudState,
        limits: impl IntoIterator<Item = Duration>,
    ) -> Option<Result<Kept, KeptKey>> {
        let counted = self.counted(now, cloud);
        let known = Duration::from_secs(self.kept.unwrap_or(0));
        if counted < known && counted < KEEP_EVERY {
            return self.kept.take().map(|_| Err(KeptKey::without_beat()));
        }
        let reached = limits.into_iter().any(|limit| known < limit && limit <= counted);
        let due = reached || counted < known || counted - known >= KEEP_EVERY;
        due.then(|| {
            let seconds = counted.as_secs();
            self.kept = Some(seconds);
            Ok(Kept::WithoutBeat { seconds })
        })
    }

    /// When [`Beatless::keep`] has something to say, if no beat comes.
    pub fn next_keep(&self, now: Mono, cloud: &CloudState) -> Mono {
        let known = Duration::from_secs(self.kept.unwrap_or(0));
        now + (known + KEEP_EVERY).saturating_sub(self.counted(now, cloud))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Wall;

    fn policy(json: serde_json::Value) -> DoorPolicy {
        let mut policy = json;
        policy["doors"] = serde_json::json!([]);
        serde_json::from_value(policy).unwrap()
    }

    fn alone(staleness_s: Option<u64>, at_least_s: u64) -> Alone {
        Alone {
            staleness: staleness_s.map(Duration::from_secs),
            at_least: Duration::from_secs(at_least_s),
            clock: ClockTrust::Trusted,
            mirror_lost: false,
        }
    }

    #[test]
    fn without_a_policy_nothing_is_ever_stale_and_without_a_clock_the_rules_without_schedules_hold() {
        let default = DoorPolicy::default();
        assert_eq!(Regime::of(&default, &alone(None, 0)), Regime::default());
        let blind = Alone { clock: ClockTrust::Untrusted, ..alone(Some(1), 1) };
        let regime = Regime::of(&default, &blind);
        assert_eq!((regime.clock, regime.emergency_cards), (Some(ClockFallback::AlwaysRules), false));
        assert_eq!(regime.restriction(), Restriction::NONE);
    }

    #[test]
    fn a_set_is_stale_after_its_time_and_at_once_when_nobody_knows() {
        let policy = policy(serde_json::json!({ "stale_after_s": 3600, "when_stale": "critical_groups" }));
        assert_eq!(Regime::of(&policy, &alone(Some(3599), 3599)), Regime::default());
        for stale in [alone(Some(3600), 3600), alone(None, 0)] {
            let regime = Regime::of(&policy, &stale);
            assert_eq!(regime.restriction().stale, WhenStale::CriticalGroups);
            assert!(regime.emergency_cards);
        }
        let next = Regime::next_change(&policy, &alone(Some(600), 600), Mono::ZERO);
        assert_eq!(next, Some(Mono::from_millis(3_000_000)));
    }

    #[test]
    fn of_the_words_of_a_policy_those_that_name_emergency_cards_admit_them() {
        for (when_stale, emergency) in
            [("keep", false), ("critical_groups", true), ("emergency_cards", true), ("deny", false)]
        {
            let policy = policy(serde_json::json!({ "stale_after_s": 60, "when_stale": when_stale }));
            assert_eq!(Regime::of(&policy, &alone(None, 0)).emergency_cards, emergency, "{when_stale}");
        }
        for (clock, emergency) in [("always_rules", false), ("ignore_schedules", false), ("emergency_cards", true)] {
            let policy = policy(serde_json::json!({ "clock_untrusted": clock }));
            let blind = Alone { clock: ClockTrust::Untrusted, ..alone(Some(1), 1) };
            let regime = Regime::of(&policy, &blind);
            assert_eq!((regime.emergency_cards, regime.restriction().clock), (emergency, policy.clock_untrusted));
        }
    }

    #[test]
    fn emergency_cards_come_after_their_time_and_not_by_mere_ignorance_of_it() {
        let policy = policy(serde_json::json!({ "emergency_after_s": 7200 }));
        assert!(!Regime::of(&policy, &alone(None, 7199)).emergency_cards);
        assert!(Regime::of(&policy, &alone(None, 7200)).emergency_cards);
        let lost = Alone { mirror_lost: true, ..alone(Some(0), 0) };
        assert!(Regime::of(&DoorPolicy::default(), &lost).emergency_cards);
    }

    #[test]
    fn two_fallbacks_at_a_time_are_both_in_force_and_both_told() {
        let policy = policy(serde_json::json!({
            "stale_after_s": 60, "when_stale": "critical_groups", "clock_untrusted": "emergency_cards"
        }));
        let both = Alone { clock: ClockTrust::Untrusted, ..alone(None, 0) };
        let restriction = Restriction { clock: ClockFallback::EmergencyCards, stale: WhenStale::CriticalGroups };
        assert_eq!(Regime::of(&policy, &both).restriction(), restriction);
        assert_eq!(Regime::of(&policy, &both).fallbacks().len(), 3);
    }

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::from_millis(seconds * 1000), wall: Wall::EPOCH, trust: ClockTrust::Untrusted }
    }

    #[test]
    fn the_time_without_a_beat_is_counted_through_restarts_also_without_a_clock() {
        let offline = CloudState { last_beat: Some(Confirmation::Before(Wall::EPOCH)), ..CloudState::default() };
        let mut beatless = Beatless::new(&[], Mono::ZERO);
        let mut kept = None;
        let mut written = 0;
        for second in 0..=1000 {
            if let Some(Ok(value)) = beatless.keep(at(second).mono, &offline, []) {
                kept = Some(value);
                written += 1;
            }
        }
        assert_eq!((written, kept.clone()), (3, Some(Kept::WithoutBeat { seconds: 900 })));
        assert_eq!(beatless.next_keep(at(1000).mono, &offline), at(1200).mono);
        let mut beatless = Beatless::new(&[kept.unwrap()], at(50).mono);
        assert_eq!(beatless.alone(at(150), &offline).at_least, Duration::from_secs(1000));
        assert_eq!(beatless.alone(at(150), &offline).staleness, None);

        let back = CloudState { last_beat: Some(Confirmation::ThisRun(at(160).mono)), ..offline };
        assert_eq!(beatless.alone(at(170), &back).at_least, Duration::from_secs(10));
        assert_eq!(beatless.keep(at(170).mono, &back, []), Some(Err(KeptKey::without_beat())));
        assert_eq!(beatless.keep(at(170).mono, &back, []), None);
        assert_eq!(beatless.keep(at(460).mono, &back, []), Some(Ok(Kept::WithoutBeat { seconds: 300 })));
    }

    #[test]
    fn what_somebody_waited_for_has_come_for_the_next_run_as_well() {
        let offline = CloudState { last_beat: Some(Confirmation::Before(Wall::EPOCH)), ..CloudState::default() };
        let limit = Duration::from_secs(90);
        let mut beatless = Beatless::new(&[], Mono::ZERO);
        assert_eq!(beatless.keep(at(89).mono, &offline, [limit]), None);
        assert_eq!(beatless.keep(at(91).mono, &offline, [limit]), Some(Ok(Kept::WithoutBeat { seconds: 91 })));
        assert_eq!(beatless.keep(at(92).mono, &offline, [limit]), None, "once");
        let mut next = Beatless::new(&[Kept::WithoutBeat { seconds: 91 }], Mono::ZERO);
        assert!(next.alone(at(0), &offline).at_least >= limit);
        assert_eq!(next.keep(at(1).mono, &offline, [limit]), None);
        let back = CloudState { last_beat: Some(Confirmation::ThisRun(at(2).mono)), ..offline };
        assert_eq!(next.keep(at(3).mono, &back, [limit]), Some(Err(KeptKey::without_beat())));
    }

    #[test]
    fn a_trusted_clock_also_counts_the_time_in_which_the_node_was_off() {
        let wall = Wall::from_millis(1_790_000_000_000);
        let offline = CloudState { last_beat: Some(Confirmation::Before(wall)), ..CloudState::default() };
        let now = Now { mono: Mono::ZERO, wall: wall + Duration::from_secs(5000), trust: ClockTrust::Trusted };
        assert_eq!(Beatless::new(&[], Mono::ZERO).alone(now, &offline).at_least, Duration::from_secs(5000));
    }
}

//! Whether wall time can be believed. Owns the judgement; must never read a clock. Invariant: time
//! below the persisted floor, after an unexplained step, or against the cloud's last signed beat, is never
//! trusted until NTP or a beat has agreed with it.
//!
//! ```text
//!              NTP synchronised, or RTC near the last beat, or a beat agrees
//!  untrusted ───────────────────────────────────────────────────────────────▶ trusted
//!            ◀───────────────────────────────────────────────────────────────
//!              below the floor, a step without NTP, or a beat that disagrees
//! ```

use std::time::Duration;

use crate::domain::time::{ClockTrust, Mono, Now, Wall};

/// A wall clock that moved against the monotonic one by more than this has stepped.
const STEP_MIN: Duration = Duration::from_millis(1_500);
/// A beat vouches for the clock when it differs from it by no more than this.
const BEAT_AGREEMENT: Duration = Duration::from_secs(30);
/// After a restart an RTC is believed while the last beat is no older than this.
const RTC_BELIEF: Duration = Duration::from_secs(30 * 24 * 3600);
/// The floor is persisted when it has moved by this much.
const FLOOR_STEP: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vouchers {
    /// A time service has synchronised the clock since boot.
    pub ntp: bool,
    /// The clock was set at boot from hardware that runs on a battery.
    pub rtc: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockNote {
    Stepped {
        by_ms: i64,
    },
    Trusted(&'static str),
    Untrusted(&'static str),
    /// Persist this as the new floor.
    Floor(Wall),
}

#[derive(Debug)]
pub struct ClockJudge {
    trust: ClockTrust,
    floor: Wall,
    floor_persisted: Wall,
    /// The last reading of both clocks: a step is a difference in how far each went.
    last: (Mono, Wall),
    ntp: bool,
    /// The last beat named another time than this clock shows, which has not been stepped since.
    contradicted: bool,
}

impl ClockJudge {
    /// `floor`: the largest trusted time that was persisted; `last_beat`: when the cloud last vouched.
    pub fn new(mono: Mono, wall: Wall, vouchers: Vouchers, floor: Wall, last_beat: Option<Wall>) -> ClockJudge {
        let above_floor = wall >= floor;
        let rtc_believed = vouchers.rtc && last_beat.is_some_and(|beat| wall >= beat && wall.since(beat) <= RTC_BELIEF);
        let trust =
            if above_floor && (vouchers.ntp || rtc_believed) { ClockTrust::Trusted } else { ClockTrust::Untrusted };
        ClockJudge { trust, floor, floor_persisted: floor, last: (mono, wall), ntp: vouchers.ntp, contradicted: false }
    }

    pub fn trust(&self) -> ClockTrust {
        self.trust
    }

    /// To be called with every reading that starts a piece of work; cheap.
    pub fn observe(&mut self, mono: Mono, wall: Wall, notes: &mut Vec<ClockNote>) -> Now {
        let (last_mono, last_wall) = self.last;
        self.last = (mono, wall);
        let expected = last_wall + mono.since(last_mono);
        let by_ms = wall.as_millis() - expected.as_millis();
        if by_ms.unsigned_abs() > STEP_MIN.as_millis() as u64 {
            notes.push(ClockNote::Stepped { by_ms });
            self.contradicted = false;
            if !self.ntp {
                self.set(ClockTrust::Untrusted, "the clock was stepped and nothing vouches for it", notes);
            }
        }
        if wall < self.floor {
            self.set(ClockTrust::Untrusted, "the clock is behind a time that was once trusted", notes);
        }
        if self.trust == ClockTrust::Trusted {
            self.floor = self.floor.max(wall);
            if self.floor.since(self.floor_persisted) >= FLOOR_STEP {
                self.floor_persisted = self.floor;
                notes.push(ClockNote::Floor(self.floor));
            }
        }
        Now { mono, wall, trust: self.trust }
    }

    /// What the system says of NTP, looked at now and then.
    pub fn handle_vouchers(&mut self, vouchers: Vouchers, notes: &mut Vec<ClockNote>) {
        self.ntp = vouchers.ntp;
        if vouchers.ntp && !self.contradicted && self.last.1 >= self.floor {
            self.set(ClockTrust::Trusted, "synchronised by NTP", notes);
        }
    }

    /// A signed beat, fresh because it answers our nonce, says that it was `issued_at` at some instant
    /// between `asked_at` and now. The way there and back may take long; the clock agrees if it read
    /// that time, give or take [`BEAT_AGREEMENT`], within the span.
    pub fn handle_beat(&mut self, issued_at: Wall, asked_at: Mono, notes: &mut Vec<ClockNote>) {
        let (mono, wall) = self.last;
        let earliest = wall.saturating_sub(mono.since(asked_at)).saturating_sub(BEAT_AGREEMENT);
        if (earliest..=wall + BEAT_AGREEMENT).contains(&issued_at) {
            // The floor may stem from a clock that ran ahead; the cloud's word lowers it.
            self.floor = self.floor.min(wall);
            self.contradicted = false;
            self.set(ClockTrust::Trusted, "the cloud's beat agrees", notes);
        } else {
            // Also against NTP, which nobody signs: whoever holds it must not make old commands young.
            self.contradicted = true;
            self.set(ClockTrust::Untrusted, "the cloud's beat disagrees", notes);
        }
    }

    fn set(&mut self, trust: ClockTrust, why: &'static str, notes: &mut Vec<ClockNote>) {
        if self.trust == trust {
            return;
        }
        self.trust = trust;
        notes.push(match trust {
            ClockTrust::Trusted => ClockNote::Trusted(why),
            ClockTrust::Untrusted => ClockNote::Untrusted(why),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_790_000_000_000;

    fn judge(vouchers: Vouchers, floor: i64, beat: Option<i64>) -> ClockJudge {
        ClockJudge::new(
            Mono::from_millis(0),
            Wall::from_millis(NOON),
            vouchers,
            Wall::from_millis(floor),
            beat.map(Wall::from_millis),
        )
    }

    fn observe(judge: &mut ClockJudge, mono_ms: u64, wall_ms: i64) -> Vec<ClockNote> {
        let mut notes = Vec::new();
        let _ = judge.observe(Mono::from_millis(mono_ms), Wall::from_millis(wall_ms), &mut notes);
        notes
    }

    #[test]
    fn nothing_vouches_for_a_clock_without_ntp_rtc_or_beat() {
        assert_eq!(judge(Vouchers::default(), 0, None).trust(), ClockTrust::Untrusted);
    }

    #[test]
    fn ntp_is_believed_above_the_floor_only() {
        let ntp = Vouchers { ntp: true, rtc: false };
        assert_eq!(judge(ntp, NOON - 1, None).trust(), ClockTrust::Trusted);
        assert_eq!(judge(ntp, NOON + 1, None).trust(), ClockTrust::Untrusted);
    }

    #[test]
    fn an_rtc_is_believed_after_a_restart_while_the_last_beat_is_recent() {
        let rtc = Vouchers { ntp: false, rtc: true };
        assert_eq!(judge(rtc, 0, Some(NOON - 1000)).trust(), ClockTrust::Trusted);
        assert_eq!(judge(rtc, 0, None).trust(), ClockTrust::Untrusted);
        assert_eq!(judge(rtc, 0, Some(NOON + 1000)).trust(), ClockTrust::Untrusted, "the clock runs behind the beat");
        assert_eq!(judge(rtc, 0, Some(NOON - 40 * 86_400_000)).trust(), ClockTrust::Untrusted);
    }

    #[test]
    fn a_beat_that_agrees_restores_trust_without_ntp() {
        let mut judge = judge(Vouchers::default(), 0, None);
        let mut notes = Vec::new();
        judge.handle_beat(Wall::from_millis(NOON + 900), Mono::ZERO, &mut notes);
        assert_eq!(judge.trust(), ClockTrust::Trusted);
        assert_eq!(notes, [ClockNote::Trusted("the cloud's beat agrees")]);
    }

    #[test]
    fn a_step_ends_trust_until_a_beat_agrees_with_the_new_time() {
        let mut judge = judge(Vouchers { ntp: false, rtc: true }, NOON, Some(NOON - 1000));
        assert_eq!(observe(&mut judge, 1000, NOON + 1000), []);
        let notes = observe(&mut judge, 2000, NOON + 3_602_000);
        assert_eq!(notes[0], ClockNote::Stepped { by_ms: 3_600_000 });
        assert_eq!(judge.trust(), ClockTrust::Untrusted);
        judge.handle_beat(Wall::from_millis(NOON + 2000), Mono::from_millis(1900), &mut Vec::new());
        assert_eq!(judge.trust(), ClockTrust::Untrusted, "the beat speaks of another time");
        observe(&mut judge, 3000, NOON + 3000);
        judge.handle_beat(Wall::from_millis(NOON + 3000), Mono::from_millis(2900), &mut Vec::new());
        assert_eq!(judge.trust(), ClockTrust::Trusted);
    }

    #[test]
    fn ntp_against_the_clouds_word_is_not_believed_until_they_agree() {
        let ntp = Vouchers { ntp: true, rtc: false };
        let mut judge = judge(ntp, 0, None);
        judge.handle_beat(Wall::from_millis(NOON + 3_600_000), Mono::ZERO, &mut Vec::new());
        assert_eq!(judge.trust(), ClockTrust::Untrusted);
        judge.handle_vouchers(ntp, &mut Vec::new());
        assert_eq!(judge.trust(), ClockTrust::Untrusted, "NTP says the same as before");
        observe(&mut judge, 1000, NOON + 3_601_000);
        judge.handle_vouchers(ntp, &mut Vec::new());
        assert_eq!(judge.trust(), ClockTrust::Trusted, "NTP has set the clock anew");
    }

    #[test]
    fn the_floor_follows_trusted_time_in_steps_and_is_handed_out_to_be_persisted() {
        let mut judge = judge(Vouchers { ntp: true, rtc: false }, NOON - 1, None);
        assert_eq!(observe(&mut judge, 60_000, NOON + 60_000), []);
        assert_eq!(observe(&mut judge, 600_000, NOON + 600_000), [ClockNote::Floor(Wall::from_millis(NOON + 600_000))]);
    }
}

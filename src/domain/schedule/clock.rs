//! What the site's clocks show at an instant, without asking the time zone's rules each time. Owns a table of
//! the zone's changes until 2100; must never differ from the rules. Invariant: where the table does not know,
//! the rules are asked.
//!
//! A decision that looks at a schedule needs this once, and the rules take longer than the rest of it. The
//! table has a line for each stretch of 2^31 milliseconds (25 days); in nearly all there is one change or none.

use jiff::{Timestamp, tz::TimeZone};

use super::{Day, LocalTime};
use crate::domain::{record::DAY_MS, time::Wall};

const STRETCH_BITS: u32 = 31;
/// From 1970 to 2100.
const STRETCHES: i64 = 1911;

/// A time zone, at hand.
#[derive(Debug)]
pub struct Clock {
    zone: TimeZone,
    stretches: Box<[Stretch]>,
}

/// Offsets from UTC in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    change_ms: i64,
    before_ms: i32,
    after_ms: i32,
    /// False where there is more than one change.
    known: bool,
}

impl Clock {
    pub fn new(zone: &TimeZone) -> Clock {
        let offset_ms = |at: Timestamp| zone.to_offset(at).seconds().saturating_mul(1000);
        let mut before_ms = offset_ms(Timestamp::UNIX_EPOCH);
        let mut changes = zone.following(Timestamp::UNIX_EPOCH).peekable();
        let stretches = (1..=STRETCHES).map(|end| {
            let end_ms = end << STRETCH_BITS;
            let mut stretch = Stretch { change_ms: end_ms, before_ms, after_ms: before_ms, known: true };
            let mut found = 0;
            while let Some(change) = changes.next_if(|change| change.timestamp().as_millisecond() < end_ms) {
                stretch.change_ms = change.timestamp().as_millisecond();
                stretch.after_ms = offset_ms(change.timestamp());
                found += 1;
            }
            stretch.known = found <= 1;
            before_ms = stretch.after_ms;
            stretch
        });
        Clock { stretches: stretches.collect(), zone: zone.clone() }
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    #[inline]
    pub fn at(&self, wall: Wall) -> LocalTime {
        let millis = wall.as_millis();
        let stretch = usize::try_from(millis >> STRETCH_BITS).ok().and_then(|at| self.stretches.get(at));
        match stretch {
            Some(stretch) if stretch.known => {
                let offset = if millis < stretch.change_ms { stretch.before_ms } else { stretch.after_ms };
                LocalTime::shown(millis + i64::from(offset))
            }
            _ => LocalTime::at(wall, &self.zone),
        }
    }
}

impl LocalTime {
    /// Milliseconds from 1970-01-01T00:00 on, all of them as the clock shows it. Of this millennium or so.
    #[inline]
    fn shown(millis: i64) -> LocalTime {
        let day = millis.div_euclid(i64::from(DAY_MS)) as i32;
        let today = Day::numbered(day);
        LocalTime { today, yesterday: today.before(), millis: millis.rem_euclid(i64::from(DAY_MS)) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 12] = [
        "UTC",
        "Europe/Berlin",
        "Europe/Dublin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Africa/Casablanca",
        "Africa/Cairo",
        "Asia/Gaza",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ];

    #[track_caller]
    fn agree(clock: &Clock, millis: i64) {
        let wall = Wall::from_millis(millis);
        assert_eq!(clock.at(wall), LocalTime::at(wall, clock.zone()), "{wall} {:?}", clock.zone().iana_name());
    }

    #[test]
    fn the_table_agrees_with_the_rules_around_every_change_of_every_zone() {
        for name in jiff::tz::db().available() {
            let clock = Clock::new(&TimeZone::get(name.as_str()).unwrap());
            let changes = clock.zone().following(Timestamp::UNIX_EPOCH);
            for change in
                changes.map(|change| change.timestamp().as_millisecond()).take_while(|at| *at < STRETCHES << 31)
            {
                for millis in [-86_400_000, -1, 0, 1, 3_599_999, 3_600_000] {
                    agree(&clock, change + millis);
                }
            }
        }
    }

    #[test]
    fn the_table_agrees_with_the_rules_at_the_edges_of_its_stretches_and_beyond_its_end() {
        for name in ZONES {
            let clock = Clock::new(&TimeZone::get(name).unwrap());
            for stretch in 0..STRETCHES + 10 {
                agree(&clock, (stretch << STRETCH_BITS) - 1);
                agree(&clock, stretch << STRETCH_BITS);
            }
            agree(&clock, Wall::MAX.as_millis());
        }
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_rules_at_any_instant(zone in 0..ZONES.len(), millis in 0i64..5_000_000_000_000) {
            agree(&Clock::new(&TimeZone::get(ZONES[zone]).unwrap()), millis);
        }

        #[test]
        fn a_day_has_the_number_and_the_name_that_the_calendar_gives_it(number in -4_000_000i32..2_900_000) {
            let day = Day::numbered(number);
            let date = day.date().unwrap();
            prop_assert_eq!(Day::of(date), day);
            let epoch = jiff::civil::date(1970, 1, 1);
            prop_assert_eq!((date - epoch).get_days(), number);
            prop_assert_eq!(i32::from(day.weekday), i32::from(date.weekday().to_monday_zero_offset()));
        }
    }
}

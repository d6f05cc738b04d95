//! When a schedule begins or ends to hold. Owns the search for that instant; must never judge an instant in
//! another way than [`Schedule::holds`] does. Invariant: between an instant and its next change the schedule
//! holds throughout, or not at all.
//!
//! It can change only where the site's clocks show the end of an interval, or jump. Day by day these instants
//! are tried in order; where the week repeats itself and nothing happens, the search leaps to the next date
//! that a holiday or a single date names.

use std::collections::BTreeSet;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};

use super::{Day, Holiday, LocalTime, Schedule};
use crate::domain::{record::DAY_MS, time::Wall};

/// A week in which a clock change swallows something is followed by one in which it does not.
const QUIET_DAYS: i64 = 17;

/// 29 February comes again after eight years at the most.
const YEARS_MAX: i16 = 9;

impl Schedule {
    /// The first instant after this one from which on it holds if it does not now, or the other way round.
    /// `None`: not within nine years.
    pub fn next_change(&self, after: Wall, zone: &TimeZone) -> Option<Wall> {
        let now = self.holds(&LocalTime::at(after, zone));
        let today = zone.to_datetime(after.timestamp()).date();
        let special = self.special_dates(today);
        // Yesterday: where clocks are turned back over midnight, the day before comes again.
        let mut day = today.yesterday().ok()?;
        let mut last = day.checked_add(QUIET_DAYS.days()).ok()?;
        loop {
            let found = self.boundaries_on(day, zone).into_iter().filter(|at| *at > after);
            if let Some(at) = found.into_iter().find(|at| self.holds(&LocalTime::at(*at, zone)) != now) {
                return Some(at);
            }
            day = day.tomorrow().ok()?;
            if special.contains(&day) || day > last {
                let next = *special.range(day..).next()?;
                // What happens on a date may begin with the end of the night before it.
                day = day.max(next.yesterday().ok()?);
                last = next.checked_add(QUIET_DAYS.days()).ok()?;
            }
        }
    }

    /// The dates from this one on that are not like any other of their weekday.
    fn special_dates(&self, from: Date) -> BTreeSet<Date> {
        let single = self.dates.iter().filter_map(|(day, _)| Day::numbered(*day).date());
        let holidays = self.holidays.iter().flat_map(|rule| rule.holiday.dates_from(from));
        single.chain(holidays).filter(|date| *date >= from).collect()
    }

    /// Every instant of a civil day at which it may change, in order.
    fn boundaries_on(&self, date: Date, zone: &TimeZone) -> BTreeSet<Wall> {
        let start = |date: Date| zone.to_timestamp(date.to_datetime(Time::midnight())).ok();
        let (Some(from), Some(to)) = (start(date), date.tomorrow().ok().and_then(start)) else {
            return BTreeSet::new();
        };
        let mut instants = BTreeSet::new();
        let mut offer = |at: Timestamp| {
            if from <= at && at < to {
                instants.insert(Wall::from_millis(at.as_millisecond()));
            }
        };
        offer(from);
        let before = from.checked_sub(1.millisecond()).unwrap_or(from);
        zone.following(before).map(|change| change.timestamp()).take_while(|at| *at < to).for_each(&mut offer);
        // The civil time of an end may come on a day that is not its own, and twice.
        let days = [
            date.yesterday().ok().and_then(|day| day.yesterday().ok()),
            date.yesterday().ok(),
            Some(date),
            date.tomorrow().ok(),
        ];
        for day in days.into_iter().flatten() {
            for millis in self.ends_on(day) {
                let Some(at) = civil(day, millis) else { continue };
                match zone.to_ambiguous_timestamp(at).offset() {
                    AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(at).into_iter().for_each(&mut offer),
                    AmbiguousOffset::Fold { before, after } | AmbiguousOffset::Gap { before, after } => {
                        [before, after].into_iter().filter_map(|o| o.to_timestamp(at).ok()).for_each(&mut offer);
                    }
                }
            }
        }
        instants
    }

    /// Both ends of every interval that begins on this day.
    fn ends_on(&self, date: Date) -> impl Iterator<Item = u32> {
        let day = Day::of(date);
        self.usual_on(&day).iter().copied().chain(self.on_date(day.number)).flat_map(|span| [span.from, span.to])
    }
}

impl Holiday {
    /// Every single date, and the recurring ones for as long as is looked ahead.
    fn dates_from(&self, from: Date) -> impl Iterator<Item = Date> {
        let years = (0..=YEARS_MAX).filter_map(move |ahead| from.year().checked_add(ahead));
        let yearly =
            years.flat_map(|year| self.yearly().filter_map(move |(month, day)| Date::new(year, month, day).ok()));
        self.dates.iter().filter_map(|day| Day::numbered(*day).date()).chain(yearly)
    }
}

impl Holiday {
    /// Months and days of the recurring dates.
    fn yearly(&self) -> impl Iterator<Item = (i8, i8)> {
        let days = |days: u32| (1..=31i8).filter(move |day| days & super::day_bit(*day) != 0);
        (0i8..).zip(self.yearly).flat_map(move |(month, of_month)| days(of_month).map(move |day| (month, day)))
    }
}

/// `millis` after the midnight that begins `day`, as clocks show it; up to two days.
fn civil(day: Date, millis: u32) -> Option<DateTime> {
    let date = day.checked_add(i64::from(millis / DAY_MS).days()).ok()?;
    date.to_datetime(Time::midnight()).checked_add(i64::from(millis % DAY_MS).milliseconds()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::record;

    fn schedule(json: serde_json::Value) -> Schedule {
        let record: record::Schedule = serde_json::from_value(json).unwrap();
        let holiday = serde_json::from_value(serde_json::json!({
            "dates": ["2026-12-21", "2026-12-22", "2026-12-23", "2026-12-24", "2026-12-25", "2026-12-26", "2026-12-27",
                "2026-12-28", "2026-12-29", "2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02", "2027-01-03",
                "2027-01-04", "2027-01-05", "2027-01-06", "2027-01-07", "2027-01-08", "2027-01-09", "2027-01-10"],
            "yearly": ["02-29"]
        }));
        let holiday = Arc::new(Holiday::compile(&holiday.unwrap()));
        Schedule::compile(&record, |_| Some(holiday.clone()), &mut |fault| panic!("{fault}"))
    }

    fn wall(text: &str) -> Wall {
        Wall::from_millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[track_caller]
    fn check(zone: &str, schedule: &Schedule, after: &str, expected: &[&str]) {
        let zone = TimeZone::get(zone).unwrap();
        let mut at = wall(after);
        for expected in expected {
            at = schedule.next_change(at, &zone).unwrap();
            assert_eq!(at, wall(expected), "{at}");
        }
    }

    const WEEK: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

    fn daily(from: &str, to: &str) -> serde_json::Value {
        serde_json::json!({ "weekly": [{ "days": WEEK, "from": from, "to": to }] })
    }

    #[test]
    fn a_day_changes_at_both_of_its_ends() {
        let office = schedule(
            serde_json::json!({ "weekly": [{ "days": ["monday", "friday"], "from": "08:00", "to": "17:30" }] }),
        );
        check(
            "UTC",
            &office,
            "2026-11-23T00:00:00Z",
            &["2026-11-23T08:00:00Z", "2026-11-23T17:30:00Z", "2026-11-27T08:00:00Z", "2026-11-27T17:30:00Z"],
        );
        check("UTC", &office, "2026-11-23T07:59:59.999Z", &["2026-11-23T08:00:00Z"]);
        check("UTC", &office, "2026-11-23T08:00:00Z", &["2026-11-23T17:30:00Z"]);
    }

    #[test]
    fn intervals_that_meet_are_no_change() {
        let mut always = daily("00:00", "12:00");
        always["weekly"].as_array_mut().unwrap().push(daily("12:00", "00:00")["weekly"][0].clone());
        let always = schedule(always);
        assert_eq!(always.next_change(wall("2026-11-23T00:00:00Z"), &TimeZone::UTC), None);
        assert_eq!(schedule(serde_json::json!({})).next_change(wall("2026-11-23T00:00:00Z"), &TimeZone::UTC), None);
    }

    #[test]
    fn a_clock_change_moves_ends_and_swallows_intervals() {
        // Berlin has no 02:30 on 29 March 2026; the night's own end, at four, comes an hour early.
        let within = schedule(daily("02:10", "02:30"));
        check("Europe/Berlin", &within, "2026-03-28T12:00:00Z", &["2026-03-30T00:10:00Z"]);
        let night = schedule(daily("22:00", "04:00"));
        check("Europe/Berlin", &night, "2026-03-28T22:00:00Z", &["2026-03-29T02:00:00Z"]);
        // 02:10 to 02:30 comes twice on 25 October 2026.
        check(
            "Europe/Berlin",
            &within,
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:10:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z"],
        );
        // What is left of an interval begins and ends with the jump.
        let across = schedule(daily("01:30", "02:30"));
        check("Europe/Berlin", &across, "2026-03-28T12:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"]);
    }

    #[test]
    fn after_weeks_of_holidays_the_week_goes_on() {
        let mut sundays = serde_json::json!({ "weekly": [{ "days": ["friday"], "from": "10:00", "to": "11:00" }] });
        sundays["holidays"] = serde_json::json!([{ "holiday": "public" }]);
        check("UTC", &schedule(sundays), "2026-12-18T10:30:00Z", &["2026-12-18T11:00:00Z", "2027-01-15T10:00:00Z"]);
    }

    #[test]
    fn a_leap_day_is_found_years_ahead() {
        let leap = serde_json::json!({ "holidays": [{ "holiday": "public", "intervals": [{ "from": "23:00", "to": "01:00" }] }] });
        let leap = schedule(leap);
        let after = "2027-01-11T12:00:00Z";
        check("UTC", &leap, after, &["2028-02-29T23:00:00Z", "2028-03-01T01:00:00Z", "2032-02-29T23:00:00Z"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a walk in steps of five minutes, to which all ends here are kept.
        #[test]
        fn nothing_changes_before_the_next_change(
            intervals in proptest::collection::vec((proptest::sample::subsequence(WEEK.to_vec(), 1..4), 0u32..288, 0u32..288), 1..4),
            zone in proptest::sample::select(&["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut"][..]),
            start in 0i64..400,
            shift in 0i64..288,
        ) {
            let time = |step: u32| format!("{:02}:{:02}", step / 12, step % 12 * 5);
            let weekly: Vec<_> = intervals.iter().map(|(days, from, to)| {
                serde_json::json!({ "days": days, "from": time(*from), "to": time(*to) })
            }).collect();
            let schedule = schedule(serde_json::json!({ "weekly": weekly }));
            let zone = TimeZone::get(zone).unwrap();
            let after = Wall::from_millis(wall("2026-01-01T00:00:00Z").as_millis() + start * 86_400_000 + shift * 300_000);
            let holds = |at: i64| schedule.holds(&LocalTime::at(Wall::from_millis(at), &zone));
            let now = holds(after.as_millis());
            let walked = (1..288 * 9).map(|step| after.as_millis() + step * 300_000).find(|at| holds(*at) != now);
            prop_assert_eq!(schedule.next_change(after, &zone).map(Wall::as_millis), walked);
        }
    }
}

//! When. Owns the meaning of schedule and holiday records; must never read a clock or a time zone
//! database by itself. Invariant: a schedule is a function of civil time alone. An interval that a
//! clock change skips does not happen, one that a clock change repeats happens twice, and what begins
//! before midnight belongs to the day on which it began, whatever the next day is.

mod change;
mod clock;

use std::sync::Arc;

use jiff::{civil, tz::TimeZone};

pub use self::clock::Clock;
use super::{
    record::{self, DAY_MS, Interval, MonthDay, TimeOfDay, Weekday},
    time::Wall,
};

/// An instant as the site's clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    today: Day,
    yesterday: Day,
    /// Since midnight, as the clock shows it.
    millis: u32,
}

/// A civil day in the forms that schedules ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    /// Since 1970-01-01.
    number: i32,
    year: i16,
    month: i8,
    day: i8,
    /// 0 is Monday.
    weekday: u8,
}

impl LocalTime {
    pub fn at(wall: Wall, zone: &TimeZone) -> LocalTime {
        LocalTime::of(zone.to_datetime(wall.timestamp()))
    }

    pub fn of(at: civil::DateTime) -> LocalTime {
        let (date, time) = (at.date(), at.time());
        let seconds = i32::from(time.hour()) * 3600 + i32::from(time.minute()) * 60 + i32::from(time.second());
        LocalTime {
            today: Day::of(date),
            // Before the first day that the calendar knows, that day itself.
            yesterday: Day::of(date.yesterday().unwrap_or(date)),
            millis: seconds.unsigned_abs() * 1000 + u32::from(time.millisecond().unsigned_abs()),
        }
    }
}

/// Days of the proleptic Gregorian calendar, counted from 1 March 0000 in eras of 400 years (H. Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
const ERA_DAYS: i32 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const EPOCH: i32 = 719_468;

impl Day {
    fn of(date: civil::Date) -> Day {
        let (year, month, day) = (i32::from(date.year()), i32::from(date.month()), i32::from(date.day()));
        let year = year - i32::from(month <= 2);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Day::numbered(year.div_euclid(400) * ERA_DAYS + days - EPOCH)
    }

    /// Of a day that the calendar knows.
    #[inline]
    fn numbered(number: i32) -> Day {
        let days = number + EPOCH;
        let era = days.div_euclid(ERA_DAYS);
        let of_era = days.rem_euclid(ERA_DAYS);
        let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * years + years / 4 - years / 100);
        let march_months = (5 * of_year + 2) / 153;
        let month = if march_months < 10 { march_months + 3 } else { march_months - 9 };
        Day {
            number,
            year: (years + era * 400 + i32::from(month <= 2)) as i16,
            month: month as i8,
            day: (of_year - (153 * march_months + 2) / 5 + 1) as i8,
            // It was a Thursday.
            weekday: (number + 3).rem_euclid(7) as u8,
        }
    }

    /// Most days the month stays what it is, and there is little to compute.
    #[inline]
    fn before(self) -> Day {
        let (number, day, weekday) = (self.number - 1, self.day - 1, (self.weekday + 6) % 7);
        if day > 0 { Day { number, day, weekday, ..self } } else { Day::numbered(number) }
    }

    fn date(self) -> Option<civil::Date> {
        civil::Date::new(self.year, self.month, self.day).ok()
    }
}

/// Half-open, in milliseconds since the midnight that begins its day; beyond [`DAY_MS`] is the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    fn contains(self, millis: u32) -> bool {
        self.from <= millis && millis < self.to
    }
}

/// `from` must be before 24:00; `to` not after `from` ends on the next day.
fn span(from: TimeOfDay, to: TimeOfDay) -> Result<Span, String> {
    if from.0 >= DAY_MS {
        return Err(format!("an interval begins before 24:00, not at {from}"));
    }
    Ok(Span { from: from.0, to: if to > from { to.0 } else { to.0 + DAY_MS } })
}

/// Which days a holiday record means.
#[derive(Clone, Debug, PartialEq)]
pub struct Holiday {
    /// Their numbers, ascending.
    dates: Box<[i32]>,
    /// By month: a bit for each day of it.
    yearly: [u32; 13],
}

impl Holiday {
    pub fn compile(record: &record::Holiday) -> Holiday {
        let mut dates: Vec<_> = record.dates.iter().map(|date| Day::of(date.0).number).collect();
        dates.sort_unstable();
        let mut yearly = [0; 13];
        for MonthDay { month, day } in &record.yearly {
            if let Some(days) = usize::try_from(*month).ok().and_then(|month| yearly.get_mut(month)) {
                *days |= day_bit(*day);
            }
        }
        Holiday { dates: dates.into(), yearly }
    }

    pub fn falls_on(&self, date: civil::Date) -> bool {
        self.is_on(&Day::of(date))
    }

    fn is_on(&self, day: &Day) -> bool {
        let yearly = usize::try_from(day.month).ok().and_then(|month| self.yearly.get(month));
        yearly.is_some_and(|days| days & day_bit(day.day) != 0) || self.dates.binary_search(&day.number).is_ok()
    }
}

/// Nothing for what is no day of a month.
fn day_bit(day: i8) -> u32 {
    u32::try_from(day).ok().and_then(|day| 1u32.checked_shl(day)).unwrap_or_default()
}

/// What holds on a holiday in place of the weekday.
#[derive(Clone, Debug, PartialEq)]
struct HolidayRule {
    holiday: Arc<Holiday>,
    instead: Box<[Span]>,
}

/// A schedule record, compiled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// The n-th weekday's are `spans[weekly[n]..weekly[n + 1]]`.
    spans: Box<[Span]>,
    weekly: [u32; 8],
    /// Sorted by the number of the day.
    dates: Box<[(i32, Span)]>,
    /// In the record's order: the first that falls on a day decides that day.
    holidays: Box<[HolidayRule]>,
    /// By weekday, whether an interval of it runs past midnight.
    spills: [bool; 7],
    /// Whether one of a holiday or a single date does.
    spills_otherwise: bool,
}

impl Schedule {
    /// `holiday` resolves a reference; each thing that is wrong goes to `fault`.
    pub fn compile(
        record: &record::Schedule,
        holiday: impl Fn(&str) -> Option<Arc<Holiday>>,
        fault: &mut dyn FnMut(String),
    ) -> Schedule {
        let checked = |from, to, fault: &mut dyn FnMut(String)| span(from, to).map_err(fault).ok();
        let mut days: [Vec<Span>; 7] = Default::default();
        for interval in &record.weekly {
            if interval.days.is_empty() {
                fault("a weekly interval names no days".to_owned());
            }
            let Some(span) = checked(interval.from, interval.to, fault) else { continue };
            for (index, spans) in days.iter_mut().enumerate() {
                if interval.days.iter().any(|day| day_index(*day) == index) {
                    spans.push(span);
                }
            }
        }
        let mut dates = Vec::new();
        for interval in &record.dates {
            let span = checked(interval.from, interval.to, fault);
            dates.extend(span.map(|span| (Day::of(interval.date.0).number, span)));
        }
        dates.sort_unstable_by_key(|(date, span)| (*date, span.from));
        let mut holidays = Vec::new();
        for (index, named) in record.holidays.iter().enumerate() {
            if record.holidays.iter().take(index).any(|earlier| earlier.holiday == named.holiday) {
                fault(format!("holiday {} is named twice", named.holiday));
            }
            let instead =
                named.intervals.iter().filter_map(|Interval { from, to }| checked(*from, *to, fault)).collect();
            match holiday(&named.holiday) {
                Some(holiday) => holidays.push(HolidayRule { holiday, instead }),
                None => fault(format!("holiday {} does not exist", named.holiday)),
            }
        }
        let mut weekly = [0; 8];
        for (end, spans) in weekly.iter_mut().skip(1).zip((1..).map(|count| days.iter().take(count))) {
            *end = spans.map(|spans| spans.len() as u32).sum();
        }
        let spills = |span: &Span| span.to > DAY_MS;
        let mut special =
            holidays.iter().flat_map(|rule: &HolidayRule| &rule.instead).chain(dates.iter().map(|(_, span)| span));
        Schedule {
            spills_otherwise: special.any(spills),
            spills: days.each_ref().map(|spans| spans.iter().any(spills)),
            spans: days.concat().into(),
            weekly,
            dates: dates.into(),
            holidays: holidays.into(),
        }
    }

    #[inline]
    pub fn holds(&self, at: &LocalTime) -> bool {
        self.holds_on(&at.today, at.millis)
            || (self.spills_from(&at.yesterday) && self.holds_on(&at.yesterday, at.millis + DAY_MS))
    }

    /// Whether anything of this day can reach into the next.
    fn spills_from(&self, day: &Day) -> bool {
        self.spills_otherwise || self.spills.get(usize::from(day.weekday)).is_some_and(|spills| *spills)
    }

    fn holds_on(&self, day: &Day, millis: u32) -> bool {
        self.usual_on(day).iter().any(|span| span.contains(millis))
            || self.on_date(day.number).any(|span| span.contains(millis))
    }

    /// What the weekday, or the holiday in its place, gives.
    fn usual_on(&self, day: &Day) -> &[Span] {
        let rule = self.holidays.iter().find(|rule| rule.holiday.is_on(day));
        rule.map_or_else(|| self.on_weekday(day.weekday), |rule| &*rule.instead)
    }

    fn on_weekday(&self, weekday: u8) -> &[Span] {
        match self.weekly.get(usize::from(weekday)..usize::from(weekday) + 2) {
            Some([from, to]) => self.spans.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    fn on_date(&self, day: i32) -> impl Iterator<Item = Span> {
        let first = self.dates.partition_point(|(other, _)| *other < day);
        self.dates.iter().skip(first).take_while(move |(other, _)| *other == day).map(|(_, span)| *span)
    }
}

fn day_index(day: Weekday) -> usize {
    match day {
        Weekday::Monday => 0,
        Weekday::Tuesday => 1,
        Weekday::Wednesday => 2,
        Weekday::Thursday => 3,
        Weekday::Friday => 4,
        Weekday::Saturday => 5,
        Weekday::Sunday => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(json: serde_json::Value) -> Result<Schedule, Vec<String>> {
        let record: record::Schedule = serde_json::from_value(json).map_err(|e| vec![e.to_string()])?;
        let holidays: record::Holiday =
            serde_json::from_value(serde_json::json!({ "dates": ["2026-05-14"], "yearly": ["12-25", "02-29"] }))
                .map_err(|e| vec![e.to_string()])?;
        let whole_week: record::Holiday =
            serde_json::from_value(serde_json::json!({ "dates": ["2026-12-24", "2026-12-25", "2026-12-26"] }))
                .map_err(|e| vec![e.to_string()])?;
        let (public, winter) = (Arc::new(Holiday::compile(&holidays)), Arc::new(Holiday::compile(&whole_week)));
        let mut faults = Vec::new();
        let schedule = Schedule::compile(
            &record,
            |id| match id {
                "public" => Some(public.clone()),
                "winter" => Some(winter.clone()),
                _ => None,
            },
            &mut |fault| faults.push(fault),
        );
        if faults.is_empty() { Ok(schedule) } else { Err(faults) }
    }

    /// Asserts at which civil times the schedule holds.
    #[track_caller]
    fn check(json: serde_json::Value, cases: &[(&str, bool)]) {
        let schedule = compile(json).unwrap();
        for (at, holds) in cases {
            assert_eq!(schedule.holds(&LocalTime::of(at.parse().unwrap())), *holds, "{at}");
        }
    }

    /// Asserts at which instants the schedule holds in a zone.
    #[track_caller]
    fn check_in(zone: &str, json: serde_json::Value, cases: &[(&str, bool)]) {
        let schedule = compile(json).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        for (at, holds) in cases {
            let instant: jiff::Timestamp = at.parse().unwrap();
            let local = LocalTime::at(Wall::from_millis(instant.as_millisecond()), &zone);
            assert_eq!(schedule.holds(&local), *holds, "{at}");
        }
    }

    fn daily(from: &str, to: &str) -> serde_json::Value {
        let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        serde_json::json!({ "weekly": [{ "days": days, "from": from, "to": to }] })
    }

    #[test]
    fn an_interval_begins_at_its_first_millisecond_and_ends_before_its_last() {
        check(
            serde_json::json!({ "weekly": [{ "days": ["monday"], "from": "08:00", "to": "17:30" }] }),
            &[
                ("2026-11-23T07:59:59.999", false),
                ("2026-11-23T08:00:00.000", true),
                ("2026-11-23T17:29:59.999", true),
                ("2026-11-23T17:30:00.000", false),
                ("2026-11-24T12:00:00.000", false),
            ],
        );
    }

    #[test]
    fn an_interval_across_midnight_belongs_to_the_day_on_which_it_began() {
        check(
            serde_json::json!({ "weekly": [{ "days": ["friday"], "from": "22:00", "to": "06:00" }] }),
            &[
                ("2026-11-27T05:00:00", false),
                ("2026-11-27T22:00:00", true),
                ("2026-11-27T23:59:59.999", true),
                ("2026-11-28T00:00:00", true),
                ("2026-11-28T05:59:59.999", true),
                ("2026-11-28T06:00:00", false),
                ("2026-11-28T22:00:00", false),
            ],
        );
    }

    #[test]
    fn a_whole_day_is_written_with_24_00_and_equal_ends_last_a_day() {
        let day = |from, to| serde_json::json!({ "weekly": [{ "days": ["sunday"], "from": from, "to": to }] });
        let whole =
            [("2026-11-21T23:59:59.999", false), ("2026-11-22T00:00:00", true), ("2026-11-22T23:59:59.999", true)];
        check(day("00:00", "24:00"), &whole);
        check(day("00:00", "24:00"), &[("2026-11-23T00:00:00", false)]);
        check(day("00:00", "00:00"), &whole);
        check(day("00:00", "00:00"), &[("2026-11-23T00:00:00", false)]);
        check(day("08:00", "08:00"), &[("2026-11-23T07:59:59.999", true), ("2026-11-23T08:00:00", false)]);
        check(day("20:00", "00:00"), &[("2026-11-22T23:59:59.999", true), ("2026-11-23T00:00:00", false)]);
    }

    #[test]
    fn a_holiday_replaces_the_weekday_and_the_night_before_it_still_ends_in_it() {
        let mut schedule = daily("20:00", "04:00");
        schedule["holidays"] =
            serde_json::json!([{ "holiday": "public", "intervals": [{ "from": "10:00", "to": "11:00" }] }]);
        check(
            schedule,
            &[
                // 14 May 2026 is the holiday: the night of the 13th runs into it.
                ("2026-05-14T03:59:00", true),
                ("2026-05-14T10:30:00", true),
                ("2026-05-14T21:00:00", false),
                ("2026-05-15T03:00:00", false),
                ("2026-05-15T21:00:00", true),
                // Recurring dates, and a leap day that only leap years have.
                ("2031-12-25T21:00:00", false),
                ("2028-02-29T21:00:00", false),
                ("2027-03-01T21:00:00", true),
            ],
        );
    }

    #[test]
    fn where_holidays_coincide_the_first_that_is_listed_decides() {
        let schedule = |first: &str, second: &str| {
            serde_json::json!({ "holidays": [
                { "holiday": first, "intervals": if first == "winter" { vec![Interval { from: TimeOfDay(0), to: TimeOfDay(DAY_MS) }] } else { vec![] } },
                { "holiday": second, "intervals": if second == "winter" { vec![Interval { from: TimeOfDay(0), to: TimeOfDay(DAY_MS) }] } else { vec![] } },
            ]})
        };
        check(schedule("public", "winter"), &[("2026-12-24T12:00:00", true), ("2026-12-25T12:00:00", false)]);
        check(schedule("winter", "public"), &[("2026-12-24T12:00:00", true), ("2026-12-25T12:00:00", true)]);
    }

    #[test]
    fn a_single_date_adds_to_its_day_even_on_a_holiday() {
        let mut schedule = daily("08:00", "09:00");
        schedule["dates"] = serde_json::json!([
            { "date": "2026-05-14", "from": "23:00", "to": "01:00" },
            { "date": "2026-05-13", "from": "12:00", "to": "13:00" }
        ]);
        schedule["holidays"] = serde_json::json!([{ "holiday": "public" }]);
        check(
            schedule,
            &[
                ("2026-05-13T08:30:00", true),
                ("2026-05-13T12:30:00", true),
                ("2026-05-14T08:30:00", false),
                ("2026-05-14T12:30:00", false),
                ("2026-05-14T23:30:00", true),
                ("2026-05-15T00:30:00", true),
                ("2026-05-15T23:30:00", false),
            ],
        );
    }

    #[test]
    fn what_a_clock_change_skips_does_not_happen() {
        // Berlin: 02:00 to 03:00 on 29 March 2026 does not exist.
        let around = [
            ("2026-03-29T00:59:59.999Z", false),
            ("2026-03-29T01:00:00Z", false),
            ("2026-03-29T01:30:00Z", false),
            ("2026-03-28T01:30:00Z", true),
            ("2026-03-30T00:30:00Z", true),
        ];
        check_in("Europe/Berlin", daily("02:00", "03:00"), &around);
        // An interval around the gap is an hour shorter and ends when its clock says so.
        let night = [("2026-03-29T00:30:00Z", true), ("2026-03-29T01:00:00Z", true), ("2026-03-29T02:00:00Z", false)];
        check_in("Europe/Berlin", daily("22:00", "04:00"), &night);
    }

    #[test]
    fn what_a_clock_change_repeats_happens_twice() {
        // Berlin: 02:00 to 03:00 comes twice on 25 October 2026, at 00:00 and 01:00 UTC.
        let around = [
            ("2026-10-24T23:59:59.999Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:00:00Z", false),
        ];
        check_in("Europe/Berlin", daily("02:00", "03:00"), &around);
        // Lord Howe turns back half an hour: 01:30 to 02:00 on 5 April 2026 comes twice.
        let half_hour = [
            ("2026-04-04T14:29:00Z", false),
            ("2026-04-04T14:30:00Z", true),
            ("2026-04-04T15:15:00Z", true),
            ("2026-04-04T15:30:00Z", false),
        ];
        check_in("Australia/Lord_Howe", daily("01:30", "02:00"), &half_hour);
    }

    #[test]
    fn morocco_leaves_its_summer_time_for_ramadan() {
        // From 15 February to 22 March 2026 Casablanca is at UTC, otherwise an hour ahead.
        let at_eight =
            [("2026-02-10T07:00:00Z", true), ("2026-03-01T07:00:00Z", false), ("2026-03-01T08:00:00Z", true)];
        check_in("Africa/Casablanca", daily("08:00", "08:30"), &at_eight);
    }

    #[test]
    fn every_fault_of_a_schedule_is_found_at_once() {
        let faults = compile(serde_json::json!({
            "weekly": [{ "days": [], "from": "08:00", "to": "09:00" }, { "days": ["monday"], "from": "24:00", "to": "01:00" }],
            "holidays": [{ "holiday": "lost" }, { "holiday": "public" }, { "holiday": "public" }]
        }))
        .unwrap_err();
        assert_eq!(
            faults,
            [
                "a weekly interval names no days",
                "an interval begins before 24:00, not at 24:00",
                "holiday lost does not exist",
                "holiday public is named twice"
            ]
        );
    }
}

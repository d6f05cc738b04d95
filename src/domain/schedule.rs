//! When. Owns the meaning of schedule and holiday records; must never read a clock or a time zone
//! database by itself. Invariant: a schedule is a function of civil time alone. An interval that a
//! clock change skips does not happen, one that a clock change repeats happens twice, and what begins
//! before midnight belongs to the day on which it began, whatever the next day is.

use std::sync::Arc;

use jiff::{civil, tz::TimeZone};

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
    date: civil::Date,
    /// 0 is Monday.
    weekday: u8,
}

impl LocalTime {
    pub fn at(wall: Wall, zone: &TimeZone) -> LocalTime {
        LocalTime::of(zone.to_datetime(wall.timestamp()))
    }

    pub fn of(at: civil::DateTime) -> LocalTime {
        let (date, time) = (at.date(), at.time());
        let weekday = weekday_index(date.weekday());
        let seconds = i32::from(time.hour()) * 3600 + i32::from(time.minute()) * 60 + i32::from(time.second());
        LocalTime {
            today: Day { date, weekday },
            // Before the first day that the calendar knows, that day itself.
            yesterday: Day { date: date.yesterday().unwrap_or(date), weekday: (weekday + 6) % 7 },
            millis: seconds.unsigned_abs() * 1000 + u32::from(time.millisecond().unsigned_abs()),
        }
    }
}

fn weekday_index(weekday: civil::Weekday) -> u8 {
    weekday.to_monday_zero_offset().unsigned_abs()
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
    dates: Box<[civil::Date]>,
    yearly: Box<[MonthDay]>,
}

impl Holiday {
    pub fn compile(record: &record::Holiday) -> Holiday {
        let mut dates: Vec<_> = record.dates.iter().map(|date| date.0).collect();
        dates.sort_unstable();
        let mut yearly = record.yearly.clone();
        yearly.sort_unstable();
        Holiday { dates: dates.into(), yearly: yearly.into() }
    }

    fn falls_on(&self, date: civil::Date) -> bool {
        self.dates.binary_search(&date).is_ok()
            || self.yearly.binary_search(&MonthDay { month: date.month(), day: date.day() }).is_ok()
    }
}

/// A schedule record, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    weekly: [Box<[Span]>; 7],
    /// Sorted by date.
    dates: Box<[(civil::Date, Span)]>,
    /// In the record's order: the first that falls on a day decides that day.
    holidays: Box<[(Arc<Holiday>, Box<[Span]>)]>,
    /// Whether any interval runs past midnight.
    spills: bool,
}

impl Schedule {
    /// `holiday` resolves a reference; each thing that is wrong goes to `fault`.
    pub fn compile(
        record: &record::Schedule,
        holiday: impl Fn(&str) -> Option<Arc<Holiday>>,
        fault: &mut dyn FnMut(String),
    ) -> Schedule {
        let mut spills = false;
        let mut checked = |from, to, fault: &mut dyn FnMut(String)| {
            let span = span(from, to).map_err(&mut *fault).ok()?;
            spills |= span.to > DAY_MS;
            Some(span)
        };
        let mut weekly: [Vec<Span>; 7] = Default::default();
        for interval in &record.weekly {
            if interval.days.is_empty() {
                fault("a weekly interval names no days".to_owned());
            }
            let Some(span) = checked(interval.from, interval.to, fault) else { continue };
            for (index, spans) in weekly.iter_mut().enumerate() {
                if interval.days.iter().any(|day| day_index(*day) == index) {
                    spans.push(span);
                }
            }
        }
        let mut dates = Vec::new();
        for interval in &record.dates {
            dates.extend(checked(interval.from, interval.to, fault).map(|span| (interval.date.0, span)));
        }
        dates.sort_unstable_by_key(|(date, span)| (*date, span.from));
        let mut holidays = Vec::new();
        for (index, named) in record.holidays.iter().enumerate() {
            if record.holidays.iter().take(index).any(|earlier| earlier.holiday == named.holiday) {
                fault(format!("holiday {} is named twice", named.holiday));
            }
            let spans = named.intervals.iter().filter_map(|Interval { from, to }| checked(*from, *to, fault)).collect();
            match holiday(&named.holiday) {
                Some(holiday) => holidays.push((holiday, spans)),
                None => fault(format!("holiday {} does not exist", named.holiday)),
            }
        }
        Schedule { weekly: weekly.map(Into::into), dates: dates.into(), holidays: holidays.into(), spills }
    }

    pub fn holds(&self, at: &LocalTime) -> bool {
        self.holds_on(&at.today, at.millis) || (self.spills && self.holds_on(&at.yesterday, at.millis + DAY_MS))
    }

    fn holds_on(&self, day: &Day, millis: u32) -> bool {
        let holiday = self.holidays.iter().find(|(holiday, _)| holiday.falls_on(day.date));
        let usual = || self.weekly.get(usize::from(day.weekday)).map(|spans| &**spans).unwrap_or_default();
        let spans = holiday.map_or_else(usual, |(_, instead)| instead);
        spans.iter().any(|span| span.contains(millis)) || self.on_date(day.date).any(|span| span.contains(millis))
    }

    fn on_date(&self, date: civil::Date) -> impl Iterator<Item = Span> {
        let first = self.dates.partition_point(|(other, _)| *other < date);
        self.dates.iter().skip(first).take_while(move |(other, _)| *other == date).map(|(_, span)| *span)
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

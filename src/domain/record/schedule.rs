//! When. Owns the shapes of `schedule` and `holiday`; must never know a time zone. Invariant: intervals
//! are half-open, so that two that touch neither overlap nor leave a gap.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ids::Id;

/// When: in the site's time zone. Holidays named here replace the weekday on their dates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekly: Vec<WeeklyInterval>,
    /// Single dates, added to the weekly intervals of that day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<DateInterval>,
    /// Holidays on which the weekly intervals do not hold, and what holds instead (nothing: closed). Where
    /// several fall on one day, the first listed here decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<HolidayIntervals>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// From `from` up to, not including, `to`. `to` not after `from` means that the interval ends on the
/// next day; `00:00` to `24:00` is a whole day. What begins on a day belongs to that day, also past
/// midnight. `from` is before `24:00`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeeklyInterval {
    pub days: Vec<Weekday>,
    pub from: TimeOfDay,
    pub to: TimeOfDay,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DateInterval {
    pub date: Date,
    pub from: TimeOfDay,
    pub to: TimeOfDay,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HolidayIntervals {
    pub holiday: Id,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    pub from: TimeOfDay,
    pub to: TimeOfDay,
}

/// A set of dates, single or recurring every year.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<Date>,
    /// Every year; 29 February holds in leap years only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub yearly: Vec<MonthDay>,
}

/// `HH:MM` or `HH:MM:SS`, 00:00 to 24:00, in milliseconds since local midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(pub u32);

/// `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub jiff::civil::Date);

/// `MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonthDay {
    pub month: i8,
    pub day: i8,
}

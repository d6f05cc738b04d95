//! Time as an argument. Owns the two kinds of time and the trust in one of them; must never read a
//! clock. Invariant: deadlines are [`Mono`] (counts suspend, never steps), schedules and
//! records are [`Wall`] (may step, may be wrong, says so through [`ClockTrust`]).

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// Nanoseconds on a clock that never steps and counts suspend (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    pub const ZERO: Mono = Mono(0);
    pub const MAX: Mono = Mono(u64::MAX);

    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    pub const fn from_millis(millis: u64) -> Mono {
        Mono(millis.saturating_mul(1_000_000))
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, duration: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

impl Wall {
    /// 9999-12-31T23:59:59.999Z: the last instant that RFC 3339 can write.
    pub const MAX: Wall = Wall(253_402_300_799_999);
    pub const EPOCH: Wall = Wall(0);

    pub const fn from_millis(millis: i64) -> Wall {
        Wall(if millis < 0 {
            0
        } else if millis > Self::MAX.0 {
            Self::MAX.0
        } else {
            millis
        })
    }

    /// A JWT NumericDate: seconds, fractions allowed (RFC 7519 section 2). Rounded to milliseconds;
    /// what is not a number in range is `None`.
    pub fn from_numeric_date(seconds: f64) -> Option<Wall> {
        let millis = (seconds * 1000.0).round();
        (millis >= 0.0 && millis <= Self::MAX.0 as f64).then_some(Wall(millis as i64))
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Wall) -> Duration {
        let millis = self.0 - earlier.0;
        Duration::from_millis(if millis > 0 { millis as u64 } else { 0 })
    }

    pub fn saturating_sub(self, duration: Duration) -> Wall {
        Wall::from_millis(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;
    fn add(self, duration: Duration) -> Wall {
        Wall::from_millis(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC with milliseconds, the one form on the wire and in the store.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Wall, D::Error> {
        super::textual::deserialize(deserializer, |text| {
            let stamp: Result<jiff::Timestamp, _> = text.parse();
            let stamp =
                stamp.map_err(|_| format!("{text:?} is not an RFC 3339 time such as 2026-01-31T08:00:00.000Z"))?;
            Ok(Wall::from_millis(stamp.as_millisecond()))
        })
    }
}

impl schemars::JsonSchema for Wall {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339, UTC, milliseconds",
            "examples": ["2026-01-31T08:00:00.000Z"]
        })
    }
}

/// Whether wall time can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockTrust {
    Trusted,
    Untrusted,
}

/// The instant that an input is handled at: every pure machine takes one, none makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    pub wall: Wall,
    pub trust: ClockTrust,
}

impl Now {
    /// The monotonic instant at which the wall clock will read `wall`; already past instants give `mono`.
    pub fn mono_at(&self, wall: Wall) -> Mono {
        self.mono + wall.since(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_written_in_utc_with_milliseconds() {
        assert_eq!(Wall::from_millis(1_790_000_000_120).to_string(), "2026-09-21T14:13:20.120Z");
        assert_eq!(Wall::EPOCH.to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_numeric_date_out_of_range_is_no_time() {
        assert_eq!(Wall::from_numeric_date(1_790_000_000.12), Some(Wall::from_millis(1_790_000_000_120)));
        for bad in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(Wall::from_numeric_date(bad), None, "{bad}");
        }
    }
}

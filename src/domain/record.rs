//! The records of the permission set, as the contract names them. Owns their shapes and nothing of
//! their meaning (that is `permission`); must never accept a field it does not know, because it may be
//! a restriction. Invariant: a record that parsed is well-formed by itself; references between records
//! are checked when the set is compiled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ids::Id, time::Wall};

/// Record kinds that this version understands; any other is kept and reported.
pub const KNOWN_KINDS: [&str; 8] =
    ["person", "credential", "group", "access_rule", "schedule", "holiday", "operator", "role"];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Record {
    Person(Person),
    Credential(Credential),
    Group(Group),
    AccessRule(AccessRule),
    Schedule(Schedule),
    Holiday(Holiday),
    Operator(Operator),
    Role(Role),
}

impl Record {
    pub fn kind(&self) -> &'static str {
        match self {
            Record::Person(_) => "person",
            Record::Credential(_) => "credential",
            Record::Group(_) => "group",
            Record::AccessRule(_) => "access_rule",
            Record::Schedule(_) => "schedule",
            Record::Holiday(_) => "holiday",
            Record::Operator(_) => "operator",
            Record::Role(_) => "role",
        }
    }
}

/// A cardholder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// For people who read logs; latchd never decides by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Active from this instant on; absent: since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Wall>,
    /// Expired from this instant on; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Id>,
    /// Extended release and open times (accessibility).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended_access: bool,
}

/// A card. Its number never stands in the set: only keyed hashes do (see `token`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    pub person: Id,
    pub token: Token,
    #[serde(default)]
    pub state: CredentialState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
}

/// base64url, without padding, of HMAC-SHA-256 under the site's credential key over the card's text:
/// `raw:{bits}:{hex}` (lower-case hex, ceil(bits/4) digits) for the bits as read, or
/// `h10301:{facility}:{number}` (decimal) for a decoded card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 32]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    #[default]
    Active,
    Suspended,
    Lost,
    Stolen,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Allow,
    /// Overrides every allow.
    Deny,
}

/// Who may, or must not, pass where and when. At least one of `groups` and `persons`, and one door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    pub effect: Effect,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<Id>,
    /// Ids of doors of this node; a door that the node does not have is no error: sets are shared.
    pub doors: Vec<Id>,
    /// Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Id>,
}

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

/// Someone who may command this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub status: OperatorStatus,
    /// A built-in role (`integrator`, `admin`, `manager`, `reporter`) or the id of a role record.
    pub role: Id,
    /// Doors assigned; absent: every door of the node, but for a `manager`, who has only what is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<Vec<Id>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum OperatorStatus {
    Active {},
    /// Invited, not accepted; dead after `expires_at`.
    Invited {
        expires_at: Wall,
    },
    Suspended {},
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub capabilities: Vec<Capability>,
}

/// What an operator may do; the table from command to capability is in `domain::operator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    People,
    Groups,
    SystemEvents,
    AutoOpen,
    Elevators,
    Reports,
    Partitions,
    DoorStates,
    LiveEvents,
    Configuration,
    EmergencyCards,
    DoorControl,
    Operators,
    Lockdown,
    FloorControl,
    Outputs,
    Lockers,
    AntiPassback,
    Alarms,
}

// ---- the textual forms ----

macro_rules! textual {
    ($type:ty, $pattern:expr, $parse:expr, $render:expr) => {
        impl std::str::FromStr for $type {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $parse(text)
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let render: fn(&Self, &mut std::fmt::Formatter<'_>) -> std::fmt::Result = $render;
                render(self, f)
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(|e| serde::de::Error::custom(format!("{text:?}: {e}")))
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

pub const DAY_MS: u32 = 86_400_000;

fn parse_time_of_day(text: &str) -> Result<TimeOfDay, &'static str> {
    const EXPECTED: &str = "expected a time of day from 00:00 to 24:00, as HH:MM or HH:MM:SS";
    let mut fields = [0u32; 3];
    let mut count = 0;
    for part in text.split(':') {
        let two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let slot = fields.get_mut(count).filter(|_| two_digits).ok_or(EXPECTED)?;
        *slot = part.parse().map_err(|_| EXPECTED)?;
        count += 1;
    }
    let [hours, minutes, seconds] = fields;
    let millis = (hours * 3600 + minutes * 60 + seconds) * 1000;
    if count < 2 || minutes > 59 || seconds > 59 || millis > DAY_MS {
        return Err(EXPECTED);
    }
    Ok(TimeOfDay(millis))
}

textual!(TimeOfDay, "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$|^24:00(:00)?$", parse_time_of_day, |time, f| {
    let seconds = time.0 / 1000;
    write!(f, "{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
    if seconds % 60 != 0 {
        write!(f, ":{:02}", seconds % 60)?;
    }
    Ok(())
});

textual!(
    Date,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    |text: &str| {
        const EXPECTED: &str = "expected a date as YYYY-MM-DD";
        if text.len() != 10 {
            return Err(EXPECTED);
        }
        text.parse().map(Date).map_err(|_| EXPECTED)
    },
    |date, f| write!(f, "{}", date.0)
);

fn parse_month_day(text: &str) -> Result<MonthDay, &'static str> {
    const EXPECTED: &str = "expected a day of the year as MM-DD";
    let (month, day) = text.split_once('-').ok_or(EXPECTED)?;
    let number = |t: &str| {
        (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<i8>().ok()).flatten().ok_or(EXPECTED)
    };
    let (month, day) = (number(month)?, number(day)?);
    // 2024 is a leap year, so 29 February passes.
    jiff::civil::Date::new(2024, month, day).map_err(|_| EXPECTED)?;
    Ok(MonthDay { month, day })
}

textual!(MonthDay, "^[0-9]{2}-[0-9]{2}$", parse_month_day, |day, f| write!(f, "{:02}-{:02}", day.month, day.day));

fn parse_token(text: &str) -> Result<Token, &'static str> {
    const EXPECTED: &str = "expected base64url without padding of 32 bytes (HMAC-SHA-256)";
    let mut bytes = [0u8; 32];
    use base64::Engine as _;
    match base64::engine::general_purpose::URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(32) => Ok(Token(bytes)),
        _ => Err(EXPECTED),
    }
}

textual!(Token, "^[A-Za-z0-9_-]{43}$", parse_token, |token, f| {
    use base64::Engine as _;
    f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.0))
});

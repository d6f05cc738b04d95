//! The set in a form that any engine can be loaded from, and a question as any engine can be asked it. Owns
//! what all peers are given alike; must never use latchd's compiled set. Invariant: nothing here decides.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil, tz::TimeZone};
use latchd::domain::{
    ids::Id,
    record::{
        AccessRule, Authentication, Credential, DAY_MS, Holiday, Medium, Person, Record, Schedule, TimeOfDay, Weekday,
    },
    time::Wall,
};

/// The records by kind.
#[derive(Default)]
pub struct Model {
    pub people: BTreeMap<Id, Person>,
    pub credentials: BTreeMap<Id, Credential>,
    pub rules: BTreeMap<Id, AccessRule>,
    pub schedules: BTreeMap<Id, Schedule>,
    pub holidays: BTreeMap<Id, Holiday>,
    pub critical_groups: BTreeSet<Id>,
}

impl Model {
    pub fn new(records: &[(Id, Record)]) -> Model {
        let mut model = Model::default();
        for (id, record) in records.iter().cloned() {
            match record {
                Record::Person(body) => drop(model.people.insert(id, body)),
                Record::Credential(body) => drop(model.credentials.insert(id, body)),
                Record::AccessRule(body) => drop(model.rules.insert(id, body)),
                Record::Schedule(body) => drop(model.schedules.insert(id, body)),
                Record::Holiday(body) => drop(model.holidays.insert(id, body)),
                Record::Group(body) if body.critical => drop(model.critical_groups.insert(id)),
                _ => {}
            }
        }
        model
    }

    pub fn is_critical(&self, person: &Person) -> bool {
        person.groups.iter().any(|group| self.critical_groups.contains(group))
    }
}

/// A PIN by itself is a credential too.
pub fn is_card(credential: &Credential) -> bool {
    credential.medium != Medium::Pin
}

pub fn asks(rule: &AccessRule) -> &'static str {
    match rule.authentication.unwrap_or_default() {
        Authentication::Card => "card",
        Authentication::Pin => "pin",
        Authentication::CardAndPin => "card_and_pin",
        Authentication::CardOrPin => "card_or_pin",
        Authentication::TwoPerson => "two_person",
    }
}

/// From (inclusive) to (exclusive), in milliseconds since the midnight that begins its day.
pub type Span = (i64, i64);

pub fn span(from: TimeOfDay, to: TimeOfDay) -> Span {
    let end = if to > from { to.0 } else { to.0 + DAY_MS };
    (i64::from(from.0), i64::from(end))
}

/// Monday is 0.
pub fn weekday(day: Weekday) -> i64 {
    use Weekday::*;
    [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday].iter().position(|other| *other == day).unwrap_or(0)
        as i64
}

/// 20261225
pub fn date_number(date: civil::Date) -> i64 {
    i64::from(date.year()) * 10_000 + month_day_number(date.month(), date.day())
}

/// 1225
pub fn month_day_number(month: i8, day: i8) -> i64 {
    i64::from(month) * 100 + i64::from(day)
}

/// A civil day in numbers, which every engine can compare.
#[derive(Clone, Copy)]
pub struct Day {
    pub date: i64,
    pub month_day: i64,
    pub weekday: i64,
}

impl Day {
    fn of(date: civil::Date) -> Day {
        Day {
            date: date_number(date),
            month_day: month_day_number(date.month(), date.day()),
            weekday: i64::from(date.weekday().to_monday_zero_offset()),
        }
    }
}

/// An instant as the site's clocks show it. No engine knows time zones, so all of them are told.
#[derive(Clone, Copy)]
pub struct Local {
    pub today: Day,
    pub yesterday: Day,
    /// Since midnight.
    pub ms: i64,
    /// Since 1970, in UTC.
    pub at: i64,
}

impl Local {
    pub fn at(wall: Wall, zone: &TimeZone) -> Local {
        let civil = zone.to_datetime(wall.timestamp());
        let time = civil.time();
        let seconds = (i64::from(time.hour()) * 60 + i64::from(time.minute())) * 60 + i64::from(time.second());
        Local {
            today: Day::of(civil.date()),
            yesterday: Day::of(civil.date().yesterday().unwrap_or(civil.date())),
            ms: seconds * 1000 + i64::from(time.millisecond()),
            at: wall.as_millis(),
        }
    }
}

/// What a peer is asked.
pub struct Asked<'a> {
    /// base64url
    pub token: &'a str,
    pub door: &'a str,
    pub local: Local,
    /// base64url, of what was typed to go with the card.
    pub pin: Option<&'a str>,
    /// The token of the card that came before.
    pub companion: Option<&'a str>,
    /// Critical groups only.
    pub is_stale: bool,
}

pub trait Peer {
    fn name(&self) -> &'static str;
    /// What it cannot say by itself, and is told by functions or tables of ours.
    fn helped_by(&self) -> &'static str;
    fn passes(&mut self, asked: &Asked<'_>) -> bool;
}

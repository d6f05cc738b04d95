//! Random sets and the instants that are worth asking them about.

use jiff::{Timestamp, civil, tz::TimeZone};
use latchd::domain::{
    ids::Id,
    record::{
        AccessRule, Authentication, Credential, CredentialState, DAY_MS, Date, DateInterval, Effect, FloorGrant, Group,
        Holiday, HolidayIntervals, Interval, Medium, MonthDay, Person, Record, Schedule, TimeOfDay, Token, Weekday,
        WeeklyInterval,
    },
    time::{ClockTrust, Mono, Now, Wall},
    topology::{FloorGroupPlace, Topology},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

pub const DOORS: [&str; 3] = ["front", "back", "gate"];
/// The one elevator, and its floors.
pub const CAB: &str = "tower";
pub const FLOORS: [&str; 4] = ["ground", "first", "second", "roof"];
/// A door, or floor group, that rules name and the node does not have.
const FOREIGN: &str = "elsewhere";
const GROUPS: usize = 4;
const PERSONS: usize = 4;
const SCHEDULES: usize = 4;
const HOLIDAYS: usize = 2;

/// Northern, southern, half an hour, changes at midnight, changes for Ramadan, a day that was skipped,
/// quarter hours, none.
pub const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/New_York",
    "America/Havana",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Asia/Beirut",
];

pub fn id(text: impl AsRef<str>) -> Id {
    Id::new(text.as_ref()).unwrap()
}

pub fn token(number: usize) -> Token {
    let mut bytes = [7; 32];
    bytes[0] = u8::try_from(number).unwrap();
    Token(bytes)
}

pub fn topology() -> Topology {
    let tower = FloorGroupPlace { id: id(CAB), floors: FLOORS[..3].iter().map(id).collect() };
    Topology { floor_groups: vec![tower], ..Topology::of_doors(&DOORS.map(id)) }
}

/// A question to a set, with the set.
#[derive(Clone, Debug)]
pub struct Case {
    pub zone: &'static str,
    pub records: Vec<(Id, Record)>,
    pub now: Now,
}

pub fn cases() -> impl Strategy<Value = Case> {
    let zone_and_instant = select(&ZONES[..]).prop_flat_map(|zone| (Just(zone), instants(zone)));
    (zone_and_instant, any::<bool>(), any::<bool>()).prop_flat_map(|((zone, millis), a, b)| {
        // One clock in four is not to be trusted.
        let trust = if a && b { ClockTrust::Untrusted } else { ClockTrust::Trusted };
        let now = Now { mono: Mono::ZERO, wall: Wall::from_millis(millis), trust };
        let today = Timestamp::from_millisecond(millis).unwrap().to_zoned(TimeZone::get(zone).unwrap()).date();
        records(millis, today).prop_map(move |records| Case { zone, records, now })
    })
}

/// Near a change of the clocks, near a midnight, near a leap day, or anywhere from 2000 to 2060.
fn instants(zone: &'static str) -> BoxedStrategy<i64> {
    let anywhere = 946_684_800_000i64..2_840_140_800_000;
    let near = (-2i64 * 86_400_000..2 * 86_400_000i64).prop_union(-3_700_000i64..3_700_000);
    let exact = select(&[-1i64, 0, 1][..]);
    let offset = prop_oneof![near, exact];
    let change = (anywhere.clone(), offset.clone()).prop_map(move |(after, offset)| {
        let zone = TimeZone::get(zone).unwrap();
        let next = zone.following(Timestamp::from_millisecond(after).unwrap()).next();
        next.map_or(after, |change| change.timestamp().as_millisecond()) + offset
    });
    let local = move |date: civil::Date| {
        let zone = TimeZone::get(zone).unwrap();
        date.to_datetime(civil::Time::midnight()).to_zoned(zone).unwrap().timestamp().as_millisecond()
    };
    let midnight = (anywhere.clone(), select(&[-1i64, 0, 1][..])).prop_map(move |(at, offset)| {
        let zone = TimeZone::get(zone).unwrap();
        local(Timestamp::from_millisecond(at).unwrap().to_zoned(zone).date()) + offset
    });
    let leap = select(&[2000i16, 2023, 2024, 2028, 2099][..])
        .prop_flat_map(move |year| (Just(year), offset.clone()))
        .prop_map(move |(year, offset)| local(civil::date(year, 3, 1)) + offset);
    prop_oneof![3 => change, 2 => midnight, 1 => leap, 2 => anywhere].boxed()
}

fn records(now: i64, today: civil::Date) -> impl Strategy<Value = Vec<(Id, Record)>> {
    (
        vec(person(now), PERSONS),
        vec(credential(now), 6),
        vec(access_rule(), 0..7),
        vec(schedule(today), SCHEDULES),
        vec(holiday(today), HOLIDAYS),
        any::<u64>(),
    )
        .prop_map(|(persons, credentials, rules, schedules, holidays, order)| {
            let mut records: Vec<(Id, Record)> = Vec::new();
            let mut put = |kind: &str, bodies: Vec<Record>| {
                records.extend(bodies.into_iter().enumerate().map(|(n, body)| (id(format!("{kind}{n}")), body)));
            };
            // The last group is critical.
            let group = |n| Record::Group(Group { critical: n == GROUPS - 1, ..Group::default() });
            put("g", (0..GROUPS).map(group).collect());
            let persons = persons.into_iter().enumerate();
            put("p", persons.map(|(n, (pins, body))| Record::Person(with_pins(n, pins, body))).collect());
            let credentials = credentials.into_iter().enumerate();
            put("c", credentials.map(|(n, body)| Record::Credential(Credential { token: token(n), ..body })).collect());
            put("r", rules.into_iter().map(Record::AccessRule).collect());
            put("s", schedules.into_iter().map(Record::Schedule).collect());
            put("h", holidays.into_iter().map(Record::Holiday).collect());
            // Records come in no particular order.
            records
                .sort_by_key(|(id, _)| order.rotate_left(id.bytes().map(u32::from).sum()) ^ u64::from(id.len() as u32));
            records
        })
}

fn ids(kind: &'static str, count: usize, sizes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Id>> {
    vec((0..count).prop_map(move |n| id(format!("{kind}{n}"))), sizes)
}

/// A date limit that is mostly absent, and otherwise at, just beside or far from now.
fn limit(now: i64) -> impl Strategy<Value = Option<Wall>> {
    let offset = select(&[-86_400_000i64, -1, 0, 1, 86_400_000][..]);
    option::weighted(0.2, offset.prop_map(move |offset| Wall::from_millis(now + offset)))
}

/// The PIN that goes with the cards of a person, and the one for duress.
pub fn pin(person: usize) -> Token {
    Token([40 + person as u8; 32])
}

pub fn duress_pin(person: usize) -> Token {
    Token([60 + person as u8; 32])
}

fn with_pins(number: usize, (has_pin, has_duress_pin): (bool, bool), person: Person) -> Person {
    Person { pin: has_pin.then(|| pin(number)), duress_pin: has_duress_pin.then(|| duress_pin(number)), ..person }
}

fn person(now: i64) -> impl Strategy<Value = ((bool, bool), Person)> {
    let pins = (proptest::bool::weighted(0.7), proptest::bool::weighted(0.5));
    let body = (limit(now), limit(now), ids("g", GROUPS, 0..4), any::<bool>(), any::<bool>()).prop_map(
        |(active_from, expires_at, groups, extended_access, apb_exempt)| Person {
            active_from,
            expires_at,
            groups,
            extended_access,
            apb_exempt,
            ..Person::default()
        },
    );
    (pins, body)
}

fn credential(now: i64) -> impl Strategy<Value = Credential> {
    use CredentialState::*;
    let state = select(&[Active, Active, Active, Active, Active, Active, Suspended, Lost, Stolen][..]);
    use Medium::*;
    let medium = select(&[Card, Card, Card, Card, Card, Pin, Pin, Mobile, Plate, Qr][..]);
    (0..PERSONS, state, limit(now), limit(now), medium, any::<bool>()).prop_map(
        |(person, state, active_from, expires_at, medium, duress)| Credential {
            state,
            active_from,
            expires_at,
            medium,
            duress: duress && medium == Pin,
            ..Credential::card(id(format!("p{person}")), token(0))
        },
    )
}

fn access_rule() -> impl Strategy<Value = AccessRule> {
    let effect = select(&[Effect::Allow, Effect::Allow, Effect::Allow, Effect::Deny][..]);
    let doors = vec(select(&[DOORS[0], DOORS[0], DOORS[1], DOORS[2], FOREIGN][..]).prop_map(id), 1..4);
    let schedule = option::weighted(0.75, (0..SCHEDULES).prop_map(|n| id(format!("s{n}"))));
    use Authentication::*;
    let authentication =
        select(&[None, None, Some(Card), Some(Pin), Some(CardAndPin), Some(CardOrPin), Some(TwoPerson)][..]);
    let floors = vec((select(&[CAB, CAB, FOREIGN][..]), option::weighted(0.8, vec(select(&FLOORS[..]), 0..3))), 0..3);
    let who = (ids("g", GROUPS, 0..3), ids("p", PERSONS, 0..3));
    (effect, who, doors, floors, schedule, authentication).prop_map(
        |(effect, (mut groups, persons), doors, floors, schedule, authentication)| {
            if groups.is_empty() && persons.is_empty() {
                groups.push(id("g0"));
            }
            let floors = floors.into_iter().map(|(group, floors)| FloorGrant {
                floor_group: id(group),
                floors: floors.map(|floors| floors.into_iter().map(id).collect()),
            });
            let authentication = authentication.filter(|_| effect == Effect::Allow);
            AccessRule {
                groups,
                persons,
                doors,
                floors: floors.collect(),
                schedule,
                authentication,
                ..AccessRule::new(effect)
            }
        },
    )
}

/// Midnights, clock changes and office hours.
const TELLING_TIMES: [&str; 12] =
    ["00:00", "00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "08:00", "12:00", "22:00", "23:59:59"];

fn time_of_day() -> impl Strategy<Value = TimeOfDay> {
    let telling = select(&TELLING_TIMES[..]).prop_map(|text| text.parse().unwrap());
    prop_oneof![3 => telling, 1 => (0..DAY_MS / 1000).prop_map(|seconds| TimeOfDay(seconds * 1000))]
}

fn interval() -> impl Strategy<Value = (TimeOfDay, TimeOfDay)> {
    (time_of_day(), prop_oneof![5 => time_of_day(), 1 => Just(TimeOfDay(DAY_MS))])
}

fn date_near(today: civil::Date) -> impl Strategy<Value = civil::Date> {
    (-2i64..3).prop_map(move |days| today.checked_add(jiff::Span::new().days(days)).unwrap())
}

fn schedule(today: civil::Date) -> impl Strategy<Value = Schedule> {
    use Weekday::*;
    let days = vec(select(&[Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday][..]), 1..8);
    let weekly = vec((days, interval()).prop_map(|(days, (from, to))| WeeklyInterval { days, from, to }), 0..4);
    let dates =
        (date_near(today), interval()).prop_map(|(date, (from, to))| DateInterval { date: Date(date), from, to });
    let intervals = vec(interval().prop_map(|(from, to)| Interval { from, to }), 0..3);
    let holidays = prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![1]), Just(vec![0, 1]), Just(vec![1, 0])];
    (weekly, vec(dates, 0..4), holidays, vec(intervals, HOLIDAYS)).prop_map(|(weekly, dates, holidays, intervals)| {
        let holidays = holidays.into_iter().zip(intervals);
        let holidays =
            holidays.map(|(n, intervals)| HolidayIntervals { holiday: id(format!("h{n}")), intervals }).collect();
        Schedule { name: None, weekly, dates, holidays }
    })
}

fn holiday(today: civil::Date) -> impl Strategy<Value = Holiday> {
    let yearly = date_near(today).prop_map(|date| MonthDay { month: date.month(), day: date.day() });
    let leap_day = Just(MonthDay { month: 2, day: 29 });
    (vec(date_near(today).prop_map(Date), 0..4), vec(prop_oneof![yearly, leap_day], 0..3))
        .prop_map(|(dates, yearly)| Holiday { name: None, dates, yearly })
}

//! A large permission set and the questions to it, shared by path between `benches/decision.rs` and
//! `benches/peers`. Owns sizes and chances; must never measure. Invariant: the same size gives the same
//! set and the same questions, on every run and machine.

use jiff::tz::TimeZone;
use latchd::domain::{
    card_format::CardTokens,
    ids::{DoorIx, Id},
    permission::{Permissions, Request, Restriction, SetVersion, Target},
    record::{
        AccessRule, Credential, CredentialState, DAY_MS, Date, DateInterval, Effect, Group, Holiday, HolidayIntervals,
        Interval, MonthDay, Person, Record, Schedule, TimeOfDay, Token, Weekday, WeeklyInterval,
    },
    time::{ClockTrust, Mono, Now, Wall},
    topology::Topology,
};

/// How much there is of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    pub people: u64,
    pub credentials: u64,
    pub doors: u64,
    pub groups: u64,
    pub rules: u64,
    pub schedules: u64,
}

/// The largest site that is promised.
pub const FULL: Site =
    Site { people: 100_000, credentials: 200_000, doors: 500, groups: 1_000, rules: 2_000, schedules: 200 };

pub const ZONE: &str = "Europe/Berlin";
const GROUPS_PER_RULE: u64 = 4;
const DOORS_PER_RULE: u64 = 20;
/// Doors that everybody uses.
const COMMON_DOORS: u64 = 10;
const HOUR: u32 = 3_600_000;
/// 2026-01-01T00:00:00Z.
const YEAR_BEGINS: i64 = 1_767_225_600_000;
const YEAR_MS: u64 = 365 * DAY_MS as u64;

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

pub fn id(kind: &str, number: u64) -> Id {
    Id::new(&format!("{kind}-{number:06}")).expect("a valid id")
}

/// As random as an HMAC.
pub fn token(credential: u64) -> Token {
    let mut dice = Dice(credential);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&dice.next().to_le_bytes());
    }
    Token(bytes)
}

pub fn doors(site: Site) -> Vec<Id> {
    (0..site.doors).map(|n| id("door", n)).collect()
}

pub fn topology(site: Site) -> Topology {
    Topology::of_doors(&doors(site))
}

pub fn zone() -> TimeZone {
    TimeZone::get(ZONE).expect("a bundled zone")
}

pub fn records(site: Site) -> Vec<(Id, Record)> {
    let mut dice = Dice(1);
    let mut records: Vec<(Id, Record)> = Vec::new();
    records.extend((0..site.groups).map(|n| (id("group", n), Record::Group(Group::default()))));
    records.extend((0..site.people).map(|n| (id("person", n), Record::Person(person(&mut dice, site)))));
    // The first card of each, then second ones.
    records.extend((0..site.credentials).map(|n| (id("card", n), Record::Credential(credential(&mut dice, site, n)))));
    records.extend((0..2).map(|n| (id("holiday", n), Record::Holiday(holiday(n)))));
    records.extend((0..site.schedules).map(|n| (id("schedule", n), Record::Schedule(schedule(&mut dice, n)))));
    // Everybody may pass the common doors at working hours: the usual answer is a grant.
    let everybody = AccessRule {
        groups: vec![id("group", 0)],
        doors: (0..COMMON_DOORS).map(|n| id("door", n)).collect(),
        schedule: Some(id("schedule", 0)),
        ..AccessRule::new(Effect::Allow)
    };
    records.push((id("rule", 0), Record::AccessRule(everybody)));
    records.extend((1..site.rules).map(|n| (id("rule", n), Record::AccessRule(rule(&mut dice, site)))));
    records
}

fn expires(dice: &mut Dice, one_in: u64) -> Option<Wall> {
    dice.one_in(one_in).then(|| Wall::from_millis(YEAR_BEGINS + dice.below(3 * YEAR_MS) as i64))
}

/// In group 0, as everybody, and in up to four others.
fn person(dice: &mut Dice, site: Site) -> Person {
    let mut groups = vec![id("group", 0)];
    groups.extend((0..dice.below(5)).map(|_| id("group", dice.below(site.groups))));
    Person { groups, expires_at: expires(dice, 4), ..Person::default() }
}

fn credential(dice: &mut Dice, site: Site, number: u64) -> Credential {
    let state = match dice.below(100) {
        0 => CredentialState::Lost,
        1 => CredentialState::Suspended,
        _ => CredentialState::Active,
    };
    let person = id("person", number % site.people);
    Credential { state, expires_at: expires(dice, 10), ..Credential::card(person, token(number)) }
}

fn holiday(number: u64) -> Holiday {
    let days: &[(i8, i8)] =
        if number == 0 { &[(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)] } else { &[(12, 24), (12, 31)] };
    let yearly = days.iter().map(|&(month, day)| MonthDay { month, day }).collect();
    let easter = Date(jiff::civil::date(2026, 4, 3 + number as i8));
    Holiday { name: None, dates: vec![easter], yearly }
}

/// Working days, the night to Sunday, sometimes a date of its own; closed on holidays, half open on eves.
fn schedule(dice: &mut Dice, number: u64) -> Schedule {
    use Weekday::*;
    let (early, late) = (5 + dice.below(5) as u32, 15 + dice.below(8) as u32);
    let weekly = vec![
        WeeklyInterval {
            days: vec![Monday, Tuesday, Wednesday, Thursday, Friday],
            from: TimeOfDay(early * HOUR),
            to: TimeOfDay(late * HOUR),
        },
        WeeklyInterval { days: vec![Saturday], from: TimeOfDay(20 * HOUR), to: TimeOfDay(4 * HOUR) },
    ];
    let date = Date(jiff::civil::date(2026, 1 + (number % 12) as i8, 1 + (number % 28) as i8));
    let dates = if number % 5 == 4 {
        vec![DateInterval { date, from: TimeOfDay(22 * HOUR), to: TimeOfDay(2 * HOUR) }]
    } else {
        Vec::new()
    };
    let morning = vec![Interval { from: TimeOfDay(early * HOUR), to: TimeOfDay(12 * HOUR) }];
    let holidays = vec![
        HolidayIntervals { holiday: id("holiday", 0), intervals: Vec::new() },
        HolidayIntervals { holiday: id("holiday", 1), intervals: morning },
    ];
    Schedule { name: None, weekly, dates, holidays }
}

fn rule(dice: &mut Dice, site: Site) -> AccessRule {
    AccessRule {
        effect: if dice.one_in(20) { Effect::Deny } else { Effect::Allow },
        groups: (0..GROUPS_PER_RULE).map(|_| id("group", 1 + dice.below(site.groups - 1))).collect(),
        persons: if dice.one_in(10) { vec![id("person", dice.below(site.people))] } else { Vec::new() },
        doors: (0..DOORS_PER_RULE).map(|_| id("door", dice.below(site.doors))).collect(),
        schedule: (!dice.one_in(4)).then(|| id("schedule", dice.below(site.schedules))),
        ..AccessRule::new(Effect::Allow)
    }
}

/// # Panics
/// Never: the generated set has no faults.
pub fn compile(site: Site) -> Permissions {
    Permissions::compile(records(site), &topology(site), &zone(), SetVersion::default()).expect("a set without faults")
}

/// Who comes where and when. Small, so that a long list of them does not take up the caches.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    wall: Wall,
    card: u32,
    /// The number of its holder; of a stranger's card, of nobody in particular.
    #[allow(dead_code, reason = "not every benchmark types PINs")]
    pub person: u32,
    /// The card of somebody of the same group, who came just before where two are asked for.
    companion: u32,
    door: DoorIx,
}

impl Question {
    #[inline]
    pub fn card(&self) -> CardTokens {
        CardTokens::single(token(u64::from(self.card)))
    }

    #[allow(dead_code, reason = "not every benchmark has two persons come")]
    #[inline]
    pub fn companion(&self) -> CardTokens {
        CardTokens::single(token(u64::from(self.companion)))
    }
}

/// A read as it comes to the decision: worked out a moment ago, and so at hand, whatever lies elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    card: CardTokens,
    pub target: Target,
    now: Now,
    pub pin: Option<Token>,
    pub companion: Option<CardTokens>,
    pub restriction: Restriction,
}

impl Asked {
    #[inline]
    pub fn card(question: &Question) -> Asked {
        Asked {
            card: question.card(),
            target: Target::Door(question.door),
            now: Now { mono: Mono::ZERO, wall: question.wall, trust: ClockTrust::Trusted },
            pin: None,
            companion: None,
            restriction: Restriction::NONE,
        }
    }

    #[inline]
    pub fn request(&self) -> Request<'_> {
        let Asked { card, target, now, pin, companion, restriction } = self;
        let (target, now, pin, restriction) = (*target, *now, *pin, *restriction);
        Request { card, target, now, pin, companion: companion.as_ref(), restriction }
    }
}

/// Where people are let, by the set's own records, without looking at dates, schedules and denials.
struct Ways {
    /// Of each person, but for the group of everybody.
    groups: Vec<Vec<u32>>,
    members: Vec<Vec<u32>>,
    /// Behind each group's allow rules.
    doors: Vec<Vec<u16>>,
}

impl Ways {
    fn of(site: Site) -> Ways {
        let number = |id: &Id| id.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or_default();
        let groups = site.groups as usize;
        let mut ways = Ways { groups: Vec::new(), members: vec![Vec::new(); groups], doors: vec![Vec::new(); groups] };
        for (id, record) in records(site) {
            match record {
                Record::Person(person) => {
                    let groups: Vec<u32> = person.groups.iter().map(number).filter(|group| *group != 0).collect();
                    groups.iter().for_each(|group| ways.members[*group as usize].push(number(&id)));
                    ways.groups.push(groups);
                }
                Record::AccessRule(rule) if rule.effect == Effect::Allow => {
                    let doors: Vec<u16> = rule.doors.iter().map(|door| number(door) as u16).collect();
                    rule.groups.iter().for_each(|group| ways.doors[number(group) as usize].extend(&doors));
                }
                _ => {}
            }
        }
        ways
    }

    /// A door that a rule of one of their groups opens, and who else is in that group.
    fn own(&self, dice: &mut Dice, person: u64) -> Option<(u64, u64)> {
        let groups = self.groups.get(person as usize).filter(|groups| !groups.is_empty())?;
        let group = groups[dice.below(groups.len() as u64) as usize] as usize;
        let (doors, members) = (self.doors.get(group).filter(|doors| !doors.is_empty())?, self.members.get(group)?);
        let door = doors[dice.below(doors.len() as u64) as usize];
        Some((u64::from(door), u64::from(members[dice.below(members.len() as u64) as usize])))
    }
}

/// Half of all reads at the doors that everybody uses, a third where the holder's groups lead, the rest at any door;
/// one in fifty unknown, two thirds at working hours, the rest at any time of 2026.
pub fn questions(site: Site, count: usize) -> Vec<Question> {
    let (mut dice, ways) = (Dice(2), Ways::of(site));
    (0..count)
        .map(|_| {
            let stranger = if dice.one_in(50) { site.credentials } else { 0 };
            let card = dice.below(site.credentials);
            let person = card % site.people;
            let anywhere = (dice.below(site.doors), dice.below(site.people));
            let (door, companion) = match dice.below(6) {
                0..3 => (dice.below(COMMON_DOORS), anywhere.1),
                3..5 => ways.own(&mut dice, person).unwrap_or(anywhere),
                _ => anywhere,
            };
            let any = dice.below(YEAR_MS);
            // Monday 5 January 2026, at Berlin's offset in winter.
            let (week, day, hours) = (dice.below(51), dice.below(5), dice.below(u64::from(10 * HOUR)));
            let working = (4 + 7 * week + day) * u64::from(DAY_MS) + u64::from(6 * HOUR) + hours;
            let wall = Wall::from_millis(YEAR_BEGINS + if dice.one_in(3) { any } else { working } as i64);
            let [card, person, companion] = [card + stranger, person, companion].map(|number| number as u32);
            Question { wall, card, person, companion, door: DoorIx(door as u16) }
        })
        .collect()
}

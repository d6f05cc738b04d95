use serde_json::{Value, json};

use super::*;
use crate::domain::{
    permission::SetVersion,
    record::{Group, Person, Record},
};

const FRONT: DoorIx = DoorIx(0);

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn daily(from: &str, to: &str) -> Value {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    json!({ "kind": "schedule", "body": { "weekly": [{ "days": days, "from": from, "to": to }] } })
}

fn auto_open(body: Value) -> Value {
    let mut body = body;
    let front = json!(["front"]);
    let doors = body["doors"].take();
    body["doors"] = if doors.is_null() { front } else { doors };
    json!({ "kind": "auto_open", "body": body })
}

/// A node in Berlin with the schedules `day` (08:00 to 18:00), `noon` (12:00 to 13:00) and `night` (22:00 to
/// 06:00), the holiday `feast` on 25 December, and Ada of the staff.
struct Bench {
    auto_opens: AutoOpens,
    records: Vec<(Id, Record)>,
    permissions: Permissions,
    now: Now,
    kept: BTreeMap<KeptKey, Kept>,
    unlocked: bool,
}

impl Bench {
    fn new(at: &str, auto_opens: &[(&str, Value)]) -> Bench {
        let mut bench = Bench {
            auto_opens: AutoOpens::default(),
            records: Vec::new(),
            permissions: Permissions::none(),
            now: Now { mono: Mono::from_millis(1_000_000), wall: wall(at), trust: ClockTrust::Trusted },
            kept: BTreeMap::new(),
            unlocked: false,
        };
        bench.set(auto_opens);
        bench
    }

    fn set(&mut self, auto_opens: &[(&str, Value)]) -> Vec<Turn> {
        let base = [
            ("day", daily("08:00", "18:00")),
            ("noon", daily("12:00", "13:00")),
            ("night", daily("22:00", "06:00")),
            ("feast", json!({ "kind": "holiday", "body": { "yearly": ["12-25"] } })),
        ];
        let read = |(name, record): &(&str, Value)| (id(name), serde_json::from_value(record.clone()).unwrap());
        self.records = base.iter().chain(auto_opens).map(read).collect();
        let ada = Person { groups: vec![id("staff")], ..Person::default() };
        self.records.push((id("staff"), Record::Group(Group::default())));
        self.records.push((id("ada"), Record::Person(ada)));
        self.records.push((id("ben"), Record::Person(Person::default())));
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let topology = Topology::of_doors(&[id("front")]);
        self.permissions = Permissions::compile(self.records.clone(), &topology, &zone, SetVersion::default()).unwrap();
        self.auto_opens.plan(self.permissions.site(), &topology);
        self.evaluate()
    }

    fn note(&mut self, turns: Vec<Turn>) -> Vec<Turn> {
        for turn in &turns {
            match turn {
                Turn::Keep(kept) => drop(self.kept.insert(kept.key(), kept.clone())),
                Turn::Unkeep(key) => drop(self.kept.remove(key)),
                Turn::Started { .. } | Turn::Resumed { .. } => self.unlocked = true,
                Turn::Ended { .. } => self.unlocked = false,
                Turn::Boundary { .. } | Turn::CameFirst { .. } => {}
            }
        }
        turns.into_iter().filter(|turn| !matches!(turn, Turn::Keep(_) | Turn::Unkeep(_))).collect()
    }

    fn evaluate(&mut self) -> Vec<Turn> {
        let turns = self.auto_opens.evaluate(self.now, &self.permissions);
        self.note(turns)
    }

    fn granted(&mut self, person: &str) -> Vec<Turn> {
        let turns = self.auto_opens.granted(self.now, &self.permissions, FRONT, &id(person));
        self.note(turns)
    }

    /// Wakes up only when it asked to be woken, until it is that late.
    fn until(&mut self, at: &str) -> Vec<Turn> {
        let mut turns = Vec::new();
        let end = wall(at);
        loop {
            let due = self.auto_opens.next_deadline().map(|due| self.now.wall + due.since(self.now.mono));
            let next = due.filter(|due| *due <= end);
            let wall = next.unwrap_or(end);
            self.now.mono = self.now.mono + wall.since(self.now.wall);
            self.now.wall = wall;
            if next.is_none() {
                return turns;
            }
            turns.extend(self.evaluate());
        }
    }

    /// A restart at this time.
    fn restart(&mut self, at: &str, trust: ClockTrust) -> Vec<Turn> {
        let kept: Vec<Kept> = self.kept.values().cloned().collect();
        let kept: Vec<Kept> =
            kept.iter().map(|kept| serde_json::from_value(serde_json::to_value(kept).unwrap()).unwrap()).collect();
        self.auto_opens = AutoOpens::default();
        self.unlocked = false;
        let topology = Topology::of_doors(&[id("front")]);
        self.auto_opens.restore(&kept, &topology);
        self.now = Now { mono: Mono::from_millis(5_000), wall: wall(at), trust };
        self.auto_opens.plan(self.permissions.site(), &topology);
        self.evaluate()
    }
}

fn wall(at: &str) -> Wall {
    let zoned: jiff::civil::DateTime = at.parse().unwrap();
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    Wall::from_millis(zone.to_timestamp(zoned).unwrap().as_millisecond())
}

fn boundary(at: &str, auto_open: &str) -> Turn {
    Turn::Boundary { door: FRONT, at: wall(at), auto_open: id(auto_open) }
}

fn started(auto_open: &str) -> Turn {
    Turn::Started { door: FRONT, auto_open: id(auto_open) }
}

fn ended(auto_open: &str, why: AutoOpenEnd) -> Turn {
    Turn::Ended { door: FRONT, auto_open: id(auto_open), why }
}

fn came(auto_open: &str, person: &str) -> Turn {
    Turn::CameFirst { door: FRONT, auto_open: id(auto_open), person: id(person) }
}

#[test]
fn a_door_is_unlocked_while_its_schedule_holds_and_every_change_is_a_boundary() {
    let mut bench = Bench::new("2026-11-23T07:00", &[("hours", auto_open(json!({ "schedule": "day" })))]);
    assert!(!bench.unlocked);
    assert_eq!(bench.until("2026-11-23T12:00"), [boundary("2026-11-23T08:00", "hours"), started("hours")]);
    let turns = bench.until("2026-11-24T07:59:59");
    assert_eq!(turns, [boundary("2026-11-23T18:00", "hours"), ended("hours", AutoOpenEnd::Schedule)]);
    assert_eq!(bench.until("2026-11-24T08:00").len(), 2);
}

#[test]
fn it_happens_by_the_clocks_of_the_site_also_on_the_days_on_which_they_are_set() {
    let mut bench = Bench::new("2026-03-28T23:00", &[("late", auto_open(json!({ "schedule": "night" })))]);
    let before = bench.now.mono;
    bench.until("2026-03-29T12:00");
    assert!(!bench.unlocked);
    let ended_at: Vec<_> = bench.kept.values().collect();
    let [Kept::AutoOpen { last: Some(last), .. }] = ended_at.as_slice() else { panic!("{ended_at:?}") };
    assert_eq!(*last, wall("2026-03-29T06:00"));
    assert_eq!(last.since(wall("2026-03-28T23:00")).as_secs(), 6 * 3600, "an hour less");
    assert!(bench.now.mono > before);
}

#[test]
fn a_deny_wins_over_every_allow_while_it_holds() {
    let deny = auto_open(json!({ "schedule": "noon", "effect": "deny" }));
    let mut bench =
        Bench::new("2026-11-23T09:00", &[("hours", auto_open(json!({ "schedule": "day" }))), ("lunch", deny)]);
    assert!(bench.unlocked);
    assert_eq!(
        bench.until("2026-11-23T12:30"),
        [boundary("2026-11-23T12:00", "lunch"), ended("hours", AutoOpenEnd::Deny)]
    );
    assert_eq!(bench.until("2026-11-23T13:30"), [boundary("2026-11-23T13:00", "lunch"), started("hours")]);
}

#[test]
fn on_the_dates_of_its_holidays_it_does_not_open_whatever_the_schedule_says() {
    let late = auto_open(json!({ "schedule": "night", "holidays": ["feast"] }));
    let mut bench = Bench::new("2026-12-24T21:00", &[("late", late)]);
    assert_eq!(bench.until("2026-12-24T22:00"), [boundary("2026-12-24T22:00", "late"), started("late")]);
    let turns = bench.until("2026-12-25T12:00");
    assert_eq!(turns, [boundary("2026-12-25T00:00", "late"), ended("late", AutoOpenEnd::Schedule)]);
    // The night that began on the holiday goes on after it.
    let turns = bench.until("2026-12-26T05:00");
    assert_eq!(turns, [boundary("2026-12-26T00:00", "late"), started("late")]);
    let turns = bench.until("2026-12-26T12:00");
    assert_eq!(turns, [boundary("2026-12-26T06:00", "late"), ended("late", AutoOpenEnd::Schedule)]);
}

#[test]
fn two_that_follow_each_other_leave_the_door_unlocked_and_still_draw_a_boundary() {
    let (hours, noon) = (auto_open(json!({ "schedule": "day" })), auto_open(json!({ "schedule": "noon" })));
    let mut bench = Bench::new("2026-11-23T11:00", &[("hours", hours), ("noon", noon)]);
    assert_eq!(bench.until("2026-11-23T12:30"), [boundary("2026-11-23T12:00", "noon")]);
    assert!(bench.unlocked);
}

#[test]
fn it_waits_for_the_first_person_of_its_groups_within_each_interval() {
    let first = json!({ "schedule": "day", "first_person_in": true, "first_person_groups": ["staff"] });
    let mut bench = Bench::new("2026-11-23T07:59", &[("hours", auto_open(first))]);
    assert_eq!(bench.granted("ada"), [], "too early");
    assert_eq!(bench.until("2026-11-23T08:30"), [boundary("2026-11-23T08:00", "hours")]);
    assert_eq!(bench.granted("ben"), [], "not of the staff");
    assert_eq!(bench.granted("ada"), [came("hours", "ada"), started("hours")]);
    assert_eq!(bench.granted("ada"), [], "the second time");
    assert_eq!(bench.until("2026-11-24T09:00").len(), 3, "over, and waiting again");
    assert!(!bench.unlocked);
    assert_eq!(bench.granted("ada"), [came("hours", "ada"), started("hours")]);
}

#[test]
fn where_it_never_closes_but_on_holidays_whoever_came_first_need_not_come_again_before_one() {
    let first = json!({ "schedule": "always", "first_person_in": true, "holidays": ["feast"] });
    let records = [("always", daily("00:00", "24:00")), ("hours", auto_open(first))];
    let mut bench = Bench::new("2026-01-10T09:00", &records);
    assert_eq!(bench.granted("ada"), [came("hours", "ada"), started("hours")]);
    assert_eq!(bench.until("2026-07-01T09:00"), []);
    let resumed = Turn::Resumed { door: FRONT, auto_open: id("hours") };
    assert_eq!(bench.restart("2026-07-01T10:00", ClockTrust::Trusted).last(), Some(&resumed));
    let over = [boundary("2026-12-25T00:00", "hours"), ended("hours", AutoOpenEnd::Schedule)];
    assert_eq!(bench.until("2026-12-25T09:00"), over);
    assert_eq!(bench.until("2026-12-26T09:00"), [boundary("2026-12-26T00:00", "hours")]);
    assert!(!bench.unlocked, "after the holiday somebody has to come first again");
    // Off for longer than it looks ahead, with a holiday in between.
    bench.granted("ada");
    let turns = bench.restart("2028-01-10T09:00", ClockTrust::Trusted);
    assert_eq!(turns.last(), Some(&ended("hours", AutoOpenEnd::Schedule)));
}

#[test]
fn a_restart_within_the_interval_goes_on_without_an_event_and_remembers_who_came() {
    let first = json!({ "schedule": "day", "first_person_in": true });
    let mut bench = Bench::new("2026-11-23T09:00", &[("hours", auto_open(first))]);
    bench.granted("ben");
    assert!(bench.unlocked);
    let turns = bench.restart("2026-11-23T10:00", ClockTrust::Trusted);
    let resumed = Turn::Resumed { door: FRONT, auto_open: id("hours") };
    assert_eq!(turns, [boundary("2026-11-23T09:00", "hours"), resumed]);
    // Off over night: the boundaries are told late, and whoever comes first has to come again.
    let turns = bench.restart("2026-11-24T10:00", ClockTrust::Trusted);
    assert_eq!(turns, [boundary("2026-11-23T18:00", "hours"), ended("hours", AutoOpenEnd::Schedule)]);
}

#[test]
fn without_a_trusted_clock_nothing_is_unlocked_and_with_it_again_all_goes_on() {
    let first = json!({ "schedule": "day", "first_person_in": true });
    let mut bench = Bench::new("2026-11-23T09:00", &[("hours", auto_open(first))]);
    bench.granted("ada");
    bench.now.trust = ClockTrust::Untrusted;
    assert_eq!(bench.evaluate(), [ended("hours", AutoOpenEnd::ClockUntrusted)]);
    assert_eq!((bench.granted("ada"), bench.auto_opens.next_deadline()), (vec![], None));
    bench.now.trust = ClockTrust::Trusted;
    assert_eq!(bench.evaluate(), [started("hours")], "she came already, and there was no boundary");
    let turns = bench.restart("1970-01-01T10:00", ClockTrust::Untrusted);
    assert_eq!(turns, [ended("hours", AutoOpenEnd::ClockUntrusted)]);
    bench.now = Now { wall: wall("2026-11-23T11:00"), trust: ClockTrust::Trusted, ..bench.now };
    assert_eq!(bench.evaluate(), [boundary("2026-11-23T09:00", "hours"), started("hours")]);
}

#[test]
fn a_clock_that_was_set_over_a_boundary_has_passed_it() {
    let mut bench = Bench::new("2026-11-23T07:00", &[("hours", auto_open(json!({ "schedule": "day" })))]);
    bench.now.wall = wall("2026-11-23T10:00");
    assert_eq!(bench.evaluate(), [boundary("2026-11-23T08:00", "hours"), started("hours")]);
}

#[test]
fn a_record_that_is_gone_unlocks_nothing_and_is_forgotten() {
    let mut bench = Bench::new("2026-11-23T09:00", &[("hours", auto_open(json!({ "schedule": "day" })))]);
    assert_eq!((bench.unlocked, bench.kept.len()), (true, 1));
    assert_eq!(bench.set(&[]), [ended("hours", AutoOpenEnd::Removed)]);
    assert_eq!(bench.kept.len(), 0);
    assert_eq!(bench.auto_opens.next_deadline(), None);
}

#[test]
fn doors_of_other_nodes_are_passed_over() {
    let record = auto_open(json!({ "schedule": "day", "doors": ["elsewhere"] }));
    let mut bench = Bench::new("2026-11-23T09:00", &[("hours", record)]);
    assert_eq!((bench.unlocked, bench.evaluate()), (false, vec![]));
}

//! Hours, in the site's own time: when a rule holds, past midnight, on dates and holidays and over the change of the
//! clocks; and doors that stand open by themselves while a schedule says so.

use jiff::{Timestamp, ToSpan as _, civil::DateTime, tz::Offset};
use latchd_sim::site::LOCK_COIL;
use serde_json::{Value, json};

use crate::{
    explain::explain,
    house::{CLEO, DAN, House, crew_rule},
    story::{Told, in_ms},
    world::World,
};

/// A zone in which it is a little past noon, so that today is today throughout a test.
pub struct Noon {
    zone: String,
    offset: Offset,
}

impl Noon {
    pub fn here() -> Noon {
        let utc = Offset::UTC.to_datetime(Timestamp::now()).hour();
        let ahead = 12 - utc;
        // POSIX counts the other way round.
        let zone = if ahead == 0 { "Etc/GMT".to_owned() } else { format!("Etc/GMT{:+}", -ahead) };
        Noon { zone, offset: Offset::from_hours(ahead).unwrap() }
    }

    fn house(&self, records: &[Told<'_>]) -> House {
        self.house_with("", records)
    }

    pub fn house_with(&self, lab_door: &str, records: &[Told<'_>]) -> House {
        House::with(lab_door, &[("Europe/Berlin", &self.zone)], records)
    }

    fn at(&self, ms: i64) -> DateTime {
        self.offset.to_datetime(Timestamp::from_millisecond(in_ms(ms).as_millis()).unwrap())
    }

    /// `0` is today.
    fn weekday(&self, days: i64) -> String {
        self.at(0).date().checked_add(days.days()).unwrap().strftime("%A").to_string().to_lowercase()
    }

    fn date(&self) -> String {
        self.at(0).date().to_string()
    }

    fn second(&self, ms: i64) -> String {
        self.at(ms).strftime("%H:%M:%S").to_string()
    }

    /// Today, between two times of the day.
    fn today(&self, from: &str, to: &str) -> Value {
        json!({ "dates": [{ "date": self.date(), "from": from, "to": to }] })
    }
}

#[test]
fn a_rule_holds_in_its_hours_past_midnight_on_its_dates_and_not_on_holidays() {
    let noon = Noon::here();
    let house = noon.house(&[
        ("schedule", "hours", json!({})),
        ("holiday", "feast", json!({})),
        ("access_rule", "crew-lab", crew_rule(json!({ "schedule": "hours" }))),
    ]);
    let (today, yesterday) = (noon.weekday(0), noon.weekday(-1));
    let week = |day: &str, from: &str, to: &str| json!({ "weekly": [{ "days": [day], "from": from, "to": to }] });
    let but_on_feasts = |intervals: Value| {
        let mut hours = week(&today, "06:00", "18:00");
        hours["holidays"] = json!([{ "holiday": "feast", "intervals": intervals }]);
        hours
    };
    let month_day = noon.date()[5..].to_owned();
    let never = json!({});
    let once = json!({ "dates": [noon.date()] });
    let yearly = json!({ "yearly": [month_day] });
    for (what, hours, feast, open) in [
        ("no hours at all", json!({}), &never, false),
        ("today", week(&today, "06:00", "18:00"), &never, true),
        ("this evening", week(&today, "18:00", "20:00"), &never, false),
        ("another day", week(&yesterday, "06:00", "18:00"), &never, false),
        ("since yesterday evening", week(&yesterday, "18:00", "16:00"), &never, true),
        ("from this evening, past midnight", week(&today, "18:00", "16:00"), &never, false),
        ("the whole day", week(&today, "00:00", "24:00"), &never, true),
        ("a single date", noon.today("06:00", "18:00"), &never, true),
        ("but today is a holiday", but_on_feasts(json!([])), &once, false),
        ("but it is one every year", but_on_feasts(json!([])), &yearly, false),
        ("with hours of its own", but_on_feasts(json!([{ "from": "10:00", "to": "16:00" }])), &once, true),
        ("and today is none", but_on_feasts(json!([])), &never, true),
    ] {
        house.set(&[("schedule", "hours", hours), ("holiday", "feast", feast.clone())]);
        let before = house.events_so_far();
        house.at_lab(CLEO);
        let kind = if open { "access.granted" } else { "access.denied" };
        let told = house.told_after(before, kind, json!({ "person": "cleo", "rule": "crew-lab" }));
        assert!(open || told["reason"] == "outside_schedule", "{what}: {told}");
    }
    // To the second.
    let end = in_ms(3_000);
    house.set(&[("schedule", "hours", noon.today("06:00", &noon.second(3_000)))]);
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.passes(end);
    house.denied_for("outside_schedule", json!({ "person": "cleo" }), || house.at_lab(CLEO));
}

#[test]
fn hours_are_those_of_the_wall_through_both_changes_of_the_clocks() {
    let world = World::running();
    let every_day = json!(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]);
    let daily = |from: &str, to: &str| json!({ "weekly": [{ "days": every_day, "from": from, "to": to }] });
    let rule = |schedule: &str| json!({ "effect": "allow", "groups": ["night-shift"], "doors": ["glass"], "schedule": schedule });
    let holds = |hours: Value, at: &str| {
        world.set(&[("schedule", "hours", hours), ("access_rule", "hours", rule("hours"))]);
        let (ok, text) = explain(&world, &["--door", "glass", "--credential", "ben-card", "--at", at]);
        assert!(ok, "{text}");
        text.starts_with("granted")
    };
    // In Berlin the morning is an hour earlier in summer than in winter.
    for (at, open) in [
        ("2027-07-01T05:59:00Z", false),
        ("2027-07-01T06:00:00Z", true),
        ("2027-12-01T06:59:00Z", false),
        ("2027-12-01T07:00:00Z", true),
    ] {
        assert_eq!(holds(daily("08:00", "16:00"), at), open, "{at}");
    }
    // Half past two comes twice on the last Sunday of October, and not at all on that of March.
    for (at, open) in [
        ("2027-10-31T00:30:00Z", true),
        ("2027-10-31T01:30:00Z", true),
        ("2027-10-31T02:30:00Z", false),
        ("2027-03-28T00:30:00Z", false),
        ("2027-03-28T01:30:00Z", false),
        ("2027-03-27T01:30:00Z", true),
    ] {
        assert_eq!(holds(daily("02:00", "03:00"), at), open, "{at}");
    }
}

fn auto_open(more: Value) -> Value {
    crate::story::with(json!({ "doors": ["lab"], "schedule": "hours" }), more)
}

#[test]
fn a_door_stands_open_by_itself_while_no_deny_no_holiday_and_no_lockdown_is_against_it() {
    let noon = Noon::here();
    let house = noon.house(&[
        ("schedule", "hours", noon.today("06:00", "18:00")),
        ("holiday", "feast", json!({ "dates": [noon.date()] })),
    ]);
    let starts = |records: &[Told<'_>]| {
        let started = json!({ "door": "lab", "auto_open": "day" });
        house.told("auto_open.started", started, || house.set(records));
        house.lab_becomes(true);
        house.state_says("door/lab", json!({ "mode": "Unlocked" }));
    };
    let ends = |reason: &str, records: &[Told<'_>]| {
        let ended = json!({ "door": "lab", "auto_open": "day", "reason": reason });
        house.told("auto_open.ended", ended, || house.set(records));
        house.lab_becomes(false);
        house.state_says("door/lab", json!({ "mode": "Locked" }));
    };
    starts(&[("auto_open", "day", auto_open(json!({})))]);
    // Nobody who walks through an open door forces it.
    house.opens_door("lab");
    house.closes_door("lab");
    assert_eq!(house.count("door.forced"), 0);
    ends("deny", &[("auto_open", "closed", auto_open(json!({ "effect": "deny" })))]);
    // A deny keeps the door from standing open, and nobody from entering.
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.walks_through("lab");
    starts(&[("auto_open", "closed", Value::Null)]);
    ends("schedule", &[("auto_open", "day", auto_open(json!({ "holidays": ["feast"] })))]);
    starts(&[("holiday", "feast", json!({ "yearly": ["02-29"] }))]);
    // What stands above it covers it, and what then holds is recomputed.
    house.done("lockdown.set", json!({ "doors": ["lab"] }));
    assert!(!house.lab_unlocked());
    house.done("lockdown.clear", json!({ "doors": ["lab"] }));
    house.lab_becomes(true);
    ends("removed", &[("auto_open", "day", Value::Null)]);
}

#[test]
fn what_an_operator_says_at_a_door_with_auto_open_lasts_until_the_next_boundary() {
    let noon = Noon::here();
    let house = noon.house(&[]);
    let (gap, again) = (noon.second(4_000), noon.second(6_000));
    let today = |from: &str, to: &str| json!({ "date": noon.date(), "from": from, "to": to });
    house.set(&[
        ("schedule", "hours", json!({ "dates": [today("06:00", &gap), today(&again, "18:00")] })),
        ("schedule", "later", json!({ "dates": [today(&gap, &again)] })),
        ("auto_open", "day", auto_open(json!({}))),
        ("auto_open", "tea", json!({ "doors": ["store"], "schedule": "later" })),
    ]);
    house.lab_becomes(true);
    let before = house.events_so_far();
    // Open now, closed by hand; and closed now, opened by hand.
    house.order("door.close", json!({ "door": "lab" }));
    house.done("door.open", json!({ "door": "store" }));
    house.lab_becomes(false);
    house.granted(json!({ "person": "cleo" }), || house.at_lab(CLEO));
    house.walks_through("lab");
    house.state_says("door/lab", json!({ "mode": "Locked" }));
    house.state_says("door/store", json!({ "mode": "Unlocked" }));
    house.told_after(before, "auto_open.started", json!({ "door": "store", "auto_open": "tea" }));
    house.told_after(before, "auto_open.started", json!({ "door": "lab", "auto_open": "day" }));
    house.lab_becomes(true);
    // The open that was to last until the boundary does not begin again with its end.
    house.relay(&house.store, LOCK_COIL, false);
    house.state_says("door/store", json!({ "mode": "Locked" }));
}

#[test]
fn a_door_that_waits_for_the_first_person_opens_for_good_when_one_of_the_right_ones_has_come() {
    let noon = Noon::here();
    let mut house = noon.house(&[
        ("schedule", "hours", noon.today("06:00", "18:00")),
        ("group", "keepers", json!({})),
        ("person", "cleo", json!({ "groups": ["crew", "keepers"] })),
        ("auto_open", "day", auto_open(json!({ "first_person_in": true, "first_person_groups": ["keepers"] }))),
    ]);
    assert!(!house.lab_unlocked());
    house.granted(json!({ "person": "dan" }), || house.at_lab(DAN));
    house.walks_through("lab");
    // By an operator's word nobody has come.
    house.done("door.virtual_read", json!({ "door": "lab", "person": "cleo" }));
    house.walks_through("lab");
    house.state_says("door/lab", json!({ "mode": "Locked" }));
    let before = house.events_so_far();
    let came = json!({ "door": "lab", "auto_open": "day", "person": "cleo" });
    house.told("auto_open.first_person_came", came, || house.at_lab(CLEO));
    house.told_after(before, "auto_open.started", json!({ "door": "lab" }));
    house.state_says("door/lab", json!({ "mode": "Unlocked" }));
    // Whoever has come has come, also for the next run.
    house.drained();
    house.world.restart();
    house.state_says("door/lab", json!({ "mode": "Unlocked" }));
    house.lab_becomes(true);
    assert_eq!(house.count("auto_open.first_person_came"), 1);
}

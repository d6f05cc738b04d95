//! `latchd schedule`: which schedules hold at given instants. Owns the reading of records and instants from
//! files and the answer's form; must never judge by itself (that is `domain::schedule`, as at the doors).
//! Invariant: one line of answer for each instant, in order, or an error that names the line.
//!
//! ```text
//! $ echo 2026-03-29T01:00:00Z | latchd schedule --zone Europe/Berlin --records schedules.json
//! 2026-03-29T01:00:00.000Z 2026-03-29T03:00:00.000+02:00 night office
//! ```
//!
//! The schedules that hold come in the order of their ids, separated by spaces; `-` if none does. With
//! `--changes` all schedules come, each with when it next begins or ends: `office=until:2026-03-30T15:00:00.000Z
//! night=from:2026-03-30T20:00:00.000Z none=never`; what does not change within nine years is `always` or `never`.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use jiff::tz::TimeZone;

use crate::{
    config,
    domain::{
        ids::Id,
        record,
        schedule::{Holiday, LocalTime, Schedule},
        time::Wall,
    },
    wire::set::RecordPut,
};

#[derive(Args)]
pub struct Arguments {
    /// Records as in a permission set, [{"kind", "id", "body"}, ...]; only schedules and holidays are looked at
    #[arg(long, value_name = "FILE")]
    records: PathBuf,
    /// IANA time zone, such as Europe/Berlin; absent: that of the configuration
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
    /// Say of every schedule when it next begins or ends
    #[arg(long)]
    changes: bool,
    /// RFC 3339, such as 2026-03-29T01:00:00Z; absent: one a line from standard input
    #[arg(value_name = "INSTANT")]
    at: Vec<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let zone = match &arguments.zone {
        Some(name) => zone_named(name)?,
        None => zone_of(&arguments.config)?,
    };
    let path = &arguments.records;
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let calendar = Calendar::read(&text).with_context(|| format!("{}", path.display()))?;
    let answer = |at| {
        let schedules = if arguments.changes { calendar.changes(at, &zone) } else { calendar.holding(at, &zone) };
        let local = at.timestamp().to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z");
        format!("{at} {local} {schedules}")
    };
    let mut out = io::stdout().lock();
    let written = if arguments.at.is_empty() {
        answer_all(&answer, io::stdin().lock().lines(), &mut out)
    } else {
        answer_all(&answer, arguments.at.iter().map(|at| Ok(at.clone())), &mut out)
    };
    match written {
        Err(Failure::Output(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Err(Failure::Input(error)) => Err(error),
        _ => Ok(()),
    }
}

fn zone_named(name: &str) -> anyhow::Result<TimeZone> {
    TimeZone::get(name)
        .ok()
        .with_context(|| format!("there is no time zone `{name}`: expected an IANA name such as Europe/Berlin"))
}

fn zone_of(path: &Path) -> anyhow::Result<TimeZone> {
    let environment = config::Environment::of_process();
    let loaded = config::load_from(&config::Disk, path, &environment, config::Purpose::CheckWithoutFiles);
    let site = loaded.site.with_context(|| {
        format!("{} has mistakes (see `latchd check`): give the time zone with --zone", path.display())
    })?;
    Ok(site.node.time_zone)
}

/// The schedules of a set, by id.
#[derive(Debug)]
struct Calendar(BTreeMap<Id, Schedule>);

impl Calendar {
    /// Every fault at once.
    fn read(text: &[u8]) -> anyhow::Result<Calendar> {
        let records: Vec<RecordPut> = serde_json::from_slice(text)?;
        let mut faults = Vec::new();
        let mut schedules: BTreeMap<Id, record::Schedule> = BTreeMap::new();
        let mut holidays: BTreeMap<Id, Arc<Holiday>> = BTreeMap::new();
        for RecordPut { kind, id, body } in records {
            let body = serde_json::Value::Object(body);
            let twice = match kind.as_str() {
                "schedule" => serde_json::from_value(body).map(|body| schedules.insert(id.clone(), body).is_some()),
                "holiday" => serde_json::from_value(body)
                    .map(|body| holidays.insert(id.clone(), Arc::new(Holiday::compile(&body))).is_some()),
                _ => Ok(false),
            };
            match twice {
                Ok(false) => {}
                Ok(true) => faults.push(format!("{kind} {id}: given twice")),
                Err(error) => faults.push(format!("{kind} {id}: {error}")),
            }
        }
        let mut compiled = BTreeMap::new();
        for (id, schedule) in schedules {
            let mut fault = |fault| faults.push(format!("schedule {id}: {fault}"));
            let schedule = Schedule::compile(&schedule, |holiday| holidays.get(holiday).cloned(), &mut fault);
            compiled.insert(id, schedule);
        }
        anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n  "));
        Ok(Calendar(compiled))
    }

    fn holding(&self, at: Wall, zone: &TimeZone) -> String {
        let local = LocalTime::at(at, zone);
        let names: Vec<&str> =
            self.0.iter().filter(|(_, schedule)| schedule.holds(&local)).map(|(id, _)| id.as_str()).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(" ") }
    }

    fn changes(&self, at: Wall, zone: &TimeZone) -> String {
        let local = LocalTime::at(at, zone);
        let told = self.0.iter().map(|(id, schedule)| match (schedule.holds(&local), schedule.next_change(at, zone)) {
            (true, Some(change)) => format!("{id}=until:{change}"),
            (false, Some(change)) => format!("{id}=from:{change}"),
            (true, None) => format!("{id}=always"),
            (false, None) => format!("{id}=never"),
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

enum Failure {
    Input(anyhow::Error),
    Output(io::Error),
}

fn answer_all(
    answer: &impl Fn(Wall) -> String,
    instants: impl Iterator<Item = io::Result<String>>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    for (number, line) in (1u64..).zip(instants) {
        let line = line.context("reading standard input").map_err(Failure::Input)?;
        let at = instant(line.trim()).with_context(|| format!("instant {number}")).map_err(Failure::Input)?;
        writeln!(out, "{}", answer(at)).map_err(Failure::Output)?;
    }
    Ok(())
}

fn instant(text: &str) -> anyhow::Result<Wall> {
    let stamp: jiff::Timestamp = text
        .parse()
        .map_err(|_| anyhow::anyhow!("{text:?} is not an RFC 3339 time such as 2026-01-31T08:00:00.000Z"))?;
    Ok(Wall::from_millis(stamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &str = r#"[
        {"kind": "group", "id": "staff", "body": {}},
        {"kind": "holiday", "id": "feast", "body": {"yearly": ["12-25"]}},
        {"kind": "schedule", "id": "office", "body": {
            "weekly": [{"days": ["friday"], "from": "08:00", "to": "17:00"}], "holidays": [{"holiday": "feast"}]}},
        {"kind": "schedule", "id": "always", "body": {
            "weekly": [{"days": ["friday"], "from": "00:00", "to": "24:00"}]}}
    ]"#;

    fn answers(records: &str, instants: &[&str]) -> Result<String, String> {
        told(records, instants, Calendar::holding)
    }

    fn told(records: &str, instants: &[&str], of: fn(&Calendar, Wall, &TimeZone) -> String) -> Result<String, String> {
        let zone = zone_named("Europe/Berlin").unwrap();
        let calendar = Calendar::read(records.as_bytes()).map_err(|error| format!("{error:#}"))?;
        let mut out = Vec::new();
        let instants = instants.iter().map(|at| Ok((*at).to_owned()));
        match answer_all(&|at| of(&calendar, at, &zone), instants, &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(Failure::Input(error)) => Err(format!("{error:#}")),
            Err(Failure::Output(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn each_instant_is_answered_with_the_schedules_that_hold() {
        let instants =
            ["2026-11-27T06:59:59.999Z", "2026-11-27T08:00:00+01:00", "2026-12-25T12:00:00Z", " 2026-12-26T12:00:00Z "];
        assert_eq!(answers(RECORDS, &instants).unwrap(), "always\nalways office\nalways\n-\n");
    }

    #[test]
    fn each_schedule_says_when_it_begins_or_ends() {
        let records = RECORDS.replacen('[', r#"[{"kind": "schedule", "id": "none", "body": {}},"#, 1);
        assert_eq!(
            told(&records, &["2026-12-25T12:00:00Z"], Calendar::changes).unwrap(),
            "always=until:2026-12-25T23:00:00.000Z none=never office=from:2027-01-01T07:00:00.000Z\n"
        );
    }

    #[test]
    fn every_fault_of_the_records_is_told_at_once() {
        let faults = answers(
            r#"[{"kind": "schedule", "id": "a", "body": {"holidays": [{"holiday": "none"}]}},
                {"kind": "schedule", "id": "b", "body": {"weekley": []}},
                {"kind": "holiday", "id": "c", "body": {}}, {"kind": "holiday", "id": "c", "body": {}}]"#,
            &[],
        )
        .unwrap_err();
        for told in ["holiday none does not exist", "schedule b: unknown field `weekley`", "holiday c: given twice"] {
            assert!(faults.contains(told), "{told} is not in {faults}");
        }
    }

    #[test]
    fn an_instant_that_is_none_is_named_by_its_number() {
        let error = answers(RECORDS, &["2026-12-25T12:00:00Z", "tomorrow"]).unwrap_err();
        assert!(error.starts_with("instant 2: \"tomorrow\" is not an RFC 3339 time"), "{error}");
    }
}

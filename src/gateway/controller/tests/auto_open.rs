//! Auto open and the operators: who unlocks the door until when, also in the next run.

use super::*;
use crate::domain::{
    door::Mode,
    record::{AutoOpen, DateInterval, Schedule},
};

const HOUR: u64 = 3_600_000;

/// The front door is open from 14:00 to 16:00 and from 17:00 to 19:00; it is 14:13:20.
fn opening_hours() -> Arc<Permissions> {
    let interval = |from: &str, to: &str| -> DateInterval {
        serde_json::from_value(serde_json::json!({ "date": "2026-09-21", "from": from, "to": to }))
            .expect("an interval")
    };
    let dates = vec![interval("14:00", "16:00"), interval("17:00", "19:00")];
    let auto_open = serde_json::json!({ "doors": ["front"], "schedule": "hours" });
    let auto_open: AutoOpen = serde_json::from_value(auto_open).expect("an auto open");
    let records = [
        (id("hours"), Record::Schedule(Schedule { dates, ..Schedule::default() })),
        (id("shop"), Record::AutoOpen(auto_open)),
    ];
    let version = SetVersion { epoch: 3, generation: 42, digest: [0; 32] };
    Arc::new(Permissions::compile(records, &topology(), &jiff::tz::TimeZone::UTC, version).expect("a valid set"))
}

/// A controller and what it left on the disk.
struct Runs {
    bench: Bench,
    lasting: Lasting,
}

impl Runs {
    fn new() -> Runs {
        let now = Bench::cold().0.now;
        let mut runs = Runs { bench: Bench::cold().0, lasting: Lasting::default() };
        runs.begin(now);
        runs
    }

    fn begin(&mut self, now: Now) {
        let machines = crate::gateway::controller::machines(&FieldConfig::default(), &[]);
        let at = ReaderAt::Door(FRONT);
        let (bench, step) = Bench::start(now, machines, at, self.lasting.clone(), topology(), opening_hours());
        self.bench = bench;
        self.keep(&step);
        let step = self.bench.bus(BusReport::BoardUp { board: RELAYS });
        self.keep(&step);
        self.confirm();
    }

    fn keep(&mut self, step: &Step) {
        step.commit.writes.iter().for_each(|write| self.lasting.note(write));
    }

    fn confirm(&mut self) {
        let step = self.bench.confirm(FRONT);
        self.keep(&step);
    }

    fn order(&mut self, action: DoorAction) {
        let (_, step) = self.bench.order(FRONT, action);
        self.keep(&step);
        self.confirm();
    }

    fn pass(&mut self, millis: u64) {
        let until = self.bench.now.mono + Duration::from_millis(millis);
        while let Some(due) = self.bench.controller.next_deadline().filter(|due| *due <= until) {
            self.bench.pass(u64::try_from(due.since(self.bench.now.mono).as_millis()).expect("hours") + 1);
            let step = self.bench.tell(Input::Timeout);
            self.keep(&step);
        }
        let rest = until.since(self.bench.now.mono);
        self.bench.pass(u64::try_from(rest.as_millis()).expect("hours"));
        self.confirm();
    }

    fn restart(&mut self) {
        let now = self.bench.now;
        self.begin(now);
    }

    fn restart_after(&mut self, millis: u64) {
        self.bench.pass(millis);
        self.restart();
    }

    fn mode(&self) -> Mode {
        self.bench.controller.door_statuses()[0].mode
    }
}

#[test]
fn auto_open_unlocks_the_door_in_its_hours_also_from_the_start_of_a_run() {
    let mut runs = Runs::new();
    assert_eq!(runs.mode(), Mode::Unlocked);
    runs.pass(2 * HOUR);
    assert_eq!(runs.mode(), Mode::Locked);
    runs.pass(HOUR);
    assert_eq!(runs.mode(), Mode::Unlocked);
}

#[test]
fn a_manual_close_lasts_until_the_next_boundary_through_a_restart_within_the_interval() {
    let mut runs = Runs::new();
    runs.order(DoorAction::Close);
    assert_eq!(runs.mode(), Mode::Locked);
    runs.restart_after(HOUR / 2);
    assert_eq!(runs.mode(), Mode::Locked, "still the interval in which it was closed");
    runs.pass(HOUR / 2);
    assert_eq!(runs.mode(), Mode::Locked);
    runs.pass(2 * HOUR);
    assert_eq!(runs.mode(), Mode::Unlocked, "the next interval opens again");
}

#[test]
fn a_manual_open_ends_at_the_boundary_even_if_the_node_was_down_at_that_time() {
    let mut runs = Runs::new();
    runs.order(DoorAction::Open);
    runs.restart_after(HOUR / 2);
    assert_eq!(runs.mode(), Mode::Unlocked);
    runs.restart_after(2 * HOUR);
    assert_eq!(runs.mode(), Mode::Locked, "16:00 has passed");

    let mut runs = Runs::new();
    runs.pass(2 * HOUR);
    runs.order(DoorAction::Open);
    assert_eq!(runs.mode(), Mode::Unlocked);
    runs.pass(HOUR);
    runs.pass(2 * HOUR);
    assert_eq!(runs.mode(), Mode::Locked, "17:00 ended the manual open, and 19:00 what auto open made of it");
}

#[test]
fn a_lockdown_covers_auto_open_and_a_boundary_beneath_it_counts() {
    let mut runs = Runs::new();
    runs.order(DoorAction::Lockdown(true));
    assert_eq!(runs.mode(), Mode::LockedDown);
    runs.pass(2 * HOUR);
    assert_eq!(runs.mode(), Mode::LockedDown);
    runs.order(DoorAction::Lockdown(false));
    assert_eq!(runs.mode(), Mode::Locked, "the hours are over");
}

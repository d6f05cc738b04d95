use serde_json::json;

use super::*;
use crate::domain::{
    time::{ClockTrust, Wall},
    topology::ReaderAt,
};

/// Readers: into and out of the hall, from the hall into the lab and back.
const IN: ReaderIx = ReaderIx(0);
const OUT: ReaderIx = ReaderIx(1);
const LAB_IN: ReaderIx = ReaderIx(2);
const LAB_OUT: ReaderIx = ReaderIx(3);
const FRONT: DoorIx = DoorIx(0);

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn actor(person: &str) -> Actor {
    Actor::Person { person: id(person), credential: id("card") }
}

fn topology() -> Topology {
    let readers = ["in", "out", "lab-in", "lab-out"];
    let readers = readers.map(|reader| (id(reader), ReaderAt::Door(FRONT))).to_vec();
    Topology { readers, ..Topology::of_doors(&[id("front")]) }
}

fn site(areas: serde_json::Value) -> SiteRecords {
    SiteRecords { areas: serde_json::from_value(areas).unwrap(), ..SiteRecords::default() }
}

fn hall(more: serde_json::Value) -> SiteRecords {
    let mut hall = json!({ "entry_readers": ["in"], "exit_readers": ["out"] });
    hall.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site(json!({ "hall": hall }))
}

struct Bench {
    areas: Areas,
    now: Now,
    kept: BTreeMap<KeptKey, Kept>,
}

impl Bench {
    fn new(site: &SiteRecords) -> Bench {
        let now = Now {
            mono: Mono::from_millis(50_000),
            wall: Wall::from_millis(1_790_000_000_000),
            trust: ClockTrust::Trusted,
        };
        let mut bench = Bench { areas: Areas::default(), now, kept: BTreeMap::new() };
        let changes = bench.areas.plan(site, &topology());
        bench.note(changes);
        bench
    }

    fn note(&mut self, changes: Changes) -> Vec<String> {
        for kept in changes.kept {
            self.kept.insert(kept.key(), kept);
        }
        for key in changes.unkept {
            self.kept.remove(&key);
        }
        changes.areas.iter().map(|area| format!("{area} {}", self.count(area))).collect()
    }

    fn count(&self, area: &str) -> u32 {
        self.areas.people.count(&id(area))
    }

    fn wait(&mut self, seconds: u64) {
        self.now.mono = self.now.mono + Duration::from_secs(seconds);
        self.now.wall = self.now.wall + Duration::from_secs(seconds);
    }

    fn judge(&self, person: &str, reader: ReaderIx) -> Verdict {
        self.areas.judge(self.now, &id(person), false, reader, &[])
    }

    /// At a door without a contact.
    fn passes(&mut self, person: &str, reader: ReaderIx) -> Vec<String> {
        let changes = self.areas.granted(self.now, &id(person), reader, None);
        self.note(changes)
    }

    fn expected(&mut self, person: &str, reader: ReaderIx) -> Vec<String> {
        let until = self.now.mono + Duration::from_secs(6);
        let changes = self.areas.granted(self.now, &id(person), reader, Some((FRONT, actor(person), until)));
        self.note(changes)
    }

    fn opens(&mut self) -> Vec<String> {
        let changes = self.areas.passed(self.now, FRONT);
        self.note(changes)
    }

    /// With what was kept, as it was written.
    fn restart(&mut self, site: &SiteRecords) {
        let kept: Vec<Kept> = self.kept.values().cloned().collect();
        self.now.mono = Mono::from_millis(3_000);
        self.areas = Areas::default();
        self.areas.restore(&kept, self.now);
        let changes = self.areas.plan(site, &topology());
        self.note(changes);
    }
}

fn violation(area: &str, way: PassageWay) -> Vec<Violation> {
    vec![Violation { area: id(area), way }]
}

fn denied(reason: DenialReason, area: &str) -> Option<(DenialReason, Id)> {
    Some((reason, id(area)))
}

#[test]
fn whoever_is_inside_cannot_enter_and_whoever_left_cannot_leave_again() {
    let mut bench = Bench::new(&hall(json!({ "anti_passback": "hard" })));
    assert_eq!(bench.judge("ada", OUT), Verdict::default(), "of her nothing is known");
    assert_eq!(bench.passes("ada", IN), ["hall 1"]);
    let verdict = bench.judge("ada", IN);
    assert_eq!(verdict.violations, violation("hall", PassageWay::Entry));
    assert_eq!(verdict.denied, denied(DenialReason::ApbViolation, "hall"));
    assert_eq!(bench.judge("ben", IN), Verdict::default());
    assert_eq!(bench.passes("ada", OUT), ["hall 0"]);
    assert_eq!(bench.judge("ada", OUT).violations, violation("hall", PassageWay::Exit));
    assert_eq!(bench.judge("ada", IN), Verdict::default());
}

#[test]
fn soft_tells_and_off_only_counts() {
    for (mode, told) in [("soft", 1), ("off", 0)] {
        let mut bench = Bench::new(&hall(json!({ "anti_passback": mode })));
        bench.passes("ada", IN);
        let verdict = bench.judge("ada", IN);
        assert_eq!((verdict.violations.len(), verdict.denied), (told, None), "{mode}");
        assert_eq!(bench.passes("ada", IN), Vec::<String>::new(), "she is counted once");
        assert_eq!(bench.count("hall"), 1);
    }
}

#[test]
fn who_is_exempt_is_stopped_by_nothing_and_counted_all_the_same() {
    let mut bench = Bench::new(&hall(json!({ "anti_passback": "hard", "occupancy_max": 1 })));
    bench.passes("ada", IN);
    assert_eq!(bench.areas.judge(bench.now, &id("ada"), true, IN, &[]), Verdict::default());
    assert_eq!(bench.areas.judge(bench.now, &id("eve"), true, IN, &[]), Verdict::default());
    assert_eq!(bench.passes("eve", IN), ["hall 2"]);
}

#[test]
fn a_full_area_admits_nobody_more_until_somebody_leaves() {
    let mut bench = Bench::new(&hall(json!({ "occupancy_max": 2 })));
    bench.passes("ada", IN);
    bench.passes("ben", IN);
    assert_eq!(bench.judge("eve", IN).denied, denied(DenialReason::AreaFull, "hall"));
    assert_eq!(bench.judge("ada", IN).denied, None, "she has her place");
    bench.passes("ben", OUT);
    assert_eq!(bench.judge("eve", IN).denied, None);
}

#[test]
fn of_two_who_enter_together_each_takes_a_place() {
    let mut bench = Bench::new(&hall(json!({ "occupancy_max": 2 })));
    let (ada, ben) = (id("ada"), id("ben"));
    let both = [&ada, &ben];
    let of = |bench: &Bench, person: &Id| bench.areas.judge(bench.now, person, false, IN, &both).denied;
    assert_eq!((of(&bench, &ada), of(&bench, &ben)), (None, None));
    bench.passes("eve", IN);
    let full = denied(DenialReason::AreaFull, "hall");
    assert_eq!((of(&bench, &ada), of(&bench, &ben)), (full.clone(), full));
    bench.passes("ben", IN);
    bench.passes("eve", OUT);
    assert_eq!((of(&bench, &ada), of(&bench, &ben)), (None, None), "one of them has a place");
}

#[test]
fn a_place_is_taken_while_somebody_may_still_come_and_free_again_if_nobody_did() {
    let mut bench = Bench::new(&hall(json!({ "occupancy_max": 1, "anti_passback": "hard" })));
    assert_eq!(bench.expected("ada", IN), Vec::<String>::new());
    assert_eq!(bench.judge("ben", IN).denied, denied(DenialReason::AreaFull, "hall"));
    assert_eq!(bench.judge("ada", IN), Verdict::default(), "she missed the door and tries again");
    bench.areas.not_opened(FRONT, &actor("ada"));
    assert_eq!(bench.judge("ben", IN), Verdict::default());
    bench.expected("ben", IN);
    assert_eq!(bench.opens(), ["hall 1"]);
    assert_eq!(bench.judge("ben", IN).violations, violation("hall", PassageWay::Entry));
    assert_eq!(bench.opens(), Vec::<String>::new(), "nobody is expected any more");
}

#[test]
fn what_nobody_ends_ends_by_itself() {
    let mut bench = Bench::new(&hall(json!({ "occupancy_max": 1 })));
    bench.expected("ada", IN);
    let due = bench.areas.next_deadline().unwrap();
    assert_eq!(due, bench.now.mono + Duration::from_secs(6));
    bench.now.mono = due;
    bench.areas.advance(bench.now.mono, |_| true);
    assert_eq!((bench.judge("ben", IN).denied, bench.areas.next_deadline()), (None, None));
}

#[test]
fn going_from_one_area_into_the_next_is_both() {
    let areas = json!({
        "hall": { "entry_readers": ["in", "lab-out"], "exit_readers": ["out", "lab-in"], "anti_passback": "hard" },
        "lab": { "entry_readers": ["lab-in"], "exit_readers": ["lab-out"], "anti_passback": "hard" },
    });
    let mut bench = Bench::new(&site(areas));
    bench.passes("ada", IN);
    assert_eq!(bench.passes("ada", LAB_IN), ["hall 0", "lab 1"]);
    assert_eq!(bench.judge("ada", OUT).violations, violation("hall", PassageWay::Exit));
    assert_eq!(bench.passes("ada", LAB_OUT), ["hall 1", "lab 0"]);
    assert_eq!(bench.judge("ada", OUT), Verdict::default());
}

#[test]
fn a_violation_is_forgiven_when_its_time_is_over_also_across_a_restart_and_with_a_clock_that_lies() {
    let site = hall(json!({ "anti_passback": "hard", "forgive_after_s": 600 }));
    let mut bench = Bench::new(&site);
    bench.passes("ada", IN);
    bench.wait(599);
    assert!(bench.judge("ada", IN).denied.is_some());
    bench.wait(1);
    assert_eq!(bench.judge("ada", IN), Verdict::default());
    bench.passes("ada", IN);
    bench.wait(300);
    bench.restart(&site);
    bench.wait(299);
    assert!(bench.judge("ada", IN).denied.is_some());
    bench.wait(1);
    assert_eq!(bench.judge("ada", IN), Verdict::default(), "300 s before the restart count");

    // Not with a clock that nobody trusts: then only what this run has seen counts.
    bench.passes("ben", IN);
    bench.wait(500);
    bench.restart(&site);
    bench.now.trust = ClockTrust::Untrusted;
    bench.wait(500);
    assert!(bench.judge("ben", IN).denied.is_some());
    bench.now.wall = Wall::EPOCH;
    assert!(bench.judge("ben", IN).denied.is_some());
    bench.wait(100);
    assert_eq!(bench.judge("ben", IN), Verdict::default());
}

#[test]
fn a_restart_forgets_nobody() {
    let site = hall(json!({ "anti_passback": "hard", "occupancy_max": 1 }));
    let mut bench = Bench::new(&site);
    bench.passes("ada", IN);
    bench.restart(&site);
    assert_eq!(bench.count("hall"), 1);
    assert!(bench.judge("ada", IN).denied.is_some());
    assert_eq!(bench.judge("ben", IN).denied, denied(DenialReason::AreaFull, "hall"));
}

#[test]
fn clearing_forgets_a_person_an_area_or_everybody() {
    let areas = json!({
        "hall": { "entry_readers": ["in"], "exit_readers": ["out"], "anti_passback": "hard" },
        "lab": { "entry_readers": ["lab-in"], "exit_readers": ["lab-out"], "anti_passback": "hard" },
    });
    let mut bench = Bench::new(&site(areas));
    let nobody = |_: &Id| false;
    for (person, reader) in [("ada", IN), ("ada", LAB_IN), ("ben", IN), ("eve", LAB_IN)] {
        bench.passes(person, reader);
    }
    let changes = bench.areas.clear(Some(&id("ben")), None, nobody).unwrap();
    assert_eq!(bench.note(changes), ["hall 1"]);
    assert_eq!(bench.judge("ben", IN), Verdict::default());
    let changes = bench.areas.clear(None, Some(&id("lab")), nobody).unwrap();
    assert_eq!(bench.note(changes), ["lab 0"]);
    assert!(bench.judge("ada", IN).denied.is_some() && bench.judge("ada", LAB_IN).denied.is_none());
    let changes = bench.areas.clear(None, None, nobody).unwrap();
    assert_eq!((bench.note(changes), bench.kept.len()), (vec!["hall 0".to_owned()], 0));
    assert_eq!(bench.areas.clear(Some(&id("who")), None, nobody), None);
    assert_eq!(bench.areas.clear(None, Some(&id("attic")), nobody), None);
    assert_eq!(bench.areas.clear(Some(&id("new")), None, |_| true), Some(Changes::default()));
}

#[test]
fn an_area_that_is_gone_is_forgotten_and_a_new_limit_is_told() {
    let mut bench = Bench::new(&hall(json!({ "occupancy_max": 5 })));
    bench.passes("ada", IN);
    let changes = bench.areas.plan(&hall(json!({ "occupancy_max": 6 })), &topology());
    assert_eq!(bench.note(changes), ["hall 1"]);
    assert_eq!(bench.areas.status(&id("hall")).unwrap().limit, Some(6));
    let changes = bench.areas.plan(&site(json!({})), &topology());
    assert_eq!((bench.note(changes), bench.kept.len()), (vec!["hall 0".to_owned()], 0));
    assert_eq!(bench.areas.status(&id("hall")), None);
    let changes = bench.areas.plan(&site(json!({ "far": { "entry_readers": ["of-another-node"] } })), &topology());
    assert_eq!(changes, Changes::default());
}

#[test]
fn people_who_were_deleted_are_found_bit_by_bit_and_leave_their_areas() {
    let mut bench = Bench::new(&hall(json!({})));
    for n in 0..1500 {
        bench.passes(&format!("p-{n}"), IN);
    }
    bench.areas.sweep(bench.now.mono);
    let mut slices = 0;
    while let Some(due) = bench.areas.next_deadline() {
        bench.now.mono = due;
        let changes = bench.areas.advance(due, |person| !person.ends_with('7'));
        bench.note(changes);
        slices += 1;
    }
    assert_eq!((slices, bench.count("hall"), bench.kept.len()), (3, 1350, 1350));
}

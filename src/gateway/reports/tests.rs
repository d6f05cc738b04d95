//! Pages of reports over logs that grow and are pruned between them.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{event::Event, time::Wall},
    wire::{
        canonical::sha256,
        event_log::{self, Head, verify_chain},
    },
};

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

/// A log in memory; what a test does to it while a page is made happens before a read.
#[derive(Default)]
struct Log {
    events: RefCell<BTreeMap<u64, Sealed>>,
    newest: RefCell<u64>,
    largest_read: RefCell<u64>,
    reads: RefCell<usize>,
}

impl Log {
    fn of(events: impl IntoIterator<Item = Value>) -> Log {
        let log = Log::default();
        events.into_iter().for_each(|event| log.push(event));
        log
    }

    fn push(&self, mut event: Value) {
        *self.newest.borrow_mut() += 1;
        let seq = *self.newest.borrow();
        event["seq"] = json!(seq);
        let json = event.to_string().into_bytes();
        self.events.borrow_mut().insert(seq, Sealed { seq, hash: sha256(&json), json });
    }

    fn prune_below(&self, seq: u64) {
        self.events.borrow_mut().retain(|kept, _| *kept >= seq);
    }

    fn damage(&self, seq: u64) {
        self.events.borrow_mut().remove(&seq);
    }
}

impl Events for Log {
    fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    fn oldest(&self) -> Result<u64, KvError> {
        Ok(self.events.borrow().keys().next().copied().unwrap_or(self.newest() + 1))
    }

    fn range(&self, from: u64, through: u64) -> Result<Vec<Sealed>, KvError> {
        let mut largest = self.largest_read.borrow_mut();
        *largest = (*largest).max(through + 1 - from);
        *self.reads.borrow_mut() += 1;
        Ok(self.events.borrow().range(from..=through).map(|(_, sealed)| sealed.clone()).collect())
    }
}

/// What each test asks, with everything else at rest.
struct Reporter<'a> {
    log: &'a Log,
    scope: Scope,
    args: ReportArgs,
    spans: Spans,
    places: Places,
}

impl<'a> Reporter<'a> {
    fn new(log: &'a Log, args: Value) -> Reporter<'a> {
        let places = Places {
            readers: [(id("front-in"), id("front")), (id("back-in"), id("back"))].into(),
            cabs: [(id("cab"), id("lift"))].into(),
        };
        let read: ReportArgs = serde_json::from_value(args.clone()).unwrap();
        read.check(args.as_object().unwrap()).unwrap();
        let args = read;
        Reporter { log, scope: Scope::default(), args, spans: Spans::default(), places }
    }

    fn only(mut self, doors: &[&str]) -> Reporter<'a> {
        self.scope.doors = Some(doors.iter().map(|door| id(door)).collect());
        self
    }

    fn page(&mut self) -> Result<ReportPage, ReportError> {
        page(self.log, &id("log"), &self.places, &self.scope, &self.args, &mut self.spans)
    }

    /// The numbers of one page; the next call goes on.
    fn next(&mut self) -> (Vec<u64>, bool) {
        let page = self.page().unwrap();
        self.args.cursor = page.next.clone();
        (seqs(&page), page.more)
    }

    fn all(&mut self) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let (seqs, more) = self.next();
            all.extend(seqs);
            if !more {
                return all;
            }
        }
    }
}

fn seqs(page: &ReportPage) -> Vec<u64> {
    page.events.iter().flatten().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn at(minute: i64) -> String {
    Wall::from_millis(1_790_000_000_000 + minute * 60_000).to_string()
}

fn denied(door: &str, person: &str, minute: i64) -> Value {
    json!({"type": "access.denied", "occurred_at": at(minute), "door": door, "reader": format!("{door}-in"),
        "person": person, "credential": format!("{person}-card"), "reason": "no_rule", "epoch": 1, "generation": 2,
        "clock": "trusted", "card": {"bits": 26}})
}

fn plain(kind: &str, minute: i64) -> Value {
    json!({"type": kind, "occurred_at": at(minute), "epoch": 1, "generation": 2, "clock": "trusted"})
}

#[test]
fn each_filter_leaves_what_it_names() {
    let log = Log::of([
        denied("front", "ada", 0),
        denied("back", "ben", 1),
        json!({"type": "door.mode_changed", "occurred_at": at(2), "door": "front", "from": "Locked", "to": "Unlocked",
            "actor": {"by": "operator", "operator": "op-1", "jti": "j"}}),
        json!({"type": "operator.refused", "occurred_at": at(3), "operator": "op-2", "jti": "j", "command": "door.open",
            "reason": "forbidden"}),
        json!({"type": "reader.lost", "occurred_at": at(4), "reader": "back-in", "detail": "silent"}),
        plain("node.stopping", 5),
    ]);
    for (filter, expected) in [
        (json!({}), vec![6, 5, 4, 3, 2, 1]),
        (json!({"doors": ["front"]}), vec![3, 1]),
        (json!({"doors": ["front", "back"]}), vec![5, 3, 2, 1]),
        (json!({"persons": ["ben"]}), vec![2]),
        (json!({"credentials": ["ada-card"]}), vec![1]),
        (json!({"operators": ["op-1", "op-2"]}), vec![4, 3]),
        (json!({"readers": ["back-in"]}), vec![5, 2]),
        (json!({"types": ["access.*"]}), vec![2, 1]),
        (json!({"types": ["door.mode_changed", "node.stopping"]}), vec![6, 3]),
        (json!({"reasons": ["no_rule"], "doors": ["back"]}), vec![2]),
        (json!({"reasons": ["forbidden"]}), vec![4]),
        (json!({"doors": ["attic"]}), vec![]),
    ] {
        assert_eq!(Reporter::new(&log, json!({"filter": filter})).all(), expected, "{filter}");
        let mut oldest = expected;
        oldest.reverse();
        let args = json!({"filter": filter, "order": "oldest_first"});
        assert_eq!(Reporter::new(&log, args).all(), oldest, "{filter} oldest first");
    }
    assert_eq!(Reporter::new(&log, json!({"from": at(1), "until": at(3)})).all(), [3, 2]);
    assert_eq!(Reporter::new(&log, json!({"from": at(5)})).all(), [6]);
    assert_eq!(Reporter::new(&log, json!({"until": at(0)})).all(), [0u64; 0]);
}

#[test]
fn an_operator_with_doors_sees_events_of_these_doors_and_no_others() {
    let log = Log::of([
        denied("front", "ada", 0),
        denied("back", "ben", 1),
        json!({"type": "operator.refused", "occurred_at": at(2), "operator": "op-2", "reason": "forbidden"}),
        json!({"type": "reader.lost", "occurred_at": at(3), "reader": "front-in"}),
        json!({"type": "reader.lost", "occurred_at": at(3), "reader": "back-in"}),
        json!({"type": "lockdown.set", "occurred_at": at(4), "doors": ["front", "back"]}),
        json!({"type": "lockdown.set", "occurred_at": at(4), "doors": ["front"]}),
        json!({"type": "some.thing", "occurred_at": at(4), "door": "front", "by": {"chain": [{"door": "back"}]}}),
        plain("node.stopping", 5),
    ]);
    assert_eq!(Reporter::new(&log, json!({})).only(&["front"]).all(), [7, 4, 1]);
    assert_eq!(Reporter::new(&log, json!({"filter": {"doors": ["back"]}})).only(&["front"]).all(), [0u64; 0]);
    assert_eq!(Reporter::new(&log, json!({})).only(&[]).all(), [0u64; 0]);
}

#[test]
fn an_operator_with_an_elevator_or_a_compartment_sees_what_happens_there_and_in_no_other() {
    let log = Log::of([
        json!({"type": "floor.enabled", "occurred_at": at(0), "floor_group": "lift", "floors": ["1"]}),
        json!({"type": "floor.enabled", "occurred_at": at(0), "floor_group": "freight", "floors": ["1"]}),
        json!({"type": "reader.lost", "occurred_at": at(1), "reader": "cab"}),
        json!({"type": "contract.refused", "occurred_at": at(1), "contract": "c", "locker": "box-1", "reason": "late"}),
        json!({"type": "lockdown.set", "occurred_at": at(2), "doors": ["front"], "floor_group": "lift"}),
        denied("front", "ada", 3),
        // A door of the same name is another thing.
        denied("lift", "ada", 4),
    ]);
    let with = |doors: &[&str], args: Value| {
        let mut reporter = Reporter::new(&log, args).only(doors);
        reporter.scope.floor_groups = [id("lift")].into();
        reporter.all()
    };
    assert_eq!(with(&[], json!({})), [3, 1]);
    assert_eq!(with(&["box-1"], json!({})), [4, 3, 1]);
    assert_eq!(with(&["front"], json!({"filter": {"doors": ["lift"]}})), [5, 3, 1]);
    assert_eq!(with(&["front"], json!({"filter": {"doors": ["freight"]}})), [0u64; 0]);
}

#[test]
fn pages_go_on_where_they_ended_although_the_log_grows_and_is_pruned() {
    let log = Log::of((0..10).map(|n| denied("front", "ada", n)));
    let mut newest = Reporter::new(&log, json!({"limit": 4}));
    let mut oldest = Reporter::new(&log, json!({"limit": 4, "order": "oldest_first"}));
    assert_eq!(newest.next(), (vec![10, 9, 8, 7], true));
    assert_eq!(oldest.next(), (vec![1, 2, 3, 4], true));
    log.push(denied("front", "ada", 10));
    log.prune_below(7);
    let page = oldest.page().unwrap();
    assert_eq!((seqs(&page), page.pruned, page.oldest, page.newest), (vec![7, 8, 9, 10], Some(2), 7, 11));
    assert_eq!(newest.next(), (vec![], false), "what it had not shown yet is gone");
    oldest.args.cursor = page.next;
    assert_eq!(oldest.next(), (vec![11], false));
    log.push(denied("front", "ada", 11));
    assert_eq!(oldest.next(), (vec![12], false), "with the last cursor comes what has happened since");
}

#[test]
fn a_full_page_that_is_also_the_last_says_so() {
    let log = Log::of((0..4).map(|n| denied("front", "ada", n)));
    assert_eq!(Reporter::new(&log, json!({"limit": 4})).next(), (vec![4, 3, 2, 1], false));
    assert_eq!(Reporter::new(&log, json!({"limit": 4, "order": "oldest_first"})).next(), (vec![1, 2, 3, 4], false));
    let empty = Reporter::new(&Log::default(), json!({})).page().unwrap();
    assert_eq!((empty.count, empty.more, empty.next), (0, false, None));
}

#[test]
fn a_page_looks_at_so_many_events_and_no_more_and_says_that_there_may_be_more() {
    let count = SCAN_MAX + 3 * BLOCK;
    let log = Log::of((0..count).map(|_| plain("node.stopping", 0)).chain([denied("front", "ada", 1)]));
    let mut reporter = Reporter::new(&log, json!({"filter": {"types": ["access.*"]}, "order": "oldest_first"}));
    let page = reporter.page().unwrap();
    assert_eq!((page.count, page.more), (0, true));
    assert!(page.scanned <= SCAN_MAX + BLOCK, "{}", page.scanned);
    assert!(*log.largest_read.borrow() <= BLOCK);
    reporter.args.cursor = page.next;
    assert_eq!(reporter.next(), (vec![count + 1], false));
}

#[test]
fn a_second_report_of_another_day_reads_only_what_may_hold_it() {
    let log = Log::of((0..20_000).map(|n| plain("node.stopping", n)));
    let mut spans = Spans::default();
    for (pass, reads_max) in [(0, 80), (1, 3)] {
        let args = json!({"from": at(100), "until": at(200), "order": "oldest_first", "limit": 1000});
        let mut reporter = Reporter { spans: std::mem::take(&mut spans), ..Reporter::new(&log, args) };
        *log.reads.borrow_mut() = 0;
        assert_eq!(reporter.all(), (101..=200).collect::<Vec<_>>());
        assert!(*log.reads.borrow() <= reads_max, "pass {pass}: {} reads", log.reads.borrow());
        spans = reporter.spans;
    }
}

#[test]
fn a_clock_that_was_set_back_hides_nothing() {
    let minutes = (0..600).map(|n| if n < 300 { 1000 + n } else { n });
    let log = Log::of(minutes.map(|n| plain("node.stopping", n)));
    let mut reporter = Reporter::new(&log, json!({"from": at(300), "until": at(400), "order": "oldest_first"}));
    assert_eq!(reporter.all(), (301..=400).collect::<Vec<_>>());
    reporter.args.cursor = None;
    assert_eq!(reporter.all(), (301..=400).collect::<Vec<_>>(), "nor once the stretches are known");
}

#[test]
fn a_cursor_is_good_for_its_own_report_only() {
    let log = Log::of((0..10).map(|n| denied("front", "ada", n)));
    let cursor = Reporter::new(&log, json!({"limit": 1})).page().unwrap().next.unwrap();
    let with = |args: Value| {
        let mut reporter = Reporter::new(&log, args);
        reporter.args.cursor = Some(cursor.clone());
        reporter
    };
    assert!(with(json!({"limit": 7, "format": "csv"})).page().is_ok());
    for other in [json!({"order": "oldest_first"}), json!({"filter": {"doors": ["front"]}})] {
        assert!(matches!(with(other).page(), Err(ReportError::Cursor(_))));
    }
    let mut mine = with(json!({}));
    let log_2 = page(&log, &id("log-2"), &mine.places, &mine.scope, &mine.args, &mut mine.spans);
    assert!(matches!(log_2, Err(ReportError::OtherLog)));
    for bad in ["", "x", "AAAA", "!!!!", &cursor[1..], &format!("{cursor}AAAA")] {
        mine.args.cursor = Some(bad.to_owned());
        assert!(matches!(mine.page(), Err(ReportError::Cursor(_))), "{bad}");
    }
}

#[test]
fn damaged_events_are_counted() {
    let log = Log::of((0..10).map(|n| denied("front", "ada", n)));
    log.damage(4);
    log.damage(5);
    let page = Reporter::new(&log, json!({})).page().unwrap();
    assert_eq!((page.count, page.unreadable, page.more), (8, Some(2), false));
    log.prune_below(6);
    assert_eq!(Reporter::new(&log, json!({})).page().unwrap().unreadable, None);
}

#[test]
fn a_page_stays_within_its_bytes_in_either_format() {
    let wide = |n: i64| json!({"type": "set.refused", "occurred_at": at(n), "reasons": ["\"\\\u{1}".repeat(3000)]});
    let log = Log::of((0..100).map(wide));
    for format in ["json", "csv"] {
        let mut reporter = Reporter::new(&log, json!({"format": format}));
        let mut count = 0;
        loop {
            let page = reporter.page().unwrap();
            let bytes = serde_json::to_vec(&page).unwrap().len();
            assert!(bytes < PAGE_BYTES_MAX + 1024, "{format}: {bytes}");
            count += page.count;
            reporter.args.cursor = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(count, 100, "{format}");
    }
}

#[test]
fn an_event_that_is_larger_than_a_page_is_a_page_of_its_own() {
    let huge = json!({"type": "set.refused", "occurred_at": at(0), "reasons": ["\"".repeat(PAGE_BYTES_MAX / 2)]});
    let log = Log::of([plain("node.stopping", 0), huge, plain("node.stopping", 1)]);
    assert_eq!(Reporter::new(&log, json!({})).next(), (vec![3], true));
    assert_eq!(Reporter::new(&log, json!({})).all(), [3, 2, 1]);
    let page = Reporter::new(&log, json!({"format": "csv"})).page().unwrap();
    assert_eq!(page.count, 3);
    assert!(page.csv.unwrap().contains("too large for CSV: ask for it as JSON"));
}

/// RFC 4180, as simply as it can be read.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            (true, '"') => quoted = false,
            (true, c) => cell.push(c),
            (false, '"') => quoted = true,
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\r') => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (false, c) => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "{text:?}");
    rows
}

#[test]
fn csv_has_its_columns_in_every_row_and_its_header_once() {
    let mut odd = plain("board.lost", 3);
    odd["detail"] = json!("line 1\r\nline, \"2\"");
    let mode_changed = json!({"type": "door.mode_changed", "occurred_at": at(1), "door": "front", "epoch": 1,
        "generation": 2, "clock": "trusted", "actor": {"by": "operator", "operator": "op-1", "jti": "j"}});
    let log = Log::of([denied("front", "ada", 0), mode_changed, odd]);
    let mut reporter = Reporter::new(&log, json!({"format": "csv", "order": "oldest_first", "limit": 1}));
    let mut text = String::new();
    loop {
        let page = reporter.page().unwrap();
        assert_eq!((page.events, page.count), (None, 1));
        text.push_str(&page.csv.unwrap());
        reporter.args.cursor = page.next;
        if !page.more {
            break;
        }
    }
    let rows = read_csv(&text);
    assert_eq!(rows[0], super::rows::COLUMNS);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
    let (first, second) = (at(0), at(1));
    let cells = ["1", &first, "access.denied", "front", "front-in", "ada", "ada-card", "", "no_rule", "", "trusted"];
    assert_eq!(rows[1][..11], cells);
    assert_eq!(rows[1][11..], ["1", "2", "", r#"{"card":{"bits":26}}"#]);
    assert_eq!(rows[2][..8], ["2", &second, "door.mode_changed", "front", "", "", "", "op-1"]);
    assert_eq!(rows[2][14], r#"{"actor":{"by":"operator","jti":"j","operator":"op-1"}}"#);
    assert_eq!(rows[3][13], "line 1\r\nline, \"2\"");
    assert_eq!(rows.len(), 4);
}

#[test]
fn no_cell_is_a_formula() {
    for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "=\"x\",y"] {
        let mut event = plain("board.lost", 0);
        event["detail"] = json!(text);
        event["rule"] = json!(text);
        let log = Log::of([event]);
        let page = Reporter::new(&log, json!({"format": "csv"})).page().unwrap();
        let rows = read_csv(&page.csv.unwrap());
        assert_eq!((&rows[1][9], &rows[1][13]), (&format!("'{text}"), &format!("'{text}")));
    }
}

#[test]
fn a_report_without_a_filter_is_the_chain_that_the_cloud_can_check() {
    let mut head = Head::begin(id("log"));
    let log = Log::default();
    for n in 0..5 {
        let mut event = denied("front", "ada", n);
        event["card"] = json!({"bits": 26, "raw": "2180159", "formats": ["h10301"], "parity_ok": true});
        let event: Event = serde_json::from_value(event).unwrap();
        let (sealed, next) = event_log::seal(&head, &event).unwrap();
        *log.newest.borrow_mut() = sealed.seq;
        log.events.borrow_mut().insert(sealed.seq, sealed);
        head = next;
    }
    let page = Reporter::new(&log, json!({"order": "oldest_first"})).page().unwrap();
    let bytes: Vec<Vec<u8>> = page.events.unwrap().iter().map(|event| serde_json::to_vec(event).unwrap()).collect();
    assert_eq!(verify_chain(Head::begin(id("log")), bytes.iter().map(Vec::as_slice)).unwrap(), head);
}

/// What `Filter::fits` should say, said again without it.
fn fits_by_hand(event: &Value, args: &ReportArgs) -> bool {
    let filter = &args.filter;
    let one = |names: &[Id], member: &str| names.is_empty() || names.iter().any(|name| event[member] == name.as_str());
    let time: Wall = serde_json::from_value(event["occurred_at"].clone()).unwrap();
    one(&filter.doors, "door")
        && one(&filter.persons, "person")
        && args.from.is_none_or(|from| time >= from)
        && args.until.is_none_or(|until| time < until)
}

#[derive(Clone, Debug)]
enum Deed {
    Page,
    Append(u8),
    Prune(u8),
}

proptest! {
    #[test]
    fn whatever_happens_between_pages_each_event_that_stays_is_shown_once_and_in_order(
        minutes in proptest::collection::vec(0i64..50, 1..700),
        deeds in proptest::collection::vec(
            prop_oneof![4 => Just(Deed::Page), 1 => (0u8..80).prop_map(Deed::Append), 1 => (0u8..200).prop_map(Deed::Prune)],
            1..40,
        ),
        limit in 1u32..60,
        oldest_first in any::<bool>(),
        door in proptest::option::of(0usize..3),
        span in proptest::option::of((0i64..50, 1i64..50)),
    ) {
        let doors = ["front", "back", "side"];
        let event = |n: usize, minute: i64| denied(doors[n % 3], ["ada", "ben"][n % 2], minute);
        let log = Log::of(minutes.iter().enumerate().map(|(n, minute)| event(n, *minute)));
        let mut filter = json!({});
        if let Some(door) = door {
            filter["doors"] = json!([doors[door]]);
        }
        let order = if oldest_first { "oldest_first" } else { "newest_first" };
        let mut args = json!({"filter": filter, "order": order, "limit": limit});
        if let Some((from, length)) = span {
            args["from"] = json!(at(from));
            args["until"] = json!(at(from + length));
        }
        let mut reporter = Reporter::new(&log, args);
        let there_at_first: Vec<Value> =
            log.events.borrow().values().map(|sealed| serde_json::from_slice(&sealed.json).unwrap()).collect();
        let mut shown: Vec<u64> = Vec::new();
        let mut more = true;
        let mut end = deeds.into_iter();
        while more {
            match end.next().unwrap_or(Deed::Page) {
                Deed::Page => {
                    let (seqs, goes_on) = reporter.next();
                    shown.extend(seqs);
                    more = goes_on;
                }
                Deed::Append(count) => (0..count).for_each(|n| log.push(event(usize::from(n), i64::from(n) % 50))),
                Deed::Prune(count) => {
                    let below = log.oldest().unwrap() + u64::from(count);
                    log.prune_below(below.min(log.newest()));
                }
            }
        }
        let rising = |seqs: &[u64]| seqs.windows(2).all(|pair| pair[0] < pair[1]);
        let mut in_rising_order = shown.clone();
        if !oldest_first {
            in_rising_order.reverse();
        }
        prop_assert!(rising(&in_rising_order), "{shown:?}");
        let kept_from = log.oldest().unwrap();
        for event in there_at_first {
            let seq = event["seq"].as_u64().unwrap();
            let fits = fits_by_hand(&event, &reporter.args);
            prop_assert!(fits || !shown.contains(&seq), "{seq} does not fit");
            prop_assert!(!fits || seq < kept_from || shown.contains(&seq), "{seq} is missing");
        }
    }
}

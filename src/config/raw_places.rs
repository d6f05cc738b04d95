//! The shape of elevators and key lockers in the site file. Owns which keys they have, and the counting of floors and
//! compartments that are written as one; must never resolve a reference. Invariant: what is `None` here was absent by
//! right or has been reported.
//!
//! An entry with `count` stands for that many: `{n}` counts from `first`, `{i}` from 1; `{n:02}` has two digits.

use std::time::Duration;

use super::{
    raw::{DWELL_MS_MAX, DWELL_MS_MIN, RawInput, RawLock},
    reader::Table,
    report::{At, Diagnostic, Span},
};
use crate::domain::{elevator::FailPolicy, ids::Id, outputs::Level};

const ENTRIES_MAX: usize = 1000;
const DAY_MS: u64 = 86_400_000;

#[derive(Debug)]
pub struct RawFloorGroup {
    pub span: Span,
    pub id: Option<At<Id>>,
    pub enable: Option<At<Duration>>,
    pub enable_extended: Option<At<Duration>>,
    pub fail: Option<At<FailPolicy>>,
    pub floors: Vec<RawFloors>,
}

#[derive(Debug)]
pub struct RawFloors {
    pub count: Count,
    pub id: Option<At<String>>,
    pub output: Option<At<String>>,
    pub enabled: Option<At<Level>>,
    pub selected: Option<RawInput>,
}

#[derive(Debug)]
pub struct RawCabinet {
    pub span: Span,
    pub id: Option<At<Id>>,
    pub keypad_timeout: Option<At<Duration>>,
    pub code_tries: Option<At<u32>>,
    pub lockout: Option<At<Duration>>,
    pub compartments: Vec<RawCompartments>,
}

#[derive(Debug)]
pub struct RawCompartments {
    pub count: Count,
    pub id: Option<At<String>>,
    pub lock: Option<RawLock>,
    pub occupied: Option<RawInput>,
    pub contact: Option<RawInput>,
    pub has_contact: bool,
    pub dwell: Option<At<Duration>>,
    pub open_time: Option<At<Duration>>,
}

/// How many an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub first: u16,
    pub count: u16,
    /// Written as more than one.
    pub counted: bool,
}

impl Count {
    fn read(table: &Table<'_>) -> Count {
        let count = table.optional("count").number::<u16>(1, ENTRIES_MAX as u64);
        let first = table.optional("first").number::<u16>(0, 9999).map_or(1, |at| at.value);
        Count { first, count: count.as_ref().map_or(1, |at| at.value), counted: count.is_some() }
    }

    /// `n` and `i` of each.
    pub fn numbers(self) -> impl Iterator<Item = (u16, u16)> {
        (0..self.count).map(move |at| (self.first + at, at + 1))
    }

    /// The text for one of them.
    pub fn expand(self, text: &At<String>, (n, i): (u16, u16)) -> At<String> {
        let mut value = text.value.clone();
        if self.counted {
            for (name, number) in [('n', n), ('i', i)] {
                value = value.replace(&format!("{{{name}}}"), &number.to_string());
                for width in 2..=4_usize {
                    value = value.replace(&format!("{{{name}:0{width}}}"), &format!("{number:0width$}"));
                }
            }
        }
        At { value, span: text.span }
    }

    pub fn expand_input(self, input: &RawInput, at: (u16, u16)) -> RawInput {
        let value = input.value.as_ref().map(|value| At { value: value.value, span: value.span });
        let bands = input.bands.as_ref().map(|bands| At { value: bands.value, span: bands.span });
        RawInput { input: input.input.as_ref().map(|text| self.expand(text, at)), value, bands }
    }

    pub fn expand_lock(self, lock: &RawLock, at: (u16, u16)) -> RawLock {
        let unlocked = lock.unlocked.as_ref().map(|level| At { value: level.value, span: level.span });
        RawLock { output: lock.output.as_ref().map(|text| self.expand(text, at)), unlocked }
    }
}

pub fn floor_groups(root: &Table<'_>) -> Vec<RawFloorGroup> {
    root.tables("floor_group", "[[floor_group]]", ENTRIES_MAX).into_iter().map(floor_group).collect()
}

pub fn cabinets(root: &Table<'_>) -> Vec<RawCabinet> {
    root.tables("cabinet", "[[cabinet]]", ENTRIES_MAX).into_iter().map(cabinet).collect()
}

fn floor_group(table: Table<'_>) -> RawFloorGroup {
    let group = RawFloorGroup {
        span: table.span,
        id: table.required("id").id(),
        enable: table.optional("enable_s").seconds(1, 540),
        enable_extended: table.optional("enable_extended_s").seconds(1, 540),
        fail: table.optional("fail").word(&[
            ("secure", FailPolicy::Secure),
            ("free", FailPolicy::Free),
            ("keep", FailPolicy::Keep),
        ]),
        floors: entries(&table, "floors", "[[floor_group]] floors").into_iter().map(floors).collect(),
    };
    table.finish();
    group
}

fn cabinet(table: Table<'_>) -> RawCabinet {
    let cabinet = RawCabinet {
        span: table.span,
        id: table.required("id").id(),
        keypad_timeout: table.optional("keypad_timeout_ms").millis(1000, 120_000),
        code_tries: table.optional("code_tries").number(1, 100),
        lockout: table.optional("lockout_s").seconds(1, 86_400),
        compartments: entries(&table, "compartments", "[[cabinet]] compartments")
            .into_iter()
            .map(compartments)
            .collect(),
    };
    table.finish();
    cabinet
}

/// An elevator without floors, or a cabinet without compartments, is no use.
fn entries<'a>(table: &Table<'a>, name: &'static str, kind: &'static str) -> Vec<Table<'a>> {
    let entries = table.tables(name, kind, ENTRIES_MAX);
    if table.span_of(name).is_none() {
        let finding = Diagnostic::error(format!("missing key `{name}` in {}", table.kind));
        table.sink.add(finding.at(table.span, format!("expected `{name} = [ {{ … }} ]`")));
    }
    entries
}

fn floors(table: Table<'_>) -> RawFloors {
    let floors = RawFloors {
        count: Count::read(&table),
        id: table.required("id").text_as("a name such as \"floor-{n}\""),
        output: table.required("output").text_as("\"BOARD/OUTPUT\""),
        enabled: table.required("enabled").word(&[("energised", Level::Energised), ("released", Level::Released)]),
        selected: table.optional("selected").table("selected").map(|table| super::raw::input(table, "active")),
    };
    table.finish();
    floors
}

fn compartments(table: Table<'_>) -> RawCompartments {
    let compartments = RawCompartments {
        count: Count::read(&table),
        id: table.required("id").text_as("a name such as \"key-{n:02}\""),
        lock: table.required("lock").table("lock").map(super::raw::lock),
        occupied: table.required("occupied").table("occupied").map(|table| super::raw::input(table, "occupied")),
        contact: table.optional("contact").table("contact").map(|table| super::raw::input(table, "closed")),
        has_contact: table.span_of("contact").is_some(),
        dwell: table.optional("dwell_ms").millis(DWELL_MS_MIN, DWELL_MS_MAX),
        open_time: table.optional("open_time_ms").millis(1000, DAY_MS),
    };
    table.finish();
    compartments
}

//! What a page looks like. Owns JSON and CSV and the bytes of both; must never let a cell become a formula.
//! Invariant: a page stays within its bytes as they stand in the answer's JSON, but for a single event that
//! is larger by itself; of that a CSV row leaves out the texts.
//!
//! CSV is RFC 4180: CRLF, quotes where needed, and the columns of [`COLUMNS`], in this order, for ever: new
//! ones are added at the end. A cell that a spreadsheet would take for a formula begins with an apostrophe.

use serde_json::{Map, Value};

use super::Seen;
use crate::wire::report::Format;

/// Several of a kind stand in one cell, parted by spaces. `other` is JSON: the members that have no column.
pub const COLUMNS: [&str; 15] = [
    "seq",
    "occurred_at",
    "type",
    "door",
    "reader",
    "person",
    "credential",
    "operator",
    "reason",
    "rule",
    "clock",
    "epoch",
    "generation",
    "detail",
    "other",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// The page has no room for it.
    Full,
}

pub struct Rows {
    what: What,
    count: u32,
    bytes: usize,
    bytes_max: usize,
}

enum What {
    Json(Vec<Value>),
    Csv(String),
}

impl Rows {
    /// `first`: of the first page, which has the CSV's header.
    pub fn new(format: Format, first: bool, bytes_max: usize) -> Rows {
        let what = match format {
            Format::Json => What::Json(Vec::new()),
            Format::Csv => {
                let header = || format!("{}\r\n", COLUMNS.join(","));
                What::Csv(if first { header() } else { String::new() })
            }
        };
        Rows { what, count: 0, bytes: 0, bytes_max }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn push(&mut self, seq: u64, seen: Seen) -> Taken {
        match &mut self.what {
            What::Json(events) => {
                let event = Value::Object(seen.event);
                let bytes = written_bytes(&event) + 1;
                if self.count > 0 && self.bytes + bytes > self.bytes_max {
                    return Taken::Full;
                }
                self.bytes += bytes;
                events.push(event);
            }
            What::Csv(text) => {
                let mut row = row(seq, &seen, true);
                let mut bytes = written_bytes(&Value::from(row.as_str()));
                if bytes > self.bytes_max {
                    row = self::row(seq, &seen, false);
                    bytes = written_bytes(&Value::from(row.as_str()));
                }
                if self.count > 0 && self.bytes + bytes > self.bytes_max {
                    return Taken::Full;
                }
                self.bytes += bytes;
                text.push_str(&row);
            }
        }
        self.count += 1;
        Taken::Yes
    }

    /// Of these two one.
    pub fn into_parts(self) -> (Option<Vec<Value>>, Option<String>) {
        match self.what {
            What::Json(events) => (Some(events), None),
            What::Csv(text) => (None, Some(text)),
        }
    }
}

fn written_bytes(value: &Value) -> usize {
    serde_json::to_string(value).map_or(usize::MAX / 2, |text| text.len())
}

fn row(seq: u64, seen: &Seen, whole: bool) -> String {
    let number = |name| seen.event.get(name).and_then(|value| value.as_u64()).map_or(String::new(), |n| n.to_string());
    let cells = COLUMNS.map(|column| match column {
        "seq" => seq.to_string(),
        "door" => seen.doors.join(" "),
        "reader" => seen.readers.join(" "),
        "person" => seen.persons.join(" "),
        "credential" => seen.credentials.join(" "),
        "operator" => seen.operators.join(" "),
        "epoch" | "generation" => number(column),
        "detail" if !whole => "too large for CSV: ask for it as JSON".to_owned(),
        "other" => {
            if whole {
                other(&seen.event)
            } else {
                String::new()
            }
        }
        name => seen.member(name).to_owned(),
    });
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// What has no column of its own, and what its column does not say whole.
fn other(event: &Map<String, Value>) -> String {
    let has_column =
        |name: &str, value: &Value| name == "prev" || COLUMNS.contains(&name) && (value.is_string() || value.is_u64());
    let rest: Map<String, Value> =
        event.iter().filter(|(name, value)| !has_column(name, value)).map(|(n, v)| (n.clone(), v.clone())).collect();
    if rest.is_empty() { String::new() } else { Value::Object(rest).to_string() }
}

fn cell(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guarded = if risky { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

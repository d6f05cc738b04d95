//! Reports of events, as a cloud asks for them and reads them. Owns the words of the question and of the
//! answer; must never look at an event. Invariant: a question that was read is bounded in every list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{ids::Id, time::Wall};

/// Names in one list of a filter.
pub const NAMES_MAX: usize = 64;
pub const EVENTS_MAX: u32 = 1000;
const EVENTS_DEFAULT: u32 = 200;
const WORD_BYTES_MAX: usize = 64;

/// Which events. Within a list one must fit, and of several lists each; without any, all do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// Doors and compartments, and floor groups by their ids, that the event names, or whose reader it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub doors: Vec<Id>,
    /// The cardholder, also as the one who caused a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub persons: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub credentials: Vec<Id>,
    /// The operator, also as the one who caused a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub operators: Vec<Id>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub readers: Vec<Id>,
    /// A type of event, or the beginning of one: `access.denied`, `access.*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub types: Vec<TypePattern>,
    /// Why a credential or a command was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub reasons: Vec<ReasonWord>,
}

/// `args` of `reports.query`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportArgs {
    /// Occurred at this instant or later, by the node's clock of then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Wall")]
    pub from: Option<Wall>,
    /// Occurred before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Wall")]
    pub until: Option<Wall>,
    #[serde(default)]
    pub filter: EventFilter,
    #[serde(default)]
    pub order: Order,
    #[serde(default)]
    pub format: Format,
    /// Events in one page; a page also ends with its bytes.
    #[serde(default = "events_default")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// `next` of the page before, with the same span, filter and order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 64))]
    pub cursor: Option<String>,
}

impl Default for ReportArgs {
    fn default() -> ReportArgs {
        ReportArgs {
            from: None,
            until: None,
            filter: EventFilter::default(),
            order: Order::default(),
            format: Format::default(),
            limit: EVENTS_DEFAULT,
            cursor: None,
        }
    }
}

fn events_default() -> u32 {
    EVENTS_DEFAULT
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By falling `seq`.
    #[default]
    NewestFirst,
    /// By rising `seq`.
    OldestFirst,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Json,
    /// RFC 4180, with a header in the first page only: the pages one after the other are one file.
    Csv,
}

/// One page of a report: the answer to `reports.query`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportPage {
    pub log_id: Id,
    /// With `json`: the events as they are stored, without `replayed`. The SHA-256 of one's canonical JSON is
    /// the `prev` of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub events: Option<Vec<Value>>,
    /// With `csv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub csv: Option<String>,
    /// Events in this page.
    pub count: u32,
    /// There may be more that fits. False: everything that is kept has been looked at.
    pub more: bool,
    /// The cursor of the next page. With `oldest_first` also at the end: what has happened since then comes
    /// with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub next: Option<String>,
    /// Events that were looked at for this page. A page may be empty and yet not the last.
    pub scanned: u64,
    /// The oldest event that is kept and the newest that is durable; `oldest` is above it if there is none.
    pub oldest: u64,
    pub newest: u64,
    /// Events between this page and the one before that were pruned before they could be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub pruned: Option<u64>,
    /// Events among those that were looked at that are damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub unreadable: Option<u64>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident $pattern:literal $sound:expr, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<$name, String> {
                let sound: fn(&str) -> bool = $sound;
                if text.len() <= WORD_BYTES_MAX && sound(&text) {
                    Ok($name(text))
                } else {
                    Err(format!("expected {}", $expected))
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "maxLength": WORD_BYTES_MAX })
            }
        }
    )*};
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

words! {
    /// A type of event, or the words before its last, followed by `.*`.
    TypePattern r"^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$" |text| {
        text.strip_suffix(".*").unwrap_or(text).split('.').all(is_word)
    }, "a type of event such as \"access.denied\", or \"access.*\"";
    /// One of the reasons of denials and refusals.
    ReasonWord "^[a-z0-9_]+$" is_word, "a reason such as \"no_rule\"";
}

impl TypePattern {
    pub fn fits(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == self.0,
        }
    }
}

impl EventFilter {
    /// What serde cannot say: `Err` names the member and what was expected. `given` are the `args` as they
    /// came, for serde reads a list as readily as an object.
    pub fn check(&self, given: &Map<String, Value>) -> Result<(), String> {
        if given.get("filter").is_some_and(|filter| !filter.is_object()) {
            return Err("filter: expected an object".to_owned());
        }
        let lists = [
            ("doors", self.doors.len()),
            ("persons", self.persons.len()),
            ("credentials", self.credentials.len()),
            ("operators", self.operators.len()),
            ("readers", self.readers.len()),
            ("types", self.types.len()),
            ("reasons", self.reasons.len()),
        ];
        match lists.iter().find(|(_, count)| *count > NAMES_MAX) {
            Some((name, _)) => Err(format!("filter.{name}: expected at most {NAMES_MAX}")),
            None => Ok(()),
        }
    }
}

impl ReportArgs {
    /// What serde cannot say, as [`EventFilter::check`].
    pub fn check(&self, given: &Map<String, Value>) -> Result<(), String> {
        self.filter.check(given)?;
        if !(1..=EVENTS_MAX).contains(&self.limit) {
            return Err(format!("limit: expected a whole number from 1 to {EVENTS_MAX}"));
        }
        match (self.from, self.until) {
            (Some(from), Some(until)) if until <= from => Err("until: must be after from".to_owned()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(args: Value) -> Result<ReportArgs, String> {
        let given = args.as_object().unwrap();
        let read: ReportArgs = serde_json::from_value(args.clone()).map_err(|error| error.to_string())?;
        read.check(given).map(|()| read)
    }

    #[test]
    fn without_anything_asked_the_newest_events_are_meant() {
        assert_eq!(parse(json!({})), Ok(ReportArgs::default()));
    }

    #[test]
    fn what_is_unknown_unbounded_or_of_another_type_is_refused_by_name() {
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| format!("d-{n}")).collect();
        for (args, expected) in [
            (json!({"filter": {"door": "front"}}), "unknown field `door`"),
            (json!({"filter": []}), "filter: expected an object"),
            (json!({"filter": {"doors": many}}), "filter.doors: expected at most 64"),
            (json!({"filter": {"doors": ["../front"]}}), "an id is 1 to 64"),
            (json!({"filter": {"types": ["access*"]}}), "a type of event"),
            (json!({"filter": {"types": ["*"]}}), "a type of event"),
            (json!({"filter": {"types": ["access..*"]}}), "a type of event"),
            (json!({"filter": {"reasons": ["No rule"]}}), "a reason such as"),
            (json!({"from": "yesterday"}), "RFC 3339"),
            (json!({"filter": {"from": "2026-01-02T00:00:00.000Z"}}), "unknown field `from`"),
            (json!({"from": "2026-01-02T00:00:00.000Z", "until": "2026-01-02T00:00:00.000Z"}), "until: must be after"),
            (json!({"limit": 0}), "limit: expected a whole number"),
            (json!({"limit": 1001}), "limit: expected a whole number"),
            (json!({"order": "random"}), "unknown variant"),
            (json!({"format": "xml"}), "unknown variant"),
            (json!({"page": 2}), "unknown field `page`"),
        ] {
            let refused = parse(args.clone()).expect_err(&args.to_string());
            assert!(refused.contains(expected), "{args}: {refused}");
        }
    }

    #[test]
    fn a_pattern_fits_a_type_or_everything_that_begins_so() {
        let pattern = |text: &str| TypePattern::try_from(text.to_owned()).unwrap();
        assert!(pattern("access.denied").fits("access.denied"));
        assert!(!pattern("access.denied").fits("access.denied_twice"));
        assert!(pattern("access.*").fits("access.denied"));
        assert!(!pattern("access.*").fits("accessory.lost"));
    }
}

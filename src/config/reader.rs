//! A typed reader over the spanned TOML tree. Owns the shape errors: missing, unknown and mistyped
//! keys; must never stop at the first. Invariant: every key that is looked up counts as known, and
//! every key that was not is reported when its table is finished.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::report::{At, Diagnostic, Report, Span, near_miss};
use crate::domain::ids::Id;

/// Keys that the reader knows, by kind of table: what the JSON Schemas are held against.
pub type KnownKeys = BTreeMap<&'static str, BTreeSet<&'static str>>;

/// Where findings and known keys are collected.
#[derive(Default)]
pub struct Sink {
    pub report: RefCell<Report>,
    pub known: RefCell<KnownKeys>,
}

impl Sink {
    pub fn add(&self, diagnostic: Diagnostic) {
        self.report.borrow_mut().add(diagnostic);
    }
}

/// Parses `text` and reports every syntax error in it; the tree is what could be understood.
pub fn parse<'t>(sink: &Sink, file: usize, text: &'t str) -> (Spanned<DeTable<'t>>, bool) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let span = Span { file, start: span.start, end: span.end };
        sink.add(Diagnostic::error("this is not TOML").at(span, error.message()));
    }
    (table, errors.is_empty())
}

/// One table on its way to a raw structure.
#[must_use = "call finish() so that unknown keys are reported"]
pub struct Table<'a> {
    pub sink: &'a Sink,
    /// As an installer writes it: `[node]`, `[[bus]]`, `lock`.
    pub kind: &'static str,
    pub span: Span,
    entries: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Table<'a> {
    pub fn new(sink: &'a Sink, kind: &'static str, span: Span, entries: &'a DeTable<'a>) -> Table<'a> {
        Table { sink, kind, span, entries, asked: RefCell::default() }
    }

    pub fn required(&self, name: &'static str) -> Key<'_, 'a> {
        self.key(name, true)
    }

    pub fn optional(&self, name: &'static str) -> Key<'_, 'a> {
        self.key(name, false)
    }

    fn key(&self, name: &'static str, required: bool) -> Key<'_, 'a> {
        self.asked.borrow_mut().insert(name);
        Key { table: self, name, required, value: self.entries.get(name) }
    }

    /// Where the key is written, if it is there at all.
    pub fn span_of(&self, name: &str) -> Option<Span> {
        let (key, _) = self.entries.get_key_value(name)?;
        Some(self.place(key.span()))
    }

    fn place(&self, range: std::ops::Range<usize>) -> Span {
        Span { file: self.span.file, start: range.start, end: range.end }
    }

    /// Every table of an array of tables, at most `max`.
    pub fn tables(&self, name: &'static str, kind: &'static str, max: usize) -> Vec<Table<'a>> {
        let key = self.optional(name);
        let expected = format!("a list of tables, {kind}");
        let Some(value) = key.value else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            key.mistyped(value, &expected);
            return Vec::new();
        };
        if let Some(beyond) = items.get(max) {
            let span = self.place(beyond.span());
            self.sink
                .add(Diagnostic::error(format!("too many `{name}`")).at(span, format!("at most {max} are allowed")));
        }
        let mut tables = Vec::new();
        for item in items.iter().take(max) {
            match item.get_ref() {
                DeValue::Table(entries) => {
                    tables.push(Table::new(self.sink, kind, self.place(item.span()), entries));
                }
                _ => key.mistyped(item, &expected),
            }
        }
        tables
    }

    /// Reports what was never asked for.
    pub fn finish(self) {
        let asked = self.asked.take();
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if asked.contains(name) {
                continue;
            }
            let near = near_miss(name, asked.iter().copied());
            let known = || asked.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let finding =
                Diagnostic::error(format!("unknown key `{name}` in {}", self.kind)).at(self.place(key.span()), "");
            self.sink.add(match near {
                Some(near) => finding.did_you_mean(Some(near)),
                None => finding.help(format!("{} knows {}", self.kind, known())),
            });
        }
        self.sink.known.borrow_mut().entry(self.kind).or_default().extend(asked);
    }
}

/// One key, looked up; the method called on it says what it must hold.
pub struct Key<'t, 'a> {
    table: &'t Table<'a>,
    name: &'static str,
    required: bool,
    value: Option<&'a Spanned<DeValue<'a>>>,
}

impl<'t, 'a> Key<'t, 'a> {
    fn find(&self, expected: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        if self.value.is_none() && self.required {
            let finding = Diagnostic::error(format!("missing key `{}` in {}", self.name, self.table.kind));
            let label = match expected.strip_prefix("a table") {
                Some(_) => format!("expected {expected}"),
                None => format!("expected `{} = …`: {expected}", self.name),
            };
            self.table.sink.add(finding.at(self.table.span, label));
        }
        self.value
    }

    fn mistyped(&self, value: &Spanned<DeValue<'_>>, expected: &str) {
        let span = self.table.place(value.span());
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let finding = Diagnostic::error(format!("`{}` has the wrong type", self.name));
        self.table.sink.add(finding.at(span, format!("expected {expected}, found {found}")));
    }

    fn refused(&self, span: Span, message: String, near: Option<&str>) {
        let finding = Diagnostic::error(format!("`{}` has a value that is not allowed", self.name));
        self.table.sink.add(finding.at(span, message).did_you_mean(near));
    }

    pub fn text(self) -> Option<At<String>> {
        self.text_as("text in quotes")
    }

    /// Text, named for the message: `expected` completes "expected ...".
    pub fn text_as(self, expected: &str) -> Option<At<String>> {
        let value = self.find(expected)?;
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                self.refused(self.table.place(value.span()), format!("expected {expected}, found nothing in it"), None);
                None
            }
            DeValue::String(text) => Some(At { value: text.to_string(), span: self.table.place(value.span()) }),
            _ => {
                self.mistyped(value, expected);
                None
            }
        }
    }

    pub fn id(self) -> Option<At<Id>> {
        let (table, name) = (self.table, self.name);
        let text = self.text_as("a name in quotes")?;
        match Id::new(&text.value) {
            Ok(id) => Some(At { value: id, span: text.span }),
            Err(error) => {
                table
                    .sink
                    .add(Diagnostic::error(format!("`{name}` is not a valid id")).at(text.span, error.to_string()));
                None
            }
        }
    }

    pub fn boolean(self) -> Option<At<bool>> {
        let value = self.find("true or false")?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At { value: *flag, span: self.table.place(value.span()) }),
            _ => {
                self.mistyped(value, "true or false");
                None
            }
        }
    }

    /// A whole number from `min` to `max`.
    pub fn number<N: TryFrom<u64>>(self, min: u64, max: u64) -> Option<At<N>> {
        let expected = format!("a whole number from {min} to {max}");
        let value = self.find(&expected)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.mistyped(value, &expected);
            return None;
        };
        let span = self.table.place(value.span());
        let number = unsigned(integer).filter(|n| (min..=max).contains(n)).and_then(|n| N::try_from(n).ok());
        if number.is_none() {
            self.refused(span, format!("expected {expected}"), None);
        }
        Some(At { value: number?, span })
    }

    pub fn millis(self, min: u64, max: u64) -> Option<At<Duration>> {
        self.number::<u64>(min, max).map(|at| At { value: Duration::from_millis(at.value), span: at.span })
    }

    pub fn seconds(self, min: u64, max: u64) -> Option<At<Duration>> {
        self.number::<u64>(min, max).map(|at| At { value: Duration::from_secs(at.value), span: at.span })
    }

    /// One of a few words.
    pub fn word<T: Clone>(self, words: &[(&str, T)]) -> Option<At<T>> {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = match quoted.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, first)) => format!("{} or {last}", first.join(", ")),
            None => String::new(),
        };
        let value = self.find(&expected)?;
        let DeValue::String(text) = value.get_ref() else {
            self.mistyped(value, &expected);
            return None;
        };
        let span = self.table.place(value.span());
        match words.iter().find(|(word, _)| word == text) {
            Some((_, meaning)) => Some(At { value: meaning.clone(), span }),
            None => {
                let near = near_miss(text, words.iter().map(|(word, _)| *word));
                self.refused(span, format!("expected {expected}"), near);
                None
            }
        }
    }

    /// An inner table: `[cloud.tls]` or `lock = { … }`.
    pub fn table(self, kind: &'static str) -> Option<Table<'a>> {
        let expected = match kind.strip_prefix('[') {
            Some(_) => format!("a table, {kind}"),
            None => format!("a table, {} = {{ … }}", self.name),
        };
        let value = self.find(&expected)?;
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::new(self.table.sink, kind, self.table.place(value.span()), entries)),
            _ => {
                self.mistyped(value, &expected);
                None
            }
        }
    }

    pub fn is_text(&self) -> bool {
        matches!(self.value.map(Spanned::get_ref), Some(DeValue::String(_)))
    }
}

fn unsigned(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix()).ok()
}

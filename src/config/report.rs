//! What is wrong with the configuration, and where. Owns the collecting and the rendering of
//! diagnostics; must never stop at the first one. Invariant: every diagnostic points into a source
//! text that the report holds, so rendering never reads a file again.

use std::{borrow::Cow, fmt};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle};

/// A file that was read. Its position in the report is its number.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
}

/// A place in one of the report's files, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One finding: what, where, what else it has to do with, and what to do about it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    primary: Option<(Span, String)>,
    related: Vec<(Span, String)>,
    help: Vec<String>,
}

impl Diagnostic {
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, message.into())
    }

    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, message.into())
    }

    fn new(severity: Severity, message: String) -> Diagnostic {
        Diagnostic { severity, message: printable(&message), primary: None, related: Vec::new(), help: Vec::new() }
    }

    pub fn at(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.primary = Some((span, printable(&label.into())));
        self
    }

    pub fn related(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.related.push((span, printable(&label.into())));
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(printable(&help.into()));
        self
    }

    /// "did you mean `this`?" if there is a near miss.
    pub fn did_you_mean(self, near: Option<&str>) -> Diagnostic {
        match near {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// Every finding of all files.
#[derive(Clone, Debug, Default)]
pub struct Report {
    sources: Vec<Source>,
    findings: Vec<Diagnostic>,
}

impl Report {
    pub fn add(&mut self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic);
    }

    /// Takes in a file's text; the number is for [`Span::file`].
    pub fn add_source(&mut self, name: String, text: String) -> usize {
        self.sources.push(Source { name: printable(&name), text });
        self.sources.len() - 1
    }

    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|d| d.severity == Severity::Error).count()
    }

    pub fn warnings(&self) -> usize {
        self.findings.len() - self.errors()
    }

    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// By file and place; what has no place comes first.
    fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.findings.iter().collect();
        sorted.sort_by_key(|d| d.primary.as_ref().map(|(span, _)| *span));
        sorted
    }

    /// For people: the source lines with what is wrong underlined.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for diagnostic in self.sorted() {
            out.push_str(&renderer.render(&self.groups(diagnostic)));
            out.push_str("\n\n");
        }
        if !self.is_empty() {
            let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            out.push_str(&match (self.errors(), self.warnings()) {
                (e, 0) => count(e, "error"),
                (0, w) => count(w, "warning"),
                (e, w) => format!("{}, {}", count(e, "error"), count(w, "warning")),
            });
            out.push('\n');
        }
        out
    }

    fn groups<'a>(&'a self, diagnostic: &'a Diagnostic) -> Vec<Group<'a>> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
        if let Some((span, label)) = &diagnostic.primary {
            // The file that is wrong comes first.
            let first = self.sources.iter().enumerate().skip(span.file).take(1);
            let others = self.sources.iter().enumerate().filter(|(number, _)| *number != span.file);
            for (number, source) in first.chain(others) {
                let mut annotations: Vec<Annotation<'a>> = Vec::new();
                if number == span.file {
                    annotations.push(AnnotationKind::Primary.span(source.clamp(*span)).label(label.as_str()));
                }
                let here = diagnostic.related.iter().filter(|(span, _)| span.file == number);
                annotations.extend(
                    here.map(|(span, label)| AnnotationKind::Context.span(source.clamp(*span)).label(label.as_str())),
                );
                if annotations.is_empty() {
                    continue;
                }
                group = if source.text.is_empty() {
                    group.element(Origin::path(source.name.as_str()))
                } else {
                    group.element(
                        Snippet::source(source.text.as_str()).path(source.name.as_str()).annotations(annotations),
                    )
                };
            }
        }
        group = group.elements(diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str())));
        vec![group]
    }

    /// For machines: one line each, `file:line:column: error: message; help`. Columns count characters.
    pub fn lines(&self) -> Vec<String> {
        let line = |diagnostic: &Diagnostic| {
            let mut out = String::new();
            if let Some((span, _)) = &diagnostic.primary {
                let source = self.sources.get(span.file);
                let (line, column) = source.map_or((1, 1), |source| source.line_and_column(span.start));
                out = format!("{}:{line}:{column}: ", source.map_or("?", |source| &source.name));
            }
            out.push_str(match diagnostic.severity {
                Severity::Error => "error: ",
                Severity::Warning => "warning: ",
            });
            out.push_str(&diagnostic.message);
            if let Some((_, label)) = diagnostic.primary.as_ref().filter(|(_, label)| !label.is_empty()) {
                out.push_str(&format!(": {label}"));
            }
            for help in &diagnostic.help {
                out.push_str("; ");
                out.push_str(help);
            }
            out
        };
        self.sorted().into_iter().map(line).collect()
    }
}

impl Source {
    /// A span that lies in the text, on character boundaries, and on one line where it would not.
    fn clamp(&self, span: Span) -> std::ops::Range<usize> {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(span.start);
        let line_end = self.text.get(start..).and_then(|rest| rest.find('\n')).map_or(self.text.len(), |n| start + n);
        start..floor(span.end).clamp(start, line_end.max(start))
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before =
            self.text.get(..self.clamp(Span { file: 0, start: offset, end: offset }).start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }
}

/// As [`Report::render`] without colour.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// What an installer typed may hold terminal control codes: none of them reaches a terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The candidate that was probably meant, if any is near enough.
pub fn near_miss<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let fold = |text: &str| -> Cow<'static, str> { text.to_ascii_lowercase().replace(['_', ' '], "-").into() };
    let folded = fold(given);
    let allowed = (folded.chars().count() / 3).clamp(1, 4);
    let distance = |candidate: &str| {
        let candidate = fold(candidate);
        let whole_part = |long: &str, short: &str| {
            short.len() >= 3 && long.split(['-', '/']).any(|part| part == short)
                || short.len() >= 4 && long.starts_with(short)
        };
        match strsim::damerau_levenshtein(&folded, &candidate) {
            far if far > allowed && (whole_part(&candidate, &folded) || whole_part(&folded, &candidate)) => allowed,
            distance => distance,
        }
    };
    let near = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, near)| near)
}

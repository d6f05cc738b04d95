//! The log: systemd's journal with real fields where there is one, readable lines on stderr elsewhere.
//! Owns the one thread that may wait for journald or a full pipe; must never make a caller wait.
//! Invariant: a line is written, or counted as dropped and the count written later.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use log::kv;
use systemd_journal_logger::JournalLog;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Lines that may wait for the writer; past it the newest are dropped and counted.
const QUEUE_LINES_MAX: usize = 4096;

/// Filter for what is logged: the syntax of `tracing_subscriber::EnvFilter`.
const FILTER_VARIABLE: &str = "LATCHD_LOG";

/// Field names and values, in the order in which they were recorded.
#[derive(Clone, Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

struct Line {
    level: Level,
    target: &'static str,
    message: String,
    fields: Fields,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

impl kv::Source for Fields {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn kv::VisitSource<'kvs>) -> Result<(), kv::Error> {
        for (name, value) in &self.0 {
            visitor.visit_pair(kv::Key::from_str(name), kv::Value::from(value.as_str()))?;
        }
        Ok(())
    }
}

enum Entry {
    Line(Line),
    Close,
}

/// The tracing layer: turns events, with the fields of their spans, into lines for the writer.
struct Collector {
    queue: SyncSender<Entry>,
    /// Not told of yet.
    dropped: Arc<AtomicU64>,
    dropped_ever: Arc<AtomicU64>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = match fields.0.iter().position(|(name, _)| *name == "message") {
            Some(at) => fields.0.remove(at).1,
            None => String::new(),
        };
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.iter().cloned());
            }
        }
        let metadata = event.metadata();
        let line = Line { level: *metadata.level(), target: metadata.target(), message, fields };
        if self.queue.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.dropped_ever.fetch_add(1, Ordering::Relaxed);
        }
    }
}

enum Sink {
    Journal(JournalLog),
    Stderr,
}

impl Sink {
    fn write(&self, line: &Line) {
        match self {
            Sink::Journal(journal) => {
                let record_level = log_level(line.level);
                // journald that is gone is no reason to stop; it comes back on the same socket.
                let _ = journal.journal_send(
                    &log::Record::builder()
                        .level(record_level)
                        .target(line.target)
                        .args(format_args!("{}", line.message))
                        .key_values(&line.fields)
                        .build(),
                );
            }
            Sink::Stderr => {
                let mut text = format!("{:.3} {:5} {}", jiff::Timestamp::now(), line.level, line.message);
                for (name, value) in &line.fields.0 {
                    let _ = write!(text, " {name}={value}");
                }
                text.push('\n');
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
        }
    }
}

fn log_level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        Level::DEBUG => log::Level::Debug,
        _ => log::Level::Trace,
    }
}

/// Writes until the line that closes the log.
fn write_lines(sink: &Sink, queue: &Receiver<Entry>, dropped: &AtomicU64) {
    while let Ok(Entry::Line(line)) = queue.recv() {
        sink.write(&line);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            sink.write(&Line {
                level: Level::WARN,
                target: module_path!(),
                message: format!("{lost} log lines were dropped: the log did not take them in time"),
                fields: Fields::default(),
            });
        }
    }
}

/// The running log of the process.
pub struct Journal {
    queue: SyncSender<Entry>,
    on_stderr: bool,
    dropped_ever: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl Journal {
    /// Counts the lines that were dropped.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped_ever.clone()
    }

    /// Lines go to stderr: there is no journal.
    pub fn is_on_stderr(&self) -> bool {
        self.on_stderr
    }

    /// Waits until everything logged so far is written, but for no longer than `patience`.
    pub fn close(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.queue.try_send(Entry::Close).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        while !self.writer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts logging for the whole process.
pub fn start() -> std::io::Result<Journal> {
    let journal = systemd_journal_logger::connected_to_journal().then(JournalLog::new).and_then(Result::ok);
    let sink = match journal {
        Some(journal) => Sink::Journal(journal.with_syslog_identifier("latchd".to_owned())),
        None => Sink::Stderr,
    };
    let on_stderr = matches!(sink, Sink::Stderr);
    let (queue, entries) = sync_channel(QUEUE_LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let for_writer = dropped.clone();
    let writer = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || write_lines(&sink, &entries, &for_writer))?;
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info,rumqttc=error,sled=warn"));
    let dropped_ever = Arc::new(AtomicU64::new(0));
    let collector = Collector { queue: queue.clone(), dropped, dropped_ever: dropped_ever.clone() };
    // A process that set its own subscriber keeps it.
    let _ = tracing_subscriber::registry().with(filter).with(collector).try_init();
    Ok(Journal { queue, on_stderr, dropped_ever, writer })
}

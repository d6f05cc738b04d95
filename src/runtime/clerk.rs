//! The clerk: what a command asks of the node and takes its time, such as reading the log. Owns a thread
//! and the only queue to it; must never hold up the ledger, the doors or the cloud, nor ever be waited for.
//! Invariant: every errand that it took is answered once, also when its work fails.
//!
//! When the queue is full the errand is refused as overloaded: whoever asks for a report can ask again.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    adapters::{
        process,
        store::{SledKv, ledger_thread::StoreHealth},
    },
    config::{NotTaken, site::Site, trial::PutFile},
    domain::{
        event::{EventBody, Refusal},
        ids::Id,
        status::Link,
    },
    gateway::{
        controller::Pause,
        desk::{Answer, Answered, Errand, Figures},
        ledger::EventReader,
        reports::{self, Places, ReportError, Scope, Spans},
        step::CommandKey,
        uplink,
        vitals::BoardVitals,
    },
    runtime::{
        clock::Clock,
        configuration::{self, NotConfirmed, NotPut, Present, SharedKeeper},
        figures::Sources,
    },
    wire::{
        canonical::{hex, unhex32},
        command::{CommandBody, ConfigurationPutArgs},
        configuration::{ConfigurationAnswer, Origin},
        report::ReportArgs,
        telemetry::{BoardFigures, Diagnostics, LogFigures, ReaderFigures, StoreFigures},
    },
};

/// Errands that wait for the one that is carried out, and one word of the cloud loop.
const QUEUE_MAX: usize = 8;
/// What waits for the cloud loop. Full: the clerk waits.
const NEWS_MAX: usize = 8;
/// Reading yields to the doors.
const NICENESS: i32 = 5;

/// What the clerk works with.
pub struct Office {
    pub clock: Clock,
    pub events: EventReader<SledKv>,
    pub log_id: Id,
    pub places: Places,
    pub keeper: SharedKeeper,
    pub site: Arc<Site>,
    pub boot: Id,
    pub sources: Sources,
    pub health: watch::Receiver<StoreHealth>,
}

/// What came of an errand, in the order in which it is to be heard.
#[derive(Debug)]
pub enum News {
    Answer(Answer),
    /// A configuration waits for its trial, which the next run is.
    Trial(Pause),
    /// The trial that this run is was confirmed.
    Confirmed {
        put: CommandKey,
        event: Box<EventBody>,
    },
    /// The daemon, or the machine with it, is to be started anew.
    Reboot {
        operator: Id,
        jti: Id,
    },
}

enum Job {
    Errand(Box<Errand>),
    /// What the run began with is durable.
    Told,
}

pub struct Clerk {
    queue: SyncSender<Job>,
    pub news: mpsc::Receiver<News>,
    thread: JoinHandle<()>,
}

impl Clerk {
    pub fn start(office: Office) -> io::Result<Clerk> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let (news_out, news) = mpsc::channel(NEWS_MAX);
        let desk = Desk { office, spans: Spans::default(), news: news_out };
        let thread = thread::Builder::new().name("clerk".to_owned()).spawn(move || desk.run(&jobs))?;
        Ok(Clerk { queue, news, thread })
    }

    /// False: the clerk has enough to do.
    #[must_use]
    pub fn take(&self, errand: Box<Errand>) -> bool {
        self.queue.try_send(Job::Errand(errand)).is_ok()
    }

    /// What the run began with is durable. Lost in a full queue, it is told once more by the next run.
    pub fn told(&self) {
        let _ = self.queue.try_send(Job::Told);
    }

    /// Ends after the errand that is being carried out; those that wait are dropped with the daemon.
    pub fn stop(self) {
        let Clerk { queue, news, thread } = self;
        drop((queue, news));
        // Its end, however it ended, is not worth more than a line.
        if thread.join().is_err() {
            tracing::error!("the clerk's thread panicked");
        }
    }
}

struct Desk {
    office: Office,
    spans: Spans,
    news: mpsc::Sender<News>,
}

impl Desk {
    fn run(mut self, jobs: &Receiver<Job>) {
        // Of this thread only, on Linux. Without the right to it nothing is lost.
        let _ = rustix::process::nice(NICENESS);
        while let Ok(job) = jobs.recv() {
            // With the loop gone nobody waits for an answer.
            if self.news.is_closed() {
                return;
            }
            match job {
                Job::Told => self.office.keeper.lock().told(),
                Job::Errand(errand) => self.errand(*errand),
            }
        }
    }

    fn errand(&mut self, errand: Errand) {
        let ticket = errand.ticket;
        let mut after = Vec::new();
        let answered = catch_unwind(AssertUnwindSafe(|| self.carry_out(errand, &mut after)));
        let answered = answered.unwrap_or_else(|_| {
            tracing::error!("an errand panicked");
            Answered::Failed(message("it failed for a reason of the node's own: its log tells more"))
        });
        let answer = Answer { ticket, at: self.office.clock.now().wall, answered };
        for news in [News::Answer(answer)].into_iter().chain(after) {
            // A loop that is gone ends this thread at the next turn.
            let _ = self.news.blocking_send(news);
        }
    }

    fn carry_out(&mut self, errand: Errand, after: &mut Vec<News>) -> Answered {
        let Errand { operator, issuer, jti, kid, scope, body, figures, .. } = errand;
        match body {
            CommandBody::NodeReboot(_) => match self.office.site.node.reboot {
                Some(_) => {
                    after.push(News::Reboot { operator, jti });
                    Answered::Done(None)
                }
                None => refused(Refusal::Unsupported, "`reboot` is not set in [node] of the site file"),
            },
            CommandBody::NodeDiagnostics(_) => match figures {
                Some(mut figures) => {
                    let explanation = figures.explanation.take();
                    let mut detail = json!({ "diagnostics": self.diagnostics(*figures) });
                    if let Some(explanation) = explanation {
                        detail["explanation"] = json!(explanation);
                    }
                    Answered::Done(Some(detail))
                }
                None => Answered::Failed(message("the node has no figures of itself")),
            },
            CommandBody::ReportsQuery(args) => self.report(&scope, &args),
            CommandBody::ConfigurationGet(args) => self.configuration(args.offset.unwrap_or(0)),
            CommandBody::ConfigurationPut(args) => {
                let ConfigurationPutArgs { toml, expect_sha256, confirm_within_s } = args;
                let file = PutFile { toml, operator, issuer, jti, kid: Some(kid) };
                let within = Duration::from_secs(u64::from(confirm_within_s));
                self.put(file, expect_sha256.as_deref().and_then(unhex32), within, after)
            }
            CommandBody::ConfigurationConfirm(args) => self.confirm(&args.sha256, operator, jti, after),
            other => {
                refused(Refusal::Unsupported, format!("this version of latchd does not carry out {}", other.name()))
            }
        }
    }

    fn report(&mut self, scope: &Scope, args: &ReportArgs) -> Answered {
        let Office { events, log_id, places, .. } = &self.office;
        match reports::page(events, log_id, places, scope, args, &mut self.spans) {
            Ok(page) => Answered::Done(Some(json!({ "report": page }))),
            Err(error @ ReportError::Cursor(_)) => refused(Refusal::Malformed, format!("args.{error}")),
            Err(error @ ReportError::OtherLog) => refused(Refusal::Conflict, error.to_string()),
            Err(error @ ReportError::Store(_)) => Answered::Failed(message(error.to_string())),
        }
    }

    fn configuration(&self, offset: u32) -> Answered {
        let present = self.office.keeper.lock().present();
        let Some((part, next)) = ConfigurationAnswer::part(&present.toml, offset) else {
            return refused(Refusal::Malformed, "args.offset: no part of the file begins there");
        };
        let answer = ConfigurationAnswer { toml: Some(part.to_owned()), next, ..self.in_force(&present) };
        Answered::Done(Some(json!({ "configuration": answer })))
    }

    /// Without the file itself.
    fn in_force(&self, present: &Present) -> ConfigurationAnswer {
        let origin = present.put.as_ref().map_or(Origin::Installer {}, |file| Origin::Command {
            operator: file.operator.clone(),
            jti: file.jti.clone(),
        });
        let confirm_by = present.left.map(|left| self.office.clock.now().wall + left);
        ConfigurationAnswer { origin: Some(origin), confirm_by, ..ConfigurationAnswer::of(present.sha256) }
    }

    fn diagnostics(&self, figures: Figures) -> Diagnostics {
        let Office { clock, events, log_id, keeper, site, boot, sources, health, .. } = &self.office;
        let now = clock.now();
        let looks = sources.look();
        let vitals = &sources.vitals;
        let board = |(board, link): (Id, Link)| {
            let at = site.boards.iter().position(|known| known.config.id == board);
            let counts = at.and_then(|at| vitals.boards.get(at));
            let count = |of: fn(&BoardVitals) -> &AtomicU64| counts.map_or(0, |counts| of(counts).load(Relaxed));
            BoardFigures {
                board,
                link,
                answered: count(|board| &board.answered),
                failed: count(|board| &board.failed),
                last_us: count(|board| &board.last_us),
            }
        };
        let failing = match &*health.borrow() {
            StoreHealth::Healthy | StoreHealth::Openable => None,
            StoreHealth::Failing { error, .. } => Some(error.to_string()),
        };
        let no_set = || Some("there is no permission set: every card is denied".to_owned());
        let store = |store: &str, failing: Option<String>| StoreFigures {
            store: store.to_owned(),
            bytes: process::bytes_on_disk(&site.node.state_dir.join(store)),
            failing,
        };
        let log = || {
            let (oldest, newest) = (events.oldest_seq().ok()?, events.durable_seq());
            Some(LogFigures { log_id: log_id.clone(), oldest, newest, events_max: site.limits.events_max })
        };
        Diagnostics {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: boot.clone(),
            uptime_s: sources.uptime().as_secs(),
            time: now.wall,
            clock: now.trust,
            epoch: figures.set.epoch,
            generation: figures.set.generation,
            digest: figures.set.digest,
            keys_version: figures.keys_version,
            staleness_ms: figures.staleness.map(|s| u64::try_from(s.as_millis()).unwrap_or(u64::MAX)),
            configuration: self.in_force(&keeper.lock().present()),
            counters: sources.counters(figures.outcomes_dropped),
            gauges: sources.gauges(figures.gauges),
            latencies: looks.latencies(),
            buses: sources.buses(&looks),
            boards: figures.boards.into_iter().map(board).collect(),
            readers: figures.readers.into_iter().map(|(reader, link)| ReaderFigures { reader, link }).collect(),
            stores: [
                store("ledger.sled", failing),
                store("mirror.sled", if figures.set.generation == 0 { no_set() } else { None }),
                store("set-copy", None),
            ]
            .into_iter()
            // Not there until the first emergency card is.
            .chain(Some(store("emergency-cards", None)).filter(|store| store.bytes.is_some()))
            .collect(),
            event_log: log(),
        }
    }

    fn put(&self, file: PutFile, expected: Option<[u8; 32]>, within: Duration, after: &mut Vec<News>) -> Answered {
        let put = match self.office.keeper.lock().put(file, expected, within) {
            Ok(put) => put,
            Err(not_put) => return not_put_answer(not_put),
        };
        let warnings = uplink::bounded(put.warnings);
        let answer = ConfigurationAnswer { warnings, ..ConfigurationAnswer::of(put.sha256) };
        let Some(pause) = put.pause else {
            let text = "this configuration is in force already";
            return Answered::Done(Some(json!({ "message": text, "configuration": answer })));
        };
        after.push(News::Trial(pause));
        let confirm_by = Some(self.office.clock.now().wall + within);
        Answered::Scheduled(Some(json!({ "configuration": ConfigurationAnswer { confirm_by, ..answer } })))
    }

    fn confirm(&self, sha256: &str, operator: Id, jti: Id, after: &mut Vec<News>) -> Answered {
        let Some(wanted) = unhex32(sha256) else { return refused(Refusal::Malformed, "args.sha256: not a SHA-256") };
        match self.office.keeper.lock().confirm(wanted) {
            Ok(file) => {
                let event = EventBody::ConfigurationConfirmed { sha256: sha256.to_owned(), operator, jti };
                after.push(News::Confirmed { put: configuration::key(&file), event: Box::new(event) });
                Answered::Done(Some(json!({ "configuration": ConfigurationAnswer::of(wanted) })))
            }
            Err(NotConfirmed::NotOnTrial(why)) => refused(Refusal::Conflict, why),
            Err(NotConfirmed::Store(error)) => Answered::Failed(message(error.to_string())),
        }
    }
}

fn not_put_answer(not_put: NotPut) -> Answered {
    match not_put {
        NotPut::NotTaken(NotTaken::Invalid(errors)) => {
            let text = "the configuration is not valid, and nothing was changed";
            Answered::Refused(Refusal::Malformed, json!({ "message": text, "errors": uplink::bounded(errors) }))
        }
        NotPut::NotTaken(NotTaken::Anchors(keys)) => {
            let text = format!("cannot be changed by command: {}", keys.join(", "));
            let errors: Vec<String> = keys.iter().map(|key| format!("{key} belongs to the installer")).collect();
            Answered::Refused(Refusal::Forbidden, json!({ "message": text, "errors": errors }))
        }
        NotPut::Other(present) => refused(Refusal::Conflict, format!("{} is in force", hex(&present))),
        NotPut::OnTrial(why) => refused(Refusal::Conflict, why),
        NotPut::Store(error) => Answered::Failed(message(error.to_string())),
    }
}

fn refused(reason: Refusal, text: impl Into<String>) -> Answered {
    Answered::Refused(reason, message(text))
}

fn message(text: impl Into<String>) -> Value {
    json!({ "message": text.into() })
}

//! The clerk: what a command asks of the node and takes its time, such as reading the log. Owns a thread
//! and the only queue to it; must never hold up the ledger, the doors or the cloud, nor ever be waited for.
//! Invariant: every errand that it took is answered once, also when its work fails.
//!
//! When the queue is full the errand is refused as overloaded: whoever asks for a report can ask again.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    adapters::store::SledKv,
    domain::{event::Refusal, ids::Id},
    gateway::{
        desk::{Answer, Answered, Errand},
        ledger::EventReader,
        reports::{self, Places, ReportError, Scope, Spans},
    },
    runtime::clock::Clock,
    wire::{command::CommandBody, report::ReportArgs},
};

/// Errands that wait for the one that is carried out.
const QUEUE_MAX: usize = 8;
/// Answers that wait for the cloud loop. Full: the clerk waits.
const ANSWERS_MAX: usize = 8;
/// Reading yields to the doors.
const NICENESS: i32 = 5;

/// What the clerk works with.
pub struct Office {
    pub clock: Clock,
    pub events: EventReader<SledKv>,
    pub log_id: Id,
    pub places: Places,
}

pub struct Clerk {
    queue: SyncSender<Errand>,
    pub answers: mpsc::Receiver<Answer>,
    thread: JoinHandle<()>,
}

impl Clerk {
    pub fn start(office: Office) -> io::Result<Clerk> {
        let (queue, errands) = sync_channel(QUEUE_MAX);
        let (answers_out, answers) = mpsc::channel(ANSWERS_MAX);
        let desk = Desk { office, spans: Spans::default() };
        let thread = thread::Builder::new().name("clerk".to_owned()).spawn(move || desk.run(&errands, &answers_out))?;
        Ok(Clerk { queue, answers, thread })
    }

    /// Gives the errand back if the clerk has enough to do.
    pub fn take(&self, errand: Errand) -> Result<(), Errand> {
        self.queue.try_send(errand).map_err(|full| match full {
            std::sync::mpsc::TrySendError::Full(errand) | std::sync::mpsc::TrySendError::Disconnected(errand) => errand,
        })
    }

    /// Ends after the errand that is being carried out; those that wait are dropped with the daemon.
    pub fn stop(self) {
        let Clerk { queue, answers, thread } = self;
        drop((queue, answers));
        // Its end, however it ended, is not worth more than a line.
        if thread.join().is_err() {
            tracing::error!("the clerk's thread panicked");
        }
    }
}

struct Desk {
    office: Office,
    spans: Spans,
}

impl Desk {
    fn run(mut self, errands: &Receiver<Errand>, answers: &mpsc::Sender<Answer>) {
        // Of this thread only, on Linux. Without the right to it nothing is lost.
        let _ = rustix::process::nice(NICENESS);
        while let Ok(errand) = errands.recv() {
            if answers.is_closed() {
                return;
            }
            let ticket = errand.ticket;
            let answered = catch_unwind(AssertUnwindSafe(|| self.carry_out(errand)));
            let answered = answered.unwrap_or_else(|_| {
                tracing::error!("an errand panicked");
                Answered::Failed(message("it failed for a reason of the node's own: its log tells more"))
            });
            let answer = Answer { ticket, at: self.office.clock.now().wall, answered };
            if answers.blocking_send(answer).is_err() {
                return;
            }
        }
    }

    fn carry_out(&mut self, errand: Errand) -> Answered {
        match &errand.body {
            CommandBody::ReportsQuery(args) => self.report(&errand.scope, args),
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
}

fn refused(reason: Refusal, text: impl Into<String>) -> Answered {
    Answered::Refused(reason, message(text))
}

fn message(text: impl Into<String>) -> Value {
    json!({ "message": text.into() })
}

//! How a command goes on and ends: what doors, disk and node report of it. Owns the way from a report to an outcome
//! and into the record; must never give a command a second end, nor
//! tell an end that a crash may take back while the next run would go on. Invariant: outcomes are numbered as they are
//! written down, and what is published is what was written.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Answer, Answered, Asked, Desk, DeskStep,
    ending::{End, decision_detail, kept, merged, message_detail, staged},
    is_about_authority,
};
use crate::{
    domain::{
        event::{Event, EventBody, Refusal},
        ids::Id,
        order::{OrderReport, Progress},
        time::{Now, Wall},
    },
    gateway::step::{CommandKey, Effect, LedgerWrite},
    wire::{
        command::Command,
        outcome::{Outcome, Stage},
    },
};

impl Desk {
    /// The doors report how far an order has got, or the ledger that something is stored.
    pub fn handle_report(&mut self, now: Now, report: OrderReport) -> DeskStep {
        let mut step = DeskStep::default();
        let Some(key) = self.tickets.get(&report.ticket).cloned() else {
            return step;
        };
        if self.hear_delay(now, &report, &key, &mut step) || report.progress == Progress::Stored {
            return step;
        }
        let last = report.progress.is_final();
        let decision = self.decided.remove(&report.ticket);
        let progress = match report.progress {
            Progress::Decided(decided) => {
                self.decided.insert(report.ticket, decision_detail(&decided));
                return step;
            }
            Progress::Reported(status) => {
                let delays = self.delays_at(&status.door);
                Progress::Reported(Box::new(status.with_delays(delays)))
            }
            other => other,
        };
        let (stage, reason, detail) = staged(progress);
        self.advance(&key, report.at, stage, reason, merged(decision, detail), &mut step);
        if last {
            self.tickets.remove(&report.ticket);
            self.finish(&key);
        }
        self.store(&key, &mut step);
        step
    }

    /// Whoever carries out an errand reports how far it has got.
    pub fn handle_answer(&mut self, now: Now, answer: Answer) -> DeskStep {
        let mut step = DeskStep::default();
        let Some(Asked { key, operator, command, edits, issued_at }) = self.errands.get(&answer.ticket).cloned() else {
            return step;
        };
        let last = answer.answered.is_final();
        // Also where it was so already: an older command would make it otherwise.
        let made = matches!(answer.answered, Answered::Edited(_) | Answered::Done(_));
        if let Some(record) = edits.filter(|_| made) {
            self.edit_was_made(now, record, issued_at, &mut step);
        }
        if let Answered::Edited(made) = &answer.answered {
            self.tell_edit(now, made, &mut step);
        }
        let (stage, reason, detail) = answer.answered.staged();
        // What an edit reaches is only found out where it is made.
        if let Some(reason) = reason.filter(|reason| is_about_authority(*reason)) {
            let detail = detail.as_ref().and_then(|detail| detail["message"].as_str()).map(str::to_owned);
            let jti = key.jti.clone();
            self.refused_event(now, EventBody::OperatorRefused { operator, jti, command, reason, detail }, &mut step);
        }
        self.advance(&key, answer.at, stage, reason, detail, &mut step);
        if last {
            self.errands.remove(&answer.ticket);
            self.finish(&key);
        }
        self.store(&key, &mut step);
        step
    }

    /// What an earlier run left open on purpose has ended.
    pub fn handle_settled(&mut self, now: Wall, key: &CommandKey, answered: Answered) -> DeskStep {
        let mut step = DeskStep::default();
        if self.book.get(key).is_some_and(|entry| !entry.finished) {
            let (stage, reason, detail) = answered.staged();
            self.advance(key, now, stage, reason, detail, &mut step);
            self.finish(key);
            self.store(key, &mut step);
        }
        step
    }

    /// The doors were restarted: what they had not ended, nobody knows.
    pub fn handle_doors_restarted(&mut self, now: Wall) -> DeskStep {
        let mut step = DeskStep::default();
        self.decided.clear();
        let (waiting, lost): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.tickets).into_iter().partition(|(_, key)| self.delays.is_with_the_disk(key));
        self.tickets = waiting;
        for (_, key) in lost {
            self.forget_delay(&key, &mut step);
            let detail = message_detail("the door loop restarted before this command ended");
            self.advance(&key, now, Stage::Unknown, None, Some(detail), &mut step);
            self.finish(&key);
            self.store(&key, &mut step);
        }
        step
    }

    pub(super) fn end(&mut self, key: &CommandKey, command: &Command, end: End, now: Now, step: &mut DeskStep) {
        self.end_command(key, &command.operator, &command.body.name(), end, now, step);
    }

    pub(super) fn end_command(
        &mut self,
        key: &CommandKey,
        operator: &Id,
        name: &str,
        end: End,
        now: Now,
        step: &mut DeskStep,
    ) {
        if let (true, Some(reason)) = (end.event, end.reason) {
            let (operator, jti) = (operator.clone(), key.jti.clone());
            let detail = end.detail["message"].as_str().map(str::to_owned);
            let body = EventBody::OperatorRefused { operator, jti, command: name.to_owned(), reason, detail };
            self.refused_event(now, body, step);
        }
        self.advance(key, now.wall, end.stage, end.reason, Some(end.detail), step);
        self.finish(key);
    }

    pub(super) fn refused_event(&self, now: Now, body: EventBody, step: &mut DeskStep) {
        let version = self.permissions.version();
        let (epoch, generation) = (version.epoch, version.generation);
        step.commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
    }

    /// Adds the next stage of a command to its record and to what is published, at once or with the record. Whoever
    /// calls it stores the record in the same step.
    pub(super) fn advance(
        &mut self,
        key: &CommandKey,
        at: Wall,
        stage: Stage,
        reason: Option<Refusal>,
        detail: Option<Value>,
        step: &mut DeskStep,
    ) {
        let Some(entry) = self.book.get_mut(key) else { return };
        let seq = entry.record.outcomes.len() as u32;
        let outcome = Outcome { jti: key.jti.clone(), seq, stage, at, reason, detail };
        entry.record.outcomes.push(kept(&outcome));
        if entry.durable_first {
            step.commit.held.push(Effect::Publish(outcome));
        } else {
            step.outcomes.push(outcome);
        }
    }

    pub(super) fn finish(&mut self, key: &CommandKey) {
        if let Some(entry) = self.book.get_mut(key) {
            entry.finished = true;
            entry.ticket = None;
        }
    }

    pub(super) fn store(&self, key: &CommandKey, step: &mut DeskStep) {
        if let Some(entry) = self.book.get(key) {
            step.commit.writes.push(LedgerWrite::Command(entry.record.clone()));
        }
    }
}

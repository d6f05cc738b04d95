//! What a door did, put into the step: what lasts, its status, desired level and deadline, reports, events. Owns that
//! nothing of it is left out; must never decide. Invariant: an event or report is in the step of its effect, and one
//! that waits for the disk waits behind what the same step writes.

use super::{Controller, Step, lockdown::Place, machine::Happening};
use crate::{
    domain::{
        door::{DoorInput, Effects},
        event::{Event, EventBody},
        ids::DoorIx,
        order::{OrderReport, Progress},
        outputs::Ticket,
        status::Thing,
        time::Now,
    },
    gateway::step::{Effect, LedgerWrite},
};

impl Controller {
    pub(super) fn tell(&mut self, now: Now, ix: DoorIx, input: DoorInput, step: &mut Step) {
        let Some(slot) = self.doors.get_mut(ix.index()) else { return };
        let effects = slot.door.handle(now, input);
        self.absorb(now, ix, effects, step);
    }

    pub(super) fn absorb(&mut self, now: Now, ix: DoorIx, effects: Effects, step: &mut Step) {
        for body in effects.events {
            self.record(now, body, step);
        }
        let Some(slot) = self.doors.get_mut(ix.index()) else { return };
        if let Some(state) = effects.durable {
            step.commit.writes.push(LedgerWrite::Door { door: slot.door.config().id.clone(), state });
        }
        let status = slot.door.status();
        let deadline = slot.door.next_deadline();
        if let Some(before) = std::mem::replace(&mut slot.deadline, deadline) {
            self.deadlines.remove(&(before, ix));
        }
        self.deadlines.extend(deadline.map(|at| (at, ix)));
        if let Some(desired) = self.desired.get_mut(ix.index()) {
            *desired = slot.door.desired(now.mono);
        }
        if let Some(known) = self.statuses.get_mut(ix.index())
            && *known != status
        {
            *known = status;
            step.name(Thing::Door(ix));
            self.tell_machines(now, Happening::Door(ix), step);
        }
        for (ticket, progress) in effects.reports {
            self.hear(now, Place::Door(ix), ticket, progress, false, step);
        }
        for (ticket, progress) in effects.held {
            self.hear(now, Place::Door(ix), ticket, progress, true, step);
        }
        if let Some(closed) = effects.closed {
            self.tell_machines(now, Happening::Closed(ix, closed.command), step);
            step.closed.push((ix, closed));
        }
    }

    /// To the desk, or to the machine whose own order it was.
    pub(super) fn report(&mut self, now: Now, ticket: Ticket, progress: Progress, step: &mut Step) {
        let progress = match progress {
            Progress::Reported(status) => Progress::Reported(Box::new(self.with_delays(&status))),
            other => other,
        };
        if ticket.is_own() {
            self.tell_machines(now, Happening::Progress(ticket, &progress), step);
        } else {
            step.reports.push(report(now, ticket, progress));
        }
    }

    /// The same, after what this step writes is durable. A machine is told at once: nobody sees what it makes
    /// of it before the same commit is on the disk.
    pub(super) fn report_held(&mut self, now: Now, ticket: Ticket, progress: Progress, step: &mut Step) {
        if ticket.is_own() {
            self.tell_machines(now, Happening::Progress(ticket, &progress), step);
        } else {
            step.commit.held.push(Effect::Report(report(now, ticket, progress)));
        }
    }

    /// An event, and whatever follows from it.
    pub(super) fn record(&mut self, now: Now, body: EventBody, step: &mut Step) {
        let change = self.standing.note(&body);
        step.commit.writes.extend(change.kept.map(LedgerWrite::Kept));
        step.commit.writes.extend(change.unkept.iter().map(|what| LedgerWrite::Unkept(what.key())));
        if !change.known {
            self.tell_machines(now, Happening::Event(&body), step);
        }
        if self.floods.admit(now.mono, &body) {
            self.commit_event(now, body, step);
        } else {
            self.tell_of_floods(now, step);
        }
    }

    pub(super) fn tell_of_floods(&mut self, now: Now, step: &mut Step) {
        for body in self.floods.due(now.mono) {
            self.commit_event(now, body, step);
        }
    }

    pub(super) fn commit_event(&self, now: Now, body: EventBody, step: &mut Step) {
        let version = self.permissions.version();
        let (epoch, generation) = (version.epoch, version.generation);
        step.commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
    }
}

fn report(now: Now, ticket: Ticket, progress: Progress) -> OrderReport {
    OrderReport { ticket, at: now.wall, progress }
}

//! Outputs that belong to no door. Owns the reasons for which each may be on, learnt from events and from what was
//! kept; must never ask its machine. Invariant: an output that is on was switched on, or pulses, or is about to
//! fall; one that was switched on is on.

use std::time::Duration;

use latchd::{
    domain::{
        event::EventBody,
        ids::{Id, OutputRef},
        kept::Kept,
        order::{Order, OutputAction, Task},
        time::Mono,
    },
    gateway::step::LedgerWrite,
    wire::outcome::Stage,
};

use super::{Invariant, Oracle};
use crate::world::World;

/// From the end of the last reason to the relay's fall, its board being well.
const FALLS_WITHIN: Duration = Duration::from_secs(3);
/// What was already on its way to the wire when its reason ended.
const WIRE_LAG: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug)]
pub struct OutputWatch {
    id: Id,
    pub output: OutputRef,
    set: bool,
    pulse_until: Mono,
    /// An order may write until then, and its pulse lasts until then.
    order_until: Mono,
    /// As last kept, and as the cloud was told that it is durable.
    kept: Option<bool>,
    promised: Option<bool>,
    wrong_since: Option<Mono>,
}

impl OutputWatch {
    pub fn new(id: Id, output: OutputRef) -> OutputWatch {
        OutputWatch {
            id,
            output,
            set: false,
            pulse_until: Mono::ZERO,
            order_until: Mono::ZERO,
            kept: None,
            promised: None,
            wrong_since: None,
        }
    }

    /// `None`: it may be either.
    fn expected(&self, at: Mono) -> Option<bool> {
        if at < self.order_until {
            return None;
        }
        Some(self.set || at < self.pulse_until)
    }
}

impl Oracle {
    pub fn outputs_started<'a>(&mut self, kept: impl Iterator<Item = &'a Kept> + Clone, after_crash: bool) {
        for watch in &mut self.outputs {
            let found = kept.clone().find_map(|kept| match kept {
                Kept::Output { output, on, .. } if *output == watch.id => Some(*on),
                _ => None,
            });
            let promised = watch.promised.filter(|promised| after_crash && Some(*promised) != found);
            if let Some(promised) = promised {
                let what = format!("{} was reported as set to {promised}, and is kept as {found:?}", watch.id);
                self.violation.get_or_insert(super::Violation::new(Invariant::Durable, what));
            }
            let on = found.unwrap_or(false);
            *watch = OutputWatch {
                set: on,
                kept: found,
                promised: watch.promised,
                ..OutputWatch::new(watch.id.clone(), watch.output)
            };
        }
    }

    pub(super) fn outputs_stop(&mut self) {
        // Each is switched off by the installer's wish.
        for watch in &mut self.outputs {
            (watch.set, watch.pulse_until) = (false, Mono::ZERO);
        }
    }

    pub(super) fn output_ordered(&mut self, now: Mono, deadline: Mono, order: &Order) {
        let Task::Output { output, action } = &order.what else { return };
        let Some(watch) = self.outputs.iter_mut().find(|watch| watch.id == *output) else { return };
        let length = match action {
            OutputAction::Pulse(length) => *length,
            OutputAction::Set(_) => Duration::ZERO,
        };
        watch.order_until = watch.order_until.max(deadline.max(now) + length + WIRE_LAG);
    }

    /// By a system event: its relay may move before the doors hear of it.
    pub(super) fn output_ordered_by_itself(&mut self, output: &Id, until: Mono) {
        if let Some(watch) = self.outputs.iter_mut().find(|watch| watch.id == *output) {
            watch.order_until = watch.order_until.max(until);
        }
    }

    pub(super) fn output_events<'a>(&mut self, now: Mono, events: impl Iterator<Item = &'a EventBody>) {
        for body in events {
            let (id, until, set) = match body {
                EventBody::OutputSwitched { output, on, .. } => (output, Mono::ZERO, Some(*on)),
                EventBody::OutputPulsed { output, pulse_ms, .. } => {
                    (output, now + Duration::from_millis(u64::from(*pulse_ms)), None)
                }
                _ => continue,
            };
            let Some(watch) = self.outputs.iter_mut().find(|watch| watch.id == *id) else { continue };
            watch.set = set.unwrap_or(watch.set);
            watch.pulse_until = if set == Some(false) { now } else { watch.pulse_until.max(until) };
        }
    }

    pub(super) fn output_kept(&mut self, write: &LedgerWrite) {
        let LedgerWrite::Kept(Kept::Output { output, on, .. }) = write else { return };
        if let Some(watch) = self.outputs.iter_mut().find(|watch| watch.id == *output) {
            watch.kept = Some(*on);
            watch.promised = watch.promised.filter(|promised| promised == on);
        }
    }

    /// An outcome goes to the cloud.
    pub(super) fn output_outcome(&mut self, task: &Task, stage: Stage) {
        let Task::Output { output, action: OutputAction::Set(on) } = task else { return };
        if let Some(watch) = self.outputs.iter_mut().find(|watch| watch.id == *output)
            && stage == Stage::Actuated
            && watch.kept == Some(*on)
        {
            watch.promised = Some(*on);
        }
    }
}

impl World {
    /// After every event: what these relays really are.
    pub(in crate::world) fn look_at_outputs(&mut self) {
        let now = self.now;
        let down = self.node.as_ref().is_none_or(|node| node.doors_ended);
        for at in 0..self.oracle.outputs.len() {
            let OutputRef { board, output } = self.oracle.outputs[at].output;
            let on = self.field.boards[board.index()].coils[usize::from(output)];
            let ill = self.oracle.board_is_ill(now, board.index());
            let watch = &mut self.oracle.outputs[at];
            if down || ill || watch.expected(now).is_none_or(|expected| expected == on) {
                watch.wrong_since = None;
            } else if now.since(*watch.wrong_since.get_or_insert(now)) > FALLS_WITHIN {
                let what = format!("{} is {on}, and there is no reason for it", watch.id);
                return self.oracle.fail(Invariant::OutputsAsOrdered, what);
            }
        }
    }
}

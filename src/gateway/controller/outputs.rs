//! The machine of the free outputs. Owns their routing between orders, boards and [`FreeOutput`]; must never touch
//! an output that belongs to a door, floor or compartment. Invariant: every `output.*` order and every
//! `node.identify` is answered by this machine and no other.

use std::collections::BTreeMap;

use super::machine::{Deed, Deeds, Happening, Machine, View};
use crate::domain::{
    event::{EventBody, Refusal},
    field::FieldConfig,
    fieldbus::BusReport,
    free_output::{FreeOutput, OutputEffect},
    ids::{Id, OutputRef},
    kept::Kept,
    order::{Order, Progress, Task},
    outputs::Desired,
    time::{Mono, Now, Wall},
};

#[derive(Debug)]
pub struct FreeOutputs {
    outputs: Vec<FreeOutput>,
    routes: BTreeMap<OutputRef, usize>,
    identify: Option<usize>,
}

impl FreeOutputs {
    pub fn new(config: &FieldConfig) -> FreeOutputs {
        FreeOutputs {
            outputs: config.outputs.iter().map(|output| FreeOutput::new(output.clone(), None)).collect(),
            routes: config.outputs.iter().enumerate().map(|(at, output)| (output.output, at)).collect(),
            identify: config.identify,
        }
    }

    /// Outputs that the configuration no longer has are forgotten.
    fn restore(&mut self, kept: &[Kept], deeds: &mut Deeds) {
        let mut found: BTreeMap<&Id, (bool, Wall)> = BTreeMap::new();
        for value in kept {
            let Kept::Output { output, on, issued_at } = value else { continue };
            if self.outputs.iter().any(|known| known.config().id == *output) {
                found.insert(output, (*on, *issued_at));
            } else {
                deeds.push(Deed::Unkeep(value.key()));
            }
        }
        for output in &mut self.outputs {
            let was = found.get(&output.config().id).copied();
            *output = FreeOutput::new(output.config().clone(), was);
        }
    }

    fn hear(&mut self, now: Mono, report: &BusReport, out: &mut Vec<OutputEffect>) {
        match report {
            BusReport::BoardUp { .. } | BusReport::BoardLost { .. } => {
                self.outputs.iter_mut().for_each(|found| found.hear(now, report, out));
            }
            BusReport::Output { output, .. }
            | BusReport::OutputMismatch { output, .. }
            | BusReport::OrderExpired { output, .. }
            | BusReport::OrderFailed { output, .. }
            | BusReport::OrderUnknown { output, .. } => {
                if let Some(found) = self.routes.get(output).and_then(|at| self.outputs.get_mut(*at)) {
                    found.hear(now, report, out);
                }
            }
            BusReport::Input { .. }
            | BusReport::InputTrouble { .. }
            | BusReport::BoardDegraded { .. }
            | BusReport::Card { .. } => {}
        }
    }

    fn order(&mut self, now: Now, order: &Order<Task>, out: &mut Vec<OutputEffect>) {
        let refused =
            |refusal, detail: &str| OutputEffect::Report(order.ticket, Progress::Refused(refusal, detail.to_owned()));
        match &order.what {
            Task::Output { output, action } => {
                match self.outputs.iter_mut().find(|known| known.config().id == *output) {
                    Some(found) => found.order(now, order, *action, out),
                    None => out.push(refused(Refusal::UnknownTarget, "the node has no such output")),
                }
            }
            Task::Identify => match self.identify.and_then(|at| self.outputs.get_mut(at)) {
                Some(found) => {
                    found.identify(now.mono);
                    out.push(OutputEffect::Event(EventBody::NodeIdentified { actor: order.by.clone() }));
                    out.push(OutputEffect::Report(order.ticket, Progress::Done));
                }
                None => {
                    let detail =
                        "nothing here can be seen to blink: no [[output]] of the site file says `identify = true`";
                    out.push(refused(Refusal::Unsupported, detail));
                }
            },
            _ => {}
        }
    }
}

impl Machine for FreeOutputs {
    fn handle(&mut self, now: Now, _view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        let mut out = Vec::new();
        match happening {
            Happening::Start(kept) => self.restore(kept, deeds),
            Happening::Bus(report) => self.hear(now.mono, report, &mut out),
            Happening::Order(order) => self.order(now, order, &mut out),
            Happening::Timeout => self.outputs.iter_mut().for_each(|output| output.timeout(now.mono, &mut out)),
            Happening::Stop => self.outputs.iter_mut().for_each(|output| output.stop(&mut out)),
            _ => {}
        }
        for effect in out {
            deeds.push(match effect {
                OutputEffect::Event(body) => Deed::Event(body),
                OutputEffect::Report(ticket, progress) => Deed::Report(ticket, progress),
                OutputEffect::Held(ticket, progress) => Deed::Held(ticket, progress),
                OutputEffect::Keep(kept) => Deed::Keep(kept),
            });
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.outputs.iter().filter_map(FreeOutput::next_deadline).min()
    }

    fn desired(&self, now: Mono, out: &mut Vec<Desired>) {
        out.extend(self.outputs.iter().map(|output| output.desired(now)));
    }

    fn stopped(&self) -> bool {
        self.outputs.iter().all(FreeOutput::stopped)
    }
}

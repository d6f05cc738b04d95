//! The machine of the inputs that belong to no door: power, tamper, others. Owns their edges; must never tell of
//! a value that was not read. Invariant: what became active has one event, and what became inactive another,
//! however often the node starts between them.

use std::collections::BTreeMap;

use super::machine::{Deeds, Happening, Machine, View};
use crate::domain::{
    event::EventBody,
    field::{FieldConfig, InputKind, NodeInput},
    fieldbus::BusReport,
    ids::InputRef,
    kept::{Kept, Standing},
    time::Now,
};

#[derive(Debug)]
pub struct NodeInputs {
    inputs: Vec<(NodeInput, bool)>,
    routes: BTreeMap<InputRef, usize>,
}

impl NodeInputs {
    pub fn new(config: &FieldConfig) -> NodeInputs {
        NodeInputs {
            inputs: config.inputs.iter().map(|input| (input.clone(), false)).collect(),
            routes: config.inputs.iter().enumerate().map(|(at, input)| (input.input, at)).collect(),
        }
    }
}

impl Machine for NodeInputs {
    fn handle(&mut self, _now: Now, _view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Start(kept) => {
                for (input, active) in &mut self.inputs {
                    let what = Standing::InputActive { input: input.id.clone() };
                    *active = kept.iter().any(|kept| matches!(kept, Kept::Standing { what: found } if *found == what));
                }
            }
            Happening::Input(input, energised) => {
                self.sensed(input, |config| energised == config.active_value, deeds);
            }
            // A line that says nothing is not one that says that all is well. Of a general input nobody knows
            // which of its states is the good one: it stays as it was.
            Happening::Bus(BusReport::InputTrouble { input, .. }) => {
                let guards = |config: &NodeInput| matches!(config.kind, InputKind::Power | InputKind::Tamper);
                if self.routes.get(input).and_then(|at| self.inputs.get(*at)).is_some_and(|(config, _)| guards(config))
                {
                    self.sensed(*input, |_| true, deeds);
                }
            }
            _ => {}
        }
    }
}

impl NodeInputs {
    fn sensed(&mut self, input: InputRef, active: impl Fn(&NodeInput) -> bool, deeds: &mut Deeds) {
        let found = self.routes.get(&input).and_then(|at| self.inputs.get_mut(*at));
        let Some((config, was)) = found else { return };
        let active = active(config);
        if std::mem::replace(was, active) != active {
            deeds.event(told(config, active));
        }
    }
}

fn told(config: &NodeInput, active: bool) -> EventBody {
    let input = config.id.clone();
    let (door, reader) = (config.door.clone(), config.reader.clone());
    match (config.kind, active) {
        (InputKind::Power, true) => EventBody::PowerLost { input },
        (InputKind::Power, false) => EventBody::PowerRestored { input },
        (InputKind::Tamper, true) => EventBody::TamperActivated { input, door, reader },
        (InputKind::Tamper, false) => EventBody::TamperCleared { input, door, reader },
        (InputKind::General, true) => EventBody::InputActivated { input },
        (InputKind::General, false) => EventBody::InputCleared { input },
    }
}

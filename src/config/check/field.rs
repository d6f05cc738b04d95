//! Outputs and inputs that belong to no door: points that exist and serve one purpose.

use std::collections::BTreeMap;

use super::{Checker, boards::Boards, doors::Doors};
use crate::{
    config::{
        raw::{RawDoor, RawNodeInput, RawOutput, RawReader},
        report::{Diagnostic, Span},
    },
    domain::{
        field::{FieldConfig, FreeOutputConfig, InputKind, NodeInput, OutputStart, OutputStop},
        ids::ReaderIx,
        keypad::Keypad,
    },
};

impl Checker<'_> {
    pub fn field(
        &self,
        (raw_outputs, raw_inputs): (&[RawOutput], &[RawNodeInput]),
        named: (&[RawDoor], &[RawReader]),
        keypads: BTreeMap<ReaderIx, Keypad>,
        boards: &Boards,
        uses: &mut Doors,
    ) -> Option<FieldConfig> {
        self.unique("outputs", raw_outputs.iter().map(|output| output.id.as_ref()));
        self.unique("inputs", raw_inputs.iter().map(|input| input.id.as_ref()));
        let outputs: Vec<_> = raw_outputs.iter().map(|output| self.free_output(output, boards, uses)).collect();
        let inputs: Vec<_> = raw_inputs.iter().map(|input| self.node_input(input, named, boards, uses)).collect();
        let identify = self.identify(raw_outputs);
        Some(FieldConfig {
            keypads,
            outputs: outputs.into_iter().collect::<Option<_>>()?,
            inputs: inputs.into_iter().collect::<Option<_>>()?,
            identify,
            ..FieldConfig::default()
        })
    }

    fn free_output(&self, raw: &RawOutput, boards: &Boards, uses: &mut Doors) -> Option<FreeOutputConfig> {
        let output = raw.output.as_ref().and_then(|at| self.output("[[output]]", at, boards, uses));
        Some(FreeOutputConfig {
            id: raw.id.as_ref()?.value.clone(),
            output: output?,
            on_level: raw.on.as_ref()?.value,
            at_start: raw.at_start.as_ref().map_or(OutputStart::Restore, |at| at.value),
            at_stop: raw.at_stop.as_ref().map_or(OutputStop::Off, |at| at.value),
        })
    }

    /// The one output that blinks on `node.identify`.
    fn identify(&self, raw: &[RawOutput]) -> Option<usize> {
        let mut found: Option<(usize, Span)> = None;
        for (position, output) in raw.iter().enumerate() {
            let Some(at) = output.identify.as_ref().filter(|at| at.value) else { continue };
            match found {
                Some((_, first)) => {
                    let finding = Diagnostic::error("two outputs are to blink on `node.identify`");
                    self.sink.add(finding.at(at.span, "again here").related(first, "first here"));
                }
                None => found = Some((position, at.span)),
            }
        }
        found.map(|(position, _)| position)
    }

    fn node_input(
        &self,
        raw: &RawNodeInput,
        (doors, readers): (&[RawDoor], &[RawReader]),
        boards: &Boards,
        uses: &mut Doors,
    ) -> Option<NodeInput> {
        let door = raw.door.as_ref();
        let at_door = door.and_then(|name| self.resolve("door", name, doors.iter().map(|door| door.id.as_ref())));
        let reader = raw.reader.as_ref();
        let at_reader =
            reader.and_then(|name| self.resolve("reader", name, readers.iter().map(|reader| reader.id.as_ref())));
        let kind = raw.kind.as_ref().map(|at| at.value);
        for at in [door, reader].into_iter().flatten() {
            if kind.is_some_and(|kind| kind != InputKind::Tamper) {
                let finding = Diagnostic::error("only a tamper input watches over a door or a reader");
                self.sink.add(finding.at(at.span, "expected `kind` = \"tamper\" with it"));
            }
        }
        let found = self.input("[[input]]", &raw.input, boards, uses);
        let (input, active_value) = found?;
        Some(NodeInput {
            id: raw.id.as_ref()?.value.clone(),
            input,
            kind: kind?,
            active_value,
            door: at_door.and_then(|at| Some(doors.get(at)?.id.as_ref()?.value.clone())),
            reader: at_reader.and_then(|at| Some(readers.get(at)?.id.as_ref()?.value.clone())),
        })
    }
}

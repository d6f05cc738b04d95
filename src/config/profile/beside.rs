//! What is written to a board beside its outputs: its watchdog, safe values, the registers of cards that are taken by
//! writing. Owns the search for those that are an output; must never look at what is only read. Invariant: in a
//! profile that is accepted nothing moves an output but a write of that output.

use crate::{
    config::{
        reader::Sink,
        report::{Diagnostic, Span},
    },
    domain::fieldbus::{CardBlock, CardHandshake, GuardAddress, OutputAddress, OutputPoint, RegisterTable, Watchdog},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Coil(u16),
    Register(u16),
}

impl Place {
    fn of(output: &OutputPoint) -> Place {
        match output.address {
            OutputAddress::Coil(at) => Place::Coil(at),
            OutputAddress::HoldingRegister { address, .. } => Place::Register(address),
        }
    }

    fn name(self) -> String {
        match self {
            Place::Coil(at) => format!("coil {at}"),
            Place::Register(at) => format!("holding register {at}"),
        }
    }
}

/// Where the parts stand in the file.
pub struct Spans {
    pub watchdog: Option<Span>,
    pub outputs: Option<Span>,
    pub card_blocks: Option<Span>,
}

pub fn check(
    sink: &Sink,
    spans: &Spans,
    (outputs, blocks, watchdog): (&[OutputPoint], &[CardBlock], Option<&Watchdog>),
) {
    let said = |place: Place, at: Option<Span>, what: &str, label: &str| {
        let (Some(output), Some(at)) = (outputs.iter().find(|output| Place::of(output) == place), at) else { return };
        let finding = Diagnostic::error(format!("{what} {} is the output `{}`", place.name(), output.name));
        sink.add(finding.at(at, label).help("look its address up in the source of the profile"));
    };
    for write in watchdog.iter().flat_map(|watchdog| watchdog.arm.iter().chain(&watchdog.feed)) {
        let place = match write.address {
            GuardAddress::Coil(at) => Place::Coil(at),
            GuardAddress::HoldingRegister(at) => Place::Register(at),
        };
        said(place, spans.watchdog, "the watchdog's", "the output would move whenever the watchdog is armed or fed");
    }
    for safe in outputs.iter().filter_map(|output| output.safe_coil) {
        said(Place::Coil(safe), spans.outputs, "the `safe_coil`", "the output would move whenever the board comes");
    }
    for block in blocks.iter().filter(|block| is_cleared(block)) {
        let cleared = block.bits_address.unwrap_or(block.data_address);
        let what = format!("the card block `{}` is cleared in an output:", block.name);
        said(Place::Register(cleared), spans.card_blocks, &what, "every card would move it");
    }
}

fn is_cleared(block: &CardBlock) -> bool {
    block.handshake == CardHandshake::ClearByWrite && block.table == RegisterTable::Holding
}

//! Readers on OSDP lines: an address for one reader, a key or an explicit word against one.

use std::{collections::BTreeMap, time::Duration};

use super::{Checker, Content, boards::index};
use crate::{
    config::{
        raw::{RawBus, RawOsdp, RawReader},
        report::{Diagnostic, Span},
        site::{Bus, Line, OsdpKey, OsdpReader, ReaderSource},
    },
    domain::ids::BusIx,
};

const LOST_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl Checker<'_> {
    pub(super) fn osdp_reader(
        &self,
        raw: &RawReader,
        osdp: &RawOsdp,
        (raw_buses, buses): (&[RawBus], &[Option<Bus>]),
        addresses: &mut BTreeMap<(usize, u8), Span>,
    ) -> Option<ReaderSource> {
        for other in [&raw.card_block, &raw.path].into_iter().flatten() {
            let finding = Diagnostic::error("`osdp` excludes `card_block` and `serial`");
            self.sink.add(finding.at(other.span, "one reader is one thing").related(osdp.span, "also here"));
        }
        let elsewhere = [
            ("baud", raw.serial.baud.as_ref().map(|at| at.span)),
            ("parity", raw.serial.parity.as_ref().map(|at| at.span)),
            ("stop_bits", raw.serial.stop_bits.as_ref().map(|at| at.span)),
            ("format", raw.format.as_ref().map(|at| at.span)),
            ("bits", raw.bits.as_ref().map(|at| at.span)),
        ];
        for (key, span) in elsewhere.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            let finding = Diagnostic::error(format!("`{key}` means nothing for an OSDP reader"));
            self.sink.add(finding.at(span, "the line is set up at its [[bus]]"));
        }
        let name = osdp.bus.as_ref();
        let bus = name.and_then(|name| self.resolve("bus", name, raw_buses.iter().map(|bus| bus.id.as_ref())));
        if let (Some(name), Some(Some(found))) = (name, bus.map(|at| buses.get(at).and_then(Option::as_ref)))
            && !matches!(found.line, Line::Osdp(_))
        {
            let finding = Diagnostic::error(format!("`{}` is no OSDP bus", name.value));
            self.sink.add(finding.at(name.span, "expected a [[bus]] with `osdp` = a serial port"));
        }
        if let (Some(bus), Some(address)) = (bus, &osdp.address) {
            if let Some(first) = addresses.get(&(bus, address.value)) {
                let finding = Diagnostic::error(format!("two readers on one bus have the address {}", address.value));
                self.sink.add(finding.at(address.span, "again here").related(*first, "first here"));
            } else {
                addresses.insert((bus, address.value), address.span);
            }
        }
        Some(ReaderSource::Osdp(OsdpReader {
            key: self.osdp_key(osdp)?,
            bus: BusIx(index(bus?)),
            address: osdp.address.as_ref()?.value,
            crc: osdp.crc.as_ref().is_none_or(|at| at.value),
            feedback: raw.feedback.as_ref().map(|feedback| feedback.value.clone()).unwrap_or_default(),
            lost_after: osdp.lost_after.as_ref().map_or(LOST_AFTER_DEFAULT, |at| at.value),
        }))
    }

    fn osdp_key(&self, raw: &RawOsdp) -> Option<OsdpKey> {
        match (&raw.secure, &raw.key) {
            (Some(off), Some(key)) => {
                let finding = Diagnostic::error("a `key` for a reader without secure channel");
                self.sink.add(finding.at(key.span, "leave out one of them").related(off.span, "also here"));
                None
            }
            (Some(off), None) => {
                self.sink.add(
                    Diagnostic::warning("whoever reaches the wires of this reader can be any card")
                        .at(off.span, "without the secure channel; a standing alarm is raised"),
                );
                Some(OsdpKey::Off)
            }
            (None, Some(key)) => self.secret(key, Content::Scbk).map(OsdpKey::File),
            (None, None) => Some(OsdpKey::Installed),
        }
    }
}

//! Readers on OSDP lines: an address for one reader, a key or an explicit word against one.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Checker, Content,
    boards::{Boards, index},
    doors::Used,
    watchdogs::AtDeath,
};
use crate::{
    config::{
        raw::{RawBus, RawFeedback, RawOsdp, RawReader, RawWords},
        report::{At, Diagnostic, Span},
        site::{Bus, Line, OsdpKey, OsdpReader, Reader, ReaderSource},
    },
    domain::{
        fieldbus::{Bound, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile, ReaderPoints},
        ids::{BoardIx, BusIx, Id, OutputRef},
        indication::{Feedback, Words},
    },
};

const LOST_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl Checker<'_> {
    pub(super) fn osdp_reader(
        &self,
        raw: &RawReader,
        osdp: &RawOsdp,
        (position, boards, words): (usize, &Boards, &RawWords),
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
            feedback: Box::new(feedback(raw.feedback.as_ref(), words)),
            lost_after: osdp.lost_after.as_ref().map_or(LOST_AFTER_DEFAULT, |at| at.value),
            points: *boards.readers.get(&position)?,
        }))
    }

    /// Readers on an OSDP line have points: `READER/input-1`, as those of a board are `BOARD/NAME`.
    pub(super) fn reader_points(&self, raw: &[RawReader], boards: &mut Boards) {
        for (position, reader) in raw.iter().enumerate() {
            let Some(osdp) = &reader.osdp else { continue };
            let count = |at: &Option<At<u16>>| at.as_ref().map_or(0, |at| at.value);
            let board = BoardIx(index(boards.ids.len()));
            let points = ReaderPoints::new(board, count(&osdp.inputs), count(&osdp.outputs));
            let is_same = |other: &&At<Id>| reader.id.as_ref().is_some_and(|id| id.value == other.value);
            let declared = osdp.inputs.as_ref().or(osdp.outputs.as_ref());
            if let (Some(declared), Some(same)) = (declared, boards.ids.iter().flatten().find(is_same)) {
                let finding =
                    Diagnostic::error(format!("a board and a reader with points are both called `{}`", same.value));
                let finding = finding.at(declared.span, "nobody could tell whose `input-1` is meant");
                self.sink.add(finding.related(same.span, "the other one"));
            }
            boards.readers.insert(position, points);
            boards.ids.push(reader.id.clone());
            boards.profiles.push(profile(&points));
        }
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

/// The reader's own words, else the site's, else the default's.
fn feedback(own: Option<&RawFeedback>, site: &RawWords) -> Feedback {
    let mut feedback = own.map(|own| own.value.clone()).unwrap_or_default();
    let own = own.map(|own| own.words.clone()).unwrap_or_default();
    let site = site.clone();
    let Words { granted, denied, pin, second, warned, locked, open, blocked, locked_down } = feedback.words;
    feedback.words = Words {
        granted: own.granted.or(site.granted).unwrap_or(granted),
        denied: own.denied.or(site.denied).unwrap_or(denied),
        pin: own.pin.or(site.pin).unwrap_or(pin),
        second: own.second.or(site.second).unwrap_or(second),
        warned: own.warned.or(site.warned).unwrap_or(warned),
        locked: own.locked.or(site.locked).unwrap_or(locked),
        open: own.open.or(site.open).unwrap_or(open),
        blocked: own.blocked.or(site.blocked).unwrap_or(blocked),
        locked_down: own.locked_down.or(site.locked_down).unwrap_or(locked_down),
    };
    feedback
}

/// What resolves the names of a reader's points. Where they are is their number: nobody looks at the rest of it.
fn profile(points: &ReaderPoints) -> Option<Profile> {
    let input = |(at, name)| InputPoint { name, address: InputAddress::Coil(at) };
    let output = |(at, name)| OutputPoint::plain(name, OutputAddress::Coil(at));
    Some(Profile {
        name: Id::new("osdp").ok()?,
        inputs: (0..).zip(points.input_names()).map(input).collect(),
        outputs: (0..).zip(points.output_names()).map(output).collect(),
        card_blocks: Vec::new(),
        read_bits_max: 1,
        read_registers_max: 1,
        gaps_readable: false,
        watchdog: None,
    })
}

pub(super) fn points_of(readers: &[Reader]) -> Vec<(Id, ReaderPoints)> {
    let points = |reader: &Reader| match &reader.source {
        ReaderSource::Osdp(osdp) => Some((reader.id.clone(), osdp.points)),
        _ => None,
    };
    readers.iter().filter_map(points).collect()
}

/// Notes which of their points serve something, and what is to be of them without the daemon, once all of the site has
/// been looked at.
pub(super) fn bind(readers: &mut [Reader], used: &Used, at_death: &AtDeath) {
    for reader in readers {
        if let ReaderSource::Osdp(OsdpReader { points, .. }) = &mut reader.source {
            points.bound = Bound {
                any: used.board(points.board),
                tamper: used.input(points.tamper()),
                power: used.input(points.power()),
            };
            for (output, level) in (0..).zip(&mut points.at_death) {
                *level = at_death.get(&OutputRef { board: points.board, output }).copied().flatten();
            }
        }
    }
}

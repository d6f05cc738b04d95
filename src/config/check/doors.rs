//! Doors and readers: points that exist and serve one purpose, timings that can happen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Checker,
    boards::{Boards, index},
    places::Places,
};
use crate::{
    config::{
        raw::{DWELL_MS_MAX, RawBoard, RawBus, RawDoor, RawFormat, RawInput, RawReader, RawSite, RawWords},
        report::{At, Diagnostic, Span, near_miss},
        site::{Board, Bus, LineFormat, Parity, Reader, ReaderSource},
    },
    domain::{
        door::{Contact, DoorConfig, Fire, FireReset, Relock, Rex, StartPolicy, StopPolicy},
        fieldbus::{Bands, InputAddress, Profile},
        ids::{BoardIx, DoorIx, Id, InputRef, OutputRef, ReaderIx},
        topology::ReaderAt,
    },
};

const DWELL_DEFAULT: Duration = Duration::from_secs(5);
const OPEN_TIME_DEFAULT: Duration = Duration::from_secs(30);
const PRE_ALARM_DEFAULT: Duration = Duration::from_secs(5);
const READER_BAUD_DEFAULT: u32 = 9600;

/// The doors, and what the points that they use are used for.
#[derive(Default)]
pub struct Doors {
    pub doors: Vec<Option<DoorConfig>>,
    pub(super) outputs: BTreeMap<OutputRef, (Span, &'static str)>,
    inputs: BTreeMap<InputRef, InputUse>,
    card_blocks: BTreeMap<(BoardIx, u16), Span>,
    bands: BTreeMap<InputRef, (Bands, Span)>,
    boards_used: Vec<bool>,
}

/// Which points serve something.
pub struct Used {
    boards: Vec<bool>,
    inputs: BTreeSet<InputRef>,
    bands: BTreeMap<InputRef, Bands>,
}

impl Used {
    pub fn board(&self, board: BoardIx) -> bool {
        self.boards.get(board.index()).copied().unwrap_or_default()
    }

    pub fn input(&self, input: InputRef) -> bool {
        self.inputs.contains(&input)
    }

    /// The lines that the site file measures itself.
    pub fn measure(&self, boards: &mut [Board]) {
        for (input, of_site) in &self.bands {
            let board = boards.get_mut(input.board.index());
            let point = board.and_then(|board| board.config.profile.inputs.get_mut(usize::from(input.input)));
            if let Some(InputAddress::InputRegister { bands, .. } | InputAddress::HoldingRegister { bands, .. }) =
                point.map(|point| &mut point.address)
            {
                *bands = *of_site;
            }
        }
    }
}

impl Doors {
    pub fn used(&self) -> Used {
        Used {
            boards: self.boards_used.clone(),
            inputs: self.inputs.keys().copied().collect(),
            bands: self.bands.iter().map(|(input, (bands, _))| (*input, *bands)).collect(),
        }
    }
}

struct InputUse {
    purpose: &'static str,
    value: bool,
    span: Span,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum PointKind {
    Output,
    Input,
    CardBlock,
}

impl PointKind {
    fn names(self, profile: &Profile) -> Vec<&Id> {
        match self {
            PointKind::Output => profile.outputs.iter().map(|point| &point.name).collect(),
            PointKind::Input => profile.inputs.iter().map(|point| &point.name).collect(),
            PointKind::CardBlock => profile.card_blocks.iter().map(|block| &block.name).collect(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            PointKind::Output => "output",
            PointKind::Input => "input",
            PointKind::CardBlock => "card block",
        }
    }
}

impl Checker<'_> {
    pub fn doors(&self, raw: &[RawDoor], boards: &Boards) -> Doors {
        self.unique("doors", raw.iter().map(|door| door.id.as_ref()));
        let mut out = Doors { boards_used: vec![false; boards.ids.len()], ..Doors::default() };
        for door in raw {
            let door = self.door(door, boards, &mut out);
            out.doors.push(door);
        }
        out
    }

    pub(super) fn door(&self, raw: &RawDoor, boards: &Boards, uses: &mut Doors) -> Option<DoorConfig> {
        let lock = raw.lock.as_ref().and_then(|lock| lock.output.as_ref());
        let lock = lock.and_then(|at| self.output("lock", at, boards, uses));
        let contact = raw.contact.as_ref().map(|input| self.input("contact", input, boards, uses));
        let rex = raw.rex.as_ref().map(|input| self.input("rex", input, boards, uses));
        let fire = raw.fire.as_ref().map(|input| self.input("fire", input, boards, uses));

        let or = |at: &Option<At<Duration>>, default: Duration| at.as_ref().map_or(default, |at| at.value);
        let dwell = or(&raw.dwell, DWELL_DEFAULT);
        let longest = Duration::from_millis(DWELL_MS_MAX);
        let dwell_extended = or(&raw.dwell_extended, (dwell * 2).min(longest));
        let open_time = or(&raw.open_time, OPEN_TIME_DEFAULT);
        let open_time_extended = or(&raw.open_time_extended, open_time * 2);
        let pre_alarm = or(&raw.pre_alarm, PRE_ALARM_DEFAULT.min(open_time / 2));
        self.not_below("dwell_extended_ms", &raw.dwell_extended, "dwell_ms", dwell, &raw.dwell);
        self.not_below("open_time_extended_ms", &raw.open_time_extended, "open_time_ms", open_time, &raw.open_time);
        if let Some(at) = raw.pre_alarm.as_ref().filter(|at| at.value >= open_time) {
            let finding = Diagnostic::error("the warning would come before the door opens");
            let label = format!("expected `pre_alarm_ms` below `open_time_ms`, {}", open_time.as_millis());
            self.sink.add(finding.at(at.span, label));
        }
        let relock = match (&raw.relock, raw.has_contact) {
            (Some(at), false) if at.value != Relock::AfterDwell => {
                let finding = Diagnostic::error("this door cannot tell whether it is open");
                let label = "expected \"after_dwell\", or a `contact` on the door";
                self.sink.add(finding.at(at.span, label));
                at.value
            }
            (Some(at), _) => at.value,
            (None, false) => Relock::AfterDwell,
            // Right for strikes and magnets: a magnet that pulls an open door catches nothing.
            (None, true) => Relock::OnClose,
        };
        if !raw.has_contact {
            for at in [&raw.open_time, &raw.open_time_extended, &raw.pre_alarm].into_iter().flatten() {
                let finding = Diagnostic::warning("without a `contact` no door is found propped");
                self.sink.add(finding.at(at.span, "has no effect"));
            }
        }
        if let Some(at) = raw.fire_reset.as_ref().filter(|_| !raw.has_fire) {
            let finding = Diagnostic::error("`fire_reset` on a door that fire does not release");
            self.sink.add(finding.at(at.span, "expected a `fire` input beside it"));
        }
        let fire_reset = raw.fire_reset.as_ref().map_or(FireReset::Auto, |at| at.value);
        Some(DoorConfig {
            id: raw.id.as_ref()?.value.clone(),
            lock: lock?,
            unlocked_level: raw.lock.as_ref()?.unlocked.as_ref()?.value,
            contact: match contact {
                Some(found) => found.map(|(input, closed_value)| Some(Contact { input, closed_value }))?,
                None => None,
            },
            rex: match rex {
                Some(found) => {
                    found.map(|(input, active_value)| Some(Rex { input, active_value, releases: raw.rex_releases }))?
                }
                None => None,
            },
            fire: match fire {
                Some(found) => {
                    found.map(|(input, active_value)| Some(Fire { input, active_value, reset: fire_reset }))?
                }
                None => None,
            },
            dwell,
            dwell_extended,
            relock,
            open_time,
            open_time_extended,
            pre_alarm,
            at_start: raw.at_start.as_ref().map_or(StartPolicy::Restore, |at| at.value),
            at_stop: raw.at_stop.as_ref().map_or(StopPolicy::Lock, |at| at.value),
            momentary_only: false,
        })
    }

    pub(super) fn not_below(
        &self,
        key: &str,
        at: &Option<At<Duration>>,
        least_key: &str,
        least: Duration,
        least_at: &Option<At<Duration>>,
    ) {
        let Some(at) = at.as_ref().filter(|at| at.value < least) else { return };
        let finding = Diagnostic::error(format!("`{key}` is below `{least_key}`"));
        let finding = finding.at(at.span, format!("expected at least {}", least.as_millis()));
        self.sink.add(match least_at {
            Some(least_at) => finding.related(least_at.span, ""),
            None => finding.help(format!("`{least_key}` is {} by default", least.as_millis())),
        });
    }

    /// An output, which drives one thing.
    pub fn output(
        &self,
        purpose: &'static str,
        at: &At<String>,
        boards: &Boards,
        uses: &mut Doors,
    ) -> Option<OutputRef> {
        let (board, output) = self.point(PointKind::Output, at, boards, uses)?;
        let output = OutputRef { board, output };
        match uses.outputs.get(&output) {
            Some((first, "lock")) if purpose == "lock" => {
                let finding = Diagnostic::error(format!("the output `{}` drives two locks", at.value));
                self.sink.add(finding.at(at.span, "again here").related(*first, "first here"));
            }
            Some((first, other)) => {
                let finding = Diagnostic::error(format!("the output `{}` drives two things", at.value));
                let label = |purpose: &str| format!("as `{purpose}` here");
                self.sink.add(finding.at(at.span, label(purpose)).related(*first, label(other)));
            }
            None => drop(uses.outputs.insert(output, (at.span, purpose))),
        }
        Some(output)
    }

    /// An input of a door. One input may be the fire input of many doors; else it serves one purpose.
    pub fn input(
        &self,
        purpose: &'static str,
        raw: &RawInput,
        boards: &Boards,
        uses: &mut Doors,
    ) -> Option<(InputRef, bool)> {
        let at = raw.input.as_ref()?;
        let (board, input) = self.point(PointKind::Input, at, boards, uses)?;
        let input = InputRef { board, input };
        let value = raw.value.as_ref()?.value;
        match uses.inputs.get(&input) {
            Some(first) if (first.purpose, purpose) == ("fire", "fire") && first.value == value => {}
            Some(first) if (first.purpose, purpose) == ("fire", "fire") => {
                let finding = Diagnostic::error(format!("the fire input `{}` is read both ways", at.value));
                let label = |value: bool| format!("`active` = {value} here");
                self.sink.add(finding.at(at.span, label(value)).related(first.span, label(first.value)));
            }
            Some(first) => {
                let finding = Diagnostic::error(format!("the input `{}` is used twice", at.value));
                let label = |purpose: &str| format!("as `{purpose}` here");
                self.sink.add(finding.at(at.span, label(purpose)).related(first.span, label(first.purpose)));
            }
            None => {
                uses.inputs.insert(input, InputUse { purpose, value, span: at.span });
            }
        }
        if let Some(bands) = &raw.bands {
            self.line(at, input, bands, boards, uses);
        }
        Some((input, value))
    }

    /// A supervised line whose values were measured on the spot.
    fn line(&self, at: &At<String>, input: InputRef, bands: &At<Bands>, boards: &Boards, uses: &mut Doors) {
        let profile = boards.profiles.get(input.board.index()).and_then(Option::as_ref);
        let point = profile.and_then(|profile| profile.inputs.get(usize::from(input.input)));
        let supervised =
            |address| matches!(address, InputAddress::InputRegister { .. } | InputAddress::HoldingRegister { .. });
        if !point.is_some_and(|point| supervised(point.address)) {
            let finding = Diagnostic::error(format!("`{}` is no supervised line", at.value));
            self.sink.add(finding.at(bands.span, "it has no value: its profile gives it no `bands`"));
        }
        match uses.bands.get(&input) {
            Some((other, first)) if *other != bands.value => {
                let finding = Diagnostic::error(format!("two kinds of `bands` for the line `{}`", at.value));
                self.sink.add(finding.at(bands.span, "again here").related(*first, "first here"));
            }
            _ => drop(uses.bands.insert(input, (bands.value, bands.span))),
        }
    }

    /// `BOARD/NAME`, resolved. Silent where the board's profile could not be read: that was reported.
    pub(super) fn point(
        &self,
        kind: PointKind,
        at: &At<String>,
        boards: &Boards,
        uses: &mut Doors,
    ) -> Option<(BoardIx, u16)> {
        let Some((board, name)) = at.value.split_once('/') else {
            let finding = Diagnostic::error(format!("`{}` names no {}", at.value, kind.word()));
            self.sink.add(
                finding.at(at.span, format!("expected \"BOARD/{}\"", kind.word().to_uppercase().replace(' ', "_"))),
            );
            return None;
        };
        let board_at = At { value: board.to_owned(), span: at.span };
        let position = self.resolve("board", &board_at, boards.ids.iter().map(Option::as_ref))?;
        if let Some(used) = uses.boards_used.get_mut(position) {
            *used = true;
        }
        let profile = boards.profiles.get(position)?.as_ref()?;
        let names = kind.names(profile);
        if let Some(found) = names.iter().position(|known| known.as_str() == name) {
            return Some((BoardIx(index(position)), index(found)));
        }
        let others =
            [PointKind::Output, PointKind::Input, PointKind::CardBlock].into_iter().filter(|other| *other != kind);
        let other = others.into_iter().find(|other| other.names(profile).iter().any(|known| known.as_str() == name));
        let known: Vec<&str> = names.iter().map(|known| known.as_str()).collect();
        let finding = match other {
            Some(other) => {
                let finding =
                    Diagnostic::error(format!("`{}` is an {}, not an {}", at.value, other.word(), kind.word()));
                finding.at(at.span, "").help(listed(kind, board, &known))
            }
            None => {
                let is_reader = position >= boards.boards.len();
                let what = if is_reader { "reader" } else { "board" };
                let message = format!("the {what} `{board}` has no {} `{name}`", kind.word());
                let label = match is_reader {
                    true => format!("its `osdp` says how many it has: `{}s` = a number", kind.word()),
                    false => format!("profile `{}`", profile.name),
                };
                let finding = Diagnostic::error(message).at(at.span, label);
                match near_miss(name, known.iter().copied()) {
                    Some(near) => finding.did_you_mean(Some(&format!("{board}/{near}"))),
                    None => finding.help(listed(kind, board, &known)),
                }
            }
        };
        self.sink.add(finding);
        None
    }

    pub fn readers(
        &self,
        raw: &[RawReader],
        places: &Places,
        (boards, words): (&Boards, &RawWords),
        buses: (&[RawBus], &[Option<Bus>]),
        doors: &mut Doors,
    ) -> Vec<Option<Reader>> {
        self.unique("readers", raw.iter().map(|reader| reader.id.as_ref()));
        let mut addresses = BTreeMap::new();
        let readers = raw.iter().enumerate();
        readers
            .map(|(position, reader)| {
                let at = self.reader_at(reader, places);
                let source = match &reader.osdp {
                    Some(osdp) => self.osdp_reader(reader, osdp, (position, boards, words), buses, &mut addresses),
                    None => self.reader_source(reader, boards, doors),
                };
                Some(Reader {
                    id: reader.id.as_ref()?.value.clone(),
                    reader: ReaderIx(index(position)),
                    at: at?,
                    source: source?,
                })
            })
            .collect()
    }

    /// A reader is at one door, in one cab or at one cabinet.
    fn reader_at(&self, raw: &RawReader, places: &Places) -> Option<ReaderAt> {
        let at = |what, name: &At<String>, ids: &[Option<At<Id>>]| {
            self.resolve(what, name, ids.iter().map(Option::as_ref)).map(index)
        };
        match (&raw.door, &raw.floor_group, &raw.cabinet) {
            (Some(door), None, None) => at("door", door, &places.doors).map(DoorIx).map(ReaderAt::Door),
            (None, Some(group), None) => at("floor group", group, &places.floor_groups).map(ReaderAt::Cab),
            (None, None, Some(cabinet)) => at("cabinet", cabinet, &places.cabinets).map(ReaderAt::Cabinet),
            (None, None, None) => {
                let finding = Diagnostic::error("a [[reader]] is at nothing");
                self.sink.add(finding.at(raw.span, "expected `door`, `floor_group` or `cabinet`"));
                None
            }
            _ => {
                let spans = [&raw.door, &raw.floor_group, &raw.cabinet].into_iter().flatten().map(|at| at.span);
                let mut spans = spans.collect::<Vec<_>>().into_iter();
                let finding = Diagnostic::error("`door`, `floor_group` and `cabinet` exclude each other");
                if let (Some(first), Some(second)) = (spans.next(), spans.next()) {
                    self.sink.add(finding.at(second, "one reader is at one place").related(first, "also here"));
                }
                None
            }
        }
    }

    fn reader_source(&self, raw: &RawReader, boards: &Boards, uses: &mut Doors) -> Option<ReaderSource> {
        if let Some(feedback) = &raw.feedback {
            let finding = Diagnostic::error("this reader can be told nothing to show");
            self.sink.add(finding.at(feedback.span, "only for an OSDP reader"));
        }
        match (&raw.card_block, &raw.path) {
            (Some(block), Some(serial)) => {
                let finding = Diagnostic::error("`card_block` and `serial` exclude each other");
                self.sink.add(finding.at(serial.span, "one reader is one thing").related(block.span, "also here"));
                None
            }
            (None, None) => {
                let finding = Diagnostic::error("a [[reader]] is not connected to anything");
                self.sink.add(
                    finding.at(raw.span, "expected `card_block` = \"BOARD/CARD_BLOCK\", `serial` = a port, or `osdp`"),
                );
                None
            }
            (Some(block), None) => {
                let serial_only = [
                    ("baud", raw.serial.baud.as_ref().map(|at| at.span)),
                    ("parity", raw.serial.parity.as_ref().map(|at| at.span)),
                    ("stop_bits", raw.serial.stop_bits.as_ref().map(|at| at.span)),
                    ("format", raw.format.as_ref().map(|at| at.span)),
                    ("bits", raw.bits.as_ref().map(|at| at.span)),
                ];
                for (key, span) in serial_only.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                    let finding = Diagnostic::error(format!("`{key}` means nothing for a card block"));
                    self.sink.add(finding.at(span, "only for `serial`"));
                }
                let (board, found) = self.point(PointKind::CardBlock, block, boards, uses)?;
                if let Some(first) = uses.card_blocks.insert((board, found), block.span) {
                    let finding = Diagnostic::error(format!("the card block `{}` is two readers", block.value));
                    self.sink.add(finding.at(block.span, "again here").related(first, "first here"));
                }
                Some(ReaderSource::CardBlock { board, block: found })
            }
            (None, Some(path)) => {
                let port = self.serial_port(path, &raw.serial, READER_BAUD_DEFAULT, Parity::None);
                let format = self.line_format(raw);
                Some(ReaderSource::Serial { port: port?, format: format? })
            }
        }
    }

    fn line_format(&self, raw: &RawReader) -> Option<LineFormat> {
        let Some(format) = &raw.format else {
            let finding = Diagnostic::error("missing key `format` in [[reader]]");
            self.sink.add(
                finding.at(raw.span, "expected \"bits_hex\", \"hex\", \"decimal\" or \"binary\" for a serial reader of cards, \"plate\", \"qr\" or \"mobile\" for one of texts"),
            );
            return None;
        };
        let bits = raw.bits.as_ref();
        match format.value {
            RawFormat::Hex => Some(LineFormat::Hex { bits: bits.map(|at| at.value) }),
            RawFormat::Decimal => {
                if bits.is_none() {
                    let finding = Diagnostic::error("a decimal number does not say how many bits the card has");
                    self.sink.add(finding.at(format.span, "expected `bits` = a number beside it"));
                }
                Some(LineFormat::Decimal { bits: bits?.value })
            }
            RawFormat::Text(kind) => {
                if let Some(at) = bits {
                    let finding = Diagnostic::error("a text has no number of bits");
                    self.sink.add(finding.at(at.span, "only for \"hex\" and \"decimal\"").related(format.span, ""));
                }
                Some(LineFormat::Text(kind))
            }
            RawFormat::BitsHex | RawFormat::Binary => {
                if let Some(at) = bits {
                    let finding = Diagnostic::error("each line of this format says how many bits it has");
                    self.sink.add(finding.at(at.span, "only for \"hex\" and \"decimal\"").related(format.span, ""));
                }
                Some(if format.value == RawFormat::BitsHex { LineFormat::BitsHex } else { LineFormat::Binary })
            }
        }
    }

    /// What is wired but serves nothing is most often a typing error elsewhere.
    pub fn unused(&self, raw: &RawSite, doors: &Doors) {
        let (raw_buses, raw_boards) = (&raw.buses, &raw.boards);
        for (board, used) in raw_boards.iter().zip(&doors.boards_used) {
            if let Some(id) = board.id.as_ref().filter(|_| !used) {
                let finding = Diagnostic::warning(format!("no door or reader uses the board `{}`", id.value));
                self.sink.add(finding.at(id.span, "it is polled all the same"));
            }
        }
        for bus in raw_buses {
            let Some(id) = &bus.id else { continue };
            let on_it = |board: &RawBoard| board.bus.as_ref().is_some_and(|name| name.value == id.value.as_str());
            let reads = |reader: &RawReader| {
                reader
                    .osdp
                    .as_ref()
                    .and_then(|osdp| osdp.bus.as_ref())
                    .is_some_and(|name| name.value == id.value.as_str())
            };
            if bus.osdp.is_some() {
                if !raw.readers.iter().any(reads) {
                    self.sink
                        .add(Diagnostic::warning(format!("the bus `{}` has no readers", id.value)).at(id.span, ""));
                }
            } else if !raw_boards.iter().any(on_it) {
                self.sink.add(Diagnostic::warning(format!("the bus `{}` has no boards", id.value)).at(id.span, ""));
            }
        }
    }
}

fn listed(kind: PointKind, board: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("the board `{board}` has no {}s", kind.word());
    }
    format!("the {}s of `{board}` are {}", kind.word(), super::abbreviated(known))
}

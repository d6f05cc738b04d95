//! Buses and boards: ports with one owner, addresses with one board, polls that fit their line.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Checker;
use crate::{
    config::{
        SHARED_PROFILES, line_time, profile,
        raw::{RawBoard, RawBus, RawReader, RawSerial},
        reader::{self, Table},
        report::{At, Diagnostic, Span, near_miss},
        site::{Board, Bus, Line, Parity, SerialPort},
    },
    domain::{
        fieldbus::{BoardConfig, Profile, ReaderPoints},
        ids::{BoardIx, BusIx, Id},
    },
};

const BAUD_DEFAULT: u32 = 19_200;
const OSDP_BAUD_DEFAULT: u32 = 9_600;
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(300);
const POLL_DEFAULT: Duration = Duration::from_millis(50);
const LOST_AFTER_DEFAULT: Duration = Duration::from_millis(1000);

/// The boards, and by the same position what their references can be resolved with.
pub struct Boards {
    pub boards: Vec<Option<Board>>,
    /// Behind those of the boards, in both, come the readers that have points.
    pub ids: Vec<Option<At<Id>>>,
    pub profiles: Vec<Option<Profile>>,
    /// By their position among the readers.
    pub readers: BTreeMap<usize, ReaderPoints>,
}

pub fn index(position: usize) -> u16 {
    // The reader admits at most 1000 of anything.
    u16::try_from(position).unwrap_or(u16::MAX)
}

impl Checker<'_> {
    pub fn buses(&self, raw: &[RawBus]) -> Vec<Option<Bus>> {
        self.unique("buses", raw.iter().map(|bus| bus.id.as_ref()));
        raw.iter().enumerate().map(|(position, bus)| self.bus(position, bus)).collect()
    }

    fn bus(&self, position: usize, raw: &RawBus) -> Option<Bus> {
        let line = match (&raw.rtu, &raw.tcp, &raw.osdp) {
            (None, None, None) => {
                let finding = Diagnostic::error("a [[bus]] has no line");
                self.sink
                    .add(finding.at(raw.span, "expected `rtu` or `osdp` = a serial port, or `tcp` = \"HOST:PORT\""));
                None
            }
            (Some(rtu), None, None) => self.rtu(rtu, raw),
            (None, Some(tcp), None) => {
                let serial_only = [
                    ("baud", raw.serial.baud.as_ref().map(|at| at.span)),
                    ("parity", raw.serial.parity.as_ref().map(|at| at.span)),
                    ("stop_bits", raw.serial.stop_bits.as_ref().map(|at| at.span)),
                    ("turnaround_ms", raw.turnaround.as_ref().map(|at| at.span)),
                ];
                for (key, span) in serial_only.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                    let finding = Diagnostic::error(format!("`{key}` means nothing on a TCP bus"));
                    self.sink.add(finding.at(span, "only for `rtu`"));
                }
                self.host_and_port(tcp).map(|(host, port)| Line::Tcp { host, port })
            }
            (None, None, Some(osdp)) => {
                // The standard says how long a reader may take, and what lies between two frames.
                let modbus_only = [("turnaround_ms", &raw.turnaround), ("timeout_ms", &raw.timeout)];
                for (key, at) in modbus_only.into_iter().filter_map(|(key, at)| Some((key, at.as_ref()?))) {
                    let finding = Diagnostic::error(format!("`{key}` means nothing on an OSDP bus"));
                    self.sink.add(finding.at(at.span, "only for `rtu` and `tcp`: OSDP has times of its own"));
                }
                self.serial_port(osdp, &raw.serial, OSDP_BAUD_DEFAULT, Parity::None).map(Line::Osdp)
            }
            _ => {
                let lines = [("rtu", &raw.rtu), ("tcp", &raw.tcp), ("osdp", &raw.osdp)];
                let mut found = lines.into_iter().filter_map(|(key, at)| Some((key, at.as_ref()?.span)));
                if let (Some((first, at)), Some((second, again))) = (found.next(), found.next()) {
                    let finding = Diagnostic::error(format!("`{first}` and `{second}` exclude each other"));
                    self.sink.add(finding.at(again, "one bus is one line").related(at, "also here"));
                }
                None
            }
        };
        let timeout = raw.timeout.as_ref().map_or(TIMEOUT_DEFAULT, |at| at.value);
        Some(Bus { id: raw.id.as_ref()?.value.clone(), bus: BusIx(index(position)), line: line?, timeout })
    }

    fn rtu(&self, path: &At<String>, raw: &RawBus) -> Option<Line> {
        let port = self.serial_port(path, &raw.serial, BAUD_DEFAULT, Parity::Even)?;
        let gap = line_time::frame_gap(port.baud, line_time::bits_per_character(port.parity, port.stop_bits));
        let turnaround = match &raw.turnaround {
            Some(at) if at.value < gap => {
                let finding = Diagnostic::error("`turnaround_ms` is shorter than the silence that ends a frame");
                let least = gap.as_micros().div_ceil(1000);
                self.sink.add(finding.at(
                    at.span,
                    format!(
                        "expected at least {least} (3.5 characters at {} baud are {:.2} ms)",
                        port.baud,
                        millis(gap)
                    ),
                ));
                at.value
            }
            Some(at) => at.value,
            // More would be line time given away: a board that needs it is told of by its faults.
            None => gap,
        };
        Some(Line::Rtu(SerialPort { turnaround, ..port }))
    }

    /// A serial port without turnaround, as a reader has it.
    pub fn serial_port(&self, path: &At<String>, raw: &RawSerial, baud: u32, parity: Parity) -> Option<SerialPort> {
        let file = Path::new(&path.value);
        if !file.is_absolute() {
            let finding = Diagnostic::error(format!("`{}` is not a serial port", path.value));
            self.sink.add(finding.at(path.span, "expected a path such as \"/dev/ttyS1\" or \"/dev/serial/by-id/…\""));
            return None;
        }
        if self.purpose != crate::config::Purpose::CheckWithoutFiles && !self.files.exists(file) {
            let finding = Diagnostic::warning(format!("there is no {} now", path.value));
            self.sink.add(finding.at(path.span, "latchd waits for it, and reports what hangs on it as lost"));
        }
        Some(SerialPort {
            path: file.to_owned(),
            baud: raw.baud.as_ref().map_or(baud, |at| at.value),
            parity: raw.parity.as_ref().map_or(parity, |at| at.value),
            stop_bits: raw.stop_bits.as_ref().map_or(1, |at| at.value),
            turnaround: Duration::ZERO,
        })
    }

    pub fn boards(&self, raw: &[RawBoard], raw_buses: &[RawBus], buses: &[Option<Bus>]) -> Boards {
        self.unique("boards", raw.iter().map(|board| board.id.as_ref()));
        let mut profiles: BTreeMap<Id, Option<Profile>> = BTreeMap::new();
        let mut units: BTreeMap<(usize, u8), Span> = BTreeMap::new();
        let mut out = Boards { boards: Vec::new(), ids: Vec::new(), profiles: Vec::new(), readers: BTreeMap::new() };
        for (position, board) in raw.iter().enumerate() {
            let profile = board
                .profile
                .as_ref()
                .and_then(|name| profiles.entry(name.value.clone()).or_insert_with(|| self.profile(name)).clone());
            let bus = board.bus.as_ref();
            let bus = bus.and_then(|name| self.resolve("bus", name, raw_buses.iter().map(|bus| bus.id.as_ref())));
            let line = bus.and_then(|position| buses.get(position)?.as_ref());
            if let (Some(Bus { line: Line::Osdp(_), id, .. }), Some(at)) = (line, &board.bus) {
                let finding = Diagnostic::error(format!("`{id}` is a bus of OSDP readers"));
                self.sink.add(finding.at(at.span, "expected a bus with `rtu` or `tcp` for a board"));
            }
            if let (Some(bus), Some(unit)) = (bus, &board.unit) {
                if line.is_some_and(|bus| matches!(bus.line, Line::Rtu(_))) && !(1..=247).contains(&unit.value) {
                    let finding = Diagnostic::error(format!("{} is not a unit on a serial line", unit.value));
                    self.sink.add(finding.at(unit.span, "expected a whole number from 1 to 247"));
                }
                if let Some(first) = units.get(&(bus, unit.value)) {
                    let finding = Diagnostic::error(format!("two boards on one bus have the unit {}", unit.value));
                    self.sink.add(finding.at(unit.span, "again here").related(*first, "first here"));
                } else {
                    units.insert((bus, unit.value), unit.span);
                }
            }
            out.boards.push(self.board(position, board, bus, line, profile.clone()));
            out.ids.push(board.id.clone());
            out.profiles.push(profile);
        }
        for (position, bus) in buses.iter().enumerate() {
            if let (Some(bus), Some(raw_bus)) = (bus, raw_buses.get(position)) {
                self.line_load(bus, raw_bus, raw, &out.boards);
            }
        }
        out
    }

    fn board(
        &self,
        position: usize,
        raw: &RawBoard,
        bus: Option<usize>,
        line: Option<&Bus>,
        profile: Option<Profile>,
    ) -> Option<Board> {
        let poll = raw.poll.as_ref().map_or(POLL_DEFAULT, |at| at.value);
        let lost_after = raw.lost_after.as_ref().map_or(LOST_AFTER_DEFAULT.max(poll * 4), |at| at.value);
        let least = poll.max(line.map_or(Duration::ZERO, |bus| bus.timeout));
        if lost_after <= least {
            let span = raw.lost_after.as_ref().or(raw.poll.as_ref()).map_or(raw.span, |at| at.span);
            let finding = Diagnostic::error("the board would be lost before it was asked twice");
            self.sink.add(finding.at(
                span,
                format!(
                    "expected `lost_after_ms` above {} (the larger of `poll_ms` and the bus's `timeout_ms`)",
                    least.as_millis()
                ),
            ));
        }
        Some(Board {
            bus: BusIx(index(bus?)),
            config: BoardConfig {
                id: raw.id.as_ref()?.value.clone(),
                board: BoardIx(index(position)),
                unit: raw.unit.as_ref()?.value,
                profile: profile?,
                poll,
                lost_after,
                // Armed once it is known what hangs on it.
                watchdog: None,
            },
        })
    }

    /// Whether the polls of all boards of a serial bus fit its baud rate.
    fn line_load(&self, bus: &Bus, raw_bus: &RawBus, raw: &[RawBoard], boards: &[Option<Board>]) {
        let Line::Rtu(port) = &bus.line else { return };
        let on_bus = boards.iter().flatten().filter(|board| board.bus == bus.bus);
        let mut load = 0.0;
        let mut round = Duration::ZERO;
        let mut first = None;
        for board in on_bus {
            let time = line_time::poll_time(&board.config, port);
            let longest = line_time::longest_read(&board.config, port);
            let raw_board = raw.get(board.config.board.index());
            if longest > bus.timeout {
                let span = raw_bus.timeout.as_ref().map_or(raw_bus.span, |at| at.span);
                let finding = Diagnostic::error("no reply can arrive within `timeout_ms`");
                let label = format!(
                    "the longest read of `{}` takes {:.0} ms at {} baud",
                    board.config.id,
                    millis(longest).ceil(),
                    port.baud
                );
                self.sink.add(
                    finding
                        .at(span, label)
                        .help("raise `timeout_ms` or `baud`, or lower the profile's `read_registers_max`"),
                );
            }
            round += time;
            load += time.as_secs_f64() / board.config.poll.as_secs_f64().max(0.001);
            let span = raw_board.map(|raw| raw.poll.as_ref().map_or(raw.span, |at| at.span));
            first = first.or(span);
        }
        if let Some(span) = first.filter(|_| load > 1.0) {
            self.sink.add(
                Diagnostic::warning(format!("the bus `{}` is too slow for its polls", bus.id))
                    .at(span, format!("one round of all its boards takes about {:.0} ms of line time", millis(round).ceil()))
                    .related(raw_bus.serial.baud.as_ref().map_or(raw_bus.span, |at| at.span), "at this baud rate")
                    .help(format!(
                        "the polls ask for {:.0} % of the line: doors still work, but inputs and cards are seen later than `poll_ms` says",
                        load * 100.0
                    )),
            );
        }
    }

    /// Reads `profiles/NAME.toml` beside the site file, else the shared one.
    fn profile(&self, name: &At<Id>) -> Option<Profile> {
        let directories = [self.directory.join("profiles"), PathBuf::from(SHARED_PROFILES)];
        for directory in &directories {
            let path = directory.join(format!("{}.toml", name.value));
            let text = match self.files.read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let finding = Diagnostic::error(format!("cannot read the profile {}", path.display()));
                    self.sink.add(finding.at(name.span, error.to_string()));
                    return None;
                }
            };
            let file = self.sink.report.borrow_mut().add_source(path.display().to_string(), text.clone());
            let (tree, sound) = reader::parse(self.sink, file, &text);
            let top = Span { file, start: 0, end: 0 };
            let table = sound.then(|| Table::new(self.sink, "the profile", top, tree.get_ref()))?;
            return profile::read(self.sink, name, table);
        }
        let known: Vec<String> = directories.iter().flat_map(|directory| self.files.profiles(directory)).collect();
        let finding = Diagnostic::error(format!("there is no profile `{}`", name.value));
        let [beside, shared] = &directories;
        let label = format!("expected {}.toml in {} or {}", name.value, beside.display(), shared.display());
        self.sink
            .add(finding.at(name.span, label).did_you_mean(near_miss(&name.value, known.iter().map(String::as_str))));
        None
    }

    /// One owner per serial port and per TCP address.
    pub fn ports(&self, raw_buses: &[RawBus], raw_readers: &[RawReader], buses: &[Option<Bus>]) {
        let look = self.purpose != crate::config::Purpose::CheckWithoutFiles;
        let resolved = |path: &str| {
            let path = Path::new(path);
            if look { self.files.resolved(path) } else { path.to_owned() }
        };
        let mut serial: BTreeMap<PathBuf, &At<String>> = BTreeMap::new();
        let users = raw_buses.iter().flat_map(|bus| bus.rtu.iter().chain(&bus.osdp));
        for at in users.chain(raw_readers.iter().filter_map(|reader| reader.path.as_ref())) {
            let device = resolved(&at.value);
            if let Some(first) = serial.insert(device.clone(), at) {
                let finding = Diagnostic::error(format!("the port {} has two users", at.value));
                let finding = finding.at(at.span, "again here").related(first.span, "first here");
                self.sink.add(if first.value == at.value {
                    finding
                } else {
                    finding.help(format!("both are names of {}", device.display()))
                });
            }
        }
        let mut tcp: BTreeMap<(&str, u16), Span> = BTreeMap::new();
        for (bus, raw) in buses.iter().zip(raw_buses) {
            let Some(Bus { line: Line::Tcp { host, port }, .. }) = bus else { continue };
            let Some(at) = &raw.tcp else { continue };
            if let Some(first) = tcp.insert((host, *port), at.span) {
                let finding = Diagnostic::error(format!("two buses go to {}", at.value));
                self.sink.add(
                    finding.at(at.span, "again here").related(first, "first here").help("put their boards on one bus"),
                );
            }
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

//! `latchd scan`: what answers on a bus, at which address and setting. Owns the way from the bus's name to its
//! wire, and the words of the result; must never write to a board (`gateway::scan` only reads), nor change a reader
//! (`osdp` asks what `gateway::osdp::scan` asks). Invariant: a line
//! that the running daemon holds is not touched.

use std::{collections::BTreeSet, io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    adapters::{clock, field::modbus::Wire},
    config::{
        self,
        site::{Bus, Line, Parity, SerialPort},
    },
    domain::ids::{BusIx, Id},
    gateway::{
        fieldbus::{BusFault, Table, Transaction},
        scan::{Device, Scan},
    },
    wire,
};

mod osdp;

/// What boards are sold with, the usual ones first.
const BAUDS: [u32; 6] = [9_600, 19_200, 38_400, 57_600, 115_200, 4_800];

#[derive(Args)]
pub struct Arguments {
    /// A bus of the site file, a serial port (/dev/ttyUSB0), or HOST:PORT of a board or gateway
    bus: String,
    /// Addresses to ask, such as 1-247 or 1-16,100; absent: all
    #[arg(long, value_name = "LIST", value_parser = units)]
    units: Option<Units>,
    /// Look for OSDP readers on this serial port; a bus of the site file says itself what it is
    #[arg(long)]
    osdp: bool,
    /// Baud rates to try on a serial line, or all; absent: the site file's for a bus of it, else the usual ones
    #[arg(long, value_name = "RATE", value_delimiter = ',', value_parser = baud)]
    baud: Vec<Baud>,
    /// Parities to try on a serial line; absent: likewise, else none and even (OSDP: none)
    #[arg(long, value_delimiter = ',')]
    parity: Vec<ParityName>,
    /// How long an address is waited for
    #[arg(long, value_name = "MS", default_value_t = 80, value_parser = clap::value_parser!(u64).range(5..=5000))]
    timeout_ms: u64,
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Units(Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Baud {
    All,
    Rate(u32),
}

fn baud(text: &str) -> Result<Baud, String> {
    match text {
        "all" => Ok(Baud::All),
        text => text.parse().map(Baud::Rate).map_err(|_| format!("`{text}` is no baud rate: expected a number or all")),
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ParityName {
    None,
    Even,
    Odd,
}

fn units(text: &str) -> Result<Units, String> {
    let unit = |text: &str| match text.trim().parse::<u8>() {
        Ok(unit @ 0..=247) => Ok(unit),
        _ => Err(format!("`{text}` is no address: expected 0 to 247")),
    };
    let mut units = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        units.extend(unit(first)?..=unit(last)?);
    }
    units.sort_unstable();
    units.dedup();
    if units.is_empty() { Err("names no address".to_owned()) } else { Ok(Units(units)) }
}

/// Whether anything was found.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let buses = buses(arguments)?;
    let readers = |bus: &Bus| match &bus.line {
        Line::Osdp(port) => Some(port.clone()),
        _ => None,
    };
    if let Some(ports) = buses.iter().map(readers).collect::<Option<Vec<_>>>() {
        return osdp::run(arguments, &ports);
    }
    let units = arguments.units.as_ref().map_or_else(|| (1..=247).collect(), |units| units.0.clone());
    if units.contains(&0) {
        bail!("0 is everybody's address: expected 1 to 247 of boards");
    }
    let mut scan = Scan::new(buses.len(), units.into_iter());
    let bar = bar(scan.progress().1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fault = runtime.block_on(async {
        tokio::select! {
            fault = ask(&mut scan, &buses, &bar) => fault,
            // What was found by then is told.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    out.write_all(told(&scan, &buses).as_bytes()).and_then(|()| out.flush())?;
    match fault {
        Some(fault) if buses.iter().any(|bus| matches!(bus.line, Line::Tcp { .. })) => bail!("{fault}\n{HELD}"),
        Some(fault) => bail!("{fault}"),
        None => Ok(!scan.devices().is_empty()),
    }
}

/// A serial port says so itself when it is opened.
const HELD: &str = "If latchd runs, it may hold the only connection that the board takes: `systemctl stop latchd` first; \
                    its doors go to their safe state meanwhile.";

/// Why it could not go on, if so.
async fn ask(scan: &mut Scan, buses: &[Bus], bar: &ProgressBar) -> Option<BusFault> {
    let mut open: Option<(usize, Wire)> = None;
    let mut unreachable = 0;
    while let Some(question) = scan.next() {
        let wire = match &mut open {
            Some((setting, wire)) if *setting == question.setting => wire,
            other => {
                // Two wires on one port would steal each other's bytes.
                drop(other.take());
                let bus = buses.get(question.setting)?;
                bar.set_message(settings(&bus.line));
                &mut other.insert((question.setting, Wire::new(bus)?)).1
            }
        };
        let patience = buses.get(question.setting)?.timeout;
        let transaction = Transaction { unit: question.unit, request: question.request, start_by: None, patience };
        let answer = wire.transact(transaction, clock::mono).await;
        if let Some(news) = wire.echo_news() {
            bar.suspend(|| eprintln!("{news}"));
        }
        // A board may close its connection now and then; who cannot be reached twice is not there.
        match answer {
            Err(BusFault::Unreachable(_)) if unreachable == 0 => unreachable = 1,
            Err(fault @ BusFault::Unreachable(_)) => return Some(fault),
            answer => {
                unreachable = 0;
                scan.heard(&answer);
            }
        }
        bar.set_position(scan.progress().0 as u64);
    }
    None
}

/// One for each setting of the line.
fn buses(arguments: &Arguments) -> anyhow::Result<Vec<Bus>> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let id = Id::new("scan")?;
    let bus = |line| Bus { id: id.clone(), bus: BusIx(0), line, timeout };
    let (line, of_site) = line(arguments)?;
    let (port, usual, is_osdp) = match &line {
        Line::Rtu(port) => (port, BAUDS, false),
        Line::Osdp(port) => (port, wire::osdp::BAUDS, true),
        Line::Tcp { .. } => return Ok(vec![bus(line)]),
    };
    let rate = |baud: &Baud| match baud {
        Baud::All => usual.to_vec(),
        Baud::Rate(rate) => vec![*rate],
    };
    let bauds = match (&arguments.baud[..], of_site) {
        ([], true) => vec![port.baud],
        ([], false) => usual.to_vec(),
        (given, _) => given.iter().flat_map(rate).collect(),
    };
    let parities = match (&arguments.parity[..], of_site) {
        ([], true) => vec![port.parity],
        ([], false) if is_osdp => vec![Parity::None],
        ([], false) => vec![Parity::None, Parity::Even],
        (given, _) => given.iter().map(|parity| (*parity).into()).collect(),
    };
    let with = |baud, parity| {
        // 1 bit time in 11 is the stop bit's: without a parity bit there are two (Modbus over Serial Line, 2.5.1),
        // but boards are sold with one, and a receiver does not mind.
        let port = SerialPort { baud, parity, ..port.clone() };
        bus(if is_osdp { Line::Osdp(port) } else { Line::Rtu(port) })
    };
    Ok(parities.iter().flat_map(|parity| bauds.iter().map(|baud| with(*baud, *parity))).collect())
}

/// What the bus's name stands for, and whether the site file says how it is set.
fn line(arguments: &Arguments) -> anyhow::Result<(Line, bool)> {
    let name = &arguments.bus;
    if name.starts_with('/') {
        let port = SerialPort {
            path: PathBuf::from(name),
            baud: BAUDS[0],
            parity: Parity::None,
            stop_bits: 1,
            turnaround: Duration::ZERO,
        };
        return Ok((if arguments.osdp { Line::Osdp(port) } else { Line::Rtu(port) }, false));
    }
    if let Some((host, port)) = name.rsplit_once(':') {
        let port = port.parse().with_context(|| format!("`{name}`: expected HOST:PORT, such as 192.168.1.20:502"))?;
        return Ok((Line::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port }, true));
    }
    let path = &arguments.config;
    let environment = config::Environment::of_process();
    let loaded = config::load_from(&config::Disk, path, &environment, config::Purpose::CheckWithoutFiles);
    let Some(site) = loaded.site else {
        eprint!("{}", loaded.report.render(false));
        bail!("`{name}` is neither a serial port nor HOST:PORT, and without a sound site file it is no bus either");
    };
    match site.buses.into_iter().find(|bus| bus.id.as_str() == name) {
        Some(bus) => Ok((bus.line, true)),
        None => bail!("{} has no bus `{name}`; give one of its ids, a serial port, or HOST:PORT", path.display()),
    }
}

fn settings(line: &Line) -> String {
    match line {
        Line::Rtu(port) | Line::Osdp(port) => {
            let parity = match port.parity {
                Parity::None => 'N',
                Parity::Even => 'E',
                Parity::Odd => 'O',
            };
            format!("{} {} 8{parity}{}", port.path.display(), port.baud, port.stop_bits)
        }
        Line::Tcp { host, port } => format!("{host}:{port}"),
    }
}

fn bar(addresses: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:32} {wide_bar} {pos}/{len} {eta}");
    ProgressBar::new(addresses as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What was found, line by line. Neighbours that are alike are one: boards on Ethernet often answer to any address.
fn told(scan: &Scan, buses: &[Bus]) -> String {
    let mut text = String::new();
    for (setting, bus) in buses.iter().enumerate() {
        let mut devices: Vec<&Device> = scan.devices().iter().filter(|device| device.setting == setting).collect();
        devices.sort_by_key(|device| device.unit);
        let noise: Vec<_> = scan.noise().iter().filter(|noise| noise.setting == setting).collect();
        if devices.is_empty() && noise.is_empty() {
            continue;
        }
        text += &format!("{}\n", settings(&bus.line));
        let alike = |a: &&Device, b: &&Device| a.tables == b.tables && b.unit - a.unit == 1;
        for run in devices.chunk_by(alike) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let units = match run.len() {
                1 => format!("unit {}", first.unit),
                _ => format!("units {}-{}", first.unit, last.unit),
            };
            text += &format!("  {units:14} {}\n", tables(first));
            if run.len() > 16 {
                text += "                 alike at every address: it may be one board that does not look at it\n";
            }
        }
        if let Some(first) = noise.first() {
            let units: BTreeSet<u8> = noise.iter().map(|noise| noise.unit).collect();
            text += &format!("  {} at {} address(es), first at {}: {}\n", NOISE, units.len(), first.unit, first.detail);
        }
    }
    let (asked, all) = scan.progress();
    if scan.devices().is_empty() && asked > 0 {
        text += "nothing answered; look at power, A and B, the termination, and whether the board speaks Modbus\n";
    }
    if (1..all).contains(&asked) {
        text += &format!("ended early: {asked} of {all} addresses asked\n");
    }
    text
}

const NOISE: &str = "bytes that are no answer (two boards with one address, another protocol or speed)";

fn tables(device: &Device) -> String {
    if device.tables.is_empty() {
        return "answers, and has nothing at address 0".to_owned();
    }
    let table = |(table, count): &(Table, u16)| match count {
        1 => format!("{table} 0"),
        count => format!("{table}s 0-{}", count - 1),
    };
    device.tables.iter().map(table).collect::<Vec<_>>().join(", ")
}

impl From<ParityName> for Parity {
    fn from(name: ParityName) -> Parity {
        match name {
            ParityName::None => Parity::None,
            ParityName::Even => Parity::Even,
            ParityName::Odd => Parity::Odd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_and_spans() {
        assert_eq!(units("3,1-2,2"), Ok(Units(vec![1, 2, 3])));
        for wrong in ["", "248", "5-", "4-2", "a"] {
            assert!(units(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn neighbours_that_are_alike_are_one_line() {
        let mut scan = Scan::new(1, 1..=40);
        while let Some(question) = scan.next() {
            scan.heard(&match question.unit {
                40 => Err(BusFault::Timeout),
                _ => Err(BusFault::Exception(2)),
            });
        }
        let line = Line::Tcp { host: "board".to_owned(), port: 502 };
        let bus = Bus { id: Id::new("scan").unwrap(), bus: BusIx(0), line, timeout: Duration::ZERO };
        let text = told(&scan, &[bus]);
        assert!(text.starts_with("board:502\n  units 1-39     answers, and has nothing at address 0\n"), "{text}");
        assert!(text.contains("alike at every address"), "{text}");
    }
}

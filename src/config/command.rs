//! `latchd check`: what an installer runs after every change. Owns what it prints and its exit status;
//! must never touch a device. Invariant: exit status 0 means that the daemon would accept the files.

use std::{fmt::Write as _, io, path::Path, time::Duration};

use super::{
    Disk, Environment, Files, Purpose, line_time, load_from,
    site::{Bus, Line, OsdpKey, Parity, Reader, ReaderSource, SerialPort, Site},
};
use crate::domain::{
    elevator::FailPolicy,
    ids::{DoorIx, OutputRef},
    outputs::Level,
    topology::ReaderAt,
};

/// `EX_CONFIG` of sysexits.h: systemd is told not to restart on it.
pub const EXIT_BAD_CONFIGURATION: u8 = 78;
/// `EX_IOERR`: standard output went away.
const EXIT_OUTPUT: u8 = 74;

#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Do not ask for keys, certificates and devices to be there.
    pub no_files: bool,
    /// One line per finding, `file:line:column: severity: message`, and nothing else.
    pub machine: bool,
    pub colour: bool,
}

/// Loads and reports. Findings go to `err` (to `out` in machine form), the summary to `out`.
pub fn check_command(
    path: &Path,
    environment: &Environment,
    options: CheckOptions,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> u8 {
    check_files(&Disk, path, environment, options, out, err)
}

/// The same of whatever `files` say lies there.
pub fn check_files(
    files: &dyn Files,
    path: &Path,
    environment: &Environment,
    options: CheckOptions,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> u8 {
    let purpose = if options.no_files { Purpose::CheckWithoutFiles } else { Purpose::Check };
    let loaded = load_from(files, path, environment, purpose);
    let written = if options.machine {
        loaded.report.lines().iter().try_for_each(|line| writeln!(out, "{line}"))
    } else {
        err.write_all(loaded.report.render(options.colour).as_bytes()).and_then(|()| match &loaded.site {
            Some(site) => write!(out, "{}: ok\n{}", path.display(), summary(site)),
            None => Ok(()),
        })
    };
    match (written, loaded.site) {
        (_, None) => EXIT_BAD_CONFIGURATION,
        (Err(_), Some(_)) => EXIT_OUTPUT,
        (Ok(()), Some(_)) => 0,
    }
}

/// The site in a few lines, as an installer would check it against the wiring.
pub fn summary(site: &Site) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, site);
    text
}

fn write_summary(text: &mut String, site: &Site) -> std::fmt::Result {
    let zone = site.node.time_zone.iana_name().unwrap_or("?");
    let link = if site.cloud.tls.is_some() { "TLS" } else { "plain, insecure" };
    writeln!(text, "node {}/{}, time zone {zone}", site.node.org, site.node.id)?;
    writeln!(text, "cloud {}:{} ({link})", site.cloud.host, site.cloud.port)?;
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let compartments: usize = site.field.cabinets.iter().map(|cabinet| cabinet.compartments.len()).sum();
    let doors = site.doors.len().saturating_sub(compartments);
    let mut counts = vec![
        count(site.buses.len(), "bus", "buses"),
        count(site.boards.len(), "board", "boards"),
        count(doors, "door", "doors"),
    ];
    if !site.field.floor_groups.is_empty() {
        counts.push(count(site.field.floor_groups.len(), "floor group", "floor groups"));
    }
    if compartments > 0 {
        let cabinets = count(site.field.cabinets.len(), "cabinet", "cabinets");
        counts.push(format!("{cabinets} with {}", count(compartments, "compartment", "compartments")));
    }
    counts.push(count(site.readers.len(), "reader", "readers"));
    writeln!(text, "{}", counts.join(", "))?;
    let (outputs, inputs) = (site.field.outputs.len(), site.field.inputs.len());
    if outputs + inputs > 0 {
        let (outputs, inputs) = (count(outputs, "free output", "free outputs"), count(inputs, "input", "inputs"));
        writeln!(text, "{outputs}, {inputs} beside the doors")?;
    }
    for bus in &site.buses {
        writeln!(text, "  bus {}: {}", bus.id, line(bus, site))?;
        for board in site.boards.iter().filter(|board| board.bus == bus.bus) {
            let config = &board.config;
            writeln!(text, "    board {}: unit {}, {}", config.id, config.unit, config.profile.name)?;
        }
    }
    for (ix, door) in (0..).map(DoorIx).zip(&site.doors).take(doors) {
        let kind = match door.unlocked_level {
            Level::Energised => "energised to unlock",
            Level::Released => "released to unlock",
        };
        let output = output_name(site, door.lock);
        write!(text, "  door {}: {output} {kind}", door.id)?;
        for (name, there) in
            [("contact", door.contact.is_some()), ("REX", door.rex.is_some()), ("fire", door.fire.is_some())]
        {
            if there {
                write!(text, ", {name}")?;
            }
        }
        writeln!(text)?;
        readers(text, site, ReaderAt::Door(ix))?;
    }
    for (ix, group) in (0..).zip(&site.field.floor_groups) {
        let fail = match group.fail {
            FailPolicy::Secure => "disabled",
            FailPolicy::Free => "enabled",
            FailPolicy::Keep => "kept as they are",
        };
        let floors = count(group.floors.len(), "floor", "floors");
        writeln!(text, "  floor group {}: {floors}, {fail} when their board is lost", group.id)?;
        readers(text, site, ReaderAt::Cab(ix))?;
    }
    for (ix, cabinet) in (0..).zip(&site.field.cabinets) {
        let (first, last) = (cabinet.compartments.first(), cabinet.compartments.last());
        if let (Some(first), Some(last)) = (first, last) {
            let compartments = count(cabinet.compartments.len(), "compartment", "compartments");
            writeln!(text, "  cabinet {}: {compartments}, {} to {}", cabinet.id, first.id, last.id)?;
        }
        readers(text, site, ReaderAt::Cabinet(ix))?;
    }
    Ok(())
}

fn readers(text: &mut String, site: &Site, at: ReaderAt) -> std::fmt::Result {
    for reader in site.readers.iter().filter(|reader| reader.at == at) {
        let source = match &reader.source {
            ReaderSource::CardBlock { board, .. } => {
                site.boards.get(board.index()).map_or_else(String::new, |board| board.config.id.to_string())
            }
            ReaderSource::Serial { port, .. } => port.path.display().to_string(),
            ReaderSource::Osdp(osdp) => {
                let bus = site.buses.iter().find(|bus| bus.bus == osdp.bus);
                let bus = bus.map_or_else(String::new, |bus| bus.id.to_string());
                let secure = if osdp.key == OsdpKey::Off { ", in the clear" } else { "" };
                format!("OSDP {bus}, address {}{secure}", osdp.address)
            }
        };
        writeln!(text, "    reader {}: {source}", reader.id)?;
    }
    Ok(())
}

fn output_name(site: &Site, output: OutputRef) -> String {
    site.output_name(output).map_or_else(String::new, |(board, point)| format!("{board}/{point}"))
}

fn line(bus: &Bus, site: &Site) -> String {
    match &bus.line {
        Line::Tcp { host, port } => format!("Modbus TCP {host}:{port}"),
        Line::Osdp(port) => {
            let is_on = |reader: &&Reader| matches!(&reader.source, ReaderSource::Osdp(osdp) if osdp.bus == bus.bus);
            let readers = site.readers.iter().filter(is_on).count();
            let round = line_time::osdp_poll_time(port) * u32::try_from(readers).unwrap_or(u32::MAX);
            let mut text = format!("OSDP {}", serial(port));
            let _ = write!(text, ", a poll round takes about {} ms", round.as_millis());
            text
        }
        Line::Rtu(port) => {
            let boards = site.boards.iter().filter(|board| board.bus == bus.bus);
            let round: Duration = boards.map(|board| line_time::poll_time(&board.config, port)).sum();
            let mut text = format!("Modbus RTU {}", serial(port));
            let _ = write!(text, ", a poll round takes about {} ms", round.as_millis());
            text
        }
    }
}

fn serial(port: &SerialPort) -> String {
    let parity = match port.parity {
        Parity::None => 'N',
        Parity::Even => 'E',
        Parity::Odd => 'O',
    };
    format!("{} at {} 8{parity}{}", port.path.display(), port.baud, port.stop_bits)
}

//! `latchd scan` on a line of OSDP readers. Owns the way of a question over the port, and the words of the result;
//! must never say anything that the scan's machine did not ask. Invariant: a line that the running daemon holds is
//! not touched.

use std::{collections::BTreeSet, io::Write as _, time::Duration};

use anyhow::{anyhow, bail};
use indicatif::ProgressBar;

use super::{Arguments, bar, settings};
use crate::{
    adapters::field::osdp_port::OsdpPort,
    config::site::{Line, Parity, SerialPort},
    gateway::osdp::{
        LinePlan,
        scan::{Channel, Found, Heard, Scan},
    },
    wire::osdp::{
        ADDRESS_MAX,
        frame::{Check, Decoder, FRAME_BYTES_MAX, Way},
    },
};

/// Without another byte for this long, and 20 characters, a frame has ended.
const CHARACTER_WITHIN: Duration = Duration::from_millis(20);

/// Whether anything was found.
pub fn run(arguments: &Arguments, ports: &[SerialPort]) -> anyhow::Result<bool> {
    let addresses = arguments.units.as_ref().map_or_else(|| (0..=ADDRESS_MAX).collect(), |units| units.0.clone());
    if let Some(wrong) = addresses.iter().find(|address| **address > ADDRESS_MAX) {
        bail!("{wrong} is no address of an OSDP reader: expected 0 to {ADDRESS_MAX}");
    }
    let mut scan = Scan::new(ports.len(), addresses.into_iter());
    let bar = bar(scan.progress().1);
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fault = runtime.block_on(async {
        tokio::select! {
            fault = ask(&mut scan, ports, timeout, &bar) => fault.err(),
            // What was found by then is told.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    out.write_all(told(&scan, ports).as_bytes()).and_then(|()| out.flush())?;
    match fault {
        Some(fault) => Err(fault),
        None => Ok(!scan.found().is_empty()),
    }
}

async fn ask(scan: &mut Scan, ports: &[SerialPort], timeout: Duration, bar: &ProgressBar) -> anyhow::Result<()> {
    let mut open: Option<(usize, OsdpPort, LinePlan)> = None;
    while let Some(question) = scan.next()? {
        let (_, port, line) = match &mut open {
            Some(there) if there.0 == question.setting => there,
            other => {
                // Two openings of one port would steal each other's bytes.
                drop(other.take());
                let settings_of = ports.get(question.setting).ok_or_else(|| anyhow!("no such setting"))?;
                bar.set_message(settings(&Line::Osdp(settings_of.clone())));
                let bits_per_character =
                    9 + u32::from(settings_of.parity != Parity::None) + u32::from(settings_of.stop_bits);
                let line = LinePlan { baud: settings_of.baud, bits_per_character };
                let mut port = OsdpPort::new(settings_of.clone());
                port.open().map_err(|error| anyhow!(error))?;
                other.insert((question.setting, port, line))
            }
        };
        let heard = exchange(port, line, &question.bytes, timeout).await.map_err(|error| anyhow!(error))?;
        scan.heard(heard);
        bar.set_position(scan.progress().0 as u64);
    }
    Ok(())
}

async fn exchange(port: &mut OsdpPort, line: &LinePlan, bytes: &[u8], timeout: Duration) -> Result<Heard, String> {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 1024];
    port.send(line.baud, bytes).await?;
    let sent = tokio::time::Instant::now() + line.characters(bytes.len());
    let (mut until, last) = (sent + timeout, sent + timeout + line.characters(FRAME_BYTES_MAX));
    while let Ok(count) = tokio::time::timeout_at(until, port.receive(&mut buffer)).await {
        decoder.push(buffer.get(..count?).unwrap_or_default());
        while let Some(received) = decoder.next_frame() {
            // Some converters hear themselves.
            if received.frame.way == Way::Reply {
                return Ok(Heard::Frame(Box::new(received)));
            }
        }
        if decoder.is_midway() {
            let on = tokio::time::Instant::now() + CHARACTER_WITHIN + line.characters(20);
            until = until.max(on.min(last));
        }
    }
    decoder.quiet();
    let noise = decoder.noise();
    Ok(match noise.bytes {
        0 => Heard::Nothing,
        bytes if noise.bad_checks > 0 => Heard::Noise(format!("{bytes} bytes, a frame among them that is not whole")),
        bytes => Heard::Noise(format!("{bytes} bytes")),
    })
}

fn told(scan: &Scan, ports: &[SerialPort]) -> String {
    let mut text = String::new();
    for (setting, port) in ports.iter().enumerate() {
        let mut found: Vec<&Found> = scan.found().iter().filter(|found| found.setting == setting).collect();
        found.sort_by_key(|found| found.address);
        let noise: Vec<_> = scan.noise().iter().filter(|noise| noise.setting == setting).collect();
        if found.is_empty() && noise.is_empty() {
            continue;
        }
        text += &format!("{}\n", settings(&Line::Osdp(port.clone())));
        for reader in found {
            text += &format!("  {:14} {}\n", format!("address {}", reader.address), described(reader));
        }
        if let Some(first) = noise.first() {
            let addresses: BTreeSet<u8> = noise.iter().map(|noise| noise.address).collect();
            let (count, address, detail) = (addresses.len(), first.address, &first.detail);
            text += &format!("  {NOISE} at {count} address(es), first at {address}: {detail}\n");
        }
    }
    let (asked, all) = scan.progress();
    if scan.found().is_empty() && asked > 0 {
        text += "no reader answered; look at power, A and B, the termination, and whether it speaks OSDP at all\n";
    }
    if (1..all).contains(&asked) {
        text += &format!("ended early: {asked} of {all} addresses asked\n");
    }
    text
}

const NOISE: &str = "bytes that are no answer (two readers with one address, another protocol or speed)";

fn described(found: &Found) -> String {
    let mut parts = Vec::new();
    match &found.identity {
        Some(who) => {
            let vendor = who.vendor.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let [major, minor, build] = who.firmware;
            let (model, version, serial) = (who.model, who.version, who.serial);
            parts.push(format!(
                "vendor {vendor}, model {model}, version {version}, serial {serial}, firmware {major}.{minor}.{build}"
            ));
        }
        None => parts.push("does not say who it is in the clear".to_owned()),
    }
    parts.push(match found.channel() {
        Channel::Required => "answers in a secure channel only".to_owned(),
        Channel::Supported => "has the secure channel, answers in the clear as well".to_owned(),
        Channel::None => "HAS NO SECURE CHANNEL".to_owned(),
        Channel::Unknown => "does not say whether it has a secure channel".to_owned(),
    });
    if found.has_default_key() {
        parts.push("under its default key".to_owned());
    }
    for (function, what) in [(1, "inputs"), (2, "outputs")] {
        if let Some(count) = found.count(function).filter(|count| *count > 0) {
            parts.push(format!("{what} = {count}"));
        }
    }
    if found.check == Check::Checksum {
        parts.push("check = \"checksum\"".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::osdp::reply::{Capability, Identity};

    #[test]
    fn what_the_site_file_needs_of_a_reader_stands_in_one_line() {
        let capability = |function, level, count| Capability { function, level, count };
        let identity = Identity { vendor: [0x5c, 0x26, 0x23], model: 7, version: 2, serial: 99, firmware: [3, 4, 5] };
        let found = Found {
            setting: 0,
            address: 5,
            check: Check::Checksum,
            identity: Some(identity),
            capabilities: Some(vec![capability(1, 1, 2), capability(2, 3, 1), capability(9, 1, 1)]),
            wants_session: false,
        };
        assert_eq!(
            described(&found),
            "vendor 5c2623, model 7, version 2, serial 99, firmware 3.4.5; has the secure channel, answers in the clear \
             as well; under its default key; inputs = 2; outputs = 1; check = \"checksum\""
        );
        let silent = Found { identity: None, capabilities: None, check: Check::Crc, wants_session: true, ..found };
        assert_eq!(described(&silent), "does not say who it is in the clear; answers in a secure channel only");
    }
}

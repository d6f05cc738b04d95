//! How long things take on a serial line. Owns the arithmetic of Modbus RTU frames; must never know of
//! files or keys. Invariant: what it says of a poll is what the bus machine sends, or less.

use std::time::Duration;

use super::site::{Parity, SerialPort};
use crate::domain::fieldbus::{BoardConfig, CardHandshake, InputAddress, OutputAddress, Profile, RegisterTable};

/// A board's own time between request and reply, as measured on common relay boards.
const REPLY_DELAY: Duration = Duration::from_millis(2);

/// Start bit, eight data bits, parity, stop bits.
pub fn bits_per_character(parity: Parity, stop_bits: u8) -> u32 {
    9 + u32::from(parity != Parity::None) + u32::from(stop_bits)
}

/// The silence that ends a frame: 3.5 characters, and 1.75 ms above 19 200 baud
/// (Modbus over Serial Line v1.02, 2.5.1.1).
pub fn frame_gap(baud: u32, bits_per_character: u32) -> Duration {
    if baud > 19_200 {
        return Duration::from_micros(1750);
    }
    characters(7, baud, bits_per_character) / 2
}

fn characters(count: u32, baud: u32, bits_per_character: u32) -> Duration {
    Duration::from_nanos(u64::from(count * bits_per_character) * 1_000_000_000 / u64::from(baud.max(1)))
}

/// The bytes of reply data of each read that one poll of the board takes.
fn reads(profile: &Profile) -> Vec<u32> {
    let mut bits: [Vec<u16>; 2] = Default::default();
    let mut registers: [Vec<u16>; 2] = Default::default();
    let [coils, discrete] = &mut bits;
    let [input, holding] = &mut registers;
    for output in profile.outputs.iter().filter(|output| output.reads_back) {
        match output.address {
            OutputAddress::Coil(address) => coils.push(address),
            OutputAddress::HoldingRegister { address, .. } => holding.push(address),
        }
    }
    for point in &profile.inputs {
        match point.address {
            InputAddress::DiscreteInput(address) => discrete.push(address),
            InputAddress::Coil(address) => coils.push(address),
            InputAddress::InputRegisterBit { address, .. } | InputAddress::InputRegister { address, .. } => {
                input.push(address);
            }
            InputAddress::HoldingRegisterBit { address, .. } | InputAddress::HoldingRegister { address, .. } => {
                holding.push(address);
            }
        }
    }
    for block in &profile.card_blocks {
        let table = if block.table == RegisterTable::Input { &mut *input } else { &mut *holding };
        table.extend((0..block.data_words).map(|word| block.data_address.saturating_add(word)));
        table.extend(block.bits_address);
        if let CardHandshake::Counter { address } = block.handshake {
            table.push(address);
        }
    }
    let bits = bits.iter_mut().flat_map(|addresses| runs(addresses, profile.read_bits_max, profile.gap_max(true)));
    let bits: Vec<u32> = bits.map(|count| u32::from(count).div_ceil(8)).collect();
    let registers =
        registers.iter_mut().flat_map(|addresses| runs(addresses, profile.read_registers_max, profile.gap_max(false)));
    bits.into_iter().chain(registers.map(|count| u32::from(count) * 2)).collect()
}

/// Lengths of the reads that cover all addresses, those of neighbours and over gaps up to `gap`.
fn runs(addresses: &mut Vec<u16>, longest: u16, gap: u32) -> Vec<u16> {
    addresses.sort_unstable();
    addresses.dedup();
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &address in addresses.iter() {
        match runs.last_mut() {
            Some((start, length))
                if u32::from(address) <= u32::from(*start) + u32::from(*length) + gap && address - *start < longest =>
            {
                *length = address - *start + 1;
            }
            _ => runs.push((address, 1)),
        }
    }
    runs.into_iter().map(|(_, length)| length).collect()
}

/// How long the line is busy with one read that brings `data` bytes.
fn read_time(data: u32, port: &SerialPort) -> Duration {
    let bits = bits_per_character(port.parity, port.stop_bits);
    let gap = frame_gap(port.baud, bits);
    characters(8 + 5 + data, port.baud, bits) + gap + REPLY_DELAY + gap.max(port.turnaround)
}

/// How long the line is busy with one poll of an OSDP reader that has nothing to tell: 14 bytes each way in a
/// session, the usual 3 ms until it answers, and the gap after it.
pub fn osdp_poll_time(port: &SerialPort) -> Duration {
    let bits = bits_per_character(port.parity, port.stop_bits);
    characters(14 + 14 + 2, port.baud, bits) + Duration::from_millis(3)
}

/// How long the line is busy with one poll of the board.
pub fn poll_time(board: &BoardConfig, port: &SerialPort) -> Duration {
    reads(&board.profile).into_iter().map(|data| read_time(data, port)).sum()
}

/// The longest of the reads of one poll.
pub fn longest_read(board: &BoardConfig, port: &SerialPort) -> Duration {
    reads(&board.profile).into_iter().map(|data| read_time(data, port)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that were measured with 8N1 and 2 ms of reply delay.
    #[test]
    fn a_read_takes_what_was_measured_on_a_line() {
        let time = |baud, data: u32| {
            let gap = frame_gap(baud, 10);
            (characters(13 + data, baud, 10) + gap * 2 + REPLY_DELAY).as_secs_f64() * 1000.0
        };
        for (baud, data, expected) in
            [(9600, 2, 24.9), (19_200, 2, 13.5), (38_400, 2, 9.4), (115_200, 2, 6.8), (9600, 20, 43.7)]
        {
            let got = time(baud, data);
            assert!((got - expected).abs() < 0.06, "{baud}: {got} ms, expected {expected}");
        }
    }

    #[test]
    fn reads_are_split_at_gaps_and_at_the_longest_read() {
        assert_eq!(runs(&mut vec![3, 1, 2, 7, 7], 125, 0), [3, 1]);
        assert_eq!(runs(&mut vec![3, 1, 2, 7, 7], 125, 3), [7]);
        assert_eq!(runs(&mut (0..10).collect(), 4, 0), [4, 4, 2]);
        assert_eq!(runs(&mut vec![65_535, 65_534], 4, 9), [2]);
        assert_eq!(runs(&mut vec![], 4, 0), Vec::<u16>::new());
    }
}

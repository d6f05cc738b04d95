//! How long things take on a line: the arithmetic of the specifications, from the settings alone. Owns it a second
//! time, beside the daemon's own, so that the two check each other.

use std::time::Duration;

/// How the line is set, and how quick its devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTimes {
    pub baud: u32,
    /// Start, data, parity and stop bits: 10 for 8N1, 11 for 8E1.
    pub bits_per_character: u32,
    /// A device's own time between having understood a request and the first bit of its answer.
    pub turnaround: Duration,
}

impl LineTimes {
    pub fn new(baud: u32, bits_per_character: u32, turnaround: Duration) -> LineTimes {
        LineTimes { baud, bits_per_character, turnaround }
    }

    /// So many characters without a pause.
    pub fn characters(&self, count: usize) -> Duration {
        let bits = u64::from(self.bits_per_character) * count as u64;
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud))
    }

    /// The silence that ends a Modbus frame: 3.5 characters, above 19 200 baud 1.75 ms (Modbus over Serial Line
    /// V1.02, 2.5.1.1).
    pub fn modbus_gap(&self) -> Duration {
        if self.baud > 19_200 { Duration::from_micros(1_750) } else { self.characters(7) / 2 }
    }

    /// The least time from one Modbus request to the next: both frames, the silence that ends each, the device's own.
    pub fn modbus_transaction(&self, request: usize, answer: usize) -> Duration {
        self.characters(request + answer) + self.modbus_gap() * 2 + self.turnaround
    }

    /// The same of OSDP, where a frame says how long it is: two characters of silence before a panel speaks.
    pub fn osdp_transaction(&self, command: usize, reply: usize) -> Duration {
        self.characters(command + reply + 2) + self.turnaround
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured before the first line of the daemon was written: reading a register, with 2 ms of turnaround.
    #[test]
    fn a_transaction_takes_what_was_measured_on_a_line() {
        for (baud, millis) in [(9_600, 24.9), (19_200, 13.5), (38_400, 9.4), (115_200, 6.8)] {
            let times = LineTimes::new(baud, 10, Duration::from_millis(2));
            let took = times.modbus_transaction(8, 7).as_secs_f64() * 1000.0;
            assert!((took - millis).abs() < 0.06, "{took} at {baud}");
        }
    }
}

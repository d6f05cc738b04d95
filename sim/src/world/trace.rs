//! What happened, line by line. Owns a hash over every line and the last lines themselves; must never hold
//! what is not the same on every run of a seed. Invariant: equal hashes mean equal traces.

use std::{collections::VecDeque, fmt};

use latchd::domain::time::Mono;

const LINES_KEPT: usize = 40;

#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    print: bool,
}

impl Trace {
    pub fn new(print: bool) -> Trace {
        Trace { hash: 0xCBF2_9CE4_8422_2325, lines: 0, last: VecDeque::with_capacity(LINES_KEPT), print }
    }

    pub fn line(&mut self, now: Mono, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        // The oldest line's buffer is used again.
        let mut line =
            if self.last.len() >= LINES_KEPT { self.last.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        let nanos = now.as_nanos();
        let _ = write!(line, "{:>5}.{:06} {what}", nanos / 1_000_000_000, nanos / 1_000 % 1_000_000);
        // FNV-1a, 64 bits.
        for byte in line.as_bytes() {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        self.lines += 1;
        if self.print {
            println!("{line}");
        }
        self.last.push_back(line);
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    pub fn tail(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

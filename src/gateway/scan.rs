//! What answers on a line, and where. Owns the order of the questions and what the answers mean; must never ask
//! anything but reads, so that no relay moves. Invariant: every address is asked under every setting, unless
//! it has answered there already.
//!
//! A device that knows neither of the two functions asked has to say so (exception 1, Modbus Application
//! Protocol V1.1b3, section 7), so either answer tells that it is there. Cheap boards are silent about what they do
//! not know, hence two questions. Of a device that answered, each table is measured from address 0 on.

use crate::gateway::fieldbus::{BusFault, Reply, Request, Table};

/// Longest read of bits and of registers in one request (section 6.1 and 6.3).
const BITS_MAX: u16 = 2_000;
const WORDS_MAX: u16 = 125;
/// Most installers number from 1 and have a handful: those are asked under every setting first.
const LIKELY: u8 = 16;

/// Which of the line's settings, in the order given to [`Scan::new`].
pub type Setting = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub setting: Setting,
    pub unit: u8,
    pub request: Request,
}

/// A device that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub setting: Setting,
    pub unit: u8,
    /// How much of each table can be read from address 0 on; tables without anything there are absent.
    pub tables: Vec<(Table, u16)>,
}

/// Something came that is no answer: two devices with one address, another protocol, a wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noise {
    pub setting: Setting,
    pub unit: u8,
    pub detail: String,
}

#[derive(Debug)]
pub struct Scan {
    addresses: Vec<(Setting, u8)>,
    at: usize,
    asked: Asked,
    devices: Vec<Device>,
    noise: Vec<Noise>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Is there anybody? By this one of [`KNOCKS`].
    Knock(usize),
    /// How long is this one of [`TABLES`]? At least `good`, and less than `bad`.
    Measure { table: usize, good: u16, bad: u16 },
}

const KNOCKS: [Table; 2] = [Table::Coil, Table::HoldingRegister];
const TABLES: [Table; 4] = [Table::Coil, Table::DiscreteInput, Table::HoldingRegister, Table::InputRegister];

fn longest(table: Table) -> u16 {
    match table {
        Table::Coil | Table::DiscreteInput => BITS_MAX,
        Table::HoldingRegister | Table::InputRegister => WORDS_MAX,
    }
}

impl Scan {
    pub fn new(settings: usize, units: impl Iterator<Item = u8> + Clone) -> Scan {
        let all = |likely: bool| {
            let units = units.clone();
            (0..settings).flat_map(move |setting| {
                let units = units.clone().filter(move |unit| (*unit <= LIKELY) == likely);
                units.map(move |unit| (setting, unit))
            })
        };
        let addresses = all(true).chain(all(false)).collect();
        Scan { addresses, at: 0, asked: Asked::Knock(0), devices: Vec::new(), noise: Vec::new() }
    }

    /// What to ask now; none when all is done.
    pub fn next(&self) -> Option<Question> {
        let (setting, unit) = *self.addresses.get(self.at)?;
        let (table, count) = match self.asked {
            Asked::Knock(knock) => (*KNOCKS.get(knock)?, 1),
            Asked::Measure { table, good, bad } => {
                let table = *TABLES.get(table)?;
                // Twice as many until it is too many, then halves.
                let count = if bad > longest(table) { good.saturating_mul(2).max(1) } else { good.midpoint(bad) };
                (table, count.min(longest(table)))
            }
        };
        Some(Question { setting, unit, request: Request::Read { table, address: 0, count } })
    }

    /// What came back to [`Scan::next`].
    pub fn heard(&mut self, answer: &Result<Reply, BusFault>) {
        let Some(Question { setting, unit, request: Request::Read { table, count, .. } }) = self.next() else {
            return;
        };
        match self.asked {
            Asked::Knock(knock) => match answer {
                // A gateway speaks for whom it did not reach.
                Err(BusFault::Exception(10 | 11)) => self.next_address(),
                Ok(_) | Err(BusFault::Exception(_)) => {
                    self.devices.push(Device { setting, unit, tables: Vec::new() });
                    self.measure(0);
                }
                fault => {
                    if let Err(BusFault::Garbage(detail)) = fault {
                        self.noise.push(Noise { setting, unit, detail: detail.clone() });
                    }
                    match knock + 1 < KNOCKS.len() {
                        true => self.asked = Asked::Knock(knock + 1),
                        false => self.next_address(),
                    }
                }
            },
            Asked::Measure { table: at, good, bad } => {
                let (good, bad) = if answer.is_ok() { (count, bad) } else { (good, count) };
                if good == longest(table) || bad <= good + 1 {
                    if good > 0
                        && let Some(device) = self.devices.last_mut()
                    {
                        device.tables.push((table, good));
                    }
                    self.measure(at + 1);
                } else {
                    self.asked = Asked::Measure { table: at, good, bad };
                }
            }
        }
    }

    fn measure(&mut self, table: usize) {
        match table < TABLES.len() {
            true => self.asked = Asked::Measure { table, good: 0, bad: u16::MAX },
            false => self.next_address(),
        }
    }

    fn next_address(&mut self) {
        self.at += 1;
        self.asked = Asked::Knock(0);
    }

    /// Addresses done, and all of them.
    pub fn progress(&self) -> (usize, usize) {
        (self.at, self.addresses.len())
    }

    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub fn noise(&self) -> &[Noise] {
        &self.noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board with so many of each table, and `silent` about all else or not.
    fn board(question: Question, tables: &[(Table, u16)], silent: bool) -> Result<Reply, BusFault> {
        let Request::Read { table, address: 0, count } = question.request else { panic!("{question:?}") };
        let unknown = |code| if silent { Err(BusFault::Timeout) } else { Err(BusFault::Exception(code)) };
        match tables.iter().find(|(name, _)| *name == table) {
            None => unknown(1),
            Some((_, size)) if count > *size => unknown(2),
            Some(_) => Ok(Reply::Bits(vec![false; usize::from(count)])),
        }
    }

    fn run(mut scan: Scan, wire: impl Fn(Question) -> Result<Reply, BusFault>) -> Scan {
        let mut asked = 0;
        while let Some(question) = scan.next() {
            scan.heard(&wire(question));
            asked += 1;
            assert!(asked < 100_000, "it must end");
        }
        scan
    }

    #[test]
    fn a_board_is_found_at_its_address_and_setting_and_its_tables_are_measured() {
        let sizes = [(Table::Coil, 8), (Table::DiscreteInput, 13), (Table::HoldingRegister, 125)];
        for silent in [false, true] {
            let scan = run(Scan::new(3, 1..=247), |question| match (question.setting, question.unit) {
                (1, 200) => board(question, &sizes, silent),
                _ => Err(BusFault::Timeout),
            });
            assert_eq!(scan.devices(), [Device { setting: 1, unit: 200, tables: sizes.to_vec() }]);
            assert_eq!(scan.progress(), (3 * 247, 3 * 247));
        }
    }

    #[test]
    fn a_board_that_knows_nothing_that_is_asked_is_there_all_the_same() {
        let scan = run(Scan::new(1, 1..=3), |question| match question.unit {
            2 => Err(BusFault::Exception(1)),
            _ => Err(BusFault::Timeout),
        });
        assert_eq!(scan.devices(), [Device { setting: 0, unit: 2, tables: vec![] }]);
    }

    #[test]
    fn a_gateway_that_reached_nobody_is_no_device() {
        let scan = run(Scan::new(1, 1..=3), |question| match question.unit {
            2 => Err(BusFault::Exception(4)),
            unit => Err(BusFault::Exception(if unit == 1 { 10 } else { 11 })),
        });
        assert_eq!(scan.devices(), [Device { setting: 0, unit: 2, tables: vec![] }]);
    }

    #[test]
    fn one_that_is_silent_about_coils_is_found_by_its_registers() {
        let sizes = [(Table::HoldingRegister, 4)];
        let scan = run(Scan::new(1, 7..=7), |question| board(question, &sizes, true));
        assert_eq!(scan.devices(), [Device { setting: 0, unit: 7, tables: sizes.to_vec() }]);
    }

    #[test]
    fn noise_is_told_and_is_no_device() {
        let scan = run(Scan::new(1, 5..=5), |_| Err(BusFault::Garbage("CRC".to_owned())));
        assert_eq!(scan.devices(), []);
        assert_eq!(scan.noise().len(), 2);
    }

    #[test]
    fn low_addresses_are_asked_under_every_setting_first() {
        let mut scan = Scan::new(2, 1..=247);
        let mut order = vec![];
        while let Some(question) = scan.next() {
            order.push((question.setting, question.unit));
            scan.heard(&Err(BusFault::Timeout));
        }
        order.dedup();
        assert_eq!((order[0], order[16], order[32]), ((0, 1), (1, 1), (0, 17)));
        assert_eq!(order.len(), 2 * 247);
    }
}

//! A bus with fake boards and a clock that jumps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    domain::{
        fieldbus::{
            BoardConfig, BusReport, CardBlock, CardHandshake, InputAddress, InputPoint, OutputAddress, OutputPoint,
            Profile, RegisterTable,
        },
        ids::{BoardIx, BusIx, Id, InputRef, OutputRef},
        outputs::{Desired, Level, Ticket},
        time::Mono,
    },
    gateway::fieldbus::{Bus, BusFault, BusPlan, Next, Reply, Request, Table},
};

pub const ANSWER: Duration = Duration::from_millis(10);
pub const TIMEOUT: Duration = Duration::from_millis(100);
pub const TURNAROUND: Duration = Duration::from_millis(2);
pub const COUNTER: u16 = 100;
pub const CLEARED: u16 = 110;
pub const FLASH_ON: u16 = 0x200;
pub const FLASH_OFF: u16 = 0x400;

/// What a board does with the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// Neither hears nor answers.
    Silent,
    /// Hears and acts, but the answer is lost.
    Mute,
    /// Acts, and says that it takes its time (exception 5).
    Acknowledges,
    Exception(u8),
    Garbage,
    Unreachable,
}

#[derive(Debug, Default)]
pub struct FakeBoard {
    pub bits: BTreeMap<(Table, u16), bool>,
    pub words: BTreeMap<(Table, u16), u16>,
    pub mood: Mood,
    /// The next requests get these moods instead.
    pub moods: Vec<Mood>,
    pub stuck: BTreeSet<u16>,
    /// By coil: the time last set, in its counts, and what follows it; whoever wants it to end says so.
    pub timers: BTreeMap<u16, (u16, bool)>,
    /// Answers exceptions to whatever touches these.
    pub missing: BTreeSet<(Table, u16)>,
    /// Says nothing to a write of these registers.
    pub silent_about: BTreeSet<u16>,
    /// Answers every write of a coil by exception 6.
    pub busy_to_write: bool,
}

impl FakeBoard {
    pub fn reboot(&mut self) {
        self.bits.retain(|(table, _), _| *table != Table::Coil);
        self.words.clear();
    }

    fn answer(&mut self, request: Request) -> Result<Reply, BusFault> {
        let mood = if self.moods.is_empty() { self.mood } else { self.moods.remove(0) };
        match mood {
            Mood::Silent => return Err(BusFault::Timeout),
            Mood::Exception(code) => return Err(BusFault::Exception(code)),
            Mood::Unreachable => return Err(BusFault::Unreachable("refused".to_owned())),
            Mood::Well | Mood::Mute | Mood::Garbage | Mood::Acknowledges => {}
        }
        let reply = match request {
            Request::Read { table, address, count } => {
                let range = address..address + count;
                if range.clone().any(|at| self.missing.contains(&(table, at))) {
                    return Err(BusFault::Exception(2));
                }
                if table.is_bits() {
                    Reply::Bits(range.map(|at| self.bits.get(&(table, at)).copied().unwrap_or(false)).collect())
                } else {
                    Reply::Words(range.map(|at| self.words.get(&(table, at)).copied().unwrap_or(0)).collect())
                }
            }
            Request::WriteCoil { address, .. } if address >= 0x80 && self.missing.contains(&(Table::Coil, address)) => {
                return Err(BusFault::Exception(2));
            }
            Request::WriteCoil { .. } if self.busy_to_write => return Err(BusFault::Exception(6)),
            Request::WriteCoil { address, on } => {
                if !self.stuck.contains(&address) {
                    self.bits.insert((Table::Coil, address), on);
                }
                Reply::Written
            }
            Request::WriteTimer { address, count } => {
                if self.missing.contains(&(Table::Coil, address)) {
                    return Err(BusFault::Exception(2));
                }
                let level = address < FLASH_OFF;
                let coil = address - if level { FLASH_ON } else { FLASH_OFF };
                self.bits.insert((Table::Coil, coil), level);
                self.timers.insert(coil, (count, !level));
                Reply::Written
            }
            Request::WriteRegister { address, .. } if self.silent_about.contains(&address) => {
                return Err(BusFault::Timeout);
            }
            Request::WriteRegister { address, value } => {
                if !self.stuck.contains(&address) {
                    self.words.insert((Table::HoldingRegister, address), value);
                }
                if address == CLEARED && value == 0 {
                    (0..4).for_each(|n| _ = self.words.insert((Table::HoldingRegister, CLEARED + n), 0));
                }
                Reply::Written
            }
        };
        match mood {
            Mood::Mute => Err(BusFault::Timeout),
            Mood::Garbage => Err(BusFault::Garbage("noise".to_owned())),
            Mood::Acknowledges => Err(BusFault::Exception(5)),
            _ => Ok(reply),
        }
    }
}

pub fn id(text: &str) -> Id {
    Id::new(text).expect("a valid id")
}

/// Two coils, two inputs, a counting card block and one that is cleared.
pub fn profile() -> Profile {
    Profile {
        name: id("fake"),
        outputs: (0..2).map(|n| OutputPoint::plain(id(&format!("relay-{n}")), OutputAddress::Coil(n))).collect(),
        inputs: (0..2)
            .map(|n| InputPoint { name: id(&format!("in-{n}")), address: InputAddress::DiscreteInput(n) })
            .collect(),
        card_blocks: vec![
            CardBlock {
                name: id("counting"),
                table: RegisterTable::Holding,
                data_address: COUNTER + 2,
                data_words: 2,
                bits_address: Some(COUNTER + 1),
                bits_fixed: 0,
                handshake: CardHandshake::Counter { address: COUNTER },
            },
            CardBlock {
                name: id("cleared"),
                table: RegisterTable::Holding,
                data_address: CLEARED + 1,
                data_words: 3,
                bits_address: Some(CLEARED),
                bits_fixed: 0,
                handshake: CardHandshake::ClearByWrite,
            },
        ],
        read_bits_max: 128,
        read_registers_max: 32,
        gaps_readable: false,
        watchdog: None,
    }
}

pub struct Rig {
    pub bus: Bus,
    pub boards: Vec<FakeBoard>,
    pub now: Mono,
    pub reports: Vec<(Mono, BusReport)>,
    /// Each transaction with the instant at which it started and its board.
    pub wire: Vec<(Mono, usize, Request)>,
}

impl Rig {
    pub fn new(boards: usize, profile: &Profile) -> Rig {
        let configs = (0..boards).map(|n| BoardConfig {
            id: id(&format!("board-{n}")),
            board: BoardIx(n as u16),
            unit: n as u8 + 1,
            profile: profile.clone(),
            poll: Duration::from_millis(100),
            lost_after: Duration::from_secs(1),
            watchdog: None,
        });
        let plan = BusPlan {
            bus: BusIx(0),
            boards: configs.collect(),
            serial: true,
            turnaround: TURNAROUND,
            timeout: TIMEOUT,
        };
        Rig {
            bus: Bus::new(plan),
            boards: (0..boards).map(|_| FakeBoard::default()).collect(),
            now: Mono::from_millis(1_000),
            reports: Vec::new(),
            wire: Vec::new(),
        }
    }

    /// One board whose watchdog is to be armed.
    pub fn guarded(profile: &Profile, watchdog: Option<(Duration, Vec<Level>)>) -> Rig {
        let mut rig = Rig::new(1, profile);
        let mut plan = rig.bus.plan().clone();
        plan.boards.iter_mut().for_each(|board| board.watchdog = watchdog.clone());
        rig.bus = Bus::new(plan);
        rig
    }

    /// A rig whose boards are up and whose first reports are over.
    pub fn up(boards: usize) -> Rig {
        let mut rig = Rig::new(boards, &profile());
        rig.run(300);
        rig.reports.clear();
        rig.wire.clear();
        rig
    }

    pub fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.step(end);
        }
    }

    /// One transaction, or one jump to the next thing to do, not beyond `end`.
    pub fn step(&mut self, end: Mono) {
        let mut out = Vec::new();
        let next = self.bus.next(self.now, &mut out);
        self.note(&mut out);
        match next {
            Next::Transact(transaction) => {
                let at = usize::from(transaction.unit) - 1;
                self.wire.push((self.now, at, transaction.request));
                let result = self.boards[at].answer(transaction.request);
                self.now = self.now
                    + match result {
                        Ok(_) | Err(BusFault::Exception(_)) => ANSWER,
                        Err(BusFault::Unreachable(_)) => Duration::from_micros(100),
                        Err(_) => TIMEOUT,
                    };
                self.bus.handle(self.now, result, &mut out);
            }
            Next::Idle { until } => {
                let until = until.unwrap_or(end);
                assert!(until > self.now, "an idle bus that names an instant in the past would spin");
                self.now = until.min(end);
            }
        }
        self.note(&mut out);
    }

    fn note(&mut self, out: &mut Vec<BusReport>) {
        self.reports.extend(out.drain(..).map(|report| (self.now, report)));
    }

    pub fn desire(&mut self, desired: Desired) {
        let mut out = Vec::new();
        self.bus.set_desired(self.now, &[desired], &mut out);
        self.note(&mut out);
    }

    pub fn board(&mut self) -> &mut FakeBoard {
        &mut self.boards[0]
    }

    pub fn coil(&self, board: usize, address: u16) -> bool {
        self.boards[board].bits.get(&(Table::Coil, address)).copied().unwrap_or(false)
    }

    /// The reports so far, taken.
    pub fn reported(&mut self) -> Vec<BusReport> {
        self.reports.drain(..).map(|(_, report)| report).collect()
    }

    pub fn writes(&self) -> Vec<(Mono, Request)> {
        let writes = self.wire.iter().filter(|(_, _, request)| !matches!(request, Request::Read { .. }));
        writes.map(|&(at, _, request)| (at, request)).collect()
    }
}

pub fn output(board: u16, output: u16) -> OutputRef {
    OutputRef { board: BoardIx(board), output }
}

pub fn input(board: u16, input: u16) -> InputRef {
    InputRef { board: BoardIx(board), input }
}

/// A standing level.
pub fn level(output: OutputRef, level: Level) -> Desired {
    Desired { output, level, until: None, rest: level, order: None }
}

/// A level by order.
pub fn order(output: OutputRef, level: Level, ticket: u64, deadline: Mono) -> Desired {
    Desired { output, level, until: None, rest: level, order: Some((Ticket(ticket), deadline)) }
}

pub fn confirmed(output: OutputRef, level: Level, ticket: Option<u64>) -> BusReport {
    BusReport::Output { output, level, order: ticket.map(Ticket) }
}

//! A simulated Modbus board: registers that a server shows on TCP or on a serial line, that people and
//! doors change from the other side, and that misbehaves when told to. Owns the register model; must
//! never know who asks. Invariant: every change can be waited for, so that nobody sleeps and hopes.

mod door;
mod guard;
mod pdu;
mod rtu;
mod tcp;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use door::{Swing, SwingDoor};
pub use guard::{FLASH_OFF, FLASH_ON};
pub use rtu::{RtuLine, crc};
pub use tcp::TcpServer;

/// Writes remembered for those who look afterwards.
const WRITES_MAX: usize = 10_000;
const CARD_COUNTER: u16 = 100;

/// What a board does with requests, besides answering them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Neither acts nor answers.
    Silent,
    /// Acts, but the answer gets lost.
    Mute,
    /// Answers everything with this exception.
    Exception(u8),
    /// Answers with noise.
    Garbage,
    /// Answers this late.
    Late(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Coil {
        address: u16,
        on: bool,
    },
    Register {
        address: u16,
        value: u16,
    },
    /// A flash timer was set: FC 5 with a time.
    Timer {
        address: u16,
        count: u16,
    },
}

/// The four tables. Bits and registers that were never set are zero; an address past `size` does not exist.
#[derive(Debug)]
pub struct Registers {
    size: u16,
    coils: BTreeMap<u16, bool>,
    /// Relays whose contact is welded, and how.
    jammed: BTreeMap<u16, bool>,
    inputs: BTreeMap<u16, bool>,
    holding: BTreeMap<u16, u16>,
    input_registers: BTreeMap<u16, u16>,
    fault: Fault,
    writes: Vec<(Instant, Write)>,
    requests: u64,
    /// The board has flash timers at 0x200 and 0x400.
    timers: bool,
    /// Of each coil: how often its timer was set, so that an older one knows that it was replaced.
    timer_turns: BTreeMap<u16, u64>,
    heard_at: Instant,
}

impl Registers {
    pub fn coil(&self, address: u16) -> bool {
        self.jammed.get(&address).or(self.coils.get(&address)).copied().unwrap_or(false)
    }

    pub fn input(&self, address: u16) -> bool {
        self.inputs.get(&address).copied().unwrap_or(false)
    }

    pub fn holding(&self, address: u16) -> u16 {
        self.holding.get(&address).copied().unwrap_or(0)
    }

    pub fn input_register(&self, address: u16) -> u16 {
        self.input_registers.get(&address).copied().unwrap_or(0)
    }

    /// Every write since the start or since the last `take_writes`.
    pub fn writes(&self) -> &[(Instant, Write)] {
        &self.writes
    }

    /// Requests seen, answered or not.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Coil { address, on } => {
                self.coils.insert(address, on);
                self.take_back(address, on);
            }
            Write::Register { address, value } => _ = self.holding.insert(address, value),
            Write::Timer { address, .. } => self.flash(address),
        }
        if self.writes.len() < WRITES_MAX {
            self.writes.push((Instant::now(), write));
        }
    }
}

/// A handle to one board; clones are the same board.
#[derive(Clone, Debug)]
pub struct SimBoard {
    unit: u8,
    registers: Arc<Mutex<Registers>>,
    changed: Arc<watch::Sender<u64>>,
}

impl SimBoard {
    /// 256 of everything, as `config/profiles/generic-8ch.toml` needs it and more.
    pub fn new(unit: u8) -> SimBoard {
        let registers = Registers {
            size: 256,
            coils: BTreeMap::new(),
            jammed: BTreeMap::new(),
            inputs: BTreeMap::new(),
            holding: BTreeMap::new(),
            input_registers: BTreeMap::new(),
            fault: Fault::None,
            writes: Vec::new(),
            requests: 0,
            timers: false,
            timer_turns: BTreeMap::new(),
            heard_at: Instant::now(),
        };
        SimBoard { unit, registers: Arc::new(Mutex::new(registers)), changed: Arc::new(watch::Sender::new(0)) }
    }

    pub fn unit(&self) -> u8 {
        self.unit
    }

    /// Looks at the registers. Not to be held across an await.
    pub fn look(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Registers) -> T) -> T {
        let result = change(&mut self.look());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Waits until the registers are as `wanted`.
    pub async fn until(&self, mut wanted: impl FnMut(&Registers) -> bool) {
        let mut changed = self.changed.subscribe();
        while !wanted(&self.look()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub fn coil(&self, address: u16) -> bool {
        self.look().coil(address)
    }

    pub fn set_coil(&self, address: u16, on: bool) {
        self.change(|registers| registers.coils.insert(address, on));
    }

    /// The relay's contact welds as it is: it takes every write, and reads back as before.
    pub fn jam(&self, address: u16) {
        self.change(|registers| registers.jammed.insert(address, registers.coil(address)));
    }

    /// It lets go, and is as it was written last.
    pub fn free(&self, address: u16) {
        self.change(|registers| registers.jammed.remove(&address));
    }

    pub fn set_input(&self, address: u16, on: bool) {
        self.change(|registers| registers.inputs.insert(address, on));
    }

    pub fn set_holding(&self, address: u16, value: u16) {
        self.change(|registers| registers.holding.insert(address, value));
    }

    pub fn set_input_register(&self, address: u16, value: u16) {
        self.change(|registers| registers.input_registers.insert(address, value));
    }

    /// Presents a card at the block of generic-8ch: counter at 100, bits at 101, data in 102 to 104.
    pub fn present_card(&self, bits: u16, value: u64) {
        self.change(|registers| {
            for (address, shift) in [(102, 32), (103, 16), (104, 0)] {
                registers.holding.insert(address, (value >> shift & 0xFFFF) as u16);
            }
            registers.holding.insert(101, bits);
            let counter = registers.holding(CARD_COUNTER).wrapping_add(1).max(1);
            registers.holding.insert(CARD_COUNTER, counter);
        });
    }

    pub fn set_fault(&self, fault: Fault) {
        self.change(|registers| registers.fault = fault);
    }

    /// Power off and on: relays fall, registers are zero, inputs are what the world says.
    pub fn reboot(&self) {
        self.change(|registers| {
            registers.coils.clear();
            registers.holding.clear();
        });
    }

    pub fn take_writes(&self) -> Vec<(Instant, Write)> {
        std::mem::take(&mut self.look().writes)
    }
}

/// What goes back to the asker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Pdu(Vec<u8>),
    /// Bytes that are no frame.
    Noise(Vec<u8>),
}

impl SimBoard {
    /// One request PDU; with the answer, how long it takes.
    pub(crate) fn answer(&self, request: &[u8]) -> (Answer, Duration) {
        let before = self.look().writes.len();
        let answer = self.answered(request);
        self.start_timers(before);
        answer
    }

    fn answered(&self, request: &[u8]) -> (Answer, Duration) {
        self.change(|registers| {
            registers.requests += 1;
            registers.heard_at = Instant::now();
            let code = request.first().copied().unwrap_or(0);
            match registers.fault {
                Fault::None => (Answer::Pdu(pdu::respond(registers, request)), Duration::ZERO),
                Fault::Silent => (Answer::Nothing, Duration::ZERO),
                Fault::Mute => {
                    pdu::respond(registers, request);
                    (Answer::Nothing, Duration::ZERO)
                }
                Fault::Exception(exception) => (Answer::Pdu(vec![code | 0x80, exception]), Duration::ZERO),
                Fault::Garbage => (Answer::Noise(vec![0xAA; 40]), Duration::ZERO),
                Fault::Late(late) => (Answer::Pdu(pdu::respond(registers, request)), late),
            }
        })
    }
}

//! What a board is and what a bus says about it. Owns the vocabulary between the field and the doors;
//! the machine that plans transactions is `gateway::fieldbus`. Invariant: everything the bus reports
//! was read from a board, never assumed.

mod guard;
mod line;
mod reader_points;

use std::time::Duration;

pub use guard::{GuardAddress, GuardValue, GuardWrite, OutputTimer, TimerWrite, Watchdog};
pub use line::{Band, Bands, LineTrouble};
pub use reader_points::{Bound, READER_POINTS_MAX, ReaderPoints};

use super::{
    card_bits::CardBits,
    ids::{BoardIx, Id, InputRef, OutputRef, ReaderIx},
    outputs::{Level, Ticket},
};

/// A board on a bus, with the point map of its profile.
#[derive(Clone, Debug, PartialEq)]
pub struct BoardConfig {
    pub id: Id,
    pub board: BoardIx,
    /// Modbus unit identifier, 1 to 247 on a serial line (Modbus over Serial Line v1.02, 2.2).
    pub unit: u8,
    pub profile: Profile,
    /// How often inputs are read while nothing happens.
    pub poll: Duration,
    /// Without an answer for this long the board is lost.
    pub lost_after: Duration,
    /// With what timeout the board's watchdog is armed, and what each output is to be when it strikes (for boards
    /// that can be told so).
    pub watchdog: Option<(Duration, Vec<Level>)>,
}

/// Which coil, discrete input or register is which relay or input: data, so that a new board needs no code.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: Id,
    pub outputs: Vec<OutputPoint>,
    pub inputs: Vec<InputPoint>,
    pub card_blocks: Vec<CardBlock>,
    /// Largest number of bits and of registers in one read that the board accepts.
    pub read_bits_max: u16,
    pub read_registers_max: u16,
    /// Addresses between those of the points may be read too: a read over a gap may save another.
    pub gaps_readable: bool,
    pub watchdog: Option<Watchdog>,
}

/// Bytes of a gap that are worth reading over: another read takes 13 bytes of frames, two silences of 3.5 characters,
/// and the board's own time.
const GAP_BYTES_MAX: u32 = 20;

impl Profile {
    /// How many addresses between two points, of bits or of registers, are read over.
    pub fn gap_max(&self, bits: bool) -> u32 {
        match (self.gaps_readable, bits) {
            (false, _) => 0,
            (true, true) => GAP_BYTES_MAX * 8,
            (true, false) => GAP_BYTES_MAX / 2,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutputPoint {
    pub name: Id,
    pub address: OutputAddress,
    /// Whether the board lets the output be read back; without it the write's echo is all there is.
    pub reads_back: bool,
    pub timer: Option<OutputTimer>,
    /// The coil that says what the output is to be when the board's watchdog strikes.
    pub safe_coil: Option<u16>,
}

impl OutputPoint {
    /// A relay that can be read back, and nothing else.
    pub fn plain(name: Id, address: OutputAddress) -> OutputPoint {
        OutputPoint { name, address, reads_back: true, timer: None, safe_coil: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputAddress {
    /// FC 5 to write, FC 1 to read back.
    Coil(u16),
    /// FC 6 to write, FC 3 to read back.
    HoldingRegister { address: u16, energised: u16, released: u16 },
}

#[derive(Clone, Debug, PartialEq)]
pub struct InputPoint {
    pub name: Id,
    pub address: InputAddress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputAddress {
    /// FC 2.
    DiscreteInput(u16),
    /// FC 1.
    Coil(u16),
    /// One bit of a register, FC 4.
    InputRegisterBit { address: u16, bit: u8 },
    /// One bit of a register, FC 3.
    HoldingRegisterBit { address: u16, bit: u8 },
    /// A whole register, FC 4, by bands: a supervised line.
    InputRegister { address: u16, bands: Bands },
    /// A whole register, FC 3, by bands: a supervised line.
    HoldingRegister { address: u16, bands: Bands },
}

/// A block of registers in which a Wiegand-to-Modbus converter shows its reads.
#[derive(Clone, Debug, PartialEq)]
pub struct CardBlock {
    pub name: Id,
    pub table: RegisterTable,
    /// First register of the card's bits, most significant word first, right-aligned.
    pub data_address: u16,
    pub data_words: u16,
    /// Register that holds the number of bits; without one, every read has `bits_fixed`.
    pub bits_address: Option<u16>,
    pub bits_fixed: u16,
    pub handshake: CardHandshake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterTable {
    Input,
    Holding,
}

/// How a new read is told from an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardHandshake {
    /// A register that counts reads; any change is a new read. The first value after (re)connecting
    /// is only noted, so that a reboot replays no card.
    Counter { address: u16 },
    /// The data (or the bit count) is non-zero while a read waits; writing zero to the first data
    /// register (or to the bit count) takes it. Needs the holding table.
    ClearByWrite,
}

/// The bits as the reader sent them, right-aligned, with their number; of more than [`CARD_BITS_MAX`] the last.
///
/// [`CARD_BITS_MAX`]: super::card_bits::CARD_BITS_MAX
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawCard {
    pub bits: u16,
    pub value: CardBits,
    /// There was no room for all bits where they were read: no card, whatever it looks like.
    pub cut: bool,
}

impl RawCard {
    /// Of an ordinary card.
    pub const fn new(bits: u16, value: u128) -> RawCard {
        RawCard::of(bits, CardBits::new(value))
    }

    pub const fn of(bits: u16, value: CardBits) -> RawCard {
        RawCard { bits, value, cut: false }
    }
}

/// A credential presented at a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRead {
    pub reader: ReaderIx,
    /// No bits at all where the reader gives a text.
    pub card: RawCard,
    /// Of a reader of plates, QR codes or phones: its kind and what it read, as tokens are made of it
    /// (`plate:KAB1234`).
    pub text: Option<Box<str>>,
}

impl CardRead {
    pub fn bits(reader: ReaderIx, card: RawCard) -> CardRead {
        CardRead { reader, card, text: None }
    }

    pub fn text(reader: ReaderIx, text: Box<str>) -> CardRead {
        CardRead { reader, card: RawCard::new(0, 0), text: Some(text) }
    }
}

/// What a bus tells the doors.
#[derive(Clone, Debug, PartialEq)]
pub enum BusReport {
    BoardUp {
        board: BoardIx,
    },
    BoardLost {
        board: BoardIx,
        detail: String,
    },
    /// First value after start or after the board came back, and every change.
    Input {
        input: InputRef,
        energised: bool,
    },
    /// A supervised line says neither on nor off, until an `Input` says which again.
    InputTrouble {
        input: InputRef,
        trouble: LineTrouble,
    },
    Card {
        board: BoardIx,
        block: u16,
        card: RawCard,
    },
    /// The output was read back (or its write echoed, where it cannot be read back) at `level`.
    /// `order` is set on the first confirmation of an order's level.
    Output {
        output: OutputRef,
        level: Level,
        order: Option<Ticket>,
    },
    /// The board refuses what would guard its outputs while nobody speaks to it: it is used without.
    BoardDegraded {
        board: BoardIx,
        detail: String,
    },
    /// Read-back differs from what was written, again and again.
    OutputMismatch {
        output: OutputRef,
        level: Level,
    },
    /// The order's deadline passed before its write could start: nothing was written for it.
    OrderExpired {
        output: OutputRef,
        ticket: Ticket,
    },
    /// The board answered the order's write with an exception.
    OrderFailed {
        output: OutputRef,
        ticket: Ticket,
        detail: String,
    },
    /// The order's write got no answer and read-back did not settle it before the board was lost.
    OrderUnknown {
        output: OutputRef,
        ticket: Ticket,
        detail: String,
    },
}

//! The simulated site: two buses, three boards, four doors of every kind. Owns what an installer would
//! configure; must never change while a world runs.

use std::time::Duration;

use latchd::{
    domain::{
        door::{Contact, DoorConfig, Fire, Relock, Rex, StartPolicy, StopPolicy},
        fieldbus::{
            BoardConfig, CardBlock, CardHandshake, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile,
            RegisterTable,
        },
        ids::{BoardIx, BusIx, DoorIx, Id, InputRef, OutputRef, ReaderIx},
        outputs::Level,
        topology::{ReaderAt, Topology},
    },
    gateway::{controller::ReaderBinding, fieldbus::BusPlan},
};

pub const ORG: &str = "acme";
pub const NODE: &str = "hq-1";
pub const CONTACT: u16 = 0;
pub const REX: u16 = 1;
pub const FIRE: u16 = 2;
pub const SECOND_CONTACT: u16 = 3;
/// Registers of a card block: counter, bits, three words of data.
pub const CARD_COUNTER: u16 = 100;
pub const TIMEOUT: Duration = Duration::from_millis(200);
pub const LOST_AFTER: Duration = Duration::from_millis(1_000);
/// Who presents cards at the door without a reader on its board.
pub const SERIAL_READER: ReaderIx = ReaderIx(3);

pub fn id(text: &str) -> Id {
    Id::new(text).expect("ids of the simulated site are valid")
}

#[derive(Clone, Debug)]
pub struct Site {
    pub doors: Vec<DoorConfig>,
    pub readers: Vec<ReaderBinding>,
    pub boards: Vec<BoardConfig>,
    pub buses: Vec<BusPlan>,
    /// By board.
    pub bus_of: Vec<BusIx>,
}

impl Site {
    pub fn new() -> Site {
        let boards = vec![board("gate", 0, 1, 50), board("hall", 1, 2, 50), board("riser", 2, 1, 100)];
        let bus = |bus: u16, serial: bool, boards: Vec<BoardConfig>| BusPlan {
            bus: BusIx(bus),
            boards,
            serial,
            turnaround: if serial { Duration::from_millis(2) } else { Duration::ZERO },
            timeout: TIMEOUT,
        };
        let [gate, hall, riser] = [0, 1, 2].map(BoardIx);
        let fire = Some(Fire { input: InputRef { board: gate, input: FIRE }, active_value: true });
        // A strike that relocks as soon as it has been opened.
        let front = DoorConfig {
            rex: Some(Rex { input: InputRef { board: gate, input: REX }, active_value: true, releases: true }),
            fire,
            relock: Relock::OnOpen,
            ..door("front", gate, 0, CONTACT, Level::Energised)
        };
        // A magnet; its fire input is wired to another board.
        let glass = DoorConfig {
            rex: Some(Rex { input: InputRef { board: hall, input: REX }, active_value: false, releases: true }),
            fire,
            ..door("glass", hall, 0, CONTACT, Level::Released)
        };
        // A strike without contact, button or fire input, on a serial line.
        let back = DoorConfig {
            contact: None,
            relock: Relock::AfterDwell,
            at_stop: StopPolicy::Keep,
            ..door("back", riser, 0, CONTACT, Level::Energised)
        };
        // A magnet that is unlocked when the node stops, and forgets its mode.
        let store = DoorConfig {
            rex: Some(Rex { input: InputRef { board: riser, input: REX }, active_value: true, releases: false }),
            fire: Some(Fire { input: InputRef { board: riser, input: FIRE }, active_value: true }),
            at_start: StartPolicy::Lock,
            at_stop: StopPolicy::Unlock,
            ..door("store", riser, 1, SECOND_CONTACT, Level::Released)
        };
        let reader = |name: &str, reader: u16, door: u16, board: Option<BoardIx>| ReaderBinding {
            id: id(name),
            reader: ReaderIx(reader),
            door: DoorIx(door),
            card_block: board.map(|board| (board, 0)),
        };
        Site {
            doors: vec![front, glass, back, store],
            readers: vec![
                reader("front-in", 0, 0, Some(gate)),
                reader("glass-in", 1, 1, Some(hall)),
                reader("back-in", 2, 2, Some(riser)),
                reader("store-in", SERIAL_READER.0, 3, None),
            ],
            buses: vec![bus(0, false, boards[..2].to_vec()), bus(1, true, boards[2..].to_vec())],
            bus_of: vec![BusIx(0), BusIx(0), BusIx(1)],
            boards,
        }
    }

    pub fn topology(&self) -> Topology {
        Topology {
            readers: self.readers.iter().map(|reader| (reader.id.clone(), ReaderAt::Door(reader.door))).collect(),
            boards: self.boards.iter().map(|board| board.id.clone()).collect(),
            ..Topology::of_doors(&self.door_ids())
        }
    }

    pub fn door_ids(&self) -> Vec<Id> {
        self.doors.iter().map(|door| door.id.clone()).collect()
    }

    pub fn door_of(&self, output: OutputRef) -> Option<usize> {
        self.doors.iter().position(|door| door.lock == output)
    }
}

impl Default for Site {
    fn default() -> Site {
        Site::new()
    }
}

fn door(name: &str, board: BoardIx, output: u16, contact: u16, unlocked_level: Level) -> DoorConfig {
    DoorConfig {
        id: id(name),
        lock: OutputRef { board, output },
        unlocked_level,
        contact: Some(Contact { input: InputRef { board, input: contact }, closed_value: true }),
        rex: None,
        fire: None,
        dwell: Duration::from_secs(3),
        dwell_extended: Duration::from_secs(6),
        relock: Relock::OnClose,
        open_time: Duration::from_secs(8),
        open_time_extended: Duration::from_secs(16),
        pre_alarm: Duration::from_secs(2),
        at_start: StartPolicy::Restore,
        at_stop: StopPolicy::Lock,
    }
}

fn board(name: &str, board: u16, unit: u8, poll_ms: u64) -> BoardConfig {
    let outputs = (0..2u16).map(|n| OutputPoint {
        name: id(&format!("relay-{}", n + 1)),
        address: OutputAddress::Coil(n),
        reads_back: true,
    });
    let inputs =
        (0..4u16).map(|n| InputPoint { name: id(&format!("in-{}", n + 1)), address: InputAddress::DiscreteInput(n) });
    BoardConfig {
        id: id(name),
        board: BoardIx(board),
        unit,
        profile: Profile {
            name: id("simulated"),
            outputs: outputs.collect(),
            inputs: inputs.collect(),
            card_blocks: vec![CardBlock {
                name: id("wiegand-1"),
                table: RegisterTable::Holding,
                data_address: CARD_COUNTER + 2,
                data_words: 3,
                bits_address: Some(CARD_COUNTER + 1),
                bits_fixed: 26,
                handshake: CardHandshake::Counter { address: CARD_COUNTER },
            }],
            read_bits_max: 128,
            read_registers_max: 32,
        },
        poll: Duration::from_millis(poll_ms),
        lost_after: LOST_AFTER,
    }
}

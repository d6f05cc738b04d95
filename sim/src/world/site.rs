//! The simulated site: two buses, five boards, seven doors of every kind, an elevator and a cabinet of key lockers.
//! Owns what an installer would configure; must never change while the daemon runs.

use std::time::Duration;

use latchd::{
    domain::{
        door::{Contact, DoorConfig, Fire, FireReset, Relock, Rex, StartPolicy, StopPolicy},
        elevator::{FailPolicy, FloorConfig, FloorGroupConfig, Selected},
        field::{FieldConfig, FreeOutputConfig, InputKind, NodeInput, OutputStart, OutputStop},
        fieldbus::{
            BoardConfig, CardBlock, CardHandshake, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile,
            RegisterTable,
        },
        ids::{BoardIx, BusIx, DoorIx, Id, InputRef, OutputRef, ReaderIx},
        keypad::Keypad,
        locker::{CabinetConfig, Compartment, Occupancy},
        outputs::Level,
        topology::{FloorGroupPlace, ReaderAt, Topology},
    },
    gateway::{controller::ReaderBinding, fieldbus::BusPlan},
};

pub const ORG: &str = "acme";
pub const NODE: &str = "hq-1";
pub const CONTACT: u16 = 0;
pub const REX: u16 = 1;
pub const FIRE: u16 = 2;
pub const SECOND_CONTACT: u16 = 3;
/// Registers of each card block: counter, bits, three words of data.
const CARD_BLOCKS: u16 = 2;
const FIRST_CARD_COUNTER: u16 = 100;
/// How long a grant unlocks, as the installer wishes.
pub const DWELL: Duration = Duration::from_secs(3);
pub const TIMEOUT: Duration = Duration::from_millis(200);
pub const LOST_AFTER: Duration = Duration::from_millis(1_000);

pub fn card_counter(block: u16) -> u16 {
    FIRST_CARD_COUNTER + 10 * block
}

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
    /// What stands beside the doors.
    pub field: FieldConfig,
    /// Doors of which at most one may be open.
    pub mantrap: [usize; 2],
}

impl Site {
    pub fn new() -> Site {
        Site::with_dwell(DWELL)
    }

    /// As another configuration has it.
    pub fn with_dwell(dwell: Duration) -> Site {
        let door = |name: &str, board, output, contact, unlocked_level| DoorConfig {
            dwell,
            ..door(name, board, output, contact, unlocked_level)
        };
        let boards = vec![
            board("gate", 0, (0, 1), 50, (2, 4)),
            board("hall", 1, (0, 2), 50, (2, 4)),
            board("riser", 2, (1, 1), 100, (2, 4)),
            board("trap", 3, (0, 3), 50, (2, 4)),
            board("cellar", 4, (0, 4), 150, (6, 8)),
        ];
        let bus = |bus: u16, serial: bool| BusPlan {
            bus: BusIx(bus),
            boards: boards.iter().filter(|board| board.bus == BusIx(bus)).map(|board| board.config.clone()).collect(),
            serial,
            turnaround: if serial { Duration::from_millis(2) } else { Duration::ZERO },
            timeout: TIMEOUT,
        };
        let [gate, hall, riser, trap, cellar] = [0, 1, 2, 3, 4].map(BoardIx);
        let fire =
            Some(Fire { input: InputRef { board: gate, input: FIRE }, active_value: true, reset: FireReset::Auto });
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
            fire: Some(Fire {
                input: InputRef { board: riser, input: FIRE },
                active_value: true,
                reset: FireReset::Auto,
            }),
            at_start: StartPolicy::Lock,
            at_stop: StopPolicy::Unlock,
            ..door("store", riser, 1, SECOND_CONTACT, Level::Released)
        };
        // Two doors one after the other, with a room for one person between them.
        let outer = DoorConfig {
            rex: Some(Rex { input: InputRef { board: trap, input: REX }, active_value: true, releases: true }),
            ..door("outer", trap, 0, CONTACT, Level::Energised)
        };
        let inner = door("inner", trap, 1, SECOND_CONTACT, Level::Energised);
        // Behind it nobody gets with a card alone.
        let safe = door("safe", cellar, 0, CONTACT, Level::Energised);
        let compartment = |at: u16| DoorConfig {
            at_start: StartPolicy::Lock,
            momentary_only: true,
            ..door(&format!("key-{}", at + 1), cellar, 1 + at, 1 + at, Level::Energised)
        };
        let at_door = |door| ReaderAt::Door(DoorIx(door));
        let reader = |(name, at, card_block): (&str, ReaderAt, Option<(BoardIx, u16)>)| (id(name), at, card_block);
        let readers = [
            ("front-in", at_door(0), Some((gate, 0))),
            ("glass-in", at_door(1), Some((hall, 0))),
            ("back-in", at_door(2), Some((riser, 0))),
            ("store-in", at_door(3), None),
            ("outer-in", at_door(4), Some((trap, 0))),
            ("inner-in", at_door(5), Some((trap, 1))),
            ("front-out", at_door(0), Some((gate, 1))),
            ("back-pad", at_door(2), None),
            ("safe-pad", at_door(6), None),
            ("cab-in", ReaderAt::Cab(0), None),
            ("keys-in", ReaderAt::Cabinet(0), None),
        ];
        let binding = |(reader, (id, at, card_block))| ReaderBinding { id, reader, at, card_block, points: None };
        Site {
            doors: vec![front, glass, back, store, outer, inner, safe, compartment(0), compartment(1)],
            readers: (0..).map(ReaderIx).zip(readers.map(reader)).map(binding).collect(),
            buses: vec![bus(0, false), bus(1, true)],
            mantrap: [4, 5],
            field: field(gate, hall, cellar),
            bus_of: boards.iter().map(|board| board.bus).collect(),
            boards: boards.into_iter().map(|board| board.config).collect(),
        }
    }

    pub fn topology(&self) -> Topology {
        Topology {
            readers: self.readers.iter().map(|reader| (reader.id.clone(), reader.at)).collect(),
            boards: self.boards.iter().map(|board| board.id.clone()).collect(),
            outputs: self.field.outputs.iter().map(|output| output.id.clone()).collect(),
            inputs: self.field.inputs.iter().map(|input| input.id.clone()).collect(),
            lockers: self.compartments().map(|compartment| compartment.door).collect(),
            floor_groups: self
                .field
                .floor_groups
                .iter()
                .map(|group| FloorGroupPlace {
                    id: group.id.clone(),
                    floors: group.floors.iter().map(|floor| floor.id.clone()).collect(),
                })
                .collect(),
            ..Topology::of_doors(&self.door_ids())
        }
    }

    pub fn door_ids(&self) -> Vec<Id> {
        self.doors.iter().map(|door| door.id.clone()).collect()
    }

    pub fn has_keypad(&self, reader: usize) -> bool {
        self.field.keypads.contains_key(&ReaderIx(reader as u16))
    }

    /// Of the key lockers.
    pub fn compartments(&self) -> impl Iterator<Item = &Compartment> {
        self.field.cabinets.iter().flat_map(|cabinet| &cabinet.compartments)
    }

    /// The one elevator.
    pub fn lift(&self) -> &FloorGroupConfig {
        &self.field.floor_groups[0]
    }

    pub fn lift_place(&self) -> FloorGroupPlace {
        let lift = self.lift();
        FloorGroupPlace { id: lift.id.clone(), floors: lift.floors.iter().map(|floor| floor.id.clone()).collect() }
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

pub const BACK_PAD: usize = 7;
pub const SAFE_PAD: usize = 8;
pub const CAB: usize = 9;
pub const CABINET: usize = 10;

fn lift(board: BoardIx) -> FloorGroupConfig {
    let floor = |at: u16| FloorConfig {
        id: id(&format!("floor-{at}")),
        output: OutputRef { board, output: 3 + at },
        enabled_level: Level::Energised,
        selected: Some(Selected { input: InputRef { board, input: 5 + at }, active_value: true }),
    };
    FloorGroupConfig {
        id: id("lift"),
        floors: (0..3).map(floor).collect(),
        enable: Duration::from_secs(4),
        enable_extended: Duration::from_secs(7),
        fail: FailPolicy::Secure,
    }
}

fn keys(board: BoardIx) -> CabinetConfig {
    let compartment = |at: u16| Compartment {
        door: DoorIx(7 + at),
        id: id(&format!("key-{}", at + 1)),
        number: at + 1,
        occupied: Occupancy { input: InputRef { board, input: 3 + at }, occupied_value: true },
    };
    CabinetConfig {
        id: id("keys"),
        compartments: (0..2).map(compartment).collect(),
        keypad_timeout: Duration::from_secs(3),
        code_tries: 4,
        lockout: Duration::from_secs(4),
    }
}

fn field(gate: BoardIx, hall: BoardIx, cellar: BoardIx) -> FieldConfig {
    let output = |name: &str, board, on_level| FreeOutputConfig {
        id: id(name),
        output: OutputRef { board, output: 1 },
        on_level,
        at_start: OutputStart::Restore,
        at_stop: OutputStop::Off,
    };
    let tamper = NodeInput {
        id: id("tamper"),
        input: InputRef { board: hall, input: SECOND_CONTACT },
        kind: InputKind::Tamper,
        active_value: true,
        door: None,
        reader: None,
    };
    FieldConfig {
        outputs: vec![output("siren", gate, Level::Energised), output("gong", hall, Level::Energised)],
        inputs: vec![tamper],
        floor_groups: vec![lift(cellar)],
        cabinets: vec![keys(cellar)],
        keypads: [BACK_PAD, SAFE_PAD, CAB].map(|reader| (ReaderIx(reader as u16), Keypad::FourBit)).into(),
        ..FieldConfig::default()
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
        dwell: DWELL,
        dwell_extended: Duration::from_secs(6),
        relock: Relock::OnClose,
        open_time: Duration::from_secs(8),
        open_time_extended: Duration::from_secs(16),
        pre_alarm: Duration::from_secs(2),
        at_start: StartPolicy::Restore,
        at_stop: StopPolicy::Lock,
        momentary_only: false,
    }
}

struct BoardOnBus {
    bus: BusIx,
    config: BoardConfig,
}

fn board(name: &str, board: u16, (bus, unit): (u16, u8), poll_ms: u64, (outputs, inputs): (u16, u16)) -> BoardOnBus {
    let outputs = (0..outputs).map(|n| OutputPoint::plain(id(&format!("relay-{}", n + 1)), OutputAddress::Coil(n)));
    let inputs =
        (0..inputs).map(|n| InputPoint { name: id(&format!("in-{}", n + 1)), address: InputAddress::DiscreteInput(n) });
    let card_block = |block| CardBlock {
        name: id(&format!("wiegand-{}", block + 1)),
        table: RegisterTable::Holding,
        data_address: card_counter(block) + 2,
        data_words: 3,
        bits_address: Some(card_counter(block) + 1),
        bits_fixed: 26,
        handshake: CardHandshake::Counter { address: card_counter(block) },
    };
    let config = BoardConfig {
        id: id(name),
        board: BoardIx(board),
        unit,
        profile: Profile {
            name: id("simulated"),
            outputs: outputs.collect(),
            inputs: inputs.collect(),
            card_blocks: (0..CARD_BLOCKS).map(card_block).collect(),
            read_bits_max: 128,
            read_registers_max: 32,
            gaps_readable: false,
            watchdog: None,
        },
        poll: Duration::from_millis(poll_ms),
        lost_after: LOST_AFTER,
        watchdog: None,
    };
    BoardOnBus { bus: BusIx(bus), config }
}

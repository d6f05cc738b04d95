//! A hall with an elevator and a cabinet: three floors on board `relays` with the cab's reader, two compartments on
//! board `gate` with the cabinet's.

use serde_json::{Value, json};

use super::*;
use crate::domain::{
    elevator::{FailPolicy, FloorConfig, FloorGroupConfig, Selected},
    locker::{CabinetConfig, Compartment, Occupancy},
    topology::FloorGroupPlace,
};

pub struct Hall {
    pub controller: Controller,
    pub now: Now,
    /// What the disk has.
    pub lasting: Lasting,
    /// Written, and not on the disk yet.
    undurable: Vec<(Vec<LedgerWrite>, Vec<Fence>)>,
    pub permissions: Arc<Permissions>,
}

fn field() -> FieldConfig {
    let floor = |at: u16| FloorConfig {
        id: id(&format!("floor-{at}")),
        output: OutputRef { board: RELAYS, output: at },
        enabled_level: Level::Energised,
        selected: Some(Selected { input: InputRef { board: RELAYS, input: at }, active_value: true }),
    };
    let compartment = |at: u16| Compartment {
        door: DoorIx(at),
        id: id(&format!("key-{}", at + 1)),
        number: at + 1,
        occupied: Occupancy { input: InputRef { board: GATE, input: 2 + at }, occupied_value: true },
    };
    let lift = FloorGroupConfig {
        id: id("lift"),
        floors: (0..3).map(floor).collect(),
        enable: Duration::from_secs(10),
        enable_extended: Duration::from_secs(20),
        fail: FailPolicy::Secure,
    };
    let keys = CabinetConfig {
        id: id("keys"),
        compartments: (0..2).map(compartment).collect(),
        keypad_timeout: Duration::from_secs(10),
        code_tries: 3,
        lockout: Duration::from_secs(60),
    };
    let keypads = [(ReaderIx(0), crate::domain::keypad::Keypad::FourBit)].into();
    FieldConfig { floor_groups: vec![lift], cabinets: vec![keys], keypads, ..FieldConfig::default() }
}

pub fn topology() -> Topology {
    Topology {
        doors: vec![id("key-1"), id("key-2")],
        readers: vec![(id("cab-in"), ReaderAt::Cab(0)), (id("keys-in"), ReaderAt::Cabinet(0))],
        floor_groups: vec![FloorGroupPlace {
            id: id("lift"),
            floors: (0..3).map(|at| id(&format!("floor-{at}"))).collect(),
        }],
        lockers: vec![DoorIx(0), DoorIx(1)],
        ..Topology::default()
    }
}

/// Of a text under the site's key.
pub fn hashed(text: &str) -> Value {
    json!(token(&key(), text).to_string())
}

/// The records that most tests add to: Ada with the good card.
pub fn ada() -> Vec<Value> {
    let text = CardFormats::built_in().read(GOOD).texts().first().cloned().expect("a text");
    vec![
        json!({"kind": "person", "id": "ada", "body": {}}),
        json!({"kind": "credential", "id": "ada-card", "body": {"person": "ada", "token": hashed(&text)}}),
    ]
}

pub fn set(records: Vec<Value>) -> Result<Arc<Permissions>, Vec<String>> {
    let read = |mut record: Value| {
        let id = id(record["id"].as_str().expect("an id"));
        record.as_object_mut().expect("a record").remove("id");
        (id, serde_json::from_value::<Record>(record).expect("a record"))
    };
    let version = SetVersion { epoch: 3, generation: 41, digest: [0; 32] };
    let zone = jiff::tz::TimeZone::UTC;
    Permissions::compile(records.into_iter().map(read), &topology(), &zone, version).map(Arc::new)
}

impl Hall {
    pub fn new(records: Vec<Value>) -> Hall {
        let permissions = set(records).unwrap_or_else(|faults| panic!("{faults:?}"));
        let now = Now {
            mono: Mono::from_millis(1_000_000),
            // 2026-09-21, a Monday, 14:13:20.
            wall: Wall::from_millis(1_790_000_000_000),
            trust: ClockTrust::Trusted,
        };
        let lasting = Lasting::default();
        let mut hall =
            Hall { controller: start(&permissions, &lasting, now).0, now, lasting, undurable: Vec::new(), permissions };
        hall.boards_up();
        hall
    }

    /// Boards up, doors closed, nothing in the compartments, nothing chosen.
    fn boards_up(&mut self) {
        for board in [RELAYS, GATE] {
            let _ = self.bus(BusReport::BoardUp { board });
            for input in 0..4 {
                let _ = self.input(board, input, board == GATE && input < 2);
            }
        }
        let _ = self.confirm();
    }

    pub fn tell(&mut self, input: Input) -> Vec<Value> {
        let step = self.controller.handle(self.now, input);
        self.absorb(step)
    }

    fn absorb(&mut self, step: Step) -> Vec<Value> {
        let told = events(&step).into_iter().map(|event| serde_json::to_value(event).expect("an event")).collect();
        let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
        let fences = held.into_iter().filter_map(|effect| match effect {
            Effect::Fence(fence) => Some(fence),
            _ => None,
        });
        self.undurable.push((step.commit.writes, fences.collect()));
        told
    }

    /// The disk has all that was written; those who waited for it hear so.
    pub fn sync(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        for (writes, fences) in std::mem::take(&mut self.undurable) {
            writes.iter().for_each(|write| self.lasting.note(write));
            for fence in fences {
                told.extend(self.tell(Input::Durable(fence)));
            }
        }
        told
    }

    /// Killed: what was not on the disk is gone.
    pub fn crash(&mut self) {
        self.undurable.clear();
        self.pass(1000);
        self.controller = start(&self.permissions, &self.lasting, self.now).0;
        self.boards_up();
    }

    pub fn bus(&mut self, report: BusReport) -> Vec<Value> {
        self.tell(Input::Bus(BusIx(0), report))
    }

    pub fn input(&mut self, board: BoardIx, input: u16, energised: bool) -> Vec<Value> {
        self.bus(BusReport::Input { input: InputRef { board, input }, energised })
    }

    /// Something is put into a compartment, or taken out.
    pub fn occupy(&mut self, compartment: u16, occupied: bool) -> Vec<Value> {
        self.input(GATE, 2 + compartment, occupied)
    }

    pub fn confirm(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        for desired in self.controller.desired().to_vec() {
            let (level, order) = (desired.level_at(self.now.mono), desired.order.map(|(ticket, _)| ticket));
            told.extend(self.bus(BusReport::Output { output: desired.output, level, order }));
        }
        told
    }

    pub fn in_cab(&mut self, card: RawCard) -> Vec<Value> {
        self.bus(BusReport::Card { board: RELAYS, block: 0, card })
    }

    pub fn at_cabinet(&mut self, card: RawCard) -> Vec<Value> {
        self.bus(BusReport::Card { board: GATE, block: 0, card })
    }

    /// Key by key at the cabinet; all that they led to.
    pub fn types(&mut self, keys: &str) -> Vec<Value> {
        keys.chars().flat_map(|key| self.at_cabinet(pressed(key))).collect()
    }

    /// The same in the cab.
    pub fn types_in_cab(&mut self, keys: &str) -> Vec<Value> {
        keys.chars().flat_map(|key| self.in_cab(pressed(key))).collect()
    }

    pub fn pass(&mut self, millis: u64) {
        self.now.mono = self.now.mono + Duration::from_millis(millis);
        self.now.wall = self.now.wall + Duration::from_millis(millis);
    }

    pub fn replace(&mut self, records: Vec<Value>) -> Vec<Value> {
        self.permissions = set(records).unwrap_or_else(|faults| panic!("{faults:?}"));
        self.tell(Input::Permissions(self.permissions.clone()))
    }

    fn energised(&self, board: BoardIx, output: u16) -> bool {
        let mine = |desired: &&Desired| desired.output == OutputRef { board, output };
        let desired = self.controller.desired().iter().find(mine).expect("a desired level");
        desired.level_at(self.now.mono) == Level::Energised
    }

    pub fn floors(&self) -> [bool; 3] {
        [0, 1, 2].map(|floor| self.energised(RELAYS, floor))
    }

    pub fn unlocked(&self, compartment: u16) -> bool {
        self.energised(GATE, compartment)
    }

    pub fn status(&self, thing: &Thing) -> Value {
        match self.controller.status(thing) {
            Some(Status::FloorGroup(status)) => serde_json::to_value(status).expect("a status"),
            Some(Status::Locker(status)) => serde_json::to_value(status).expect("a status"),
            other => panic!("{other:?}"),
        }
    }
}

fn start(permissions: &Arc<Permissions>, lasting: &Lasting, now: Now) -> (Controller, Step) {
    let compartment = |at: u16| DoorConfig {
        lock: OutputRef { board: GATE, output: at },
        contact: Some(Contact { input: InputRef { board: GATE, input: at }, closed_value: true }),
        rex: None,
        fire: None,
        ..door(&format!("key-{}", at + 1), GATE, Level::Energised)
    };
    let reader = |name: &str, reader: u16, at, board| ReaderBinding {
        id: id(name),
        reader: ReaderIx(reader),
        at,
        card_block: Some((board, 0)),
        points: None,
    };
    let setup = Setup {
        doors: vec![compartment(0), compartment(1)],
        readers: vec![reader("cab-in", 0, ReaderAt::Cab(0), RELAYS), reader("keys-in", 1, ReaderAt::Cabinet(0), GATE)],
        boards: &[board("relays", RELAYS), board("gate", GATE)],
        topology: Arc::new(topology()),
        credential_key: key(),
        permissions: permissions.clone(),
        cloud: CloudState::default(),
        lasting: lasting.clone(),
        machines: super::super::machines(&field(), &[]),
        spare_cards: Arc::default(),
    };
    Controller::new(setup, now)
}

fn pressed(key: char) -> RawCard {
    RawCard::new(4, key.to_digit(10).map_or(if key == '*' { 10 } else { 11 }, u128::from))
}

/// The only event, but for what doors and floors say of themselves.
pub fn access(told: &[Value]) -> Value {
    let access: Vec<&Value> = told.iter().filter(|event| named(event).starts_with("access.")).collect();
    match access.as_slice() {
        [event] => (*event).clone(),
        _ => panic!("one decision was expected: {told:?}"),
    }
}

pub fn named(event: &Value) -> &str {
    event["type"].as_str().expect("a type")
}

pub fn names(told: &[Value]) -> Vec<&str> {
    told.iter().map(named).collect()
}

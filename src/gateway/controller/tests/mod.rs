//! Two doors, two boards, two readers: a strike with everything on board `relays`, a magnet on board
//! `gate` whose fire input is the strike's.

mod auto_open;
mod beside;
mod boards;
mod cards;
mod commands;
mod elevators;
mod floods;
mod hall;
mod installer;
mod lockers;
mod machines;
mod on_a_bus;
mod people;
mod random;
mod system_events;

use std::time::Duration;

use super::{
    machine::{Deed, Deeds, View},
    *,
};
use crate::{
    domain::{
        card_format::CardFormats,
        door::{Contact, ContactState, DoorConfig, Fire, FireReset, Relock, Rex, StartPolicy, StopPolicy},
        event::{Actor, Event, EventBody},
        field::FieldConfig,
        fieldbus::{
            BoardConfig, CardBlock, CardHandshake, InputAddress, InputPoint, OutputAddress, OutputPoint, Profile,
            RawCard, RegisterTable,
        },
        ids::{BoardIx, InputRef, OutputRef},
        kept::Kept,
        order::{DoorAction, OrderReport},
        outputs::{Level, Ticket},
        permission::SetVersion,
        record::{AccessRule, Credential, Effect as RuleEffect, Person, Record, Token},
        status::{Status, Thing},
        time::{ClockTrust, Wall},
        topology::ReaderAt,
    },
    gateway::step::{Effect, LedgerWrite},
    wire::token::token,
};

pub const NOW: Now =
    Now { mono: Mono::from_millis(1_000_000), wall: Wall::from_millis(1_790_000_000_000), trust: ClockTrust::Trusted };
pub const FRONT: DoorIx = DoorIx(0);
pub const BACK: DoorIx = DoorIx(1);
pub const RELAYS: BoardIx = BoardIx(0);
pub const GATE: BoardIx = BoardIx(1);
pub const CONTACT: u16 = 0;
pub const REX: u16 = 1;
pub const FIRE: u16 = 2;
/// The card that opens the front door; any other is unknown.
pub const GOOD: RawCard = RawCard::new(32, 0xCAFE_F00D);
pub const UNKNOWN: RawCard = RawCard::new(32, 0x1234_5678);

pub fn id(text: &str) -> Id {
    Id::new(text).expect("a valid id")
}

pub fn key() -> CredentialKey {
    CredentialKey::new(&[7; 32])
}

fn board(name: &str, board: BoardIx) -> BoardConfig {
    let points = 0..4u16;
    BoardConfig {
        id: id(name),
        board,
        unit: 1,
        profile: Profile {
            name: id("test"),
            outputs: points
                .clone()
                .map(|n| OutputPoint::plain(id(&format!("relay-{}", n + 1)), OutputAddress::Coil(n)))
                .collect(),
            inputs: points
                .map(|n| InputPoint { name: id(&format!("in-{}", n + 1)), address: InputAddress::DiscreteInput(n) })
                .collect(),
            card_blocks: vec![CardBlock {
                name: id("wiegand-1"),
                table: RegisterTable::Holding,
                data_address: 102,
                data_words: 3,
                bits_address: Some(101),
                bits_fixed: 26,
                handshake: CardHandshake::Counter { address: 100 },
            }],
            read_bits_max: 128,
            read_registers_max: 32,
            gaps_readable: false,
            watchdog: None,
        },
        poll: Duration::from_millis(50),
        lost_after: Duration::from_millis(1_000),
        watchdog: None,
    }
}

fn door(name: &str, board: BoardIx, unlocked_level: Level) -> DoorConfig {
    DoorConfig {
        id: id(name),
        lock: OutputRef { board, output: 0 },
        unlocked_level,
        contact: Some(Contact { input: InputRef { board, input: CONTACT }, closed_value: true }),
        rex: Some(Rex { input: InputRef { board, input: REX }, active_value: true, releases: true }),
        fire: Some(Fire { input: InputRef { board: RELAYS, input: FIRE }, active_value: true, reset: FireReset::Auto }),
        dwell: Duration::from_secs(5),
        dwell_extended: Duration::from_secs(10),
        relock: Relock::OnOpen,
        open_time: Duration::from_secs(30),
        open_time_extended: Duration::from_secs(60),
        pre_alarm: Duration::ZERO,
        at_start: StartPolicy::Restore,
        at_stop: StopPolicy::Lock,
        momentary_only: false,
    }
}

pub fn topology() -> Topology {
    topology_with(ReaderAt::Door(FRONT))
}

fn topology_with(at: ReaderAt) -> Topology {
    let readers = vec![(id("front-in"), at), (id("back-in"), ReaderAt::Door(BACK))];
    Topology { readers, ..Topology::of_doors(&[id("front"), id("back")]) }
}

/// A set under which the good card opens the front door, or (`revoked`) no longer does.
pub fn permissions(generation: u64, revoked: bool) -> Arc<Permissions> {
    let text = CardFormats::built_in().read(GOOD).texts().first().cloned().expect("a text");
    let token: Token = token(&key(), &text);
    let rule = AccessRule {
        effect: if revoked { RuleEffect::Deny } else { RuleEffect::Allow },
        persons: vec![id("p-1")],
        doors: vec![id("front")],
        ..AccessRule::new(RuleEffect::Allow)
    };
    let credential = Credential::card(id("p-1"), token);
    let records = [
        (id("p-1"), Record::Person(Person::default())),
        (id("c-1"), Record::Credential(credential)),
        (id("r-1"), Record::AccessRule(rule)),
    ];
    let version = SetVersion { epoch: 3, generation, digest: [0; 32] };
    let zone = jiff::tz::TimeZone::UTC;
    Arc::new(Permissions::compile(records, &topology(), &zone, version).expect("a valid set"))
}

pub struct Bench {
    pub controller: Controller,
    pub now: Now,
    tickets: u64,
}

impl Bench {
    /// Before the first word from a bus.
    pub fn cold() -> (Bench, Step) {
        Bench::cold_with(super::machines(&FieldConfig::default(), &[]), ReaderAt::Door(FRONT), Lasting::default())
    }

    /// As after an earlier run.
    pub fn lasting(machines: Vec<Box<dyn Machine>>, lasting: Lasting) -> Bench {
        Bench::cold_with(machines, ReaderAt::Door(FRONT), lasting).0
    }

    /// The same, and what the start has to tell.
    pub fn starting(machines: Vec<Box<dyn Machine>>, lasting: Lasting) -> (Bench, Step) {
        Bench::cold_with(machines, ReaderAt::Door(FRONT), lasting)
    }

    /// With these machines, and the reader on the board of the front door there.
    pub fn with(machines: Vec<Box<dyn Machine>>, at: ReaderAt) -> Bench {
        Bench::cold_with(machines, at, Lasting::default()).0
    }

    fn cold_with(machines: Vec<Box<dyn Machine>>, at: ReaderAt, lasting: Lasting) -> (Bench, Step) {
        Bench::start(NOW, machines, at, lasting, topology_with(at), permissions(41, false))
    }

    pub fn start(
        now: Now,
        machines: Vec<Box<dyn Machine>>,
        at: ReaderAt,
        lasting: Lasting,
        topology: Topology,
        permissions: Arc<Permissions>,
    ) -> (Bench, Step) {
        let setup = Setup {
            doors: vec![door("front", RELAYS, Level::Energised), door("back", GATE, Level::Released)],
            readers: vec![
                ReaderBinding {
                    id: id("front-in"),
                    reader: ReaderIx(0),
                    at,
                    card_block: Some((RELAYS, 0)),
                    points: None,
                },
                ReaderBinding {
                    id: id("back-in"),
                    reader: ReaderIx(1),
                    at: ReaderAt::Door(BACK),
                    card_block: None,
                    points: None,
                },
            ],
            boards: &[board("relays", RELAYS), board("gate", GATE)],
            topology: Arc::new(topology),
            credential_key: key(),
            spare_cards: Arc::default(),
            permissions,
            cloud: CloudState::default(),
            lasting,
            machines,
        };
        let (controller, step) = Controller::new(setup, now);
        (Bench { controller, now, tickets: 0 }, step)
    }

    /// Boards up, doors closed and locked.
    pub fn new() -> Bench {
        let (mut bench, _) = Bench::cold();
        for board in [RELAYS, GATE] {
            let _ = bench.bus(BusReport::BoardUp { board });
            let _ = bench.input(board, CONTACT, true);
            let _ = bench.confirm(if board == RELAYS { FRONT } else { BACK });
        }
        bench
    }

    pub fn tell(&mut self, input: Input) -> Step {
        self.controller.handle(self.now, input)
    }

    pub fn bus(&mut self, report: BusReport) -> Step {
        self.tell(Input::Bus(BusIx(0), report))
    }

    pub fn input(&mut self, board: BoardIx, input: u16, energised: bool) -> Step {
        self.bus(BusReport::Input { input: InputRef { board, input }, energised })
    }

    /// The board of a door does what is desired and says so.
    pub fn confirm(&mut self, door: DoorIx) -> Step {
        let desired = self.controller.desired()[door.index()];
        let level = desired.level_at(self.now.mono);
        self.bus(BusReport::Output { output: desired.output, level, order: desired.order.map(|(ticket, _)| ticket) })
    }

    pub fn present(&mut self, card: RawCard) -> Step {
        self.bus(BusReport::Card { board: RELAYS, block: 0, card })
    }

    pub fn order(&mut self, door: DoorIx, action: DoorAction) -> (u64, Step) {
        self.order_within(door, action, 5_000)
    }

    pub fn order_within(&mut self, door: DoorIx, action: DoorAction, deadline_ms: u64) -> (u64, Step) {
        self.tickets += 1;
        let order = Order {
            ticket: Ticket(self.tickets),
            what: Task::Door(door, action),
            deadline: self.now.mono + Duration::from_millis(deadline_ms),
            issued_at: self.now.wall,
            by: Actor::Operator { operator: id("op-1"), jti: id("j") },
        };
        (self.tickets, self.tell(Input::Order(order)))
    }

    pub fn pass(&mut self, millis: u64) {
        self.now.mono = self.now.mono + Duration::from_millis(millis);
        self.now.wall = self.now.wall + Duration::from_millis(millis);
    }

    pub fn unlocked(&self, door: DoorIx) -> bool {
        let level = self.controller.desired()[door.index()].level_at(self.now.mono);
        level == if door == FRONT { Level::Energised } else { Level::Released }
    }
}

pub fn events(step: &Step) -> Vec<&Event> {
    fn event(write: &LedgerWrite) -> Option<&Event> {
        match write {
            LedgerWrite::Event(event) => Some(event),
            _ => None,
        }
    }
    step.commit.writes.iter().filter_map(event).collect()
}

pub fn types(step: &Step) -> Vec<String> {
    let name =
        |event: &Event| serde_json::to_value(event).expect("an event")["type"].as_str().expect("a type").to_owned();
    events(step).into_iter().map(name).collect()
}

/// The only event of this step.
pub fn only(step: &Step) -> serde_json::Value {
    match events(step).as_slice() {
        [event] => serde_json::to_value(event).expect("an event"),
        other => panic!("one event was expected: {other:?}"),
    }
}

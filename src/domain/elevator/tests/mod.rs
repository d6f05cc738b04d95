//! Four floors: three on one board, of which the first is enabled by a released relay, and one on another.
//! The second and third tell when they are chosen.

mod faults;
mod orders;
mod random;
mod rides;

use super::*;
use crate::domain::{
    door::OrderEnd,
    event::Actor,
    ids::BoardIx,
    order::{FloorAction, Order},
    outputs::Desired,
    time::{ClockTrust, Mono, Now},
};

pub const GROUND: usize = 0;
pub const FIRST: usize = 1;
pub const SECOND: usize = 2;
pub const ROOF: usize = 3;
pub const CAB: BoardIx = BoardIx(0);
pub const SHAFT: BoardIx = BoardIx(1);

pub fn id(text: &str) -> Id {
    Id::new(text).expect("a valid id")
}

pub fn set(floors: &[usize]) -> FloorSet {
    floors.iter().copied().collect()
}

pub fn config(fail: FailPolicy) -> FloorGroupConfig {
    let floor = |name: &str, (board, output): (BoardIx, u16), enabled_level, tells: bool| FloorConfig {
        id: id(name),
        output: OutputRef { board, output },
        enabled_level,
        selected: tells.then_some(Selected { input: InputRef { board, input: output }, active_value: true }),
    };
    FloorGroupConfig {
        id: id("lift"),
        floors: vec![
            floor("ground", (CAB, 0), Level::Released, false),
            floor("first", (CAB, 1), Level::Energised, true),
            floor("second", (CAB, 2), Level::Energised, true),
            floor("roof", (SHAFT, 0), Level::Energised, false),
        ],
        enable: Duration::from_secs(10),
        enable_extended: Duration::from_secs(20),
        fail,
    }
}

pub struct Rig {
    pub elevator: Elevator,
    pub now: Now,
    tickets: u64,
    pub durable: Option<DurableFloors>,
}

impl Rig {
    /// Nothing heard of the boards yet.
    pub fn cold(fail: FailPolicy, durable: DurableFloors) -> Rig {
        let (mono, wall) = (Mono::from_millis(1_000_000), Wall::from_millis(1_790_000_000_000));
        let now = Now { mono, wall, trust: ClockTrust::Trusted };
        Rig { elevator: Elevator::new(config(fail), durable, now), now, tickets: 0, durable: None }
    }

    pub fn with(fail: FailPolicy) -> Rig {
        let mut rig = Rig::cold(fail, DurableFloors::default());
        let _ = rig.tell(ElevatorInput::Board { board: CAB, up: true });
        let _ = rig.tell(ElevatorInput::Board { board: SHAFT, up: true });
        let _ = rig.confirm();
        rig
    }

    pub fn new() -> Rig {
        Rig::with(FailPolicy::Secure)
    }

    pub fn tell(&mut self, input: ElevatorInput) -> Effects {
        let effects = self.elevator.handle(self.now, input);
        if let Some(durable) = &effects.durable {
            self.durable = Some(durable.clone());
        }
        effects
    }

    pub fn ride(&mut self, person: &str, floors: &[usize]) -> Effects {
        let (person, credential) = (id(person), id("card"));
        self.tell(ElevatorInput::Ride(Ride {
            floors: set(floors),
            actor: Actor::Person { person, credential },
            extended: false,
            enable_s: None,
        }))
    }

    pub fn order(&mut self, action: FloorAction, floors: &[usize]) -> (Ticket, Effects) {
        self.tickets += 1;
        let order = Order {
            ticket: Ticket(self.tickets),
            what: action,
            deadline: self.now.mono + Duration::from_secs(5),
            issued_at: self.now.wall,
            by: Actor::Operator { operator: id("op-1"), jti: id("j") },
        };
        let effects = self.tell(ElevatorInput::Order { order, floors: set(floors) });
        (Ticket(self.tickets), effects)
    }

    pub fn lock_down(&mut self, on: bool) -> (Ticket, Effects) {
        let issued_at = self.now.wall;
        self.lock_down_issued(on, issued_at)
    }

    pub fn lock_down_issued(&mut self, on: bool, issued_at: Wall) -> (Ticket, Effects) {
        self.tickets += 1;
        let (ticket, deadline) = (Ticket(self.tickets), self.now.mono + Duration::from_secs(5));
        let by = Actor::Operator { operator: id("op-1"), jti: id("j") };
        (ticket, self.tell(ElevatorInput::Lockdown(Order { ticket, what: on, deadline, issued_at, by })))
    }

    pub fn desired(&self) -> Vec<Desired> {
        let mut desired = Vec::new();
        self.elevator.desired(self.now.mono, &mut desired);
        desired
    }

    /// Both boards do what is desired and say so.
    pub fn confirm(&mut self) -> Effects {
        let mut all = Effects::default();
        for floor in 0..4 {
            if let Some(desired) = self.desired().get(floor).copied() {
                let level = desired.level_at(self.now.mono);
                let order = desired.order.map(|(ticket, _)| ticket);
                let effects = self.tell(ElevatorInput::Relay { floor, level, order });
                all.events.extend(effects.events);
                all.reports.extend(effects.reports);
                all.held.extend(effects.held);
            }
        }
        all
    }

    pub fn board(&mut self, board: BoardIx, up: bool) -> Effects {
        self.tell(ElevatorInput::Board { board, up })
    }

    pub fn pass(&mut self, millis: u64) {
        self.now.mono = self.now.mono + Duration::from_millis(millis);
        self.now.wall = self.now.wall + Duration::from_millis(millis);
    }

    pub fn public(&mut self, holds: &[usize], next_s: Option<u64>) -> Effects {
        let until = next_s.map(|s| self.now.wall + Duration::from_secs(s));
        let next = set(holds).iter().filter_map(|floor| Some((floor, until?))).collect();
        self.tell(ElevatorInput::Public(Public { holds: set(holds), governed: set(holds), next }))
    }

    /// The floors whose relays are told to be enabled at this instant.
    pub fn enabled(&self) -> FloorSet {
        let (config, now) = (self.elevator.config().clone(), self.now.mono);
        let levels = config.floors.iter().map(|floor| floor.enabled_level);
        let enabled = self.desired().into_iter().zip(levels).enumerate();
        enabled.filter(|(_, (desired, level))| desired.level_at(now) == *level).map(|(floor, _)| floor).collect()
    }
}

pub fn types(effects: &Effects) -> Vec<String> {
    let name =
        |event: &EventBody| serde_json::to_value(event).expect("an event")["type"].as_str().expect("a type").to_owned();
    effects.events.iter().map(name).collect()
}

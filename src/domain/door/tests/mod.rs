//! A door on a bench: inputs by hand, time by jumps from deadline to deadline.

mod alarms;
mod exits;
mod holds;
mod modes;
mod operators;
mod random;
mod relocks;
mod starts;

use std::time::Duration;

use super::*;
use crate::domain::{
    event::{Actor, EventBody},
    ids::BoardIx,
    order::{DoorAction, Order, Progress, Switch},
    outputs::Ticket,
    record::ForceState,
    time::{ClockTrust, Mono, Now},
};

pub const DWELL: u64 = 5_000;
pub const DWELL_EXTENDED: u64 = 10_000;
pub const OPEN_TIME: u64 = 30_000;
pub const OPEN_TIME_EXTENDED: u64 = 60_000;
pub const PRE_ALARM: u64 = 5_000;

pub fn id(text: &str) -> Id {
    Id::new(text).expect("a valid id")
}

fn person(person: &str, credential: &str) -> Actor {
    Actor::Person { person: id(person), credential: id(credential) }
}

pub fn operator(jti: &str) -> Actor {
    Actor::Operator { operator: id("op-1"), jti: id(jti) }
}

/// A fail-secure strike with contact, exit button and fire input.
pub fn config() -> DoorConfig {
    let board = BoardIx(0);
    DoorConfig {
        id: id("front"),
        lock: OutputRef { board, output: 0 },
        unlocked_level: Level::Energised,
        contact: Some(Contact { input: InputRef { board, input: 0 }, closed_value: true }),
        rex: Some(Rex { input: InputRef { board, input: 1 }, active_value: true, releases: true }),
        fire: Some(Fire { input: InputRef { board, input: 2 }, active_value: true, reset: FireReset::Auto }),
        dwell: Duration::from_millis(DWELL),
        dwell_extended: Duration::from_millis(DWELL_EXTENDED),
        relock: Relock::AfterDwell,
        open_time: Duration::from_millis(OPEN_TIME),
        open_time_extended: Duration::from_millis(OPEN_TIME_EXTENDED),
        pre_alarm: Duration::from_millis(PRE_ALARM),
        at_start: StartPolicy::Restore,
        at_stop: StopPolicy::Lock,
        momentary_only: false,
    }
}

pub fn grant() -> DoorInput {
    DoorInput::Grant(Grant { actor: person("p-1", "c-1"), extended: false })
}

pub fn extended_grant() -> DoorInput {
    DoorInput::Grant(Grant { actor: person("p-2", "c-2"), extended: true })
}

/// The door, the instant, and what came out so far.
pub struct Bench {
    pub door: Door,
    pub now: Now,
    pub events: Vec<EventBody>,
    pub reports: Vec<(u64, Progress)>,
    pub held: Vec<(u64, Progress)>,
    pub durable: Option<DurableDoor>,
    pub closed: Option<Closed>,
    tickets: u64,
}

impl Bench {
    /// A door that has just started: nothing is known yet.
    pub fn cold(config: DoorConfig, restored: DurableDoor) -> Bench {
        let now = Now {
            mono: Mono::from_millis(1_000_000),
            wall: Wall::from_millis(1_790_000_000_000),
            trust: ClockTrust::Trusted,
        };
        let (door, effects) = Door::new(config, restored, now);
        let mut bench = Bench {
            door,
            now,
            events: Vec::new(),
            reports: Vec::new(),
            held: Vec::new(),
            durable: None,
            closed: None,
            tickets: 0,
        };
        bench.keep(effects);
        bench
    }

    /// A closed, locked door whose boards answer.
    pub fn with(config: DoorConfig) -> Bench {
        let mut bench = Bench::cold(config, DurableDoor::default());
        bench.tell(DoorInput::LockBoard(true));
        bench.tell(DoorInput::Contact(ContactState::Closed));
        bench.confirm();
        bench
    }

    pub fn new() -> Bench {
        Bench::with(config())
    }

    pub fn tell(&mut self, input: DoorInput) -> &mut Bench {
        let effects = self.door.handle(self.now, input);
        self.keep(effects);
        self
    }

    fn keep(&mut self, effects: Effects) {
        self.events.extend(effects.events);
        self.reports.extend(effects.reports.into_iter().map(|(ticket, progress)| (ticket.0, progress)));
        self.held.extend(effects.held.into_iter().map(|(ticket, progress)| (ticket.0, progress)));
        if effects.durable.is_some() {
            self.durable = effects.durable;
        }
        if effects.closed.is_some() {
            self.closed = effects.closed;
        }
    }

    pub fn set(&mut self, change: Override) -> &mut Bench {
        self.tell(DoorInput::Override(change, Actor::Node))
    }

    /// Orders what lasts, and has the board confirm it.
    pub fn hold(&mut self, action: DoorAction) -> &mut Bench {
        let ticket = self.order(action);
        assert_eq!(self.refusal_of(ticket), None, "{action:?}: {:?}", self.reports_of(ticket));
        if self.desired().order.is_some() {
            self.confirm();
        }
        self
    }

    /// What the next run would begin with.
    pub fn restart(&self, config: DoorConfig) -> Bench {
        let mut next = Bench::cold(config, self.durable.clone().unwrap_or_default());
        next.now = self.now;
        next
    }

    /// The same door in the next run; orders that were under way are nobody's any more.
    pub fn crash(&mut self) -> &mut Bench {
        let restored = self.durable.clone().unwrap_or_default();
        let (door, effects) = Door::new(self.door.config().clone(), restored, self.now);
        self.door = door;
        self.events.clear();
        self.keep(effects);
        self.events.clear();
        self
    }

    /// Lets time pass, waking the door whenever it asks for it.
    pub fn wait(&mut self, millis: u64) -> &mut Bench {
        let target = self.now.mono + Duration::from_millis(millis);
        while let Some(at) = self.door.next_deadline().filter(|at| *at <= target) {
            self.jump(at);
            self.tell(DoorInput::Timeout);
        }
        self.jump(target);
        self
    }

    fn jump(&mut self, to: Mono) {
        self.now.wall = self.now.wall + to.since(self.now.mono);
        self.now.mono = self.now.mono.max(to);
    }

    pub fn opens(&mut self) -> &mut Bench {
        self.tell(DoorInput::Contact(ContactState::Open))
    }

    pub fn closes(&mut self) -> &mut Bench {
        self.tell(DoorInput::Contact(ContactState::Closed))
    }

    /// The board does what is desired and says so.
    pub fn confirm(&mut self) -> &mut Bench {
        let desired = self.desired();
        let level = desired.level_at(self.now.mono);
        self.tell(DoorInput::Lock { level, order: desired.order.map(|(ticket, _)| ticket) })
    }

    pub fn desired(&self) -> crate::domain::outputs::Desired {
        self.door.desired(self.now.mono)
    }

    /// Whether the relay is told to unlock now.
    pub fn unlocked(&self) -> bool {
        self.desired().level_at(self.now.mono) == self.door.config().unlocked_level
    }

    pub fn mode(&self) -> Mode {
        self.door.status().mode
    }

    pub fn alarm(&self) -> Alarm {
        self.door.status().alarm
    }

    /// An order issued now, with five seconds until its deadline; returns its ticket.
    pub fn order(&mut self, action: DoorAction) -> u64 {
        self.order_issued(action, self.now.wall, 5_000)
    }

    pub fn order_issued(&mut self, action: DoorAction, issued_at: Wall, deadline_ms: u64) -> u64 {
        self.tickets += 1;
        let order = Order {
            ticket: Ticket(self.tickets),
            what: action,
            deadline: self.now.mono + Duration::from_millis(deadline_ms),
            issued_at,
            by: operator(&format!("j-{}", self.tickets)),
        };
        self.tell(DoorInput::Order(order));
        self.tickets
    }

    pub fn open(&mut self) -> u64 {
        self.order(DoorAction::Open)
    }

    pub fn close(&mut self) -> u64 {
        self.order(DoorAction::Close)
    }

    pub fn open_and_close(&mut self, dwell_ms: u64) -> u64 {
        self.order(DoorAction::OpenAndClose { dwell: Some(Duration::from_millis(dwell_ms)) })
    }

    /// What was said of an order without waiting for the disk.
    pub fn reports_of(&self, ticket: u64) -> Vec<&Progress> {
        self.reports.iter().filter(|(of, _)| *of == ticket).map(|(_, progress)| progress).collect()
    }

    pub fn held_of(&self, ticket: u64) -> Vec<&Progress> {
        self.held.iter().filter(|(of, _)| *of == ticket).map(|(_, progress)| progress).collect()
    }

    pub fn refusal_of(&self, ticket: u64) -> Option<crate::domain::event::Refusal> {
        match self.reports_of(ticket).as_slice() {
            [Progress::Refused(refusal, _)] => Some(*refusal),
            _ => None,
        }
    }

    /// The names of the events since the last call, mode changes with their ends.
    pub fn told(&mut self) -> Vec<String> {
        let name = |event: EventBody| match event {
            EventBody::DoorModeChanged { from, to, .. } => format!("{from:?}->{to:?}"),
            other => serde_json::to_value(&other).expect("an event")["type"].as_str().expect("a type").to_owned(),
        };
        self.events.drain(..).map(name).collect()
    }
}

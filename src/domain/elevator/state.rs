//! The state machine of one elevator. Owns everything that is true of its floors at an instant and how each
//! input changes it; must never tell a relay anything (that follows from the state, see `relay`), read a clock,
//! or judge a person. Invariant: no floor is enabled without a cause that the table in the module above names,
//! and floors that became enabled or disabled have exactly one event.

use super::{
    DurableFloors, Effects, FailPolicy, FloorCause, FloorConfig, FloorGroupConfig, FloorGroupStatus, FloorSet,
    FloorStatus, Public, RelayState,
    orders::{Ended, Motion, Orders, Watch},
    relay::Relay,
};
use crate::domain::{
    door::{OPEN_GRACE, OrderEnd},
    event::{Actor, DenialReason, EventBody},
    ids::{BoardIx, Id},
    order::{FloorAction, Order, Progress},
    outputs::{Level, Ticket},
    status::Link,
    time::{ClockTrust, Mono, Now, Wall},
};

/// People whose reads hold one floor at a time; of more, the earliest to end gives way.
const READS_MAX: usize = 16;

/// What the world tells an elevator.
#[derive(Clone, Debug)]
pub enum ElevatorInput {
    /// A read that the rules allow.
    Ride(Ride),
    Public(Public),
    /// `lockdown.set` or `lockdown.clear`.
    Lockdown(Order<bool>),
    Board {
        board: BoardIx,
        up: bool,
    },
    /// The relay was read back, on the first confirmation of an order with its ticket.
    Relay {
        floor: usize,
        level: Level,
        order: Option<Ticket>,
    },
    /// The relay does not follow what was written, again and again: it was read back at this level.
    Mismatch {
        floor: usize,
        level: Level,
    },
    /// The selection input of a floor; a first value is no news.
    Selected {
        floor: usize,
        active: bool,
    },
    Order {
        order: Order<FloorAction>,
        floors: FloorSet,
    },
    OrderEnded {
        floor: usize,
        ticket: Ticket,
        end: OrderEnd,
    },
    Timeout,
    Stop,
}

/// Somebody who may go to these floors.
#[derive(Clone, Debug, PartialEq)]
pub struct Ride {
    pub floors: FloorSet,
    /// Whoever it was, by a credential or an emergency card.
    pub actor: Actor,
    pub extended: bool,
    /// As the record says; absent: as configured.
    pub enable_s: Option<u32>,
}

#[derive(Debug)]
pub struct Elevator {
    pub(super) config: FloorGroupConfig,
    pub(super) floors: Vec<Floor>,
    pub(super) orders: Orders,
    pub(super) stopping: bool,
    pub(super) durable: DurableFloors,
    pub(super) public: Public,
    pub(super) since: Wall,
}

#[derive(Debug)]
pub(super) struct Floor {
    pub relay: Relay,
    /// Kept a little longer than they hold, for a button that was pressed at the last moment.
    reads: Vec<Read>,
    pub(super) momentary: Option<Mono>,
    /// `None`: not known.
    pub(super) selected: Option<bool>,
    /// As told in the last event.
    enabled: bool,
    /// Until when a selection still counts as by right although the floor is disabled.
    pub(super) grace_until: Mono,
    /// Enabled because its board is lost.
    pub(super) freed: bool,
}

#[derive(Debug)]
pub(super) struct Read {
    pub until: Mono,
    pub actor: Actor,
}

impl Elevator {
    /// As it was left by an operator; whatever else held before a start is over.
    pub fn new(config: FloorGroupConfig, mut durable: DurableFloors, now: Now) -> Elevator {
        let known = |floor: &Id| config.position(floor).is_some();
        durable.manual.retain(|floor, _| known(floor));
        durable.level_issued_at_ms.retain(|floor, _| known(floor));
        let floor = |_| Floor {
            relay: Relay::unknown(),
            reads: Vec::new(),
            momentary: None,
            selected: None,
            enabled: false,
            grace_until: Mono::ZERO,
            freed: false,
        };
        let floors = config.floors.iter().map(floor).collect();
        let (orders, public) = (Orders::default(), Public::default());
        let mut elevator = Elevator { config, floors, orders, stopping: false, durable, public, since: now.wall };
        for floor in 0..elevator.floors.len() {
            let enabled = elevator.enables(floor, now.mono);
            if let Some(floor) = elevator.floors.get_mut(floor) {
                floor.enabled = enabled;
            }
        }
        elevator
    }

    pub fn config(&self) -> &FloorGroupConfig {
        &self.config
    }

    pub fn handle(&mut self, now: Now, input: ElevatorInput) -> Effects {
        let mut out = Effects::default();
        let locked_down = self.locked_down();
        self.advance(now, &mut out);
        let actor = match input {
            ElevatorInput::Ride(ride) => self.ride(now.mono, ride),
            ElevatorInput::Public(public) => {
                self.public = public;
                Actor::PublicFloors
            }
            ElevatorInput::Lockdown(order) => self.lock_down(now, &order, &mut out),
            ElevatorInput::Board { board, up } => self.board(board, up, &mut out),
            ElevatorInput::Relay { floor, level, order } => self.read_back(now.mono, (floor, level), order, &mut out),
            ElevatorInput::Mismatch { floor, level } => self.mismatched(now.mono, floor, level, &mut out),
            ElevatorInput::Selected { floor, active } => self.select(now.mono, floor, active, &mut out),
            ElevatorInput::Order { order, floors } => self.order(now, &order, floors, &mut out),
            ElevatorInput::OrderEnded { floor, ticket, end } => {
                self.orders.fail(ticket, FloorSet::one(floor), &end);
                Actor::FloorGroup
            }
            ElevatorInput::Timeout => Actor::FloorGroup,
            ElevatorInput::Stop => {
                self.stopping = true;
                self.floors.iter_mut().for_each(Floor::end_what_ends);
                self.orders.supersede(|_| true);
                for ticket in self.orders.missed(Mono::MAX) {
                    out.reports.push((ticket, Progress::NotObserved));
                }
                Actor::Node
            }
        };
        self.settle(now, &actor, &mut out);
        if self.locked_down() != locked_down {
            self.since = now.wall;
        }
        out
    }

    pub fn next_deadline(&self, now: Now) -> Option<Mono> {
        let floors = self.floors.iter().flat_map(|floor| {
            let reads = floor.reads.iter().flat_map(|read| [read.until, read.until + OPEN_GRACE]);
            reads.chain(floor.momentary).filter(|end| *end > now.mono)
        });
        let boundaries = self.durable.manual.values().filter_map(|manual| manual.until);
        let boundaries = boundaries.filter(|_| now.trust == ClockTrust::Trusted).map(|until| now.mono_at(until));
        floors.chain(boundaries).chain(self.orders.next_deadline()).min()
    }

    /// Why every read is refused here, whatever the rules say.
    pub fn denies(&self) -> Option<DenialReason> {
        self.locked_down().then_some(DenialReason::LockedDown)
    }

    pub fn status(&self, now: Mono) -> FloorGroupStatus {
        let is = |up: Option<bool>| move |floor: &Floor| floor.relay.up == up;
        let link = if self.floors.iter().any(is(Some(false))) {
            Link::Lost
        } else if self.floors.iter().all(is(Some(true))) {
            Link::Up
        } else {
            Link::Unknown
        };
        let floor = |(floor, config): (usize, &FloorConfig)| FloorStatus {
            floor: config.id.clone(),
            enabled: self.enables(floor, now),
            cause: self.cause(floor, now),
            relay: self.floors.get(floor).map_or(RelayState::Unknown, |floor| floor.relay.state),
        };
        FloorGroupStatus {
            floor_group: self.config.id.clone(),
            link,
            lockdown: self.locked_down(),
            floors: self.config.floors.iter().enumerate().map(floor).collect(),
            since: self.since,
        }
    }

    // ---- what follows from the state ----

    pub(super) fn enables(&self, floor: usize, at: Mono) -> bool {
        if self.stopping && self.config.fail != FailPolicy::Keep {
            return self.config.fail == FailPolicy::Free;
        }
        self.cause(floor, at).is_some()
    }

    /// Why the floor is enabled: the highest cause.
    fn cause(&self, floor: usize, at: Mono) -> Option<FloorCause> {
        if self.floors.get(floor)?.freed {
            return Some(FloorCause::Fail);
        }
        if self.locked_down() { None } else { self.cause_beneath(floor, at) }
    }

    /// The same, were it not for lockdown and lost boards.
    fn cause_beneath(&self, floor: usize, at: Mono) -> Option<FloorCause> {
        let (state, config) = (self.floors.get(floor)?, self.config.floors.get(floor)?);
        let manual = self.durable.manual.get(&config.id).map(|manual| manual.open);
        if manual == Some(true) || self.orders.opens_issued_at(floor).is_some() {
            return Some(FloorCause::Open);
        }
        if manual.is_none() && self.public.holds.contains(floor) {
            return Some(FloorCause::Public);
        }
        let holds = |until: Option<Mono>| until.is_some_and(|until| at < until);
        if holds(state.momentary.max(self.orders.momentary_until(floor))) {
            return Some(FloorCause::Momentary);
        }
        holds(state.read_until()).then_some(FloorCause::Read)
    }

    /// When whatever enables the floor for a while has ended.
    pub(super) fn ends(&self, floor: usize) -> Option<Mono> {
        let state = self.floors.get(floor)?;
        state.momentary.max(self.orders.momentary_until(floor)).max(state.read_until())
    }

    fn enabled(&self, at: Mono) -> FloorSet {
        (0..self.floors.len()).filter(|floor| self.enables(*floor, at)).collect()
    }

    /// What the end of the lockdown enables.
    pub(super) fn withheld(&self, at: Mono) -> FloorSet {
        let withheld = |floor: &usize| self.durable.lockdown && self.cause_beneath(*floor, at).is_some();
        (0..self.floors.len()).filter(withheld).collect()
    }

    /// An end of it that waits for its confirmation counts already.
    pub(super) fn locked_down(&self) -> bool {
        self.durable.lockdown && self.orders.releases_issued_at().is_none()
    }

    // ---- time ----

    /// Ends what is over at `now`.
    fn advance(&mut self, now: Now, out: &mut Effects) {
        for floor in &mut self.floors {
            floor.reads.retain(|read| now.mono < read.until + OPEN_GRACE);
            floor.momentary.take_if(|until| *until <= now.mono);
        }
        if now.trust == ClockTrust::Trusted {
            let before = self.durable.manual.len();
            self.durable.manual.retain(|_, manual| manual.until.is_none_or(|until| now.wall < until));
            if self.durable.manual.len() != before {
                out.durable = Some(self.durable.clone());
            }
        }
        self.orders.advance(now.mono);
        for ticket in self.orders.missed(now.mono) {
            out.reports.push((ticket, Progress::NotObserved));
        }
        self.settle(now, &Actor::FloorGroup, out);
    }

    /// Draws the consequences of the causes that hold now.
    fn settle(&mut self, now: Now, actor: &Actor, out: &mut Effects) {
        if self.locked_down() {
            self.orders.supersede(Motion::enables);
        }
        self.orders.narrow_releases(self.withheld(now.mono));
        self.end_orders(now.mono, out);
        let enabled = self.enabled(now.mono);
        let (mut on, mut off) = (FloorSet::NONE, FloorSet::NONE);
        for (at, floor) in self.floors.iter_mut().enumerate() {
            let wanted = enabled.contains(at);
            if floor.relay.settle(wanted) {
                let floor = self.config.names(FloorSet::one(at)).pop();
                let floor_group = self.config.id.clone();
                out.events.extend(floor.map(|floor| EventBody::FloorRelayRestored { floor_group, floor }));
            }
            if std::mem::replace(&mut floor.enabled, wanted) != wanted {
                let changed = if wanted { &mut on } else { &mut off };
                *changed = changed.or(FloorSet::one(at));
                floor.grace_until = now.mono + OPEN_GRACE;
            }
        }
        let [on, off] = [on, off].map(|floors| self.config.names(floors));
        if !on.is_empty() || !off.is_empty() {
            self.since = now.wall;
        }
        if !on.is_empty() {
            let (floor_group, actor) = (self.config.id.clone(), actor.clone());
            out.events.push(EventBody::FloorEnabled { floor_group, floors: on, actor });
        }
        if !off.is_empty() {
            let (floor_group, actor) = (self.config.id.clone(), actor.clone());
            out.events.push(EventBody::FloorDisabled { floor_group, floors: off, actor });
        }
        self.orders.tell(self.config.all(), enabled);
    }

    fn end_orders(&mut self, now: Mono, out: &mut Effects) {
        let names = self.config.names(self.config.all());
        while let Some(ended) = self.orders.take_ended(&names) {
            let Ended { ticket, motion, issued_at, floors, chosen, progress } = ended;
            let actuated = matches!(progress, Progress::Actuated { .. });
            if motion == Motion::Release && actuated {
                self.set_lockdown(false, issued_at, out);
                // Another end of the same lockdown.
                self.orders.narrow_releases(FloorSet::NONE);
            }
            let Motion::Momentary { dwell } = motion else {
                // Its word is that it lasts.
                out.held.push((ticket, progress));
                continue;
            };
            let tells = |floor: usize| self.config.floors.get(floor).is_some_and(|floor| floor.selected.is_some());
            if !actuated || !floors.iter().any(tells) {
                out.reports.push((ticket, progress));
                continue;
            }
            out.reports.push((ticket, Progress::Actuated { observation_follows: true }));
            if chosen {
                out.reports.push((ticket, Progress::Observed));
            } else {
                self.orders.watch(Watch { ticket, floors, until: now + dwell + OPEN_GRACE });
            }
        }
    }
}

impl Floor {
    pub(super) fn end_what_ends(&mut self) {
        self.reads.clear();
        self.momentary = None;
    }

    fn read_until(&self) -> Option<Mono> {
        self.reads.iter().map(|read| read.until).max()
    }

    /// A second read of the same person never shortens the first.
    pub(super) fn read(&mut self, read: Read) {
        let same = self.reads.iter_mut().find(|other| same_rider(&other.actor, &read.actor));
        if let Some(other) = same {
            *other = Read { until: other.until.max(read.until), ..read };
            return;
        }
        if self.reads.len() >= READS_MAX {
            let first = (0..self.reads.len()).min_by_key(|at| self.reads.get(*at).map(|read| read.until));
            first.map(|at| self.reads.swap_remove(at));
        }
        self.reads.push(read);
    }

    /// Whose read holds the floor, if it is one person's.
    pub(super) fn rider(&self) -> Option<(Id, Id)> {
        match self.reads.as_slice() {
            [Read { actor: Actor::Person { person, credential }, .. }] => Some((person.clone(), credential.clone())),
            _ => None,
        }
    }
}

/// One person, whatever they presented.
fn same_rider(one: &Actor, other: &Actor) -> bool {
    match (one, other) {
        (Actor::Person { person: one, .. }, Actor::Person { person: other, .. }) => one == other,
        _ => one == other,
    }
}

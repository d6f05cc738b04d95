//! What the world tells an elevator: reads, boards, relays, buttons, orders. Owns what each does to the state;
//! must never decide whether a floor is enabled (that follows, see `state`). Invariant: what enables takes hold
//! only while its order waits or after the board confirmed it; what disables takes hold at once and stays.

use std::time::Duration;

use super::{
    Effects, Elevator, FailPolicy, FloorSet, Manual, Ride,
    orders::{Motion, ORDERS_MAX, Pending},
    state::Read,
};
use crate::domain::{
    door::OrderEnd,
    event::{Actor, EventBody, Refusal},
    ids::BoardIx,
    order::{FloorAction, Order, Progress},
    outputs::{Level, Ticket},
    time::{Mono, Now, Wall},
};

impl Elevator {
    pub(super) fn ride(&mut self, now: Mono, ride: Ride) -> Actor {
        let Ride { floors, actor, extended, enable_s } = ride;
        if !self.stopping && !self.locked_down() {
            let own = enable_s.map(|s| Duration::from_secs(s.into()));
            let enable = own.unwrap_or(self.config.enable);
            let until = now + if extended { self.config.enable_extended.max(enable) } else { enable };
            for floor in floors.iter() {
                let Some(floor) = self.floors.get_mut(floor) else { continue };
                floor.read(Read { until, actor: actor.clone() });
            }
        }
        actor
    }

    /// With its board gone a floor is as the policy says; with `secure` and `free` what enabled it for a while is
    /// over, for nobody knows what the relay does meanwhile.
    pub(super) fn board(&mut self, board: BoardIx, up: bool, out: &mut Effects) -> Actor {
        let on_it = self.config.floors.iter().enumerate().filter(|(_, floor)| floor.output.board == board);
        let floors: FloorSet = on_it.map(|(floor, _)| floor).collect();
        let mut was_lost = false;
        for (_, floor) in self.floors.iter_mut().enumerate().filter(|(at, _)| floors.contains(*at)) {
            was_lost |= floor.relay.up == Some(false);
            floor.relay.board(up);
            floor.freed = !up && self.config.fail == FailPolicy::Free;
            if !up && self.config.fail != FailPolicy::Keep {
                floor.end_what_ends();
            }
        }
        if !up {
            for (floor, config) in self.floors.iter_mut().zip(&self.config.floors) {
                if config.selected.is_some_and(|selected| selected.input.board == board) {
                    floor.selected = None;
                }
            }
        }
        let (floor_group, floors) = (self.config.id.clone(), self.config.names(floors));
        if !up && !was_lost && !floors.is_empty() {
            out.events.push(EventBody::FloorsLost { floor_group, floors, fail: self.config.fail });
        } else if up && was_lost {
            out.events.push(EventBody::FloorsRestored { floor_group, floors });
        }
        Actor::FloorGroup
    }

    pub(super) fn read_back(
        &mut self,
        now: Mono,
        (floor, level): (usize, Level),
        order: Option<Ticket>,
        out: &mut Effects,
    ) -> Actor {
        let enabled = self.level_enables(floor, level);
        let (Some(state), Some(config)) = (self.floors.get_mut(floor), self.config.floors.get(floor)) else {
            return Actor::FloorGroup;
        };
        state.relay.up = Some(true);
        state.relay.read_back(enabled);
        let Some(pending) = order.and_then(|ticket| self.orders.confirmed(ticket, floor, enabled)) else {
            return Actor::FloorGroup;
        };
        match pending.motion {
            Motion::Close | Motion::Secure | Motion::Release => {}
            // Durable only now, so that one whose deadline passed can never be restored after a crash.
            Motion::Open => {
                let (until, by) = (self.public.next.get(&floor).copied(), pending.by.clone());
                let manual = Manual { open: true, until, by };
                self.durable.manual.insert(config.id.clone(), manual);
                self.durable.level_issued(&config.id, pending.issued_at);
                out.durable = Some(self.durable.clone());
            }
            // Never later than what the bus was told while it waited.
            Motion::Momentary { dwell } => {
                state.momentary = state.momentary.max(Some((now + dwell).min(pending.deadline + dwell)));
            }
        }
        pending.by.clone()
    }

    pub(super) fn mismatched(&mut self, now: Mono, floor: usize, level: Level, out: &mut Effects) -> Actor {
        let (wanted, enabled) = (self.enables(floor, now), self.level_enables(floor, level));
        let (Some(state), Some(config)) = (self.floors.get_mut(floor), self.config.floors.get(floor)) else {
            return Actor::FloorGroup;
        };
        state.relay.read_back(enabled);
        if state.relay.mismatch(wanted) {
            let (floor_group, floor) = (self.config.id.clone(), config.id.clone());
            out.events.push(EventBody::FloorRelayMismatched { floor_group, floor });
        }
        Actor::FloorGroup
    }

    pub(super) fn select(&mut self, now: Mono, floor: usize, active: bool, out: &mut Effects) -> Actor {
        let enabled = self.enables(floor, now);
        let (Some(state), Some(config)) = (self.floors.get_mut(floor), self.config.floors.get(floor)) else {
            return Actor::FloorGroup;
        };
        if state.selected.replace(active) == Some(false) && active {
            let (floor_group, floor_id) = (self.config.id.clone(), config.id.clone());
            out.events.push(if enabled || now < state.grace_until {
                let (person, credential) = state.rider().unzip();
                EventBody::FloorSelected { floor_group, floor: floor_id, person, credential }
            } else {
                EventBody::FloorSelectedWithoutRight { floor_group, floor: floor_id }
            });
            for ticket in self.orders.chosen(floor) {
                out.reports.push((ticket, Progress::Observed));
            }
        }
        Actor::FloorGroup
    }

    // ---- orders ----

    pub(super) fn order(&mut self, now: Now, order: &Order<FloorAction>, floors: FloorSet, out: &mut Effects) -> Actor {
        let motion = match order.what {
            FloorAction::Open => Motion::Open,
            FloorAction::Close => Motion::Close,
            FloorAction::OpenAndClose { dwell } => Motion::Momentary { dwell: dwell.unwrap_or(self.config.enable) },
        };
        match self.judge(now.mono, order, motion, floors) {
            Err(progress) => out.reports.push((order.ticket, progress)),
            Ok(()) => self.accept(order, motion, floors, out),
        }
        order.by.clone()
    }

    fn judge(&self, now: Mono, order: &Order<FloorAction>, motion: Motion, floors: FloorSet) -> Result<(), Progress> {
        if now > order.deadline {
            return Err(Progress::Expired);
        }
        let refuse = |refusal, detail: &str| Err(Progress::Refused(refusal, detail.to_owned()));
        if self.stopping {
            return refuse(Refusal::Overloaded, "the node is stopping");
        }
        if self.orders.load() >= ORDERS_MAX {
            return refuse(Refusal::Overloaded, "too many orders are under way at this floor group");
        }
        let newer = |floor: usize| self.level_issued_at(floor) > Some(order.issued_at);
        if !order.ticket.is_own() && floors.iter().any(newer) {
            return refuse(Refusal::Conflict, "a command issued later has been applied to one of these floors");
        }
        if motion.enables() && self.locked_down() {
            return refuse(Refusal::Conflict, "overruled by lockdown");
        }
        if motion.enables() && floors.iter().any(|floor| self.is_down(floor)) {
            return refuse(Refusal::BusDown, "a board of these floors does not answer");
        }
        Ok(())
    }

    fn level_issued_at(&self, floor: usize) -> Option<Wall> {
        let config = self.config.floors.get(floor)?;
        let applied = self.durable.level_issued_at_ms.get(&config.id).copied().map(Wall::from_millis);
        applied.max(self.orders.opens_issued_at(floor)).max(self.lockdown_issued_at())
    }

    fn lockdown_issued_at(&self) -> Option<Wall> {
        Some(Wall::from_millis(self.durable.lockdown_issued_at_ms)).max(self.orders.releases_issued_at())
    }

    /// Set, it is in force from here on, and carried out once every floor was read back disabled. Cleared, what
    /// then holds is in force while the order waits, and has ended the lockdown once every floor that it enables was
    /// read back so.
    pub(super) fn lock_down(&mut self, now: Now, order: &Order<bool>, out: &mut Effects) -> Actor {
        let opens = if order.what { FloorSet::NONE } else { self.withheld(now.mono) };
        if let Err(progress) = self.judge_lockdown(now.mono, order, opens) {
            out.reports.push((order.ticket, progress));
            return order.by.clone();
        }
        self.orders.supersede(|motion| motion == Motion::Secure);
        let times = (order.deadline, order.issued_at);
        let pending = |motion, floors| Pending::new((order.ticket, motion, floors), times, order.by.clone());
        if order.what {
            self.set_lockdown(true, order.issued_at, out);
            self.orders.accept(pending(Motion::Secure, self.config.all()));
            let is_lost = |floor: &usize| self.floors.get(*floor).is_some_and(|floor| floor.relay.up == Some(false));
            let lost = self.config.all().iter().filter(is_lost).collect();
            let detail = "bus_down: the board does not answer".to_owned();
            self.orders.fail(order.ticket, lost, &OrderEnd::Failed(detail));
        } else if opens.is_empty() {
            self.set_lockdown(false, order.issued_at, out);
            out.held.push((order.ticket, Progress::Actuated { observation_follows: false }));
        } else {
            self.orders.accept(pending(Motion::Release, opens));
        }
        order.by.clone()
    }

    pub(super) fn set_lockdown(&mut self, on: bool, issued_at: Wall, out: &mut Effects) {
        self.durable.lockdown = on;
        self.durable.lockdown_issued_at_ms = self.durable.lockdown_issued_at_ms.max(issued_at.as_millis());
        out.durable = Some(self.durable.clone());
    }

    fn judge_lockdown(&self, now: Mono, order: &Order<bool>, opens: FloorSet) -> Result<(), Progress> {
        if now > order.deadline {
            return Err(Progress::Expired);
        }
        let refuse = |refusal, detail: &str| Err(Progress::Refused(refusal, detail.to_owned()));
        if self.stopping {
            return refuse(Refusal::Overloaded, "the node is stopping");
        }
        if !order.ticket.is_own() && Some(order.issued_at) < self.lockdown_issued_at() {
            return refuse(Refusal::Conflict, "a lockdown issued later was set or cleared at this elevator");
        }
        if !order.what && self.orders.load() >= ORDERS_MAX {
            return refuse(Refusal::Overloaded, "too many orders are under way at this floor group");
        }
        let down: FloorSet = opens.iter().filter(|floor| self.is_down(*floor)).collect();
        if let Some(floor) = self.config.names(down).first() {
            let detail =
                format!("the board of floor {floor} does not answer: floor.close it first, or repair the board");
            return refuse(Refusal::BusDown, &detail);
        }
        Ok(())
    }

    fn is_down(&self, floor: usize) -> bool {
        self.floors.get(floor).is_none_or(|floor| floor.relay.up != Some(true))
    }

    fn accept(&mut self, order: &Order<FloorAction>, motion: Motion, floors: FloorSet, out: &mut Effects) {
        let pending = Pending::new((order.ticket, motion, floors), (order.deadline, order.issued_at), order.by.clone());
        self.orders.accept(pending);
        if motion != Motion::Close {
            // In force while it waits, durable once it is confirmed.
            return;
        }
        let mut lost = FloorSet::NONE;
        for at in floors.iter() {
            let (Some(floor), Some(config)) = (self.floors.get_mut(at), self.config.floors.get(at)) else { continue };
            floor.end_what_ends();
            if floor.relay.up != Some(true) {
                lost = lost.or(FloorSet::one(at));
            }
            self.durable.level_issued(&config.id, order.issued_at);
            self.durable.manual.remove(&config.id);
            if self.public.governed.contains(at) {
                let (until, by) = (self.public.next.get(&at).copied(), order.by.clone());
                self.durable.manual.insert(config.id.clone(), Manual { open: false, until, by });
            }
        }
        out.durable = Some(self.durable.clone());
        let detail = "bus_down: the board does not answer".to_owned();
        self.orders.fail(order.ticket, lost, &OrderEnd::Failed(detail));
    }
}

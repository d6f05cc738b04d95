//! The elevators of the node: from reads, boards, schedules and orders to floors. Owns the routing between them
//! and the plain machines in `domain::elevator`; must never let anybody ride (that is `entry`, as at doors).
//! Invariant: what a floor does follows from its machine alone.
//!
//! Without a trusted clock no schedule is believed: floors that are public at certain times are not, those that
//! are public always stay so.

use std::collections::HashMap;

use super::machine::{Deed, Deeds, Happening, Machine, View};
use crate::domain::{
    door::OrderEnd,
    elevator::{DurableFloors, Effects, Elevator, ElevatorInput, FloorGroupConfig, FloorGroupStatus, FloorSet, Public},
    event::{DenialReason, Refusal},
    fieldbus::BusReport,
    ids::{Id, InputRef, OutputRef},
    kept::Kept,
    order::{Order, Progress, Task},
    outputs::{Desired, Ticket},
    record::PublicFloors,
    status::{Status, Thing},
    time::{ClockTrust, Mono, Now, Wall},
};

#[derive(Debug)]
pub struct Elevators {
    configs: Vec<FloorGroupConfig>,
    groups: Vec<Group>,
    outputs: HashMap<OutputRef, (usize, usize)>,
    /// With the value that counts.
    inputs: HashMap<InputRef, (usize, usize, bool)>,
    deadline: Option<Mono>,
}

#[derive(Debug)]
struct Group {
    elevator: Elevator,
    /// As told last.
    status: FloorGroupStatus,
    /// When what is public may change.
    boundary: Option<Wall>,
}

impl Elevators {
    pub fn new(configs: &[FloorGroupConfig]) -> Elevators {
        let (mut outputs, mut inputs) = (HashMap::new(), HashMap::new());
        for (group, config) in configs.iter().enumerate() {
            for (at, floor) in config.floors.iter().enumerate() {
                outputs.insert(floor.output, (group, at));
                inputs.extend(floor.selected.map(|selected| (selected.input, (group, at, selected.active_value))));
            }
        }
        Elevators { configs: configs.to_vec(), groups: Vec::new(), outputs, inputs, deadline: None }
    }

    fn start(&mut self, now: Now, kept: &[Kept]) {
        let durable = |id: &Id| {
            let mine = |kept: &Kept| match kept {
                Kept::FloorGroup { floor_group, state } if floor_group == id => Some(state.clone()),
                _ => None,
            };
            kept.iter().find_map(mine).unwrap_or_default()
        };
        let group = |config: &FloorGroupConfig| {
            let elevator = Elevator::new(config.clone(), durable(&config.id), now);
            Group { status: elevator.status(now.mono), elevator, boundary: None }
        };
        self.groups = self.configs.iter().map(group).collect();
    }

    fn tell(&mut self, now: Now, group: usize, input: ElevatorInput, deeds: &mut Deeds) {
        let Some(slot) = self.groups.get_mut(group) else { return };
        let Effects { events, reports, held, durable } = slot.elevator.handle(now, input);
        events.into_iter().for_each(|event| deeds.event(event));
        let keep = |state: DurableFloors| Kept::FloorGroup { floor_group: slot.elevator.config().id.clone(), state };
        durable.into_iter().for_each(|state| deeds.push(Deed::Keep(keep(state))));
        let floor_group = group as u16;
        let told = |held: bool| {
            move |(ticket, progress): (Ticket, Progress)| Deed::FloorReport { floor_group, ticket, progress, held }
        };
        deeds.0.extend(reports.into_iter().map(told(false)));
        deeds.0.extend(held.into_iter().map(told(true)));
        let status = slot.elevator.status(now.mono);
        if slot.status != status {
            slot.status = status;
            deeds.push(Deed::Changed(Thing::FloorGroup(floor_group)));
        }
    }

    fn tell_all(&mut self, now: Now, input: &ElevatorInput, deeds: &mut Deeds) {
        (0..self.groups.len()).for_each(|group| self.tell(now, group, input.clone(), deeds));
    }

    /// What the records make public now.
    fn publish(&mut self, now: Now, view: &View<'_>, deeds: &mut Deeds) {
        for group in 0..self.groups.len() {
            let Some(slot) = self.groups.get_mut(group) else { continue };
            let config = slot.elevator.config();
            let record = view.permissions.site().floor_groups.get(&config.id);
            let entries = record.map_or(&[][..], |record| record.public.as_slice());
            let public = public(now, view, config, entries);
            slot.boundary = public.next.values().min().copied();
            self.tell(now, group, ElevatorInput::Public(public), deeds);
        }
    }

    fn hear_bus(&mut self, now: Now, report: &BusReport, deeds: &mut Deeds) {
        let ended = |floor, ticket, end| ElevatorInput::OrderEnded { floor, ticket, end };
        let (output, input): (OutputRef, Box<dyn FnOnce(usize) -> ElevatorInput>) = match report.clone() {
            BusReport::BoardUp { board } => {
                return self.tell_all(now, &ElevatorInput::Board { board, up: true }, deeds);
            }
            BusReport::BoardLost { board, .. } => {
                return self.tell_all(now, &ElevatorInput::Board { board, up: false }, deeds);
            }
            BusReport::Input { input, energised } => {
                if let Some((group, floor, active_value)) = self.inputs.get(&input).copied() {
                    let active = energised == active_value;
                    self.tell(now, group, ElevatorInput::Selected { floor, active }, deeds);
                }
                return;
            }
            // What was chosen cannot be seen: nothing was.
            BusReport::InputTrouble { input, .. } => {
                if let Some((group, floor, _)) = self.inputs.get(&input).copied() {
                    self.tell(now, group, ElevatorInput::Selected { floor, active: false }, deeds);
                }
                return;
            }
            BusReport::Card { .. } | BusReport::BoardDegraded { .. } => return,
            BusReport::Output { output, level, order } => {
                (output, Box::new(move |floor| ElevatorInput::Relay { floor, level, order }))
            }
            BusReport::OutputMismatch { output, level } => {
                (output, Box::new(move |floor| ElevatorInput::Mismatch { floor, level }))
            }
            BusReport::OrderExpired { output, ticket } => {
                (output, Box::new(move |floor| ended(floor, ticket, OrderEnd::Expired)))
            }
            BusReport::OrderFailed { output, ticket, detail } => {
                (output, Box::new(move |floor| ended(floor, ticket, OrderEnd::Failed(detail))))
            }
            BusReport::OrderUnknown { output, ticket, detail } => {
                (output, Box::new(move |floor| ended(floor, ticket, OrderEnd::Unknown(detail))))
            }
        };
        if let Some((group, floor)) = self.outputs.get(&output).copied() {
            self.tell(now, group, input(floor), deeds);
        }
    }

    fn lock_down(&mut self, now: Now, floor_groups: &[u16], order: &Order<bool>, deeds: &mut Deeds) {
        for group in floor_groups {
            self.tell(now, usize::from(*group), ElevatorInput::Lockdown(order.clone()), deeds);
        }
    }

    fn order(&mut self, now: Now, order: &Order<Task>, deeds: &mut Deeds) {
        let Task::Floor { floor_group, floors, action } = &order.what else { return };
        let refused = |what: String| Deed::Report(order.ticket, Progress::Refused(Refusal::UnknownTarget, what));
        let Some(group) = self.configs.iter().position(|config| config.id == *floor_group) else {
            return deeds.push(refused(format!("the node has no floor group {floor_group}")));
        };
        let Some(config) = self.configs.get(group) else { return };
        let mut set = if floors.is_empty() { config.all() } else { FloorSet::NONE };
        for floor in floors {
            match config.position(floor) {
                Some(at) => set = set.or(FloorSet::one(at)),
                None => return deeds.push(refused(format!("floor group {floor_group} has no floor {floor}"))),
            }
        }
        self.tell(now, group, ElevatorInput::Order { order: order.with(*action), floors: set }, deeds);
    }
}

fn public(now: Now, view: &View<'_>, config: &FloorGroupConfig, entries: &[PublicFloors]) -> Public {
    let mut public = Public::default();
    for entry in entries {
        let floors: FloorSet = entry.floors.iter().filter_map(|floor| config.position(floor)).collect();
        public.governed = public.governed.or(floors);
        let holds = match &entry.schedule {
            None => true,
            Some(_) if now.trust == ClockTrust::Untrusted => false,
            Some(schedule) => {
                let next = view.permissions.schedule_next_change(schedule, now.wall);
                for floor in floors.iter() {
                    let known = public.next.get(&floor).copied();
                    public.next.extend(known.into_iter().chain(next).min().map(|at| (floor, at)));
                }
                view.permissions.schedule_holds(schedule, now.wall).unwrap_or(false)
            }
        };
        if holds {
            public.holds = public.holds.or(floors);
        }
    }
    public
}

impl Machine for Elevators {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        if self.configs.is_empty() {
            if let Happening::Order(order) = happening {
                self.order(now, order, deeds);
            }
            return;
        }
        match happening {
            Happening::Start(kept) => {
                self.start(now, kept);
                self.publish(now, view, deeds);
            }
            Happening::Permissions | Happening::Clock => self.publish(now, view, deeds),
            Happening::Ride(cab, ride) => self.tell(now, usize::from(cab), ElevatorInput::Ride(ride.clone()), deeds),
            Happening::Bus(report) => self.hear_bus(now, report, deeds),
            Happening::Order(order) => self.order(now, order, deeds),
            Happening::Lockdown { floor_groups, order } => self.lock_down(now, floor_groups, order, deeds),
            Happening::Timeout => {
                let over = |group: &Group| group.boundary.is_some_and(|at| at <= now.wall);
                if self.groups.iter().any(over) {
                    self.publish(now, view, deeds);
                }
                self.tell_all(now, &ElevatorInput::Timeout, deeds);
            }
            Happening::Stop => self.tell_all(now, &ElevatorInput::Stop, deeds),
            _ => return,
        }
        let boundary = |group: &Group| group.boundary.filter(|_| now.trust == ClockTrust::Trusted);
        let due = |group: &Group| {
            let boundary = boundary(group).map(|at| now.mono_at(at));
            group.elevator.next_deadline(now).into_iter().chain(boundary).min()
        };
        self.deadline = self.groups.iter().filter_map(due).min();
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.deadline
    }

    fn things(&self) -> Vec<Thing> {
        (0..).take(self.configs.len()).map(Thing::FloorGroup).collect()
    }

    fn cabs_deny(&self) -> Vec<Option<DenialReason>> {
        self.groups.iter().map(|group| group.elevator.denies()).collect()
    }

    fn status(&self, thing: &Thing) -> Option<Status> {
        let Thing::FloorGroup(group) = thing else { return None };
        self.groups.get(usize::from(*group)).map(|group| Status::FloorGroup(group.status.clone()))
    }

    fn desired(&self, now: Mono, out: &mut Vec<Desired>) {
        self.groups.iter().for_each(|group| group.elevator.desired(now, out));
    }

    fn stopped(&self) -> bool {
        self.groups.iter().all(|group| group.elevator.stopped())
    }
}

//! From an action to orders. Owns the resolution of names (what this node does not have is passed over: sets are
//! shared) and the question whether the author may order it now; must never order what was refused. Invariant:
//! each door of an action is asked about by itself, so that one out of scope holds no other up.

use std::time::Duration;

use super::{
    Firing, SystemEvents,
    delays::{self, DELAYS_MAX, DELAYS_PER_DOOR_MAX, Delay},
    refused,
};
use crate::{
    domain::{
        event::{AlarmSource, EventBody, Refusal},
        ids::{DoorIx, Id},
        operator::Targets,
        order::{DoorAction, FloorAction, OutputAction, Switch, Task},
        record::{SystemAction, SystemEvent},
        time::Now,
        topology::Premises,
    },
    gateway::controller::machine::{Deed, Deeds, View},
};

/// What an author is asked about.
struct Asked<'a> {
    command: &'static str,
    targets: Targets<'a>,
}

fn asked<'a>(command: &'static str, door: Option<&'a Id>) -> Asked<'a> {
    Asked { command, targets: door.map(Targets::door).unwrap_or_default() }
}

fn may(now: Now, view: &View<'_>, event: &SystemEvent, asked: &Asked<'_>) -> Result<(), (Refusal, String)> {
    let Some(author) = &event.author else { return Ok(()) };
    view.permissions.authorise(author, asked.command, &asked.targets, now)
}

impl SystemEvents {
    pub(super) fn act(
        &mut self,
        now: Now,
        view: &View<'_>,
        firing: Firing<'_>,
        action: &SystemAction,
        deeds: &mut Deeds,
    ) {
        match action {
            SystemAction::Alarm { .. } | SystemAction::Notify { .. } => self.tell(now, view, firing, action, deeds),
            SystemAction::LockdownSet { doors, partition, node } => {
                self.lockdown(now, view, firing, action, (doors, partition.as_ref(), *node, true), deeds);
            }
            SystemAction::LockdownClear { doors, partition, node } => {
                self.lockdown(now, view, firing, action, (doors, partition.as_ref(), *node, false), deeds);
            }
            SystemAction::DoorOpenWithDelay { delay_ms, .. } => {
                self.put_off(now, view, firing, action, (true, *delay_ms), deeds);
            }
            SystemAction::DoorCloseWithDelay { delay_ms, .. } => {
                self.put_off(now, view, firing, action, (false, *delay_ms), deeds);
            }
            SystemAction::DoorVirtualRead { .. }
            | SystemAction::ApbClear { .. }
            | SystemAction::FloorOpen { .. }
            | SystemAction::FloorClose { .. }
            | SystemAction::FloorOpenAndClose { .. }
            | SystemAction::OutputPulse { .. }
            | SystemAction::OutputSet { .. } => self.elsewhere(now, view, firing, action, deeds),
            _ => self.at_doors(now, view, firing, action, deeds),
        }
    }

    fn at_doors(&mut self, now: Now, view: &View<'_>, firing: Firing<'_>, action: &SystemAction, deeds: &mut Deeds) {
        for (ix, door) in here(view, action.doors()) {
            let Some(what) = door_action(view, ix, action) else { continue };
            let task = Task::Door(ix, what);
            self.order_at(now, view, firing, (action.name(), door), task, deeds);
        }
    }

    fn order_at(
        &mut self,
        now: Now,
        view: &View<'_>,
        Firing { id, event, .. }: Firing<'_>,
        (command, door): (&'static str, &Id),
        task: Task,
        deeds: &mut Deeds,
    ) {
        match may(now, view, event, &asked(command, Some(door))) {
            Ok(()) => self.order(now, id, &event.author, command, task, deeds),
            Err(why) => deeds.event(refused(id, event, command, Some(door), why)),
        }
    }

    fn lockdown(
        &mut self,
        now: Now,
        view: &View<'_>,
        Firing { id, event, .. }: Firing<'_>,
        action: &SystemAction,
        (doors, partition, node, on): (&[Id], Option<&Id>, bool, bool),
        deeds: &mut Deeds,
    ) {
        let topology = view.topology;
        let command = action.name();
        let record = partition.and_then(|partition| view.permissions.site().partitions.get(partition));
        let mut found = match record {
            Some(partition) => topology.premises_of(partition),
            None if node => topology.premises(),
            None => Premises::of(here(view, doors).into_iter().map(|(ix, _)| ix).collect(), Vec::new()),
        };
        if node {
            if let Err(why) = may(now, view, event, &asked(command, None)) {
                return deeds.event(refused(id, event, command, None, why));
            }
        } else {
            let mut allows = |place: Option<&Id>, asked: &Asked<'_>| match may(now, view, event, asked) {
                Ok(()) => true,
                Err(why) => {
                    deeds.event(refused(id, event, command, place, why));
                    false
                }
            };
            found.doors.retain(|ix| {
                let door = topology.door_id(*ix);
                door.is_some() && allows(door, &asked(command, door))
            });
            found.floor_groups.retain(|at| {
                let group = topology.floor_groups.get(usize::from(*at)).map(|group| &group.id);
                let targets = Targets { floor_group: group, ..Targets::default() };
                group.is_some() && allows(group, &Asked { command, targets })
            });
        }
        if !found.is_empty() {
            let Premises { doors, floor_groups } = found;
            self.order(now, id, &event.author, command, Task::Lockdown { doors, floor_groups, on }, deeds);
        }
    }

    fn put_off(
        &mut self,
        now: Now,
        view: &View<'_>,
        Firing { id, event, .. }: Firing<'_>,
        action: &SystemAction,
        (opens, delay_ms): (bool, u32),
        deeds: &mut Deeds,
    ) {
        let command = action.name();
        let length = Duration::from_millis(u64::from(delay_ms));
        for (_, door) in here(view, action.doors()) {
            if let Err(why) = may(now, view, event, &asked(command, Some(door))) {
                deeds.event(refused(id, event, command, Some(door), why));
                continue;
            }
            let delay = Delay {
                system_event: id.clone(),
                door: door.clone(),
                opens,
                due: now.mono + length,
                due_at: now.wall + length,
                since: now.wall,
                overdue: false,
            };
            if !self.delays.put_off(delay, deeds) {
                let why = (
                    Refusal::Overloaded,
                    format!("system events have put off {DELAYS_PER_DOOR_MAX} at this door or {DELAYS_MAX} in all"),
                );
                deeds.event(refused(id, event, command, Some(door), why));
            }
        }
    }

    /// What was put off is due: its author is looked at anew.
    pub(super) fn act_late(&mut self, now: Now, view: &View<'_>, due: Delay, deeds: &mut Deeds) {
        deeds.push(Deed::Unkeep(due.kept_key()));
        let site = view.permissions.site().clone();
        let Some(event) = site.system_events.get(&due.system_event).filter(|_| !self.stopping) else { return };
        let Some(ix) = view.topology.door(&due.door) else { return };
        let (id, command) = (&due.system_event, delays::name(due.opens));
        if due.overdue && due.opens {
            return deeds.event(EventBody::SystemEventFailed {
                system_event: id.clone(),
                action: command.to_owned(),
                outcome: "expired".to_owned(),
                detail: Some("it was due while the node was down".to_owned()),
            });
        }
        match may(now, view, event, &asked(command, Some(&due.door))) {
            Ok(()) => {
                let what = if due.opens { DoorAction::Open } else { DoorAction::Close };
                self.order(now, id, &event.author, command, Task::Door(ix, what), deeds);
            }
            Err(why) => deeds.event(refused(id, event, command, Some(&due.door), why)),
        }
    }

    fn elsewhere(&mut self, now: Now, view: &View<'_>, firing: Firing<'_>, action: &SystemAction, deeds: &mut Deeds) {
        let command = action.name();
        let floors = |floor_group: &Id, floors: &[Id], action| {
            let known = view.topology.floor_group(floor_group).is_some();
            known.then(|| Task::Floor { floor_group: floor_group.clone(), floors: floors.to_vec(), action })
        };
        let output = |output: &Id, action| {
            let known = view.topology.outputs.contains(output);
            known.then(|| Task::Output { output: output.clone(), action })
        };
        let found: Option<(Option<&Id>, Task)> = match action {
            SystemAction::DoorVirtualRead { door, person, credential } => view.topology.door(door).map(|ix| {
                let task = Task::VirtualRead { door: ix, person: person.clone(), credential: credential.clone() };
                (Some(door), task)
            }),
            SystemAction::ApbClear { person, area } => {
                Some((None, Task::ClearApb { person: person.clone(), area: area.clone() }))
            }
            SystemAction::FloorOpen { floor_group, floors: named } => {
                floors(floor_group, named, FloorAction::Open).map(|task| (None, task))
            }
            SystemAction::FloorClose { floor_group, floors: named } => {
                floors(floor_group, named, FloorAction::Close).map(|task| (None, task))
            }
            SystemAction::FloorOpenAndClose { floor_group, floors: named, dwell_ms } => {
                let dwell = dwell_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                floors(floor_group, named, FloorAction::OpenAndClose { dwell }).map(|task| (None, task))
            }
            SystemAction::OutputPulse { output: named, pulse_ms } => {
                let pulse = OutputAction::Pulse(Duration::from_millis(u64::from(*pulse_ms)));
                output(named, pulse).map(|task| (None, task))
            }
            SystemAction::OutputSet { output: named, on } => {
                output(named, OutputAction::Set(*on)).map(|task| (None, task))
            }
            _ => None,
        };
        let Some((door, task)) = found else { return };
        let Firing { id, event, .. } = firing;
        match may(now, view, event, &Asked { command, targets: targets(action, door) }) {
            Ok(()) => self.order(now, id, &event.author, command, task, deeds),
            Err(why) => deeds.event(refused(id, event, command, door, why)),
        }
    }

    /// To tell, an author needs no more than to be one.
    fn tell(&mut self, now: Now, view: &View<'_>, firing: Firing<'_>, action: &SystemAction, deeds: &mut Deeds) {
        let Firing { id, event, cause } = firing;
        if let Err(why) = may(now, view, event, &asked("system_event.list", None)) {
            return deeds.event(refused(id, event, action.name(), None, why));
        }
        match action {
            SystemAction::Alarm { text } => {
                let source = AlarmSource::SystemEvent { system_event: id.clone(), door: cause.door.clone() };
                deeds.push(Deed::Alarm(source, text.clone()));
            }
            SystemAction::Notify { text } => deeds.event(EventBody::NotificationSent {
                system_event: id.clone(),
                text: text.clone(),
                door: cause.door.clone(),
                person: cause.person.clone(),
            }),
            _ => {}
        }
    }
}

/// What an action elsewhere than at doors is about.
fn targets<'a>(action: &'a SystemAction, door: Option<&'a Id>) -> Targets<'a> {
    let at = door.map(Targets::door).unwrap_or_default();
    match action {
        SystemAction::DoorVirtualRead { person, .. } => Targets { person: Some(person), ..at },
        SystemAction::ApbClear { person, area } => Targets { person: person.as_ref(), area: area.as_ref(), ..at },
        SystemAction::FloorOpen { floor_group, .. }
        | SystemAction::FloorClose { floor_group, .. }
        | SystemAction::FloorOpenAndClose { floor_group, .. } => Targets { floor_group: Some(floor_group), ..at },
        _ => at,
    }
}

/// Those of the named doors that this node has.
fn here<'a>(view: &View<'_>, doors: &'a [Id]) -> Vec<(DoorIx, &'a Id)> {
    doors.iter().filter_map(|door| Some((view.topology.door(door)?, door))).collect()
}

/// A toggle expects the door to be as it is: it fires once, and nobody can repeat it.
fn door_action(view: &View<'_>, ix: DoorIx, action: &SystemAction) -> Option<DoorAction> {
    let mode = || view.door(ix).map(|status| status.mode);
    Some(match action {
        SystemAction::DoorOpen { .. } => DoorAction::Open,
        SystemAction::DoorClose { .. } => DoorAction::Close,
        SystemAction::DoorOpenAndClose { dwell_ms, .. } => {
            DoorAction::OpenAndClose { dwell: dwell_ms.map(|ms| Duration::from_millis(u64::from(ms))) }
        }
        SystemAction::DoorCancelDelay { .. } => DoorAction::CancelDelays,
        SystemAction::DoorDnd { on, .. } => DoorAction::Dnd(if *on { Switch::On } else { Switch::Off }),
        SystemAction::DoorDndToggle { .. } => DoorAction::Dnd(Switch::Toggle { expect: mode()? }),
        SystemAction::DoorForce { state, .. } => DoorAction::Force(*state),
        SystemAction::DoorForceToggle { .. } => DoorAction::ForceToggle { expect: mode()? },
        SystemAction::AlarmAcknowledge { .. } => DoorAction::AcknowledgeAlarm,
        _ => return None,
    })
}

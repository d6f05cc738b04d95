//! Locks, ordered by operators. Owns which orders are under way at which door, and until when one may begin; must never
//! believe that an order was carried out before its board has said so. Invariant: one order, once, in time.

use latchd::{
    domain::{
        fieldbus::BusReport,
        ids::Id,
        order::{DoorAction, Order, Task},
        time::{Mono, Now},
    },
    gateway::controller::Step,
    wire::outcome::Stage,
};

use super::OrderWatch;
use crate::world::{
    oracle::{Invariant, Oracle, authority::unlocks, delays::is_asked},
    site::Site,
};

impl Oracle {
    /// An outcome goes to the cloud.
    pub(in crate::world::oracle) fn outcome(&mut self, jti: &Id, stage: Stage) {
        let Some([asked]) = self.asked.get(jti).map(Vec::as_slice) else { return };
        let task = asked.task.clone();
        self.delays.outcome(jti, stage);
        self.output_outcome(&task, stage);
        let Some([asked]) = self.asked.get(jti).map(Vec::as_slice) else { return };
        let Some((door, action)) = asked.at_door() else { return };
        let watch = &mut self.doors[door];
        match (stage, action) {
            (Stage::Actuated, DoorAction::Open) if watch.stored.as_ref() == Some(jti) => {
                watch.promised = Some(Some(jti.clone()));
            }
            (Stage::Actuated, DoorAction::Close) if watch.stored.is_none() => watch.promised = Some(None),
            // A record that was dropped answers as expired, whatever came of its command.
            (Stage::Expired | Stage::Refused, DoorAction::Open | DoorAction::OpenAndClose { .. })
                if self.written.contains(jti) && !self.dropped.contains(jti) =>
            {
                let what = format!("{jti} is {stage:?}, and was written to the board");
                self.fail(Invariant::HonestOutcome, what);
            }
            _ => {}
        }
    }

    pub fn order_emitted(&mut self, site: &Site, now: Now, order: &Order) {
        let Some(jti) = order.by.cause() else { return };
        let same = |asked: &&crate::world::oracle::Asked| is_asked(asked, order);
        let Some(asked) = self.asked.get(jti).into_iter().flatten().filter(same).max_by_key(|asked| asked.exp) else {
            let what = format!("nobody asked for {:?} as {jti}", order.what);
            return self.fail(Invariant::CommandOnce, what);
        };
        let (asked, exp) = (asked.clone(), asked.exp);
        self.check_authority(site, &asked, &order.what);
        if asked.partition.is_some() {
            // From here on it is these doors.
            let of = self.asked.get_mut(jti).into_iter().flatten().filter(|other| is_asked(other, order));
            of.filter(|other| other.partition.is_some()).for_each(|other| other.task = order.what.clone());
        }
        self.ordered.push(jti.clone());
        // Under an untrusted clock only what secures comes this far.
        let trusted = now.trust == latchd::domain::time::ClockTrust::Trusted;
        self.output_ordered(now.mono, now.mono_at(exp), order);
        self.lift.ordered(now.mono_at(exp).max(now.mono), order);
        self.delay_emitted(now, order);
        let jti = jti.clone();
        if let Task::Lockdown { doors, on, .. } = &order.what {
            for door in doors {
                if let Some(watch) = self.doors.get_mut(door.index()) {
                    let (ticket, action, deadline) = (order.ticket, DoorAction::Lockdown(*on), order.deadline);
                    watch.orders.push(OrderWatch { ticket, jti: jti.clone(), action, deadline, confirmed: None });
                }
            }
        }
        let (door, action) = match &order.what {
            Task::Door(door, action) => (*door, *action),
            // As long as the longest that its holder may need.
            Task::VirtualRead { door, .. } => {
                let dwell = site.doors.get(door.index()).map(|config| config.dwell_extended);
                (*door, DoorAction::OpenAndClose { dwell })
            }
            _ => return,
        };
        let delayed = matches!(action, DoorAction::Delayed(_));
        if trusted && !delayed && unlocks(action) && now.wall >= exp {
            let what = format!("{} expired at {exp}, and is ordered at {}", jti, now.wall);
            return self.fail(Invariant::DeadlineAtTheWire, what);
        }
        // A delay has its own, from when it is due.
        let deadline = if delayed { order.deadline } else { now.mono_at(exp) };
        if let Some(watch) = self.doors.get_mut(door.index()) {
            let ticket = order.ticket;
            watch.orders.push(OrderWatch { ticket, jti: jti.clone(), action, deadline, confirmed: None });
        }
    }

    pub fn order_delivered(&mut self, site: &Site, now: Now, order: &Order) {
        self.delay_delivered(now, order);
        let now = now.mono;
        self.reached.extend(order.by.cause().cloned());
        let Some(jti) = order.by.cause() else { return };
        // As it was asked, whatever it has become on its way.
        if let Some(task) = self.task_asked(jti, &order.what) {
            self.forgiven.delivered(jti, order, &task);
            self.alarms.delivered(site, jti, order, &task);
        }
        let mut tasks = self.asked.get(jti).into_iter().flatten().map(|asked| &asked.task);
        let virtually = tasks.rfind(|task| matches!(task, Task::VirtualRead { .. }));
        if let Some(task) = virtually.filter(|task| self.asked[jti].len() == 1 || **task == order.what) {
            self.people.virtual_read = Some(Order { what: task.clone(), ..order.clone() });
        }
        let (door, action) = match &order.what {
            Task::Door(door, action) => (*door, *action),
            Task::VirtualRead { door, .. } => (*door, DoorAction::OpenAndClose { dwell: None }),
            _ => return,
        };
        let watch = self.doors.get(door.index());
        let mut known = watch.into_iter().flat_map(|watch| &watch.orders).filter(|known| known.ticket == order.ticket);
        let late = known.any(|known| known.deadline < now);
        self.late_order = (late && unlocks(action)).then_some(order.ticket);
        // What secures or only asks may pass the restart fence again, should its record be lost.
        let delivered = if unlocks(action) { &mut self.delivered } else { &mut self.delivered_in_run };
        let what = format!("{} {:?} {:?}", jti, door, action);
        let count = delivered.entry(what).or_default();
        *count += 1;
        if *count > 1 {
            let count = *count;
            let what = format!("command {} reaches the doors for the {count}. time", jti);
            self.fail(Invariant::CommandOnce, what);
        }
    }

    /// As it was asked, if under this id only one thing was, or as it is now if that was asked.
    fn task_asked(&self, jti: &Id, now: &Task) -> Option<Task> {
        let asked = self.asked.get(jti)?;
        match asked.as_slice() {
            [only] => Some(only.task.clone()),
            several => several.iter().find(|asked| asked.task == *now).map(|asked| asked.task.clone()),
        }
    }

    /// What a bus machine says, at the instant at which it says it.
    pub fn bus_reported(&mut self, site: &Site, now: Mono, report: &BusReport) {
        let BusReport::Output { output, order: Some(ticket), .. } = report else { return };
        let Some(watch) = site.door_of(*output).and_then(|door| self.doors.get_mut(door)) else { return };
        if let Some(order) = watch.orders.iter_mut().find(|order| order.ticket == *ticket) {
            order.confirmed.get_or_insert(now);
        }
    }

    /// What came too late to the doors ends there.
    pub(in crate::world::oracle) fn check_late_order(&mut self, step: &Step) {
        let Some(ticket) = self.late_order.take() else { return };
        let ended =
            |report: &&latchd::domain::order::OrderReport| report.ticket == ticket && report.progress.is_final();
        if step.reports.iter().find(ended).is_none() {
            let what = format!("order {ticket:?} came to the doors after its deadline, and they took it");
            self.fail(Invariant::DeadlineAtTheWire, what);
        }
    }
}

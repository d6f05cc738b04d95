//! Locks. Owns, for each door, the reasons for which it may be unlocked, learnt from what was handed to the
//! doors and not from what they make of it; must never ask a door for its mode. Invariant: a relay that
//! unlocks has one of these reasons, or is about to fall.

use std::{collections::BTreeMap, time::Duration};

use latchd::{
    domain::{
        door::{DelayAction, DurableDoor, HeldBy, StopPolicy},
        event::{EventBody, Granted},
        fieldbus::BusReport,
        ids::{Id, InputRef},
        order::{DoorAction, Order, Progress, Task},
        outputs::{Level, Ticket},
        permission::SetVersion,
        time::{Mono, Now},
    },
    gateway::{
        controller::{Controller, Lasting, Step},
        fieldbus::{Link, Request},
        step::LedgerWrite,
    },
    wire::outcome::Stage,
};

use super::{
    Invariant, Oracle,
    authority::unlocks,
    delays::is_asked,
    events,
    holds::{Holds, may_open, releases},
};
use crate::world::{
    World,
    set::{
        Sets,
        names::{SLOW_PERSON, person_id},
    },
    site::Site,
};

/// From the end of the last reason to the lock's fall, the bus being well.
const FALLS_WITHIN: Duration = Duration::from_secs(3);
/// After a board has been ill, writes to it may be spaced this far.
const RECOVERS_WITHIN: Duration = Duration::from_secs(7);
/// What was already on its way to the wire when its reason ended.
const WIRE_LAG: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug)]
struct OrderWatch {
    ticket: Ticket,
    jti: Id,
    action: DoorAction,
    /// By the command's own `exp`.
    deadline: Mono,
    confirmed: Option<Mono>,
}

#[derive(Clone, Debug, Default)]
pub struct DoorWatch {
    pub mode: Option<latchd::domain::door::Mode>,
    fire: bool,
    rex: bool,
    /// The after-run of the button.
    rex_until: Mono,
    grant_until: Mono,
    manual: bool,
    stop_unlocks: bool,
    pub(super) stopping: bool,
    /// As last handed to the ledger.
    pub(super) holds: Holds,
    closed: Option<HeldBy>,
    /// As told.
    pub(super) auto: bool,
    orders: Vec<OrderWatch>,
    /// Orders that ended; what was already on its way for them may still be written until then.
    ended: Vec<Mono>,
    /// The last deadline of an order that was never confirmed.
    late_order: Option<Mono>,
    /// The last instant at which a reason held other than an order that waits.
    reason_seen: Mono,
    wrong_since: Option<Mono>,
    /// Locked although it must not be.
    shut_since: Option<Mono>,
    /// As last handed to the ledger: open for this command, or not.
    stored: Option<Id>,
    /// The same, once the cloud has been told that it is so: then it is durable.
    promised: Option<Option<Id>>,
}

impl DoorWatch {
    fn lasting_reason(&self, at: Mono, dwell: Duration) -> bool {
        if self.holds.shut() {
            return self.safety_at(at) || self.stop_unlocks;
        }
        let confirmed = |order: &OrderWatch| match (order.action, order.confirmed) {
            (DoorAction::Open | DoorAction::Delayed(DelayAction::Open), Some(_)) => true,
            (action, Some(_)) if releases(action) => true,
            (DoorAction::OpenAndClose { dwell: asked }, Some(since)) => at < since + asked.unwrap_or(dwell),
            _ => false,
        };
        self.fire
            || self.rex
            || self.manual
            || self.auto
            || self.holds.forced_open()
            || self.stop_unlocks
            || at < self.rex_until
            || at < self.grant_until
            || self.orders.iter().any(confirmed)
    }

    /// Fire or an exit button speaks.
    pub fn safety_at(&self, at: Mono) -> bool {
        self.fire || self.rex || at < self.rex_until
    }

    /// Until something else is said.
    fn must_be_open(&self) -> bool {
        self.fire || self.rex || self.holds.forced_open() || (self.manual && !self.holds.shut())
    }

    /// Something lies over the door that an order under way may take away.
    pub fn orders_release(&self) -> bool {
        self.orders.iter().any(|order| releases(order.action))
    }

    /// An order's first write may start.
    fn waiting_order(&self, at: Mono) -> bool {
        let waits = |order: &OrderWatch| order.confirmed.is_none() && may_open(order.action) && at <= order.deadline;
        self.orders.iter().any(waits) || self.ended.iter().any(|until| at <= *until)
    }

    /// By a system event, until then at the latest.
    pub fn opened_by_itself(&mut self, until: Mono) {
        self.grant_until = self.grant_until.max(until);
    }

    fn end_order(&mut self, now: Mono, ticket: Ticket) {
        if let Some(at) = self.orders.iter().position(|order| order.ticket == ticket) {
            let order = self.orders.remove(at);
            if order.confirmed.is_none() && may_open(order.action) {
                self.ended.push(order.deadline.min(now + WIRE_LAG));
                self.late_order = Some(order.deadline);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct BoardWatch {
    faults: u32,
    /// Since when nothing is wrong with it.
    well_since: Option<Mono>,
}

impl Oracle {
    pub fn doors_started(&mut self, site: &Site, now: Now, version: (SetVersion, u64), lasting: &Lasting) {
        self.rights_of_doors(version);
        self.people.restarted(now, lasting);
        self.lift.restarted(site, lasting.kept.values());
        self.lockers.restarted(site, lasting);
        self.auto.restarted(lasting.kept.values());
        self.areas.restarted(now, lasting.kept.values());
        self.stands_from_before(lasting.kept.values());
        let restored = &lasting.doors;
        for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
            let manual = restored.get(&door.id).is_some_and(|durable| durable.manual_open.is_some());
            let restores = door.at_start == latchd::domain::door::StartPolicy::Restore;
            let stored = restored.get(&door.id).and_then(|durable| durable.manual_open.as_ref());
            *watch = DoorWatch {
                manual: manual && restores,
                reason_seen: now.mono,
                stored: stored.and_then(|open| open.by.cause().cloned()),
                promised: watch.promised.take(),
                auto: self.auto.is_on(&door.id),
                closed: restored.get(&door.id).and_then(|durable| durable.manual_close.clone()),
                holds: Holds::started(restored.get(&door.id), restores),
                ..DoorWatch::default()
            };
        }
        for board in &mut self.boards {
            *board = BoardWatch::default();
        }
    }

    /// Modes that were reported as durable are there after a start.
    pub(super) fn check_promises(&mut self, site: &Site, restored: &BTreeMap<Id, DurableDoor>) {
        for (watch, door) in self.doors.iter().zip(&site.doors) {
            let found = restored
                .get(&door.id)
                .and_then(|durable| durable.manual_open.as_ref())
                .and_then(|open| open.by.cause());
            if let Some(promised) = &watch.promised
                && promised.as_ref() != found
            {
                let what = format!("{} was reported as open for {promised:?}, and is stored as {found:?}", door.id);
                return self.fail(Invariant::Durable, what);
            }
        }
    }

    /// An outcome goes to the cloud.
    pub(super) fn outcome(&mut self, jti: &Id, stage: Stage) {
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

    pub fn doors_ended(&mut self) {
        self.doors.iter_mut().for_each(|watch| {
            watch.wrong_since = None;
            watch.shut_since = None;
        });
        self.boards.iter_mut().for_each(|board| board.well_since = None);
        self.node_up = false;
    }

    pub fn stopping(&mut self, site: &Site) {
        self.rights_stop();
        self.outputs_stop();
        self.lift.stops();
        for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
            watch.grant_until = Mono::ZERO;
            watch.stopping = true;
            match door.at_stop {
                StopPolicy::Lock => (watch.manual, watch.auto) = (false, false),
                StopPolicy::Unlock => watch.stop_unlocks = true,
                StopPolicy::Keep => {}
            }
        }
    }

    /// The daemon begins anew: what it drives stays as it is, but nobody is let in any more.
    pub fn pausing(&mut self) {
        self.rights_stop();
        for watch in &mut self.doors {
            (watch.grant_until, watch.stopping) = (Mono::ZERO, true);
        }
    }

    pub(super) fn board_is_ill(&self, now: Mono, board: usize) -> bool {
        self.boards[board].well_since.is_none_or(|since| now.since(since) < RECOVERS_WITHIN)
    }

    // ---- orders ----

    pub fn order_emitted(&mut self, site: &Site, sets: &Sets, now: Now, order: &Order) {
        let Some(jti) = order.by.cause() else { return };
        let same = |asked: &&super::Asked| is_asked(asked, order);
        let Some(asked) = self.asked.get(jti).into_iter().flatten().filter(same).max_by_key(|asked| asked.exp) else {
            let what = format!("nobody asked for {:?} as {jti}", order.what);
            return self.fail(Invariant::CommandOnce, what);
        };
        let (operator, exp) = (asked.operator, asked.exp);
        self.check_authority(site, sets, operator, &order.what);
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

    pub fn order_delivered(&mut self, now: Now, order: &Order) {
        self.delay_delivered(now, order);
        let now = now.mono;
        self.reached.extend(order.by.cause().cloned());
        let Some(jti) = order.by.cause() else { return };
        // As it was asked, whatever it has become on its way.
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

    /// What a bus machine says, at the instant at which it says it.
    pub fn bus_reported(&mut self, site: &Site, now: Mono, report: &BusReport) {
        let BusReport::Output { output, order: Some(ticket), .. } = report else { return };
        let Some(watch) = site.door_of(*output).and_then(|door| self.doors.get_mut(door)) else { return };
        if let Some(order) = watch.orders.iter_mut().find(|order| order.ticket == *ticket) {
            order.confirmed.get_or_insert(now);
        }
    }

    // ---- what the doors are told, before they see it ----

    pub fn doors_told(&mut self, site: &Site, now: Mono, report: &BusReport) {
        self.lockers.hear_board(site, report);
        match report {
            BusReport::Input { input, energised } => self.input(site, now, *input, Some(*energised)),
            BusReport::BoardLost { board, .. } => {
                for input in 0..4 {
                    self.input(site, now, InputRef { board: *board, input }, None);
                }
            }
            _ => {}
        }
    }

    /// `None`: nothing is known of it any more.
    fn input(&mut self, site: &Site, now: Mono, input: InputRef, energised: Option<bool>) {
        for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
            if let (Some(fire), Some(energised)) = (door.fire.filter(|fire| fire.input == input), energised) {
                watch.fire = energised == fire.active_value;
            }
            if let Some(rex) = door.rex.filter(|rex| rex.input == input && rex.releases) {
                let active = energised == Some(rex.active_value);
                if watch.rex && !active {
                    watch.rex_until = now + door.dwell;
                }
                watch.rex = active;
            }
        }
    }

    /// What came too late to the doors ends there.
    pub(super) fn check_late_order(&mut self, step: &Step) {
        let Some(ticket) = self.late_order.take() else { return };
        let ended =
            |report: &&latchd::domain::order::OrderReport| report.ticket == ticket && report.progress.is_final();
        if step.reports.iter().find(ended).is_none() {
            let what = format!("order {ticket:?} came to the doors after its deadline, and they took it");
            self.fail(Invariant::DeadlineAtTheWire, what);
        }
    }

    pub(super) fn learn_from_step(&mut self, site: &Site, now: Mono, step: &Step) {
        for event in events(step) {
            if let EventBody::AccessGranted(Granted { door: Some(door), person, .. }) = &event.body
                && let Some(at) = site.doors.iter().position(|config| config.id == *door)
            {
                let slow = *person == Some(person_id(SLOW_PERSON));
                let dwell = if slow { site.doors[at].dwell_extended } else { site.doors[at].dwell };
                let watch = &mut self.doors[at];
                watch.grant_until = watch.grant_until.max(now + dwell);
            }
        }
        for write in &step.commit.writes {
            self.door_write(site, write);
        }
        for report in &step.reports {
            for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
                let Some(order) = watch.orders.iter().find(|order| order.ticket == report.ticket) else { continue };
                match (&report.progress, order.action, order.confirmed) {
                    (Progress::Actuated { .. }, DoorAction::OpenAndClose { dwell }, Some(since)) => {
                        let until = since + dwell.unwrap_or(door.dwell);
                        watch.grant_until = watch.grant_until.max(until + WIRE_LAG);
                        watch.end_order(now, report.ticket);
                    }
                    (Progress::Actuated { .. }, ..) => {}
                    _ => watch.end_order(now, report.ticket),
                }
            }
        }
    }

    /// A lasting unlocking begins with a confirmed order and ends with a close.
    pub(super) fn door_write(&mut self, site: &Site, write: &LedgerWrite) {
        let LedgerWrite::Door { door, state } = write else { return };
        let Some(at) = site.doors.iter().position(|config| config.id == *door) else { return };
        self.holds_written(site, at, state);
        let watch = &mut self.doors[at];
        let stored = state.manual_open.as_ref().and_then(|open| open.by.cause().cloned());
        let is_news = watch.stored != stored;
        watch.stored = stored;
        watch.promised.take_if(|promised| *promised != watch.stored);
        let closed = state.manual_close.is_some() && watch.closed != state.manual_close;
        watch.closed = state.manual_close.clone();
        let Some(open) = &state.manual_open else {
            watch.manual = false;
            if closed {
                watch.grant_until = Mono::ZERO;
            }
            return;
        };
        // A stop ends it for this run alone, and writes down what it made of the door.
        if watch.stopping && !is_news {
            return;
        }
        let confirmed = |order: &&OrderWatch| Some(&order.jti) == open.by.cause() && order.confirmed.is_some();
        if watch.manual || watch.orders.iter().any(|order| confirmed(&order)) {
            watch.manual = true;
            watch.orders.retain(|order| Some(&order.jti) != open.by.cause());
        } else {
            let what = format!("{door} is open for {:?}, which no board has confirmed", open.by);
            self.fail(Invariant::StrikeFalls, what);
        }
    }

    pub(super) fn check_release(&mut self, site: &Site, now: Mono, what: &str, controller: &Controller) {
        for ((watch, door), desired) in self.doors.iter().zip(&site.doors).zip(controller.desired()) {
            if (watch.fire || watch.rex) && desired.level_at(now) != door.unlocked_level {
                let cause = if watch.fire { "fire" } else { "REX" };
                let what = format!("{cause} at {} is known, and on {what} it is desired to be locked", door.id);
                return self.fail(Invariant::FireReleases, what);
            }
        }
    }

    // ---- the wire ----

    pub fn on_wire(&mut self, site: &Site, now: Mono, board: usize, request: &Request) {
        let Some((door, unlocks)) = written(site, board, request) else { return };
        let dwell = site.doors[door].dwell;
        let watch = &mut self.doors[door];
        watch.ended.retain(|until| now <= *until);
        if watch.lasting_reason(now, dwell) {
            watch.reason_seen = now;
        }
        let lag = now.since(watch.reason_seen) <= WIRE_LAG;
        if unlocks && !lag {
            let mut waiting = watch.orders.iter().filter(|order| order.confirmed.is_none());
            if let (Some(only), None) = (waiting.next(), waiting.next()) {
                self.written.insert(only.jti.clone());
            }
        }
        if !unlocks || watch.waiting_order(now) || lag {
            return;
        }
        let late = watch.orders.iter().filter(|order| order.confirmed.is_none()).map(|order| order.deadline).max();
        let late = late.or(watch.late_order).filter(|deadline| now.since(*deadline) < Duration::from_secs(150));
        let id = &site.doors[door].id;
        match late {
            Some(deadline) => {
                let what = format!("{id} is unlocked on the wire {:?} after the deadline", now.since(deadline));
                self.fail(Invariant::DeadlineAtTheWire, what);
            }
            None => self.fail(Invariant::StrikeFalls, format!("{id} is unlocked on the wire without a reason")),
        }
    }

    /// A transaction with this board did not come to its end.
    pub fn write_failed(&mut self, site: &Site, now: Mono, board: usize, request: &Request) {
        self.boards[board].faults += 1;
        let again = self.boards[board].faults >= 2;
        let own = written(site, board, request).map(|(door, _)| door);
        for (at, (watch, door)) in self.doors.iter_mut().zip(&site.doors).enumerate() {
            if door.lock.board.index() == board && (again || own == Some(at)) {
                watch.wrong_since = watch.wrong_since.map(|_| now);
                watch.shut_since = watch.shut_since.map(|_| now);
            }
        }
    }

    pub fn wire_well(&mut self, board: usize) {
        self.boards[board].faults = 0;
    }
}

/// The door whose lock a request writes, and whether it unlocks.
fn written(site: &Site, board: usize, request: &Request) -> Option<(usize, bool)> {
    let Request::WriteCoil { address, on } = *request else { return None };
    let lock =
        |door: &latchd::domain::door::DoorConfig| door.lock.board.index() == board && door.lock.output == address;
    let at = site.doors.iter().position(lock)?;
    Some((at, Level::from_energised(on) == site.doors[at].unlocked_level))
}

impl World {
    /// After every event: what the relays really are.
    pub(in crate::world) fn look(&mut self) {
        let now = self.now;
        let Some(node) = &self.node else { return };
        for (at, board) in self.oracle.boards.iter_mut().enumerate() {
            let bus = self.site.bus_of[at].index();
            let link = node.buses[bus].bus.link(self.site.boards[at].board);
            let well = self.field.boards[at].is_well() && !self.field.lines_down[bus] && link == Some(Link::Up);
            board.well_since = if well { board.well_since.or(Some(now)) } else { None };
        }
        if node.doors_ended {
            return;
        }
        for door in 0..self.site.doors.len() {
            let unlocked = self.is_unlocked(door);
            let config = &self.site.doors[door];
            let well_since = self.oracle.boards[config.lock.board.index()].well_since;
            let watch = &mut self.oracle.doors[door];
            // Behind another open door of the mantrap an opening waits.
            let due = watch.must_be_open() && (watch.fire || watch.rex || !self.site.mantrap.contains(&door));
            if unlocked || !due || well_since.is_none_or(|since| now.since(since) < RECOVERS_WITHIN) {
                watch.shut_since = None;
            } else if now.since(*watch.shut_since.get_or_insert(now)) > FALLS_WITHIN {
                let what = format!("{} is locked although fire, REX or an opening holds", config.id);
                return self.oracle.fail(Invariant::LockOpens, what);
            }
            let watch = &mut self.oracle.doors[door];
            let lasting = watch.lasting_reason(now, config.dwell);
            if lasting {
                watch.reason_seen = now;
            }
            if !unlocked || lasting || watch.waiting_order(now) {
                watch.wrong_since = None;
                continue;
            }
            let wrong_since = *watch.wrong_since.get_or_insert(now);
            let Some(well_since) = well_since else {
                watch.wrong_since = None;
                continue;
            };
            if now.since(wrong_since) > FALLS_WITHIN && now.since(well_since) > RECOVERS_WITHIN {
                let what = format!("{} is unlocked since {:?} without a reason", config.id, now.since(wrong_since));
                return self.oracle.fail(Invariant::StrikeFalls, what);
            }
        }
    }
}

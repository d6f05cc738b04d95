//! An order at the door: whether it is taken, what it does at once, and what its confirmation does.
//! Must never report an order twice. Invariant: what opens takes hold of the state only while its order
//! waits or after the board confirmed it; what secures takes hold at once and stays.

use super::{
    ContactState, DelayAction, Force, Forced, HeldBy, Hold, Mode,
    input::{Closed, Effects},
    orders::{Motion, OPEN_GRACE, ORDERS_MAX, Pending, Watch},
    precedence::{Cause, Ordered},
    state::{Door, Ruling},
};
use crate::domain::{
    event::{Actor, EventBody, Refusal},
    order::{DoorAction, Order, Progress, Switch},
    record::ForceState,
    time::{Mono, Now, Wall},
};

/// What an order comes to at this door now.
enum Asked {
    Report,
    Acknowledge,
    CancelDelays,
    /// Whether it would be taken.
    Admit(Motion),
    Move(Motion),
}

fn refused<T>(refusal: Refusal, detail: impl Into<String>) -> Result<T, Progress> {
    Err(Progress::Refused(refusal, detail.into()))
}

impl Door {
    pub(super) fn order(&mut self, now: Now, order: Order<DoorAction>, out: &mut Effects) -> Actor {
        let actor = order.by.clone();
        match self.judge(now.mono, &order) {
            Err(progress) => out.report(order.ticket, progress),
            Ok(Asked::Report) => out.report(order.ticket, Progress::Reported(Box::new(self.status()))),
            Ok(Asked::Acknowledge) => self.acknowledge(&order, out),
            Ok(Asked::CancelDelays) => {
                self.cancel_delays(&order, "door.cancel_delay", out);
                out.durable = Some(self.durable.clone());
                out.report_in_order(order.ticket, true, Progress::Done);
            }
            Ok(Asked::Admit(_)) => out.report(order.ticket, Progress::Done),
            Ok(Asked::Move(motion)) => self.accept(now, order, motion, out),
        }
        actor
    }

    fn judge(&self, now: Mono, order: &Order<DoorAction>) -> Result<Asked, Progress> {
        if now > order.deadline {
            return Err(Progress::Expired);
        }
        let asked = match order.what {
            DoorAction::Report => return Ok(Asked::Report),
            DoorAction::AcknowledgeAlarm => return Ok(Asked::Acknowledge),
            _ if self.stopping => return refused(Refusal::Overloaded, "the node is stopping"),
            what => self.asked(now, what)?,
        };
        let (Asked::Move(motion) | Asked::Admit(motion)) = asked else { return Ok(asked) };
        self.is_in_time(order)?;
        if self.config.momentary_only && matches!(motion, Motion::Open | Motion::ForceOpen) {
            return refused(Refusal::Conflict, "this door is never unlocked for longer than a dwell");
        }
        if let Some(cause) = self.overruling(motion, now) {
            return refused(Refusal::Conflict, format!("overruled by {cause}"));
        }
        if matches!(asked, Asked::Move(_)) {
            if self.orders.load(motion) >= ORDERS_MAX {
                return refused(Refusal::Overloaded, format!("{ORDERS_MAX} orders are under way at this door"));
            }
            if motion.unlocks() && !self.lock.up {
                return refused(Refusal::BusDown, "the board of the lock does not answer");
            }
        }
        Ok(asked)
    }

    fn asked(&self, now: Mono, what: DoorAction) -> Result<Asked, Progress> {
        let expect = |expected: Mode| match self.mode {
            mode if mode == expected => Ok(()),
            mode => refused(Refusal::Conflict, format!("the door is {mode:?}, not {expected:?}")),
        };
        let end = |hold| self.release_of(now, hold);
        Ok(Asked::Move(match what {
            DoorAction::Report => return Ok(Asked::Report),
            DoorAction::AcknowledgeAlarm => return Ok(Asked::Acknowledge),
            DoorAction::CancelDelays => return Ok(Asked::CancelDelays),
            DoorAction::Admit(DelayAction::Open) => return Ok(Asked::Admit(Motion::Open)),
            DoorAction::Admit(DelayAction::Close) => return Ok(Asked::Admit(Motion::Close)),
            DoorAction::Open | DoorAction::Delayed(DelayAction::Open) => Motion::Open,
            DoorAction::Close | DoorAction::Delayed(DelayAction::Close) => Motion::Close,
            DoorAction::OpenAndClose { dwell } => Motion::Momentary { dwell: dwell.unwrap_or(self.config.dwell) },
            DoorAction::Lockdown(true) => Motion::Secure(Hold::Lockdown),
            DoorAction::Lockdown(false) => end(Hold::Lockdown),
            DoorAction::Dnd(Switch::On) => Motion::Secure(Hold::Dnd),
            DoorAction::Dnd(Switch::Off) => end(Hold::Dnd),
            DoorAction::Dnd(Switch::Toggle { expect: expected }) => {
                expect(expected)?;
                if self.is_held(Hold::Dnd) { end(Hold::Dnd) } else { Motion::Secure(Hold::Dnd) }
            }
            DoorAction::Force(ForceState::Open) => Motion::ForceOpen,
            DoorAction::Force(ForceState::Closed) => Motion::Secure(Hold::Force),
            DoorAction::Force(ForceState::Released) => end(Hold::Force),
            DoorAction::ForceToggle { expect: expected } => {
                expect(expected)?;
                if let Some(cause) = self.highest_of(Ordered::ForceToggle, now) {
                    return refused(Refusal::Conflict, format!("overruled by {cause}"));
                }
                match self.force() {
                    Some(_) => end(Hold::Force),
                    None if self.ruling(now).unlocks => Motion::Secure(Hold::Force),
                    None => Motion::ForceOpen,
                }
            }
        }))
    }

    /// Reordering on the way cannot undo what was ordered later.
    fn is_in_time(&self, order: &Order<DoorAction>) -> Result<(), Progress> {
        // What the node itself does, it does now, whatever the clock of the cloud says.
        if order.ticket.is_own() {
            return Ok(());
        }
        if let DoorAction::Delayed(_) = order.what {
            // Everything since may be newer, and none of it took the delay back, but a close.
            let closed = order.issued_at.as_millis() <= self.durable.closed_issued_at_ms;
            return if closed { Err(Progress::Cancelled) } else { Ok(()) };
        }
        let level_issued_at =
            Some(Wall::from_millis(self.durable.level_issued_at_ms)).max(self.orders.opens_issued_at());
        if Some(order.issued_at) < level_issued_at {
            return refused(Refusal::Conflict, "a command issued later has been applied to this door");
        }
        Ok(())
    }

    fn release_of(&self, now: Mono, hold: Hold) -> Motion {
        let causes = match hold {
            Hold::Lockdown => self.causes(now).without(Cause::Lockdown),
            Hold::Force => self.causes(now).without(Cause::ForceOpen).without(Cause::ForceClosed),
            Hold::Dnd => self.causes(now).without(Cause::Dnd),
        };
        Motion::Release { hold, opens: Ruling::of(causes).unlocks && !self.ruling(now).unlocks }
    }

    fn accept(&mut self, now: Now, order: Order<DoorAction>, motion: Motion, out: &mut Effects) {
        let held = HeldBy { by: order.by.clone(), since: now.wall };
        let ticket = order.ticket;
        match motion {
            // In force while it waits, durable once it is confirmed.
            Motion::Open | Motion::Momentary { .. } => {}
            Motion::ForceOpen => out.hold = Some((Hold::Force, true)),
            Motion::Release { hold, opens: true } => out.hold = Some((hold, false)),
            // Into the state and towards the disk at once, whatever becomes of the order.
            Motion::Close => {
                self.durable.manual_open = None;
                self.durable.manual_close = Some(held);
                self.momentary = None;
                self.orders.missed(Mono::MAX, self.contact != ContactState::Unknown, out);
                if order.what == DoorAction::Close {
                    self.cancel_delays(&order, "door.close", out);
                }
                self.level_issued(order.issued_at, out);
            }
            Motion::Secure(hold) => {
                out.hold = (!self.is_held(hold)).then_some((hold, true));
                match hold {
                    Hold::Lockdown => self.durable.lockdown = Some(held),
                    Hold::Dnd => self.durable.dnd = Some(held),
                    Hold::Force => {
                        out.hold = (self.force() != Some(Force::Closed)).then_some((hold, true));
                        self.durable.force = Some(Forced { state: Force::Closed, held });
                    }
                }
                self.level_issued(order.issued_at, out);
            }
            Motion::Release { hold, opens: false } => {
                let held = self.is_held(hold) || self.force().is_some() && hold == Hold::Force;
                out.hold = held.then_some((hold, false));
                self.let_go(hold);
                self.level_issued(order.issued_at, out);
                if !held && self.lock.lost {
                    // Nothing was there to end, so there is nothing that the board could fail to confirm.
                    return out.report_in_order(ticket, true, Progress::Done);
                }
            }
        }
        self.orders.accept(Pending::new(&order, motion, order.by.clone()), out);
        if self.lock.lost {
            // What opens is refused while the board does not answer. One that was not heard of yet is waited for.
            self.orders.fail(ticket, "bus_down: the board of the lock does not answer", out);
        }
    }

    fn cancel_delays(&mut self, order: &Order<DoorAction>, command: &'static str, out: &mut Effects) {
        let issued_at = if order.ticket.is_own() { Wall::MAX } else { order.issued_at };
        // The node's own clock stands for the cloud's where no command says what that shows.
        self.durable.closed_issued_at_ms = self.durable.closed_issued_at_ms.max(order.issued_at.as_millis());
        out.closed = Some(Closed { command, issued_at, by: order.by.clone() });
    }

    fn let_go(&mut self, hold: Hold) {
        match hold {
            Hold::Lockdown => self.durable.lockdown = None,
            Hold::Force => self.durable.force = None,
            Hold::Dnd => self.durable.dnd = None,
        }
    }

    /// A level command took hold.
    fn level_issued(&mut self, issued_at: Wall, out: &mut Effects) {
        self.durable.level_issued_at_ms = self.durable.level_issued_at_ms.max(issued_at.as_millis());
        out.durable = Some(self.durable.clone());
    }

    fn acknowledge(&mut self, order: &Order<DoorAction>, out: &mut Effects) {
        let resets = !self.fire && std::mem::take(&mut self.durable.fire_latched);
        if resets {
            out.event(EventBody::FireReset { door: out.door(), actor: order.by.clone() });
            out.durable = Some(self.durable.clone());
        }
        let seen = self.alarms.acknowledge(&order.by, out);
        if seen || resets {
            return out.report_in_order(order.ticket, resets, Progress::Done);
        }
        let why = if self.fire { "the fire input is still active" } else { "no alarm stands at this door" };
        out.report(order.ticket, Progress::Refused(Refusal::Conflict, why.to_owned()));
    }

    /// The cause that stands in the way of an order, as the table of orders says.
    fn overruling(&self, motion: Motion, at: Mono) -> Option<&'static str> {
        let ordered = match motion {
            Motion::Open | Motion::Momentary { .. } => Ordered::Open,
            Motion::Close => Ordered::Close,
            Motion::ForceOpen => Ordered::ForceOpen,
            Motion::Secure(Hold::Force) => Ordered::ForceClosed,
            Motion::Secure(Hold::Dnd) => Ordered::DndOn,
            Motion::Secure(Hold::Lockdown) | Motion::Release { .. } => return None,
        };
        self.highest_of(ordered, at)
    }

    fn highest_of(&self, ordered: Ordered, at: Mono) -> Option<&'static str> {
        let in_the_way = ordered.refused_under();
        self.causes(at).rows().find(|row| in_the_way.contains(&row.cause)).map(|row| row.name)
    }

    /// Takes back what waits and cannot be any more. What is in the state stays there.
    pub(super) fn drop_overruled(&mut self, now: Mono, out: &mut Effects) {
        let [open, close, force_open] =
            [Motion::Open, Motion::Close, Motion::ForceOpen].map(|motion| self.overruling(motion, now).is_some());
        let overruled = |motion| match motion {
            Motion::Open | Motion::Momentary { .. } => open,
            Motion::Close => close,
            Motion::ForceOpen => force_open,
            Motion::Secure(_) | Motion::Release { .. } => false,
        };
        self.orders.cancel(overruled, out);
        if self.causes(now).contains(Cause::ForceOpen) {
            let beneath = |motion| motion == Motion::Secure(Hold::Dnd);
            self.orders.fail_those(beneath, "overruled by force open before it was confirmed", out);
        }
    }

    /// Releases that open nothing are in the state; they have been carried out once the lock is read back as
    /// the door then wants it.
    pub(super) fn settle_releases(&mut self, now: Mono, out: &mut Effects) -> Ruling {
        let mut ruling = self.ruling(now);
        while !ruling.unlocks
            && let Some((hold, issued_at)) = self.orders.promote_release()
        {
            self.let_go(hold);
            self.level_issued(issued_at, out);
            ruling = self.ruling(now);
        }
        while self.lock.up
            && self.lock.agrees(ruling.unlocks)
            && let Some(pending) = self.orders.take_release()
        {
            out.report_in_order(pending.ticket, true, Progress::Actuated { observation_follows: false });
        }
        ruling
    }

    /// The board confirmed an order. An opening that lasts becomes durable only now, so that one whose
    /// deadline passed can never be restored after a crash.
    pub(super) fn actuated(&mut self, now: Now, pending: Pending, out: &mut Effects) {
        let ticket = pending.ticket;
        let by = HeldBy { by: pending.actor.clone(), since: now.wall };
        let (held, dwell) = match pending.motion {
            Motion::Close | Motion::Secure(_) => {
                out.report_in_order(ticket, true, Progress::Actuated { observation_follows: false });
                return;
            }
            Motion::Release { hold, .. } => {
                self.let_go(hold);
                self.level_issued(pending.issued_at, out);
                out.report_in_order(ticket, true, Progress::Actuated { observation_follows: false });
                return;
            }
            Motion::Open => {
                self.durable.manual_open = Some(by);
                self.durable.manual_close = None;
                self.level_issued(pending.issued_at, out);
                (true, self.config.dwell)
            }
            Motion::ForceOpen => {
                self.durable.force = Some(Forced { state: Force::Open, held: by });
                self.level_issued(pending.issued_at, out);
                (true, self.config.dwell)
            }
            Motion::Momentary { dwell } => {
                if !pending.passage.ends(self.config.relock) {
                    // Never later than what the bus was told while it waited.
                    self.unlock_until((now.mono + dwell).min(pending.deadline + dwell), false);
                }
                (false, dwell)
            }
        };
        let observed = pending.passage.opened || self.contact == ContactState::Open;
        let observation_follows = observed || self.contact == ContactState::Closed;
        out.report_in_order(ticket, held, Progress::Actuated { observation_follows });
        if observed {
            out.report_in_order(ticket, held, Progress::Observed);
        } else if observation_follows {
            let until = now.mono + dwell + OPEN_GRACE;
            self.orders.watch(Watch { order: Some((ticket, held)), actor: pending.actor, until });
        }
    }
}

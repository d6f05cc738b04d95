//! An order at the door: whether it is taken, what it does at once, and what its confirmation does.
//! Must never report an order twice. Invariant: what opens takes hold of the state only while its order
//! waits or after the board confirmed it; what secures takes hold at once and stays.

use super::{
    ContactState, ManualOpen,
    input::Effects,
    orders::{Motion, OPEN_GRACE, ORDERS_MAX, Pending, Watch},
    precedence::Cause,
    state::Door,
};
use crate::domain::{
    event::{Actor, Refusal},
    order::{DoorAction, Order, Progress},
    time::{Mono, Now, Wall},
};

impl Door {
    pub(super) fn order(&mut self, now: Now, order: Order<DoorAction>, out: &mut Effects) -> Actor {
        let actor = order.by.clone();
        let motion = match order.what {
            DoorAction::Open => Some(Motion::Open),
            DoorAction::Close => Some(Motion::Close),
            DoorAction::OpenAndClose { dwell } => Some(Motion::Momentary { dwell: dwell.unwrap_or(self.config.dwell) }),
            DoorAction::Report
            | DoorAction::Dnd(_)
            | DoorAction::ForceToggle { .. }
            | DoorAction::Force(_)
            | DoorAction::Lockdown(_)
            | DoorAction::AcknowledgeAlarm => None,
        };
        match (self.judge(now.mono, &order, motion), motion) {
            (Err(progress), _) => out.report(order.ticket, progress),
            (Ok(()), None) => out.report(order.ticket, Progress::Reported(Box::new(self.status()))),
            (Ok(()), Some(motion)) => self.accept(order, motion, actor.clone(), out),
        }
        actor
    }

    fn judge(&self, now: Mono, order: &Order<DoorAction>, motion: Option<Motion>) -> Result<(), Progress> {
        if now > order.deadline {
            return Err(Progress::Expired);
        }
        let Some(motion) = motion else { return Ok(()) };
        let refuse = |refusal, detail: String| Err(Progress::Refused(refusal, detail));
        if self.stopping {
            return refuse(Refusal::Overloaded, "the node is stopping".to_owned());
        }
        if self.orders.load(motion) >= ORDERS_MAX {
            return refuse(Refusal::Overloaded, format!("{ORDERS_MAX} orders are under way at this door"));
        }
        let level_issued_at =
            Some(Wall::from_millis(self.durable.level_issued_at_ms)).max(self.orders.opens_issued_at());
        // What the node itself does, it does now, whatever the clock of the cloud says.
        if Some(order.issued_at) < level_issued_at && !order.ticket.is_own() {
            return refuse(Refusal::Conflict, "a command issued later has been applied to this door".to_owned());
        }
        if let Some(cause) = self.overruling(motion, now) {
            return refuse(Refusal::Conflict, format!("overruled by {cause}"));
        }
        if motion.unlocks() && !self.lock.up {
            return refuse(Refusal::BusDown, "the board of the lock does not answer".to_owned());
        }
        Ok(())
    }

    fn accept(&mut self, order: Order<DoorAction>, motion: Motion, actor: Actor, out: &mut Effects) {
        match motion {
            // In force while it waits, durable once it is confirmed.
            Motion::Open | Motion::Momentary { .. } => {}
            // Securing: into the state and towards the disk at once, whatever becomes of the order.
            Motion::Close => {
                self.level_issued(order.issued_at);
                self.durable.manual_open = None;
                self.auto_open = false;
                self.momentary = None;
                self.orders.missed(Mono::MAX, self.contact != ContactState::Unknown, out);
                out.durable = Some(self.durable.clone());
            }
        }
        self.orders.accept(Pending::new(&order, motion, actor), out);
        if !self.lock.up {
            // Only a closing gets here: what opens is refused while the board is lost.
            let detail = "bus_down: the board of the lock does not answer; the door locks as soon as it does";
            self.orders.fail(order.ticket, detail, out);
        }
    }

    fn level_issued(&mut self, at: Wall) {
        self.durable.level_issued_at_ms = self.durable.level_issued_at_ms.max(at.as_millis());
    }

    /// The cause that stands in the way of an order: an opening must not wait under a cause that
    /// outranks it, and a closing not under one that holds the lock open. A REX, being momentary, stands
    /// in nobody's way.
    pub(super) fn overruling(&self, motion: Motion, at: Mono) -> Option<&'static str> {
        let in_the_way = |cause: Cause| match cause {
            Cause::Fire => motion == Motion::Close,
            Cause::ForceOpen => true,
            Cause::Interlock | Cause::Lockdown | Cause::ForceClosed | Cause::Dnd => motion.unlocks(),
            Cause::Rex | Cause::Manual | Cause::AutoOpen | Cause::Grant => false,
        };
        self.causes(at).rows().find(|row| in_the_way(row.cause)).map(|row| row.name)
    }

    /// The board confirmed an order. An opening that lasts becomes durable only now, so that one whose
    /// deadline passed can never be restored after a crash.
    pub(super) fn actuated(&mut self, now: Mono, pending: Pending, out: &mut Effects) {
        let ticket = pending.ticket;
        let (held, dwell) = match pending.motion {
            Motion::Close => {
                out.report_in_order(ticket, true, Progress::Actuated { observation_follows: false });
                return;
            }
            Motion::Open => {
                self.durable.manual_open = Some(ManualOpen { by: pending.actor.clone() });
                self.level_issued(pending.issued_at);
                out.durable = Some(self.durable.clone());
                (true, self.config.dwell)
            }
            Motion::Momentary { dwell } => {
                if !pending.passage.ends(self.config.relock) {
                    // Never later than what the bus was told while it waited.
                    self.unlock_until((now + dwell).min(pending.deadline + dwell), false);
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
            let until = now + dwell + OPEN_GRACE;
            self.orders.watch(Watch { order: Some((ticket, held)), actor: pending.actor, until });
        }
    }
}

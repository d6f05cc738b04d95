//! Delayed commands. Owns when each was admitted; must never know when the desk believes that it is due. Invariant:
//! a delayed command reaches its door after its delay and not before, once, and never after it was cancelled.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use latchd::{
    domain::{
        door::DelayAction,
        event::Actor,
        ids::Id,
        order::{DoorAction, Order, Task},
        time::{ClockTrust, Now},
    },
    wire::outcome::Stage,
};

use super::{Asked, Invariant, Oracle};

/// Wall time is told in full milliseconds.
const LAG: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
pub struct DelayWatch {
    /// By command: when its door was first asked whether it would be taken.
    admitted: BTreeMap<Id, Now>,
    /// The cloud was told so: that stays true, whatever crashes.
    cancelled: BTreeSet<Id>,
}

impl DelayWatch {
    pub fn outcome(&mut self, jti: &Id, stage: Stage) {
        if stage == Stage::Cancelled {
            self.cancelled.insert(jti.clone());
        }
    }
}

/// Whether an order is what was asked for: of a delay, first whether it would be taken.
pub fn is_asked(asked: &Asked, order: &Order) -> bool {
    // Under one id two may have asked for the same.
    if matches!(&order.by, Actor::Operator { operator, .. } if operator.as_str() != asked.operator) {
        return false;
    }
    match (&asked.task, &order.what) {
        (Task::Door(at, DoorAction::Delayed(action)), Task::Door(door, DoorAction::Admit(asked))) => {
            at == door && action == asked
        }
        (Task::Lockdown { on, .. }, Task::Lockdown { on: asked_on, .. }) if asked.partition.is_some() => on == asked_on,
        (task, what) => task == what,
    }
}

impl Oracle {
    pub(super) fn delay_emitted(&mut self, now: Now, order: &Order) {
        if let (Task::Door(_, DoorAction::Admit(_)), Some(jti)) = (&order.what, order.by.cause()) {
            self.delays.admitted.entry(jti.clone()).or_insert(now);
        }
    }

    /// By either of its clocks: one of them may have been set meanwhile, or stood still while the node was off.
    pub(super) fn delay_delivered(&mut self, now: Now, order: &Order) {
        let (Task::Door(_, DoorAction::Delayed(_)), Some(jti)) = (&order.what, order.by.cause()) else { return };
        let delay = self.asked.get(jti).into_iter().flatten().filter_map(|asked| asked.delay).min();
        let (Some(delay), Some(admitted)) = (delay, self.delays.admitted.get(jti)) else {
            return self.fail(Invariant::DelaysKeepTheirTime, format!("{jti} was never admitted as a delay"));
        };
        let waited = now.mono.since(admitted.mono).max(now.wall.since(admitted.wall));
        // Of an earlier run, while nobody knows what time it is: a closing is not held back, for it does no harm.
        let closes = matches!(order.what, Task::Door(_, DoorAction::Delayed(DelayAction::Close)));
        let in_doubt = closes && now.trust == ClockTrust::Untrusted;
        if waited + LAG < delay && !in_doubt {
            let what = format!("{jti} reaches its door after {waited:?}, its delay is {delay:?}");
            return self.fail(Invariant::DelaysKeepTheirTime, what);
        }
        if self.delays.cancelled.contains(jti) {
            self.fail(Invariant::DelaysKeepTheirTime, format!("{jti} was cancelled, and reaches its door"));
        }
    }
}

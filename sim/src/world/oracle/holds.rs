//! Lockdown, force and DND. Owns what lies over each door, learnt from the orders that were delivered and what was
//! handed to the ledger; must never ask a door for its causes. Invariant: what lies over a door was ordered, lies
//! there through every crash, and keeps the door shut but for fire and exit buttons.

use latchd::domain::{
    door::{DoorStatus, DurableDoor, Force, Mode},
    event::{Actor, DenialReason},
    ids::Id,
    order::{DoorAction, Switch, Task},
    record::ForceState,
    time::Mono,
};

use super::{Invariant, Oracle, authority::unlocks};
use crate::world::site::Site;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    pub lockdown: bool,
    pub force: Option<Force>,
    pub dnd: bool,
}

impl Holds {
    pub fn of(state: &DurableDoor) -> Holds {
        Holds {
            lockdown: state.lockdown.is_some(),
            force: state.force.as_ref().map(|forced| forced.state),
            dnd: state.dnd.is_some(),
        }
    }

    /// What opens holds again after a start only where the installer says so.
    pub fn started(state: Option<&DurableDoor>, restores: bool) -> Holds {
        let found = state.map(Holds::of).unwrap_or_default();
        Holds { force: found.force.filter(|force| restores || *force == Force::Closed), ..found }
    }

    /// Why nobody is let in.
    pub fn denies(self) -> Option<DenialReason> {
        let reasons = [
            (self.lockdown, DenialReason::LockedDown),
            (self.force.is_some(), DenialReason::Forced),
            (self.dnd, DenialReason::Dnd),
        ];
        reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
    }

    /// Only fire and exit buttons open it.
    pub fn shut(self) -> bool {
        self.lockdown || self.force == Some(Force::Closed) || (self.dnd && self.force.is_none())
    }

    pub fn forced_open(self) -> bool {
        self.force == Some(Force::Open) && !self.lockdown
    }

    /// Without fire, exit button and an interlock.
    fn mode(self) -> Option<Mode> {
        if self.lockdown {
            return Some(Mode::LockedDown);
        }
        match (self.force, self.dnd) {
            (Some(Force::Open), _) => Some(Mode::LockedOpen),
            (Some(Force::Closed), _) => Some(Mode::LockedDown),
            (None, true) => Some(Mode::Blocked),
            (None, false) => None,
        }
    }
}

/// What an action may make of the holds.
fn leads_to(action: DoorAction, before: Holds, after: Holds) -> bool {
    let wanted: &[Holds] = &match action {
        DoorAction::Lockdown(on) => [Holds { lockdown: on, ..before }; 2],
        DoorAction::Dnd(Switch::On) => [Holds { dnd: true, ..before }; 2],
        DoorAction::Dnd(Switch::Off) => [Holds { dnd: false, ..before }; 2],
        DoorAction::Dnd(Switch::Toggle { .. }) => [Holds { dnd: !before.dnd, ..before }; 2],
        DoorAction::Force(ForceState::Open) => [Holds { force: Some(Force::Open), ..before }; 2],
        DoorAction::Force(ForceState::Closed) => [Holds { force: Some(Force::Closed), ..before }; 2],
        DoorAction::Force(ForceState::Released) => [Holds { force: None, ..before }; 2],
        DoorAction::ForceToggle { .. } if before.force.is_some() => [Holds { force: None, ..before }; 2],
        DoorAction::ForceToggle { .. } => {
            [Force::Open, Force::Closed].map(|force| Holds { force: Some(force), ..before })
        }
        _ => return false,
    };
    wanted.contains(&after)
}

/// May unlock the door once its board has confirmed it.
pub fn may_open(action: DoorAction) -> bool {
    unlocks(action) || releases(action)
}

/// Might unlock: a door that something lay over may be open beneath it.
pub fn releases(action: DoorAction) -> bool {
    matches!(
        action,
        DoorAction::Lockdown(false)
            | DoorAction::Dnd(Switch::Off | Switch::Toggle { .. })
            | DoorAction::Force(ForceState::Open | ForceState::Released)
            | DoorAction::ForceToggle { .. }
    )
}

impl Oracle {
    /// A door hands its state to the ledger.
    pub(super) fn holds_written(&mut self, site: &Site, door: usize, state: &DurableDoor) {
        let before = self.doors[door].holds;
        let after = Holds::of(state);
        self.doors[door].holds = after;
        if before == after {
            return;
        }
        let at_door = |task: &Task| match task {
            Task::Door(at, action) => (at.index() == door).then_some(*action),
            Task::Lockdown { doors, on, .. } => {
                doors.iter().any(|at| at.index() == door).then_some(DoorAction::Lockdown(*on))
            }
            _ => None,
        };
        // In the present run, for what lies over a door from an earlier one is there from the beginning.
        let ordered = |jti: &Id| self.asked.get(jti).into_iter().flatten().filter_map(|asked| at_door(&asked.task));
        let caused = self.reached.iter().flat_map(ordered).any(|action| leads_to(action, before, after));
        let own = matches!(&state.lockdown, Some(held) if matches!(held.by, Actor::SystemEvent { .. }));
        if own && !before.lockdown && !self.own_lockdowns.contains(&door) {
            let what = format!("{} is locked down by a system event that may not: {state:?}", site.doors[door].id);
            return self.fail(Invariant::ActsForItsAuthor, what);
        }
        let by_itself = self.own_lockdowns.contains(&door) && leads_to(DoorAction::Lockdown(true), before, after);
        if !caused && !by_itself {
            let what = format!("{} goes from {before:?} to {after:?}, which nobody ordered", site.doors[door].id);
            self.fail(Invariant::HeldIsShut, what);
        }
    }

    /// After a step of the doors: the mode is that of what lies over the door, unless something higher speaks.
    pub(super) fn check_holds(&mut self, site: &Site, now: Mono, statuses: &[DoorStatus], what: &str) {
        for (at, ((watch, status), door)) in self.doors.iter().zip(statuses).zip(&site.doors).enumerate() {
            let interlocked = site.mantrap.contains(&at) && status.mode == Mode::Blocked;
            let higher = watch.safety_at(now) || interlocked || watch.stopping || watch.orders_release();
            let Some(mode) = watch.holds.mode().filter(|_| !higher) else { continue };
            if status.mode != mode {
                let what = format!("{} is {:?} on {what}, under {:?}", door.id, status.mode, watch.holds);
                return self.fail(Invariant::HeldIsShut, what);
            }
        }
    }
}

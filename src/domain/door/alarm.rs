//! The door's alarms: forced, propped and the warning before it. Owns which alarm stands and its two
//! timers; must never move the lock. Invariant: one alarm at most stands, each has one event when it
//! begins and one when it is cleared, and none stands while a mode masks them.

use std::time::Duration;

use super::{
    Alarm, DoorConfig,
    input::Effects,
    state::{DoorTimers, Timer},
};
use crate::domain::{
    event::{Actor, EventBody},
    time::Mono,
};

/// ```text
///                      warning due                 propped due
///   None (timing) --------------> PropWarning --------------------> Propped
///     ^  |                            |                                |
///     |  | opened without right       |                                |
///     |  v                            v                                v
///   Forced ----------> the door closes, or a mode that masks begins: None
///
///   opened by right, found open, or a masking mode ends over an open door: timing starts
/// ```
#[derive(Debug)]
pub(super) struct Alarms {
    standing: Alarm,
    acknowledged: bool,
    masked: bool,
}

/// Until when the door may stand open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    warn_at: Option<Mono>,
    prop_at: Mono,
}

impl Allowance {
    pub fn from(now: Mono, config: &DoorConfig, extended: bool) -> Allowance {
        let open_time = if extended { config.open_time_extended } else { config.open_time };
        let warn_after = open_time.saturating_sub(config.pre_alarm);
        let warn_at = (config.pre_alarm > Duration::ZERO).then_some(now + warn_after);
        Allowance { warn_at, prop_at: now + open_time }
    }
}

impl Alarms {
    pub fn none() -> Alarms {
        Alarms { standing: Alarm::None, acknowledged: false, masked: false }
    }

    pub fn standing(&self) -> Alarm {
        self.standing
    }

    pub fn acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Somebody has seen what stands; a second time says nothing new. False: nothing stands.
    pub fn acknowledge(&mut self, actor: &Actor, out: &mut Effects) -> bool {
        let stands = self.standing != Alarm::None;
        if stands && !std::mem::replace(&mut self.acknowledged, true) {
            let (door, alarm, actor) = (out.door(), self.standing, actor.clone());
            out.event(EventBody::DoorAlarmAcknowledged { door, alarm, actor });
        }
        stands
    }

    /// The contact was seen to open.
    pub fn opened(&mut self, by_right: bool, allowed: Allowance, timers: &mut DoorTimers, out: &mut Effects) {
        match (self.masked, by_right) {
            (true, _) => {}
            (false, true) => self.found_open(allowed, timers),
            (false, false) => self.raise(Alarm::Forced, out),
        }
    }

    /// The door stands open and nobody saw it open: from here on it has the usual time to close.
    pub fn found_open(&mut self, allowed: Allowance, timers: &mut DoorTimers) {
        if !self.masked && matches!(self.standing, Alarm::None | Alarm::PropWarning) {
            timers.set(Timer::PropWarning, allowed.warn_at);
            timers.set(Timer::Propped, Some(allowed.prop_at));
        }
    }

    pub fn closed(&mut self, timers: &mut DoorTimers, out: &mut Effects) {
        self.contact_lost(timers);
        self.clear(out);
    }

    /// Nobody sees the door any more: what stands keeps standing, nothing new is timed.
    pub fn contact_lost(&mut self, timers: &mut DoorTimers) {
        timers.stop(Timer::PropWarning);
        timers.stop(Timer::Propped);
    }

    /// Whether the door's mode masks alarms; `open` carries the allowance of a door that stands open.
    pub fn mask(&mut self, masked: bool, open: Option<Allowance>, timers: &mut DoorTimers, out: &mut Effects) {
        if masked == self.masked {
            return;
        }
        self.masked = masked;
        match (masked, open) {
            (true, _) => self.closed(timers, out),
            (false, Some(allowed)) => self.found_open(allowed, timers),
            (false, None) => {}
        }
    }

    pub fn advance(&mut self, now: Mono, timers: &mut DoorTimers, out: &mut Effects) {
        if timers.take_due(Timer::PropWarning, now) && self.standing == Alarm::None {
            self.raise(Alarm::PropWarning, out);
        }
        if timers.take_due(Timer::Propped, now) {
            self.raise(Alarm::Propped, out);
        }
    }

    fn raise(&mut self, alarm: Alarm, out: &mut Effects) {
        if self.standing == alarm {
            return;
        }
        self.standing = alarm;
        self.acknowledged = false;
        let door = out.door();
        match alarm {
            Alarm::None => {}
            Alarm::Forced => out.event(EventBody::DoorForced { door }),
            Alarm::PropWarning => out.event(EventBody::DoorPropWarned { door }),
            Alarm::Propped => out.event(EventBody::DoorPropped { door }),
        }
    }

    fn clear(&mut self, out: &mut Effects) {
        if self.standing != Alarm::None {
            self.standing = Alarm::None;
            self.acknowledged = false;
            let door = out.door();
            out.event(EventBody::DoorAlarmCleared { door });
        }
    }
}

//! The relays of an elevator: what each is told, as a function of the state, and what it was read back to be.
//! Must never remember what was told before. Invariant: an enabling that ends by itself carries its end in
//! `until`, so the relay falls even if nobody asks the elevator again.

use super::{Elevator, RelayState};
use crate::domain::{
    outputs::{Desired, Level},
    time::Mono,
};

/// A relay as the bus knows it.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    /// Whether its board answers; `None` before the first word of it.
    pub up: Option<bool>,
    pub state: RelayState,
    mismatched: bool,
}

impl Relay {
    pub fn unknown() -> Relay {
        Relay { up: None, state: RelayState::Unknown, mismatched: false }
    }

    pub fn board(&mut self, up: bool) {
        self.up = Some(up);
        if !up {
            self.state = RelayState::Unknown;
        }
    }

    pub fn read_back(&mut self, enabled: bool) {
        self.state = if enabled { RelayState::Enabled } else { RelayState::Disabled };
    }

    pub fn agrees(&self, enabled: bool) -> bool {
        self.state == if enabled { RelayState::Enabled } else { RelayState::Disabled }
    }

    /// The bus gave up writing for now. True if that is news.
    pub fn mismatch(&mut self, wanted: bool) -> bool {
        !self.agrees(wanted) && !std::mem::replace(&mut self.mismatched, true)
    }

    /// True if a relay that did not follow is as it should be again.
    pub fn settle(&mut self, wanted: bool) -> bool {
        self.mismatched && self.agrees(wanted) && std::mem::take(&mut self.mismatched)
    }
}

impl Elevator {
    /// The desired state of each floor's output, complete in itself.
    pub fn desired(&self, now: Mono, out: &mut Vec<Desired>) {
        out.extend(self.config.floors.iter().enumerate().map(|(floor, config)| {
            let level = |enabled: bool| if enabled { config.enabled_level } else { config.enabled_level.inverted() };
            let enabled = self.enables(floor, now);
            let until = self.ends(floor).filter(|end| enabled && *end > now && !self.enables(floor, *end));
            Desired {
                output: config.output,
                level: level(enabled),
                until,
                rest: level(enabled && until.is_none()),
                order: self.orders.slot(floor, enabled),
            }
        }));
    }

    /// After a stop: every board that answers has confirmed what the policy says.
    pub fn stopped(&self) -> bool {
        let settled =
            |(floor, state): (usize, &super::state::Floor)| state.relay.agrees(self.enables(floor, Mono::MAX));
        self.stopping && self.floors.iter().enumerate().all(settled)
    }

    pub(super) fn level_enables(&self, floor: usize, level: Level) -> bool {
        self.config.floors.get(floor).is_some_and(|config| config.enabled_level == level)
    }
}

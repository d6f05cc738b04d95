//! The watchdogs of boards: whether each can be armed, and with what. Owns what an output is to be when nobody
//! speaks to its board any more; must never arm one that would open a door. Invariant: what a watchdog does is
//! what the installer set as `at_stop` (of floors as `fail`).

use std::{collections::BTreeMap, time::Duration};

use super::Checker;
use crate::{
    config::{profile, raw::RawBoard, report::Diagnostic, site::Board},
    domain::{
        door::{DoorConfig, StopPolicy},
        elevator::FailPolicy,
        field::{FieldConfig, OutputStop},
        ids::OutputRef,
        outputs::Level,
    },
};

/// What an output is to be without the daemon; `None`: as it was.
pub(super) type AtDeath = BTreeMap<OutputRef, Option<Level>>;

pub(super) fn at_death(doors: &[DoorConfig], field: &FieldConfig) -> AtDeath {
    let mut levels = AtDeath::new();
    for door in doors {
        let level = match door.at_stop {
            StopPolicy::Lock => Some(door.unlocked_level.inverted()),
            StopPolicy::Unlock => Some(door.unlocked_level),
            StopPolicy::Keep => None,
        };
        levels.insert(door.lock, level);
    }
    for output in &field.outputs {
        let level = match output.at_stop {
            OutputStop::Off => Some(output.on_level.inverted()),
            OutputStop::On => Some(output.on_level),
            OutputStop::Keep => None,
        };
        levels.insert(output.output, level);
    }
    for group in &field.floor_groups {
        for floor in &group.floors {
            let level = match group.fail {
                FailPolicy::Secure => Some(floor.enabled_level.inverted()),
                FailPolicy::Free => Some(floor.enabled_level),
                FailPolicy::Keep => None,
            };
            levels.insert(floor.output, level);
        }
    }
    levels
}

impl Checker<'_> {
    pub(super) fn watchdogs(&self, raw: &[RawBoard], boards: &mut [Board], levels: &AtDeath) {
        for (board, raw) in boards.iter_mut().zip(raw) {
            self.watchdog(raw, board, levels);
        }
    }

    fn watchdog(&self, raw: &RawBoard, board: &mut Board, levels: &AtDeath) {
        let asked = raw.watchdog.as_ref();
        let Some(watchdog) = &board.config.profile.watchdog else {
            if let Some(at) = asked.filter(|at| !at.value.is_zero()) {
                let finding = Diagnostic::error("this board has no watchdog");
                self.sink.add(finding.at(at.span, format!("its profile `{}` names none", board.config.profile.name)));
            }
            return;
        };
        let (least, most) = (watchdog.timeout_min, watchdog.timeout_max);
        let timeout = match asked {
            Some(at) if at.value.is_zero() => return,
            Some(at) => at.value,
            None => profile::usual_timeout(watchdog),
        };
        let span = asked.map_or(raw.span, |at| at.span);
        if !(least..=most).contains(&timeout) {
            let finding = Diagnostic::error("the board's watchdog knows no such timeout");
            let label = format!("expected `watchdog_ms` from {} to {}", least.as_millis(), most.as_millis());
            self.sink.add(finding.at(span, label));
            return;
        }
        // A watchdog that strikes between two polls would be no guard but a fault.
        let quietest = (board.config.poll * 4).max(Duration::from_secs(1));
        if timeout < quietest {
            let finding = Diagnostic::error("the watchdog would strike while all is well");
            self.sink.add(finding.at(span, format!("expected `watchdog_ms` of at least {}", quietest.as_millis())));
            return;
        }
        let mut safe = Vec::with_capacity(board.config.profile.outputs.len());
        let mut against = None;
        for (output, point) in (0_u16..).zip(&board.config.profile.outputs) {
            let output = OutputRef { board: board.config.board, output };
            let level = levels.get(&output).copied().unwrap_or(Some(Level::Released));
            match level {
                None if asked.is_none() => {
                    against = against.or(Some(format!("`{}` is to stay as it was", point.name)));
                }
                Some(Level::Energised) if point.safe_coil.is_none() => {
                    against = against.or(Some(format!("`{}` is to be energised then, and would not be", point.name)));
                }
                _ => {}
            }
            safe.push(level.unwrap_or(Level::Released));
        }
        let why = "when the daemon is dead (`at_stop`, of floors `fail`)";
        match (against, asked) {
            (None, _) => board.config.watchdog = Some((timeout, safe)),
            (Some(against), Some(_)) => {
                let finding = Diagnostic::error("the board's watchdog would do the wrong thing");
                self.sink.add(finding.at(span, against).help(format!("it releases every output {why}")));
            }
            (Some(against), None) => {
                let finding = Diagnostic::warning(format!("the watchdog of board `{}` is not armed", board.config.id));
                self.sink.add(
                    finding.at(span, against).help(format!(
                        "{why} it would release every output; `watchdog_ms = 0` says that this is known"
                    )),
                );
            }
        }
    }
}

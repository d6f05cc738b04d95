//! What a system event must keep to. Owns its ranges; must never look at what this node has: sets are shared, and
//! what belongs to another node is passed over when it fires. Invariant: what passes can be carried out or says
//! by itself why not.

use std::collections::BTreeMap;

use super::cycle;
use crate::domain::{
    ids::Id,
    record::{Partition, SystemAction, SystemEvent, Trigger},
};

/// In one set.
pub const SYSTEM_EVENTS_MAX: usize = 1000;
const ACTIONS_MAX: usize = 32;
const TEXT_MAX: usize = 200;
const DWELL_MS: std::ops::RangeInclusive<u32> = 100..=540_000;
const DELAY_MS: std::ops::RangeInclusive<u32> = 1..=86_400_000;
const WITHIN_MS: std::ops::RangeInclusive<u32> = 100..=60_000;

/// All that is wrong with them, loops included.
pub fn check(events: &BTreeMap<Id, SystemEvent>, partitions: &BTreeMap<Id, Partition>, fault: &mut dyn FnMut(String)) {
    if events.len() > SYSTEM_EVENTS_MAX {
        let many = events.len();
        return fault(format!("system events: {many} of them; a node takes at most {SYSTEM_EVENTS_MAX}"));
    }
    for (id, event) in events {
        let mut fault = |what: String| fault(format!("system_event {id}: {what}"));
        if event.actions.is_empty() || event.actions.len() > ACTIONS_MAX {
            fault(format!("does {} things; expected 1 to {ACTIONS_MAX} in `do`", event.actions.len()));
        }
        if let Trigger::MultiSwipe { swipes, within_ms, .. } = &event.when {
            if !(2..=4).contains(swipes) {
                fault(format!("swipes: {swipes}; expected 2, 3 or 4"));
            }
            ranged("within_ms", *within_ms, WITHIN_MS, &mut fault);
        }
        for action in &event.actions {
            check_action(action, partitions, &mut fault);
        }
    }
    cycle::check(events, partitions, fault);
}

fn check_action(action: &SystemAction, partitions: &BTreeMap<Id, Partition>, fault: &mut dyn FnMut(String)) {
    let name = action.name();
    match action {
        SystemAction::DoorOpenAndClose { dwell_ms: Some(ms), .. }
        | SystemAction::FloorOpenAndClose { dwell_ms: Some(ms), .. } => ranged("dwell_ms", *ms, DWELL_MS, fault),
        SystemAction::OutputPulse { pulse_ms, .. } => ranged("pulse_ms", *pulse_ms, DWELL_MS, fault),
        SystemAction::DoorOpenWithDelay { delay_ms, .. } | SystemAction::DoorCloseWithDelay { delay_ms, .. } => {
            ranged("delay_ms", *delay_ms, DELAY_MS, fault);
        }
        SystemAction::LockdownSet { doors, partition, node }
        | SystemAction::LockdownClear { doors, partition, node } => {
            let named = usize::from(!doors.is_empty()) + usize::from(partition.is_some()) + usize::from(*node);
            if named != 1 {
                fault(format!("{name}: expected one of `doors`, `partition` and `node`"));
            }
            if let Some(partition) = partition.as_ref().filter(|partition| !partitions.contains_key(*partition)) {
                fault(format!("{name}: partition {partition} does not exist"));
            }
            return;
        }
        SystemAction::Alarm { text: Some(text) } | SystemAction::Notify { text: Some(text) }
            if text.chars().count() > TEXT_MAX || text.chars().any(char::is_control) =>
        {
            fault(format!("{name}: the text is longer than {TEXT_MAX} characters or not one line"));
        }
        _ => {}
    }
    let at_doors =
        action.command().is_some_and(|command| command.starts_with("door.") || command.starts_with("alarm."));
    if at_doors && action.doors().is_empty() {
        fault(format!("{name}: names no doors"));
    }
}

fn ranged(name: &str, value: u32, range: std::ops::RangeInclusive<u32>, fault: &mut dyn FnMut(String)) {
    if !range.contains(&value) {
        fault(format!("{name}: {value}; expected {} to {}", range.start(), range.end()));
    }
}

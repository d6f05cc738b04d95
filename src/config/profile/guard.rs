//! What a board does by itself, as a profile says it: timers of outputs, the communication watchdog. Owns these
//! tables' format; must never decide whether they are used. Invariant: what is accepted can be written to a
//! board.

use std::time::Duration;

use crate::{
    config::{
        reader::Table,
        report::{At, Diagnostic},
    },
    domain::fieldbus::{GuardAddress, GuardValue, GuardWrite, OutputTimer, TimerWrite, Watchdog},
};

/// Writes in `arm`: far more than any board needs.
const ARM_MAX: usize = 16;
const UNIT_MAX_MS: u64 = 60_000;
const TIMEOUT_MAX_MS: u64 = 3_600_000;

pub fn timer(table: Table<'_>) -> Option<OutputTimer> {
    let write = table.required("write").word(&[("coil", TimerWrite::Coil), ("holding_register", TimerWrite::Register)]);
    let energised_for = table.optional("energised_for").number::<u16>(0, 65_535);
    let released_for = table.optional("released_for").number::<u16>(0, 65_535);
    let unit = table.required("unit_ms").millis(1, UNIT_MAX_MS);
    let max = table.required("max").number::<u16>(2, 65_535);
    if energised_for.is_none() && released_for.is_none() {
        let finding = Diagnostic::error("a timer without an address");
        table.sink.add(finding.at(table.span, "expected `energised_for`, `released_for` or both"));
    }
    table.finish();
    Some(OutputTimer {
        write: write?.value,
        energised_for: energised_for.map(|at| at.value),
        released_for: released_for.map(|at| at.value),
        unit: unit?.value,
        max: max?.value,
    })
}

/// Of the `offset`th output of a group.
pub fn nth(timer: OutputTimer, offset: u16) -> OutputTimer {
    let at = |address: Option<u16>| address.map(|address| address.saturating_add(offset));
    OutputTimer { energised_for: at(timer.energised_for), released_for: at(timer.released_for), ..timer }
}

pub fn watchdog(table: Table<'_>) -> Option<Watchdog> {
    let unit = table.required("unit_ms").millis(1, UNIT_MAX_MS);
    let least = table.required("timeout_min_ms").millis(1, TIMEOUT_MAX_MS);
    let most = table.required("timeout_max_ms").millis(1, TIMEOUT_MAX_MS);
    if let (Some(least), Some(most)) = (&least, &most)
        && least.value > most.value
    {
        let finding = Diagnostic::error("`timeout_max_ms` is below `timeout_min_ms`");
        table.sink.add(finding.at(most.span, format!("expected at least {}", least.value.as_millis())));
    }
    let arm: Vec<Option<GuardWrite>> =
        table.tables("arm", "[[watchdog.arm]]", ARM_MAX).into_iter().map(guard_write).collect();
    if arm.is_empty() {
        let finding = Diagnostic::error("a watchdog that nothing arms");
        table.sink.add(finding.at(table.span, "expected `arm` = [{ holding_register = , timeout = true }]"));
    }
    let feed = table.optional("feed").table("feed").map(guard_write);
    table.finish();
    Some(Watchdog {
        arm: arm.into_iter().collect::<Option<_>>()?,
        feed: match feed {
            Some(feed) => Some(feed?),
            None => None,
        },
        unit: unit?.value,
        timeout_min: least?.value,
        timeout_max: most?.value,
    })
}

/// A coil or register, and what is written there.
fn guard_write(table: Table<'_>) -> Option<GuardWrite> {
    let coil = table.optional("coil").number::<u16>(0, 65_535);
    let register = table.optional("holding_register").number::<u16>(0, 65_535);
    let value = table.optional("value").number::<u16>(0, 65_535);
    let timeout = table.optional("timeout").boolean().filter(|at| at.value);
    let alternating = table.optional("alternating").boolean().filter(|at| at.value);
    let wrong = |message: &str, label: &str| table.sink.add(Diagnostic::error(message).at(table.span, label));
    let address = match (coil, register) {
        (Some(coil), None) => Some(GuardAddress::Coil(coil.value)),
        (None, Some(register)) => Some(GuardAddress::HoldingRegister(register.value)),
        _ => {
            wrong("a write needs one address", "expected either `coil` or `holding_register`");
            None
        }
    };
    let what = |at: &Option<At<bool>>, value| at.as_ref().map(|_| value);
    let values = [
        value.map(|at| GuardValue::Fixed(at.value)),
        what(&timeout, GuardValue::Timeout),
        what(&alternating, GuardValue::Alternating),
    ];
    let mut values = values.into_iter().flatten();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => {
            wrong("a write needs one value", "expected one of `value`, `timeout` = true, `alternating` = true");
            None
        }
    };
    table.finish();
    Some(GuardWrite { address: address?, value: value? })
}

/// The timeout that a board is armed with unless the site says otherwise.
pub fn usual_timeout(watchdog: &Watchdog) -> Duration {
    Duration::from_secs(10).clamp(watchdog.timeout_min, watchdog.timeout_max)
}

//! The only file that reads clocks. Owns the two kernel clocks and the kernel's word on NTP; must never
//! judge whether the time is right (that is `gateway::clock_trust`).

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::{
    domain::time::{Mono, Wall},
    gateway::clock_trust::Vouchers,
};

/// `CLOCK_BOOTTIME`: never steps, counts suspend.
pub fn mono() -> Mono {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Mono::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// `CLOCK_REALTIME`, through the standard library so that a preloaded clock shim is honoured.
pub fn wall() -> Wall {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => Wall::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        Err(_) => Wall::EPOCH,
    }
}

/// Reads both from the file system: the flag file that systemd-timesyncd keeps (and chrony-wait and
/// ntpsec setups create through time-sync.target hooks), and the kernel's own note of which RTC set
/// the clock (Documentation/ABI/testing/rtc-cdev, `hctosys`).
pub fn vouchers() -> Vouchers {
    let rtc = (0..4).any(|n| {
        std::fs::read_to_string(format!("/sys/class/rtc/rtc{n}/hctosys")).is_ok_and(|text| text.trim() == "1")
    });
    Vouchers { ntp: Path::new("/run/systemd/timesync/synchronized").exists(), rtc }
}

//! A timer that is on time. Owns one timerfd; must never be used where a millisecond more does no harm. Invariant:
//! it is never early.
//!
//! tokio's own timers go by whole milliseconds and round up, which on a fast line is as long as a frame: the
//! silence between two frames is 1.75 ms.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::domain::time::Mono;

#[derive(Debug)]
pub struct Timer {
    /// Absent where the kernel gives none: then tokio's do.
    fd: Option<AsyncFd<OwnedFd>>,
}

impl Timer {
    /// To be called within a runtime.
    pub fn new() -> Timer {
        let fd = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        #[expect(deprecated, reason = "sound for an OwnedFd, which the successor asks to be promised by unsafe")]
        let fd = fd.ok().and_then(|fd| AsyncFd::new(fd).ok());
        if fd.is_none() {
            tracing::warn!("no timerfd: the lines are waited for by the millisecond");
        }
        Timer { fd }
    }

    /// Returns at `at`, `now` being the time of [`super::clock::mono`]. Cancelling it is harmless.
    pub async fn at(&self, now: Mono, at: Mono) {
        let late = match &self.fd {
            Some(fd) if at > now => expiry(fd, at).await.is_err(),
            Some(_) => return,
            None => true,
        };
        if late {
            tokio::time::sleep(at.since(now)).await;
        }
    }
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}

async fn expiry(fd: &AsyncFd<OwnedFd>, at: Mono) -> std::io::Result<()> {
    let at = Duration::from_nanos(at.as_nanos());
    let value = Timespec { tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX), tv_nsec: at.subsec_nanos().into() };
    let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
    // Forgets an expiry that nobody waited for.
    timerfd_settime(fd, TimerfdTimerFlags::ABSTIME, &once)?;
    loop {
        let mut ready = fd.readable().await?;
        let mut expiries = [0; 8];
        if let Ok(read) = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut expiries)?)) {
            return read.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::clock::mono;

    #[tokio::test]
    async fn it_is_never_early_and_an_expiry_that_was_not_waited_for_counts_for_nothing() {
        let timer = Timer::new();
        for micros in [0, 1, 300, 1_750, 4_000] {
            let at = mono() + Duration::from_micros(micros);
            timer.at(mono(), at).await;
            assert!(mono() >= at);
            let far = mono() + Duration::from_secs(60);
            let soon = Duration::from_millis(1);
            assert!(tokio::time::timeout(soon, timer.at(mono(), far)).await.is_err());
        }
    }
}

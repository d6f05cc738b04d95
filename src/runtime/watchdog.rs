//! systemd's view of the daemon: READY once doors are enforced, the watchdog fed only on progress.
//! Must never feed it for a loop that stands still.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::runtime::heartbeat::Heartbeats;

/// Loops go round at least twice a second; looking more often than this would call a pause a stall.
const LOOK_MIN: Duration = Duration::from_millis(1_500);

pub struct Watchdog {
    heartbeats: Heartbeats,
    /// Also where no watchdog is set: stalls are then only logged.
    every: Duration,
    enabled: bool,
    next: Instant,
    ready: bool,
}

impl Watchdog {
    pub fn new(heartbeats: Heartbeats) -> Watchdog {
        let interval = sd_notify::watchdog_enabled();
        // A third, so that one late look does not cost the process.
        let every = interval.map_or(Duration::from_secs(5), |whole| whole / 3).max(LOOK_MIN);
        Watchdog { heartbeats, every, enabled: interval.is_some(), next: Instant::now() + every, ready: false }
    }

    /// To be called often; does something when it is time to.
    pub fn look(&mut self, enforced: bool) {
        if enforced && !self.ready {
            self.ready = true;
            tracing::info!("ready: the doors are enforced");
            notify(&[NotifyState::Ready, NotifyState::Status("doors enforced")]);
        }
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.every;
        let stalled = self.heartbeats.stalled();
        if stalled.is_empty() {
            if self.enabled {
                notify(&[NotifyState::Watchdog]);
            }
        } else {
            tracing::error!(loops = stalled.join(", "), "no progress: the watchdog is not fed");
        }
    }

    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

/// Without systemd there is no socket, and nothing to do.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

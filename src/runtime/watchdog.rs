//! systemd's view of the daemon: READY once doors are enforced, the watchdog fed only on progress.
//! Must never feed it for a loop that stands still.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::runtime::heartbeat::Heartbeats;

/// Loops go round at least twice a second; looking more often than this would call a pause a stall.
const LOOK_MIN: Duration = Duration::from_millis(1_500);

/// How long the daemon may take to begin anew: as long as systemd gives it to start.
const BEGINS_ANEW_WITHIN: Duration = Duration::from_secs(60);

pub struct Watchdog {
    heartbeats: Heartbeats,
    /// Also where no watchdog is set: stalls are then only logged.
    every: Duration,
    interval: Option<Duration>,
    next: Instant,
    ready: bool,
}

impl Watchdog {
    pub fn new(heartbeats: Heartbeats) -> Watchdog {
        let interval = sd_notify::watchdog_enabled();
        // A third, so that one late look does not cost the process.
        let every = interval.map_or(Duration::from_secs(5), |whole| whole / 3).max(LOOK_MIN);
        Watchdog { heartbeats, every, interval, next: Instant::now() + every, ready: false }
    }

    /// To be called often; does something when it is time to.
    pub fn look(&mut self, enforced: bool) {
        if enforced && !self.ready {
            self.ready = true;
            tracing::info!("ready: the doors are enforced");
            let mut states = vec![NotifyState::Ready, NotifyState::Status("doors enforced")];
            // What `beginning_anew` asked for ends here.
            states.extend(self.interval.map(|interval| NotifyState::WatchdogUsec(micros(interval))));
            notify(&states);
        }
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.every;
        let stalled = self.heartbeats.stalled();
        if stalled.is_empty() {
            if self.interval.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
        } else {
            tracing::error!(loops = stalled.join(", "), "no progress: the watchdog is not fed");
        }
    }

    /// The same process goes on, with loops that are made anew: until they are ready nobody feeds the watchdog.
    pub fn beginning_anew(&self) {
        let mut states = vec![NotifyState::Status("begins anew with another configuration")];
        if self.interval.is_some_and(|interval| interval < BEGINS_ANEW_WITHIN) {
            states.extend([NotifyState::WatchdogUsec(micros(BEGINS_ANEW_WITHIN)), NotifyState::Watchdog]);
        }
        notify(&states);
    }

    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Without systemd there is no socket, and nothing to do.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

//! What a simulated board does by itself: flash timers as Waveshare's relay boards have them, and a host watchdog
//! as ICP DAS's. Owns the time of both; must never depend on anybody who asks. Invariant: a plain write does not
//! stop a timer that runs, which is the worst that a real board may do.

use std::time::Duration;

use super::{Registers, SimBoard, Write};

pub const FLASH_ON: u16 = 0x200;
pub const FLASH_OFF: u16 = 0x400;
const TIMERS: u16 = 32;
const UNIT: Duration = Duration::from_millis(100);

/// Of the host watchdog: coils of the safe values, the coil that arms it, the coil that takes back that it
/// struck, the register of its timeout in tenths of a second.
const SAFE: u16 = 128;
const ARMED: u16 = 260;
const STRUCK: u16 = 269;
const TIMEOUT: u16 = 488;

impl Registers {
    pub(super) fn has_timer(&self, address: u16) -> bool {
        let among = |first: u16| (first..first + TIMERS).contains(&address);
        self.timers && (among(FLASH_ON) || among(FLASH_OFF))
    }

    /// The master takes back that the watchdog struck.
    pub(super) fn take_back(&mut self, address: u16, on: bool) {
        if address == STRUCK && on {
            self.coils.remove(&(STRUCK + 1));
        }
    }

    /// The relay moves at once; its timer takes it back.
    pub(super) fn flash(&mut self, address: u16) {
        let (coil, on) = timed(address);
        self.coils.insert(coil, on);
        *self.timer_turns.entry(coil).or_default() += 1;
    }
}

fn timed(address: u16) -> (u16, bool) {
    if address < FLASH_OFF { (address - FLASH_ON, true) } else { (address - FLASH_OFF, false) }
}

impl SimBoard {
    /// The same board, with flash timers.
    pub fn with_timers(self) -> SimBoard {
        self.look().timers = true;
        self
    }

    /// The same board, with a host watchdog and room for its registers. Needs a runtime.
    pub fn with_watchdog(self) -> SimBoard {
        self.look().size = 512;
        let board = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UNIT / 4).await;
                let timeout = UNIT * u32::from(board.look().holding(TIMEOUT));
                let strikes = {
                    let registers = board.look();
                    registers.coil(ARMED) && !registers.coil(STRUCK + 1) && registers.heard_at.elapsed() >= timeout
                };
                if strikes {
                    board.change(|registers| {
                        for coil in 0..16 {
                            let safe = registers.coil(SAFE + coil);
                            registers.coils.insert(coil, safe);
                        }
                        // Beyond what a master may write: whether it has struck.
                        registers.coils.insert(STRUCK + 1, true);
                    });
                }
            }
        });
        self
    }

    /// Whether the watchdog has put the outputs into their safe state.
    pub fn has_struck(&self) -> bool {
        self.coil(STRUCK + 1)
    }

    pub(super) fn start_timers(&self, from: usize) {
        let set: Vec<(u16, u16)> = self
            .look()
            .writes
            .iter()
            .skip(from)
            .filter_map(|(_, write)| match write {
                Write::Timer { address, count } => Some((*address, *count)),
                _ => None,
            })
            .collect();
        for (address, count) in set {
            let (coil, on) = timed(address);
            let turn = self.look().timer_turns.get(&coil).copied();
            let board = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(UNIT * u32::from(count)).await;
                board.change(|registers| {
                    if registers.timer_turns.get(&coil).copied() == turn {
                        registers.coils.insert(coil, !on);
                    }
                });
            });
        }
    }
}

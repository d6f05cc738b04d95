//! A door that swings: while its lock is released somebody pushes it open, lets go, and it falls shut.
//! Owns one contact; must never open against a lock.

use std::time::Duration;

use super::SimBoard;

/// Which points of the board belong to the door, and how people use it.
#[derive(Clone, Copy, Debug)]
pub struct Swing {
    pub lock_coil: u16,
    /// The coil while the door can be opened.
    pub unlocked: bool,
    pub contact_input: u16,
    /// The input while the door is closed.
    pub closed: bool,
    /// From the lock's release to the push.
    pub push_after: Duration,
    pub open_for: Duration,
}

/// Swings until dropped. Each unlocking lets one person through, if somebody comes.
#[derive(Debug)]
pub struct SwingDoor {
    task: tokio::task::JoinHandle<()>,
    visitors: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl SwingDoor {
    pub fn start(board: SimBoard, swing: Swing) -> SwingDoor {
        board.set_input(swing.contact_input, swing.closed);
        let visitors = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let comes = visitors.clone();
        let task = tokio::spawn(async move {
            loop {
                board.until(|registers| registers.coil(swing.lock_coil) == swing.unlocked).await;
                tokio::time::sleep(swing.push_after).await;
                let unlocked = board.coil(swing.lock_coil) == swing.unlocked;
                if unlocked && comes.load(std::sync::atomic::Ordering::Relaxed) {
                    board.set_input(swing.contact_input, !swing.closed);
                    tokio::time::sleep(swing.open_for).await;
                    board.set_input(swing.contact_input, swing.closed);
                }
                board.until(|registers| registers.coil(swing.lock_coil) != swing.unlocked).await;
            }
        });
        SwingDoor { task, visitors }
    }

    /// Whether somebody goes through at the next unlocking.
    pub fn set_visitors(&self, come: bool) {
        self.visitors.store(come, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Drop for SwingDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! Space put by for the day the disk is full: a file that is given up so that the store can be reopened and
//! what was already decided can still be written. Must never fail the store: without room for a reserve the
//! daemon runs all the same. Invariant: the file is either whole or absent.
//!
//! sled 0.34 writes when it opens (up to half a MiB), so a store on a disk that is full to the last byte
//! cannot even be read. Hence the second line: once the reserve is gone, writing stops while
//! [`STOP_BELOW_BYTES`] are still free, with the store open and readable.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

const RESERVE_BYTES: u64 = 6 * 1024 * 1024;

/// Without a reserve, nothing is written while less than this is free.
const STOP_BELOW_BYTES: u64 = 4 * 1024 * 1024;

/// And once writing has stopped, it goes on above this only.
const GO_ON_ABOVE_BYTES: u64 = 5 * 1024 * 1024;

/// The reserve is laid by only where at least this much stays free beside it.
const KEEP_FREE_BYTES: u64 = 2 * RESERVE_BYTES;

#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub fn of(store: &Path) -> Reserve {
        Reserve { path: store.join("reserve") }
    }

    /// Lays the reserve by if it is not there and the disk has room for it.
    pub fn lay_by(&self) -> io::Result<bool> {
        if fs::metadata(&self.path).is_ok_and(|meta| meta.len() == RESERVE_BYTES) {
            return Ok(true);
        }
        if self.free_bytes()? < RESERVE_BYTES + KEEP_FREE_BYTES {
            return Ok(false);
        }
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&self.path)?;
        // Blocks, not a hole: a hole gives nothing back.
        let laid = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES);
        if let Err(error) = laid {
            self.give_up();
            return Err(error.into());
        }
        Ok(true)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Whether a store without its reserve should refuse a write of this size.
    pub fn must_stop(&self, write_bytes: usize) -> bool {
        // sled writes pages, not records: twice the size is what a batch may well take.
        let needed = STOP_BELOW_BYTES.saturating_add((write_bytes as u64).saturating_mul(2));
        self.free_bytes().is_ok_and(|free| free < needed)
    }

    /// Whether one that has stopped may go on.
    pub fn may_go_on(&self) -> bool {
        self.free_bytes().is_ok_and(|free| free >= GO_ON_ABOVE_BYTES)
    }

    /// True if there was something to give up.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

//! Space put by for the day the disk is full: a file that is given up so that the store can be reopened and
//! what was already decided can still be written. Must never fail the store: without room for a reserve the
//! daemon runs all the same. Invariant: the file is either whole or absent.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

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
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(directory)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < RESERVE_BYTES + KEEP_FREE_BYTES {
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

    /// True if there was something to give up.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

//! The file that holds configuration by command, in the state directory. Owns its bytes and its fsyncs; must
//! never judge what is in force. Invariant: it is replaced whole: a power cut leaves the one before or the one
//! after.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    config::trial::{Override, OverrideStore},
    wire::stored,
};

const NAME: &str = "configuration";
/// Two site files that a message can carry, twice over for JSON.
const BYTES_MAX: u64 = 2 * 1024 * 1024;
/// It may hold what a door's wiring looks like.
const MODE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Whatever was in force by command is not known any more.
    #[error("{}: damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("{}: locked by another process; is another latchd running?", path.display())]
    Locked { path: PathBuf },
}

pub struct OverrideFile {
    directory: PathBuf,
    /// Held for as long as this is: what runs is written down by one process.
    _lock: Option<File>,
}

impl OverrideFile {
    /// For who only looks.
    pub fn in_directory(directory: &Path) -> OverrideFile {
        OverrideFile { directory: directory.to_owned(), _lock: None }
    }

    /// For who runs by it: nobody else may at the same time.
    pub fn locked(directory: &Path) -> Result<OverrideFile, OverrideError> {
        let path = directory.join(format!("{NAME}.lock"));
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&path);
        // Where nothing can be written, the stores say so.
        let Ok(lock) = lock else { return Ok(OverrideFile::in_directory(directory)) };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(OverrideError::Locked { path }),
            _ => Ok(OverrideFile { directory: directory.to_owned(), _lock: Some(lock) }),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn io(&self, source: io::Error) -> OverrideError {
        OverrideError::Io { path: self.path(), source }
    }

    /// `None`: nothing was ever put.
    pub fn load(&self) -> Result<Option<Override>, OverrideError> {
        let file = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| self.io(error))?,
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.io(error))?;
        let damaged = |detail: String| OverrideError::Damaged { path: self.path(), detail };
        let json = stored::unframe(NAME.as_bytes(), &bytes).map_err(|error| damaged(error.to_string()))?;
        serde_json::from_slice(json).map(Some).map_err(|error| damaged(error.to_string()))
    }

    fn replace(&self, kept: &Override) -> io::Result<()> {
        if kept.is_empty() {
            match fs::remove_file(self.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                removed => removed?,
            }
            return self.sync();
        }
        let beside = self.directory.join(format!("{NAME}.new"));
        let json = serde_json::to_vec(kept)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&beside)?;
        let written = file.write_all(&stored::frame(NAME.as_bytes(), &json)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        fs::rename(&beside, self.path())?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

impl OverrideStore for OverrideFile {
    type Error = OverrideError;

    /// One that holds nothing is taken away.
    fn store(&self, kept: &Override) -> Result<(), OverrideError> {
        self.replace(kept).map_err(|error| self.io(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::trial::PutFile, domain::ids::Id};

    fn kept(toml: &str) -> Override {
        let id = |text| Id::new(text).unwrap();
        let file = PutFile {
            toml: toml.to_owned(),
            operator: id("ada"),
            issuer: "cloud".to_owned(),
            jti: id("put-1"),
            kid: None,
        };
        Override { confirmed: Some(file), ..Override::default() }
    }

    #[test]
    fn what_was_stored_is_loaded_until_nothing_is_left_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = OverrideFile::in_directory(directory.path());
        assert_eq!(file.load().unwrap(), None);
        for toml in ["one", "two"] {
            file.store(&kept(toml)).unwrap();
            assert_eq!(file.load().unwrap(), Some(kept(toml)));
        }
        file.store(&Override::default()).unwrap();
        file.store(&Override::default()).unwrap();
        assert_eq!(file.load().unwrap(), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_says_so_and_does_not_stop_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = OverrideFile::in_directory(directory.path());
        file.store(&kept("one")).unwrap();
        let good = fs::read(directory.path().join(NAME)).unwrap();
        for bad in [&good[..good.len() / 2], b"", b"\xFFgarbage", &[good.as_slice(), b"x"].concat()] {
            fs::write(directory.path().join(NAME), bad).unwrap();
            assert!(matches!(file.load(), Err(OverrideError::Damaged { .. })), "{bad:?}");
        }
        file.store(&kept("two")).unwrap();
        assert_eq!(file.load().unwrap(), Some(kept("two")));
    }

    #[test]
    fn one_process_at_a_time_runs_by_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = OverrideFile::locked(directory.path()).unwrap();
        assert!(matches!(OverrideFile::locked(directory.path()), Err(OverrideError::Locked { .. })));
        drop(first);
        assert!(OverrideFile::locked(directory.path()).is_ok());
    }

    #[test]
    fn where_nothing_can_be_written_the_one_before_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = OverrideFile::in_directory(directory.path());
        file.store(&kept("one")).unwrap();
        fs::create_dir(directory.path().join(format!("{NAME}.new"))).unwrap();
        assert!(matches!(file.store(&kept("two")), Err(OverrideError::Io { .. })));
        assert_eq!(file.load().unwrap(), Some(kept("one")));
    }
}

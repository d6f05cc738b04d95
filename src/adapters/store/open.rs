//! Opening a store, and putting a damaged one aside. Owns the directory around sled's files; must never
//! delete what it cannot read. Invariant: after an opening, the directory itself survives a power cut.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use super::{
    mark::{self, Mark},
    quiet,
    sled_kv::{Handle, SledKv, io_error},
};
use crate::{domain::time::Wall, gateway::kv::KvError};

/// What sled keeps of its pages in memory, beside its write buffers, if nothing else is said. Its own default
/// is 1 GiB.
pub(super) const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// sled's background work may hold the file for a moment after its last handle was dropped.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// More damaged copies than this are worth a remark.
const SET_ASIDE_REMARK_ABOVE: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: locked by another process; is another latchd running?", path.display())]
    Locked { path: PathBuf },
    #[error("{}: not writable: {source}", path.display())]
    ReadOnly { path: PathBuf, source: io::Error },
    #[error("{}: this directory does not exist; systemd's StateDirectory= makes it", path.display())]
    MissingParent { path: PathBuf },
    #[error("{}: damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("{}: the disk is full", path.display())]
    Full { path: PathBuf },
    #[error("{}: {detail}", path.display())]
    Io { path: PathBuf, detail: String },
}

impl From<OpenError> for KvError {
    fn from(error: OpenError) -> KvError {
        match error {
            OpenError::Full { .. } => KvError::Full,
            OpenError::Damaged { detail, .. } => KvError::Damaged(detail),
            other => KvError::Failed(other.to_string()),
        }
    }
}

/// A store that could not be read and lies beside the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    pub moved_to: PathBuf,
    pub detail: String,
}

fn io_failure(path: &Path, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path, source: error }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { path },
        io::ErrorKind::NotADirectory => {
            OpenError::Damaged { path, detail: "a file lies where the store's directory should be".to_owned() }
        }
        _ => OpenError::Io { path, detail: error.to_string() },
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether another process has the store, before anything in it is touched.
fn check_unlocked(path: &Path) -> Result<(), OpenError> {
    let data = path.join("db");
    let file = match OpenOptions::new().read(true).write(true).open(&data) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_failure(path, error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_failure(path, error)),
    }
}

/// A snapshot that was being written at a crash; sled would try to read it.
fn remove_half_written_snapshots(path: &Path) -> Result<(), OpenError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_failure(path, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| io_failure(path, error))?;
        if entry.file_name().as_encoded_bytes().ends_with(b".generating") {
            fs::remove_file(entry.path()).map_err(|error| io_failure(path, error))?;
        }
    }
    Ok(())
}

fn open_failure(path: &Path, error: sled::Error) -> OpenError {
    let detail = error.to_string();
    match error {
        sled::Error::Io(_) if detail.contains("could not acquire lock") => OpenError::Locked { path: path.to_owned() },
        sled::Error::Io(error) => match io_error(&error) {
            KvError::Damaged(detail) => OpenError::Damaged { path: path.to_owned(), detail },
            KvError::Full | KvError::Failed(_) => io_failure(path, error),
        },
        // Corruption, an unreadable configuration, "should never happen": all of them the file's fault.
        _ => OpenError::Damaged { path: path.to_owned(), detail },
    }
}

/// Waits a second for a lock, which may be what is left of a handle of our own.
pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Handle, OpenError> {
    for _ in 0..LOCK_ATTEMPTS {
        match open_once(path, cache_bytes) {
            Err(OpenError::Locked { .. }) => thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
    open_once(path, cache_bytes)
}

fn open_once(path: &Path, cache_bytes: u64) -> Result<Handle, OpenError> {
    let parent = parent_of(path);
    if !parent.is_dir() {
        return Err(OpenError::MissingParent { path: parent.to_owned() });
    }
    check_unlocked(path)?;
    remove_half_written_snapshots(path)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        // Flushed by `sync` and by nothing else.
        .flush_every_ms(None);
    let damaged = |detail: String| OpenError::Damaged { path: path.to_owned(), detail };
    let opened = quiet::catch(|| -> Result<(sled::Db, u64), sled::Error> {
        let db = config.open()?;
        // Both ends are read now rather than under load: damage shows while it can still be put aside.
        db.first()?;
        db.last()?;
        let batch = db.get(mark::KEY)?.and_then(|number| Some(u64::from_le_bytes(number.as_ref().try_into().ok()?)));
        Ok((db, batch.unwrap_or(0)))
    });
    let (db, batch) = opened.map_err(damaged)?.map_err(|error| open_failure(path, error))?;
    let mark = Mark::open(path);
    let synced_through = mark.read();
    if synced_through > batch {
        let _ = quiet::catch(|| drop(db));
        let lost = synced_through - batch;
        return Err(damaged(format!("of {synced_through} batches that were durable the last {lost} are gone")));
    }
    let synced = || -> io::Result<File> {
        File::open(path.join("conf"))?.sync_all()?;
        let data = OpenOptions::new().read(true).write(true).open(path.join("db"))?;
        data.sync_all()?;
        sync_directory(path)?;
        sync_directory(parent)?;
        Ok(data)
    };
    match synced() {
        Ok(file) => Ok(Handle { db: Some(db), file, mark, batch: Mutex::new(batch) }),
        Err(error) => {
            let _ = quiet::catch(|| drop(db));
            Err(io_failure(path, error))
        }
    }
}

/// Opens the store; one that cannot be read is put aside and a new one begun in its place.
pub fn open_or_set_aside(path: &Path, now: Wall) -> Result<(SledKv, Option<SetAside>), OpenError> {
    open_or_set_aside_with(path, CACHE_BYTES, now)
}

/// The same, with so much of it kept in memory.
pub(super) fn open_or_set_aside_with(
    path: &Path,
    cache_bytes: u64,
    now: Wall,
) -> Result<(SledKv, Option<SetAside>), OpenError> {
    match SledKv::open_with(path, cache_bytes) {
        Ok(store) => Ok((store, None)),
        Err(OpenError::Damaged { detail, .. }) => {
            let aside = set_aside(path, &detail, now)?;
            match SledKv::open_with(path, cache_bytes) {
                Ok(store) => Ok((store, Some(aside))),
                // A new store cannot be opened either: the file is not at fault (no memory, no handles left).
                Err(error) => {
                    put_back(path, &aside).map_err(|error| io_failure(path, error))?;
                    Err(error)
                }
            }
        }
        Err(error) => Err(error),
    }
}

/// Undoes [`set_aside`]; what was begun in its place holds nothing yet.
fn put_back(path: &Path, aside: &SetAside) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&aside.moved_to, path)?;
    sync_directory(parent_of(path))
}

/// Renames the store's directory; nothing is deleted. For a store that opened but whose records turn out to
/// be unreadable too: drop every handle on it first.
pub fn set_aside(path: &Path, detail: &str, now: Wall) -> Result<SetAside, OpenError> {
    let parent = parent_of(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!("{name}.damaged-");
    let failed = |error| io_failure(path, error);
    let earlier = fs::read_dir(parent)
        .map_err(failed)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .count();
    // `:` and `.` are no good in file names that people type.
    let stamp: String = now.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let mut moved_to = parent.join(format!("{prefix}{stamp}"));
    for again in 2.. {
        if fs::symlink_metadata(&moved_to).is_err() {
            break;
        }
        moved_to = parent.join(format!("{prefix}{stamp}-{again}"));
    }
    fs::rename(path, &moved_to).map_err(failed)?;
    sync_directory(parent).map_err(failed)?;
    // What was put by for a full disk is of no use in there.
    super::reserve::Reserve::of(&moved_to).give_up();
    let copies = earlier + 1;
    let remark = if copies > SET_ASIDE_REMARK_ABOVE {
        format!("; {copies} damaged stores are kept beside it: remove those that nobody needs")
    } else {
        String::new()
    };
    Ok(SetAside { moved_to, detail: format!("{detail}{remark}") })
}

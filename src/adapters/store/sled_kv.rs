//! sled as a [`Kv`]. Owns the handle, its failures and its reopening; must never say "durable" after sled's
//! `flush` alone. Invariant: [`Durable`] is made only after an fsync of the data file that followed a flush.
//!
//! What is known of sled 0.34.7, and what is done about it here and in the neighbouring files:
//! - `flush` ends in `sync_file_range`, which a power cut does not respect: `sync` adds `File::sync_all`.
//! - It panics on damage: every call runs under [`quiet::catch`].
//! - Pages above 128 KiB go to files that are never synced: values are split into [`parts`].
//! - After a failed write it stays failed: [`Reopen`] closes and opens it in place, all clones with it.
//! - A log damaged in the middle opens as one that ends there: each batch has a number, and a [`mark`] beside
//!   sled tells how far they were synced.
//! - A half-written snapshot (`*.generating`) left by a crash stops it from opening: [`super::open`] removes it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use super::{
    mark::{self, Mark},
    open::{self, OpenError},
    parts::{self, KEY_BYTES_MAX, Main, PARTS, VALUE_BYTES_MAX},
    quiet,
    reserve::Reserve,
    scan,
};
use crate::gateway::{
    kv::{Kv, KvError, KvWrite, Reopen, Visit},
    step::Durable,
};

/// How often a value in parts is read again when a write came between its parts.
const READ_ATTEMPTS: usize = 3;

/// One store. Clones share the handle.
#[derive(Clone)]
pub struct SledKv {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    cache_bytes: u64,
    /// `None` between a failed reopening and the next.
    handle: RwLock<Option<Handle>>,
    reserve: Reserve,
    /// sled failed because the disk is full: the reserve is given up before the next opening.
    full: AtomicBool,
    /// There is no reserve: free space is looked at before each write.
    tight: AtomicBool,
    /// Writing has stopped for want of space, with sled itself intact.
    stopped: AtomicBool,
}

pub(super) struct Handle {
    pub db: Option<sled::Db>,
    pub file: File,
    pub mark: Mark,
    /// Number of the last batch. Held through a batch, so that their order is that of their numbers.
    pub batch: Mutex<u64>,
}

impl Handle {
    fn last_batch(&self) -> MutexGuard<'_, u64> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// sled's own drop flushes and may panic where the disk has failed.
impl Drop for Handle {
    fn drop(&mut self) {
        let db = self.db.take();
        let _ = quiet::catch(|| drop(db));
    }
}

impl std::fmt::Debug for SledKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledKv").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl SledKv {
    /// Opens the store in directory `path`, or begins one there. The directory above must exist.
    pub fn open(path: &Path) -> Result<SledKv, OpenError> {
        SledKv::open_with(path, open::CACHE_BYTES)
    }

    /// The same, with so much of it kept in memory once it has been read.
    pub fn open_with(path: &Path, cache_bytes: u64) -> Result<SledKv, OpenError> {
        let reserve = Reserve::of(path);
        let handle = match open::open(path, cache_bytes) {
            Err(OpenError::Full { .. }) if reserve.give_up() => open::open(path, cache_bytes)?,
            other => other?,
        };
        let tight = !reserve.lay_by().unwrap_or(false);
        let shared = Shared {
            path: path.to_owned(),
            cache_bytes,
            handle: RwLock::new(Some(handle)),
            reserve,
            full: AtomicBool::new(false),
            tight: AtomicBool::new(tight),
            stopped: AtomicBool::new(false),
        };
        Ok(SledKv { shared: Arc::new(shared) })
    }

    /// A store that cannot be opened: every call fails until [`Reopen::reopen`] has succeeded.
    pub fn withheld(path: &Path) -> SledKv {
        let shared = Shared {
            path: path.to_owned(),
            cache_bytes: open::CACHE_BYTES,
            handle: RwLock::new(None),
            reserve: Reserve::of(path),
            full: AtomicBool::new(false),
            tight: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        };
        SledKv { shared: Arc::new(shared) }
    }

    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Bytes that the store occupies on the disk.
    pub fn bytes_on_disk(&self) -> u64 {
        std::fs::metadata(self.shared.path.join("db")).map(|meta| meta.len()).unwrap_or(0)
    }

    fn read_handle(&self) -> RwLockReadGuard<'_, Option<Handle>> {
        self.shared.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one piece of work on sled, with its errors and panics as [`KvError`].
    fn with<T>(&self, work: impl FnOnce(&sled::Db, &Handle) -> Result<T, KvError>) -> Result<T, KvError> {
        let guard = self.read_handle();
        let Some((handle, db)) = guard.as_ref().and_then(|handle| Some((handle, handle.db.as_ref()?))) else {
            return Err(KvError::Failed("the store is closed after a failure".to_owned()));
        };
        let result = quiet::catch(|| work(db, handle)).unwrap_or_else(|panic| Err(KvError::Damaged(panic)));
        if matches!(result, Err(KvError::Full)) {
            self.shared.full.store(true, SeqCst);
        }
        result
    }
}

pub(super) fn kv_error(error: sled::Error) -> KvError {
    match error {
        sled::Error::Io(error) => io_error(&error),
        sled::Error::Corruption { .. } | sled::Error::CollectionNotFound(_) => KvError::Damaged(error.to_string()),
        other => KvError::Failed(other.to_string()),
    }
}

pub(super) fn io_error(error: &io::Error) -> KvError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => KvError::Full,
        // What sled reads beyond the end of a file that was cut short.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => KvError::Damaged(error.to_string()),
        _ => KvError::Failed(error.to_string()),
    }
}

fn assemble(db: &sled::Db, key: &[u8], main: &[u8]) -> Result<Vec<u8>, KvError> {
    let (count, crc) = match parts::read_main(main)? {
        Main::Whole(value) => return Ok(value.to_vec()),
        Main::InParts { count, crc } => (count, crc),
    };
    let mut value = Vec::with_capacity(usize::from(count) * parts::PART_BYTES);
    for part in 0..count {
        let bytes = db.get(parts::part_key(key, part)).map_err(kv_error)?.ok_or_else(parts::damaged)?;
        value.extend_from_slice(&bytes);
    }
    if crc32fast::hash(&value) == crc { Ok(value) } else { Err(parts::damaged()) }
}

pub(super) fn get(db: &sled::Db, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
    let mut result = Ok(None);
    for _ in 0..READ_ATTEMPTS {
        result = match db.get(key).map_err(kv_error)? {
            None => Ok(None),
            Some(main) => assemble(db, key, &main).map(Some),
        };
        if result.is_ok() {
            break;
        }
    }
    result
}

fn parts_of(db: &sled::Db, key: &[u8]) -> Result<u16, KvError> {
    let main = db.get(key).map_err(kv_error)?;
    Ok(match main.as_deref().map(parts::read_main) {
        Some(Ok(Main::InParts { count, .. })) => count,
        // A damaged main record is about to be replaced; parts it may have had are never read again.
        _ => 0,
    })
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.with(|db, _| get(db, key))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        let parts = [PARTS];
        let to = to.min(&parts[..]);
        if from >= to {
            return Ok(());
        }
        let guard = self.read_handle();
        let Some(Handle { db: Some(db), .. }) = guard.as_ref() else {
            return Err(KvError::Failed("the store is closed after a failure".to_owned()));
        };
        scan::scan(db, from, to, visit)
    }

    fn apply(&self, batch: Vec<KvWrite>) -> Result<(), KvError> {
        // The last write of a key counts, as if they were done one after the other.
        let mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for write in batch {
            match write {
                KvWrite::Put(key, value) => last.insert(key, Some(value)),
                KvWrite::Delete(key) => last.insert(key, None),
            };
        }
        let mut batch_bytes = 0usize;
        for (key, value) in &last {
            let value_bytes = value.as_ref().map_or(0, Vec::len);
            batch_bytes = batch_bytes.saturating_add(key.len()).saturating_add(value_bytes);
            if key.len() > KEY_BYTES_MAX || key.first() == Some(&PARTS) || value_bytes > VALUE_BYTES_MAX {
                return Err(KvError::Failed(format!(
                    "a record with a key of {} bytes and a value of {value_bytes} is beyond the store's bounds",
                    key.len()
                )));
            }
        }
        if self.shared.tight.load(SeqCst) && self.shared.reserve.must_stop(batch_bytes) {
            self.shared.stopped.store(true, SeqCst);
            return Err(KvError::Full);
        }
        self.with(|db, handle| {
            let mut number = handle.last_batch();
            let mut batch = sled::Batch::default();
            batch.insert(&mark::KEY, &(*number + 1).to_le_bytes());
            for (key, value) in &last {
                let parts_before = parts_of(db, key)?;
                let (main, parts) = match value {
                    Some(value) => parts::split(value),
                    None => (Vec::new(), Vec::new()),
                };
                let mut part = 0;
                for bytes in parts {
                    batch.insert(parts::part_key(key, part), bytes);
                    part += 1;
                }
                for stale in part..parts_before {
                    batch.remove(parts::part_key(key, stale));
                }
                match value {
                    Some(_) => batch.insert(key.as_slice(), main),
                    None => batch.remove(key.as_slice()),
                }
            }
            db.apply_batch(batch).map_err(kv_error)?;
            *number += 1;
            Ok(())
        })
    }

    fn sync(&self) -> Result<Durable, KvError> {
        self.with(|db, handle| {
            let number = *handle.last_batch();
            db.flush().map_err(kv_error)?;
            handle.file.sync_all().map_err(|error| io_error(&error))?;
            handle.mark.write(number);
            Ok(Durable::synced())
        })
    }
}

impl Reopen for SledKv {
    fn reopen(&self) -> Result<(), KvError> {
        let shared = &*self.shared;
        let mut handle = shared.handle.write().unwrap_or_else(PoisonError::into_inner);
        if shared.stopped.load(SeqCst) && handle.is_some() {
            // Nothing is wrong with sled, which stays open for reading; only space is missing.
            if !shared.reserve.may_go_on() {
                return Err(KvError::Full);
            }
            shared.stopped.store(false, SeqCst);
            shared.tight.store(!shared.reserve.lay_by().unwrap_or(false), SeqCst);
            return Ok(());
        }
        // The old one first: it holds the lock on the file.
        *handle = None;
        if shared.full.swap(false, SeqCst) {
            shared.reserve.give_up();
        }
        match open::open(&shared.path, shared.cache_bytes) {
            Ok(opened) => *handle = Some(opened),
            Err(error) => {
                let error = KvError::from(error);
                shared.full.store(matches!(error, KvError::Full), SeqCst);
                return Err(error);
            }
        }
        shared.tight.store(!shared.reserve.lay_by().unwrap_or(false), SeqCst);
        shared.stopped.store(false, SeqCst);
        Ok(())
    }
}

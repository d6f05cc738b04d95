//! Walking through sled. Owns the order and the pace of reading; must never show a record twice or pass one over.
//! Invariant: what lies before a failure is shown, then the failure is told, and then nothing more.
//!
//! Records are read in batches that double, so that whoever soon breaks off has had little read in vain. Whoever
//! does not is read ahead for on a second thread: a start is then over when the slower of the two is done, sled's
//! reading or the digest and the compiling of what was read. Without a second thread it goes on as it began.

use std::{
    ops::{Bound, ControlFlow},
    sync::mpsc,
    thread,
};

use super::{parts, quiet, sled_kv};
use crate::gateway::kv::{KvError, Visit};

const BATCH_FIRST: usize = 16;
const BATCH_MOST: usize = 512;

/// A batch ends with the record that makes it larger: what is read ahead stays small however large the values.
const BATCH_BYTES: usize = 128 * 1024;

/// Batches that may wait for being shown.
const AHEAD: usize = 4;

/// Shows the records from `from` (inclusive) to `to` (exclusive), in order, until `visit` breaks.
pub(super) fn scan(db: &sled::Db, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
    let mut reader = Reader::new(db, Bound::Included(from), to);
    let (mut most, mut last) = (BATCH_FIRST, Vec::new());
    while most < BATCH_MOST {
        let read = reader.read(most);
        if read.show(visit)?.is_break() {
            return Ok(());
        }
        if let Some((key, _)) = read.entries().last() {
            last = key.to_vec();
        }
        most *= 2;
    }
    drop(reader);
    let rest = || Reader::new(db, Bound::Excluded(&last), to);
    thread::scope(|scope| {
        let (send, batches) = mpsc::sync_channel(AHEAD);
        let ahead = thread::Builder::new().name("store-ahead".to_owned()).spawn_scoped(scope, move || {
            let mut reader = rest();
            loop {
                let read = reader.read(BATCH_MOST);
                let was_last = !matches!(read.then, Then::More);
                // Or the visitor broke off.
                if send.send(read).is_err() || was_last {
                    return;
                }
            }
        });
        let mut reader = ahead.is_err().then(rest);
        loop {
            let read = match &mut reader {
                Some(reader) => reader.read(BATCH_MOST),
                None => batches.recv().map_err(|_| KvError::Failed("reading ahead ended early".to_owned()))?,
            };
            if read.show(visit)?.is_break() {
                return Ok(());
            }
        }
    })
}

struct Reader<'a> {
    db: &'a sled::Db,
    entries: sled::Iter,
}

impl<'a> Reader<'a> {
    fn new(db: &'a sled::Db, from: Bound<&[u8]>, to: &[u8]) -> Reader<'a> {
        Reader { db, entries: db.range::<&[u8], _>((from, Bound::Excluded(to))) }
    }

    fn read(&mut self, most: usize) -> Batch {
        let mut batch = Batch { bytes: Vec::new(), ends: Vec::new(), then: Then::More };
        let read = quiet::catch(|| self.fill(&mut batch, most));
        batch.then = match read.unwrap_or_else(|panic| Err(KvError::Damaged(panic))) {
            Ok(then) => then,
            Err(error) => Then::Failed(error),
        };
        batch
    }

    fn fill(&mut self, batch: &mut Batch, most: usize) -> Result<Then, KvError> {
        while batch.ends.len() < most && batch.bytes.len() < BATCH_BYTES {
            let Some(entry) = self.entries.next() else { return Ok(Then::End) };
            let (key, main) = entry.map_err(sled_kv::kv_error)?;
            match parts::read_main(&main) {
                Ok(parts::Main::Whole(value)) => batch.push(&key, value),
                Ok(parts::Main::InParts { .. }) | Err(_) => {
                    // Gone meanwhile, if it is not there.
                    if let Some(value) = sled_kv::get(self.db, &key)? {
                        batch.push(&key, &value);
                    }
                }
            }
        }
        Ok(Then::More)
    }
}

/// Some records, one after the other.
struct Batch {
    bytes: Vec<u8>,
    /// Where each record's key ends, and where its value.
    ends: Vec<(usize, usize)>,
    then: Then,
}

enum Then {
    More,
    End,
    Failed(KvError),
}

impl Batch {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).filter_map(|(start, (key_end, end))| {
            Some((self.bytes.get(start..*key_end)?, self.bytes.get(*key_end..*end)?))
        })
    }

    /// Breaks where there is no more, or nobody wants more.
    fn show(&self, visit: Visit<'_>) -> Result<ControlFlow<()>, KvError> {
        for (key, value) in self.entries() {
            if visit(key, value).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match &self.then {
            Then::More => Ok(ControlFlow::Continue(())),
            Then::End => Ok(ControlFlow::Break(())),
            Then::Failed(error) => Err(error.clone()),
        }
    }
}

//! How the set lies in the store. Owns keys, frames and the merged view of "stored, with these changes";
//! must never judge a record. Invariant: records come out in bucket and then (kind, id) order, which is
//! the order that chunks are hashed in.
//!
//! | key | value (framed, see `wire::stored`) |
//! |---|---|
//! | `m` | [`Meta`], JSON |
//! | `k` | [`StoredKeys`], JSON |
//! | `r`, bucket (u16, big-endian), kind, `0x00`, id | the record's body, RFC 8785 |

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    domain::{ids::Id, permission::SetVersion},
    gateway::{
        kv::{Kv, KvError, KvWrite},
        step::Durable,
    },
    wire::{
        set::{Bucket, Digest, Summary, chunk::ChunkHasher},
        stored::{frame, unframe},
    },
};

const META: &[u8] = b"m";
const KEYS: &[u8] = b"k";

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Kv(KvError),
}

impl From<KvError> for TableError {
    fn from(error: KvError) -> TableError {
        match error {
            KvError::Damaged(detail) => TableError::Damaged(detail),
            other => TableError::Kv(other),
        }
    }
}

/// What is known of the stored set as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub epoch: u64,
    pub generation: u64,
    pub digest: Digest,
    /// `iat` of the document, in milliseconds.
    pub issued_at_ms: i64,
    pub critical: Vec<Id>,
    /// The signed document that attests the digest, and the signed key set that it was verified under.
    pub document: String,
    pub keys: String,
}

impl Meta {
    pub fn version(&self) -> SetVersion {
        SetVersion { epoch: self.epoch, generation: self.generation, digest: self.digest.0 }
    }
}

/// The signed key set in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredKeys {
    pub version: u64,
    pub epoch: u64,
    pub compact: String,
}

/// Key to new body; `None` deletes.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub bucket: Bucket,
    pub kind: &'a str,
    pub id: &'a str,
    pub body: &'a [u8],
}

pub fn key_of(kind: &str, id: &str) -> Vec<u8> {
    let bucket = Bucket::of(kind, id);
    let mut key = Vec::with_capacity(4 + kind.len() + id.len());
    key.push(b'r');
    key.extend_from_slice(&bucket.number().to_be_bytes());
    key.extend_from_slice(kind.as_bytes());
    key.push(0);
    key.extend_from_slice(id.as_bytes());
    key
}

/// Bucket, kind and id of a key; nothing if the key has not the form that [`key_of`] gives it.
pub fn parse_key(key: &[u8]) -> Option<(Bucket, &str, &str)> {
    let (number, rest) = key.strip_prefix(b"r")?.split_first_chunk::<2>()?;
    let divide = rest.iter().position(|byte| *byte == 0)?;
    let (kind, id) = rest.split_at(divide);
    let (kind, id) = (std::str::from_utf8(kind).ok()?, std::str::from_utf8(id.get(1..)?).ok()?);
    let bucket = Bucket::new(u16::from_be_bytes(*number))?;
    // Whether it is the right bucket shows in the digest.
    Some((bucket, kind, id))
}

fn bucket_range(bucket: Bucket) -> (Vec<u8>, Vec<u8>) {
    let edge = |number: u16| [&b"r"[..], &number.to_be_bytes()].concat();
    (edge(bucket.number()), edge(bucket.number() + 1))
}

pub struct Table<K> {
    kv: K,
}

impl<K: Kv> Table<K> {
    pub fn new(kv: K) -> Table<K> {
        Table { kv }
    }

    pub fn meta(&self) -> Result<Option<Meta>, TableError> {
        self.json(META)
    }

    pub fn keys(&self) -> Result<Option<StoredKeys>, TableError> {
        self.json(KEYS)
    }

    fn json<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, TableError> {
        let Some(framed) = self.kv.get(key)? else { return Ok(None) };
        let damaged = |error: String| TableError::Damaged(format!("{}: {error}", key.escape_ascii()));
        let payload = unframe(key, &framed).map_err(|e| damaged(e.to_string()))?;
        serde_json::from_slice(payload).map(Some).map_err(|e| damaged(e.to_string()))
    }

    pub fn holds(&self, key: &[u8]) -> Result<bool, TableError> {
        Ok(self.kv.get(key)?.is_some())
    }

    /// Every record, with the changes made.
    pub fn rows(&self, changes: &Changes, visit: impl FnMut(Row<'_>)) -> Result<(), TableError> {
        self.range(b"r", b"s", changes, visit)
    }

    pub fn bucket_rows(&self, bucket: Bucket, changes: &Changes, visit: impl FnMut(Row<'_>)) -> Result<(), TableError> {
        let (from, to) = bucket_range(bucket);
        self.range(&from, &to, changes, visit)
    }

    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        changes: &Changes,
        mut visit: impl FnMut(Row<'_>),
    ) -> Result<(), TableError> {
        let mut changed = changes.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).peekable();
        let mut failure = None;
        let mut show = |key: &[u8], body: &[u8]| match parse_key(key) {
            Some((bucket, kind, id)) => {
                visit(Row { bucket, kind, id, body });
                true
            }
            None => false,
        };
        let mut damaged = |key: &[u8], problem: String| {
            failure = Some(TableError::Damaged(format!("{}: {problem}", key.escape_ascii())));
            ControlFlow::Break(())
        };
        self.kv.scan(from, to, &mut |key, framed| {
            while let Some((before, body)) = changed.next_if(|(changed, _)| changed.as_slice() < key) {
                if let Some(body) = body {
                    show(before, body);
                }
            }
            let replaced = changed.next_if(|(changed, _)| changed.as_slice() == key);
            let shown = match (replaced, unframe(key, framed)) {
                (Some((_, None)), _) => true,
                (Some((_, Some(body))), _) => show(key, body),
                (None, Ok(body)) => show(key, body),
                (None, Err(error)) => return damaged(key, error.to_string()),
            };
            if shown { ControlFlow::Continue(()) } else { damaged(key, "not the key of a record".to_owned()) }
        })?;
        match failure {
            Some(failure) => Err(failure),
            None => {
                for (key, body) in changed {
                    if let Some(body) = body {
                        show(key, body);
                    }
                }
                Ok(())
            }
        }
    }

    /// All in one batch, durable when this returns.
    pub fn write(&self, changes: &Changes, meta: &Meta) -> Result<Durable, TableError> {
        let mut batch = Vec::with_capacity(changes.len() + 1);
        for (key, body) in changes {
            batch.push(match body {
                Some(body) => KvWrite::Put(key.clone(), frame(key, body)),
                None => KvWrite::Delete(key.clone()),
            });
        }
        batch.push(put_json(META, meta)?);
        self.kv.apply(batch)?;
        Ok(self.kv.sync()?)
    }

    pub fn write_keys(&self, keys: &StoredKeys) -> Result<Durable, TableError> {
        self.kv.apply(vec![put_json(KEYS, keys)?])?;
        Ok(self.kv.sync()?)
    }
}

fn put_json(key: &[u8], value: &impl Serialize) -> Result<KvWrite, TableError> {
    let json = serde_json::to_vec(value).map_err(|e| TableError::Kv(KvError::Failed(e.to_string())))?;
    Ok(KvWrite::Put(key.to_vec(), frame(key, &json)))
}

/// Hashes rows in their order into a summary.
#[derive(Default)]
pub struct Summing {
    summary: Summary,
    open: Option<(Bucket, ChunkHasher)>,
    /// The largest chunk.
    pub bytes_max: usize,
}

impl Summing {
    pub fn add(&mut self, row: Row<'_>) {
        if self.open.as_ref().is_none_or(|(bucket, _)| *bucket != row.bucket) {
            self.close();
        }
        let (_, hasher) = self.open.get_or_insert_with(|| (row.bucket, ChunkHasher::default()));
        hasher.add(row.kind, row.id, row.body);
    }

    fn close(&mut self) {
        let Some((bucket, hasher)) = self.open.take() else { return };
        let hashed = hasher.finish();
        self.bytes_max = self.bytes_max.max(hashed.map_or(0, |(_, bytes)| bytes));
        self.summary.set(bucket, hashed.map(|(hash, _)| hash));
    }

    pub fn finish(mut self) -> (Summary, usize) {
        self.close();
        (self.summary, self.bytes_max)
    }
}

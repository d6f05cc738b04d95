//! How the set lies in the store. Owns keys, frames and the merged view of "stored, with these changes";
//! must never judge a record. Invariant: records come out in bucket and then (kind, id) order, which is
//! the order that chunks are hashed in.
//!
//! | key | value (framed, see `wire::stored`) |
//! |---|---|
//! | `m` | [`Meta`], JSON |
//! | `k` | [`StoredKeys`], JSON |
//! | `o` | [`OverlayMeta`], JSON |
//! | `a` | [`Left`], JSON: what the set left no room for |
//! | `e`, revision (u64, big-endian) | [`Edit`], JSON |
//! | `r`, bucket (u16, big-endian), kind, `0x00`, id | the record's body, RFC 8785 |

use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::{Bound, ControlFlow},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::overlay::{Edit, Overlay, OverlayChange, OverlayVersion};
use crate::{
    domain::{event::ConflictedEdit, ids::Id, permission::SetVersion},
    gateway::{
        kv::{Kv, KvError, KvWrite},
        step::Durable,
    },
    wire::{
        command::ListCursor,
        set::{Bucket, Digest, Summary, chunk::ChunkHasher},
        stored::{frame, unframe},
    },
};

const META: &[u8] = b"m";
const KEYS: &[u8] = b"k";
const OVERLAY: &[u8] = b"o";
const CONFLICTS: &[u8] = b"a";

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

/// What is known of the stored edits as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverlayMeta {
    revision: u64,
    /// How many there are, so that one that went missing shows.
    edits: u64,
}

/// The edits that the stored set left no room for: so that they are told even if the node dies in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Left {
    epoch: u64,
    generation: u64,
    conflicts: Vec<ConflictedEdit>,
}

/// What a set makes of the overlay.
pub struct OverlayWrite<'a> {
    pub change: Option<&'a OverlayChange>,
    /// Once the change is made.
    pub after: OverlayVersion,
    pub conflicts: &'a [ConflictedEdit],
}

/// Key to new body; `None` deletes.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

static NO_CHANGES: Changes = Changes::new();

/// What lies over the stored records: first what a set changes, over that what the edits change.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    changes: &'a Changes,
    layer: &'a Changes,
}

impl<'a> View<'a> {
    /// The records as they are stored.
    pub const STORED: View<'static> = View { changes: &NO_CHANGES, layer: &NO_CHANGES };

    /// The cloud's records as a set would make them.
    pub fn changed(changes: &'a Changes) -> View<'a> {
        View { changes, layer: &NO_CHANGES }
    }

    pub fn with_layer(self, layer: &'a Changes) -> View<'a> {
        View { layer, ..self }
    }

    /// The records that it says something of.
    pub fn keys(self) -> impl Iterator<Item = &'a Vec<u8>> {
        self.changes.keys().chain(self.layer.keys())
    }

    fn range(self, from: &[u8], to: &[u8]) -> Changed<'a> {
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let range = |changes: &'a Changes| changes.range::<[u8], _>(bounds).peekable();
        Changed { lower: range(self.changes), upper: range(self.layer) }
    }
}

type Range<'a> = Peekable<btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>>;

/// Both maps of a [`View`] in key order; of one key in both the upper counts.
struct Changed<'a> {
    lower: Range<'a>,
    upper: Range<'a>,
}

impl<'a> Changed<'a> {
    fn next_key(&mut self) -> Option<&'a [u8]> {
        let key = |range: &mut Range<'a>| range.peek().map(|(key, _)| key.as_slice());
        match (key(&mut self.lower), key(&mut self.upper)) {
            (Some(lower), Some(upper)) => Some(lower.min(upper)),
            (lower, upper) => lower.or(upper),
        }
    }

    fn next_if(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let key = self.next_key().filter(|key| wanted(key))?;
        let take = |range: &mut Range<'a>| range.next_if(|(at, _)| at.as_slice() == key).map(|(_, body)| body);
        let (lower, upper) = (take(&mut self.lower), take(&mut self.upper));
        upper.or(lower).map(|body| (key, body.as_deref()))
    }
}

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

    /// The body of one record as it is seen through the view.
    pub fn body(&self, kind: &str, id: &str, view: View<'_>) -> Result<Option<Vec<u8>>, TableError> {
        let key = key_of(kind, id);
        if let Some(body) = view.layer.get(&key).or_else(|| view.changes.get(&key)) {
            return Ok(body.clone());
        }
        let Some(framed) = self.kv.get(&key)? else { return Ok(None) };
        match unframe(&key, &framed) {
            Ok(body) => Ok(Some(body.to_vec())),
            Err(error) => Err(TableError::Damaged(format!("{}: {error}", key.escape_ascii()))),
        }
    }

    /// Every record, as it is seen through the view.
    pub fn rows(&self, view: View<'_>, mut visit: impl FnMut(Row<'_>)) -> Result<(), TableError> {
        self.range(b"r", b"s", view, &mut |row| {
            visit(row);
            ControlFlow::Continue(())
        })
    }

    pub fn bucket_rows(
        &self,
        bucket: Bucket,
        view: View<'_>,
        mut visit: impl FnMut(Row<'_>),
    ) -> Result<(), TableError> {
        let (from, to) = bucket_range(bucket);
        self.range(&from, &to, view, &mut |row| {
            visit(row);
            ControlFlow::Continue(())
        })
    }

    /// The records after one that need not exist any more, or from a bucket on, or all, until `visit` breaks.
    pub fn rows_from(
        &self,
        cursor: Option<&ListCursor>,
        view: View<'_>,
        visit: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), TableError> {
        let from = match cursor {
            None => b"r".to_vec(),
            Some(ListCursor::From(bucket)) => [b"r".as_slice(), &bucket.number().to_be_bytes()].concat(),
            // No id holds a zero byte, so nothing lies between a key and itself with one.
            Some(ListCursor::After(kind, id)) => [key_of(kind, id), vec![0]].concat(),
        };
        self.range(&from, b"s", view, visit)
    }

    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        view: View<'_>,
        visit: &mut dyn FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), TableError> {
        let mut changed = view.range(from, to);
        let mut damage = None;
        let mut done = false;
        let mut show = |key: &[u8], body: &[u8]| match parse_key(key) {
            Some((bucket, kind, id)) => visit(Row { bucket, kind, id, body }),
            None => {
                damage = Some(format!("{}: not the key of a record", key.escape_ascii()));
                ControlFlow::Break(())
            }
        };
        let mut garbled = None;
        self.kv.scan(from, to, &mut |key, framed| {
            let mut flow = ControlFlow::Continue(());
            while flow.is_continue()
                && let Some((before, body)) = changed.next_if(|changed| changed < key)
            {
                flow = body.map_or(flow, |body| show(before, body));
            }
            if flow.is_continue() {
                flow = match (changed.next_if(|changed| changed == key), unframe(key, framed)) {
                    (Some((_, None)), _) => flow,
                    (Some((_, Some(body))), _) => show(key, body),
                    (None, Ok(body)) => show(key, body),
                    (None, Err(error)) => {
                        garbled = Some(format!("{}: {error}", key.escape_ascii()));
                        ControlFlow::Break(())
                    }
                };
            }
            done = flow.is_break();
            flow
        })?;
        while !done && let Some((key, body)) = changed.next_if(|_| true) {
            done = body.is_some_and(|body| show(key, body).is_break());
        }
        match damage.or(garbled) {
            Some(problem) => Err(TableError::Damaged(problem)),
            None => Ok(()),
        }
    }

    /// The edits by command.
    pub fn overlay(&self) -> Result<Overlay, TableError> {
        let meta: Option<OverlayMeta> = self.json(OVERLAY)?;
        let mut edits = Vec::new();
        let mut problem = None;
        self.kv.scan(b"e", b"f", &mut |key, framed| {
            let edit = unframe(key, framed)
                .map_err(|error| error.to_string())
                .and_then(|payload| serde_json::from_slice::<Edit>(payload).map_err(|error| error.to_string()));
            match edit {
                Ok(edit) => {
                    edits.push(edit);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    problem = Some(format!("{}: {error}", key.escape_ascii()));
                    ControlFlow::Break(())
                }
            }
        })?;
        let OverlayMeta { revision, edits: stated } = meta.unwrap_or(OverlayMeta { revision: 0, edits: 0 });
        if problem.is_none() && edits.len() as u64 != stated {
            problem = Some(format!("{} edits by command where {stated} were stored", edits.len()));
        }
        match problem {
            Some(problem) => Err(TableError::Damaged(problem)),
            None => Ok(Overlay::new(revision, edits)),
        }
    }

    /// What the set of this mark left no room for when it came.
    pub fn conflicts(&self, mark: (u64, u64)) -> Result<Vec<ConflictedEdit>, TableError> {
        let left: Option<Left> = self.json(CONFLICTS)?;
        Ok(left.filter(|left| (left.epoch, left.generation) == mark).map(|left| left.conflicts).unwrap_or_default())
    }

    /// `after` is of the overlay once `change` is made.
    pub fn write_overlay(&self, change: &OverlayChange, after: OverlayVersion) -> Result<Durable, TableError> {
        self.kv.apply(overlay_writes(change, after)?)?;
        Ok(self.kv.sync()?)
    }

    /// The set, and what it makes of the overlay, all in one batch, durable when this returns.
    pub fn write(&self, changes: &Changes, meta: &Meta, overlay: OverlayWrite<'_>) -> Result<Durable, TableError> {
        let mut batch = Vec::with_capacity(changes.len() + 1);
        for (key, body) in changes {
            batch.push(match body {
                Some(body) => KvWrite::Put(key.clone(), frame(key, body)),
                None => KvWrite::Delete(key.clone()),
            });
        }
        batch.push(put_json(META, meta)?);
        let OverlayWrite { change, after, conflicts } = overlay;
        if let Some(change) = change {
            batch.extend(overlay_writes(change, after)?);
        }
        let left = Left { epoch: meta.epoch, generation: meta.generation, conflicts: conflicts.to_vec() };
        let none = conflicts.is_empty();
        batch.push(if none { KvWrite::Delete(CONFLICTS.to_vec()) } else { put_json(CONFLICTS, &left)? });
        self.kv.apply(batch)?;
        Ok(self.kv.sync()?)
    }

    pub fn write_keys(&self, keys: &StoredKeys) -> Result<Durable, TableError> {
        self.kv.apply(vec![put_json(KEYS, keys)?])?;
        Ok(self.kv.sync()?)
    }
}

fn edit_key(revision: u64) -> Vec<u8> {
    [&b"e"[..], &revision.to_be_bytes()].concat()
}

fn overlay_writes(change: &OverlayChange, after: OverlayVersion) -> Result<Vec<KvWrite>, TableError> {
    let gone = change.gone.iter().map(|revision| Ok(KvWrite::Delete(edit_key(*revision))));
    let put = change.put.iter().map(|edit| put_json(&edit_key(edit.revision), edit));
    let meta = OverlayMeta { revision: after.revision, edits: after.edits };
    gone.chain(put).chain([put_json(OVERLAY, &meta)]).collect()
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

//! A set on its way in, chunk by chunk. Owns what is asked for and what has arrived, in memory and bounded;
//! must never touch what is held. Invariant: every staged chunk hashes to the name that the signed
//! manifest gives it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::table::{Changes, Row, Table, TableError, View, key_of};
use crate::{
    gateway::kv::Kv,
    wire::set::{Bucket, Digest, Manifest, Reasons, Summary, chunk},
};

/// Chunks asked for at a time.
pub const WINDOW: usize = 64;

/// All chunks of one set that are on their way: about 200 000 people.
pub const STAGED_BYTES_MAX: usize = 64 * 1024 * 1024;

pub struct Staging {
    pub manifest: Manifest,
    pub compact: Arc<str>,
    wanted: Summary,
    chunks: BTreeMap<Bucket, Vec<u8>>,
    bytes: usize,
    outstanding: BTreeSet<Digest>,
}

pub enum Staged {
    /// Nobody asked for it.
    Unrequested,
    BadChunk,
    Taken,
    TooLarge,
}

impl Staging {
    /// Takes over from an earlier manifest's staging what the new one names too.
    pub fn new(manifest: Manifest, compact: Arc<str>, earlier: Option<Staging>) -> Staging {
        let wanted = Summary::from_chunks(&manifest.chunks);
        let mut chunks = BTreeMap::new();
        if let Some(earlier) = earlier {
            for (bucket, bytes) in earlier.chunks {
                if earlier.wanted.get(bucket) == wanted.get(bucket) {
                    chunks.insert(bucket, bytes);
                }
            }
        }
        let bytes = chunks.values().map(Vec::len).sum();
        Staging { manifest, compact, wanted, chunks, bytes, outstanding: BTreeSet::new() }
    }

    pub fn summary(&self) -> &Summary {
        &self.wanted
    }

    pub fn mark(&self) -> (u64, u64) {
        (self.manifest.epoch, self.manifest.generation)
    }

    /// What neither `held` nor the staging has, in bucket order.
    fn missing(&self, held: &Summary) -> impl Iterator<Item = Digest> {
        self.wanted
            .iter()
            .filter(|(bucket, hash)| held.get(*bucket) != Some(*hash) && !self.chunks.contains_key(bucket))
            .map(|(_, hash)| hash)
    }

    pub fn is_complete(&self, held: &Summary) -> bool {
        self.missing(held).next().is_none()
    }

    /// The names to ask for now.
    pub fn window(&mut self, held: &Summary) -> Vec<Digest> {
        self.outstanding = self.missing(held).take(WINDOW).collect();
        self.outstanding.iter().copied().collect()
    }

    /// True once all that was asked for has arrived.
    pub fn window_is_done(&self) -> bool {
        self.outstanding.is_empty()
    }

    pub fn take(&mut self, name: Digest, bytes: Vec<u8>) -> Staged {
        if !self.outstanding.contains(&name) {
            return Staged::Unrequested;
        }
        if bytes.len() > chunk::CHUNK_BYTES_MAX || Digest::of(&bytes) != name {
            return Staged::BadChunk;
        }
        if self.bytes + bytes.len() > STAGED_BYTES_MAX {
            return Staged::TooLarge;
        }
        self.outstanding.remove(&name);
        // A chunk's records belong to one bucket: a manifest that names it for two is refused later.
        let buckets: Vec<Bucket> = self.wanted.iter().filter(|(_, hash)| *hash == name).map(|(b, _)| b).collect();
        for bucket in buckets {
            self.bytes += bytes.len();
            self.chunks.insert(bucket, bytes.clone());
        }
        Staged::Taken
    }

    /// What has to change for the held set to become the manifest's. Consumes the chunks.
    pub fn changes<K: Kv>(
        &mut self,
        table: &Table<K>,
        held: &Summary,
    ) -> Result<Result<Changes, Vec<String>>, TableError> {
        let mut changes = Changes::new();
        let mut reasons = Reasons::default();
        for bucket in self.wanted.differing(held) {
            let records = match self.chunks.remove(&bucket) {
                None => Vec::new(),
                Some(bytes) => match chunk::decode(&bytes, bucket) {
                    Ok(records) => records,
                    Err(problem) => {
                        reasons.push(|| format!("the chunk of bucket {}: {problem}", bucket.number()));
                        continue;
                    }
                },
            };
            let mut next: Changes = records.into_iter().map(|r| (key_of(&r.kind, &r.id), Some(r.body))).collect();
            table.bucket_rows(bucket, View::STORED, |row: Row<'_>| {
                let key = key_of(row.kind, row.id);
                match next.get(&key) {
                    Some(Some(body)) if body == row.body => drop(next.remove(&key)),
                    Some(_) => {}
                    None => drop(next.insert(key, None)),
                }
            })?;
            // Not `append`, which would visit all that is there, for each bucket.
            changes.extend(next);
        }
        self.bytes = self.chunks.values().map(Vec::len).sum();
        Ok(if reasons.is_empty() { Ok(changes) } else { Err(reasons.into_vec()) })
    }
}

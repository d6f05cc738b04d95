//! The cloud's permission set: records by bucket, the digest over them, deltas since the beginning.

use std::collections::{BTreeMap, VecDeque};

use latchd::{
    domain::{ids::Id, record::Record},
    wire::{
        canonical::canonical,
        set::{Bucket, Digest, Op, RecordName, RecordPut, Summary, chunk},
    },
};

/// Deltas kept for nodes that are behind; one that is further behind gets a manifest.
const HISTORY_MAX: usize = 64;

#[derive(Default)]
pub struct SetStore {
    records: BTreeMap<Bucket, BTreeMap<(Id, Id), Vec<u8>>>,
    summary: Summary,
    pub generation: u64,
    /// Signed deltas, with the generation and digest that each starts from.
    history: VecDeque<(u64, Digest, String)>,
}

impl SetStore {
    pub fn digest(&self) -> Digest {
        self.summary.digest()
    }

    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    pub fn len(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Changes the records; the generation rises by one.
    pub fn apply(&mut self, ops: &[Op]) {
        let mut touched = std::collections::BTreeSet::new();
        for op in ops {
            let (kind, id) = op.name();
            let bucket = Bucket::of(kind, id);
            touched.insert(bucket);
            let key = (kind.clone(), id.clone());
            let records = self.records.entry(bucket).or_default();
            match op {
                Op::Put(put) => records.insert(key, put.canonical_body().unwrap_or_default()),
                Op::Delete(_) => records.remove(&key),
            };
        }
        for bucket in touched {
            let name = self.chunk_of(bucket).map(|chunk| Digest::of(&chunk));
            self.summary.set(bucket, name);
        }
        self.records.retain(|_, records| !records.is_empty());
        self.generation += 1;
    }

    pub fn remember(&mut self, from: u64, digest: Digest, delta: String) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((from, digest, delta));
    }

    /// The deltas that lead from there to now; `None` if a manifest is needed.
    pub fn deltas_since(&self, generation: u64, digest: Digest) -> Option<Vec<String>> {
        let at = self.history.iter().position(|(from, held, _)| (*from, *held) == (generation, digest))?;
        Some(self.history.iter().skip(at).map(|(_, _, delta)| delta.clone()).collect())
    }

    pub fn chunk(&self, name: Digest) -> Option<Vec<u8>> {
        let (bucket, _) = self.summary.iter().find(|(_, hash)| *hash == name)?;
        self.chunk_of(bucket)
    }

    fn chunk_of(&self, bucket: Bucket) -> Option<Vec<u8>> {
        let records = self.records.get(&bucket)?;
        chunk::encode(records.iter().map(|((kind, id), body)| (kind.as_str(), id.as_str(), body.as_slice())))
    }
}

/// Puts a record under an id.
pub fn put(id: &str, record: &Record) -> Op {
    let json = serde_json::to_value(record).expect("records are JSON");
    let kind = json.get("kind").and_then(|k| k.as_str()).expect("records have a kind").to_owned();
    let body = json.get("body").and_then(|b| b.as_object()).cloned().unwrap_or_default();
    put_raw(&kind, id, body)
}

/// Puts whatever body under whatever kind.
pub fn put_raw(kind: &str, id: &str, body: serde_json::Map<String, serde_json::Value>) -> Op {
    Op::Put(RecordPut { kind: name(kind), id: name(id), body })
}

pub fn delete(kind: &str, id: &str) -> Op {
    Op::Delete(RecordName { kind: name(kind), id: name(id) })
}

fn name(text: &str) -> Id {
    Id::new(text).expect("the id of a test record")
}

/// RFC 8785 of anything, for signing.
pub fn json(value: &impl serde::Serialize) -> Vec<u8> {
    canonical(value).expect("JSON of ours")
}

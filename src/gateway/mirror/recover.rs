//! The set from its second copy. Owns the proof that the copy is what the cloud signed; must never return
//! a set of which one byte is not covered by it. Invariant: what comes out has the digest that the last
//! signed document in it attests.

use std::collections::BTreeMap;

use super::{
    copy::{Attest, CopyError, LOG_DELTA, LOG_KEYS, LOG_OVERLAY, SecondCopy},
    overlay::{Overlay, OverlayChange},
    table::{Changes, Meta, Row, StoredKeys, Summing, key_of, parse_key},
};
use crate::wire::set::{Bucket, Delta, Digest, Op, SetDocument, Summary, chunk};

pub struct Recovered {
    /// Every record as a change to an empty store.
    pub rows: Changes,
    pub summary: Summary,
    pub meta: Meta,
    /// The last key set in the copy.
    pub keys: StoredKeys,
    /// The edits by command; also where the log breaks off for the set, for they do not build on it.
    pub overlay: Overlay,
    /// The log holds entries past `meta` that do not follow or do not verify.
    pub cut_short: Option<String>,
}

impl From<String> for CopyError {
    fn from(problem: String) -> CopyError {
        CopyError::Damaged(problem)
    }
}

fn text(bytes: &[u8]) -> Result<&str, CopyError> {
    std::str::from_utf8(bytes).map_err(|_| CopyError::Damaged("not text".to_owned()))
}

/// `None` if there is no copy.
pub fn recover(copy: &mut impl SecondCopy, attest: &dyn Attest) -> Result<Option<Recovered>, CopyError> {
    let Some(mut recovered) = read_base(copy, attest)? else { return Ok(None) };
    let mut entries = Vec::new();
    copy.read_log(&mut |entry| entries.push(entry.to_vec()))?;
    for entry in entries {
        if recovered.cut_short.is_some() && entry.first() != Some(&LOG_OVERLAY) {
            continue;
        }
        if let Err(error) = recovered.replay(&entry, attest) {
            recovered.cut_short.get_or_insert(error.to_string());
        }
    }
    Ok(Some(recovered))
}

fn read_base(copy: &mut impl SecondCopy, attest: &dyn Attest) -> Result<Option<Recovered>, CopyError> {
    let mut frames = Vec::new();
    if !copy.read_base(&mut |frame| frames.push(frame.to_vec()))? {
        return Ok(None);
    }
    let [keys, document, chunks @ ..] = frames.as_slice() else {
        return Err(CopyError::Damaged("the base is cut short".to_owned()));
    };
    let (keys, document) = (text(keys)?, text(document)?);
    let attested = attest.keys(keys)?;
    let signed = attest.document(keys, document)?;
    let mut rows = Changes::new();
    let mut summary = Summary::default();
    let mut overlay = Overlay::default();
    for frame in chunks {
        if let Some((&LOG_OVERLAY, json)) = frame.split_first() {
            overlay.apply(&overlay_change(json)?);
            continue;
        }
        let bucket = frame.split_first_chunk::<2>().map(|(number, bytes)| (u16::from_be_bytes(*number), bytes));
        let Some((Some(bucket), bytes)) = bucket.map(|(number, bytes)| (Bucket::new(number), bytes)) else {
            return Err(CopyError::Damaged("a chunk without its bucket".to_owned()));
        };
        summary.set(bucket, Some(Digest::of(bytes)));
        for record in chunk::decode(bytes, bucket)? {
            rows.insert(key_of(&record.kind, &record.id), Some(record.body));
        }
    }
    if summary.digest() != signed.digest() {
        return Err(CopyError::Damaged("the records are not those that the signed document attests".to_owned()));
    }
    let keys = StoredKeys { version: attested.version, epoch: attested.epoch, compact: keys.to_owned() };
    let meta = meta_of(&signed, document, &keys.compact);
    Ok(Some(Recovered { rows, summary, meta, keys, overlay, cut_short: None }))
}

fn overlay_change(json: &[u8]) -> Result<OverlayChange, CopyError> {
    serde_json::from_slice(json).map_err(|error| CopyError::Damaged(format!("an edit by command: {error}")))
}

/// What is stored beside a set that this document attests.
pub fn meta_of(document: &SetDocument, compact: &str, keys: &str) -> Meta {
    let critical = match document {
        SetDocument::Delta(delta) => &delta.critical,
        SetDocument::Manifest(manifest) => &manifest.critical,
    };
    Meta {
        epoch: document.epoch(),
        generation: document.generation(),
        digest: document.digest(),
        issued_at_ms: document.iat().as_millis(),
        critical: critical.clone(),
        document: compact.to_owned(),
        keys: keys.to_owned(),
    }
}

/// The changes that a delta makes.
pub fn changes_of(delta: &Delta) -> Result<Changes, String> {
    let mut changes = Changes::new();
    for op in &delta.ops {
        let (kind, id) = op.name();
        let body = match op {
            Op::Put(put) => Some(put.canonical_body().map_err(|e| format!("{kind}/{id}: {e}"))?),
            Op::Delete(_) => None,
        };
        changes.insert(key_of(kind, id), body);
    }
    Ok(changes)
}

impl Recovered {
    fn replay(&mut self, entry: &[u8], attest: &dyn Attest) -> Result<(), CopyError> {
        match entry.split_first() {
            Some((&LOG_KEYS, compact)) => {
                let compact = text(compact)?;
                let attested = attest.keys(compact)?;
                if attested.version >= self.keys.version {
                    self.keys =
                        StoredKeys { version: attested.version, epoch: attested.epoch, compact: compact.to_owned() };
                }
                Ok(())
            }
            Some((&LOG_DELTA, compact)) => {
                let compact = text(compact)?;
                let document = attest.document(&self.keys.compact, compact)?;
                let SetDocument::Delta(delta) = &document else {
                    return Err(CopyError::Damaged("a log entry that is no delta".to_owned()));
                };
                let mark = (self.meta.epoch, self.meta.generation);
                if (delta.epoch, delta.to) <= mark {
                    return Ok(()); // from before the base
                }
                if (delta.epoch, delta.from) != mark {
                    return Err(CopyError::Damaged(format!("generation {} is missing", mark.1 + 1)));
                }
                self.apply(delta)?;
                self.meta = meta_of(&document, compact, &self.keys.compact);
                Ok(())
            }
            Some((&LOG_OVERLAY, json)) => {
                self.overlay.apply(&overlay_change(json)?);
                Ok(())
            }
            _ => Err(CopyError::Damaged("a log entry of an unknown kind".to_owned())),
        }
    }

    fn apply(&mut self, delta: &Delta) -> Result<(), CopyError> {
        let changes = changes_of(delta)?;
        let mut summary = self.summary.clone();
        let mut buckets: BTreeMap<Bucket, Changes> = BTreeMap::new();
        for (key, body) in &changes {
            let Some((bucket, ..)) = parse_key(key) else { continue };
            buckets.entry(bucket).or_default().insert(key.clone(), body.clone());
        }
        for (bucket, changed) in buckets {
            let mut rows: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
            let prefix = [&b"r"[..], &bucket.number().to_be_bytes()].concat();
            let stored = self.rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
            for (key, body) in stored.chain(&changed) {
                match body {
                    Some(body) => rows.insert(key, body),
                    None => rows.remove(key.as_slice()),
                };
            }
            let mut summing = Summing::default();
            for (key, body) in rows {
                if let Some((bucket, kind, id)) = parse_key(key) {
                    summing.add(Row { bucket, kind, id, body });
                }
            }
            summary.set(bucket, summing.finish().0.get(bucket));
        }
        if summary.digest() != delta.digest {
            return Err(CopyError::Damaged(format!("generation {} does not have its digest", delta.to)));
        }
        self.summary = summary;
        for (key, body) in changes {
            match body {
                Some(body) => self.rows.insert(key, Some(body)),
                None => self.rows.remove(&key),
            };
        }
        Ok(())
    }
}

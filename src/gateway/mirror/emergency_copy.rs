//! The emergency cards outside the mirror: what of the set proves them, for the day on which neither the store
//! nor its second copy can be read. Owns what is in that copy, when it is written and how it is proved; must
//! never take a card from it that no signature of the cloud covers. Invariant: what is read back was in a
//! set that the cloud signed, and no operator has edited it since.
//!
//! No signature is on a single record: the cloud signs a digest over the hashes of a set's chunks. So the
//! smallest proof of a record is the signed key set, the signed document with the digest, the hashes of all
//! chunks (34 bytes each, 1024 at most), and the chunks in which the cards lie, with whatever else is in them.
//!
//! ```text
//! frame  signed key set | signed document | bucket (u16, big-endian), hash … | Header, JSON
//!        then for each bucket with a card: bucket (u16, big-endian), chunk
//! ```
//!
//! The copy may be of an older set than the one in force, as long as the cards are the same: it is written when
//! they change, not with every delta. Cards that an edit by command made or changed are left out until a set
//! absorbs the edit, for the cloud has not signed them; those that an edit changed or deleted are named in the
//! header as withdrawn. The anchor holds how far the copy has got, so that an older one is not taken.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Mirror, MirrorOutput,
    copy::{Attest, CopyError, SecondCopy, Sink},
    gather::understand,
    messages::Copy,
    table::{Meta, Table, TableError, View, key_of, parse_key},
};
use crate::{
    domain::{
        ids::Id,
        record::{EmergencyCard, Record},
        time::Now,
    },
    gateway::kv::Kv,
    wire::set::{Bucket, Digest, Summary, chunk},
};

const KIND: &str = "emergency_card";

pub type Cards = BTreeMap<Id, EmergencyCard>;

/// How far the copy has got: the set that it is of, and the edits that it knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmergencyMark {
    pub epoch: u64,
    pub generation: u64,
    pub overlay_revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    overlay_revision: u64,
    /// Edited by command since: not to be taken from here.
    withdrawn: BTreeSet<Id>,
    /// How many chunks follow.
    chunks: usize,
}

/// What the copy holds.
#[derive(Debug, Default)]
pub struct EmergencyRead {
    pub cards: Cards,
    /// Part of it cannot be used; what was proved is in `cards` all the same.
    pub damaged: Option<String>,
}

/// No copy holds no cards. `floor`: an older copy is not taken.
pub fn read(copy: &mut impl SecondCopy, attest: &dyn Attest, floor: EmergencyMark) -> Result<EmergencyRead, CopyError> {
    let mut frames = Vec::new();
    if !copy.read_emergency(&mut |frame| frames.push(frame.to_vec()))? {
        return Ok(EmergencyRead::default());
    }
    let [keys, document, hashes, header, chunks @ ..] = frames.as_slice() else {
        return Err(CopyError::Damaged("it is cut short".to_owned()));
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| CopyError::Damaged("not text".to_owned()));
    let document = attest.document(text(keys)?, text(document)?)?;
    let summary = summary(hashes)?;
    if summary.digest() != document.digest() {
        return Err(CopyError::Damaged("the hashes are not those that the signed document attests".to_owned()));
    }
    let header: Header = serde_json::from_slice(header).map_err(|e| CopyError::Damaged(format!("its header: {e}")))?;
    let Header { overlay_revision, withdrawn, chunks: expected } = header;
    let mark = EmergencyMark { epoch: document.epoch(), generation: document.generation(), overlay_revision };
    if mark < floor {
        return Err(CopyError::Damaged(format!(
            "it is of generation {} of epoch {}, and one of generation {} of epoch {} was written",
            mark.generation, mark.epoch, floor.generation, floor.epoch
        )));
    }
    let mut found = EmergencyRead::default();
    if chunks.len() != expected {
        found.damaged = Some(format!("{} of {expected} chunks can be read", chunks.len()));
    }
    for frame in chunks {
        match cards_of(frame, &summary) {
            Ok(cards) => found.cards.extend(cards.into_iter().filter(|(id, _)| !withdrawn.contains(id))),
            Err(problem) => found.damaged = Some(problem),
        }
    }
    Ok(found)
}

fn summary(hashes: &[u8]) -> Result<Summary, CopyError> {
    let mut summary = Summary::default();
    for entry in hashes.chunks(2 + 32) {
        let number = entry.split_first_chunk::<2>();
        let read = number.and_then(|(number, hash)| {
            Some((Bucket::new(u16::from_be_bytes(*number))?, Digest(hash.try_into().ok()?)))
        });
        let (bucket, hash) = read.ok_or_else(|| CopyError::Damaged("its hashes cannot be read".to_owned()))?;
        summary.set(bucket, Some(hash));
    }
    Ok(summary)
}

fn cards_of(frame: &[u8], summary: &Summary) -> Result<Vec<(Id, EmergencyCard)>, String> {
    let (number, bytes) = frame.split_first_chunk::<2>().ok_or("a chunk without its bucket")?;
    let bucket = Bucket::new(u16::from_be_bytes(*number)).ok_or("a chunk of no bucket")?;
    if summary.get(bucket) != Some(Digest::of(bytes)) {
        return Err(format!("the chunk of bucket {} is not what was signed", bucket.number()));
    }
    let mut cards = Vec::new();
    for record in chunk::decode(bytes, bucket)?.into_iter().filter(|record| record.kind.as_str() == KIND) {
        match understand(KIND, &record.body) {
            Some(Ok(Record::EmergencyCard(card))) => cards.push((record.id, card)),
            Some(Err(error)) => return Err(format!("{KIND}/{}: {error}", record.id)),
            Some(Ok(_)) | None => {}
        }
    }
    Ok(cards)
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    /// The cards in force that are as the cloud signed them; `None` while no set is in force.
    fn signed_cards(&self) -> Option<Cards> {
        let understood = self.held.as_ref()?.understood.as_ref()?;
        let cards = understood.permissions.site().emergency_cards.iter();
        let signed = cards.filter(|(id, _)| !self.layer.contains_key(&key_of(KIND, id.as_str())));
        Some(signed.map(|(id, card)| (id.clone(), card.clone())).collect())
    }

    /// Writes the copy if it does not hold the cards in force. The mark rises whether that succeeds or not: a
    /// card that was taken away must not come back because a disk was full.
    pub(super) fn keep_emergency_cards(&mut self, now: Now, again: bool, out: &mut Vec<MirrorOutput>) {
        let Some(cards) = self.signed_cards() else { return };
        if self.emergency_cards.as_ref() == Some(&cards) || (self.emergency_failed && !again) {
            return;
        }
        self.chores.emergency = true;
        let written = self.write_emergency_cards(&cards);
        match written {
            Ok(()) => {
                self.emergency_cards = Some(cards);
                self.chores.emergency = false;
                self.emergency_failed = false;
                if std::mem::take(&mut self.emergency_told) {
                    out.push(MirrorOutput::CopyRestored { copy: Copy::EmergencyCards });
                }
            }
            Err(error) => {
                self.emergency_cards = None;
                self.chore_timer.arm(now.mono);
                self.emergency_failed = true;
                if !std::mem::replace(&mut self.emergency_told, true) {
                    out.push(MirrorOutput::CopyFailed { copy: Copy::EmergencyCards, detail: error.to_string() });
                }
            }
        }
    }

    fn write_emergency_cards(&mut self, cards: &Cards) -> Result<(), CopyError> {
        let meta = self.table.meta().map_err(failed)?;
        let (Some(meta), Some(held)) = (meta, &self.held) else {
            return Err(CopyError::Failed("the store has no set".to_owned()));
        };
        let overlay_revision = self.overlay.revision();
        let Meta { epoch, generation, .. } = meta;
        self.anchor.emergency = EmergencyMark { epoch, generation, overlay_revision };
        self.chores.anchor = true;
        let edited = self.layer.keys().filter_map(|key| parse_key(key)).filter(|(_, kind, _)| *kind == KIND);
        let withdrawn = edited.filter_map(|(_, _, id)| Id::new(id).ok()).collect();
        let buckets: BTreeSet<Bucket> = cards.keys().map(|id| Bucket::of(KIND, id.as_str())).collect();
        let header = Header { overlay_revision, withdrawn, chunks: buckets.len() };
        let header = serde_json::to_vec(&header).map_err(|error| CopyError::Failed(error.to_string()))?;
        let (table, summary) = (&self.table, &held.summary);
        self.copy.write_emergency(&mut |sink: &mut Sink<'_>| {
            sink(meta.keys.as_bytes())?;
            sink(meta.document.as_bytes())?;
            let hash = |(bucket, hash): (Bucket, Digest)| [&bucket.number().to_be_bytes()[..], &hash.0].concat();
            sink(&summary.iter().flat_map(hash).collect::<Vec<u8>>())?;
            sink(&header)?;
            for bucket in &buckets {
                let hash = summary.get(*bucket).unwrap_or_else(Digest::of_nothing);
                sink(&[&bucket.number().to_be_bytes()[..], &stored_chunk(table, *bucket, hash)?].concat())?;
            }
            Ok(())
        })
    }
}

fn failed(error: TableError) -> CopyError {
    CopyError::Failed(error.to_string())
}

/// A chunk as it was applied, made again of the stored records.
pub(super) fn stored_chunk<K: Kv>(table: &Table<K>, bucket: Bucket, hash: Digest) -> Result<Vec<u8>, CopyError> {
    let mut rows = Vec::new();
    table
        .bucket_rows(bucket, View::STORED, |row| {
            rows.push((row.kind.to_owned(), row.id.to_owned(), row.body.to_vec()));
        })
        .map_err(failed)?;
    let chunk = chunk::encode(rows.iter().map(|(kind, id, body)| (kind.as_str(), id.as_str(), body.as_slice())));
    let chunk = chunk.filter(|chunk| Digest::of(chunk) == hash);
    chunk.ok_or_else(|| CopyError::Failed(format!("bucket {} in the store is not what was applied", bucket.number())))
}

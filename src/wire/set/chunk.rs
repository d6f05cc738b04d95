//! Chunks: one bucket's records as bytes. Owns their one encoding and the check that bytes are in it;
//! must never accept two encodings of one content. Invariant: `encode(decode(bytes)) == bytes`.

use ring::digest::{Context, SHA256};
use serde::Deserialize;

use super::{BODY_BYTES_MAX, Bucket, Digest};
use crate::{
    domain::ids::Id,
    wire::canonical::{MESSAGE_BYTES_MAX, canonical},
};

/// The largest chunk, and so the largest bucket.
pub const CHUNK_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// A record with its body in RFC 8785 form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    pub kind: Id,
    pub id: Id,
    pub body: Vec<u8>,
}

/// Writes a chunk record by record, in (kind, id) order, without building JSON: kinds and ids need no
/// escapes, and bodies are canonical already. RFC 8785 sorts the members: body, id, kind.
fn pieces<'a>(first: bool, kind: &'a str, id: &'a str, body: &'a [u8]) -> [&'a [u8]; 7] {
    let open: &[u8] = if first { b"[{\"body\":" } else { b",{\"body\":" };
    [open, body, b",\"id\":\"", id.as_bytes(), b"\",\"kind\":\"", kind.as_bytes(), b"\"}"]
}

/// The chunk of these records, which are sorted by (kind, id); of none of them, nothing.
pub fn encode<'a>(records: impl IntoIterator<Item = (&'a str, &'a str, &'a [u8])>) -> Option<Vec<u8>> {
    let mut chunk = Vec::new();
    for (kind, id, body) in records {
        for piece in pieces(chunk.is_empty(), kind, id, body) {
            chunk.extend_from_slice(piece);
        }
    }
    if chunk.is_empty() {
        return None;
    }
    chunk.push(b']');
    Some(chunk)
}

/// The hash and size of a chunk without the chunk.
#[derive(Default)]
pub struct ChunkHasher {
    context: Option<Context>,
    bytes: usize,
}

impl ChunkHasher {
    /// In (kind, id) order.
    pub fn add(&mut self, kind: &str, id: &str, body: &[u8]) {
        let first = self.context.is_none();
        let context = self.context.get_or_insert_with(|| Context::new(&SHA256));
        for piece in pieces(first, kind, id, body) {
            context.update(piece);
            self.bytes += piece.len();
        }
    }

    /// `None` if nothing was added; else the chunk's name and its number of bytes.
    pub fn finish(self) -> Option<(Digest, usize)> {
        let mut context = self.context?;
        context.update(b"]");
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Some((Digest(hash), self.bytes + 1))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRecord {
    body: serde_json::Map<String, serde_json::Value>,
    id: Id,
    kind: Id,
}

/// Reads a chunk whose bytes hash to the name that stands in the manifest for `bucket`.
pub fn decode(bytes: &[u8], bucket: Bucket) -> Result<Vec<ChunkRecord>, String> {
    if bytes.len() > CHUNK_BYTES_MAX {
        return Err(format!("a chunk of {} bytes is more than {CHUNK_BYTES_MAX}", bytes.len()));
    }
    let wire: Vec<WireRecord> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut records: Vec<ChunkRecord> = Vec::with_capacity(wire.len());
    for WireRecord { body, id, kind } in wire {
        let body = canonical(&body).map_err(|e| format!("{kind}/{id}: {e}"))?;
        if body.len() > BODY_BYTES_MAX {
            return Err(format!("{kind}/{id}: a body of {} bytes is more than {BODY_BYTES_MAX}", body.len()));
        }
        if Bucket::of(&kind, &id) != bucket {
            return Err(format!("{kind}/{id} does not belong into bucket {}", bucket.number()));
        }
        if records.last().is_some_and(|last| (&last.kind, &last.id) >= (&kind, &id)) {
            return Err(format!("{kind}/{id} is out of order"));
        }
        records.push(ChunkRecord { kind, id, body });
    }
    let again = encode(records.iter().map(|r| (r.kind.as_str(), r.id.as_str(), r.body.as_slice())));
    // Also catches a key that stands twice in one object.
    if again.as_deref() != Some(bytes) {
        return Err("a chunk that is not in RFC 8785 form".to_owned());
    }
    Ok(records)
}

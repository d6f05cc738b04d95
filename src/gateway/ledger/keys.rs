//! How the ledger's records are named and framed. Owns the key space; must never let two kinds of record
//! share a key. Invariant: events sort by number.
//!
//! | key | record |
//! |---|---|
//! | `e/` number (8, big-endian) | an event, canonical JSON without `replayed` |
//! | `c/` SHA-256 of the issuer (32) `/` jti | a command and its outcomes |
//! | `d/` door | what of a door's state outlives a power cut |
//! | `k/` name | what else outlives a power cut, one value each |
//! | `meta/head` | log id, newest and oldest event |
//! | `meta/acked` `meta/floor` `meta/clock` `meta/beat` `meta/clean` | single values |

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    domain::{ids::Id, kept::KeptKey, time::Wall},
    gateway::{
        kv::{Kv, KvError, KvWrite},
        step::CommandKey,
    },
    wire::{
        canonical::{hex, sha256, unhex32},
        event_log::Head,
        stored,
    },
};

pub const HEAD: &[u8] = b"meta/head";
pub const ACKED: &[u8] = b"meta/acked";
pub const FORGET_FLOOR: &[u8] = b"meta/floor";
pub const CLOCK_FLOOR: &[u8] = b"meta/clock";
pub const BEAT: &[u8] = b"meta/beat";
pub const CLEAN: &[u8] = b"meta/clean";

const EVENTS: &[u8] = b"e/";
pub const COMMANDS: &[u8] = b"c/";
pub const DOORS: &[u8] = b"d/";
pub const KEPT: &[u8] = b"k/";

pub fn event(seq: u64) -> Vec<u8> {
    [EVENTS, &seq.to_be_bytes()].concat()
}

/// Stands in the place of an event that was damaged and whose loss was told of.
pub const KNOWN_LOST: &[u8] = b"";

pub fn known_lost(seq: u64) -> KvWrite {
    let key = event(seq);
    let framed = stored::frame(&key, KNOWN_LOST);
    KvWrite::Put(key, framed)
}

/// Beyond every event.
pub fn events_end() -> Vec<u8> {
    b"e0".to_vec()
}

/// The number in an event's key.
pub fn event_seq(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(EVENTS)?.try_into().ok()?))
}

pub fn command(key: &CommandKey) -> Vec<u8> {
    [COMMANDS, &sha256(key.issuer.as_bytes()), b"/", key.jti.as_bytes()].concat()
}

pub fn door(id: &Id) -> Vec<u8> {
    [DOORS, id.as_bytes()].concat()
}

pub fn kept(key: &KeptKey) -> Vec<u8> {
    [KEPT, key.as_str().as_bytes()].concat()
}

/// The end of the keys that begin with `prefix`, which ends in `/`.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[derive(Serialize, Deserialize)]
pub struct HeadRecord {
    pub log_id: Id,
    pub seq: u64,
    pub hash: String,
    pub first: u64,
}

impl HeadRecord {
    pub fn new(head: &Head, first: u64) -> HeadRecord {
        HeadRecord { log_id: head.log_id.clone(), seq: head.seq, hash: hex(&head.hash), first }
    }

    pub fn head(&self) -> Option<Head> {
        Some(Head { log_id: self.log_id.clone(), seq: self.seq, hash: unhex32(&self.hash)? })
    }
}

#[derive(Serialize, Deserialize)]
pub struct AckedRecord {
    pub through: u64,
}

#[derive(Serialize, Deserialize)]
pub struct TimeRecord {
    pub at: Wall,
}

#[derive(Serialize, Deserialize)]
pub struct BeatRecord {
    pub at: Wall,
    pub epoch: u64,
    pub generation: u64,
}

#[derive(Serialize, Deserialize)]
pub struct CleanRecord {
    pub seq: u64,
}

pub fn record(key: Vec<u8>, value: &impl Serialize) -> Result<KvWrite, serde_json::Error> {
    let framed = stored::frame(&key, &serde_json::to_vec(value)?);
    Ok(KvWrite::Put(key, framed))
}

/// What is wrong with one record, for people.
pub type Damage = String;

pub fn decode<T: DeserializeOwned>(key: &[u8], framed: &[u8]) -> Result<T, Damage> {
    let payload = stored::unframe(key, framed).map_err(|error| error.to_string())?;
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

/// `Ok(None)` if there is no such record, `Ok(Some(Err))` if there is one and it cannot be read.
pub fn load<T: DeserializeOwned>(kv: &impl Kv, key: &[u8]) -> Result<Option<Result<T, Damage>>, KvError> {
    Ok(kv.get(key)?.map(|framed| decode(key, &framed)))
}

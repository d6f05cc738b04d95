//! The arrangement by which two sides find their differences. Owns buckets, their hashes and the digest
//! over them; must never see a record's body. Invariant: equal digests mean equal sets, and a change of
//! one record changes one bucket's hash and no other.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::wire::canonical::{hex, tagged_sha256, unhex32};

/// Ten bits: a manifest of a full set stays under 100 KiB, and a set of 10 000 people, each with a card,
/// has about twenty records in a chunk.
pub const BUCKETS: u16 = 1024;

const BUCKET_TAG: &str = "latchd-set-bucket-v1";
const SET_TAG: &str = "latchd-set-v1";

/// A SHA-256; lower-case hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// That of the set without records.
    pub fn of_nothing() -> Digest {
        Summary::default().digest()
    }

    pub fn of(bytes: &[u8]) -> Digest {
        Digest(crate::wire::canonical::sha256(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Digest, Self::Err> {
        unhex32(text).map(Digest).ok_or("expected 64 lower-case hex digits (SHA-256)")
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Digest, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// Number of a bucket, 0 to 1023; a JSON key in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bucket(u16);

impl Bucket {
    pub fn of(kind: &str, id: &str) -> Bucket {
        let [high, low, ..] = tagged_sha256(BUCKET_TAG, &[kind.as_bytes(), id.as_bytes()]);
        Bucket(u16::from_be_bytes([high, low]) >> 6)
    }

    pub fn new(number: u16) -> Option<Bucket> {
        (number < BUCKETS).then_some(Bucket(number))
    }

    pub fn number(self) -> u16 {
        self.0
    }

    pub fn all() -> impl Iterator<Item = Bucket> {
        (0..BUCKETS).map(Bucket)
    }
}

impl TryFrom<String> for Bucket {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Bucket, Self::Error> {
        const EXPECTED: &str = "expected the number of a bucket: 0 to 1023, without leading zeros";
        // Two spellings of one number would be two keys for one bucket.
        let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
        text.parse().ok().filter(|_| plain).and_then(Bucket::new).ok_or(EXPECTED)
    }
}

impl From<Bucket> for String {
    fn from(bucket: Bucket) -> String {
        bucket.0.to_string()
    }
}

impl schemars::JsonSchema for Bucket {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bucket".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,2}|10[01][0-9]|102[0-3])$" })
    }
}

/// The hash of every bucket that is not empty: what stands for a set when sets are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary(BTreeMap<Bucket, Digest>);

impl Summary {
    pub fn from_chunks(chunks: &BTreeMap<Bucket, Digest>) -> Summary {
        Summary(chunks.clone())
    }

    pub fn get(&self, bucket: Bucket) -> Option<Digest> {
        self.0.get(&bucket).copied()
    }

    /// `None` for a bucket that is now empty.
    pub fn set(&mut self, bucket: Bucket, hash: Option<Digest>) {
        match hash {
            Some(hash) => self.0.insert(bucket, hash),
            None => self.0.remove(&bucket),
        };
    }

    pub fn iter(&self) -> impl Iterator<Item = (Bucket, Digest)> + '_ {
        self.0.iter().map(|(bucket, hash)| (*bucket, *hash))
    }

    pub fn into_chunks(self) -> BTreeMap<Bucket, Digest> {
        self.0
    }

    pub fn digest(&self) -> Digest {
        let mut summary = Vec::with_capacity(self.0.len() * 34);
        for (bucket, hash) in &self.0 {
            summary.extend_from_slice(&bucket.0.to_be_bytes());
            summary.extend_from_slice(&hash.0);
        }
        Digest(tagged_sha256(SET_TAG, &[&summary]))
    }

    /// The buckets in which the two differ, empty ones included.
    pub fn differing<'a>(&'a self, other: &'a Summary) -> impl Iterator<Item = Bucket> + 'a {
        Bucket::all().filter(|bucket| self.0.get(bucket) != other.0.get(bucket))
    }
}

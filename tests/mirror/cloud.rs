//! A cloud for one node: holds a set, signs what it says about it, answers requests.

use std::{collections::BTreeMap, sync::Arc};

use latchd::{
    domain::{ids::Id, permission::SetVersion, time::Wall},
    gateway::mirror::{MirrorInput, RootAttest, Wanted},
    wire::{
        canonical::canonical,
        jws::{self, Signer, Typ},
        keys::{Curve, Jwk, KeyEntry, KeyType, KeyUse, KeysDocument, RootKey},
        numeric_date::NumericDate,
        set::{Bucket, Delta, Digest, Manifest, Op, RecordName, RecordPut, SetDocument, Summary, Want, chunk},
    },
};
use serde_json::{Value, json};

pub const AUDIENCE: &str = "acme/hq-1";

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

pub type Records = BTreeMap<(String, String), Value>;

/// Kind, id and body.
type Row<'a> = (&'a str, &'a str, Vec<u8>);

pub struct Cloud {
    root: Signer,
    signer: Signer,
    pub keys_version: u64,
    pub epoch: u64,
    pub generation: u64,
    pub records: Records,
    pub critical: Vec<Id>,
    pub absorbs: Vec<Id>,
    /// Signed deltas of this epoch, the first from generation 0.
    pub deltas: Vec<Delta>,
    /// Seconds; rises with each signature.
    pub clock: i64,
}

impl Cloud {
    pub fn new() -> Cloud {
        Cloud {
            root: Signer::from_seed(&[1; 32]).unwrap(),
            signer: Signer::from_seed(&[2; 32]).unwrap(),
            keys_version: 1,
            epoch: 1,
            generation: 0,
            records: Records::new(),
            critical: Vec::new(),
            absorbs: Vec::new(),
            deltas: Vec::new(),
            clock: 1_790_000_000,
        }
    }

    /// From now on another root and other keys sign.
    pub fn forge(&mut self) {
        self.root = Signer::from_seed(&[3; 32]).unwrap();
        self.signer = Signer::from_seed(&[4; 32]).unwrap();
    }

    pub fn attest(&self) -> RootAttest {
        let jwk = serde_json::to_vec(&Jwk::of(&self.root.public_key())).unwrap();
        RootAttest { root: RootKey::from_jwk(&jwk).unwrap(), audience: AUDIENCE.into() }
    }

    pub fn keys(&self) -> MirrorInput {
        let document = KeysDocument {
            aud: AUDIENCE.into(),
            version: self.keys_version,
            iat: self.now(),
            epoch: self.epoch,
            keys: vec![KeyEntry {
                kty: KeyType::Okp,
                crv: Curve::Ed25519,
                kid: id("set-1"),
                x: Jwk::of(&self.signer.public_key()).x,
                latchd_use: KeyUse::Set,
                exp: NumericDate(Wall::MAX),
            }],
            revoked: Vec::new(),
        };
        let payload = serde_json::to_vec(&document).unwrap();
        let kid = Jwk::of(&self.root.public_key()).thumbprint();
        let compact = jws::sign(&self.root, Typ::Keys, &kid, &payload);
        MirrorInput::Keys { compact: compact.into(), version: self.keys_version, epoch: self.epoch }
    }

    fn now(&self) -> NumericDate {
        NumericDate(Wall::from_millis(self.clock * 1000))
    }

    pub fn sign(&self, document: &SetDocument) -> MirrorInput {
        let payload = serde_json::to_vec(document).unwrap();
        let compact: Arc<str> = jws::sign(&self.signer, Typ::Set, &id("set-1"), &payload).into();
        MirrorInput::Document { payload, compact }
    }

    pub fn chunks(&self) -> BTreeMap<Bucket, Vec<u8>> {
        let mut buckets: BTreeMap<Bucket, Vec<Row<'_>>> = BTreeMap::new();
        for ((kind, id), body) in &self.records {
            buckets.entry(Bucket::of(kind, id)).or_default().push((kind, id, canonical(body).unwrap()));
        }
        let encode = |rows: Vec<Row<'_>>| chunk::encode(rows.iter().map(|(k, i, b)| (*k, *i, &b[..])));
        buckets.into_iter().map(|(bucket, rows)| (bucket, encode(rows).unwrap())).collect()
    }

    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.chunks().into_iter().for_each(|(bucket, chunk)| summary.set(bucket, Some(Digest::of(&chunk))));
        summary
    }

    pub fn digest(&self) -> Digest {
        self.summary().digest()
    }

    pub fn version(&self) -> SetVersion {
        SetVersion { epoch: self.epoch, generation: self.generation, digest: self.digest().0 }
    }

    pub fn manifest_document(&self) -> Manifest {
        let summary = self.summary();
        Manifest {
            aud: AUDIENCE.into(),
            iat: self.now(),
            epoch: self.epoch,
            generation: self.generation,
            digest: summary.digest(),
            critical: self.critical.clone(),
            absorbs: self.absorbs.clone(),
            chunks: summary.into_chunks(),
        }
    }

    pub fn manifest(&self) -> MirrorInput {
        self.sign(&SetDocument::Manifest(self.manifest_document()))
    }

    pub fn beat(&self) -> MirrorInput {
        MirrorInput::Beat { iat: self.now().0, version: self.version() }
    }

    /// Changes the set and says how.
    pub fn change(&mut self, ops: Vec<Op>) -> MirrorInput {
        for op in &ops {
            match op {
                Op::Put(put) => drop(
                    self.records.insert((put.kind.to_string(), put.id.to_string()), Value::Object(put.body.clone())),
                ),
                Op::Delete(name) => drop(self.records.remove(&(name.kind.to_string(), name.id.to_string()))),
            }
        }
        self.clock += 10;
        self.generation += 1;
        let delta = Delta {
            aud: AUDIENCE.into(),
            iat: self.now(),
            epoch: self.epoch,
            from: self.generation - 1,
            to: self.generation,
            digest: self.digest(),
            critical: self.critical.clone(),
            absorbs: self.absorbs.clone(),
            ops,
        };
        self.deltas.push(delta.clone());
        self.sign(&SetDocument::Delta(delta))
    }

    /// Restored from a backup: the root key announces a new epoch, in which generations start over.
    pub fn raise_epoch(&mut self, records: Records) {
        self.clock += 10;
        self.keys_version += 1;
        self.epoch += 1;
        self.generation = 1;
        self.records = records;
        self.deltas.clear();
    }

    pub fn delta(&self, to: u64) -> MirrorInput {
        let delta = self.deltas.iter().find(|delta| delta.to == to).unwrap();
        self.sign(&SetDocument::Delta(delta.clone()))
    }

    /// What a cloud sends upon a request: a beat last.
    pub fn answer(&self, wanted: &Wanted) -> Vec<MirrorInput> {
        let mut answer = Vec::new();
        let same_epoch = wanted.held.epoch == self.epoch;
        let behind = !same_epoch || wanted.held.generation < self.generation;
        match wanted.want {
            Want::Update if behind && same_epoch && !self.deltas.is_empty() => {
                let from = wanted.held.generation;
                answer.extend(self.deltas.iter().filter(|d| d.from >= from).map(|d| self.delta(d.to)));
            }
            Want::Update if !behind => {}
            Want::Update | Want::Manifest => answer.push(self.manifest()),
            Want::Chunks => {
                let chunks: BTreeMap<Digest, Vec<u8>> =
                    self.chunks().into_values().map(|chunk| (Digest::of(&chunk), chunk)).collect();
                for name in &wanted.chunks {
                    match chunks.get(name) {
                        Some(bytes) => answer.push(MirrorInput::Chunk { name: *name, bytes: bytes.clone() }),
                        None => answer.push(self.manifest()),
                    }
                }
            }
        }
        answer.push(self.beat());
        answer
    }
}

pub fn put(kind: &str, name: &str, body: Value) -> Op {
    let Value::Object(body) = body else { panic!("{body}") };
    Op::Put(RecordPut { kind: id(kind), id: id(name), body })
}

pub fn delete(kind: &str, name: &str) -> Op {
    Op::Delete(RecordName { kind: id(kind), id: id(name) })
}

/// The text that stands for the card of a person: any 32 bytes will do as its token.
pub fn token(person: &str) -> latchd::domain::record::Token {
    latchd::domain::record::Token(latchd::wire::canonical::sha256(person.as_bytes()))
}

/// A person with a card, who may pass the door `front` through the group `staff`.
pub fn enrol(person: &str) -> Vec<Op> {
    vec![
        put("person", person, json!({"name": person, "groups": ["staff"]})),
        put("credential", &format!("card-{person}"), json!({"person": person, "token": token(person).to_string()})),
    ]
}

pub fn dismiss(person: &str) -> Vec<Op> {
    vec![delete("person", person), delete("credential", &format!("card-{person}"))]
}

/// The group and its rule.
pub fn house() -> Vec<Op> {
    vec![
        put("group", "staff", json!({"name": "Staff"})),
        put("access_rule", "staff-front", json!({"effect": "allow", "groups": ["staff"], "doors": ["front"]})),
    ]
}

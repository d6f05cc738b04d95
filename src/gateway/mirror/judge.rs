//! What arrives against what is held. Owns the one comparison that says new, old, late or wrong; must
//! never write. Invariant: nothing at or below the high-water mark is ever taken up, except the very set
//! of the mark when the store has lost it.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use super::{
    AHEAD_BYTES_MAX, AHEAD_MAX, Ignored, Mirror, MirrorOutput, REFUSED_MAX, Refused, SecondCopy,
    recover::{changes_of, meta_of},
    staging::{Staged, Staging},
    table::{StoredKeys, Summing, View, parse_key},
};
use crate::{
    domain::{
        permission::SetVersion,
        time::{Now, Wall},
    },
    gateway::kv::Kv,
    wire::set::{Delta, Digest, Manifest, SetDocument, chunk::CHUNK_BYTES_MAX},
};

/// A document below the mark was late if it was signed no later than this after the one that is held;
/// signed later, the cloud itself has gone back. Bridges the clocks of several signers.
const LATE_MAX: Duration = Duration::from_secs(60);

/// How something stands to the high-water mark.
enum Standing {
    Newer,
    /// The set of the mark itself.
    Same,
    Settled(MirrorOutput),
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    fn standing(&self, iat: Wall, version: SetVersion) -> Standing {
        let mark = (version.epoch, version.generation);
        let Some(keys) = &self.keys else {
            return Standing::Settled(MirrorOutput::Ignored(Ignored::Unavailable));
        };
        match version.epoch.cmp(&keys.epoch) {
            Ordering::Greater => {
                let detail = format!(
                    "epoch {} is not announced under the root key: epoch {} is in force",
                    version.epoch, keys.epoch
                );
                return Standing::Settled(MirrorOutput::RollbackRefused { detail });
            }
            Ordering::Less => return Standing::Settled(MirrorOutput::Ignored(Ignored::OldEpoch)),
            Ordering::Equal => {}
        }
        if !self.anchor.set_seen {
            return Standing::Newer;
        }
        match mark.cmp(&self.anchor.mark()) {
            Ordering::Greater => Standing::Newer,
            Ordering::Equal if Digest(version.digest) == self.anchor.digest => Standing::Same,
            Ordering::Equal => {
                let detail = format!(
                    "generation {} of epoch {} came with digest {}, and was {} before",
                    mark.1,
                    mark.0,
                    Digest(version.digest),
                    self.anchor.digest
                );
                Standing::Settled(MirrorOutput::RollbackRefused { detail })
            }
            Ordering::Less if iat > self.issued_at() + LATE_MAX => {
                let detail = format!(
                    "generation {} of epoch {} was signed at {iat}, after generation {} (at {})",
                    mark.1,
                    mark.0,
                    self.anchor.generation,
                    self.issued_at()
                );
                Standing::Settled(MirrorOutput::RollbackRefused { detail })
            }
            Ordering::Less => Standing::Settled(MirrorOutput::Ignored(Ignored::Superseded)),
        }
    }

    pub(super) fn handle_keys(
        &mut self,
        now: Now,
        compact: Arc<str>,
        version: u64,
        epoch: u64,
        out: &mut Vec<MirrorOutput>,
    ) {
        let held = self.keys.as_ref().map_or(0, |keys| keys.version).max(self.anchor.keys_version);
        if version < held || self.keys.as_ref().is_some_and(|keys| keys.version == version) {
            return out.push(MirrorOutput::Ignored(Ignored::AlreadyApplied));
        }
        let keys = StoredKeys { version, epoch, compact: compact.as_ref().to_owned() };
        self.refused_documents.clear();
        self.commit_keys(now, keys, out);
    }

    pub(super) fn handle_document(&mut self, now: Now, payload: &[u8], compact: Arc<str>, out: &mut Vec<MirrorOutput>) {
        let name = Digest::of(compact.as_bytes());
        if self.refused_documents.contains(&name) {
            return out.push(MirrorOutput::Ignored(Ignored::AlreadyRefused));
        }
        let document = match SetDocument::parse(payload, &self.config.audience) {
            Ok(document) => document,
            Err(error) => return self.refuse(name, None, error.reasons(), out),
        };
        let version = version_of(&document);
        let standing = self.standing(document.iat(), version);
        match (standing, document) {
            (Standing::Settled(MirrorOutput::Ignored(Ignored::Superseded)), SetDocument::Delta(_)) => {
                out.push(MirrorOutput::Ignored(Ignored::AlreadyApplied));
            }
            (Standing::Settled(output), _) => {
                // An alarm is raised once for each document, until other keys speak for it.
                if matches!(output, MirrorOutput::RollbackRefused { .. }) {
                    self.remember_refused(name);
                }
                out.push(output);
            }
            (Standing::Same, _) if self.held.is_some() => out.push(MirrorOutput::Ignored(Ignored::AlreadyApplied)),
            (Standing::Same, SetDocument::Delta(_)) => self.manifest_needed = true,
            (Standing::Newer, SetDocument::Delta(delta)) => self.place_delta(now, delta, compact, out),
            (_, SetDocument::Manifest(manifest)) => self.place_manifest(now, manifest, compact, out),
        }
        self.take_turns(now, out);
    }

    fn place_delta(&mut self, now: Now, delta: Delta, compact: Arc<str>, out: &mut Vec<MirrorOutput>) {
        self.spoken_of((delta.epoch, delta.to));
        match self.mark() {
            Some(held) if held == (delta.epoch, delta.from) => self.apply_delta(now, delta, compact, out),
            // The very first: generation 0 is the empty set.
            None if !self.anchor.set_seen && delta.from == 0 => self.apply_delta(now, delta, compact, out),
            Some((epoch, _)) if epoch == delta.epoch => {
                if compact.len() <= AHEAD_BYTES_MAX && self.ahead.len() < AHEAD_MAX {
                    self.ahead.insert(delta.from, (delta, compact));
                }
                out.push(MirrorOutput::Ignored(Ignored::AheadOfTurn));
            }
            _ => self.manifest_needed = true,
        }
    }

    /// Deltas whose turn has come.
    pub(super) fn take_turns(&mut self, now: Now, out: &mut Vec<MirrorOutput>) {
        while let Some((epoch, generation)) = self.mark() {
            self.ahead.retain(|from, (delta, _)| delta.epoch == epoch && *from >= generation);
            let Some((delta, compact)) = self.ahead.remove(&generation) else { return };
            self.apply_delta(now, delta, compact, out);
        }
    }

    fn apply_delta(&mut self, now: Now, delta: Delta, compact: Arc<str>, out: &mut Vec<MirrorOutput>) {
        let name = Digest::of(compact.as_bytes());
        let document = SetDocument::Delta(delta);
        let SetDocument::Delta(delta) = &document else { return };
        let version = version_of(&document);
        let changes = match changes_of(delta) {
            Ok(changes) => changes,
            Err(problem) => return self.refuse(name, Some(version), vec![problem], out),
        };
        let mut summary = self.summary();
        let mut buckets: Vec<_> = changes.keys().filter_map(|key| parse_key(key)).map(|(b, ..)| b).collect();
        buckets.dedup();
        let mut reasons = Vec::new();
        for bucket in buckets {
            let mut summing = Summing::default();
            if let Err(error) = self.table.bucket_rows(bucket, View::changed(&changes), |row| summing.add(row)) {
                return self.fail(error.to_string(), out);
            }
            let (hashed, bytes) = summing.finish();
            if bytes > CHUNK_BYTES_MAX {
                reasons.push(format!("bucket {}: {bytes} bytes are more than {CHUNK_BYTES_MAX}", bucket.number()));
            }
            summary.set(bucket, hashed.get(bucket));
        }
        if summary.digest() != delta.digest {
            // Ours was signed, so the delta is wrong; the whole set settles it.
            reasons.push(format!("digest: the set would have {}, not {}", summary.digest(), delta.digest));
            self.manifest_needed = true;
            self.urge = true;
            return self.refuse(name, None, reasons, out);
        }
        if !reasons.is_empty() {
            return self.refuse(name, Some(version), reasons, out);
        }
        let meta = meta_of(&document, &compact, self.keys_compact());
        let absorbs = delta.absorbs.clone();
        self.commit_set(now, name, changes, summary, meta, absorbs, true, out);
    }

    fn place_manifest(&mut self, now: Now, manifest: Manifest, compact: Arc<str>, out: &mut Vec<MirrorOutput>) {
        let mark = (manifest.epoch, manifest.generation);
        let version = SetVersion { epoch: mark.0, generation: mark.1, digest: manifest.digest.0 };
        if self.refused_version == Some(version) {
            return out.push(MirrorOutput::Ignored(Ignored::AlreadyRefused));
        }
        if let Some(staging) = &self.staging {
            match mark.cmp(&staging.mark()) {
                Ordering::Less => return out.push(MirrorOutput::Ignored(Ignored::Superseded)),
                Ordering::Equal if staging.manifest.digest == manifest.digest => {
                    self.urge = true;
                    return out.push(MirrorOutput::Ignored(Ignored::Superseded));
                }
                Ordering::Equal => {
                    let detail = format!("generation {} of epoch {} came with two digests", mark.1, mark.0);
                    return out.push(MirrorOutput::RollbackRefused { detail });
                }
                Ordering::Greater => {}
            }
        }
        self.spoken_of(mark);
        self.staging = Some(Staging::new(manifest, compact, self.staging.take()));
        self.retry.reset();
        self.complete_staging(now, out);
    }

    pub(super) fn handle_chunk(&mut self, now: Now, name: Digest, bytes: Vec<u8>, out: &mut Vec<MirrorOutput>) {
        let Some(staging) = &mut self.staging else {
            return out.push(MirrorOutput::Ignored(Ignored::UnrequestedChunk));
        };
        match staging.take(name, bytes) {
            Staged::Unrequested => out.push(MirrorOutput::Ignored(Ignored::UnrequestedChunk)),
            Staged::BadChunk => out.push(MirrorOutput::Ignored(Ignored::BadChunk)),
            Staged::TooLarge => {
                let document = Digest::of(staging.compact.as_bytes());
                let version = version_of_manifest(&staging.manifest);
                let most = super::staging::STAGED_BYTES_MAX;
                self.staging = None;
                self.refuse(document, Some(version), vec![format!("the chunks are more than {most} bytes")], out);
            }
            Staged::Taken => {
                self.retry.reset();
                if staging.window_is_done() {
                    self.complete_staging(now, out);
                    self.take_turns(now, out);
                } else {
                    self.retry.arm(now.mono);
                }
            }
        }
    }

    /// Applies the staged set if nothing of it is missing; else more is asked for.
    fn complete_staging(&mut self, now: Now, out: &mut Vec<MirrorOutput>) {
        let summary = self.summary();
        let Some(mut staging) = self.staging.take_if(|staging| staging.is_complete(&summary)) else {
            self.urge = true;
            return;
        };
        let name = Digest::of(staging.compact.as_bytes());
        let changes = match staging.changes(&self.table, &summary) {
            Err(error) => return self.fail(error.to_string(), out),
            Ok(Err(reasons)) => {
                return self.refuse(name, Some(version_of_manifest(&staging.manifest)), reasons, out);
            }
            Ok(Ok(changes)) => changes,
        };
        let summary = staging.summary().clone();
        let absorbs = staging.manifest.absorbs.clone();
        let compact = staging.compact;
        let meta = meta_of(&SetDocument::Manifest(staging.manifest), &compact, self.keys_compact());
        self.commit_set(now, name, changes, summary, meta, absorbs, false, out);
    }

    pub(super) fn handle_beat(&mut self, iat: Wall, version: SetVersion, out: &mut Vec<MirrorOutput>) {
        match self.standing(iat, version) {
            Standing::Settled(output) => out.push(output),
            Standing::Same if self.held.is_some() => out.push(MirrorOutput::Confirmed(version)),
            Standing::Same => {}
            Standing::Newer => self.spoken_of((version.epoch, version.generation)),
        }
    }

    fn spoken_of(&mut self, mark: (u64, u64)) {
        self.target = self.target.max(mark);
        let refused = self.refused_version.map(|version| (version.epoch, version.generation));
        // The chain of deltas is broken where one of them was refused.
        if refused.is_some_and(|refused| refused < mark) {
            self.manifest_needed = true;
        }
    }

    pub(super) fn refuse(
        &mut self,
        document: Digest,
        version: Option<SetVersion>,
        reasons: Vec<String>,
        out: &mut Vec<MirrorOutput>,
    ) {
        self.remember_refused(document);
        if version.is_some() {
            self.refused_version = version;
        }
        let offered = version.map(|version| (version.epoch, version.generation));
        out.push(MirrorOutput::Refused(Refused { held: self.held_version(), offered, reasons }));
    }

    fn remember_refused(&mut self, document: Digest) {
        if self.refused_documents.len() == REFUSED_MAX {
            self.refused_documents.pop_front();
        }
        self.refused_documents.push_back(document);
    }

    fn keys_compact(&self) -> &str {
        self.keys.as_ref().map_or("", |keys| &keys.compact)
    }
}

fn version_of(document: &SetDocument) -> SetVersion {
    SetVersion { epoch: document.epoch(), generation: document.generation(), digest: document.digest().0 }
}

fn version_of_manifest(manifest: &Manifest) -> SetVersion {
    SetVersion { epoch: manifest.epoch, generation: manifest.generation, digest: manifest.digest.0 }
}

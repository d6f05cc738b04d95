//! Durable, then visible. Owns the order of writes: the store first, then the second copy's log, then the
//! anchor, then the word to the outside; must never speak before the store has synced. Invariant: at every
//! instant of a crash either the old set or the new one is whole in the store, and the anchor is not above it.

use super::{
    Anchor, Applied, Chores, Held, Mirror, MirrorOutput, SecondCopy,
    copy::{CopyError, LOG_DELTA, LOG_KEYS, LOG_OVERLAY, Sink},
    emergency_copy::stored_chunk,
    messages::Copy,
    overlay::Overlay,
    recover::recover,
    settle::{Settled, Unsettled},
    table::{Changes, Meta, OverlayWrite, StoredKeys, Table, TableError, parse_key},
};
use crate::{
    domain::{
        ids::Id,
        time::{Now, Wall},
    },
    gateway::kv::Kv,
    wire::set::{Digest, Summary},
};

/// Records that one set is told to have changed.
const TOUCHED_MAX: usize = 1024;

/// Below this the log is never folded into the base.
const LOG_BYTES_MIN: u64 = 256 * 1024;

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    /// Compiles the set as it would be, and if it is in order makes it the set in force.
    #[expect(clippy::too_many_arguments, reason = "one set's parts, taken apart by two callers")]
    pub(super) fn commit_set(
        &mut self,
        now: Now,
        document: Digest,
        changes: Changes,
        summary: Summary,
        meta: Meta,
        absorbs: Vec<Id>,
        is_delta: bool,
        out: &mut Vec<MirrorOutput>,
    ) {
        let version = meta.version();
        let settled = match self.settle(&changes, &meta, &absorbs) {
            Ok(settled) => settled,
            Err(Unsettled::Refused(reasons)) => return self.refuse(document, Some(version), reasons, out),
            Err(Unsettled::Store(error)) => return self.fail(error.to_string(), out),
        };
        let change = settled.change.as_ref();
        let after = change.map_or(self.overlay.version(), |change| self.overlay.version_after(change));
        let overlay = OverlayWrite { change, after, conflicts: &settled.conflicts };
        let durable = match self.table.write(&changes, &meta, overlay) {
            Ok(durable) => durable,
            Err(error) => return self.fail(error.to_string(), out),
        };
        let changed: Vec<Vec<u8>> = changes.into_keys().collect();
        let had_base = self.held.is_some();
        let Settled { understood, layer, change, absorbed, conflicts, disputed } = settled;
        let applied = durable.vouches_for(Applied {
            version: *understood.permissions.version(),
            permissions: understood.permissions.clone(),
            records: understood.records,
            unknown_kinds: understood.unknown_kinds(),
            absorbed,
            conflicts,
            overlay: after,
            issued_at: Wall::from_millis(meta.issued_at_ms),
            touched: had_base.then(|| touched(&changed)).flatten(),
        });
        self.held = Some(Held { version, summary, understood: Some(understood) });
        self.raise_anchor(&meta);
        let mark = self.anchor.mark();
        self.target = self.target.max(mark);
        if mark >= self.target {
            self.manifest_needed = false;
        }
        if self.refused_version.is_some_and(|refused| (refused.epoch, refused.generation) <= mark) {
            self.refused_version = None;
        }
        if self.staging.as_ref().is_some_and(|staging| staging.mark() <= mark) {
            self.staging = None;
        }
        self.retry.reset();
        if is_delta && had_base && !self.chores.rewrite {
            self.append_to_copy(now, LOG_DELTA, meta.document.as_bytes(), out);
        } else {
            self.chores.rewrite = true;
        }
        let layered: Vec<Vec<u8>> = self.layer.keys().chain(layer.keys()).cloned().collect();
        (self.layer, self.disputed) = (layer, disputed);
        if let Err(error) = self.update_directory(changed.iter().chain(&layered)) {
            return self.fail(error.to_string(), out);
        }
        if let Some(change) = change {
            self.overlay.apply(&change);
            self.overlay_to_copy(now, &change, out);
        }
        self.do_chores(now, false, out);
        out.push(MirrorOutput::Applied(applied));
    }

    pub(super) fn commit_keys(&mut self, now: Now, keys: StoredKeys, out: &mut Vec<MirrorOutput>) {
        if let Err(error) = self.table.write_keys(&keys) {
            return self.fail(error.to_string(), out);
        }
        self.anchor.keys_version = self.anchor.keys_version.max(keys.version);
        self.chores.anchor = true;
        if self.held.is_some() && !self.chores.rewrite {
            self.append_to_copy(now, LOG_KEYS, keys.compact.as_bytes(), out);
        }
        self.keys = Some(keys);
        self.do_chores(now, false, out);
    }

    pub(super) fn raise_anchor(&mut self, meta: &Meta) {
        self.anchor = Anchor {
            epoch: meta.epoch,
            generation: meta.generation,
            digest: meta.digest,
            issued_at_ms: meta.issued_at_ms,
            set_seen: true,
            keys_version: self.anchor.keys_version,
            overlay_revision: self.anchor.overlay_revision,
            emergency: self.anchor.emergency,
        };
        self.chores.anchor = true;
    }

    pub(super) fn append_to_copy(&mut self, now: Now, tag: u8, content: &[u8], out: &mut Vec<MirrorOutput>) {
        let mut entry = Vec::with_capacity(1 + content.len());
        entry.push(tag);
        entry.extend_from_slice(content);
        match self.copy.append_log(&entry) {
            Ok(()) => {
                let (base, log) = self.copy.sizes();
                if log > base.max(LOG_BYTES_MIN) {
                    self.chores.compact = true;
                }
            }
            Err(error) => {
                self.chores.rewrite = true;
                self.copy_has_failed(now, &error, out);
            }
        }
    }

    /// The second copy's pending work: what must be done before a set is reported, and with `all` also what
    /// can wait for the timer or failed before.
    pub(super) fn do_chores(&mut self, now: Now, all: bool, out: &mut Vec<MirrorOutput>) {
        let mut result = Ok(());
        self.keep_emergency_cards(now, all, out);
        if all && self.chores.verify && !self.chores.rewrite {
            self.chores.rewrite = !self.copy_is_good();
            self.chores.verify = false;
        }
        if (self.chores.rewrite && !self.copy_failed) || (all && (self.chores.rewrite || self.chores.compact)) {
            result = self.rewrite_copy();
        }
        if self.chores.anchor {
            let written = self.copy.write_anchor(&self.anchor);
            self.chores.anchor = written.is_err();
            result = result.and(written);
        }
        match result {
            Err(error) => self.copy_has_failed(now, &error, out),
            Ok(()) if !self.chores.of_set() && std::mem::take(&mut self.copy_failed) => {
                out.push(MirrorOutput::CopyRestored { copy: Copy::Set });
            }
            Ok(()) => {}
        }
        if !self.chores.any() {
            self.chore_timer.reset();
        } else if self.chore_timer.due().is_none() {
            self.chore_timer.arm(now.mono);
        }
    }

    fn copy_is_good(&mut self) -> bool {
        match recover(&mut self.copy, &*self.attest) {
            Ok(Some(found)) => {
                Some(found.meta.version()) == self.version()
                    && found.cut_short.is_none()
                    && found.overlay == self.overlay
            }
            Ok(None) => self.held.is_none(),
            Err(_) => false,
        }
    }

    fn rewrite_copy(&mut self) -> Result<(), CopyError> {
        if let Some(held) = &self.held {
            write_base(&self.table, &held.summary, &self.overlay, &mut self.copy)?;
            // Until the key set follows.
            self.chores.rewrite = true;
            if let Some(keys) = &self.keys {
                // The base holds the key set of its document; a later one follows it.
                self.copy.append_log(&[&[LOG_KEYS], keys.compact.as_bytes()].concat())?;
            }
        }
        self.chores = Chores { anchor: self.chores.anchor, emergency: self.chores.emergency, ..Chores::default() };
        Ok(())
    }

    fn copy_has_failed(&mut self, now: Now, error: &CopyError, out: &mut Vec<MirrorOutput>) {
        self.chore_timer.arm(now.mono);
        if !std::mem::replace(&mut self.copy_failed, true) {
            out.push(MirrorOutput::CopyFailed { copy: Copy::Set, detail: error.to_string() });
        }
    }
}

/// Kind and id of so many records, if they are not too many.
fn touched(keys: &[Vec<u8>]) -> Option<Vec<(Id, Id)>> {
    let record = |key: &Vec<u8>| {
        let (_, kind, id) = parse_key(key)?;
        Some((Id::new(kind).ok()?, Id::new(id).ok()?))
    };
    if keys.len() <= TOUCHED_MAX { keys.iter().map(record).collect() } else { None }
}

fn write_base<K: Kv>(
    table: &Table<K>,
    summary: &Summary,
    overlay: &Overlay,
    copy: &mut impl SecondCopy,
) -> Result<(), CopyError> {
    let failed = |error: TableError| CopyError::Failed(error.to_string());
    let meta = table.meta().map_err(failed)?;
    let Some(meta) = meta else { return Err(CopyError::Failed("the store has no set".to_owned())) };
    let edits = if overlay.revision() == 0 { Vec::new() } else { overlay.whole().entries() };
    copy.write_base(&mut |sink: &mut Sink<'_>| {
        sink(meta.keys.as_bytes())?;
        sink(meta.document.as_bytes())?;
        for (bucket, hash) in summary.iter() {
            let chunk = stored_chunk(table, bucket, hash)?;
            sink(&[&bucket.number().to_be_bytes()[..], &chunk].concat())?;
        }
        for edit in &edits {
            sink(&[&[LOG_OVERLAY][..], edit].concat())?;
        }
        Ok(())
    })
}

//! Durable, then visible. Owns the order of writes: the store first, then the second copy's log, then the
//! anchor, then the word to the outside; must never speak before the store has synced. Invariant: at every
//! instant of a crash either the old set or the new one is whole in the store, and the anchor is not above it.

use super::{
    Anchor, Applied, Chores, Held, Mirror, MirrorOutput, SecondCopy,
    copy::{CopyError, LOG_DELTA, LOG_KEYS, Sink},
    gather::{Changed, Gather, Understood},
    recover::recover,
    table::{Changes, Meta, StoredKeys, Table, TableError, parse_key},
};
use crate::{
    domain::{ids::Id, time::Now},
    gateway::{kv::Kv, step::Durable},
    wire::set::{Digest, Summary, chunk},
};

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
        let understood = match self.understand(&changes, &meta) {
            Ok(Ok(understood)) => understood,
            Ok(Err(reasons)) => return self.refuse(document, Some(version), reasons, out),
            Err(error) => return self.fail(error.to_string(), out),
        };
        let durable = match self.table.write(&changes, &meta) {
            Ok(durable) => durable,
            Err(error) => return self.fail(error.to_string(), out),
        };
        drop(changes);
        let had_base = self.held.is_some();
        let applied = applied(&understood, absorbs, &durable);
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
            self.append_to_copy(now, LOG_DELTA, &meta.document, out);
        } else {
            self.chores.rewrite = true;
        }
        self.do_chores(now, false, out);
        out.push(MirrorOutput::Applied(applied));
    }

    /// The set as it would be: from the one in force if there is one, at the cost of the changes; else whole.
    fn understand(&self, changes: &Changes, meta: &Meta) -> Result<Result<Understood, Vec<String>>, TableError> {
        let Some(before) = self.held.as_ref().and_then(|held| held.understood.as_ref()) else {
            let mut gather = Gather::new(&self.config.topology, &self.config.zone);
            self.table.rows(changes, |row| gather.add(row))?;
            return Ok(gather.finish(&meta.critical, meta.version()));
        };
        let mut changed = Vec::with_capacity(changes.len());
        for (key, body) in changes {
            let Some((_, kind, id)) = parse_key(key) else { continue };
            changed.push(Changed { kind, id, was_there: self.table.holds(key)?, body: body.as_deref() });
        }
        Ok(before.apply(changed, &meta.critical, meta.version()))
    }

    pub(super) fn commit_keys(&mut self, now: Now, keys: StoredKeys, out: &mut Vec<MirrorOutput>) {
        if let Err(error) = self.table.write_keys(&keys) {
            return self.fail(error.to_string(), out);
        }
        self.anchor.keys_version = self.anchor.keys_version.max(keys.version);
        self.chores.anchor = true;
        if self.held.is_some() && !self.chores.rewrite {
            self.append_to_copy(now, LOG_KEYS, &keys.compact, out);
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
        };
        self.chores.anchor = true;
    }

    fn append_to_copy(&mut self, now: Now, tag: u8, compact: &str, out: &mut Vec<MirrorOutput>) {
        let mut entry = Vec::with_capacity(1 + compact.len());
        entry.push(tag);
        entry.extend_from_slice(compact.as_bytes());
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
            Ok(()) if !self.chores.any() => {
                self.chore_timer.reset();
                if std::mem::take(&mut self.copy_failed) {
                    out.push(MirrorOutput::CopyRestored);
                }
            }
            Ok(()) if self.chore_timer.due().is_none() => self.chore_timer.arm(now.mono),
            Ok(()) => {}
        }
    }

    fn copy_is_good(&mut self) -> bool {
        match recover(&mut self.copy, &*self.attest) {
            Ok(Some(found)) => Some(found.meta.version()) == self.version() && found.cut_short.is_none(),
            Ok(None) => self.held.is_none(),
            Err(_) => false,
        }
    }

    fn rewrite_copy(&mut self) -> Result<(), CopyError> {
        if let Some(held) = &self.held {
            write_base(&self.table, &held.summary, &mut self.copy)?;
            // Until the key set follows.
            self.chores.rewrite = true;
            if let Some(keys) = &self.keys {
                // The base holds the key set of its document; a later one follows it.
                self.copy.append_log(&[&[LOG_KEYS], keys.compact.as_bytes()].concat())?;
            }
        }
        self.chores = Chores { anchor: self.chores.anchor, ..Chores::default() };
        Ok(())
    }

    fn copy_has_failed(&mut self, now: Now, error: &CopyError, out: &mut Vec<MirrorOutput>) {
        self.chore_timer.arm(now.mono);
        if !std::mem::replace(&mut self.copy_failed, true) {
            out.push(MirrorOutput::CopyFailed { detail: error.to_string() });
        }
    }
}

/// The durable store vouches for what is handed out.
fn applied(understood: &Understood, absorbs: Vec<Id>, _: &Durable) -> Applied {
    Applied {
        version: *understood.permissions.version(),
        permissions: understood.permissions.clone(),
        records: understood.records,
        unknown_kinds: understood.unknown_kinds(),
        absorbs,
    }
}

fn write_base<K: Kv>(table: &Table<K>, summary: &Summary, copy: &mut impl SecondCopy) -> Result<(), CopyError> {
    let failed = |error: TableError| CopyError::Failed(error.to_string());
    let meta = table.meta().map_err(failed)?;
    let Some(meta) = meta else { return Err(CopyError::Failed("the store has no set".to_owned())) };
    let nothing = Changes::new();
    copy.write_base(&mut |sink: &mut Sink<'_>| {
        sink(meta.keys.as_bytes())?;
        sink(meta.document.as_bytes())?;
        for (bucket, hash) in summary.iter() {
            let mut rows = Vec::new();
            table
                .bucket_rows(bucket, &nothing, |row| {
                    rows.push((row.kind.to_owned(), row.id.to_owned(), row.body.to_vec()));
                })
                .map_err(failed)?;
            let chunk =
                chunk::encode(rows.iter().map(|(kind, id, body)| (kind.as_str(), id.as_str(), body.as_slice())));
            let chunk = chunk.filter(|chunk| Digest::of(chunk) == hash);
            let chunk = chunk.ok_or_else(|| {
                CopyError::Failed(format!("bucket {} in the store is not what was applied", bucket.number()))
            })?;
            sink(&[&bucket.number().to_be_bytes()[..], &chunk].concat())?;
        }
        Ok(())
    })
}

//! The start: which set is enforced before any network. Owns the choice between the store, the second
//! copy and nothing; must never choose one that is below the anchor or does not have its digest.
//! Invariant: what cannot be proved is not enforced: then every card is denied as `stale_permissions`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Anchor, CHORE_FIRST, CHORE_MOST, Chores, Held, Mirror, MirrorConfig, MirrorOutput, RETRY_FIRST, RETRY_MOST,
    copy::{Attest, SecondCopy},
    emergency_copy::{self, EmergencyRead},
    gather::{Gather, Understood},
    messages::Copy,
    overlay::{Edit, OverlayChange, OverlayVersion},
    recover::{Recovered, recover},
    retry::Retry,
    settle::Unsettled,
    table::{Changes, Meta, OverlayWrite, StoredKeys, Summing, Table, TableError, View},
};
use crate::{
    domain::{
        event::{ConflictedEdit, EditFate, EditMade},
        ids::Id,
        permission::{Permissions, SetVersion},
        record::EmergencyCard,
        time::{Now, Wall},
    },
    gateway::kv::{Kv, KvError},
    wire::set::Summary,
};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store is to be set aside, and the mirror opened over a new one: the second copy fills it.
    #[error("the permission mirror is damaged: {0}")]
    Damaged(String),
    #[error("the permission mirror cannot be read: {0}")]
    Failed(KvError),
}

impl From<TableError> for OpenError {
    fn from(error: TableError) -> OpenError {
        match error {
            TableError::Damaged(detail) => OpenError::Damaged(detail),
            TableError::Kv(error) => OpenError::Failed(error),
        }
    }
}

/// Where the set in force at start came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Store,
    /// The store was empty; it has been filled from the second copy.
    SecondCopy,
    /// No set was ever received.
    Nothing,
    /// There was a set of at least this version, and it is gone.
    Lost(SetVersion),
}

/// What the mirror starts with.
#[derive(Debug)]
pub struct MirrorOpened {
    pub permissions: Arc<Permissions>,
    pub version: Option<SetVersion>,
    /// When the cloud signed it.
    pub issued_at: Wall,
    pub records: u64,
    pub unknown_kinds: Vec<Id>,
    pub source: Source,
    /// The signed key set that was last in force: the session verifies it anew under the root key.
    pub keys: Option<StoredKeys>,
    /// No key set below this version is to be taken.
    pub keys_version_min: u64,
    /// Edits by command that stand.
    pub overlay: OverlayVersion,
    pub edits: Vec<EditMade>,
    /// Those that did not fit the set as this version understands it.
    pub conflicts: Vec<ConflictedEdit>,
    /// Those that the set left no room for when it came, which may have been told then.
    pub conflicts_then: Vec<ConflictedEdit>,
    /// Edits up to this revision were made and cannot all be found any more.
    pub edits_lost: Option<u64>,
    /// Why the stored set, though whole, is not in force: this version does not understand it.
    pub refused: Vec<String>,
    /// The emergency cards of the copy outside the mirror, for when the set in force is none.
    pub spare_cards: BTreeMap<Id, EmergencyCard>,
    /// What was wrong with that copy.
    pub spare_damaged: Option<String>,
    /// It has been written anew.
    pub spare_mended: bool,
    /// Copies that cannot be written, and why.
    pub copies_failed: Vec<(Copy, String)>,
    /// Why the store could not be opened: what is in force is from the second copy, or nothing is.
    pub store_failed: Option<String>,
    /// What was found on the way, for the journal.
    pub notes: Vec<String>,
}

/// A set that was read whole.
struct Loaded {
    summary: Summary,
    meta: Meta,
    records: u64,
    /// Without edits by command. `None`: this version does not understand it.
    understood: Option<Understood>,
}

impl<K: Kv, C: SecondCopy> Mirror<K, C> {
    /// Needs no network and no clock but the deadlines'.
    pub fn open(
        kv: K,
        mut copy: C,
        attest: Arc<dyn Attest>,
        config: MirrorConfig,
        now: Now,
    ) -> Result<(Mirror<K, C>, MirrorOpened), OpenError> {
        let table = Table::new(kv);
        let mut notes = Vec::new();
        let anchor = copy.read_anchor().unwrap_or_else(|error| {
            notes.push(format!("the anchor cannot be read: {error}"));
            None
        });
        let anchor = anchor.unwrap_or_else(Anchor::nothing_seen);
        let spare = emergency_copy::read(&mut copy, &*attest, anchor.emergency)
            .unwrap_or_else(|error| EmergencyRead { damaged: Some(error.to_string()), ..EmergencyRead::default() });
        let mut keys = table.keys()?;
        let mut chores = Chores::default();
        let mut overlay = table.overlay()?;
        let loaded = load(&table, &config)?;
        if loaded.is_some() && overlay.revision() < anchor.overlay_revision {
            return Err(OpenError::Damaged(format!(
                "it holds revision {} of the edits by command, and revision {} was seen",
                overlay.revision(),
                anchor.overlay_revision
            )));
        }
        let (loaded, source) = match loaded {
            Some(loaded) => {
                not_below(&anchor, &loaded.meta)?;
                chores.verify = true;
                (Some(loaded), Source::Store)
            }
            None => {
                let recovered = match recover(&mut copy, &*attest) {
                    Ok(recovered) => recovered,
                    Err(error) => {
                        notes.push(format!("the second copy cannot be used: {error}"));
                        None
                    }
                };
                if let Some(recovered) = &recovered {
                    notes.extend(recovered.cut_short.iter().map(|why| format!("the second copy ends early: {why}")));
                    if keys.as_ref().is_none_or(|keys| keys.version < recovered.keys.version) {
                        table.write_keys(&recovered.keys)?;
                        keys = Some(recovered.keys.clone());
                    }
                    if overlay.revision() < recovered.overlay.revision() {
                        overlay = recovered.overlay.clone();
                        table.write_overlay(&overlay.whole(), overlay.version())?;
                    }
                }
                match recovered {
                    Some(recovered) if not_below(&anchor, &recovered.meta).is_ok() => {
                        chores.rewrite = recovered.cut_short.is_some();
                        (Some(fill(&table, &config, recovered)?), Source::SecondCopy)
                    }
                    Some(recovered) => {
                        notes.push(format!(
                            "the second copy holds generation {}, and generation {} was seen",
                            recovered.meta.generation, anchor.generation
                        ));
                        (None, Source::Lost(anchor.version()))
                    }
                    None if anchor.set_seen => (None, Source::Lost(anchor.version())),
                    None => (None, Source::Nothing),
                }
            }
        };
        let mut opened = MirrorOpened {
            permissions: Arc::new(Permissions::none()),
            version: None,
            issued_at: Wall::EPOCH,
            records: 0,
            unknown_kinds: Vec::new(),
            source,
            keys_version_min: anchor.keys_version.max(keys.as_ref().map_or(0, |keys| keys.version)),
            keys: keys.clone(),
            overlay: OverlayVersion::default(),
            edits: Vec::new(),
            conflicts: Vec::new(),
            conflicts_then: Vec::new(),
            edits_lost: (overlay.revision() < anchor.overlay_revision).then_some(anchor.overlay_revision),
            refused: Vec::new(),
            spare_cards: spare.cards.clone(),
            spare_damaged: spare.damaged.clone(),
            spare_mended: false,
            copies_failed: Vec::new(),
            store_failed: None,
            notes,
        };
        // A revision is never given twice, also where the edits under it are lost.
        let overlay = overlay.continued_from(anchor.overlay_revision);
        if opened.edits_lost.is_some() {
            // Told once: the store is from now on as good as it will ever be.
            table.write_overlay(&OverlayChange::at(overlay.revision()), overlay.version())?;
        }
        let mut mirror = Mirror {
            table,
            copy,
            attest,
            held: None,
            overlay,
            layer: Changes::new(),
            directory: None,
            disputed: Default::default(),
            target: anchor.mark(),
            anchor,
            keys,
            manifest_needed: false,
            staging: None,
            ahead: Default::default(),
            refused_documents: Default::default(),
            refused_version: None,
            link_up: false,
            urge: false,
            retry: Retry::new(RETRY_FIRST, RETRY_MOST, config.seed),
            chores,
            chore_timer: Retry::new(CHORE_FIRST, CHORE_MOST, config.seed.rotate_left(32)),
            copy_failed: false,
            emergency_cards: spare.damaged.is_none().then_some(spare.cards),
            emergency_failed: false,
            emergency_told: opened.spare_damaged.is_some(),
            failed: false,
            config,
        };
        mirror.anchor.keys_version = opened.keys_version_min;
        if let Some(Loaded { summary, meta, records, understood }) = loaded {
            let version = meta.version();
            // The edits are then placed at the cost of what they change.
            mirror.held = Some(Held { version, summary, understood });
            if mirror.anchor.mark() != (meta.epoch, meta.generation) || !mirror.anchor.set_seen {
                mirror.raise_anchor(&meta);
            }
            mirror.target = mirror.anchor.mark();
            opened.version = Some(version);
            opened.issued_at = Wall::from_millis(meta.issued_at_ms);
            opened.conflicts_then = mirror.table.conflicts((version.epoch, version.generation))?;
            let understood = match mirror.settle(&Changes::new(), &meta, &[]) {
                Ok(settled) => {
                    if let Some(change) = &settled.change {
                        mirror.table.write_overlay(change, mirror.overlay.version_after(change))?;
                        mirror.overlay.apply(change);
                        mirror.anchor.overlay_revision = change.revision;
                        mirror.chores.anchor = true;
                        mirror.chores.rewrite = true;
                    }
                    (mirror.layer, mirror.disputed) = (settled.layer, settled.disputed);
                    let understood = settled.understood;
                    opened.permissions = understood.permissions.clone();
                    opened.records = understood.records;
                    opened.unknown_kinds = understood.unknown_kinds();
                    // What a set says otherwise was told when it came.
                    opened.conflicts = settled.conflicts;
                    opened.conflicts.retain(|conflict| conflict.fate != EditFate::Disputed);
                    Some(understood)
                }
                Err(Unsettled::Refused(reasons)) => {
                    opened.refused = reasons;
                    opened.records = records;
                    None
                }
                Err(Unsettled::Store(error)) => return Err(error.into()),
            };
            if let Some(held) = &mut mirror.held {
                held.understood = understood;
            }
        }
        // An edit is in the store whose run ended, or whose write failed, before copy and anchor had heard of it.
        if mirror.overlay.revision() > mirror.anchor.overlay_revision {
            mirror.anchor.overlay_revision = mirror.overlay.revision();
            mirror.chores.anchor = true;
            mirror.chores.rewrite = true;
        }
        opened.overlay = mirror.overlay.version();
        opened.edits = mirror.overlay.edits().map(Edit::made).collect();
        let mut out = Vec::new();
        mirror.do_chores(now, false, &mut out);
        for output in out {
            match output {
                MirrorOutput::CopyFailed { copy, detail } => {
                    opened.notes.push(format!("{} cannot be written: {detail}", copy.as_str()));
                    opened.copies_failed.push((copy, detail));
                }
                MirrorOutput::CopyRestored { copy: Copy::EmergencyCards } => opened.spare_mended = true,
                _ => {}
            }
        }
        Ok((mirror, opened))
    }
}

pub(super) fn not_below(anchor: &Anchor, meta: &Meta) -> Result<(), OpenError> {
    let mark = (meta.epoch, meta.generation);
    if !anchor.set_seen || mark > anchor.mark() || (mark == anchor.mark() && meta.digest == anchor.digest) {
        return Ok(());
    }
    Err(OpenError::Damaged(format!(
        "it holds generation {} of epoch {}, and generation {} of epoch {} was seen",
        meta.generation, meta.epoch, anchor.generation, anchor.epoch
    )))
}

/// `None` for an empty store; a set whose records do not have its digest is damage. Each record is read once, for
/// the digest and for the compiler, whose work counts for nothing if the digest turns out to be another.
fn load<K: Kv>(table: &Table<K>, config: &MirrorConfig) -> Result<Option<Loaded>, OpenError> {
    let meta = table.meta()?;
    let mut summing = Summing::default();
    let mut gather = Gather::new(&config.topology, &config.zone);
    let mut records = 0u64;
    table.rows(View::STORED, |row| {
        summing.add(row);
        gather.add(row);
        records += 1;
    })?;
    let (summary, _) = summing.finish();
    match meta {
        None if records == 0 => Ok(None),
        None => Err(OpenError::Damaged(format!("{records} records without a version"))),
        Some(meta) if summary.digest() != meta.digest => {
            Err(OpenError::Damaged(format!("the records do not have the digest of generation {}", meta.generation)))
        }
        Some(meta) => {
            let understood = gather.finish(&meta.critical, meta.version()).ok();
            Ok(Some(Loaded { summary, meta, records, understood }))
        }
    }
}

fn fill<K: Kv>(table: &Table<K>, config: &MirrorConfig, recovered: Recovered) -> Result<Loaded, OpenError> {
    let overlay = OverlayWrite { change: None, after: recovered.overlay.version(), conflicts: &[] };
    table.write(&recovered.rows, &recovered.meta, overlay)?;
    drop(recovered);
    load(table, config)?.ok_or_else(|| OpenError::Damaged("what was just written is not there".to_owned()))
}

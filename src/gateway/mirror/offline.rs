//! The set as the second copy has it, edits by command included: for whoever asks beside the daemon, and for the
//! daemon where its store cannot be opened. Owns nothing; must never write. Invariant: the cloud's records are
//! covered by its signature, like those that the daemon starts from with its store.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{
    Anchor, MirrorConfig,
    copy::{Attest, CopyError, SecondCopy},
    emergency_copy::{self, EmergencyRead},
    gather::{Gather, Understood},
    open::{MirrorOpened, Source, not_below},
    overlay::{Edit, Layer, OverlayVersion},
    recover::{Recovered, recover},
    table::{Changes, Row, key_of, parse_key},
};
use crate::domain::{ids::Id, permission::Permissions, time::Wall, topology::Topology};

/// A set that was read from the second copy.
pub struct CopyRead {
    pub permissions: Arc<Permissions>,
    pub records: u64,
    /// The copy holds more, which does not follow or does not verify.
    pub cut_short: Option<String>,
}

/// `Ok(None)`: there is no copy. A set that is not understood is told by its reasons.
pub fn read_copy(
    copy: &mut impl SecondCopy,
    attest: &dyn Attest,
    topology: &Topology,
    zone: &TimeZone,
) -> Result<Option<CopyRead>, CopyError> {
    let Some(recovered) = recover(copy, attest)? else { return Ok(None) };
    let (understood, _) =
        understood(&recovered, topology, zone)?.map_err(|reasons| CopyError::Damaged(reasons.join("; ")))?;
    let cut_short = recovered.cut_short;
    Ok(Some(CopyRead { records: understood.records, permissions: understood.permissions, cut_short }))
}

/// With all edits, or (false) with none of them: where they do not fit, those at fault are found and set aside when
/// the store is there; here the cloud's word must do.
fn understood(
    recovered: &Recovered,
    topology: &Topology,
    zone: &TimeZone,
) -> Result<Result<(Understood, bool), Vec<String>>, CopyError> {
    let stored = |kind: &Id, id: &Id| Ok(recovered.rows.get(&key_of(kind, id)).cloned().flatten());
    let edits = Layer::of(recovered.overlay.edits(), stored).map_err(|e| CopyError::Damaged(e.to_string()))?;
    let understand = |layer: &Changes| {
        let mut gather = Gather::new(topology, zone);
        let rows = recovered.rows.iter().filter(|(key, _)| !layer.contains_key(*key)).chain(layer);
        for (key, body) in rows {
            if let (Some((bucket, kind, id)), Some(body)) = (parse_key(key), body) {
                gather.add(Row { bucket, kind, id, body });
            }
        }
        gather.finish(&recovered.meta.critical, recovered.meta.version())
    };
    let with_edits = understand(&edits.changes).map(|understood| (understood, true));
    Ok(with_edits.or_else(|_| understand(&Changes::new()).map(|understood| (understood, false))))
}

/// What the daemon starts with where its store cannot be opened, and `why` that is: the set of the second copy, or
/// none. Nothing can be taken in or edited until the store is back.
pub fn open_without_store(
    copy: &mut impl SecondCopy,
    attest: &dyn Attest,
    config: &MirrorConfig,
    why: String,
) -> MirrorOpened {
    let mut notes = Vec::new();
    let anchor = copy.read_anchor().unwrap_or_else(|error| {
        notes.push(format!("the anchor cannot be read: {error}"));
        None
    });
    let anchor = anchor.unwrap_or_else(Anchor::nothing_seen);
    let spare = emergency_copy::read(copy, attest, anchor.emergency)
        .unwrap_or_else(|error| EmergencyRead { damaged: Some(error.to_string()), ..EmergencyRead::default() });
    let mut opened = MirrorOpened {
        permissions: Arc::new(Permissions::none()),
        version: None,
        issued_at: Wall::EPOCH,
        records: 0,
        unknown_kinds: Vec::new(),
        source: if anchor.set_seen { Source::Lost(anchor.version()) } else { Source::Nothing },
        keys: None,
        keys_version_min: anchor.keys_version,
        overlay: OverlayVersion::default(),
        edits: Vec::new(),
        conflicts: Vec::new(),
        conflicts_then: Vec::new(),
        edits_lost: None,
        refused: Vec::new(),
        spare_cards: spare.cards,
        spare_damaged: spare.damaged,
        spare_mended: false,
        copies_failed: Vec::new(),
        store_failed: Some(why),
        notes,
    };
    match recover(copy, attest) {
        Ok(Some(recovered)) => match not_below(&anchor, &recovered.meta) {
            Ok(()) => opened.take(recovered, &anchor, config),
            Err(_) => opened.notes.push(format!(
                "the second copy holds generation {}, and generation {} was seen",
                recovered.meta.generation, anchor.generation
            )),
        },
        Ok(None) => {}
        Err(error) => opened.notes.push(format!("the second copy cannot be used: {error}")),
    }
    opened
}

impl MirrorOpened {
    fn take(&mut self, recovered: Recovered, anchor: &Anchor, config: &MirrorConfig) {
        self.notes.extend(recovered.cut_short.iter().map(|why| format!("the second copy ends early: {why}")));
        self.keys_version_min = self.keys_version_min.max(recovered.keys.version);
        self.version = Some(recovered.meta.version());
        self.issued_at = Wall::from_millis(recovered.meta.issued_at_ms);
        self.source = Source::SecondCopy;
        match understood(&recovered, &config.topology, &config.zone) {
            Ok(Ok((understood, with_edits))) => {
                self.permissions = understood.permissions.clone();
                self.records = understood.records;
                self.unknown_kinds = understood.unknown_kinds();
                if with_edits {
                    self.edits = recovered.overlay.edits().map(Edit::made).collect();
                    self.overlay = recovered.overlay.continued_from(anchor.overlay_revision).version();
                } else {
                    self.notes.push("the edits by command wait for the store: not all of them fit the set".to_owned());
                }
            }
            Ok(Err(reasons)) => self.refused = reasons,
            Err(error) => self.refused = vec![error.to_string()],
        }
        self.keys = Some(recovered.keys);
    }
}

//! The set as the second copy has it, edits by command included, for whoever asks beside the daemon. Owns
//! nothing; must never write. Invariant: the cloud's records are covered by its signature, like those that the
//! daemon starts from.

use jiff::tz::TimeZone;

use super::{
    copy::{Attest, CopyError, SecondCopy},
    gather::Gather,
    overlay::Layer,
    recover::recover,
    table::{Changes, Row, key_of, parse_key},
};
use crate::domain::{ids::Id, permission::Permissions, topology::Topology};

/// A set that was read from the second copy.
pub struct CopyRead {
    pub permissions: std::sync::Arc<Permissions>,
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
    // Where the edits do not fit, the daemon will set some of them aside; here the cloud's word must do.
    let understood = understand(&edits.changes).or_else(|_| understand(&Changes::new()));
    let understood = understood.map_err(|reasons| CopyError::Damaged(reasons.join("; ")))?;
    let cut_short = recovered.cut_short;
    Ok(Some(CopyRead { records: understood.records, permissions: understood.permissions, cut_short }))
}
